//! `report`: the read side of a store in Redis, made anew.

use super::serve::StoreArgs;
use super::term::{Term, Tone};
use super::{Done, Status};
use crate::app::report::{Rebuilt, rebuild};
use crate::app::store::Place;
use crate::engine::clock::Clock;
use anyhow::bail;
use clap::{Args, Subcommand};
use indicatif::ProgressBar;
use std::io::IsTerminal;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  autofunnel report rebuild --store redis://10.0.0.5:6379
  autofunnel report rebuild --store redis://10.0.0.5:6379 --report /var/lib/autofunnel/report.db --forget-others

After the read side's file was lost, or after Redis has lost what the file had heard of. Stop the process with the
role `report` first; workers and doors go on. Customers, their segments and live runs come from the store itself;
timelines and figures hold what the file held before and what Redis still has, so keep a backup of the file for
those. The same again changes nothing.";

/// Look after the read side of a store in Redis
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Report {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Set the read side's file right by what the store holds, or make it anew
    Rebuild(Rebuild),
}

#[derive(Args)]
struct Rebuild {
    #[command(flatten)]
    store: StoreArgs,
    /// Redis keeps nothing any more for read sides that have not been there for 10 minutes: those of lost files
    #[arg(long)]
    forget_others: bool,
}

impl Report {
    pub fn run(self, term: &Term) -> Done {
        let What::Rebuild(Rebuild { store, forget_others }) = self.what;
        let Place::Redis(remote) = store.place() else {
            bail!("a store in a file is its own read side; this is for a store in Redis, named with --store redis://…");
        };
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        let clock = Clock::system();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let rebuilt = runtime.block_on(rebuild(&remote, Arc::new(move || clock.now()), forget_others, &|customers| {
            bar.set_position(customers);
            bar.set_message(format!("{customers} customers"));
        }))?;
        bar.finish_and_clear();
        term.print(&told(&rebuilt, term))?;
        Ok(if rebuilt.unreadable == 0 { Status::Good } else { Status::Failed })
    }
}

fn told(rebuilt: &Rebuilt, term: &Term) -> String {
    let mut out = format!("{} customers and {} live runs stand as in the store\n", rebuilt.customers, rebuilt.runs);
    if rebuilt.stopped > 0 {
        out.push_str(&format!("{} runs that the store does not know are shown as stopped\n", rebuilt.stopped));
    }
    if rebuilt.gone > 0 {
        out.push_str(&format!("{} customers whom the store does not know are gone from the lists\n", rebuilt.gone));
    }
    for (name, seen) in &rebuilt.others {
        out.push_str(&format!(
            "Redis also keeps what happens for the read side {name}, last there {seen}; if its file is lost, use --forget-others\n"
        ));
    }
    if rebuilt.unreadable > 0 {
        let said = format!("{} documents could not be read; the log says whose", rebuilt.unreadable);
        out.push_str(&format!("{}\n", term.tone(Tone::Bad, &said)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use crate::lang::time::Time;

    #[test]
    fn only_what_there_is_to_say_is_said() {
        let term = Term::new(ColorChoice::Never);
        let good = Rebuilt { customers: 5, runs: 2, ..Rebuilt::default() };
        assert_eq!(told(&good, &term), "5 customers and 2 live runs stand as in the store\n");
        let others = vec![("mirror-1".to_owned(), Time(0))];
        let bad = Rebuilt { stopped: 1, gone: 3, unreadable: 4, others, ..good };
        for part in ["1 runs that", "3 customers whom", "mirror-1, last there 1970", "4 documents"] {
            assert!(told(&bad, &term).contains(part), "{part}");
        }
    }
}
