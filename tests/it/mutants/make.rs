//! Small changes of a funnel's file, made on its lines.

/// Lines that say nothing a customer could see, by their key.
const FOR_PEOPLE: &[&str] = &["funnel", "description", "trigger", "steps", "id", "subject", "text", "priority"];
/// Keys whose value is a condition.
const CONDITIONS: &[&str] = &["if", "only_if", "while", "where", "condition"];

/// A changed file.
pub struct Mutant {
    /// What was changed, with the line as it stands in the file.
    pub what: String,
    /// The whole file.
    pub text: String,
}

/// All changes of a file, but not of the tests in it.
pub fn of(text: &str) -> Vec<Mutant> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.iter().position(|line| line.starts_with("tests:")).unwrap_or(lines.len());
    let words = in_words(&lines[..end]);
    let mut out = Vec::new();
    for at in (0..end).filter(|at| !words[*at]) {
        let Some((key, _)) = entry(lines[at]) else { continue };
        let shown = code(lines[at]).trim();
        if !FOR_PEOPLE.contains(&key) {
            out.push(Mutant { what: format!("without `{shown}`"), text: without(&lines, at, end) });
        }
        let with = |line: String| {
            let mut changed = lines.clone();
            changed[at] = &line;
            changed.join("\n") + "\n"
        };
        for (what, line) in flipped(lines[at]).into_iter().chain(counted(lines[at])) {
            out.push(Mutant { what: format!("{what} in `{shown}`"), text: with(line) });
        }
    }
    out
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.find(" #").map_or(line, |at| &line[..at]).trim_end()
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The key of a line, and whether it begins an item of a list; `None`: a comment, or nothing.
fn entry(line: &str) -> Option<(&str, bool)> {
    let text = code(line).trim_start();
    if text.is_empty() || text.starts_with('#') {
        return None;
    }
    let (text, item) = text.strip_prefix("- ").map_or((text, false), |text| (text, true));
    Some((text.split_once(':').map_or(text, |(key, _)| key), item))
}

/// Which lines are the words of a text that goes over several of them.
fn in_words(lines: &[&str]) -> Vec<bool> {
    let mut words = vec![false; lines.len()];
    let mut text: Option<usize> = None;
    for (at, line) in lines.iter().enumerate() {
        match text {
            Some(deep) if line.trim().is_empty() || indent(line) > deep => words[at] = true,
            _ => text = code(line).ends_with(": |").then(|| indent(line)),
        }
    }
    words
}

/// The file without a line and what belongs to it; a list of which it was all becomes an empty one.
fn without(lines: &[&str], at: usize, end: usize) -> String {
    let deep = indent(lines[at]);
    let belongs = |line: &&str| line.trim().is_empty() || indent(line) > deep;
    let until = at + 1 + lines[at + 1..end].iter().take_while(|line| belongs(line)).count();
    let told = |line: &&&str| entry(line).is_some();
    let before = lines[..at].iter().rposition(|line| entry(line).is_some());
    let alone = entry(lines[at]).is_some_and(|(_, item)| item)
        && before.is_some_and(|before| code(lines[before]).ends_with(':'))
        && lines[until..end].iter().find(told).is_none_or(|next| indent(next) < deep);
    let mut out: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    if let Some(before) = before.filter(|_| alone) {
        out[before] = format!("{} []", code(lines[before]));
    }
    out.drain(at..until);
    out.join("\n") + "\n"
}

/// The line with one of its conditions turned round.
fn flipped(line: &str) -> Vec<(String, String)> {
    let text = code(line);
    let mut out = Vec::new();
    for key in CONDITIONS {
        let mut from = 0;
        while let Some(found) = text[from..].find(&format!("{key}: ")) {
            let at = from + found;
            from = at + key.len() + 2;
            let begins = text[..at].trim_end().is_empty()
                || text[..at].ends_with("- ")
                || text[..at].ends_with("{ ")
                || text[..at].ends_with(", ");
            let value = value(&text[from..]);
            if !begins || value.is_empty() || value.starts_with(['{', '>', '|']) {
                continue;
            }
            let condition = match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
                Some(quoted) => quoted.to_owned(),
                None => value.replace('\\', "\\\\").replace('"', "\\\""),
            };
            let line = format!("{}\"!({condition})\"{}", &text[..from], &text[from + value.len()..]);
            out.push((format!("`{key}` turned round"), line));
        }
    }
    out
}

/// A value to its end: the end of the line, or of its place in a map in braces.
fn value(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix('"') {
        let mut escaped = false;
        for (at, byte) in rest.bytes().enumerate() {
            match byte {
                b'\\' if !escaped => escaped = true,
                b'"' if !escaped => return &text[..at + 2],
                _ => escaped = false,
            }
        }
    }
    let mut deep = 0i32;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => deep += 1,
            b'}' if deep == 0 => return text[..at].trim_end(),
            b')' | b']' | b'}' => deep -= 1,
            b',' if deep == 0 => return &text[..at],
            _ => {}
        }
    }
    text
}

/// The line with one of its numbers larger by one, or one of its times of day later by an hour.
///
/// A weight that is larger by one draws nearly the same customers, so it becomes a thousand times as large.
fn counted(line: &str) -> Vec<(String, String)> {
    let text = code(line);
    let key = entry(line).map_or("", |(key, _)| key);
    if ["funnel", "description", "priority", "subject"].contains(&key) {
        return Vec::new();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            at += 1;
            continue;
        }
        let (before, after) = (at.checked_sub(1).map(|at| bytes[at]), bytes.get(at + digits));
        let of_name = before.is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-' | b'.' | b':' | b'$'));
        let number: Result<u64, _> = text[at..at + digits].parse();
        if let (false, Ok(number)) = (of_name, number) {
            let clock = after == Some(&b':') && bytes.get(at + digits + 1).is_some_and(u8::is_ascii_digit);
            let weight = text[..at].ends_with("weight: ");
            let other = match (clock, weight) {
                (true, _) => format!("{:02}", (number + 1) % 24),
                (_, true) => (number * 1_000).to_string(),
                _ => (number + 1).to_string(),
            };
            out.push((format!("{number} → {other}"), format!("{}{other}{}", &text[..at], &text[at + digits..])));
        }
        at += digits;
    }
    out
}
