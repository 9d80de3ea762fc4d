//! Logging in with a token, and out again.

use super::{cookie_name, layout};
use crate::web::WebState;
use crate::web::answer::{Answer, Problem, Reply, page, see_other};
use crate::web::call::{Call, decode};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use maud::html;

/// `GET /login`.
pub async fn form(call: Call) -> Answer {
    let next = call.query(&["next"])?.text("next");
    Ok(show(&call, StatusCode::OK, &next, false))
}

fn show(call: &Call, status: StatusCode, next: &str, refused: bool) -> Reply {
    let workspace = super::workspace(&call.state);
    let body = html! {
        main id="content" {
            h1 { (workspace) }
            form class="login card" method="post" action="/login" {
                @if refused { p class="bad" role="alert" { "This token is not valid here, has run out, or may not read." } }
                input type="hidden" name="next" value=(own_path(next));
                label for="token" { "Token" }
                p { input id="token" name="token" type="password" autocomplete="current-password" required autofocus; }
                p { button { "Log in" } }
                p class="soft" { "A token with the scope " code { "read" } " or " code { "admin" } ". The engine prints the first one at its first start." }
            }
        }
    };
    page(status, layout::document(&format!("Log in · {workspace}"), &body))
}

/// `POST /login`.
pub async fn submit(call: Call) -> Answer {
    let (token, next) = (field(&call, "token")?, field(&call, "next")?);
    match call.state.auth.log_in(&*call.state.store, token.trim()).await? {
        Some(session) => Ok(with_cookie(&call.state, see_other(own_path(&next)), &session, None)),
        None => Ok(show(&call, StatusCode::UNAUTHORIZED, &next, true)),
    }
}

/// `POST /logout`.
pub async fn leave(call: Call) -> Answer {
    Ok(with_cookie(&call.state, see_other("/login"), "", Some(0)))
}

fn with_cookie(state: &WebState, mut reply: Reply, value: &str, max_age_s: Option<u32>) -> Reply {
    let https = state.options.https;
    let age = max_age_s.map_or(String::new(), |age| format!("; Max-Age={age}"));
    let secure = if https { "; Secure" } else { "" };
    let cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}", cookie_name(https));
    // The value is URL-safe base 64, the rest is ours: always a valid header.
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}

/// The path to go on to, if it is one of ours; else the first page. Never another site.
fn own_path(next: &str) -> &str {
    let own = next.starts_with('/')
        && !next.starts_with("//")
        && !next.contains('\\')
        && next.bytes().all(|byte| byte.is_ascii_graphic());
    if own { next } else { "/" }
}

fn field(call: &Call, name: &str) -> Result<String, Problem> {
    let body = std::str::from_utf8(&call.body).ok();
    let value = body.and_then(|body| body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')));
    decode(value.unwrap_or(""), true)
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the form is not percent-encoded UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::own_path;

    #[test]
    fn a_login_never_leads_to_another_site() {
        assert_eq!(own_path("/customers?q=a%20b"), "/customers?q=a%20b");
        for foreign in
            ["https://evil.example", "//evil.example", "/\\evil.example", "", "/a\r\nset-cookie: x=1", "javascript:alert(1)"]
        {
            assert_eq!(own_path(foreign), "/", "{foreign}");
        }
    }
}
