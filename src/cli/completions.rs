//! `completions`: what a shell needs to complete the command line.

use super::term::Term;
use super::{Cli, Done, Status};
use clap::{Args, CommandFactory};
use clap_complete::Shell;

const EXAMPLES: &str = "\
Examples:
  autofunnel completions bash > ~/.local/share/bash-completion/completions/autofunnel
  autofunnel completions zsh > ~/.zfunc/_autofunnel
  autofunnel completions fish > ~/.config/fish/completions/autofunnel.fish";

/// Write a completion script for a shell
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub fn run(self, term: &Term) -> Done {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "autofunnel", &mut script);
        term.print(&String::from_utf8_lossy(&script))?;
        Ok(Status::Good)
    }
}
