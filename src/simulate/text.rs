//! A report as tables.

use super::MODEL;
use super::against::Comparison;
use super::record::Proof;
use super::report::Report;
use crate::fact::Fact;

/// Reasons of one funnel that are shown; JSON has all.
const REASONS_SHOWN_MAX: usize = 5;
/// Days that are shown; beyond them weeks are.
const DAYS_SHOWN_MAX: usize = 31;
/// Changed customers that are shown.
const CUSTOMERS_SHOWN_MAX: usize = 20;

/// Rows below their headings; the first column to the left, the others to the right.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let chars = |text: &str| text.chars().count();
    let widths: Vec<usize> = (0..headings.len())
        .map(|i| rows.iter().filter_map(|row| row.get(i)).map(|cell| chars(cell)).chain([chars(headings[i])]).max().unwrap_or(0))
        .collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (i, cell) in cells.enumerate() {
            let blanks = " ".repeat(widths.get(i).copied().unwrap_or(0).saturating_sub(chars(cell)));
            match i {
                0 => out.push_str(&format!("{cell}{blanks}")),
                _ => out.push_str(&format!("  {blanks}{cell}")),
            }
        }
        out.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut headings.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// What a record has proved.
fn proof(report: &Report) -> String {
    let proof = &report.proof;
    if *proof == Proof::default() {
        return String::new();
    }
    let mut out = format!("record: {} turns done again, {} facts as they were", proof.turns, proof.same);
    if proof.others > 0 {
        out.push_str(&format!("; {} turns gave OTHER facts", proof.others));
    }
    if proof.foreign > 0 {
        out.push_str(&format!("; {} turns were done under another workspace and are played by this one instead", proof.foreign));
    }
    if proof.gaps > 0 {
        out.push_str(&format!("; turns are missing in {} places", proof.gaps));
    }
    if proof.left_out > 0 {
        out.push_str(&format!("; {} turns left out, what they go on from is not here", proof.left_out));
    }
    out.push('\n');
    let told = |fact: &Option<Fact>| {
        fact.as_ref().map_or("nothing".to_owned(), |fact| {
            let why = if fact.why.is_empty() { String::new() } else { format!(" ({})", fact.why) };
            format!("{} {} {}{why}", fact.at, fact.what.name(), fact.about)
        })
    };
    for (customer, was, is) in &proof.shown {
        out.push_str(&format!("  {customer}: it was {}, it is {}\n", told(was), told(is)));
    }
    out
}

/// The whole report for people.
pub fn report(report: &Report) -> String {
    let money = |minor: i64| report.currency.show(minor);
    let mut out = format!(
        "{} events of {} customers, {} to {} ({})\nresults: {MODEL}\n",
        report.events,
        report.customers,
        report.from.map_or("-".to_owned(), |from| from.date(report.zone).to_string()),
        report.until.date(report.zone),
        report.zone.name(),
    );
    out.push_str(&proof(report));
    for won in &report.winners {
        let (from, funnel, step, variant) = (won.from, &won.funnel, &won.step, &won.variant);
        out.push_str(&format!("{funnel}: the split {step} was decided: {variant} from {from} on; {}\n", won.why()));
    }
    let mut rows: Vec<Vec<String>> = report.funnels.iter().map(|(name, f)| funnel_row(name, f, &money)).collect();
    rows.push(funnel_row("all", &report.total(), &money));
    out.push('\n');
    out.push_str(&table(
        &["funnel", "entered", "refused", "sent", "held", "capped", "skipped", "failed", "offers", "points", "goals", "worth"],
        &rows,
    ));
    out.push_str(&reasons(report));
    let segments: Vec<Vec<String>> = report
        .segments
        .iter()
        .map(|(name, s)| {
            let n = |n: u64| n.to_string();
            vec![
                name.clone(),
                n(s.entered),
                n(s.left),
                n(s.members),
                n(s.entries),
                n(s.sent),
                s.points.to_string(),
                money(s.money),
            ]
        })
        .collect();
    if !segments.is_empty() {
        out.push('\n');
        out.push_str(&table(&["segment", "entered", "left", "members", "runs", "sent", "points", "worth"], &segments));
    }
    out.push_str(&days(report, &money));
    out.push_str(&format!("\npoints left on accounts: {}, run out: {}\n", report.points_left, report.points_expired));
    out
}

fn funnel_row(name: &str, f: &super::report::Figures, money: &dyn Fn(i64) -> String) -> Vec<String> {
    let n = |n: u64| n.to_string();
    let counts = [f.entered, f.not_entered, f.messages(), f.held, f.capped, f.skipped, f.failed, f.offers];
    let mut row = vec![name.to_owned()];
    row.extend(counts.map(n));
    row.extend([f.points.to_string(), n(f.goals), money(f.money)]);
    row
}

fn reasons(report: &Report) -> String {
    let mut out = String::new();
    for (name, figures) in &report.funnels {
        let mut all: Vec<_> = figures.reasons.iter().collect();
        all.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        for ((what, why), n) in all.into_iter().take(REASONS_SHOWN_MAX) {
            out.push_str(&format!("  {name}: {n} × {}: {why}\n", what.replace('_', " ")));
        }
    }
    if out.is_empty() { out } else { format!("\nwhy not, most often first\n{out}") }
}

fn days(report: &Report, money: &dyn Fn(i64) -> String) -> String {
    let weeks = report.days.len() > DAYS_SHOWN_MAX;
    let channels = report.channels();
    let mut rows: Vec<(String, Vec<i64>)> = Vec::new();
    for (day, figures) in &report.days {
        let name = if weeks { day.format("%G week %V").to_string() } else { day.to_string() };
        if rows.last().is_none_or(|(last, _)| *last != name) {
            rows.push((name, vec![0; channels.len() + 4]));
        }
        let sent = channels.iter().map(|channel| figures.sent.get(channel).copied().unwrap_or(0));
        let counts = std::iter::once(figures.entered).chain(sent).map(|n| i64::try_from(n).unwrap_or(i64::MAX));
        let all = counts.chain([figures.points, figures.money, figures.purchased]);
        if let Some((_, sums)) = rows.last_mut() {
            for (sum, n) in sums.iter_mut().zip(all) {
                *sum += n;
            }
        }
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(name, sums)| {
            let at_money = channels.len() + 2;
            let cells = sums.iter().enumerate().map(|(i, n)| if i < at_money { n.to_string() } else { money(*n) });
            std::iter::once(name).chain(cells).collect()
        })
        .collect();
    let mut headings = vec![if weeks { "week" } else { "day" }, "entered"];
    headings.extend(channels.iter().map(String::as_str));
    headings.extend(["points", "worth", "purchases"]);
    if rows.is_empty() { String::new() } else { format!("\n{}", table(&headings, &rows)) }
}

/// What differs, for people.
pub fn comparison(comparison: &Comparison, report: &Report) -> String {
    if comparison.funnels.is_empty() && comparison.customers.is_empty() {
        return format!("nothing differs for any of {} customers\n", comparison.of);
    }
    let mut rows = Vec::new();
    for changes in &comparison.funnels {
        for (name, before, after) in &changes.figures {
            let shown = |n: i64| if *name == "money" { report.currency.show(n) } else { n.to_string() };
            let change = after - before;
            let sign = if change > 0 { "+" } else { "" };
            rows.push(vec![
                changes.funnel.clone(),
                (*name).to_owned(),
                shown(*before),
                shown(*after),
                format!("{sign}{}", shown(change)),
            ]);
        }
    }
    let mut out = table(&["funnel", "figure", "before", "after", "change"], &rows);
    out.push_str(&format!("\n{} of {} customers see something else\n", comparison.customers.len(), comparison.of));
    for one in comparison.customers.iter().take(CUSTOMERS_SHOWN_MAX) {
        let side = |o: &super::report::Outcome| format!("{} runs, {} messages, {} points", o.entered, o.sent, o.points);
        let (before, after) = (side(&one.before), side(&one.after));
        let what = if before == after {
            format!("{after}, at other times or with other contents")
        } else {
            format!("{before} → {after}")
        };
        out.push_str(&format!("  {}: {} ({what})\n", one.customer, one.funnels.join(", ")));
    }
    let more = comparison.customers.len().saturating_sub(CUSTOMERS_SHOWN_MAX);
    if more > 0 {
        out.push_str(&format!("  … and {more} more; --json lists up to {}\n", super::against::LISTED_MAX));
    }
    out
}
