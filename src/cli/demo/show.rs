//! What happens, as it happens, and the table at the end.

use crate::app::engine::Running;
use crate::fact::{Fact, What, sentence};
use crate::lang::time::{DAY_MS, Time, Zone};
use crate::money::Currency;
use crate::store::read::TimelineRow;
use crate::store::{Store, StoreResult};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Facts read at once.
const FACTS_MAX: usize = 200;
/// Pause between looks.
const LOOK: Duration = Duration::from_millis(60);

/// Prints facts of the store as they come.
#[derive(Clone)]
pub struct Teller {
    store: Arc<dyn Store>,
    zone: Zone,
    currency: Option<Currency>,
    color: bool,
    begin: Time,
    seen: Arc<AtomicU64>,
}

impl Teller {
    /// A teller of everything from the beginning.
    pub fn new(store: Arc<dyn Store>, zone: Zone, currency: Option<Currency>, color: bool, begin: Time) -> Teller {
        Teller { store, zone, currency, color, begin, seen: Arc::new(AtomicU64::new(0)) }
    }

    /// Leaves out what was imported: it is told by one line.
    pub async fn skip_past(&self) -> StoreResult<()> {
        let counts = |rows: &[(String, TimelineRow)]| rows.iter().filter(|(_, row)| row.fact.what == What::HistoryOnly).count();
        let mut purchases = 0;
        loop {
            let rows = self.store.facts_after(self.seen.load(Ordering::Relaxed), FACTS_MAX).await?;
            purchases += counts(&rows);
            match rows.last() {
                Some((_, last)) => self.seen.store(last.seq, Ordering::Relaxed),
                // Inputs that wait have not been told yet.
                None if self.store.counts().await?.inbox == 0 => break,
                None => tokio::time::sleep(LOOK).await,
            }
        }
        println!("Imported {purchases} purchases of the past: they fill the history and start nothing.\n");
        Ok(())
    }

    /// Tells until the task is ended.
    pub async fn tell(self) {
        loop {
            if let Err(error) = self.rest().await {
                eprintln!("cannot read what happened: {error}");
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tells what has not been told yet.
    pub async fn rest(&self) -> StoreResult<()> {
        loop {
            let rows = self.store.facts_after(self.seen.load(Ordering::Relaxed), FACTS_MAX).await?;
            let Some((_, last)) = rows.last() else { return Ok(()) };
            self.seen.store(last.seq, Ordering::Relaxed);
            for (customer, row) in &rows {
                if worth_telling(&row.fact) {
                    println!("{}", self.line(customer, &row.fact));
                }
            }
        }
    }

    fn line(&self, customer: &str, fact: &Fact) -> String {
        let day = fact.at.since_ms(self.begin).div_euclid(DAY_MS);
        let clock = fact.at.local(self.zone).format("%a %d %b %H:%M");
        let text = match self.currency {
            Some(currency) => sentence::sentence(fact, currency),
            None => format!("{} {}", fact.what.name(), fact.about),
        };
        let funnel = fact.run.as_ref().map(|run| format!("[{}] ", run.funnel)).unwrap_or_default();
        let (on, off) = if self.color { (color(fact.what), "\x1b[0m") } else { ("", "") };
        format!("day {day:>3}  {clock}  {customer:<6} {on}{funnel}{text}{off}")
    }
}

fn color(what: What) -> &'static str {
    match what {
        What::Sent | What::Granted | What::Offered => "\x1b[32m",
        What::Goal | What::Entered => "\x1b[36m",
        What::Skipped | What::Held | What::Capped | What::NotEntered | What::Exited => "\x1b[33m",
        What::Failed | What::Alert | What::Stopped => "\x1b[31m",
        _ => "\x1b[2m",
    }
}

fn worth_telling(fact: &Fact) -> bool {
    // Events of the engine's own say again what the fact before them has said.
    let own = fact.what == What::Event && ["offer_", "bonus_", "message_", "tier_"].iter().any(|own| fact.about.starts_with(own));
    !own && !matches!(fact.what, What::Planned | What::Waiting | What::Resumed | What::Branched | What::HistoryOnly)
}

/// Figures of one funnel.
#[derive(Default)]
struct Row {
    entered: i64,
    sent: i64,
    granted: i64,
    points: i64,
    waiting: u64,
    exited: i64,
    finished: i64,
    goal: i64,
    worth: i64,
}

/// Prints one line per funnel.
pub async fn table(running: &Running, color: bool) -> anyhow::Result<()> {
    let live = running.engine.live.get();
    let workspace = &live.definitions.current;
    let mut rows: BTreeMap<String, Row> = workspace.funnels.keys().map(|name| (name.clone(), Row::default())).collect();
    for figure in running.store.figures("1900-01-01".to_owned(), "2999-12-31".to_owned()).await? {
        let Some(row) = rows.get_mut(&figure.funnel) else { continue };
        match What::parse(&figure.what) {
            Some(What::Entered) => row.entered += figure.count,
            Some(What::Sent) => row.sent += figure.count,
            Some(What::Granted) => {
                row.granted += figure.count;
                row.points += figure.amount;
            }
            Some(What::Exited | What::Stopped) => row.exited += figure.count,
            Some(What::Finished) => row.finished += figure.count,
            Some(What::Goal) => {
                row.goal += figure.count;
                row.worth += figure.amount;
            }
            _ => {}
        }
    }
    for (funnel, _, count) in running.store.counts().await?.live_runs {
        if let Some(row) = rows.get_mut(&funnel) {
            row.waiting += count;
        }
    }
    let (on, off) = if color { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!(
        "\n{on}{:<17}{:>8}{:>6}{:>9}{:>8}{:>9}{:>8}{:>10}{:>6}{:>14}{off}",
        "funnel", "entered", "sent", "granted", "points", "waiting", "exited", "finished", "goal", "goal value"
    );
    for (name, row) in rows {
        println!(
            "{name:<17}{:>8}{:>6}{:>9}{:>8}{:>9}{:>8}{:>10}{:>6}{:>14}",
            row.entered,
            row.sent,
            row.granted,
            row.points,
            row.waiting,
            row.exited,
            row.finished,
            row.goal,
            workspace.settings.currency.show(row.worth)
        );
    }
    Ok(())
}
