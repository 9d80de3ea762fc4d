//! `simulate` as people and scripts use it.

use serde_json::Value as Json;
use std::path::Path;
use std::process::{Command, Output};

fn simulate(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autofunnel"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).arg("simulate").args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn talk(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const SAMPLES: [&str; 6] =
    ["--history", "examples/customers.ndjson", "--history", "examples/history.ndjson", "--events", "examples/events.ndjson"];

fn json(more: &[&str]) -> Json {
    let done = simulate(&[&SAMPLES[..], &["--json"], more].concat());
    assert_eq!(done.status.code(), Some(0), "{}", talk(&done));
    serde_json::from_str(&out(&done)).unwrap()
}

/// Rows shuffled, cut into two files, half of them written as cells: the report is the same.
#[test]
fn the_sample_events_give_the_same_report_in_whatever_order_they_come() {
    let first = json(&[]);
    assert_eq!(json(&[]), first);
    let sum = |name: &str| first["funnels"].as_array().unwrap().iter().map(|f| f[name].as_i64().unwrap()).sum::<i64>();
    assert!(sum("entered") > 0 && sum("sent") > 0 && sum("points") > 0, "{first}");
    assert_eq!(sum("failed"), 0);
    assert!(first["model"].as_str().unwrap().contains("accepted at once"));
    let folder = tempfile::tempdir().unwrap();
    let rows = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/events.ndjson")).unwrap();
    let mut rows: Vec<&str> = rows.lines().collect();
    rows.reverse();
    let (one, two) = rows.split_at(rows.len() / 3);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("one.ndjson"), one.join("\n")).unwrap();
    // An event that is there twice counts once.
    std::fs::write(path("two.ndjson"), [two, &one[..2]].concat().join("\n")).unwrap();
    let (one, two) = (path("one.ndjson"), path("two.ndjson"));
    let done = simulate(&[&SAMPLES[..4], &["--json", "--events", &one, "--events", &two]].concat());
    assert_eq!(serde_json::from_str::<Json>(&out(&done)).unwrap(), first);
}

#[test]
fn cells_are_rows_too_and_what_cannot_be_used_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let cells = "id,event,customer,time,amount,order_id\n1,purchase,ada,2027-03-01T10:00:00Z,30.50,7\n2,purchase,ada,,30,8\n3,purchase,ben,2027-03-02T10:00:00Z,-4,9\n";
    std::fs::write(path("orders.csv"), cells).unwrap();
    let (csv, page) = (path("orders.csv"), path("report.html"));
    let done = simulate(&["--events", &csv, "--html", &page]);
    assert_eq!(done.status.code(), Some(1));
    let said = talk(&done);
    assert!(said.contains("orders.csv:3: `time` is missing") && said.contains("orders.csv:4: "), "{said}");
    assert!(said.contains("2 rows left out"), "{said}");
    assert!(out(&done).contains("1 events of 1 customers") && out(&done).contains("30.50 EUR"), "{}", out(&done));
    assert!(std::fs::read_to_string(&page).unwrap().ends_with("</html>\n"));
    for (arguments, wanted) in [
        (vec![], "--events FILE"),
        (vec!["--events", "nothing.ndjson"], "cannot read nothing.ndjson"),
        (vec!["--events", &csv, "--until", "2027-02-01"], "after --until"),
        (vec!["--events", &csv, "--from", "soon"], "neither a day"),
    ] {
        let done = simulate(&arguments);
        assert_eq!(done.status.code(), Some(1), "{arguments:?}");
        assert!(talk(&done).contains(wanted), "{}", talk(&done));
    }
}

#[test]
fn an_edited_copy_is_compared_with_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let edited = folder.path().join("edited");
    crate::readme::copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels"), &edited);
    let welcome = edited.join("welcome.yaml");
    let text = std::fs::read_to_string(&welcome).unwrap();
    std::fs::write(&welcome, text.replacen("grant: 200 points", "grant: 250 points", 1)).unwrap();
    let edited = edited.to_str().unwrap();
    let same = json(&["--against", "funnels"]);
    assert_eq!(same["against"]["changed"], 0);
    let arguments = [&[edited], &SAMPLES[..], &["--against", "funnels"]].concat();
    let done = simulate(&arguments);
    assert_eq!(done.status.code(), Some(0), "{}", talk(&done));
    let said = out(&done);
    assert!(said.contains("customers see something else") && said.contains("+150"), "{said}");
    let done = simulate(&[&arguments[..], &["--json"]].concat());
    let told: Json = serde_json::from_str(&out(&done)).unwrap();
    let changed = told["against"]["customers"].as_array().unwrap();
    assert!(!changed.is_empty());
    for one in changed {
        let points = |side: &str| one[side]["points"].as_i64().unwrap();
        assert_eq!((&one["funnels"][0], points("after") - points("before")), (&Json::from("welcome"), 50), "{one}");
    }
}
