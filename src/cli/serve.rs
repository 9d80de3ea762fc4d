//! `autofunnel serve`: the engine, its doors and its page, until it is told to stop.

use crate::app::engine::{Start, start};
use crate::app::telemetry::{self, LogFormat};
use crate::app::workspace::{self, Checked};
use crate::engine::clock::Clock;
use crate::lang::render;
use crate::web::Options;
use crate::wire::secrets::SystemSecrets;
use anyhow::bail;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// How often it is looked whether the workers still run.
const WATCH: std::time::Duration = std::time::Duration::from_secs(1);

/// Options of `serve`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:\n  autofunnel serve\n  autofunnel serve --store data/shop.db --listen 127.0.0.1:9000\n  AUTOFUNNEL_TOKEN=a-long-secret autofunnel serve --log json")]
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
    let checked = workspace::check(&workspace::read(folder)?, secrets);
    if !checked.faults.is_empty() {
        eprint!("{}", render::human(&checked.faults, checked.dropped, &checked.texts, color));
    }
    Ok(checked.workspace.is_some().then_some(checked))
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
    println!("listening on http://{}", running.address);
    if let Some(token) = &running.new_token {
        println!("administrator's token (shown only this once): {token}");
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = tokio::time::sleep(WATCH) => {
                if running.has_ended() {
                    running.stop().await;
                    bail!("the workers or the doors ended by themselves; the log says why");
                }
            }
        }
    }
    tracing::info!("stopping: finishing what has begun");
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}
