//! The command line as people and scripts use it: the real binary, its output and its exit codes.

use autofunnel::engine::clock::system_now;
use autofunnel::event::{Event, InputBody};
use autofunnel::lang::value::Fields;
use autofunnel::store::read::Reads;
use autofunnel::store::sqlite::{Options, SqliteStore};
use autofunnel::store::{NewInput, Store};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

/// The administrator's token of the engines that are started here.
pub const TOKEN: &str = "a-token-for-tests-only";

fn autofunnel(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autofunnel"));
    command.current_dir(folder).env_remove("AUTOFUNNEL_URL").env_remove("AUTOFUNNEL_TOKEN").env_remove("RUST_LOG");
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    autofunnel(folder).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn talk(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// A folder with the starter workspace in `shop`.
pub fn shop() -> TempDir {
    let folder = TempDir::new().unwrap();
    let made = run(folder.path(), &["init", "shop"]);
    assert_eq!(code(&made), Some(0), "{}", talk(&made));
    folder
}

fn change(folder: &TempDir, file: &str, old: &str, new: &str) {
    let path = folder.path().join("shop").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(old), "{text}");
    std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
}

#[test]
fn the_starter_workspace_is_sound_and_its_tests_pass() {
    let folder = shop();
    let check = run(folder.path(), &["check", "shop"]);
    assert_eq!((code(&check), out(&check)), (Some(0), "1 funnel, 2 segments, 1 template, 2 tests: no faults\n".to_owned()));
    let test = run(folder.path(), &["test", "shop"]);
    assert_eq!(code(&test), Some(0));
    assert!(out(&test).contains("2 tests passed"), "{}", out(&test));
    let again = run(folder.path(), &["init", "shop"]);
    assert_eq!(code(&again), Some(1));
    assert!(talk(&again).contains("nothing was written"), "{}", talk(&again));
}

#[test]
fn what_is_left_out_without_a_word_is_told() {
    let folder = shop();
    std::fs::create_dir(folder.path().join("shop/more")).unwrap();
    // Not even well-formed: it is somebody else's, perhaps.
    std::fs::write(folder.path().join("shop/more/later.yaml"), "password: [ secret\n").unwrap();
    std::fs::write(folder.path().join("shop/more/notes.md"), "nothing that is meant\n").unwrap();
    std::fs::write(folder.path().join("shop/bare.yaml"), "funnel: Bare\ntrigger: signed_up\nsteps: [ { wait: 1h } ]\n").unwrap();
    let check = run(folder.path(), &["check", "shop"]);
    assert!(out(&check).contains("`more/later.yaml` is not used") && !out(&check).contains("notes.md"), "{}", out(&check));
    let test = run(folder.path(), &["test", "shop"]);
    assert!(out(&test).ends_with("without a test: bare\n"), "{}", out(&test));
    let one = run(folder.path(), &["test", "shop", "--funnel", "welcome"]);
    assert!(!out(&one).contains("without a test"), "{}", out(&one));
}

#[test]
fn a_mistyped_address_of_a_store_makes_no_file() {
    let folder = shop();
    for wrong in ["http://127.0.0.1:6379", "redi://127.0.0.1", "postgres://db"] {
        let serve = run(folder.path(), &["serve", "--funnels", "shop", "--listen", "127.0.0.1:0", "--store", wrong]);
        assert_eq!(code(&serve), Some(1), "{wrong}");
        assert!(talk(&serve).contains("write redis://host:6379"), "{wrong}: {}", talk(&serve));
    }
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains(":")), "{left:?}");
}

#[test]
fn the_sample_workspace_is_sound_and_its_tests_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let check = run(folder, &["check"]);
    assert_eq!(code(&check), Some(0), "{}", out(&check));
    let test = run(folder, &["test"]);
    assert_eq!(code(&test), Some(0), "{}", out(&test));
}

#[test]
fn every_fault_is_shown_with_its_place() {
    let folder = shop();
    change(&folder, "welcome.yaml", "  - email: welcome", "  - emial: welcome");
    change(&folder, "segments.yaml", "spent(\"365 days\")", "spnt(\"365 days\")");
    let check = run(folder.path(), &["check", "shop"]);
    assert_eq!(code(&check), Some(1));
    for place in
        ["shop/welcome.yaml:11:5", "shop/segments.yaml:11:9", "did you mean `email`?", "did you mean `spent`?", "2 errors"]
    {
        assert!(out(&check).contains(place), "{place}: {}", out(&check));
    }
    let github = run(folder.path(), &["check", "shop", "--format", "github"]);
    assert_eq!(code(&github), Some(1));
    assert!(out(&github).contains("::error file=shop/welcome.yaml,line=11,col=5,"), "{}", out(&github));
    let json = run(folder.path(), &["check", "shop", "--json"]);
    let faults: Json = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((faults[1]["file"].as_str(), faults[1]["line"].as_u64()), (Some("shop/welcome.yaml"), Some(11)));
    assert_eq!(code(&run(folder.path(), &["test", "shop"])), Some(1));
    assert_eq!(code(&run(folder.path(), &["check", "nowhere"])), Some(1));
}

#[test]
fn a_mistake_in_a_test_is_a_fault_of_the_workspace() {
    let folder = shop();
    change(&folder, "welcome.yaml", "2027-03-01 22:30 sent email welcome", "2027-03-01 22:30 sendt email welcome");
    let check = run(folder.path(), &["check", "shop"]);
    assert_eq!(code(&check), Some(1));
    assert!(out(&check).contains("shop/welcome.yaml:41:26") && out(&check).contains("did you mean `sent`?"), "{}", out(&check));
    let test = run(folder.path(), &["test", "shop"]);
    assert_eq!(code(&test), Some(1));
    assert!(out(&test).contains("2 tests, 1 failed") && out(&test).contains("the test itself has faults"), "{}", out(&test));
}

#[test]
fn one_fault_does_not_hide_those_elsewhere() {
    let folder = shop();
    change(
        &folder,
        "autofunnel.yaml",
        "currency: EUR",
        "currency: EUR\nservices: { stock: { url: \"ftp://stock.example.com\" } }",
    );
    let broken = "funnel: Broken\ntrigger: signed_up\ngoal: purchase\nsteps: [ { wiat: 1 day } ]\n";
    std::fs::write(folder.path().join("shop/broken.yaml"), broken).unwrap();
    let check = run(folder.path(), &["check", "shop"]);
    assert!(out(&check).contains("did you mean `wait`?") && out(&check).contains("bad-url"), "{}", out(&check));
    change(&folder, "autofunnel.yaml", "ftp:", "https:");
    change(&folder, "welcome.yaml", "2027-03-01 22:30 sent email welcome", "2027-03-01 22:30 sendt email welcome");
    let check = run(folder.path(), &["check", "shop"]);
    assert!(out(&check).contains("did you mean `wait`?") && out(&check).contains("did you mean `sent`?"), "{}", out(&check));
}

#[test]
fn a_recording_can_be_sent_as_if_it_happened_now() {
    let folder = shop();
    let engine = Engine::start(&folder);
    let event = |id: &str| {
        format!("{{\"id\":\"{id}\",\"event\":\"signed_up\",\"customer\":\"ada\",\"time\":\"2020-01-02T10:00:00Z\"}}\n")
    };
    for (id, arguments, wanted) in [
        ("o-1", vec!["send", "old.ndjson"], "went into history only"),
        ("o-2", vec!["send", "old.ndjson", "--now"], "Entered “welcome”"),
    ] {
        std::fs::write(folder.path().join("old.ndjson"), event(id)).unwrap();
        let sent = engine.ask(&folder, &arguments);
        assert_eq!(code(&sent), Some(0), "{}", talk(&sent));
        engine.ask_until(&folder, &["timeline", "ada"], wanted);
    }
}

#[test]
fn a_failed_test_shows_both_sides_and_the_reason() {
    let folder = shop();
    change(&folder, "welcome.yaml", "held email invitation", "sent email invitation");
    let test = run(folder.path(), &["test", "shop"]);
    assert_eq!(code(&test), Some(1));
    let text = out(&test);
    for line in [
        "FAILED  welcome: who does not order gets an offer, in the morning",
        "\n    2027-03-08 22:30 offered starter-set\n  - 2027-03-08 22:30 sent email invitation\n  + 2027-03-08 22:30 held email invitation: quiet hours 21:00–08:00\n",
        "quiet hours 21:00–08:00",
        "until = 2027-03-09T07:00:00Z",
        "2 tests, 1 failed",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let one = run(folder.path(), &["test", "shop", "--filter", "LEFT in peace"]);
    assert_eq!(code(&one), Some(0), "{}", out(&one));
    let json = run(folder.path(), &["test", "shop", "--json"]);
    let all: Json = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((all["passed"].as_u64(), all["failed"].as_u64()), (Some(1), Some(1)));
    assert_eq!(all["tests"][1]["line"], 46);
    let none = run(folder.path(), &["test", "shop", "--funnel", "welcom"]);
    assert!(code(&none) == Some(1) && talk(&none).contains("did you mean `welcome`?"), "{}", talk(&none));
}

#[test]
fn a_message_can_be_looked_at() {
    let folder = shop();
    let template = "---\nsubject: For {{ customer.name }}\n---\n<mjml><mj-body><mj-section><mj-column><mj-text>You have {{ customer.balance | points }} until {{ event.ends | date }}</mj-text></mj-column></mj-section></mj-body></mjml>";
    std::fs::write(folder.path().join("shop/templates/news.mjml"), template).unwrap();
    std::fs::write(folder.path().join("ada.json"), r#"{"name": "Ada B.", "balance": 1250}"#).unwrap();
    let made_up = run(folder.path(), &["preview", "news", "--dir", "shop"]);
    assert_eq!(out(&made_up), "subject: For Ada Lindqvist\n\nYou have 120 until 1 March 2027\n", "{}", talk(&made_up));
    let written = run(folder.path(), &["preview", "news", "--dir", "shop", "--customer", "ada.json", "--out", "seen"]);
    assert_eq!(code(&written), Some(0), "{}", talk(&written));
    let file = |name: &str| std::fs::read_to_string(folder.path().join("seen").join(name)).unwrap();
    assert_eq!((file("news.subject.txt").as_str(), file("news.txt").contains("1,250")), ("For Ada B.", true));
    assert!(file("news.html").contains("<!doctype html>") && file("news.html").contains("1,250"));
    let step = run(folder.path(), &["preview", "welcome", "greeting", "--dir", "shop"]);
    assert!(code(&step) == Some(0) && out(&step).starts_with("subject: "), "{} {}", out(&step), talk(&step));
    for (arguments, said) in [
        (&["preview", "nwes", "--dir", "shop"][..], "did you mean `news`?"),
        (&["preview", "welcom", "greeting", "--dir", "shop"], "did you mean `welcome`?"),
        (&["preview", "welcome", "email_9", "--dir", "shop"], "there is: "),
    ] {
        let refused = run(folder.path(), arguments);
        assert!(code(&refused) == Some(1) && talk(&refused).contains(said), "{}", talk(&refused));
    }
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    let folder = TempDir::new().unwrap();
    for arguments in [&["check", "--frmat", "json"][..], &["nothing"], &["send"], &[], &["timeline", "c", "--limit", "0"]] {
        assert_eq!(code(&run(folder.path(), arguments)), Some(2), "{arguments:?}");
    }
    assert_eq!(code(&run(folder.path(), &["--help"])), Some(0));
}

#[test]
fn schemas_are_json_and_colours_can_be_chosen() {
    let folder = shop();
    let all: Json = serde_json::from_slice(&run(folder.path(), &["schema"]).stdout).unwrap();
    for file in ["funnel", "settings", "segments", "catalog", "tests"] {
        let written = std::fs::read_to_string(folder.path().join(format!("shop/.autofunnel/{file}.schema.json"))).unwrap();
        assert_eq!(serde_json::from_str::<Json>(&written).unwrap(), all[format!("{file}.schema.json")], "{file}");
    }
    assert!(all["settings.schema.json"].pointer("/$defs/provider/anyOf/0/properties/kind/const").is_some());
    let colored = autofunnel(folder.path()).args(["check", "shop", "--color", "always"]).env("NO_COLOR", "1").output().unwrap();
    assert!(out(&colored).contains('\u{1b}'));
    assert!(!out(&run(folder.path(), &["check", "shop"])).contains('\u{1b}'));
    assert!(out(&run(folder.path(), &["completions", "bash"])).contains("_autofunnel"));
}

/// An engine on a free port; ends with the test.
pub struct Engine {
    process: Child,
    pub url: String,
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Engine {
    pub fn start(folder: &TempDir) -> Engine {
        Engine::serve(folder, "shop")
    }

    pub fn serve(folder: &TempDir, funnels: &str) -> Engine {
        let mut process = autofunnel(folder.path())
            .args(["serve", "--funnels", funnels, "--listen", "127.0.0.1:0"])
            .env("AUTOFUNNEL_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}")).to_owned();
        Engine { process, url }
    }

    pub fn ask(&self, folder: &TempDir, arguments: &[&str]) -> Output {
        autofunnel(folder.path())
            .args(arguments)
            .env("AUTOFUNNEL_URL", &self.url)
            .env("AUTOFUNNEL_TOKEN", TOKEN)
            .output()
            .unwrap()
    }

    /// Asks again until the answer has what is wanted, at most as long as an engine ever needs for it.
    pub fn ask_until(&self, folder: &TempDir, arguments: &[&str], wanted: &str) -> String {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        loop {
            let answer = self.ask(folder, arguments);
            if out(&answer).contains(wanted) {
                return out(&answer);
            }
            assert!(std::time::Instant::now() < until, "{wanted}: {} {}", out(&answer), talk(&answer));
        }
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn signal(&mut self) -> Option<i32> {
        let ended = Command::new("kill").arg("-TERM").arg(self.process.id().to_string()).status().unwrap();
        assert!(ended.success());
        self.process.wait().unwrap().code()
    }
}

#[test]
fn events_go_in_and_come_back_as_a_timeline_with_reasons() {
    let folder = shop();
    let mut engine = Engine::start(&folder);
    let customers = "customer,name,email,consent.email\nC-17,\"Lind, Ada\",ada@example.com,true\nC-18,Jo,not an address,true\n";
    std::fs::write(folder.path().join("customers.csv"), customers).unwrap();
    let import = engine.ask(&folder, &["import", "customers.csv"]);
    assert_eq!(
        (code(&import), out(&import).as_str()),
        (Some(1), "1 accepted, 0 duplicates, 0 conflicts, 1 refused\n"),
        "{}",
        talk(&import)
    );
    assert!(talk(&import).contains("line 3: "), "{}", talk(&import));

    let events = "{\"id\":\"1\",\"event\":\"signed_up\",\"customer\":\"C-17\"}\n\n{\"id\":\"2\",\"event\":\"Bad Name\",\"customer\":\"C-17\"}\n";
    std::fs::write(folder.path().join("events.ndjson"), events).unwrap();
    let sent = engine.ask(&folder, &["send", "events.ndjson"]);
    assert_eq!(
        (code(&sent), out(&sent).as_str()),
        (Some(1), "1 accepted, 0 duplicates, 0 conflicts, 1 refused\n"),
        "{}",
        talk(&sent)
    );
    assert!(talk(&sent).contains("line 3: "), "{}", talk(&sent));
    let list = r#"[{"id":"1","event":"signed_up","customer":"C-17"}, {"id":"3","event":"review","customer":"C-17","properties":{"rating":5}}]"#;
    std::fs::write(folder.path().join("more.json"), list).unwrap();
    let again = engine.ask(&folder, &["send", "more.json", "--json"]);
    let tally: Json = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((code(&again), tally["accepted"].as_u64(), tally["duplicates"].as_u64()), (Some(0), Some(1), Some(1)));

    std::fs::write(folder.path().join("lines.json"), list.replace(", {", ",\n {")).unwrap();
    let lines = engine.ask(&folder, &["send", "lines.json"]);
    assert!(code(&lines) == Some(1) && talk(&lines).contains("jq -c '.[]'"), "{:?} {}", code(&lines), talk(&lines));
    let imported = engine.ask(&folder, &["import", "more.json", "--json"]);
    assert!(code(&imported) == Some(1) && out(&imported).contains("`time` is missing"), "{}", talk(&imported));

    let unknown = engine.ask(&folder, &["timeline", "nobody"]);
    assert!(code(&unknown) == Some(1) && talk(&unknown).contains("there is no customer with that id"), "{}", talk(&unknown));
    engine.ask_until(&folder, &["timeline", "C-17"], "Sent “welcome” by email");
    let explained = engine.ask_until(&folder, &["explain", "C-17", "welcome"], "run 1: waiting");
    assert!(explained.contains("Granted 100 points") && explained.contains("welcome starts with"), "{explained}");
    let never = engine.ask(&folder, &["explain", "C-17", "welcom"]);
    assert!(code(&never) == Some(1) && talk(&never).contains("did you mean `welcome`?"), "{}", talk(&never));
    assert!(out(&engine.ask(&folder, &["customer", "C-17"])).contains("balance: 100"));
    assert!(out(&engine.ask(&folder, &["runs", "--funnel", "welcome"])).contains("waiting"));
    let messages: Json = serde_json::from_slice(&engine.ask(&folder, &["inbox", "C-17", "--json"]).stdout).unwrap();
    let id = messages[0]["id"].as_str().unwrap();
    let shown = engine.ask(&folder, &["inbox", "--show", id]);
    assert!(out(&shown).contains("subject: Welcome, Lind, Ada") && out(&shown).contains("100 points"), "{}", out(&shown));

    let denied = autofunnel(folder.path()).args(["runs", "--url", &engine.url, "--token", "wrong"]).output().unwrap();
    assert!(code(&denied) == Some(1) && talk(&denied).contains("AUTOFUNNEL_TOKEN"), "{}", talk(&denied));
    assert_eq!(code(&engine.ask(&folder, &["customer", "nobody"])), Some(1));
    assert_eq!(engine.signal(), Some(0));
    let gone = engine.ask(&folder, &["runs"]);
    assert!(code(&gone) == Some(1) && talk(&gone).contains("no engine answers at"), "{}", talk(&gone));
}

/// Three inputs that a store has put aside, as if turns on them had failed.
async fn put_aside(store: &Path) {
    let store = SqliteStore::open(store, Options::new(Arc::new(system_now))).unwrap();
    for (customer, id) in [("C-17", "1"), ("C/18", "1"), ("C-19", "1")] {
        let event = Event {
            id: id.to_owned(),
            name: "review".to_owned(),
            time: system_now(),
            properties: Fields::new(),
            minor: None,
            depth: 0,
        };
        let (customer, source) = (customer.to_owned(), "api".to_owned());
        let input = NewInput { customer, source, id: Some(id.to_owned()), digest: 0, body: InputBody::Event(event) };
        store.accept(vec![input]).await.unwrap();
    }
    while store.quarantine(9).await.unwrap().len() < 3 {
        for claim in store.claim(9).await.unwrap() {
            store.fault(claim.customer, None, "a turn ended by a panic".to_owned()).await.unwrap();
        }
    }
    store.close().await;
}

#[test]
fn what_was_put_aside_is_listed_tried_again_and_dropped() {
    let folder = shop();
    tokio::runtime::Runtime::new().unwrap().block_on(put_aside(&folder.path().join("autofunnel.db")));
    let mut engine = Engine::start(&folder);
    let listed = out(&engine.ask(&folder, &["quarantine", "list"]));
    assert!(listed.contains("a turn ended by a panic") && listed.contains("review") && listed.contains("C/18"), "{listed}");
    let rows: Json = serde_json::from_slice(&engine.ask(&folder, &["quarantine", "list", "--json"]).stdout).unwrap();
    let row = rows.as_array().unwrap().iter().find(|row| row["customer"] == "C/18").unwrap();
    let seq = row["seq"].to_string();
    let wrong = engine.ask(&folder, &["quarantine", "retry", "C-17", &seq]);
    assert!(code(&wrong) == Some(1) && talk(&wrong).contains("no such input"), "{}", talk(&wrong));
    let dropped = engine.ask(&folder, &["quarantine", "drop", "C/18", &seq]);
    assert!(code(&dropped) == Some(0) && talk(&dropped).contains("1 input was dropped"), "{}", talk(&dropped));
    let all = engine.ask(&folder, &["quarantine", "retry", "--all"]);
    assert!(talk(&all).contains("2 inputs were put back"), "{}", talk(&all));
    for customer in ["C-17", "C-19"] {
        engine.ask_until(&folder, &["timeline", customer], "review");
    }
    assert_eq!(code(&engine.ask(&folder, &["customer", "C/18"])), Some(1), "nothing of it was done");
    let none = engine.ask(&folder, &["quarantine", "list"]);
    assert!(out(&none).is_empty() && talk(&none).contains("nothing is put aside"), "{}", talk(&none));
    assert_eq!(engine.signal(), Some(0));
}

#[test]
fn an_engine_does_not_start_with_faults() {
    let folder = shop();
    change(&folder, "welcome.yaml", "  - email: welcome", "  - emial: welcome");
    let serve = run(folder.path(), &["serve", "--funnels", "shop", "--listen", "127.0.0.1:0"]);
    assert_eq!((code(&serve), out(&serve).as_str()), (Some(1), ""));
    assert!(talk(&serve).contains("shop/welcome.yaml:11:5"), "{}", talk(&serve));
}
