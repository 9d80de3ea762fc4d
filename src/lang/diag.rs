//! Faults: what is wrong with a file, where, and what to do about it.
//!
//! Everything that reads a workspace reports into [`Faults`] and goes on, so that one `check` shows all
//! faults at once. Rendering for people and machines is in [`super::render`].

use std::sync::Arc;

/// Faults kept of one check; more are counted, not kept.
pub const FAULTS_MAX: usize = 200;
/// Longest sentence about what is wrong, in characters; of a longer one the middle is left out.
pub const SENTENCE_CHARS_MAX: usize = 600;

/// A stretch of one line of a file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Path relative to the workspace, with `/`.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Column of the first character, from 1.
    pub column: u32,
    /// Characters to underline, at least 1.
    pub length: u32,
}

impl Place {
    /// A place within this one, `offset` characters further on the same line.
    pub fn within(&self, offset: u32, length: u32) -> Place {
        Place { file: self.file.clone(), line: self.line, column: self.column + offset, length: length.max(1) }
    }
}

/// Whether a fault stops the workspace from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The workspace is refused.
    Error,
    /// Worth a look; the workspace is accepted.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Error or warning.
    pub severity: Severity,
    /// Stable kebab-case name, for machines and for documentation: `unknown-field`, `bad-duration` …
    pub code: &'static str,
    /// Where.
    pub place: Place,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// All faults found so far.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    list: Vec<Fault>,
    dropped: usize,
    errors: usize,
}

impl Faults {
    /// Reports an error.
    pub fn error(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> &mut Self {
        self.errors += 1;
        self.push(Severity::Error, code, place, message.into())
    }

    /// Reports a warning.
    pub fn warning(&mut self, code: &'static str, place: &Place, message: impl Into<String>) -> &mut Self {
        self.push(Severity::Warning, code, place, message.into())
    }

    fn push(&mut self, severity: Severity, code: &'static str, place: &Place, message: String) -> &mut Self {
        if self.has_room(severity) {
            self.list.push(Fault { severity, code, place: place.clone(), message: bounded(message), hint: None });
        }
        self
    }

    /// Room for one more fault; one that finds none is counted. An error takes the place of a warning: what is
    /// left of a full list are the errors.
    fn has_room(&mut self, severity: Severity) -> bool {
        if self.list.len() < FAULTS_MAX {
            return true;
        }
        self.dropped += 1;
        let spare = self.list.iter().rposition(|fault| fault.severity == Severity::Warning);
        match spare {
            Some(place) if severity == Severity::Error => {
                self.list.remove(place);
                true
            }
            _ => false,
        }
    }

    /// Adds a hint to the fault reported last.
    pub fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        if self.dropped == 0
            && let Some(fault) = self.list.last_mut()
        {
            fault.hint = Some(bounded(hint.into()));
        }
        self
    }

    /// Adds a hint to the fault reported last unless it has one.
    pub fn hint_if_none(&mut self, hint: impl Into<String>) -> &mut Self {
        if self.dropped == 0
            && let Some(fault) = self.list.last_mut()
            && fault.hint.is_none()
        {
            fault.hint = Some(bounded(hint.into()));
        }
        self
    }

    /// Adds the hint "did you mean …" when one of `known` is close to `typed`, else lists what there is.
    pub fn did_you_mean<'a>(&mut self, typed: &str, known: impl IntoIterator<Item = &'a str>) -> &mut Self {
        // Comparing names costs time, which a fault that is only counted is not worth.
        if self.dropped > 0 {
            return self;
        }
        let known: Vec<&str> = known.into_iter().collect();
        match closest(typed, known.iter().copied()) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None if known.is_empty() => self,
            None if known.len() <= 12 => self.hint(format!("there is: {}", known.join(", "))),
            None => self.hint(format!("there are {} of them, for example {}", known.len(), known[..6].join(", "))),
        }
    }

    /// Whether there is an error (a warning is none).
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Number of errors so far, for "did this part add one?".
    pub fn error_count(&self) -> usize {
        self.errors
    }

    /// The faults in the order of files and lines, and how many more there were.
    pub fn into_sorted(mut self) -> (Vec<Fault>, usize) {
        self.list.sort_by(|a, b| a.place.cmp(&b.place).then(a.severity.cmp(&b.severity)));
        self.list.dedup();
        (self.list, self.dropped)
    }

    /// The faults in the order in which they were found.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }

    /// Takes over another list.
    pub fn extend(&mut self, other: Faults) {
        for fault in other.list {
            if self.has_room(fault.severity) {
                self.list.push(fault);
            }
        }
        self.dropped += other.dropped;
        self.errors += other.errors;
    }
}

/// A sentence that quotes what somebody wrote: beginning and end of it where that is endless, since what is
/// wrong with it is told before or behind the quotation.
pub fn bounded(text: String) -> String {
    if text.len() <= SENTENCE_CHARS_MAX {
        return text;
    }
    let count = text.chars().count();
    if count <= SENTENCE_CHARS_MAX {
        return text;
    }
    let head: String = text.chars().take(SENTENCE_CHARS_MAX / 2).collect();
    let tail: String = text.chars().skip(count - SENTENCE_CHARS_MAX / 3).collect();
    format!("{head} … {tail}")
}

/// The one of `known` that was probably meant.
pub fn closest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: String = typed.chars().take(60).flat_map(char::to_lowercase).collect();
    let chars = typed.chars().count();
    known
        .into_iter()
        .filter_map(|name| {
            let most = 1 + name.len().min(typed.len()) / 4;
            let lower = name.to_lowercase();
            // Names whose lengths differ by more are further apart than that; most are told apart by this alone.
            let near = lower.chars().count().abs_diff(chars) <= most;
            near.then(|| strsim::damerau_levenshtein(&typed, &lower))
                .filter(|distance| *distance <= most)
                .map(|distance| (distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_sentence_keeps_its_beginning_and_its_end() {
        let place = Place { file: "a.yaml".into(), line: 1, column: 1, length: 1 };
        let mut faults = Faults::default();
        let endless = "é".repeat(50_000);
        faults.error("unknown-name", &place, format!("there is no `{endless}` here")).hint(format!("not `{endless}`"));
        let fault = &faults.list()[0];
        assert!(fault.message.chars().count() <= SENTENCE_CHARS_MAX, "{}", fault.message);
        assert!(fault.message.starts_with("there is no `é") && fault.message.ends_with("é` here"), "{}", fault.message);
        assert!(fault.hint.as_ref().is_some_and(|hint| hint.chars().count() <= SENTENCE_CHARS_MAX));
        let just = "x".repeat(SENTENCE_CHARS_MAX);
        assert_eq!(bounded(just.clone()), just);
    }

    #[test]
    fn the_closest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(closest("emial", ["email", "sms"]), Some("email"));
        assert_eq!(closest("Renewl_due", ["renewal_due"]), Some("renewal_due"));
        assert_eq!(closest("purchase", ["birthday"]), None);
        assert_eq!(closest("a", ["abc", "ab"]), Some("ab"));
        assert_eq!(closest("subjetc line", ["subject-line", "subject", "line"]), Some("subject-line"));
    }

    #[test]
    fn errors_are_kept_before_warnings() {
        let place = Place { file: "a.yaml".into(), line: 1, column: 1, length: 1 };
        let mut faults = Faults::default();
        for n in 0..FAULTS_MAX + 7 {
            faults.warning("w", &place, format!("{n}"));
        }
        assert!(!faults.has_errors() && faults.dropped == 7);
        faults.error("e", &place, "wrong");
        let (list, dropped) = faults.into_sorted();
        assert_eq!(
            (list.iter().filter(|fault| fault.severity == Severity::Error).count(), list.len(), dropped),
            (1, FAULTS_MAX, 8)
        );
    }
}
