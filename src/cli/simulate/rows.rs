//! Rows of files in order of time: every row is kept as it was written, with its instant, and read when it is
//! its turn. So a simulation needs about as much memory as its files have bytes.

use crate::engine::intake::customer::{self, Origin};
use crate::engine::intake::import::{self, Rows as Kind};
use crate::engine::intake::names::take_id;
use crate::engine::intake::{Refusal, World, csv, event, json};
use crate::event::InputBody;
use crate::lang::time::Time;
use crate::lang::value::Value;
use anyhow::Context;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// One row.
struct Row {
    /// When it takes place; `None` for what is known before everything else, and where it is not to be read.
    at: Option<Time>,
    /// It is known before, and starts nothing.
    past: bool,
    /// It is about a customer of this part.
    part: usize,
    file: usize,
    line: usize,
    json: Box<[u8]>,
}

/// A row that cannot be used.
pub(super) struct Bad {
    pub file: PathBuf,
    pub line: usize,
    pub refusal: Refusal,
}

/// All rows of a simulation, in their order.
#[derive(Default)]
pub(super) struct Rows {
    rows: Vec<Row>,
    files: Vec<PathBuf>,
    /// Rows that could not even be put into their order.
    bad: Vec<(usize, usize, Refusal)>,
}

/// What a row says of when and whom, read without the rest.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    accepted_at: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    customer: Option<Cow<'a, str>>,
}

impl Rows {
    /// Adds a file of events that act, or of what is known before (`past`).
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn add(&mut self, path: &Path, past: bool, parts: usize, world: &World) -> anyhow::Result<()> {
        let file = self.files.len();
        self.files.push(path.to_owned());
        let reader: Box<dyn BufRead> = match path == Path::new("-") {
            true => Box::new(BufReader::new(std::io::stdin())),
            false => Box::new(BufReader::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)),
        };
        let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        match is_csv {
            true => self.add_cells(reader, file, past, parts, world),
            false => self.add_lines(reader, file, past, parts).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn add_lines(&mut self, mut reader: Box<dyn BufRead>, file: usize, past: bool, parts: usize) -> anyhow::Result<()> {
        let mut line = 0;
        loop {
            let mut bytes = Vec::new();
            let read = reader.by_ref().take(csv::ROW_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(());
            }
            line += 1;
            if bytes.len() > csv::ROW_BYTES_MAX {
                anyhow::bail!("line {line} is longer than {} bytes; write one JSON document per line", csv::ROW_BYTES_MAX);
            }
            if !bytes.iter().all(u8::is_ascii_whitespace) {
                self.push(bytes, file, line, past, parts);
            }
        }
    }

    fn add_cells(
        &mut self,
        reader: Box<dyn BufRead>,
        file: usize,
        past: bool,
        parts: usize,
        world: &World,
    ) -> anyhow::Result<()> {
        let failed = |refusal: Refusal| anyhow::anyhow!("{}: {}", self.files[file].display(), refusal.error);
        let mut reader = import::Reader::new(reader, Kind::Csv).map_err(failed)?;
        loop {
            let failed = |refusal: Refusal| anyhow::anyhow!("{}: {}", self.files[file].display(), refusal.error);
            let chunk = reader.chunk(import::CHUNK_ROWS_MAX, world).map_err(failed)?;
            if chunk.is_empty() {
                return Ok(());
            }
            for (line, row) in chunk {
                match row {
                    Ok(row) => self.push(row.to_json().to_string().into_bytes(), file, line, past, parts),
                    Err(refusal) => self.bad.push((file, line, refusal)),
                }
            }
        }
    }

    fn push(&mut self, bytes: Vec<u8>, file: usize, line: usize, past: bool, parts: usize) {
        // What is not even that is read once more in full when it is its turn, and told with its reason.
        let head: Option<Head<'_>> = serde_json::from_slice(&bytes).ok();
        let text = head.as_ref().and_then(|head| head.accepted_at.as_ref().or(head.time.as_ref()));
        let at = if past { None } else { text.and_then(|text| Time::parse(text)) };
        let mut hasher = DefaultHasher::new();
        head.as_ref().and_then(|head| head.customer.as_ref()).hash(&mut hasher);
        let part = usize::try_from(hasher.finish() % parts as u64).unwrap_or(0);
        self.rows.push(Row { at, past, part, file, line, json: bytes.into() });
    }

    /// Puts all rows into their order.
    pub fn sort(&mut self) {
        self.rows.sort_by_key(|row| row.at);
    }

    /// The first instant at which something happens.
    pub fn first(&self) -> Option<Time> {
        self.rows.iter().find_map(|row| row.at)
    }

    /// The last one.
    pub fn last(&self) -> Option<Time> {
        self.rows.last().and_then(|row| row.at)
    }

    /// Rows that could not be read as rows.
    pub fn bad(&self) -> impl Iterator<Item = Bad> {
        self.bad.iter().map(|(file, line, refusal)| self.bad_row(*file, *line, refusal.clone()))
    }

    fn bad_row(&self, file: usize, line: usize, refusal: Refusal) -> Bad {
        Bad { file: self.files[file].clone(), line, refusal }
    }

    /// Reads the rows of one part in their order. `known_from` is when what is known before is known. An event
    /// that is there twice counts once; how many were is returned.
    pub fn read(
        &self,
        part: usize,
        world: &World,
        known_from: Time,
        mut take: impl FnMut(&str, Time, InputBody),
    ) -> (u64, Vec<Bad>) {
        let (mut seen, mut doubles, mut bad) = (HashSet::new(), 0, Vec::new());
        for row in self.rows.iter().filter(|row| row.part == part) {
            match read(row, world, known_from) {
                Ok((customer, at, body, id)) => {
                    let mut hasher = DefaultHasher::new();
                    (row.past, &customer, id).hash(&mut hasher);
                    if seen.insert(hasher.finish()) {
                        take(&customer, at, body);
                    } else {
                        doubles += 1;
                    }
                }
                Err(refusal) => bad.push(self.bad_row(row.file, row.line, refusal)),
            }
        }
        (doubles, bad)
    }
}

/// An input: whose, when, what, and the id of its row.
type Given = (String, Time, InputBody, String);

fn read(row: &Row, world: &World, known_from: Time) -> Result<Given, Refusal> {
    let value = json::read(&row.json)?;
    if row.past {
        let input = import::read_row(value, world, known_from)?;
        return Ok((input.customer, known_from, input.body, input.id.unwrap_or_default()));
    }
    let is_event = value.get("event").is_some();
    let mut fields = json::into_map(value)?;
    fields.remove("accepted_at");
    let Some(at) = row.at else {
        let missing = Refusal::new("`time` is missing, or is no time").field("time");
        return Err(missing.hint("write for example 2027-02-14T09:00:00Z; what is known before comes with --history"));
    };
    if is_event {
        let sent = event::read(Value::Map(fields), &world.settings, at)?;
        let id = sent.event.id.clone();
        return Ok((sent.customer, at, InputBody::Event(sent.event), id));
    }
    fields.remove("time");
    let customer = take_id(&mut fields, "customer", "customer's id", "say whose row it is")?;
    let change = customer::read(fields, world, at, Origin::Api)?;
    Ok((customer, at, InputBody::Profile(change), format!("row {}:{}", row.file, row.line)))
}
