//! `/v1/pauses`: what is paused, by whom and why.

use crate::store::pause::{Pausable, Pause};
use crate::web::answer::{Answer, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

/// Everything that is paused.
pub async fn list(call: Call) -> Answer {
    call.query(&[])?;
    let pauses: Vec<Json> = call.state.store.pauses().await?.iter().map(shown).collect();
    Ok(json(StatusCode::OK, &json!({ "pauses": pauses })))
}

fn shown(pause: &Pause) -> Json {
    let mut shown = named(&pause.of);
    for (name, text) in [("since", pause.since.to_string()), ("by", pause.by.clone()), ("why", pause.why.clone())] {
        shown[name] = text.into();
    }
    shown
}

/// A pause, where it stands beside what it holds up.
pub fn holding(pause: &Pause) -> Json {
    json!({ "paused": pause.of.name(), "since": pause.since.to_string(), "by": pause.by, "why": pause.why })
}

fn named(of: &Pausable) -> Json {
    match of {
        Pausable::Workspace => json!({ "workspace": true }),
        Pausable::Funnel(name) => json!({ "funnel": name }),
        Pausable::Provider(name) => json!({ "provider": name }),
        Pausable::Marketing(name) => json!({ "marketing": name }),
    }
}

/// Pauses a funnel, a provider or everything.
pub async fn pause(call: Call) -> Answer {
    call.query(&[])?;
    let pause = call.state.intake.pause(&call.who(), &call.body).await?;
    Ok(json(StatusCode::OK, &shown(&pause)))
}

/// Ends a pause.
pub async fn resume(call: Call) -> Answer {
    call.query(&[])?;
    let of = call.state.intake.resume(&call.who(), &call.body).await?;
    let mut shown = named(&of);
    shown["status"] = "resumed".into();
    Ok(json(StatusCode::OK, &shown))
}
