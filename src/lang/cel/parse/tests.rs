//! What binds how, and what every mistake is told.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<Ast, Wrong> {
    parse(text, &text.chars().collect::<Vec<_>>())
}

/// The tree in brackets, to see what binds how.
fn shown(ast: &Ast) -> String {
    let list = |items: &[Ast], by: &str| items.iter().map(shown).collect::<Vec<_>>().join(by);
    match &ast.kind {
        Kind::Literal(value) => value.to_string(),
        Kind::List(items) => format!("[{}]", list(items, ", ")),
        Kind::Name(name) => name.clone(),
        Kind::Member(of, name) => format!("{}.{}", shown(of), name.text),
        Kind::Index(of, index) => format!("{}[{}]", shown(of), shown(index)),
        Kind::Call(name, args) => format!("{}({})", name.text, list(args, ", ")),
        Kind::Method(of, name, args) => format!("{}.{}({})", shown(of), name.text, list(args, ", ")),
        Kind::Not(a) => format!("!{}", shown(a)),
        Kind::Negate(a) => format!("-{}", shown(a)),
        Kind::And(items) => format!("({})", list(items, " && ")),
        Kind::Or(items) => format!("({})", list(items, " || ")),
        Kind::Compare(order, a, b) => format!("({} {} {})", shown(a), order.sign(), shown(b)),
        Kind::In(a, b) => format!("({} in {})", shown(a), shown(b)),
        Kind::Arith(arith, a, b) => format!("({} {} {})", shown(a), arith.sign(), shown(b)),
        Kind::Choose(parts) => format!("({} ? {} : {})", shown(&parts[0]), shown(&parts[1]), shown(&parts[2])),
    }
}

#[test]
fn operators_bind_as_in_cel() {
    for (text, tree) in [
        ("a || b && c", "(a || (b && c))"),
        ("a && b && c || d || e", "((a && b && c) || d || e)"),
        ("1 + 2 * 3 - 4", "((1 + (2 * 3)) - 4)"),
        ("!a.b == true", "(!a.b == true)"),
        ("-x + 1 < 3 ? 'y' : 'n'", "((-x + 1) < 3) ? \"y\" : \"n\""),
        ("a[0].b(c, 1.50).d in [1, 'x',]", "(a[0].b(c, 1.5).d in [1, \"x\"])"),
        (r#"'it\'s \u00e9' != "\n""#, "(\"it's é\" != \"\n\")"),
        ("(a)", "a"),
    ] {
        let tree = if text.contains('?') { format!("({tree})") } else { tree.to_owned() };
        assert_eq!(shown(&read(text).unwrap()), tree);
    }
}

#[test]
fn every_mistake_is_met_where_it_stands_with_a_hint() {
    for (text, start, hint) in [
        ("a = 1", 2, "write `==`"),
        ("a == 1 and b", 7, "write `&&`"),
        ("a OR b", 2, "write `||`"),
        ("not a", 0, "write `!`"),
        ("a & b", 2, "write `&&`"),
        ("a == “x”", 5, "straight quotes"),
        ("a == 'x", 5, "end it with '"),
        ("1 < a < 3", 6, "&&"),
        ("a ==", 4, "missing"),
        ("f(1, 2", 6, "add `)`"),
        ("a in 90days", 5, "in quotes"),
        ("'\\q'", 1, "backslash"),
        ("a <> 1", 2, "`!=`"),
        ("a not in [1]", 2, "!("),
        ("a == 007", 5, "zeros"),
    ] {
        let wrong = read(text).unwrap_err();
        assert_eq!(wrong.at.start, start, "{text}: {wrong:?}");
        assert!(wrong.hint.as_deref().unwrap_or("").contains(hint), "{text}: {wrong:?}");
    }
}

#[test]
fn size_and_nesting_are_bounded() {
    let deep = |n: usize| format!("{}a{}", "(".repeat(n), ")".repeat(n));
    assert!(read(&deep(39)).is_ok());
    assert!(read(&deep(40)).unwrap_err().message.contains("40 levels"));
    assert!(read(&format!("{}a", "!".repeat(2_000))).unwrap_err().message.contains("40 levels"));
    assert!(read(&"a.".repeat(2_000)).is_err());
    assert!(read(&vec!["a"; 251].join("||")).unwrap_err().message.contains("500 parts"));
    assert!(read(&vec!["a"; 200].join(" && ")).is_ok());
    assert!(read(&"x".repeat(5_000)).unwrap_err().message.contains("4096 bytes"));
    assert!(read("  ").unwrap_err().message.contains("empty"));
}

#[test]
fn a_text_that_goes_on_in_the_next_line_is_placed_as_a_whole() {
    use super::super::check::within;
    let placed = |length: u32, text: &str, at: Range| {
        let place = crate::lang::diag::Place { file: "a.yaml".into(), line: 3, column: 5, length };
        let text = super::super::Text { text: text.to_owned(), place };
        let found = within(&text, &text.text.chars().collect::<Vec<_>>(), at);
        (found.line, found.column, found.length)
    };
    assert_eq!(placed(10, "b ody.whoo", Range { start: 2, end: 5 }), (3, 7, 3));
    // Only the first line's length is that of the place.
    assert_eq!(placed(1, "b ody.whoo", Range { start: 2, end: 5 }), (3, 5, 1));
    assert_eq!(placed(4, "b od y.who", Range { start: 5, end: 6 }), (3, 5, 4));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused_within_its_bounds(text in "([a-c.\\[\\]()!?:'\"\\\\&|=<>+*/%, 0-9é-]|&&|\\|\\|| in |has\\()*") {
        let length = text.chars().count();
        if let Err(wrong) = read(&text) {
            prop_assert!(wrong.at.start <= length && wrong.at.end <= length + 1, "{wrong:?}");
        }
    }
}
