//! Who may enter: triggers that fire, keys, re-entry, `only_if`.

use super::goals::short;
use super::view::View;
use super::{Pass, Turn};
use crate::customer::{Entries, RUNS_MAX, Run, RunState, Watched};
use crate::event::Event;
use crate::fact::{RunRef, What};
use crate::funnel::{Funnel, ReEntry};
use crate::lang::time::DAY_MS;
use crate::lang::value::Value;
use crate::trigger::{DefaultReEntry, Firing, Interest};
use crate::watch::Flip;
use chrono::Datelike;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most occurrences of one time trigger that one instant catches up with.
const OCCURRENCES_MAX: usize = 20;

/// Why a run did not begin.
struct Refusal {
    why: String,
    seen: Vec<(String, Value)>,
}

impl Refusal {
    fn new(why: impl Into<String>) -> Refusal {
        Refusal { why: why.into(), seen: Vec::new() }
    }
}

impl Turn<'_> {
    /// Lets in who may enter, in the order of priority and name.
    pub(super) fn entries(&mut self, pass: &Pass) {
        for (funnel, firing) in self.firings(pass) {
            let event = pass.event.as_ref().filter(|_| matches!(funnel.trigger.interest(), Interest::Events(_)));
            self.enter(&funnel, firing, event.cloned());
        }
    }

    fn firings(&mut self, pass: &Pass) -> Vec<(Arc<Funnel>, Firing)> {
        let mut fired: Vec<(Arc<Funnel>, Firing)> = Vec::new();
        if let Some(event) = &pass.event {
            fired.extend(self.on_event(event));
        }
        for (segment, entered) in &pass.flips {
            for funnel in self.workspace.by_segment.get(segment).into_iter().flatten() {
                let flip = Flip { segment, entered: *entered };
                let firing = self.with_trigger(funnel, |cx| funnel.trigger.on_flip(cx, flip));
                fired.extend(firing.map(|firing| (funnel.clone(), firing)));
            }
        }
        if pass.points || pass.event.is_some() {
            for funnel in &self.workspace.by_points {
                let firings = self.with_trigger(funnel, |cx| funnel.trigger.on_points(cx));
                fired.extend(firings.into_iter().map(|firing| (funnel.clone(), firing)));
            }
        }
        fired.extend(self.on_time(pass.profile));
        if let Some((name, id, properties)) = &pass.enrol {
            match self.workspace.funnels.get(name) {
                Some(funnel) => {
                    let firing =
                        Firing { key: format!("manual:{id}"), anchor: self.now, mark: None, properties: properties.clone() };
                    fired.push((funnel.clone(), firing));
                }
                None => {
                    self.fact(What::Refused, name.clone(), "there is no funnel of this name any more");
                }
            }
        }
        fired.sort_by(|(a, _), (b, _)| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        fired
    }

    fn on_event(&mut self, event: &Event) -> Vec<(Arc<Funnel>, Firing)> {
        let mut fired = Vec::new();
        let mut late = false;
        for funnel in self.workspace.by_event.get(&event.name).into_iter().flatten() {
            let age = self.now.since_ms(event.time);
            if funnel.trigger.lateness_ms().is_some_and(|most| age > most) {
                late = true;
                continue;
            }
            let view = View { event: Some(event), ..self.view() };
            let firings = funnel.trigger.on_event(&self.trigger_cx(funnel, &view), event);
            fired.extend(firings.into_iter().map(|firing| (funnel.clone(), firing)));
        }
        if late {
            let why = format!("it happened {} and is too old to start a run", event.time);
            self.fact(What::HistoryOnly, event.name.clone(), why);
        }
        fired
    }

    /// Occurrences that are due, and, when dates have just become known or moved, those under way.
    fn on_time(&mut self, profile: bool) -> Vec<(Arc<Funnel>, Firing)> {
        let mut fired = Vec::new();
        for funnel in &self.workspace.by_time {
            for _ in 0..OCCURRENCES_MAX {
                let Some(occurrence) = self.occurrence(funnel).filter(|occurrence| occurrence.at <= self.now) else { break };
                self.customer.watched.insert(funnel.name.clone(), Watched { until: occurrence.at });
                if occurrence.expires.is_some_and(|expires| expires < self.real_now) {
                    let why = format!("it was due {} and is too late now", occurrence.at);
                    self.not_entered(funnel, &Refusal::new(why));
                    continue;
                }
                fired.push((funnel.clone(), occurrence.firing));
            }
            if profile && let Some(occurrence) = self.with_trigger(funnel, |cx| funnel.trigger.under_way(cx)) {
                let digest = digest(&occurrence.firing.key);
                let known = self.customer.entries.get(&funnel.name).is_some_and(|e| e.keys.iter().any(|(key, _)| *key == digest));
                let queued = fired.iter().any(|(other, firing)| other.name == funnel.name && firing.key == occurrence.firing.key);
                if !known && !queued {
                    fired.push((funnel.clone(), occurrence.firing));
                }
            }
        }
        fired
    }

    fn enter(&mut self, funnel: &Arc<Funnel>, firing: Firing, event: Option<Event>) {
        if let Some(mark) = firing.mark {
            self.customer.marks.insert(funnel.name.clone(), mark);
        }
        let event = match event {
            // A threshold that an event crossed is readable beside the event's own properties.
            Some(mut event) => {
                event.properties.extend(firing.properties.clone());
                Some(event)
            }
            None => Some(firing_event(funnel, &firing)),
        };
        let key = match self.key(funnel, &firing, event.as_ref()) {
            Ok(key) => key,
            Err(refusal) => return self.not_entered(funnel, &refusal),
        };
        if let Err(refusal) = self.may_enter(funnel, &firing, &key) {
            return self.not_entered(funnel, &refusal);
        }
        let seen = match self.entry_filter(funnel, event.as_ref()) {
            Ok(seen) => seen,
            Err(refusal) => return self.not_entered(funnel, &refusal),
        };
        let now = self.now;
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
            state: RunState::Ready,
            at: 0,
            iteration: 1,
            decision: 0,
            deadline: None,
            results: BTreeMap::new(),
            goal: None,
            watch_until: None,
        };
        self.runs.touched.insert(run.id);
        self.customer.runs.push(run);
        let index = self.customer.runs.len() - 1;
        let fact = self.run_fact(index, funnel, What::Entered, "", funnel.trigger.sentence());
        fact.seen = seen;
        if let Some(run) = &mut fact.run {
            run.step.clear();
        }
    }

    /// The key of keyed concurrency. Occasions (a birthday, a threshold) are keys of their own.
    fn key(&self, funnel: &Funnel, firing: &Firing, event: Option<&Event>) -> Result<String, Refusal> {
        let Some(expr) = &funnel.key else {
            let per_occasion = funnel.trigger.default_re_entry() == DefaultReEntry::PerKey
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
        let live = self.customer.runs.iter().filter(|run| run.is_live());
        if live.clone().any(|run| run.funnel == funnel.name && run.key == key) {
            return Err(Refusal::new(if key.is_empty() {
                "re_entry: a run is under way".to_owned()
            } else {
                format!("re_entry: a run of the key {key} is under way")
            }));
        }
        if live.count() >= RUNS_MAX {
            return Err(Refusal::new(format!("limit: {RUNS_MAX} runs of this customer are under way")));
        }
        let Some(entries) = self.customer.entries.get(&funnel.name) else { return Ok(()) };
        let occasion = digest(&firing.key);
        if entries.keys.iter().any(|(key, _)| *key == occasion) {
            return Err(Refusal::new("re_entry: this occasion has started a run already"));
        }
        if let Some(days) = funnel.trigger.days_between() {
            let open = entries.last.plus_ms(i64::from(days) * DAY_MS);
            if entries.count > 0 && self.now < open {
                return Err(Refusal::new(format!("re_entry: the last entry was {}, less than {days} days ago", entries.last)));
            }
        }
        self.re_entry(funnel, entries)
    }

    fn re_entry(&self, funnel: &Funnel, entries: &Entries) -> Result<(), Refusal> {
        let last = entries.last;
        let closed = |why: String| Err(Refusal::new(format!("re_entry: {why}")));
        match funnel.re_entry {
            _ if entries.count == 0 => Ok(()),
            ReEntry::Never => closed(format!("never again; she entered {last}")),
            ReEntry::Always => Ok(()),
            ReEntry::After(span) => match last.plus(span, self.zone) {
                open if self.now < open => closed(format!("not before {open}; she entered {last}")),
                _ => Ok(()),
            },
            ReEntry::PerYear if last.date(self.zone).year() == self.now.date(self.zone).year() => {
                closed(format!("once per calendar year; she entered {last}"))
            }
            ReEntry::PerTerm if self.customer.membership.as_ref().is_none_or(|membership| membership.started <= last) => {
                closed(format!("once per term; she entered {last}"))
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
        let reference = RunRef {
            funnel: funnel.name.clone(),
            version: short(&funnel.version),
            run: 0,
            step: String::new(),
            variant: String::new(),
        };
        let fact = self.fact(What::NotEntered, "", refusal.why.clone());
        fact.run = Some(reference);
        fact.seen = refusal.seen.clone();
    }
}

/// What steps read as `event` when no event started the run.
fn firing_event(funnel: &Funnel, firing: &Firing) -> Event {
    let name = match funnel.trigger.interest() {
        Interest::Segment(segment) => segment,
        Interest::Manual => "manual".to_owned(),
        _ => "occasion".to_owned(),
    };
    Event { id: firing.key.clone(), name, time: firing.anchor, properties: firing.properties.clone(), minor: None, depth: 0 }
}

/// Eight bytes of SHA-256: how the key of an entry is remembered.
pub(super) fn digest(key: &str) -> u64 {
    let hash = Sha256::digest(key.as_bytes());
    let mut bytes = [0u8; 8];
    bytes.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(bytes)
}
