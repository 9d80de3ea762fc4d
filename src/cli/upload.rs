//! Rows of a file, sent to the engine in batches.
//!
//! Sending the same rows again does no harm (every row has an id), so a batch that got no answer is simply sent
//! again, and so is a whole file after an interruption.

use super::remote::{Answer, Api, text};
use super::term::{Term, count};
use super::{Done, Status};
use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

/// Most rows of one batch.
const BATCH_ROWS_MAX: usize = 500;
/// Most bytes of one batch, unless one row alone is larger. The engine takes 1 MiB.
const BATCH_BYTES_MAX: usize = 900 * 1024;
/// Longest row, in bytes; nothing that long is ever accepted.
const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Largest file of one JSON list, in bytes; larger ones have one event per line.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Rows that were not accepted and are listed; more are counted.
const LISTED_MAX: usize = 1_000;
/// Attempts to send a batch.
const ATTEMPTS_MAX: u32 = 5;
/// Pause before the second attempt; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(500);

/// The mark with which some programs begin UTF-8 files.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The form of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// One JSON document per line, or one list of them.
    Json,
    /// Comma-separated rows below the names of the columns.
    Csv,
}

/// Some rows, as they are sent.
#[derive(Default)]
struct Batch {
    body: Vec<u8>,
    /// Lines in `body` so far.
    lines: usize,
    /// Where a row begins in the body, and where in the file.
    rows: Vec<(usize, usize)>,
}

impl Batch {
    fn add(&mut self, row: &[u8], line: usize) {
        self.rows.push((self.lines + 1, line));
        self.body.extend_from_slice(row);
        if !row.ends_with(b"\n") {
            self.body.push(b'\n');
        }
        self.lines += row.iter().filter(|byte| **byte == b'\n').count().max(1);
    }

    fn is_full(&self, next_bytes: usize) -> bool {
        !self.rows.is_empty() && (self.rows.len() >= BATCH_ROWS_MAX || self.body.len() + next_bytes > BATCH_BYTES_MAX)
    }

    /// The line of the file for a line of the body.
    fn line(&self, of_body: u64) -> usize {
        let at = self.rows.partition_point(|(line, _)| *line as u64 <= of_body);
        at.checked_sub(1).and_then(|at| self.rows.get(at)).map_or(0, |(_, line)| *line)
    }
}

/// What became of the rows.
#[derive(Default)]
struct Tally {
    accepted: u64,
    duplicates: u64,
    conflicts: u64,
    refused: u64,
    items: Vec<Json>,
}

/// An event without its time; what is none is left to the engine to refuse.
fn untimed(row: Vec<u8>) -> Vec<u8> {
    match serde_json::from_slice(&row) {
        Ok(Json::Object(mut event)) => {
            event.remove("time");
            Json::Object(event).to_string().into_bytes()
        }
        _ => row,
    }
}

/// A file that is being sent.
pub(super) struct Upload<'a> {
    pub api: &'a Api,
    pub term: &'a Term,
    /// The route.
    pub path: &'static str,
    pub form: Form,
    pub json: bool,
    /// Rows without their `time`: they happen when they arrive.
    pub untimed: bool,
}

impl Upload<'_> {
    /// Sends a file, or standard input for `-`.
    ///
    /// # Errors
    /// When the file cannot be read, or the engine does not take a batch.
    pub async fn run(&self, file: &Path) -> Done {
        let (mut reader, bytes) = open(file)?;
        if self.form == Form::Json && is_list(&mut reader)? {
            let shown = file.display();
            bail!(
                "{shown} is a JSON list over several lines, and rows stand on lines of their own; `jq -c '.[]' FILE` writes them so"
            );
        }
        let bar = if std::io::stderr().is_terminal() && !self.json { bar(bytes) } else { ProgressBar::hidden() };
        let mut tally = Tally::default();
        let mut rows = Rows::new(reader, self.form)?;
        let mut batch = self.begin(&rows);
        while let Some((line, row)) = rows.next_row()? {
            let row = if self.untimed { untimed(row) } else { row };
            if batch.is_full(row.len()) {
                self.send(&batch, &mut tally, &bar).await?;
                batch = self.begin(&rows);
            }
            bar.set_position(rows.bytes);
            batch.add(&row, line);
        }
        if !batch.rows.is_empty() {
            self.send(&batch, &mut tally, &bar).await?;
        }
        bar.finish_and_clear();
        self.tell(&tally)
    }

    /// A batch that begins with the names of the columns, where there are any.
    fn begin(&self, rows: &Rows) -> Batch {
        let mut batch = Batch::default();
        if let Some(header) = &rows.header {
            batch.add(header, 1);
            batch.rows.clear();
        }
        batch
    }

    async fn send(&self, batch: &Batch, tally: &mut Tally, bar: &ProgressBar) -> anyhow::Result<()> {
        let kind = if self.form == Form::Csv { "text/csv" } else { "application/x-ndjson" };
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS_MAX {
            let answer = self.api.post(self.path, kind, batch.body.clone().into()).await;
            match answer {
                Ok(answer) if answer.status == 503 && attempt < ATTEMPTS_MAX => {}
                Ok(answer) => return self.count(batch, answer, tally, bar),
                Err(error) if attempt == ATTEMPTS_MAX => {
                    let (done, line) = (tally.accepted + tally.duplicates, batch.rows.first().map_or(0, |(_, line)| *line));
                    return Err(error.context(format!(
                        "stopped before line {line}, with {done} rows in; run the same command again, rows that are in count once"
                    )));
                }
                Err(_) => {}
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Ok(())
    }

    fn count(&self, batch: &Batch, answer: Answer, tally: &mut Tally, bar: &ProgressBar) -> anyhow::Result<()> {
        let Answer { status, body } = answer;
        let number = |name: &str| body.get(name).and_then(Json::as_u64);
        if let Some(accepted) = number("accepted") {
            tally.accepted += accepted;
            tally.duplicates += number("duplicates").unwrap_or(0);
            tally.conflicts += number("conflicts").unwrap_or(0);
            tally.refused += number("refused").unwrap_or(0);
            for item in body.get("items").and_then(Json::as_array).into_iter().flatten() {
                let line = batch.line(item.get("line").and_then(Json::as_u64).unwrap_or(0));
                self.list(item, line, tally, bar);
            }
            return Ok(());
        }
        // One row alone is answered like one event.
        let line = batch.rows.first().map_or(0, |(_, line)| *line);
        let alone = batch.rows.len() == 1;
        match (status, text(&body, "status")) {
            (_, "accepted") => tally.accepted += 1,
            (_, "duplicate") => tally.duplicates += 1,
            (409, _) if alone => {
                tally.conflicts += 1;
                self.list(&body, line, tally, bar);
            }
            (400 | 413, _) if alone => {
                tally.refused += 1;
                self.list(&body, line, tally, bar);
            }
            _ => {
                Answer { status, body }.good().with_context(|| format!("the rows from line {line} on were not taken"))?;
                bail!("the engine's answer to the rows from line {line} on is not known to this version");
            }
        }
        Ok(())
    }

    fn list(&self, item: &Json, line: usize, tally: &mut Tally, bar: &ProgressBar) {
        if text(item, "status") == "duplicate" {
            return;
        }
        if !self.json && tally.items.len() < LISTED_MAX {
            let hint = text(item, "hint");
            let hint = if hint.is_empty() { String::new() } else { format!(" ({hint})") };
            bar.suspend(|| self.term.say(&super::term::plain(&format!("line {line}: {}{hint}", text(item, "error")))));
        }
        if tally.items.len() < LISTED_MAX {
            let mut item = item.clone();
            item["line"] = line.into();
            tally.items.push(item);
        }
    }

    fn tell(&self, tally: &Tally) -> Done {
        let Tally { accepted, duplicates, conflicts, refused, items } = tally;
        if self.json {
            let all = json!({ "accepted": accepted, "duplicates": duplicates, "conflicts": conflicts, "refused": refused, "items": items });
            self.term.line(&all.to_string())?;
        } else {
            let duplicates = count(usize::try_from(*duplicates).unwrap_or(usize::MAX), "duplicate");
            let conflicts = count(usize::try_from(*conflicts).unwrap_or(usize::MAX), "conflict");
            self.term.line(&format!("{accepted} accepted, {duplicates}, {conflicts}, {refused} refused"))?;
        }
        Ok(if *refused > 0 { Status::Failed } else { Status::Good })
    }
}

type Source = Box<dyn BufRead>;

fn open(file: &Path) -> anyhow::Result<(Source, Option<u64>)> {
    if file == Path::new("-") {
        return Ok((Box::new(BufReader::new(std::io::stdin())), None));
    }
    let opened = std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let bytes = opened.metadata().ok().filter(|data| data.is_file()).map(|data| data.len());
    Ok((Box::new(BufReader::new(opened)), bytes))
}

/// Whether the file is one list over several lines: rows stand on lines of their own, and a list on one line is one row.
fn is_list(reader: &mut Source) -> anyhow::Result<bool> {
    let begin = reader.fill_buf().context("the file cannot be read")?.trim_ascii_start();
    let first = begin.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii_end();
    Ok(first.starts_with(b"[") && !first.ends_with(b"]") && first.len() < begin.trim_ascii_end().len())
}

fn bar(bytes: Option<u64>) -> ProgressBar {
    let Some(bytes) = bytes else { return ProgressBar::new_spinner() };
    let bar = ProgressBar::new(bytes);
    // The template is a constant that a test draws; without it the bar has its usual form.
    match ProgressStyle::with_template(TEMPLATE) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

const TEMPLATE: &str = "{bar:40} {bytes}/{total_bytes} {eta}";

/// The rows of a file, each with its line from 1.
struct Rows {
    reader: Source,
    line: usize,
    /// Bytes read so far.
    bytes: u64,
    /// The names of the columns.
    header: Option<Vec<u8>>,
    /// The rows of a JSON list.
    list: Option<std::vec::IntoIter<Json>>,
    form: Form,
}

impl Rows {
    fn new(mut reader: Source, form: Form) -> anyhow::Result<Rows> {
        let list =
            if form == Form::Json && begins_with_list(&mut reader)? { Some(read_list(&mut reader)?.into_iter()) } else { None };
        let mut rows = Rows { reader, line: 0, bytes: 0, header: None, list, form };
        if form == Form::Csv {
            rows.header = rows.record()?.map(|(_, row)| row);
        }
        Ok(rows)
    }

    fn next_row(&mut self) -> anyhow::Result<Option<(usize, Vec<u8>)>> {
        if let Some(list) = &mut self.list {
            self.line += 1;
            return Ok(list.next().map(|item| (self.line, item.to_string().into_bytes())));
        }
        while let Some((line, row)) = self.record()? {
            if !row.iter().all(u8::is_ascii_whitespace) {
                return Ok(Some((line, row)));
            }
        }
        Ok(None)
    }

    /// A line; of comma-separated rows as many lines as its quotes span.
    fn record(&mut self) -> anyhow::Result<Option<(usize, Vec<u8>)>> {
        let begin = self.line + 1;
        let mut row = Vec::new();
        loop {
            let room = (ROW_BYTES_MAX + 1).saturating_sub(row.len()) as u64;
            let read = (&mut self.reader).take(room).read_until(b'\n', &mut row).context("cannot read the file")?;
            self.bytes += read as u64;
            if row.len() > ROW_BYTES_MAX {
                bail!("line {begin} is longer than {} MiB; is this the right file?", ROW_BYTES_MAX >> 20);
            }
            if self.line == 0 && row.starts_with(BOM) {
                row.drain(..BOM.len());
            }
            self.line += 1;
            let open = self.form == Form::Csv && row.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            if read == 0 || !open {
                return Ok((!row.is_empty()).then_some((begin, row)));
            }
        }
    }
}

/// Whether the first thing in the file is `[`. Blanks before it are left out.
fn begins_with_list(reader: &mut Source) -> anyhow::Result<bool> {
    let first = reader.fill_buf().context("cannot read the file")?;
    let first = first.strip_prefix(BOM).unwrap_or(first);
    Ok(first.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'['))
}

fn read_list(reader: &mut Source) -> anyhow::Result<Vec<Json>> {
    let mut text = Vec::new();
    reader.take(LIST_BYTES_MAX + 1).read_to_end(&mut text).context("cannot read the file")?;
    if text.len() as u64 > LIST_BYTES_MAX {
        bail!("a list of more than {} MiB is too large to be read at once; write one event per line", LIST_BYTES_MAX >> 20);
    }
    let text = text.strip_prefix(BOM).unwrap_or(&text);
    serde_json::from_slice(text).context("the file begins like a JSON list and is none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &'static str, form: Form) -> Vec<(usize, String)> {
        let mut rows = Rows::new(Box::new(text.as_bytes()), form).unwrap();
        let mut out = Vec::new();
        while let Some((line, row)) = rows.next_row().unwrap() {
            out.push((line, String::from_utf8(row).unwrap().trim_end().to_owned()));
        }
        out
    }

    #[test]
    fn rows_know_their_lines() {
        assert_eq!(rows("\u{feff}{}\n\n{\"a\":1}", Form::Json), [(1, "{}".to_owned()), (3, "{\"a\":1}".to_owned())]);
        assert_eq!(rows(" [ {\"a\": 1.10}, {} ]", Form::Json), [(1, "{\"a\":1.10}".to_owned()), (2, "{}".to_owned())]);
        let csv = "id,name\n1,\"a\nb\"\n2,c\n";
        assert_eq!(rows(csv, Form::Csv), [(2, "1,\"a\nb\"".to_owned()), (4, "2,c".to_owned())]);
    }

    #[test]
    fn a_line_of_an_answer_is_found_in_the_file() {
        let mut batch = Batch::default();
        batch.add(b"id,name\n", 1);
        batch.rows.clear();
        batch.add(b"1,\"a\nb\"\n", 502);
        batch.add(b"2,c", 504);
        assert_eq!((batch.line(2), batch.line(4), batch.lines), (502, 504, 4));
    }

    #[test]
    fn the_bar_can_be_drawn() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
    }
}
