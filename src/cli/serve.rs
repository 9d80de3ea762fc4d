//! `autofunnel serve`: the engine, its doors and its page, until it is told to stop.

use super::check::Format;
use super::workspace::Opened;
use crate::app::engine::{Running, Start, start};
use crate::app::store::{Place, Remote, Roles};
use crate::app::telemetry::{self, LogFormat};
use crate::app::workspace::Checked;
use crate::engine::clock::Clock;
use crate::store::redis::is_address;
use crate::web::Options;
use crate::wire::secrets::SystemSecrets;
use anyhow::bail;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether the workers still run.
const WATCH: std::time::Duration = std::time::Duration::from_secs(1);

/// Longest time to stop.
const STOP: std::time::Duration = std::time::Duration::from_secs(10);

/// Options of `serve`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  autofunnel serve\n  autofunnel serve --store data/shop.db --listen 127.0.0.1:9000\n  AUTOFUNNEL_TOKEN=a-long-secret autofunnel serve --log json\n  autofunnel serve --store redis://127.0.0.1:6379\n  autofunnel serve --store redis://127.0.0.1:6379 --role worker\n\nAUTOFUNNEL_TOKEN is the administrator's token; without it one is made and shown once. RUST_LOG chooses what is logged.\nSIGTERM or SIGINT stops the engine: what has begun is finished, within 10 s."
)]
pub struct ServeArgs {
    /// The workspace to begin with; once one was applied to the store (`autofunnel apply`), that one counts
    #[arg(long, default_value = "funnels", value_name = "DIR")]
    pub funnels: PathBuf,
    #[command(flatten)]
    pub store: StoreArgs,
    /// What this process does; only on a store in Redis is there a choice
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all", value_name = "ROLE")]
    pub role: Vec<Role>,
    /// Where the doors listen; port 0 takes a free one [default: 127.0.0.1:8080; a mere worker has no doors]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Folder of secrets (`secrets` if not given) that `${file:NAME}` may read
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// Write every turn down, with its inputs and facts, into files of this folder, for `simulate --record`. They hold
    /// all that customers are and do; they are kept for 30 days
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// How logs are written
    #[arg(long, value_enum, default_value = "text")]
    pub log: LogKind,
}

/// Where the store is.
#[derive(clap::Args, Clone, Debug)]
pub struct StoreArgs {
    /// The store: a file, made if it does not exist, or Redis: redis://, rediss://, redis+sentinel://, redis+cluster://
    /// [default: what AUTOFUNNEL_STORE says, else autofunnel.db]
    #[arg(long, value_name = "FILE|ADDRESS")]
    pub store: Option<String>,
    /// The read side's file, with a store in Redis
    #[arg(long, default_value = "autofunnel-report.db", value_name = "FILE")]
    pub report: PathBuf,
    /// Folder in which a worker notes how far the store was, with a store in Redis
    #[arg(long, default_value = "autofunnel-state", value_name = "DIR")]
    pub state: PathBuf,
    /// Work on a Redis that does not write to disk, and lose everything when it ends
    #[arg(long)]
    pub accept_loss: bool,
    /// Answer an event, and go on after a commit or an attempt to send, only when so many replicas of Redis have
    /// confirmed it within 1 s; else the event is answered 503 and may be sent again. Sentinel and Cluster only lose
    /// what was answered when this is 0
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub wait_replicas: usize,
}

impl StoreArgs {
    /// The place that they name.
    pub fn place(self) -> Place {
        let named = self.store.or_else(|| std::env::var("AUTOFUNNEL_STORE").ok().filter(|named| !named.is_empty()));
        let named = named.unwrap_or_else(|| "autofunnel.db".to_owned());
        match is_address(&named) {
            true => {
                let StoreArgs { report, state, accept_loss, wait_replicas, .. } = self;
                Place::Redis(Remote { address: named, report, state, accept_loss, wait_replicas })
            }
            false => Place::File(PathBuf::from(named)),
        }
    }
}

/// What a process does.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Everything
    All,
    /// Open the doors: take events, answer questions, show the page
    Web,
    /// Turn and deliver
    Worker,
    /// Keep the tables that lists, timelines and figures are read from
    Report,
}

fn roles(chosen: &[Role]) -> Roles {
    let is = |role| chosen.contains(&role) || chosen.contains(&Role::All);
    Roles { web: is(Role::Web), worker: is(Role::Worker), report: is(Role::Report) }
}

/// Where the doors of a process with these roles listen.
fn doors(roles: Roles, chosen: Option<SocketAddr>) -> Option<SocketAddr> {
    let usual = SocketAddr::from(([127, 0, 0, 1], 8080));
    chosen.or_else(|| (roles.web || roles.report).then_some(usual))
}

/// How logs are written.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub enum LogKind {
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

/// Where secrets are read from.
pub fn secrets_folder(folder: Option<&Path>) -> SystemSecrets {
    SystemSecrets { folder: folder.unwrap_or(Path::new("secrets")).to_path_buf() }
}

/// Reads and checks a workspace; prints what is wrong. `None` when there are errors.
///
/// # Errors
/// When the folder cannot be read.
pub fn load(folder: &Path, secrets: &SystemSecrets, color: bool) -> anyhow::Result<Option<Checked>> {
    let opened = Opened::read_with(folder, secrets)?;
    eprint!("{}", opened.faults(Format::Human, color));
    Ok(opened.checked.workspace.is_some().then_some(opened.checked))
}

/// Runs the engine.
///
/// # Errors
/// When the workspace cannot be read, or the engine cannot start or ends by itself.
pub async fn run(args: ServeArgs, color: bool) -> anyhow::Result<ExitCode> {
    let format = match args.log {
        LogKind::Text => LogFormat::Text,
        LogKind::Json => LogFormat::Json,
    };
    telemetry::log(format, "info");
    let secrets = secrets_folder(args.secrets.as_deref());
    let Some(checked) = load(&args.funnels, &secrets, color)? else {
        return Ok(ExitCode::FAILURE);
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let roles = roles(&args.role);
    let running = start(Start {
        checked,
        store: args.store.place(),
        roles,
        listen: doors(roles, args.listen),
        clock: Clock::system(),
        doors: Options::default(),
        token: std::env::var("AUTOFUNNEL_TOKEN").ok(),
        secrets: Arc::new(secrets),
        record: args.record,
    })
    .await?;
    let mut told = match running.address {
        Some(address) => format!("listening on http://{address}\n"),
        None => "working, without doors\n".to_owned(),
    };
    if let Some(token) = &running.new_token {
        told.push_str(&format!("administrator's token (shown only this once): {token}\n"));
    }
    // Whoever started the engine may not read what it says; it runs all the same.
    let _ = std::io::stdout().write_all(told.as_bytes());
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(WATCH) => {
                if running.has_ended() {
                    stop(running).await?;
                    bail!("the workers or the doors ended by themselves; the log says why");
                }
            }
        }
    }
    tracing::info!("stopping: finishing what has begun");
    stop(running).await?;
    Ok(ExitCode::SUCCESS)
}

/// Stops an engine within bounds.
async fn stop(running: Running) -> anyhow::Result<()> {
    match tokio::time::timeout(STOP, running.stop()).await {
        Ok(()) => Ok(()),
        Err(_) => bail!("it took longer than {} s to stop; what was under way goes on with the next start", STOP.as_secs()),
    }
}
