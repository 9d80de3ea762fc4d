//! Feeds bad input to everything that reads what others write, and prints one table.
//!
//! ```text
//! cargo run --release --example badinput
//! cargo run --release --example badinput -- --each 20000 --kind template
//! ```
//! Inputs are valid documents that were changed by their grammar; `tests/it/bad` makes and feeds them, this
//! program only counts and measures. An input is named by kind, seed and number and can be made again. What
//! breaks a rule, panics, hangs or takes too long is kept in a file and told with the command that repeats it.
//!
//! *Past the parser*: well-formed, so that something behind the reader of the form was tried. *With a place*: of
//! what was refused. *Slow*: longer than 50 ms. *Broken*: something else that must not be, such as an endless or
//! empty sentence, a place outside of its file, a signature taken for right that is not.
//!
//! Each kind runs in a process of its own, on a stack as small as a worker's, so that a crash ends nothing
//! else and memory can be told apart. Time is the wall clock around one input; one that took more than half
//! of what is allowed is fed up to three times more, and the least time of the processor counts, because other
//! programs run here too. Memory is how far the process ever grew beyond what it had before its first input
//! (`VmHWM` of the kernel): no single input can have taken more than that. A large input is fed alone in a
//! process of its own, because what other inputs left behind would hide what it takes.

mod child;
#[path = "../../tests/it/bad/feed/mod.rs"]
mod feed;
mod measure;

use anyhow::{Context, bail};
use feed::KINDS;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// As the shipped program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const HELP: &str = "\
cargo run --release --example badinput -- [OPTIONS]

  --each N      inputs of every kind; default 1000000
  --seed N      another seed gives other inputs; default 1
  --from N      number of the first input; default 0
  --kind NAME   this kind only; may stand several times
  --keep DIR    where failing inputs are kept; default beside the binary
  --kinds       list the kinds";

/// What is to be fed.
#[derive(Clone, Debug)]
struct Options {
    each: u64,
    seed: u64,
    from: u64,
    kinds: Vec<String>,
    keep: PathBuf,
    /// This process feeds one kind itself.
    child: bool,
    /// This process feeds one large input.
    alone: bool,
    /// Every input is kept before it is fed.
    trace: bool,
}

fn options() -> anyhow::Result<Options> {
    let binary = std::env::current_exe().context("this program has no path")?;
    let keep = binary.parent().unwrap_or(Path::new(".")).join("badinput-kept");
    let mut options =
        Options { each: 1_000_000, seed: 1, from: 0, kinds: Vec::new(), keep, child: false, alone: false, trace: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--child" => options.child = true,
            "--alone" => options.alone = true,
            "--trace" => options.trace = true,
            "--kinds" | "--help" | "-h" => {
                let kinds: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
                println!("{HELP}\n\nKinds: {}", kinds.join(", "));
                std::process::exit(0);
            }
            _ => {
                let value = arguments.next().with_context(|| format!("{name} needs a value, or is not known; see --help"))?;
                let number = || value.parse::<u64>().with_context(|| format!("{name} takes a number"));
                match name.as_str() {
                    "--each" => options.each = number()?,
                    "--seed" => options.seed = number()?,
                    "--from" => options.from = number()?,
                    "--keep" => options.keep = PathBuf::from(&value),
                    "--kind" if KINDS.iter().any(|(kind, _)| *kind == value) => options.kinds.push(value),
                    "--kind" => bail!("there is no kind `{value}`; see --kinds"),
                    _ => bail!("{name} is not known; see --help"),
                }
            }
        }
    }
    if options.kinds.is_empty() {
        options.kinds = KINDS.iter().map(|(name, _)| (*name).to_owned()).collect();
    }
    Ok(options)
}

fn main() -> anyhow::Result<ExitCode> {
    let options = options()?;
    std::fs::create_dir_all(&options.keep).with_context(|| format!("cannot make {}", options.keep.display()))?;
    if options.child {
        return child::run(&options);
    }
    println!("seed {}, {} inputs of each kind; what fails is kept in {}\n", options.seed, options.each, options.keep.display());
    println!("{}", measure::HEAD);
    let mut sound = true;
    for kind in &options.kinds {
        sound &= one_kind(&options, kind)?;
    }
    println!("\n{}", if sound { "all held" } else { "NOT all held: see above" });
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Feeds one kind in a process of its own and shows its row.
fn one_kind(options: &Options, kind: &str) -> anyhow::Result<bool> {
    let started = Instant::now();
    let answer = spawn(options, kind, &[])?.wait_with_output().context("the process of a kind was lost")?;
    let text = String::from_utf8_lossy(&answer.stdout);
    print!("{}", text.replace(measure::SECONDS, &format!("{:.0}", started.elapsed().as_secs_f64())));
    std::io::stdout().flush().context("nobody reads the table any more")?;
    if answer.status.code().is_some_and(|code| code <= child::CODE_HANGS) {
        return Ok(answer.status.success());
    }
    // It died without a word, as of a stack that is too small: once more from its last mark, keeping each input first.
    let from = child::mark(options, kind);
    let again =
        Options { from, each: options.each.saturating_sub(from - options.from).min(child::MARK_EVERY), ..options.clone() };
    let status = spawn(&again, kind, &["--trace"])?.wait_with_output().context("the process of a kind was lost")?.status;
    println!(
        "  {kind}: the process died ({}), after number {from}; with traces: {status}; the last input is in {}",
        answer.status,
        child::traced(options, kind).display()
    );
    Ok(false)
}

fn spawn(options: &Options, kind: &str, more: &[&str]) -> anyhow::Result<std::process::Child> {
    let numbers = [("--each", options.each), ("--seed", options.seed), ("--from", options.from)];
    let mut command = Command::new(std::env::current_exe().context("this program has no path")?);
    command.args(["--child", "--kind", kind]).args(more).arg("--keep").arg(&options.keep).stdout(Stdio::piped());
    for (name, number) in numbers {
        command.arg(name).arg(number.to_string());
    }
    command.spawn().context("cannot start a process for a kind")
}
