//! Tests of shapes.

use super::*;
use crate::lang::diag::Fault;
use crate::lang::node;
use crate::lang::value::Value;
use crate::money::Dec;

static STEP: &[Field] = &[
    Field::required("email", Shape::Name("template"), "The template to send."),
    Field::optional("if", Shape::Condition, "Only when this holds."),
    Field::optional("stop", Shape::Text, "Ends the run, with a reason."),
];
static COMMON: &[Field] = &[
    Field::optional("times", Shape::Int(1, 9), "How often."),
    Field::optional("on_error", Shape::Word(&["retry", "skip", "stop"]), "What happens when it fails."),
    Field::optional("wait", Shape::OneOrMore(&Shape::Duration), "How long."),
    Field::optional("data", Shape::MapOf(&Shape::Data), "Anything."),
    Field::optional("then", Shape::List(&Shape::Ref("step")), "What follows."),
];

/// Reads a value with a reader, and what it reported.
fn with<T>(yaml: &str, read: impl Fn(&Node, &mut Faults) -> T) -> (T, Vec<Fault>) {
    let mut faults = Faults::default();
    let node = node::parse("a.yaml", &format!("x: {yaml}\n"), &mut faults).unwrap_or_else(|| panic!("{yaml}: {faults:?}"));
    let out = read(node.get("x").unwrap(), &mut faults);
    (out, faults.list().to_vec())
}

/// The hint of the one fault that a reader must report.
fn refused<T: std::fmt::Debug>(yaml: &str, read: impl Fn(&Node, &mut Faults) -> Option<T>) -> (&'static str, String) {
    let (out, faults) = with(yaml, read);
    assert!(out.is_none() && faults.len() == 1, "{yaml}: {out:?} {faults:?}");
    (faults[0].code, faults[0].hint.clone().unwrap_or_else(|| panic!("{yaml}: no hint")))
}

#[test]
fn text_is_what_stands_there_and_nothing_else_becomes_text() {
    for (yaml, wanted) in [("Hello", "Hello"), ("NO", "NO"), ("\"5\"", "5"), ("'~'", "~"), ("\"\"", ""), ("09:00", "09:00")] {
        assert_eq!(with(yaml, text).0.unwrap().text, wanted);
    }
    for yaml in ["012", "0x1F", "1e3", ".5", "5", "true", "FALSE", "1_000"] {
        let (code, hint) = refused(yaml, text);
        assert_eq!(code, "unquoted-text");
        assert!(hint.contains(&format!("\"{yaml}\"")), "{hint}");
    }
    for yaml in ["~", "", "[a]", "{a: b}"] {
        assert_eq!(refused(yaml, text).0, "wrong-type");
    }
}

#[test]
fn names_have_plain_characters() {
    assert_eq!(with("gold-members_2.1", name).0.unwrap().text, "gold-members_2.1");
    assert!(refused("Gold members", name).1.contains("`gold-members`"));
    assert_eq!(refused("../x", name).0, "bad-name");
    assert_eq!(refused("\"\"", name).0, "bad-name");
    assert_eq!(refused("gоld", name).0, "bad-name", "a Cyrillic letter that looks Latin");
    assert_eq!(with(&"n".repeat(NAME_CHARS_MAX), name).1, []);
    assert_eq!(refused(&"n".repeat(NAME_CHARS_MAX + 1), name).0, "bad-name");
}

#[test]
fn only_true_and_false_are_bools() {
    assert_eq!(with("true", boolean).0, Some(true));
    assert_eq!(with("false", boolean).0, Some(false));
    for (yaml, meant) in [
        ("yes", "true"),
        ("NO", "false"),
        ("on", "true"),
        ("Off", "false"),
        ("True", "true"),
        ("\"true\"", "true"),
        ("1", "true"),
    ] {
        assert!(refused(yaml, boolean).1.contains(&format!("`{meant}`")), "{yaml}");
    }
    refused("maybe", boolean);
    refused("~", boolean);
}

#[test]
fn whole_numbers_have_one_form() {
    let small = |node: &Node, faults: &mut Faults| int(node, 0, 2000, faults);
    assert_eq!(with("12", small).0, Some(12));
    assert_eq!(with("0", small).0, Some(0));
    for (yaml, code, hint) in [
        ("012", "ambiguous-number", "`12`"),
        ("0x1F", "ambiguous-number", "decimal"),
        ("1_000", "ambiguous-number", "`1000`"),
        ("1e3", "ambiguous-number", "exponent"),
        (".5", "ambiguous-number", "`0.5`"),
        ("+1", "ambiguous-number", "`1`"),
        ("\"5\"", "wrong-type", "without quotes"),
        ("1.5", "wrong-type", "for example"),
        ("~", "wrong-type", "for example"),
        ("many", "wrong-type", "for example"),
        ("2001", "out-of-range", "from 0 to 2000"),
        ("-1", "out-of-range", "from 0 to 2000"),
        ("99999999999999999999", "out-of-range", "from 0 to 2000"),
    ] {
        let (found, text) = refused(yaml, small);
        assert!(found == code && text.contains(hint), "{yaml}: {found} {text}");
    }
    assert_eq!(with("12.50", number).0, Dec::parse("12.5").ok());
    assert_eq!(refused("1e3", number).0, "ambiguous-number");
    assert_eq!(refused("0.1234567", number).0, "out-of-range");
}

#[test]
fn times_and_zones_are_read_or_explained() {
    assert_eq!(with("30 days", span).0, Some(Span::days(30)));
    assert!(refused("30", span).1.contains("`30 days`"));
    assert_eq!(refused("soon", span).0, "bad-duration");
    assert_eq!(with("09:00", clock).0, with("\"09:00\"", clock).0);
    assert!(with("09:00", clock).0.is_some());
    assert!(refused("9:00", clock).1.contains("\"09:00\""));
    refused("24:00", clock);
    assert_eq!(with("Europe/Berlin", zone).0, Some(chrono_tz::Europe::Berlin));
    assert!(refused("Europe/Berln", zone).1.contains("`Europe/Berlin`"));
    assert!(refused("new york", zone).1.contains("`America/New_York`"));
    assert_eq!(refused("UTC+25", zone).0, "unknown-zone");
    let words = |node: &Node, faults: &mut Faults| word(node, &["never", "always"], faults);
    assert_eq!(with("never", words).0, Some("never"));
    assert!(refused("nevr", words).1.contains("`never`"));
    assert_eq!(with("[a, b]", texts).0.len(), 2);
    assert_eq!(with("a", texts).0.len(), 1);
    assert_eq!(with("[a, 1]", texts).1.len(), 1);
}

#[test]
fn data_keeps_what_was_written_or_refuses_it() {
    let read = with("{a: 10.10, b: 3, c: [true, ~, NOK, 2027-01-01], d: '012'}", data).0.unwrap();
    assert_eq!(read.to_json().to_string(), r#"{"a":10.1,"b":3,"c":[true,null,"NOK","2027-01-01"],"d":"012"}"#);
    assert_eq!(with("9999999999", data).0, Some(Value::Int(9_999_999_999)));
    for yaml in ["NO", "yes", "on", "012", "0x1F", "1_000", "1e3", ".5", "+49", "0.12345678", "[ok, no]", "{a: no}"] {
        refused(yaml, data);
    }
    assert!(refused("NO", data).1.contains("\"NO\""));
}

fn object(yaml: &str) -> (Option<usize>, Vec<Fault>) {
    let mut faults = Faults::default();
    let node = node::parse("a.yaml", yaml, &mut faults).unwrap_or_else(|| panic!("{faults:?}"));
    let entries = Object::read(&node, &[STEP, COMMON], "the step `email`", &mut faults).map(|object| object.entries.len());
    (entries, faults.list().to_vec())
}

#[test]
fn a_map_is_read_against_all_tables() {
    assert_eq!(object("email: a\ntimes: 2\n"), (Some(2), vec![]));
    assert_eq!(object("email: a\nif: ~\nstop:\n"), (Some(1), vec![]), "nothing on purpose is the same as absent");
    let (read, faults) = object("emial: a\nif:\ntimes: 2\nxyz: 1\n");
    assert_eq!(read, Some(1));
    let found: Vec<_> = faults.iter().map(|f| (f.code, f.place.line, f.place.column)).collect();
    assert_eq!(found, [("unknown-field", 1, 1), ("empty-field", 2, 1), ("unknown-field", 4, 1), ("missing-field", 1, 1)]);
    assert_eq!(faults[0].hint.as_deref(), Some("did you mean `email`?"));
    assert!(faults[1].hint.as_deref().unwrap_or_default().contains("Only when this holds"), "{:?}", faults[1]);
    assert!(faults[3].message.contains("`email`") && faults[3].message.contains("the step"));
    assert_eq!(object("email:\n").1.len(), 1, "a required field without a value is one fault");
    assert_eq!(object("email: ~\n").1[0].code, "missing-field");
    for other in ["[a]", "text"] {
        let (read, faults) = object(other);
        assert!(read.is_none() && faults[0].code == "wrong-type", "{faults:?}");
    }
}

#[test]
fn many_unknown_fields_are_counted_quickly() {
    let yaml: String = (0..10_000).map(|n| format!("emial{n}: 1\n")).collect();
    let (_, faults) = object(&yaml);
    assert_eq!(faults.len(), UNKNOWN_NAMED_MAX + 2);
    assert!(faults[UNKNOWN_NAMED_MAX].message.contains("9990 more"));
}

#[test]
fn getters_are_silent_when_absent_and_loud_when_wrong() {
    let mut faults = Faults::default();
    let node = node::parse("a.yaml", "email: a\ntimes: 10\non_error: skip\n", &mut faults).unwrap();
    let object = Object::read(&node, &[STEP, COMMON], "a step", &mut faults).unwrap();
    assert_eq!(object.text("stop", &mut faults), None);
    assert!(object.bool("stop", true, &mut faults) && object.texts("wait", &mut faults).is_empty());
    assert_eq!(object.word("on_error", &["retry", "skip", "stop"], &mut faults), Some("skip"));
    assert!(!faults.has_errors());
    assert_eq!(object.int("times", 1, 9, &mut faults), None);
    assert_eq!(faults.list()[0].code, "out-of-range");
    assert_eq!(object.place("stop").line, 1);
    assert_eq!(object.place("times").line, 2);
}

#[test]
fn the_json_schema_says_the_same_as_the_tables() {
    let made = object_schema(&[STEP, COMMON]);
    assert_eq!(made["additionalProperties"], false);
    assert_eq!(made["required"], serde_json::json!(["email"]));
    let of = |name: &str| made["properties"][name].clone();
    assert_eq!(of("if")["type"], serde_json::json!(["string", "object"]));
    assert!(of("if")["description"].as_str().unwrap().starts_with("Only when this holds."));
    assert_eq!(of("times"), serde_json::json!({"type": "integer", "minimum": 1, "maximum": 9, "description": "How often."}));
    assert_eq!(of("on_error")["enum"], serde_json::json!(["retry", "skip", "stop"]));
    assert_eq!(of("wait")["anyOf"][1]["items"]["type"], "string");
    assert_eq!(of("then")["items"]["$ref"], "#/$defs/step");
    assert_eq!(of("data"), serde_json::json!({"type": "object", "additionalProperties": {}, "description": "Anything."}));
    static CHOICE: &[Shape] = &[Shape::Bool, Shape::Object(STEP), Shape::Phrase("5%")];
    let either = schema(&Shape::Either(CHOICE));
    assert_eq!(either["anyOf"][0]["type"], "boolean");
    assert_eq!(either["anyOf"][1]["properties"]["stop"]["type"], "string");
    assert_eq!(schema(&Shape::Int(0, i64::MAX)), serde_json::json!({"type": "integer", "minimum": 0}));
}
