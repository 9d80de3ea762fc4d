//! What comes in: events into the history, profile, consent and membership into the document.

use super::bounds::HISTORY_NAMES_MAX;
use super::goals::{origin, short};
use super::{HOPS_MAX, Pass, Turn};
use crate::account::{self, Command, Reply};
use crate::customer::history::Keep;
use crate::customer::{Consent, Membership};
use crate::effect;
use crate::event::{ConsentChange, Event, InputBody, MembershipChange, ProfileChange, words};
use crate::fact::{RunRef, What};
use crate::funnel::settings::MembershipOwner;
use crate::lang::time::Time;
use crate::lang::value::Value;

/// Most characters of a reply that a fact shows.
const REPLY_CHARS_MAX: usize = 500;
/// Longest name of a sender's that a sentence repeats, in characters.
const SHOWN_CHARS_MAX: usize = 60;

impl Turn<'_> {
    /// Takes one input in and notes in `pass` what it is about.
    pub(super) fn take(&mut self, body: InputBody, pass: &mut Pass) {
        match body {
            InputBody::Event(event) => self.take_event(event, pass),
            InputBody::History(event) => {
                pass.silent = true;
                self.record(&event);
                self.membership_event(&event);
                self.fact(What::HistoryOnly, event.name, "imported");
            }
            InputBody::Profile(change) => self.take_profile(change, pass),
            InputBody::Enrol { funnel, id, properties } => pass.enrol = Some((funnel, id, properties)),
            InputBody::Result { effect, outcome } => {
                self.result(&effect, outcome);
                pass.points = true;
            }
            InputBody::Stale { effect, why } => self.stale(&effect, &why),
            InputBody::Again { effect, why } => self.again(&effect, &why),
            InputBody::Review { effect, release, by, why } => self.reviewed(&effect, release, &by, &why),
            InputBody::Told(told) => self.told(told),
            InputBody::Erase => self.erase = true,
            InputBody::Stop { address, stop } => self.stop(&address, &stop),
            InputBody::Lift { address, channel, until, source, only } => {
                self.lift((&address, &channel), until, &source, only);
            }
        }
    }

    fn take_event(&mut self, mut event: Event, pass: &mut Pass) {
        if event.depth > HOPS_MAX {
            let why = format!(
                "more than {HOPS_MAX} hops of emitted events and segment changes; look for funnels that start each other"
            );
            self.fact(What::Alert, event.name, why);
            return;
        }
        let (about, seen) = (event.name.clone(), event.property("amount").cloned());
        let membership = self.membership_meant(&event);
        let why = self.not_understood(&event);
        let amount = event.minor.or_else(|| self.paid_for(&event, membership.as_ref()));
        let fact = self.fact(What::Event, about, why);
        fact.amount = amount;
        fact.seen.extend(seen.map(|amount| ("event.amount".to_owned(), amount)));
        if let Some(membership) = membership {
            fact.seen.push(("event.membership".to_owned(), membership));
        }
        // Whoever looks at it later has to read it.
        let text = event.property("text").and_then(Value::as_text).filter(|_| event.name == words::MESSAGE_REPLIED);
        let text = text.map(|text| Value::Text(text.chars().take(REPLY_CHARS_MAX).collect()));
        fact.seen.extend(text.map(|text| ("event.text".to_owned(), text)));
        self.name_its_run(&mut event);
        self.count_complaint(&event);
        if event.name.starts_with("membership_") {
            pass.profile = true;
            pass.under_way = self.under_way();
        }
        self.record(&event);
        self.membership_event(&event);
        pass.points |= matches!(event.name.as_str(), words::STORE_UPDATED | words::STORE_UNBLOCKED);
        self.store_event(&event);
        let order = match event.property("order_id") {
            Some(Value::Text(order)) => order.clone(),
            _ => event.id.clone(),
        };
        if let Some(bundle) = account::match_purchase(&self.account, &self.workspace.catalog, &event) {
            self.use_offer(&event, bundle, order);
        } else if event.depth == 0 && event.name == "offer_used" {
            let named = ["offer", "code"].iter().find_map(|name| event.property(name)).and_then(Value::as_text);
            if let Some(offer) = named.map(str::to_owned) {
                self.use_offer(&event, offer, order);
            }
        }
        pass.depth = event.depth;
        pass.event = Some(event);
    }

    /// The membership that an event is about: one of the catalog, for what a sender makes up is not counted by its name.
    fn membership_meant(&self, event: &Event) -> Option<Value> {
        if !event.name.starts_with("membership_") {
            return None;
        }
        let said = event.property("membership").and_then(Value::as_text);
        let held = || self.customer.membership.as_ref().map(|membership| membership.name.as_str());
        let name = said.or_else(held).filter(|name| self.workspace.catalog.membership(name).is_some())?;
        Some(Value::from(name))
    }

    /// What a membership that begins or is renewed costs: what the event says, else what the catalog does.
    fn paid_for(&self, event: &Event, membership: Option<&Value>) -> Option<i64> {
        if !matches!(event.name.as_str(), "membership_started" | "membership_renewed") {
            return None;
        }
        let own = self.workspace.settings.currency;
        let elsewhere = event.property("currency").and_then(Value::as_text).is_some_and(|currency| currency != own.code());
        let said = event.property(if elsewhere { "amount_base" } else { "amount" });
        match said.and_then(Value::as_dec) {
            Some(amount) => own.minor(amount).ok(),
            None if elsewhere => None,
            None => self.workspace.catalog.membership(membership?.as_text()?).map(|membership| membership.price),
        }
    }

    /// What an event says that counts for nothing here, and why: its sender was told that it is taken.
    fn not_understood(&self, event: &Event) -> String {
        let text = |name: &str| event.property(name).and_then(Value::as_text);
        let own = self.workspace.settings.currency.code();
        if let Some(currency) = text("currency").filter(|_| event.minor.is_none() && event.property("amount").is_some())
            && currency != own
            && matches!(event.name.as_str(), words::PURCHASE | words::REFUND)
        {
            return format!("its amount in {currency} is no money here; send what it is in {own} as `amount_base`");
        }
        // A shop that keeps its memberships elsewhere need not list them.
        let lists = !self.workspace.catalog.memberships.is_empty() && event.depth == 0;
        let named = text("membership").filter(|_| lists && event.name.starts_with("membership_"));
        match named.filter(|name| self.workspace.catalog.membership(name).is_none()) {
            Some(name) => format!("the catalog has no membership `{}`", name.chars().take(SHOWN_CHARS_MAX).collect::<String>()),
            None => String::new(),
        }
    }

    /// What a provider reports of a message belongs to the run that sent it: its fact stands there, and the event
    /// says which funnel it was.
    fn name_its_run(&mut self, event: &mut Event) {
        let Some(effect) = event.property("effect").and_then(Value::as_text).filter(|_| event.name.starts_with("message_"))
        else {
            return;
        };
        let hers = effect::customer_of(effect) == Some(&self.customer.id);
        let Some(number) = effect::run_of(effect).filter(|number| hers && *number != 0) else { return };
        let step = effect.rsplit('/').nth(1).unwrap_or_default().to_owned();
        let variant = event.property("channel").and_then(Value::as_text).unwrap_or_default().to_owned();
        let Some(run) = self.customer.run(number) else {
            // It is over and forgotten here; the read side may know which funnel it was.
            if let Some(fact) = self.facts.last_mut() {
                let (funnel, version) = (String::new(), String::new());
                fact.run = Some(RunRef { funnel, version, run: number, step, variant, origin: None });
            }
            return;
        };
        let origin = self.definitions.funnel(&run.version).and_then(|funnel| origin(run, funnel, What::Event));
        let (funnel, version) = (run.funnel.clone(), short(&run.version));
        event.properties.entry("funnel".to_owned()).or_insert_with(|| Value::from(funnel.as_str()));
        if let Some(fact) = self.facts.last_mut() {
            fact.run = Some(RunRef { funnel, version, run: run.id, step, variant, origin });
        }
    }

    /// A complaint is a figure of its channel: how often there is one decides whether marketing goes on.
    fn count_complaint(&mut self, event: &Event) {
        if event.name != words::MESSAGE_COMPLAINED {
            return;
        }
        let channel = event.property("channel").and_then(Value::as_text).unwrap_or("email").to_owned();
        let of = self.facts.last().and_then(|fact| fact.run.clone());
        let run = of.map(|run| RunRef { variant: channel.clone(), ..run });
        self.fact(What::Complained, channel, "").run = run;
    }

    /// Takes an event into the history at its own time. Of events that no definition names first, last and
    /// number are kept, for definitions to come.
    pub(super) fn record(&mut self, event: &Event) {
        let none = Keep::default();
        let keep = self.workspace.keeps.get(&event.name);
        let room = self.customer.history.len() < HISTORY_NAMES_MAX || self.customer.history.contains_key(&event.name);
        if keep.is_some() || room {
            let history = self.customer.history.entry(event.name.clone()).or_default();
            history.record(event, keep.unwrap_or(&none), self.now, self.zone);
        }
    }

    fn use_offer(&mut self, event: &Event, offer: String, order: String) {
        let command = Command::UseOffer { offer, order, at: event.time };
        let (account, reply) = account::apply(&self.account, &command, self.now, self.zone);
        self.account = account;
        self.account_moved = true;
        self.mirror();
        if let Reply::Used { bundle, code } = reply {
            self.fact(What::OfferUsed, bundle.clone(), "").amount = event.minor;
            if event.name != "offer_used" {
                let properties = [("offer".to_owned(), Value::Text(bundle)), ("code".to_owned(), Value::Text(code))].into();
                let id = format!("offer_used:{}", event.id);
                let used = Event {
                    id,
                    name: "offer_used".to_owned(),
                    time: event.time,
                    properties,
                    minor: None,
                    depth: event.depth.saturating_add(1),
                };
                self.emit(used);
            }
        }
    }

    fn take_profile(&mut self, change: ProfileChange, pass: &mut Pass) {
        pass.profile = true;
        pass.silent = change.import;
        pass.under_way = self.under_way();
        let mut names = Vec::new();
        for (name, value) in change.profile {
            names.push(name.clone());
            self.put_attribute(name, value);
        }
        if let Some(membership) = change.membership {
            names.push("membership".to_owned());
            match membership {
                Some(membership) => self.set_membership(membership, None),
                None => self.customer.membership = None,
            }
        }
        if !names.is_empty() {
            self.fact(What::Profile, names.join(", "), if change.import { "imported" } else { "" });
            self.follow_her_zone();
        }
        for consent in change.consent {
            self.take_consent(consent, change.import);
        }
    }

    fn take_consent(&mut self, change: ConsentChange, import: bool) {
        let key = match &change.topic {
            Some(topic) => format!("{}:{topic}", change.channel),
            None => change.channel.clone(),
        };
        if let Some(held) = self.customer.consent.get(&key) {
            if held.time > change.time {
                let why = format!("the word of {} is newer and holds", self.clock_text(held.time));
                self.fact(What::Refused, format!("consent {key}"), why);
                return;
            }
            if import && !held.granted && change.granted {
                self.fact(
                    What::Refused,
                    format!("consent {key}"),
                    "an import cannot take a withdrawal back; only the customer can",
                );
                return;
            }
        }
        let (what, why) = (if change.granted { What::ConsentGiven } else { What::ConsentWithdrawn }, change.source.clone());
        self.customer.consent.insert(key.clone(), Consent { granted: change.granted, source: change.source, time: change.time });
        self.fact(what, key, why);
        if !change.granted {
            self.customer.gate = self.customer.gate.saturating_add(1);
            self.redecide_planned("consent was withdrawn before it was sent");
        }
    }

    /// Where events own memberships: what a membership event says.
    fn membership_event(&mut self, event: &Event) {
        let owner = self.workspace.settings.membership_owner;
        // What the engine emits itself is at least one hop from outside.
        if owner != MembershipOwner::Events && (owner != MembershipOwner::Account || event.depth == 0) {
            return;
        }
        match event.name.as_str() {
            "membership_started" | "membership_renewed" | "membership_changed" => {
                let text = |name: &str| event.property(name).and_then(Value::as_text);
                let time = |name: &str| match event.property(name) {
                    Some(Value::Time(time)) => Some(*time),
                    Some(Value::Text(text)) => Time::parse(text),
                    _ => None,
                };
                let held = self.customer.membership.as_ref().map(|membership| membership.name.clone());
                let Some(name) = text("membership").map(str::to_owned).or(held) else { return };
                let auto_renew = match event.property("auto_renew") {
                    Some(Value::Bool(yes)) => *yes,
                    _ => self.customer.membership.as_ref().is_some_and(|membership| membership.auto_renew),
                };
                let started = time("started").unwrap_or(self.term_start(event));
                let change = MembershipChange { membership: name, started, ends: time("ends"), auto_renew };
                self.set_membership(change, Some(event));
            }
            "membership_cancelled" => {
                if let Some(membership) = &mut self.customer.membership {
                    membership.cancelled = true;
                    membership.auto_renew = false;
                }
            }
            "membership_expired" => {
                if let Some(membership) = &mut self.customer.membership {
                    membership.ends = Some(membership.ends.unwrap_or(event.time).min(event.time));
                }
            }
            _ => {}
        }
    }

    /// A renewal before the end of a term begins the new term where the old one ends.
    fn term_start(&self, event: &Event) -> Time {
        let ends = self.customer.membership.as_ref().and_then(|membership| membership.ends);
        match ends {
            Some(ends) if event.name == "membership_renewed" && ends > event.time => ends,
            _ => event.time,
        }
    }

    /// Sets the membership; a missing end is the catalog's term after the start.
    fn set_membership(&mut self, change: MembershipChange, event: Option<&Event>) {
        let term = self.workspace.catalog.membership(&change.membership).map(|membership| membership.term);
        let ends = change.ends.or_else(|| term.map(|term| change.started.plus(term, self.zone)));
        let held = self.customer.membership.as_ref();
        // A member without a break: the old term had not ended when the new one began.
        let unbroken = held.filter(|held| held.ends.is_none_or(|ends| ends >= change.started) && held.name == change.membership);
        let since = unbroken.map_or(change.started, |held| held.since.min(change.started));
        // A date that is moved within a term is no new term.
        let started = match (held, event.map(|event| event.name.as_str())) {
            (Some(held), Some("membership_changed")) if held.name == change.membership => held.started,
            _ => change.started,
        };
        // Who has cancelled and gets a longer term has cancelled all the same.
        let own = self.workspace.settings.membership_owner == MembershipOwner::Account && event.is_some();
        let cancelled = held.is_some_and(|held| own && held.cancelled && held.started == started);
        self.customer.membership =
            Some(Membership { name: change.membership, since, started, ends, auto_renew: change.auto_renew, cancelled });
    }

    /// Whether the membership came to its end between an instant and now; says so where that is.
    pub(super) fn membership_end(&mut self, before: Time) -> bool {
        let Some(membership) = self.customer.membership.as_ref() else { return false };
        let Some(ends) = membership.ends.filter(|ends| before < *ends && *ends <= self.now) else { return false };
        let name = membership.name.clone();
        self.fact(What::MembershipExpired, name.clone(), "");
        // Where events own memberships, the shop's own event says so.
        if self.workspace.settings.membership_owner != MembershipOwner::Events {
            let properties =
                [("membership".to_owned(), Value::Text(name.clone())), ("ends".to_owned(), Value::Time(ends))].into();
            let id = format!("membership_expired:{name}:{}", ends.0);
            let name = "membership_expired".to_owned();
            self.emit(Event { id, name, time: ends, properties, minor: None, depth: 1 });
        }
        true
    }
}
