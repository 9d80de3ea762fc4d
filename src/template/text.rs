//! The plain text of an HTML message, for mail programs that show no HTML and for people who do not want it.

/// Elements whose content nobody reads.
const UNSEEN: &[&str] = &["head", "style", "script", "title", "template"];
/// Elements that begin and end a line.
const LINES: &[&str] = &["div", "tr", "li", "section", "header", "footer", "article", "main", "center", "body", "html"];
/// Elements with an empty line around them.
const BLOCKS: &[&str] = &["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre"];
/// Elements without content.
pub(super) const VOID: &[&str] = &["br", "hr", "img", "input", "meta", "link", "col", "wbr", "area", "base", "source"];

/// Longest value in quotes, in bytes; a quote that is not closed by then was no quote.
const QUOTED_BYTES_MAX: usize = 64 * 1024;

/// A tag as it stands in the markup.
pub(super) struct Tag<'a> {
    pub name: String,
    pub closing: bool,
    /// What stands behind the name.
    pub rest: &'a str,
}

/// Collects text and keeps blanks and lines in order.
#[derive(Default)]
struct Page {
    out: String,
    /// Line ends wanted before the next word.
    lines: usize,
    blank: bool,
}

impl Page {
    fn word(&mut self, text: &str) {
        if self.out.is_empty() {
            (self.lines, self.blank) = (0, false);
        }
        match (self.lines, self.blank) {
            (0, true) => self.out.push(' '),
            (0, false) => {}
            (lines, _) => self.out.push_str(&"\n".repeat(lines)),
        }
        (self.lines, self.blank) = (0, false);
        self.out.push_str(text);
    }

    fn text(&mut self, text: &str) {
        let blank = |c: char| c.is_whitespace();
        if text.starts_with(blank) {
            self.blank = true;
        }
        for word in text.split_whitespace() {
            // Characters that only steer the layout are no text.
            let seen: String =
                word.chars().filter(|c| !matches!(c, '\u{200b}'..='\u{200d}' | '\u{ad}' | '\u{34f}' | '\u{feff}')).collect();
            if !seen.is_empty() {
                self.word(&seen);
            }
            self.blank = true;
        }
        if !text.is_empty() && !text.ends_with(blank) {
            self.blank = false;
        }
    }

    fn line(&mut self, at_least: usize) {
        self.lines = self.lines.max(at_least);
    }
}

/// The text of a page. Links stand behind their words in parentheses.
pub(super) fn of_html(html: &str) -> String {
    let mut page = Page::default();
    let mut links: Vec<(String, usize)> = Vec::new();
    let mut unseen: Option<(String, usize)> = None;
    let mut rest = html;
    while !rest.is_empty() {
        let (text, after) = rest.split_at(rest.find('<').unwrap_or(rest.len()));
        if unseen.is_none() {
            page.text(&decoded(text));
        }
        let Some((tag, after)) = tag(after) else {
            // No tag ends any more: what is left is text.
            if begins_tag(after) {
                page.text(&decoded(after));
                break;
            }
            // A comment, a declaration, or a lone `<`, which is text.
            if unseen.is_none() && !after.is_empty() && !after.starts_with("<!") {
                page.text("<");
            }
            rest = skip(after);
            continue;
        };
        rest = after;
        match &mut unseen {
            Some((name, depth)) if *name == tag.name => {
                *depth = if tag.closing { *depth - 1 } else { *depth + 1 };
                if *depth == 0 {
                    unseen = None;
                }
            }
            Some(_) => {}
            None if !tag.closing && hidden(&tag) => unseen = Some((tag.name.clone(), 1)),
            None => mark(&tag, &mut page, &mut links),
        }
    }
    page.out
}

/// Whether a tag begins here, even if it does not end.
pub(super) fn begins_tag(text: &str) -> bool {
    text.trim_start_matches('<').trim_start_matches('/').starts_with(|c: char| c.is_ascii_alphabetic()) && !text.is_empty()
}

fn hidden(tag: &Tag<'_>) -> bool {
    let style = || attribute(tag.rest, "style").unwrap_or_default().replace(' ', "").to_ascii_lowercase();
    UNSEEN.contains(&tag.name.as_str()) || (!VOID.contains(&tag.name.as_str()) && style().contains("display:none"))
}

/// What a tag does to the text.
fn mark(tag: &Tag<'_>, page: &mut Page, links: &mut Vec<(String, usize)>) {
    let name = tag.name.as_str();
    match name {
        "br" => page.lines += 1,
        "hr" if !tag.closing => {
            page.line(1);
            page.word("---");
            page.line(1);
        }
        "img" => page.text(&attribute(tag.rest, "alt").unwrap_or_default()),
        "td" | "th" => page.blank = true,
        "a" if !tag.closing => links.push((attribute(tag.rest, "href").unwrap_or_default(), page.out.len())),
        "a" => {
            if let Some((href, begin)) = links.pop() {
                link(&href, begin, page);
            }
        }
        _ if BLOCKS.contains(&name) => page.line(2),
        _ if LINES.contains(&name) => page.line(1),
        _ => {}
    }
    if name == "li" && !tag.closing {
        page.word("-");
        page.blank = true;
    }
}

fn link(href: &str, begin: usize, page: &mut Page) {
    let shown = page.out.get(begin..).unwrap_or("").trim();
    let plain = href.strip_prefix("mailto:").unwrap_or(href).trim();
    if plain.is_empty() || plain.starts_with('#') || shown == plain || shown == plain.trim_end_matches('/') {
        return;
    }
    let empty = shown.is_empty();
    page.blank = true;
    page.word(&if empty { plain.to_owned() } else { format!("({plain})") });
}

/// The tag at the beginning of `text` and what follows it. `None` where it is a letter that follows: no tag ends
/// any more in what is left.
pub(super) fn tag(text: &str) -> Option<(Tag<'_>, &str)> {
    let inner = text.strip_prefix('<')?;
    let (closing, inner) = match inner.strip_prefix('/') {
        Some(inner) => (true, inner),
        None => (false, inner),
    };
    if !inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let end = quoted_end(inner).or_else(|| inner.find('>'))?;
    let (inside, after) = (inner.get(..end)?, inner.get(end + 1..)?);
    let length = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != ':' && c != '-').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(length);
    Some((Tag { name: name.to_ascii_lowercase(), closing, rest }, after))
}

/// Where a tag ends whose quotes are closed.
fn quoted_end(inner: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = inner.get(at..)?;
        let sign = rest.find(['>', '"', '\''])?;
        let Some(quote @ ('"' | '\'')) = rest.get(sign..)?.chars().next() else { return Some(at + sign) };
        let inside = rest.as_bytes().get(sign + 1..)?;
        let close = inside.iter().take(QUOTED_BYTES_MAX).position(|byte| char::from(*byte) == quote)?;
        at += sign + 1 + close + 1;
    }
}

/// What follows a comment, a declaration or a lone `<`.
fn skip(text: &str) -> &str {
    let (open, close) = if text.starts_with("<!--") {
        (4, "-->")
    } else if text.starts_with("<!") {
        (2, ">")
    } else {
        (1, "")
    };
    let rest = text.get(open..).unwrap_or("");
    rest.split_once(close).map_or("", |(_, after)| if close.is_empty() { rest } else { after })
}

/// The value of an attribute, decoded.
fn attribute(rest: &str, wanted: &str) -> Option<String> {
    attributes(rest).into_iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| decoded(value))
}

/// Names and values of what stands behind a tag's name.
pub(super) fn attributes(rest: &str) -> Vec<(&str, &str)> {
    let (mut out, mut rest) = (Vec::new(), rest);
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let (name, after) = rest.split_at(rest.find(|c: char| c.is_whitespace() || c == '=').unwrap_or(rest.len()));
        if name.is_empty() {
            return out;
        }
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            rest = after;
            continue;
        };
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value.get(1..).unwrap_or("").split_once(quote).unwrap_or(("", "")),
            _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        out.push((name, value));
        rest = after;
    }
}

/// With entities as the characters that they stand for.
fn decoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let entity =
            after.split_once(';').filter(|(name, _)| name.len() <= 8).and_then(|(name, after)| Some((entity(name)?, after)));
        match entity {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => {
                out.push('&');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    if let Some(digits) = name.strip_prefix('#') {
        let code = match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control() || *c == '\n' || *c == '\t');
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "shy" => '\u{ad}',
        "zwnj" => '\u{200c}',
        "copy" => '©',
        "reg" => '®',
        "euro" => '€',
        "pound" => '£',
        "hellip" => '…',
        "ndash" => '–',
        "mdash" => '—',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "middot" => '·',
        "bull" => '•',
        "rarr" => '→',
        "larr" => '←',
        "times" => '×',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_reads_as_text_with_its_links() {
        let html = "<!doctype html><html><head><title>No</title><style>p { color: red }</style></head><body>\
            <div style=\"display: none\">hidden <div>more</div></div><h1>Hello&nbsp;Ann</h1>\n<p>Two\n  words &amp; <b>bo</b>ld.<br>Next</p>\
            <!--[if mso]><p>Outlook</p><![endif]--><ul><li>one</li><li>two</li></ul>\
            <p><a href=\"https://example.com/?a=1&amp;b=2\">See it</a>, <a href='https://example.com'>https://example.com</a> \
            <a href=\"mailto:a@example.com\">a@example.com</a> <a href=\"#top\">up</a></p>\
            <table><tr><td>Total</td><td>12&#8364;</td></tr></table><img src=x alt=\"A cup\">1 < 2</body></html>";
        assert_eq!(
            of_html(html),
            "Hello Ann\n\nTwo words & bold.\nNext\n\n- one\n- two\n\nSee it (https://example.com/?a=1&b=2), https://example.com \
             a@example.com up\n\nTotal 12€\n\nA cup1 < 2"
        );
    }

    #[test]
    fn work_grows_with_the_length_of_the_markup_alone() {
        // Each would take minutes if every tag looked through all that follows.
        for piece in ["<a \"", "<a '>", "<a", "<!--", "<p>", "&", "</p", "<a b='c' "] {
            let html = piece.repeat(60_000);
            let begun = std::time::Instant::now();
            of_html(&html);
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{piece}");
        }
    }

    #[test]
    fn any_markup_is_read_to_its_end() {
        for html in [
            "<",
            "<p",
            "</",
            "<!--",
            "<a href=\"",
            "<a href=x",
            "&",
            "&#x110000;",
            "&#0;",
            "<style>",
            "<a =\"b\">x</a>",
            "< p>",
            "é<p>é</é>",
        ] {
            let text = of_html(html);
            assert!(text.len() <= html.len() + 4, "{html}: {text}");
        }
    }
}
