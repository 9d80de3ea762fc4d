//! `/v1/tokens`: tokens of machines and people, each with the scopes that it needs and no more.

use crate::engine::intake::json;
use crate::lang::time::Time;
use crate::lang::value::Value;
use crate::web::answer::{Answer, Problem, json as reply};
use crate::web::auth::{Scope, issue};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::json;

/// Longest name of a token, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Makes a token and shows it, this one time.
pub async fn post(call: Call) -> Answer {
    call.query(&[])?;
    let mut fields = json::read_map(&call.body)?;
    let name = match fields.remove("name") {
        Some(Value::Text(name)) if !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX => name,
        _ => return Err(bad("`name` says what the token is for, in at most 64 characters")),
    };
    let scopes = match fields.remove("scopes") {
        Some(Value::List(list)) if !list.is_empty() => list.iter().map(scope).collect::<Result<Vec<Scope>, Problem>>()?,
        _ => return Err(bad("`scopes` is a list with at least one scope")),
    };
    let expires = match fields.remove("expires") {
        None | Some(Value::Null) => None,
        Some(Value::Text(text)) => match Time::parse(&text) {
            Some(time) if time > call.state.store.now() => Some(time),
            _ => return Err(bad("`expires` is an instant in the future, such as 2027-12-31T23:59:59Z")),
        },
        Some(_) => return Err(bad("`expires` is an instant such as 2027-12-31T23:59:59Z")),
    };
    if let Some(unknown) = fields.keys().next() {
        return Err(bad(format!("there is no field `{unknown}`; there is: name, scopes, expires")));
    }
    let token = issue(&*call.state.store, &name, &scopes, expires).await?;
    Ok(reply(StatusCode::CREATED, &json!({ "token": token, "name": name })))
}

fn scope(value: &Value) -> Result<Scope, Problem> {
    value.as_text().and_then(Scope::parse).ok_or_else(|| {
        let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.name()).collect();
        bad(format!("{value} is no scope")).hint(format!("there is: {}", known.join(", ")))
    })
}

fn bad(error: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, error)
}
