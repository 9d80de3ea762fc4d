//! A document as a tree, so that it can be changed by its structure and written out again: as YAML, as
//! JSON, or as MessagePack. Unlike the readers under test it holds what is not allowed: doubled keys, bare
//! words that are no values, any depth.

use super::chance::Chance;
use autofunnel::lang::node::{Node, NodeKind};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A node.
#[derive(Clone, PartialEq, Debug)]
pub enum Tree {
    /// Written as it is: a number, true, null, a plain YAML scalar, rubbish.
    Word(String),
    /// Written as text, in quotes where the form has them.
    Text(String),
    /// Items.
    List(Vec<Tree>),
    /// Entries; a key may stand twice.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// Of a YAML document.
    pub fn of_yaml(node: &Node) -> Tree {
        match &node.kind {
            NodeKind::Scalar { text, plain: true } => Tree::Word(text.clone()),
            NodeKind::Scalar { text, plain: false } => Tree::Text(text.clone()),
            NodeKind::List(items) => Tree::List(items.iter().map(Tree::of_yaml).collect()),
            NodeKind::Map(entries) => {
                Tree::Map(entries.iter().map(|(key, node)| (key.text.clone(), Tree::of_yaml(node))).collect())
            }
        }
    }

    /// Of a JSON document.
    pub fn of_json(json: &serde_json::Value) -> Tree {
        match json {
            serde_json::Value::String(text) => Tree::Text(text.clone()),
            serde_json::Value::Array(items) => Tree::List(items.iter().map(Tree::of_json).collect()),
            serde_json::Value::Object(map) => {
                Tree::Map(map.iter().map(|(key, value)| (key.clone(), Tree::of_json(value))).collect())
            }
            word => Tree::Word(word.to_string()),
        }
    }

    /// How many nodes there are, this one included.
    pub fn size(&self) -> usize {
        1 + match self {
            Tree::Word(_) | Tree::Text(_) => 0,
            Tree::List(items) => items.iter().map(Tree::size).sum(),
            Tree::Map(entries) => entries.iter().map(|(_, value)| value.size()).sum(),
        }
    }

    /// The node with that number, counted from the top and from 0.
    pub fn nth(&mut self, number: usize) -> Option<&mut Tree> {
        let mut left = number;
        self.find(&mut left)
    }

    fn find(&mut self, left: &mut usize) -> Option<&mut Tree> {
        if *left == 0 {
            return Some(self);
        }
        *left -= 1;
        match self {
            Tree::Word(_) | Tree::Text(_) => None,
            Tree::List(items) => items.iter_mut().find_map(|item| item.find(left)),
            Tree::Map(entries) => entries.iter_mut().find_map(|(_, value)| value.find(left)),
        }
    }

    /// Every node, with every key.
    pub fn visit(&self, see: &mut dyn FnMut(Option<&str>, &Tree)) {
        fn walk(key: Option<&str>, tree: &Tree, see: &mut dyn FnMut(Option<&str>, &Tree)) {
            see(key, tree);
            match tree {
                Tree::Word(_) | Tree::Text(_) => {}
                Tree::List(items) => items.iter().for_each(|item| walk(None, item, see)),
                Tree::Map(entries) => entries.iter().for_each(|(key, value)| walk(Some(key), value, see)),
            }
        }
        walk(None, self, see);
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Tree> {
        match self {
            Tree::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// Puts a value under a key, in the place of what stood there.
    pub fn put(&mut self, key: &str, value: Tree) {
        let Tree::Map(entries) = self else { return };
        match entries.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => entries.push((key.to_owned(), value)),
        }
    }

    /// As JSON; words stand as they are.
    pub fn json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Tree::Word(word) => out.push_str(word),
            Tree::Text(text) => out.push_str(&quoted(text)),
            Tree::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    item.write_json(out);
                }
                out.push(']');
            }
            Tree::Map(entries) => {
                out.push('{');
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { "," } else { "" });
                    out.push_str(&quoted(key));
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }

    /// As YAML: blocks, with brackets here and there.
    pub fn yaml(&self, chance: &mut Chance) -> String {
        let mut out = String::new();
        self.write_yaml(0, chance, &mut out);
        out.push('\n');
        out
    }

    /// Writes what follows a key, a dash, or the beginning of the file.
    fn write_yaml(&self, indent: usize, chance: &mut Chance, out: &mut String) {
        let begin = |out: &mut String, first: bool| {
            if !(first && (out.is_empty() || out.ends_with("- "))) {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
            }
        };
        match self {
            Tree::Word(word) => out.push_str(word),
            Tree::Text(text) => out.push_str(&yaml_text(text, chance)),
            Tree::List(items) if items.is_empty() => out.push_str("[]"),
            Tree::Map(entries) if entries.is_empty() => out.push_str("{}"),
            tree if indent > 80 || (tree.size() < 12 && chance.one_in(3)) => tree.write_flow(out),
            Tree::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    begin(out, i == 0);
                    out.push_str("- ");
                    item.write_yaml(indent + 2, chance, out);
                }
            }
            Tree::Map(entries) => {
                for (i, (key, value)) in entries.iter().enumerate() {
                    begin(out, i == 0);
                    out.push_str(&yaml_key(key));
                    out.push_str(": ");
                    value.write_yaml(indent + 2, chance, out);
                }
            }
        }
    }

    fn write_flow(&self, out: &mut String) {
        match self {
            Tree::Word(word) if word.contains([',', '[', ']', '{', '}', ':', '#', '"', '\'']) || word.is_empty() => {
                out.push_str(&format!("'{}'", word.replace('\'', "''")));
            }
            Tree::Word(word) => out.push_str(word),
            Tree::Text(text) => out.push_str(&quoted(text)),
            Tree::List(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    item.write_flow(out);
                }
                out.push(']');
            }
            Tree::Map(entries) => {
                out.push_str("{ ");
                for (i, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if i > 0 { ", " } else { "" });
                    out.push_str(&yaml_key(key));
                    out.push_str(": ");
                    value.write_flow(out);
                }
                out.push_str(" }");
            }
        }
    }

    /// As MessagePack; words that are no number, truth value or nothing become text.
    pub fn pack(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Word(word) => match (word.as_str(), word.parse::<i64>(), word.parse::<f64>()) {
                ("null", ..) => out.push(0xc0),
                ("false", ..) => out.push(0xc2),
                ("true", ..) => out.push(0xc3),
                (_, Ok(n @ 0..=127), _) => out.push(n as u8),
                (_, Ok(n), _) => {
                    out.push(0xd3);
                    out.extend(n.to_be_bytes());
                }
                (_, _, Ok(n)) => {
                    out.push(0xcb);
                    out.extend(n.to_be_bytes());
                }
                _ => pack_text(word, out),
            },
            Tree::Text(text) => pack_text(text, out),
            Tree::List(items) => {
                out.push(0xdd);
                out.extend((items.len() as u32).to_be_bytes());
                items.iter().for_each(|item| item.pack(out));
            }
            Tree::Map(entries) => {
                out.push(0xdf);
                out.extend((entries.len() as u32).to_be_bytes());
                for (key, value) in entries {
                    pack_text(key, out);
                    value.pack(out);
                }
            }
        }
    }
}

fn pack_text(text: &str, out: &mut Vec<u8>) {
    out.push(0xdb);
    out.extend((text.len() as u32).to_be_bytes());
    out.extend(text.as_bytes());
}

/// In double quotes, as JSON and YAML both read it.
fn quoted(text: &str) -> String {
    // A backslash begins what the text wants to be read as an escape, so that lone surrogates can be written.
    match text.strip_prefix('\u{1}') {
        Some(raw) => format!("\"{raw}\""),
        None => serde_json::Value::from(text).to_string(),
    }
}

fn yaml_text(text: &str, chance: &mut Chance) -> String {
    match chance.below(3) {
        0 if !text.chars().any(|c| c.is_control() || c == '\u{feff}') => format!("'{}'", text.replace('\'', "''")),
        _ => quoted(text),
    }
}

fn yaml_key(key: &str) -> String {
    let plain =
        key.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) && key.starts_with(|c: char| c.is_alphabetic());
    if plain || key.starts_with(['&', '*', '!', '?', '<']) { key.to_owned() } else { quoted(key) }
}

/// From any self-describing form, such as MessagePack.
impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Word("null".to_owned()))
    }

    fn visit_bool<E>(self, b: bool) -> Result<Tree, E> {
        Ok(Tree::Word(b.to_string()))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Tree, E> {
        Ok(Tree::Word(n.to_string()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Tree, E> {
        Ok(Tree::Word(n.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
