//! The figures of a simulation.

use super::MODEL;
use super::record::Proof;
use super::winners::Drawn;
use crate::event::InputBody;
use crate::fact::Fact;
use crate::funnel::Workspace;
use crate::lang::time::{Time, Zone};
use crate::money::Currency;
use crate::step::winner::Winner;
use chrono::NaiveDate;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;

/// Everything that came out of a simulation.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// Hash of the workspace.
    pub workspace: String,
    /// Its zone: days are days there.
    pub zone: Zone,
    /// Its currency.
    pub currency: Currency,
    /// The first input; `None` when there was none.
    pub from: Option<Time>,
    /// The last instant that was played.
    pub until: Time,
    /// Events that acted.
    pub events: u64,
    /// Everything else that was given: events of the past, profiles, consents.
    pub given: u64,
    /// Customers.
    pub customers: u64,
    /// Points that ran out.
    pub points_expired: i64,
    /// Points that are left on all accounts at the end.
    pub points_left: i64,
    /// By funnel.
    pub funnels: BTreeMap<String, Figures>,
    /// By segment.
    pub segments: BTreeMap<String, SegmentFigures>,
    /// By day.
    pub days: BTreeMap<NaiveDate, Day>,
    /// What a record that was played has proved.
    pub proof: Proof,
    /// What was drawn where the engine chooses a winner.
    pub drawn: Drawn,
    /// The winners that were chosen on the way.
    pub winners: Vec<Winner>,
    /// By customer and funnel, to compare.
    pub outcomes: BTreeMap<String, BTreeMap<String, Outcome>>,
}

/// Figures of one funnel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Figures {
    /// Runs that began.
    pub entered: u64,
    /// Triggers that fired and began no run.
    pub not_entered: u64,
    /// Runs that are under way at the end.
    pub live: u64,
    /// Messages sent, by channel.
    pub sent: BTreeMap<String, u64>,
    /// Grants booked.
    pub grants: u64,
    /// Points granted.
    pub points: i64,
    /// Offers made.
    pub offers: u64,
    /// Goals reached.
    pub goals: u64,
    /// Worth of the goals, in minor units.
    pub money: i64,
    /// Steps skipped.
    pub skipped: u64,
    /// Messages held back by quiet hours.
    pub held: u64,
    /// Messages not sent because of a cap.
    pub capped: u64,
    /// Effects that failed.
    pub failed: u64,
    /// Runs that came to their end.
    pub finished: u64,
    /// Runs ended by `exit_on` or `while`.
    pub exited: u64,
    /// Runs ended by a step or a limit.
    pub stopped: u64,
    /// How often a variant was drawn, by step and variant.
    pub variants: BTreeMap<String, u64>,
    /// Why not: by kind of fact and reason.
    pub reasons: BTreeMap<(&'static str, String), u64>,
}

/// Figures of one segment; what concerns runs is counted for those who were in it at that instant.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SegmentFigures {
    /// How often somebody entered it.
    pub entered: u64,
    /// How often somebody left it.
    pub left: u64,
    /// Who is in it at the end.
    pub members: u64,
    /// Runs that began.
    pub entries: u64,
    /// Messages sent.
    pub sent: u64,
    /// Points granted.
    pub points: i64,
    /// Goals reached.
    pub goals: u64,
    /// Worth of the goals, in minor units.
    pub money: i64,
}

/// Figures of one day.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Day {
    /// Runs that began.
    pub entered: u64,
    /// Runs that began, by funnel.
    pub entries: BTreeMap<String, u64>,
    /// Messages sent, by channel.
    pub sent: BTreeMap<String, u64>,
    /// Points granted.
    pub points: i64,
    /// Worth of goals, in minor units.
    pub money: i64,
    /// Purchases less refunds, in minor units, whoever caused them.
    pub purchased: i64,
}

/// What one customer saw of one funnel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Runs that began.
    pub entered: u64,
    /// Messages sent.
    pub sent: u64,
    /// Points granted.
    pub points: i64,
    /// Worth of goals, in minor units.
    pub money: i64,
    /// Digest of everything in its order, instants included.
    pub digest: u64,
}

impl Outcome {
    /// Takes in one thing that happened.
    pub(super) fn add(&mut self, fact: &Fact, variant: &str) {
        let mut hash = if self.digest == 0 { FNV_OFFSET } else { self.digest };
        let mut take = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
            }
        };
        take(&fact.at.0.to_le_bytes());
        take(fact.what.name().as_bytes());
        take(fact.about.as_bytes());
        take(variant.as_bytes());
        take(&fact.amount.unwrap_or(0).to_le_bytes());
        self.digest = hash;
    }
}

/// Constants of FNV-1a with 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

impl Figures {
    /// Messages by all channels.
    pub fn messages(&self) -> u64 {
        self.sent.values().sum()
    }

    fn merge(&mut self, other: &Figures) {
        self.entered += other.entered;
        self.not_entered += other.not_entered;
        self.live += other.live;
        add(&mut self.sent, &other.sent);
        self.grants += other.grants;
        self.points += other.points;
        self.offers += other.offers;
        self.goals += other.goals;
        self.money += other.money;
        self.skipped += other.skipped;
        self.held += other.held;
        self.capped += other.capped;
        self.failed += other.failed;
        self.finished += other.finished;
        self.exited += other.exited;
        self.stopped += other.stopped;
        add(&mut self.variants, &other.variants);
        add(&mut self.reasons, &other.reasons);
    }

    /// The figures by name, in the order of tables.
    pub fn named(&self) -> [(&'static str, i64); 15] {
        let n = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        [
            ("entered", n(self.entered)),
            ("not entered", n(self.not_entered)),
            ("under way", n(self.live)),
            ("sent", n(self.messages())),
            ("grants", n(self.grants)),
            ("points", self.points),
            ("offers", n(self.offers)),
            ("goals", n(self.goals)),
            ("money", self.money),
            ("held", n(self.held)),
            ("capped", n(self.capped)),
            ("skipped", n(self.skipped)),
            ("failed", n(self.failed)),
            ("exited", n(self.exited)),
            ("stopped", n(self.stopped)),
        ]
    }
}

fn add<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, n) in from {
        *into.entry(key.clone()).or_default() += n;
    }
}

impl Report {
    /// Figures of a workspace of which nothing has happened: every funnel and every segment is there.
    pub fn new(workspace: &Workspace) -> Report {
        Report {
            workspace: workspace.hash.clone(),
            zone: workspace.settings.zone,
            currency: workspace.settings.currency,
            from: None,
            until: Time(0),
            events: 0,
            given: 0,
            customers: 0,
            points_expired: 0,
            points_left: 0,
            funnels: workspace.funnels.keys().map(|name| (name.clone(), Figures::default())).collect(),
            segments: workspace.segments.list().iter().map(|s| (s.name.clone(), SegmentFigures::default())).collect(),
            days: BTreeMap::new(),
            proof: Proof::default(),
            drawn: Drawn::default(),
            winners: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Counts an input.
    pub(super) fn counted(&mut self, body: &InputBody, at: Time) {
        match body {
            InputBody::Event(_) => self.events += 1,
            _ => self.given += 1,
        }
        self.from = Some(self.from.map_or(at, |from| from.min(at)));
        self.until = self.until.max(at);
    }

    pub(super) fn funnel(&mut self, name: &str) -> &mut Figures {
        slot(&mut self.funnels, name)
    }

    pub(super) fn segment(&mut self, name: &str) -> &mut SegmentFigures {
        slot(&mut self.segments, name)
    }

    pub(super) fn day(&mut self, day: NaiveDate) -> &mut Day {
        self.days.entry(day).or_default()
    }

    /// Adds the figures of other customers under the same workspace.
    pub fn merge(&mut self, other: Report) {
        self.from = match (self.from, other.from) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self.until = self.until.max(other.until);
        self.events += other.events;
        self.given += other.given;
        self.proof.merge(other.proof);
        self.drawn.merge(other.drawn);
        self.customers += other.customers;
        self.points_expired += other.points_expired;
        self.points_left += other.points_left;
        for (name, figures) in &other.funnels {
            self.funnel(name).merge(figures);
        }
        for (name, figures) in &other.segments {
            let own = self.segment(name);
            own.entered += figures.entered;
            own.left += figures.left;
            own.members += figures.members;
            own.entries += figures.entries;
            own.sent += figures.sent;
            own.points += figures.points;
            own.goals += figures.goals;
            own.money += figures.money;
        }
        for (day, figures) in other.days {
            let own = self.day(day);
            own.entered += figures.entered;
            add(&mut own.entries, &figures.entries);
            add(&mut own.sent, &figures.sent);
            own.points += figures.points;
            own.money += figures.money;
            own.purchased += figures.purchased;
        }
        self.outcomes.extend(other.outcomes);
    }

    /// All funnels together.
    pub fn total(&self) -> Figures {
        let mut total = Figures::default();
        for figures in self.funnels.values() {
            total.merge(figures);
        }
        total
    }

    /// Channels that sent something, in order of their names.
    pub fn channels(&self) -> Vec<String> {
        self.total().sent.into_keys().collect()
    }

    /// The report for machines. Money is in minor units.
    pub fn to_json(&self) -> Json {
        let funnel = |(name, f): (&String, &Figures)| {
            let reasons: Vec<Json> =
                f.reasons.iter().map(|((what, why), n)| json!({ "what": what, "why": why, "times": n })).collect();
            let mut out = json!({ "funnel": name });
            for (name, n) in f.named() {
                out[name.replace(' ', "_")] = n.into();
            }
            out["sent_by_channel"] = json!(f.sent);
            out["finished"] = f.finished.into();
            out["variants"] = json!(f.variants);
            out["reasons"] = json!(reasons);
            out
        };
        let segment = |(name, s): (&String, &SegmentFigures)| {
            json!({
                "segment": name, "entered": s.entered, "left": s.left, "members": s.members, "entries": s.entries,
                "sent": s.sent, "points": s.points, "goals": s.goals, "money": s.money,
            })
        };
        let day = |(day, d): (&NaiveDate, &Day)| {
            json!({
                "day": day.to_string(), "entered": d.entered, "entries": d.entries, "sent": d.sent, "points": d.points,
                "money": d.money, "purchased": d.purchased,
            })
        };
        let mut out = json!({
            "workspace": self.workspace, "model": MODEL, "currency": self.currency.code(), "zone": self.zone.name(),
            "from": self.from.map(|time| time.to_string()), "until": self.until.to_string(),
            "events": self.events, "given": self.given, "customers": self.customers,
            "points_expired": self.points_expired, "points_left": self.points_left,
            "funnels": self.funnels.iter().map(funnel).collect::<Vec<_>>(),
            "segments": self.segments.iter().map(segment).collect::<Vec<_>>(),
            "days": self.days.iter().map(day).collect::<Vec<_>>(),
        });
        if !self.winners.is_empty() {
            let shown = |won: &Winner| json!({ "funnel": won.funnel, "split": won.step, "variant": won.variant, "from": won.from.to_string(), "why": won.why() });
            out["winners"] = self.winners.iter().map(shown).collect();
        }
        let proof = &self.proof;
        if *proof != Proof::default() {
            let shown = |(customer, was, is): &(String, Option<Fact>, Option<Fact>)| json!({ "customer": customer, "was": was, "is": is });
            out["record"] = json!({
                "turns": proof.turns, "same_facts": proof.same, "other_turns": proof.others, "foreign_turns": proof.foreign,
                "gaps": proof.gaps, "left_out": proof.left_out, "others": proof.shown.iter().map(shown).collect::<Vec<_>>(),
            });
        }
        out
    }
}

fn slot<'m, T: Default>(map: &'m mut BTreeMap<String, T>, name: &str) -> &'m mut T {
    map.entry(name.to_owned()).or_default()
}
