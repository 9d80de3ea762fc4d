//! Facts: one line each of what happened and why. The timeline, `explain` and all figures are made of
//! facts; nothing else is kept for them.

use crate::lang::time::Time;
use crate::lang::value::Value;
use serde::{Deserialize, Serialize};

pub mod count;
pub mod sentence;

/// One thing that happened to a customer, with its reason.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Fact {
    /// When, in the turn's time.
    pub at: Time,
    /// What.
    pub what: What,
    /// What it was about: an event's or segment's name, a template, a variant, an amount.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// The run it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunRef>,
    /// Why, as a sentence without a full stop; empty when `what` says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The values that the decision looked at: operand and value, in the order in which they were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<(String, Value)>,
    /// Points, or money in minor units, for figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<i64>,
}

/// Which run, and where in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunRef {
    /// The funnel's name; empty when the run is over and its customer's document does not know it any more.
    pub funnel: String,
    /// Short hash of the funnel's version.
    pub version: String,
    /// Number of the run within the customer; 0 for a refusal to enter.
    pub run: u64,
    /// The step, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// Channel of a message step, variant of a split, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// How the run came about, where figures ask for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Box<Origin>>,
}

/// How a run came about, so that a fact of it is counted where it belongs without another fact being looked up.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Origin {
    /// When she entered.
    pub since: Time,
    /// The variants that were drawn so far: step and variant.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<(String, String)>,
    /// The segments that she was in when she entered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<String>,
    /// Of a goal: it was reached before. Of a variant: it was drawn before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

macro_rules! whats {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal),* $(,)?) => {
        /// The kinds of fact.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum What { $($(#[doc = $doc])* $name),* }

        impl What {
            /// Every kind.
            pub const ALL: &'static [What] = &[$(What::$name),*];

            /// Name in timelines, JSON, tests and figures.
            pub fn name(self) -> &'static str {
                match self { $(What::$name => $text),* }
            }

            /// The kind of that name.
            pub fn parse(text: &str) -> Option<What> {
                match text { $($text => Some(What::$name),)* _ => None }
            }
        }
    };
}

whats! {
    /// An event was taken into history and acted on.
    Event = "event",
    /// An event was history only: too late to act, imported, or of a past the engine does not act on.
    HistoryOnly = "history_only",
    /// An input was refused by the turn.
    Refused = "refused",
    /// Profile, membership or consent changed.
    Profile = "profile",
    /// Consent was given.
    ConsentGiven = "consent_given",
    /// Consent was withdrawn.
    ConsentWithdrawn = "consent_withdrawn",
    /// An address of hers is not to be written to any more.
    Suppressed = "suppressed",
    /// An address of hers may be written to again.
    Unsuppressed = "unsuppressed",
    /// A message of hers was reported as unwanted.
    Complained = "complained",
    /// She entered a segment.
    SegmentEntered = "segment_entered",
    /// She left a segment.
    SegmentLeft = "segment_left",
    /// A run began.
    Entered = "entered",
    /// A trigger matched, and she is left alone and measured.
    HeldOut = "held_out",
    /// A trigger matched, and whether a run begins is judged again for a while.
    Settling = "settling",
    /// A trigger matched and no run began.
    NotEntered = "not_entered",
    /// A run waits.
    Waiting = "waiting",
    /// A wait began anew.
    Restarted = "restarted",
    /// A wait ended.
    Resumed = "resumed",
    /// A step did not run: its `if` was false, its time had passed, its consent was missing.
    Skipped = "skipped",
    /// A message was held back by quiet hours, by its window, or until a cap has room.
    Held = "held",
    /// What a step would do waits for a person.
    Review = "review",
    /// A person let it go.
    Released = "released",
    /// What a step would have done; its funnel or step only tries.
    Shadowed = "shadowed",
    /// A message was not sent because of a cap.
    Capped = "capped",
    /// A branch was taken.
    Branched = "branched",
    /// A variant was drawn.
    Variant = "variant",
    /// An effect went to the outbox.
    Planned = "planned",
    /// A decision outlived its shelf life and is made anew.
    Redecided = "redecided",
    /// A message was accepted by its provider.
    Sent = "sent",
    /// Points were granted.
    Granted = "granted",
    /// Points that were granted were taken back.
    Undone = "undone",
    /// A grant waits: the loyalty store's programme is blocked.
    Parked = "parked",
    /// The loyalty store was asked what it knows.
    LookedUp = "looked_up",
    /// An offer was made.
    Offered = "offered",
    /// Another customer was told something: an event, or points that are hers.
    Told = "told",
    /// Points are held: nobody sees or spends them before it is certain that they are hers.
    Promised = "promised",
    /// A service was called and answered as expected.
    Called = "called",
    /// An effect was refused, died, or its result is unknown.
    Failed = "failed",
    /// An effect was taken back before it began.
    Withdrawn = "withdrawn",
    /// A profile field was set by a step.
    Set = "set",
    /// An event was emitted by a step.
    Emitted = "emitted",
    /// Another funnel was asked to begin.
    PassedOn = "passed_on",
    /// The goal was reached.
    Goal = "goal",
    /// A run ended by `exit_on` or `while`.
    Exited = "exited",
    /// A run ended by a `stop` step, a failed step or a limit.
    Stopped = "stopped",
    /// A run came to its end.
    Finished = "finished",
    /// A run goes on in another version of its funnel.
    Moved = "moved",
    /// Points became spendable.
    BonusActivated = "bonus_activated",
    /// Points ran out.
    BonusExpired = "bonus_expired",
    /// An offer ran out.
    OfferExpired = "offer_expired",
    /// An offer was used.
    OfferUsed = "offer_used",
    /// The tier changed.
    TierChanged = "tier_changed",
    /// A membership ran out.
    MembershipExpired = "membership_expired",
    /// A limit was reached; a person should look.
    Alert = "alert",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        for what in What::ALL {
            assert_eq!(What::parse(what.name()), Some(*what));
            // The serialised name is the shown name: tests and JSON speak one language.
            assert_eq!(serde_json::to_string(what).unwrap(), format!("\"{}\"", what.name()));
        }
    }
}
