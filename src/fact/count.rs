//! What facts add to the figures: a pure function of the facts and of the terms in which they are counted.
//!
//! Two kinds of sum, each a count and an amount (points, or money in minor units; never a fraction):
//!
//! * **by day**: what happened on a day of the workspace's calendar, by funnel, version, step, variant (or channel),
//!   kind of fact and reason. `Sent` of the step `letter` by `email` on 1 March is one such sum.
//! * **by entry**: what came of those who entered on a day, for all of them, for each variant of a split that was drawn
//!   for them, and for each segment that they were in when they entered; held out or not; conversions also by how many
//!   days after the entry they came. So a rate has the same people above and below its line.
//!
//! A fact says all that is counted of it ([`super::Origin`]), so nothing is looked up, and whoever takes each fact once
//! counts each once. One event walked through: a purchase reaches the goal of a run that began 12 days ago in the
//! variant `letter`. Its facts are `Event` (by day: `event`, reason `purchase`, the money) and `Goal` (by day: `goal` of the
//! funnel; by entry, on the day 12 days ago: `converted` after 12 days for all, for `letter`, and for `dormant`, in
//! which she was then though she is no more).
//!
//! Reasons are words out of definitions or of this engine, never a sender's text: there are few rows.

use super::{Fact, Origin, RunRef, What};
use crate::event::words;
use crate::lang::time::{Time, Zone};
use crate::money::{Currency, Dec};
use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// What figures call those who are held out, as they call the variants of a split.
pub const HOLDOUT: &str = "holdout";
/// What sums by entry call the first time that a run's goal was reached.
pub const CONVERTED: &str = "converted";
/// What they call every later time.
pub const AGAIN: &str = "again";
/// What sums by entry call an entry: into the funnel, or into a variant.
pub const ENTERED: &str = "entered";
/// What sums by day call a segment's growth; the reason is its name, the count its change.
pub const SIZE: &str = "size";
/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 60;
/// The reason of a message that was left out on one channel and is tried on the next.
pub const NEXT_CHANNEL: &str = "the next channel";
const NEXT_CHANNEL_WHY: &str = "the next channel is tried";
/// Between the names of a key; none contains it.
const BETWEEN: char = '\u{1f}';

/// In which terms facts are counted.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Terms {
    /// Days are those of this zone.
    pub zone: Zone,
    /// Money is of this currency; `None`: it is not known.
    pub currency: Option<Currency>,
    /// What a point is worth, if that was said.
    pub point: Option<Dec>,
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.zone.name(), self.currency.as_ref().map_or("-", Currency::code))?;
        self.point.map_or(Ok(()), |point| write!(f, " {point}"))
    }
}

/// A text names no terms.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` does not say in which zone and currency figures are counted")]
pub struct NoTerms(String);

impl FromStr for Terms {
    type Err = NoTerms;

    fn from_str(text: &str) -> Result<Terms, NoTerms> {
        let fail = || NoTerms(text.to_owned());
        let mut parts = text.split(' ');
        let zone = parts.next().and_then(|zone| zone.parse().ok()).ok_or_else(fail)?;
        let currency = match parts.next() {
            Some("-") => None,
            Some(code) => Some(Currency::parse(code).ok_or_else(fail)?),
            None => return Err(fail()),
        };
        let point = parts.next().map(|point| Dec::parse(point).map_err(|_| fail())).transpose()?;
        Ok(Terms { zone, currency, point })
    }
}

impl Terms {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Terms::default()
    }

    /// The day of an instant, in days since 1970-01-01.
    pub fn day(&self, at: Time) -> i32 {
        day_number(at.date(self.zone))
    }
}

impl Serialize for Terms {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Terms {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Terms, D::Error> {
        // A zone that only a newer engine knows must not cost the facts themselves.
        Ok(String::deserialize(from)?.parse().unwrap_or_default())
    }
}

/// A day as a number.
pub fn day_number(day: NaiveDate) -> i32 {
    day.num_days_from_ce() - EPOCH_FROM_CE
}

/// The days from year 1 to 1970-01-01, as `chrono` counts them.
const EPOCH_FROM_CE: i32 = 719_163;

/// A sum by day.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Figure {
    /// Day in the workspace's zone, `2027-03-28`.
    pub day: String,
    /// Funnel, or empty for what belongs to none.
    pub funnel: String,
    /// Short hash of the version.
    pub version: String,
    /// Step, or empty.
    pub step: String,
    /// Channel or variant, or empty.
    pub variant: String,
    /// Name of the fact.
    pub what: String,
    /// Why, in a word, or what of many: an exit's event, a segment, an offer; or empty.
    #[serde(default)]
    pub reason: String,
    /// How many.
    pub count: i64,
    /// Sum of the facts' amounts: points, or money in minor units.
    pub amount: i64,
}

/// Of whom a sum by entry is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Group {
    /// Everybody.
    All,
    /// Those for whom a split drew a variant.
    Arm,
    /// Those who were in a segment when they entered.
    Segment,
}

impl Group {
    const ALL: [(Group, &'static str); 3] = [(Group::All, "all"), (Group::Arm, "arm"), (Group::Segment, "segment")];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        Group::ALL[self as usize].1
    }

    /// The group of that name.
    pub fn parse(text: &str) -> Option<Group> {
        Group::ALL.iter().find(|(_, name)| *name == text).map(|(group, _)| *group)
    }
}

/// A sum by entry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Cohort {
    /// Day of the entry.
    pub day: String,
    /// Funnel.
    pub funnel: String,
    /// Short hash of the version.
    pub version: String,
    /// Of whom.
    pub group: Group,
    /// Of a variant: the step that drew it.
    pub step: String,
    /// The variant or the segment.
    pub name: String,
    /// They are held out.
    pub held: bool,
    /// What came of them.
    pub what: String,
    /// Of a conversion: days since the entry.
    pub age: i32,
    /// How many.
    pub count: i64,
    /// Points, or money in minor units.
    pub amount: i64,
}

/// What a sum is of.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Key {
    /// The day, in days since 1970-01-01.
    pub day: i32,
    /// The kind of fact, or another word of [`Key`]'s sums.
    pub what: &'static str,
    /// In which of the two tables.
    pub table: Table,
    names: String,
}

/// Sums by day or by entry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Table {
    /// By day.
    Day,
    /// By entry: days between entry and conversion, and whether they are held out.
    Entry {
        /// Days.
        age: i32,
        /// Held out.
        held: bool,
    },
}

impl Key {
    fn new(day: i32, what: &'static str, table: Table, names: [&str; 5]) -> Key {
        let mut joined = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for (i, name) in names.into_iter().enumerate() {
            if i > 0 {
                joined.push(BETWEEN);
            }
            match name.contains(BETWEEN) {
                true => joined.extend(name.chars().filter(|c| *c != BETWEEN)),
                false => joined.push_str(name),
            }
        }
        Key { day, what, table, names: joined }
    }

    /// The same of a run whose funnel has been found.
    pub fn found(&self, funnel: &str, version: &str) -> Key {
        let [.., step, variant, reason] = self.names();
        Key::new(self.day, self.what, self.table, [funnel, version, step, variant, reason])
    }

    /// A segment's growth on a day.
    pub fn size(day: i32, segment: &str) -> Key {
        Key::new(day, SIZE, Table::Day, ["", "", "", "", segment])
    }

    /// By day: funnel, version, step, variant, reason. By entry: funnel, version, group, step, variant or segment.
    pub fn names(&self) -> [&str; 5] {
        let mut names = self.names.split(BETWEEN);
        std::array::from_fn(|_| names.next().unwrap_or_default())
    }

    /// The day as people write it.
    pub fn day_text(&self) -> String {
        let day = NaiveDate::from_num_days_from_ce_opt(self.day.saturating_add(EPOCH_FROM_CE));
        day.map(|day| day.to_string()).unwrap_or_default()
    }
}

/// A count and an amount.
pub type Sum = (i64, i64);

/// What facts of runs add whose funnel their customers' documents do not know any more: the run, and the key.
pub fn count_lost(facts: &[Fact], terms: &Terms) -> Vec<(u64, Key)> {
    let key = |fact: &Fact| {
        let mut counting = Counting { terms, sums: Vec::new(), last: None };
        counting.fact(fact);
        counting.sums.into_iter().next().map(|(key, _)| key)
    };
    facts.iter().filter_map(|fact| Some((lost(fact)?, key(fact)?))).collect()
}

/// The run of a fact whose funnel is not known.
fn lost(fact: &Fact) -> Option<u64> {
    fact.run.as_ref().filter(|run| run.funnel.is_empty()).map(|run| run.run)
}

/// What facts add: keys with counts and amounts, each key once. Those of [`count_lost`] are not among them.
pub fn count(facts: &[Fact], terms: &Terms) -> Vec<(Key, Sum)> {
    let mut counting = Counting { terms, sums: Vec::with_capacity(facts.len()), last: None };
    for fact in facts.iter().filter(|fact| lost(fact).is_none()) {
        counting.fact(fact);
    }
    counting.sums
}

struct Counting<'a> {
    terms: &'a Terms,
    sums: Vec<(Key, Sum)>,
    /// The facts of a turn mostly have one instant: its day.
    last: Option<(Time, i32)>,
}

impl Counting<'_> {
    fn day(&mut self, at: Time) -> i32 {
        match self.last {
            Some((last, day)) if last == at => day,
            _ => {
                let day = self.terms.day(at);
                self.last = Some((at, day));
                day
            }
        }
    }

    fn add(&mut self, key: Key, amount: i64) {
        match self.sums.iter_mut().find(|sum| sum.0 == key) {
            Some((_, sum)) => *sum = (sum.0 + 1, sum.1.saturating_add(amount)),
            None => self.sums.push((key, (1, amount))),
        }
    }

    fn fact(&mut self, fact: &Fact) {
        let (day, amount) = (self.day(fact.at), fact.amount.unwrap_or(0));
        let [funnel, version, step, variant] = fact.run.as_ref().map_or(["", "", "", variant_of(fact)], |run| {
            [run.funnel.as_str(), run.version.as_str(), run.step.as_str(), run.variant.as_str()]
        });
        self.add(Key::new(day, fact.what.name(), Table::Day, [funnel, version, step, variant, reason(fact)]), amount);
        if let Some(run) = &fact.run {
            self.by_entry(fact, run, day, amount);
        }
    }

    fn by_entry(&mut self, fact: &Fact, run: &RunRef, day: i32, amount: i64) {
        let held = run.variant == HOLDOUT;
        let bare = Origin::default();
        let (origin, since) = match &run.origin {
            Some(origin) => (&**origin, self.terms.day(origin.since)),
            None if matches!(fact.what, What::Entered | What::HeldOut) => (&bare, day),
            None => return,
        };
        let (what, age) = match fact.what {
            What::Entered | What::HeldOut | What::Variant => (ENTERED, 0),
            What::Goal => (if origin.again { AGAIN } else { CONVERTED }, day.saturating_sub(since)),
            What::Event => (words::word(&fact.about).map_or("event", |word| word.name), 0),
            other => (other.name(), 0),
        };
        let table = Table::Entry { age, held };
        let mut of = |group: Group, step: &str, name: &str| {
            self.add(Key::new(since, what, table, [&run.funnel, &run.version, group.name(), step, name]), amount);
        };
        if fact.what == What::Variant {
            // Who was drawn is told variant by variant, and once; those of before have been told.
            if origin.again {
                return;
            }
            return of(Group::Arm, &run.step, &run.variant);
        }
        if matches!(fact.what, What::Entered | What::HeldOut | What::Goal) {
            of(Group::All, "", "");
        }
        origin.arms.iter().for_each(|(step, variant)| of(Group::Arm, step, variant));
        origin.segments.iter().for_each(|segment| of(Group::Segment, "", segment));
    }
}

/// Of an event about a membership: which.
fn variant_of(fact: &Fact) -> &str {
    if fact.what == What::Complained {
        return &fact.about;
    }
    let named = fact.seen.iter().find(|(name, _)| name == "event.membership").filter(|_| fact.what == What::Event);
    named.and_then(|(_, value)| value.as_text()).unwrap_or_default()
}

/// Why, in a word, or what of many: an exit's event, a segment, an offer. What a sender makes up is no reason.
pub fn reason(fact: &Fact) -> &str {
    match fact.what {
        What::Event | What::HistoryOnly => words::word(&fact.about).map_or("", |word| word.name),
        What::SegmentEntered
        | What::SegmentLeft
        | What::Stopped
        | What::Offered
        | What::OfferUsed
        | What::OfferExpired
        | What::TierChanged
        | What::Branched
        | What::MembershipExpired => short(&fact.about),
        What::Exited if !fact.about.is_empty() => short(&fact.about),
        What::Skipped | What::Capped if fact.why.ends_with(NEXT_CHANNEL_WHY) => NEXT_CHANNEL,
        What::Exited
        | What::NotEntered
        | What::Skipped
        | What::Held
        | What::Capped
        | What::Failed
        | What::Withdrawn
        | What::Redecided => word(&fact.why),
        _ => "",
    }
}

/// The words before what differs from case to case: `quiet hours 21:00–08:00` is `quiet hours`.
fn word(why: &str) -> &str {
    let end = why.find([':', ';', '(', '“', '`']).unwrap_or(why.len());
    let head = &why[..end];
    let end = head.find(|c: char| c.is_ascii_digit()).unwrap_or(head.len());
    let head = short(head[..end].trim());
    if head.is_empty() && why.contains(" is past") { "past" } else { head }
}

fn short(text: &str) -> &str {
    let end = text.char_indices().nth(REASON_CHARS_MAX).map_or(text.len(), |(at, _)| at);
    text[..end].trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lang::time::DAY_MS;
    use crate::lang::value::Value;

    fn fact(what: What, at: i64, about: &str, why: &str, amount: Option<i64>) -> Fact {
        let (about, why) = (about.to_owned(), why.to_owned());
        Fact { at: Time(at), what, about, run: None, why, seen: vec![], amount }
    }

    fn of_run(fact: Fact, step: &str, variant: &str, origin: Option<Origin>) -> Fact {
        let [funnel, version, step, variant] = ["f", "v", step, variant].map(str::to_owned);
        Fact { run: Some(RunRef { funnel, version, run: 1, step, variant, origin: origin.map(Box::new) }), ..fact }
    }

    fn told(facts: &[Fact], zone: &str) -> Vec<String> {
        let terms = Terms { zone: zone.parse().unwrap(), ..Terms::default() };
        let told = count(facts, &terms).into_iter().map(|(key, (count, amount))| {
            let age = match key.table {
                Table::Day => String::new(),
                Table::Entry { age, held } => format!("+{age}{} ", if held { " held" } else { "" }),
            };
            format!("{} {age}{} {} {count} {amount}", key.day_text(), key.what, key.names().join("|"))
        });
        told.collect()
    }

    #[test]
    fn facts_of_one_kind_are_summed_by_their_day() {
        let granted = |at, amount| fact(What::Granted, at, "5 points", "", amount);
        let facts = [granted(-1, Some(5)), granted(0, Some(7)), granted(DAY_MS - 1, None)];
        assert_eq!(told(&facts, "UTC"), ["1969-12-31 granted |||| 1 5", "1970-01-01 granted |||| 2 7"]);
        assert_eq!(
            told(&facts, "Pacific/Auckland"),
            ["1970-01-01 granted |||| 2 12", "1970-01-02 granted |||| 1 0"],
            "days are those of the workspace"
        );
    }

    #[test]
    fn a_conversion_belongs_to_the_day_of_the_entry() {
        let origin = Origin {
            since: Time(3 * DAY_MS),
            arms: vec![("test".to_owned(), "letter".to_owned())],
            segments: vec!["dormant".to_owned()],
            again: false,
        };
        let goal = of_run(fact(What::Goal, 15 * DAY_MS, "purchase", "", Some(420)), "mail", "", Some(origin.clone()));
        assert_eq!(
            told(&[goal], "UTC"),
            [
                "1970-01-16 goal f|v|mail|| 1 420",
                "1970-01-04 +12 converted f|v|all|| 1 420",
                "1970-01-04 +12 converted f|v|arm|test|letter 1 420",
                "1970-01-04 +12 converted f|v|segment||dormant 1 420",
            ]
        );
        let again = Origin { again: true, arms: vec![], segments: vec![], ..origin };
        let again = of_run(fact(What::Goal, 4 * DAY_MS, "purchase", "", None), "", HOLDOUT, Some(again));
        assert_eq!(told(&[again], "UTC")[1], "1970-01-04 +1 held again f|v|all|| 1 0");
    }

    #[test]
    fn an_entry_counts_for_all_and_for_her_segments_and_a_variant_once() {
        let entered = of_run(fact(What::Entered, 0, "", "", None), "", "", None);
        assert_eq!(told(&[entered], "UTC"), ["1970-01-01 entered f|v||| 1 0", "1970-01-01 +0 entered f|v|all|| 1 0"]);
        let arms = vec![("first".to_owned(), "a".to_owned()), ("second".to_owned(), "b".to_owned())];
        let drawn = Origin { since: Time(0), arms, ..Origin::default() };
        let drawn = of_run(fact(What::Variant, DAY_MS, "b", "", None), "second", "b", Some(drawn));
        assert_eq!(told(&[drawn], "UTC"), ["1970-01-02 variant f|v|second|b| 1 0", "1970-01-01 +0 entered f|v|arm|second|b 1 0"]);
    }

    #[test]
    fn reasons_are_words_and_no_senders_text() {
        for (what, about, why, wanted) in [
            (What::Exited, "membership_renewed", "exit_on", "membership_renewed"),
            (What::Exited, "", "while: customer.points > 5 no longer holds", "while"),
            (What::NotEntered, "", "re_entry: not before 2027-03-01 10:00", "re_entry"),
            (What::NotEntered, "", "it was due 2027-03-01 09:00 and is too late now", "it was due"),
            (What::Held, "mail", "quiet hours 21:00–08:00", "quiet hours"),
            (What::Skipped, "x", "2027-03-01 09:00 is past; the steps up to", "past"),
            (What::Event, "purchase", "", "purchase"),
            (What::Event, "made_up_4711", "", ""),
            (What::SegmentLeft, "vip", "", "vip"),
            (What::Stopped, "bought", "", "bought"),
        ] {
            assert_eq!(reason(&fact(what, 0, about, why, None)), wanted, "{about} {why}");
        }
        let mut joined = fact(What::Event, 0, "membership_started", "", None);
        joined.seen.push(("event.membership".to_owned(), Value::from("club")));
        assert_eq!(told(&[joined], "UTC"), ["1970-01-01 event |||club|membership_started 1 0"]);
    }

    #[test]
    fn terms_come_back_as_they_were_written() {
        for text in ["Europe/Berlin EUR", "UTC -", "Asia/Tokyo JPY 1.5"] {
            assert_eq!(text.parse::<Terms>().unwrap().to_string(), text);
        }
        for wrong in ["", "Europe/Berlin", "Nowhere EUR", "UTC euro", "UTC EUR x"] {
            assert!(wrong.parse::<Terms>().is_err(), "{wrong}");
        }
    }
}
