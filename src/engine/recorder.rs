//! A record of every turn of this process, for `simulate --record`: one line each, in files of a day.
//!
//! A turn is written down after its commit, by a thread of its own: nothing waits for it. What is not written because
//! the process was killed, or because the disk is slower than the engine, is missing in the record and noticed there
//! (the lines of a customer are a chain of versions); nothing else depends on it. The files hold what customers are
//! and did: only this user may read them, they are removed after [`KEPT_DAYS`], and who is erased is taken out of them
//! within a day.

use crate::effect::{Effect, Outcome};
use crate::event::{Input, InputBody};
use crate::fact::{Fact, RunRef, What};
use crate::lang::time::Time;
use crate::simulate::record::{Before, Line};
use crate::step::winner::Winner;
use crate::store::{Claim, Committed};
use sha2::{Digest, Sha256};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Days for which a record is kept.
pub const KEPT_DAYS: i64 = 30;
/// Lines that wait for the disk; beyond them lines are left out.
const WAITING_LINES_MAX: usize = 10_000;
/// Customers of whom it is known that they stand in the file of the day; beyond them they are introduced again.
const KNOWN_MAX: usize = 2_000_000;
/// Turns that are on their way; beyond them those whose commit was refused are forgotten.
const OPEN_MAX: usize = 10_000;
/// How the names of files begin and end; between them stand the day and the process.
const NAME: (&str, &str) = ("turns-", ".ndjson");

/// See the module.
pub struct Recorder {
    state: Mutex<State>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    /// None: it is closed.
    out: Option<SyncSender<Line>>,
    /// Turns that are done and not known to be committed, by customer and version: the next one of hers may have begun
    /// by the time in which this one is told of.
    open: HashMap<(String, u64), Open>,
    /// The day of the present file, and who is introduced in it.
    day: String,
    known: HashSet<u64>,
    left_out: u64,
}

struct Open {
    line: Line,
    /// Its commit was not taken. It stays, because what stands here may be the next attempt at the same version already.
    refused: bool,
}

impl Recorder {
    /// Begins a record in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub fn start(folder: PathBuf) -> io::Result<Recorder> {
        fs::create_dir_all(&folder)?;
        let file = Daily { folder, day: String::new(), file: None, path: PathBuf::new(), erased: HashSet::new() };
        file.try_out()?;
        let (out, lines) = sync_channel(WAITING_LINES_MAX);
        let thread = std::thread::Builder::new().name("record".to_owned()).spawn(move || file.write_all(&lines))?;
        let state = State { out: Some(out), open: HashMap::new(), day: String::new(), known: HashSet::new(), left_out: 0 };
        Ok(Recorder { state: Mutex::new(state), thread: Mutex::new(Some(thread)) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves at worst a line out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A turn is about to be done.
    pub fn begun(&self, claim: &Claim, workspace: &str) {
        let mut state = self.state();
        let day = day_of(claim.now);
        let introduced = state.day == day && state.known.contains(&digest(&claim.customer));
        let before = || Before { document: claim.record.document.clone(), account: claim.record.account.clone() };
        let line = Line {
            customer: claim.customer.clone(),
            base: claim.record.version,
            now: claim.now,
            workspace: workspace.to_owned(),
            inputs: claim.inputs.iter().map(|queued| queued.input.clone()).collect(),
            more_from: claim.more_from,
            books: None,
            before: (!introduced).then(before),
            facts: Vec::new(),
            winners: Vec::new(),
            erased: false,
        };
        if state.open.len() >= OPEN_MAX {
            state.open.retain(|_, open| !open.refused);
        }
        state.open.insert((line.customer.clone(), line.base), Open { line, refused: false });
    }

    /// A turn on the answer to an effect; `booked`: the built-in account gave it.
    pub fn answered(&self, claim: &Claim, workspace: &str, effect: &Effect, outcome: &Outcome, booked: bool) {
        self.begun(claim, workspace);
        if let Some(Open { line, .. }) = self.state().open.get_mut(&(claim.customer.clone(), claim.record.version)) {
            let body = InputBody::Result { effect: effect.id.clone(), outcome: outcome.clone() };
            line.inputs.push(Input { accepted_at: claim.now, body });
            line.books = booked.then(|| Box::new(effect.clone()));
        }
    }

    /// What a turn has decided; to be called before its commit.
    pub fn decided(&self, (customer, base): (&str, u64), facts: &[Fact], winners: &[Winner], erased: bool) {
        if let Some(Open { line, .. }) = self.state().open.get_mut(&(customer.to_owned(), base)) {
            line.facts = facts.to_vec();
            let by = |winner: &&Winner| facts.iter().any(|fact| goes_by(fact, winner));
            line.winners = winners.iter().filter(by).cloned().collect();
            line.erased = erased;
        }
    }

    /// What became of a commit.
    pub fn committed(&self, customer: &str, base: u64, outcome: Committed) {
        let mut state = self.state();
        let key = (customer.to_owned(), base);
        if outcome != Committed::Done {
            if let Some(open) = state.open.get_mut(&key) {
                open.refused = true;
            }
            return;
        }
        let Some(Open { line, .. }) = state.open.remove(&key) else { return };
        let day = day_of(line.now);
        if state.day < day || state.known.len() >= KNOWN_MAX {
            state.known.clear();
            state.day = day;
        }
        let digest = digest(customer);
        let introduces = line.before.is_some();
        let Some(out) = &state.out else { return };
        match out.try_send(line) {
            Ok(()) if introduces => drop(state.known.insert(digest)),
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                // Her next line introduces her anew.
                state.known.remove(&digest);
                state.left_out += 1;
                if state.left_out.is_power_of_two() {
                    tracing::warn!(
                        turns = state.left_out,
                        "the record is not kept up with, or cannot be written; turns are missing in it"
                    );
                }
            }
        }
    }

    /// Writes what is left, and ends.
    pub fn close(&self) {
        drop(self.state().out.take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Err(_)) = thread.map(JoinHandle::join) {
            tracing::error!("the record ended badly; it is not whole");
        }
    }
}

fn digest(customer: &str) -> u64 {
    let hash = Sha256::digest(customer.as_bytes());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn day_of(time: Time) -> String {
    time.date(chrono_tz::UTC).to_string()
}

/// The file of the day.
struct Daily {
    folder: PathBuf,
    day: String,
    file: Option<BufWriter<File>>,
    path: PathBuf,
    /// Who was erased and may stand in files.
    erased: HashSet<String>,
}

impl Daily {
    /// Whether anything can be written there.
    fn try_out(&self) -> io::Result<()> {
        let path = self.folder.join(format!(".{}", std::process::id()));
        drop(private(&path)?);
        fs::remove_file(path)
    }

    fn write_all(mut self, lines: &Receiver<Line>) {
        let mut complained = false;
        while let Ok(line) = lines.recv() {
            let mut next = Some(line);
            while let Some(line) = next {
                if let Err(why) = self.write(&line)
                    && !std::mem::replace(&mut complained, true)
                {
                    tracing::error!(%why, folder = %self.folder.display(), "the record cannot be written; it is not whole");
                }
                next = lines.try_recv().ok();
            }
            if let Some(Err(why)) = self.file.as_mut().map(Write::flush) {
                tracing::error!(%why, "the record cannot be written; it is not whole");
            }
        }
        self.file = None;
        let (own, today) = (self.path.clone(), self.day.clone());
        self.clean(|path, day| path == own || day < today.as_str());
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let day = day_of(line.now);
        if self.day < day || self.file.is_none() {
            self.turn_over(line.now, day)?;
        }
        if line.erased {
            self.erased.insert(line.customer.clone());
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")
    }

    /// The next day has begun: a new file, and what is old or forgotten goes.
    fn turn_over(&mut self, now: Time, day: String) -> io::Result<()> {
        self.file = None;
        self.path = self.folder.join(format!("{}{day}-{}{}", NAME.0, std::process::id(), NAME.1));
        self.file = Some(BufWriter::new(private(&self.path)?));
        if self.day.is_empty() {
            self.erased = erased_in(&self.folder)?;
        }
        let oldest = day_of(now.plus_ms(-KEPT_DAYS * crate::lang::time::DAY_MS));
        let today = day.clone();
        self.day = day;
        for path in recorded(&self.folder)? {
            if day_in(&path).is_some_and(|day| day < oldest.as_str()) {
                fs::remove_file(path)?;
            }
        }
        self.clean(|_, day| day < today.as_str());
        Ok(())
    }

    /// Takes who was erased out of files that nobody writes to any more.
    fn clean(&mut self, which: impl Fn(&Path, &str) -> bool) {
        if self.erased.is_empty() {
            return;
        }
        let cleaned = recorded(&self.folder).and_then(|paths| {
            let which = |path: &PathBuf| day_in(path).is_some_and(|day| which(path, day));
            paths.into_iter().filter(which).try_for_each(|path| without(&path, &self.erased))
        });
        if let Err(why) = cleaned {
            tracing::error!(%why, folder = %self.folder.display(), "erased customers could not be taken out of the record; delete its files");
        }
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The files of a record.
///
/// # Errors
/// When the folder cannot be read.
pub fn recorded(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if day_in(&path).is_some() {
            out.push(path);
        }
    }
    out.sort();
    Ok(out)
}

/// Whether a fact tells that a variant was taken because it had won.
fn goes_by(fact: &Fact, winner: &Winner) -> bool {
    let of = |run: &RunRef| run.funnel == winner.funnel && run.step == winner.step;
    fact.what == What::Variant && winner.from <= fact.at && fact.run.as_ref().is_some_and(of)
}

/// The day in the name of a file; `None`: it is none of a record.
fn day_in(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()?.strip_prefix(NAME.0)?.strip_suffix(NAME.1)?.get(.."2027-03-01".len())
}

/// What is read of a line to know whose it is.
#[derive(serde::Deserialize)]
struct Whose {
    customer: String,
    #[serde(default)]
    erased: bool,
}

/// Who was erased by a process that was killed before it took her out.
fn erased_in(folder: &Path) -> io::Result<HashSet<String>> {
    let mut out = HashSet::new();
    for path in recorded(folder)? {
        for line in BufReader::new(File::open(path)?).lines() {
            let whose: Option<Whose> = serde_json::from_str(&line?).ok();
            out.extend(whose.filter(|whose| whose.erased).map(|whose| whose.customer));
        }
    }
    Ok(out)
}

/// Writes a file anew without some customers.
fn without(path: &Path, erased: &HashSet<String>) -> io::Result<()> {
    let next = path.with_extension("part");
    let mut out = BufWriter::new(private(&next)?);
    for line in BufReader::new(File::open(path)?).lines() {
        let line = line?;
        let hers = serde_json::from_str(&line).is_ok_and(|whose: Whose| erased.contains(&whose.customer));
        if !hers {
            writeln!(out, "{line}")?;
        }
    }
    out.flush()?;
    fs::rename(next, path)
}
