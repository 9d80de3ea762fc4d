//! Caps: how many messages a customer may get, and who has a place among them.
//!
//! A message takes its place when it is planned, moves to the instant at which it was accepted, and gives the
//! place back when it is certain that it was not sent. One of unknown fate keeps it.

use super::Turn;
use super::budget::BUDGET;
use crate::customer::Send;
use crate::effect::Outcome;
use crate::funnel::Workspace;
use crate::funnel::settings::{Cap, Period};
use crate::lang::cel::flip::Moving;
use crate::lang::time::{DAY_MS, Span, Time, Zone, instant};
use crate::lang::value::Value;
use chrono::{Datelike, Days, Months, NaiveTime};

/// What caps call the making of an offer.
pub(super) const OFFER_CHANNEL: &str = "$offer";
/// What budgets call points; the tag is the funnel that gives them.
const POINTS_CHANNEL: &str = "$points";
/// The longest calendar period of a cap, with a day to spare.
const CALENDAR_DAYS_MAX: u32 = 32;

/// How long a message whose run is over keeps its place when nothing is heard of it, in milliseconds: it may
/// have been under way when the run ended, or have been taken back in time.
const UNHEARD_MS_MAX: i64 = DAY_MS;

/// Most messages that a fact names which a cap counted; the newest.
const COUNTED_SHOWN_MAX: usize = 10;

/// How long sends are remembered: the longest period that any cap counts.
fn longest_memory(workspace: &Workspace) -> Span {
    let spans = workspace.settings.caps.iter().filter_map(|cap| match cap.period {
        Period::Within(span) => Some(span),
        Period::Day | Period::Week | Period::Month => None,
    });
    let spans = spans.chain(workspace.settings.offers.map(|(_, span)| span));
    let epoch = Time(0);
    let length = |span: &Span| epoch.plus(*span, chrono_tz::UTC);
    spans.chain([Span::days(CALENDAR_DAYS_MAX)]).max_by_key(length).unwrap_or_default()
}

/// A cap that stands against a message.
#[derive(Default)]
pub(super) struct OverCap {
    /// Which, in words.
    pub why: String,
    /// From when on there is room if nothing else is sent.
    pub free: Time,
    /// What it counted, the newest first, for those who ask why.
    pub counted: Vec<(String, Value)>,
}

impl Turn<'_> {
    /// The cap that a marketing message would break now; with it from when on every cap that it would break has room
    /// for it if nothing else is sent.
    pub(super) fn capped(&self, channel: &str, tag: Option<&str>, now: Time) -> Option<OverCap> {
        let concerns =
            |cap: &&Cap| cap.channel.as_deref().is_none_or(|c| c == channel) && (cap.tag.is_none() || cap.tag.as_deref() == tag);
        let broken = |cap: &&Cap| self.counted(cap, now).count() >= cap.at_most as usize;
        let mut caps = self.workspace.settings.caps.iter().filter(concerns).filter(broken).peekable();
        let cap = *caps.peek()?;
        let free = caps.map(|cap| self.room_at(cap, now)).max()?;
        let of = match (&cap.channel, &cap.tag) {
            (Some(channel), Some(tag)) => format!("{channel} tagged {tag}"),
            (Some(channel), None) => channel.clone(),
            (None, Some(tag)) => format!("messages tagged {tag}"),
            (None, None) => "messages".to_owned(),
        };
        let period = match cap.period {
            Period::Within(span) => format!("within {span}"),
            Period::Day => "per day".to_owned(),
            Period::Week => "per week".to_owned(),
            Period::Month => "per month".to_owned(),
        };
        let newest = self.counted(cap, now).rev().take(COUNTED_SHOWN_MAX);
        let counted = newest.map(|send| (format!("counted {}", send.channel), Value::Time(send.at))).collect();
        Some(OverCap { why: format!("cap: at most {} {of} {period}", cap.at_most), free, counted })
    }

    /// From when on a full cap has room if nothing else is sent.
    fn room_at(&self, cap: &Cap, now: Time) -> Time {
        let today = now.date(self.zone);
        let day = match cap.period {
            Period::Within(span) => {
                let mut times: Vec<Time> = self.counted(cap, now).map(|send| send.at).collect();
                times.sort_unstable();
                // So many of the oldest must have left that one less than the most is there.
                let last = times.len().checked_sub(cap.at_most as usize).and_then(|at| times.get(at).copied());
                return last.and_then(|last| Moving::ago(span).flip(now, self.zone, last)).unwrap_or(now.plus(span, self.zone));
            }
            Period::Day => today.checked_add_days(Days::new(1)),
            Period::Week => today.checked_add_days(Days::new(7 - u64::from(today.weekday().num_days_from_monday()))),
            Period::Month => today.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
        };
        day.map_or(now, |day| instant(self.zone, day.and_time(NaiveTime::MIN)))
    }

    /// The messages that a cap counts.
    fn counted<'t>(&'t self, cap: &'t Cap, now: Time) -> impl DoubleEndedIterator<Item = &'t Send> {
        let from = period_start(cap.period, now, self.zone);
        let counts = move |send: &&Send| {
            let inside = match cap.period {
                Period::Within(_) => send.at > from,
                Period::Day | Period::Week | Period::Month => send.at >= from,
            };
            inside
                && self.has_place(send, now)
                && !send.channel.starts_with('$')
                && cap.channel.as_deref().is_none_or(|channel| channel == send.channel)
                && (cap.tag.is_none() || cap.tag == send.tag)
        };
        self.customer.sends.iter().filter(counts)
    }

    /// Offers made within a span.
    pub(super) fn count_offers(&self, within: Span, now: Time) -> usize {
        let from = now.minus(within, self.zone);
        self.customer.sends.iter().filter(|send| send.channel == OFFER_CHANNEL && send.at > from).count()
    }

    /// The budget of her own that more points of a funnel would break.
    pub(super) fn over_her_budget(&self, funnel: &str, points: i64) -> Option<String> {
        let now = self.real_now.max(self.now);
        let over = self.workspace.settings.budgets.iter().filter(|budget| budget.each_customer && budget.concerns(funnel));
        let over = over.filter_map(|budget| {
            let from = period_start(budget.per?, now, self.zone);
            let counts = |send: &&Send| {
                let concerned = send.channel == POINTS_CHANNEL && budget.concerns(send.tag.as_deref().unwrap_or_default());
                concerned && send.at >= from && self.has_place(send, now)
            };
            let given: i64 = self.customer.sends.iter().filter(counts).map(|send| send.points).sum();
            (given.saturating_add(points) > budget.points)
                .then(|| format!("{BUDGET}: {}; {given} are hers or on their way", budget.sentence))
        });
        over.into_iter().next()
    }

    /// Points that are on their way to her count for her budgets.
    pub(super) fn count_points(&mut self, funnel: &str, points: i64, effect: String) {
        let own = |budget: &crate::funnel::settings::budget::Budget| budget.each_customer && budget.concerns(funnel);
        if self.workspace.settings.budgets.iter().any(own) {
            let at = self.real_now.max(self.now);
            let (channel, tag) = (POINTS_CHANNEL.to_owned(), Some(funnel.to_owned()));
            self.customer.sends.push(Send { at, channel, tag, effect: Some(effect), points });
        }
    }

    /// Whether a message still has its place: it was accepted, or its run waits for its answer, or the run ended
    /// not long ago.
    fn has_place(&self, send: &Send, now: Time) -> bool {
        let Some(effect) = &send.effect else { return true };
        now.since_ms(send.at) < UNHEARD_MS_MAX || self.customer.runs.iter().any(|run| run.waits_for(effect))
    }

    /// A planned send moves to the instant at which it was accepted; one that was not accepted is given
    /// back. One whose fate is unknown keeps its place.
    pub(super) fn settle_cap(&mut self, effect: &str, outcome: &Outcome) {
        let Some(at) = self.customer.sends.iter().position(|send| send.effect.as_deref() == Some(effect)) else { return };
        match outcome {
            // One of unknown fate may have been accepted at any instant until now.
            Outcome::Accepted { .. } | Outcome::Unknown { .. } => {
                self.customer.sends[at].at = self.now;
                self.customer.sends[at].effect = None;
            }
            Outcome::Refused { .. } | Outcome::Dead { .. } | Outcome::Parked { .. } => {
                self.customer.sends.remove(at);
            }
        }
    }

    /// An effect is taken back because its run is over. A message of an earlier turn may be under way already:
    /// it keeps its place for a while, unless its answer comes and says that it was not sent. Offers are never
    /// under way.
    pub(super) fn give_place_back(&mut self, effect: &str, may_be_under_way: bool) {
        let now = self.real_now.max(self.now);
        self.customer.sends.retain_mut(|send| {
            if send.effect.as_deref() != Some(effect) {
                return true;
            }
            send.at = now;
            may_be_under_way && send.channel != OFFER_CHANNEL
        });
    }

    /// Forgets messages that no cap counts any more. One that has lost its place because nothing was heard of it
    /// is remembered all the same: after a long outage its answer may still come, and then it counts.
    pub(super) fn prune_sends(&mut self) {
        if self.customer.sends.is_empty() {
            return;
        }
        let from = self.now.minus(longest_memory(self.workspace), self.zone);
        let sends = std::mem::take(&mut self.customer.sends);
        let awaited = |send: &Send| send.effect.as_ref().is_some_and(|id| self.customer.runs.iter().any(|run| run.waits_for(id)));
        self.customer.sends = sends.into_iter().filter(|send| send.at > from || awaited(send)).collect();
    }
}

/// From when a cap counts: exclusive for a rolling period, inclusive for a calendar one.
fn period_start(period: Period, now: Time, zone: Zone) -> Time {
    let today = now.date(zone);
    let day = match period {
        Period::Within(span) => return now.minus(span, zone),
        Period::Day => today,
        Period::Week => today.checked_sub_days(Days::new(u64::from(today.weekday().num_days_from_monday()))).unwrap_or(today),
        Period::Month => today.with_day(1).unwrap_or(today),
    };
    instant(zone, day.and_time(NaiveTime::MIN))
}
