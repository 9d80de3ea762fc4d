//! Exchanging the workspace of a running engine: planned, applied, and followed by the processes beside it.
//!
//! The store has the truth: one step makes a workspace current, if the one that the plan was made against still is.
//! This process then takes it; others see within `FOLLOW` that another one is current, and take it, too. Dying in
//! between loses nothing: whoever starts takes what the store has, and looks at every customer that another version
//! judged last.

use super::engine::definitions;
use super::moved::moved;
use super::workspace::{self, Checked};
use crate::engine::intake::{Refusal, Shared, World};
use crate::engine::link::Signer;
use crate::engine::{Engine, Live};
use crate::funnel::plan::{self, Fate, LiveAt, Plan};
use crate::funnel::{Definitions, Files, Workspace};
use crate::lang::diag::Faults;
use crate::lang::render;
use crate::queue;
use crate::step::winner::Winner;
use crate::store::applied::{Applied, Applying};
use crate::web::view::FunnelView;
use crate::web::workspace::{Named, Order, Unfit, Workspaces};
use crate::wire::secrets::Secrets;
use futures_util::future::BoxFuture;
use serde_json::{Value as Json, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// How often it is looked whether another process has applied a workspace.
const FOLLOW: Duration = Duration::from_secs(1);
/// What was applied and is shown.
const SHOWN_MAX: usize = 50;
/// Shortest beginning of a hash that names a version, in characters.
const PREFIX_CHARS_MIN: usize = 4;

/// Everything that changes with the workspace.
pub struct Exchange {
    /// The engine: its store, its definitions.
    pub engine: Engine,
    /// What the doors know.
    pub world: Arc<Shared<World>>,
    /// What the pages show.
    pub views: Arc<Shared<Vec<FunnelView>>>,
    /// Where providers' secrets come from.
    pub secrets: Arc<dyn Secrets>,
    /// The doors can be reached from other machines.
    pub open: bool,
    /// This process looks at everybody after a change.
    pub scans: bool,
    /// One at a time.
    pub one: Mutex<()>,
}

/// A plan with everything that it was made from.
struct Planned {
    plan: Plan,
    refused: Vec<String>,
    checked: Checked,
    warnings: Json,
}

impl Exchange {
    /// Takes the workspace that is current in the store, if it is another one. One that this process cannot use (a
    /// secret is missing, say) is left, with an error in the log: what it has goes on.
    async fn follow_once(&self, seen: &mut String) -> Result<(), Unfit> {
        {
            let _one = self.one.lock().await;
            self.engine.hear_of_winners().await?;
        }
        let Some(newest) = self.engine.store.applied().await?.into_iter().next() else { return Ok(()) };
        let key = format!("{} {}", newest.hash, newest.at);
        if key == *seen {
            return Ok(());
        }
        if self.engine.live.get().definitions.current.hash != newest.hash {
            let _one = self.one.lock().await;
            let files = self.kept(&newest.hash).await?;
            let checked = self.checked(&files)?;
            self.take(checked).await?;
            tracing::info!(workspace = %newest.hash, by = %newest.by, "took the workspace that was applied");
        }
        *seen = key;
        Ok(())
    }

    /// Follows what other processes apply, until it is stopped.
    pub async fn follow(self: Arc<Exchange>, mut stop: watch::Receiver<bool>) {
        let mut seen = String::new();
        let mut failed = String::new();
        loop {
            match self.follow_once(&mut seen).await {
                Ok(()) => failed.clear(),
                Err(unfit) => {
                    let why = sentence(&unfit);
                    if why != failed {
                        tracing::error!(%why, "the workspace that was applied cannot be taken; the one before goes on here");
                        failed = why;
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(FOLLOW) => {}
                () = queue::stopped(&mut stop) => return,
            }
        }
    }

    async fn kept(&self, hash: &str) -> Result<Files, Unfit> {
        let bundle = self.engine.store.bundle(hash.to_owned()).await?;
        let files = bundle.and_then(|bundle| serde_json::from_slice(&bundle).ok());
        files.ok_or_else(|| Unfit::NoSuch(Refusal::new(format!("the files of the workspace {hash} are not kept"))))
    }

    fn checked(&self, files: &Files) -> Result<Checked, Unfit> {
        let checked = workspace::check(files, &*self.secrets);
        if checked.workspace.is_none() {
            return Err(Unfit::Faults(faults(&checked)));
        }
        match checked.sources.values().find(|source| source.needs_loopback() && self.open) {
            None => Ok(checked),
            Some(source) => Err(Unfit::Refused(
                Refusal::new(format!(
                    "the source `{}` takes unsigned webhooks (`verify: none`), and this engine can be reached from other machines",
                    source.name()
                ))
                .hint("sign its webhooks, or let the engine listen on loopback"),
            )),
        }
    }

    /// Puts a workspace in the place of the present one, in this process.
    async fn take(&self, checked: Checked) -> Result<(), Unfit> {
        let Some(current) = checked.workspace else { return Err(Unfit::Faults(Json::Null)) };
        let referenced = checked.sources.values().flat_map(|source| source.providers()).map(str::to_owned).collect();
        let world = workspace::world(&current, checked.sources);
        let views = workspace::views(&current);
        let store = &*self.engine.store;
        let definitions = definitions(store, current).await.map_err(|why| Unfit::Refused(Refusal::new(why.to_string())))?;
        let signer = Signer::new(store.link_key().await?);
        self.engine.live.swap(Live::new(definitions, checked.channels, signer).hearing_of(referenced));
        self.world.swap(world);
        self.views.swap(views);
        Ok(())
    }

    async fn files(&self, named: Named) -> Result<Files, Unfit> {
        let begins = match named {
            Named::Files(files) => return Ok(files),
            Named::Version(begins) => begins,
        };
        let mut known: Vec<String> = Vec::new();
        for applied in self.engine.store.applied().await? {
            known.extend([applied.hash, applied.before].into_iter().filter(|hash| !hash.is_empty()));
        }
        known.sort();
        known.dedup();
        let found: Vec<&String> = known.iter().filter(|hash| hash.starts_with(&begins)).collect();
        match found[..] {
            [hash] if begins.len() >= PREFIX_CHARS_MIN => self.kept(hash).await,
            [] => Err(Unfit::NoSuch(
                Refusal::new(format!("no workspace that was in force begins with `{begins}`"))
                    .hint("`autofunnel apply --list` (GET /v1/workspace) lists them"),
            )),
            _ => Err(Unfit::NoSuch(
                Refusal::new(format!("`{begins}` is not enough to tell which one is meant")).hint("write more of it"),
            )),
        }
    }

    async fn planned(&self, named: Named) -> Result<Planned, Unfit> {
        let checked = self.checked(&self.files(named).await?)?;
        let Some(next) = &checked.workspace else { return Err(Unfit::Faults(Json::Null)) };
        let mut kept = Vec::new();
        for (_, bundle) in self.engine.store.definitions().await? {
            let files: Option<Files> = serde_json::from_slice(&bundle).ok();
            kept.extend(files.and_then(|files| crate::funnel::compile(&files, &mut Faults::default())));
        }
        let Some(now) = kept.first() else {
            return Err(Unfit::Refused(Refusal::new("the workspace in force does not compile under this version of the engine")));
        };
        let live: Vec<LiveAt> = self
            .engine
            .store
            .live_steps()
            .await?
            .into_iter()
            .map(|at| LiveAt { funnel: at.funnel, version: at.version, step: at.step, count: at.count })
            .collect();
        let found = |version: &str| kept.iter().flat_map(|w| w.funnels.values()).find(|f| f.version == version).map(|f| &**f);
        let plan = plan::plan(now, next, &live, found);
        let refused = refused(&plan, &kept, next);
        let warnings = faults(&checked);
        Ok(Planned { plan, refused, checked, warnings })
    }

    async fn apply_order(&self, order: Order) -> Result<Json, Unfit> {
        let _one = self.one.lock().await;
        let Planned { plan, refused, checked, .. } = self.planned(order.workspace).await?;
        if plan.hash == plan.base {
            return Ok(json!({ "status": "unchanged", "hash": plan.hash }));
        }
        let moved = || {
            let why = "another workspace came into force since the plan was made";
            Unfit::Moved(Refusal::new(why).field("base").hint("make the plan again and look at it"))
        };
        if plan.base != order.base {
            return Err(moved());
        }
        if let Some(first) = refused.first() {
            return Err(Unfit::Refused(
                Refusal::new(first.clone()).hint("keep what they use until they are over, or let them migrate"),
            ));
        }
        let Some(next) = &checked.workspace else { return Err(Unfit::Faults(Json::Null)) };
        let store = &self.engine.store;
        let applied = Applied {
            hash: plan.hash.clone(),
            at: store.now(),
            by: order.by.clone(),
            note: order.note,
            before: plan.base.clone(),
        };
        let funnels = next.funnels.values().map(|funnel| (funnel.name.clone(), funnel.version.clone())).collect();
        let bundle = serde_json::to_vec(&next.files)
            .map_err(|why| Unfit::Refused(Refusal::new(format!("the workspace cannot be written down: {why}"))))?;
        if !store.apply(Applying { applied: applied.clone(), funnels, bundle }).await? {
            return Err(moved());
        }
        tracing::warn!(workspace = %plan.hash, before = %plan.base, by = %order.by, note = %applied.note, "a workspace was applied");
        self.take(checked).await?;
        // The look at everybody begins in a moment; whoever asks before must not be told that it is over.
        self.engine.meter.scanning.store(self.scans, Relaxed);
        Ok(
            json!({ "status": "applied", "hash": plan.hash, "before": plan.base, "at": applied.at.to_string(), "runs": runs(&plan) }),
        )
    }

    async fn show(&self) -> Result<Json, Unfit> {
        let applied: Vec<Json> = self
            .engine
            .store
            .applied()
            .await?
            .into_iter()
            .take(SHOWN_MAX)
            .map(|a| json!({ "hash": a.hash, "at": a.at.to_string(), "by": a.by, "note": a.note, "before": a.before }))
            .collect();
        let meter = &self.engine.meter;
        Ok(json!({
            "hash": self.engine.live.get().definitions.current.hash,
            "applied": applied,
            "scan": {
                "running": meter.scanning.load(Relaxed), "turned": meter.scanned.load(Relaxed),
                "customers": self.engine.store.counts().await?.customers,
            },
        }))
    }
}

/// What stands against a change: live runs that stay where they are and use a name that would be gone.
fn refused(plan: &Plan, kept: &[Workspace], next: &Workspace) -> Vec<String> {
    let mut out = Vec::new();
    let mut looked: Vec<&str> = Vec::new();
    for runs in plan.runs.iter().filter(|runs| runs.fate == Some(Fate::Stay)) {
        let version = runs.at.version.as_str();
        let own = next.funnels.get(&runs.at.funnel).is_some_and(|funnel| funnel.version == version);
        if own || looked.contains(&version) {
            continue;
        }
        looked.push(version);
        let holds = |workspace: &&Workspace| workspace.funnels.values().any(|funnel| funnel.version == version);
        let Some(workspace) = kept.iter().find(holds) else { continue };
        let Some(old) = workspace.funnels.get(&runs.at.funnel) else { continue };
        for missing in plan::missed_by(old, workspace, next) {
            out.push(format!("live runs of `{}` stay on a version that needs what would be gone: {missing}", runs.at.funnel));
        }
    }
    out
}

fn runs(plan: &Plan) -> Json {
    let shown = |runs: &plan::RunsAt| {
        let fate = runs.fate.as_ref().map_or("stay", Fate::name);
        let version: String = runs.at.version.chars().take(8).collect();
        let mut out =
            json!({ "funnel": runs.at.funnel, "version": version, "step": runs.at.step, "count": runs.at.count, "fate": fate });
        if let Some(Fate::Migrate(to) | Fate::Anew(to)) = &runs.fate {
            out["to"] = to.as_str().into();
        }
        out
    };
    plan.runs.iter().map(shown).collect()
}

/// The winners that were chosen, and whether they go on to hold.
fn decided(next: &Definitions) -> Vec<Json> {
    let fate = |winner: &Winner| {
        let funnel = next.current.funnels.get(&winner.funnel);
        let step = funnel.and_then(|funnel| funnel.steps.list.iter().find(|step| step.id == winner.step));
        match step.map(|step| &step.step) {
            Some(step) if step.test().is_some() && step.variants().contains(&winner.variant.as_str()) => "holds",
            Some(step) if step.test().is_some() => {
                "its variant is gone, so variants are drawn again; a new test takes a new `id`"
            }
            Some(_) => "the split chooses no winner any more",
            None => "the split is gone",
        }
    };
    let shown = |winner: &Winner| {
        json!({
            "funnel": winner.funnel, "split": winner.step, "variant": winner.variant, "from": winner.from.to_string(),
            "why": winner.why(), "fate": fate(winner),
        })
    };
    next.winners.iter().map(shown).collect()
}

fn faults(checked: &Checked) -> Json {
    render::json(&checked.faults).parse().unwrap_or(Json::Null)
}

/// Why not, for the log.
fn sentence(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Faults(faults) => format!("it has faults: {faults}"),
        Unfit::Moved(refusal) | Unfit::Refused(refusal) | Unfit::NoSuch(refusal) => refusal.error.clone(),
        Unfit::Store(error) => error.to_string(),
    }
}

impl Workspaces for Exchange {
    fn shown(&self) -> BoxFuture<'_, Result<Json, Unfit>> {
        Box::pin(self.show())
    }

    fn plan(&self, workspace: Named) -> BoxFuture<'_, Result<Json, Unfit>> {
        Box::pin(async move {
            let Planned { plan, refused, warnings, checked } = self.planned(workspace).await?;
            let Some(next) = checked.workspace else { return Err(Unfit::Faults(Json::Null)) };
            let store = &*self.engine.store;
            let next = definitions(store, next).await.map_err(|why| Unfit::Refused(Refusal::new(why.to_string())))?;
            let moved = moved(store, &next, &plan.changes).await?;
            let decided = decided(&next);
            let changes: Vec<Json> =
                plan.changes.iter().map(|c| json!({ "kind": c.kind, "name": c.name, "how": c.how.name() })).collect();
            Ok(json!({
                "base": plan.base, "hash": plan.hash, "changes": changes, "runs": runs(&plan), "moved": moved,
                "winners": decided, "refused": refused, "warnings": warnings,
            }))
        })
    }

    fn apply(&self, order: Order) -> BoxFuture<'_, Result<Json, Unfit>> {
        Box::pin(self.apply_order(order))
    }
}
