//! `test`: plays the tests of a workspace.

use super::check::Format;
use super::term::{Term, Tone, count, plain};
use super::workspace::Opened;
use super::{Done, Status};
use crate::app::workspace;
use crate::funnel::{Definitions, Workspace};
use crate::lang::diag::{Faults, closest};
use crate::lang::node::Node;
use crate::trial::{self, Outcome, Sign};
use anyhow::{Context, bail};
use clap::Args;
use coverage::Covered;
use serde_json::{Value as Json, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

mod coverage;
mod junit;

/// Pause between looks whether a file has changed.
const LOOK_AGAIN: Duration = Duration::from_millis(300);

const EXAMPLES: &str = "\
Examples:
  autofunnel test                               every test of ./funnels
  autofunnel test shop --funnel welcome         those of one funnel
  autofunnel test --filter \"renews early\"       those with these words in their name
  autofunnel test --json                        for a script
  autofunnel test --coverage                    and which steps and branches no test goes through
  autofunnel test --junit tests.xml             for a build server
  autofunnel test --watch                       again whenever a file of the workspace changes

A test that fails shows what was expected (-) beside what happened (+), and the first difference with its reason
and the values that were looked at.";

/// Play the tests of a workspace
///
/// Each test is played on a virtual clock through the same decisions that a running engine makes; nothing is sent.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Test {
    /// The folder of the workspace
    #[arg(default_value = "funnels")]
    dir: PathBuf,
    /// Only tests of this funnel
    #[arg(long, value_name = "NAME")]
    funnel: Option<String>,
    /// Only tests with this text in their name
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Write the outcome as JSON
    #[arg(long)]
    json: bool,
    /// Tell which steps and branches no test goes through
    #[arg(long)]
    coverage: bool,
    /// Write the outcome as JUnit XML into this file, too
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Play them again whenever a file of the workspace changes, until the command is ended
    #[arg(long, conflicts_with_all = ["json", "junit"])]
    watch: bool,
}

/// A test that was played; without an outcome the test itself has faults.
struct Played {
    funnel: String,
    name: String,
    outcome: Option<Outcome>,
    took: Duration,
}

impl Played {
    fn passed(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.passed)
    }
}

impl Test {
    pub fn run(self, term: &Term) -> Done {
        if !self.watch {
            return self.once(term);
        }
        let mut seen = None;
        loop {
            let files = workspace::read(&self.dir)?;
            if seen.as_ref() != Some(&files) {
                seen = Some(files);
                self.once(term)?;
                term.line(&term.tone(Tone::Dim, "waiting for a change; Ctrl-C ends"))?;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Plays them once.
    fn once(&self, term: &Term) -> Done {
        let mut opened = Opened::read(&self.dir)?;
        let Some(workspace) = opened.checked.workspace.take() else {
            if self.json {
                term.line(&as_json(&[], &[], &opened, Duration::ZERO).to_string())?;
            } else {
                opened.show_faults(term)?;
                term.say("no test was played: correct the workspace first");
            }
            return Ok(Status::Failed);
        };
        let definitions = Definitions::new(Arc::new(workspace));
        let workspace = definitions.current.clone();
        let chosen = self.chosen(&workspace)?;
        let began = Instant::now();
        let mut faults = Faults::default();
        let mut played = Vec::new();
        for (funnel, node) in chosen {
            let began = Instant::now();
            let outcome = trial::run(&definitions, funnel, node, &mut faults);
            let one = Played { funnel: funnel.clone(), name: name(node), outcome, took: began.elapsed() };
            if !self.json {
                term.line(&line(&one, term))?;
            }
            played.push(one);
        }
        opened.checked.faults.clear();
        opened.add(faults);
        let failed = played.iter().filter(|one| !one.passed()).count();
        let covered = if self.coverage { coverage::of(&played, &workspace, self.funnel.as_ref()) } else { Vec::new() };
        if let Some(path) = &self.junit {
            std::fs::write(path, junit::report(&played, began.elapsed()))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if self.json {
            term.line(&as_json(&played, &covered, &opened, began.elapsed()).to_string())?;
        } else {
            if self.coverage {
                term.print(&coverage::shown(&covered, &opened, term))?;
            }
            self.tell(&played, &opened, began.elapsed(), term)?;
            if self.funnel.is_none() && self.filter.is_none() {
                tell_untested(&workspace, term)?;
            }
        }
        Ok(if failed > 0 || (played.is_empty() && (self.funnel.is_some() || self.filter.is_some())) {
            Status::Failed
        } else {
            Status::Good
        })
    }

    fn chosen<'w>(&self, workspace: &'w Workspace) -> anyhow::Result<Vec<(&'w String, &'w Node)>> {
        if let Some(funnel) = self.funnel.as_ref().filter(|name| !workspace.funnels.contains_key(*name)) {
            match closest(funnel, workspace.funnels.keys().map(String::as_str)) {
                Some(meant) => bail!("there is no funnel `{funnel}`; did you mean `{meant}`?"),
                None => bail!("there is no funnel `{funnel}`"),
            }
        }
        let of_funnel = |funnel: &String| self.funnel.as_ref().is_none_or(|wanted| wanted == funnel);
        let named =
            |node: &Node| self.filter.as_ref().is_none_or(|text| name(node).to_lowercase().contains(&text.to_lowercase()));
        Ok(workspace
            .tests
            .iter()
            .filter(|(funnel, node)| of_funnel(funnel) && named(node))
            .map(|(funnel, node)| (funnel, node))
            .collect())
    }

    /// The failures in full, then the count.
    fn tell(&self, played: &[Played], opened: &Opened, took: Duration, term: &Term) -> anyhow::Result<()> {
        if !opened.checked.faults.is_empty() {
            term.line("")?;
            term.print(&opened.faults(Format::Human, term.color))?;
        }
        for outcome in played.iter().filter_map(|one| one.outcome.as_ref()).filter(|outcome| !outcome.passed) {
            let place = format!("{}:{}", opened.path(&outcome.place.file), outcome.place.line);
            let heading = term.tone(Tone::Strong, &format!("{}: {}", outcome.funnel, plain(&outcome.name)));
            term.line(&format!("\n{heading}\n  {}", term.tone(Tone::Dim, &place)))?;
            let paint = |sign: Sign, text: String| match sign {
                Sign::Both => plain(&text),
                Sign::Missing => term.tone(Tone::Bad, &plain(&text)),
                Sign::Extra => term.tone(Tone::Good, &plain(&text)),
            };
            term.print(&outcome.report(paint))?;
        }
        let failed = played.iter().filter(|one| !one.passed()).count();
        let verdict = match (played.len(), failed) {
            (0, _) => "no test is there to be played".to_owned(),
            (n, 0) => term.tone(Tone::Good, &format!("{} passed", count(n, "test"))),
            (n, failed) => term.tone(Tone::Bad, &format!("{}, {failed} failed", count(n, "test"))),
        };
        Ok(term.line(&format!("\n{verdict} ({:.2} s)", took.as_secs_f64()))?)
    }
}

/// Funnels without a test: what passed says nothing of them.
fn tell_untested(workspace: &Workspace, term: &Term) -> anyhow::Result<()> {
    let untested = workspace.funnels.keys().filter(|name| !workspace.tests.iter().any(|(funnel, _)| funnel == *name));
    let names: Vec<&str> = untested.map(String::as_str).collect();
    match names.is_empty() {
        true => Ok(()),
        false => Ok(term.line(&term.tone(Tone::Dim, &format!("without a test: {}", names.join(", "))))?),
    }
}

fn name(node: &Node) -> String {
    node.get("name").and_then(Node::scalar).unwrap_or("(without a name)").to_owned()
}

fn line(one: &Played, term: &Term) -> String {
    let word = if one.passed() { term.tone(Tone::Good, "ok    ") } else { term.tone(Tone::Bad, "FAILED") };
    let why = if one.outcome.is_none() { " (the test itself has faults)" } else { "" };
    let took = term.tone(Tone::Dim, &format!("({} ms)", one.took.as_millis()));
    format!("{word}  {}: {}{why} {took}", one.funnel, plain(&one.name))
}

fn as_json(played: &[Played], covered: &[Covered], opened: &Opened, took: Duration) -> Json {
    let one = |one: &Played| {
        let mut out = json!({
            "funnel": one.funnel, "name": one.name, "passed": one.passed(), "ms": one.took.as_millis() as u64,
        });
        if let Some(outcome) = &one.outcome {
            let diff: Vec<String> = outcome.diff.iter().map(|line| format!("{} {}", line.sign.mark(), line.text)).collect();
            out["file"] = opened.path(&outcome.place.file).into();
            out["line"] = outcome.place.line.into();
            out["expected"] = json!(outcome.expected);
            out["actual"] = json!(outcome.actual);
            out["diff"] = json!(diff);
            out["state"] = json!(outcome.state);
            out["about"] = json!(outcome.about);
        }
        out
    };
    let failed = played.iter().filter(|one| !one.passed()).count();
    let faults: Json = opened.faults(Format::Json, false).parse().unwrap_or(Json::Null);
    json!({
        "passed": played.len() - failed, "failed": failed, "ms": took.as_millis() as u64,
        "tests": played.iter().map(one).collect::<Vec<_>>(), "faults": faults,
        "coverage": coverage::as_json(covered, opened),
    })
}
