//! Statistics out of a file, with or without an engine that runs on it.

use super::store::Place;
use crate::engine::clock::Clock;
use crate::stats::{Report, Typed, Wrong, report};
use crate::store::read::ReadSide;
use crate::store::sqlite::Beside;
use anyhow::anyhow;

/// Answers a question from the file that holds the read side.
///
/// # Errors
/// When there is no such file, it cannot be read, or the question is none.
pub async fn read(place: &Place, typed: &Typed) -> anyhow::Result<Report> {
    let path = match place {
        Place::File(path) => path,
        Place::Redis(remote) => &remote.report,
    };
    let file = Beside::open(path)?;
    let today = Clock::system().now().date(file.terms().await?.zone);
    let question = typed.question(today).map_err(said)?;
    let counted = file.stats(question.asked()).await?;
    report(question, &counted, &[]).map_err(said)
}

fn said(wrong: Wrong) -> anyhow::Error {
    match wrong.hint {
        Some(hint) => anyhow!("{}; {hint}", wrong.said),
        None => anyhow!(wrong.said),
    }
}
