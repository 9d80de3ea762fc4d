//! What people see, and what keeps others out.

use super::*;
use crate::channel::{Limits, SendResult};
use crate::customer::{Customer, codec};
use crate::engine::traffic::{Asking, Entry};
use crate::store::Record;
use crate::store::read::KeptMessage;

const EVIL: &str = "<script>alert(1)</script>";

async fn open() -> Server {
    let server = Server::start_with(Options { open_pages: true, ..Options::default() }, Times::default()).await;
    let mut ada = Customer::new("c1", crate::lang::time::Time(0));
    ada.profile.insert("name".to_owned(), EVIL.into());
    {
        let mut rows = server.store.rows.lock().unwrap();
        rows.records.insert("c1".to_owned(), Record { version: 1, document: codec::encode(&ada), ..Record::default() });
        rows.customers.push(crate::store::CustomerRow { id: "c1".to_owned(), name: EVIL.to_owned(), ..Default::default() });
        rows.counts.segments = vec![(EVIL.to_owned(), 3)];
        rows.messages.push(KeptMessage {
            id: "c1/1/email_1/1".to_owned(),
            customer: "c1".to_owned(),
            channel: "email".to_owned(),
            to: "ada@example.com".to_owned(),
            funnel: "welcome".to_owned(),
            template: "hello".to_owned(),
            subject: format!("Hi {EVIL}"),
            text: format!("Text {EVIL}"),
            html: "<h1 onclick=\"x()\">Hello</h1>".to_owned(),
            at: crate::lang::time::Time(0),
        });
    }
    server
}

#[tokio::test]
async fn texts_from_outside_are_shown_as_text() {
    let server = open().await;
    for path in ["/", "/funnels/welcome", "/customers", "/customers/c1", "/inbox", "/inbox/c1%2F1%2Femail_1%2F1", "/login"] {
        let got = server.get(path, "").await;
        assert_eq!(got.status, 200, "{path}");
        assert!(!got.body.contains("<script>") && !got.body.contains("<b>hello"), "{path}");
        assert!(!got.body.contains("style=") && !got.body.contains("onclick"), "nothing inline: {path}");
        let policy = got.header("content-security-policy").unwrap();
        assert!(
            policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"),
            "{path}"
        );
        assert_eq!(
            (got.header("x-frame-options"), got.header("x-content-type-options")),
            (Some("DENY"), Some("nosniff")),
            "{path}"
        );
        assert!(
            got.body.contains("lang=\"en\"") && got.body.contains("name=\"viewport\"") && got.body.contains("<h1>"),
            "{path}"
        );
    }
    assert!(server.get("/customers/c1", "").await.body.contains("&lt;script&gt;"));
}

#[tokio::test]
async fn a_message_is_shown_in_a_frame_without_powers() {
    let server = open().await;
    let page = server.get("/inbox/c1%2F1%2Femail_1%2F1", "").await;
    assert!(page.body.contains(r#"<iframe sandbox="" src="/inbox/c1%2F1%2Femail_1%2F1/preview""#), "{}", page.body);
    let preview = server.get("/inbox/c1%2F1%2Femail_1%2F1/preview", "").await;
    let policy = preview.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox;") && policy.contains("default-src 'none'") && !policy.contains("allow-"));
    assert!(preview.body.contains("<h1"));
    assert_eq!(server.get("/inbox/nothing", "").await.status, 404);
}

#[tokio::test]
async fn pages_need_a_login_with_a_token_that_may_read() {
    let server = Server::start().await;
    let first = server.get("/customers?q=a", "").await;
    assert_eq!((first.status, first.header("location")), (303, Some("/login?next=%2Fcustomers%3Fq%3Da")));
    let form = server.get("/login?next=%2Fcustomers%3Fq%3Da", "").await;
    assert!(form.body.contains(r#"value="/customers?q=a""#));
    for wrong in ["af_wrong", server.token(Scope::Ingest), &server.expired, ""] {
        let got = server.post("/login", "", &format!("token={wrong}&next=%2F")).await;
        assert_eq!((got.status, got.header("set-cookie")), (401, None), "{wrong}");
    }
    let read = server.token(Scope::Read);
    let entered = server.post("/login", "", &format!("next=%2Fcustomers&token={read}")).await;
    assert_eq!((entered.status, entered.header("location")), (303, Some("/customers")));
    let cookie = entered.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("af_session=")
            && cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Strict")
            && !cookie.contains(read)
    );
    let cookie = format!("cookie: x=y; {}\r\n", cookie.split(';').next().unwrap());
    let page = server.send("GET", "/customers", "", &cookie, "").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Log out"));
    // The cookie opens pages, not the doors of machines.
    assert_eq!(server.send("GET", "/v1/customers", "", &cookie, "").await.status, 401);
    let left = server.send("POST", "/logout", "", &cookie, "").await;
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
}

#[tokio::test]
async fn behind_https_the_cookie_is_bound_to_it() {
    let server = Server::start_with(Options { https: true, ..Options::default() }, Times::default()).await;
    let entered = server.post("/login", "", &format!("token={}", server.token(Scope::Read))).await;
    let cookie = entered.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-af_session=") && cookie.contains("; Secure") && cookie.contains("Path=/"));
}

#[tokio::test]
async fn forms_from_other_sites_are_refused() {
    let server = Server::start().await;
    let body = format!("token={}", server.token(Scope::Read));
    let own = format!("origin: http://{}\r\nsec-fetch-site: same-origin\r\n", server.address);
    assert_eq!(server.send("POST", "/login", "", &own, &body).await.status, 303);
    for foreign in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        for path in ["/login", "/logout"] {
            let got = server.send("POST", path, "", foreign, &body).await;
            assert_eq!((got.status, got.header("set-cookie")), (403, None), "{foreign}");
        }
    }
}

#[tokio::test]
async fn the_first_page_shows_how_providers_do() {
    let server = open().await;
    assert!(!server.get("/", "").await.body.contains("Providers"), "none has been called");
    let now = crate::store::Store::now(&*server.store);
    let asking = Asking { effect: "e", provider: "post-office", urgent: true, share: 1.0 };
    let limits = Limits { rate: None, at_once: None };
    // It fails until it is left alone.
    while let Entry::Go(pass, _) = server.traffic.enter(&asking, &limits, now) {
        let trouble = SendResult::Retry { after: None, why: EVIL.to_owned(), ambiguous: false };
        pass.done(&trouble, now);
    }
    let page = server.get("/", "").await.body;
    assert!(page.contains("post-office") && page.contains("rests until") && page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains("<script>alert"));
}
