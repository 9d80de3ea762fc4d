//! The template engine with its bounds: what it may do, what it may print, what data it sees.
//!
//! Data is only ever a value: it is never compiled. Work and memory of one rendering are bounded by
//! fuel, output by a byte limit. Printing something that is missing is an error; asking for it
//! (`is defined`, `default`, `if`) is not, even where the map that should hold it is missing as well.

use super::TemplateOptions;
use super::filters;
use crate::lang::value::{Fields, Value as Data};
use crate::money::Dec;
use minijinja::value::{Enumerator, Object, ObjectRepr, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};
use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::Arc;

/// Work of one rendering, in units of the engine (an instruction, or about 64 bytes of data).
const FUEL_UNITS: u64 = 100_000;
/// Deepest nesting while rendering.
const RECURSION_MAX: usize = 50;
/// Largest output of one part, in bytes.
pub const OUTPUT_BYTES_MAX: usize = 512 * 1024;
/// Whole and decimal numbers up to this many millionths are computed with exactly as a binary fraction.
const FLOAT_EXACT_MILLIONTHS_MAX: u64 = 1 << 52;
/// Root under which secrets stand.
pub(super) const SECRETS: &str = "secrets";
/// Name of the escaping that percent-encodes.
const URL_ESCAPE: &str = "url";

/// An environment without templates. Names that end in `.html` escape HTML, in `.url` percent-encode.
pub(super) fn environment(options: &TemplateOptions) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_fuel(Some(FUEL_UNITS));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_auto_escape_callback(|name| match name.rsplit('.').next() {
        Some("html") => AutoEscape::Html,
        Some("url") => AutoEscape::Custom(URL_ESCAPE.into()),
        _ => AutoEscape::None,
    });
    environment.set_formatter(print);
    for filter in ["safe", "escape", "e", "pprint", "format", "indent"] {
        environment.remove_filter(filter);
    }
    for global in ["debug", "namespace"] {
        environment.remove_global(global);
    }
    filters::add(&mut environment, options.currency, options.zone);
    environment
}

/// Writes one value: a missing one or a container is an error.
fn print(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if is_missing(value) {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
        return Err(Error::new(ErrorKind::InvalidOperation, "a list or map cannot be printed; loop over it or use `join`"));
    }
    if value.kind() == ValueKind::Bool {
        return out.write_str(if value.is_true() { "true" } else { "false" }).map_err(Error::from);
    }
    match state.auto_escape() {
        AutoEscape::Custom(_) if value.is_safe() => out.write_str(&value.to_string()).map_err(Error::from),
        AutoEscape::Custom(_) => out.write_str(&filters::percent_encode(&value.to_string())).map_err(Error::from),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// Names with their values.
type Names = BTreeMap<String, Value>;

/// Stands where a map is missing whose names are read: what is below is missing too.
#[derive(Debug)]
struct Absent(Names);

impl Object for Absent {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Map
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_str()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }
}

/// A decimal that a binary fraction cannot hold exactly; it prints its digits.
#[derive(Debug)]
struct Exact(Dec);

impl Object for Exact {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whether a value counts as missing.
pub(super) fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.is_none() || value.downcast_object_ref::<Absent>().is_some()
}

/// Variables to render several texts from. They are converted for the engine when a text needs it.
pub struct Context<'a> {
    pub(super) vars: &'a Fields,
    paths: &'a [Vec<String>],
    raw: Option<&'a [(String, String)]>,
    root: OnceCell<Value>,
}

impl<'a> Context<'a> {
    /// Over `vars`. `paths` are the dotted names that the texts read.
    pub fn new(vars: &'a Fields, paths: &'a [Vec<String>]) -> Context<'a> {
        Context { vars, paths, raw: None, root: OnceCell::new() }
    }

    /// As [`Context::new`], with `raw` texts as `secrets.<name>`, which are never encoded.
    pub fn with_secrets(vars: &'a Fields, paths: &'a [Vec<String>], raw: &'a [(String, String)]) -> Context<'a> {
        Context { raw: Some(raw), ..Context::new(vars, paths) }
    }

    /// The secret of that name.
    pub(super) fn secret(&self, name: &str) -> Option<&'a str> {
        self.raw?.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// All of it in the form that the engine reads.
    pub(super) fn root(&self) -> &Value {
        self.root.get_or_init(|| {
            let paths: Vec<&[String]> = self.paths.iter().map(Vec::as_slice).collect();
            let mut map = names(self.vars, &paths);
            if let Some(raw) = self.raw {
                let secrets: Names =
                    raw.iter().map(|(name, text)| (name.clone(), Value::from_safe_string(text.clone()))).collect();
                map.insert(SECRETS.to_owned(), Value::from_object(secrets));
            }
            Value::from_object(map)
        })
    }
}

/// A value for the engine; `None` for nothing. `paths` are the names read below it.
fn convert(data: &Data, paths: &[&[String]]) -> Option<Value> {
    Some(match data {
        Data::Null => return (!paths.is_empty()).then(|| open(&Fields::new(), paths)),
        Data::Bool(b) => Value::from(*b),
        Data::Int(n) => Value::from(*n),
        Data::Dec(dec) => number(*dec),
        Data::Text(text) => Value::from(text.as_str()),
        Data::Time(time) => Value::from(time.to_string()),
        Data::List(list) => {
            Value::from(list.iter().map(|item| convert(item, &[]).unwrap_or(Value::from(()))).collect::<Vec<_>>())
        }
        Data::Map(fields) => open(fields, paths),
    })
}

fn number(dec: Dec) -> Value {
    match dec.as_int() {
        Some(whole) => Value::from(whole),
        // Exact: below this bound the shortest text of the binary fraction has the same digits.
        None if dec.0.unsigned_abs() <= FLOAT_EXACT_MILLIONTHS_MAX => {
            dec.to_string().parse::<f64>().map_or(Value::from_object(Exact(dec)), Value::from)
        }
        None => Value::from_object(Exact(dec)),
    }
}

/// A map of what there is; where there is nothing, what stands for it.
fn open(fields: &Fields, paths: &[&[String]]) -> Value {
    let map = names(fields, paths);
    if fields.is_empty() { Value::from_object(Absent(map)) } else { Value::from_object(map) }
}

/// `fields` for the engine; the maps that `paths` go through exist, if only as [`Absent`].
fn names(fields: &Fields, paths: &[&[String]]) -> Names {
    let below =
        |name: &str| -> Vec<&[String]> { paths.iter().filter(|p| p.len() > 1 && p[0] == name).map(|p| &p[1..]).collect() };
    let mut map = Names::new();
    for (name, data) in fields {
        if let Some(value) = convert(data, &below(name)) {
            map.insert(name.clone(), value);
        }
    }
    for path in paths.iter().filter(|path| path.len() > 1) {
        if !map.contains_key(path[0].as_str()) {
            map.insert(path[0].clone(), open(&Fields::new(), &below(&path[0])));
        }
    }
    map
}

/// A value of the engine as JSON; numbers keep their digits.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    use serde_json::Value as Json;
    Ok(match value.kind() {
        ValueKind::None | ValueKind::Undefined => Json::Null,
        ValueKind::Bool => Json::Bool(value.is_true()),
        ValueKind::Number => json_number(&value.to_string())?,
        ValueKind::Seq | ValueKind::Iterable => {
            Json::Array(value.try_iter()?.map(|item| to_json(&item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let mut map = serde_json::Map::new();
            for key in value.try_iter()? {
                map.insert(key.to_string(), to_json(&value.get_item(&key)?)?);
            }
            Json::Object(map)
        }
        _ if value.downcast_object_ref::<Exact>().is_some() => json_number(&value.to_string())?,
        _ => Json::String(value.to_string()),
    })
}

fn json_number(text: &str) -> Result<serde_json::Value, Error> {
    let wrong = || Error::new(ErrorKind::InvalidOperation, format!("`{text}` is no number that JSON can hold"));
    text.parse::<serde_json::Number>().map(serde_json::Value::Number).map_err(|_| wrong())
}

/// Collects output up to a limit.
pub(super) struct Bounded(pub Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > OUTPUT_BYTES_MAX {
            return Err(io::Error::other("too large"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
