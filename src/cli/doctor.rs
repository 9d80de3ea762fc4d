//! `doctor`: is the store fit for customers' money, and does everything in it move?

use super::serve::StoreArgs;
use super::term::{Term, Tone};
use super::{Done, Status};
use crate::app::store::{Examined, Place, confirm, examine};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  autofunnel doctor
  autofunnel doctor --store redis://127.0.0.1:6379
  autofunnel doctor --store redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/shop
  autofunnel doctor --store redis+cluster://10.0.0.1:6379,10.0.0.2:6379 --json
  autofunnel doctor --store redis://127.0.0.1:6379 --confirm   after Redis came back older than it was

Exit code 1 means that something has to be done.";

/// Check the store: its settings, who works on it, what waits, what was put aside
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    #[command(flatten)]
    store: StoreArgs,
    /// Redis came back older than it was, and what is missing has been looked at: workers go on sending
    #[arg(long)]
    confirm: bool,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub fn run(self, term: &Term) -> Done {
        let place = self.store.place();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        if self.confirm {
            let Place::Redis(remote) = &place else {
                anyhow::bail!("--confirm is for a store in Redis; a store in a file cannot come back older by itself");
            };
            for line in confirmed(&runtime.block_on(confirm(remote))?) {
                term.say(&line);
            }
            return Ok(Status::Good);
        }
        let found = runtime.block_on(examine(&place))?;
        if self.json {
            term.line(&serde_json::to_string_pretty(&found)?)?;
        } else {
            term.print(&told(&found, term))?;
        }
        let well = match &found {
            Examined::Redis(report) => report.problems.is_empty(),
            Examined::File(report) => report.problems.is_empty(),
        };
        Ok(if well { Status::Good } else { Status::Failed })
    }
}

/// What a confirmation has come to.
fn confirmed(stopped: &[(String, String)]) -> Vec<String> {
    if stopped.is_empty() {
        let noted = "nothing waited for it: no worker that runs has stopped sending. It is noted all the same: a worker that is started \
                     now takes Redis as it is";
        return vec![noted.to_owned()];
    }
    let line = |(name, why): &(String, String)| format!("confirmed: worker {name} goes on sending within a second ({why})");
    stopped.iter().map(line).collect()
}

fn told(found: &Examined, term: &Term) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<12} {text}\n"));
    let waits =
        |waits: (i64, i64, i64)| format!("wake {} s, input {} s, effect {} s", waits.0 / 1_000, waits.1 / 1_000, waits.2 / 1_000);
    let (problems, notes) = match found {
        Examined::Redis(report) => {
            line("server", format!("{}, {} MB used", report.server, report.memory.0 / 1_000_000));
            report.behind.iter().for_each(|server| line("", server.clone()));
            if !report.store.is_empty() {
                line("store", report.store.clone());
                for worker in &report.workers {
                    line("worker", format!("{} owns {} shards, heard {} ms ago", worker.name, worker.shards, worker.silent_ms));
                }
                for worker in &report.gone {
                    line(
                        "gone",
                        format!("worker {}, last heard {} s ago; others have its shards", worker.name, worker.silent_ms / 1_000),
                    );
                }
                line(
                    "waiting",
                    format!("{} customers, {} effects; {} put aside", report.unread, report.outbox, report.quarantined),
                );
                line("oldest due", waits(report.waits_ms));
                line("read side", format!("{} entries to follow", report.unfollowed));
                for weight in &report.weights {
                    let text = format!(
                        "{} bytes each, the largest {} (of {} looked at)",
                        weight.mean_bytes, weight.largest_bytes, weight.keys
                    );
                    line(&weight.kind, text);
                }
            }
            (&report.problems, report.notes.as_slice())
        }
        Examined::File(report) => {
            line("file", format!("{} MB and {} MB of log", report.bytes.0 / 1_000_000, report.bytes.1 / 1_000_000));
            line("versions", format!("tables {}, documents {}", report.versions.0, report.versions.1));
            line("customers", format!("{}, the largest document {} bytes", report.customers, report.largest_document));
            line("waiting", format!("{} inputs, {} effects; {} put aside", report.inbox, report.outbox, report.quarantined));
            line("oldest due", waits(report.waits_ms));
            (&report.problems, &[][..])
        }
    };
    for note in notes {
        out.push_str(&format!("{}: {note}\n", term.tone(Tone::Dim, "note")));
    }
    for problem in problems {
        out.push_str(&format!("{}: {problem}\n", term.tone(Tone::Bad, "problem")));
    }
    if problems.is_empty() {
        out.push_str(&format!("{}\n", term.tone(Tone::Good, "all is well")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::term::ColorChoice;
    use super::*;
    use crate::store::redis::doctor::{Report, Worker};

    #[test]
    fn the_dead_are_not_listed_among_those_who_work() {
        let worker = |name: &str, silent_ms, shards| Worker { name: name.to_owned(), silent_ms, shards };
        let report = Report {
            store: "id".to_owned(),
            workers: vec![worker("a", 40, 256)],
            gone: vec![worker("b", 90_000, 0)],
            ..Report::default()
        };
        let text = told(&Examined::Redis(report), &Term::new(ColorChoice::Never));
        assert!(text.contains("worker       a owns 256 shards, heard 40 ms ago"), "{text}");
        assert!(text.contains("gone         worker b, last heard 90 s ago; others have its shards"), "{text}");
    }

    #[test]
    fn what_was_not_waited_for_is_not_said_to_be_confirmed() {
        assert!(confirmed(&[])[0].starts_with("nothing waited for it"));
        let stopped = [("a".to_owned(), "it has come back 60.0 s older than it was".to_owned())];
        assert_eq!(
            confirmed(&stopped),
            ["confirmed: worker a goes on sending within a second (it has come back 60.0 s older than it was)"]
        );
    }
}
