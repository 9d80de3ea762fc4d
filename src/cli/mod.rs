//! The command line: one file per command.
//!
//! What a command is asked for goes to standard output, everything else (talk, progress, faults of the
//! command itself) to standard error. Exit codes: 0 all is well, 1 the command ran and something failed,
//! 2 the command line cannot be understood.

use clap::{Parser, Subcommand};
use std::future::Future;
use std::io;
use std::process::ExitCode;
use term::{ColorChoice, Term};

mod apply;
mod backup;
mod check;
mod completions;
mod customer;
mod demo;
mod doctor;
mod effects;
mod explain;
mod import;
mod inbox;
mod init;
mod migrate;
mod pause;
mod plan;
mod preview;
mod quarantine;
mod reference;
mod remote;
mod render;
mod report;
mod review;
mod runs;
mod schema;
mod send;
mod serve;
mod simulate;
mod stats;
mod term;
mod test;
mod timeline;
mod token;
mod upload;
mod workspace;

/// What a command came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    /// As it should be.
    Good,
    /// It ran; something failed, and has been told.
    Failed,
}

/// What every command returns. An error is a command that could not do its work.
type Done = anyhow::Result<Status>;

const EXAMPLES: &str = "\
Examples:
  autofunnel init shop              write a small workspace into ./shop
  autofunnel check shop             find every fault in it
  autofunnel test shop              play its tests
  autofunnel serve --funnels shop   run it, with messages kept in the development inbox
  autofunnel send events.ndjson     send it events
  autofunnel explain C-17 welcome   why she got a message, or did not

Exit codes: 0 all is well; 1 a check, a test or the command failed; 2 the command line is wrong.";

/// A loyalty auto-funnel engine: funnels written in YAML, driven by events and dates, executed exactly once.
#[derive(Parser)]
#[command(name = "autofunnel", version, after_help = EXAMPLES, max_term_width = 110)]
struct Cli {
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Check(check::Check),
    Test(test::Test),
    Render(render::Render),
    Simulate(simulate::Simulate),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Preview(preview::Preview),
    Schema(schema::Schema),
    Reference(reference::Reference),
    /// Run the engine until it is told to stop
    Serve(serve::ServeArgs),
    /// Show the sample workspace at work, with the engine's time running faster
    Demo(demo::DemoArgs),
    Send(send::Send),
    Import(import::Import),
    Customer(customer::Customer),
    Timeline(timeline::Timeline),
    Explain(explain::Explain),
    Runs(runs::Runs),
    Stats(stats::Stats),
    Inbox(inbox::Inbox),
    Effects(effects::Effects),
    Review(review::Review),
    Pause(pause::Pause),
    Resume(pause::Resume),
    Quarantine(quarantine::Quarantine),
    Doctor(doctor::Doctor),
    Backup(backup::Backup),
    Report(report::Report),
    MigrateStore(migrate::MigrateStore),
    Token(token::Token),
    Completions(completions::Completions),
}

impl Command {
    fn run(self, term: &Term) -> Done {
        match self {
            Command::Init(command) => command.run(term),
            Command::Check(command) => command.run(term),
            Command::Test(command) => command.run(term),
            Command::Render(command) => command.run(term),
            Command::Simulate(command) => command.run(term),
            Command::Plan(command) => command.run(term),
            Command::Apply(command) => command.run(term),
            Command::Preview(command) => command.run(term),
            Command::Schema(command) => command.run(term),
            Command::Reference(command) => command.run(term),
            Command::Serve(args) => ended(serve::run(args, term.color)),
            Command::Demo(args) => ended(demo::run(args, term.color)),
            Command::Send(command) => command.run(term),
            Command::Import(command) => command.run(term),
            Command::Customer(command) => command.run(term),
            Command::Timeline(command) => command.run(term),
            Command::Explain(command) => command.run(term),
            Command::Runs(command) => command.run(term),
            Command::Stats(command) => command.run(term),
            Command::Inbox(command) => command.run(term),
            Command::Effects(command) => command.run(term),
            Command::Review(command) => command.run(term),
            Command::Pause(command) => command.run(term),
            Command::Resume(command) => command.run(term),
            Command::Quarantine(command) => command.run(term),
            Command::Doctor(command) => command.run(term),
            Command::Backup(command) => command.run(term),
            Command::Report(command) => command.run(term),
            Command::MigrateStore(command) => command.run(term),
            Command::Token(command) => command.run(term),
            Command::Completions(command) => command.run(term),
        }
    }
}

/// Runs the command line.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let term = Term::new(cli.color);
    match cli.command.run(&term) {
        Ok(Status::Good) => ExitCode::SUCCESS,
        Ok(Status::Failed) => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            term.error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that runs an engine.
fn ended(command: impl Future<Output = anyhow::Result<ExitCode>>) -> Done {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let code = runtime.block_on(command)?;
    Ok(if code == ExitCode::SUCCESS { Status::Good } else { Status::Failed })
}

/// Whoever read our output has seen enough, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound_and_every_command_has_an_example() {
        let mut command = Cli::command();
        command.build();
        command.clone().debug_assert();
        for one in command.get_subcommands().filter(|one| one.get_name() != "help") {
            let help = one.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("autofunnel {}", one.get_name())), "{}", one.get_name());
            assert!(one.get_about().is_some(), "{}", one.get_name());
        }
    }
}
