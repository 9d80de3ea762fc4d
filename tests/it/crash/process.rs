//! One `autofunnel serve`: a process of its own that a test starts, kills and asks to stop.

use crate::provider::Bell;
use autofunnel::store::failpoint::CRASH_AT_VARIABLE;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The administrator's token of these tests.
pub const TOKEN: &str = "a-token-for-crash-tests";
/// A secret of a provider, which must not appear in any log.
pub const PROVIDER_SECRET: &str = "a-secret-of-the-provider";
/// Nothing that is waited for takes this long: a provider that rests four times in a row does so for 65 s.
pub const PATIENCE: Duration = Duration::from_secs(150);
/// Signals, as an exit status names them.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// What a process's standard output has told so far.
#[derive(Default)]
struct Heard {
    address: Option<SocketAddr>,
    /// It has said that it works, with doors or without.
    up: bool,
    /// The output has ended, and so has the process: it has no children.
    ended: bool,
}

/// A running engine. Dropped, it is killed.
pub struct Process {
    child: Child,
    heard: Arc<Mutex<Heard>>,
    bell: Arc<Bell>,
    log: PathBuf,
    status: Option<ExitStatus>,
}

/// What a process needs to be started.
pub struct Setup<'a> {
    /// The folder that everything lies in: `funnels`, the store's files, logs.
    pub folder: &'a Path,
    /// Where the store is, and what the process does.
    pub arguments: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(&'static str, String)>,
    /// No file may grow beyond this, in KiB.
    pub file_kib_max: Option<u64>,
    /// Its number, from 1, by which the provider knows it.
    pub number: usize,
    /// The failpoint at which it is to end, as `name:n`.
    pub crash_at: Option<&'a str>,
    /// Told of what happens.
    pub bell: Arc<Bell>,
}

impl Process {
    /// Starts the engine; it need not listen yet.
    pub fn start(setup: Setup<'_>) -> Process {
        let log = setup.folder.join(format!("engine-{}.log", setup.number));
        let binary = env!("CARGO_BIN_EXE_autofunnel");
        let mut command = match setup.file_kib_max {
            None => Command::new(binary),
            Some(most) => {
                // The shell counts blocks of 512 bytes. What is ignored stays so in the process that takes its place:
                // a write beyond the bound fails instead of ending it.
                let mut shell = Command::new("sh");
                shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", most * 2), binary]);
                shell
            }
        };
        command.arg("serve").arg("--funnels").arg(setup.folder.join("funnels")).args(&setup.arguments);
        command.env("AUTOFUNNEL_TOKEN", TOKEN).env("AUTOFUNNEL_PROCESS", format!("process-{}", setup.number));
        command
            .env("AUTOFUNNEL_PROVIDER_SECRET", PROVIDER_SECRET)
            .envs(setup.environment.iter().map(|(name, value)| (name, value)));
        command.env("NO_COLOR", "1").env_remove(CRASH_AT_VARIABLE).env_remove("RUST_LOG");
        if let Some(place) = setup.crash_at {
            command.env(CRASH_AT_VARIABLE, place);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let heard = Arc::new(Mutex::new(Heard::default()));
        let (output, bell) = (child.stdout.take().unwrap(), setup.bell.clone());
        let told = heard.clone();
        std::thread::spawn(move || listen(output, &told, &bell));
        Process { child, heard, bell: setup.bell, log, status: None }
    }

    /// Waits until it works or has ended; where it listens, if it has doors.
    pub fn address(&self) -> Option<SocketAddr> {
        let decided = || {
            let heard = self.heard.lock().unwrap();
            heard.ended || heard.up
        };
        assert!(self.bell.until(PATIENCE, decided), "the engine does not come up:\n{}", self.log());
        let heard = self.heard.lock().unwrap();
        heard.address.filter(|_| !heard.ended)
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.heard.lock().unwrap().ended
    }

    /// Its exit status; it must have ended or be about to.
    pub fn status(&mut self) -> ExitStatus {
        assert!(self.bell.until(PATIENCE, || self.has_ended()), "the engine does not end:\n{}", self.log());
        let child = &mut self.child;
        *self.status.get_or_insert_with(|| child.wait().unwrap())
    }

    /// Whether it ended at its failpoint.
    pub fn crashed(&mut self) -> bool {
        self.has_ended() && self.status().signal() == Some(SIGABRT)
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.status().signal(), Some(SIGKILL), "it had ended by itself:\n{}", self.log());
    }

    /// Ends it as a power cut would, if it has not ended already.
    pub fn end(&mut self) {
        self.child.kill().unwrap();
        self.status();
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        assert!(self.status.is_none(), "once it was waited for its id may be another's");
        let asked = Command::new("sh").args(["-c", &format!("kill -s {name} {}", self.child.id())]).status().unwrap();
        assert!(asked.success() || self.has_ended());
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.status.is_none() {
            // It may have ended meanwhile; either way it is gone afterwards.
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

fn listen(output: ChildStdout, heard: &Mutex<Heard>, bell: &Bell) {
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        let address = line.split("http://").nth(1).and_then(|rest| rest.split(['/', ' ']).next()?.parse().ok());
        if address.is_some() || line.starts_with("working") {
            let mut heard = heard.lock().unwrap();
            (heard.address, heard.up) = (address, true);
            drop(heard);
            bell.ring();
        }
    }
    heard.lock().unwrap().ended = true;
    bell.ring();
}
