//! Imports: customers and events of the past, row by row. They fill history and fire nothing.
//!
//! Rows are JSON documents, one per line, or comma-separated cells. A row with `event` is an event
//! (`{"event", "id", "customer", "time", "properties"?}`, the time is required here); any other is a
//! customer (`{"customer", "profile"?, "consent"?, "membership"?}`). Every row has an id of its own (an
//! event's `id`, else the digest of the row), so an import that was broken off is simply started again.
//!
//! In comma-separated files a column `event` makes it a file of events, in which every column other than
//! `id`, `event`, `customer` and `time` is a property. In a file of customers the columns are `customer`,
//! names of profile fields, `consent.<channel>`, `membership`, `membership.started`, `membership.ends`
//! and `membership.auto_renew`. Empty cells say nothing.

use super::customer::Origin;
use super::names::take_id;
use super::{Intake, IntakeError, Refusal, World, csv, customer, digest, event, json};
use crate::event::InputBody;
use crate::event::words::{WordType, word};
use crate::lang::cel::Type;
use crate::lang::time::Time;
use crate::lang::value::{Fields, Value};
use crate::store::{Accepted, NewInput};
use std::io::{BufRead, Read};

/// The source of imported rows.
pub const SOURCE_IMPORT: &str = "import";
/// Rows handed to the store at a time.
pub const CHUNK_ROWS_MAX: usize = 1_000;
/// Refused rows that a report lists; more are counted.
pub const LISTED_ROWS_MAX: usize = 1_000;

/// The form of a file of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// One JSON document per line.
    Lines,
    /// Comma-separated cells, the first row names the columns.
    Csv,
}

/// What became of the rows.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Report {
    /// Taken in.
    pub accepted: u64,
    /// Known from an earlier import.
    pub duplicates: u64,
    /// Known with other content; the first one is kept.
    pub conflicts: u64,
    /// Refused.
    pub refused: u64,
    /// Lines and reasons of the first [`LISTED_ROWS_MAX`] refused or conflicting rows.
    pub listed: Vec<(usize, Refusal)>,
}

impl Report {
    fn list(&mut self, line: usize, refusal: Refusal) {
        if self.listed.len() < LISTED_ROWS_MAX {
            self.listed.push((line, refusal));
        }
    }
}

/// Most rows of one list.
pub const LIST_ROWS_MAX: usize = 10_000;

/// A row with the line it began on, from 1.
pub type Row = (usize, Result<Value, Refusal>);

/// Reads a file row by row, in bounded memory.
pub enum Reader<R> {
    /// One JSON document per line.
    Lines {
        /// The file.
        reader: R,
        /// Lines read so far.
        line: usize,
    },
    /// The items of a list; an item's place counts as its line.
    List(std::iter::Enumerate<std::vec::IntoIter<Value>>),
    /// Comma-separated cells.
    Csv(csv::Rows<R>),
}

impl<R: BufRead> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// When the columns of a comma-separated file cannot be read.
    pub fn new(reader: R, rows: Rows) -> Result<Reader<R>, Refusal> {
        Ok(match rows {
            Rows::Lines => Reader::Lines { reader, line: 0 },
            Rows::Csv => Reader::Csv(csv::Rows::new(reader)?),
        })
    }

    /// Reads one JSON list of rows.
    ///
    /// # Errors
    /// When it is no JSON list, or too long.
    pub fn list(bytes: &[u8]) -> Result<Reader<R>, Refusal> {
        let items = json::read_list(bytes, LIST_ROWS_MAX)
            .map_err(|refusal| refusal.hint("or send one JSON object per line: `jq -c '.[]' FILE` makes them of a list"))?;
        Ok(Reader::List(items.into_iter().enumerate()))
    }

    /// The next rows, at most `max`; none at the end.
    ///
    /// # Errors
    /// When the file cannot be read any further.
    pub fn chunk(&mut self, max: usize, world: &World) -> Result<Vec<Row>, Refusal> {
        let mut rows = Vec::new();
        while rows.len() < max {
            let row = match self {
                Reader::Lines { reader, line } => next_line(reader, line)?,
                Reader::List(items) => items.next().map(|(at, item)| (at + 1, Ok(item))),
                Reader::Csv(csv) => {
                    let row = csv.next_row()?;
                    row.map(|(line, cells)| (line, cells.and_then(|cells| from_cells(csv.columns(), cells, world))))
                }
            };
            match row {
                None => break,
                Some(row) => rows.push(row),
            }
        }
        Ok(rows)
    }
}

fn next_line<R: BufRead>(reader: &mut R, line: &mut usize) -> Result<Option<Row>, Refusal> {
    loop {
        let mut bytes = Vec::new();
        let read = reader.by_ref().take(csv::ROW_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes);
        if read.map_err(|error| Refusal::new(format!("the file cannot be read: {error}")))? == 0 {
            return Ok(None);
        }
        *line += 1;
        if bytes.len() > csv::ROW_BYTES_MAX {
            return Err(Refusal::new(format!("line {line} is longer than {} bytes", csv::ROW_BYTES_MAX)));
        }
        if !bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some((*line, json::read(&bytes))));
        }
    }
}

impl Intake {
    /// Takes in one chunk of rows and adds what became of them to `report`.
    ///
    /// # Errors
    /// When the store fails; the same chunk may then be given again.
    pub async fn import(&self, rows: Vec<Row>, report: &mut Report) -> Result<(), IntakeError> {
        let (world, now) = (self.world(), self.store.now());
        let (mut lines, mut inputs) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (line, row) in rows {
            match row.and_then(|row| read_row(row, &world, now)) {
                Ok(input) => {
                    lines.push(line);
                    inputs.push(input);
                }
                Err(refusal) => {
                    report.refused += 1;
                    report.list(line, refusal);
                }
            }
        }
        if inputs.is_empty() {
            return Ok(());
        }
        for (line, accepted) in lines.into_iter().zip(self.store.accept(inputs).await?) {
            match accepted {
                Accepted::New => report.accepted += 1,
                Accepted::Duplicate => report.duplicates += 1,
                Accepted::Conflict => {
                    report.conflicts += 1;
                    report
                        .list(line, Refusal::new("this id was imported before with other content").hint("the first one is kept"));
                }
            }
        }
        Ok(())
    }
}

/// Checks one row.
///
/// # Errors
/// One sentence with the field that is wrong.
pub fn read_row(row: Value, world: &World, now: Time) -> Result<NewInput, Refusal> {
    if row.get("event").is_some() {
        let sent = event::read(row, &world.settings, now)?;
        if !sent.timed {
            return Err(Refusal::new("`time` is missing").field("time").hint("say when it happened: an import fills the past"));
        }
        let id = Some(sent.event.id.clone());
        return Ok(NewInput {
            customer: sent.customer,
            source: SOURCE_IMPORT.to_owned(),
            id,
            digest: sent.digest,
            body: InputBody::History(sent.event),
        });
    }
    let (digest, _) = digest::of_value(&row);
    let id = format!("row:{}", digest::hex(&row));
    let mut fields = json::into_map(row)?;
    let customer = take_id(&mut fields, "customer", "customer's id", "say whose row it is")?;
    if fields.is_empty() {
        return Err(Refusal::new("the row says nothing of the customer").hint("give profile, consent or membership, or an event"));
    }
    let change = customer::read(fields, world, now, Origin::Import)?;
    Ok(NewInput { customer, source: SOURCE_IMPORT.to_owned(), id: Some(id), digest, body: InputBody::Profile(change) })
}

/// The same row as a JSON document would say it.
fn from_cells(columns: &[String], cells: Vec<String>, world: &World) -> Result<Value, Refusal> {
    let filled: Vec<(&str, String)> =
        columns.iter().map(String::as_str).zip(cells).filter(|(_, cell)| !cell.trim().is_empty()).collect();
    let event = filled.iter().find(|(column, _)| *column == "event").map(|(_, cell)| cell.clone());
    let row = match event {
        Some(name) => event_cells(&name, filled, world),
        None if columns.iter().any(|column| column == "event") => {
            return Err(Refusal::new("the cell `event` is empty").field("event"));
        }
        None => customer_cells(filled, world)?,
    };
    Ok(Value::Map(row))
}

fn event_cells(name: &str, cells: Vec<(&str, String)>, world: &World) -> Fields {
    let (mut row, mut properties) = (Fields::new(), Fields::new());
    let declared = match world.settings.events.get(name) {
        Some(Type::Object(declared)) => declared.as_slice(),
        _ => &[],
    };
    let known = word(name).map_or(&[] as &[_], |word| word.properties);
    for (column, cell) in cells {
        if matches!(column, "id" | "event" | "customer" | "time") {
            row.insert(column.to_owned(), Value::Text(cell));
            continue;
        }
        let column = column.strip_prefix("properties.").unwrap_or(column);
        let is_bool = known.iter().any(|(name, ty)| *name == column && *ty == WordType::Bool)
            || declared.iter().any(|(name, ty)| name == column && *ty == Type::Bool);
        let value = if is_bool { truth(&cell).unwrap_or(Value::Text(cell)) } else { Value::Text(cell) };
        properties.insert(column.to_owned(), value);
    }
    row.insert("properties".to_owned(), Value::Map(properties));
    row
}

fn customer_cells(cells: Vec<(&str, String)>, world: &World) -> Result<Fields, Refusal> {
    let (mut row, mut profile, mut consent, mut membership) = (Fields::new(), Fields::new(), Fields::new(), Fields::new());
    for (column, cell) in cells {
        let as_truth = |cell: String| {
            truth(&cell).ok_or_else(|| {
                Refusal::new(format!("`{column}` must be true or false")).field(column).hint("write true, false, yes, no, 1 or 0")
            })
        };
        match column.split_once('.') {
            Some(("consent", channel)) => drop(consent.insert(channel.to_owned(), as_truth(cell)?)),
            Some(("membership", "auto_renew")) => drop(membership.insert("auto_renew".to_owned(), as_truth(cell)?)),
            Some(("membership", field)) => drop(membership.insert(field.to_owned(), Value::Text(cell))),
            _ if column == "customer" => drop(row.insert(column.to_owned(), Value::Text(cell))),
            _ if column == "membership" => drop(membership.insert(column.to_owned(), Value::Text(cell))),
            _ => {
                let name = column.strip_prefix("profile.").unwrap_or(column);
                let value =
                    if world.settings.profile.get(name) == Some(&Type::Bool) { as_truth(cell)? } else { Value::Text(cell) };
                profile.insert(name.to_owned(), value);
            }
        }
    }
    for (name, part) in [("profile", profile), ("consent", consent), ("membership", membership)] {
        if !part.is_empty() {
            row.insert(name.to_owned(), Value::Map(part));
        }
    }
    Ok(row)
}

/// Yes or no as spreadsheets write it.
fn truth(cell: &str) -> Option<Value> {
    match cell.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "1" => Some(Value::Bool(true)),
        "false" | "no" | "0" => Some(Value::Bool(false)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake::{FakeStore, intake, world};
    use super::*;
    use std::io::Cursor;
    use std::sync::Arc;

    async fn import(store: &Arc<FakeStore>, text: &str, rows: Rows) -> Report {
        let mut reader = Reader::new(Cursor::new(text.as_bytes()), rows).unwrap();
        let mut report = Report::default();
        let intake = intake(store);
        loop {
            let chunk = reader.chunk(2, &world()).unwrap();
            if chunk.is_empty() {
                return report;
            }
            intake.import(chunk, &mut report).await.unwrap();
        }
    }

    #[tokio::test]
    async fn rows_fill_history_and_an_import_can_be_repeated() {
        let store = FakeStore::new();
        let text = r#"{"customer":"c1","profile":{"name":"Ada"},"consent":{"email":true},"membership":{"membership":"roastery-club","started":"2027-01-10"}}
{"event":"purchase","id":"p1","customer":"c1","time":"2026-12-01T10:00:00Z","properties":{"amount":30}}

{"event":"purchase","id":"p2","customer":"c1"}
{"customer":"c2","profile":{"shoe":1}}
{"customer":"c3"}
not json
"#;
        let report = import(&store, text, Rows::Lines).await;
        assert_eq!((report.accepted, report.refused), (2, 4));
        assert_eq!(report.listed.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 6, 7]);
        assert!(
            matches!(&store.inputs()[0].body, InputBody::Profile(change) if change.import && change.consent[0].source == "import")
        );
        assert!(matches!(&store.inputs()[1].body, InputBody::History(event) if event.minor == Some(3000)));
        let again = import(&store, text, Rows::Lines).await;
        assert_eq!((again.accepted, again.duplicates, again.refused), (0, 2, 4));
        let changed = text.replace(r#""amount":30"#, r#""amount":31"#);
        assert_eq!(import(&store, &changed, Rows::Lines).await.conflicts, 1);
    }

    #[tokio::test]
    async fn comma_separated_rows_say_the_same() {
        let store = FakeStore::new();
        let customers = "customer;name;cups;consent.email;membership;membership.started;membership.auto_renew\nc1;Ada;3;yes;roastery-club;2027-01-10;1\nc2;Bob;many;yes;;;\nc3;Cid;;perhaps;;;\n";
        let report = import(&store, customers, Rows::Csv).await;
        assert_eq!((report.accepted, report.refused), (1, 2));
        let InputBody::Profile(change) = &store.inputs()[0].body else { panic!("a profile change") };
        assert_eq!(change.profile["cups"], Value::Int(3));
        assert!(change.consent[0].granted && change.membership.as_ref().unwrap().as_ref().unwrap().auto_renew);
        let events = "event,id,customer,time,amount,order_id\npurchase,p1,c1,2026-12-01T10:00:00Z,12.50,77\n,p2,c1,2026-12-01T10:00:00Z,1,1\n";
        let report = import(&store, events, Rows::Csv).await;
        assert_eq!((report.accepted, report.refused), (1, 1));
        assert!(matches!(&store.inputs()[1].body, InputBody::History(event) if event.minor == Some(1250)));
    }
}
