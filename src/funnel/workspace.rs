//! From files to a [`Workspace`]: every file is read, checked against the others, and all faults are
//! reported at once.
//!
//! A file that cannot be read does not hide the faults of the others, and what only follows from it (a
//! name that it would have declared) is not reported.

use super::blocks::Blocks;
use super::draft::{self, Context, digest, repeat};
use super::lint::Linted;
use super::names::{Base, Names};
use super::settings::Settings;
use super::{Files, Funnel, Workspace, keeps};
use crate::catalog::Catalog;
use crate::lang::diag::{Faults, Place, closest};
use crate::lang::node::{self, Node, NodeKind};
use crate::lang::shape::{Field, Object, Shape};
use crate::segment::Segments;
use crate::template::{Template, TemplateOptions};
use crate::trigger::Interest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The file of settings.
pub const SETTINGS: &str = "autofunnel.yaml";
/// The file of segments.
pub const SEGMENTS: &str = "segments.yaml";
/// The file of the catalog.
pub const CATALOG: &str = "catalog.yaml";
/// The file of blocks.
pub const BLOCKS: &str = "blocks.yaml";
/// Most funnels of one workspace.
pub const FUNNELS_MAX: usize = 1_000;
/// Longest name of a funnel, in bytes.
pub const FUNNEL_NAME_BYTES_MAX: usize = 64;

/// Fields of a file in `tests/`.
pub const TESTS_FIELDS: &[Field] =
    &[Field::required("tests", Shape::List(&Shape::Ref("test")), "tests of the funnel that the file is named after")];

/// The files by what they are for.
#[derive(Default)]
struct Sorted<'a> {
    funnels: Vec<(&'a str, &'a str)>,
    tests: Vec<(&'a str, &'a str)>,
    /// Template name → path of its HTML or MJML and of its text.
    templates: BTreeMap<&'a str, (Option<&'a str>, Option<&'a str>)>,
}

/// What could not be read, so that names it declares are not known.
#[derive(Default)]
struct Broken {
    segments: bool,
    catalog: bool,
    /// What the catalog describes, right or wrong: the code of the fault that its name is unknown, and the name.
    described: BTreeSet<(&'static str, String)>,
    templates: BTreeSet<String>,
}

/// The YAML among the files, each read once, with what is wrong in it.
pub struct Documents(BTreeMap<String, (Option<Node>, Faults)>);

impl Documents {
    /// Reads every `.yaml` file, whatever it is for.
    pub fn read(files: &Files) -> Documents {
        let yaml = files.iter().filter(|(path, _)| path.ends_with(".yaml"));
        let read = |path: &str, text: &str| {
            let mut faults = Faults::default();
            (node::parse(path, text, &mut faults), faults)
        };
        Documents(yaml.map(|(path, text)| (path.clone(), read(path, text))).collect())
    }

    /// What could be read.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.0.values().filter_map(|(node, _)| node.as_ref())
    }

    /// Hands a document over and reports what is wrong in it; `None` when it could not be read.
    fn take(&mut self, path: &str, faults: &mut Faults) -> Option<Node> {
        let (node, found) = self.0.remove(path)?;
        faults.extend(found);
        node
    }
}

/// Compiles a workspace. Faults are reported all at once; `None` when there are errors.
pub fn compile(files: &Files, faults: &mut Faults) -> Option<Workspace> {
    compile_read(files, Documents::read(files), faults)
}

/// As [`compile`], where the YAML among the files has been read before.
pub fn compile_read(files: &Files, documents: Documents, faults: &mut Faults) -> Option<Workspace> {
    let errors = faults.error_count();
    let workspace = compile_partly(files, documents, faults);
    (faults.error_count() == errors).then_some(workspace)
}

/// As [`compile_read`], with what could be made of files that have errors: without the funnels in which they are. Such
/// a workspace is good only for looking further faults up.
pub fn compile_partly(files: &Files, mut documents: Documents, faults: &mut Faults) -> Workspace {
    let errors = faults.error_count();
    let sorted = sort(files, faults);
    let mut nodes: Vec<(&str, &str, Option<Node>)> =
        sorted.funnels.iter().map(|(name, path)| (*name, *path, documents.take(path, faults))).collect();
    let mut broken = Broken::default();
    let also = put_blocks_in(files, &mut documents, &mut nodes, faults);
    let (settings, known) = settings(files, &mut documents, faults);
    let mut read = |path: &str, broken: &mut bool, faults: &mut Faults| {
        let node = documents.take(path, faults);
        *broken = node.is_none() && files.contains_key(path);
        node.filter(|node| !node.is_null())
    };
    let segments_node = read(SEGMENTS, &mut broken.segments, faults);
    let catalog_node = read(CATALOG, &mut broken.catalog, faults);
    let base = Base::new(&settings, Segments::declared(segments_node.as_ref()), &emitted(&nodes));
    let base = base.knowing(catalog_node.as_ref(), &settings);
    let base = if known { base } else { base.lenient() };
    let options = TemplateOptions { currency: settings.currency, zone: settings.zone };
    let templates = templates(&sorted, files, options, &mut broken.templates, faults);
    let mut found = Faults::default();
    let plain = Names::new(&base);
    let segments = Segments::compile(segments_node.as_ref(), &plain, &mut found);
    broken.described = described(catalog_node.as_ref());
    let catalog = match &catalog_node {
        Some(node) => Catalog::compile(node, &plain, settings.currency, &mut found),
        None => Catalog::default(),
    };
    let names = nodes.iter().map(|(name, ..)| (*name).to_owned()).collect();
    let cx = Context {
        base: &base,
        settings: &settings,
        catalog: &catalog,
        funnels: names,
        templates: &templates,
        segments: &segments,
    };
    let mut funnels = BTreeMap::new();
    for (name, path, node) in &nodes {
        let Some(node) = node else { continue };
        let text = [files[*path].as_str(), also.get(name).map_or("", String::as_str)].concat();
        if let Some(funnel) = draft::compile(name, &text, node, &cx, &mut found) {
            funnels.insert((*name).to_owned(), Arc::new(funnel));
        }
    }
    faults.extend(broken.without_consequences(found));
    budgets_of_funnels(&settings, &nodes, faults);
    let tests = tests(&sorted, &nodes, &mut documents, faults);
    let whole = faults.error_count() == errors;
    Linted { quiet: settings.quiet_hours, ..linted(&sorted, &nodes, &funnels, (settings.address.is_some(), whole)) }
        .report(faults);
    let keeps = keeps::keeps(&settings, &segments, &catalog, &funnels);
    let (hash, index) = (hash(files), Index::new(&funnels));
    let Index { by_event, by_segment, by_time, by_points } = index;
    let files = files.clone();
    Workspace { hash, settings, segments, catalog, funnels, keeps, by_event, by_segment, by_time, by_points, tests, files }
}

/// What stands in the catalog under its names.
fn described(catalog: Option<&Node>) -> BTreeSet<(&'static str, String)> {
    let kinds = [("bundles", "unknown-bundle"), ("memberships", "unknown-membership"), ("tiers", "unknown-tier")];
    let names = kinds.into_iter().flat_map(|(section, code)| {
        let entries = catalog.and_then(|node| node.get(section)).and_then(Node::map).unwrap_or_default();
        entries.iter().map(move |(key, _)| (code, key.text.clone()))
    });
    names.collect()
}

/// Puts blocks in the place of the steps that use them; returns, by funnel, what else its version is made of.
fn put_blocks_in<'a>(
    files: &Files,
    documents: &mut Documents,
    nodes: &mut [(&'a str, &'a str, Option<Node>)],
    faults: &mut Faults,
) -> BTreeMap<&'a str, String> {
    let node = documents.take(BLOCKS, faults).filter(|node| !node.is_null());
    let text = files.get(BLOCKS).map_or("", String::as_str);
    let blocks = Blocks::read(node.as_ref(), text, faults);
    let mut found = Faults::default();
    let mut also = BTreeMap::new();
    for (name, _, node) in nodes {
        let used = node.as_mut().and_then(|node| blocks.put_in(node, &mut found));
        also.extend(used.map(|text| (*name, text)));
    }
    // Of a file that could not be read nothing is known.
    if node.is_some() || !files.contains_key(BLOCKS) {
        faults.extend(found);
    }
    also
}

/// A budget of a funnel that there is not would hold nothing.
fn budgets_of_funnels(settings: &Settings, nodes: &[(&str, &str, Option<Node>)], faults: &mut Faults) {
    let known = || nodes.iter().map(|(name, _, _)| *name);
    for budget in &settings.budgets {
        if let Some(funnel) = budget.funnel.as_deref().filter(|funnel| known().all(|name| name != *funnel)) {
            faults
                .error("unknown-funnel", &budget.place, format!("there is no funnel `{}`", shown(funnel)))
                .did_you_mean(funnel, known());
        }
    }
}

fn linted<'a>(
    sorted: &Sorted<'a>,
    nodes: &[(&'a str, &'a str, Option<Node>)],
    funnels: &'a BTreeMap<String, Arc<Funnel>>,
    (address, whole): (bool, bool),
) -> Linted<'a> {
    let places = nodes.iter().filter_map(|(name, _, node)| Some((*name, node.as_ref()?.place.clone()))).collect();
    let templates = sorted.templates.iter().filter_map(|(name, (html, txt))| Some((*name, html.or(*txt)?))).collect();
    Linted { funnels, places, templates, quiet: None, address, whole }
}

/// SHA-256 over everything that decides what happens to customers: all files but those in `tests/`.
fn hash(files: &Files) -> String {
    digest(files.iter().filter(|(path, _)| !path.starts_with("tests/")).flat_map(|(path, text)| [path.as_str(), text.as_str()]))
}

/// The beginning of a file.
fn start(path: &str) -> Place {
    Place { file: Arc::from(path), line: 1, column: 1, length: 1 }
}

fn sort<'a>(files: &'a Files, faults: &mut Faults) -> Sorted<'a> {
    let mut out = Sorted::default();
    for path in files.keys().map(String::as_str) {
        let parts: Vec<&str> = path.split('/').collect();
        if parts.iter().any(|part| part.starts_with('.')) {
            continue;
        }
        match parts[..] {
            [SETTINGS | SEGMENTS | CATALOG | BLOCKS] => {}
            [file] if let Some(name) = file.strip_suffix(".yaml") => {
                if let Some(why) = bad_name(name) {
                    faults
                        .error("funnel-name", &start(path), format!("`{}` cannot be a funnel's name: {why}", shown(name)))
                        .hint("the name of the file is the funnel's name; use small letters, digits and `-`");
                } else {
                    out.funnels.push((name, path));
                }
            }
            ["tests", file] if let Some(name) = file.strip_suffix(".yaml") => out.tests.push((name, path)),
            ["templates", file] if let Some(name) = file.strip_suffix(".html").or(file.strip_suffix(".mjml")) => {
                if let Some(other) = out.templates.entry(name).or_default().0.replace(path) {
                    faults
                        .error("doubled-template", &start(path), format!("`{}` is the same template in HTML", shown(other)))
                        .hint("keep one of the two files");
                }
            }
            ["templates", file] if let Some(name) = file.strip_suffix(".txt") => {
                out.templates.entry(name).or_default().1 = Some(path)
            }
            _ => unused(path, &parts, faults),
        }
    }
    if out.funnels.len() > FUNNELS_MAX {
        let path = out.funnels[FUNNELS_MAX].1;
        faults.error("too-many", &start(path), format!("a workspace has at most {FUNNELS_MAX} funnels"));
        out.funnels.truncate(FUNNELS_MAX);
    }
    out
}

fn unused(path: &str, parts: &[&str], faults: &mut Faults) {
    let hint = match parts {
        [file] if file.ends_with(".yml") => "name it `.yaml`",
        ["templates", ..] => "a template is `templates/NAME.html`, `templates/NAME.mjml` or `templates/NAME.txt`",
        ["tests", ..] => "tests are in `tests/FUNNEL.yaml`",
        [file, ..] if file.ends_with(".md") => return,
        _ => "a funnel is `NAME.yaml` in the folder itself; remove the file, or move it out of the folder",
    };
    faults.warning("unused-file", &start(path), format!("the file `{}` is not used", shown(path))).hint(hint);
}

fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

fn bad_name(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("it is empty".to_owned());
    }
    if name.len() > FUNNEL_NAME_BYTES_MAX {
        return Some(format!("it is longer than {FUNNEL_NAME_BYTES_MAX} characters"));
    }
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.chars().find(|c| !fits(*c)).map(|bad| format!("it has `{bad}` in it"))
}

/// The settings, and whether they could be read at all; if not, those of an empty file stand in, so that
/// the other files are checked all the same.
fn settings(files: &Files, documents: &mut Documents, faults: &mut Faults) -> (Settings, bool) {
    let node = match files.contains_key(SETTINGS) {
        false => {
            faults
                .error("no-settings", &start(SETTINGS), format!("there is no file {SETTINGS}"))
                .hint("it begins with `workspace:`, `zone:` and `currency:`; `autofunnel init` writes one");
            None
        }
        true => documents.take(SETTINGS, faults),
    };
    match node {
        Some(node) => (Settings::compile(&node, faults), true),
        None => {
            let empty = Node { place: start(SETTINGS), kind: NodeKind::Map(Vec::new()) };
            (Settings::compile(&empty, &mut Faults::default()), false)
        }
    }
}

/// The events that steps emit, in any funnel: they are known in all of them.
fn emitted(nodes: &[(&str, &str, Option<Node>)]) -> Vec<String> {
    fn walk(node: &Node, out: &mut Vec<String>) {
        for item in node.list().unwrap_or_default() {
            walk(item, out);
        }
        for (key, value) in node.map().unwrap_or_default() {
            match value.scalar() {
                Some(name) if key.text == "emit" => out.push(name.to_owned()),
                _ => walk(value, out),
            }
        }
    }
    let mut out = Vec::new();
    for steps in nodes.iter().filter_map(|(_, _, node)| node.as_ref()?.get("steps")) {
        walk(steps, &mut out);
    }
    out
}

fn templates(
    sorted: &Sorted<'_>,
    files: &Files,
    options: TemplateOptions,
    broken: &mut BTreeSet<String>,
    faults: &mut Faults,
) -> BTreeMap<String, Arc<Template>> {
    let mut out = BTreeMap::new();
    for (name, (html, txt)) in &sorted.templates {
        let with_text = |path: Option<&str>| {
            path.and_then(|path| files.get_key_value(path)).map(|(path, text)| (path.as_str(), text.as_str()))
        };
        match Template::compile(name, with_text(*html), with_text(*txt), options, faults) {
            Some(template) => {
                out.insert((*name).to_owned(), Arc::new(template));
            }
            None => {
                broken.insert((*name).to_owned());
            }
        }
    }
    out
}

impl Broken {
    /// The faults without those that only follow from a file that could not be read.
    fn without_consequences(&self, faults: Faults) -> Faults {
        let follows = |code: &str, message: &str| match code {
            "unknown-segment" => self.segments,
            "unknown-bundle" | "unknown-membership" | "unknown-tier" => {
                self.catalog || self.described.iter().any(|(of, name)| *of == code && message.contains(&format!("`{name}`")))
            }
            "unknown-template" => self.templates.iter().any(|name| message.contains(&format!("`{name}`"))),
            _ => false,
        };
        if !faults.list().iter().any(|fault| follows(fault.code, &fault.message)) {
            return faults;
        }
        let mut out = Faults::default();
        for fault in faults.list().iter().filter(|fault| !follows(fault.code, &fault.message)) {
            repeat(fault, fault.message.clone(), &mut out);
        }
        out
    }
}

/// The tests of all funnels: those in their own files, then those in `tests/`.
fn tests(
    sorted: &Sorted<'_>,
    nodes: &[(&str, &str, Option<Node>)],
    documents: &mut Documents,
    faults: &mut Faults,
) -> Vec<(String, Node)> {
    let mut out = Vec::new();
    for (name, _, node) in nodes {
        if let Some(list) = node.as_ref().and_then(|node| node.get("tests")) {
            add_tests(name, list, &mut out, faults);
        }
    }
    for (name, path) in &sorted.tests {
        if !nodes.iter().any(|(funnel, _, _)| funnel == name) {
            let meant = closest(name, nodes.iter().map(|(funnel, _, _)| *funnel));
            faults
                .error("unknown-funnel", &start(path), format!("there is no funnel `{}` that this file could test", shown(name)))
                .hint(meant.map_or_else(
                    || "a file of tests is named after the funnel that it tests".to_owned(),
                    |meant| format!("did you mean `{meant}`?"),
                ));
        }
        let Some(node) = documents.take(path, faults) else { continue };
        let Some(object) = Object::read(&node, &[TESTS_FIELDS], "a file of tests", faults) else { continue };
        if let Some(list) = object.node("tests") {
            add_tests(name, list, &mut out, faults);
        }
    }
    out
}

fn add_tests(funnel: &str, list: &Node, out: &mut Vec<(String, Node)>, faults: &mut Faults) {
    if list.is_null() {
        return;
    }
    match list.list() {
        Some(tests) => out.extend(tests.iter().map(|test| (funnel.to_owned(), test.clone()))),
        None => {
            faults
                .error("wrong-type", &list.place, format!("`tests` is a list, but here stands {}", list.describe()))
                .hint("begin each test with `- name: …`");
        }
    }
}

/// Which funnels can start on what; each list in order of priority, then name.
struct Index {
    by_event: HashMap<String, Vec<Arc<Funnel>>>,
    by_segment: HashMap<String, Vec<Arc<Funnel>>>,
    by_time: Vec<Arc<Funnel>>,
    by_points: Vec<Arc<Funnel>>,
}

impl Index {
    fn new(funnels: &BTreeMap<String, Arc<Funnel>>) -> Index {
        let mut ordered: Vec<&Arc<Funnel>> = funnels.values().collect();
        ordered.sort_by(|a, b| b.priority.cmp(&a.priority).then_with(|| a.name.cmp(&b.name)));
        let mut out = Index { by_event: HashMap::new(), by_segment: HashMap::new(), by_time: Vec::new(), by_points: Vec::new() };
        for funnel in ordered {
            match funnel.trigger.interest() {
                Interest::Events(names) => {
                    for name in BTreeSet::from_iter(names) {
                        out.by_event.entry(name).or_default().push(funnel.clone());
                    }
                }
                Interest::Segment(name) => out.by_segment.entry(name).or_default().push(funnel.clone()),
                Interest::Time => out.by_time.push(funnel.clone()),
                Interest::Points => out.by_points.push(funnel.clone()),
                Interest::Manual => {}
            }
        }
        out
    }
}

#[cfg(test)]
mod tests;
