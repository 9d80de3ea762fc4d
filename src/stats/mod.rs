//! Statistics: what is counted ([`crate::fact::count`]), put together for people and for charts. Pure: the read side
//! fetches the sums, this module adds, divides and says how sure the result is.
//!
//! * `figures`, by day: what happened in the days that are asked for (messages sent, points granted, runs that ended).
//! * `cohorts`, by entry: what came of those who **entered** in those days, whenever it came (conversions, revenue). So no
//!   rate is above 100 %, and who is held out is compared with who entered beside her.

pub mod interval;
pub mod table;

mod compare;
mod funnel;
mod shop;
mod sums;

use crate::fact::count::{Cohort, Figure, Group, Terms};
use crate::lang::diag::closest;
use crate::lang::time::parse_date;
use crate::step::winner::Winner;
use chrono::{Days, NaiveDate};
use serde_json::{Value as Json, json};
use table::Table;

/// Days that are covered when nothing else is asked for, today included.
pub const DAYS: u64 = 365;
/// Most days of one question.
pub const DAYS_MAX: i64 = 400;

/// What is asked of the read side.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Asked {
    /// Of this funnel; empty: of all.
    pub funnel: String,
    /// First day, `2027-03-28`.
    pub from: String,
    /// Last day.
    pub to: String,
    /// Each day by itself; else the sums by day are added up and name no day.
    pub by_day: bool,
    /// Who is under way where is asked too: that looks at every live run.
    pub live: bool,
}

/// What is counted of some days, all as of one instant.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Counted {
    /// In which terms.
    pub terms: Terms,
    /// Names of funnels that are known here.
    pub known: Vec<String>,
    /// Sums by day.
    pub figures: Vec<Figure>,
    /// Sums by entry.
    pub cohorts: Vec<Cohort>,
    /// Live runs at steps; who is held out is not among them.
    pub live: Vec<Live>,
    /// Customers by segment, now.
    pub sizes: Vec<(String, u64)>,
    /// The winners of splits that were chosen.
    pub winners: Vec<Winner>,
    /// How segments have grown since the first day, up to now: day, segment, change.
    pub growth: Vec<(String, String, i64)>,
}

/// Live runs at a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Live {
    /// The funnel.
    pub funnel: String,
    /// Short hash of the version.
    pub version: String,
    /// The step.
    pub step: String,
    /// How many.
    pub count: i64,
}

macro_rules! words {
    ($(#[doc = $doc:literal])* $name:ident: $($(#[doc = $what:literal])* $word:ident = $text:literal),*) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[doc = $what])* $word),* }

        impl $name {
            /// Every one by its name.
            pub const ALL: &'static [(&'static str, $name)] = &[$(($text, $name::$word)),*];

            /// The one of that name.
            ///
            /// # Errors
            /// When there is none; what there is.
            pub fn parse(text: &str) -> Result<$name, Wrong> {
                let names = Self::ALL.iter().map(|(name, _)| *name);
                match Self::ALL.iter().find(|(name, _)| *name == text) {
                    Some((_, found)) => Ok(*found),
                    None => Err(Wrong::unknown(format!("`{text}` is not one of the ways to divide"), text, names)),
                }
            }

            /// Its name.
            pub fn name(self) -> &'static str {
                Self::ALL.iter().find(|(_, one)| *one == self).map_or("", |(name, _)| name)
            }
        }
    };
}

words! {
    /// By what figures are divided.
    By:
    /// Days.
    Day = "day",
    /// Versions of the funnel.
    Version = "version",
    /// Its steps.
    Step = "step",
    /// Variants of its splits.
    Variant = "variant",
    /// Channels of messages.
    Channel = "channel",
    /// Segments at entry; without a funnel: how segments grew.
    Segment = "segment",
    /// Weeks or months of entry.
    Cohort = "cohort"
}

words! {
    /// How long the entries of one cohort last.
    Per:
    /// A week from Monday on.
    Week = "week",
    /// A calendar month.
    Month = "month"
}

/// Why a question cannot be answered.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{said}")]
pub struct Wrong {
    /// What is wrong.
    pub said: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Wrong {
    fn new(said: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { said: said.into(), hint: Some(hint.into()) }
    }

    fn unknown<'a>(said: String, typed: &str, known: impl Iterator<Item = &'a str> + Clone) -> Wrong {
        let hint = match closest(typed, known.clone()) {
            Some(name) => Some(format!("did you mean `{name}`?")),
            None => {
                let all: Vec<&str> = known.take(30).collect();
                (!all.is_empty()).then(|| format!("there is: {}", all.join(", ")))
            }
        };
        Wrong { said, hint }
    }
}

/// A question, as it was typed.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// Funnel, or empty.
    pub funnel: String,
    /// First day, or empty.
    pub from: String,
    /// Last day, or empty.
    pub to: String,
    /// By what, or empty.
    pub by: String,
    /// Week or month, or empty.
    pub per: String,
    /// Of cohorts: only who was in this segment when she entered; or empty.
    pub segment: String,
}

/// A question.
#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    /// The funnel; `None`: all of them, and the shop.
    pub funnel: Option<String>,
    /// First day.
    pub from: NaiveDate,
    /// Last day.
    pub to: NaiveDate,
    /// Today, in the workspace's zone: later days have not been.
    pub today: NaiveDate,
    /// By what.
    pub by: Option<By>,
    /// Cohorts.
    pub per: Per,
    /// Only who was in this segment when she entered.
    pub segment: Option<String>,
    /// The funnel's steps in their order, as far as that is known.
    pub steps: Vec<String>,
}

impl Typed {
    /// The question, if it is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn question(&self, today: NaiveDate) -> Result<Question, Wrong> {
        let day = |name: &str, text: &str, default: NaiveDate| match text {
            "" => Ok(default),
            text => parse_date(text).ok_or_else(|| Wrong::new(format!("`{name}` is no day: {text}"), "write it as 2027-03-01")),
        };
        let to = day("to", &self.to, today)?;
        let from = day("from", &self.from, to.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(to))?;
        if from > to {
            return Err(Wrong::new(format!("{from} is after {to}"), "`from` is the first day, `to` the last"));
        }
        if (to - from).num_days() >= DAYS_MAX {
            return Err(Wrong::new(format!("from {from} to {to} are more than {DAYS_MAX} days"), "ask for fewer days at a time"));
        }
        let by = (!self.by.is_empty()).then(|| By::parse(&self.by)).transpose()?;
        let funnel = (!self.funnel.is_empty()).then(|| self.funnel.clone());
        if let (None, Some(by @ (By::Version | By::Step | By::Variant | By::Cohort))) = (&funnel, by) {
            return Err(Wrong::new(format!("by {} only one funnel can be divided", by.name()), "name the funnel"));
        }
        let per = if self.per.is_empty() { Per::Week } else { Per::parse(&self.per)? };
        if !self.per.is_empty() && by != Some(By::Cohort) {
            return Err(Wrong::new("weeks and months are those of cohorts", "ask by cohort"));
        }
        let segment = (!self.segment.is_empty()).then(|| self.segment.clone());
        if segment.is_some() && by != Some(By::Cohort) {
            return Err(Wrong::new("only cohorts can be those of one segment", "ask by cohort; or by segment, for all of them"));
        }
        Ok(Question { funnel, from, to, today, by, per, segment, steps: Vec::new() })
    }
}

impl Question {
    /// What to ask of the read side.
    pub fn asked(&self) -> Asked {
        let days = matches!(self.by, Some(By::Day)) || (self.by == Some(By::Segment) && self.funnel.is_none());
        Asked {
            funnel: self.funnel.clone().unwrap_or_default(),
            from: self.from.to_string(),
            to: self.to.to_string(),
            by_day: days,
            live: true,
        }
    }
}

/// The answer.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    /// The question.
    pub question: Question,
    /// In which terms is counted.
    pub terms: Terms,
    /// The tables, none of them empty.
    pub tables: Vec<Table>,
    /// What has to be said beside them.
    pub notes: Vec<String>,
}

/// Answers a question; `known` are funnels that the caller knows beside those that were counted.
///
/// # Errors
/// When there is no such funnel.
pub fn report(question: Question, counted: &Counted, known: &[String]) -> Result<Report, Wrong> {
    let (mut tables, mut notes) = (Vec::new(), Vec::new());
    match question.funnel.clone() {
        None => shop::tables(&question, counted, &mut tables),
        Some(name) => {
            let mut all: Vec<&str> = counted.known.iter().chain(known).map(String::as_str).collect();
            all.sort_unstable();
            all.dedup();
            if !all.contains(&name.as_str()) && counted.figures.is_empty() && counted.cohorts.is_empty() {
                return Err(Wrong::unknown(format!("there is no funnel `{name}`"), &name, all.iter().copied()));
            }
            if let Some(segment) = &question.segment {
                known_segment(segment, counted)?;
            }
            funnel::tables(&question, counted, &mut tables, &mut notes);
        }
    }
    tables.retain(|table: &Table| !table.rows.is_empty());
    if tables.is_empty() {
        notes.push(format!("nothing was counted from {} to {}", question.from, question.to));
    }
    Ok(Report { question, terms: counted.terms, tables, notes })
}

/// Refuses a segment that nobody is or was in.
fn known_segment(segment: &str, counted: &Counted) -> Result<(), Wrong> {
    let at_entry = counted.cohorts.iter().filter(|row| row.group == Group::Segment).map(|row| row.name.as_str());
    let mut all: Vec<&str> = counted.sizes.iter().map(|(name, _)| name.as_str()).chain(at_entry).collect();
    all.sort_unstable();
    all.dedup();
    if all.contains(&segment) {
        return Ok(());
    }
    Err(Wrong::unknown(format!("nobody is or was in a segment `{segment}`"), segment, all.iter().copied()))
}

impl Report {
    /// As the API writes it.
    pub fn json(&self) -> Json {
        json!({
            "funnel": self.question.funnel,
            "from": self.question.from.to_string(),
            "to": self.question.to.to_string(),
            "by": self.question.by.map(By::name),
            "zone": self.terms.zone.name(),
            "currency": self.terms.currency.as_ref().map(|currency| currency.code().to_owned()),
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}

#[cfg(test)]
mod tests;
