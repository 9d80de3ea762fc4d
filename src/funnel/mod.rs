//! Checked documents: settings, segments, catalog, templates and funnels as one immutable workspace.
//!
//! The road: files → nodes → drafts → [`Workspace`], valid by construction and named by the hash of its
//! content. A funnel's version is the hash of its own file and of the templates it uses; a run stays on
//! the version that it entered ([`Definitions`] keeps every version that a live run names).

use crate::catalog::Catalog;
use crate::customer::history::Keep;
use crate::lang::cel::{Cond, Expr};
use crate::lang::diag::Faults;
use crate::lang::node::Node;
use crate::lang::time::{Span, Time};
use crate::segment::Segments;
use crate::step::winner::Winner;
use crate::step::{Mode, Steps};
use crate::template::Template;
use crate::trigger::Trigger;
use crate::watch::Watch;
use settings::Settings;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub mod blocks;
pub mod diagram;
pub mod draft;
mod fresh;
pub mod holdout;
mod keeps;
mod lint;
pub mod names;
pub mod plan;
pub mod schema;
pub mod settings;
pub mod winner;
pub mod workspace;

pub use fresh::StoreReads;
pub use workspace::Documents;

/// The files of a workspace: path relative to its folder (with `/`) → text.
pub type Files = BTreeMap<String, String>;

/// A workspace, checked.
#[derive(Debug)]
pub struct Workspace {
    /// SHA-256 of its files, in hexadecimal.
    pub hash: String,
    /// `autofunnel.yaml`.
    pub settings: Settings,
    /// `segments.yaml`, in the order in which they are judged.
    pub segments: Segments,
    /// `catalog.yaml`.
    pub catalog: Catalog,
    /// Funnels by name.
    pub funnels: BTreeMap<String, Arc<Funnel>>,
    /// What the definitions ask to be kept in histories, by event name.
    pub keeps: BTreeMap<String, Keep>,
    /// Which funnels can care about an event of a name, in order of priority, then name.
    pub by_event: HashMap<String, Vec<Arc<Funnel>>>,
    /// Which funnels a change of a segment can start.
    pub by_segment: HashMap<String, Vec<Arc<Funnel>>>,
    /// Funnels with a trigger that time fires.
    pub by_time: Vec<Arc<Funnel>>,
    /// Funnels with a trigger on points.
    pub by_points: Vec<Arc<Funnel>>,
    /// Funnel tests: funnel name and the node of each test.
    pub tests: Vec<(String, Node)>,
    /// The files it was made of; kept in the store.
    pub files: Files,
}

/// A funnel, checked.
#[derive(Debug)]
pub struct Funnel {
    /// File stem.
    pub name: String,
    /// SHA-256 of the funnel's file and its templates, in hexadecimal.
    pub version: String,
    /// For people.
    pub title: String,
    /// For people; may be empty.
    pub description: String,
    /// Why a run starts.
    pub trigger: Box<dyn Trigger>,
    /// One run per key at a time; `None`: one per customer.
    pub key: Option<Expr>,
    /// How often.
    pub re_entry: ReEntry,
    /// Entry filter.
    pub only_if: Option<Cond>,
    /// So long the entry filter is judged again.
    pub settle: Option<Span>,
    /// Must hold for a run to go on.
    pub go_on_while: Option<Cond>,
    /// Ends a run at once.
    pub exit_on: Vec<Watch>,
    /// What it is for.
    pub goal: Option<Goal>,
    /// Higher first.
    pub priority: i64,
    /// This share is left alone and measured all the same; `None`: as the workspace says.
    pub holdout: Option<holdout::Share>,
    /// What happens to its live runs when another version of it is applied.
    pub on_change: OnChange,
    /// Steps of earlier versions by what they are called now.
    pub renamed: BTreeMap<String, String>,
    /// Its messages are not marketing.
    pub transactional: bool,
    /// Whether what it does leaves.
    pub mode: Mode,
    /// Consent topic.
    pub topic: Option<String>,
    /// Default tag of its messages.
    pub tag: Option<String>,
    /// What a run does.
    pub steps: Steps,
    /// Its templates, by name; inline ones as `inline:<step id>`.
    pub templates: BTreeMap<String, Arc<Template>>,
    /// For each step that renders: the paths to freeze into its effect. By step index.
    pub frozen: HashMap<u32, Vec<Vec<String>>>,
    /// The steps that read what a remote loyalty store says, by index.
    pub store_reads: HashMap<u32, StoreReads>,
}

/// What happens to the live runs of earlier versions of a funnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnChange {
    /// They stay on the version that they entered.
    #[default]
    Pin,
    /// They go on in this version, at the step of the same id.
    Migrate,
    /// They stay, and who has one does not enter this version before it is over.
    Drain,
}

/// How often a customer may enter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReEntry {
    /// Once.
    Never,
    /// Whenever the trigger fires and no run of the same key is live.
    Always,
    /// Not before this span after the last entry.
    After(Span),
    /// Once per calendar year in her zone.
    PerYear,
    /// Once per membership term.
    PerTerm,
}

/// What a funnel is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// What counts.
    pub watch: Watch,
    /// Within this span after entry, ended runs included.
    pub within: Span,
    /// Worth of it, in major units.
    pub value: Option<Expr>,
    /// Each time, not once per run.
    pub every: bool,
}

/// The definitions in force, and the versions that live runs are pinned to.
#[derive(Clone, Debug)]
pub struct Definitions {
    /// What new entries, segments, settings and the catalog are judged by.
    pub current: Arc<Workspace>,
    /// Funnels by version hash.
    pub pinned: HashMap<String, Arc<Funnel>>,
    /// The variants that were chosen. They hold for runs of every version, as settings do.
    pub winners: Arc<Vec<Winner>>,
}

impl Definitions {
    /// The current workspace with its own funnels pinned.
    pub fn new(current: Arc<Workspace>) -> Definitions {
        let pinned = current.funnels.values().map(|f| (f.version.clone(), f.clone())).collect();
        Definitions { current, pinned, winners: Arc::default() }
    }

    /// Adds the funnels of an older workspace that live runs are pinned to.
    pub fn pin(&mut self, older: &Workspace) {
        for funnel in older.funnels.values() {
            self.pinned.entry(funnel.version.clone()).or_insert_with(|| funnel.clone());
        }
    }

    /// The same with these winners.
    pub fn with_winners(self, winners: Vec<Winner>) -> Definitions {
        Definitions { winners: Arc::new(winners), ..self }
    }

    /// The variant of a split that holds at an instant because it was chosen.
    pub fn winner(&self, funnel: &str, step: &str, at: Time) -> Option<&Winner> {
        self.winners.iter().find(|winner| winner.funnel == funnel && winner.step == step && winner.from <= at)
    }

    /// The funnel of a version.
    pub fn funnel(&self, version: &str) -> Option<&Arc<Funnel>> {
        self.pinned.get(version)
    }
}

/// Compiles a workspace. Faults are reported all at once; `None` when there are errors.
pub fn compile(files: &Files, faults: &mut Faults) -> Option<Workspace> {
    workspace::compile(files, faults)
}

/// As [`compile`], where the YAML among the files has been read before.
pub fn compile_read(files: &Files, documents: Documents, faults: &mut Faults) -> Option<Workspace> {
    workspace::compile_read(files, documents, faults)
}
