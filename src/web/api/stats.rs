//! Statistics.

use crate::engine::intake::Refusal;
use crate::stats::{Asked, Report, Typed, Wrong, report};
use crate::web::WebState;
use crate::web::answer::{Answer, Problem, json};
use crate::web::call::Call;
use axum::http::StatusCode;

/// Statistics of all funnels, or of one.
pub async fn show(call: Call) -> Answer {
    let query = call.query(&["funnel", "from", "to", "by", "per", "segment"])?;
    let [funnel, from, to, by, per, segment] = ["funnel", "from", "to", "by", "per", "segment"].map(|name| query.text(name));
    let report = of(&call.state, &Typed { funnel, from, to, by, per, segment }, true).await?;
    Ok(json(StatusCode::OK, &report.json()))
}

/// The answer to a question; with who is under way where, which takes the longer the more there are.
///
/// # Errors
/// When it is none, there is no such funnel, or the store fails.
pub async fn of(state: &WebState, typed: &Typed, live: bool) -> Result<Report, Problem> {
    let zone = state.intake.world().settings.zone;
    let mut question = typed.question(state.store.now().date(zone)).map_err(refused)?;
    let views = state.views.get();
    let view = views.iter().find(|view| Some(&view.name) == question.funnel.as_ref());
    question.steps = view.map(|view| view.steps.iter().map(|step| step.id.clone()).collect()).unwrap_or_default();
    let known: Vec<String> = views.iter().map(|view| view.name.clone()).collect();
    let counted = state.store.stats(Asked { live, ..question.asked() }).await?;
    report(question, &counted, &known).map_err(|wrong| {
        let problem = Problem::new(StatusCode::NOT_FOUND, wrong.said);
        wrong.hint.map_or(problem.clone(), |hint| problem.hint(hint))
    })
}

fn refused(wrong: Wrong) -> Problem {
    let refusal = Refusal::new(wrong.said);
    match wrong.hint {
        Some(hint) => refusal.hint(hint).into(),
        None => refusal.into(),
    }
}
