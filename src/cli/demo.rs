//! `autofunnel demo`: the sample workspace at work, with the engine's time running faster.
//!
//! Everything is real: the embedded store in a temporary folder, the HTTP door, the queues, the inbox
//! provider. Only the engine's clock is scaled, and the customers are invented (see [`script`]).

use super::serve::{load, secrets_folder};
use crate::app::engine::{Start, start};
use crate::app::store::{Place, Roles};
use crate::app::telemetry;
use crate::engine::clock::{Clock, system_now};
use crate::lang::time::{DAY_MS, Time, Zone};
use crate::web::Options;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

mod door;
mod script;
mod show;

/// Days that pass in the demonstration.
const DAYS: f64 = 100.0;
/// Virtual days per real second when nothing else is asked for.
const DAYS_PER_SECOND: f64 = 2.5;

/// Options of `demo`.
#[derive(clap::Args, Debug)]
#[command(
    after_help = "Examples:\n  autofunnel demo\n  autofunnel demo --exit --days-per-second 5\n  autofunnel demo --listen 127.0.0.1:9000"
)]
pub struct DemoArgs {
    /// The workspace to show
    #[arg(long, default_value = "funnels", value_name = "DIR")]
    pub funnels: PathBuf,
    /// Where the page is; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// How fast the engine's time runs
    #[arg(long, default_value_t = DAYS_PER_SECOND, value_name = "N", value_parser = speed)]
    pub days_per_second: f64,
    /// End when the story is told instead of staying up
    #[arg(long)]
    pub exit: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=20.0).contains(&speed) => Ok(speed),
        _ => Err("a number of days from 0.1 to 20, for example 2.5".to_owned()),
    }
}

/// Runs the demonstration.
///
/// # Errors
/// When the workspace has faults, or the engine cannot start.
pub async fn run(args: DemoArgs, color: bool) -> anyhow::Result<ExitCode> {
    telemetry::log(telemetry::LogFormat::Text, "warn");
    let Some(checked) = load(&args.funnels, &secrets_folder(None), color)? else { return Ok(ExitCode::FAILURE) };
    let zone = checked.workspace.as_ref().map_or(chrono_tz::UTC, |workspace| workspace.settings.zone);
    let currency = checked.workspace.as_ref().map(|workspace| workspace.settings.currency);
    let folder = Temporary::new()?;
    let begin = morning(system_now(), zone);
    let clock = Clock::scaled(begin, args.days_per_second * DAY_MS as f64 / 1_000.0);
    let token = random_token()?;
    let running = start(Start {
        checked,
        store: Place::File(folder.path.join("demo.db")),
        roles: Roles::ALL,
        listen: Some(args.listen),
        clock: clock.clone(),
        doors: Options { open_pages: args.listen.ip().is_loopback(), ..Options::default() },
        token: Some(token.clone()),
        record: None,
        secrets: Arc::new(secrets_folder(None)),
    })
    .await?;
    let address = running.address.unwrap_or(args.listen);
    println!("The engine runs at http://{address} on a fresh embedded store.");
    println!(
        "Its time runs faster: {} days pass in a second, {DAYS} days in all. The customers are invented.\n",
        args.days_per_second
    );

    let door = door::Door::new(address, token)?;
    door.import(&script::past(begin)).await.context("the import of past purchases failed")?;
    let teller = show::Teller::new(running.store.clone(), zone, currency, color, begin);
    teller.skip_past().await?;
    clock.go();
    let telling = tokio::spawn(teller.clone().tell());
    let played = play(&door, &clock, begin, zone).await;
    clock.stop();
    telling.abort();
    played?;
    teller.rest().await?;
    show::table(&running, color).await?;
    let code = stay(address, args.exit).await;
    running.stop().await;
    Ok(code)
}

/// Sends the story through the door, each line at its time.
async fn play(door: &door::Door, clock: &Clock, begin: Time, zone: Zone) -> anyhow::Result<()> {
    for line in script::story(begin, zone) {
        sleep_until(clock, begin, line.day).await;
        door.send(line).await?;
    }
    sleep_until(clock, begin, DAYS).await;
    Ok(())
}

async fn sleep_until(clock: &Clock, begin: Time, day: f64) {
    let at = begin.plus_ms((day * DAY_MS as f64) as i64);
    let left = at.since_ms(clock.now()) as f64 / clock.scale();
    if left > 0.0 {
        tokio::time::sleep(Duration::from_secs_f64(left / 1_000.0)).await;
    }
}

async fn stay(address: SocketAddr, exit: bool) -> ExitCode {
    if exit {
        return ExitCode::SUCCESS;
    }
    println!(
        "\nIts time stands still now. Look around at http://{}/ — the funnels, the inbox, every customer's timeline. Ctrl-C ends it.",
        address
    );
    match tokio::signal::ctrl_c().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot wait for Ctrl-C: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Seven in the morning of the day, by the workspace's clock.
fn morning(now: Time, zone: Zone) -> Time {
    let seven = chrono::NaiveTime::from_hms_opt(7, 0, 0).unwrap_or_default();
    crate::lang::time::instant(zone, now.date(zone).and_time(seven))
}

fn random_token() -> anyhow::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|why| anyhow::anyhow!("this machine gives no random bytes: {why}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A folder that goes away with the demonstration.
struct Temporary {
    path: PathBuf,
}

impl Temporary {
    fn new() -> anyhow::Result<Temporary> {
        let path = std::env::temp_dir().join(format!("autofunnel-demo-{}-{}", std::process::id(), &random_token()?[..8]));
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Temporary { path })
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_dir_all(path) {
        eprintln!("the demonstration's folder {} is left behind: {error}", path.display());
    }
}
