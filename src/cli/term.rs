//! Output to people and machines: colours, and texts that cannot drive a terminal.

use clap::ValueEnum;
use std::io::{self, IsTerminal, Write};

/// When to use colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// A way of showing a piece of text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    /// Something good.
    Good,
    /// Something bad.
    Bad,
    /// Of less interest.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    /// The parameters of the terminal's "select graphic rendition" (ECMA-48, 8.3.117).
    fn code(self) -> &'static str {
        match self {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
        }
    }
}

/// Where a command writes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    /// Standard output is coloured.
    pub color: bool,
    /// Standard error is coloured.
    color_talk: bool,
}

impl Term {
    pub fn new(choice: ColorChoice) -> Term {
        let wanted = |terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        Term { color: wanted(io::stdout().is_terminal()), color_talk: wanted(io::stderr().is_terminal()) }
    }

    /// Writes to standard output.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes a line to standard output.
    ///
    /// # Errors
    /// When nobody reads it any more.
    pub fn line(&self, text: &str) -> io::Result<()> {
        self.print(&format!("{text}\n"))
    }

    /// Says something on standard error.
    pub fn say(&self, text: &str) {
        // Whoever closed standard error does not want to be told.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Says on standard error why the command failed.
    pub fn error(&self, text: &str) {
        let word = if self.color_talk { paint(Tone::Bad, "error:") } else { "error:".to_owned() };
        self.say(&format!("{word} {}", plain(text)));
    }

    /// A text for standard output in a tone.
    pub fn tone(&self, tone: Tone, text: &str) -> String {
        if self.color { paint(tone, text) } else { text.to_owned() }
    }
}

fn paint(tone: Tone, text: &str) -> String {
    format!("\u{1b}[{}m{text}\u{1b}[0m", tone.code())
}

/// A text from elsewhere with its control characters and marks of direction replaced; line ends stay.
pub(super) fn plain(text: &str) -> String {
    let seen = |c: char| match c {
        '\n' => c,
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(seen).collect()
}

/// `1 test`, `2 tests`.
pub(super) fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_elsewhere_cannot_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\tc\nd\u{202e}"), "a\u{fffd}[2Jb c\nd\u{fffd}");
    }

    #[test]
    fn colours_are_as_chosen() {
        let (always, never) = (Term::new(ColorChoice::Always), Term::new(ColorChoice::Never));
        assert_eq!((always.tone(Tone::Good, "ok"), never.tone(Tone::Good, "ok")), ("\u{1b}[32mok\u{1b}[0m".into(), "ok".into()));
    }
}
