//! Changes that keep most of a document's grammar, and some that do not.

use super::chance::Chance;
use super::tree::Tree;
use super::words::{JSON_RAW, TROUBLE, YAML_RAW};

/// What a valid document consists of; changes take from it, so that they are plausible.
#[derive(Default, Debug)]
pub struct Corpus {
    keys: Vec<String>,
    scalars: Vec<Tree>,
    parts: Vec<Tree>,
}

/// Largest part of a document that is put elsewhere, in nodes.
const PART_NODES_MAX: usize = 40;

/// How a document is written, for what is troublesome there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// MessagePack.
    Pack,
}

impl Corpus {
    /// Adds everything that a document consists of.
    pub fn learn(&mut self, tree: &Tree) {
        tree.visit(&mut |key, node| {
            self.keys.extend(key.map(str::to_owned));
            match node {
                Tree::Word(_) | Tree::Text(_) => self.scalars.push(node.clone()),
                _ if node.size() <= PART_NODES_MAX => self.parts.push(node.clone()),
                _ => {}
            }
        });
    }

    /// Adds a key.
    pub fn key(&mut self, key: &str) {
        self.keys.push(key.to_owned());
    }

    /// Changes a document in a few places.
    pub fn change(&self, tree: &mut Tree, form: Form, chance: &mut Chance) {
        for _ in 0..chance.few() {
            let number = chance.below(tree.size());
            if let Some(node) = tree.nth(number) {
                self.change_one(node, form, chance);
            }
        }
    }

    fn change_one(&self, node: &mut Tree, form: Form, chance: &mut Chance) {
        match chance.below(48) {
            0..=7 => *node = self.scalar(chance),
            8..=13 => tweak_node(node, chance),
            14..=18 => *node = chance.item(&self.parts).clone(),
            19..=23 => remove(node, chance),
            24..=26 => double(node, form, chance),
            27..=30 => swap(node, chance),
            31..=35 => self.rename(node, chance),
            36 => *node = Tree::List(vec![node.clone()]),
            37 => *node = Tree::Map(vec![(self.name(chance), node.clone())]),
            38..=39 => unwrap(node, chance),
            40..=43 => self.add(node, chance),
            44 => *node = raw(form, chance),
            45 if chance.one_in(4) => copies(node, form, chance),
            46 if chance.one_in(4) => nest(node, chance),
            47 if chance.one_in(4) => *node = Tree::Text(long(chance)),
            _ => *node = Tree::Text(chance.pick(TROUBLE).to_owned()),
        }
    }

    /// Fills a list or map of a document with changed copies of one of its items, to about that many bytes: large
    /// files in which everything is a little wrong.
    pub fn fill(&self, tree: &mut Tree, bytes: usize, form: Form, chance: &mut Chance) {
        let number = chance.below(tree.size());
        let Some(node) = tree.nth(number) else { return };
        if matches!(node, Tree::Word(_) | Tree::Text(_)) {
            *node = Tree::List(vec![node.clone()]);
        }
        let changes = chance.below(4);
        let (mut left, indent) = (bytes, chance.below(12));
        // One changed copy, as long as there is room for it.
        let mut varied = |item: &Tree| {
            let mut item = item.clone();
            for _ in 0..changes {
                let at = chance.below(item.size());
                if let Some(part) = item.nth(at) {
                    self.change_one(part, form, chance);
                }
            }
            let text = item.yaml(chance);
            left = left.checked_sub(text.len() + text.lines().count() * indent)?;
            Some(item)
        };
        match node {
            Tree::List(items) if !items.is_empty() => {
                let item = items[0].clone();
                items.extend(std::iter::from_fn(|| varied(&item)));
            }
            Tree::Map(entries) if !entries.is_empty() => {
                let (key, value) = entries[0].clone();
                let values = std::iter::from_fn(|| varied(&value));
                entries.extend(values.enumerate().map(|(i, value)| (format!("{key}{i}"), value)));
            }
            _ => {}
        }
    }

    fn scalar(&self, chance: &mut Chance) -> Tree {
        match chance.below(3) {
            0 => Tree::Text(chance.pick(TROUBLE).to_owned()),
            _ => chance.item(&self.scalars).clone(),
        }
    }

    fn name(&self, chance: &mut Chance) -> String {
        let known = chance.item(&self.keys);
        match chance.below(4) {
            0 => tweak(known, chance),
            1 if chance.one_in(4) => chance.pick(TROUBLE).to_owned(),
            _ => known.clone(),
        }
    }

    fn rename(&self, node: &mut Tree, chance: &mut Chance) {
        match node {
            Tree::Map(entries) if !entries.is_empty() => {
                let at = chance.below(entries.len());
                entries[at].0 = if chance.one_in(2) { tweak(&entries[at].0, chance) } else { self.name(chance) };
            }
            _ => *node = self.scalar(chance),
        }
    }

    fn add(&self, node: &mut Tree, chance: &mut Chance) {
        let value = if chance.one_in(2) { self.scalar(chance) } else { chance.item(&self.parts).clone() };
        match node {
            Tree::Map(entries) => {
                let at = chance.below(entries.len() + 1);
                entries.insert(at, (self.name(chance), value));
            }
            Tree::List(items) => {
                let at = chance.below(items.len() + 1);
                items.insert(at, value);
            }
            Tree::Word(_) | Tree::Text(_) => *node = value,
        }
    }
}

fn raw(form: Form, chance: &mut Chance) -> Tree {
    Tree::Word(match form {
        Form::Yaml => chance.pick(YAML_RAW).to_owned(),
        Form::Json => chance.pick(JSON_RAW).to_owned(),
        Form::Pack => chance.pick(TROUBLE).to_owned(),
    })
}

fn remove(node: &mut Tree, chance: &mut Chance) {
    match node {
        Tree::List(items) if !items.is_empty() => drop(items.remove(chance.below(items.len()))),
        Tree::Map(entries) if !entries.is_empty() => drop(entries.remove(chance.below(entries.len()))),
        _ => *node = Tree::Word(String::from("null")),
    }
}

/// An item once more; a key once more only sometimes, since every form refuses that.
fn double(node: &mut Tree, form: Form, chance: &mut Chance) {
    match node {
        Tree::List(items) if !items.is_empty() => {
            let item = chance.item(items).clone();
            items.insert(chance.below(items.len() + 1), item);
        }
        Tree::Map(entries) if !entries.is_empty() => {
            let (key, value) = chance.item(entries).clone();
            let key = if form == Form::Pack || chance.one_in(4) { key } else { format!("{key}2") };
            entries.insert(chance.below(entries.len() + 1), (key, value));
        }
        _ => {}
    }
}

fn swap(node: &mut Tree, chance: &mut Chance) {
    match node {
        Tree::List(items) if items.len() > 1 => {
            let (a, b) = (chance.below(items.len()), chance.below(items.len()));
            items.swap(a, b);
        }
        Tree::Map(entries) if entries.len() > 1 => {
            // The values change places, so that each has the wrong key.
            let (a, b) = (chance.below(entries.len()), chance.below(entries.len()));
            let value = entries[a].1.clone();
            entries[a].1 = std::mem::replace(&mut entries[b].1, value);
        }
        _ => tweak_node(node, chance),
    }
}

fn unwrap(node: &mut Tree, chance: &mut Chance) {
    let inner = match node {
        Tree::List(items) if !items.is_empty() => chance.item(items).clone(),
        Tree::Map(entries) if !entries.is_empty() => chance.item(entries).1.clone(),
        _ => return,
    };
    *node = inner;
}

fn copies(node: &mut Tree, form: Form, chance: &mut Chance) {
    let many = chance.below(300);
    match node {
        Tree::List(items) if !items.is_empty() => {
            let item = chance.item(items).clone();
            items.extend(std::iter::repeat_n(item, many));
        }
        Tree::Map(entries) if !entries.is_empty() => {
            let (key, value) = chance.item(entries).clone();
            let name = |i| if form == Form::Pack { key.clone() } else { format!("{key}{i}") };
            entries.extend((0..many).map(|i| (name(i), value.clone())));
        }
        _ => *node = Tree::List(vec![node.clone(); many]),
    }
}

fn nest(node: &mut Tree, chance: &mut Chance) {
    let as_map = chance.one_in(2);
    for _ in 0..chance.below(70) {
        let inner = node.clone();
        *node = if as_map { Tree::Map(vec![("a".to_owned(), inner)]) } else { Tree::List(vec![inner]) };
    }
}

fn long(chance: &mut Chance) -> String {
    let piece = chance.pick(TROUBLE);
    let piece = if piece.is_empty() { "x" } else { piece };
    piece.repeat(1 + chance.below(20_000) / piece.len())
}

fn tweak_node(node: &mut Tree, chance: &mut Chance) {
    match node {
        Tree::Text(text) => *text = tweak(text, chance),
        Tree::Word(word) => {
            let changed = tweak(word, chance);
            // A word that is no longer one is written as text; otherwise nearly every change would break the form.
            *node = if changed.chars().all(|c| c.is_ascii_alphanumeric() || "-._ ".contains(c)) && word.parse::<f64>().is_err() {
                Tree::Text(changed)
            } else {
                number_or_text(changed)
            };
        }
        Tree::List(_) | Tree::Map(_) => swap_or_drop(node, chance),
    }
}

fn number_or_text(text: String) -> Tree {
    let number = text.parse::<f64>().is_ok_and(f64::is_finite) && serde_json::from_str::<serde_json::Number>(&text).is_ok();
    if number { Tree::Word(text) } else { Tree::Text(text) }
}

fn swap_or_drop(node: &mut Tree, chance: &mut Chance) {
    match node {
        Tree::List(items) => items.reverse(),
        Tree::Map(entries) => entries.reverse(),
        _ => remove(node, chance),
    }
}

/// A text with one small change.
pub fn tweak(text: &str, chance: &mut Chance) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = chance.below(chars.len() + 1);
    let end = (at + 1 + chance.below(4)).min(chars.len());
    match chance.below(9) {
        0 => chars.insert(at, *chance.item(&['a', '0', ' ', '.', '-', '"', '(', 'é', '\'', '/'])),
        1 if at < chars.len() => drop(chars.remove(at)),
        2 => {
            let piece: Vec<char> = chars[at..end.max(at)].to_vec();
            chars.splice(at..at, piece);
        }
        3 if at + 1 < chars.len() => chars.swap(at, at + 1),
        4 => drop(chars.drain(at..end.max(at))),
        5 => return format!("{text}{}", chance.pick(TROUBLE)),
        6 => return if chance.one_in(2) { text.to_uppercase() } else { text.to_lowercase() },
        7 => {
            let piece: Vec<char> = chance.pick(TROUBLE).chars().collect();
            chars.splice(at..end.max(at), piece);
        }
        _ => {
            if let Some(digit) = chars.iter().position(char::is_ascii_digit) {
                chars.splice(digit..=digit, chance.between(-1, 99_999).to_string().chars());
            }
        }
    }
    chars.into_iter().collect()
}

/// Any troublesome text.
pub fn trouble(chance: &mut Chance) -> &'static str {
    chance.pick(TROUBLE)
}

/// Bytes with a few changes that know nothing of what they mean.
pub fn bytes(bytes: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..chance.few() {
        let at = chance.below(bytes.len() + 1);
        let end = (at + 1 + chance.below(16)).min(bytes.len());
        match chance.below(8) {
            0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            1 if at < bytes.len() => bytes[at] = chance.next() as u8,
            2 => bytes.insert(at, *chance.item(b"\"'\\{}[]:,#&*!|>%@`-\n\t\r \0\x7f\x80\xff")),
            3 => drop(bytes.drain(at..end.max(at))),
            4 => {
                let piece = bytes[at..end.max(at)].to_vec();
                bytes.splice(at..at, piece);
            }
            5 if chance.one_in(4) => bytes.truncate(at),
            6 if chance.one_in(4) => {
                let from = chance.below(bytes.len() + 1);
                let to = (from + chance.below(400)).min(bytes.len());
                let piece = bytes[from..to].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => drop(bytes.splice(at..at, chance.pick(TROUBLE).bytes())),
        }
    }
}

/// A text with changes in its bytes; what is then no UTF-8 is replaced.
pub fn text_bytes(text: &str, chance: &mut Chance) -> String {
    let mut raw = text.as_bytes().to_vec();
    bytes(&mut raw, chance);
    String::from_utf8_lossy(&raw).into_owned()
}
