//! Every route against every scope, from the table.

use super::*;
use crate::web::route::{Access, ROUTES, Route};

/// Who asks.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    Nobody,
    Wrong,
    Expired,
    Token(Scope),
}

/// What the table promises: may pass, must log in, is nobody, or sees nothing.
fn promised(route: &Route, who: Who) -> &'static str {
    let wanted = match route.access {
        Access::Open | Access::Login | Access::Hook => return "passes",
        Access::Page => return "to the login",
        Access::Metrics => Scope::Read,
        Access::Token(scope) => scope,
    };
    match who {
        Who::Nobody | Who::Wrong | Who::Expired => "401",
        Who::Token(scope) if scope == wanted || scope == Scope::Admin => "passes",
        Who::Token(_) => "404",
    }
}

fn happened(got: &Got) -> &'static str {
    let nothing_here = got.status == 404 && got.body.contains("your token may not see it");
    match got.status {
        401 if got.body.contains("a valid token is needed") => "401",
        303 if got.header("location").is_some_and(|to| to.starts_with("/login?next=")) => "to the login",
        404 if nothing_here => "404",
        _ => "passes",
    }
}

#[tokio::test]
async fn every_route_keeps_to_the_table() {
    let server = Server::start().await;
    server.store.know("c1");
    let whos = [Who::Nobody, Who::Wrong, Who::Expired].into_iter().chain(Scope::ALL.map(Who::Token));
    let mut asked = 0;
    for who in whos {
        for route in ROUTES {
            let path =
                route.path.replace("{id}", "c1").replace("{name}", "welcome").replace("{source}", "shop").replace("{seq}", "1");
            let token = match who {
                Who::Nobody => "",
                Who::Wrong => "af_wrong",
                Who::Expired => &server.expired,
                Who::Token(scope) => server.token(scope),
            };
            let body = if route.body_bytes_max > 0 { route.example } else { "" };
            let got = server.send(route.method.name(), &path, token, "", body).await;
            assert_eq!(
                happened(&got),
                promised(route, who),
                "{who:?} {} {path} → {} {}",
                route.method.name(),
                got.status,
                got.body
            );
            asked += 1;
        }
    }
    assert_eq!(asked, ROUTES.len() * 8);
    // What was changed, was changed by those who may: events by two, customers and runs by two, and so on.
    assert!(!server.store.inputs().is_empty());
}

#[tokio::test]
async fn other_methods_are_named() {
    let server = Server::start().await;
    let got = server.send("PATCH", "/v1/customers/c1", server.token(Scope::Admin), "", "").await;
    assert_eq!((got.status, got.header("allow")), (405, Some("GET, PUT, DELETE")));
    assert!(got.json()["error"].is_string());
}

#[tokio::test]
async fn metrics_are_open_only_when_the_settings_say_so() {
    let closed = Server::start().await;
    assert_eq!(closed.get("/metrics", "").await.status, 401);
    assert_eq!(closed.get("/metrics", closed.token(Scope::Read)).await.status, 200);
    let open = Server::start_with(Options { open_metrics: true, ..Options::default() }, Times::default()).await;
    open.post("/v1/events", open.token(Scope::Ingest), &event("e1")).await;
    let got = open.get("/metrics", "").await;
    for line in [
        "autofunnel_events_total{result=\"accepted\"} 1",
        "autofunnel_http_requests_total{method=\"POST\",route=\"/v1/events\",status=\"202\"} 1",
        "autofunnel_inbox_inputs 0",
    ] {
        assert!(got.body.contains(line), "{line} in {}", got.body);
    }
    assert!(got.body.ends_with("# EOF\n"));
}
