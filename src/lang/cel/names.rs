//! Names: fields followed from a root, items of lists, properties of the event in a filter.

use super::Type;
use super::ast::{Ast, Ident, Kind, Range};
use super::check::{Checker, Typed, name};
use super::code::{Cast, Op};
use crate::lang::diag::closest;
use crate::lang::value::Value;

impl Checker<'_> {
    /// `a.b`, `a["b"]`, `a[0]`, `a`: names followed from a root, or into a value.
    pub fn path(&mut self, ast: &Ast) -> Option<Typed> {
        let mut names = Vec::new();
        let mut root = ast;
        loop {
            match &root.kind {
                Kind::Member(of, name) => {
                    names.push(name.clone());
                    root = of;
                }
                Kind::Index(of, index) => match &index.kind {
                    Kind::Literal(Value::Text(text)) => {
                        names.push(Ident { text: text.clone(), at: index.at });
                        root = of;
                    }
                    _ => break,
                },
                _ => break,
            }
        }
        if let Kind::Name(name) = &root.kind {
            names.reverse();
            return self.rooted(ast.at, Ident { text: name.clone(), at: root.at }, &names);
        }
        match &ast.kind {
            Kind::Member(of, name) => self.get(ast.at, of, name),
            Kind::Index(of, index) => match &index.kind {
                Kind::Literal(Value::Text(text)) => self.get(ast.at, of, &Ident { text: text.clone(), at: index.at }),
                _ => self.index(ast.at, of, index),
            },
            _ => self.check(root),
        }
    }

    fn get(&mut self, at: Range, of: &Ast, name: &Ident) -> Option<Typed> {
        let (code, ty) = self.check(of)?;
        let ty = self.member(&ty, of.at, name, None)?;
        Some((self.code(at, Op::Get(Box::new(code), name.text.clone(), Cast::to(&ty))), ty))
    }

    fn index(&mut self, at: Range, of: &Ast, index: &Ast) -> Option<Typed> {
        let (list, key) = (self.check(of), self.check(index));
        let ((list, list_type), (key, key_type)) = (list?, key?);
        let (item, wanted) = match list_type {
            Type::List(item) => (*item, Type::Number),
            Type::Any => (Type::Any, key_type.clone()),
            Type::Object(_) => (Type::Any, Type::Text),
            other => {
                self.error("type-mismatch", of.at, format!("`{}` is {}, which has no items", list.label, name(&other)));
                return None;
            }
        };
        self.wanted(&key_type, &wanted, index.at, "an index")?;
        let cast = Cast::to(&item);
        Some((self.code(at, Op::Index(Box::new(list), Box::new(key), cast)), item))
    }

    fn rooted(&mut self, at: Range, root: Ident, names: &[Ident]) -> Option<Typed> {
        let local = self.locals.iter().position(|(name, _)| *name == root.text);
        let item = local.is_none() && self.filter.is_some() && root.text == "e";
        let mut ty = match (local, &self.filter) {
            (Some(level), _) => self.locals[level].1.clone(),
            (None, Some((ty, _))) if item => ty.clone(),
            _ => self.root(&root)?,
        };
        // What senders put beside an event's known properties is readable too.
        let event = item || (local.is_none() && root.text == "event");
        let mut owner = root.at;
        for (i, name) in names.iter().enumerate() {
            ty = self.member(&ty, owner, name, (event && i == 0).then_some(root.text.as_str()))?;
            owner = root.at.to(name.at);
        }
        let path: Vec<String> = names.iter().map(|name| name.text.clone()).collect();
        let cast = Cast::to(&ty);
        if let Some(level) = local {
            return Some((self.code(at, Op::Local(level, path, cast)), ty));
        }
        if item {
            let Some(first) = path.first() else {
                self.error("bad-filter", at, "`e` is a whole event").hint("name one of its properties, such as `e.sku`");
                return None;
            };
            if let Some((_, properties)) = &mut self.filter {
                properties.insert(first.clone());
            }
            return Some((self.code(at, Op::Item(path, cast)), ty));
        }
        let path: Vec<String> = std::iter::once(root.text).chain(path).collect();
        self.reads.fields.insert(path.clone());
        Some((self.operand(at, Op::Field(path, cast)), ty))
    }

    fn root(&mut self, root: &Ident) -> Option<Type> {
        let found = self.schema.root(&root.text);
        if found.is_some() && self.filter.is_some() && root.text != "customer" {
            let message = format!("`{}` cannot be used in an event filter", root.text);
            self.error("bad-filter", root.at, message)
                .hint("a filter may use `e` (the event looked at), `customer` and constants");
            return None;
        }
        if found.is_some() {
            return found;
        }
        let roots = self.schema.roots();
        let typed = root.text.clone();
        let meant = closest(&typed, roots.iter().map(String::as_str)).map(str::to_owned);
        let function = super::functions::FUNCTIONS.iter().find(|function| function.name == typed);
        let faults = self.error("unknown-name", root.at, format!("there is no `{typed}` here"));
        match (typed.to_lowercase().as_str(), meant, function) {
            ("e", ..) => {
                faults.hint("`e` is the event inside the filter of `count(…)` and its like; the event that started it is `event`")
            }
            ("yes" | "on" | "true", ..) => faults.hint("write `true`"),
            ("no" | "off" | "false", ..) => faults.hint("write `false`"),
            ("none" | "nil" | "null" | "undefined", ..) => faults.hint("ask `has(…)` whether something is there"),
            (_, Some(name), _) => faults.hint(format!("did you mean `{name}`?")),
            (_, None, Some(function)) => faults.hint(format!("it is a function: write `{}`", function.form)),
            _ => faults.hint(format!("if it is text, put it in quotes: \"{typed}\"; names begin with {}", roots.join(", "))),
        };
        None
    }

    /// The type of a field of `ty`. `event`: the name by which an event is read, whose properties are open.
    pub fn member(&mut self, ty: &Type, owner: Range, field: &Ident, event: Option<&str>) -> Option<Type> {
        let fields = match ty {
            Type::Any => return Some(Type::Any),
            Type::Object(fields) => fields,
            other => {
                let message = format!("`{}` is {} and has no `{}`", self.label(owner), name(other), field.text);
                let faults = self.error("unknown-field", field.at, message);
                if matches!(other, Type::List(_)) {
                    faults.hint(format!("ask its items: `.exists(i, i.{} == …)`, or take one: `[0]`", field.text));
                }
                return None;
            }
        };
        if let Some((_, ty)) = fields.iter().find(|(name, _)| *name == field.text) {
            return Some(ty.clone());
        }
        let known = || fields.iter().map(|(name, _)| name.as_str());
        let message = format!("`{}` has no field `{}`", self.label(owner), field.text);
        if event.is_some() && closest(&field.text, known()).is_none() {
            let place = self.place(field.at);
            let hint = "it is read as it was sent, and is unknown where it was not";
            self.faults
                .warning("unknown-property", &place, format!("the engine does not know a property `{}`", field.text))
                .hint(hint);
            return Some(Type::Any);
        }
        self.error("unknown-field", field.at, message).did_you_mean(&field.text, known());
        None
    }
}
