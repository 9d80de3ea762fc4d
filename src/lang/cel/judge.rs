//! Judging: a checked condition against a scope.
//!
//! Missing and failed operands are *unknown* and travel as errors: `&&` and `||` absorb them as CEL does,
//! `exists` and `all` likewise, everything else hands them on. What is not evaluated (behind a false
//! `&&`, say) neither counts for *valid until* nor is shown. The work is bounded by [`STEPS_MAX`].

use super::ast::Order;
use super::calendar::read_time;
use super::code::{Cast, Code, Each, Op, Question, TextTest};
use super::number::{negate, reckon};
use super::{Care, Scope, Verdict};
use crate::lang::time::{Time, Zone};
use crate::lang::value::{Fields, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// Most operands kept of one judgement.
pub const SEEN_MAX: usize = 24;
/// Most steps of one judgement; a list in a list in an event cannot make it long.
pub const STEPS_MAX: usize = 100_000;
/// Larger lists and maps are shown by their size only.
const SHOWN_ENTRIES_MAX: usize = 60;

impl Order {
    /// The least count from which on a comparison with what stands on its other side has another answer, where there
    /// is one such.
    fn least(self, other: &Code) -> Option<u64> {
        let Op::Const(Value::Int(n)) = other.op else { return None };
        let n = u64::try_from(n).ok()?;
        match self {
            Order::Lt | Order::Ge => Some(n),
            Order::Le | Order::Gt => n.checked_add(1),
            Order::Eq | Order::Ne => (n == 0).then_some(1),
        }
    }
}

/// Why there is no value.
#[derive(Clone, Debug)]
pub(super) enum Unknown {
    /// This operand is missing.
    Missing(Arc<str>),
    /// It cannot be reckoned, with the reason.
    Failed(String),
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unknown::Missing(label) => f.write_str(label),
            Unknown::Failed(why) => f.write_str(why),
        }
    }
}

pub(super) type Outcome<'c> = Result<Cow<'c, Value>, Unknown>;

/// What the names of an expression stand for beside what the scope knows.
#[derive(Clone, Copy, Default)]
pub(super) struct Env<'e> {
    /// The event that a filter looks at.
    event: Option<&'e Fields>,
    /// The items of the macros around it, the innermost first.
    item: Option<&'e Item<'e>>,
}

/// The item that a macro over a list has come to.
struct Item<'e> {
    value: &'e Value,
    /// How many macros stand around it.
    level: usize,
    outer: Option<&'e Item<'e>>,
}

impl<'e> Env<'e> {
    fn item(self, level: usize) -> Option<&'e Value> {
        let mut item = self.item;
        while let Some(found) = item.filter(|item| item.level != level) {
            item = found.outer;
        }
        item.map(|item| item.value)
    }
}

/// An expression's value, or which operand is missing or failed; until when that holds; the operands.
pub type Evaluated = (Result<Value, String>, Option<Time>, Vec<(String, Value)>);

/// Evaluates an expression.
pub(super) fn evaluate(code: &Code, scope: &dyn Scope) -> Evaluated {
    let mut judge = Judge::new(scope, true);
    let result = judge.run(code, Env::default()).map(Cow::into_owned).map_err(|unknown| unknown.to_string());
    let seen = judge.seen.into_iter().map(|(label, value)| (label.to_string(), value)).collect();
    (result, judge.until, seen)
}

/// Whether a condition holds, and until when; nothing is kept of what it looked at.
pub(super) fn holds(code: &Code, scope: &dyn Scope, before: Option<Time>) -> (bool, Option<Time>) {
    let mut judge = Judge { until: before, ..Judge::new(scope, false) };
    let holds = matches!(judge.run(code, Env::default()).as_deref(), Ok(Value::Bool(true)));
    (holds, judge.until)
}

/// Judges a condition.
pub(super) fn judge(code: &Code, scope: &dyn Scope) -> Verdict {
    let (result, until, seen) = evaluate(code, scope);
    let (value, missing) = match result {
        Ok(Value::Bool(b)) => (Some(b), None),
        Ok(other) => (None, Some(format!("`{}` is {}, not true/false", code.label, other.kind()))),
        Err(why) => (None, Some(why)),
    };
    Verdict { value, until, seen, missing }
}

pub(super) struct Judge<'a> {
    scope: &'a dyn Scope,
    pub now: Time,
    pub zone: Zone,
    pub until: Option<Time>,
    /// Whether anybody will look at what was seen.
    pub shows: bool,
    seen: Vec<(Arc<str>, Value)>,
    steps: usize,
}

impl<'a> Judge<'a> {
    fn new(scope: &'a dyn Scope, shows: bool) -> Self {
        Judge { scope, now: scope.now(), zone: scope.zone(), until: None, shows, seen: Vec::new(), steps: 0 }
    }

    /// Evaluates.
    pub fn run<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Outcome<'c> {
        self.pay(1)?;
        let result = self.step(code, env);
        if code.seen && self.shows {
            self.see(&code.label, &result);
        }
        result
    }

    fn step<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Outcome<'c> {
        match &code.op {
            Op::Const(value) => Ok(Cow::Borrowed(value)),
            Op::Field(path, cast) => self.field(code, path, *cast),
            Op::Local(level, path, cast) => {
                let value = env.item(*level).and_then(|value| follow(value, path)).ok_or_else(|| missing(code))?;
                self.pay(weight(value))?;
                self.cast(code, Cow::Borrowed(value), *cast)
            }
            Op::Item(path, cast) => {
                let found = path.split_first().and_then(|(first, rest)| follow(env.event?.get(first)?, rest));
                self.cast(code, Cow::Borrowed(found.ok_or_else(|| missing(code))?), *cast)
            }
            Op::Get(of, name, cast) => {
                let of = self.run(of, env)?;
                let found = of.get(name).cloned().ok_or_else(|| missing(code))?;
                self.cast(code, Cow::Owned(found), *cast)
            }
            Op::Index(of, index, cast) => self.index(code, of, index, *cast, env),
            Op::Has(of) => Ok(truth(matches!(self.run(of, env), Ok(value) if *value != Value::Null))),
            Op::List(items) => {
                let values = items.iter().map(|code| self.run(code, env).map(Cow::into_owned)).collect::<Result<_, _>>()?;
                Ok(Cow::Owned(Value::List(values)))
            }
            Op::Not(of) => Ok(truth(!self.truth(of, env)?)),
            Op::And(items) => self.chain(items, false, env),
            Op::Or(items) => self.chain(items, true, env),
            Op::Choose(parts) => {
                let [condition, then, otherwise] = &**parts;
                if self.truth(condition, env)? { self.run(then, env) } else { self.run(otherwise, env) }
            }
            Op::Compare(..) | Op::Moving(..) | Op::In(..) | Op::Arith(..) | Op::Negate(_) => self.operator(code, env),
            Op::Each(each, list, body) => self.each(*each, list, body, env),
            Op::Size(_) | Op::Test(..) | Op::Lower(_) => self.text(code, env),
            Op::Ask(question) => self.ask(code, question, None, env),
            Op::Spent(queries) => self.spent(code, queries),
            Op::First(event) => self.scope.first(event).map(at).ok_or_else(|| missing(code)),
            Op::Last(event) => self.scope.last(event).map(at).ok_or_else(|| missing(code)),
            Op::Done(event) => Ok(truth(self.scope.first(event).is_some())),
            Op::Segment(name) => Ok(truth(self.scope.in_segment(name))),
            _ => self.calendar(code, env),
        }
    }

    /// Takes `n` steps off what one judgement may cost.
    fn pay(&mut self, n: usize) -> Result<(), Unknown> {
        self.steps = self.steps.saturating_add(n);
        if self.steps > STEPS_MAX {
            return Err(Unknown::Failed(format!("it looks at too much data (more than {STEPS_MAX} steps)")));
        }
        Ok(())
    }

    pub fn holds_until(&mut self, flip: Option<Time>) {
        let flip = flip.filter(|flip| *flip > self.now);
        self.until = match (self.until, flip) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    pub fn see(&mut self, label: &Arc<str>, result: &Outcome<'_>) {
        if self.seen.len() >= SEEN_MAX || self.seen.iter().any(|(known, _)| known == label) {
            return;
        }
        let value = match result {
            Ok(value) => match &**value {
                Value::List(items) if weight(value) > SHOWN_ENTRIES_MAX => Value::Text(format!("a list of {}", items.len())),
                Value::Map(fields) if weight(value) > SHOWN_ENTRIES_MAX => Value::Text(format!("a map of {}", fields.len())),
                value => value.clone(),
            },
            Err(_) => Value::Null,
        };
        self.seen.push((label.clone(), value));
    }

    fn field<'c>(&mut self, code: &'c Code, path: &[String], cast: Cast) -> Outcome<'c> {
        let value = self.scope.field(path).ok_or_else(|| missing(code))?;
        self.pay(weight(&value))?;
        self.cast(code, Cow::Owned(value), cast)
    }

    /// Reads a text as what the checker took it for.
    fn cast<'c>(&self, code: &Code, value: Cow<'c, Value>, cast: Cast) -> Outcome<'c> {
        let Value::Text(text) = &*value else { return Ok(value) };
        let read = match cast {
            Cast::None => return Ok(value),
            Cast::Number => Value::number(text).ok(),
            Cast::Time => read_time(text, self.zone).map(Value::Time),
        };
        let wanted = if cast == Cast::Number { "number" } else { "time" };
        read.map(Cow::Owned).ok_or_else(|| Unknown::Failed(format!("`{}` is text, not a {wanted}", code.label)))
    }

    fn truth<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Result<bool, Unknown> {
        match &*self.run(code, env)? {
            Value::Bool(b) => Ok(*b),
            other => Err(odd(code, other, "true/false")),
        }
    }

    fn list<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Result<Cow<'c, Value>, Unknown> {
        let value = self.run(code, env)?;
        if matches!(*value, Value::List(_)) { Ok(value) } else { Err(odd(code, &value, "a list")) }
    }

    /// The instant that a value is, also when it came as text.
    pub fn time<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Result<Time, Unknown> {
        let value = self.run(code, env)?;
        match &*value {
            Value::Time(t) => Some(*t),
            Value::Text(text) => read_time(text, self.zone),
            _ => None,
        }
        .ok_or_else(|| odd(code, &value, "a time"))
    }

    /// `&&` ends at the first false, `||` at the first true; an unknown one counts only if none ends it.
    fn chain<'c>(&mut self, items: &'c [Code], end: bool, env: Env<'c>) -> Outcome<'c> {
        let mut unknown = None;
        for code in items {
            match self.truth(code, env) {
                Ok(b) if b == end => return Ok(truth(end)),
                Ok(_) => {}
                Err(why) => unknown = unknown.or(Some(why)),
            }
        }
        unknown.map_or(Ok(truth(!end)), Err)
    }

    fn index<'c>(&mut self, code: &'c Code, of: &'c Code, index: &'c Code, cast: Cast, env: Env<'c>) -> Outcome<'c> {
        let (list, key) = (self.run(of, env)?, self.run(index, env)?);
        let found = match (&*list, &*key) {
            (Value::List(items), Value::Int(n)) => usize::try_from(*n).ok().and_then(|n| items.get(n)),
            (Value::Map(fields), Value::Text(name)) => fields.get(name),
            (Value::List(_), other) => return Err(odd(index, other, "a whole number")),
            (other, _) => return Err(odd(of, other, "a list")),
        };
        let value = found.cloned().ok_or_else(|| missing(code))?;
        self.pay(weight(&value))?;
        self.cast(code, Cow::Owned(value), cast)
    }

    fn operator<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Outcome<'c> {
        match &code.op {
            Op::Compare(order, left, right) => {
                let (a, b) = (self.side(left, order.least(right), env)?, self.side(right, order.mirrored().least(left), env)?);
                self.pay(weight(&a).min(weight(&b)))?;
                self.compare(*order, (left, &a), (right, &b)).map(truth)
            }
            Op::Moving(order, fixed, moving, label) => {
                let fixed = self.time(fixed, env)?;
                Ok(truth(self.passed(*order, fixed, *moving, label)))
            }
            Op::In(left, right) => {
                let (wanted, list) = (self.run(left, env)?, self.run(right, env)?);
                self.pay(weight(&list))?;
                match &*list {
                    Value::List(items) => Ok(truth(items.iter().any(|one| one.same(&wanted)))),
                    Value::Map(fields) => Ok(truth(wanted.as_text().is_some_and(|name| fields.contains_key(name)))),
                    other => Err(odd(right, other, "a list")),
                }
            }
            Op::Arith(arith, left, right) => {
                let (a, b) = (self.run(left, env)?, self.run(right, env)?);
                if let (super::ast::Arith::Add, Value::Text(a), Value::Text(b)) = (arith, &*a, &*b) {
                    let joined = Value::Text(format!("{a}{b}"));
                    self.pay(weight(&joined))?;
                    return Ok(Cow::Owned(joined));
                }
                failed(reckon(*arith, &a, &b), code)
            }
            Op::Negate(of) => failed(negate(&*self.run(of, env)?), code),
            _ => Err(missing(code)),
        }
    }

    /// A side of a comparison. Of a count compared with a number it only matters on which side of that it is: it
    /// may change often and the comparison seldom.
    fn side<'c>(&mut self, code: &'c Code, least: Option<u64>, env: Env<'c>) -> Outcome<'c> {
        match &code.op {
            Op::Ask(question) if least.is_some() => {
                self.pay(1)?;
                let result = self.ask(code, question, least, env);
                if code.seen && self.shows {
                    self.see(&code.label, &result);
                }
                result
            }
            _ => self.run(code, env),
        }
    }

    fn compare(&self, order: Order, left: (&Code, &Value), right: (&Code, &Value)) -> Result<bool, Unknown> {
        let ((left, a), (right, b)) = (left, right);
        // An instant beside a text of unknown type: the text is read as an instant.
        let (a, b) = match (a, b) {
            (Value::Time(_), Value::Text(text)) => (Cow::Borrowed(a), self.as_time(right, text)?),
            (Value::Text(text), Value::Time(_)) => (self.as_time(left, text)?, Cow::Borrowed(b)),
            _ => (Cow::Borrowed(a), Cow::Borrowed(b)),
        };
        let equality = matches!(order, Order::Eq | Order::Ne);
        let alike = a.kind() == b.kind() || (equality && (*a == Value::Null || *b == Value::Null));
        if equality && alike {
            return Ok(a.same(&b) == (order == Order::Eq));
        }
        let Some(found) = a.order(&b).filter(|_| alike) else {
            let (code, value) = if matches!(left.op, Op::Const(_)) { (right, &b) } else { (left, &a) };
            let other = if std::ptr::eq(code, left) { &b } else { &a };
            let why =
                format!("`{}` is {}, which `{}` cannot compare with {}", code.label, value.kind(), order.sign(), other.kind());
            return Err(Unknown::Failed(why));
        };
        Ok(match order {
            Order::Eq => found.is_eq(),
            Order::Ne => found.is_ne(),
            Order::Lt => found.is_lt(),
            Order::Le => found.is_le(),
            Order::Gt => found.is_gt(),
            Order::Ge => found.is_ge(),
        })
    }

    fn as_time<'v>(&self, code: &Code, text: &str) -> Outcome<'v> {
        let why = || Unknown::Failed(format!("`{}` is text, not a time", code.label));
        read_time(text, self.zone).map(at).ok_or_else(why)
    }

    fn each<'c>(&mut self, each: Each, list: &'c Code, body: &'c Code, env: Env<'c>) -> Outcome<'c> {
        let list = self.list(list, env)?;
        let Value::List(items) = &*list else { return Ok(list) };
        let (mut kept, mut unknown) = (Vec::new(), None);
        let level = env.item.map_or(0, |outer| outer.level + 1);
        for value in items {
            self.pay(weight(value))?;
            let item = Item { value, level, outer: env.item };
            let inner = Env { item: Some(&item), ..env };
            let result = match each {
                Each::Map => self.run(body, inner).map(Cow::into_owned),
                _ => self.truth(body, inner).map(Value::Bool),
            };
            match (each, result) {
                (Each::Exists, Ok(Value::Bool(true))) => return Ok(truth(true)),
                (Each::All, Ok(Value::Bool(false))) => return Ok(truth(false)),
                (Each::Filter, Ok(Value::Bool(true))) => kept.push(value.clone()),
                (Each::Map, Ok(value)) => {
                    self.pay(weight(&value))?;
                    kept.push(value);
                }
                (Each::Filter | Each::Map, Err(why)) => return Err(why),
                (_, Err(why)) => unknown = unknown.or(Some(why)),
                (_, Ok(_)) => {}
            }
        }
        match (each, unknown) {
            (_, Some(why)) => Err(why),
            (Each::Exists | Each::All, None) => Ok(truth(each == Each::All)),
            (Each::Filter | Each::Map, None) => Ok(Cow::Owned(Value::List(kept))),
        }
    }

    fn text<'c>(&mut self, code: &'c Code, env: Env<'c>) -> Outcome<'c> {
        let whole = |n: usize| Ok(Cow::Owned(Value::Int(i64::try_from(n).unwrap_or(i64::MAX))));
        match &code.op {
            Op::Size(of) => match &*self.run(of, env)? {
                Value::Text(text) => whole(text.chars().count()),
                Value::List(items) => whole(items.len()),
                Value::Map(fields) => whole(fields.len()),
                other => Err(odd(of, other, "a text or a list")),
            },
            Op::Test(test, of, part) => {
                let (text, part_value) = (self.run(of, env)?, self.run(part, env)?);
                let text = text.as_text().ok_or_else(|| odd(of, &text, "a text"))?;
                let part = part_value.as_text().ok_or_else(|| odd(part, &part_value, "a text"))?;
                self.pay(text.len() / 64)?;
                Ok(truth(match test {
                    TextTest::Contains => text.contains(part),
                    TextTest::StartsWith => text.starts_with(part),
                    TextTest::EndsWith => text.ends_with(part),
                }))
            }
            Op::Lower(of) => {
                let text = self.run(of, env)?;
                let lower = text.as_text().map(str::to_ascii_lowercase).ok_or_else(|| odd(of, &text, "a text"))?;
                Ok(Cow::Owned(Value::Text(lower)))
            }
            _ => Err(missing(code)),
        }
    }

    fn ask<'c>(&mut self, code: &'c Code, question: &'c Question, least: Option<u64>, env: Env<'c>) -> Outcome<'c> {
        let (scope, care) = (self.scope, Care { before: self.until, least });
        let mut over = None;
        let (value, until) = scope.aggregate(&question.query, care, &mut |fields| match &question.filter {
            None => true,
            Some(filter) => match self.truth(filter, Env { event: Some(fields), ..env }) {
                Ok(kept) => kept,
                Err(_) if self.steps > STEPS_MAX => {
                    over = Some(());
                    false
                }
                // A property that is missing or of another kind does not match.
                Err(_) => false,
            },
        });
        if over.is_some() {
            self.pay(0)?;
        }
        self.holds_until(until);
        if value == Value::Null { Err(missing(code)) } else { Ok(Cow::Owned(value)) }
    }

    fn spent<'c>(&mut self, code: &'c Code, queries: &[super::Aggregate; 2]) -> Outcome<'c> {
        let scope = self.scope;
        let care = Care { before: self.until, least: None };
        let [purchases, refunds] = queries.each_ref().map(|query| scope.aggregate(query, care, &mut |_| true));
        self.holds_until(purchases.1);
        self.holds_until(refunds.1);
        failed(reckon(super::ast::Arith::Sub, &purchases.0, &refunds.0), code)
    }
}

fn follow<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, name| value.get(name))
}

/// About how much work a copy of a value is.
fn weight(value: &Value) -> usize {
    match value {
        Value::Text(text) => 1 + text.len() / 64,
        Value::List(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Value::Map(fields) => 1 + fields.values().map(weight).sum::<usize>(),
        _ => 1,
    }
}

fn truth<'c>(b: bool) -> Cow<'c, Value> {
    Cow::Owned(Value::Bool(b))
}

pub(super) fn at<'c>(t: Time) -> Cow<'c, Value> {
    Cow::Owned(Value::Time(t))
}

pub(super) fn missing(code: &Code) -> Unknown {
    Unknown::Missing(code.label.clone())
}

pub(super) fn odd(code: &Code, value: &Value, wanted: &str) -> Unknown {
    Unknown::Failed(format!("`{}` is {}, not {wanted}", code.label, value.kind()))
}

fn failed<'c>(result: Result<Value, String>, code: &Code) -> Outcome<'c> {
    result.map(Cow::Owned).map_err(|why| Unknown::Failed(format!("`{}`: {why}", code.label)))
}
