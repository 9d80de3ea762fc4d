//! The files of `examples/operations`: what can be tried without containers and service managers is tried here.

use crate::cli::{TOKEN, shop};
use saphyr_parser::{Event, Parser};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes this long.
const PATIENCE: Duration = Duration::from_secs(60);
const PASSWORD: &str = "a-password-for-tests-only";

fn file(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap()
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/operations").join(name)
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Tells it to end and waits for it.
    fn stop(mut self) {
        assert!(Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status().unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

/// A Redis with our settings, on a free port.
fn redis(folder: &Path) -> (Process, u16) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = std::fs::File::create(folder.join("log")).unwrap();
    let child = Command::new("redis-server")
        .arg(path("redis.conf"))
        .args(["--dir", folder.to_str().unwrap(), "--bind", "127.0.0.1", "--port", &port.to_string(), "--requirepass", PASSWORD])
        .stdin(Stdio::null())
        .stdout(log)
        .spawn()
        .unwrap();
    let server = Process(child);
    let started = Instant::now();
    while !String::from_utf8_lossy(&ask(port, &["ping"]).stdout).contains("PONG") {
        let log = || std::fs::read_to_string(folder.join("log")).unwrap();
        assert!(started.elapsed() < PATIENCE, "redis-server does not take redis.conf: {}", log());
    }
    (server, port)
}

fn ask(port: u16, words: &[&str]) -> Output {
    Command::new("redis-cli").env("REDISCLI_AUTH", PASSWORD).args(["-p", &port.to_string()]).args(words).output().unwrap()
}

fn answer(port: u16, words: &[&str]) -> String {
    String::from_utf8(ask(port, words).stdout).unwrap().trim().to_owned()
}

fn autofunnel(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autofunnel"));
    command.current_dir(folder).env_remove("AUTOFUNNEL_STORE").env_remove("AUTOFUNNEL_URL").env("AUTOFUNNEL_TOKEN", TOKEN);
    command.envs(env.iter().copied()).args(arguments).output().unwrap()
}

fn script(name: &str, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let bin = Path::new(env!("CARGO_BIN_EXE_autofunnel")).parent().unwrap();
    let search = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    Command::new("sh").arg(path(name)).args(arguments).env("PATH", search).envs(env.iter().copied()).output().unwrap()
}

fn good(output: &Output) -> String {
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}");
    told
}

/// The `command:` of a service of docker-compose.yml.
fn compose_command(service: &str) -> Vec<String> {
    let text = file("docker-compose.yml");
    let part = text.split(&format!("\n  {service}:\n")).nth(1).unwrap_or_else(|| panic!("there is no service {service}"));
    let line = part.lines().find_map(|line| line.trim().strip_prefix("command: [")).unwrap();
    line.trim_end_matches(']').split(", ").map(|word| word.trim_matches('"').to_owned()).collect()
}

#[test]
fn the_yaml_is_yaml_and_the_command_lines_are_understood() {
    let text = file("docker-compose.yml");
    let events: Vec<_> = Parser::new_from_str(&text).map(|event| event.unwrap().0).collect();
    assert!(events.iter().any(|event| matches!(event, Event::MappingStart(..))));
    let unit = file("autofunnel.service");
    let exec = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/autofunnel ")).unwrap();
    let image = file("Dockerfile");
    let command =
        image.lines().find_map(|line| line.strip_prefix("CMD [")).unwrap().trim_end_matches(']').replace(['"', ','], "");
    let mut lines: Vec<Vec<String>> = ["report", "web", "worker-1", "worker-2"].into_iter().map(compose_command).collect();
    lines.extend([exec, &command].map(|line| line.split_whitespace().map(str::to_owned).collect()));
    let folder = tempfile::tempdir().unwrap();
    for line in lines {
        let line: Vec<String> = line.iter().map(|word| word.replace("/etc/autofunnel/funnels", "no/such/folder")).collect();
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let ended = autofunnel(folder.path(), &line, &[]);
        let said = String::from_utf8_lossy(&ended.stderr);
        // A command line that is not understood ends with 2; this one is, and the workspace is missing.
        assert!(ended.status.code() == Some(1) && said.contains("no/such/folder"), "{line:?}: {said}");
        let wrong = autofunnel(folder.path(), &[&line[..], &["--no-such-option"]].concat(), &[]);
        assert_eq!(wrong.status.code(), Some(2));
    }
}

#[test]
fn the_scripts_are_shell_and_say_how_they_are_used() {
    for name in ["backup.sh", "restore.sh"] {
        good(&Command::new("sh").arg("-n").arg(path(name)).output().unwrap());
        let none = script(name, &[], &[]);
        assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("file or redis"), "{none:?}");
        assert_eq!(script(name, &["tape", "a", "b", "c"], &[]).status.code(), Some(2));
    }
}

#[test]
fn our_settings_of_redis_are_taken_and_found_safe() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = redis(folder.path());
    for (name, wanted) in [("appendonly", "yes"), ("appendfsync", "always"), ("maxmemory-policy", "noeviction"), ("save", "")] {
        let told = answer(port, &["config", "get", name]);
        assert_eq!(told.lines().nth(1).unwrap_or_default(), wanted, "{name}");
    }
    let address = format!("redis://:{PASSWORD}@127.0.0.1:{port}");
    let doctor = autofunnel(folder.path(), &["doctor", "--store", &address], &[]);
    let told = good(&doctor);
    assert!(told.contains("all is well"), "{told}");
    // Every setting has its reason above it.
    let text = file("redis.conf");
    let mut reasoned = false;
    for line in text.lines() {
        match line {
            "" => reasoned = false,
            line if line.starts_with('#') => reasoned = true,
            line => assert!(reasoned, "`{line}` has no reason"),
        }
    }
}

/// The services of docker-compose.yml as processes of this machine.
struct Composed {
    folder: tempfile::TempDir,
    store: String,
    url: String,
}

impl Composed {
    fn service(&self, name: &str, volume: &str) -> (Process, String) {
        let data = self.folder.path().join(volume);
        std::fs::create_dir_all(&data).unwrap();
        let line = compose_command(name).into_iter().map(|word| match word.as_str() {
            "/etc/autofunnel/funnels" => self.folder.path().join("shop").display().to_string(),
            "0.0.0.0:8080" => "127.0.0.1:0".to_owned(),
            other => other.replace("/data", data.to_str().unwrap()),
        });
        let log = std::fs::File::create(self.folder.path().join(format!("{name}.log"))).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_autofunnel"))
            .args(line)
            .env("AUTOFUNNEL_STORE", &self.store)
            .env("AUTOFUNNEL_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        (Process(child), said.trim().trim_start_matches("listening on ").to_owned())
    }

    fn run(&self, arguments: &[&str]) -> Output {
        autofunnel(self.folder.path(), arguments, &[("AUTOFUNNEL_URL", &self.url), ("AUTOFUNNEL_STORE", &self.store)])
    }

    /// She signs up, and is greeted.
    fn greet(&self, customer: &str) {
        let rows = format!(
            "{{\"customer\":\"{customer}\",\"profile\":{{\"email\":\"{customer}@example.com\"}},\"consent\":{{\"email\":true}}}}\n"
        );
        std::fs::write(self.folder.path().join("customers.ndjson"), rows).unwrap();
        good(&self.run(&["import", "customers.ndjson"]));
        let event = format!("{{\"id\":\"{customer}-1\",\"event\":\"signed_up\",\"customer\":\"{customer}\"}}\n");
        std::fs::write(self.folder.path().join("events.ndjson"), event).unwrap();
        good(&self.run(&["send", "events.ndjson"]));
        self.until(&["timeline", customer], "Sent “welcome” by email");
    }

    fn until(&self, arguments: &[&str], wanted: &str) {
        let started = Instant::now();
        loop {
            let told = self.run(arguments);
            if String::from_utf8_lossy(&told.stdout).contains(wanted) {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{wanted}: {told:?}");
        }
    }
}

#[test]
fn the_composed_services_work_together_and_outlive_a_restore_of_redis() {
    let folder = shop();
    let data = folder.path().join("redis");
    std::fs::create_dir_all(&data).unwrap();
    let (server, port) = redis(&data);
    let store = format!("redis://:{PASSWORD}@127.0.0.1:{port}");
    let mut all = Composed { folder, store, url: String::new() };
    let (report, _) = all.service("report", "report");
    let (web, url) = all.service("web", "report");
    all.url = url;
    let workers = [all.service("worker-1", "worker-1").0, all.service("worker-2", "worker-2").0];
    all.greet("ada");
    // A worker is stopped: the other goes on.
    let [first, second] = workers;
    first.stop();
    all.greet("ben");

    let copies = all.folder.path().join("copies");
    let auth = [("REDISCLI_AUTH", PASSWORD), ("KEEP", "2")];
    good(&script("backup.sh", &["redis", &format!("127.0.0.1:{port}"), copies.to_str().unwrap()], &auth));
    let copy = std::fs::read_dir(&copies).unwrap().next().unwrap().unwrap().path();
    let id = answer(port, &["hget", "af:{meta}:store", "id"]);
    all.greet("cleo");
    // The worker notes every second how far the store is; the copy is older than that note.
    let mark = || std::fs::read_to_string(all.folder.path().join("worker-2/state/watermark")).unwrap_or_default();
    let (before, started) = (mark(), Instant::now());
    while mark() == before {
        assert!(started.elapsed() < PATIENCE, "the worker notes nothing");
    }
    for process in [web, report, second] {
        process.stop();
    }
    server.stop();

    // Back to the copy: cleo is not known to it, and what was sent to her could be sent again.
    let said = good(&script(
        "restore.sh",
        &["redis", copy.to_str().unwrap(), data.to_str().unwrap(), path("redis.conf").to_str().unwrap()],
        &[],
    ));
    assert!(said.contains("restored: "), "{said}");
    let (_server, port) = redis(&data);
    all.store = format!("redis://:{PASSWORD}@127.0.0.1:{port}");
    assert_eq!(answer(port, &["hget", "af:{meta}:store", "id"]), id);
    let (_report, _) = all.service("report", "report");
    let (_web, url) = all.service("web", "report");
    all.url = url;
    let (_worker, _) = all.service("worker-2", "worker-2");
    let log = all.folder.path().join("worker-2.log");
    let started = Instant::now();
    while !std::fs::read_to_string(&log).unwrap().contains("NOTHING IS SENT") {
        assert!(started.elapsed() < PATIENCE, "the older Redis is not noticed");
    }
    good(&all.run(&["doctor", "--confirm"]));
    all.greet("dora");
}

#[test]
fn a_file_is_copied_put_back_and_old_copies_go() {
    let folder = shop();
    let file = folder.path().join("autofunnel.db");
    let copies = folder.path().join("copies");
    let engine = |name: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_autofunnel"))
            .current_dir(folder.path())
            .args(["serve", "--funnels", "shop", "--listen", "127.0.0.1:0"])
            .env("AUTOFUNNEL_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join(name)).unwrap())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.starts_with("listening on "), "{said}");
        Process(child)
    };
    let running = engine("first.log");
    let words = ["file", file.to_str().unwrap(), copies.to_str().unwrap()];
    std::fs::create_dir_all(&copies).unwrap();
    for old in ["store-20200101T000000Z.db", "store-20200102T000000Z.db"] {
        std::fs::write(copies.join(old), "").unwrap();
    }
    good(&script("backup.sh", &words, &[("KEEP", "2")]));
    let mut names: Vec<String> =
        std::fs::read_dir(&copies).unwrap().map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert!(names.len() == 2 && names[0] == "store-20200102T000000Z.db", "{names:?}");
    let copy = copies.join(&names[1]);
    let words = ["file", copy.to_str().unwrap(), file.to_str().unwrap()];
    let busy = script("restore.sh", &words, &[]);
    assert!(!busy.status.success() && String::from_utf8_lossy(&busy.stderr).contains("stop it first"), "{busy:?}");
    running.stop();
    good(&script("restore.sh", &words, &[]));
    let aside = std::fs::read_dir(folder.path()).unwrap().filter(|one| {
        let name = one.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with("autofunnel.db.before-restore-")
    });
    assert_eq!(aside.count(), 1, "what was there is moved aside");
    engine("second.log").stop();
}
