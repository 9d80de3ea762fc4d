//! Who may enter: triggers that fire, keys, re-entry, `only_if`.

use super::advance::next_wait_until;
use super::goals::short;
use super::view::View;
use super::{Pass, Turn, UnderWay};
use crate::customer::{Entries, RUNS_MAX, Run, RunState};
use crate::event::Event;
use crate::fact::{Fact, RunRef, What};
use crate::funnel::draft::GOAL_WITHIN_DAYS;
use crate::funnel::{Funnel, OnChange, ReEntry, holdout};
use crate::lang::time::{DAY_MS, Span, Time};
use crate::lang::value::Value;
use crate::trigger::schedule::GRACE_MS;
use crate::trigger::{DefaultReEntry, Firing, Interest, Occurrence};
use crate::watch::Flip;
use chrono::Datelike;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most occurrences of one time trigger that one instant catches up with.
const OCCURRENCES_MAX: usize = 20;

/// Why a run did not begin.
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) seen: Vec<(String, Value)>,
}

impl Refusal {
    fn new(why: impl Into<String>) -> Refusal {
        Refusal { why: why.into(), seen: Vec::new() }
    }
}

/// A trigger that fires, and its funnel.
pub(super) struct Fired {
    pub(super) funnel: Arc<Funnel>,
    pub(super) firing: Firing,
    /// Joined in the middle: the occasion was due at this instant, before its date was known.
    pub(super) joined: Option<Time>,
    /// Judged again: until when.
    pub(super) settling: Option<Time>,
}

impl Fired {
    pub(super) fn new(funnel: &Arc<Funnel>, firing: Firing) -> Fired {
        Fired { funnel: funnel.clone(), firing, joined: None, settling: None }
    }
}

impl Turn<'_> {
    /// Lets in who may enter, in the order of priority and name.
    pub(super) fn entries(&mut self, pass: &Pass) {
        self.settle();
        let began = self.runs.began.len();
        for fired in self.firings(pass) {
            let event = pass.event.as_ref().filter(|_| matches!(fired.funnel.trigger.interest(), Interest::Events(_)));
            let hops = match fired.funnel.trigger.interest() {
                Interest::Segment(_) => pass.depth.saturating_add(1),
                _ => pass.depth,
            };
            self.enter(fired, event.cloned(), hops);
        }
        if self.runs.began.len() > began {
            // A run that begins shuts out kept entries: now, and not when something else happens to come.
            self.settle();
        }
    }

    fn firings(&mut self, pass: &Pass) -> Vec<Fired> {
        let mut fired: Vec<Fired> = Vec::new();
        if let Some(event) = &pass.event {
            fired.extend(self.on_event(event));
        }
        for (segment, entered) in &pass.flips {
            for funnel in self.workspace.by_segment.get(segment).into_iter().flatten() {
                let flip = Flip { segment, entered: *entered };
                let firing = self.with_trigger(funnel, |cx| funnel.trigger.on_flip(cx, flip));
                fired.extend(firing.map(|firing| Fired::new(funnel, firing)));
            }
        }
        if pass.points || pass.event.is_some() {
            for funnel in &self.workspace.by_points {
                let firings = self.with_trigger(funnel, |cx| funnel.trigger.on_points(cx));
                fired.extend(firings.into_iter().map(|firing| Fired::new(funnel, firing)));
            }
        }
        fired.extend(self.on_time(pass));
        if let Some((name, id, properties)) = &pass.enrol {
            match self.workspace.funnels.get(name) {
                Some(funnel) => {
                    let firing =
                        Firing { key: format!("manual:{id}"), anchor: self.now, mark: None, properties: properties.clone() };
                    fired.push(Fired::new(funnel, firing));
                }
                None => {
                    self.fact(What::Refused, name.clone(), "there is no funnel of this name any more");
                }
            }
        }
        fired.sort_by(|a, b| b.funnel.priority.cmp(&a.funnel.priority).then_with(|| a.funnel.name.cmp(&b.funnel.name)));
        fired
    }

    fn on_event(&mut self, event: &Event) -> Vec<Fired> {
        let mut fired = Vec::new();
        let (mut late, mut missed) = (false, Vec::new());
        for funnel in self.workspace.by_event.get(&event.name).into_iter().flatten() {
            let age = self.now.since_ms(event.time);
            let too_late = funnel.trigger.lateness_ms().is_some_and(|most| age > most);
            let view = View { event: Some(event), ..self.view() };
            let firings = funnel.trigger.on_event(&self.trigger_cx(funnel, &view), event);
            late |= too_late;
            match too_late {
                true if firings.is_empty() => {}
                true => missed.push(funnel),
                false => fired.extend(firings.into_iter().map(|firing| Fired::new(funnel, firing))),
            }
        }
        if late {
            let why = format!("it happened {} and is too old to start a run", self.clock_text(event.time));
            self.fact(What::HistoryOnly, event.name.clone(), why);
        }
        for funnel in missed {
            let why = format!("late: the event happened {} and came too late to start a run", self.clock_text(event.time));
            self.not_entered(funnel, &Refusal::new(why));
        }
        fired
    }

    /// Occurrences that are due, and those under way whose date has just become known or moved.
    fn on_time(&mut self, pass: &Pass) -> Vec<Fired> {
        let mut fired: Vec<Fired> = Vec::new();
        let under_way = if pass.profile { self.under_way() } else { UnderWay::new() };
        for (place, funnel) in self.workspace.by_time.iter().enumerate() {
            for _ in 0..OCCURRENCES_MAX {
                if self.occurs(funnel).is_none_or(|at| at > self.now) {
                    break;
                }
                let Some(occurrence) = self.occurrence(funnel) else { break };
                if let Some(watched) = self.customer.watched.get_mut(&funnel.name) {
                    watched.until = occurrence.at;
                }
                match self.missed(funnel, &occurrence) {
                    Some(why) => self.not_entered(funnel, &Refusal::new(why)),
                    None => fired.push(Fired::new(funnel, occurrence.firing)),
                }
            }
            let found = under_way.iter().find(|(other, _)| *other == place).filter(|found| !pass.under_way.contains(found));
            if let Some((_, occurrence)) = found {
                let digest = digest(&occurrence.firing.key);
                let known = self.customer.entries.get(&funnel.name).is_some_and(|e| e.keys.iter().any(|(key, _)| *key == digest));
                let queued =
                    fired.iter().any(|other| other.funnel.name == funnel.name && other.firing.key == occurrence.firing.key);
                if !known && !queued {
                    fired.push(Fired { joined: Some(occurrence.at), ..Fired::new(funnel, occurrence.firing.clone()) });
                }
            }
        }
        fired
    }

    /// Why an occurrence with a shelf life is not taken: it is over, or of several that were missed a later
    /// one is taken.
    fn missed(&self, funnel: &Funnel, occurrence: &Occurrence) -> Option<String> {
        let expires = occurrence.expires?;
        if expires < self.real_now {
            return Some(format!("it was due {} and is too late now", self.clock_text(occurrence.at)));
        }
        let later = self.with_trigger(funnel, |cx| funnel.trigger.next(cx, occurrence.at));
        let missed = occurrence.at.plus_ms(GRACE_MS) < self.real_now && later.is_some_and(|later| later.at <= self.real_now);
        missed.then(|| {
            format!("it was due {} and was missed; the last one that was missed is caught up", self.clock_text(occurrence.at))
        })
    }

    pub(super) fn enter(&mut self, fired: Fired, event: Option<Event>, hops: u8) {
        let Fired { funnel, firing, joined, .. } = &fired;
        let (funnel, joined) = (funnel.clone(), *joined);
        if let Some(mark) = firing.mark {
            // One that is judged again may have been passed by a higher one.
            let held = self.customer.marks.entry(funnel.name.clone()).or_insert(mark);
            *held = mark.max(*held);
        }
        let event = match event {
            // A threshold that an event crossed is readable beside the event's own properties.
            Some(mut event) => {
                event.properties.extend(firing.properties.clone());
                Some(event)
            }
            None => Some(firing_event(&funnel, firing, hops)),
        };
        let key = match self.key(&funnel, firing, event.as_ref()) {
            Ok(key) => key,
            Err(refusal) => return self.not_entered(&funnel, &refusal),
        };
        if let Err(refusal) = self.may_enter(&funnel, firing, &key) {
            return self.not_entered(&funnel, &refusal);
        }
        let seen = match self.entry_filter(&funnel, event.as_ref()) {
            Ok(seen) => seen,
            Err(refusal) if self.keep_entry(&fired, event.as_ref(), hops, &refusal) => return,
            Err(refusal) => return self.not_entered(&funnel, &refusal),
        };
        if !self.has_room(event.as_ref()) {
            return self.not_entered(&funnel, &Refusal::new("limit: her document has no room for another run"));
        }
        let now = self.now;
        let held_out = holdout::held_out(&self.workspace.settings, &funnel, &self.customer.id);
        let state = match held_out {
            Some(_) => RunState::Waiting { until: self.goal_window(&funnel) },
            None => RunState::Ready,
        };
        let entries = self.customer.entries.entry(funnel.name.clone()).or_default();
        entries.count = entries.count.saturating_add(1);
        entries.last = now;
        entries.keys.push((digest(&firing.key), now));
        self.customer.last_run += 1;
        let run = Run {
            id: self.customer.last_run,
            funnel: funnel.name.clone(),
            version: funnel.version.clone(),
            key,
            entered: now,
            anchor: firing.anchor,
            event,
            state,
            at: 0,
            iteration: 1,
            decision: 0,
            deadline: None,
            ghost: held_out.is_some(),
            put_off: None,
            tried: 0,
            by: 0,
            gifts: Vec::new(),
            best: None,
            look: None,
            saga: None,
            results: BTreeMap::new(),
            goal: None,
            segments: self.customer.segments.keys().cloned().collect(),
            watch_until: None,
            released: false,
            unknown: None,
            alone: false,
        };
        self.runs.touched.insert(run.id);
        self.runs.began.insert(run.id);
        self.customer.runs.push(run);
        let index = self.customer.runs.len() - 1;
        let (what, why) = held_out.map_or_else(|| (What::Entered, funnel.trigger.sentence()), |why| (What::HeldOut, why));
        let fact = self.run_fact(index, &funnel, what, "", why);
        fact.seen = seen;
        if let Some(run) = &mut fact.run {
            run.step.clear();
        }
        if what == What::HeldOut {
            // No step of hers judges it.
            self.leave_unless_while(index, &funnel);
            return;
        }
        if let Some(due) = joined {
            self.join(index, &funnel, due);
        }
    }

    /// Until when somebody who enters now is looked at for the goal.
    fn goal_window(&self, funnel: &Funnel) -> Time {
        let within = funnel.goal.as_ref().map_or(Span::days(GOAL_WITHIN_DAYS), |goal| goal.within);
        self.now.plus(within, self.zone)
    }

    /// The trigger's instant counts as the first `wait_until`: who comes to it late leaves out the steps up to
    /// the next one.
    fn join(&mut self, index: usize, funnel: &Arc<Funnel>, due: Time) {
        let to = next_wait_until(funnel, 0);
        if to == 0 {
            return;
        }
        let why = format!("it was due {}; the steps up to the next wait_until are not done late", self.clock_text(due));
        let first = funnel.steps.list.first().map(|step| step.id.clone()).unwrap_or_default();
        self.run_fact(index, funnel, What::Skipped, first, why);
        self.customer.runs[index].at = to;
    }

    /// The key of keyed concurrency. Occasions (a birthday, a threshold) are keys of their own.
    fn key(&self, funnel: &Funnel, firing: &Firing, event: Option<&Event>) -> Result<String, Refusal> {
        let Some(expr) = &funnel.key else {
            let per_occasion = funnel.trigger.default_re_entry() == DefaultReEntry::PerKey
                && !funnel.trigger.follows_date()
                && !matches!(funnel.trigger.interest(), Interest::Events(_) | Interest::Manual | Interest::Segment(_));
            let milestone = firing.mark.is_some();
            return Ok(if per_occasion || milestone { firing.key.clone() } else { String::new() });
        };
        let (value, _, seen) = expr.eval(&View { event, ..self.view() });
        match value {
            Ok(Value::Text(text)) => Ok(text),
            Ok(value) => Ok(value.to_string()),
            Err(missing) => Err(Refusal { why: format!("key: {missing} is not known"), seen }),
        }
    }

    fn may_enter(&self, funnel: &Funnel, firing: &Firing, key: &str) -> Result<(), Refusal> {
        let live = self.customer.runs.iter().filter(|run| run.is_live() && !run.alone);
        if live.clone().any(|run| run.funnel == funnel.name && run.key == key) {
            return Err(Refusal::new(if key.is_empty() {
                "re_entry: a run is under way".to_owned()
            } else {
                format!("re_entry: a run of the key {key} is under way")
            }));
        }
        if live.clone().count() >= RUNS_MAX {
            return Err(Refusal::new(format!("limit: {RUNS_MAX} runs of this customer are under way")));
        }
        let mut live = live;
        if funnel.on_change == OnChange::Drain && live.any(|run| run.funnel == funnel.name && run.version != funnel.version) {
            return Err(Refusal::new("on_change: a run of an earlier version is under way"));
        }
        let Some(entries) = self.customer.entries.get(&funnel.name) else { return Ok(()) };
        let occasion = digest(&firing.key);
        if entries.keys.iter().any(|(key, _)| *key == occasion) {
            return Err(Refusal::new("re_entry: this occasion has started a run already"));
        }
        if let Some(days) = funnel.trigger.days_between() {
            let open = entries.last.plus_ms(i64::from(days) * DAY_MS);
            if entries.count > 0 && self.now < open {
                return Err(Refusal::new(format!(
                    "re_entry: the last entry was {}, less than {days} days ago",
                    self.clock_text(entries.last)
                )));
            }
        }
        self.re_entry(funnel, entries)
    }

    fn re_entry(&self, funnel: &Funnel, entries: &Entries) -> Result<(), Refusal> {
        let (last, entered) = (entries.last, self.clock_text(entries.last));
        let closed = |why: String| Err(Refusal::new(format!("re_entry: {why}")));
        match funnel.re_entry {
            _ if entries.count == 0 => Ok(()),
            ReEntry::Never => closed(format!("never again; she entered {entered}")),
            ReEntry::Always => Ok(()),
            ReEntry::After(span) => match last.plus(span, self.zone) {
                open if self.now < open => closed(format!("not before {}; she entered {entered}", self.clock_text(open))),
                _ => Ok(()),
            },
            ReEntry::PerYear if last.date(self.zone).year() == self.now.date(self.zone).year() => {
                closed(format!("once per calendar year; she entered {entered}"))
            }
            ReEntry::PerTerm if self.customer.membership.as_ref().is_none_or(|membership| membership.started <= last) => {
                closed(format!("once per term; she entered {entered}"))
            }
            ReEntry::PerYear | ReEntry::PerTerm => Ok(()),
        }
    }

    fn entry_filter(&self, funnel: &Funnel, event: Option<&Event>) -> Result<Vec<(String, Value)>, Refusal> {
        let Some(only_if) = &funnel.only_if else { return Ok(Vec::new()) };
        let verdict = only_if.judge(&View { event, ..self.view() });
        match (verdict.value, verdict.missing) {
            (Some(true), _) => Ok(verdict.seen),
            (_, Some(missing)) => Err(Refusal { why: format!("only_if: {missing} is not known"), seen: verdict.seen }),
            (_, None) => Err(Refusal { why: format!("only_if: {}", only_if.text.text), seen: verdict.seen }),
        }
    }

    fn not_entered(&mut self, funnel: &Funnel, refusal: &Refusal) {
        self.about_entry(What::NotEntered, funnel, refusal.why.clone()).seen = refusal.seen.clone();
    }

    /// A fact about a run that did not begin.
    pub(super) fn about_entry(&mut self, what: What, funnel: &Funnel, why: String) -> &mut Fact {
        let reference = RunRef {
            funnel: funnel.name.clone(),
            version: short(&funnel.version),
            run: 0,
            step: String::new(),
            variant: String::new(),
            origin: None,
        };
        let fact = self.fact(what, "", why);
        fact.run = Some(reference);
        fact
    }
}

/// What steps read as `event` when no event started the run.
fn firing_event(funnel: &Funnel, firing: &Firing, depth: u8) -> Event {
    let name = match funnel.trigger.interest() {
        Interest::Segment(segment) => segment,
        Interest::Manual => "manual".to_owned(),
        _ => "occasion".to_owned(),
    };
    Event { id: firing.key.clone(), name, time: firing.anchor, properties: firing.properties.clone(), minor: None, depth }
}

/// Eight bytes of SHA-256: how the key of an entry is remembered.
pub(super) fn digest(key: &str) -> u64 {
    let hash = Sha256::digest(key.as_bytes());
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(bytes)
}
