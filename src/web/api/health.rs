//! Whether the process lives, whether it is ready, and what it measures.

use crate::store::pause::Pausable;
use crate::web::answer::{Answer, Problem, fixed_json, text};
use crate::web::call::Call;
use axum::http::StatusCode;
use std::fmt::Write;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The process runs.
pub async fn live(_call: Call) -> Answer {
    Ok(fixed_json(StatusCode::OK, r#"{"status":"live"}"#))
}

/// Requests are welcome: the store answers, and nobody has asked the server to stop.
pub async fn ready(call: Call) -> Answer {
    if !call.state.is_open() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping"));
    }
    // Any read that finds nothing will do.
    call.state.store.record(String::new()).await?;
    Ok(fixed_json(StatusCode::OK, r#"{"status":"ready"}"#))
}

/// Everything measured, in the form that Prometheus reads.
pub async fn metrics(call: Call) -> Answer {
    let counts = call.state.store.counts().await?;
    let mut body = String::new();
    let gauges = [
        ("autofunnel_customers", "Customers", counts.customers),
        ("autofunnel_inbox_inputs", "Inputs that wait for a turn", counts.inbox),
        ("autofunnel_outbox_effects", "Effects that wait for delivery", counts.outbox),
        ("autofunnel_quarantined_inputs", "Inputs put aside because turns on them failed", counts.quarantined),
        ("autofunnel_live_runs", "Runs that have not ended", counts.live_runs.iter().map(|(_, _, count)| count).sum()),
    ];
    for (name, help, value) in gauges {
        // Writing to a text in memory cannot fail.
        let _ = write!(body, "# HELP {name} {help}.\n# TYPE {name} gauge\n{name} {value}\n");
    }
    let jump = call.state.store.clock_jump().unwrap_or_default() / 1_000;
    // Writing to a text in memory cannot fail.
    let _ = write!(
        body,
        "# HELP autofunnel_clock_jump_seconds By how much the clock has jumped; while it is not 0 nothing is done.\n\
         # TYPE autofunnel_clock_jump_seconds gauge\nautofunnel_clock_jump_seconds {jump}\n"
    );
    body.push_str("# HELP autofunnel_paused What a person or a rule has paused.\n# TYPE autofunnel_paused gauge\n");
    for pause in call.state.store.pauses().await? {
        let (kind, name) = match &pause.of {
            Pausable::Workspace => ("workspace", ""),
            Pausable::Funnel(name) => ("funnel", name.as_str()),
            Pausable::Provider(name) => ("provider", name.as_str()),
            Pausable::Marketing(name) => ("marketing", name.as_str()),
        };
        let _ = writeln!(body, "autofunnel_paused{{kind=\"{kind}\",name=\"{name}\"}} 1");
    }
    prometheus_client::encoding::text::encode(&mut body, &call.state.registry).map_err(|error| {
        tracing::error!(%error, "metrics could not be written");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the figures could not be written")
    })?;
    Ok(text(METRICS_TYPE, body))
}
