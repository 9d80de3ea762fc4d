//! The pages for people: made on the server, plain HTML and one style sheet, no script needed.
//!
//! Every text from outside goes through maud's escaping; nothing is marked as safe HTML. A message's own
//! HTML is only ever shown in a frame without scripts and without an origin.

use super::WebState;
use axum::http::HeaderMap;
use axum::http::header::COOKIE;

pub mod assets;
pub mod customer;
pub mod customers;
pub mod funnel;
pub mod inbox;
mod layout;
pub mod links;
pub mod login;
pub mod overview;

/// Name of the session's cookie. With https it is bound to this host and to encrypted connections
/// (RFC 6265bis, section 4.1.3.2).
pub fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-af_session" } else { "af_session" }
}

/// The value of the session's cookie.
pub fn session_cookie(headers: &HeaderMap, https: bool) -> Option<&str> {
    let name = cookie_name(https);
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// How many of something, with its name: `1 run`, `2 runs`.
fn count_of(n: usize, name: &str) -> String {
    format!("{n} {name}{}", if n == 1 { "" } else { "s" })
}

/// The workspace's name.
fn workspace(state: &WebState) -> String {
    state.intake.world().settings.workspace.clone()
}
