//! `wait_for`: until an event, a segment or a condition, but not longer than `up_to`.
//!
//! Of several things to look out for, the first that happens is taken, or (`choose: best`) the one that stands
//! first in the list of all that happened in time.

use super::{Below, Flow, NEXT, Step, StepCx, StepKind, Ways};
use crate::lang::cel::{Cond, Type};
use crate::lang::diag::Faults;
use crate::lang::node::{Node, NodeKind};
use crate::lang::shape::{Field, Object, Shape};
use crate::lang::time::Span;
use crate::watch::{self, FIELDS, Watch};

/// `wait_for`.
pub static KIND: StepKind = StepKind {
    name: "wait_for",
    doc: "wait until something happens, but not longer than `up_to`",
    example: "wait_for: purchase\n  up_to: 7 days",
    fields: &[
        Field::required(
            "wait_for",
            Shape::Either(&[Shape::Name("event"), Shape::Object(FIELDS), Shape::List(&Shape::Object(WAY))]),
            "an event, a segment or a condition; or a list of them, each with its own `then`",
        ),
        Field::required("up_to", Shape::Duration, "how long to wait at most"),
        Field::optional(
            "then",
            Shape::Ref("steps"),
            "steps when it happened; they read the event as `steps.<id>.event`, such as `steps.wait_for_1.event.amount`",
        ),
        Field::optional("otherwise", Shape::Ref("steps"), "steps when the time is up"),
        Field::optional(
            "choose",
            Shape::Word(CHOOSE),
            "of a list: what happens `first` (default), or, when the time is up, the `best`: what stands first in the list of all that happened",
        ),
        RESTART,
    ],
    compile,
};

/// For steps that wait.
pub const RESTART: Field =
    Field::optional("restart_on", Shape::Ref("watch"), "what begins the wait anew, for example another `cart_updated`");

const CHOOSE: &[&str] = &["first", "best"];
/// Most things that one step looks out for.
const WAYS_MAX: usize = 20;
const WAY: &[Field] = &way();

const fn way() -> [Field; 6] {
    let [event, filter, entered, left, condition] = watch::fields();
    let then = Field::optional("then", Shape::Ref("steps"), "steps when this happened");
    [event, filter, entered, left, condition, then]
}

#[derive(Debug)]
struct Way {
    watch: Watch,
    then: Option<u32>,
}

#[derive(Debug)]
struct WaitForStep {
    ways: Vec<Way>,
    up_to: Span,
    otherwise: Option<u32>,
    best: bool,
    restart: Option<Watch>,
}

fn compile(object: &Object<'_>, id: &str, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Box<dyn Step>> {
    let node = object.node("wait_for")?;
    let ways = match node.list() {
        Some(list) => {
            below.announce(id, &results());
            several(node, list, below, faults)
        }
        None => {
            let watch = below.compiler().watch(node, faults);
            below.announce(id, &results());
            watch.map(|watch| vec![Way { watch, then: None }])
        }
    };
    let up_to = object.span("up_to", faults);
    if up_to.is_some_and(Span::is_zero) {
        faults
            .error("wait-zero", &object.place("up_to"), "waiting for no time does nothing")
            .hint("write for example `up_to: 7 days`");
    }
    let then = object.node("then").and_then(|steps| below.arm("then", steps, faults));
    if let (Some(_), Some(then)) = (node.list(), object.node("then")) {
        faults
            .error("arm-form", &then.place, "of a list of things to wait for, each has its own `then`")
            .hint("move it to what it belongs to; what follows the step is done in any case");
    }
    let otherwise = object.node("otherwise").and_then(|steps| below.arm("otherwise", steps, faults));
    let best = object.word("choose", CHOOSE, faults) == Some("best");
    if node.list().is_none() && object.node("choose").is_some() {
        faults
            .error("choose-one", &object.place("choose"), "`choose` goes with a list of things to wait for")
            .hint("write `wait_for:` as a list, or leave `choose` out");
    }
    let restart = restart(object, below, faults);
    let mut ways = ways?;
    if let [only] = ways.as_mut_slice() {
        only.then = only.then.or(then);
    }
    Some(Box::new(WaitForStep { ways, up_to: up_to?, otherwise, best, restart }))
}

/// What it leaves: the event that it saw, with its properties, and which thing of a list that was.
fn results() -> Vec<(String, Type)> {
    vec![("event".to_owned(), Type::Any), ("rank".to_owned(), Type::Number)]
}

fn several(node: &Node, list: &[Node], below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Vec<Way>> {
    if list.is_empty() || list.len() > WAYS_MAX {
        faults
            .error("wait-for-list", &node.place, format!("a list to wait for has 1 to {WAYS_MAX} things"))
            .hint("for example `- event: purchase` with `then:` below it");
        return None;
    }
    let ways: Vec<Option<Way>> = list.iter().map(|node| one(node, below, faults)).collect();
    ways.into_iter().collect()
}

/// One thing of a list; its `then` is no part of what is looked out for.
fn one(node: &Node, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Way> {
    let Some(entries) = node.map() else {
        return below.compiler().watch(node, faults).map(|watch| Way { watch, then: None });
    };
    let part = entries.iter().filter(|(key, _)| key.text != "then").cloned().collect();
    let watch = below.compiler().watch(&Node { place: node.place.clone(), kind: NodeKind::Map(part) }, faults);
    let steps = node.get("then").filter(|steps| !steps.is_null());
    let name = watch.as_ref().map_or_else(|| "then".to_owned(), Watch::sentence);
    let then = steps.and_then(|steps| below.arm(&name, steps, faults));
    Some(Way { watch: watch?, then })
}

/// Reads `restart_on`.
pub(super) fn restart(object: &Object<'_>, below: &mut Below<'_, '_>, faults: &mut Faults) -> Option<Watch> {
    let node = object.node("restart_on")?;
    let watch = below.compiler().watch(node, faults)?;
    if matches!(watch, Watch::Condition(_)) {
        faults
            .error("watch-kind", &node.place, "`restart_on` looks out for events and segments, not for conditions")
            .hint("for example `restart_on: cart_updated`");
        return None;
    }
    Some(watch)
}

impl Step for WaitForStep {
    fn advance(&self, cx: &StepCx<'_>) -> Flow {
        Flow::WaitFor { until: cx.now.plus(self.up_to, cx.zone) }
    }

    fn ways(&self) -> Option<Ways<'_>> {
        let ways = self.ways.iter().map(|way| (&way.watch, way.then.unwrap_or(NEXT))).collect();
        Some(Ways { ways, otherwise: self.otherwise.unwrap_or(NEXT), best: self.best })
    }

    fn restart(&self) -> Option<&Watch> {
        self.restart.as_ref()
    }

    fn arms(&self) -> Vec<(String, u32)> {
        let several = self.ways.len() > 1;
        let name = |way: &Way| if several { way.watch.sentence() } else { "then".to_owned() };
        let then = self.ways.iter().filter_map(|way| Some((name(way), way.then?)));
        then.chain(self.otherwise.map(|to| ("otherwise".to_owned(), to))).collect()
    }

    fn is_wait(&self) -> bool {
        true
    }

    fn conditions(&self) -> Vec<&Cond> {
        self.ways.iter().map(|way| &way.watch).chain(&self.restart).flat_map(Watch::conditions).collect()
    }

    fn results(&self) -> Vec<(String, Type)> {
        results()
    }

    fn goes_on(&self) -> bool {
        self.otherwise.is_none() || self.ways.iter().any(|way| way.then.is_none())
    }

    fn sentence(&self) -> String {
        let ways: Vec<String> = self.ways.iter().map(|way| way.watch.sentence()).collect();
        let between = if self.best { ", better " } else { " or " };
        let what = if self.best { ways.into_iter().rev().collect::<Vec<_>>().join(between) } else { ways.join(between) };
        format!("wait for {what}, up to {}", self.up_to)
    }
}
