//! `render`, and what `test` and `check` have beyond their verdict.

use crate::cli::shop;
use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn samples() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autofunnel")).current_dir(folder).args(arguments).output().unwrap()
}

fn good(folder: &Path, arguments: &[&str]) -> String {
    let done = run(folder, arguments);
    assert_eq!(done.status.code(), Some(0), "{arguments:?} {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn every_sample_funnel_can_be_drawn_and_has_a_dated_sample() {
    for entry in std::fs::read_dir(samples().join("funnels")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(funnel) = name.strip_suffix(".yaml").filter(|n| !["autofunnel", "segments", "catalog"].contains(n)) else {
            continue;
        };
        let chart = good(samples(), &["render", funnel]);
        assert!(chart.starts_with("flowchart TD\n") && chart.contains("-->"), "{funnel}: {chart}");
        let svg = good(samples(), &["render", funnel, "--as", "svg"]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{funnel}");
        let lines = good(samples(), &["render", funnel, "--as", "timeline"]);
        assert!(lines.starts_with("2027-"), "{funnel}: {lines}");
        assert!(lines.matches("  Entered “").count() <= 1, "{funnel}: {lines}");
    }
}

#[test]
fn every_message_of_the_samples_can_be_looked_at() {
    for entry in std::fs::read_dir(samples().join("funnels/templates")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".txt") else { continue };
        let shown = good(samples(), &["preview", name]);
        assert!(shown.len() > 80 && !shown.contains("{{") && !shown.contains("\n* b\n"), "{name}: {shown}");
    }
}

#[test]
fn a_timeline_is_that_of_a_made_up_customer_or_of_a_test() {
    let lines = good(samples(), &["render", "welcome", "--as", "timeline", "--at", "2028-02-28 09:00"]);
    assert!(lines.contains("2028-02-28 09:00  Granted 200 points"), "{lines}");
    assert!(lines.contains("2028-03-02 09:00  Sent “first-steps” by email"), "{lines}");
    // The renewal comes by itself, and whole.
    let lines = good(samples(), &["render", "renewal", "--as", "timeline"]);
    assert!(lines.starts_with("2027-04-30 09:00  Entered “renewal”") && !lines.contains("not done late"), "{lines}");
    assert!(lines.contains("2027-05-29 09:00  Sent “renewal-last-day” by sms"), "{lines}");
    let folder = shop();
    let tests = good(folder.path(), &["test", "shop", "--json"]);
    let tests: Json = serde_json::from_str(&tests).unwrap();
    let name = tests["tests"][0]["name"].as_str().unwrap();
    let lines = good(folder.path(), &["render", "welcome", "shop", "--as", "timeline", "--test", name]);
    assert!(lines.contains("Entered “welcome”"), "{lines}");
    let out = folder.path().join("welcome.svg");
    good(folder.path(), &["render", "welcome", "shop", "--as", "svg", "--out", out.to_str().unwrap()]);
    assert!(std::fs::read_to_string(out).unwrap().contains("<title>"));
    for (arguments, wanted) in [
        (vec!["render", "welcom", "shop"], "did you mean `welcome`?"),
        (vec!["render", "welcome", "shop", "--as", "timeline", "--test", "no such"], "no test with `no such`"),
        (vec!["render", "welcome", "shop", "--as", "timeline", "--at", "noon"], "`noon` is no time"),
    ] {
        let done = run(folder.path(), &arguments);
        assert_eq!(done.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&done.stderr).contains(wanted), "{done:?}");
    }
}

#[test]
fn coverage_names_what_no_test_goes_through() {
    let folder = shop();
    let funnel = "funnel: F\ntrigger: signed_up\ngoal: purchase\nsteps:\n  - grant: 5 points\n    reason: x\n    if: customer.name == \"Ada\"\n  - wait_for: purchase\n    up_to: 7 days\n    then:\n      - stop: bought\n    otherwise:\n      - stop: silent\ntests:\n  - name: nobody buys\n    given: { at: 2027-03-01 10:00 }\n    events:\n      - { at: 2027-03-01 10:00, event: signed_up }\n    expect: [entered, skipped grant_1, stopped silent]\n";
    std::fs::write(folder.path().join("shop/extra.yaml"), funnel).unwrap();
    let said = good(folder.path(), &["test", "shop", "--funnel", "extra", "--coverage"]);
    assert!(said.contains("extra: 2 of 4 steps, 2 of 3 branches"), "{said}");
    assert!(said.contains("shop/extra.yaml:5: no test goes through grant_1\n"), "{said}");
    assert!(said.contains("shop/extra.yaml:11: no test goes through stop_1\n"), "{said}");
    assert!(said.contains("no test goes through wait_for_1, then\n"), "{said}");
    let told: Json =
        serde_json::from_str(&good(folder.path(), &["test", "shop", "--funnel", "extra", "--coverage", "--json"])).unwrap();
    assert_eq!(told["coverage"][0]["steps"], serde_json::json!({ "covered": 2, "of": 4 }));
    // The samples' tests go through most of their funnels.
    let told: Json = serde_json::from_str(&good(samples(), &["test", "--coverage", "--json"])).unwrap();
    for one in told["coverage"].as_array().unwrap() {
        assert_eq!(one["steps"]["covered"], one["steps"]["of"], "{one}");
    }
}

#[test]
fn junit_tells_a_build_server_what_failed() {
    let folder = shop();
    let path = folder.path().join("shop/welcome.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let out = folder.path().join("tests.xml");
    good(folder.path(), &["test", "shop", "--junit", out.to_str().unwrap()]);
    let report = std::fs::read_to_string(&out).unwrap();
    assert!(report.contains("tests=\"2\" failures=\"0\"") && !report.contains("<failure"), "{report}");
    std::fs::write(&path, text.replacen("100 points", "101 points", 1)).unwrap();
    let done = run(folder.path(), &["test", "shop", "--junit", out.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1));
    let report = std::fs::read_to_string(&out).unwrap();
    assert!(report.contains("<failure message=\"not as expected\">") && report.contains("101 points"), "{report}");
    assert_eq!(report.matches("<testcase").count(), 2);
}

#[test]
fn watching_plays_the_tests_again_when_a_file_changes() {
    let folder = shop();
    let mut process = Command::new(env!("CARGO_BIN_EXE_autofunnel"))
        .current_dir(folder.path())
        .args(["test", "shop", "--watch"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut until = |wanted: &str| lines.by_ref().map_while(Result::ok).find(|line| line.contains(wanted));
    assert!(until("2 tests passed").is_some());
    let path = folder.path().join("shop/welcome.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("100 points", "101 points", 1)).unwrap();
    assert!(until("failed").is_some());
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn a_kind_of_fault_is_explained_with_an_example_and_what_check_says_of_it() {
    let said = good(samples(), &["check", "--explain", "error[unknown-bundle]"]);
    assert!(said.starts_with("unknown-bundle\n") && said.contains("- offer: starter"), "{said}");
    assert!(said.contains("error[unknown-bundle]") && said.contains("f.yaml:5:"), "{said}");
    let list = good(samples(), &["check", "--explain", "list"]);
    assert!(list.contains("\nno-goal\n  "), "{list}");
    let wrong = run(samples(), &["check", "--explain", "no-gaol"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("did you mean `no-goal`?"), "{wrong:?}");
}
