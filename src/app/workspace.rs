//! A workspace folder: read, compiled, and its providers and sources made from the settings.

use crate::channel::{self, Channel};
use crate::engine::intake::World;
use crate::funnel::settings::STORE;
use crate::funnel::{self, Documents, Files, Funnel, Workspace};
use crate::lang::diag::{Fault, Faults, Severity};
use crate::lang::render::Sources;
use crate::loyalty;
use crate::source::Source;
use crate::template::TemplateOptions;
use crate::trigger::Interest;
use crate::web::view::{FunnelView, StepView};
use crate::wire::secrets::{self, Secrets};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

/// Most files of a workspace.
pub const FILES_MAX: usize = 2_000;
/// Largest workspace, in bytes.
pub const WORKSPACE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Folders below the workspace's own that belong to it.
const FOLDERS: &[&str] = &["templates", "tests"];

/// A workspace with everything that is made from it.
pub struct Checked {
    /// The workspace; `None` when there are errors.
    pub workspace: Option<Workspace>,
    /// What could be made of one with errors, good only for looking further faults up.
    pub partial: Option<Workspace>,
    /// Providers by name, the development inbox among them.
    pub channels: HashMap<String, Arc<dyn Channel>>,
    /// Sources of webhooks by name.
    pub sources: BTreeMap<String, Arc<Source>>,
    /// What is wrong, in the order of files and lines.
    pub faults: Vec<Fault>,
    /// How many more faults there were.
    pub dropped: usize,
    /// The files' texts, to show lines.
    pub texts: Sources,
}

impl Checked {
    /// Number of errors and of warnings.
    pub fn counts(&self) -> (usize, usize) {
        let errors = self.faults.iter().filter(|fault| fault.severity == Severity::Error).count();
        let warnings = self.faults.len() - errors;
        // Errors are kept before warnings: as long as there is a warning in the list, no error was left out.
        match warnings {
            0 => (errors + self.dropped, 0),
            _ => (errors, warnings + self.dropped),
        }
    }
}

/// Reads the files of a workspace folder.
///
/// # Errors
/// When the folder or a file cannot be read, or is larger than the limits.
pub fn read(folder: &Path) -> anyhow::Result<Files> {
    if !folder.is_dir() {
        bail!("there is no folder {}; `autofunnel init {}` makes one", folder.display(), folder.display());
    }
    let mut files = Files::new();
    let mut bytes = 0u64;
    read_folder(folder, "", &mut files, &mut bytes)?;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))? {
        let below = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?.path();
        let Some(name) = below.file_name().and_then(|name| name.to_str()).filter(|name| !name.starts_with('.')) else { continue };
        if FOLDERS.contains(&name) && below.is_dir() {
            read_folder(&below, &format!("{name}/"), &mut files, &mut bytes)?;
        } else if below.is_dir() {
            name_folder(&below, name, &mut files);
        }
    }
    Ok(files)
}

/// What could be a funnel in a folder that is none of a workspace's is told not to be used. It is not read: what
/// stands in it is nobody's concern here. A folder that cannot be looked into belongs to somebody else.
fn name_folder(folder: &Path, prefix: &str, files: &mut Files) {
    let names =
        std::fs::read_dir(folder).into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let meant = names.filter(|name| !name.starts_with('.') && (name.ends_with(".yaml") || name.ends_with(".yml")));
    for name in meant.take(FILES_MAX.saturating_sub(files.len())) {
        files.insert(format!("{prefix}/{name}"), String::new());
    }
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Files, bytes: &mut u64) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let path = entry.path();
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            bail!("{} has a name that is not UTF-8; rename it", path.display());
        };
        if name.starts_with('.') || !path.is_file() {
            continue;
        }
        *bytes += entry.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
        if files.len() >= FILES_MAX || *bytes > WORKSPACE_BYTES_MAX {
            bail!("{} holds more than {FILES_MAX} files or {} MiB", folder.display(), WORKSPACE_BYTES_MAX >> 20);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {} as UTF-8 text", path.display()))?;
        files.insert(format!("{prefix}{name}"), text);
    }
    Ok(())
}

/// Compiles files and makes what the settings name.
pub fn check(files: &Files, secrets: &dyn Secrets) -> Checked {
    let mut faults = Faults::default();
    let mut texts = Sources::default();
    for (file, text) in files {
        texts.add(file, text);
    }
    let documents = Documents::read(files);
    for node in documents.nodes() {
        secrets::scan(node, &mut faults);
    }
    let workspace = funnel::workspace::compile_partly(files, documents, &mut faults);
    // What is wrong with these is told whatever else is.
    let channels = make_channels(&workspace, secrets, &mut faults);
    let mut sources = BTreeMap::new();
    for (name, node) in &workspace.settings.sources {
        if let Some(source) = Source::compile(name, node, secrets, &mut faults) {
            sources.insert(name.clone(), Arc::new(source));
        }
    }
    let sound = !faults.has_errors();
    let (faults, dropped) = faults.into_sorted();
    let (workspace, partial) = if sound { (Some(workspace), None) } else { (None, Some(workspace)) };
    Checked { workspace, partial, channels, sources, faults, dropped, texts }
}

fn make_channels(workspace: &Workspace, secrets: &dyn Secrets, faults: &mut Faults) -> HashMap<String, Arc<dyn Channel>> {
    let options = TemplateOptions { currency: workspace.settings.currency, zone: workspace.settings.zone };
    let setup = channel::Setup { secrets, options };
    let mut channels: HashMap<String, Arc<dyn Channel>> = HashMap::new();
    for (name, node) in &workspace.settings.providers {
        if let Some(channel) = channel::compile(name, node, setup, faults) {
            if workspace.settings.loyalty.as_deref() == Some(name.as_str()) && !channel.grants() {
                faults.error("loyalty-provider", &node.place, format!("the provider `{name}` cannot book points"));
            }
            channels.insert(name.clone(), channel);
        }
    }
    if let Some(store) = &workspace.settings.loyalty_store
        && let Some(channel) = loyalty::compile(&store.node, setup, faults)
    {
        channels.insert(STORE.to_owned(), channel);
    }
    for (name, node) in &workspace.settings.services {
        if let Some(service) = channel::service(name, node, setup, faults) {
            channels.insert(name.clone(), service);
        }
    }
    channels.entry(channel::DEFAULT_PROVIDER.to_owned()).or_insert_with(channel::default_provider);
    channels
}

/// What the doors must know of a workspace.
pub fn world(workspace: &Workspace, sources: BTreeMap<String, Arc<Source>>) -> World {
    let manual = |funnel: &Arc<Funnel>| funnel.trigger.interest() == Interest::Manual;
    World {
        hash: workspace.hash.clone(),
        settings: workspace.settings.clone(),
        funnels: workspace.funnels.iter().map(|(name, funnel)| (name.clone(), manual(funnel))).collect(),
        memberships: workspace.catalog.memberships.keys().cloned().collect(),
        sources,
    }
}

/// What the pages show of a workspace's funnels.
pub fn views(workspace: &Workspace) -> Vec<FunnelView> {
    let view = |funnel: &Arc<Funnel>| FunnelView {
        name: funnel.name.clone(),
        title: funnel.title.clone(),
        events: match funnel.trigger.interest() {
            Interest::Events(names) => names,
            _ => Vec::new(),
        },
        trigger: funnel.trigger.sentence(),
        steps: step_views(funnel),
    };
    workspace.funnels.values().map(view).collect()
}

/// The steps in the order of the file; the first of an arm says which arm it begins.
fn step_views(funnel: &Funnel) -> Vec<StepView> {
    let mut views: Vec<StepView> = Vec::with_capacity(funnel.steps.list.len());
    let mut arms: Vec<(u32, &str)> = Vec::new();
    for step in &funnel.steps.list {
        arms.retain(|(depth, _)| *depth <= step.depth);
        let begins = !step.arm.is_empty() && arms.iter().all(|(depth, arm)| *depth != step.depth || *arm != step.arm);
        if begins {
            arms.retain(|(depth, _)| *depth != step.depth);
            arms.push((step.depth, &step.arm));
        }
        let arm = if begins { format!("{} → ", step.arm) } else { String::new() };
        let condition = step.only_if.as_ref().map(|only_if| format!(" — if {}", only_if.text.text)).unwrap_or_default();
        views.push(StepView {
            id: step.id.clone(),
            kind: step.kind.to_owned(),
            label: format!("{arm}{}{condition}", step.step.sentence()),
            depth: step.depth as usize,
        });
    }
    views
}
