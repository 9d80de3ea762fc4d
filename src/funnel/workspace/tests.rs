//! Whole workspaces: the samples, wrong files with the place of each fault, hashes.

use super::super::ReEntry;
use super::*;
use crate::lang::diag::Fault;
use crate::lang::time::Span;

mod blocks;
mod language;

fn samples() -> Files {
    fn walk(root: &std::path::Path, folder: &std::path::Path, files: &mut Files) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                files.insert(name, std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("funnels");
    let mut files = Files::new();
    walk(&root, &root, &mut files);
    files
}

fn shown(faults: &[Fault]) -> Vec<String> {
    faults
        .iter()
        .map(|f| format!("{}:{}:{} {} {} ({:?})", f.place.file, f.place.line, f.place.column, f.code, f.message, f.hint))
        .collect()
}

#[test]
fn the_samples_compile_without_faults() {
    let mut faults = Faults::default();
    let files = samples();
    let workspace = compile(&files, &mut faults);
    let (list, _) = faults.into_sorted();
    assert_eq!(shown(&list), Vec::<String>::new());
    // Beside settings, segments and catalog every file at the top is a funnel.
    let others = 3;
    assert_eq!(workspace.unwrap().funnels.len(), files.keys().filter(|path| !path.contains('/')).count() - others);
}

const SETTINGS_TEXT: &str = "workspace: Shop\nzone: Europe/Berlin\ncurrency: EUR\nprofile: { roast: text, score: number, trial_ends: date }\nevents: { tasting_booked: { city: text } }\n";
const SEGMENTS_TEXT: &str = "vip: { when: spent(\"365 days\") >= 500, title: VIP, family: value }\n";
const FUNNEL: &str = "funnel: Hello\ntrigger: signed_up\ngoal: purchase\nsteps:\n  - email: hello\n";

/// A small workspace without faults, with these files instead of its own; an empty text removes a file.
fn workspace(files: &[(&str, &str)]) -> Files {
    let own = [
        (SETTINGS, SETTINGS_TEXT),
        (SEGMENTS, SEGMENTS_TEXT),
        ("hello.yaml", FUNNEL),
        ("templates/hello.txt", "---\nsubject: Hello\n---\nHello {{ customer.name }}\n"),
    ];
    let mut out: Files = own.iter().chain(files).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    out.retain(|_, text| !text.is_empty());
    out
}

fn check(files: &[(&str, &str)]) -> Vec<String> {
    let mut faults = Faults::default();
    let compiled = compile(&workspace(files), &mut faults);
    assert_eq!(compiled.is_none(), faults.has_errors());
    faults.into_sorted().0.iter().map(|f| format!("{}:{}:{} {}", f.place.file, f.place.line, f.place.column, f.code)).collect()
}

fn good(files: &[(&str, &str)]) -> Workspace {
    let mut faults = Faults::default();
    let compiled = compile(&workspace(files), &mut faults);
    assert!(compiled.is_some(), "{:#?}", shown(faults.list()));
    compiled.unwrap()
}

/// A funnel `b.yaml` with these lines beside title and goal.
fn funnel(lines: &str) -> String {
    format!("funnel: B\ngoal: purchase\n{lines}\n")
}

#[test]
fn the_small_workspace_has_no_faults() {
    assert_eq!(check(&[]), Vec::<String>::new());
}

#[test]
fn wrong_funnels_are_told_what_is_wrong_and_where() {
    let table: &[(&str, &[&str])] = &[
        // The line of a funnel's part is 3 and on: title and goal stand before it.
        ("trigger: signed_up", &["1:1 missing-field"]),
        ("trigger: signed_up\nsteps: []", &["4:8 no-steps"]),
        ("trigger: signed_up\nsteps: [ { wiat: 1 day } ]", &["4:12 unknown-step"]),
        ("trigger: signed_up\nsteps: [ { email: helo } ]", &["4:19 unknown-template"]),
        ("trigger: signed_up\nsteps: [ { offer: starter } ]", &["4:19 unknown-bundle"]),
        ("trigger: { segment_entered: vipp }\nsteps: [ { wait: 1 day } ]", &["3:29 unknown-segment"]),
        ("trigger: purchse\nsteps: [ { wait: 1 day } ]", &["3:10 unknown-event"]),
        ("trigger: Purchase!\nsteps: [ { wait: 1 day } ]", &["3:10 bad-event-name"]),
        ("trigger: { birthday: sometimes }\nsteps: [ { wait: 1 day } ]", &["3:22 bad-offset"]),
        ("trigger: signed_up\nre_entry: sometimes\nsteps: [ { wait: 1 day } ]", &["4:11 bad-re-entry"]),
        ("trigger: signed_up\nre_entry: after 0 days\nsteps: [ { wait: 1 day } ]", &["4:11 bad-re-entry"]),
        ("trigger: signed_up\nonly_if: customer.teir == \"gold\"\nsteps: [ { wait: 1 day } ]", &["4:19 unknown-field"]),
        (
            "trigger: signed_up\nonly_if: steps.a.result == \"accepted\"\nsteps: [ { wait: 1 day, id: a } ]",
            &["4:10 unknown-name"],
        ),
        ("trigger: signed_up\nwhile: steps.b.result == \"accepted\"\nsteps: [ { wait: 1 day, id: a } ]", &["4:14 unknown-field"]),
        ("trigger: signed_up\nexit_on: { condition: purchases() > 1 }\nsteps: [ { wait: 1 day } ]", &["4:10 watch-kind"]),
        (
            "trigger: signed_up\nexit_on: [ purchase, { segment_left: vpi } ]\nsteps: [ { wait: 1 day } ]",
            &["4:38 unknown-segment"],
        ),
        ("trigger: purchase\nkey: event.order_di\nsteps: [ { wait: 1 day } ]", &["4:12 unknown-field"]),
        ("trigger: signed_up\npriority: high\nsteps: [ { wait: 1 day } ]", &["4:11 wrong-type"]),
        ("trigger: signed_up\ntag: two words\nsteps: [ { wait: 1 day } ]", &["4:6 bad-name"]),
        ("trigger: signed_up\nsteps: [ { set: { raost: dark } } ]", &["4:19 unknown-profile-field"]),
        ("trigger: signed_up\nsteps: [ { set: { roast: 5 } } ]", &["4:26 wrong-type"]),
        ("trigger: signed_up\nsteps: [ { wait_until: 3 days before tomorrow } ]", &["4:24 unknown-date"]),
        (
            "trigger: signed_up\nsteps: [ { wait_for: { event: purchase, where: event.amuont > 3 }, up_to: 1 day } ]",
            &["4:54 unknown-field"],
        ),
        ("trigger: signed_up\nsteps: [ { sms: { text: \"Hi {{ customer.nmae }}\" } } ]", &["4:26 unknown-name"]),
        ("trigger: signed_up\ntests: maybe\nsteps: [ { wait: 1 day } ]", &["4:8 wrong-type"]),
        // Every fault of a file at once.
        (
            "trigger: signed_pu\npriority: high\nwihle: true\nsteps: [ { wiat: 1 day } ]",
            &["3:10 unknown-event", "4:11 wrong-type", "5:1 unknown-field", "6:12 unknown-step"],
        ),
    ];
    let mut wrong = Vec::new();
    for (lines, wanted) in table {
        let wanted: Vec<String> = wanted.iter().map(|fault| format!("b.yaml:{fault}")).collect();
        let found = check(&[("b.yaml", &funnel(lines))]);
        if found != wanted {
            wrong.push((lines, wanted, found));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn wrong_goals_are_told_what_is_wrong_and_where() {
    let table = [
        ("goal: { where: event.amount > 1 }", "b.yaml:2:7 watch-kind"),
        ("goal: { event: purchase, within: 0 days }", "b.yaml:2:34 goal-within"),
        ("goal: { event: purchase, value: event.order_id }", "b.yaml:2:33 wrong-type"),
        ("goal: { condition: purchases() > 1 }", "b.yaml:2:9 unknown-field"),
        ("goal: { event: purchase, where: event.ammount > 1 }", "b.yaml:2:39 unknown-field"),
    ];
    for (goal, wanted) in table {
        let text = format!("funnel: B\n{goal}\ntrigger: signed_up\nsteps: [ {{ wait: 1 day }} ]\n");
        let found = check(&[("b.yaml", &text)]);
        assert!(found.contains(&wanted.to_owned()), "{goal}: {found:?}");
    }
}

#[test]
fn files_that_mean_nothing_are_told() {
    let funnel = funnel("trigger: signed_up\nsteps: [ { wait: 1 day } ]");
    let table: &[(&str, &str, &[&str])] = &[
        ("Big.yaml", &funnel, &["Big.yaml:1:1 funnel-name"]),
        ("b.yml", &funnel, &["b.yml:1:1 unused-file"]),
        ("notes.txt", "x", &["notes.txt:1:1 unused-file"]),
        ("sub/b.yaml", &funnel, &["sub/b.yaml:1:1 unused-file"]),
        ("templates/hello.md", "x", &["templates/hello.md:1:1 unused-file"]),
        ("templates/other.txt", "x", &["templates/other.txt:1:1 unused-template"]),
        ("tests/helo.yaml", "tests: []", &["tests/helo.yaml:1:1 unknown-funnel"]),
        ("tests/hello.yaml", "test: []", &["tests/hello.yaml:1:1 missing-field", "tests/hello.yaml:1:1 unknown-field"]),
        ("README.md", "x", &[]),
        (".autofunnel/funnel.schema.json", "{}", &[]),
    ];
    for (path, text, wanted) in table {
        assert_eq!(check(&[(path, text)]), *wanted, "{path}");
    }
}

#[test]
fn a_broken_file_hides_nothing_and_has_no_consequences() {
    let uses = funnel("trigger: { segment_entered: gone }\nsteps: [ { email: broken }, { offer: starter }, { wiat: 1 day } ]");
    // Settings that cannot be read: the profile is not known, so nothing is said about it.
    let found = check(&[
        (SETTINGS, "workspace: [\n"),
        ("b.yaml", &funnel("trigger: signed_up\nonly_if: customer.xyz == 1\nsteps: [ { wiat: 1 day } ]")),
    ]);
    assert_eq!(found.iter().filter(|fault| fault.starts_with("b.yaml")).collect::<Vec<_>>(), ["b.yaml:5:12 unknown-step"]);
    assert!(found.iter().any(|fault| fault.starts_with(SETTINGS)));
    // Segments, catalog and a template that cannot be read: what they would declare is not missed.
    let broken = [(SEGMENTS, "a: [\n"), (CATALOG, "b: [\n"), ("templates/broken.txt", "{{ oops\n"), ("b.yaml", uses.as_str())];
    let found = check(&broken);
    assert_eq!(found.iter().filter(|fault| fault.starts_with("b.yaml")).collect::<Vec<_>>(), ["b.yaml:4:51 unknown-step"]);
    for file in [SEGMENTS, CATALOG, "templates/broken.txt"] {
        assert!(found.iter().any(|fault| fault.starts_with(file)), "{file}: {found:?}");
    }
    assert_eq!(check(&[(SETTINGS, ""), ("hello.yaml", FUNNEL)]), ["autofunnel.yaml:1:1 no-settings"]);
}

#[test]
fn a_template_is_checked_for_each_funnel_that_sends_it() {
    let template = ("templates/code.txt", "---\nsubject: Hi\n---\nUse {{ steps.gift.code | default(\"none\") }}\n");
    let catalog = (
        CATALOG,
        "bundles:\n  starter: { title: S, kind: starter, items: [ { sku: a, quantity: 1 } ], price: 1, worth: 2, valid_for: 3 days }\n",
    );
    let fits = funnel("trigger: signed_up\nsteps: [ { offer: starter, id: gift }, { email: code } ]");
    assert_eq!(check(&[template, catalog, ("b.yaml", &fits)]), Vec::<String>::new());
    let lacks = funnel("trigger: signed_up\nsteps: [ { email: code } ]");
    assert_eq!(check(&[template, catalog, ("b.yaml", &fits), ("c.yaml", &lacks)]), ["templates/code.txt:4:14 unknown-name"]);
}

#[test]
fn hashes_change_with_what_decides_and_with_nothing_else() {
    let text = funnel("trigger: signed_up\nsteps: [ { email: hello } ]");
    let before = good(&[("b.yaml", &text)]);
    let version = |workspace: &Workspace, name: &str| workspace.funnels[name].version.clone();
    assert_eq!(before.hash.len(), 64);
    assert_eq!(before.hash, good(&[("b.yaml", &text)]).hash);
    // Tests decide nothing.
    let tested = good(&[("b.yaml", &text), ("tests/hello.yaml", "tests: [ { name: x } ]")]);
    assert_eq!((tested.hash.clone(), tested.tests.len()), (before.hash.clone(), 1));
    // Another funnel: the workspace is another, this funnel is the same.
    let more = good(&[("b.yaml", &text), ("c.yaml", &text)]);
    assert_ne!(more.hash, before.hash);
    assert_eq!(version(&more, "b"), version(&before, "b"));
    // A template that it sends, and one that it does not send.
    let template = "---\nsubject: Hello\n---\nDear {{ customer.name }}\n";
    let other = good(&[("b.yaml", &text), ("templates/hello.txt", template)]);
    assert_ne!(version(&other, "b"), version(&before, "b"));
    let unsent = good(&[("b.yaml", &text), ("templates/unsent.txt", template)]);
    assert_eq!(version(&unsent, "b"), version(&before, "b"));
    assert_ne!(unsent.hash, before.hash);
    // Where one text ends and the next begins counts.
    assert_ne!(digest(["ab", "c"].into_iter()), digest(["a", "bc"].into_iter()));
}

#[test]
fn what_conditions_ask_is_kept() {
    let lines = concat!(
        "trigger: { event: review, where: event.rating > 3 }\n",
        "exit_on: complaint_opened\n",
        "only_if: count(\"message_opened\", \"30 days\", e.channel == \"email\") > 1\n",
        "steps: [ { wait_for: referral, up_to: 1 day }, { set: { score: { cel: 'sum(\"survey\", \"points\", \"2 years\")' } } } ]"
    );
    let workspace = good(&[("b.yaml", &funnel(lines))]);
    let keep = |name: &str| workspace.keeps.get(name).cloned();
    assert_eq!(keep("purchase").unwrap().window, Some(Span::days(400)));
    assert!(keep("purchase").unwrap().properties.contains("order_id"));
    assert_eq!(keep("message_opened").unwrap().window, Some(Span::days(30)));
    assert!(keep("message_opened").unwrap().properties.contains("channel"));
    for counted in ["review", "complaint_opened", "referral"] {
        assert_eq!(keep(counted), Some(Default::default()), "{counted}");
    }
    // A value that a step computes asks too.
    assert_eq!(keep("survey").unwrap().window, Some(Span { months: 24, days: 0, ms: 0 }));
    assert_eq!(keep("message_sent"), None);
    assert!(keep("membership_started").is_some() && keep("offer_used").is_some());
}

#[test]
fn what_is_frozen_is_what_is_rendered() {
    let workspace =
        good(&[("b.yaml", &funnel("trigger: signed_up\nsteps: [ { wait: 1 day }, { email: hello }, { grant: 5 } ]"))]);
    let frozen = &workspace.funnels["b"].frozen;
    assert_eq!(frozen.get(&0), None);
    assert_eq!(frozen[&1], [["customer", "name"].map(str::to_owned).to_vec()]);
    assert_eq!(frozen[&2], Vec::<Vec<String>>::new());
}

#[test]
fn funnels_are_found_by_what_starts_them_in_the_order_of_priority() {
    let with = |trigger: &str, priority: i64| {
        format!("funnel: X\ngoal: purchase\ntrigger: {trigger}\npriority: {priority}\nsteps: [ {{ wait: 1 day }} ]\n")
    };
    let workspace = good(&[
        ("a.yaml", &with("review", 0)),
        ("b.yaml", &with("review", 0)),
        ("c.yaml", &with("{ event: review, where: event.rating > 3 }", 5)),
        ("d.yaml", &with("{ segment_left: vip }", 0)),
        ("e.yaml", &with("{ birthday: on the day }", 0)),
        ("f.yaml", &with("{ milestone: points, reaches: 500 }", 0)),
        ("g.yaml", &with("manual", 0)),
    ]);
    let names = |list: &[Arc<Funnel>]| list.iter().map(|funnel| funnel.name.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(names(&workspace.by_event["review"]), "c a b");
    assert_eq!(names(&workspace.by_segment["vip"]), "d");
    assert_eq!(names(&workspace.by_time), "e");
    assert_eq!(names(&workspace.by_points), "f");
}

#[test]
fn re_entry_and_goals_have_their_defaults() {
    let one = |lines: &str| good(&[("b.yaml", &funnel(lines))]).funnels["b"].clone();
    let re_entry = |lines: &str| one(&format!("{lines}\nsteps: [ {{ wait: 1 day }} ]")).re_entry;
    assert_eq!(re_entry("trigger: signed_up"), ReEntry::Never);
    assert_eq!(re_entry("trigger: purchase\nkey: event.order_id"), ReEntry::Always);
    assert_eq!(re_entry("trigger: { birthday: on the day }"), ReEntry::Always);
    assert_eq!(re_entry("trigger: { birthday: on the day }\nre_entry: never"), ReEntry::Never);
    assert_eq!(re_entry("trigger: signed_up\nre_entry: after 90 days"), ReEntry::After(Span::days(90)));
    assert_eq!(re_entry("trigger: signed_up\nre_entry: once per calendar year"), ReEntry::PerYear);
    assert_eq!(re_entry("trigger: signed_up\nre_entry: once per term"), ReEntry::PerTerm);
    let goal = one("trigger: signed_up\nsteps: [ { wait: 1 day } ]").goal.clone().unwrap();
    assert_eq!((goal.within, goal.every, goal.watch.sentence()), (Span::days(30), false, "purchase".to_owned()));
}

#[test]
fn funnels_are_looked_through_together() {
    let emits = |on: &str, event: &str| format!("funnel: X\ngoal: purchase\ntrigger: {on}\nsteps: [ {{ emit: {event} }} ]\n");
    let grants = |reason: &str| format!("funnel: X\ntrigger: signed_up\nsteps: [ {{ grant: 5, reason: {reason} }} ]\n");
    let plain = |steps: &str| format!("funnel: X\ngoal: purchase\ntrigger: signed_up\nsteps: {steps}\n");
    type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let table: &[Case<'_>] = &[
        (&[("a.yaml", "funnel: X\ntrigger: signed_up\nsteps: [ { email: hello } ]\n")], &["a.yaml:1:1 no-goal"]),
        (&[("a.yaml", "funnel: X\ntransactional: true\ntrigger: signed_up\nsteps: [ { email: hello } ]\n")], &[]),
        (&[("a.yaml", "funnel: X\ntrigger: signed_up\nsteps: [ { wait: 1 day } ]\n")], &[]),
        (&[("a.yaml", &emits("ping", "ping"))], &["a.yaml:4:10 emit-cycle"]),
        (&[("a.yaml", &emits("ping", "tock")), ("b.yaml", &emits("tock", "ping"))], &["a.yaml:4:10 emit-cycle"]),
        (&[("a.yaml", &emits("ping", "tock")), ("b.yaml", &emits("tock", "done"))], &[]),
        (
            &[("a.yaml", &emits("first", "ping")), ("b.yaml", &emits("ping", "tock")), ("c.yaml", &emits("tock", "ping"))],
            &["b.yaml:4:10 emit-cycle"],
        ),
        (&[("a.yaml", &grants("welcome")), ("b.yaml", &grants("welcome"))], &["b.yaml:3:10 same-bonus"]),
        (&[("a.yaml", &grants("welcome")), ("b.yaml", &grants("birthday"))], &[]),
        (&[("a.yaml", &grants("review")), ("b.yaml", &grants("review"))], &[]),
        (
            &[("a.yaml", &plain("[ { grant: 5, id: g }, { email: hello, if: steps.g.result == \"accepted\" } ]"))],
            &["a.yaml:4:51 unknown-result"],
        ),
        (&[("a.yaml", &plain("[ { grant: 5, id: g }, { email: hello, if: steps.g.result != 'parked' } ]"))], &[]),
        (&[("a.yaml", &plain("[ { stop: x }, { wait: 1 day }, { wait: 2 days } ]"))], &["a.yaml:4:23 unreachable-step"]),
        (&[("a.yaml", &plain("[ { stop: x, if: customer.balance > 1 }, { wait: 1 day } ]"))], &[]),
        (
            &[(
                "a.yaml",
                &plain(
                    "[ { branch: [ { if: customer.balance > 1, then: [ { stop: x } ] }, { else: [ { stop: y } ] } ] }, { wait: 1 day } ]",
                ),
            )],
            &["a.yaml:4:106 unreachable-step"],
        ),
        (
            &[(
                "a.yaml",
                &plain("[ { branch: [ { if: customer.balance > 1, then: [ { stop: x } ] }, { else: [] } ] }, { wait: 1 day } ]"),
            )],
            &[],
        ),
        (&[("a.yaml", &plain("[ { wait_for: review, up_to: 1 day, then: [ { stop: x } ] }, { wait: 1 day } ]"))], &[]),
        (&[("a.yaml", &plain("[ { sms: { text: \"{{ offer.title }}\" } } ]"))], &["a.yaml:4:10 no-offer"]),
    ];
    for (files, wanted) in table {
        assert_eq!(check(files), *wanted, "{files:?}");
    }
}

#[test]
fn a_faulty_step_makes_nothing_else_wrong() {
    let lines = "trigger: signed_up\nsteps: [ { offer: starter, id: gift }, { wait: 1 day, if: steps.gift.code == \"x\" } ]";
    assert_eq!(check(&[("b.yaml", &funnel(lines))]), ["b.yaml:4:19 unknown-bundle"]);
}

#[test]
fn arms_go_on_where_the_step_above_them_goes_on() {
    use crate::step::END;
    let steps = concat!(
        "steps:\n",
        "  - branch:\n",
        "      - if: customer.balance > 1\n",
        "        then: [ { wait: 1 day }, { wait: 2 days } ]\n",
        "      - else: [ { wait_for: review, up_to: 1 day, then: [ { wait: 3 days } ], otherwise: [ { stop: x } ] } ]\n",
        "  - wait: 4 days\n",
    );
    let compiled = good(&[("b.yaml", &funnel(&format!("trigger: signed_up\n{steps}")))]);
    let list = &compiled.funnels["b"].steps.list;
    let flat: Vec<(&str, u32, u32)> = list.iter().map(|at| (at.id.as_str(), at.next, at.depth)).collect();
    let wanted = [
        ("branch_1", 6, 0),
        ("wait_1", 2, 1),
        ("wait_2", 6, 1),
        ("wait_for_1", 6, 1),
        ("wait_3", 6, 2),
        ("stop_1", 6, 2),
        ("wait_4", END, 0),
    ];
    assert_eq!(flat, wanted);
    let arms = |index: usize| list[index].arms().into_iter().map(|(_, to)| to).collect::<Vec<_>>();
    assert_eq!((arms(0), arms(3)), (vec![1, 3], vec![4, 5]));
}
