//! `render`: a funnel as a diagram, and as a dated sample of what it does.

use super::term::{Term, plain};
use super::workspace::Opened;
use super::{Done, Status};
use crate::funnel::diagram::Diagram;
use crate::funnel::{Definitions, Funnel, Workspace};
use crate::lang::diag::{Faults, closest};
use crate::lang::node::Node;
use crate::lang::time::{Time, Zone, instant};
use crate::trial::sample;
use anyhow::{Context, bail};
use chrono::NaiveDateTime;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::sync::Arc;

const EXAMPLES: &str = "\
Examples:
  autofunnel render welcome                              a flow chart in Mermaid's language
  autofunnel render welcome shop --as svg --out welcome.svg
  autofunnel render welcome --as timeline                what happens to a made-up customer, with dates
  autofunnel render renewal --as timeline --at '2027-03-01 10:00'
  autofunnel render welcome --as timeline --test 'within the week'

The made-up customer may be written to by every channel, is a member for 90 days where there are memberships, and does
nothing by herself. Where time alone begins a run, that run is shown; else she is asked to enter. With --test it is the customer of that test, and what happens to her there.";

/// Draw a funnel
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Render {
    /// The funnel
    funnel: String,
    /// The folder of the workspace
    #[arg(default_value = "funnels")]
    dir: PathBuf,
    /// As what
    #[arg(long = "as", value_enum, default_value_t = Form::Mermaid, value_name = "FORM")]
    form: Form,
    /// When the made-up customer enters, or is known from, by the workspace's clock
    #[arg(long, default_value = "2027-03-01 10:00", value_name = "TIME")]
    at: String,
    /// The customer and the events of the first test with this text in its name
    #[arg(long, value_name = "TEXT")]
    test: Option<String>,
    /// Write into this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A flow chart in Mermaid's language, for pages that draw it
    Mermaid,
    /// A picture
    Svg,
    /// Lines with dates
    Timeline,
}

impl Render {
    pub fn run(self, term: &Term) -> Done {
        let mut opened = Opened::read(&self.dir)?;
        let Some(workspace) = opened.checked.workspace.take() else {
            opened.show_faults(term)?;
            return Ok(Status::Failed);
        };
        let funnel = find(&workspace, &self.funnel)?;
        let text = match self.form {
            Form::Mermaid => Diagram::new(&funnel).mermaid(),
            Form::Svg => Diagram::new(&funnel).svg(),
            Form::Timeline => match self.timeline(workspace, &mut opened, term)? {
                Some(lines) => lines,
                None => return Ok(Status::Failed),
            },
        };
        match &self.out {
            None => term.print(&if self.form == Form::Timeline { plain(&text) } else { text })?,
            Some(path) => {
                std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
                term.say(&format!("wrote {}", path.display()));
            }
        }
        Ok(Status::Good)
    }

    /// `None`: the test has faults, which have been shown.
    fn timeline(&self, workspace: Workspace, opened: &mut Opened, term: &Term) -> anyhow::Result<Option<String>> {
        let zone = workspace.settings.zone;
        let test = self.test.as_ref().map(|text| find_test(&workspace, &self.funnel, text)).transpose()?;
        let definitions = Definitions::new(Arc::new(workspace));
        let lines = match test {
            None => sample::made_up(&definitions, &self.funnel, moment(&self.at, zone)?),
            Some(node) => {
                let mut faults = Faults::default();
                let Some(lines) = sample::of_test(&definitions, &self.funnel, &node, &mut faults) else {
                    opened.add(faults);
                    opened.show_faults(term)?;
                    return Ok(None);
                };
                lines
            }
        };
        Ok(Some(lines.iter().map(|line| format!("{line}\n")).collect()))
    }
}

fn find(workspace: &Workspace, name: &str) -> anyhow::Result<Arc<Funnel>> {
    match (workspace.funnels.get(name), closest(name, workspace.funnels.keys().map(String::as_str))) {
        (Some(funnel), _) => Ok(funnel.clone()),
        (None, Some(meant)) => bail!("there is no funnel `{name}`; did you mean `{meant}`?"),
        (None, None) => bail!("there is no funnel `{name}`"),
    }
}

fn find_test(workspace: &Workspace, funnel: &str, text: &str) -> anyhow::Result<Node> {
    let name = |node: &Node| node.get("name").and_then(Node::scalar).unwrap_or_default().to_lowercase();
    let mut tests = workspace.tests.iter().filter(|(of, _)| of == funnel).map(|(_, node)| node);
    let found = tests.find(|node| name(node).contains(&text.to_lowercase()));
    found.cloned().with_context(|| format!("`{funnel}` has no test with `{text}` in its name"))
}

fn moment(text: &str, zone: Zone) -> anyhow::Result<Time> {
    let local = ["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"].iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    Time::parse(text)
        .or_else(|| local.map(|local| instant(zone, local)))
        .with_context(|| format!("`{text}` is no time; write for example `2027-03-01 10:00`"))
}
