//! `reference`: the whole language in one document, made of the registries by which files are read.
//!
//! Sentences, keys, forms and limits stand with the kinds themselves; only the order and the headings are written here.
//! The examples are a workspace of their own ([`workspace`]), which is checked and tested like any other.

use super::Done;
use super::Status;
use super::term::Term;
use crate::lang::shape::Field;
use clap::Args;
use std::fmt::Write;

mod limits;
mod names;
mod parts;
mod table;
mod workspace;

const EXAMPLES: &str = "\
Examples:
  autofunnel reference                  the whole language, as Markdown
  autofunnel reference wait_for         only what is said under that heading
  autofunnel reference > reference.md";

/// Print the reference of the language
///
/// Every trigger, step, rule and setting with its keys, their forms and limits, and an example that was checked.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Reference {
    /// Only this: a trigger, a step, or a file such as `catalog.yaml`
    what: Option<String>,
}

impl Reference {
    pub fn run(self, term: &Term) -> Done {
        let whole = text();
        let Some(what) = &self.what else {
            term.print(&whole)?;
            return Ok(Status::Good);
        };
        let wanted = format!("`{what}`");
        let sections = sections(&whole);
        let found: Vec<&str> =
            sections.iter().filter(|(head, _)| *head == wanted || *head == what).map(|(_, text)| *text).collect();
        if found.is_empty() {
            let names = sections.iter().map(|(head, _)| head.trim_matches('`'));
            let meant = crate::lang::diag::closest(what, names.clone());
            match meant {
                Some(meant) => anyhow::bail!("the reference has no `{what}`; did you mean `{meant}`?"),
                None => anyhow::bail!("the reference has no `{what}`; it has: {}", names.collect::<Vec<_>>().join(", ")),
            }
        }
        term.print(&found.join("\n"))?;
        Ok(Status::Good)
    }
}

/// The sections of a document with their headings, each without those below it of the same rank or a higher one.
fn sections(text: &str) -> Vec<(&str, &str)> {
    let mut starts = Vec::new();
    let (mut at, mut code) = (0, false);
    for line in text.split_inclusive('\n') {
        code ^= line.starts_with("```");
        let rank = line.bytes().take_while(|byte| *byte == b'#').count();
        if rank > 1 && !code {
            starts.push((at, rank, line[rank..].trim()));
        }
        at += line.len();
    }
    let end = |index: usize, rank: usize| {
        starts[index + 1..].iter().find(|(_, below, _)| *below <= rank).map_or(text.len(), |(at, ..)| *at)
    };
    starts.iter().enumerate().map(|(index, (at, rank, head))| (*head, &text[*at..end(index, *rank)])).collect()
}

/// The whole document.
fn text() -> String {
    let mut out = String::from(
        "# The language\n\n\
         `autofunnel reference` prints this page from the tables by which files are read. Every example on it is checked.\n\n\
         A *span* is written `30m`, `72h` (elapsed time), `3 days`, `2 weeks`, `1 month`, `1 year` (by the calendar of the \
         customer's time zone). A *time of day* stands in quotes: `\"09:00\"`. Money is in the workspace's currency. \
         Where nothing else is said, a key may be left out.\n",
    );
    parts::files(&mut out);
    parts::funnel(&mut out);
    parts::triggers(&mut out);
    parts::steps(&mut out);
    names::conditions(&mut out);
    names::names(&mut out);
    names::events(&mut out);
    parts::other_files(&mut out);
    parts::outside(&mut out);
    parts::tests(&mut out);
    limits::limits(&mut out);
    out
}

/// A heading of a rank.
fn heading(out: &mut String, rank: usize, text: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\n{} {text}\n\n", "#".repeat(rank));
}

/// A sentence that begins with a capital letter and ends with a full stop.
fn sentence(doc: &str) -> String {
    let mut chars = doc.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// YAML as a block.
fn yaml(out: &mut String, text: &str) {
    let _ = write!(out, "```yaml\n{}\n```\n", text.trim_end());
}

/// Tables of fields as one table.
fn fields(out: &mut String, tables: &[&'static [Field]]) {
    out.push('\n');
    out.push_str(&table::fields(tables));
}

#[cfg(test)]
mod tests;
