//! Imports: files of JSON lines and of comma-separated cells, read and taken in as the command does it.

use super::body::{changed, intake};
use super::chance::Chance;
use super::mutate::{self, Corpus};
use super::store::at_once;
use super::tree::Tree;
use super::{Case, Kind, Verdict, laws, sample};
use autofunnel::engine::intake::import::{CHUNK_ROWS_MAX, Reader, Report, Rows};
use autofunnel::engine::intake::{Intake, json};
use std::io::Cursor;

/// Reads a whole file; the verdict is on everything that is said of it.
fn import(intake: &Intake, bytes: &[u8], rows: Rows) -> Verdict {
    let world = intake.world();
    let (mut report, mut read, mut verdict) = (Report::default(), 0, Verdict::default());
    let mut reader = match Reader::new(Cursor::new(bytes), rows) {
        Ok(reader) => reader,
        Err(why) => return Verdict { placed: true, ..laws::of_refusal(&why, false) },
    };
    loop {
        match reader.chunk(CHUNK_ROWS_MAX, &world) {
            Ok(chunk) if chunk.is_empty() => break,
            Ok(chunk) => {
                read += chunk.len() as u64;
                verdict.past_parser |= chunk.iter().any(|(_, row)| row.is_ok());
                if let Err(why) = at_once(intake.import(chunk, &mut report)) {
                    verdict.broken = Some(format!("the store was to blame: {why}"));
                }
            }
            Err(why) => {
                let told = laws::of_refusal(&why, false);
                (verdict.refused, verdict.placed) = (true, told.placed);
                verdict.broken = verdict.broken.or(told.broken);
                break;
            }
        }
    }
    if report.accepted + report.duplicates + report.conflicts + report.refused != read {
        verdict.broken.get_or_insert(format!("{read} rows were read, and the report is {report:?}"));
    }
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    for (line, why) in &report.listed {
        let told = laws::of_refusal(why, true).broken;
        verdict.broken = verdict.broken.or(told);
        if *line == 0 || *line > lines {
            verdict.broken.get_or_insert(format!("line {line} of a file with {lines} lines"));
        }
    }
    if report.refused > 0 {
        // The line is always told.
        (verdict.refused, verdict.placed) = (true, true);
    }
    verdict
}

/// JSON lines.
pub struct Lines {
    intake: Intake,
    rows: Vec<Tree>,
    corpus: Corpus,
}

impl Lines {
    /// Reads the samples.
    pub fn new() -> Lines {
        let rows = [sample::lines("examples/history.ndjson"), sample::lines("examples/customers.ndjson")].concat();
        let corpus = sample::corpus(&rows);
        Lines { intake: intake().0, rows, corpus }
    }
}

impl Kind for Lines {
    fn name(&self) -> &'static str {
        "ndjson"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let mut bytes = Vec::new();
        for _ in 0..1 + chance.below(4) {
            bytes.extend(changed(chance.item(&self.rows), &self.corpus, &mut chance));
            bytes.extend(chance.item(&[&b"\n"[..], b"\r\n", b"\n\n", b"\n \n"]).iter());
        }
        if chance.one_in(8) {
            mutate::bytes(&mut bytes, &mut chance);
        }
        let shown = bytes.clone();
        let past_parser = bytes.split(|byte| *byte == b'\n').any(|line| json::read(line).is_ok());
        Case { shown, feed: Box::new(move || Verdict { past_parser, ..import(&self.intake, &bytes, Rows::Lines) }) }
    }
}

const EVENT_COLUMNS: &[&str] = &["event", "id", "customer", "time", "amount", "order_id", "properties.city", "items"];
const EVENT_CELLS: &[&[&str]] = &[
    &["purchase", "p1", "c-1", "2026-12-01T10:00:00Z", "12.50", "H-1", "", ""],
    &["tasting_booked", "t1", "c-2", "2026-12-01", "", "", "Kiel", ""],
    &["review", "r1", "c-2", "2026-12-01T10:00:00.123Z", "", "", "", "x"],
];
const CUSTOMER_COLUMNS: &[&str] = &[
    "customer",
    "name",
    "email",
    "phone",
    "birthday",
    "zone",
    "favourite_roast",
    "to_next_tier",
    "consent.email",
    "consent.sms",
    "membership",
    "membership.started",
    "membership.ends",
    "membership.auto_renew",
    "profile.language",
];
const CUSTOMER_CELLS: &[&[&str]] = &[
    &[
        "c-1",
        "Ada, \"A\"",
        "ada@example.com",
        "+4917604069001",
        "1990-05-14",
        "Europe/Berlin",
        "dark",
        "30.5",
        "yes",
        "no",
        "roastery-club",
        "2026-01-10",
        "2027-01-10",
        "1",
        "de",
    ],
    &["c-2", "Bob", "", "", "", "", "", "", "true", "", "", "", "", "", ""],
];

/// Comma-separated cells.
pub struct Cells {
    intake: Intake,
}

impl Cells {
    /// Reads the samples.
    pub fn new() -> Cells {
        Cells { intake: intake().0 }
    }

    fn table(chance: &mut Chance) -> Vec<Vec<String>> {
        let (columns, cells) = if chance.one_in(2) { (EVENT_COLUMNS, EVENT_CELLS) } else { (CUSTOMER_COLUMNS, CUSTOMER_CELLS) };
        let owned = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        let mut table = vec![owned(columns)];
        table.extend((0..1 + chance.below(5)).map(|_| owned(chance.pick(cells))));
        for _ in 0..chance.few() {
            // Once in a while the names of the columns; they decide over everything below.
            let row = if chance.one_in(8) { 0 } else { 1 + chance.below(table.len() - 1) };
            let cells = &mut table[row];
            let at = chance.below(cells.len().max(1)).min(cells.len().saturating_sub(1));
            match chance.below(8) {
                _ if cells.is_empty() => cells.push(String::new()),
                0 => drop(cells.remove(at)),
                1 => cells.insert(at, cells[at].clone()),
                2 => cells[at] = mutate::trouble(chance).to_owned(),
                3 => {
                    let other = chance.below(cells.len());
                    cells.swap(at, other);
                }
                4 if chance.one_in(8) => cells[at] = "x".repeat(chance.below(70_000)),
                5 if chance.one_in(8) => cells.extend(std::iter::repeat_n(String::from("y"), chance.below(300))),
                _ => cells[at] = mutate::tweak(&cells[at].clone(), chance),
            }
        }
        table
    }
}

impl Kind for Cells {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let separator = *chance.item(&[',', ',', ',', ';', '\t']);
        let end = *chance.item(&["\n", "\n", "\r\n", "\n\n", "\r"]);
        let mut text = String::from(if chance.one_in(8) { "\u{feff}" } else { "" });
        for row in Cells::table(&mut chance) {
            let cell = |cell: &String, chance: &mut Chance| {
                let plain = !cell.contains([separator, '"', '\n', '\r']);
                // Now and then the quotes that are needed are left out.
                if plain || chance.one_in(10) { cell.clone() } else { format!("\"{}\"", cell.replace('"', "\"\"")) }
            };
            let cells: Vec<String> = row.iter().map(|text| cell(text, &mut chance)).collect();
            text.push_str(&cells.join(&separator.to_string()));
            text.push_str(end);
        }
        let mut bytes = text.into_bytes();
        if chance.one_in(8) {
            mutate::bytes(&mut bytes, &mut chance);
        }
        Case { shown: bytes.clone(), feed: Box::new(move || import(&self.intake, &bytes, Rows::Csv)) }
    }
}
