//! The verdict: when everything has come to rest, what the store shows, what the provider saw and what
//! customers were promised must agree.

use super::fault::at_once;
use super::judge::{Her, Judge, base, document, provider_of};
use super::stage::{
    BONUS_POINTS, FRIEND_POINTS, GIFT_POINTS, MAILS_MAX, ORDER_POINTS, PATH_POINTS, PRIZE_POINTS, Stage, TEXT_AFTER_HOURS,
    TEXTS_MAX, WELCOME_POINTS,
};
use super::state::{Shared, State};
use super::world::PAGE;
use autofunnel::account::{Account, LotState};
use autofunnel::customer::RunState;
use autofunnel::effect::{Effect, EffectKind};
use autofunnel::fact::{Fact, RunRef, What};
use autofunnel::lang::time::{DAY_MS, HOUR_MS, Time};
use autofunnel::lang::value::Value;
use autofunnel::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// Within so many days no more messages take hold than a cap allows in its seven. One that was under way when its
/// run ended keeps its place for a day; where nothing is heard of it for longer, another may go out meanwhile.
const CAP_DAYS: i64 = 5;

/// Judges the end.
pub fn verdict(shared: &Shared, store: &dyn Store, stage: &Stage) {
    let mut state = shared.lock().unwrap();
    let state: &mut State = &mut state;
    let counts = at_once(store.counts()).unwrap();
    let mut wrong = Vec::new();
    if (counts.inbox, counts.outbox) != (0, 0) {
        wrong.push(format!("{} inputs and {} effects are left over", counts.inbox, counts.outbox));
    }
    if !state.judge.outbox.is_empty() {
        wrong.push(format!("effects never came out of the outbox: {:?}", state.judge.outbox.keys()));
    }
    let now = store.now();
    for (id, her) in &state.judge.hers {
        let mut said = Vec::new();
        kept(store, id, her, now, &mut said);
        runs(&state.judge, her, now, &mut said);
        orders(&state.judge, id, her, &mut said);
        ledger(&state.judge, id, her, stage, &mut said);
        timeline(&state.judge, id, her, &mut said);
        caps(&state.judge, id, her, &mut said);
        moved(her, &mut said);
        gifts(&state.judge, id, her, &mut said);
        wrong.extend(said.into_iter().map(|what| format!("{id}: {what}")));
    }
    state.judge.wrong.extend(wrong);
}

/// The store holds what was committed, and nothing that is overdue.
fn kept(store: &dyn Store, id: &str, her: &Her, now: Time, wrong: &mut Vec<String>) {
    let record = at_once(store.record(id.to_owned())).unwrap().unwrap_or_default();
    if (record.version, &record.document, &record.account) != (her.version, &her.document, &her.account) {
        wrong.push(format!("the store has version {}, the last commit made {}", record.version, her.version));
    }
    if her.unread() > 0 {
        wrong.push(format!("{} inputs were never consumed", her.unread()));
    }
    if her.wake.is_some_and(|wake| wake <= now) {
        wrong.push(format!("her wake {:?} never came", her.wake));
    }
    let (mut told, mut before) = (Vec::new(), None);
    loop {
        let page = at_once(store.timeline(id.to_owned(), before, PAGE)).unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.seq);
        told.extend(page.into_iter().map(|row| row.fact));
    }
    told.reverse();
    if told != her.facts {
        wrong.push(format!("her timeline has {} facts, commits told {}", told.len(), her.facts.len()));
    }
}

/// Whether nobody knows if points were booked, or they were given up: such a run holds for a person.
fn holds(facts: &[Fact], run: u64) -> bool {
    let of_run = |fact: &&Fact| fact.run.as_ref().is_some_and(|of| of.run == run);
    let held = |fact: &Fact| fact.why.starts_with("unknown") || fact.why.starts_with("given up");
    facts.iter().filter(of_run).any(|fact| fact.what == What::Failed && held(fact))
}

/// Every run has come to its end.
fn runs(judge: &Judge, her: &Her, now: Time, wrong: &mut Vec<String>) {
    let Some(customer) = document(her) else { return };
    for run in customer.runs.iter().filter(|run| run.is_live()) {
        match &run.state {
            RunState::Effect { id } if holds(&her.facts, run.id) && !judge.outbox.contains_key(id) => {}
            // Its answer is on the list of what was put aside: a person has to say what becomes of it.
            RunState::Effect { id } if her.answers_aside.contains(id) => {}
            state => wrong.push(format!("run {} of {} is still {state:?} at {now}", run.id, run.funnel)),
        }
    }
}

fn count(facts: &[Fact], what: What, funnel: &str) -> usize {
    facts
        .iter()
        .filter(|fact| fact.what == what && fact.run.as_ref().is_some_and(|run| run.funnel == funnel && run.run > 0))
        .count()
}

/// At least one run for each order (one at a time), at most one for each purchase.
fn orders(judge: &Judge, id: &str, her: &Her, wrong: &mut Vec<String>) {
    let entered = count(&her.facts, What::Entered, "receipt");
    let fewest = her.orders.len().saturating_sub(her.put_aside);
    if !(fewest..=her.purchases.len()).contains(&entered) {
        let (orders, purchases) = (her.orders.len(), her.purchases.len());
        wrong.push(format!("{purchases} purchases of {orders} orders were accepted, {entered} runs began"));
    }
    if count(&her.facts, What::Entered, "welcome") > 1 {
        wrong.push("she was welcomed twice".to_owned());
    }
    let mut of_purchase: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for effect in judge.planned_for(id).filter(|effect| effect.step == "letter") {
        let EffectKind::Message(message) = &effect.kind else { continue };
        let Some(Value::Map(event)) = message.variables.get("event") else { continue };
        let purchase = event.get("id").and_then(Value::as_text).unwrap_or_default();
        of_purchase.entry(purchase.to_owned()).or_default().insert(base(&effect.id));
    }
    for (purchase, letters) in of_purchase {
        if letters.len() > 1 || !her.purchases.contains(&purchase) {
            wrong.push(format!("purchase {purchase} has the letters {letters:?}"));
        }
    }
}

/// The points of a step.
fn due_at(run: &RunRef) -> i64 {
    match (run.run, run.step.as_str()) {
        (0, _) => FRIEND_POINTS,
        (_, "points") => ORDER_POINTS,
        (_, "bonus") => BONUS_POINTS,
        (_, "prize") => PRIZE_POINTS,
        (_, "step") => PATH_POINTS,
        (_, "gift") => GIFT_POINTS,
        _ => WELCOME_POINTS,
    }
}

/// A run goes on in the edited version once, and does nothing twice for it.
fn moved(her: &Her, wrong: &mut Vec<String>) {
    let mut told: BTreeMap<(u64, What, &str), usize> = BTreeMap::new();
    for fact in &her.facts {
        let Some(run) = fact.run.as_ref().filter(|run| run.funnel == "path" && run.run > 0) else { continue };
        let step = if fact.what == What::Moved { "" } else { run.step.as_str() };
        *told.entry((run.run, fact.what, step)).or_default() += 1;
    }
    for what in [What::Moved, What::Entered, What::Granted, What::Finished] {
        if let Some(((run, ..), times)) = told.iter().find(|((_, of, _), times)| *of == what && **times > 1) {
            wrong.push(format!("run {run} of the path is told to be {} {times} times", what.name()));
        }
    }
}

/// Who brings a friend and the friend are given points, or neither is.
fn gifts(judge: &Judge, id: &str, her: &Her, wrong: &mut Vec<String>) {
    let disturbed = |her: &Her| her.words_aside > 0 || !her.answers_aside.is_empty();
    let granted = |her: &Her, hers: &dyn Fn(&Fact) -> bool| {
        her.facts.iter().filter(|fact| fact.what == What::Granted && hers(fact)).count()
    };
    for (friend, other) in &judge.hers {
        if disturbed(her) || disturbed(other) {
            continue;
        }
        // Whom the run gives to stands in its effects.
        let to =
            |effect: &&Effect| matches!(&effect.kind, EffectKind::Tell(tell) if tell.to == *friend) && effect.funnel == "friend";
        let runs: BTreeSet<u64> = judge.planned_for(id).filter(to).map(|effect| effect.run).collect();
        let hers = granted(her, &|fact| fact.run.as_ref().is_some_and(|run| run.step == "gift" && runs.contains(&run.run)));
        let from = format!("from a run of “{id}”");
        let others = granted(other, &|fact| fact.why.ends_with(&from));
        if hers != others {
            wrong.push(format!("she was given points for {friend} {hers} times, and {friend} {others} times"));
        }
    }
    let account = Account::from_stored(&her.account).unwrap();
    let unsettled = judge.hers.values().any(disturbed);
    if let Some(lot) = account.lots().find(|lot| lot.state == LotState::Held).filter(|_| !unsettled) {
        wrong.push(format!("points are still held under {}", lot.key));
    }
}

/// Points are booked once for each grant, and the account adds up.
fn ledger(judge: &Judge, id: &str, her: &Her, stage: &Stage, wrong: &mut Vec<String>) {
    let account = Account::from_stored(&her.account).unwrap();
    let granted: Vec<&Fact> = her.facts.iter().filter(|fact| fact.what == What::Granted).collect();
    // What another's run has given her belongs to no run of hers.
    let own = || granted.iter().filter_map(|fact| fact.run.as_ref()).map(|run| run.run).filter(|run| *run > 0);
    let once: BTreeSet<u64> = own().collect();
    if once.len() != own().count() {
        wrong.push(format!("{} grants for {} runs", granted.len(), once.len()));
    }
    let points: i64 = granted.iter().filter_map(|fact| fact.amount).sum();
    let expected: i64 = granted.iter().filter_map(|fact| fact.run.as_ref()).map(due_at).sum();
    let finished = count(&her.facts, What::Finished, "receipt");
    // A run goes on while its grant is parked; that may come to nothing in the end.
    let settled = her.facts.iter().filter(|fact| [What::Granted, What::Parked].contains(&fact.what));
    let of_receipt = settled.filter_map(|fact| fact.run.as_ref()).filter(|run| run.funnel == "receipt");
    let receipts: BTreeSet<u64> = of_receipt.map(|run| run.run).collect();
    if receipts.len() < finished {
        wrong.push(format!("{finished} receipts are finished, {} were granted points or parked them", receipts.len()));
    }
    // What was parked has come to its end in one way or the other.
    let told_of = |what: What, run: u64| {
        her.facts.iter().any(|fact| fact.what == what && fact.run.as_ref().is_some_and(|of| of.run == run && of.step == "points"))
    };
    if let Some(run) = receipts
        .iter()
        .find(|run| told_of(What::Parked, **run) && !told_of(What::Granted, **run) && !told_of(What::Failed, **run))
    {
        wrong.push(format!("nobody knows what became of the points that run {run} has parked"));
    }
    if points != expected {
        wrong.push(format!("{points} points were granted, {expected} were due"));
    }
    if stage.definitions.current.settings.loyalty.is_none() {
        if account.granted() != expected {
            wrong.push(format!("the account was granted {}, the timeline says {expected}", account.granted()));
        }
        let moved: i64 = account.entries().map(|entry| entry.change).sum();
        if moved != account.balance() {
            wrong.push(format!("the account's lines add up to {moved}, its balance is {}", account.balance()));
        }
        return;
    }
    let parked = document(her).map(|her| her.parked).unwrap_or_default();
    if let Some(left) = parked.iter().find(|parked| parked.unknown.is_none()) {
        wrong.push(format!("{} is still parked, next {:?}", left.grant.id, left.next));
    }
    let banked =
        |effect: &&Effect| provider_of(effect) == "bank" && judge.seen.get(&effect.id).is_some_and(|seen| !seen.held.is_empty());
    let held = judge.planned_for(id).filter(banked).count();
    const STEPS: [&str; 5] = ["points", "thanks", "bonus", "prize", "step"];
    let grants = |about: &str| STEPS.iter().any(|step| about == *step || about.contains(&format!("/{step}/")));
    let unknown = her.facts.iter().filter(|fact| [What::Failed, What::Sent].contains(&fact.what) && grants(&fact.about)).count();
    if !(granted.len()..=granted.len() + unknown).contains(&held) {
        wrong.push(format!("the bank booked {held} grants, the timeline says {} and {unknown} of unknown fate", granted.len()));
    }
}

/// The timeline tells what the provider did, and nothing came early.
fn timeline(judge: &Judge, id: &str, her: &Her, wrong: &mut Vec<String>) {
    let at_step = |what: What, run: u64, step: &str| {
        her.facts.iter().find(|fact| fact.what == what && fact.run.as_ref().is_some_and(|of| of.run == run && of.step == step))
    };
    for planned in judge.planned_for(id) {
        let effect = &planned.id;
        if ["account", "inbox", "another customer"].contains(&provider_of(planned)) {
            continue;
        }
        let held = judge.seen.get(effect).is_some_and(|seen| !seen.held.is_empty());
        let sent = if provider_of(planned) == "bank" { What::Granted } else { What::Sent };
        let (sent, failed) = (at_step(sent, planned.run, &planned.step), at_step(What::Failed, planned.run, &planned.step));
        // An answer that was in hand at three ends of its process is on the list of what was put aside.
        let later = her.facts.iter().any(|fact| fact.about == *effect) || her.answers_aside.contains(effect);
        if held && sent.is_none() && failed.is_none() && !later {
            wrong.push(format!("{effect} took hold and her timeline does not say so"));
        }
        if planned.step == "text" && planned.funnel == "receipt" {
            // Where the bank was blocked, the run went on without them.
            let granted = at_step(What::Parked, planned.run, "points").or(at_step(What::Granted, planned.run, "points"));
            let granted = granted.map(|fact| fact.at);
            let early = judge
                .began
                .get(effect)
                .zip(granted)
                .filter(|(began, granted)| began.since_ms(*granted) < TEXT_AFTER_HOURS * HOUR_MS);
            if let Some((began, granted)) = early {
                wrong.push(format!("{effect} began {began}, the points were granted {granted}"));
            }
        }
    }
    for fact in her.facts.iter().filter(|fact| fact.what == What::Sent) {
        let Some(run) = &fact.run else { continue };
        let mut of_step =
            judge.planned.range(format!("{id}/{}/{}/", run.run, run.step)..format!("{id}/{}/{}0", run.run, run.step));
        let inbox = ["chat", "end"].contains(&run.step.as_str());
        if !inbox && !of_step.any(|(effect, _)| judge.seen.get(effect).is_some_and(|seen| !seen.held.is_empty())) {
            wrong.push(format!("run {} says that {} was sent and it never took hold", run.run, run.step));
        }
    }
}

/// Whether consent and caps apply to it.
fn is_marketing(effect: &Effect, by: &str) -> bool {
    matches!(&effect.kind, EffectKind::Message(message) if !message.transactional && message.channel == by)
}

/// No cap is exceeded.
fn caps(judge: &Judge, id: &str, her: &Her, wrong: &mut Vec<String>) {
    for (channel, most) in [("email", MAILS_MAX), ("sms", TEXTS_MAX)] {
        // One that was under way when its run ended keeps its place for a day only: an outage may outlast that.
        let run_over = |effect: &Effect| {
            let of = |fact: &Fact| fact.run.as_ref().is_some_and(|run| run.run == effect.run && run.step == effect.step);
            her.facts.iter().any(|fact| fact.what == What::Withdrawn && of(fact))
        };
        let hers = judge.planned_for(id).filter(|effect| is_marketing(effect, channel) && !run_over(effect));
        let mut held: Vec<Time> = hers.filter_map(|effect| judge.seen.get(&effect.id)?.held.first().copied()).collect();
        held.sort();
        if let Some(few) = held.windows(most + 1).find(|few| few[most].since_ms(few[0]) < CAP_DAYS * DAY_MS) {
            wrong.push(format!("more than {most} {channel} took hold within {CAP_DAYS} days: {few:?}"));
        }
    }
}
