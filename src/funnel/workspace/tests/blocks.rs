//! Blocks: what they become, what is wrong with them and where, and the version of who uses them.

use super::*;

const NUDGE: &str = "nudge:\n  with: [pause, text, more]\n  steps:\n    - wait: ${pause}\n    - sms: { text: \"${text}, {{ customer.name }}!\" }\n    - branch:\n        - if: customer.email == \"\"\n          then: ${more}\n";
const USES: &str = "trigger: signed_up\nsteps:\n  - use: nudge\n    with:\n      pause: 3 days\n      text: Hello\n      more: [ { stop: no address } ]\n  - use: nudge\n    with: { pause: 2h, text: Again, more: [ { use: nudge-not } ] }\n";
const OTHER: &str = "nudge-not:\n  steps: [ { stop: enough } ]\n";

fn with(blocks: &str, lines: &str) -> Files {
    workspace(&[(BLOCKS, blocks), ("b.yaml", &funnel(lines))])
}

fn steps(files: &Files) -> Vec<String> {
    let mut faults = Faults::default();
    let compiled = compile(files, &mut faults);
    let compiled = compiled.unwrap_or_else(|| panic!("{:#?}", shown(faults.list())));
    compiled.funnels["b"].steps.list.iter().map(|at| format!("{} {}", at.id, at.step.sentence())).collect()
}

#[test]
fn a_block_becomes_the_steps_that_it_stands_for() {
    let files = with(&format!("{NUDGE}{OTHER}"), USES);
    assert_eq!(
        steps(&files),
        [
            "wait_1 wait 3 days",
            "sms_1 sms written in the funnel",
            "branch_1 branch",
            "stop_1 stop: no address",
            "wait_2 wait 2 hours",
            "sms_2 sms written in the funnel",
            "branch_2 branch",
            "stop_2 stop: enough",
        ]
    );
}

#[test]
fn another_text_of_its_blocks_makes_another_version_of_who_uses_them_only() {
    let version = |blocks: &str, funnel: &str| {
        let mut faults = Faults::default();
        compile(&with(blocks, USES), &mut faults).unwrap().funnels[funnel].version.clone()
    };
    let (before, after) = (format!("{NUDGE}{OTHER}"), format!("{NUDGE}{OTHER}").replace("enough", "plenty"));
    assert_ne!(version(&before, "b"), version(&after, "b"));
    assert_eq!(version(&before, "hello"), version(&after, "hello"));
}

#[test]
fn what_is_wrong_stands_where_it_is_written() {
    let table: &[(&str, &str, &[&str])] = &[
        ("", "steps: [ { use: nudge } ]", &["b.yaml:4:17 unknown-block"]),
        (NUDGE, "steps: [ { use: nugde } ]", &["b.yaml:4:17 unknown-block"]),
        (OTHER, "steps: [ { use: nudge-not, if: true } ]", &["b.yaml:4:28 unknown-field"]),
        (
            "b: { with: { a: 1 }, steps: [ { sms: { text: \"${a}\" } } ] }\n",
            "steps: [ { use: b, with: { a: x } } ]",
            &["blocks.yaml:1:12 wrong-type"],
        ),
        (OTHER, "steps: [ { use: nudge-not, with: { a: 1 } } ]", &["b.yaml:4:36 unknown-parameter"]),
        (
            "b: { with: [a], steps: [ { sms: { text: \"${a}${c}\" } } ] }\n",
            "steps: [ { use: b, with: { a: x } } ]",
            &["blocks.yaml:1:42 unknown-parameter"],
        ),
        (
            "b: { with: [a], steps: [ { stop: x } ] }\n",
            "steps: [ { use: b, with: { a: x } } ]",
            &["blocks.yaml:1:12 unused-parameter"],
        ),
        ("b: { with: [a], steps: [ { wait: \"${a}\" } ] }\n", "steps: [ { use: b } ]", &["b.yaml:4:10 missing-parameter"]),
        // What is wrong with a value stands at the value.
        (
            "b: { with: [a], steps: [ { wait: \"${a}\" } ] }\n",
            "steps: [ { use: b, with: { a: soon } } ]",
            &["b.yaml:4:31 bad-duration"],
        ),
        (
            "b: { with: [a], steps: [ { stop: \"no ${a}\" } ] }\n",
            "steps: [ { use: b, with: { a: [1, 2] } } ]",
            &["b.yaml:4:31 wrong-type"],
        ),
        ("b: { steps: [ { use: b } ] }\n", "steps: [ { use: b } ]", &["blocks.yaml:1:22 block-nesting"]),
        ("b: 5\n", "steps: [ { wait: 1 day } ]", &["blocks.yaml:1:4 wrong-type"]),
        ("b: { steps: 5 }\n", "steps: [ { wait: 1 day } ]", &["blocks.yaml:1:13 steps-list"]),
    ];
    for (blocks, lines, wanted) in table {
        let mut files = with(blocks, &format!("trigger: signed_up\n{lines}"));
        files.retain(|_, text| !text.is_empty());
        let mut faults = Faults::default();
        let _ = compile(&files, &mut faults);
        let mut found: Vec<String> = faults
            .into_sorted()
            .0
            .iter()
            .map(|f| format!("{}:{}:{} {}", f.place.file, f.place.line, f.place.column, f.code))
            .collect();
        found.sort();
        let mut wanted: Vec<String> = wanted.iter().map(|fault| (*fault).to_owned()).collect();
        wanted.sort();
        assert_eq!(found, wanted, "{blocks}{lines}");
    }
}

#[test]
fn blocks_that_multiply_come_to_an_end() {
    let many: String = (0..60).map(|_| "{ use: c }, ").collect();
    let blocks = format!(
        "a: {{ steps: [ {} ] }}\nb: {{ steps: [ {} ] }}\nc: {{ steps: [ {} ] }}\nd: {{ steps: [ {{ wait: 1 day }} ] }}\n",
        many.replace('c', "b"),
        many,
        many.replace('c', "d")
    );
    let mut faults = Faults::default();
    assert!(compile(&with(&blocks, "trigger: signed_up\nsteps: [ { use: a } ]"), &mut faults).is_none());
    assert!(faults.list().iter().any(|fault| fault.code == "too-many-steps"), "{:?}", shown(faults.list()));
}

#[test]
fn the_example_can_be_used_as_its_first_lines_say() {
    let example = include_str!("../../../../examples/blocks.yaml");
    let lines = "trigger: signed_up\nsteps:\n  - use: nudge\n    with: { pause: 3 days, template: hello, otherwise: [ { stop: has her own } ] }";
    let mut files = with(example, lines);
    files.insert(SEGMENTS.to_owned(), "dormant: { when: purchases(\"90 days\") == 0 }\n".to_owned());
    assert_eq!(
        steps(&files),
        ["wait_1 wait 3 days", "branch_1 branch", "message_1 push, else email “hello”", "stop_1 stop: has her own"]
    );
}
