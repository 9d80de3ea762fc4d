//! Whether a message may go: address, `while`, consent, quiet hours (and caps); and effects that leave.
//!
//! Only here the real now counts: a message decided in a backlog is sent today, so today's clock says
//! whether the night is over and how many messages this week has seen.

use super::Turn;
use super::advance::Next;
use super::caps::OFFER_CHANNEL;
use super::view::View;
use crate::customer::{RunState, Send};
use crate::effect::call::Call;
use crate::effect::{Effect, EffectKind, Grant, Message, Offer, OnUncertain, VARIABLES_BYTES_MAX};
use crate::event::Event;
use crate::event::address::field_of;
use crate::fact::What;
use crate::funnel::Funnel;
use crate::funnel::settings::QuietHours;
use crate::lang::time::{Span, Time, Zone, instant};
use crate::lang::value::{Fields, Value};
use crate::step::{Flow, GrantPlan, MessagePlan, Mode, NEXT, Quiet, StepAt};
use chrono::{Days, NaiveDateTime, NaiveTime};
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
        if let Some(deadline) = self.customer.runs[index].deadline.filter(|deadline| *deadline <= now) {
            let why = format!("it expired {}, {} after its decision", self.clock_text(deadline), plan.expires);
            return self.not_sent(index, funnel, step, &plan, What::Skipped, why);
        }
        let field = field_of(plan.channel);
        let Some(to) = self.customer.profile.get(field).and_then(Value::as_text).map(str::to_owned) else {
            return self.not_sent(index, funnel, step, &plan, What::Skipped, format!("customer.{field} is not known"));
        };
        if let Some(why) = self.stopped(plan.channel, &to, transactional) {
            return self.not_sent(index, funnel, step, &plan, What::Skipped, why);
        }
        if let Some(why) = self.no_consent(&plan, funnel, transactional) {
            return self.not_sent(index, funnel, step, &plan, What::Skipped, why);
        }
        let quiet = quiet_rule(&plan, funnel);
        let hours = self.workspace.settings.quiet_hours.filter(|_| quiet != Quiet::Ignore);
        if let Some((hours, end)) = hours.and_then(|hours| hours.end(now, self.zone).map(|end| (hours, end))) {
            let clock = |time: NaiveTime| time.format("%H:%M").to_string();
            let why = format!("quiet hours {}–{}", clock(hours.from), clock(hours.until));
            if quiet == Quiet::Skip {
                return self.not_sent(index, funnel, step, &plan, What::Skipped, why);
            }
            self.customer.runs[index].state = RunState::Held { until: end };
            let fact = self.run_fact(index, funnel, What::Held, plan.template.clone(), why);
            fact.seen = vec![("until".to_owned(), Value::Time(end))];
            set_variant(fact, plan.channel);
            return Next::Rest;
        }
        let tag = plan.tag.clone().or_else(|| funnel.tag.clone());
        if !transactional && let Some(why) = self.capped(plan.channel, tag.as_deref(), now) {
            return self.over_cap(index, funnel, step, &plan, (tag.as_deref(), now), why);
        }
        let provider = self.workspace.settings.channels.get(plan.channel).cloned().unwrap_or_else(|| "inbox".to_owned());
        let variables = match self.freeze(index, funnel) {
            Ok(variables) => variables,
            Err(why) => return self.fail(index, funnel, step, why, step.on_error),
        };
        let topic = plan.topic.clone().or_else(|| funnel.topic.clone());
        let links = self.workspace.settings.links(plan.channel, topic, transactional);
        let zone = self.zone;
        let run = &mut self.customer.runs[index];
        let mut valid_until = *run.deadline.get_or_insert_with(|| now.plus(plan.expires, zone));
        if let Some(hours) = hours {
            valid_until = valid_until.min(hours.begin(now, self.zone));
        }
        let send_tag = tag.clone();
        let kind = EffectKind::Message(Message {
            channel: plan.channel.to_owned(),
            provider,
            to,
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
            self.customer.sends.push(Send { at: now, channel: plan.channel.to_owned(), tag: send_tag, effect: Some(id) });
        }
        Next::Rest
    }

    /// A message that a cap does not let out. What the cap counted stands in the fact.
    fn over_cap(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        plan: &MessagePlan,
        (tag, now): (Option<&str>, Time),
        why: String,
    ) -> Next {
        let counted = self.counted(plan.channel, tag, now);
        if !plan.exit_on_cap {
            let next = self.not_sent(index, funnel, step, plan, What::Capped, why);
            if let Some(fact) = self.facts.last_mut() {
                fact.seen = counted;
            }
            return next;
        }
        let fact = self.run_fact(index, funnel, What::Capped, plan.template.clone(), why.clone());
        fact.seen = counted;
        set_variant(fact, plan.channel);
        self.run_fact(index, funnel, What::Exited, "cap", why);
        self.end_run(index, "exited");
        Next::Rest
    }

    fn not_sent(
        &mut self,
        index: usize,
        funnel: &Arc<Funnel>,
        step: &StepAt,
        plan: &MessagePlan,
        what: What,
        why: String,
    ) -> Next {
        let (result, about) = match what {
            What::Capped => ("capped", plan.template.clone()),
            _ => ("skipped", step.id.clone()),
        };
        self.result_of(index, step, result, Fields::new());
        let fact = self.run_fact(index, funnel, what, about, why);
        set_variant(fact, plan.channel);
        self.go(index, step, NEXT);
        Next::Again
    }

    /// Why consent does not allow a message; transactional ones need none.
    fn no_consent(&self, plan: &MessagePlan, funnel: &Funnel, transactional: bool) -> Option<String> {
        if transactional {
            return None;
        }
        match self.customer.consent.get(plan.channel) {
            None => return Some(format!("no consent for {} is on record", plan.channel)),
            Some(consent) if !consent.granted => {
                return Some(format!("consent for {} was withdrawn {}", plan.channel, self.clock_text(consent.time)));
            }
            Some(_) => {}
        }
        let topic = plan.topic.as_ref().or(funnel.topic.as_ref())?;
        match self.customer.consent.get(&format!("{}:{topic}", plan.channel)) {
            None => Some(format!("no consent for {} about {topic} is on record", plan.channel)),
            Some(consent) if !consent.granted => {
                Some(format!("consent for {} about {topic} was withdrawn {}", plan.channel, self.clock_text(consent.time)))
            }
            Some(_) => None,
        }
    }

    /// `held`: they are booked, and not hers before that is said.
    pub(super) fn grant(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, plan: GrantPlan, held: bool) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
        let variables = match self.freeze(index, funnel) {
            Ok(variables) => variables,
            Err(why) => return self.fail(index, funnel, step, why, step.on_error),
        };
        let kind = EffectKind::Grant(Grant {
            points: plan.points,
            reason: plan.reason,
            active_after: plan.active_after,
            expires_after: plan.expires_after,
            provider: self.workspace.settings.loyalty.clone(),
            variables,
            held,
        });
        self.plan(index, funnel, step, kind, None, OnUncertain::Hold).map_or_else(|next| next, |_| Next::Rest)
    }

    pub(super) fn offer(&mut self, index: usize, funnel: &Arc<Funnel>, step: &StepAt, bundle: String, valid_for: Span) -> Next {
        if !self.leave_unless_while(index, funnel) {
            return Next::Rest;
        }
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
        let kind = EffectKind::Offer(Offer { bundle, valid_for });
        match self.plan(index, funnel, step, kind, None, OnUncertain::Hold) {
            Ok(id) => {
                self.customer.sends.push(Send { at: now, channel: OFFER_CHANNEL.to_owned(), tag: None, effect: Some(id) });
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
        match Value::Map(variables.clone()).to_json().to_string().len() {
            bytes if bytes > VARIABLES_BYTES_MAX => Err(format!(
                "what it names takes {bytes} bytes, more than {VARIABLES_BYTES_MAX}; name single fields of long values"
            )),
            _ => Ok(variables),
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
        Ok(id)
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
        if self.workspace.settings.quiet_hours.is_none() || !matches!(run.state, RunState::Held { .. } | RunState::Effect { .. })
        {
            return false;
        }
        let Some(funnel) = self.definitions.funnel(&run.version) else { return false };
        let Some(step) = funnel.steps.list.get(run.at as usize).filter(|step| step.step.template().is_some()) else {
            return false;
        };
        match self.with_step(index, funnel, |cx| step.step.advance(cx)) {
            Flow::Send(plan) => quiet_rule(&plan, funnel) != Quiet::Ignore,
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

/// Names the channel in a fact about a message.
pub(super) fn set_variant(fact: &mut crate::fact::Fact, channel: &str) {
    if let Some(run) = &mut fact.run {
        run.variant = channel.to_owned();
    }
}
