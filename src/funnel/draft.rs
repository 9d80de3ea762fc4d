//! A funnel's file: from its node to a checked [`Funnel`].
//!
//! Order matters for names: the trigger says what `event` is, the steps say what `steps` holds, and only
//! then what is judged all along a run (`while`, `exit_on`, `goal`) can be checked against both. Every
//! part is read even when another one is faulty.

use super::fresh::store_reads;
use super::holdout::{self, Share};
use super::names::{Base, Names, with_own};
use super::settings::{MembershipOwner, Settings};
use super::{Funnel, Goal, OnChange, ReEntry};
use crate::catalog::Catalog;
use crate::lang::cel::{Cond, Expr, Type};
use crate::lang::diag::{Fault, Faults, Severity};
use crate::lang::node::{Node, NodeKind};
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{DAY_MS, Span, Time};
use crate::segment::Segments;
use crate::step::{self, Compiled, Mode, StepNames, StepResults, Steps};
use crate::template::{Template, TemplateOptions};
use crate::trigger::{self, DefaultReEntry, Interest, Trigger, TriggerNames};
use crate::watch::{self, Watch, WatchNames};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Most that a priority can be, and least with a minus.
pub const PRIORITY_MAX: i64 = 1_000_000;
/// A goal counts within this many days of the entry, where it does not say.
pub const GOAL_WITHIN_DAYS: u32 = 30;
/// Longest time that an entry is judged again, in days.
pub const SETTLE_DAYS_MAX: i64 = 7;
/// Most things that one funnel's `exit_on` looks out for.
pub const EXITS_MAX: usize = 50;

/// How the names of templates begin that are written in a step.
const INLINE: &str = "inline:";
const RE_ENTRY: &str = "`never`, `always`, `after <span>`, `once per calendar year` or `once per term`";

/// What can happen to live runs of earlier versions.
const ON_CHANGE: &[&str] = &["pin", "migrate", "drain"];

/// Fields of a funnel's file.
pub const FIELDS: &[Field] = &[
    Field::required("funnel", Shape::Text, "the funnel's title, for people; its name is the name of its file"),
    Field::optional("description", Shape::Text, "what it is good for, for people"),
    Field::required("trigger", Shape::Ref("trigger"), "why a run starts"),
    Field::optional("key", Shape::Expr, "one run per value of this expression at a time; if not given, one per customer"),
    Field::optional(
        "re_entry",
        Shape::Phrase(RE_ENTRY),
        "how often a customer may enter; if not given, with a `key` and after dates, milestones and schedules once per occasion, else once",
    ),
    Field::optional("only_if", Shape::Condition, "who may enter; everybody if not given"),
    Field::optional(
        "settle",
        Shape::Duration,
        "so long `only_if` is judged again with everything that happens, for the event that overtakes what it needs",
    ),
    Field::optional("while", Shape::Condition, "must hold all along a run; as soon as it does not, the run ends"),
    Field::optional("exit_on", Shape::OneOrMore(&Shape::Ref("watch")), "what ends a run at once; nothing if not given"),
    Field::optional("goal", Shape::Either(&[Shape::Name("event"), Shape::Object(GOAL_FIELDS)]), "what the funnel is for"),
    Field::optional(
        "priority",
        Shape::Int(-PRIORITY_MAX, PRIORITY_MAX),
        "of funnels that start together the higher goes first; 0 if not given",
    ),
    Field::optional(
        "holdout",
        holdout::SHAPE,
        "so many of those who would enter are left alone and measured all the same; as `autofunnel.yaml` says if not given; `0%`: nobody, also not by the workspace",
    ),
    Field::optional(
        "transactional",
        Shape::Bool,
        "true: its messages are not marketing; consent, quiet hours and caps do not apply; false if not given",
    ),
    Field::optional(
        "mode",
        Shape::Word(Mode::WORDS),
        "`live` (default); `hold_for_review`: messages, grants and offers wait for a person's release; `shadow`: runs go on as if they \
         had left, and nothing does",
    ),
    Field::optional(
        "topic",
        Shape::Name("topic"),
        "consent topic that its messages ask for beside the channel; none if not given",
    ),
    Field::optional("tag", Shape::Name("tag"), "tag of its messages, for caps by tag; none if not given"),
    Field::required("steps", Shape::Ref("steps"), "what a run does, from the top"),
    Field::optional(
        "on_change",
        Shape::Word(ON_CHANGE),
        "live runs of earlier versions stay there (`pin`, the default), go on here at the step of the same id (`migrate`), or stay \
         there and keep her from entering until they are over (`drain`)",
    ),
    Field::optional(
        "renamed",
        Shape::MapOf(&Shape::Text),
        "for `migrate`: steps of earlier versions by what they are called now",
    ),
    Field::optional("tests", Shape::List(&Shape::Ref("test")), "what customers would see, checked by `autofunnel test`"),
];

/// Fields of a goal.
pub const GOAL_FIELDS: &[Field] = &[
    Field::optional("event", Shape::Name("event"), "the event that counts"),
    Field::optional("where", Shape::Condition, "a condition over `event` that must hold"),
    Field::optional("segment_entered", Shape::Name("segment"), "entering this segment counts"),
    Field::optional("segment_left", Shape::Name("segment"), "leaving this segment counts"),
    Field::optional(
        "within",
        Shape::Duration,
        "so long after the entry it counts, also when the run is over; 30 days if not given",
    ),
    Field::optional("value", Shape::Expr, "what it is worth, for example `event.amount`"),
    Field::optional("every", Shape::Bool, "true: it counts each time, not once per run"),
];

/// What funnels are checked against.
pub struct Context<'a> {
    /// Names of the workspace.
    pub base: &'a Base,
    /// `autofunnel.yaml`.
    pub settings: &'a Settings,
    /// `catalog.yaml`.
    pub catalog: &'a Catalog,
    /// Names of the funnels.
    pub funnels: Vec<String>,
    /// Templates of the workspace.
    pub templates: &'a BTreeMap<String, Arc<Template>>,
    /// `segments.yaml`.
    pub segments: &'a Segments,
}

/// Compiles the funnel `name`, whose file has this text. `None` when it has errors, which are then in
/// `faults`; all of them are reported.
pub fn compile(name: &str, text: &str, node: &Node, cx: &Context<'_>, faults: &mut Faults) -> Option<Funnel> {
    let errors = faults.error_count();
    let object = Object::read(node, &[FIELDS], "a funnel", faults)?;
    let trigger = object.node("trigger").and_then(|node| compile_trigger(node, cx, faults));
    let outside = Names::new(cx.base).seeing(event_type(trigger.as_deref(), cx.base));
    let compiled = object.node("steps").map(|node| compile_steps(name, node, &outside, cx, faults)).unwrap_or_default();
    let within = outside.run(compiled.results.clone());
    let key = expr(&object, "key", &outside, faults);
    let re_entry = object.text("re_entry", faults).and_then(|phrase| match re_entry(&phrase.text) {
        Ok(re_entry) => Some(re_entry),
        Err(why) => {
            faults.error("bad-re-entry", &phrase.place, why).hint(format!("write {RE_ENTRY}"));
            None
        }
    });
    let only_if = cond(&object, "only_if", &outside, faults);
    let go_on_while = cond(&object, "while", &within, faults);
    let exit_on = object.node("exit_on").map(|node| exits(node, &within, faults)).unwrap_or_default();
    let goal = object.node("goal").and_then(|node| goal(node, &within, cx.base, faults));
    check_templates(name, &compiled, &within, faults);
    let frozen = frozen(&compiled.steps, &compiled.templates, cx.settings);
    let store_reads = store_reads(&compiled.steps, &frozen, cx.settings, (cx.segments, cx.catalog), faults);
    let funnel = Funnel {
        name: name.to_owned(),
        version: version(text, &compiled.templates),
        title: object.text("funnel", faults).map(|text| text.text).unwrap_or_default(),
        description: object.text("description", faults).map(|text| text.text).unwrap_or_default(),
        re_entry: re_entry.unwrap_or(default_re_entry(trigger.as_deref(), key.is_some())),
        key,
        settle: settle(&object, only_if.is_some(), faults),
        only_if,
        go_on_while,
        exit_on,
        goal,
        holdout: holdout(&object, faults),
        on_change: on_change(&object, faults),
        renamed: renamed(&object, &compiled.steps, faults),
        priority: object.int("priority", -PRIORITY_MAX, PRIORITY_MAX, faults).unwrap_or(0),
        transactional: object.bool("transactional", false, faults),
        mode: object.word("mode", Mode::WORDS, faults).map(Mode::of).unwrap_or_default(),
        topic: object.node("topic").and_then(|node| shape::name(node, faults)).map(|text| text.text),
        tag: object.node("tag").and_then(|node| shape::name(node, faults)).map(|text| text.text),
        steps: compiled.steps,
        templates: compiled.templates,
        frozen,
        store_reads,
        trigger: trigger?,
    };
    (faults.error_count() == errors).then_some(funnel)
}

fn compile_trigger(node: &Node, cx: &Context<'_>, faults: &mut Faults) -> Option<Box<dyn Trigger>> {
    let names = Names::new(cx.base);
    let profile = |name: &str| cx.base.profile(name);
    let names = TriggerNames {
        names: &names,
        zone: cx.settings.zone,
        profile: &profile,
        date_fields: cx.base.date_fields(),
        memberships: cx.catalog.memberships.keys().cloned().collect(),
        tiers: cx.catalog.tiers.iter().map(|tier| tier.name.clone()).collect(),
        currency: cx.settings.currency,
    };
    trigger::compile(node, &names, faults)
}

/// The type of `event` in a funnel that this trigger starts.
fn event_type(trigger: Option<&dyn Trigger>, base: &Base) -> Type {
    // Of a faulty trigger nothing is known, and whoever asks for a run by hand sends what he likes.
    let Some(trigger) = trigger.filter(|trigger| trigger.interest() != Interest::Manual) else { return Type::Any };
    match (trigger.event_name(), trigger.properties()) {
        (Some(event), own) if own.is_empty() => base.event(&event),
        (Some(event), own) => match base.event(&event) {
            Type::Object(known) => with_own(own.into_iter().chain(known).collect()),
            _ => Type::Any,
        },
        (None, own) => with_own(own),
    }
}

fn compile_steps(name: &str, node: &Node, outside: &Names<'_>, cx: &Context<'_>, faults: &mut Faults) -> Compiled {
    let schema = |results: &StepResults| -> Box<dyn crate::lang::cel::Schema> { Box::new(outside.run(results.clone())) };
    let watch = |results: &StepResults| -> Box<dyn WatchNames> { Box::new(outside.run(results.clone())) };
    let profile = |name: &str| cx.base.profile(name);
    let names = StepNames {
        names: outside,
        watch: &watch,
        schema: &schema,
        profile: &profile,
        profile_fields: cx.base.profile_fields(),
        bundles: cx.catalog.bundles.iter().map(|(name, bundle)| (name.clone(), bundle.valid_for)).collect(),
        templates: cx.templates,
        funnels: cx.funnels.clone(),
        options: TemplateOptions { currency: cx.settings.currency, zone: cx.settings.zone },
        memberships: cx.catalog.memberships.iter().map(|(name, membership)| (name.clone(), membership.term)).collect(),
        own_memberships: cx.settings.membership_owner == MembershipOwner::Account,
        services: cx.settings.services.keys().cloned().collect(),
        zone: cx.settings.zone,
        funnel: name,
        points_expire: cx.catalog.bonus_expires_after,
        points_elsewhere: cx.settings.loyalty.is_some(),
    };
    step::steps(node, &names, faults)
}

fn cond(object: &Object<'_>, field: &str, names: &Names<'_>, faults: &mut Faults) -> Option<Cond> {
    object.node(field).and_then(|node| Cond::from_node(node, names, faults))
}

fn expr(object: &Object<'_>, field: &str, names: &Names<'_>, faults: &mut Faults) -> Option<Expr> {
    let text = object.text(field, faults)?;
    Expr::check(&text, names, faults)
}

fn on_change(object: &Object<'_>, faults: &mut Faults) -> OnChange {
    match object.node("on_change").and_then(|node| shape::word(node, ON_CHANGE, faults)) {
        Some("migrate") => OnChange::Migrate,
        Some("drain") => OnChange::Drain,
        _ => OnChange::Pin,
    }
}

/// Old names of steps, each with a step that is there.
fn renamed(object: &Object<'_>, steps: &Steps, faults: &mut Faults) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let ids = || steps.list.iter().map(|step| step.id.as_str());
    for (old, node) in object.node("renamed").and_then(Node::map).into_iter().flatten() {
        let Some(new) = node.scalar().map(str::trim) else { continue };
        if ids().any(|id| id == old.text) {
            faults
                .error("renamed-step", &old.place, format!("the step `{}` is still there, so it was not renamed", old.text))
                .hint("write the old id before the colon and the present one after it");
        } else if !ids().any(|id| id == new) {
            faults.error("unknown-step", &node.place, format!("there is no step `{new}`")).did_you_mean(new, ids());
        } else {
            out.insert(old.text.clone(), new.to_owned());
        }
    }
    out
}

/// Reads how often a customer may enter.
fn re_entry(phrase: &str) -> Result<ReEntry, String> {
    let words: Vec<&str> = phrase.split_whitespace().collect();
    match words[..] {
        ["never"] => Ok(ReEntry::Never),
        ["always"] => Ok(ReEntry::Always),
        ["once", "per", "calendar", "year"] => Ok(ReEntry::PerYear),
        ["once", "per", "term"] => Ok(ReEntry::PerTerm),
        ["after", ..] => match Span::parse(&words[1..].join(" "))? {
            span if span.is_zero() => Err("coming back after no time is `always`".to_owned()),
            span => Ok(ReEntry::After(span)),
        },
        _ => Err(format!("`{}` does not say how often a customer may enter", phrase.chars().take(40).collect::<String>())),
    }
}

/// A key of the funnel's own keeps its runs apart, as the keys of occasions do.
fn default_re_entry(trigger: Option<&dyn Trigger>, keyed: bool) -> ReEntry {
    match trigger.map(Trigger::default_re_entry) {
        Some(DefaultReEntry::PerKey) => ReEntry::Always,
        _ if keyed => ReEntry::Always,
        _ => ReEntry::Never,
    }
}

/// How long an entry is judged again.
fn settle(object: &Object<'_>, filtered: bool, faults: &mut Faults) -> Option<Span> {
    let span = object.span("settle", faults)?;
    let elapsed = Time(0).plus(span, chrono_tz::UTC).0;
    if span.is_zero() || elapsed > SETTLE_DAYS_MAX * DAY_MS {
        faults
            .error("settle-span", &object.place("settle"), format!("`settle` is some time, and at most {SETTLE_DAYS_MAX} days"))
            .hint("for example `settle: 30m`");
    } else if !filtered && object.node("only_if").is_none() {
        faults
            .error("settle-filter", &object.place("settle"), "without `only_if` there is nothing to judge again")
            .hint("remove `settle`, or say with `only_if` who may enter");
    }
    Some(span)
}

/// The share that is held out. What customers have asked for is held back from nobody.
fn holdout(object: &Object<'_>, faults: &mut Faults) -> Option<Share> {
    let node = object.node("holdout")?;
    let share = Share::read(node, faults)?;
    let transactional = object.node("transactional").and_then(Node::scalar) == Some("true");
    if transactional && share != Share::default() {
        faults
            .error("holdout-transactional", &node.place, "messages that customers have asked for cannot be held out")
            .hint("remove `holdout`, or `transactional: true`");
    }
    Some(share)
}

fn exits(node: &Node, names: &Names<'_>, faults: &mut Faults) -> Vec<Watch> {
    let single = std::slice::from_ref(node);
    let nodes = node.list().unwrap_or(single);
    if nodes.len() > EXITS_MAX {
        faults.error("too-many", &node.place, format!("`exit_on` names at most {EXITS_MAX} things"));
    }
    let mut out = Vec::new();
    for node in nodes {
        match Watch::compile(node, names, faults) {
            Some(Watch::Condition(_)) => {
                faults
                    .error("watch-kind", &node.place, "`exit_on` looks out for events and segments, not for conditions")
                    .hint("write what must hold all along a run as `while: …`");
            }
            Some(watch) => out.push(watch),
            None => {}
        }
    }
    out
}

fn goal(node: &Node, names: &Names<'_>, base: &Base, faults: &mut Faults) -> Option<Goal> {
    let within = Span::days(GOAL_WITHIN_DAYS);
    let Some(entries) = node.map() else {
        let watch = Watch::compile(node, names, faults)?;
        return Some(Goal { watch, within, value: None, every: false });
    };
    let object = Object::read(node, &[GOAL_FIELDS], "a goal", faults)?;
    let span = object.span("within", faults);
    if span.is_some_and(Span::is_zero) {
        faults
            .error("goal-within", &object.place("within"), "a goal within no time is never reached")
            .hint("for example `within: 30 days`");
    }
    let watched = |name: &str| watch::FIELDS.iter().any(|field| field.name == name) && name != "condition";
    let part = entries.iter().filter(|(key, _)| watched(&key.text)).cloned().collect();
    let part = Node { place: node.place.clone(), kind: NodeKind::Map(part) };
    let watch = Watch::compile(&part, names, faults);
    let event = match &watch {
        Some(Watch::Event { name, .. }) => base.event(name),
        _ => Type::Any,
    };
    let value = expr(&object, "value", &names.seeing(event), faults);
    if let Some(value) = value.as_ref().filter(|value| !matches!(value.ty, Type::Number | Type::Any)) {
        faults
            .error("wrong-type", &value.text.place, "what a goal is worth must be a number")
            .hint("for example `value: event.amount`");
    }
    let every = object.bool("every", false, faults);
    Some(Goal { watch: watch?, within: span.unwrap_or(within), value, every })
}

/// Every template that the funnel uses, against what a run of it has.
fn check_templates(funnel: &str, compiled: &Compiled, names: &Names<'_>, faults: &mut Faults) {
    let names = names.template();
    for (name, template) in &compiled.templates {
        let mut found = Faults::default();
        template.check(&names, &mut found);
        for fault in found.list() {
            // The same file may be right for another funnel.
            let of = if name.starts_with(INLINE) { String::new() } else { format!(", as the funnel `{funnel}` sends it") };
            repeat(fault, format!("{}{of}", fault.message), faults);
        }
    }
}

/// Reports a fault once more, with this message.
pub(super) fn repeat(fault: &Fault, message: String, faults: &mut Faults) {
    let added = match fault.severity {
        Severity::Error => faults.error(fault.code, &fault.place, message),
        Severity::Warning => faults.warning(fault.code, &fault.place, message),
    };
    if let Some(hint) = &fault.hint {
        added.hint(hint.clone());
    }
}

/// The paths that each rendering step freezes into its effect.
fn frozen(steps: &Steps, templates: &BTreeMap<String, Arc<Template>>, settings: &Settings) -> HashMap<u32, Vec<Vec<String>>> {
    let of_provider =
        |name: Option<&String>| name.and_then(|name| settings.provider_variables.get(name)).cloned().unwrap_or_default();
    let mut out = HashMap::new();
    for (index, at) in (0_u32..).zip(&steps.list) {
        let mut paths = match (at.step.template(), at.step.grants()) {
            (Some((template, _)), _) => {
                let mut paths = templates.get(template).map(|template| template.variables()).unwrap_or_default();
                for channel in at.step.channels() {
                    paths.extend(of_provider(settings.channels.get(*channel)));
                }
                paths
            }
            (None, Some(_)) => of_provider(settings.loyalty.as_ref()),
            (None, None) if at.step.offers().is_some() && settings.loyalty_store.as_ref().is_some_and(|store| store.offers) => {
                of_provider(settings.loyalty.as_ref())
            }
            (None, None) => continue,
        };
        paths.sort();
        paths.dedup();
        out.insert(index, paths);
    }
    out
}

/// SHA-256 of the funnel's text and of the templates it uses, in hexadecimal.
fn version(text: &str, templates: &BTreeMap<String, Arc<Template>>) -> String {
    let mut parts = vec![text.to_owned()];
    for (name, template) in templates {
        parts.push(name.clone());
        parts.push(template.hash());
    }
    digest(parts.iter().map(String::as_str))
}

/// SHA-256 of texts, each with its length, so that no two lists of texts are alike; in hexadecimal.
pub(super) fn digest<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
