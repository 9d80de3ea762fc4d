//! `/v1/workspace`: what is in force; what another one would change; taking it.

use crate::engine::intake::{Refusal, json as strict};
use crate::funnel::Files;
use crate::lang::value::{Fields, Value};
use crate::web::answer::{Answer, Problem, json};
use crate::web::call::Call;
use crate::web::workspace::{Named, Order, Unfit, Workspaces};
use axum::http::StatusCode;
use serde_json::json;
use std::sync::Arc;

/// Longest note, in characters.
const NOTE_CHARS_MAX: usize = 500;

/// What is in force.
pub async fn show(call: Call) -> Answer {
    call.query(&[])?;
    Ok(json(StatusCode::OK, &desk(&call)?.shown().await.or_else(answered)?))
}

/// What a workspace would change.
pub async fn plan(call: Call) -> Answer {
    call.query(&[])?;
    let mut sent = strict::read_map(&call.body)?;
    let workspace = named(&mut sent)?;
    nothing_else(&sent, &["files", "version"])?;
    reply(desk(&call)?.plan(workspace).await)
}

/// Makes a workspace the one in force.
pub async fn apply(call: Call) -> Answer {
    call.query(&[])?;
    let mut sent = strict::read_map(&call.body)?;
    let workspace = named(&mut sent)?;
    let base = text(&mut sent, "base")?
        .ok_or_else(|| Refusal::new("`base` is missing").field("base").hint("name the hash that the plan was made against"))?;
    let note = text(&mut sent, "note")?.unwrap_or_default();
    if note.chars().count() > NOTE_CHARS_MAX {
        return Err(Refusal::new(format!("`note` has more than {NOTE_CHARS_MAX} characters")).field("note").into());
    }
    nothing_else(&sent, &["files", "version", "base", "note"])?;
    let order = Order { workspace, base, by: call.who(), note };
    reply(desk(&call)?.apply(order).await)
}

fn desk(call: &Call) -> Result<Arc<dyn Workspaces>, Problem> {
    let missing = || Problem::new(StatusCode::NOT_FOUND, "this process cannot exchange its workspace");
    call.state.workspaces.clone().ok_or_else(missing)
}

fn reply(outcome: Result<serde_json::Value, Unfit>) -> Answer {
    match outcome {
        Ok(done) => Ok(json(StatusCode::OK, &done)),
        // What is wrong is not one thing with one field.
        Err(Unfit::Faults(faults)) => Ok(json(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({ "error": "the workspace has faults", "hint": "`autofunnel check` shows them with their lines", "faults": faults }),
        )),
        Err(other) => answered(other).map(|done| json(StatusCode::OK, &done)),
    }
}

fn answered(unfit: Unfit) -> Result<serde_json::Value, Problem> {
    let problem = |status, refusal| Problem { status, refusal, close: false };
    Err(match unfit {
        Unfit::Faults(_) => problem(StatusCode::UNPROCESSABLE_ENTITY, Refusal::new("the workspace has faults")),
        Unfit::Moved(refusal) | Unfit::Refused(refusal) => problem(StatusCode::CONFLICT, refusal),
        Unfit::NoSuch(refusal) => problem(StatusCode::NOT_FOUND, refusal),
        Unfit::Store(error) => error.into(),
    })
}

fn named(sent: &mut Fields) -> Result<Named, Refusal> {
    let wrong = || Refusal::new("`files` must be a map of paths, each with the text of its file").field("files");
    match (sent.remove("files"), text(sent, "version")?) {
        (Some(Value::Map(files)), None) => {
            let read = |(path, text): (String, Value)| match text {
                Value::Text(text) => Ok((path, text)),
                _ => Err(wrong()),
            };
            files.into_iter().map(read).collect::<Result<Files, Refusal>>().map(Named::Files)
        }
        (None, Some(version)) => Ok(Named::Version(version)),
        (Some(_), None) => Err(wrong()),
        _ => Err(Refusal::new("either `files` or `version` must be there, and not both")
            .hint("send the texts of the workspace's files, or the hash of a version that was in force")),
    }
}

fn text(sent: &mut Fields, name: &'static str) -> Result<Option<String>, Refusal> {
    match sent.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::new(format!("`{name}` must be text")).field(name)),
    }
}

fn nothing_else(sent: &Fields, known: &[&'static str]) -> Result<(), Refusal> {
    match sent.keys().next() {
        None => Ok(()),
        Some(name) => Err(Refusal::new(format!("`{name}` is not known here")).did_you_mean(name, known.iter().copied())),
    }
}
