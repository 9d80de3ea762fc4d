//! Tokens to a syntax tree, by precedence climbing. Bounded in bytes, nodes and depth; never panics.
//!
//! From weak to strong: `? :`, `||`, `&&`, comparisons and `in`, `+ -`, `* / %`, `! -`, then `.name`,
//! `[index]` and calls. Comparisons do not chain: `1 < x < 9` is refused with what to write instead.

use super::ast::{Arith, Ast, Ident, Kind, Order, Range};
use super::lex::{Token, TokenKind, tokens};
use crate::lang::value::Value;

/// Longest condition, in bytes.
pub const SOURCE_BYTES_MAX: usize = 4_096;
/// Deepest nesting of a condition.
pub const NESTING_MAX: usize = 40;
/// Most nodes of a condition's tree.
pub const NODES_MAX: usize = 500;

/// What is wrong with the text, and where.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrong {
    pub at: Range,
    pub message: String,
    pub hint: Option<String>,
}

/// Reads a whole text.
pub(super) fn parse(text: &str, chars: &[char]) -> Result<Ast, Wrong> {
    let all = Range { start: 0, end: chars.len().max(1) };
    if text.len() > SOURCE_BYTES_MAX {
        let hint = "split it: name parts of it as segments".to_owned();
        let message = format!("this condition is longer than {SOURCE_BYTES_MAX} bytes");
        return Err(Wrong { at: all, message, hint: Some(hint) });
    }
    let tokens = tokens(chars)?;
    if tokens.len() == 1 {
        let hint = "write for example `purchases(\"90 days\") >= 3`".to_owned();
        return Err(Wrong { at: all, message: "the condition is empty".to_owned(), hint: Some(hint) });
    }
    let mut parser = Parser { tokens: &tokens, at: 0, nodes: 0, depth: 0 };
    let ast = parser.expression()?;
    match parser.peek() {
        TokenKind::End => Ok(ast),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    nodes: usize,
    depth: usize,
}

/// How strongly the operators bind; higher is stronger.
const OR: u8 = 1;
const AND: u8 = 2;
const COMPARE: u8 = 3;
const SUM: u8 = 4;
const PRODUCT: u8 = 5;

#[derive(Clone, Copy, PartialEq)]
enum Infix {
    Or,
    And,
    Compare(Order),
    In,
    Arith(Arith),
}

impl Parser<'_> {
    fn token(&self) -> &Token {
        // The last token is `End` and is never passed, so there always is one.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn advance(&mut self) -> Range {
        let at = self.token().at;
        self.at += 1;
        at
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.peek(), TokenKind::Sign(s) if *s == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let found = self.is(sign);
        if found {
            self.advance();
        }
        found
    }

    fn expect(&mut self, sign: &'static str, what: &str) -> Result<Range, Wrong> {
        if self.is(sign) {
            return Ok(self.advance());
        }
        let mut wrong = self.unexpected();
        if *self.peek() == TokenKind::End {
            wrong.message = format!("`{sign}` is missing {what}");
            wrong.hint = Some(format!("add `{sign}`"));
        }
        Err(wrong)
    }

    fn node(&mut self, at: Range, depth: usize, kind: Kind) -> Result<Ast, Wrong> {
        self.nodes += 1;
        let hint = Some("split it: name parts of it as segments".to_owned());
        if self.nodes > NODES_MAX {
            return Err(Wrong { at, message: format!("this condition has more than {NODES_MAX} parts"), hint });
        }
        if depth > NESTING_MAX {
            return Err(Wrong { at, message: format!("nested more than {NESTING_MAX} levels deep"), hint });
        }
        Ok(Ast { at, depth, kind })
    }

    fn expression(&mut self) -> Result<Ast, Wrong> {
        self.depth += 1;
        if self.depth > NESTING_MAX {
            let hint = Some("split it: name parts of it as segments".to_owned());
            return Err(Wrong { at: self.token().at, message: format!("nested more than {NESTING_MAX} levels deep"), hint });
        }
        let first = self.binary(OR)?;
        let result = if self.accept("?") {
            let then = self.expression()?;
            self.expect(":", "between the two results")?;
            let otherwise = self.expression()?;
            let depth = 1 + first.depth.max(then.depth).max(otherwise.depth);
            self.node(first.at.to(otherwise.at), depth, Kind::Choose(Box::new([first, then, otherwise])))?
        } else {
            first
        };
        self.depth -= 1;
        Ok(result)
    }

    fn infix(&self) -> Option<(u8, Infix)> {
        let sign = match self.peek() {
            TokenKind::Sign(sign) => sign,
            TokenKind::Word(word) if word == "in" => return Some((COMPARE, Infix::In)),
            _ => return None,
        };
        Some(match *sign {
            "||" => (OR, Infix::Or),
            "&&" => (AND, Infix::And),
            "==" => (COMPARE, Infix::Compare(Order::Eq)),
            "!=" => (COMPARE, Infix::Compare(Order::Ne)),
            "<" => (COMPARE, Infix::Compare(Order::Lt)),
            "<=" => (COMPARE, Infix::Compare(Order::Le)),
            ">" => (COMPARE, Infix::Compare(Order::Gt)),
            ">=" => (COMPARE, Infix::Compare(Order::Ge)),
            "+" => (SUM, Infix::Arith(Arith::Add)),
            "-" => (SUM, Infix::Arith(Arith::Sub)),
            "*" => (PRODUCT, Infix::Arith(Arith::Mul)),
            "/" => (PRODUCT, Infix::Arith(Arith::Div)),
            "%" => (PRODUCT, Infix::Arith(Arith::Rem)),
            _ => return None,
        })
    }

    /// Operators that bind at least as strongly as `least`.
    fn binary(&mut self, least: u8) -> Result<Ast, Wrong> {
        let mut left = self.unary()?;
        let mut compared = false;
        while let Some((strength, infix)) = self.infix() {
            if strength < least {
                break;
            }
            if strength == COMPARE && std::mem::replace(&mut compared, true) {
                let hint = Some("write `low < x && x < high`".to_owned());
                return Err(Wrong { at: self.token().at, message: "comparisons do not chain".to_owned(), hint });
            }
            self.advance();
            let right = self.binary(strength + 1)?;
            let (at, depth) = (left.at.to(right.at), 1 + left.depth.max(right.depth));
            left = match infix {
                Infix::And | Infix::Or => self.chain(infix, left, right)?,
                Infix::Compare(order) => self.node(at, depth, Kind::Compare(order, Box::new(left), Box::new(right)))?,
                Infix::In => self.node(at, depth, Kind::In(Box::new(left), Box::new(right)))?,
                Infix::Arith(arith) => self.node(at, depth, Kind::Arith(arith, Box::new(left), Box::new(right)))?,
            };
        }
        Ok(left)
    }

    /// `a && b && c` is one node of three.
    fn chain(&mut self, infix: Infix, left: Ast, right: Ast) -> Result<Ast, Wrong> {
        let (at, depth) = (left.at.to(right.at), left.depth.max(right.depth + 1));
        match (infix, left.kind) {
            (Infix::And, Kind::And(mut items)) => {
                items.push(right);
                self.node(at, depth, Kind::And(items))
            }
            (Infix::Or, Kind::Or(mut items)) => {
                items.push(right);
                self.node(at, depth, Kind::Or(items))
            }
            (infix, kind) => {
                let depth = 1 + left.depth.max(right.depth);
                let items = vec![Ast { at: left.at, depth: left.depth, kind }, right];
                self.node(at, depth, if infix == Infix::And { Kind::And(items) } else { Kind::Or(items) })
            }
        }
    }

    fn unary(&mut self) -> Result<Ast, Wrong> {
        let mut signs = Vec::new();
        while self.is("!") || self.is("-") {
            let negate = self.is("-");
            signs.push((negate, self.advance()));
        }
        let mut ast = self.postfix()?;
        while let Some((negate, at)) = signs.pop() {
            let (at, depth) = (at.to(ast.at), ast.depth + 1);
            ast = self.node(at, depth, if negate { Kind::Negate(Box::new(ast)) } else { Kind::Not(Box::new(ast)) })?;
        }
        Ok(ast)
    }

    fn postfix(&mut self) -> Result<Ast, Wrong> {
        let mut ast = self.primary()?;
        loop {
            if self.accept(".") {
                let name = self.ident("a name must follow the `.`")?;
                if self.accept("(") {
                    let (args, end) = self.list(")", "after the arguments")?;
                    let depth = 1 + args.iter().map(|a| a.depth).fold(ast.depth, usize::max);
                    ast = self.node(ast.at.to(end), depth, Kind::Method(Box::new(ast), name, args))?;
                } else {
                    ast = self.node(ast.at.to(name.at), ast.depth + 1, Kind::Member(Box::new(ast), name))?;
                }
            } else if self.accept("[") {
                let index = self.expression()?;
                let end = self.expect("]", "after the index")?;
                let depth = 1 + ast.depth.max(index.depth);
                ast = self.node(ast.at.to(end), depth, Kind::Index(Box::new(ast), Box::new(index)))?;
            } else {
                return Ok(ast);
            }
        }
    }

    fn ident(&mut self, otherwise: &str) -> Result<Ident, Wrong> {
        match self.peek().clone() {
            TokenKind::Word(text) => Ok(Ident { text, at: self.advance() }),
            _ => Err(Wrong { at: self.token().at, message: otherwise.to_owned(), hint: None }),
        }
    }

    /// Expressions up to the closing bracket, which is read too.
    fn list(&mut self, close: &'static str, what: &str) -> Result<(Vec<Ast>, Range), Wrong> {
        let mut items = Vec::new();
        while !self.is(close) {
            items.push(self.expression()?);
            if !self.accept(",") {
                break;
            }
        }
        Ok((items, self.expect(close, what)?))
    }

    fn primary(&mut self) -> Result<Ast, Wrong> {
        let at = self.token().at;
        match self.peek().clone() {
            TokenKind::Literal(value) => {
                self.advance();
                self.node(at, 1, Kind::Literal(value))
            }
            TokenKind::Sign("(") => {
                self.advance();
                let inner = self.expression()?;
                let end = self.expect(")", "after what stands in brackets")?;
                Ok(Ast { at: at.to(end), ..inner })
            }
            TokenKind::Sign("[") => {
                self.advance();
                let (items, end) = self.list("]", "after the list")?;
                let depth = 1 + items.iter().map(|i| i.depth).max().unwrap_or(0);
                self.node(at.to(end), depth, Kind::List(items))
            }
            TokenKind::Word(word) if word != "in" => self.word(word),
            _ => Err(self.unexpected()),
        }
    }

    fn word(&mut self, word: String) -> Result<Ast, Wrong> {
        let at = self.token().at;
        let constant = match word.as_str() {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            _ => None,
        };
        let next = self.tokens.get(self.at + 1).map(|token| &token.kind);
        if word.eq_ignore_ascii_case("not") && matches!(next, Some(TokenKind::Word(_) | TokenKind::Sign("(" | "!"))) {
            let hint = Some("write `!` before it, with brackets around a comparison: `!(a == b)`".to_owned());
            return Err(Wrong { at, message: format!("`{word}` is no operator"), hint });
        }
        self.advance();
        if let Some(value) = constant {
            return self.node(at, 1, Kind::Literal(value));
        }
        if self.accept("(") {
            let (args, end) = self.list(")", "after the arguments")?;
            let depth = 1 + args.iter().map(|a| a.depth).max().unwrap_or(0);
            return self.node(at.to(end), depth, Kind::Call(Ident { text: word, at }, args));
        }
        self.node(at, 1, Kind::Name(word))
    }

    /// Says what stands here that should not, with what people usually mean by it.
    fn unexpected(&self) -> Wrong {
        let token = self.token();
        let (message, hint) = match &token.kind {
            TokenKind::End => {
                ("the condition ends too early".to_owned(), Some("a value or a closing bracket is missing".to_owned()))
            }
            TokenKind::Word(word) => (format!("`{word}` does not fit here"), word_hint(word)),
            TokenKind::Literal(_) => {
                ("this value does not fit here".to_owned(), Some("an operator such as `==` is missing before it".to_owned()))
            }
            TokenKind::Sign(sign) => (format!("`{sign}` does not fit here"), sign_hint(sign)),
        };
        Wrong { at: token.at, message, hint }
    }
}

fn sign_hint(sign: &str) -> Option<String> {
    let hint = match sign {
        ")" | "]" => "there is no opening bracket for it, or a value is missing before it",
        "," => "commas only separate the arguments of a function and the items of a list",
        _ => "a value is missing before it",
    };
    Some(hint.to_owned())
}

fn word_hint(word: &str) -> Option<String> {
    let hint = match word.to_lowercase().as_str() {
        "and" => "write `&&`".to_owned(),
        "or" => "write `||`".to_owned(),
        "not" => "write `!` before what is denied: `!(x in [1, 2])`".to_owned(),
        "is" | "equals" | "eq" => "write `==`".to_owned(),
        "contains" | "startswith" | "endswith" => "write it as `x.contains(\"text\")`".to_owned(),
        "in" => "a value is missing before `in`".to_owned(),
        "between" => "write `low <= x && x <= high`".to_owned(),
        _ => "an operator such as `==`, `&&` or `||` is missing before it; text stands in quotes".to_owned(),
    };
    Some(hint)
}

#[cfg(test)]
mod tests;
