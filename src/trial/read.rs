//! From the test as written to a script: what is given, what happens when, what is expected.

use super::store::StoreChange;
use super::{CUSTOMER, Expected, State, data, happening, line, moment};
use crate::event::address::field_of;
use crate::event::{Event, Input, InputBody, ProfileChange};
use crate::funnel::schema::{ANSWER_FIELDS, GIVEN_FIELDS, HAPPENING_FIELDS, STATE_FIELDS, TEST_FIELDS};
use crate::funnel::{Funnel, Workspace, holdout};
use crate::lang::cel::Text;
use crate::lang::diag::{Faults, Place, closest};
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::shape::{self, Object};
use crate::lang::time::{Span, Time, Zone};
use crate::lang::value::Fields;
use crate::play::{Answer, Failure};
use crate::step::StepAt;
use crate::step::winner::Winner;
use std::collections::BTreeSet;

/// Most days after the last event that a test without `until` is played.
pub const DAYS_MAX: u32 = 400;
/// Most ids that are tried for one who is, or is not, held out: enough for a share of a hundredth of a percent.
const DRAWS_MAX: usize = 200_000;
/// Steps that a hint names.
const STEPS_TOLD_MAX: usize = 20;
/// Most entries of `events`, of `history`, and lines of `expect`.
pub const ENTRIES_MAX: usize = 1_000;

/// A test that can be played.
#[derive(Debug)]
pub struct Script {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) customer: String,
    pub(super) zone: Zone,
    pub(super) start: Time,
    pub(super) given: Vec<Input>,
    pub(super) store: Option<StoreChange>,
    /// What services answer from the start, by step.
    pub(super) answers: Vec<(String, Answer)>,
    /// Variants that she is given.
    pub(super) variants: Vec<Winner>,
    pub(super) acts: Vec<(Time, Act)>,
    pub(super) until: Time,
    pub(super) expect: Option<Vec<Expected>>,
    pub(super) state: State,
}

/// What happens at an instant.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Act {
    Input(InputBody),
    Fail(String, Failure),
    Store(StoreChange),
    /// What she says about her address of a channel.
    Said(String, Says),
    /// A person's word on what a step holds for review: it may go.
    Review(String, bool),
    Answer(String, Answer),
}

/// What a customer can say about being written to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Says {
    Stop,
    Start,
    Unsubscribe,
}

/// What reading an entry needs.
pub(super) struct Reader<'a> {
    pub(super) workspace: &'a Workspace,
    pub(super) funnel: &'a str,
    pub(super) zone: Zone,
    /// Ids that were used.
    pub(super) ids: BTreeSet<String>,
}

/// Reads a test of a funnel. Everything that is wrong with it is a fault.
pub fn read(workspace: &Workspace, funnel: &str, node: &Node, faults: &mut Faults) -> Option<Script> {
    let errors = faults.error_count();
    let object = Object::read(node, &[TEST_FIELDS], "a test", faults)?;
    let name = object.text("name", faults);
    let given = object.node("given").and_then(|node| Object::read(node, &[GIVEN_FIELDS], "`given`", faults));
    let given = given.as_ref();
    let (customer, profile) = customer(given, workspace, faults);
    let customer = drawn(customer, given, workspace, funnel, faults);
    let zone = crate::customer::Customer { profile: profile.clone(), ..Default::default() }.zone(workspace.settings.zone);
    let mut reader = Reader { workspace, funnel, zone, ids: BTreeSet::new() };
    let start = given.and_then(|given| given.node("at")).and_then(|node| moment::read(node, zone, None, faults));
    let acts = reader.acts(object.node("events"), start, faults);
    let Some(start) = start.or_else(|| acts.first().map(|(at, _)| *at)) else {
        if faults.error_count() == errors {
            faults
                .error("missing-field", &object.place, "the test does not say when it starts")
                .hint("add `given: { at: 2027-03-01 08:00 }`, or events with times");
        }
        return None;
    };
    let known: BTreeSet<String> = profile.keys().cloned().collect();
    heard(&acts, known, object.node("events"), faults);
    let store = given.and_then(|given| given.node("store")).and_then(|node| reader.store(node, faults));
    let answers = given.and_then(|given| given.node("answers")).map(|node| reader.answers(node, faults)).unwrap_or_default();
    let variants = given.and_then(|given| given.node("variants")).map(|node| reader.variants(node, faults)).unwrap_or_default();
    let given = reader.given(given, profile, start, faults);
    let last = acts.last().map_or(start, |(at, _)| *at);
    let until = match object.node("until") {
        Some(node) => moment::read(node, zone, Some(last), faults),
        None => Some(last.plus(Span::days(DAYS_MAX), zone)),
    };
    if let Some(until) = until.filter(|until| *until < last) {
        faults
            .error("bad-time", &object.place("until"), format!("the test would end {until}, before the last event"))
            .hint("write a later time");
    }
    let expect = object.node("expect").map(|node| expect(node, zone, faults));
    let state = state(object.node("state"), workspace, faults);
    if object.node("expect").is_none() && object.node("state").is_none() {
        faults
            .error("missing-field", &object.place, "the test expects nothing")
            .hint("add `expect:` with what she is to see, or `expect: []`");
    }
    let sound = faults.error_count() == errors && workspace.funnels.contains_key(funnel);
    let place = object.place.clone();
    let (name, until) = (name?.text, until?);
    sound.then_some(Script { name, place, customer, zone, start, given, store, answers, variants, acts, until, expect, state })
}

/// Whoever says something about being written to has an address by then.
fn heard(acts: &[(Time, Act)], mut known: BTreeSet<String>, events: Option<&Node>, faults: &mut Faults) {
    for (_, act) in acts {
        match act {
            Act::Input(InputBody::Profile(change)) => known.extend(change.profile.keys().cloned()),
            Act::Said(channel, _) if !known.contains(field_of(channel)) => {
                let (field, Some(events)) = (field_of(channel), events) else { continue };
                faults
                    .error("missing-address", &events.place, format!("she has no `{field}`, so she cannot answer by {channel}"))
                    .hint(format!("add it under `given: {{ customer: {{ {field}: … }} }}`"));
            }
            _ => {}
        }
    }
}

/// Her id and her profile.
fn customer(given: Option<&Object<'_>>, workspace: &Workspace, faults: &mut Faults) -> (String, Fields) {
    let entries =
        given.and_then(|given| given.node("customer")).map(|node| entries(node, "`customer`", faults)).unwrap_or_default();
    let id = entries.iter().find(|(key, _)| key.text == "id").and_then(|(_, node)| shape::text(node, faults));
    let profile = data::profile(entries.into_iter().filter(|(key, _)| key.text != "id"), workspace, faults);
    (id.map_or_else(|| CUSTOMER.to_owned(), |id| id.text), profile)
}

/// Who is held out is drawn by id: of `c`, `c-1`, `c-2` … the first one whom the draw treats as the test wants.
/// Without a holdout that is `c` itself.
fn drawn(id: String, given: Option<&Object<'_>>, workspace: &Workspace, funnel: &str, faults: &mut Faults) -> String {
    let wanted = given.is_some_and(|given| given.bool("holdout", false, faults));
    let said = given.is_some_and(|given| given.node("holdout").is_some());
    // An id that the test names itself is kept.
    let Some(compiled) = workspace.funnels.get(funnel).filter(|_| said || id == CUSTOMER) else { return id };
    let found = somebody(&id, workspace, compiled, wanted);
    if let (None, Some(given)) = (&found, given) {
        let who = if wanted { "nobody" } else { "everybody" };
        faults
            .error("test-holdout", &given.place("holdout"), format!("{who} is held out of this funnel"))
            .hint("write another `holdout:` in the funnel, or in `given`");
    }
    found.unwrap_or(id)
}

/// Of an id and others made of it the first one that is held out of a funnel, or is not.
pub(super) fn somebody(id: &str, workspace: &Workspace, funnel: &Funnel, held_out: bool) -> Option<String> {
    let fits = |id: &String| holdout::held_out(&workspace.settings, funnel, id).is_some() == held_out;
    let others = (1..DRAWS_MAX).map(|n| format!("{id}-{n}"));
    std::iter::once(id.to_owned()).chain(others).find(fits)
}

/// The entries of a map; a fault when it is none.
pub(super) fn entries<'n>(node: &'n Node, what: &str, faults: &mut Faults) -> Vec<(&'n Key, &'n Node)> {
    match node.map() {
        Some(map) => map.iter().map(|(key, value)| (key, value)).collect(),
        None => {
            faults
                .error("wrong-type", &node.place, format!("{what} must be a map of fields, but here stands {}", node.describe()))
                .hint("write `name: value` lines");
            Vec::new()
        }
    }
}

/// The items of a list; a fault when it is none or too long.
fn items<'n>(node: &'n Node, what: &str, faults: &mut Faults) -> &'n [Node] {
    match node.list() {
        Some(list) if list.len() <= ENTRIES_MAX => list,
        Some(list) => {
            faults
                .error("too-many", &node.place, format!("{what} has {} entries", list.len()))
                .hint(format!("use at most {ENTRIES_MAX}"));
            &[]
        }
        None => {
            faults
                .error("wrong-type", &node.place, format!("{what} must be a list, but here stands {}", node.describe()))
                .hint("begin each entry with `- `");
            &[]
        }
    }
}

impl Reader<'_> {
    /// What services answer from the start.
    fn answers(&self, node: &Node, faults: &mut Faults) -> Vec<(String, Answer)> {
        let mut out = Vec::new();
        for (key, node) in entries(node, "`answers`", faults) {
            let step = self.calling(Some(Text { text: key.text.clone(), place: key.place.clone() }), &key.place, faults);
            let object = Object::read(node, &[ANSWER_FIELDS], "an answer", faults);
            let answer = object.and_then(|object| happening::answer(&object, faults));
            out.extend(step.zip(answer));
        }
        out
    }

    /// The steps of the tested funnel.
    pub(super) fn steps(&self) -> impl Iterator<Item = &StepAt> {
        self.workspace.funnels.get(self.funnel).into_iter().flat_map(|funnel| &funnel.steps.list)
    }

    /// The variants that splits give her.
    fn variants(&self, node: &Node, faults: &mut Faults) -> Vec<Winner> {
        let mut out = Vec::new();
        for (key, node) in entries(node, "`variants`", faults) {
            let splits = || self.steps().filter(|at| !at.step.variants().is_empty());
            let Some(split) = splits().find(|at| at.id == key.text) else {
                faults.error("unknown-step", &key.place, format!("the funnel has no split `{}`", key.text));
                told_steps(&key.text, splits(), faults);
                continue;
            };
            let Some(variant) = shape::text(node, faults) else { continue };
            if !split.step.variants().contains(&variant.text.as_str()) {
                faults
                    .error("unknown-variant", &variant.place, format!("the split has no variant `{}`", variant.text))
                    .did_you_mean(&variant.text, split.step.variants().into_iter());
                continue;
            }
            let (funnel, step, variant) = (self.funnel.to_owned(), split.id.clone(), variant.text);
            out.push(Winner { funnel, step, variant, from: Time(i64::MIN), by: None, counted: Vec::new() });
        }
        out
    }

    /// What is known at the start: an import, so that it fires nothing.
    fn given(&mut self, given: Option<&Object<'_>>, profile: Fields, start: Time, faults: &mut Faults) -> Vec<Input> {
        let Some(given) = given else { return Vec::new() };
        let consent = given.node("consent").map(|node| self.consent(node, start, faults)).unwrap_or_default();
        let membership = given.node("membership").and_then(|node| self.membership(node, start, faults));
        let (membership, cancelled) = membership.map_or((None, false), |(membership, cancelled)| (Some(membership), cancelled));
        let known = !profile.is_empty() || !consent.is_empty() || membership.is_some() || given.node("customer").is_some();
        let mut out = Vec::new();
        if known {
            let change = ProfileChange { profile, consent, membership: membership.map(Some), import: true };
            out.push(Input { accepted_at: start, body: InputBody::Profile(change) });
        }
        if cancelled {
            let (id, name) = ("test-cancelled".to_owned(), "membership_cancelled".to_owned());
            let event = Event { id, name, time: start, properties: Fields::new(), minor: None, depth: 0 };
            out.push(Input { accepted_at: start, body: InputBody::History(event) });
        }
        for node in given.node("history").map(|node| items(node, "`history`", faults)).unwrap_or_default() {
            let Some(event) = self.past(node, start, faults) else { continue };
            out.push(Input { accepted_at: start, body: InputBody::History(event) });
        }
        out
    }

    fn past(&mut self, node: &Node, start: Time, faults: &mut Faults) -> Option<Event> {
        let entries = entries(node, "an event of the past", faults);
        let at = self.at(node, &entries, None, faults)?;
        if at > start {
            faults
                .error("bad-time", &node.place, format!("the event of the past is at {at}, after the start"))
                .hint("move it to `events`");
            return None;
        }
        let Some((_, name)) = entries.iter().find(|(key, _)| key.text == "event") else {
            faults
                .error("missing-field", &node.place, "an event of the past lacks `event`")
                .hint("write for example `event: purchase`");
            return None;
        };
        self.event(name, &entries, at, faults)
    }

    fn at(&self, node: &Node, entries: &[(&Key, &Node)], last: Option<Time>, faults: &mut Faults) -> Option<Time> {
        match entries.iter().find(|(key, _)| key.text == "at") {
            Some((_, at)) => moment::read(at, self.zone, last, faults),
            None => {
                if node.map().is_some() {
                    faults
                        .error("missing-field", &node.place, "the entry lacks `at`")
                        .hint("write for example `at: 2027-03-01 10:00`");
                }
                None
            }
        }
    }

    /// An event: what is not `at`, `event`, `id` or `time` is a property.
    fn event(&mut self, name: &Node, entries: &[(&Key, &Node)], at: Time, faults: &mut Faults) -> Option<Event> {
        let field = |wanted: &str| entries.iter().find(|(key, _)| key.text == wanted).map(|(_, node)| *node);
        let time = match field("time") {
            Some(node) => moment::read(node, self.zone, Some(at), faults)?,
            None => at,
        };
        let id = match field("id") {
            Some(node) => shape::text(node, faults)?.text,
            None => format!("test-{}", self.ids.len() + 1),
        };
        let properties: Vec<(&Key, &Node)> =
            entries.iter().copied().filter(|(key, _)| !["at", "event", "id", "time"].contains(&key.text.as_str())).collect();
        data::event(name, &properties, id, time, self.workspace, faults)
    }

    fn acts(&mut self, node: Option<&Node>, start: Option<Time>, faults: &mut Faults) -> Vec<(Time, Act)> {
        let mut out: Vec<(Time, Act)> = Vec::new();
        let mut last = start;
        for node in node.map(|node| items(node, "`events`", faults)).unwrap_or_default() {
            let entries = entries(node, "an entry of `events`", faults);
            let Some(at) = self.at(node, &entries, last, faults) else { continue };
            if let Some(before) = last.filter(|before| at < *before) {
                faults
                    .error("bad-time", &node.place, format!("this is at {at}, before {before}, where the test stands"))
                    .hint("list events in the order of time; an event that is reported late has its own `time:`");
                continue;
            }
            last = Some(at);
            out.extend(self.act(node, &entries, at, faults).map(|act| (at, act)));
        }
        out
    }

    fn act(&mut self, node: &Node, entries: &[(&Key, &Node)], at: Time, faults: &mut Faults) -> Option<Act> {
        if let Some((_, name)) = entries.iter().find(|(key, _)| key.text == "event") {
            let event = self.event(name, entries, at, faults)?;
            // A door takes an id once.
            return self.ids.insert(event.id.clone()).then_some(Act::Input(InputBody::Event(event)));
        }
        let kinds = || HAPPENING_FIELDS.iter().filter_map(|table| Some((table.first()?.name, *table)));
        let found = kinds().find_map(|(kind, table)| Some((kind, table, entries.iter().find(|(key, _)| key.text == kind)?.1)));
        let Some((kind, table, value)) = found else {
            if node.map().is_some() {
                let kinds: Vec<&str> = kinds().map(|(kind, _)| kind).collect();
                faults
                    .error("missing-field", &node.place, "the entry does not say what happens")
                    .hint(format!("beside `at` write one of: event, {}", kinds.join(", ")));
            }
            return None;
        };
        self.happening(kind, table, node, value, at, faults)
    }
}

/// The hint that goes with a step that is not there: the one that was meant, or which there are.
pub(super) fn told_steps<'s>(typed: &str, steps: impl Iterator<Item = &'s StepAt>, faults: &mut Faults) {
    let steps: Vec<&StepAt> = steps.collect();
    if let Some(meant) = closest(typed, steps.iter().map(|at| at.id.as_str())) {
        faults.hint(format!("did you mean `{meant}`?"));
        return;
    }
    let named = |at: &&StepAt| match at.step.template() {
        Some((template, _)) if !template.starts_with("inline:") => format!("{} ({template})", at.id),
        _ => at.id.clone(),
    };
    let shown: Vec<String> = steps.iter().take(STEPS_TOLD_MAX).map(named).collect();
    match (shown.is_empty(), steps.len().saturating_sub(STEPS_TOLD_MAX)) {
        (true, _) => faults.hint("there is none in this funnel"),
        (false, 0) => faults.hint(format!("there is: {}", shown.join(", "))),
        (false, more) => faults.hint(format!("there is: {}, and {more} more", shown.join(", "))),
    };
}

/// The lines of `expect`. A line whose reason YAML took for a value (`- skipped x: reason`) is put together again.
fn expect(node: &Node, zone: Zone, faults: &mut Faults) -> Vec<Expected> {
    let mut out = Vec::new();
    for node in items(node, "`expect`", faults) {
        let line = match &node.kind {
            NodeKind::Map(entries) => match entries.as_slice() {
                [(key, value)] => value.scalar().map(|value| format!("{}: {value}", key.text)),
                _ => None,
            },
            _ => node.scalar().map(str::to_owned),
        };
        match line {
            Some(line) => out.extend(line::read(&Text { text: line, place: node.place.clone() }, zone, faults)),
            None => {
                faults
                    .error("wrong-type", &node.place, format!("a line of text is wanted, but here stands {}", node.describe()))
                    .hint("write for example `- 2027-03-01 10:00 sent email welcome`");
            }
        }
    }
    out
}

fn state(node: Option<&Node>, workspace: &Workspace, faults: &mut Faults) -> State {
    let Some(object) = node.and_then(|node| Object::read(node, &[STATE_FIELDS], "`state`", faults)) else {
        return State::default();
    };
    let segments = object.node("segments").map(|node| {
        let mut names = shape::texts(node, faults);
        for name in names.iter().filter(|name| workspace.segments.get(&name.text).is_none()) {
            let known = workspace.segments.names();
            faults
                .error("unknown-segment", &name.place, format!("there is no segment `{}`", name.text))
                .did_you_mean(&name.text, known.iter().map(String::as_str));
        }
        names.sort_by(|a, b| a.text.cmp(&b.text));
        names.into_iter().map(|name| name.text).collect()
    });
    let tier = object.node("tier").and_then(|node| shape::name(node, faults));
    if let Some(tier) = tier.as_ref().filter(|tier| workspace.catalog.tier(&tier.text).is_none()) {
        faults
            .error("unknown-tier", &tier.place, format!("the catalog has no tier `{}`", tier.text))
            .did_you_mean(&tier.text, workspace.catalog.tier_names());
    }
    let profile = object.node("profile").map(|node| entries(node, "`profile`", faults)).unwrap_or_default();
    State {
        segments,
        tier: tier.map(|tier| tier.text),
        balance: object.int("balance", i64::MIN, i64::MAX, faults),
        profile: data::profile(profile, workspace, faults),
    }
}
