//! The first page: funnels with their figures, and segments with their sizes.

use super::{count_of, layout};
use crate::lang::time::Zone;
use crate::store::pause::Pausable;
use crate::web::WebState;
use crate::web::answer::Answer;
use crate::web::api::funnels::{FIGURE_DAYS, Recent, Sums, recent};
use crate::web::call::{Call, encode};
use crate::web::view::FunnelView;
use maud::{Markup, html};

/// The figures of a funnel's card: kind of fact and name; `granted` shows the points.
const FIGURES: &[(&str, &str)] =
    &[("entered", "entered"), ("sent", "sent"), ("granted", "points"), ("goal", "goal"), ("exited", "exited")];

/// `GET /`.
pub async fn show(call: Call) -> Answer {
    let recent = recent(&call.state).await?;
    let views = call.state.views.get();
    let zone = call.state.intake.world().settings.zone;
    let content = html! {
        h1 { "Funnels" }
        p class="soft" { "Figures of the last " (FIGURE_DAYS) " days." }
        @if recent.quarantined > 0 {
            p class="bad" role="status" { (recent.quarantined) " inputs were put aside because turns on them failed; " code { "autofunnel quarantine list" } " shows them." }
        }
        @if recent.in_review > 0 {
            p role="status" { (count_of(recent.in_review as usize, "run")) " hold a step until a person has released it; " code { "autofunnel review list" } " shows them." }
        }
        @if recent.unresolved > 0 {
            p class="bad" role="status" { (count_of(recent.unresolved as usize, "run")) " wait for a person's word on what nobody knows; " code { "autofunnel effects list" } " shows it." }
        }
        @if recent.parked > 0 {
            p role="status" { (count_of(recent.parked as usize, "customer")) " with parked grants, or with messages or gifts of which nobody knows whether they arrived; " code { "autofunnel effects list" } " shows them." }
        }
        @for pause in &recent.pauses {
            p class="bad" role="status" {
                strong { "Paused: " (pause.of.name()) }
                ", since " (layout::time(pause.since, zone)) ", by " (pause.by)
                @if !pause.why.is_empty() { ": " (pause.why) }
                ". " code { "autofunnel resume " (pause.of.name()) } " lets it go on."
            }
        }
        @if views.is_empty() { p { "This workspace has no funnels yet." } }
        ul class="cards" { @for view in views.iter() { li class="card" { (card(view, &recent)) } } }
        (providers(&call.state, zone))
        h2 { "Segments" }
        (segments(&recent.segments))
    };
    Ok(layout::show(&call, "/", "Funnels", true, &content))
}

fn card(view: &FunnelView, recent: &Recent) -> Markup {
    let empty = Sums::new();
    let sums = recent.sums.get(&view.name).unwrap_or(&empty);
    html! {
        h3 { a href={ "/funnels/" (encode(&view.name)) } { (view.title) } }
        p class="soft" { "Trigger: " (view.trigger) }
        @if recent.pauses.iter().any(|pause| pause.of == Pausable::Funnel(view.name.clone())) { p class="bad" { "Paused" } }
        dl class="figures" {
            div { dt { "waiting" } dd { (recent.live.get(&view.name).copied().unwrap_or(0)) } }
            @for (what, name) in FIGURES { div { dt { (name) } dd { (figure(sums, what)) } } }
        }
    }
}

/// How the providers do that this process calls; nothing when it has called none.
fn providers(state: &WebState, zone: Zone) -> Markup {
    let health = state.traffic.as_ref().map(|traffic| traffic.health(state.store.now())).unwrap_or_default();
    if health.is_empty() {
        return html! {};
    }
    let rows: Vec<Markup> = health
        .iter()
        .map(|one| {
            let how = match one.rests_until {
                Some(until) => html! { span class="bad" { "rests until " (layout::time(until, zone)) ": " (one.trouble) } },
                None if !one.blocked.is_empty() => html! { span class="bad" { "parks grants: " (one.blocked) } },
                None => html! { "works" },
            };
            html! { tr { th scope="row" { (one.provider) } td class="number" { (one.under_way) } td { (how) } } }
        })
        .collect();
    html! { h2 { "Providers" } (layout::table("Providers", &["Provider", "Calls under way", ""], &rows)) }
}

/// How many, or, of grants, how many points.
pub fn figure(sums: &Sums, what: &str) -> i64 {
    let (count, amount) = sums.get(what).copied().unwrap_or_default();
    if what == "granted" { amount } else { count }
}

fn segments(segments: &[(String, u64)]) -> Markup {
    let largest = segments.iter().map(|(_, size)| *size).max().unwrap_or(0).max(1);
    if segments.is_empty() {
        return html! { p class="soft" { "Nobody is in a segment yet." } };
    }
    let rows: Vec<Markup> = segments
        .iter()
        .map(|(name, size)| {
            html! { tr { th scope="row" { (name) } td class="number" { (size) } td { meter min="0" max=(largest) value=(size) aria-label={ (name) ": " (size) } {} } } }
        })
        .collect();
    layout::table("Segments", &["Segment", "Customers", ""], &rows)
}
