//! Workspaces: one file of the sample is changed, and the whole is checked as `autofunnel check` does it.

use super::chance::Chance;
use super::mutate::{self, Corpus, Form};
use super::tree::Tree;
use super::{Case, Kind, Verdict, laws, sample};
use autofunnel::app::workspace;
use autofunnel::funnel::Files;
use autofunnel::lang::diag::{Fault, Faults};
use autofunnel::lang::node;
use autofunnel::lang::render::Sources;
use autofunnel::wire::secrets::Placeholders;
use autofunnel::{step, trial, trigger};
use std::cell::RefCell;
use std::collections::BTreeMap;

/// One in so many inputs is a large file in which everything is a little wrong.
const DENSE_ONE_IN: usize = 400;

/// What can be repeated to cost a reader of YAML time.
const UNITS: &[&str] = &[
    "[",
    "{",
    "a: ",
    "- ",
    "? ",
    "{a: ",
    "[a: ",
    "a,",
    "\"\",",
    "&a ",
    "*a,",
    "!a ",
    "- a\n",
    "a: b\n",
    "\n",
    "b\n ",
    "- - - a\n",
    "- {a: b}\n",
    "# x\n",
    "'",
    ": ",
    "a: |\n b\n",
    "- a: b\n",
    "[],",
    "{},",
    "{a: b},",
    "[[]],",
    "a b ",
    "\u{e9}",
    "- |\n\n",
    "- \"x\"\n",
    "--- a\n",
    "<<: a\n",
    "\t",
];

/// One file to be changed, in a workspace of what it needs.
struct Base {
    path: String,
    text: String,
    tree: Tree,
    files: Files,
}

/// See the module.
pub struct Workspaces {
    bases: Vec<Base>,
    corpus: Corpus,
}

impl Workspaces {
    /// Reads the samples.
    pub fn new() -> Workspaces {
        let whole = sample::files();
        let yaml = |path: &str| path.ends_with(".yaml");
        let mut trees: Vec<Tree> = whole.iter().filter(|(path, _)| yaml(path)).map(|(_, text)| sample::tree(text)).collect();
        let providers = sample::settings_with_providers(&whole);
        trees.push(providers.clone());
        let examples = step::KINDS.iter().map(|kind| (kind.name, kind.example));
        for (name, example) in examples.chain(trigger::KINDS.iter().map(|kind| (kind.name, kind.example))) {
            let read = |text: &str| node::parse("example.yaml", text, &mut Faults::default());
            trees.extend(read(example).or_else(|| read(&format!("{name}: {example}"))).map(|node| Tree::of_yaml(&node)));
        }
        let mut corpus = sample::corpus(&trees);
        let fields = step::KINDS.iter().map(|kind| kind.fields).chain(trigger::KINDS.iter().map(|kind| kind.fields));
        fields.flatten().for_each(|field| corpus.key(field.name));
        let mut bases: Vec<Base> = whole.keys().filter(|path| yaml(path)).map(|path| Base::new(path, None, &whole)).collect();
        bases.push(Base::new("autofunnel.yaml", Some(providers), &whole));
        Workspaces { bases, corpus }
    }
}

impl Workspaces {
    /// A file of up to about the size that is read at all.
    fn dense(&self, tree: &Tree, chance: &mut Chance) -> String {
        // Now and then a little more than is read at all.
        let bytes = chance.below(node::FILE_BYTES_MAX * 17 / 16);
        if chance.one_in(3) {
            let unit = chance.pick(UNITS);
            let (open, close) =
                *chance.item(&[("", ""), ("a: [", "]"), ("a: {b: ", "}"), ("[", ""), ("a: \"", "\""), ("- ", "")]);
            return format!("{open}{}{close}\n", unit.repeat(bytes / unit.len()));
        }
        let mut filled = tree.clone();
        self.corpus.fill(&mut filled, bytes, Form::Yaml, chance);
        filled.yaml(chance)
    }
}

impl Base {
    fn new(path: &str, tree: Option<Tree>, whole: &Files) -> Base {
        let text = whole[path].clone();
        let stem = path.trim_start_matches("tests/").trim_end_matches(".yaml");
        // Settings, segments and catalog are checked with one funnel, a funnel or its tests with its own templates.
        let funnel = if whole.contains_key(&format!("tests/{stem}.yaml")) { stem } else { "welcome" };
        let shared = ["autofunnel.yaml", "segments.yaml", "catalog.yaml"].map(str::to_owned);
        let own = [path.to_owned(), format!("{funnel}.yaml"), format!("tests/{funnel}.yaml")];
        let mut files: Files = shared.into_iter().chain(own).map(|path| (path.clone(), whole[&path].clone())).collect();
        let mut read = files[&format!("{funnel}.yaml")].clone();
        read.push_str(&text);
        let template = |path: &str| Some(path.strip_prefix("templates/")?.rsplit_once('.')?.0.to_owned());
        files.extend(
            whole
                .iter()
                .filter(|(path, _)| template(path).is_some_and(|name| read.contains(&name)))
                .map(|(path, text)| (path.clone(), text.clone())),
        );
        let tree = tree.unwrap_or_else(|| sample::tree(&text));
        Base { path: path.to_owned(), text, tree, files }
    }
}

impl Kind for Workspaces {
    fn name(&self) -> &'static str {
        "workspace"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let base = chance.item(&self.bases);
        let mut text = if chance.one_in(6) {
            base.text.clone()
        } else {
            let mut tree = base.tree.clone();
            if chance.one_in(DENSE_ONE_IN) {
                self.dense(&base.tree, &mut chance)
            } else {
                self.corpus.change(&mut tree, Form::Yaml, &mut chance);
                tree.yaml(&mut chance)
            }
        };
        if text == base.text || chance.one_in(12) {
            text = mutate::text_bytes(&text, &mut chance);
        }
        let mut files = base.files.clone();
        let shown = format!("# {}\n{text}", base.path).into_bytes();
        let past_parser = node::parse(&base.path, &text, &mut Faults::default()).is_some();
        files.insert(base.path.clone(), text);
        Case { shown, feed: Box::new(move || Verdict { past_parser, ..check(&files, &base.path, past_parser) }) }
    }
}

fn check(files: &Files, changed: &str, read: bool) -> Verdict {
    let checked = workspace::check(files, &Placeholders);
    let mut faults: Vec<Fault> = checked.faults;
    let mut broken = None;
    match &checked.workspace {
        Some(workspace) => {
            let mut found = Faults::default();
            for (funnel, node) in &workspace.tests {
                trial::read(workspace, funnel, node, &mut found);
            }
            faults.extend(found.into_sorted().0);
        }
        None if !laws::has_error(&faults) => broken = Some("refused without an error".to_owned()),
        None => {}
    }
    if !read && !faults.iter().any(|fault| &*fault.place.file == changed) {
        broken.get_or_insert(format!("{changed} cannot be read, and nothing says so"));
    }
    verdict(files, &faults, checked.dropped, &checked.texts, broken)
}

/// The verdict on the faults of files.
pub fn verdict(files: &Files, faults: &[Fault], dropped: usize, texts: &Sources, broken: Option<String>) -> Verdict {
    let counts: RefCell<BTreeMap<String, Option<u32>>> = RefCell::default();
    // Counted once of each file: there may be many faults in a large one.
    let lines = |path: &str| {
        let count = || files.get(path).map(|text| count_lines(path, text));
        *counts.borrow_mut().entry(path.to_owned()).or_insert_with(count)
    };
    let verdict = laws::of_faults(faults, dropped, texts, &lines);
    Verdict { broken: broken.or(verdict.broken.clone()), ..verdict }
}

/// Lines end with `\n`; in YAML with `\r` alone, too.
fn count_lines(path: &str, text: &str) -> u32 {
    let bytes = text.as_bytes();
    let alone = |i: usize| path.ends_with(".yaml") && bytes[i] == b'\r' && bytes.get(i + 1) != Some(&b'\n');
    1 + (0..bytes.len()).filter(|i| bytes[*i] == b'\n' || alone(*i)).count() as u32
}
