//! One customer: what is known, what runs, and everything that happened, with its reasons.

use super::{count_of, layout};
use crate::customer::{Customer, RunState};
use crate::fact::sentence::sentence;
use crate::lang::time::Zone;
use crate::lang::value::Value;
use crate::money::Currency;
use crate::store::read::TimelineRow;
use crate::web::answer::Answer;
use crate::web::api::customers::{is_unasked, load};
use crate::web::call::{Call, encode};
use maud::{Markup, html};

/// Facts on one page.
const FACTS: usize = 100;

/// `GET /customers/{id}`.
pub async fn show(call: Call) -> Answer {
    let before = call.query(&["before"])?.position("before")?;
    let id = call.param("id").to_owned();
    let customer = load(&call.state, &id).await?;
    let facts = call.state.store.timeline(id.clone(), before, FACTS).await?;
    let world = call.state.intake.world();
    let zone = customer.zone(world.settings.zone);
    let name = customer.profile.get("name").and_then(Value::as_text).unwrap_or(&id);
    let content = html! {
        h1 { (name) }
        p class="soft" { (id) " · times are those of " (zone.name()) }
        @if before.is_none() { (known(&customer, is_unasked(&call.state, &customer), zone)) }
        h2 { "What happened" }
        ol class="timeline" { @for row in &facts { (shown_fact(row, zone, world.settings.currency)) } }
        @if facts.is_empty() { p class="soft" { "Nothing is kept." } }
        @if facts.len() == FACTS && let Some(last) = facts.last() {
            p { a href={ "/customers/" (encode(&id)) "?before=" (last.seq) } { "Earlier" } }
        }
    };
    Ok(layout::show(&call, "/customers", name, before.is_none(), &content))
}

fn known(customer: &Customer, unasked: bool, zone: Zone) -> Markup {
    html! {
        div class="cards" {
            section class="card" { h3 { "Profile" } (profile(customer, zone)) }
            section class="card" { h3 { "Loyalty" } (loyalty(customer, unasked, zone)) }
            section class="card" { h3 { "Consent" } (consent(customer, zone)) }
            section class="card" { h3 { "Segments" } (segments(customer, zone)) }
            section class="card" { h3 { "Runs" } (runs(customer, zone)) }
        }
    }
}

fn profile(customer: &Customer, zone: Zone) -> Markup {
    html! {
        dl class="facts" {
            dt { "known since" } dd { (layout::time(customer.created, zone)) }
            @for (name, value) in &customer.profile { dt { (name) } dd { (plain(value, zone)) } }
        }
    }
}

/// A value without the quotes that tell text from numbers in conditions.
fn plain(value: &Value, zone: Zone) -> Markup {
    match value {
        Value::Text(text) => html! { (text) },
        Value::Time(at) => layout::time(*at, zone),
        other => html! { (other) },
    }
}

fn loyalty(customer: &Customer, unasked: bool, zone: Zone) -> Markup {
    let loyalty = &customer.loyalty;
    html! {
        dl class="facts" {
            @if unasked {
                dt { "balance" } dd { "not known: the loyalty store has not been asked about her" }
            } @else {
                dt { "balance" } dd { (loyalty.balance) " points" }
            }
            @if loyalty.pending != 0 { dt { "pending" } dd { (loyalty.pending) " points" } }
            @if !loyalty.tier.is_empty() { dt { "tier" } dd { (loyalty.tier) } }
            @if let Some(at) = loyalty.next_expiry { dt { "next expiry" } dd { (layout::time(at, zone)) } }
            @if let Some(at) = loyalty.store.as_of { dt { "as of" } dd { (layout::time(at, zone)) } }
            @for parked in &customer.parked {
                dt { "parked" } dd { (parked.grant.step) " of " (parked.grant.funnel) " since " (layout::time(parked.since, zone)) ": " (parked.why) }
            }
            @for (offer, until) in &loyalty.offers { dt { "offer " (offer) } dd { "until " (layout::time(*until, zone)) } }
            @if let Some(membership) = &customer.membership {
                dt { "membership" } dd { (membership.name) @if membership.cancelled { ", cancelled" } }
                dt { "member since" } dd { (layout::time(membership.since, zone)) }
                @if let Some(ends) = membership.ends { dt { "ends" } dd { (layout::time(ends, zone)) @if membership.auto_renew { ", renews by itself" } } }
            }
        }
    }
}

fn consent(customer: &Customer, zone: Zone) -> Markup {
    html! {
        @if customer.consent.is_empty() { p class="soft" { "Nothing was said: no marketing." } }
        dl class="facts" {
            @for (key, consent) in &customer.consent {
                dt { (key) }
                dd {
                    @if consent.granted { span class="good" { "yes" } } @else { span class="bad" { "no" } }
                    " (" (consent.source) ", " (layout::time(consent.time, zone)) ")"
                }
            }
            @for (_, stop) in &customer.stops {
                dt { (stop.channel) }
                dd { span class="bad" { (stop.kind.name()) } " (" (stop.source) ", " (layout::time(stop.since, zone)) ")" }
            }
        }
    }
}

fn segments(customer: &Customer, zone: Zone) -> Markup {
    html! {
        @if customer.segments.is_empty() { p class="soft" { "In none." } }
        dl class="facts" { @for (name, since) in &customer.segments { dt { span class="tag" { (name) } } dd { "since " (layout::time(*since, zone)) } } }
    }
}

fn runs(customer: &Customer, zone: Zone) -> Markup {
    let live: Vec<_> = customer.runs.iter().filter(|run| run.is_live()).collect();
    html! {
        p class="soft" { (count_of(live.len(), "live run")) }
        @for unsure in &customer.unsure {
            p class="bad" {
                "Nobody knows whether " (unsure.template) " by " (unsure.channel) " arrived (" (layout::time(unsure.since, zone)) "): " (unsure.why)
                ". " code { "autofunnel effects list" } " shows it."
            }
        }
        dl class="facts" {
            @for run in live {
                dt { a href={ "/funnels/" (encode(&run.funnel)) } { (run.funnel) } }
                dd {
                    @if run.ghost { "held out, watched for the goal" }
                    @else if let Some(why) = &run.unknown {
                        span class="bad" { "waits for a person's word (" code { "autofunnel effects list" } "): " (why) }
                    }
                    @else { (state(&run.state)) }
                    @if let Some(until) = run.due() { " until " (layout::time(until, zone)) }
                }
            }
        }
    }
}

fn state(state: &RunState) -> &'static str {
    match state {
        RunState::Ready => "about to go on",
        RunState::Waiting { .. } => "waits",
        RunState::Held { .. } => "held",
        RunState::Review { .. } => "waits for a person to release its message",
        RunState::WaitingFor { .. } => "waits for something to happen,",
        RunState::Effect { .. } => "sending",
        RunState::Ended { .. } => "ended",
    }
}

fn shown_fact(row: &TimelineRow, zone: Zone, currency: Currency) -> Markup {
    let fact = &row.fact;
    html! {
        li {
            (layout::time(fact.at, zone))
            (sentence(fact, currency))
            @if let Some(run) = &fact.run {
                " " span class="kind" { a href={ "/funnels/" (encode(&run.funnel)) } { (run.funnel) } @if run.run > 0 { " run " (run.run) } @if !run.step.is_empty() { " · " (run.step) } }
            }
            @if !fact.seen.is_empty() {
                details {
                    summary { "What was looked at" }
                    dl class="facts" { @for (operand, value) in &fact.seen { dt { code { (operand) } } dd { (value) } } }
                }
            }
        }
    }
}
