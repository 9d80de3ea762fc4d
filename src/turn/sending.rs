//! Whether a message may go: address, `while`, consent, quiet hours (and caps); and effects that leave.
//!
//! Only here the real now counts: a message decided in a backlog is sent today, so today's clock says
//! whether the night is over and how many messages this week has seen.

use super::Turn;
use super::advance::Next;
use super::caps::{OFFER_CHANNEL, OverCap};
use super::reach::Passed;
use super::view::View;
use crate::customer::{RunState, Send};
use crate::effect::call::Call;
use crate::effect::{Effect, EffectKind, Grant, Message, Offer, OnUncertain, VARIABLES_BYTES_MAX};
use crate::event::Event;
use crate::fact::What;
use crate::funnel::Funnel;
use crate::funnel::settings::{QuietHours, STORE};
use crate::lang::time::{HOUR_MS, Span, Time, Zone, instant};
use crate::lang::value::{Fields, Value, json_bytes_beyond};
use crate::step::message::MESSAGE_EXPIRES_HOURS;
use crate::step::{Flow, GrantPlan, MessagePlan, Mode, NEXT, OfferPlan, Quiet, StepAt};
use chrono::{Days, NaiveDateTime};
use std::sync::Arc;

impl QuietHours {
    /// The end of the quiet hours that `now` lies in; `None`: it is not quiet.
    pub fn end(&self, now: Time, zone: Zone) -> Option<Time> {
        let local = now.local(zone);
        let overnight = self.from > self.until;
        let quiet = match overnight {
            true => local.time() >= self.from || local.time() < self.until,
            false => local.time() >= self.from && local.time() < self.until,
        };
        let tomorrow = overnight && local.time() >= self.from;
        let day = if tomorrow { local.date().checked_add_days(Days::new(1))? } else { local.date() };
        quiet.then(|| showing(day.and_time(self.until), now, zone))
    }

    /// When the next quiet hours begin after `now`.
    pub fn begin(&self, now: Time, zone: Zone) -> Time {
        let today = now.date(zone);
        match showing(today.and_time(self.from), now, zone) {
            begin if begin > now => begin,
            begin => {
                today.checked_add_days(Days::new(1)).map_or(begin, |tomorrow| showing(tomorrow.and_time(self.from), now, zone))
            }
        }
    }
}

/// The instant at which clocks show `local`; where they show it twice and the first time is past at `now`,
/// the second.
fn showing(local: NaiveDateTime, now: Time, zone: Zone) -> Time {
    let first = instant(zone, local);
    let elapsed = now.since_ms(first);
    let shown = (now.local(zone) - first.local(zone)).num_milliseconds();
    if elapsed > 0 && shown < elapsed { first.plus_ms(elapsed - shown).max(first) } else { first }
}

impl Turn<'_> {
    pub(super) fn send(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, plan: MessagePlan) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
        let now = self.real_now.max(self.now);
        let transactional = plan.transactional.unwrap_or(funnel.transactional);
        // What is written counts from here, however long the message is held; without it a day counts from its decision.
        if let Some(expires) = plan.expires {
            let deadline = now.plus(expires, self.zone);
            self.customer.runs[index].deadline.get_or_insert(deadline);
        }
        if let Some(next) = self.message_expired(index, funnel, step, &plan, now) {
            return next;
        }
        let (mut ways, mut passed) = self.ways(index, funnel, &plan, transactional);
        let Some(first) = ways.first().map(|way| way.channel) else {
            let channel = passed.first().map_or("", |(channel, _)| channel);
            let why = if passed.len() == 1 { passed.remove(0).1 } else { one_by_one(&passed) };
            return self.not_sent(index, funnel, step, (&plan, channel), What::Skipped, why);
        };
        let quiet = quiet_rule(&plan, funnel);
        if let Some(next) = self.not_now(index, funnel, step, (&plan, quiet), first, now) {
            return next;
        }
        let tag = plan.tag.clone().or_else(|| funnel.tag.clone());
        let mut over: Option<OverCap> = None;
        while let Some(cap) =
            ways.first().filter(|_| !transactional).and_then(|way| self.capped(way.channel, tag.as_deref(), now))
        {
            passed.push((ways.remove(0).channel, cap.why.clone()));
            over = over.filter(|over| over.free <= cap.free).or(Some(cap));
        }
        let Some(way) = ways.into_iter().next() else {
            return self.over_cap(index, funnel, step, (&plan, first), over.unwrap_or_default(), now);
        };
        let zone = self.zone;
        let run = &mut self.customer.runs[index];
        run.by = u8::try_from(way.by).unwrap_or(0);
        let deadline = *run.deadline.get_or_insert_with(|| now.plus(Span::ms(MESSAGE_EXPIRES_HOURS * HOUR_MS), zone));
        if self.must_ask(index, funnel, step, |reads| reads.effect) {
            return self.ask_store(index, funnel, step, Some(deadline));
        }
        self.pass_over(index, funnel, step, &passed, way.by);
        let channel = way.channel;
        let provider = self.workspace.settings.channels.get(channel).cloned().unwrap_or_else(|| "inbox".to_owned());
        let variables = match self.freeze(index, funnel) {
            Ok(variables) => variables,
            Err(why) => return self.fail(index, funnel, step, why, step.on_error),
        };
        let topic = plan.topic.clone().or_else(|| funnel.topic.clone());
        let links = self.workspace.settings.links(channel, topic, transactional);
        let mut valid_until = deadline;
        if let Some(hours) = self.workspace.settings.quiet_hours.filter(|_| quiet != Quiet::Ignore) {
            valid_until = valid_until.min(hours.begin(now, self.zone));
        }
        if let Some(end) = plan.window.as_ref().and_then(|window| window.open(now, self.zone)) {
            valid_until = valid_until.min(end);
        }
        let send_tag = tag.clone();
        let kind = EffectKind::Message(Message {
            channel: channel.to_owned(),
            provider,
            to: way.to,
            template: plan.template.clone(),
            transactional,
            tag,
            variables,
            links,
        });
        let id = match self.plan(index, funnel, step, kind, Some(valid_until), OnUncertain::Resend) {
            Ok(id) => id,
            Err(next) => return next,
        };
        if !transactional {
            self.customer.sends.push(Send { at: now, channel: channel.to_owned(), tag: send_tag, effect: Some(id), points: 0 });
        }
        Next::Rest
    }

    /// Says of which channels that stand before the one that is taken no use is made.
    fn pass_over(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, passed: &[Passed], by: usize) {
        for wanted in step.step.channels().iter().take(by) {
            let Some((channel, why)) = passed.iter().find(|(channel, _)| channel == wanted) else { continue };
            let fact = self.run_fact(index, funnel, What::Skipped, step.id.clone(), why.clone());
            set_variant(fact, channel);
        }
    }

    pub(super) fn not_sent(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        (plan, channel): (&MessagePlan, &'static str),
        what: What,
        why: String,
    ) -> Next {
        let (result, about) = match what {
            What::Capped => ("capped", plan.template.clone()),
            _ => ("skipped", step.id.clone()),
        };
        self.result_of(index, step, result, Fields::new());
        let fact = self.run_fact(index, funnel, what, about, why);
        set_variant(fact, channel);
        self.go(index, step, NEXT);
        Next::Again
    }

    /// Why consent does not allow a message; transactional ones need none.
    pub(super) fn no_consent(&self, channel: &str, plan: &MessagePlan, funnel: &Funnel, transactional: bool) -> Option<String> {
        if transactional {
            return None;
        }
        match self.customer.consent.get(channel) {
            None => return Some(format!("no consent for {channel} is on record")),
            Some(consent) if !consent.granted => {
                return Some(format!("consent for {channel} was withdrawn {}", self.clock_text(consent.time)));
            }
            Some(_) => {}
        }
        let topic = plan.topic.as_ref().or(funnel.topic.as_ref())?;
        match self.customer.consent.get(&format!("{channel}:{topic}")) {
            None => Some(format!("no consent for {channel} about {topic} is on record")),
            Some(consent) if !consent.granted => {
                Some(format!("consent for {channel} about {topic} was withdrawn {}", self.clock_text(consent.time)))
            }
            Some(_) => None,
        }
    }

    /// Until when a step with a deadline of its own may be done; an error says that it may not any more.
    fn in_time(&mut self, index: usize, expires: Option<Span>) -> Result<Option<Time>, String> {
        let Some(span) = expires else { return Ok(None) };
        let now = self.real_now.max(self.now);
        let deadline = now.plus(span, self.zone);
        let deadline = *self.customer.runs[index].deadline.get_or_insert(deadline);
        match deadline <= now {
            true => Err(format!("it expired {}, {span} after the run came to it", self.clock_text(deadline))),
            false => Ok(Some(deadline)),
        }
    }

    /// `held`: they are booked, and not hers before that is said.
    pub(super) fn grant(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, plan: GrantPlan, held: bool) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
        let valid_until = match self.in_time(index, plan.expires) {
            Ok(until) => until,
            Err(why) => return self.expired(index, funnel, step, "", why),
        };
        if self.must_ask(index, funnel, step, |reads| reads.effect) {
            return self.ask_store(index, funnel, step, None);
        }
        let variables = match self.freeze(index, funnel) {
            Ok(variables) => variables,
            Err(why) => return self.fail(index, funnel, step, why, step.on_error),
        };
        let points = plan.points;
        if let Some(why) = self.over_her_budget(&funnel.name, points) {
            return self.refuse(index, funnel, step, why);
        }
        let kind = EffectKind::Grant(Grant {
            points,
            reason: plan.reason,
            active_after: plan.active_after,
            expires_after: plan.expires_after,
            provider: self.workspace.settings.loyalty.clone(),
            variables,
            held,
        });
        match self.plan(index, funnel, step, kind, valid_until, OnUncertain::Hold) {
            Ok(id) => {
                self.note_gift(index, step, &id);
                self.count_points(&funnel.name, points, id);
                Next::Rest
            }
            Err(next) => next,
        }
    }

    pub(super) fn offer(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, plan: OfferPlan) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
        let valid_until = match self.in_time(index, plan.expires) {
            Ok(until) => until,
            Err(why) => return self.expired(index, funnel, step, "", why),
        };
        let OfferPlan { bundle, valid_for, .. } = plan;
        let now = self.real_now.max(self.now);
        let Some(known) = self.workspace.catalog.bundle(&bundle) else {
            return self.fail(index, funnel, step, format!("the catalog has no bundle {bundle} any more"), step.on_error);
        };
        let run = &self.customer.runs[index];
        if let Some(why) = known.refusal(&View { event: run.event.as_ref(), run: Some(run), ..self.view() }) {
            self.skip(index, funnel, step, why);
            self.go(index, step, NEXT);
            return Next::Again;
        }
        if let Some((at_most, within)) = self.workspace.settings.offers
            && self.count_offers(within, now) >= at_most as usize
        {
            self.skip(index, funnel, step, format!("cool-down: at most {at_most} offers within {within}"));
            self.go(index, step, NEXT);
            return Next::Again;
        }
        let offer = match self.workspace.settings.loyalty_store.as_ref().filter(|store| store.offers) {
            None => Offer { bundle, valid_for, ..Offer::default() },
            Some(_) if self.must_ask(index, funnel, step, |reads| reads.effect) => {
                return self.ask_store(index, funnel, step, None);
            }
            Some(_) => {
                let mut details = known.values(self.workspace.settings.currency);
                details.insert("name".to_owned(), Value::from(bundle.as_str()));
                details.insert("ends".to_owned(), Value::Time(now.plus(valid_for, self.zone)));
                let variables = match self.freeze(index, funnel) {
                    Ok(variables) => variables,
                    Err(why) => return self.fail(index, funnel, step, why, step.on_error),
                };
                Offer { bundle, valid_for, provider: Some(STORE.to_owned()), details, variables }
            }
        };
        match self.plan(index, funnel, step, EffectKind::Offer(offer), valid_until, OnUncertain::Hold) {
            Ok(id) => {
                self.customer.sends.push(Send {
                    at: now,
                    channel: OFFER_CHANNEL.to_owned(),
                    tag: None,
                    effect: Some(id),
                    points: 0,
                });
                Next::Rest
            }
            Err(next) => next,
        }
    }

    pub(super) fn call(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, call: Call, expires: Option<Span>) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
        let now = self.real_now.max(self.now);
        if let (Some(deadline), Some(span)) = (self.customer.runs[index].deadline.filter(|deadline| *deadline <= now), expires) {
            let why = format!("it expired {}, {span} after its decision", self.clock_text(deadline));
            if step.if_expired.is_some() {
                return self.expired(index, funnel, step, "", why);
            }
            return self.fail(index, funnel, step, why, step.on_error);
        }
        let zone = self.zone;
        let run = &mut self.customer.runs[index];
        let valid_until = expires.map(|span| *run.deadline.get_or_insert_with(|| now.plus(span, zone)));
        // What is to be done when nobody knows is for the service to say.
        let kind = EffectKind::Call(call);
        self.plan(index, funnel, step, kind, valid_until, OnUncertain::Resend).map_or_else(|next| next, |_| Next::Rest)
    }

    /// Everything that the step's message or request may name, as it is now; the error says that it is too much.
    fn freeze(&self, index: usize, funnel: &Funnel) -> Result<Fields, String> {
        let run = &self.customer.runs[index];
        let paths = funnel.frozen.get(&run.at).map(Vec::as_slice).unwrap_or_default();
        let variables = View { event: run.event.as_ref(), run: Some(run), ..self.view() }.freeze(paths);
        match json_bytes_beyond(&variables, VARIABLES_BYTES_MAX) {
            Some(bytes) => Err(format!(
                "what it names takes {bytes} bytes, more than {VARIABLES_BYTES_MAX}; name single fields of long values"
            )),
            None => Ok(variables),
        }
    }

    /// Puts an effect into the outbox; the run waits for its answer. `Err`: it does not leave, because its mode is
    /// another, and what the run does next.
    pub(super) fn plan(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        kind: EffectKind,
        valid_until: Option<Time>,
        on_uncertain: OnUncertain,
    ) -> Result<String, Next> {
        let id = self.effect_id(index, &step.id);
        let run = &self.customer.runs[index];
        match step.mode.unwrap_or(funnel.mode) {
            Mode::Review if !run.released => return Err(self.hold_for_review(index, funnel, step, &kind, id)),
            Mode::Shadow => return Err(self.shadow(index, funnel, step, &kind)),
            Mode::Live | Mode::Review => {}
        }
        Ok(self.leave(index, funnel, step, id, kind, (valid_until, on_uncertain)))
    }

    /// Puts an effect into the outbox, whatever the step's mode.
    pub(super) fn leave(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        id: String,
        kind: EffectKind,
        (valid_until, on_uncertain): (Option<Time>, OnUncertain),
    ) -> String {
        let run = &self.customer.runs[index];
        self.effects.push(Effect {
            id: id.clone(),
            customer: self.customer.id.clone(),
            run: run.id,
            funnel: run.funnel.clone(),
            version: run.version.clone(),
            step: step.id.clone(),
            decided_at: self.real_now.max(self.now),
            valid_until,
            gate: self.customer.gate,
            on_uncertain,
            kind,
        });
        self.customer.runs[index].state = RunState::Effect { id: id.clone() };
        self.run_fact(index, funnel, What::Planned, step.id.clone(), "");
        id
    }

    /// The id of an effect of a run's present step.
    pub(super) fn effect_id(&self, index: usize, step: &str) -> String {
        let run = &self.customer.runs[index];
        let decision = if run.decision > 0 { format!(".{}", run.decision) } else { String::new() };
        format!("{}/{}/{step}/{}{decision}", self.customer.id, run.id, run.iteration)
    }

    /// Her zone may be another now. Then her nights are elsewhere: messages that wait for a morning or are on
    /// their way are decided anew.
    pub(super) fn follow_her_zone(&mut self) {
        let zone = self.customer.zone(self.workspace.settings.zone);
        if zone == self.zone {
            return;
        }
        self.zone = zone;
        let minding: Vec<usize> = (0..self.customer.runs.len()).filter(|index| self.minds_quiet_hours(*index)).collect();
        let mut under_way = false;
        for index in minding {
            match self.customer.runs[index].state {
                RunState::Held { .. } => self.customer.runs[index].state = RunState::Ready,
                _ => under_way = true,
            }
        }
        if under_way {
            self.customer.gate = self.customer.gate.saturating_add(1);
            self.redecide_planned("her zone is another now");
        }
    }

    /// Whether a run is at a message that heeds quiet hours, held or on its way.
    fn minds_quiet_hours(&self, index: usize) -> bool {
        let run = &self.customer.runs[index];
        if !matches!(run.state, RunState::Held { .. } | RunState::Effect { .. }) {
            return false;
        }
        let Some(funnel) = self.definitions.funnel(&run.version) else { return false };
        let Some(step) = funnel.steps.list.get(run.at as usize).filter(|step| step.step.template().is_some()) else {
            return false;
        };
        match self.with_step(index, funnel, |cx| step.step.advance(cx)) {
            Flow::Send(plan) => {
                let hours = self.workspace.settings.quiet_hours.is_some() && quiet_rule(&plan, funnel) != Quiet::Ignore;
                hours || plan.window.is_some()
            }
            _ => false,
        }
    }

    /// Something forbids what was decided: what is planned in this very turn is decided anew. (What was
    /// planned before is stopped by the gate.)
    pub(super) fn redecide_planned(&mut self, why: &str) {
        let planned: Vec<String> = self
            .effects
            .iter()
            .filter(|effect| matches!(effect.kind, EffectKind::Message(_)))
            .map(|effect| effect.id.clone())
            .collect();
        for id in planned {
            self.effects.retain(|effect| effect.id != id);
            self.decide_anew(&id, why);
        }
        let gate = self.customer.gate;
        for effect in &mut self.effects {
            effect.gate = gate;
        }
    }

    /// The step of an effect is decided anew, under a new number.
    pub(super) fn decide_anew(&mut self, effect: &str, why: &str) {
        self.customer.sends.retain(|send| send.effect.as_deref() != Some(effect));
        let Some(index) = self.customer.runs.iter().position(|run| run.waits_for(effect)) else { return };
        let run = &mut self.customer.runs[index];
        run.state = RunState::Ready;
        run.unknown = None;
        run.decision += 1;
        if let Some(look) = &mut run.look {
            look.asked = false;
        }
        let version = run.version.clone();
        if let Some(funnel) = self.definitions.funnel(&version).cloned() {
            self.run_fact(index, &funnel, What::Redecided, "", why);
        }
    }

    /// An event that the engine emits about a message, a grant or an offer of a run. It is one hop from what
    /// started the run: funnels that message each other in a ring come to an end.
    pub(super) fn own_event(&mut self, index: usize, name: &str, effect: &str, properties: Fields) {
        if self.workspace.keeps.contains_key(name) || self.workspace.by_event.contains_key(name) {
            let depth = self.customer.runs[index].event.as_ref().map_or(0, |event| event.depth).saturating_add(1);
            let id = format!("{name}:{effect}");
            let event = Event { id, name: name.to_owned(), time: self.now, properties, minor: None, depth };
            self.pending.push_back(super::Pending::Event(event));
        }
    }
}

/// What quiet hours do to a message.
fn quiet_rule(plan: &MessagePlan, funnel: &Funnel) -> Quiet {
    let transactional = plan.transactional.unwrap_or(funnel.transactional);
    plan.quiet_hours.unwrap_or(if transactional { Quiet::Ignore } else { Quiet::Hold })
}

/// Why none of several channels is to be used.
fn one_by_one(passed: &[Passed]) -> String {
    let whys: Vec<String> = passed.iter().map(|(channel, why)| format!("{channel}: {why}")).collect();
    if whys.is_empty() { "every channel was tried".to_owned() } else { whys.join("; ") }
}

/// Names the channel in a fact about a message.
pub(super) fn set_variant(fact: &mut crate::fact::Fact, channel: &str) {
    if let Some(run) = &mut fact.run {
        run.variant = channel.to_owned();
    }
}
