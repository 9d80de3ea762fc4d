//! What lists and searches know of a customer: written when it changes, which is seldom.

use super::super::CustomerRow;
use super::super::read::LIST_MARK;
use super::call::Done;
use super::commit::segments_text;
use super::figure::SEGMENT_TALLY;
use super::writer::Core;
use crate::fact::count::Key;
use rusqlite::{OptionalExtension, params};

/// Longest part of a word that is searched, in characters.
const WORD_CHARS_MAX: usize = 64;

impl Core<'_> {
    /// Her line as it is kept; `None` when she is gone.
    pub fn line(&self, num: i64) -> Done<Option<CustomerRow>> {
        let line = self
            .db
            .prepare_cached("SELECT id, name, email, phone, segments FROM customer WHERE num = ?1")?
            .query_row([num], customer_row)
            .optional()?;
        Ok(line)
    }

    /// Writes her line anew, with what it changes in the word list and the segments.
    pub fn show_again(&mut self, id: &str, num: i64, shown: i64, new: &CustomerRow) -> Done<()> {
        let old = self.line(num)?.unwrap_or_default();
        self.db
            .prepare_cached("UPDATE customer SET shown = ?2, name = ?3, email = ?4, phone = ?5, segments = ?6 WHERE num = ?1")?
            .execute(params![num, shown, new.name, new.email, new.phone, segments_text(&new.segments)])?;
        self.show(id, num, &old, new)
    }

    /// Moves the word list and the segments from one line to another.
    pub fn show(&mut self, id: &str, num: i64, old: &CustomerRow, new: &CustomerRow) -> Done<()> {
        let (words, wanted) = (words(old), words(new));
        for word in words.iter().filter(|word| !wanted.contains(word)) {
            self.db.prepare_cached("DELETE FROM word WHERE text = ?1 AND customer = ?2")?.execute(params![word, id])?;
        }
        for word in wanted.iter().filter(|word| !words.contains(word)) {
            self.db.prepare_cached("INSERT INTO word VALUES (?1, ?2) ON CONFLICT DO NOTHING")?.execute(params![word, id])?;
        }
        for segment in old.segments.iter().filter(|name| !new.segments.contains(name)) {
            let gone = self
                .db
                .prepare_cached("DELETE FROM member WHERE segment = ?1 AND customer = ?2")?
                .execute(params![segment, num])?;
            self.resize(segment, -(gone as i64));
        }
        for segment in new.segments.iter().filter(|name| !old.segments.contains(name)) {
            let came = self
                .db
                .prepare_cached("INSERT INTO member VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![segment, num])?;
            self.resize(segment, came as i64);
        }
        Ok(())
    }

    /// A segment is larger by so many, now and from this day on.
    fn resize(&mut self, segment: &str, by: i64) {
        self.batch.tally(format!("{SEGMENT_TALLY}{segment}"), by);
        if by != 0 && !segment.starts_with(LIST_MARK) {
            let day = self.terms.day(self.batch.at);
            self.batch.add(&Key::size(day, segment), (by, 0));
        }
    }
}

/// What she is found by besides her id, without difference of upper and lower case.
fn words(row: &CustomerRow) -> Vec<String> {
    let texts = [&row.name, &row.email, &row.phone];
    let mut words: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).map(|text| fold(text)).collect();
    words.dedup();
    words
}

/// A text as it is searched.
pub fn fold(text: &str) -> String {
    text.to_lowercase().chars().take(WORD_CHARS_MAX).collect()
}

/// A row of `id, name, email, phone, segments`.
pub fn customer_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<CustomerRow> {
    let segments: String = row.get(4)?;
    Ok(CustomerRow {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        phone: row.get(3)?,
        segments: segments.lines().map(str::to_owned).collect(),
    })
}
