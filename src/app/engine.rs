//! A running engine: store, definitions, queues, doors, and how they stop.

use super::apply::Exchange;
use super::store::{self, Place, Roles};
use super::workspace::{self, Checked};
use crate::channel::Tools;
use crate::engine::clock::Clock;
use crate::engine::deliver::Deliverer;
use crate::engine::intake::Shared;
use crate::engine::link::Signer;
use crate::engine::recorder::Recorder;
use crate::engine::turner::Turner;
use crate::engine::{Engine, Live, Meter};
use crate::funnel::{Definitions, Files};
use crate::queue::{self, Queues};
use crate::store::{Store, TokenRow};
use crate::web::{self, WebState, auth};
use crate::wire;
use crate::wire::secrets::{Placeholders, Secrets};
use anyhow::{Context, bail};
use prometheus_client::registry::Registry;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// Shortest token that an operator may set, in characters.
pub const TOKEN_CHARS_MIN: usize = 16;
/// How long the doors may take to finish open requests, in milliseconds.
const DOORS_MS_MAX: u64 = 2_000;

/// How an engine is started.
pub struct Start {
    /// The workspace's files, checked.
    pub checked: Checked,
    /// Where customers are kept.
    pub store: Place,
    /// What this process does.
    pub roles: Roles,
    /// Where the doors listen; `None`: there are none.
    pub listen: Option<SocketAddr>,
    /// The engine's clock.
    pub clock: Clock,
    /// How the doors stand.
    pub doors: web::Options,
    /// The administrator's token, if the operator has chosen one.
    pub token: Option<String>,
    /// Where the secrets of a workspace come from that is applied later.
    pub secrets: Arc<dyn Secrets>,
    /// The folder in which every turn is recorded; `None`: none is.
    pub record: Option<PathBuf>,
}

/// An engine that runs.
pub struct Running {
    /// Where the doors listen, if there are any.
    pub address: Option<SocketAddr>,
    /// The administrator's token, when it was made just now; it cannot be seen again.
    pub new_token: Option<String>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Turns and deliveries.
    pub engine: Engine,
    stop: watch::Sender<bool>,
    doors: Option<JoinHandle<()>>,
    work: Option<JoinHandle<()>>,
    background: Vec<JoinHandle<()>>,
}

/// Starts an engine: opens the store, makes the workspace current, opens the doors.
///
/// # Errors
/// When the workspace has faults, the store cannot be opened, or the address is taken.
pub async fn start(start: Start) -> anyhow::Result<Running> {
    let Start { checked, store: place, roles, listen, clock, doors, token, secrets, record } = start;
    if checked.workspace.is_none() {
        bail!("the workspace has faults; `autofunnel check` shows them");
    }
    let store = store::open(&place, roles, &clock).await?;
    let checked = in_force(&*store, checked, &*secrets).await?;
    let Some(current) = checked.workspace else { bail!("the workspace has faults; `autofunnel check` shows them") };
    let open = listen.is_some_and(|listen| !listen.ip().is_loopback());
    if let Some(source) = checked.sources.values().find(|source| source.needs_loopback() && open) {
        bail!(
            "the source `{}` takes unsigned webhooks (`verify: none`), so the engine must listen on loopback; \
             sign its webhooks or use --listen 127.0.0.1:PORT",
            source.name()
        );
    }
    let funnels = current.funnels.values().map(|funnel| (funnel.name.clone(), funnel.version.clone())).collect();
    let bundle = serde_json::to_vec(&current.files).context("cannot write the workspace down")?;
    store.put_definitions(current.hash.clone(), funnels, bundle).await?;
    let referenced = checked.sources.values().flat_map(|source| source.providers()).map(str::to_owned).collect();
    let world = Arc::new(Shared::new(workspace::world(&current, checked.sources)));
    let views = Arc::new(Shared::new(workspace::views(&current)));
    let definitions = definitions(&*store, current).await?;
    let signer = Signer::new(store.link_key().await?);
    let live = Arc::new(Shared::new(Live::new(definitions, checked.channels, signer).hearing_of(referenced)));

    let client = wire::Client::new().map_err(anyhow::Error::msg)?;
    let queues = Queues::default();
    let engine = Engine {
        store: store.clone(),
        live,
        effects: queues.effects.clone(),
        tools: Tools { client, store: store.clone() },
        meter: Arc::new(Meter::default()),
        traffic: Arc::default(),
        budgets: Arc::default(),
        recorder: record.map(recorder).transpose()?,
    };
    let new_token = administrator(&*store, token).await?;
    let (stop, stopped) = watch::channel(false);
    let scans = roles.worker || roles.report;
    let (world_now, views_now) = (world.clone(), views.clone());
    let exchange = Arc::new(Exchange {
        engine: engine.clone(),
        world: world_now,
        views: views_now,
        secrets,
        open,
        scans,
        one: Mutex::new(()),
    });
    let mut registry = Registry::default();
    super::telemetry::register(&mut registry, &engine);
    let (mut address, mut doors_open) = (None, None);
    if let Some(listen) = listen {
        let state = WebState::new(store.clone(), world, views, doors, registry)
            .await?
            .exchanging(exchange.clone())
            .calling(engine.traffic.clone());
        let (at, open) = open_doors(listen, state, stopped.clone()).await?;
        engine.tools.client.never_calls(at);
        (address, doors_open) = (Some(at), Some(open));
    }
    let mut work = None;
    let mut background = vec![tokio::spawn(exchange.follow(stopped.clone()))];
    if roles.worker {
        let turner = Arc::new(Turner { engine: engine.clone() });
        let deliverer = Arc::new(Deliverer { engine: engine.clone() });
        work = Some(tokio::spawn(queue::run(store.clone(), queues, turner, deliverer, stopped.clone())));
    }
    if roles.worker || roles.report {
        let (scan, prune) = (engine.clone(), engine.clone());
        let (scan_stop, prune_stop) = (stopped.clone(), stopped.clone());
        background.push(tokio::spawn(async move { scan.scan(scan_stop).await }));
        background.push(tokio::spawn(async move { prune.prune(prune_stop).await }));
    }
    if roles.report {
        let (heeds, chooses, choose_stop) = (engine.clone(), engine.clone(), stopped.clone());
        background.push(tokio::spawn(async move { heeds.heed_complaints(stopped).await }));
        background.push(tokio::spawn(async move { chooses.choose_winners(choose_stop).await }));
    }
    Ok(Running { address, new_token, store, engine, stop, doors: doors_open, work, background })
}

fn recorder(folder: PathBuf) -> anyhow::Result<Arc<Recorder>> {
    let shown = folder.display().to_string();
    Ok(Arc::new(Recorder::start(folder).with_context(|| format!("cannot write a record into {shown}"))?))
}

/// Opens the doors: where they listen, and who serves there.
async fn open_doors(
    listen: SocketAddr,
    state: WebState,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))?;
    let address = listener.local_addr()?;
    let served = web::serve(listener, Arc::new(state), until(stopped));
    let open = tokio::spawn(async move {
        if let Err(error) = served.await {
            tracing::error!(%error, "the doors closed by themselves");
        }
    });
    Ok((address, open))
}

/// The workspace that counts: the one that was applied last, if one was; else the one that the engine is started on.
async fn in_force(store: &dyn Store, given: Checked, secrets: &dyn Secrets) -> anyhow::Result<Checked> {
    let Some(newest) = store.applied().await?.into_iter().next() else { return Ok(given) };
    if given.workspace.as_ref().is_some_and(|workspace| workspace.hash == newest.hash) {
        return Ok(given);
    }
    tracing::warn!(
        workspace = %newest.hash, by = %newest.by, at = %newest.at,
        "the workspace that was applied is in force, not the folder's; `autofunnel plan` shows the difference"
    );
    let bundle = store.bundle(newest.hash.clone()).await?.context("the workspace that was applied is not kept")?;
    let files: Files = serde_json::from_slice(&bundle).context("the workspace that was applied is damaged")?;
    let checked = workspace::check(&files, secrets);
    if let (None, Some(fault)) = (&checked.workspace, checked.faults.first()) {
        bail!("the workspace that was applied cannot be used here: {}: {}", fault.place.file, fault.message);
    }
    Ok(checked)
}

async fn until(mut stop: watch::Receiver<bool>) {
    queue::stopped(&mut stop).await;
}

/// The present definitions and every older version that a live run is pinned to.
pub(super) async fn definitions(store: &dyn Store, current: crate::funnel::Workspace) -> anyhow::Result<Definitions> {
    let hash = current.hash.clone();
    let mut definitions = Definitions::new(Arc::new(current)).with_winners(store.winners().await?);
    for (older, bundle) in store.definitions().await? {
        if older == hash {
            continue;
        }
        let files: Files = serde_json::from_slice(&bundle).context("a kept workspace version is damaged")?;
        // Providers are those of today; secrets of yesterday are not needed to know a funnel's steps.
        match workspace::check(&files, &Placeholders as &dyn Secrets).workspace {
            Some(workspace) => definitions.pin(&workspace),
            None => {
                tracing::warn!(version = %older, "a kept workspace version no longer compiles; its runs will stop with a fact")
            }
        }
    }
    Ok(definitions)
}

/// The definitions that a store keeps: its current ones and those that live runs are pinned to; `None`: it has
/// none yet.
pub(super) async fn kept_definitions(store: &dyn Store) -> anyhow::Result<Option<Definitions>> {
    let Some((_, bundle)) = store.definitions().await?.into_iter().next() else { return Ok(None) };
    let files: Files = serde_json::from_slice(&bundle).context("the kept workspace is damaged")?;
    match workspace::check(&files, &Placeholders as &dyn Secrets).workspace {
        Some(current) => Ok(Some(definitions(store, current).await?)),
        None => bail!("the kept workspace no longer compiles; start the engine that wrote it, or apply a workspace"),
    }
}

/// Sees that there is an administrator's token.
async fn administrator(store: &dyn Store, chosen: Option<String>) -> anyhow::Result<Option<String>> {
    if let Some(token) = chosen {
        if token.chars().count() < TOKEN_CHARS_MIN {
            bail!(
                "AUTOFUNNEL_TOKEN is shorter than {TOKEN_CHARS_MIN} characters; choose a longer one, or unset it to have one made"
            );
        }
        let digest = Sha256::digest(token.as_bytes()).to_vec();
        let row = TokenRow { digest, name: "AUTOFUNNEL_TOKEN".to_owned(), scopes: vec!["admin".to_owned()], expires: None };
        store.put_token(row).await?;
        return Ok(None);
    }
    if !store.tokens().await?.is_empty() {
        return Ok(None);
    }
    Ok(Some(auth::issue(store, "first administrator", &[auth::Scope::Admin], None).await?))
}

impl Running {
    /// Stops: no new work is taken, what has begun is finished within bounds, the store is closed.
    pub async fn stop(self) {
        // Nobody listening means that everything has ended already.
        let _ = self.stop.send(true);
        if let Some(doors) = self.doors
            && tokio::time::timeout(Duration::from_millis(DOORS_MS_MAX), doors).await.is_err()
        {
            tracing::warn!("open requests were cut off");
        }
        if let Some(work) = self.work
            && let Err(error) = work.await
        {
            tracing::error!(%error, "the workers ended badly");
        }
        for task in self.background {
            task.abort();
        }
        self.engine.return_budgets(true).await;
        if let Some(recorder) = &self.engine.recorder {
            recorder.close();
        }
        self.store.close().await;
    }

    /// Whether the workers have ended by themselves, which they never should.
    pub fn has_ended(&self) -> bool {
        [&self.work, &self.doors].into_iter().flatten().any(JoinHandle::is_finished)
    }
}
