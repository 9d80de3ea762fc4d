//! Steps: what a run does. One file per kind; [`KINDS`] is the registry.
//!
//! A step is a map with exactly one kind key and options beside it. Lists nest in YAML (branches,
//! variants); a compiled funnel is one flat list, each step naming the next ([`Steps`]). A step decides
//! what it wants ([`Flow`]); whether it may (consent, quiet hours, caps, limits) is decided by the turn.

use crate::customer::{Customer, Run};
use crate::lang::cel::{Cond, Expr, Need, Scope, Text};
use crate::lang::diag::{Faults, Place};
use crate::lang::node::Node;
use crate::lang::shape::{Field, Object};
use crate::lang::time::{Span, Time, Zone};
use crate::lang::value::Value;
use crate::watch::Watch;
use std::fmt::Debug;

pub mod both;
pub mod branch;
pub mod call;
pub mod compile;
pub mod emit;
pub mod enter;
pub mod grant;
pub mod membership;
pub mod message;
pub mod offer;
pub mod rate;
pub mod set;
pub mod split;
pub mod stop;
pub mod wait;
pub mod wait_for;
pub mod wait_until;
pub mod window;
pub mod winner;

pub use compile::{Below, COMMON, Compiled, Compiler, EXPIRES, IF_EXPIRED, StepNames, StepResults, steps};

/// Every kind of step there is.
pub const KINDS: &[&StepKind] = &[
    &message::EMAIL,
    &message::SMS,
    &message::CHAT,
    &message::PUSH,
    &message::MESSAGE,
    &grant::KIND,
    &both::KIND,
    &offer::KIND,
    &membership::KIND,
    &call::KIND,
    &wait::KIND,
    &wait_until::KIND,
    &wait_for::KIND,
    &branch::KIND,
    &split::KIND,
    &set::KIND,
    &emit::KIND,
    &enter::KIND,
    &stop::KIND,
];

/// Most steps of one funnel.
pub const STEPS_MAX: usize = 500;
/// Index that means "the run is over".
pub const END: u32 = u32::MAX;
/// Target that means "the step after this one".
pub const NEXT: u32 = u32::MAX - 1;

/// The field with the steps that are done when a step has failed.
pub const FAILED: &str = "failed";

/// A kind of step.
pub struct StepKind {
    /// Its key in YAML.
    pub name: &'static str,
    /// One sentence for the reference.
    pub doc: &'static str,
    /// An example for help and the schema.
    pub example: &'static str,
    /// Its own fields, the key itself first.
    pub fields: &'static [Field],
    /// From YAML to a checked step. Nested lists are emitted through the compiler.
    pub compile: CompileStep,
}

/// Reads a step's object under the id it has got.
pub type CompileStep = fn(&Object<'_>, &str, &mut Below<'_, '_>, &mut Faults) -> Option<Box<dyn Step>>;

/// A compiled funnel's steps.
#[derive(Debug, Default)]
pub struct Steps {
    /// The flat list; a run begins at 0.
    pub list: Vec<StepAt>,
}

/// A step in its place.
#[derive(Debug)]
pub struct StepAt {
    /// Its id: written, or the kind with a running number.
    pub id: String,
    /// Its kind's name.
    pub kind: &'static str,
    /// Only if this holds.
    pub only_if: Option<Cond>,
    /// What happens when its effect fails.
    pub on_error: OnError,
    /// Where the run goes on when the step was not done in time, if that is written.
    pub if_expired: Option<u32>,
    /// How old what it reads of a remote loyalty store may be; `None`: as the settings say.
    pub max_age: Option<Span>,
    /// Whether what it does leaves; `None`: as the funnel says.
    pub mode: Option<Mode>,
    /// What it does.
    pub step: Box<dyn Step>,
    /// The step after it; [`END`] if none.
    pub next: u32,
    /// Nesting, for diagrams.
    pub depth: u32,
    /// Which list it stands in ("then", "otherwise", a variant's name), for diagrams.
    pub arm: String,
    /// Where it is written.
    pub place: Place,
}

/// Whether what a step does leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// It does.
    #[default]
    Live,
    /// When a person has released it.
    Review,
    /// Never: the run goes on as if it had.
    Shadow,
}

impl Mode {
    /// What it is called in funnels.
    pub const WORDS: &[&str] = &["live", "hold_for_review", "shadow"];

    /// The mode that a word stands for.
    pub fn of(word: &str) -> Mode {
        match word {
            "hold_for_review" => Mode::Review,
            "shadow" => Mode::Shadow,
            _ => Mode::Live,
        }
    }
}

/// What happens to the run when a step's effect fails for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnError {
    /// The run ends.
    Stop,
    /// The run goes on with the next step.
    Skip,
    /// The run goes on with the steps of `failed`; [`NEXT`]: there are none.
    Branch(u32),
}

/// What a step looks at.
pub struct StepCx<'a> {
    /// The instant.
    pub now: Time,
    /// The customer's zone.
    pub zone: Zone,
    /// The customer.
    pub customer: &'a Customer,
    /// The run.
    pub run: &'a Run,
    /// Conditions and expressions are judged against this.
    pub scope: &'a dyn Scope,
    /// The trigger's clock time, for date steps that name none.
    pub clock: Option<chrono::NaiveTime>,
    /// The variant of this split that was chosen, if one was.
    pub winner: Option<&'a winner::Winner>,
}

/// What a step wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Flow {
    /// Go on with the next step.
    Next,
    /// Go on with that step (a branch or variant taken): target, its name, the operands looked at.
    Goto {
        /// Index of the step to go on with, or [`NEXT`].
        to: u32,
        /// The name of what was taken.
        name: String,
        /// What decided it, with values.
        seen: Vec<(String, Value)>,
        /// Whether it is a variant of a split (recorded) or a branch.
        variant: bool,
        /// Why this one; empty where it was drawn or what was looked at says it.
        why: String,
    },
    /// Wait until an instant, then go on with the next step.
    Wait {
        /// Until when.
        until: Time,
        /// In words.
        why: String,
    },
    /// The instant waited for is past.
    Past {
        /// The instant.
        was: Time,
        /// What to do.
        rule: IfPast,
    },
    /// The date waited for is missing.
    NoDate {
        /// What is missing.
        what: String,
    },
    /// Look out for something until an instant.
    WaitFor {
        /// When to give up.
        until: Time,
    },
    /// Send a message.
    Send(Box<MessagePlan>),
    /// Give points.
    Grant {
        /// Which.
        plan: GrantPlan,
        /// Another customer who gets them.
        to: Option<String>,
    },
    /// Give points to her and to another, or to neither.
    Both {
        /// Her own.
        own: GrantPlan,
        /// The other's.
        others: GrantPlan,
        /// Who that is.
        to: String,
        /// Both must be accepted within this.
        within: Span,
    },
    /// Make an offer.
    Offer(OfferPlan),
    /// Call a service.
    Call {
        /// The request.
        call: crate::effect::call::Call,
        /// It must not be made later than this after its decision.
        expires: Option<Span>,
    },
    /// Set profile fields.
    Set(Vec<(String, Value)>),
    /// Emit an event.
    Emit {
        /// Its name.
        name: String,
        /// Its properties.
        properties: crate::lang::value::Fields,
        /// Another customer to whom it happens.
        to: Option<String>,
    },
    /// Begin another funnel.
    Enter {
        /// Its name.
        funnel: String,
        /// What it reads as its event.
        properties: crate::lang::value::Fields,
    },
    /// End the run.
    Stop {
        /// Why.
        reason: String,
    },
    /// An expression of the step named something that is missing.
    Missing {
        /// What.
        what: String,
    },
    /// There is nothing to be done: the step is skipped.
    Nothing {
        /// Why.
        why: String,
    },
    /// What the step wants cannot be done.
    Impossible {
        /// Why, as a sentence without a full stop.
        why: String,
    },
}

/// What to do when an instant waited for is past.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IfPast {
    /// Drop the steps up to the next `wait_until`.
    Skip,
    /// Go on at once.
    Continue,
    /// End the run.
    Exit,
}

/// A message as a step wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct MessagePlan {
    /// The channels to try, in this order; at least one.
    pub channels: Vec<&'static str>,
    /// Template name, or `inline:<step id>`.
    pub template: String,
    /// Consent topic; `None`: the funnel's.
    pub topic: Option<String>,
    /// Tag for caps; `None`: the funnel's.
    pub tag: Option<String>,
    /// Not marketing; `None`: as the funnel says.
    pub transactional: Option<bool>,
    /// What quiet hours do; `None`: hold for marketing, ignore for transactional.
    pub quiet_hours: Option<Quiet>,
    /// When it may be sent; `None`: at any time.
    pub window: Option<window::Window>,
    /// What a reached cap does.
    pub on_cap: OnCap,
    /// It must not be sent later than this after its decision; `None`: [`message::MESSAGE_EXPIRES_HOURS`], for each
    /// channel anew.
    pub expires: Option<Span>,
}

/// What a reached cap does to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnCap {
    /// It is not sent.
    Skip,
    /// The run ends.
    Exit,
    /// It waits until the cap has room, at most so long.
    Defer(Span),
}

/// What quiet hours do to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quiet {
    /// Wait until they end.
    Hold,
    /// Do not send.
    Skip,
    /// End the run.
    Exit,
    /// Send.
    Ignore,
}

/// Points as a step wants them.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantPlan {
    /// How many.
    pub points: i64,
    /// Why.
    pub reason: String,
    /// Spendable after this.
    pub active_after: Span,
    /// Run out this long after activation.
    pub expires_after: Option<Span>,
    /// They must not be given later than this after the run came to the step.
    pub expires: Option<Span>,
}

/// An offer as a step wants it.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferPlan {
    /// Bundle in the catalog.
    pub bundle: String,
    /// Validity.
    pub valid_for: Span,
    /// It must not be made later than this after the run came to the step.
    pub expires: Option<Span>,
}

/// What a step looks out for while it waits.
#[derive(Debug)]
pub struct Ways<'a> {
    /// Each with where to go when it is seen; what stands first is best.
    pub ways: Vec<(&'a Watch, u32)>,
    /// Where to go when the time is up.
    pub otherwise: u32,
    /// Whether better ones are waited for until the time is up.
    pub best: bool,
}

/// A checked step.
pub trait Step: Debug + Send + Sync {
    /// What it wants now. `index` is its place in [`Steps::list`].
    fn advance(&self, cx: &StepCx<'_>) -> Flow;
    /// The instant that its wait now stands for, when the date it follows has moved; `None`: it does not
    /// follow a date.
    fn moved(&self, _cx: &StepCx<'_>) -> Option<Flow> {
        None
    }
    /// What it looks out for while it waits.
    fn ways(&self) -> Option<Ways<'_>> {
        None
    }
    /// What begins its wait anew.
    fn restart(&self) -> Option<&Watch> {
        None
    }
    /// The steps that it can go to beside the next one, with their names, for diagrams and reachability.
    fn arms(&self) -> Vec<(String, u32)> {
        Vec::new()
    }
    /// Whether the run can go on with the step after it; not if it ends the run, or if every way leads
    /// into an arm.
    fn goes_on(&self) -> bool {
        true
    }
    /// Whether time passes in it.
    fn is_wait(&self) -> bool {
        false
    }
    /// The channels that its message is tried by, in this order.
    fn channels(&self) -> &[&'static str] {
        &[]
    }
    /// Template that it renders, if any: name and the first channel.
    fn template(&self) -> Option<(&str, &'static str)> {
        None
    }
    /// Whether its message is no marketing, where the step says so.
    fn transactional(&self) -> Option<bool> {
        None
    }
    /// Conditions and expressions inside, for what must be kept and frozen.
    fn conditions(&self) -> Vec<&Cond> {
        Vec::new()
    }
    /// Expressions inside.
    fn expressions(&self) -> Vec<&Expr> {
        Vec::new()
    }
    /// How the engine chooses among its variants, and the names of those that are drawn.
    fn test(&self) -> Option<(&winner::Rule, Vec<&str>)> {
        None
    }
    /// The names of its variants, if it is a split.
    fn variants(&self) -> Vec<&str> {
        Vec::new()
    }
    /// What its conditions and expressions need to be kept in the history.
    fn needs(&self) -> Vec<Need> {
        self.conditions().iter().flat_map(|cond| cond.needs()).collect()
    }
    /// The event that it emits.
    fn emits(&self) -> Option<&str> {
        None
    }
    /// The funnel that it lets her begin.
    fn enters(&self) -> Option<&str> {
        None
    }
    /// The message that it sends.
    fn message(&self) -> Option<&MessagePlan> {
        None
    }
    /// The clock time at which its wait ends, where that is always the same one.
    fn clock(&self) -> Option<chrono::NaiveTime> {
        None
    }
    /// Whether one of its results is never there.
    fn never_leaves(&self, _field: &str) -> bool {
        false
    }
    /// Whether it can turn out that there is nothing to be done.
    fn may_be_nothing(&self) -> bool {
        false
    }
    /// What takes back what it gave, and how long after.
    fn undo(&self) -> Option<(&Watch, Span)> {
        None
    }
    /// Whether only a share is taken back, in proportion to what was given back.
    fn undo_shares(&self) -> bool {
        false
    }
    /// The reason under which it grants points.
    fn grants(&self) -> Option<&str> {
        None
    }
    /// What it tells another customer, if it does, in words.
    fn tells(&self) -> Option<String> {
        None
    }
    /// The service that it calls.
    fn calls(&self) -> Option<&str> {
        None
    }
    /// The bundle that it offers.
    fn offers(&self) -> Option<&str> {
        None
    }
    /// What `steps.<id>` holds after it, with types.
    fn results(&self) -> Vec<(String, crate::lang::cel::Type)> {
        Vec::new()
    }
    /// In words: "wait 3 days", "e-mail “welcome”".
    fn sentence(&self) -> String;
}

impl StepAt {
    /// The steps that it can go to beside the next one, with their names.
    pub fn arms(&self) -> Vec<(String, u32)> {
        let mut arms = self.step.arms();
        if let OnError::Branch(to) = self.on_error
            && to != NEXT
        {
            arms.push((FAILED.to_owned(), to));
        }
        arms.extend(self.if_expired.filter(|to| *to != NEXT).map(|to| ("if_expired".to_owned(), to)));
        arms
    }
}

/// Text of a step's main value when it must be a name. One that is not there has its fault already.
pub(crate) fn main_text(object: &Object<'_>, key: &str, faults: &mut Faults) -> Option<Text> {
    object.text(key, faults)
}

/// Reads a list of steps below another step.
pub(crate) fn list_node<'a>(node: &'a Node, faults: &mut Faults) -> Option<&'a [Node]> {
    match node.list() {
        Some(list) => Some(list),
        None => {
            faults
                .error("steps-list", &node.place, format!("a list of steps is wanted here, not {}", node.describe()))
                .hint("begin each step with `- ` on a line of its own");
            None
        }
    }
}
