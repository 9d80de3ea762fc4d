//! Why something was refused at a door: one sentence, what to do next, and which field it was.

use crate::lang::diag::{bounded, closest};
use crate::store::StoreError;

/// One sentence for the sender, with what to do next. What it quotes of an endless value is cut.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// What is wrong, without a full stop.
    pub error: String,
    /// What to do next.
    pub hint: Option<String>,
    /// Path of the field: `properties.amount`.
    pub field: Option<String>,
}

impl Refusal {
    /// A refusal with its sentence.
    pub fn new(error: impl Into<String>) -> Refusal {
        Refusal { error: bounded(error.into()), hint: None, field: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Refusal {
        self.hint = Some(bounded(hint.into()));
        self
    }

    /// Names the field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Refusal {
        self.field = Some(bounded(field.into()));
        self
    }

    /// Adds "did you mean" when one of `known` is close to `typed`, else the list of what there is.
    #[must_use]
    pub fn did_you_mean<'a>(self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> Refusal {
        let known: Vec<&str> = known.into_iter().collect();
        match closest(typed, known.iter().copied()) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None if known.is_empty() => self,
            None => self.hint(format!("there is: {}", known.iter().take(30).copied().collect::<Vec<_>>().join(", "))),
        }
    }
}

/// Why an intake did not take something in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum IntakeError {
    /// It was wrong.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It names something that is not there.
    #[error("{0}")]
    NoSuch(Refusal),
    /// A webhook does not prove where it comes from. The reason is for the log, not for the sender.
    #[error("not verified: {0}")]
    Unverified(String),
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
