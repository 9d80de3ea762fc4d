//! `init`: a small workspace to begin with.

use super::term::Term;
use super::{Done, Status, schema};
use anyhow::{Context, bail};
use clap::Args;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The files of the workspace to begin with.
const FILES: &[(&str, &str)] = &[
    ("autofunnel.yaml", include_str!("starter/autofunnel.yaml")),
    ("segments.yaml", include_str!("starter/segments.yaml")),
    ("catalog.yaml", include_str!("starter/catalog.yaml")),
    ("welcome.yaml", include_str!("starter/welcome.yaml")),
    ("templates/welcome.html", include_str!("starter/welcome.html")),
    ("templates/welcome.txt", include_str!("starter/welcome.txt")),
];
/// The folder of schemas within a workspace; names that begin with a dot are no part of it.
const SCHEMAS: &str = ".autofunnel";

const EXAMPLES: &str = "\
Examples:
  autofunnel init          into ./funnels, where the other commands look first
  autofunnel init shop     into ./shop

Nothing is overwritten: a folder that has one of the files already is left as it is.";

/// Write a small workspace to begin with
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Init {
    /// The folder of the workspace
    #[arg(default_value = "funnels")]
    dir: PathBuf,
}

impl Init {
    pub fn run(self, term: &Term) -> Done {
        let dir = &self.dir;
        if let Some((taken, _)) = FILES.iter().find(|(file, _)| dir.join(file).symlink_metadata().is_ok()) {
            bail!("{} is there already; nothing was written; choose another folder", dir.join(taken).display());
        }
        for (file, text) in FILES {
            let path = dir.join(file);
            write_new(&path, text)?;
            term.line(&path.display().to_string())?;
        }
        for path in schema::write(&dir.join(SCHEMAS))? {
            term.line(&path.display().to_string())?;
        }
        let shown = dir.display();
        term.say(&format!("next: `autofunnel check {shown}`, `autofunnel test {shown}`, `autofunnel serve --funnels {shown}`"));
        Ok(Status::Good)
    }
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
