//! The README's lines work as printed: its curl lines against a real engine, its funnel through `check` and
//! `test`.

use crate::cli::{Engine, TOKEN, shop};
use std::process::Command;

const README: &str = include_str!("../../README.md");

#[test]
fn the_curl_lines_work_as_printed() {
    let folder = shop();
    let engine = Engine::start(&folder);
    let lines: Vec<&str> = README.lines().filter(|line| line.starts_with("curl ")).collect();
    assert!(lines.len() >= 3, "the README shows how to send and to read");
    let mut answers = Vec::new();
    for line in lines {
        let line = line.replace("http://127.0.0.1:8080", &engine.url);
        // A person types more slowly than a customer's first turn takes; this test does not.
        let command = format!("{line} --silent --show-error --fail --retry 20 --retry-all-errors --retry-delay 1");
        let done = Command::new("sh").args(["-c", &command]).env("AUTOFUNNEL_TOKEN", TOKEN).output().expect("sh runs");
        answers.push(String::from_utf8(done.stdout).unwrap());
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }
    assert!(answers[..2].iter().all(|answer| answer.contains("accepted")), "{answers:?}");
    assert!(answers.last().is_some_and(|answer| answer.contains("\"facts\"")), "{answers:?}");
}

/// The commands of the ten-command road, without the comments behind them.
fn road() -> Vec<&'static str> {
    let part = README.split("## Ten commands").nth(1).expect("the README has the road");
    let part = part.split("\n## ").next().unwrap();
    let blocks = part.split("\n```").enumerate().filter(|(at, _)| at % 2 == 1).map(|(_, block)| block);
    let lines = blocks.filter_map(|block| block.strip_prefix("sh\n")).flat_map(str::lines);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn the_ten_commands_work_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["funnels", "examples"] {
        copy(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &folder.path().join(part));
    }
    let road = road();
    assert!((8..=10).contains(&road.len()), "{road:?}");
    assert!(road[0].starts_with("cargo build") && road[1].starts_with("autofunnel serve"), "{road:?}");
    let engine = Engine::serve(&folder, "funnels");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_autofunnel")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let run = |line: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(folder.path()).env("PATH", &path);
        let done = command.env("AUTOFUNNEL_TOKEN", TOKEN).env("AUTOFUNNEL_URL", &engine.url).output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{line}: {told}");
        told
    };
    let told: Vec<String> = road[2..].iter().map(|line| run(line)).collect();
    let all = told.concat();
    for wanted in ["no faults", "tests passed", "customers see something else", "brew-school"] {
        assert!(all.contains(wanted), "{wanted}: {all}");
    }
    // The last one shows the changed funnel at work; its turn may be a moment away.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !run(road[road.len() - 1]).contains("Granted 30 points") {
        assert!(std::time::Instant::now() < until, "{}", run(road[road.len() - 1]));
    }
}

#[test]
fn the_funnel_on_the_first_page_is_sound_and_its_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels");
    copy(&root, folder.path());
    // It is a shorter form of the sample's own welcome funnel, so it takes its place.
    let funnel = README.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert!(funnel.contains("funnel: Welcome to the roastery"));
    std::fs::write(folder.path().join("welcome.yaml"), funnel).unwrap();
    std::fs::remove_file(folder.path().join("tests/welcome.yaml")).unwrap();
    for command in ["check", "test"] {
        let done = Command::new(env!("CARGO_BIN_EXE_autofunnel")).arg(command).arg(folder.path()).output().unwrap();
        let told = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{command}: {told}");
    }
}

pub fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
