//! A small workspace, a customer on the virtual clock, and her timeline as text.

use autofunnel::customer::Customer;
use autofunnel::event::address::{Address, Stop, StopKind, field_of};
use autofunnel::event::{ConsentChange, Event, Input, InputBody, MembershipChange, ProfileChange};
use autofunnel::fact::{Fact, What};
use autofunnel::funnel::{self, Definitions, Files};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::time::{Time, Zone, instant};
use autofunnel::lang::value::{Fields, Value};
use autofunnel::money::Currency;
use autofunnel::play::{Failure, Player};
use std::sync::Arc;

/// The zone of the workspace, and of customers who name none.
pub const BERLIN: Zone = chrono_tz::Europe::Berlin;

/// Definitions under test.
pub struct Stage {
    /// What was compiled.
    pub definitions: Definitions,
}

/// Files written one after the other, each below a line `--- NAME`. What stands below `autofunnel.yaml` is
/// added to a minimal one.
fn files(text: &str) -> Files {
    let mut files: Files = [("autofunnel.yaml", "workspace: Test\nzone: Europe/Berlin\ncurrency: EUR\n")]
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .into();
    let mut name = String::new();
    for line in text.lines() {
        match line.strip_prefix("--- ") {
            Some(file) => name = file.trim().to_owned(),
            None if name.is_empty() => assert!(line.trim().is_empty(), "no file: {line}"),
            None => {
                let file = files.entry(name.clone()).or_default();
                file.push_str(line);
                file.push('\n');
            }
        }
    }
    files
}

impl Stage {
    /// Compiles files; see [`files`].
    pub fn new(text: &str) -> Stage {
        Stage { definitions: compile(&files(text)) }
    }

    /// A customer who is known since an instant, can be reached everywhere, and has agreed to everything.
    pub fn customer(&self, at: &str) -> Her<'_> {
        let mut her = self.stranger(at);
        her.at(at, "set name=Ada email=ada@example.com phone=+491 chat=ada");
        her.at(at, "consent email=yes sms=yes chat=yes");
        her.player.facts.clear();
        her
    }

    /// A customer of whom nothing is known.
    pub fn stranger(&self, at: &str) -> Her<'_> {
        Her { player: Player::new(&self.definitions, "ada", time(at)), zone: BERLIN, events: 0, offsets: false }
    }
}

/// Compiles a workspace, or says what is wrong with it.
pub fn compile(files: &Files) -> Definitions {
    let mut faults = Faults::default();
    let workspace = funnel::compile(files, &mut faults);
    Definitions::new(Arc::new(workspace.unwrap_or_else(|| panic!("{:#?}", faults.list()))))
}

/// A customer in play.
#[derive(Clone)]
pub struct Her<'a> {
    /// Her document and her clock.
    pub player: Player<'a>,
    /// The zone in which her timeline is shown.
    pub zone: Zone,
    events: usize,
    offsets: bool,
}

impl<'a> Her<'a> {
    /// Shows how far clocks are ahead of UTC: an hour that comes twice is told apart.
    pub fn with_offsets(mut self) -> Her<'a> {
        self.offsets = true;
        self
    }

    /// Something happens at an instant: see [`act`].
    pub fn at(&mut self, at: &str, text: &str) -> &mut Her<'a> {
        let at = time(at);
        if let Some(("fail", rest)) = text.split_once(' ') {
            let (step, how) = rest.split_once(' ').unwrap();
            self.player.run_until(at);
            let how = match how {
                "refused" => Failure::Refused,
                "dead" => Failure::Dead,
                _ => Failure::Unknown,
            };
            self.player.fail_next(step, how);
            return self;
        }
        if let Some((word @ ("release" | "reject"), step)) = text.split_once(' ') {
            self.player.review(at, step, word == "release");
            return self;
        }
        self.events += 1;
        let body = act(text, &format!("e{}", self.events), at);
        self.player.input(at, body);
        self
    }

    /// Several things happen while nobody looks, and are dealt with in one turn at `now`.
    pub fn backlog(&mut self, now: &str, acts: &[(&str, &str)]) -> &mut Her<'a> {
        let mut inputs = Vec::new();
        for (at, text) in acts {
            self.events += 1;
            let at = time(at);
            inputs.push(Input { accepted_at: at, body: act(text, &format!("e{}", self.events), at) });
        }
        self.player.backlog(inputs, time(now));
        self
    }

    /// Plays on.
    pub fn until(&mut self, at: &str) -> &mut Her<'a> {
        self.player.run_until(time(at));
        self
    }

    /// From now on under other definitions.
    pub fn under(&mut self, stage: &'a Stage) -> &mut Her<'a> {
        self.player.definitions = &stage.definitions;
        self
    }

    /// Everything that happened, one line each: when, what, in which run, about what, and why.
    pub fn timeline(&self) -> String {
        self.player.facts.iter().map(|fact| format!("{}\n", self.line(fact))).collect()
    }

    /// The timeline without what is only on the way from one thing to another.
    pub fn story(&self) -> String {
        let on_the_way = [What::Planned, What::Waiting, What::Event, What::Profile];
        let told = self.player.facts.iter().filter(|fact| !on_the_way.contains(&fact.what));
        told.map(|fact| format!("{}\n", self.line(fact))).collect()
    }

    fn line(&self, fact: &Fact) -> String {
        let mut words = vec![self.clock(fact.at), fact.what.name().to_owned()];
        if let Some(run) = &fact.run {
            words.push(format!("{}#{}", run.funnel, run.run));
            let channel = ["email", "sms", "chat", "push"].contains(&run.variant.as_str());
            words.extend(channel.then(|| run.variant.clone()));
        }
        if !fact.about.is_empty() {
            words.push(fact.about.clone());
        }
        if fact.what == What::Goal {
            words.extend(fact.amount.map(|minor| Currency::parse("EUR").unwrap().show(minor)));
        }
        let why = if fact.why.is_empty() { String::new() } else { format!(" | {}", fact.why) };
        words.join(" ") + &why
    }

    fn clock(&self, at: Time) -> String {
        let local = at.local(self.zone);
        let seconds = if at.0 % 60_000 == 0 { "" } else { ":%S%.3f" };
        let shown = local.format(&format!("%Y-%m-%d %H:%M{seconds}")).to_string();
        let ahead = (local - at.local(chrono_tz::UTC)).num_minutes();
        if self.offsets { format!("{shown}+{}", ahead / 60) } else { shown }
    }

    /// Her document.
    pub fn document(&self) -> &Customer {
        self.player.customer.as_ref().expect("she is known")
    }
}

/// An instant: `2027-03-01`, `2027-03-01 10:00`, `2027-03-01 10:00:00.500` by the clock of Berlin, or with a
/// zone as in `2027-03-01T09:00:00Z`.
pub fn time(text: &str) -> Time {
    if let Some(time) = Time::parse(text) {
        return time;
    }
    let whole = match text.len() {
        10 => format!("{text} 00:00:00"),
        16 => format!("{text}:00"),
        _ => text.to_owned(),
    };
    let local = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let parsed = local.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(&whole, form).ok());
    instant(BERLIN, parsed.unwrap_or_else(|| panic!("no time: {text}")))
}

/// What happens, in words:
/// `purchase amount=20` (an event; `purchase@2027-02-01T10:00` one with a time of its own, `id=…` gives its
/// id), `import purchase@…`, `set zone=America/New_York phone=null`, `consent email=no email:news=yes`,
/// `member club 2026-06-15 2027-06-15`, `member none`, `enrol FUNNEL ID seats=2`, `erase`, `stop sms stopped +491`,
/// `lift sms +491`.
pub fn act(text: &str, id: &str, at: Time) -> InputBody {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["set", ref fields @ ..] => InputBody::Profile(ProfileChange { profile: pairs(fields), ..ProfileChange::default() }),
        ["consent", ref said @ ..] => {
            let consent = said.iter().map(|word| consent(word, at)).collect();
            InputBody::Profile(ProfileChange { consent, ..ProfileChange::default() })
        }
        ["member", "none"] => InputBody::Profile(ProfileChange { membership: Some(None), ..ProfileChange::default() }),
        ["member", name, started, ends] => {
            let change = MembershipChange {
                membership: name.to_owned(),
                started: time(started),
                ends: Some(time(ends)),
                auto_renew: false,
            };
            InputBody::Profile(ProfileChange { membership: Some(Some(change)), ..ProfileChange::default() })
        }
        ["enrol", funnel, id, ref fields @ ..] => {
            InputBody::Enrol { funnel: funnel.to_owned(), id: id.to_owned(), properties: pairs(fields) }
        }
        ["erase"] => InputBody::Erase,
        ["stop", channel, kind, to] => InputBody::Stop { address: address(channel, to), stop: stop(channel, kind, at) },
        ["lift", channel, to] => {
            let (address, channel, source) = (address(channel, to), channel.to_owned(), "test".to_owned());
            InputBody::Lift { address, channel, until: at, source, only: None }
        }
        ["import", name, ref fields @ ..] => InputBody::History(event(name, fields, id, at)),
        [name, ref fields @ ..] => InputBody::Event(event(name, fields, id, at)),
        [] => panic!("nothing happens"),
    }
}

fn address(channel: &str, to: &str) -> Address {
    Address::of(field_of(channel), to).unwrap()
}

fn stop(channel: &str, kind: &str, since: Time) -> Stop {
    Stop { channel: channel.to_owned(), kind: StopKind::parse(kind).unwrap(), since, source: "test".to_owned() }
}

fn event(name: &str, fields: &[&str], id: &str, at: Time) -> Event {
    let (name, when) = name.split_once('@').map_or((name, at), |(name, when)| (name, time(when)));
    let mut properties = pairs(fields);
    let id = match properties.remove("id") {
        Some(Value::Text(own)) => own,
        _ => id.to_owned(),
    };
    let amount = properties.get("amount").and_then(Value::as_dec).filter(|_| ["purchase", "refund"].contains(&name));
    // As the door has it: an amount in another currency is no money.
    let amount = amount.filter(|_| properties.get("currency").and_then(Value::as_text).is_none_or(|code| code == "EUR"));
    let minor = amount.map(|amount| Currency::parse("EUR").unwrap().minor(amount).unwrap());
    Event { id, name: name.to_owned(), time: when, properties, minor, depth: 0 }
}

fn pairs(words: &[&str]) -> Fields {
    let pair = |word: &&str| {
        let (name, value) = word.split_once('=').unwrap_or_else(|| panic!("no pair: {word}"));
        let value = match value {
            "null" => Value::Null,
            "true" | "false" => Value::Bool(value == "true"),
            "" => Value::from(""),
            _ if value.starts_with('+') => Value::from(value),
            _ => Value::number(value).unwrap_or_else(|_| Value::from(value)),
        };
        (name.to_owned(), value)
    };
    words.iter().map(pair).collect()
}

fn consent(word: &str, at: Time) -> ConsentChange {
    let (channel, said) = word.split_once('=').unwrap();
    let (channel, topic) = channel.split_once(':').map_or((channel, None), |(channel, topic)| (channel, Some(topic.to_owned())));
    ConsentChange { channel: channel.to_owned(), topic, granted: said == "yes", source: "test".to_owned(), time: at }
}
