//! The valid documents that everything is made of: the sample workspace and the examples.

use super::chance::Chance;
use super::mutate::Corpus;
use super::tree::Tree;
use autofunnel::app::workspace::{self, Checked};
use autofunnel::engine::intake::World;
use autofunnel::funnel::names::Base;
use autofunnel::funnel::{Definitions, Files, Workspace};
use autofunnel::lang::diag::Faults;
use autofunnel::lang::node;
use autofunnel::lang::time::Time;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The instant of everything: 2027-03-01T09:00:00Z.
pub const NOW: Time = Time(1_803_891_600_000);

/// What signs the deliveries of the source `shop`: its key, and as it is written.
pub const SHOP_KEY: &[u8] = b"a key of thirty-two bytes, really";
/// What signs the deliveries of the source `help-desk`.
pub const DESK_SECRET: &str = "a secret of the help desk";
/// The token of the source `till`.
pub const TILL_TOKEN: &str = "a token of the till, long enough";

/// More sources than the examples have: the other ways to verify.
const MORE_SOURCES: &str = "
till:
  verify: { bearer: \"${env:AUTOFUNNEL_TILL}\" }
  map:
    - { event: { cel: body.kind }, id: body.id, customer: body.who, time: body.at, properties: { amount: body.sum } }
old-shop:
  verify:
    hmac: { algorithm: sha1, header: X-Old-Signature, encoding: base64, secret: \"${env:AUTOFUNNEL_HELPDESK_SECRET}\" }
  map:
    - { event: purchase, id: body.id, customer: body.who, properties: { amount: body.sum } }
open:
  verify: none
  map:
    - { event: purchase, id: body.id, customer: body.who, properties: { amount: body.sum, items: body.items } }
";

/// The folder of this package.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A file of this package.
pub fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// A YAML text as a tree.
pub fn tree(text: &str) -> Tree {
    let mut faults = Faults::default();
    let node = node::parse("sample.yaml", text, &mut faults).unwrap_or_else(|| panic!("{:?}", faults.list()));
    Tree::of_yaml(&node)
}

/// The sample workspace, with the examples' webhooks among its settings.
pub fn files() -> Files {
    let mut files = workspace::read(&root().join("funnels")).expect("the sample workspace can be read");
    let mut settings = tree(&files["autofunnel.yaml"]);
    let mut sources = tree(&text("examples/webhooks.yaml")).get("sources").cloned().expect("the example has sources");
    if let (Tree::Map(known), Tree::Map(more)) = (&mut sources, tree(MORE_SOURCES)) {
        known.extend(more);
    }
    settings.put("sources", sources);
    settings.put("membership_owner", Tree::Word("api".to_owned()));
    files.insert("autofunnel.yaml".to_owned(), settings.yaml(&mut Chance::of("sample", 0, 0)));
    files
}

/// The settings with providers that call over HTTP.
pub fn settings_with_providers(files: &Files) -> Tree {
    let mut settings = tree(&files["autofunnel.yaml"]);
    let http = tree(&text("examples/http-provider.yaml"));
    for key in ["channels", "providers", "loyalty"] {
        settings.put(key, http.get(key).cloned().expect("the example has it"));
    }
    settings
}

/// The secrets that the samples name.
pub fn secrets() -> BTreeMap<String, String> {
    use base64::Engine as _;
    let whsec = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(SHOP_KEY));
    let old = format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode([7; 24]));
    [
        ("env:AUTOFUNNEL_SHOP_SECRET", whsec),
        ("env:AUTOFUNNEL_SHOP_SECRET_OLD", old),
        ("env:AUTOFUNNEL_HELPDESK_SECRET", DESK_SECRET.to_owned()),
        ("env:AUTOFUNNEL_TILL", TILL_TOKEN.to_owned()),
        ("env:AUTOFUNNEL_TWILIO_TOKEN", "a token of the telephone service".to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into()
}

/// The sample workspace, checked.
pub fn checked() -> Checked {
    let checked = workspace::check(&files(), &secrets());
    assert!(checked.workspace.is_some(), "{:#?}", checked.faults);
    checked
}

/// What the doors know of it.
pub fn world() -> World {
    let checked = checked();
    workspace::world(checked.workspace.as_ref().expect("it is sound"), checked.sources)
}

/// It, to be played.
pub fn definitions() -> Definitions {
    Definitions::new(Arc::new(checked().workspace.expect("it is sound")))
}

/// The names that its conditions may use.
pub fn base(workspace: &Workspace) -> Base {
    let segments = workspace.segments.list().iter().map(|segment| segment.name.clone()).collect();
    Base::new(&workspace.settings, segments, &[])
}

/// The lines of an example, each as a tree.
pub fn lines(path: &str) -> Vec<Tree> {
    let read = |line: &str| Tree::of_json(&serde_json::from_str(line).expect("the example is JSON"));
    text(path).lines().filter(|line| !line.trim().is_empty()).map(read).collect()
}

/// A corpus of trees.
pub fn corpus<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> Corpus {
    let mut corpus = Corpus::default();
    trees.into_iter().for_each(|tree| corpus.learn(tree));
    corpus
}
