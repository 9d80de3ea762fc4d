//! The checker: reads three journals and holds them against each other. What the sender was told, what
//! the engine has on record, what the provider saw.

use super::home::REDIS_PASSWORD;
use super::process::{PATIENCE, PROVIDER_SECRET, TOKEN};
use super::sender::Sent;
use super::world::{LATE, PAL_POINTS, POINTS, World, block_on, pal_of};
use crate::provider::{Call, DESK_PATH, KEYED_PATH, Reply};
use autofunnel::account::Account;
use autofunnel::fact::{Fact, What};
use autofunnel::store::RunRow;
use autofunnel::store::read::{Counts, KeptMessage, PAGE_ROWS_MAX, QuarantineRow, ReadSide, RunFilter};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// The provider's path that takes no key, where nothing may be doubled.
const HELD_PATH: &str = "/text";

/// What the checker found.
#[derive(Default)]
pub struct Verdict {
    /// What was accepted and did not have its effect.
    pub lost: Vec<String>,
    /// What had its effect more often than it may.
    pub doubled: Vec<String>,
    /// What is wrong otherwise.
    pub wrong: Vec<String>,
    /// How often what occurred.
    pub seen: Seen,
}

/// How often what occurred in a world.
#[derive(Default, Clone, Copy, Debug)]
pub struct Seen {
    /// Runs that came to their end.
    pub runs: usize,
    /// Requests that senders had to repeat.
    pub sent_again: usize,
    /// Requests of providers under a key that was seen before.
    pub repeats: usize,
    /// Such requests though the one before was answered with yes: the process ended before it knew.
    pub repeats_after_yes: usize,
    /// Messages whose fate is not known.
    pub unknown: usize,
    /// Decisions that outlived their shelf life and were made anew.
    pub redecided: usize,
}

impl Seen {
    /// Adds another world's.
    pub fn add(&mut self, other: Seen) {
        self.runs += other.runs;
        self.sent_again += other.sent_again;
        self.repeats += other.repeats;
        self.repeats_after_yes += other.repeats_after_yes;
        self.unknown += other.unknown;
        self.redecided += other.redecided;
    }
}

impl Verdict {
    /// Nothing is wrong at all.
    pub fn is_good(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.wrong.is_empty()
    }

    /// Everything that is wrong.
    pub fn text(&self) -> String {
        let part = |name: &str, list: &[String]| list.iter().map(|line| format!("  {name}: {line}\n")).collect::<String>();
        [part("lost", &self.lost), part("doubled", &self.doubled), part("wrong", &self.wrong)].concat()
    }

    fn expect(&mut self, what: impl Fn() -> String, found: usize, wanted: usize) {
        if found < wanted {
            self.lost.push(format!("{}: {found} of {wanted}", what()));
        } else if found > wanted {
            self.doubled.push(format!("{}: {found} instead of {wanted}", what()));
        }
    }
}

/// What the engine has on record of one customer.
struct Records {
    facts: Vec<Fact>,
    account: Account,
    runs: Vec<RunRow>,
    messages: Vec<KeptMessage>,
}

impl Records {
    fn count(&self, what: What, variant: &str) -> usize {
        let hers = |run: &autofunnel::fact::RunRef| run.variant == variant && run.step != "news" && run.step != "alarm";
        let fits = |fact: &&Fact| fact.what == what && fact.run.as_ref().is_some_and(hers);
        self.facts.iter().filter(fits).count()
    }

    fn events(&self, name: &str) -> usize {
        self.facts.iter().filter(|fact| fact.what == What::Event && fact.about == name).count()
    }
}

/// Reads everything after the last engine has ended.
pub fn check(world: &World) -> Verdict {
    let told = world.post.told.lock().unwrap();
    let mut verdict = Verdict { wrong: told.refused.clone(), ..Verdict::default() };
    verdict.seen.sent_again = told.repeated;
    if !world.may_fail {
        verdict.wrong.extend(told.failures.iter().map(|failure| format!("answered with 500: {failure}")));
    }
    if told.pending > 0 {
        verdict.lost.push(format!("{} requests were never answered", told.pending));
    }
    let mut by_customer: BTreeMap<String, Vec<(&String, &Sent)>> = BTreeMap::new();
    for (id, sent) in &told.accepted {
        by_customer.entry(sent.customer.clone()).or_default().push((id, sent));
    }
    let customers = by_customer.keys().flat_map(|customer| [customer.clone(), pal_of(customer)]).collect::<Vec<_>>();
    let (counts, quarantine, mut records) = block_on(read(world, &customers));
    for (customer, sent) in &by_customer {
        let joined = sent.iter().filter(|(_, sent)| sent.name == "joined").count();
        if let Some(pal) = records.remove(&pal_of(customer)) {
            check_pal(&pal_of(customer), joined, &pal, &mut verdict);
        }
    }
    check_logs(world, &mut verdict);
    check_counts(&counts, &mut verdict);
    check_damaged(world, &quarantine, &by_customer, &mut verdict);
    let calls = world.provider.calls();
    check_calls(&calls, world.several, &mut verdict);
    let mails = effects_by_order(&calls);
    for (customer, records) in &records {
        let sent = &by_customer[customer];
        let forbids = world.forbids.contains(customer);
        check_customer(customer, sent, records, forbids, &mut verdict);
        for (id, sent) in sent {
            match sent.name {
                "joined" => check_outside(id, records, forbids, &mails, &mut verdict),
                "news" | "alarm" => check_news(id, forbids, &mails, &mut verdict),
                _ => {}
            }
        }
    }
    check_order(&mails, &mut verdict);
    verdict
}

type Everything = (Counts, Vec<QuarantineRow>, BTreeMap<String, Records>);

async fn read(world: &World, customers: &[String]) -> Everything {
    let store = world.home.open(false).await;
    let mirror;
    let mut side: &dyn ReadSide = &*store;
    if let Some(tables) = world.home.side() {
        let begun = Instant::now();
        while !world.home.is_followed().await {
            assert!(begun.elapsed() < PATIENCE, "the read side does not catch up");
            // Every question lets it catch up.
            store.counts().await.unwrap();
        }
        // Asked directly, as every question through the store would wait for the streams once more.
        mirror = tables;
        side = &*mirror;
    }
    let (counts, quarantine) = (store.counts().await.unwrap(), store.quarantine(PAGE_ROWS_MAX).await.unwrap());
    let mut all = BTreeMap::new();
    for customer in customers.iter().filter(|customer| !world.damaged.contains(customer)) {
        let mut facts = Vec::new();
        let mut before = None;
        loop {
            let page = side.timeline(customer.clone(), before, PAGE_ROWS_MAX).await.unwrap();
            before = page.last().map(|row| row.seq);
            let last = page.len() < PAGE_ROWS_MAX;
            facts.extend(page.into_iter().map(|row| row.fact));
            if last {
                break;
            }
        }
        let record = store.record(customer.clone()).await.unwrap().unwrap_or_default();
        let filter = RunFilter { customer: customer.clone(), ..RunFilter::default() };
        let runs = side.runs(filter, PAGE_ROWS_MAX).await.unwrap();
        let messages = side.messages(customer.clone(), None, PAGE_ROWS_MAX).await.unwrap();
        let account = Account::from_stored(&record.account).unwrap();
        all.insert(customer.clone(), Records { facts, account, runs, messages });
    }
    store.close().await;
    (counts, quarantine, all)
}

fn check_counts(counts: &Counts, verdict: &mut Verdict) {
    for (name, left) in [("inputs in the inbox", counts.inbox), ("effects in the outbox", counts.outbox)] {
        if left > 0 {
            verdict.lost.push(format!("{left} {name} were never handled"));
        }
    }
    if !counts.live_runs.is_empty() {
        verdict.lost.push(format!("runs that never ended: {:?}", counts.live_runs));
    }
}

/// Of the damaged customers every input is put aside, of the others none.
fn check_damaged(
    world: &World,
    quarantine: &[QuarantineRow],
    by_customer: &BTreeMap<String, Vec<(&String, &Sent)>>,
    verdict: &mut Verdict,
) {
    for row in quarantine.iter().filter(|row| !world.damaged.contains(&row.customer)) {
        verdict.lost.push(format!("put aside though it is sound: {row:?}"));
    }
    for (id, _) in world.damaged.iter().filter_map(|customer| by_customer.get(customer)).flatten() {
        let found = quarantine.iter().filter(|row| row.input.contains(&format!("\"{id}\""))).count();
        verdict.expect(|| format!("{id} put aside"), found, 1);
    }
}

/// One customer's own records against what her sender was told.
fn check_customer(customer: &str, sent: &[(&String, &Sent)], records: &Records, forbids: bool, verdict: &mut Verdict) {
    let named = |name: &str| sent.iter().filter(|(_, sent)| sent.name == name).count();
    let (joined, noise, news) = (named("joined"), named("noise"), named("news"));
    let of = |what: &str| format!("{what} of {customer}");
    verdict.expect(|| of("events `joined`"), records.events("joined"), joined);
    verdict.expect(|| of("events `noise`"), records.events("noise"), noise);
    verdict.expect(|| of("events `news`"), records.events("news"), news);
    let alarms = named("alarm");
    verdict.expect(|| of("events `alarm`"), records.events("alarm"), alarms);
    let alone = news + alarms;
    let entered = records.facts.iter().filter(|fact| fact.what == What::Entered).count();
    verdict.expect(|| of("entries"), entered, joined + alone);
    let finished = records.runs.iter().filter(|run| run.state == "finished").count();
    verdict.expect(|| of("finished runs"), finished, joined + alone);
    verdict.expect(|| of("runs"), records.runs.len(), joined + alone);
    for (variant, may_fail) in [("email", forbids), ("sms", true), ("push", forbids), ("chat", forbids)] {
        let (sent, failed) = (records.count(What::Sent, variant), records.count(What::Failed, variant));
        let counted = if may_fail { sent + failed } else { sent };
        verdict.expect(|| of(&format!("messages by {variant}")), counted, joined);
        verdict.seen.unknown += failed;
    }
    check_account(&of, &records.account, &records.facts, joined, verdict);
    let kept: BTreeSet<&str> = records.messages.iter().map(|message| base(&message.id)).collect();
    if kept.len() < records.messages.len() {
        verdict.doubled.push(of("messages in the inbox"));
    }
    if !forbids {
        verdict.expect(|| of("messages in the inbox"), records.messages.len(), joined);
    }
    for fact in &records.facts {
        match fact.what {
            What::Sent | What::Failed if fact.run.is_none() => verdict.doubled.push(of(&format!("an answer ({fact:?})"))),
            What::Failed if !fact.why.starts_with("unknown") => verdict.lost.push(of(&format!("an effect ({})", fact.why))),
            What::NotEntered | What::Stopped | What::Alert => verdict.wrong.push(of(&format!("{fact:?}"))),
            What::Redecided => verdict.seen.redecided += 1,
            _ => {}
        }
    }
    verdict.seen.runs += finished;
}

fn check_account(of: &dyn Fn(&str) -> String, account: &Account, facts: &[Fact], joined: usize, verdict: &mut Verdict) {
    verdict.expect(|| of("offers"), account.offers().count(), joined);
    let told = |what: What| facts.iter().filter(move |fact| fact.what == what);
    verdict.expect(|| of("words to the other"), told(What::Told).count(), 2 * joined);
    verdict.expect(|| of("calls told"), told(What::Called).count(), joined);
    verdict.expect(|| of("offers told"), told(What::Offered).count(), joined);
    check_points(of, account, facts, (joined, &POINTS), verdict);
}

/// What each run of a customer has brought another.
fn check_pal(pal: &str, joined: usize, records: &Records, verdict: &mut Verdict) {
    let of = |what: &str| format!("{what} of {pal}");
    verdict.expect(|| of("events `hailed`"), records.events("hailed"), joined);
    let entered = records.facts.iter().filter(|fact| fact.what == What::Entered).count();
    verdict.expect(|| of("entries"), entered, joined);
    check_points(&of, &records.account, &records.facts, (joined, &PAL_POINTS), verdict);
}

/// Points: each grant once, all of them certain, and every sum the same.
fn check_points(
    of: &dyn Fn(&str) -> String,
    account: &Account,
    facts: &[Fact],
    (joined, each): (usize, &[i64]),
    verdict: &mut Verdict,
) {
    let wanted = each.iter().sum::<i64>() * joined as i64;
    let lots: BTreeSet<&str> = account.lots().map(|lot| lot.key).collect();
    verdict.expect(|| of("grants"), account.lots().count(), each.len() * joined);
    verdict.expect(|| of("keys of grants"), lots.len(), each.len() * joined);
    let told = |what: What| facts.iter().filter(move |fact| fact.what == what);
    verdict.expect(|| of("grants told"), told(What::Granted).count(), each.len() * joined);
    let sums = [
        ("balance", account.balance()),
        ("sum of lots", account.lots().map(|lot| lot.points).sum()),
        ("sum of lines", account.entries().map(|entry| entry.change).sum()),
        ("sum of facts", told(What::Granted).filter_map(|fact| fact.amount).sum()),
    ];
    for (name, sum) in sums {
        if sum != wanted {
            let list = if sum < wanted { &mut verdict.lost } else { &mut verdict.doubled };
            list.push(of(&format!("points: {name} is {sum}, not {wanted},")));
        }
    }
}

/// What reached somebody, by path and order: the effects by which it did.
type Outside = BTreeMap<(String, String), Vec<String>>;

fn effects_by_order(calls: &[Call]) -> Outside {
    let mut out = Outside::new();
    for call in calls.iter().filter(|call| call.effect) {
        let order = call.body.split(" for ").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        out.entry((call.path.clone(), order.to_owned())).or_default().push(call.key.clone());
    }
    out
}

/// What the outside saw of one accepted event.
fn check_outside(order: &str, records: &Records, forbids: bool, outside: &Outside, verdict: &mut Verdict) {
    for (path, variant) in [(KEYED_PATH, "email"), (HELD_PATH, "sms"), ("/pager", "push"), (DESK_PATH, "")] {
        let acts = outside.get(&(path.to_owned(), order.to_owned())).map_or(&[][..], Vec::as_slice);
        let runs: BTreeSet<&str> = acts.iter().map(|key| base(key)).collect();
        if runs.len() > 1 || (path != "/pager" && acts.len() > 1) {
            verdict.doubled.push(format!("{order} by {variant} reached somebody as {acts:?}"));
        }
        let sure = match variant {
            "sms" => records.count(What::Failed, variant) == 0,
            // A call is no message: her consent is not asked.
            "" => true,
            _ => !forbids,
        };
        if sure && acts.is_empty() {
            verdict.lost.push(format!("{order} by {variant} reached nobody"));
        }
    }
}

/// News: once, and never after the withdrawal of consent was answered.
fn check_news(order: &str, forbids: bool, outside: &Outside, verdict: &mut Verdict) {
    let acts = outside.get(&(KEYED_PATH.to_owned(), order.to_owned())).map_or(0, Vec::len);
    if acts > 1 {
        verdict.doubled.push(format!("{order} reached somebody {acts} times"));
    }
    if !forbids && acts == 0 {
        verdict.lost.push(format!("{order} reached nobody"));
    }
    if order.ends_with(LATE) && acts > 0 {
        verdict.wrong.push(format!("{order} was sent though her withdrawal had been answered before it came"));
    }
}

/// A customer's orders began in the order in which they were accepted.
fn check_order(outside: &Outside, verdict: &mut Verdict) {
    let mut runs: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for ((path, order), keys) in outside.iter().filter(|((path, _), _)| path == KEYED_PATH) {
        let Some((customer, number)) = order.split_once("-join-") else { continue };
        let run = keys[0].split('/').nth(1).and_then(|run| run.parse().ok());
        match (number.parse(), run) {
            (Ok(number), Some(run)) => runs.entry(customer).or_default().push((number, run)),
            _ => verdict.wrong.push(format!("{path}: {order} came as {keys:?}")),
        }
    }
    for (customer, mut runs) in runs {
        runs.sort_unstable();
        if !runs.is_sorted_by_key(|(_, run)| *run) {
            verdict.wrong.push(format!("orders and runs of {customer} are not in the same order: {runs:?}"));
        }
    }
}

/// No process has panicked, and none has told a secret.
fn check_logs(world: &World, verdict: &mut Verdict) {
    for entry in std::fs::read_dir(world.folder()).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for word in ["panicked", TOKEN, PROVIDER_SECRET, REDIS_PASSWORD] {
            if let Some(line) = text.lines().find(|line| line.contains(word)) {
                verdict.wrong.push(format!("{} says `{word}`: {line}", path.display()));
            }
        }
    }
}

/// Each key's requests: one body, and a reason for every repetition.
///
/// One of `several` workers may lose what it is calling for to another, and get it back before it has its answer:
/// it calls again under the same key.
fn check_calls(calls: &[Call], several: bool, verdict: &mut Verdict) {
    let mut keys: BTreeMap<(&str, &str), Vec<&Call>> = BTreeMap::new();
    for call in calls {
        keys.entry((&call.path, &call.key)).or_default().push(call);
    }
    for ((path, key), calls) in keys {
        if calls.iter().any(|call| call.body != calls[0].body) || calls.iter().any(|call| call.reply == Reply::OtherBody) {
            verdict.wrong.push(format!("{path} {key} came with another body"));
        }
        for pair in calls.windows(2) {
            let (first, again) = (pair[0], pair[1]);
            verdict.seen.repeats += 1;
            if first.reply == Reply::Yes {
                verdict.seen.repeats_after_yes += 1;
                if first.process == again.process && !several {
                    verdict.doubled.push(format!("{path} {key} was sent again by {} after a yes", again.process));
                }
            }
            // Whoever takes no key and holds is asked again only when nothing can have happened.
            if path == HELD_PATH && first.reply != Reply::Busy {
                verdict.doubled.push(format!("{path} {key} was sent again after {:?}", first.reply));
            }
        }
    }
}

/// An effect's id without the number of its decision.
fn base(key: &str) -> &str {
    let step = key.rfind('/').map_or(0, |at| at + 1);
    match key[step..].find('.') {
        Some(dot) => &key[..step + dot],
        None => key,
    }
}
