//! From nested YAML lists to one flat list of steps.
//!
//! A step is emitted first, then the lists below it, then what follows it. The last step of a list below
//! goes on where the step above goes on; while that is not known its `next` is an open end.

use super::{END, FAILED, KINDS, Mode, NEXT, OnError, STEPS_MAX, Step, StepAt, StepKind, Steps, list_node};
use crate::lang::cel::{Cond, Expr, Schema, Text, Type};
use crate::lang::diag::{Faults, Place};
use crate::lang::node::Node;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{Span, Zone};
use crate::template::{Template, TemplateOptions};
use crate::watch::{Watch, WatchNames};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fields that every step may have.
pub const COMMON: &[Field] = &[
    Field::optional("id", Shape::Name("step"), "a name for the step; later steps and tests refer to it"),
    Field::optional("if", Shape::Condition, "only if this holds; otherwise the step is skipped"),
    Field::optional(
        "on_error",
        Shape::Word(ON_ERROR),
        "what happens when the step fails for good: `stop` ends the run, `skip` goes on, `branch` does the steps of `failed`, \
         `retry` (calls only) takes no for an answer only when it expires; messages skip, grants, offers and calls stop",
    ),
    Field::optional(
        "max_age",
        Shape::Duration,
        "how old what it reads of a remote loyalty store may be; otherwise it is asked first; as `loyalty_store` says if not given",
    ),
    Field::optional(
        "mode",
        Shape::Word(Mode::WORDS),
        "`live`; `hold_for_review`: it waits for a person's release; `shadow`: nothing leaves; if not given, as the funnel says",
    ),
    Field::optional(FAILED, Shape::Ref("steps"), "steps when the step has failed, with `on_error: branch`"),
];

/// Words of `on_error`.
const ON_ERROR: &[&str] = &["stop", "skip", "branch", "retry"];

/// For kinds with an effect.
pub const EXPIRES: Field =
    Field::optional("expires", Shape::Duration, "not done later than this after the run came to the step; never if not given");
/// For kinds with an effect that can come too late.
pub const IF_EXPIRED: Field = Field::optional(
    "if_expired",
    Shape::Ref("steps"),
    "steps to do when it was not done in time; if not given, the run goes on (after a call: as `on_error` says)",
);

/// Results of the steps so far: step id → names and types below `steps.<id>`.
pub type StepResults = Vec<(String, Vec<(String, Type)>)>;

/// What steps are checked against.
pub struct StepNames<'a> {
    /// Events and segments.
    pub names: &'a dyn WatchNames,
    /// Names that a watch may use, given the steps so far.
    pub watch: &'a dyn Fn(&StepResults) -> Box<dyn WatchNames + 'a>,
    /// Names that a condition may use, given the steps so far.
    pub schema: &'a dyn Fn(&StepResults) -> Box<dyn Schema + 'a>,
    /// Types of profile fields.
    pub profile: &'a dyn Fn(&str) -> Option<Type>,
    /// All profile fields, for "did you mean".
    pub profile_fields: Vec<String>,
    /// Bundles in the catalog with their usual validity.
    pub bundles: BTreeMap<String, Span>,
    /// Templates in the workspace.
    pub templates: &'a BTreeMap<String, Arc<Template>>,
    /// What a message written in a step takes from the workspace.
    pub options: TemplateOptions,
    /// Funnels of the workspace.
    pub funnels: Vec<String>,
    /// Memberships in the catalog, with their terms.
    pub memberships: BTreeMap<String, Span>,
    /// Whether the engine keeps memberships itself.
    pub own_memberships: bool,
    /// Services in the settings.
    pub services: Vec<String>,
    /// The workspace's zone.
    pub zone: Zone,
    /// The funnel's name.
    pub funnel: &'a str,
    /// How long points last when a grant does not say.
    pub points_expire: Option<Span>,
    /// Points are kept by a provider, not by the built-in account.
    pub points_elsewhere: bool,
}

/// What came of compiling a list of steps.
#[derive(Debug, Default)]
pub struct Compiled {
    /// The flat list.
    pub steps: Steps,
    /// Templates used, inline ones as `inline:<step id>`.
    pub templates: BTreeMap<String, Arc<Template>>,
    /// Results of all steps.
    pub results: StepResults,
}

/// Compiles the steps of a funnel.
pub fn steps<'a>(node: &Node, names: &'a StepNames<'a>, faults: &mut Faults) -> Compiled {
    let mut compiler = Compiler {
        names,
        out: Compiled::default(),
        results: Vec::new(),
        counters: BTreeMap::new(),
        depth: 0,
        arm: String::new(),
    };
    if let Some(list) = list_node(node, faults) {
        if list.is_empty() {
            faults.error("no-steps", &node.place, "a funnel needs at least one step");
        }
        let ends = compiler.list(list, faults);
        compiler.close(&ends, END);
    }
    Compiled { results: compiler.results, ..compiler.out }
}

/// The state of compiling one funnel.
pub struct Compiler<'a> {
    /// What is checked against.
    pub names: &'a StepNames<'a>,
    out: Compiled,
    results: StepResults,
    counters: BTreeMap<&'static str, u32>,
    depth: u32,
    arm: String,
}

/// Indices of steps whose `next` is not known yet.
pub type OpenEnds = Vec<usize>;

/// Occupies the place of a step while the lists below it are emitted.
#[derive(Debug)]
struct Reserved;

impl Step for Reserved {
    fn advance(&self, _cx: &super::StepCx<'_>) -> super::Flow {
        super::Flow::Next
    }
    fn sentence(&self) -> String {
        String::new()
    }
}

impl<'a> Compiler<'a> {
    /// Emits a list of steps; returns its open ends. An empty list has none: the caller goes on by itself.
    pub fn list(&mut self, nodes: &[Node], faults: &mut Faults) -> OpenEnds {
        let mut ends: OpenEnds = Vec::new();
        for node in nodes {
            let here = self.out.steps.list.len() as u32;
            self.close(&ends, here);
            ends = match self.step(node, faults) {
                Some(ends) => ends,
                None if self.out.steps.list.len() as u32 == here => ends,
                None => Vec::new(),
            };
        }
        ends
    }

    /// Emits the list of an arm below the present step; returns its first index (`END` if the arm is
    /// empty: the caller must then go on by itself) and its open ends.
    pub fn arm(&mut self, name: &str, node: &Node, faults: &mut Faults) -> (u32, OpenEnds) {
        let Some(list) = list_node(node, faults) else { return (END, Vec::new()) };
        if list.is_empty() {
            return (END, Vec::new());
        }
        let first = self.out.steps.list.len() as u32;
        let outer = std::mem::replace(&mut self.arm, name.to_owned());
        self.depth += 1;
        let ends = self.list(list, faults);
        self.depth -= 1;
        self.arm = outer;
        if self.out.steps.list.len() as u32 == first { (END, Vec::new()) } else { (first, ends) }
    }

    /// Sets where open ends go on.
    pub fn close(&mut self, ends: &OpenEnds, to: u32) {
        for end in ends {
            if let Some(step) = self.out.steps.list.get_mut(*end) {
                step.next = to;
            }
        }
    }

    fn step(&mut self, node: &Node, faults: &mut Faults) -> Option<OpenEnds> {
        let kind = kind_of(node, faults)?;
        let object = Object::read(node, &[kind.fields, COMMON], &format!("the step `{}`", kind.name), faults)?;
        let id = self.id(kind, &object, faults);
        let only_if = object.node("if").and_then(|node| self.condition(node, faults));
        let on_error = on_error(kind.name, &object, faults);
        let max_age = object.span("max_age", faults);
        let mode = object.word("mode", Mode::WORDS, faults).map(Mode::of);
        if self.out.steps.list.len() >= STEPS_MAX {
            faults.error("too-many-steps", &node.place, format!("a funnel has at most {STEPS_MAX} steps"));
            return None;
        }
        let index = self.out.steps.list.len();
        self.out.steps.list.push(StepAt {
            id: id.clone(),
            kind: kind.name,
            only_if,
            on_error,
            if_expired: None,
            max_age,
            mode,
            step: Box::new(Reserved),
            next: END,
            depth: self.depth,
            arm: self.arm.clone(),
            place: node.place.clone(),
        });
        let mut below: OpenEnds = Vec::new();
        let Some(step) = (kind.compile)(&object, &id, &mut Below { compiler: self, ends: &mut below, index }, faults) else {
            // The step is there, but nothing is known of what it leaves: no results stand for anything.
            self.results.retain(|(known, _)| *known != id);
            self.results.push((id, Vec::new()));
            return None;
        };
        let leaves = step.template().is_some() || step.grants().is_some() || step.offers().is_some() || step.calls().is_some();
        if mode.is_some() && !leaves && kind.name != "emit" {
            let what = format!("`mode` says whether something leaves, and `{}` sends and books nothing", kind.name);
            faults.error("mode-without-effect", &object.place("mode"), what).hint("leave it out here, or write it in the funnel");
        }
        let mut results = vec![("result".to_owned(), Type::Text)];
        results.extend(step.results());
        self.results.retain(|(known, _)| *known != id);
        self.results.push((id, results));
        self.out.steps.list[index].step = step;
        if let (OnError::Branch(_), Some(steps)) = (on_error, object.node(FAILED)) {
            let (first, ends) = self.arm(FAILED, steps, faults);
            below.extend(ends);
            self.out.steps.list[index].on_error = OnError::Branch(if first == END { NEXT } else { first });
        }
        if let Some(steps) = object.node("if_expired") {
            let (first, ends) = self.arm("if_expired", steps, faults);
            below.extend(ends);
            self.out.steps.list[index].if_expired = Some(if first == END { NEXT } else { first });
        }
        // A step with arms goes on after itself too: when its `if` is false, or an arm is missing.
        below.push(index);
        Some(below)
    }

    fn id(&mut self, kind: &'static StepKind, object: &Object<'_>, faults: &mut Faults) -> String {
        let number = self.counters.entry(kind.name).or_insert(0);
        *number += 1;
        let running = format!("{}_{number}", kind.name);
        let Some(written) = object.text("id", faults) else { return running };
        if let Some(why) = bad_id(&written.text) {
            faults
                .error("step-id", &written.place, format!("`{}` cannot be a step's id: {why}", written.text))
                .hint("use letters, digits and `_`, beginning with a letter, so that conditions can say `steps.<id>`");
            return running;
        }
        if self.out.steps.list.iter().any(|step| step.id == written.text) {
            faults.error("step-id", &written.place, format!("another step has the id `{}`", written.text));
        }
        written.text
    }

    /// Names that a step of the present place may use.
    pub fn schema(&self) -> Box<dyn Schema + 'a> {
        (self.names.schema)(&self.results)
    }

    /// Reads a condition that a step of the present place may use.
    pub fn condition(&self, node: &Node, faults: &mut Faults) -> Option<Cond> {
        Cond::from_node(node, &*(self.names.schema)(&self.results), faults)
    }

    /// Reads an expression that a step of the present place may use.
    pub fn expr(&self, text: &Text, faults: &mut Faults) -> Option<Expr> {
        Expr::check(text, &*(self.names.schema)(&self.results), faults)
    }

    /// Reads what a step of the present place looks out for.
    pub fn watch(&self, node: &Node, faults: &mut Faults) -> Option<Watch> {
        Watch::compile(node, &*(self.names.watch)(&self.results), faults)
    }

    /// Notes that a template of the workspace is used; reports one that does not exist.
    pub fn use_template(&mut self, name: &Text, faults: &mut Faults) -> Option<Arc<Template>> {
        match self.names.templates.get(&name.text) {
            Some(template) => {
                self.out.templates.insert(name.text.clone(), template.clone());
                Some(template.clone())
            }
            None => {
                faults
                    .error("unknown-template", &name.place, format!("there is no template `{}`", name.text))
                    .did_you_mean(&name.text, self.names.templates.keys().map(String::as_str));
                None
            }
        }
    }

    /// Keeps a template that is written in the step itself.
    pub fn keep_inline(&mut self, name: String, template: Template) {
        self.out.templates.insert(name, Arc::new(template));
    }
}

/// The compiler as a step kind sees it while its own step is being emitted.
pub struct Below<'c, 'a> {
    compiler: &'c mut Compiler<'a>,
    ends: &'c mut OpenEnds,
    index: usize,
}

impl<'c, 'a> Below<'c, 'a> {
    /// The compiler.
    pub fn compiler(&mut self) -> &mut Compiler<'a> {
        self.compiler
    }

    /// Emits an arm; its open ends go on where this step goes on. `None` when it is empty: going on after
    /// this step is then what it does.
    pub fn arm(&mut self, name: &str, node: &Node, faults: &mut Faults) -> Option<u32> {
        let (first, ends) = self.compiler.arm(name, node, faults);
        self.ends.extend(ends);
        (first != END).then_some(first)
    }

    /// Says what the step leaves before the lists below it are read, which may name it.
    pub fn announce(&mut self, id: &str, results: &[(String, Type)]) {
        let result = ("result".to_owned(), Type::Text);
        let results = std::iter::once(result).chain(results.iter().cloned()).collect();
        self.compiler.results.push((id.to_owned(), results));
    }

    /// What steps are checked against.
    pub fn names(&self) -> &'a StepNames<'a> {
        self.compiler.names
    }

    /// Where this step stands.
    pub fn place(&self) -> Place {
        self.compiler.out.steps.list[self.index].place.clone()
    }
}

/// What a step does when it fails.
fn on_error(kind: &str, object: &Object<'_>, faults: &mut Faults) -> OnError {
    let written = object.word("on_error", ON_ERROR, faults);
    match (written, object.node(FAILED)) {
        (Some("branch"), None) => {
            faults
                .error("no-failed", &object.place("on_error"), "`on_error: branch` needs the steps that are done then")
                .hint("add `failed:` with a list of steps");
        }
        (Some("branch"), Some(_)) | (_, None) => {}
        (_, Some(node)) => {
            faults
                .error("no-branch", &node.place, "these steps would never be done")
                .hint("add `on_error: branch` to the step, or remove `failed`");
        }
    }
    match written {
        Some("stop") => OnError::Stop,
        Some("branch") => OnError::Branch(NEXT),
        Some("retry") if kind == "call" => OnError::Stop,
        Some("retry") => {
            faults
                .error("bad-on-error", &object.place("on_error"), format!("`{kind}` cannot be tried again after a no"))
                .hint("a receiver that cannot be reached is tried again anyway; write `stop`, `skip` or `branch`");
            OnError::Stop
        }
        Some(_) => OnError::Skip,
        None if matches!(kind, "grant" | "both" | "offer" | "call") => OnError::Stop,
        None => OnError::Skip,
    }
}

/// Reads `expires`, which is some time.
pub fn expires(object: &Object<'_>, faults: &mut Faults) -> Option<Span> {
    let span = object.span("expires", faults)?;
    if span.is_zero() {
        faults
            .error("expires-zero", &object.place("expires"), "a step cannot expire at once")
            .hint("leave `expires` out, or give it some time");
    }
    Some(span)
}

fn bad_id(id: &str) -> Option<&'static str> {
    if id.len() > 40 {
        return Some("it is longer than 40 characters");
    }
    if !id.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Some("it does not begin with a letter");
    }
    (!id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')).then_some("it has other characters than letters, digits and `_`")
}

/// The one kind key of a step.
fn kind_of(node: &Node, faults: &mut Faults) -> Option<&'static StepKind> {
    let Some(entries) = node.map() else {
        let hint = match node.scalar().and_then(|text| KINDS.iter().find(|k| k.name == text)) {
            Some(kind) => format!("write it with its value, for example `{}`", kind.example),
            None => "write a kind and its value, for example `email: welcome`".to_owned(),
        };
        faults.error("step-form", &node.place, "a step is a map with the kind of step as a key").hint(hint);
        return None;
    };
    let found: Vec<&'static StepKind> =
        entries.iter().filter_map(|(key, _)| KINDS.iter().find(|kind| kind.name == key.text).copied()).collect();
    match found[..] {
        [kind] => Some(kind),
        [] => {
            let first = entries.iter().find(|(key, _)| !COMMON.iter().any(|field| field.name == key.text));
            let (place, typed) = first.map_or((&node.place, ""), |(key, _)| (&key.place, key.text.as_str()));
            faults
                .error("unknown-step", place, format!("`{typed}` is no kind of step"))
                .did_you_mean(typed, KINDS.iter().map(|kind| kind.name));
            None
        }
        _ => {
            let names: Vec<&str> = found.iter().map(|kind| kind.name).collect();
            faults
                .error("two-steps", &node.place, format!("one step cannot be both `{}`", names.join("` and `")))
                .hint("write them as two steps, each beginning with `- `");
            None
        }
    }
}

/// Reads a map of names and values, each as [`value`] does.
pub fn values(
    object: &Object<'_>,
    field: &str,
    compiler: &Compiler<'_>,
    faults: &mut Faults,
) -> Vec<(String, super::set::Source)> {
    let Some(node) = object.node(field) else { return Vec::new() };
    let Some(entries) = node.map() else {
        faults
            .error("properties-form", &node.place, format!("`{field}` takes a map of names and values"))
            .hint(format!("for example `{field}: {{ seats: 2 }}`"));
        return Vec::new();
    };
    entries.iter().filter_map(|(key, node)| Some((key.text.clone(), value(node, compiler, faults)?))).collect()
}

/// Reads a value that is either literal data or `{ cel: <expression> }`.
pub fn value(node: &Node, compiler: &Compiler<'_>, faults: &mut Faults) -> Option<super::set::Source> {
    match node.map() {
        Some([(key, expression)]) if key.text == "cel" => {
            let text = shape::text(expression, faults)?;
            compiler.expr(&text, faults).map(super::set::Source::Expr)
        }
        _ => shape::data(node, faults).map(super::set::Source::Literal),
    }
}
