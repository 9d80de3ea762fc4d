//! `/v1/quarantine`: inputs that were put aside because turns on them failed, and what becomes of them.

use crate::store::Fate;
use crate::store::read::QuarantineRow;
use crate::web::answer::{Answer, Problem, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use serde_json::{Value as Json, json};

/// What was put aside, newest first.
pub async fn list(call: Call) -> Answer {
    let query = call.query(&["limit"])?;
    let rows = call.state.store.quarantine(query.limit()?).await?;
    let inputs: Vec<Json> = rows.iter().map(shown).collect();
    Ok(json(StatusCode::OK, &json!({ "inputs": inputs })))
}

fn shown(row: &QuarantineRow) -> Json {
    // It is JSON already; should it ever not be, people may still read it.
    let input = serde_json::from_str(&row.input).unwrap_or_else(|_| Json::from(row.input.as_str()));
    json!({ "customer": row.customer, "seq": row.seq, "at": row.at.to_string(), "cause": row.cause, "input": input })
}

/// Puts an input back into the inbox.
pub async fn retry(call: Call) -> Answer {
    decide(call, Fate::Retry, StatusCode::ACCEPTED, "accepted").await
}

/// Drops an input for good.
pub async fn discard(call: Call) -> Answer {
    decide(call, Fate::Drop, StatusCode::OK, "dropped").await
}

async fn decide(call: Call, fate: Fate, status: StatusCode, word: &str) -> Answer {
    call.query(&[])?;
    let found = match call.param("seq").parse() {
        Ok(seq) => call.state.store.unquarantine(call.param("id").to_owned(), seq, fate).await?,
        Err(_) => false,
    };
    match found {
        true => Ok(json(status, &json!({ "status": word }))),
        false => Err(Problem::new(StatusCode::NOT_FOUND, "no such input of this customer is put aside")
            .hint("`autofunnel quarantine list` (GET /v1/quarantine) lists those that are; one that was retried or dropped is there no more")),
    }
}
