//! A steady load for a long time: whether latency, memory and the bytes of a run stay what they are.

use crate::measure::{between, import, prefix, send_purchases, wait_for_calls};
use crate::mock::{Mock, STEPS};
use crate::stand::{Kind, Setting, Stand, Workspace};
use crate::table::{Figure, figure, spread};
use anyhow::Context;
use std::sync::atomic::Ordering::Relaxed;

/// Parts of the load that are compared.
const PARTS: usize = 10;
/// Shortest time that the engine keeps single events: what is older is dropped while the load goes on.
const KEEP: &str = "keep: 7 days\n";

/// Runs at a fixed rate for so many minutes.
pub async fn soak(setting: &Setting, kind: Kind, rate: f64, minutes: f64) -> anyhow::Result<Vec<Figure>> {
    let per_part = (rate * minutes * 60.0 / PARTS as f64).ceil() as usize;
    let (prefix, runs) = (prefix(), per_part * PARTS);
    let (mock, port) = Mock::start(&prefix, runs).await.context("the mock provider cannot listen")?;
    let stand = Stand::new(setting, kind).await?;
    let engines = stand.start(&Workspace::read(&setting.workspace, port)?.extended("autofunnel.yaml", KEEP)).await?;
    import(&engines.front, &prefix, runs).await?;
    engines.front.process.forget_peak();
    let (before, mut figures) = (stand.used(&engines)?, Vec::new());
    for part in 1..=PARTS {
        let (customers, bytes) = ((part - 1) * per_part..part * per_part, stand.bytes().await?);
        let sent = send_purchases(&engines.front, &prefix, customers.clone(), setting.connections, Some(rate)).await?;
        wait_for_calls(&mock, customers.end).await;
        let first = spread(between(&sent.begun, &mock.calls[0].came[customers]));
        let grown = (stand.bytes().await? - bytes) / per_part as f64;
        figures.push(figure(format!("part {part:>2}: event → first message, p50 ms"), first.0, 2));
        figures.push(figure(format!("part {part:>2}: event → first message, p99 ms"), first.1, 2));
        figures.push(figure(format!("part {part:>2}: memory of the engine, MB"), engines.mb(), 0));
        figures.push(figure(format!("part {part:>2}: store, more bytes per run"), grown, 0));
    }
    let used = stand.used(&engines)?.since(before);
    let (done, total) = (mock.done.load(Relaxed) as f64, mock.total.load(Relaxed) as f64);
    figures.push(figure("runs not done", runs as f64 - done, 0).at_most(0.0));
    figures.push(figure("calls doubled or foreign", total - done * STEPS.len() as f64, 0).at_most(0.0));
    figures.push(figure("peak memory of the engine (PSS), MB", engines.peak_mb(), 0).at_most(60.0));
    figures.push(figure("CPU-seconds per 1,000 runs", used.all() / done * 1e3, 3));
    engines.stop().await?;
    stand.end().await?;
    Ok(figures)
}
