//! Expected beside actual, and the first difference in full.

use super::{Expected, clock, line};
use crate::fact::sentence::sentence;
use crate::fact::{Fact, What};
use crate::lang::time::Zone;
use crate::play::Player;

/// Most lines of either side that are set beside each other; of longer ones only the beginning.
const LINES_MAX: usize = 1_000;
/// Most values that are shown of one fact.
const SEEN_SHOWN_MAX: usize = 20;

/// On which side a line stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// On both.
    Both,
    /// Expected, and did not happen.
    Missing,
    /// Happened, and was not expected.
    Extra,
}

impl Sign {
    /// As a diff marks it.
    pub fn mark(self) -> char {
        match self {
            Sign::Both => ' ',
            Sign::Missing => '-',
            Sign::Extra => '+',
        }
    }
}

/// One line of a diff.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DiffLine {
    /// On which side it stands.
    pub sign: Sign,
    /// The line.
    pub text: String,
}

/// Both sides in one list; empty when they agree.
pub(super) fn diff(expected: &[Expected], facts: &[&Fact], zone: Zone) -> Vec<DiffLine> {
    if agree(expected, facts, zone) {
        return Vec::new();
    }
    let cut = (expected.len().max(facts.len())).saturating_sub(LINES_MAX);
    let (expected, facts) = (&expected[..expected.len().min(LINES_MAX)], &facts[..facts.len().min(LINES_MAX)]);
    let common = common(expected, facts, zone);
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    let missing = |line: &Expected| DiffLine { sign: Sign::Missing, text: line.text.clone() };
    let of = |sign: Sign, fact: &Fact| DiffLine { sign, text: line::shown(fact, zone) };
    let extra = |fact: &&Fact| DiffLine { sign: Sign::Extra, text: with_reason(fact, zone) };
    for (meet, with) in common.into_iter().chain([(expected.len(), facts.len())]) {
        out.extend(expected[i..meet].iter().map(missing));
        out.extend(facts[j..with].iter().map(extra));
        out.extend(facts.get(with).filter(|_| meet < expected.len()).map(|fact| of(Sign::Both, fact)));
        (i, j) = (meet + 1, with + 1);
    }
    if cut > 0 {
        out.push(DiffLine { sign: Sign::Both, text: format!("… and {cut} more lines") });
    }
    out
}

/// What was not expected, and of what did not come about the reason, too.
fn with_reason(fact: &Fact, zone: Zone) -> String {
    let shown = line::shown(fact, zone);
    let refused =
        matches!(fact.what, What::NotEntered | What::Skipped | What::Held | What::Capped | What::Failed | What::Withdrawn);
    if refused && !fact.why.is_empty() { format!("{shown}: {}", fact.why) } else { shown }
}

fn agree(expected: &[Expected], facts: &[&Fact], zone: Zone) -> bool {
    expected.len() == facts.len() && expected.iter().zip(facts).all(|(line, fact)| line::meets(line, fact, zone))
}

/// The longest common part, in order: pairs of an expected line and the fact that it means.
fn common(expected: &[Expected], facts: &[&Fact], zone: Zone) -> Vec<(usize, usize)> {
    let (rows, columns) = (expected.len(), facts.len());
    let mut meets = vec![false; rows * columns];
    let mut longest = vec![0u16; (rows + 1) * (columns + 1)];
    for i in (0..rows).rev() {
        for j in (0..columns).rev() {
            let meet = line::meets(&expected[i], facts[j], zone);
            meets[i * columns + j] = meet;
            let best = |i: usize, j: usize| longest[i * (columns + 1) + j];
            let value = if meet { best(i + 1, j + 1) + 1 } else { best(i + 1, j).max(best(i, j + 1)) };
            longest[i * (columns + 1) + j] = value;
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < rows && j < columns {
        if meets[i * columns + j] {
            out.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if longest[(i + 1) * (columns + 1) + j] >= longest[i * (columns + 1) + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    out
}

/// The first difference in full: what happened where the first line differs, and why.
pub(super) fn first_difference(
    expected: &[Expected],
    facts: &[&Fact],
    player: &Player<'_>,
    funnel: &str,
    zone: Zone,
) -> Vec<String> {
    if agree(expected, facts, zone) {
        return Vec::new();
    }
    let at = expected.iter().zip(facts).take_while(|(line, fact)| line::meets(line, fact, zone)).count();
    let mut out = Vec::new();
    match (expected.get(at), facts.get(at)) {
        (Some(line), Some(fact)) => {
            out.push(format!("first difference: expected `{}`, but", line.text));
            in_full(fact, player, zone, &mut out);
        }
        (None, Some(fact)) => {
            out.push("first difference: nothing more was expected, but".to_owned());
            in_full(fact, player, zone, &mut out);
        }
        (Some(line), None) => {
            out.push(format!("first difference: `{}` did not happen up to {}", line.text, clock(player.now, zone)));
            match player.facts_of(funnel).last() {
                Some(fact) => {
                    out.push("the last that is on record of the funnel:".to_owned());
                    in_full(fact, player, zone, &mut out);
                }
                None => out.extend(never(player, funnel)),
            }
        }
        (None, None) => {}
    }
    out
}

/// What to say where nothing at all happened.
fn never(player: &Player<'_>, funnel: &str) -> Option<String> {
    let funnel = player.definitions.current.funnels.get(funnel)?;
    Some(format!("the funnel never heard of her: it waits for {}", funnel.trigger.sentence()))
}

fn in_full(fact: &Fact, player: &Player<'_>, zone: Zone, out: &mut Vec<String>) {
    let currency = player.definitions.current.settings.currency;
    out.push(format!("  {} {}", clock(fact.at, zone), sentence(fact, currency)));
    out.extend(fact.seen.iter().take(SEEN_SHOWN_MAX).map(|(operand, value)| format!("      {operand} = {value}")));
}
