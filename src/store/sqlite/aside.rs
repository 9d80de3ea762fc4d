//! Inputs put aside: onto the list of what a person has to look at, and back.
//!
//! The list shows an input as JSON, and that is all that is kept of it: what goes back is made from it.

use super::super::{Fate, StoreError};
use super::call::{Call, Done, Fail, Phase, let_be};
use super::change::Change;
use super::inbox::Letter;
use super::recover::POINTS;
use super::writer::Core;
use crate::customer::codec::decode;
use crate::event::{Input, InputBody};
use crate::lang::time::Time;
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Puts an input aside at once, because it cannot be read; its customer stays claimed.
pub const PUT_ASIDE: Call<(String, u64, String), ()> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (customer, seq, cause)| core.put_aside(&Arc::from(customer.as_str()), *seq, cause),
    lost: let_be,
};

/// [`super::Store::unquarantine`].
pub const UNQUARANTINE: Call<(String, u64, Fate), bool> = Call {
    phase: Phase::Write,
    points: POINTS,
    run: |core, (customer, seq, fate)| core.unquarantine(customer, *seq, *fate),
    lost: let_be,
};

/// What stands in place of an input when a turn failed that had none.
pub const HER_WAKE: &str = "\"her wake\"";

/// Bytes that no engine so far could read.
#[derive(Serialize, Deserialize)]
struct Unreadable {
    /// In hexadecimal.
    unreadable: String,
}

impl Core<'_> {
    /// Moves an input from the inbox to the list of what a person has to look at.
    pub fn put_aside(&mut self, customer: &Arc<str>, seq: u64, cause: &str) -> Done<()> {
        let found: Option<(i64, Vec<u8>)> = self
            .db
            .prepare_cached("DELETE FROM inbox WHERE seq = ?1 RETURNING at, body")?
            .query_row([seq as i64], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((at, body)) = found else { return Ok(()) };
        self.list(seq as i64, customer, cause, &readable(at, &body))?;
        self.batch.aside.insert(seq);
        self.batch.changes.push(Change::PutAside { customer: customer.clone(), seq });
        Ok(())
    }

    /// Writes a line of the list.
    pub fn list(&mut self, seq: i64, customer: &str, cause: &str, input: &str) -> Done<()> {
        self.db.prepare_cached("INSERT INTO quarantine VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
            seq,
            customer,
            self.batch.now.0,
            cause,
            input
        ])?;
        Ok(())
    }

    /// Takes a line off the list; an input that is to be tried again becomes its customer's newest. What has
    /// no input (a wake that fails goes on by itself) only leaves the list.
    fn unquarantine(&mut self, customer: &str, seq: u64, fate: Fate) -> Done<bool> {
        let found: Option<String> = self
            .db
            .prepare_cached("DELETE FROM quarantine WHERE seq = ?1 AND customer = ?2 RETURNING input")?
            .query_row(params![seq as i64, customer], |row| row.get(0))
            .optional()?;
        let Some(input) = found else { return Ok(false) };
        if fate == Fate::Retry && input != HER_WAKE {
            let Some(letter) = letter(customer, &input) else {
                let said = format!("input {seq} of the list of what was put aside is damaged; it can only be dropped");
                return Err(Fail::Refused(StoreError::Unavailable(said)));
            };
            self.receive(&letter)?;
        }
        Ok(true)
    }
}

/// An input of the list on its way back to the inbox. Its second acceptance is not a second delivery.
fn letter(customer: &str, input: &str) -> Option<Letter> {
    if let Ok(input) = serde_json::from_str::<Input>(input) {
        return Some(Letter::again(customer, &input.body));
    }
    let bytes: Unreadable = serde_json::from_str(input).ok()?;
    let digits = bytes.unreadable.as_bytes().chunks(2);
    let byte = |two: &[u8]| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok();
    Some(Letter::raw(customer, digits.map(byte).collect::<Option<Vec<u8>>>()?))
}

/// An input as JSON; one that cannot be read as its bytes in hexadecimal.
fn readable(at: i64, body: &[u8]) -> String {
    let input = decode::<InputBody>(body).ok().map(|body| Input { accepted_at: Time(at), body });
    match input.and_then(|input| serde_json::to_string(&input).ok()) {
        Some(json) => json,
        None => {
            let unreadable: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{{\"unreadable\":\"{unreadable}\"}}")
        }
    }
}
