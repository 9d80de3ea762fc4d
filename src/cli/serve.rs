//! `autofunnel serve`: the engine, its doors and its page, until it is told to stop.

use super::check::Format;
use super::workspace::Opened;
use crate::app::engine::{Running, Start, start};
use crate::app::telemetry::{self, LogFormat};
use crate::app::workspace::Checked;
use crate::engine::clock::Clock;
use crate::web::Options;
use crate::wire::secrets::SystemSecrets;
use anyhow::bail;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether the workers still run.
const WATCH: std::time::Duration = std::time::Duration::from_secs(1);

/// Longest time to stop.
const STOP: std::time::Duration = std::time::Duration::from_secs(10);

/// Options of `serve`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  autofunnel serve\n  autofunnel serve --store data/shop.db --listen 127.0.0.1:9000\n  AUTOFUNNEL_TOKEN=a-long-secret autofunnel serve --log json\n\nAUTOFUNNEL_TOKEN is the administrator's token; without it one is made and shown once. RUST_LOG chooses what is logged.\nSIGTERM or SIGINT stops the engine: what has begun is finished, within 10 s."
)]
pub struct ServeArgs {
    /// The workspace
    #[arg(long, default_value = "funnels", value_name = "DIR")]
    pub funnels: PathBuf,
    /// The store's file; it is made if it does not exist
    #[arg(long, default_value = "autofunnel.db", value_name = "FILE")]
    pub store: PathBuf,
    /// Where the doors listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Folder of secrets (`secrets` if not given) that `${file:NAME}` may read
    #[arg(long, value_name = "DIR")]
    pub secrets: Option<PathBuf>,
    /// How logs are written
    #[arg(long, value_enum, default_value = "text")]
    pub log: LogKind,
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
    let Some(checked) = load(&args.funnels, &secrets_folder(args.secrets.as_deref()), color)? else {
        return Ok(ExitCode::FAILURE);
    };
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = start(Start {
        checked,
        store: args.store,
        listen: args.listen,
        clock: Clock::system(),
        doors: Options::default(),
        token: std::env::var("AUTOFUNNEL_TOKEN").ok(),
    })
    .await?;
    let mut told = format!("listening on http://{}\n", running.address);
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
