//! A YAML document as a tree whose every node knows its place.
//!
//! Read from the event stream of `saphyr-parser`, strictly: one document, no anchors, aliases, tags or
//! merge keys, no doubled keys, bounded in bytes, depth and nodes. Scalars keep their text and whether
//! they were quoted; what they mean is decided by [`super::shape`], so that `NO`, `012` and `1e3` are
//! never silently something else.

mod build;
mod guard;
pub(super) mod scalar;
mod syntax;
#[cfg(test)]
mod tests;

use super::diag::{Faults, Place};

/// Largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1024 * 1024;
/// Deepest nesting.
pub const DEPTH_MAX: usize = 40;
/// Most nodes (keys counted too) in one file; of dense bracketed data fewer, see `guard`.
pub const NODES_MAX: usize = 25_000;

/// A node with its place.
///
/// The place of a quoted scalar is what stands between the quotes, that of a block text (`|`, `>`) its first
/// line; so a position in the text is a position in the file, as long as it has one line and no escapes. A
/// list or map begins where its first item begins and is one character long. A value left out (`key:`) has
/// the place of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Where it begins.
    pub place: Place,
    /// What it is.
    pub kind: NodeKind,
}

/// The kinds of node.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeKind {
    /// A scalar with its text; `plain` when it was not quoted (and not a block text).
    Scalar {
        /// The text.
        text: String,
        /// Not quoted.
        plain: bool,
    },
    /// A list.
    List(Vec<Node>),
    /// Named values, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key of a map.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// Its text.
    pub text: String,
    /// Its place.
    pub place: Place,
}

/// Reads one document. Faults found are reported; `None` when nothing usable was read.
///
/// Answers any text in bounded time and memory: the text is measured before the parser sees it (see
/// `guard`), and reading stops at the first limit that is passed.
pub fn parse(file: &str, text: &str, faults: &mut Faults) -> Option<Node> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = std::sync::Arc::from(file);
    match guard::measure(text) {
        Ok(lines) => build::read(&file, lines, faults),
        Err(refusal) => {
            refusal.report(&file, faults);
            None
        }
    }
}

impl Node {
    /// The scalar's text.
    pub fn scalar(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Whether this is nothing: an empty plain scalar, `~`, `null`, `Null` or `NULL`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, NodeKind::Scalar { text, plain: true } if scalar::is_null(text))
    }

    /// The items of a list.
    pub fn list(&self) -> Option<&[Node]> {
        match &self.kind {
            NodeKind::List(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a map.
    pub fn map(&self) -> Option<&[(Key, Node)]> {
        match &self.kind {
            NodeKind::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.map()?.iter().find(|(k, _)| k.text == key).map(|(_, node)| node)
    }

    /// What this is, as messages name it: `text`, `a number`, `true/false`, `a list`, `a map`, `nothing`.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            NodeKind::Scalar { plain: false, .. } => "text",
            NodeKind::Scalar { text, .. } => match scalar::form(text) {
                scalar::Form::Null => "nothing",
                scalar::Form::Bool(_) => "true/false",
                scalar::Form::Number | scalar::Form::OddNumber => "a number",
                scalar::Form::Text => "text",
            },
            NodeKind::List(_) => "a list",
            NodeKind::Map(_) => "a map",
        }
    }
}
