//! `stats`: what funnels, splits, offers and segments have come to.

use super::remote::{Remote, text};
use super::serve::StoreArgs;
use super::term::{Term, Tone, plain};
use super::{Done, Status};
use crate::app::stats::read;
use crate::stats::Typed;
use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::Value as Json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  autofunnel stats                                all funnels, purchases, memberships, offers, segments
  autofunnel stats renewal                        one funnel: ends, steps, channels, variants, lift
  autofunnel stats renewal --by cohort --per month
  autofunnel stats welcome --by day --from 2027-03-01 --to 2027-03-31 --format csv
  autofunnel stats --by segment                   how segments grew, day by day
  autofunnel stats --url http://10.0.0.5:8080     of an engine that runs elsewhere

It reads the store's file (with a store in Redis: the read side's, --report), whether an engine runs on it or not; with
--url, --token or AUTOFUNNEL_URL it asks the engine. Days are those of the workspace's zone. What was sent, granted and
ended is of these days; conversions, revenue and rates are of those who entered in these days, whenever they came.";

/// Show statistics: conversions, revenue, lift, variants, cohorts, segments, offers
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Stats {
    /// Of this funnel
    #[arg(value_name = "FUNNEL", default_value = "", hide_default_value = true)]
    funnel: String,
    /// First day, as 2027-03-01 [default: 365 days up to the last one]
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    from: String,
    /// Last day [default: today]
    #[arg(long, value_name = "DAY", default_value = "", hide_default_value = true)]
    to: String,
    /// Divide by: day, version, step, variant, channel, segment or cohort
    #[arg(long, value_name = "WHAT", default_value = "", hide_default_value = true)]
    by: String,
    /// Cohorts of a week or of a month [default: week]
    #[arg(long, value_name = "week|month", default_value = "", hide_default_value = true)]
    per: String,
    /// Cohorts only of those who were in this segment when they entered
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    segment: String,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The store's file, or Redis' address [default: what AUTOFUNNEL_STORE says, else autofunnel.db]
    #[arg(long, value_name = "FILE|ADDRESS")]
    store: Option<String>,
    /// The read side's file, with a store in Redis
    #[arg(long, default_value = "autofunnel-report.db", value_name = "FILE")]
    report: PathBuf,
    #[command(flatten)]
    remote: Remote,
}

/// How an answer is written.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// For people
    Table,
    /// One JSON object
    Json,
    /// Comma-separated values, of one table at a time
    Csv,
}

impl Stats {
    pub fn run(self, term: &Term) -> Done {
        let Stats { funnel, from, to, by, per, segment, .. } = self;
        let typed = Typed { funnel, from, to, by, per, segment };
        if self.store.is_some() && self.remote.is_asked() {
            bail!("--store reads a file and --url asks an engine; choose one");
        }
        let answer = if self.store.is_none() && self.remote.is_named() {
            let Typed { funnel, from, to, by, per, segment } = typed;
            let query = [("funnel", funnel), ("from", from), ("to", to), ("by", by), ("per", per), ("segment", segment)];
            let query: Vec<(&str, String)> = query.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            self.remote.run(|api| async move { api.get("/v1/stats/report", &query).await })?
        } else {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (store, report) = (self.store, self.report);
            let place = StoreArgs { store, report, state: PathBuf::new(), accept_loss: false, wait_replicas: 0 }.place();
            runtime.block_on(read(&place, &typed))?.json()
        };
        match self.format {
            Format::Json => term.line(&format!("{answer:#}"))?,
            Format::Table => term.print(&tables(&answer, term))?,
            Format::Csv => term.print(&csv(&answer)?)?,
        }
        Ok(Status::Good)
    }
}

fn list<'j>(json: &'j Json, name: &str) -> &'j [Json] {
    json.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
}

fn tables(answer: &Json, term: &Term) -> String {
    let days = format!("{} to {}, {}", text(answer, "from"), text(answer, "to"), text(answer, "zone"));
    let currency = answer.get("currency").and_then(Json::as_str).map_or_else(String::new, |code| format!(", money in {code}"));
    let mut out = format!("{}\n", term.tone(Tone::Dim, &format!("{days}{currency}")));
    for table in list(answer, "tables") {
        out.push_str(&format!("\n{}\n", term.tone(Tone::Strong, &plain(text(table, "title")))));
        out.push_str(&grid(table));
    }
    for note in list(answer, "notes").iter().filter_map(Json::as_str) {
        out.push_str(&format!("\n{}\n", plain(note)));
    }
    out
}

/// A table with its columns under each other; of one row, one value below the other.
fn grid(table: &Json) -> String {
    let columns: Vec<(&str, &str)> =
        list(table, "columns").iter().map(|column| (text(column, "name"), text(column, "kind"))).collect();
    let cells = |row: &Json| -> Vec<String> {
        columns.iter().map(|(name, kind)| plain(&shown(row.get(*name).unwrap_or(&Json::Null), kind))).collect()
    };
    let rows: Vec<Vec<String>> = list(table, "rows").iter().map(cells).collect();
    if let [only] = rows.as_slice() {
        let width = columns.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let lines = columns.iter().zip(only).map(|((name, _), cell)| format!("  {:<width$}  {cell}\n", name.replace('_', " ")));
        return lines.collect();
    }
    let heads: Vec<String> = columns.iter().map(|(name, _)| name.replace('_', " ")).collect();
    let wide = |at: usize| rows.iter().chain([&heads]).map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(wide).collect();
    let mut out = String::new();
    for row in [&heads].into_iter().chain(&rows) {
        let padded = row.iter().zip(&columns).zip(&widths).map(|((cell, (_, kind)), width)| match *kind {
            "text" => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        out.push_str(&format!("  {}\n", padded.collect::<Vec<_>>().join("  ").trim_end()));
    }
    out
}

fn shown(value: &Json, kind: &str) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Number(share) if kind == "share" => format!("{:.1} %", share.as_f64().unwrap_or(0.0) * 100.0),
        other => other.to_string(),
    }
}

/// The only table as CSV (RFC 4180).
fn csv(answer: &Json) -> anyhow::Result<String> {
    let table = match list(answer, "tables") {
        [] => bail!("{}", list(answer, "notes").iter().filter_map(Json::as_str).collect::<Vec<_>>().join("; ")),
        [table] => table,
        several => {
            let names: Vec<&str> = several.iter().map(|table| text(table, "name")).collect();
            bail!("CSV holds one table and these are several ({}); choose one with --by, or use --format json", names.join(", "))
        }
    };
    let names: Vec<&str> = list(table, "columns").iter().map(|column| text(column, "name")).collect();
    let mut out = names.join(",") + "\r\n";
    for row in list(table, "rows") {
        let cells: Vec<String> = names.iter().map(|name| field(row.get(*name).unwrap_or(&Json::Null))).collect();
        out.push_str(&(cells.join(",") + "\r\n"));
    }
    Ok(out)
}

fn field(value: &Json) -> String {
    let text = match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    // A text that a spreadsheet would take for a formula is a text.
    let formula = value.is_string() && text.starts_with(['=', '+', '@', '\t']);
    let text = if formula { format!("'{text}") } else { text };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use serde_json::json;

    fn answer(rows: Json) -> Json {
        let columns = json!([{ "name": "offer", "kind": "text" }, { "name": "rate_low", "kind": "share" }, { "name": "revenue", "kind": "money" }]);
        let table = json!({ "name": "offers", "title": "Offers", "columns": columns, "rows": rows });
        json!({ "from": "2027-03-01", "to": "2027-03-02", "zone": "UTC", "currency": "EUR", "tables": [table], "notes": ["few"] })
    }

    #[test]
    fn tables_are_aligned_and_a_single_row_stands_upright() {
        let two = answer(json!([
            { "offer": "a\u{1b}[2J", "rate_low": 0.1234, "revenue": "10.50" },
            { "offer": "second", "rate_low": null, "revenue": "1.00" }
        ]));
        let wanted = "2027-03-01 to 2027-03-02, UTC, money in EUR\n\nOffers\n  offer   rate low  revenue\n  a\u{fffd}[2J     12.3 %    10.50\n  second         -     1.00\n\nfew\n";
        assert_eq!(tables(&two, &Term::new(ColorChoice::Never)), wanted);
        let one = answer(json!([{ "offer": "a", "rate_low": 0.5, "revenue": "1.00" }]));
        assert!(tables(&one, &Term::new(ColorChoice::Never)).contains("  offer     a\n  rate low  50.0 %\n  revenue   1.00\n"));
    }

    #[test]
    fn csv_quotes_and_runs_no_formula() {
        let one = answer(
            json!([{ "offer": "=a,\"b\"", "rate_low": 0.5, "revenue": "-1.00" }, { "offer": null, "rate_low": 0.1, "revenue": "" }]),
        );
        assert_eq!(csv(&one).unwrap(), "offer,rate_low,revenue\r\n\"'=a,\"\"b\"\"\",0.5,-1.00\r\n,0.1,\r\n");
        let none = json!({ "tables": [], "notes": ["nothing was counted"] });
        assert!(csv(&none).unwrap_err().to_string().contains("nothing was counted"));
        let two = json!({ "tables": [{ "name": "a" }, { "name": "b" }], "notes": [] });
        assert!(csv(&two).unwrap_err().to_string().contains("(a, b)"));
    }
}
