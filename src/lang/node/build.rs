//! Builds the tree from the parser's events, without recursion.

use super::super::diag::{Faults, Place};
use super::guard::Lines;
use super::syntax;
use super::{DEPTH_MAX, Key, NODES_MAX, Node, NodeKind};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Faults in one file after which reading it stops.
const FILE_FAULTS_MAX: usize = 50;

/// Reads one document.
pub(super) fn read(file: &Arc<str>, lines: Lines<'_>, faults: &mut Faults) -> Option<Node> {
    let mut parser = Parser::new_from_str(lines.text);
    let mut builder = Builder { file, lines: &lines, faults, stack: Vec::new(), root: None, nodes: 0, found: 0, usable: true };
    while let Some(event) = parser.next_event() {
        match event {
            Ok((Event::StreamEnd, _)) => break,
            Ok((event, span)) => builder.event(event, span)?,
            Err(error) => {
                // A fault in the same line has explained it already.
                let explained = builder.found > 0
                    && builder.faults.list().last().is_some_and(|fault| fault.place.line as usize == error.marker().line());
                if !explained {
                    syntax::report(file, &lines, &error, builder.faults);
                }
                return None;
            }
        }
    }
    builder.finish()
}

/// A list or map that is still open.
enum Frame {
    List(Place, Vec<Node>),
    Map { place: Place, entries: Vec<(Key, Node)>, lines: BTreeMap<String, u32>, slot: Slot },
}

/// What comes next in a map.
enum Slot {
    Key,
    Value(Key),
    /// The key was refused, so its value is not kept.
    Skipped,
}

struct Builder<'a> {
    file: &'a Arc<str>,
    lines: &'a Lines<'a>,
    faults: &'a mut Faults,
    stack: Vec<Frame>,
    root: Option<Node>,
    nodes: usize,
    found: usize,
    /// False once the tree lacks something that was meant to be there.
    usable: bool,
}

impl Builder<'_> {
    /// Takes one event; `None` when reading must stop.
    fn event(&mut self, event: Event<'_>, span: Span) -> Option<()> {
        match event {
            Event::DocumentStart(_) if self.root.is_some() => {
                let place = self.place(span, 3);
                self.error(
                    "second-document",
                    &place,
                    "a second document begins here",
                    "one file holds one document; remove the `---` or move what follows into a file of its own",
                );
                self.usable = false;
                return None;
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), span);
                let place = self.scalar_place(&text, style, span);
                self.put(Node { place, kind: NodeKind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain } })?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), span);
                let place = self.place(span, 1);
                self.open(Frame::List(place, Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_marks(anchor, tag.is_some(), span);
                let place = self.place(span, 1);
                self.open(Frame::Map { place, entries: Vec::new(), lines: BTreeMap::new(), slot: Slot::Key })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close()?,
            Event::Alias(_) => {
                let place = self.place(span, span.len());
                self.error("yaml-alias", &place, "aliases (`*name`) are not part of this language", syntax::QUOTE_OR_REPEAT);
                self.usable = false;
                self.put(Node { place, kind: NodeKind::Scalar { text: String::new(), plain: true } })?;
            }
            Event::DocumentStart(_) | Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => {}
        }
        (self.found < FILE_FAULTS_MAX).then_some(())
    }

    fn refuse_marks(&mut self, anchor: usize, tag: bool, span: Span) {
        let place = self.place(span, 1);
        // `!customer.vip && paid` has both to YAML; the tag comes first and is what people stumble over.
        if anchor > 0 && !tag {
            self.error("yaml-anchor", &place, "anchors (`&name`) are not part of this language", syntax::QUOTE_OR_REPEAT);
        }
        if tag {
            self.error(
                "yaml-tag",
                &place,
                "a value that begins with `!` is a YAML tag, which is not part of this language",
                "put the whole value in quotes, for example \"!customer.membership.auto_renew\"",
            );
            self.usable = false;
        }
    }

    fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.error(code, place, message).hint(hint);
        self.found += 1;
    }

    fn open(&mut self, frame: Frame) -> Option<()> {
        if self.stack.len() >= DEPTH_MAX {
            let (Frame::List(place, _) | Frame::Map { place, .. }) = &frame;
            let message = format!("nested more than {DEPTH_MAX} levels deep");
            self.error("too-deep", place, message, "write it flatter");
            return None;
        }
        self.stack.push(frame);
        Some(())
    }

    fn close(&mut self) -> Option<()> {
        match self.stack.pop()? {
            Frame::List(place, items) => self.put(Node { place, kind: NodeKind::List(items) }),
            Frame::Map { place, entries, .. } => self.put(Node { place, kind: NodeKind::Map(entries) }),
        }
    }

    fn put(&mut self, node: Node) -> Option<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values");
            self.error("too-many-nodes", &node.place, message, "split it into several files");
            return None;
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List(_, items)) => items.push(node),
            Some(Frame::Map { entries, slot, .. }) => match std::mem::replace(slot, Slot::Key) {
                Slot::Skipped => {}
                Slot::Value(key) => {
                    let place = if node.is_null() && node.scalar() == Some("") { key.place.clone() } else { node.place };
                    entries.push((key, Node { place, kind: node.kind }));
                }
                Slot::Key => {
                    let next = self.key(node);
                    if let Some(Frame::Map { slot, .. }) = self.stack.last_mut() {
                        *slot = next;
                    }
                }
            },
        }
        Some(())
    }

    fn key(&mut self, node: Node) -> Slot {
        let place = node.place;
        let (text, plain) = match node.kind {
            NodeKind::Scalar { text, plain } => (text, plain),
            NodeKind::List(_) | NodeKind::Map(_) => {
                let hint = syntax::cause(self.lines.line(place.line)).unwrap_or("put the key in quotes");
                self.error("bad-key", &place, "a list or map stands where a key must stand", hint);
                self.usable = false;
                return Slot::Skipped;
            }
        };
        if plain && text == "<<" {
            self.error("yaml-merge", &place, "merge keys (`<<`) are not part of this language", "write the fields out");
            return Slot::Skipped;
        }
        if text.is_empty() {
            self.error("bad-key", &place, "a key is missing before the `:`", "write `name: value`");
            return Slot::Skipped;
        }
        let first = match self.stack.last_mut() {
            Some(Frame::Map { lines, .. }) => lines.get(&text).copied().or_else(|| {
                lines.insert(text.clone(), place.line);
                None
            }),
            _ => None,
        };
        if let Some(line) = first {
            let shown: String = text.chars().take(60).collect();
            let hint = format!("it is already in line {line}; keep one of the two");
            self.error("doubled-key", &place, format!("`{shown}` stands here a second time"), hint);
            return Slot::Skipped;
        }
        Slot::Value(Key { text, place })
    }

    /// The place at which a span begins.
    fn place(&self, span: Span, length: usize) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (line, column) = (number(span.start.line().max(1)), number(span.start.col() + 1));
        // What is missing at the end of the text is told at its last line, not at one behind it.
        let line = line.min(self.lines.count());
        Place { file: self.file.clone(), line, column, length: number(length.max(1)) }
    }

    /// The place of a scalar: between the quotes, the first line only.
    fn scalar_place(&self, text: &str, style: ScalarStyle, span: Span) -> Place {
        let quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
        let one_line = span.start.line() == span.end.line();
        let mut place = self.place(span, if one_line { span.len() } else { 1 });
        if !one_line && !text.is_empty() {
            let line = self.lines.line(place.line).trim_end();
            place.length = (line.chars().count() as u32).saturating_sub(place.column - 1).max(1);
        }
        if quoted {
            place.column += 1;
            // The parser counts blanks behind the closing quote in, so the text itself says more.
            let inside = if one_line { text.chars().count() as u32 } else { place.length - 1 };
            place.length = inside.clamp(1, place.length);
        }
        place
    }

    fn finish(mut self) -> Option<Node> {
        let root = self.root.take().filter(|node| !node.is_null());
        if root.is_none() && self.found == 0 {
            let place = Place { file: self.file.clone(), line: 1, column: 1, length: 1 };
            self.error("empty-file", &place, "the file is empty", "write something into it or remove it");
        }
        root.filter(|_| self.usable)
    }
}
