//! Types and names, checked bottom-up before anything runs; what comes out is [`Code`].
//!
//! All faults of a text are reported, each at its own column. A part that is wrong has no type (`None`),
//! and what stands around it stays silent, so one mistake is one fault.

use super::ast::{Arith, Ast, Ident, Kind, Order, Range};
use super::code::{Code, Each, Op};
use super::{Need, Schema, Text, Type};
use crate::lang::diag::{Faults, Place};
use crate::lang::value::Value;
use std::collections::BTreeSet;

/// Longest label of an operand, in characters.
const LABEL_CHARS_MAX: usize = 120;

/// What a condition reads.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reads {
    pub needs: BTreeSet<Need>,
    pub segments: BTreeSet<String>,
    pub fields: BTreeSet<Vec<String>>,
}

impl Reads {
    /// Takes in what another one reads.
    pub fn extend(&mut self, other: Reads) {
        self.needs.extend(other.needs);
        self.segments.extend(other.segments);
        self.fields.extend(other.fields);
    }
}

pub(super) struct Checker<'a> {
    pub text: &'a Text,
    pub chars: &'a [char],
    /// The text was made up from another form: faults are reported at its whole place.
    pub whole: bool,
    pub schema: &'a dyn Schema,
    pub faults: &'a mut Faults,
    pub reads: Reads,
    /// Names that macros over lists have introduced, with their types.
    pub locals: Vec<(String, Type)>,
    /// Inside an event filter: the type of `e`, and the properties read so far.
    pub filter: Option<(Type, BTreeSet<String>)>,
}

/// A checked part with its type.
pub(super) type Typed = (Code, Type);

impl<'a> Checker<'a> {
    pub fn new(text: &'a Text, chars: &'a [char], whole: bool, schema: &'a dyn Schema, faults: &'a mut Faults) -> Self {
        Checker { text, chars, whole, schema, faults, reads: Reads::default(), locals: Vec::new(), filter: None }
    }

    /// Where some characters stand in the file.
    pub fn place(&self, at: Range) -> Place {
        if self.whole { self.text.place.clone() } else { within(self.text, self.chars, at) }
    }

    /// Reports an error.
    pub fn error(&mut self, code: &'static str, at: Range, message: impl Into<String>) -> &mut Faults {
        let place = self.place(at);
        self.faults.error(code, &place, message)
    }

    /// The characters themselves, shortened.
    pub fn label(&self, at: Range) -> String {
        self.chars.iter().skip(at.start).take((at.end - at.start).min(LABEL_CHARS_MAX)).collect()
    }

    pub fn code(&self, at: Range, op: Op) -> Code {
        Code { op, label: self.label(at).into(), seen: false }
    }

    /// An operand: its value is shown.
    pub fn operand(&self, at: Range, op: Op) -> Code {
        Code { op, label: self.label(at).into(), seen: true }
    }

    pub fn check(&mut self, ast: &Ast) -> Option<Typed> {
        let at = ast.at;
        match &ast.kind {
            Kind::Literal(value) => Some((self.code(at, Op::Const(value.clone())), type_of(value))),
            Kind::List(items) => self.list(at, items),
            Kind::Name(_) | Kind::Member(..) | Kind::Index(..) => self.path(ast),
            Kind::Call(name, args) => self.call(at, name, args),
            Kind::Method(of, name, args) => self.method(at, of, name, args),
            Kind::Not(of) => {
                let code = self.truth(of, "`!`")?;
                Some((self.code(at, Op::Not(Box::new(code))), Type::Bool))
            }
            Kind::Negate(of) => {
                let (code, ty) = self.check(of)?;
                self.wanted(&ty, &Type::Number, of.at, "`-`")?;
                let op = match &code.op {
                    Op::Const(value) => super::number::negate(value).map_or_else(|_| Op::Negate(Box::new(code)), Op::Const),
                    _ => Op::Negate(Box::new(code)),
                };
                Some((self.code(at, op), Type::Number))
            }
            Kind::And(items) => Some((self.chain(at, items, "`&&`", Op::And)?, Type::Bool)),
            Kind::Or(items) => Some((self.chain(at, items, "`||`", Op::Or)?, Type::Bool)),
            Kind::Compare(order, left, right) => self.compare(at, *order, left, right),
            Kind::In(left, right) => self.membership(at, left, right),
            Kind::Arith(arith, left, right) => self.arith(at, *arith, left, right),
            Kind::Choose(parts) => self.choose(at, parts),
        }
    }

    fn list(&mut self, at: Range, items: &[Ast]) -> Option<Typed> {
        let checked: Vec<Option<Typed>> = items.iter().map(|item| self.check(item)).collect();
        let (codes, types): (Vec<Code>, Vec<Type>) = checked.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let ty = types.first().filter(|first| types.iter().all(|ty| ty == *first)).cloned().unwrap_or(Type::Any);
        let constants: Option<Vec<Value>> = codes
            .iter()
            .map(|code| match &code.op {
                Op::Const(value) => Some(value.clone()),
                _ => None,
            })
            .collect();
        let op = constants.map_or_else(|| Op::List(codes), |values| Op::Const(Value::List(values)));
        Some((self.code(at, op), Type::List(Box::new(ty))))
    }

    /// A part that must be true or false.
    pub fn truth(&mut self, ast: &Ast, what: &str) -> Option<Code> {
        let (code, ty) = self.check(ast)?;
        self.wanted(&ty, &Type::Bool, ast.at, what)?;
        Some(code)
    }

    /// Refuses a type that does not fit; `Any` fits everywhere.
    pub fn wanted(&mut self, ty: &Type, wanted: &Type, at: Range, what: &str) -> Option<()> {
        if alike(ty, wanted) {
            return Some(());
        }
        let message = format!("{what} needs {}, and `{}` is {}", name(wanted), self.label(at), name(ty));
        let faults = self.error("type-mismatch", at, message);
        match (wanted, ty) {
            (Type::Bool, _) => faults.hint("compare it, for example with `==` or `>`, or ask `has(…)`"),
            (Type::Time, Type::Text) => faults.hint("make it an instant: `time(…)`, or `date(\"2027-01-31\")` for a day"),
            _ => faults,
        };
        None
    }

    fn chain(&mut self, at: Range, items: &[Ast], what: &str, op: fn(Vec<Code>) -> Op) -> Option<Code> {
        let checked: Vec<Option<Code>> = items.iter().map(|item| self.truth(item, what)).collect();
        Some(self.code(at, op(checked.into_iter().collect::<Option<_>>()?)))
    }

    fn compare(&mut self, at: Range, order: Order, left: &Ast, right: &Ast) -> Option<Typed> {
        match (super::functions::is_moving(left), super::functions::is_moving(right)) {
            (false, false) => {}
            (true, true) => {
                let faults = self.error("moving-time", at, "both sides move with now, so the answer never changes");
                faults.hint("compare with something that stands still, such as `last(\"purchase\")`");
                return None;
            }
            (true, false) => return self.moving(at, order.mirrored(), right, left),
            (false, true) => return self.moving(at, order, left, right),
        }
        let (a, b) = (self.check(left), self.check(right));
        let ((a, a_type), (b, b_type)) = (a?, b?);
        let null = |code: &Code| matches!(&code.op, Op::Const(Value::Null));
        if null(&a) || null(&b) {
            let place = self.place(at);
            let message = "a missing value is unknown, it does not equal `null`";
            self.faults.warning("null-comparison", &place, message).hint("ask `has(…)` or `!has(…)` instead");
        }
        let ordered = !matches!(order, Order::Eq | Order::Ne);
        let orderable = |ty: &Type| matches!(ty, Type::Number | Type::Text | Type::Time | Type::Span | Type::Any);
        if !alike(&a_type, &b_type) {
            let message = format!(
                "`{}` is {} and `{}` is {}: `{}` cannot compare them",
                a.label,
                name(&a_type),
                b.label,
                name(&b_type),
                order.sign()
            );
            let faults = self.error("type-mismatch", at, message);
            if let Some(hint) = mismatch_hint(&a, &a_type, &b, &b_type) {
                faults.hint(hint);
            }
            return None;
        }
        let odd = [&a_type, &b_type].into_iter().find(|ty| matches!(ty, Type::Object(_)) || (ordered && !orderable(ty)));
        if let Some(odd) = odd {
            self.error("type-mismatch", at, format!("`{}` cannot compare {}", order.sign(), name(odd)));
            return None;
        }
        if !ordered {
            self.known_texts(&a, &b, right.at);
            self.known_texts(&b, &a, left.at);
        }
        Some((self.code(at, Op::Compare(order, Box::new(a), Box::new(b))), Type::Bool))
    }

    /// Warns of a text that a field cannot have: a condition with it never holds, and nobody would see why.
    fn known_texts(&mut self, field: &Code, said: &Code, at: Range) {
        let Op::Const(said) = &said.op else { return };
        let Some(texts) = self.schema.texts(&field.label) else { return };
        let said = match said {
            Value::List(all) => all.iter().filter_map(Value::as_text).collect(),
            one => one.as_text().map_or_else(Vec::new, |text| vec![text]),
        };
        let place = self.place(at);
        for text in said.into_iter().filter(|text| !texts.known.iter().any(|known| known == text)) {
            let message = format!("there is no {} `{text}` in catalog.yaml, so `{}` is never that", texts.what, field.label);
            self.faults.warning(texts.code, &place, message).did_you_mean(text, texts.known.iter().map(String::as_str));
        }
    }

    fn membership(&mut self, at: Range, left: &Ast, right: &Ast) -> Option<Typed> {
        let (a, b) = (self.check(left), self.check(right));
        let ((a, a_type), (b, b_type)) = (a?, b?);
        let fits = match &b_type {
            Type::List(item) => alike(&a_type, item),
            Type::Object(_) => alike(&a_type, &Type::Text),
            ty => *ty == Type::Any,
        };
        if !fits {
            let message = format!(
                "`{}` is {} and `{}` is {}: `in` cannot look for it there",
                a.label,
                name(&a_type),
                b.label,
                name(&b_type)
            );
            let faults = self.error("type-mismatch", at, message);
            match b_type {
                Type::Text => faults.hint("write `text.contains(part)`, or a list: [\"a\", \"b\"]"),
                _ => faults.hint("write a list after `in`, such as [\"a\", \"b\"]"),
            };
            return None;
        }
        self.known_texts(&a, &b, right.at);
        Some((self.code(at, Op::In(Box::new(a), Box::new(b))), Type::Bool))
    }

    fn arith(&mut self, at: Range, arith: Arith, left: &Ast, right: &Ast) -> Option<Typed> {
        let (a, b) = (self.check(left), self.check(right));
        let ((a, a_type), (b, b_type)) = (a?, b?);
        let text = arith == Arith::Add && [&a_type, &b_type].contains(&&Type::Text);
        let wanted = if text { Type::Text } else { Type::Number };
        let what = format!("`{}`", arith.sign());
        let fits = (self.wanted(&a_type, &wanted, left.at, &what), self.wanted(&b_type, &wanted, right.at, &what));
        fits.0.and(fits.1)?;
        let ty = if arith == Arith::Add && (&a_type, &b_type) == (&Type::Any, &Type::Any) { Type::Any } else { wanted };
        Some((self.code(at, Op::Arith(arith, Box::new(a), Box::new(b))), ty))
    }

    fn choose(&mut self, at: Range, parts: &[Ast; 3]) -> Option<Typed> {
        let condition = self.truth(&parts[0], "`?`");
        let (then, otherwise) = (self.check(&parts[1]), self.check(&parts[2]));
        let (condition, (then, a_type), (otherwise, b_type)) = (condition?, then?, otherwise?);
        if !alike(&a_type, &b_type) {
            let message =
                format!("the two results of `? :` are {} and {}; both must be of one kind", name(&a_type), name(&b_type));
            self.error("type-mismatch", at, message);
            return None;
        }
        let ty = if a_type == b_type { a_type } else { Type::Any };
        Some((self.code(at, Op::Choose(Box::new([condition, then, otherwise]))), ty))
    }

    /// `list.exists(i, …)` and its like.
    pub fn each(&mut self, at: Range, each: Each, of: &Ast, method: &Ident, args: &[Ast]) -> Option<Typed> {
        let [Ast { kind: Kind::Name(item), at: item_at, .. }, body] = args else {
            let message = format!("`{}` needs a name and what to ask of each item", method.text);
            self.error("bad-arguments", method.at, message).hint(format!("write `list.{}(i, i.sku == \"A1\")`", method.text));
            return None;
        };
        let taken = self.locals.iter().any(|(name, _)| name == item) || (self.filter.is_some() && item == "e");
        if taken || self.schema.root(item).is_some() {
            self.error("taken-name", *item_at, format!("`{item}` already means something here"))
                .hint("choose another name, such as `i`");
            return None;
        }
        let (list, ty) = self.check(of)?;
        let item_type = match ty {
            Type::List(item) => *item,
            Type::Any => Type::Any,
            other => {
                self.error(
                    "type-mismatch",
                    of.at,
                    format!("`{}` goes over a list, and `{}` is {}", method.text, list.label, name(&other)),
                );
                return None;
            }
        };
        self.locals.push((item.clone(), item_type.clone()));
        let body = match each {
            Each::Map => self.check(body),
            _ => self.truth(body, &format!("`{}`", method.text)).map(|code| (code, Type::Bool)),
        };
        self.locals.pop();
        let (body, body_type) = body?;
        let ty = match each {
            Each::Exists | Each::All => Type::Bool,
            Each::Filter => Type::List(Box::new(item_type)),
            Each::Map => Type::List(Box::new(body_type)),
        };
        Some((self.code(at, Op::Each(each, Box::new(list), Box::new(body))), ty))
    }
}

/// Where some characters of a text stand in the file; the whole text where that cannot be told, which is
/// where it runs over several lines.
pub(super) fn within(text: &Text, chars: &[char], at: Range) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let end = number(at.end.min(chars.len()).max(at.start));
    let folded = text.place.length < end;
    if chars.contains(&'\n') || folded {
        return text.place.clone();
    }
    text.place.within(number(at.start), end.saturating_sub(number(at.start)))
}

/// Whether values of the two types can meet; nested lists likewise.
pub(super) fn alike(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Any, _) | (_, Type::Any) => true,
        (Type::List(a), Type::List(b)) => alike(a, b),
        (Type::Object(_), Type::Object(_)) => true,
        _ => a == b,
    }
}

/// What a type is called in messages.
pub(super) fn name(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "true/false",
        Type::Number => "a number",
        Type::Text => "text",
        Type::Time => "a time",
        Type::Span => "a duration",
        Type::List(_) => "a list",
        Type::Object(_) => "a group of fields",
        Type::Any => "of any kind",
    }
}

fn type_of(value: &Value) -> Type {
    match value {
        Value::Bool(_) => Type::Bool,
        Value::Int(_) | Value::Dec(_) => Type::Number,
        Value::Text(_) => Type::Text,
        Value::Time(_) => Type::Time,
        Value::Null | Value::List(_) | Value::Map(_) => Type::Any,
    }
}

fn mismatch_hint(a: &Code, a_type: &Type, b: &Code, b_type: &Type) -> Option<String> {
    let types = [a_type, b_type];
    let literal = [a, b].into_iter().find_map(|code| match &code.op {
        Op::Const(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    });
    match (types.contains(&&Type::Text), literal) {
        (true, Some(text)) if types.contains(&&Type::Number) && Value::number(text).is_ok() => {
            Some(format!("write {text} without quotes"))
        }
        (true, Some(text)) if types.contains(&&Type::Time) && text.len() == 10 => Some(format!("write `date(\"{text}\")`")),
        (true, _) if types.contains(&&Type::Time) => Some("make an instant of it: `time(…)`".to_owned()),
        (true, None) if types.contains(&&Type::Number) => Some("put the value in quotes if it is text".to_owned()),
        (true, Some(text)) if types.contains(&&Type::Bool) && matches!(text, "true" | "false") => {
            Some(format!("write {text} without quotes"))
        }
        _ => {
            types.iter().any(|ty| matches!(ty, Type::List(_))).then(|| "look into a list with `in` or `.exists(i, …)`".to_owned())
        }
    }
}
