//! `explain`: why a customer got a message, or did not.

use super::effects::{holding, pauses};
use super::remote::{Api, Remote, text};
use super::term::{Term, Tone, plain};
use super::timeline::{clock, facts, line, zone};
use super::{Done, Status};
use crate::lang::cel::nearest;
use crate::lang::diag::closest;
use crate::lang::time::Zone;
use crate::lang::value::Value;
use anyhow::bail;
use clap::Args;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Most facts of a customer that are looked through.
const FACTS_MAX: usize = 10_000;

/// How the reason of a decision begins that a condition made.
const CONDITIONS: &[&str] = &["only_if: ", "if: ", "while: "];

const EXAMPLES: &str = "\
Examples:
  autofunnel explain C-17 renewal      every decision of that funnel about her, with its reason
  autofunnel explain C-17              of all funnels
  autofunnel explain C-17 renewal --json";

/// Explain what funnels decided about a customer
///
/// Shows each run, step by step, with the reason of every decision and every value that it looked at (of a cap the
/// messages that it counted, of a split the numbers that were drawn); also what kept her from entering, and the smallest
/// change of values that would have let her in.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Explain {
    /// Her id
    customer: String,
    /// Only this funnel
    funnel: Option<String>,
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

/// What a funnel did about a customer.
struct Told {
    funnel: String,
    trigger: String,
    /// By the run's number, oldest first; 0 holds refusals to enter.
    runs: BTreeMap<u64, Vec<Json>>,
    /// What it starts with, as far as it went into history only, oldest first.
    past: Vec<Json>,
}

impl Explain {
    pub fn run(self, term: &Term) -> Done {
        let (customer, funnel) = (self.customer.clone(), self.funnel.clone());
        let (zone, told, states) = self.remote.run(|api| async move {
            let zone = zone(&api, &customer).await?;
            let funnels = api.get("/v1/funnels", &[]).await?;
            let told = tell(facts(&api, &customer, FACTS_MAX).await?, &funnels, funnel.as_deref())?;
            anyhow::Ok((zone, told, states(&api, &customer).await?))
        })?;
        if self.json {
            term.line(&format!("{:#}", as_json(&self.customer, &told, &states)))?;
            return Ok(Status::Good);
        }
        if told.is_empty() {
            term.line(&format!("no funnel has decided anything about {}", plain(&self.customer)))?;
            return Ok(Status::Good);
        }
        term.say(&format!("times are those of {zone}"));
        for one in &told {
            term.print(&shown(one, &states, zone, term))?;
        }
        Ok(Status::Good)
    }
}

/// The rows of live and recent runs by their number.
async fn states(api: &Api, customer: &str) -> anyhow::Result<BTreeMap<u64, Json>> {
    let query = [("customer", customer.to_owned()), ("limit", "500".to_owned())];
    let answer = api.get("/v1/runs", &query).await?;
    let runs = answer.get("runs").and_then(Json::as_array).cloned().unwrap_or_default();
    Ok(runs.into_iter().filter_map(|run| Some((run.get("run")?.as_u64()?, run))).collect())
}

/// Sorts facts (newest first) by funnel and run.
fn tell(facts: Vec<Json>, funnels: &Json, wanted: Option<&str>) -> anyhow::Result<Vec<Told>> {
    let known = funnels.get("funnels").and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default();
    let trigger = |name: &str| known.iter().find(|funnel| text(funnel, "name") == name).map(|funnel| text(funnel, "trigger"));
    let mut out: BTreeMap<String, Told> = BTreeMap::new();
    let past: Vec<Json> = facts.iter().rev().filter(|fact| text(fact, "what") == "history_only").cloned().collect();
    let told = |funnel: &str| Told {
        funnel: funnel.to_owned(),
        trigger: trigger(funnel).unwrap_or_default().to_owned(),
        runs: BTreeMap::new(),
        past: past.iter().filter(|fact| starts(known, funnel, text(fact, "about"))).cloned().collect(),
    };
    for fact in facts.into_iter().rev() {
        let Some(run) = fact.get("run").filter(|run| !run.is_null()) else { continue };
        let funnel = text(run, "funnel").to_owned();
        if wanted.is_some_and(|wanted| wanted != funnel) {
            continue;
        }
        let number = run.get("run").and_then(Json::as_u64).unwrap_or(0);
        out.entry(funnel.clone()).or_insert_with(|| told(&funnel)).runs.entry(number).or_default().push(fact);
    }
    if let Some(wanted) = wanted.filter(|wanted| !out.contains_key(*wanted)) {
        if trigger(wanted).is_none() {
            match closest(wanted, known.iter().map(|funnel| text(funnel, "name"))) {
                Some(meant) => bail!("there is no funnel `{wanted}`; did you mean `{meant}`?"),
                None => bail!("there is no funnel `{wanted}`"),
            }
        }
        out.insert(wanted.to_owned(), told(wanted));
    }
    Ok(out.into_values().collect())
}

/// Whether a funnel begins with an event of that name.
fn starts(funnels: &[Json], funnel: &str, event: &str) -> bool {
    let funnel = funnels.iter().find(|known| text(known, "name") == funnel);
    let events = funnel.and_then(|funnel| funnel.get("events")).and_then(Json::as_array);
    events.is_some_and(|events| events.iter().any(|name| name == event))
}

fn shown(told: &Told, states: &BTreeMap<u64, Json>, zone: Zone, term: &Term) -> String {
    let waits = if told.trigger.is_empty() { String::new() } else { format!(" starts with {}", told.trigger) };
    let mut out = format!("\n{}{}\n", term.tone(Tone::Strong, &plain(&told.funnel)), plain(&waits));
    match (told.runs.is_empty(), told.past.is_empty()) {
        (false, _) => {}
        (true, true) => out.push_str("  nothing is on record: what it starts with has not happened to her\n"),
        (true, false) => {
            out.push_str("  not entered: what it starts with is in her history only\n");
            told.past.iter().for_each(|fact| out.push_str(&format!("    {}\n", line(fact, zone, term))));
        }
    }
    for (number, facts) in &told.runs {
        let heading = match (number, states.get(number)) {
            (0, _) => "  not entered".to_owned(),
            (_, Some(run)) => {
                let until = run.get("until").and_then(Json::as_str).map(|until| format!(" until {}", clock(until, zone)));
                let step = match text(run, "step") {
                    "" => String::new(),
                    step => format!(" at {step}"),
                };
                let state = match text(run, "state") {
                    "held_out" => "held out, watched for the goal",
                    state => state,
                };
                format!("  run {number}: {state}{step}{}", until.unwrap_or_default())
            }
            (_, None) => format!("  run {number}"),
        };
        out.push_str(&term.tone(Tone::Strong, &plain(&heading)));
        out.push('\n');
        for pause in states.get(number).map(|run| pauses(run, "paused")).unwrap_or_default() {
            out.push_str(&format!("    {}\n", term.tone(Tone::Bad, &held_up(pause, zone))));
        }
        for fact in facts {
            out.push_str(&format!("    {}\n", line(fact, zone, term)));
            for seen in fact.get("seen").and_then(Json::as_array).into_iter().flatten() {
                let value = seen.get("value").map(Json::to_string).unwrap_or_default();
                let operand = plain(&format!("{} = {value}", text(seen, "operand")));
                out.push_str(&format!("        {}\n", term.tone(Tone::Dim, &operand)));
            }
            if let Some(change) = smallest_change(fact) {
                out.push_str(&format!("        {}\n", plain(&format!("it would have taken: {change}"))));
            }
        }
    }
    out
}

/// A pause that holds a run up, by her clock.
fn held_up(pause: &Json, zone: Zone) -> String {
    let mut pause = pause.clone();
    pause["since"] = clock(text(&pause, "since"), zone).into();
    format!("held up: {}", holding(&pause))
}

/// The smallest change that would have let her in, or would have let a step be done.
fn smallest_change(fact: &Json) -> Option<String> {
    let why = text(fact, "why");
    let condition = CONDITIONS.iter().find_map(|begins| why.strip_prefix(begins))?;
    let seen: Vec<(String, Value)> = fact
        .get("seen")
        .and_then(Json::as_array)?
        .iter()
        .map(|seen| {
            let value = seen.get("value").and_then(|value| Value::from_json(value).ok()).unwrap_or(Value::Null);
            (text(seen, "operand").to_owned(), value)
        })
        .collect();
    nearest(condition, &seen)
}

fn with_changes(facts: &[Json]) -> Vec<Json> {
    let with = |fact: &Json| {
        let mut fact = fact.clone();
        if let Some(change) = smallest_change(&fact) {
            fact["smallest_change"] = change.into();
        }
        fact
    };
    facts.iter().map(with).collect()
}

fn as_json(customer: &str, told: &[Told], states: &BTreeMap<u64, Json>) -> Json {
    let one = |told: &Told| {
        let runs: Vec<Json> = told
            .runs
            .iter()
            .filter(|(number, _)| **number != 0)
            .map(|(number, facts)| json!({ "run": number, "state": states.get(number), "facts": with_changes(facts) }))
            .collect();
        let refusals = told.runs.get(&0).map(|facts| with_changes(facts)).unwrap_or_default();
        json!({ "funnel": told.funnel, "trigger": told.trigger, "runs": runs, "not_entered": refusals, "history_only": told.past })
    };
    json!({ "customer": customer, "funnels": told.iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;

    fn fact(funnel: &str, run: u64, at: &str, sentence: &str) -> Json {
        json!({
            "at": at, "what": "skipped", "sentence": sentence, "seen": [{ "operand": "customer.cups", "value": 2 }],
            "run": { "funnel": funnel, "run": run },
        })
    }

    #[test]
    fn what_would_have_let_her_in_is_told() {
        let fact = json!({
            "why": "only_if: purchases() >= 3 && customer.tier == \"gold\"",
            "seen": [{ "operand": "purchases()", "value": 3 }, { "operand": "customer.tier", "value": "silver" }],
        });
        assert_eq!(smallest_change(&fact).as_deref(), Some("`customer.tier` equal to \"gold\" (it was \"silver\")"));
        assert_eq!(
            with_changes(std::slice::from_ref(&fact))[0]["smallest_change"],
            "`customer.tier` equal to \"gold\" (it was \"silver\")"
        );
        assert_eq!(smallest_change(&json!({ "why": "re_entry: never again", "seen": [] })), None);
    }

    #[test]
    fn facts_are_told_by_run_with_their_values() {
        let funnels = json!({ "funnels": [{ "name": "welcome", "trigger": "signed_up" }, { "name": "renewal", "trigger": "30 days before renewal" }] });
        let facts = vec![
            fact("welcome", 1, "2027-03-02T09:00:00Z", "Second"),
            json!({ "at": "2027-03-01T10:00:00Z", "sentence": "Event", "run": null }),
            fact("welcome", 1, "2027-03-01T09:00:00Z", "First"),
            fact("welcome", 0, "2027-02-01T09:00:00Z", "Did not enter"),
        ];
        let term = Term::new(ColorChoice::Never);
        let states =
            BTreeMap::from([(1, json!({ "run": 1, "state": "waiting", "step": "wait_1", "until": "2027-03-04T09:00:00Z" }))]);
        let all = tell(facts.clone(), &funnels, None).unwrap();
        assert_eq!(
            all.iter().map(|told| shown(told, &states, chrono_tz::Europe::Berlin, &term)).collect::<String>(),
            "
welcome starts with signed_up
  not entered
    2027-02-01 10:00:00  Did not enter
        customer.cups = 2
  run 1: waiting at wait_1 until 2027-03-04 10:00:00
    2027-03-01 10:00:00  First
        customer.cups = 2
    2027-03-02 10:00:00  Second
        customer.cups = 2
"
        );
        let pause = json!({ "paused": "funnel welcome", "since": "2027-03-01T09:00:00Z", "by": "ops", "why": "" });
        let paused = BTreeMap::from([(1, json!({ "run": 1, "state": "sending", "step": "email_1", "paused": [pause] }))]);
        let shown_paused = shown(&all[0], &paused, chrono_tz::Europe::Berlin, &term);
        let line = "  run 1: sending at email_1\n    held up: the funnel welcome is paused since 2027-03-01 10:00:00 by ops; `autofunnel resume funnel welcome` ends that\n";
        assert!(shown_paused.contains(line), "{shown_paused}");
        let none = tell(facts.clone(), &funnels, Some("renewal")).unwrap();
        assert!(shown(&none[0], &states, chrono_tz::UTC, &term).contains("nothing is on record"));
        let old = json!({ "at": "2027-02-01T10:00:00Z", "what": "history_only", "about": "paid", "sentence": "Event paid went into history only", "why": "imported" });
        let listens = json!({ "funnels": [{ "name": "renewal", "trigger": "paid", "events": ["paid"] }, { "name": "other", "events": ["seen"] }] });
        let told_of = |funnel: &str| {
            let told = tell(vec![old.clone()], &listens, Some(funnel)).unwrap();
            shown(&told[0], &states, chrono_tz::UTC, &term)
        };
        assert!(
            told_of("renewal").contains("in her history only\n    2027-02-01 10:00:00  Event paid"),
            "{}",
            told_of("renewal")
        );
        assert!(told_of("other").contains("nothing is on record"));
        let wrong = tell(facts, &funnels, Some("renwal")).map(|_| ()).unwrap_err();
        assert!(wrong.to_string().contains("did you mean `renewal`?"), "{wrong}");
    }
}
