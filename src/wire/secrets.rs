//! Secrets: where they come from, and how they are kept out of files, logs and messages.
//!
//! A file of the workspace names a secret as `${env:AUTOFUNNEL_NAME}` or `${file:NAME}`; the value itself
//! is refused there. Only variables with the prefix and files inside the one folder can be named.

use crate::lang::cel::Text;
use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Node, NodeKind};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Only environment variables with this prefix can be named.
pub const ENV_PREFIX: &str = "AUTOFUNNEL_";
/// Largest secret, in bytes.
const SECRET_BYTES_MAX: usize = 16 * 1024;

/// A secret; it never prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
    placeholder: bool,
}

impl Secret {
    /// Takes a secret's text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret { text: text.into(), placeholder: false }
    }

    /// The text itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// It only stands for a secret that is not at hand; see [`Placeholders`].
    pub fn is_placeholder(&self) -> bool {
        self.placeholder
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Replaces every one of `secrets` in a text that people will see.
pub fn mask(text: &str, secrets: &[Secret]) -> String {
    let real = secrets.iter().filter(|secret| !secret.text.is_empty());
    real.fold(text.to_owned(), |text, secret| text.replace(&secret.text, "***"))
}

/// Where secrets come from.
pub trait Secrets: Send + Sync {
    /// The secret named by `env:AUTOFUNNEL_NAME` or `file:NAME` (without `${` and `}`).
    ///
    /// # Errors
    /// One sentence: it cannot be named like this, is not there, or is empty.
    fn resolve(&self, reference: &str) -> Result<Secret, String>;
}

/// The environment, and the files of one folder.
#[derive(Clone, Debug)]
pub struct SystemSecrets {
    /// The folder of secret files.
    pub folder: PathBuf,
}

impl Secrets for SystemSecrets {
    fn resolve(&self, reference: &str) -> Result<Secret, String> {
        let text = match split(reference)? {
            Reference::Env(name) => std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?,
            Reference::File(name) => self.read(name)?,
        };
        // An editor's last line end is no part of a secret.
        let text = text.trim_end_matches(['\r', '\n']).to_owned();
        if text.is_empty() || text.len() > SECRET_BYTES_MAX {
            return Err(format!("the secret `{reference}` is empty or larger than {} KiB", SECRET_BYTES_MAX / 1024));
        }
        Ok(Secret::new(text))
    }
}

impl SystemSecrets {
    fn read(&self, name: &str) -> Result<String, String> {
        let missing = |_| format!("there is no readable file `{name}` in the folder of secrets");
        let folder = self.folder.canonicalize().map_err(missing)?;
        let path = folder.join(name).canonicalize().map_err(missing)?;
        if !path.starts_with(&folder) {
            return Err(format!("the file `{name}` leads out of the folder of secrets"));
        }
        let size = std::fs::metadata(&path).map_err(missing)?;
        if !size.is_file() || size.len() > SECRET_BYTES_MAX as u64 {
            return Err(format!("the file `{name}` is no file, or larger than {} KiB", SECRET_BYTES_MAX / 1024));
        }
        std::fs::read_to_string(&path).map_err(missing)
    }
}

/// Secrets by reference, for tests and for embedding.
impl Secrets for BTreeMap<String, String> {
    fn resolve(&self, reference: &str) -> Result<Secret, String> {
        split(reference)?;
        self.get(reference).map(Secret::new).ok_or_else(|| format!("there is no secret `{reference}`"))
    }
}

/// Stands in where a workspace is checked on a machine that has no secrets: names are checked, values not.
#[derive(Clone, Copy, Debug)]
pub struct Placeholders;

impl Secrets for Placeholders {
    fn resolve(&self, reference: &str) -> Result<Secret, String> {
        split(reference).map(|_| Secret { text: "placeholder".to_owned(), placeholder: true })
    }
}

enum Reference<'a> {
    Env(&'a str),
    File(&'a str),
}

fn split(reference: &str) -> Result<Reference<'_>, String> {
    let fit = |name: &str| {
        !name.is_empty() && name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    match reference.split_once(':') {
        Some(("env", name)) if name.starts_with(ENV_PREFIX) && fit(name) => Ok(Reference::Env(name)),
        Some(("env", _)) => Err(format!("only environment variables that begin with {ENV_PREFIX} can be named")),
        Some(("file", name)) if fit(name) && name.trim_matches('.') == name => Ok(Reference::File(name)),
        Some(("file", _)) => Err("a secret file is named by its name alone, without folders".to_owned()),
        _ => Err("a secret is named `${env:AUTOFUNNEL_NAME}` or `${file:NAME}`".to_owned()),
    }
}

/// A piece of a text with references.
#[derive(Debug, PartialEq)]
pub enum Piece {
    /// As written.
    Plain(String),
    /// What a reference stands for.
    Secret(Secret),
}

/// Splits a text at its references and resolves them; `None` when one is wrong, which is then a fault.
pub fn pieces(text: &Text, secrets: &dyn Secrets, faults: &mut Faults) -> Option<Vec<Piece>> {
    let mut out = Vec::new();
    let mut rest = text.text.as_str();
    let mut whole = true;
    while let Some((before, after)) = rest.split_once("${") {
        if !before.is_empty() {
            out.push(Piece::Plain(before.to_owned()));
        }
        let Some((reference, after)) = after.split_once('}') else {
            faults.error("bad-secret", &text.place, "a reference `${` is not closed with `}`");
            return None;
        };
        match secrets.resolve(reference) {
            Ok(secret) => out.push(Piece::Secret(secret)),
            Err(why) => {
                faults.error("bad-secret", &text.place, why);
                whole = false;
            }
        }
        rest = after;
    }
    if !rest.is_empty() {
        out.push(Piece::Plain(rest.to_owned()));
    }
    whole.then_some(out)
}

/// A text in which references stand for what they name. Only for what may be shown, such as a user's name.
pub fn joined(text: &Text, secrets: &dyn Secrets, faults: &mut Faults) -> Option<String> {
    let pieces = pieces(text, secrets, faults)?;
    let plain = |piece: &Piece| match piece {
        Piece::Plain(text) => text.clone(),
        Piece::Secret(secret) => secret.expose().to_owned(),
    };
    Some(pieces.iter().map(plain).collect())
}

/// Reads a value that must be one reference and nothing else.
pub fn one(text: &Text, secrets: &dyn Secrets, faults: &mut Faults) -> Option<Secret> {
    let errors = faults.error_count();
    match pieces(text, secrets, faults)?.pop() {
        Some(Piece::Secret(secret)) if text.text.matches("${").count() == 1 && text.text.starts_with("${") => Some(secret),
        _ => {
            if faults.error_count() == errors {
                report_literal(&text.place, faults);
            }
            None
        }
    }
}

fn report_literal(place: &Place, faults: &mut Faults) {
    faults
        .error("literal-secret", place, "a secret is written here in plain text")
        .hint("put it into an environment variable and write `${env:AUTOFUNNEL_NAME}`, or into a file and write `${file:NAME}`");
}

/// Names of keys whose values are secrets, without `-` and `_`.
const SECRET_KEYS: &[&str] = &[
    "apikey",
    "apitoken",
    "token",
    "accesstoken",
    "authtoken",
    "secret",
    "clientsecret",
    "signingsecret",
    "secretkey",
    "password",
    "passwd",
    "passphrase",
    "privatekey",
    "authorization",
    "bearer",
    "standardwebhooks",
    "xapikey",
    "xauthtoken",
    "accesskey",
];
/// How well-known secrets begin, and how many characters follow at least.
const SECRET_PREFIXES: &[(&str, usize)] = &[
    ("sk_live_", 8),
    ("sk_test_", 8),
    ("rk_live_", 8),
    ("whsec_", 16),
    ("xoxb-", 8),
    ("xoxp-", 8),
    ("AKIA", 16),
    ("SG.", 20),
    ("ghp_", 20),
    ("glpat-", 16),
    ("-----BEGIN ", 4),
    ("key-", 32),
];

/// Reports secrets that are written into a file of the workspace.
pub fn scan(node: &Node, faults: &mut Faults) {
    match &node.kind {
        NodeKind::Scalar { text, .. } => {
            if looks_secret(text) {
                report_literal(&node.place, faults);
            }
        }
        NodeKind::List(items) => items.iter().for_each(|item| scan(item, faults)),
        NodeKind::Map(entries) => {
            for (key, value) in entries {
                let name: String = key.text.chars().filter(|c| !"-_ ".contains(*c)).flat_map(char::to_lowercase).collect();
                let named = SECRET_KEYS.contains(&name.as_str());
                let values = value.list().unwrap_or(std::slice::from_ref(value));
                for value in values {
                    match value.scalar() {
                        Some(text) if named && is_literal(text, value) => report_literal(&value.place, faults),
                        _ => scan(value, faults),
                    }
                }
            }
        }
    }
}

/// A value of its own, not a reference, a template or a switch.
fn is_literal(text: &str, node: &Node) -> bool {
    !text.trim().is_empty()
        && !node.is_null()
        && !text.contains("${")
        && !text.contains("{{")
        && !matches!(text, "true" | "false" | "none")
}

fn looks_secret(text: &str) -> bool {
    SECRET_PREFIXES.iter().any(|(prefix, more)| {
        text.match_indices(prefix).any(|(at, _)| {
            let begins = text.get(..at).and_then(|before| before.chars().next_back()).is_none_or(|c| !c.is_alphanumeric());
            let tail = text.get(at + prefix.len()..).unwrap_or("");
            begins && tail.chars().take_while(|c| c.is_ascii_alphanumeric() || "+/=._- ".contains(*c)).count() >= *more
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        Text { text: text.to_owned(), place: Place { file: "autofunnel.yaml".into(), line: 1, column: 1, length: 1 } }
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::new("canary-1234");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(mask("token canary-1234 is wrong", &[secret]), "token *** is wrong");
    }

    #[test]
    fn only_prefixed_variables_and_plain_file_names_can_be_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("in")).unwrap();
        std::fs::write(folder.path().join("out"), "outside").unwrap();
        std::fs::write(folder.path().join("in/good"), "abc\n").unwrap();
        std::fs::write(folder.path().join("in/empty"), "\n").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path().join("out"), folder.path().join("in/link")).unwrap();
        let secrets = SystemSecrets { folder: folder.path().join("in") };
        assert_eq!(secrets.resolve("file:good").unwrap().expose(), "abc");
        for bad in [
            "env:PATH",
            "env:HOME",
            "env:AUTOFUNNEL_NOT_SET_ANYWHERE",
            "env:AUTOFUNNEL_A B",
            "file:../out",
            "file:/etc/passwd",
            "file:link",
            "file:empty",
            "file:.",
            "file:..",
            "file:",
            "file:nope",
            "x",
            "",
        ] {
            assert!(secrets.resolve(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_split_at_their_references() {
        let secrets = BTreeMap::from([("env:AUTOFUNNEL_A".to_owned(), "s".to_owned())]);
        let mut faults = Faults::default();
        let found = pieces(&text("https://h/bot${env:AUTOFUNNEL_A}/send"), &secrets, &mut faults).unwrap();
        assert_eq!(
            found,
            [Piece::Plain("https://h/bot".to_owned()), Piece::Secret(Secret::new("s")), Piece::Plain("/send".to_owned())]
        );
        assert_eq!(one(&text("${env:AUTOFUNNEL_A}"), &secrets, &mut faults).unwrap().expose(), "s");
        assert!(faults.list().is_empty());
        for bad in [
            "plain",
            "x${env:AUTOFUNNEL_A}",
            "${env:AUTOFUNNEL_A}x",
            "${env:AUTOFUNNEL_A}${env:AUTOFUNNEL_A}",
            "${env:AUTOFUNNEL_A",
            "${env:PATH}",
        ] {
            let mut faults = Faults::default();
            assert!(one(&text(bad), &secrets, &mut faults).is_none(), "{bad}");
            assert_eq!(faults.error_count(), 1, "{bad}");
        }
    }

    #[test]
    fn secrets_written_into_a_file_are_found() {
        let scalar =
            |text: &str| Node { place: self::text("").place, kind: NodeKind::Scalar { text: text.to_owned(), plain: true } };
        let map = |key: &str, value: Node| Node {
            place: self::text("").place,
            kind: NodeKind::Map(vec![(crate::lang::node::Key { text: key.to_owned(), place: self::text("").place }, value)]),
        };
        let count = |node: &Node| {
            let mut faults = Faults::default();
            scan(node, &mut faults);
            faults.error_count()
        };
        for (key, value) in [
            ("api_key", "abc"),
            ("Authorization", "Bearer xyz"),
            ("X-Api-Key", "1"),
            ("note", "use sk_live_abcdefgh1"),
            ("x", "AKIAABCDEFGHIJKLMNOP"),
        ] {
            assert_eq!(count(&map("a", map(key, scalar(value)))), 1, "{key}: {value}");
        }
        for (key, value) in [
            ("api_key", "${env:AUTOFUNNEL_X}"),
            ("token", "{{ customer.token }}"),
            ("topic", "news"),
            ("note", "whsec_"),
            ("token", ""),
        ] {
            assert_eq!(count(&map(key, scalar(value))), 0, "{key}: {value}");
        }
    }
}
