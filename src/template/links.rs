//! Links made of data lead only to web pages and mail addresses.

use super::scan::Tag;

/// The text with `| url` added to every expression that begins the value of a link attribute, so that
/// data can never make a `javascript:` link. Lines stay where they are.
pub(super) fn guard_links(text: &str, tags: &[Tag]) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let mut done = 0;
    for tag in tags.iter().filter(|tag| tag.expression) {
        let before = text.get(done..tag.start).unwrap_or("");
        out.push_str(before);
        let inner = text.get(tag.inner.0..tag.inner.1).unwrap_or("");
        let (head, tail) = (text.get(tag.start..tag.inner.0).unwrap_or(""), text.get(tag.inner.1..tag.end).unwrap_or(""));
        if begins_link(text.get(..tag.start).unwrap_or("")) {
            out.push_str(&format!("{head} ({inner}) | url {tail}"));
        } else {
            out.push_str(&format!("{head}{inner}{tail}"));
        }
        done = tag.end;
    }
    out.push_str(text.get(done..).unwrap_or(""));
    out
}

fn begins_link(before: &str) -> bool {
    let before = before.trim_end();
    let Some(before) = before.strip_suffix(['"', '\'']).unwrap_or(before).trim_end().strip_suffix('=') else { return false };
    let name: String =
        before.trim_end().chars().rev().take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == ':').collect();
    let name: String = name.chars().rev().collect::<String>().to_ascii_lowercase();
    matches!(name.as_str(), "href" | "src" | "action" | "formaction" | "background" | "poster" | "cite" | "data" | "xlink:href")
}

#[cfg(test)]
mod tests {
    use super::super::scan::scan;
    use super::*;

    #[test]
    fn only_link_attributes_are_guarded() {
        let text = "<a title=\"{{ t }}\" href=\"{{ a if b else c }}\">{{ d }}</a><a href='https://x/{{ e }}'>";
        let guarded = guard_links(text, &scan(text));
        assert_eq!(
            guarded,
            "<a title=\"{{ t }}\" href=\"{{ ( a if b else c ) | url }}\">{{ d }}</a><a href='https://x/{{ e }}'>"
        );
    }
}
