//! What one commit tells the read side, where that is a file of its own: an entry of its shard's stream.
//!
//! A store that is not one SQLite file appends such an entry in the very step that commits, so there is
//! one for every commit and none without. Whoever follows the streams takes entries in their order and
//! keeps its position beside what it has taken: an entry counts once, however often it is delivered.

use super::read::KeptMessage;
use super::{CustomerRow, RunRow};
use crate::customer::codec::{CodecError, decode, encode};
use crate::fact::Fact;
use crate::fact::count::Terms;
use crate::lang::time::Time;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What one commit tells the read side.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// Whose commit.
    pub customer: String,
    /// The commit's instant on the store's clock.
    pub at: Time,
    /// What happened.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// In which terms they are counted.
    #[serde(default, skip_serializing_if = "Terms::is_default")]
    pub terms: Terms,
    /// Runs that began, changed or ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunRow>,
    /// Her line of the list of customers, when it changed or she is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<CustomerRow>,
    /// She was erased: everything of hers goes, and the rest of the entry with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// A message kept by the development inbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<KeptMessage>,
}

impl Told {
    /// As it stands in the stream.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads what [`Told::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are damaged or of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Told, CodecError> {
        decode(bytes)
    }
}

/// A position in one shard's stream, as Redis numbers entries: `ms-seq`, compared as numbers. The first
/// entry is after `0-0`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Place {
    /// Milliseconds since 1970, by the clock of the stream's server.
    pub ms: u64,
    /// Number within the millisecond.
    pub seq: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// A text is no position in a stream.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no position in a stream; one is two numbers, as `1803891600000-0`")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Place, NoPlace> {
        let read = |(ms, seq): (&str, &str)| Some(Place { ms: ms.parse().ok()?, seq: seq.parse().ok()? });
        text.split_once('-').and_then(read).ok_or_else(|| NoPlace(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::What;

    #[test]
    fn what_is_told_comes_back_as_it_went_in() {
        let fact = Fact {
            at: Time(5),
            what: What::Granted,
            about: "gift".to_owned(),
            run: None,
            why: "because".to_owned(),
            seen: vec![],
            amount: Some(7),
        };
        let run = RunRow {
            customer: "anna".to_owned(),
            run: 3,
            funnel: "f".to_owned(),
            version: "v".to_owned(),
            state: "held".to_owned(),
            step: "s".to_owned(),
            entered: Time(1),
            until: None,
        };
        let full = Told {
            customer: "anna".to_owned(),
            at: Time(9),
            facts: vec![fact],
            terms: "Europe/Berlin EUR 0.01".parse().unwrap(),
            runs: vec![run],
            index: Some(CustomerRow { id: "anna".to_owned(), ..CustomerRow::default() }),
            erased: true,
            message: None,
        };
        let bare = Told { customer: "anna".to_owned(), ..Told::default() };
        for told in [full, bare.clone()] {
            assert_eq!(Told::decode(&told.encode()).unwrap(), told);
        }
        assert!(bare.encode().len() < 32, "what is not there takes no room");
        assert!(Told::decode(&[]).is_err() && Told::decode(&[1, 0xc1]).is_err());
    }

    #[test]
    fn places_are_compared_as_numbers() {
        let place = |text: &str| text.parse::<Place>().unwrap();
        assert!(place("9-10") < place("10-2") && place("10-2") < place("10-11"));
        assert_eq!(place("1803891600000-18446744073709551615").to_string(), "1803891600000-18446744073709551615");
        for wrong in ["", "5", "5-", "-5", "5-x", "5-1-2", "*"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
    }
}
