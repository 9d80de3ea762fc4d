//! `schema`: what editors complete and check workspace files by.

use super::term::Term;
use super::{Done, Status};
use crate::channel;
use crate::funnel::schema;
use crate::lang::shape::object_schema;
use crate::loyalty;
use crate::source;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::{Map, Value as Json, json};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  autofunnel schema --out .autofunnel    funnel.schema.json, settings.schema.json …
  autofunnel schema funnel               one of them on standard output
  autofunnel schema                      all of them in one JSON object, by file name

An editor with a YAML language server follows the first line of a file:
  # yaml-language-server: $schema=.autofunnel/funnel.schema.json";

/// Write the JSON Schemas of workspace files
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Schema {
    /// Only one: funnel, settings, segments, catalog or tests
    name: Option<String>,
    /// Write files into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "name")]
    out: Option<PathBuf>,
}

impl Schema {
    pub fn run(self, term: &Term) -> Done {
        if let Some(folder) = &self.out {
            for path in write(folder)? {
                term.line(&path.display().to_string())?;
            }
            return Ok(Status::Good);
        }
        let all = all();
        let printed = match &self.name {
            None => Json::Object(all.into_iter().map(|(file, schema)| (file.to_owned(), schema)).collect::<Map<_, _>>()),
            Some(name) => {
                let names: Vec<&str> = all.iter().map(|(file, _)| stem(file)).collect();
                match all.iter().find(|(file, _)| stem(file) == name) {
                    Some((_, schema)) => schema.clone(),
                    None => bail!("there is no schema `{name}`; there is: {}", names.join(", ")),
                }
            }
        };
        term.line(&format!("{printed:#}"))?;
        Ok(Status::Good)
    }
}

fn stem(file: &str) -> &str {
    file.split('.').next().unwrap_or(file)
}

/// All schemas by file name.
fn all() -> Vec<(&'static str, Json)> {
    let provider = channel::kinds().map(|kind| {
        let mut one = object_schema(&[channel::COMMON_FIELDS, kind.fields, kind.more]);
        one["title"] = json!(kind.name);
        one["description"] = json!(kind.doc);
        one["properties"]["kind"] = json!({ "const": kind.name });
        one
    });
    let (booking, lookup) = loyalty::request_fields();
    let store = schema::Store {
        store: object_schema(&[loyalty::FIELDS]),
        booking: object_schema(&booking),
        lookup: object_schema(&lookup),
    };
    let service = object_schema(channel::SERVICE_FIELDS);
    schema::all(json!({ "anyOf": provider.collect::<Vec<_>>() }), object_schema(&[source::FIELDS]), service, store)
}

/// Writes the schemas into a folder; they are made anew each time. The paths written.
///
/// # Errors
/// When a file cannot be written.
pub(super) fn write(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let write = |(file, schema): (&str, Json)| {
        let path = folder.join(file);
        std::fs::write(&path, format!("{schema:#}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    all().into_iter().map(write).collect()
}
