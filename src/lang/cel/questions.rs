//! Questions to the history: counts and sums of events in windows, first and last times, segments.

use super::ast::{Ast, Ident, Range};
use super::check::{Checker, Typed, name};
use super::code::{Op, Question};
use super::{Aggregate, MONEY_PROPERTY, Measure, Need, PURCHASE, REFUND, Type};
use crate::lang::time::Span;

impl Checker<'_> {
    fn need(&mut self, event: &str, window: Option<Span>, properties: impl IntoIterator<Item = String>) {
        let mut properties: Vec<String> = properties.into_iter().collect();
        properties.sort();
        properties.dedup();
        let window = window.map(|span| (span.months, span.days, span.ms));
        self.reads.needs.insert(Need { event: event.to_owned(), window, properties });
    }

    /// `count(event[, window[, filter]])`, `sum(event, property[, window[, filter]])` and its like.
    pub fn aggregate(&mut self, at: Range, function: &Ident, args: &[Ast], properties: usize) -> Option<Typed> {
        self.between(function, args, 1 + properties, 3 + properties)?;
        let (event, ty) = self.event(&args[0])?;
        let mut wanted = Vec::new();
        let what = match (function.text.as_str(), args.get(1)) {
            ("sum" | "avg" | "distinct", Some(property)) => {
                let property = self.property(&ty, function, &args[0], property)?;
                let money = property == MONEY_PROPERTY && matches!(event.as_str(), PURCHASE | REFUND);
                if money && function.text == "distinct" {
                    self.error("bad-arguments", args[1].at, "amounts are summed, not told apart").hint("use `sum` or `avg`");
                    return None;
                }
                // Money of purchases and refunds is always kept.
                if !money {
                    wanted.push(property.clone());
                }
                match function.text.as_str() {
                    "sum" => Measure::Sum(property),
                    "avg" => Measure::Average(property),
                    _ => Measure::Distinct(property),
                }
            }
            _ => Measure::Count,
        };
        self.question(at, (event, ty), what, wanted, &args[1 + properties..])
    }

    pub fn purchases(&mut self, at: Range, function: &Ident, args: &[Ast]) -> Option<Typed> {
        self.between(function, args, 0, 2)?;
        let ty = self.schema.event(PURCHASE).unwrap_or(Type::Any);
        self.question(at, (PURCHASE.to_owned(), ty), Measure::Count, Vec::new(), args)
    }

    /// The window and the filter, which are the last arguments.
    fn question(
        &mut self,
        at: Range,
        event: (String, Type),
        what: Measure,
        mut wanted: Vec<String>,
        rest: &[Ast],
    ) -> Option<Typed> {
        let (event, ty) = event;
        let window = match rest.first() {
            Some(ast) => Some(self.span(ast)?),
            None => None,
        };
        let (mut filter, mut reads) = (None, None);
        if let Some(ast) = rest.get(1) {
            self.filter = Some((ty, Default::default()));
            let checked = self.truth(ast, "the filter of an event");
            let properties = self.filter.take().map(|(_, names)| names).unwrap_or_default();
            filter = Some(checked?);
            wanted.extend(properties.iter().cloned());
            reads = Some(properties.into_iter().collect());
        }
        self.need(&event, window, wanted);
        let query = Aggregate { event, window, what, filter: reads };
        Some((self.operand(at, Op::Ask(Box::new(Question { query, filter }))), Type::Number))
    }

    fn property(&mut self, event: &Type, function: &Ident, owner: &Ast, ast: &Ast) -> Option<String> {
        let property = self.literal(ast, "the name of a property")?;
        let owner = Range { start: owner.at.start + 1, end: (owner.at.end - 1).max(owner.at.start + 1) };
        let ty = self.member(event, owner, &property, Some("event"))?;
        let fits = match function.text.as_str() {
            "distinct" => !matches!(ty, Type::List(_) | Type::Object(_)),
            _ => matches!(ty, Type::Number | Type::Any),
        };
        if !fits {
            let message = format!("`{}` cannot use `{}`: it is {}", function.text, property.text, name(&ty));
            self.error("type-mismatch", property.at, message)
                .hint("name a property that is a single value; for sums and averages a number");
            return None;
        }
        Some(property.text)
    }

    pub fn spent(&mut self, at: Range, function: &Ident, args: &[Ast]) -> Option<Typed> {
        self.between(function, args, 0, 1)?;
        let window = match args.first() {
            Some(ast) => Some(self.span(ast)?),
            None => None,
        };
        let queries = [PURCHASE, REFUND].map(|event| {
            self.need(event, window, []);
            Aggregate { event: event.to_owned(), window, what: Measure::Sum(MONEY_PROPERTY.to_owned()), filter: None }
        });
        Some((self.operand(at, Op::Spent(Box::new(queries))), Type::Number))
    }

    pub fn moment(&mut self, at: Range, function: &Ident, args: &[Ast]) -> Option<Typed> {
        let argument = self.one(function, args)?;
        let (event, _) = self.event(argument)?;
        self.need(&event, None, []);
        Some(match function.text.as_str() {
            "first" => (self.operand(at, Op::First(event)), Type::Time),
            "last" => (self.operand(at, Op::Last(event)), Type::Time),
            _ => (self.operand(at, Op::Done(event)), Type::Bool),
        })
    }

    pub fn segment(&mut self, at: Range, ast: &Ast) -> Option<Typed> {
        let segment = self.literal(ast, "the name of a segment")?;
        let known = self.schema.segments();
        if !known.contains(&segment.text) {
            let message = format!("there is no segment `{}`", segment.text);
            self.error("unknown-segment", segment.at, message).did_you_mean(&segment.text, known.iter().map(String::as_str));
            return None;
        }
        self.reads.segments.insert(segment.text.clone());
        Some((self.operand(at, Op::Segment(segment.text)), Type::Bool))
    }
}
