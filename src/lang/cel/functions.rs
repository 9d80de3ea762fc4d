//! The functions of conditions: one table, and the check of each one's arguments.

use super::Type;
use super::ast::{Ast, Ident, Kind, Order, Range};
use super::check::{Checker, Typed, name};
use super::code::{Code, Each, Op, TextTest};
use super::flip::Moving;
use crate::lang::diag::closest;
use crate::lang::time::{Span, Time, parse_date};
use crate::lang::value::Value;

/// A function, as the reference lists it.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// How it is written.
    pub form: &'static str,
    /// One sentence.
    pub doc: &'static str,
}

const fn function(name: &'static str, form: &'static str, doc: &'static str) -> Function {
    Function { name, form, doc }
}

/// Every function.
pub const FUNCTIONS: &[Function] = &[
    function("has", "has(customer.birthday)", "whether a value is there"),
    function("size", "size(event.items)", "how many items a list has, or characters a text"),
    function(
        "count",
        "count(\"review\", \"90 days\", e.rating >= 4)",
        "how often an event happened, ever or in a window, perhaps only some of them",
    ),
    function(
        "sum",
        "sum(\"review\", \"rating\", \"90 days\")",
        "the sum of a number property; `amount` of purchases and refunds is exact money",
    ),
    function("avg", "avg(\"review\", \"rating\", \"90 days\")", "the average of a number property; unknown when there is none"),
    function("distinct", "distinct(\"purchase\", \"offer\", \"90 days\")", "how many different values a property had"),
    function("purchases", "purchases(\"90 days\")", "how many purchases, ever or in a window"),
    function("spent", "spent(\"365 days\")", "money of purchases less money of refunds, ever or in a window"),
    function("first", "first(\"purchase\")", "when an event first happened; unknown if never"),
    function("last", "last(\"purchase\")", "when an event last happened; unknown if never"),
    function("has_done", "has_done(\"review\")", "whether an event ever happened; never unknown"),
    function("in_segment", "in_segment(\"vip\")", "whether she is in a segment"),
    function("now", "customer.membership.ends > now()", "this instant; only compared with a fixed one"),
    function("ago", "last(\"purchase\") < ago(\"60 days\")", "a span before now; only compared with a fixed instant"),
    function(
        "from_now",
        "customer.membership.ends < from_now(\"30 days\")",
        "a span after now; only compared with a fixed instant",
    ),
    function("time", "time(\"2027-01-01T00:00:00Z\")", "an instant"),
    function("date", "date(\"2027-01-01\")", "midnight at the beginning of a day in her zone"),
    function("days_since", "days_since(first(\"purchase\"))", "whole calendar days in her zone since an instant"),
    function("days_until", "days_until(customer.membership.ends)", "whole calendar days in her zone until an instant"),
    function("age_of", "age_of(customer.birthday)", "whole years since a date"),
    function("local_hour", "local_hour()", "the hour in her zone, 0 to 23"),
    function("local_weekday", "local_weekday()", "the day of the week in her zone, Monday 1 to Sunday 7"),
];

const METHODS: &[&str] = &["contains", "startsWith", "endsWith", "lowerAscii", "size", "exists", "all", "filter", "map"];

/// Functions that stay possible in an event filter: they depend on nothing but their arguments.
const IN_FILTERS: &[&str] = &["has", "size", "time", "date"];

/// Whether this is `now()`, `ago(…)` or `from_now(…)`.
pub(super) fn is_moving(ast: &Ast) -> bool {
    matches!(&ast.kind, Kind::Call(name, _) if matches!(name.text.as_str(), "now" | "ago" | "from_now"))
}

impl Checker<'_> {
    pub(super) fn call(&mut self, at: Range, function: &Ident, args: &[Ast]) -> Option<Typed> {
        let known = FUNCTIONS.iter().find(|one| one.name == function.text);
        if known.is_some() && self.filter.is_some() && !IN_FILTERS.contains(&function.text.as_str()) {
            let message = format!("`{}` cannot be used in an event filter", function.text);
            self.error("bad-filter", function.at, message)
                .hint("a filter may use `e` (the event looked at), `customer` and constants");
            return None;
        }
        if ["size", "in_segment", "time", "date", "days_since", "days_until", "age_of"].contains(&function.text.as_str()) {
            let argument = self.one(function, args)?;
            return match function.text.as_str() {
                "size" => self.size(at, argument),
                "in_segment" => self.segment(at, argument),
                "time" => self.instant(at, argument),
                "date" => self.date(at, argument),
                _ => self.days(at, function, argument),
            };
        }
        match function.text.as_str() {
            "has" => self.has(at, function, args),
            "count" => self.aggregate(at, function, args, 0),
            "purchases" => self.purchases(at, function, args),
            "sum" | "avg" | "distinct" => self.aggregate(at, function, args, 1),
            "spent" => self.spent(at, function, args),
            "first" | "last" | "has_done" => self.moment(at, function, args),
            "now" | "ago" | "from_now" => {
                let message = format!("`{}` moves with now and can only be compared with a fixed instant", function.text);
                let hint = "write for example `last(\"purchase\") < ago(\"60 days\")`; for a number of days there are `days_since(…)` and `days_until(…)`";
                self.error("moving-time", at, message).hint(hint);
                None
            }
            "local_hour" | "local_weekday" => {
                self.between(function, args, 0, 0)?;
                Some((self.operand(at, if function.text == "local_hour" { Op::Hour } else { Op::Weekday }), Type::Number))
            }
            _ => self.unknown_function(function),
        }
    }

    fn unknown_function(&mut self, function: &Ident) -> Option<Typed> {
        let names = FUNCTIONS.iter().map(|one| one.name);
        let typed = function.text.clone();
        let faults = self.error("unknown-function", function.at, format!("there is no function `{typed}`"));
        if METHODS.contains(&typed.as_str()) {
            faults.hint(format!("write it behind the value: `x.{typed}(…)`"));
        } else {
            faults.did_you_mean(&typed, names);
        }
        None
    }

    /// Refuses a wrong number of arguments, showing how the function is written.
    pub(super) fn between(&mut self, function: &Ident, args: &[Ast], least: usize, most: usize) -> Option<()> {
        if (least..=most).contains(&args.len()) {
            return Some(());
        }
        let wanted = if least == most { format!("{least}") } else { format!("{least} to {most}") };
        let message =
            format!("`{}` takes {wanted} argument{}, not {}", function.text, if most == 1 { "" } else { "s" }, args.len());
        let form = FUNCTIONS.iter().find(|one| one.name == function.text).map(|one| one.form);
        let faults = self.error("bad-arguments", function.at, message);
        if let Some(form) = form {
            faults.hint(format!("write for example `{form}`"));
        }
        None
    }

    pub(super) fn one<'x>(&mut self, function: &Ident, args: &'x [Ast]) -> Option<&'x Ast> {
        self.between(function, args, 1, 1)?;
        args.first()
    }

    /// A text that must stand there as such, because it is checked now; with the place between its quotes.
    pub(super) fn literal(&mut self, ast: &Ast, what: &str) -> Option<Ident> {
        if let Kind::Literal(Value::Text(text)) = &ast.kind {
            return Some(Ident {
                text: text.clone(),
                at: Range { start: ast.at.start + 1, end: (ast.at.end - 1).max(ast.at.start + 1) },
            });
        }
        let hint = format!("write it in quotes: \"{}\"", self.label(ast.at).replace(['"', '\''], ""));
        self.error("bad-arguments", ast.at, format!("{what} must be a text in quotes")).hint(hint);
        None
    }

    pub(super) fn span(&mut self, ast: &Ast) -> Option<Span> {
        let text = self.literal(ast, "a duration")?;
        match Span::parse(&text.text) {
            Ok(span) if !span.is_zero() => Some(span),
            Ok(_) => {
                self.error("bad-duration", text.at, "this is no time at all").hint("write for example \"90 days\"");
                None
            }
            Err(why) => {
                self.error("bad-duration", text.at, why);
                None
            }
        }
    }

    /// An event's name and type. Custom events are free, so an unknown one is only worth a look.
    pub(super) fn event(&mut self, ast: &Ast) -> Option<(String, Type)> {
        let event = self.literal(ast, "the name of an event")?;
        if let Some(ty) = self.schema.event(&event.text) {
            return Some((event.text, ty));
        }
        let known = self.schema.events();
        let place = self.place(event.at);
        let faults = self.faults.warning("unknown-event", &place, format!("nothing else mentions an event `{}`", event.text));
        match closest(&event.text, known.iter().map(String::as_str)) {
            Some(name) => faults.hint(format!("did you mean `{name}`?")),
            None => faults.hint("a custom event needs no declaration; check that it is spelled as it is sent"),
        };
        Some((event.text, Type::Any))
    }

    /// A fixed instant compared with one that moves with now.
    pub(super) fn moving(&mut self, at: Range, order: Order, fixed: &Ast, moving: &Ast) -> Option<Typed> {
        let Kind::Call(function, args) = &moving.kind else { return None };
        if self.filter.is_some() || matches!(order, Order::Eq | Order::Ne) {
            if self.filter.is_some() {
                return self.call(moving.at, function, args);
            }
            let message = format!("`{}` can hold for an instant only", order.sign());
            self.error("moving-time", at, message).hint("compare with `<`, `<=`, `>` or `>=`");
            return None;
        }
        let span = match function.text.as_str() {
            "now" => {
                self.between(function, args, 0, 0)?;
                Some(Span::default())
            }
            _ => {
                let ast = self.one(function, args)?;
                self.span(ast)
            }
        };
        let (code, ty) = self.check(fixed)?;
        self.wanted(&ty, &Type::Time, fixed.at, &format!("a comparison with `{}`", function.text))?;
        let moving_by = Moving { span: span?, past: function.text == "ago" };
        let label = self.label(moving.at).into();
        Some((self.code(at, Op::Moving(order, Box::new(code), moving_by, label)), Type::Bool))
    }

    fn instant(&mut self, at: Range, ast: &Ast) -> Option<Typed> {
        if let Kind::Literal(Value::Text(text)) = &ast.kind {
            let Some(time) = Time::parse(text) else {
                let hint =
                    "write it with its zone: \"2027-01-01T00:00:00Z\"; for a day in her zone there is `date(\"2027-01-01\")`";
                self.error("bad-time", ast.at, "this is no instant").hint(hint);
                return None;
            };
            return Some((self.code(at, Op::Const(Value::Time(time))), Type::Time));
        }
        let (code, ty) = self.check(ast)?;
        if ty != Type::Time {
            self.wanted(&ty, &Type::Text, ast.at, "`time`")?;
        }
        Some((self.code(at, Op::ToTime(Box::new(code))), Type::Time))
    }

    fn date(&mut self, at: Range, ast: &Ast) -> Option<Typed> {
        let text = self.literal(ast, "a date")?;
        let Some(date) = parse_date(&text.text) else {
            self.error("bad-time", text.at, "this is no date").hint("write it as \"2027-01-31\"");
            return None;
        };
        Some((self.code(at, Op::Midnight(date)), Type::Time))
    }

    fn days(&mut self, at: Range, function: &Ident, ast: &Ast) -> Option<Typed> {
        let (code, ty) = self.check(ast)?;
        let what = format!("`{}`", function.text);
        if !(function.text == "age_of" && ty == Type::Text) {
            self.wanted(&ty, &Type::Time, ast.at, &what)?;
        }
        let code = Box::new(code);
        let op = match function.text.as_str() {
            "days_since" => Op::DaysSince(code),
            "days_until" => Op::DaysUntil(code),
            _ => Op::Age(code),
        };
        Some((self.operand(at, op), Type::Number))
    }

    fn has(&mut self, at: Range, function: &Ident, args: &[Ast]) -> Option<Typed> {
        let ast = self.one(function, args)?;
        if !matches!(ast.kind, Kind::Member(..) | Kind::Index(..)) {
            self.error("bad-arguments", ast.at, "`has` asks for a field").hint("write for example `has(customer.birthday)`");
            return None;
        }
        let (code, _) = self.check(ast)?;
        Some((self.code(at, Op::Has(Box::new(code))), Type::Bool))
    }

    fn size(&mut self, at: Range, ast: &Ast) -> Option<Typed> {
        let (code, ty) = self.check(ast)?;
        if !matches!(ty, Type::List(_) | Type::Text | Type::Any | Type::Object(_)) {
            self.error("type-mismatch", ast.at, format!("`size` needs a list or text, and `{}` is {}", code.label, name(&ty)));
            return None;
        }
        Some((self.code(at, Op::Size(Box::new(code))), Type::Number))
    }

    pub(super) fn method(&mut self, at: Range, of: &Ast, method: &Ident, args: &[Ast]) -> Option<Typed> {
        let test = |test: TextTest| move |a: Code, b: Code| Op::Test(test, Box::new(a), Box::new(b));
        match method.text.as_str() {
            "exists" => self.each(at, Each::Exists, of, method, args),
            "all" => self.each(at, Each::All, of, method, args),
            "filter" => self.each(at, Each::Filter, of, method, args),
            "map" => self.each(at, Each::Map, of, method, args),
            "contains" => self.test(at, of, method, args, test(TextTest::Contains)),
            "startsWith" => self.test(at, of, method, args, test(TextTest::StartsWith)),
            "endsWith" => self.test(at, of, method, args, test(TextTest::EndsWith)),
            "size" | "lowerAscii" => {
                self.between(method, args, 0, 0)?;
                if method.text == "size" {
                    return self.size(at, of);
                }
                let (code, ty) = self.check(of)?;
                self.wanted(&ty, &Type::Text, of.at, "`lowerAscii`")?;
                Some((self.code(at, Op::Lower(Box::new(code))), Type::Text))
            }
            other => {
                let typed = other.to_owned();
                let faults = self.error("unknown-function", method.at, format!("there is no method `{typed}`"));
                if typed == "matches" {
                    faults.hint("there are no regular expressions; use contains, startsWith or endsWith");
                } else if FUNCTIONS.iter().any(|one| one.name == typed) {
                    faults.hint(format!("write it before the value: `{typed}(…)`"));
                } else {
                    faults.did_you_mean(&typed, METHODS.iter().copied());
                }
                None
            }
        }
    }

    fn test(&mut self, at: Range, of: &Ast, method: &Ident, args: &[Ast], op: impl Fn(Code, Code) -> Op) -> Option<Typed> {
        let part = self.one(method, args)?;
        let (text, part_checked) = (self.check(of), self.check(part));
        let ((text, text_type), (part_code, part_type)) = (text?, part_checked?);
        let what = format!("`{}`", method.text);
        if method.text == "contains" && matches!(text_type, Type::List(_)) {
            self.error("type-mismatch", of.at, "`contains` looks into text, and this is a list").hint("write `value in list`");
            return None;
        }
        let fits = (self.wanted(&text_type, &Type::Text, of.at, &what), self.wanted(&part_type, &Type::Text, part.at, &what));
        fits.0.and(fits.1)?;
        Some((self.code(at, op(text, part_code)), Type::Bool))
    }
}
