//! `preview`: a message as a customer would get it, with sample data.

use super::term::Term;
use super::workspace::Opened;
use super::{Done, Status};
use crate::funnel::Workspace;
use crate::lang::cel::Type;
use crate::lang::diag::{Faults, closest};
use crate::lang::value::{Fields, Value};
use crate::template::{Rendered, Template, TemplateOptions};
use anyhow::{Context, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Samples that are tried for one message.
const SAMPLES_MAX: usize = 200;

const EXAMPLES: &str = "\
Examples:
  autofunnel preview welcome                     the template, as text
  autofunnel preview welcome --out previews      welcome.html, welcome.txt and welcome.subject.txt
  autofunnel preview renewal email_1             the message of one step
  autofunnel preview welcome --customer ada.json

The file holds JSON: the profile of a customer (`{\"name\": \"Ada\"}`), or everything that a message may name
(`{\"customer\": {…}, \"event\": {…}}`). What is still missing is made up.";

/// Show a message with sample data
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Preview {
    /// A template, or a funnel when a step is named too
    #[arg(value_name = "TEMPLATE|FUNNEL")]
    name: String,
    /// The id of a step that sends a message
    step: Option<String>,
    /// The folder of the workspace
    #[arg(long, default_value = "funnels", value_name = "DIR")]
    dir: PathBuf,
    /// Data for the message, as JSON
    #[arg(long, value_name = "FILE")]
    customer: Option<PathBuf>,
    /// Write files into this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Preview {
    pub fn run(self, term: &Term) -> Done {
        let opened = Opened::read(&self.dir)?;
        let Some(workspace) = &opened.checked.workspace else {
            opened.show_faults(term)?;
            return Ok(Status::Failed);
        };
        let template = match &self.step {
            None => template(workspace, &self.name)?,
            Some(step) => step_template(workspace, &self.name, step)?,
        };
        let data = self.customer.as_deref().map(data).transpose()?.unwrap_or_default();
        let rendered = render(&template, data, workspace)?;
        let file = self.step.as_ref().map_or_else(|| self.name.clone(), |step| format!("{}-{step}", self.name));
        match &self.out {
            Some(folder) => write(folder, &file, &rendered, term)?,
            None => show(&rendered, term)?,
        }
        Ok(Status::Good)
    }
}

/// A template of the workspace, whether a funnel uses it or not.
fn template(workspace: &Workspace, name: &str) -> anyhow::Result<Arc<Template>> {
    let file = |ending: &str| workspace.files.get_key_value(&format!("templates/{name}.{ending}"));
    let pair = |ending: &str| file(ending).map(|(path, text)| (path.as_str(), text.as_str()));
    let options = TemplateOptions { currency: workspace.settings.currency, zone: workspace.settings.zone };
    let (html, txt) = (pair("html").or_else(|| pair("mjml")), pair("txt"));
    if html.is_none() && txt.is_none() {
        let stem = |path: &String| Some(path.strip_prefix("templates/")?.rsplit_once('.')?.0.to_owned());
        let names: Vec<String> = workspace.files.keys().filter_map(stem).collect();
        bail!("there is no template `{name}`{}", meant(name, names.iter().map(String::as_str)));
    }
    let mut faults = Faults::default();
    let template = Template::compile(name, html, txt, options, &mut faults);
    template.map(Arc::new).with_context(|| format!("the template `{name}` has faults; `autofunnel check` shows them"))
}

fn step_template(workspace: &Workspace, name: &str, step: &str) -> anyhow::Result<Arc<Template>> {
    let Some(funnel) = workspace.funnels.get(name) else {
        bail!("there is no funnel `{name}`{}", meant(name, workspace.funnels.keys().map(String::as_str)));
    };
    let messages = || funnel.steps.list.iter().filter_map(|step| Some((step.id.as_str(), step.step.template()?.0)));
    let found = messages().find(|(id, _)| *id == step).and_then(|(_, template)| funnel.templates.get(template));
    found.cloned().with_context(|| {
        let ids: Vec<&str> = messages().map(|(id, _)| id).collect();
        format!("`{name}` has no step `{step}` that sends a message; there is: {}", ids.join(", "))
    })
}

fn meant<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    closest(name, known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default()
}

/// What a file says of a customer.
fn data(path: &Path) -> anyhow::Result<Fields> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
    let value = Value::from_json(&json).with_context(|| format!("{} cannot be used", path.display()))?;
    let Value::Map(fields) = value else { bail!("{} must hold a JSON object", path.display()) };
    if matches!(fields.get("customer"), Some(Value::Map(_))) {
        return Ok(fields);
    }
    let profile = fields.get("profile").cloned().filter(|profile| matches!(profile, Value::Map(_)));
    Ok(Fields::from([("customer".to_owned(), profile.unwrap_or(Value::Map(fields)))]))
}

/// Renders with what is given, and makes up what is missing.
fn render(template: &Template, mut data: Fields, workspace: &Workspace) -> anyhow::Result<Rendered> {
    if let Some(address) = &workspace.settings.address {
        data.entry("unsubscribe_url".to_owned()).or_insert_with(|| Value::Text(format!("{address}/u/preview")));
    }
    for path in template.variables().iter().take(SAMPLES_MAX) {
        fill(&mut data, path, workspace, path);
    }
    template.render(&data).context("the message cannot be shown with made-up data; give some with --customer")
}

/// Puts a sample at the end of a path, unless something is there.
fn fill(fields: &mut Fields, rest: &[String], workspace: &Workspace, path: &[String]) {
    let Some((name, below)) = rest.split_first() else { return };
    if below.is_empty() {
        fields.entry(name.clone()).or_insert_with(|| sample(path, workspace));
    } else if let Value::Map(fields) = fields.entry(name.clone()).or_insert_with(|| Value::Map(Fields::new())) {
        fill(fields, below, workspace, path);
    }
}

/// A value such as stands there: of the type that the settings say, else as the name suggests.
fn sample(path: &[String], workspace: &Workspace) -> Value {
    let name = path.last().map_or("", String::as_str);
    let declared = match path.first().map(String::as_str) {
        Some("customer") if path.len() == 2 => workspace.settings.profile.get(name).cloned(),
        Some("event") if path.len() == 2 => workspace.settings.events.values().find_map(|event| match event {
            Type::Object(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, ty)| ty.clone()),
            _ => None,
        }),
        _ => None,
    };
    let has = |words: &[&str]| words.iter().any(|word| name.contains(word));
    let time = || Value::from("2027-03-01T10:00:00Z");
    match declared {
        Some(Type::Number) => return Value::from(42),
        Some(Type::Bool) => return Value::Bool(true),
        Some(Type::Time) => return time(),
        _ => {}
    }
    match name {
        "name" if path.len() == 2 => Value::from("Ada Lindqvist"),
        "email" => Value::from("ada@example.com"),
        "phone" => Value::from("+4915550000"),
        "zone" => Value::from(workspace.settings.zone.name()),
        "language" => Value::from("en"),
        "birthday" => Value::from("1990-05-17"),
        "tier" => Value::from("gold"),
        "items" => Value::List(vec![item(), item()]),
        "benefits" => benefits(path, workspace),
        _ if has(&["amount", "price", "total", "spent", "value", "worth", "saving"]) => {
            Value::from_json(&serde_json::json!(24.9)).unwrap_or_default()
        }
        _ if has(&["points", "balance", "pending", "count", "number", "quantity", "seats", "rating", "days"]) => Value::from(120),
        _ if has(&["date", "until", "expires", "ends", "started", "created", "time"]) || name.ends_with("_at") => time(),
        _ if has(&["url", "link"]) => Value::from("https://example.com/"),
        _ => Value::from(name.replace(['_', '-'], " ").as_str()),
    }
}

/// Those of the highest tier, or of the first membership.
fn benefits(path: &[String], workspace: &Workspace) -> Value {
    let of_membership = path.iter().any(|name| name == "membership");
    let membership = workspace.catalog.memberships.values().next().map(|membership| &membership.benefits);
    let tier = workspace.catalog.tiers.last().map(|tier| &tier.benefits);
    let found = if of_membership { membership } else { tier };
    Value::List(found.into_iter().flatten().map(|text| Value::from(text.as_str())).collect())
}

fn item() -> Value {
    let json = serde_json::json!({ "sku": "sample-1", "name": "Sample", "category": "sample", "quantity": 1, "amount": 12.5, "price": 12.5 });
    Value::from_json(&json).unwrap_or_default()
}

fn show(rendered: &Rendered, term: &Term) -> anyhow::Result<()> {
    if !rendered.subject.is_empty() {
        term.line(&format!("subject: {}\n", rendered.subject))?;
    }
    term.line(rendered.text.trim_end())?;
    Ok(())
}

fn write(folder: &Path, name: &str, rendered: &Rendered, term: &Term) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    for (ending, text) in [("subject.txt", &rendered.subject), ("txt", &rendered.text), ("html", &rendered.html)] {
        if text.is_empty() {
            continue;
        }
        let path = folder.join(format!("{name}.{ending}"));
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        term.line(&path.display().to_string())?;
    }
    Ok(())
}
