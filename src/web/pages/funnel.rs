//! One funnel: its steps from top to bottom, with what happened at each.

use super::layout;
use crate::stats::Typed;
use crate::stats::table::{Cell, Table};
use crate::store::read::{Figure, RunFilter};
use crate::web::answer::{Answer, Problem};
use crate::web::api::funnels::{FIGURE_DAYS, Sums, recent};
use crate::web::api::stats;
use crate::web::call::{Call, encode};
use crate::web::view::StepView;
use axum::http::StatusCode;
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Runs shown below the steps.
const RUNS_SHOWN: usize = 20;
/// The tables of the statistics that stand below the steps.
const SHOWN: [&str; 5] = ["variants", "holdout", "lift", "channels", "ends"];
/// Deepest step that is drawn further in; the style sheet has as many classes.
const DEPTH_SHOWN: usize = 4;

/// `GET /funnels/{name}`.
pub async fn show(call: Call) -> Answer {
    let name = call.param("name").to_owned();
    let views = call.state.views.get();
    let Some(view) = views.iter().find(|view| view.name == name) else {
        return Err(
            Problem::new(StatusCode::NOT_FOUND, "there is no funnel of that name").hint("the first page lists the funnels")
        );
    };
    let recent = recent(&call.state).await?;
    let runs = call.state.store.runs(RunFilter { funnel: name.clone(), ..RunFilter::default() }, RUNS_SHOWN).await?;
    let came = stats::of(&call.state, &Typed { funnel: name.clone(), ..Typed::default() }, false).await?;
    let steps = by_step(&recent.figures, &name);
    let empty = Sums::new();
    let zone = call.state.intake.world().settings.zone;
    let rows: Vec<Markup> = runs
        .iter()
        .map(|run| {
            html! {
                tr {
                    td { a href={ "/customers/" (encode(&run.customer)) } { (run.customer) } }
                    td { (run.state) } td { (run.step) }
                    td { (layout::time(run.entered, zone)) }
                    td { @if let Some(until) = run.until { (layout::time(until, zone)) } }
                }
            }
        })
        .collect();
    let content = html! {
        h1 { (view.title) }
        p class="soft" { "Trigger: " (view.trigger) ". Figures of the last " (FIGURE_DAYS) " days." }
        dl class="figures card" {
            div { dt { "waiting" } dd { (recent.live.get(&name).copied().unwrap_or(0)) } }
            @for what in ["entered", "held_out", "not_entered", "goal", "exited", "finished"] {
                div { dt { (what.replace('_', " ")) } dd { (super::overview::figure(recent.sums.get(&name).unwrap_or(&empty), what)) } }
            }
        }
        h2 { "Steps" }
        ol class="steps" { @for step in &view.steps { (shown_step(step, steps.get(&step.id).unwrap_or(&empty))) } }
        @for table in came.tables.iter().filter(|table| SHOWN.contains(&table.name)) { (counted(table)) }
        @for note in came.notes.iter().filter(|_| !came.tables.is_empty()) { p class="soft" { (note) } }
        h2 { "Newest runs" }
        @if rows.is_empty() { p class="soft" { "Nobody has entered yet." } }
        @else { (layout::table("Newest runs", &["Customer", "State", "Step", "Entered", "Until"], &rows)) }
    };
    Ok(layout::show(&call, "/", &view.title, true, &content))
}

/// A table of the statistics.
fn counted(table: &Table) -> Markup {
    let heads: Vec<String> = table.columns.iter().map(|(name, _)| name.replace('_', " ")).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let cell = |cell: &Cell| match cell {
        Cell::Text(text) => html! { td { (text) } },
        Cell::Money(text) => html! { td class="number" { (text) } },
        Cell::Count(count) => html! { td class="number" { (count) } },
        Cell::Share(share) => html! { td class="number" { (format!("{:.1} %", share * 100.0)) } },
        Cell::Nothing => html! { td class="number" { "-" } },
    };
    let rows: Vec<Markup> = table.rows.iter().map(|row| html! { tr { @for one in row { (cell(one)) } } }).collect();
    html! { h2 { (table.title) } (layout::table(&table.title, &heads, &rows)) }
}

fn by_step(figures: &[Figure], funnel: &str) -> BTreeMap<String, Sums> {
    let mut steps: BTreeMap<String, Sums> = BTreeMap::new();
    for figure in figures.iter().filter(|figure| figure.funnel == funnel && !figure.step.is_empty()) {
        let sum = steps.entry(figure.step.clone()).or_default().entry(figure.what.clone()).or_default();
        *sum = (sum.0.saturating_add(figure.count), sum.1.saturating_add(figure.amount));
    }
    steps
}

fn shown_step(step: &StepView, sums: &Sums) -> Markup {
    html! {
        li class={ "d" (step.depth.min(DEPTH_SHOWN)) } {
            div class="card" {
                h3 { (step.label) }
                p class="kind" { (step.kind) " · " (step.id) }
                @if !sums.is_empty() {
                    p { @for (what, (count, _)) in sums { span class="tag" { (what.replace('_', " ")) " " (count) } } }
                }
            }
        }
    }
}
