//! A report as one page that needs nothing else: tables, and charts as inline SVG. It has no script and loads
//! nothing.

use super::MODEL;
use super::against::Comparison;
use super::report::{Day, Figures, Report};
use crate::funnel::diagram::escape;
use chrono::NaiveDate;
use std::fmt::Write as _;

/// Bars of one chart; more days are gathered into that many.
const BARS_MAX: usize = 120;
/// Width of a chart, in its own units.
const WIDTH: f64 = 880.0;
/// Height of a chart, in its own units.
const HEIGHT: f64 = 200.0;
/// Room for the numbers beside a chart.
const LEFT: f64 = 60.0;
/// Room for the days below a chart.
const BELOW: f64 = 22.0;
/// Colours of series, told apart by people who see no red or no green, too.
const COLOURS: &[&str] = &["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#999999", "#f0e442"];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:920px;margin:2rem auto;padding:0 1rem;color:#1b1b1b}\
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}th,td{padding:.25rem .6rem;text-align:right;\
border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}svg{width:100%;height:auto}\
.key span{display:inline-block;margin-right:1rem}.key i{display:inline-block;width:.8em;height:.8em;margin-right:.3em}\
.note{color:#555}";

/// The page.
pub fn page(report: &Report, comparison: Option<&Comparison>) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Simulation</title><style>");
    out.push_str(STYLE);
    out.push_str("</style></head><body>\n<h1>Simulation</h1>\n");
    let from = report.from.map_or("-".to_owned(), |from| from.date(report.zone).to_string());
    let _ = writeln!(
        out,
        "<p>{} events of {} customers, {from} to {} ({}), workspace {}.</p>\n<p class=\"note\">Results: {}.</p>",
        report.events,
        report.customers,
        report.until.date(report.zone),
        escape(report.zone.name()),
        escape(report.workspace.get(..12).unwrap_or(&report.workspace)),
        escape(MODEL),
    );
    if let Some(comparison) = comparison {
        differences(&mut out, comparison, report);
    }
    for line in super::text::used_up(report) {
        let _ = writeln!(out, "<p><strong>{}</strong></p>", escape(&line));
    }
    charts(&mut out, report);
    funnels(&mut out, report);
    segments(&mut out, report);
    out.push_str("</body></html>\n");
    out
}

fn differences(out: &mut String, comparison: &Comparison, report: &Report) {
    let _ = writeln!(
        out,
        "<h2>What differs</h2>\n<p>{} of {} customers see something else.</p>",
        comparison.customers.len(),
        comparison.of
    );
    let mut rows = Vec::new();
    for changes in &comparison.funnels {
        for (name, before, after) in &changes.figures {
            let shown = |n: i64| if *name == "money" { report.currency.show(n) } else { n.to_string() };
            rows.push(vec![changes.funnel.clone(), (*name).to_owned(), shown(*before), shown(*after)]);
        }
    }
    table(out, &["funnel", "figure", "before", "after"], &rows);
    let rows: Vec<Vec<String>> = comparison
        .customers
        .iter()
        .take(super::against::LISTED_MAX)
        .map(|c| {
            let pair = |a: u64, b: u64| format!("{a} → {b}");
            vec![
                c.customer.clone(),
                c.funnels.join(", "),
                pair(c.before.sent, c.after.sent),
                format!("{} → {}", c.before.points, c.after.points),
            ]
        })
        .collect();
    table(out, &["customer", "funnels", "messages", "points"], &rows);
}

fn table(out: &mut String, headings: &[&str], rows: &[Vec<String>]) {
    out.push_str("<table><thead><tr>");
    for heading in headings {
        let _ = write!(out, "<th>{}</th>", escape(heading));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in rows {
        out.push_str("<tr>");
        for cell in row {
            let _ = write!(out, "<td>{}</td>", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table>\n");
}

/// One line of a chart: its name, and a value for each bar.
type Series = (String, Vec<i64>);

fn charts(out: &mut String, report: &Report) {
    let (Some(first), Some(last)) = (report.days.keys().next(), report.days.keys().next_back()) else { return };
    // Days on which nothing happened are days, too.
    let days: Vec<NaiveDate> = first.iter_days().take_while(|day| day <= last).collect();
    let per_bar = days.len().div_ceil(BARS_MAX).max(1);
    let bars: Vec<&[NaiveDate]> = days.chunks(per_bar).collect();
    let none = Day::default();
    let series = |name: &str, value: &dyn Fn(&Day) -> i64| -> Series {
        let of = |day: &NaiveDate| value(report.days.get(day).unwrap_or(&none));
        (name.to_owned(), bars.iter().map(|bar| bar.iter().map(of).sum()).collect())
    };
    let n = |n: Option<&u64>| i64::try_from(n.copied().unwrap_or(0)).unwrap_or(i64::MAX);
    let labels: Vec<String> = bars.iter().filter_map(|bar| bar.first()).map(ToString::to_string).collect();
    let unit = if per_bar == 1 { "per day".to_owned() } else { format!("per {per_bar} days") };
    let sends: Vec<Series> = report.channels().iter().map(|c| series(c, &|day| n(day.sent.get(c)))).collect();
    chart(out, &format!("Messages {unit}"), &labels, &sends);
    let entered = report.funnels.iter().filter(|(_, figures)| figures.entered > 0);
    let entries: Vec<Series> = entered.map(|(f, _)| series(f, &|day| n(day.entries.get(f)))).collect();
    chart(out, &format!("Entries {unit}"), &labels, &entries);
    chart(out, &format!("Points granted {unit}"), &labels, &[series("points", &|day| day.points)]);
}

/// Stacked bars.
fn chart(out: &mut String, title: &str, labels: &[String], series: &[Series]) {
    let heights: Vec<i64> = (0..labels.len()).map(|i| series.iter().map(|(_, values)| values[i].max(0)).sum()).collect();
    let top = heights.iter().copied().max().unwrap_or(0);
    if top == 0 {
        return;
    }
    let title = escape(title);
    let _ =
        writeln!(out, "<h2>{title}</h2>\n<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">", HEIGHT + BELOW);
    let step = (WIDTH - LEFT) / labels.len() as f64;
    let y = |value: i64| HEIGHT - (value as f64 / top as f64) * (HEIGHT - 14.0);
    for mark in [0, top / 2, top] {
        let at = y(mark);
        let _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" font-size=\"12\" text-anchor=\"end\">{mark}</text>",
            LEFT - 6.0,
            at + 4.0
        );
    }
    for (i, label) in labels.iter().enumerate() {
        let mut below = 0;
        for (k, (name, values)) in series.iter().enumerate() {
            let value = values[i].max(0);
            if value > 0 {
                let (from, to) = (y(below), y(below + value));
                let _ = writeln!(
                    out,
                    "<rect x=\"{:.1}\" y=\"{to:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"><title>{label} {}: {value}</title></rect>",
                    LEFT + step * i as f64,
                    (step * 0.9).max(0.5),
                    from - to,
                    COLOURS[k % COLOURS.len()],
                    escape(name)
                );
                below += value;
            }
        }
    }
    for i in [0, labels.len() / 2, labels.len() - 1] {
        let anchor = if i == 0 {
            "start"
        } else if i + 1 == labels.len() {
            "end"
        } else {
            "middle"
        };
        let x = LEFT + step * (i as f64 + if i + 1 == labels.len() { 1.0 } else { 0.0 });
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{}\" font-size=\"12\" text-anchor=\"{anchor}\">{}</text>",
            HEIGHT + 16.0,
            labels[i]
        );
    }
    out.push_str("</svg>\n<p class=\"key\">");
    for (k, (name, values)) in series.iter().enumerate() {
        let colour = COLOURS[k % COLOURS.len()];
        let _ =
            write!(out, "<span><i style=\"background:{colour}\"></i>{} ({})</span>", escape(name), values.iter().sum::<i64>());
    }
    out.push_str("</p>\n");
}

fn funnels(out: &mut String, report: &Report) {
    out.push_str("<h2>Funnels</h2>\n");
    let row = |name: &str, f: &Figures| -> Vec<String> {
        let shown = |(name, n): (&str, i64)| if name == "money" { report.currency.show(n) } else { n.to_string() };
        std::iter::once(name.to_owned()).chain(f.named().into_iter().map(shown)).collect()
    };
    let mut rows: Vec<Vec<String>> = report.funnels.iter().map(|(name, f)| row(name, f)).collect();
    rows.push(row("all", &report.total()));
    let mut headings = vec!["funnel"];
    headings.extend(Figures::default().named().map(|(name, _)| name));
    table(out, &headings, &rows);
    let mut reasons = Vec::new();
    for (name, figures) in &report.funnels {
        for ((what, why), n) in &figures.reasons {
            reasons.push(vec![name.clone(), what.replace('_', " "), why.clone(), n.to_string()]);
        }
    }
    out.push_str("<h2>Why not</h2>\n");
    table(out, &["funnel", "what", "why", "times"], &reasons);
}

fn segments(out: &mut String, report: &Report) {
    out.push_str("<h2>Segments</h2>\n<p class=\"note\">Runs, messages, points and goals are those of who was in the segment at that instant.</p>\n");
    let rows: Vec<Vec<String>> = report
        .segments
        .iter()
        .map(|(name, s)| {
            let n = |n: u64| n.to_string();
            let counts = [s.entered, s.left, s.members, s.entries, s.sent].map(n);
            let mut row = vec![name.clone()];
            row.extend(counts);
            row.extend([s.points.to_string(), n(s.goals), report.currency.show(s.money)]);
            row
        })
        .collect();
    table(out, &["segment", "entered", "left", "members", "runs", "sent", "points", "goals", "worth"], &rows);
}
