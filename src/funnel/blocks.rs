//! `blocks.yaml`: lists of steps with parameters, which funnels take in with `use`.
//!
//! ```yaml
//! nudge:                                  # - use: nudge
//!   with: [template, pause]               #   with: { template: benefits, pause: 3 days }
//!   steps:
//!     - wait: ${pause}
//!     - email: ${template}
//! ```
//!
//! A block is put in the place of the step that uses it before anything is checked, so that what it becomes is
//! checked like steps that are written there. A fault stands where its text is: in the block, or in the argument.

use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::shape::{self, Field, Object, Shape};
use crate::step::STEPS_MAX;
use std::collections::{BTreeMap, BTreeSet};

/// Most blocks.
pub const BLOCKS_MAX: usize = 200;
/// Deepest nesting of blocks that use blocks.
const NESTING_MAX: usize = 5;
/// Most nodes that a funnel's steps have when every block is put in.
const NODES_MAX: usize = STEPS_MAX * 100;
/// The key of a step that uses a block.
const USE: &str = "use";

/// Fields of a block.
pub const FIELDS: &[Field] = &[
    Field::optional("with", Shape::List(&Shape::Name("parameter")), "its parameters; the steps write them as `${name}`"),
    Field::required("steps", Shape::Ref("steps"), "the steps that it stands for"),
];

/// Fields of a step that uses a block.
pub const USE_FIELDS: &[Field] = &[
    Field::required(USE, Shape::Name("block"), "the block in blocks.yaml whose steps stand here"),
    Field::optional("with", Shape::MapOf(&Shape::Data), "its parameters with their values"),
];

/// A block as it is written.
struct Block {
    parameters: Vec<String>,
    steps: Vec<Node>,
}

/// All blocks of a workspace.
#[derive(Default)]
pub struct Blocks {
    blocks: BTreeMap<String, Block>,
    /// The text of their file: a funnel that uses one is another version with another text.
    text: String,
}

impl Blocks {
    /// Reads `blocks.yaml`.
    pub fn read(node: Option<&Node>, text: &str, faults: &mut Faults) -> Blocks {
        let Some(node) = node else { return Blocks::default() };
        let Some(entries) = node.map() else {
            let message = format!("blocks must be a map of names, but here stands {}", node.describe());
            faults.error("wrong-type", &node.place, message).hint("write for example `nudge: { steps: [ … ] }`");
            return Blocks::default();
        };
        if entries.len() > BLOCKS_MAX {
            faults.error("too-many", &node.place, format!("a workspace has at most {BLOCKS_MAX} blocks"));
        }
        let entries = entries.iter().take(BLOCKS_MAX);
        let blocks = entries.filter_map(|(key, node)| Some((key.text.clone(), block(key, node, faults)?))).collect();
        Blocks { blocks, text: text.to_owned() }
    }

    /// Puts blocks in the place of the steps that use them, in a funnel's file. Says what else the funnel's version is
    /// made of.
    pub fn put_in(&self, node: &mut Node, faults: &mut Faults) -> Option<String> {
        let NodeKind::Map(entries) = &mut node.kind else { return None };
        let steps = entries.iter_mut().find(|(key, _)| key.text == "steps").map(|(_, steps)| steps)?;
        let mut work = Work { blocks: &self.blocks, nodes: 0, used: false, faults };
        work.walk(steps, &mut Vec::new());
        work.used.then(|| self.text.clone())
    }
}

fn block(key: &Key, node: &Node, faults: &mut Faults) -> Option<Block> {
    let object = Object::read(node, &[FIELDS], &format!("the block `{}`", key.text), faults)?;
    let parameters = parameters(&object, faults);
    let steps = object.node("steps")?;
    let Some(steps) = steps.list() else {
        faults.error("steps-list", &steps.place, format!("a list of steps is wanted here, not {}", steps.describe()));
        return None;
    };
    let mut named = BTreeSet::new();
    steps.iter().for_each(|step| names_in(step, &mut named));
    for unused in parameters.iter().filter(|name| !named.contains(*name)) {
        faults
            .warning("unused-parameter", &object.place("with"), format!("no step of this block writes `${{{unused}}}`"))
            .hint("use it, or remove it");
    }
    Some(Block { parameters, steps: steps.to_vec() })
}

/// The names of a block's parameters; of a map, which belongs to the step that uses it, they are its keys.
fn parameters(object: &Object<'_>, faults: &mut Faults) -> Vec<String> {
    let Some((node, entries)) = object.node("with").and_then(|node| Some((node, node.map()?))) else {
        return object.texts("with", faults).into_iter().map(|text| text.text).collect();
    };
    let names: Vec<String> = entries.iter().map(|(key, _)| key.text.clone()).collect();
    faults
        .error("wrong-type", &node.place, "a block names its parameters; what they are is said by the step that uses it")
        .hint(format!("write `with: [{}]`", names.join(", ")));
    names
}

/// The parameters that the texts of a node name.
fn names_in(node: &Node, out: &mut BTreeSet<String>) {
    match &node.kind {
        NodeKind::Scalar { text, .. } => out.extend(pieces(text).filter_map(|piece| piece.err()).map(str::to_owned)),
        NodeKind::List(items) => items.iter().for_each(|item| names_in(item, out)),
        NodeKind::Map(entries) => entries.iter().for_each(|(_, value)| names_in(value, out)),
    }
}

/// A text cut into what stands there (`Ok`) and parameters (`Err`).
fn pieces(text: &str) -> impl Iterator<Item = Result<&str, &str>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let begin = rest.find("${").unwrap_or(rest.len());
        if begin > 0 {
            let (piece, after) = rest.split_at(begin);
            rest = after;
            return Some(Ok(piece));
        }
        match rest.find('}') {
            Some(end) => {
                let name = &rest[2..end];
                rest = &rest[end + 1..];
                Some(Err(name))
            }
            None => Some(Ok(std::mem::take(&mut rest))),
        }
    })
}

/// Stands for a step that is faulty, so that nothing is said of a list that seems to be empty.
fn nothing_of(item: &Node) -> Node {
    let key = Key { text: "wait".to_owned(), place: item.place.clone() };
    let value = Node { place: item.place.clone(), kind: NodeKind::Scalar { text: "1s".to_owned(), plain: true } };
    Node { place: item.place.clone(), kind: NodeKind::Map(vec![(key, value)]) }
}

struct Work<'a> {
    blocks: &'a BTreeMap<String, Block>,
    nodes: usize,
    used: bool,
    faults: &'a mut Faults,
}

impl Work<'_> {
    /// `within`: the blocks in which this stands, outermost first.
    fn walk(&mut self, node: &mut Node, within: &mut Vec<String>) {
        match &mut node.kind {
            NodeKind::Scalar { .. } => {}
            NodeKind::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.walk(value, within)),
            NodeKind::List(items) => {
                let mut out = Vec::with_capacity(items.len());
                for mut item in std::mem::take(items) {
                    match item.get(USE) {
                        Some(_) => out.extend(self.steps_of(&item, within).unwrap_or_else(|| vec![nothing_of(&item)])),
                        None => {
                            self.walk(&mut item, within);
                            out.push(item);
                        }
                    }
                }
                *items = out;
            }
        }
    }

    /// The steps that stand for a step that uses a block; `None` when it is faulty.
    fn steps_of(&mut self, item: &Node, within: &mut Vec<String>) -> Option<Vec<Node>> {
        self.used = true;
        let object = Object::read(item, &[USE_FIELDS], "a step that uses a block", self.faults)?;
        let name = object.text(USE, self.faults)?;
        let Some(block) = self.blocks.get(&name.text) else {
            self.faults
                .error("unknown-block", &name.place, format!("there is no block `{}` in blocks.yaml", name.text))
                .did_you_mean(&name.text, self.blocks.keys().map(String::as_str));
            return None;
        };
        if within.contains(&name.text) || within.len() >= NESTING_MAX {
            let message = format!("blocks use each other: {} → {}", within.join(" → "), name.text);
            self.faults
                .error("block-nesting", &name.place, message)
                .hint(format!("a block cannot use itself, and blocks are nested at most {NESTING_MAX} deep"));
            return None;
        }
        let arguments = self.arguments(block, &object, &name.text)?;
        let mut steps = block.steps.clone();
        within.push(name.text);
        for step in &mut steps {
            self.fill(step, &arguments);
        }
        let mut list = Node { place: item.place.clone(), kind: NodeKind::List(steps) };
        self.walk(&mut list, within);
        within.pop();
        match list.kind {
            NodeKind::List(steps) => Some(steps),
            _ => None,
        }
    }

    /// The arguments by the names of the parameters; `None` when there are others.
    fn arguments(&mut self, block: &Block, object: &Object<'_>, name: &str) -> Option<BTreeMap<String, Node>> {
        let none: &[(Key, Node)] = &[];
        let given = match object.node("with") {
            None => none,
            Some(node) => match node.map() {
                Some(entries) => entries,
                None => {
                    let names: Vec<String> = block.parameters.iter().map(|name| format!("{name}: …")).collect();
                    let hint = match names.is_empty() {
                        true => format!("the block `{name}` has no parameters: remove the line"),
                        false => format!("write `with: {{ {} }}`", names.join(", ")),
                    };
                    self.faults.error("properties-form", &node.place, "`with` takes a map of names and values").hint(hint);
                    return None;
                }
            },
        };
        let mut whole = true;
        for (key, _) in given.iter().filter(|(key, _)| !block.parameters.contains(&key.text)) {
            self.faults
                .error("unknown-parameter", &key.place, format!("the block `{name}` has no parameter `{}`", key.text))
                .did_you_mean(&key.text, block.parameters.iter().map(String::as_str));
            whole = false;
        }
        for lacking in block.parameters.iter().filter(|parameter| !given.iter().any(|(key, _)| key.text == **parameter)) {
            self.faults
                .error("missing-parameter", &object.place, format!("the block `{name}` needs `{lacking}`"))
                .hint(format!("add `with: {{ {lacking}: … }}`"));
            whole = false;
        }
        whole.then(|| given.iter().map(|(key, node)| (key.text.clone(), node.clone())).collect())
    }

    /// Writes arguments into a node of a block.
    fn fill(&mut self, node: &mut Node, arguments: &BTreeMap<String, Node>) {
        self.nodes += 1;
        if self.nodes == NODES_MAX {
            self.faults.error("too-many-steps", &node.place, "the blocks that this funnel uses have too many steps together");
        }
        if self.nodes >= NODES_MAX {
            node.kind = NodeKind::Scalar { text: String::new(), plain: true };
            return;
        }
        let place = node.place.clone();
        match &mut node.kind {
            NodeKind::List(items) => items.iter_mut().for_each(|item| self.fill(item, arguments)),
            NodeKind::Map(entries) => entries.iter_mut().for_each(|(_, value)| self.fill(value, arguments)),
            NodeKind::Scalar { text, .. } => {
                let parts: Vec<Result<&str, &str>> = pieces(text).collect();
                if let [Err(name)] = parts[..] {
                    let known = self.argument(name, &place, arguments).cloned();
                    *node = known.unwrap_or_else(|| node.clone());
                } else if parts.iter().any(Result::is_err) {
                    *text = self.written(&parts, &place, arguments);
                }
            }
        }
    }

    /// A text with arguments in it.
    fn written(&mut self, parts: &[Result<&str, &str>], place: &Place, arguments: &BTreeMap<String, Node>) -> String {
        let mut out = String::new();
        for part in parts {
            match part {
                Ok(text) => out.push_str(text),
                Err(name) => match self.argument(name, place, arguments).map(|node| (node.scalar(), node.place.clone())) {
                    Some((Some(text), _)) => out.push_str(text),
                    Some((None, of)) => {
                        let message = format!("`{name}` stands within a text, so it must be a single value");
                        self.faults.error("wrong-type", &of, message).hint("write a word, a number or a text in quotes");
                    }
                    None => {}
                },
            }
        }
        out
    }

    fn argument<'n>(&mut self, name: &str, place: &Place, arguments: &'n BTreeMap<String, Node>) -> Option<&'n Node> {
        let found = arguments.get(name);
        if found.is_none() {
            let shown: String = name.chars().take(shape::NAME_CHARS_MAX).collect();
            self.faults
                .error("unknown-parameter", place, format!("this block has no parameter `{shown}`"))
                .did_you_mean(&shown, arguments.keys().map(String::as_str));
        }
        found
    }
}
