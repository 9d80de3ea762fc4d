//! `POST /v1/import`.

use super::events::refused_line;
use crate::engine::intake::import::{CHUNK_ROWS_MAX, Reader, Report, Rows};
use crate::web::answer::{Answer, json};
use crate::web::call::Call;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde_json::{Value as Json, json};

/// Takes in rows of the past.
pub async fn post(call: Call) -> Answer {
    call.query(&[])?;
    let csv = call.header(&CONTENT_TYPE).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/csv"));
    let list = !csv && call.body.trim_ascii_start().starts_with(b"[");
    let mut reader = match list {
        true => Reader::list(&call.body)?,
        false => Reader::new(call.body.as_ref(), if csv { Rows::Csv } else { Rows::Lines })?,
    };
    let mut report = Report::default();
    loop {
        let rows = reader.chunk(CHUNK_ROWS_MAX, &call.state.intake.world())?;
        if rows.is_empty() {
            break;
        }
        call.state.intake.import(rows, &mut report).await?;
    }
    let taken = report.accepted + report.duplicates + report.conflicts;
    let items: Vec<Json> = report.listed.iter().map(|(line, refusal)| refused_line(*line, refusal)).collect();
    let mut body = json!({
        "accepted": report.accepted, "duplicates": report.duplicates, "conflicts": report.conflicts, "refused": report.refused,
        "items": items,
    });
    if taken > 0 {
        return Ok(json(StatusCode::OK, &body));
    }
    body["error"] = if report.refused > 0 { "every row was refused" } else { "the body holds no rows" }.into();
    body["hint"] = "send one JSON object per line, a list of them, or comma-separated rows with content-type text/csv".into();
    Ok(json(StatusCode::BAD_REQUEST, &body))
}
