//! Conditions: written by their grammar and then changed a little, checked against the names of the sample
//! workspace, and judged over customers with odd histories and odd data.

use super::chance::Chance;
use super::odd::{EVENTS, FIELD_NAMES, Odd, name};
use super::tree::Tree;
use super::{Case, Kind, Verdict, laws, mutate, sample};
use autofunnel::funnel::names::{Base, Names};
use autofunnel::lang::cel::functions::FUNCTIONS;
use autofunnel::lang::cel::{Cond, Expr, Schema, Scope, Text, Type};
use autofunnel::lang::diag::{Faults, Place};
use autofunnel::lang::render::Sources;

/// Customers that conditions are judged over.
const CUSTOMERS: u64 = 200;

const SPANS: &[&str] =
    &["90 days", "1 day", "365 days", "1 month", "2h", "1 year 2 months", "0 days", "100 years", "soon", "400 days"];
const SEGMENTS: &[&str] = &["regulars", "dormant", "high-value", "tier-gold", "nope"];

/// A path below a root.
fn path(chance: &mut Chance) -> String {
    match chance.below(10) {
        0..=4 => format!("customer.{}", name(chance)),
        5 => format!("customer.membership.{}", chance.pick(&["active", "ends", "started", "auto_renew", "name"])),
        6 => "event.amount".to_owned(),
        7 => format!("event.{}", name(chance)),
        8 => format!("steps.gift.{}", name(chance)),
        _ => {
            chance.pick(&["customer", "event", "event.items", "customer.consent.email", "nope.x", "customer.a.b.c.d"]).to_owned()
        }
    }
}

fn window(chance: &mut Chance) -> String {
    if chance.one_in(3) { String::new() } else { format!(", \"{}\"", chance.pick(SPANS)) }
}

/// A number.
fn number(chance: &mut Chance, depth: usize) -> String {
    let below = depth + 1;
    match chance.below(if depth > 4 { 6 } else { 13 }) {
        0 => chance.pick(&["0", "1", "3", "100", "12.50", "-1", "9223372036854775807", "0.000001", "1e3", "007"]).to_owned(),
        1 | 2 => format!("count(\"{}\"{})", chance.pick(EVENTS), window(chance)),
        3 => format!("{}({})", chance.pick(&["purchases", "spent"]), window(chance).trim_start_matches(", ")),
        4 => chance.pick(&["customer.balance", "customer.to_next_tier", "local_hour()", "local_weekday()"]).to_owned(),
        5 => path(chance),
        6 => format!(
            "{}(\"{}\", \"{}\"{})",
            chance.pick(&["sum", "avg", "distinct"]),
            chance.pick(EVENTS),
            name(chance),
            window(chance)
        ),
        7 => format!("count(\"purchase\", \"{}\", {})", chance.pick(SPANS), filter(chance, below)),
        8 => format!("{} {} {}", number(chance, below), chance.pick(&["+", "-", "*", "/", "%"]), number(chance, below)),
        9 => format!("({})", number(chance, below)),
        10 => format!("-{}", number(chance, below)),
        11 => format!("{}({})", chance.pick(&["days_since", "days_until", "age_of"]), instant(chance, below)),
        _ => format!("size({})", chance.pick(&["event.items", "customer.name", "customer.segments", "\"abc\""])),
    }
}

/// A filter over `e`.
fn filter(chance: &mut Chance, depth: usize) -> String {
    match chance.below(6) {
        0 => "e.amount > 20".to_owned(),
        1 => format!("e.items.exists(i, i.{} == \"{}\")", name(chance), mutate::trouble(chance).escape_default()),
        2 => format!("e.items.all(i, i.quantity {} {})", chance.pick(&["<", ">=", "=="]), chance.below(9)),
        3 => format!("e.{} in [\"a\", \"b\", 1]", name(chance)),
        4 => format!("has(e.{})", name(chance)),
        _ => truth(chance, depth + 1),
    }
}

/// An instant.
fn instant(chance: &mut Chance, depth: usize) -> String {
    match chance.below(8) {
        0 | 1 => format!("{}(\"{}\")", chance.pick(&["first", "last"]), chance.pick(EVENTS)),
        2 => "customer.membership.ends".to_owned(),
        3 => "date(\"2027-03-28\")".to_owned(),
        4 => format!("time(\"{}\")", chance.pick(&["2027-03-01T09:00:00Z", "2027-02-30T00:00:00Z", "9999-01-01T00:00:00Z"])),
        5 => format!("{}(\"{}\")", chance.pick(&["ago", "from_now"]), chance.pick(SPANS)),
        6 => "now()".to_owned(),
        _ => {
            if depth > 4 {
                "now()".to_owned()
            } else {
                path(chance)
            }
        }
    }
}

/// A text.
fn word(chance: &mut Chance, depth: usize) -> String {
    match chance.below(5) {
        0 => chance.pick(&["customer.tier", "customer.name", "customer.favourite_roast", "event.order_id"]).to_owned(),
        1 => format!("\"{}\"", mutate::trouble(chance).escape_default()),
        2 if depth < 4 => format!("{}.lowerAscii()", word(chance, depth + 1)),
        3 => path(chance),
        _ => format!("\"{}\"", chance.pick(&["gold", "silver", "dark"])),
    }
}

/// Something true or false.
fn truth(chance: &mut Chance, depth: usize) -> String {
    let below = depth + 1;
    let order = *chance.item(&["==", "!=", "<", "<=", ">", ">="]);
    match chance.below(if depth > 4 { 7 } else { 15 }) {
        0 | 1 => format!("{} {order} {}", number(chance, below), number(chance, below)),
        2 => format!("{} == {}", word(chance, below), word(chance, below)),
        3 => format!("{} {order} {}", instant(chance, below), instant(chance, below)),
        4 => format!("has({})", path(chance)),
        5 => format!("in_segment(\"{}\")", chance.pick(SEGMENTS)),
        6 => chance.pick(&["true", "false", "customer.consent.email", "customer.membership.active", "null"]).to_owned(),
        7..=9 => format!("{} {} {}", truth(chance, below), chance.pick(&["&&", "||"]), truth(chance, below)),
        10 => format!("!{}", truth(chance, below)),
        11 => format!("({})", truth(chance, below)),
        12 => format!("{} in [{}, {}]", word(chance, below), word(chance, below), word(chance, below)),
        13 => {
            format!("{}.{}({})", word(chance, below), chance.pick(&["contains", "startsWith", "endsWith"]), word(chance, below))
        }
        _ => format!("({} ? {} : {})", truth(chance, below), truth(chance, below), truth(chance, below)),
    }
}

/// See the module.
pub struct Conditions {
    base: Base,
    known: Vec<String>,
    customers: Vec<Odd>,
}

impl Conditions {
    /// Reads the samples.
    pub fn new() -> Conditions {
        let checked = sample::checked();
        let workspace = checked.workspace.as_ref().expect("it is sound");
        let base = sample::base(workspace);
        let mut known: Vec<String> = FUNCTIONS.iter().map(|function| function.form.to_owned()).collect();
        for (_, text) in sample::files().iter().filter(|(path, _)| path.ends_with(".yaml")) {
            sample::tree(text).visit(&mut |_, node| {
                if let Tree::Word(text) | Tree::Text(text) = node
                    && text.contains(['(', '=', '<', '>', '&'])
                {
                    known.push(text.clone());
                }
            });
        }
        let plain = Names::new(&base);
        known.retain(|text| Expr::check(&placed(text), &plain.seeing(Type::Any), &mut Faults::default()).is_some());
        assert!(known.len() > 20, "the sample has conditions");
        Conditions { base, known, customers: (0..CUSTOMERS).map(Odd::new).collect() }
    }

    fn text(&self, chance: &mut Chance) -> String {
        let text = if chance.one_in(3) { chance.item(&self.known).clone() } else { truth(chance, 0) };
        match chance.below(12) {
            0..=4 => text,
            5..=8 => swapped(&text, chance),
            9 => mutate::tweak(&text, chance),
            10 => {
                let (open, close) = *chance.item(&[("(", ")"), ("!(", ")"), ("[", "]"), ("-(", ")")]);
                let many = chance.below(80);
                format!("{}{text}{}", open.repeat(many), close.repeat(many))
            }
            _ => {
                let other = truth(chance, 1);
                let many = if chance.one_in(8) { chance.below(400) } else { chance.below(6) };
                format!("{text}{}", format!(" {} {other}", chance.pick(&["&&", "||", "+", "==", "in"])).repeat(many))
            }
        }
    }
}

/// A token is replaced by another one of its kind.
fn swapped(text: &str, chance: &mut Chance) -> String {
    const KINDS: &[&[&str]] = &[
        &["==", "!=", "<", "<=", ">", ">="],
        &["&&", "||"],
        &["+", "-", "*", "/", "%"],
        &["count", "purchases", "spent", "first", "last", "has_done", "in_segment", "days_since", "size", "has", "date", "time"],
        &["customer", "event", "steps", "run", "e", "nope"],
        FIELD_NAMES,
        EVENTS,
        SPANS,
    ];
    let kind = chance.item(KINDS);
    let found: Vec<(usize, &str)> = kind.iter().filter_map(|token| Some((text.find(*token)?, *token))).collect();
    if found.is_empty() {
        return text.to_owned();
    }
    let (at, token) = *chance.item(&found);
    let other = chance.pick(kind);
    format!("{}{other}{}", &text[..at], &text[at + token.len()..])
}

/// A text at the beginning of a file.
fn placed(text: &str) -> Text {
    let length = text.chars().count().max(1) as u32;
    Text { text: text.to_owned(), place: Place { file: "condition".into(), line: 1, column: 1, length } }
}

impl Kind for Conditions {
    fn name(&self) -> &'static str {
        "condition"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let text = self.text(&mut chance);
        let shown = text.clone().into_bytes();
        let feed = move || {
            let base = Names::new(&self.base);
            let names = if chance.one_in(4) { base } else { base.seeing(self.base.event("purchase")) };
            let customer = chance.item(&self.customers);
            feed(&text, &names, customer, chance.one_in(2))
        };
        Case { shown, feed: Box::new(feed) }
    }
}

fn feed(text: &str, names: &dyn Schema, customer: &Odd, as_condition: bool) -> Verdict {
    let mut faults = Faults::default();
    let mut broken = None;
    let mut until = None;
    if as_condition {
        if let Some(cond) = Cond::check(&placed(text), names, &mut faults) {
            let verdict = cond.judge(customer);
            until = verdict.until;
            if verdict != cond.judge(customer) {
                broken = Some("it is judged in two ways".to_owned());
            }
            if verdict.value.is_none() && verdict.missing.as_deref().and_then(laws::sentence).is_some() {
                broken = verdict.missing.as_deref().and_then(laws::sentence);
            }
            let _ = (cond.needs(), cond.segments(), cond.fields());
        } else if !faults.has_errors() {
            broken = Some("refused without an error".to_owned());
        }
    } else if let Some(expr) = Expr::check(&placed(text), names, &mut faults) {
        let (value, holds, _) = expr.eval(customer);
        until = holds;
        if let Err(why) = value {
            broken = laws::sentence(&why);
        }
    } else if !faults.has_errors() {
        broken = Some("refused without an error".to_owned());
    }
    if until.is_some_and(|until| until <= customer.now()) {
        broken = Some(format!("it holds until {until:?}, and it is now {}", customer.now()));
    }
    let past_parser = !faults.list().iter().any(|fault| fault.code == "bad-condition");
    let mut sources = Sources::default();
    sources.add("condition", text);
    // A line end inside the text is one in a file of one line: places count on.
    let (faults, dropped) = faults.into_sorted();
    let one_line = !text.contains(['\n', '\r']);
    let mut verdict = if one_line {
        laws::of_faults(&faults, dropped, &sources, &|_| Some(1))
    } else {
        Verdict { refused: !faults.is_empty(), placed: true, ..Verdict::default() }
    };
    verdict.broken = broken.or(verdict.broken);
    Verdict { past_parser, ..verdict }
}
