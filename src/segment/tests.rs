//! Segments: what is read, in which order, and what is refused where.

use super::*;
use crate::lang::cel::Type;
use crate::lang::diag::Fault;
use crate::lang::node;

struct Names(Vec<String>);

impl Schema for Names {
    fn root(&self, name: &str) -> Option<Type> {
        (name == "customer").then(|| Type::Object(vec![("tier".into(), Type::Text), ("fan".into(), Type::Bool)]))
    }

    fn roots(&self) -> Vec<String> {
        vec!["customer".into()]
    }

    fn segments(&self) -> Vec<String> {
        self.0.clone()
    }

    fn event(&self, name: &str) -> Option<Type> {
        (name == "purchase").then_some(Type::Any)
    }

    fn events(&self) -> Vec<String> {
        vec!["purchase".into()]
    }
}

fn read(text: &str) -> (Segments, Vec<Fault>) {
    let mut faults = Faults::default();
    let node = node::parse("segments.yaml", text, &mut faults);
    let names = Names(Segments::declared(node.as_ref()));
    let segments = Segments::compile(node.as_ref(), &names, &mut faults);
    (segments, faults.list().to_vec())
}

#[test]
fn segments_come_after_those_that_they_name() {
    let text = "\
both: { when: in_segment(\"vip\") && in_segment(\"dormant\"), title: Slipping away, family: value }
vip: { when: spent(\"365 days\") >= 500 }
worst: { when: \"!in_segment(\\\"both\\\")\" }
dormant:
  when: { last_purchase: more than 60 days ago }
";
    let (segments, faults) = read(text);
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!(segments.names(), ["vip", "dormant", "both", "worst"]);
    assert_eq!((segments.len(), segments.is_empty()), (4, false));
    let both = segments.get("both").unwrap();
    assert_eq!((both.title.as_str(), both.family.as_deref()), ("Slipping away", Some("value")));
    assert_eq!(segments.get("vip").map(|segment| (segment.title.as_str(), &segment.family)), Some(("vip", &None)));
    assert!(segments.get("vipp").is_none());
}

#[test]
fn no_file_and_nothing_in_it_are_no_segments() {
    let mut faults = Faults::default();
    assert!(Segments::compile(None, &Names(Vec::new()), &mut faults).is_empty());
    let (segments, faults_read) = read("{}\n");
    assert!(segments.is_empty() && faults_read.is_empty() && faults.list().is_empty());
}

#[test]
fn what_is_wrong_is_named_where_it_stands() {
    for (text, code, place, hint) in [
        ("- vip", "wrong-type", (1, 1), "vip"),
        ("vip: spent() > 5", "wrong-type", (1, 6), "when"),
        ("vip: { title: VIP }", "missing-field", (1, 6), "when"),
        ("vip: { wenn: spent() > 5, when: spent() > 5 }", "unknown-field", (1, 8), "did you mean `when`?"),
        ("VIP: { when: spent() > 5 }", "bad-name", (1, 1), "`vip`"),
        ("my_vips: { when: spent() > 5 }", "bad-name", (1, 1), "`my-vips`"),
        ("vip: { when: spent() > 5, family: status quo }", "unknown-word", (1, 35), "status"),
        ("vip: { when: spnet() > 5 }", "unknown-function", (1, 14), "spent"),
        ("vip: { when: customer.tire == \"gold\" }", "unknown-field", (1, 23), "did you mean `tier`?"),
        ("vip: { when: in_segment(\"vpi\") }", "unknown-segment", (1, 26), "did you mean `vip`?"),
        ("vip: { when: in_segment(\"vip\") }", "segment-cycle", (1, 14), "take one"),
    ] {
        let (_, faults) = read(text);
        let [fault] = &faults[..] else { panic!("{text}: {faults:#?}") };
        assert_eq!((fault.code, (fault.place.line, fault.place.column)), (code, place), "{text}: {fault:#?}");
        assert!(fault.hint.as_deref().unwrap_or_default().contains(hint), "{text}: {fault:#?}");
    }
}

#[test]
fn each_ring_is_named_once_and_what_hangs_on_it_is_left_out() {
    let text = "\
hangs: { when: in_segment(\"c\") }
a: { when: in_segment(\"b\") && customer.fan }
b: { when: in_segment(\"c\") }
c: { when: in_segment(\"a\") }
free: { when: customer.fan }
x: { when: in_segment(\"y\") }
y: { when: in_segment(\"x\") }
";
    let (segments, faults) = read(text);
    let said: Vec<(&str, u32)> = faults.iter().map(|fault| (fault.message.as_str(), fault.place.line)).collect();
    let about = "segments name each other in a ring: ";
    assert_eq!(said, [(format!("{about}a → b → c → a").as_str(), 2), (format!("{about}x → y → x").as_str(), 6)]);
    assert_eq!(segments.names(), ["free"]);
}

#[test]
fn a_thousand_segments_in_a_chain_are_ordered_and_one_more_is_refused() {
    let line = |i: usize| match i {
        0 => "s0: { when: customer.fan }\n".to_owned(),
        i => format!("s{i}: {{ when: in_segment(\"s{}\") }}\n", i - 1),
    };
    // From the last to the first, so that the order of the file is exactly wrong.
    let chain: String = (0..SEGMENTS_MAX).rev().map(line).collect();
    let (segments, faults) = read(&chain);
    assert!(faults.is_empty(), "{faults:#?}");
    assert_eq!((segments.len(), segments.list()[0].name.as_str(), segments.list()[999].name.as_str()), (1_000, "s0", "s999"));
    let (_, faults) = read(&format!("{chain}more: {{ when: customer.fan }}\n"));
    assert_eq!(faults.iter().map(|fault| fault.code).collect::<Vec<_>>(), ["too-many"]);
}
