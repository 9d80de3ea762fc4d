//! A record that `serve --record` wrote, read for a simulation.

use crate::engine::recorder::recorded;
use crate::funnel::Definitions;
use crate::lang::time::Time;
use crate::simulate::record::Line;
use crate::simulate::{Report, Simulation};
use crate::step::winner::Winner;
use anyhow::{Context, anyhow, bail};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// What is on record, by customer.
pub(super) struct Recorded {
    lines: BTreeMap<String, Vec<Line>>,
    /// Lines that a process that was killed had not written to their end.
    pub cut_off: u64,
}

impl Recorded {
    /// Reads all files of a folder.
    ///
    /// # Errors
    /// When there are none, one cannot be read, or it is no record.
    pub fn read(folder: &Path) -> anyhow::Result<Recorded> {
        let shown = folder.display();
        let files = recorded(folder).with_context(|| format!("cannot read the folder {shown}"))?;
        if files.is_empty() {
            bail!("there is no record in {shown}; `autofunnel serve --record {shown}` writes one");
        }
        let (mut lines, mut cut_off): (BTreeMap<String, Vec<Line>>, u64) = (BTreeMap::new(), 0);
        for path in files {
            let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut rows = BufReader::new(file).lines().enumerate().peekable();
            while let Some((n, row)) = rows.next() {
                let row = row.with_context(|| format!("cannot read {}", path.display()))?;
                match serde_json::from_str::<Line>(&row) {
                    Ok(line) => lines.entry(line.customer.clone()).or_default().push(line),
                    // The process may have been killed while it wrote its last line.
                    Err(_) if rows.peek().is_none() => cut_off += 1,
                    Err(why) => bail!("{}:{}: this is no line of a record: {why}", path.display(), n + 1),
                }
            }
        }
        Ok(Recorded { lines, cut_off })
    }

    /// The last instant on record.
    pub fn last(&self) -> Time {
        self.lines.values().flatten().map(|line| line.now).max().unwrap_or(Time(0))
    }

    /// The winners of splits that turns went by.
    fn winners(&self) -> Vec<Winner> {
        let mut winners: BTreeMap<(String, String), Winner> = BTreeMap::new();
        for winner in self.lines.values().flatten().flat_map(|line| &line.winners) {
            winners.entry((winner.funnel.clone(), winner.step.clone())).or_insert_with(|| winner.clone());
        }
        winners.into_values().collect()
    }

    /// Plays everything, in parts beside each other.
    ///
    /// # Errors
    /// When a customer cannot be played.
    pub fn play(&self, definitions: &Definitions, until: Time, parts: usize) -> anyhow::Result<Report> {
        let definitions = &definitions.clone().with_winners(self.winners());
        let customers: Vec<&Vec<Line>> = self.lines.values().collect();
        let part = |customers: &[&Vec<Line>]| {
            let mut simulation = Simulation::new(definitions);
            customers.iter().for_each(|lines| simulation.replay((*lines).clone()));
            simulation.finish(until)
        };
        let size = customers.len().div_ceil(parts).max(1);
        let reports: Vec<_> = std::thread::scope(|scope| {
            let part = &part;
            let threads: Vec<_> = customers.chunks(size).map(|chunk| scope.spawn(move || part(chunk))).collect();
            threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("the simulation of a customer crashed"))).collect()
        });
        let mut all = Report::new(&definitions.current);
        for report in reports {
            all.merge(report?);
        }
        all.winners = definitions.winners.to_vec();
        Ok(all)
    }
}
