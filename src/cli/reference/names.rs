//! The parts of the reference about conditions: their functions, their structured form, and what they can name.

use super::workspace;
use super::{heading, parts};
use crate::event::words::{WORDS, WordType};
use crate::funnel::names;
use crate::lang::cel::functions::FUNCTIONS;
use crate::lang::cel::{STRUCTURED, Type};

/// How conditions are written.
pub(super) fn conditions(out: &mut String) {
    heading(out, 2, "Conditions");
    out.push_str(
        "CEL, checked before anything runs: `&&`, `||`, `!`, `==`, `!=`, `<`, `<=`, `>`, `>=`, `in`, `+`, `-`, `*`, `/`, `a ? b : c`, lists, \
         texts in quotes. Behind a value: `.contains(…)`, `.startsWith(…)`, `.endsWith(…)`, `.lowerAscii()`, `.size()`; behind a list \
         `.exists(item, …)`, `.all(item, …)`, `.filter(item, …)`, `.map(item, …)`. What is missing is *unknown*, and an unknown condition does not hold.\n\n\
         | function | |\n|---|---|\n",
    );
    for function in FUNCTIONS {
        out.push_str(&format!("| `{}` | {} |\n", function.form.replace('|', "\\|"), function.doc));
    }
    heading(out, 3, "The structured form");
    out.push_str("A map instead of an expression; several lines hold together.\n\n| line | |\n|---|---|\n");
    for (_, example, about) in STRUCTURED {
        out.push_str(&format!("| `{example}` | {about} |\n"));
    }
}

/// What conditions and templates can name.
pub(super) fn names(out: &mut String) {
    heading(out, 2, "Names");
    out.push_str(
        "Beside these, `customer.` has the fields of the profile, `event.` the properties of the event that began the run (in a `where` of the event \
         looked at), `steps.<id>.` what a step came to (its `result` among them). Templates also have `offer.`, `workspace.name` and `unsubscribe_url`.\n\n\
         | name | |\n|---|---|\n",
    );
    let Ok(workspace) = workspace::with(parts::TRIGGER, "- wait: 1 day") else { return };
    let own = &workspace.settings.profile;
    for root in ["customer", "run", "offer"] {
        for (path, ty) in names::listed(&workspace.settings, root).into_iter().filter(|(path, _)| {
            // The profile of the examples is nobody else's.
            path.split_once('.').is_none_or(|(_, name)| !own.contains_key(name))
        }) {
            out.push_str(&format!("| `{path}` | {} |\n", in_words(&ty)));
        }
    }
}

fn in_words(ty: &Type) -> String {
    match ty {
        Type::Bool => "true or false".to_owned(),
        Type::Number => "a number".to_owned(),
        Type::Text => "a text".to_owned(),
        Type::Time => "an instant".to_owned(),
        Type::Span => "a span".to_owned(),
        Type::List(item) => format!("a list: {}", in_words(item)),
        Type::Object(_) => "a map".to_owned(),
        Type::Any => "as it was sent".to_owned(),
    }
}

/// The events that the engine knows.
pub(super) fn events(out: &mut String) {
    heading(out, 2, "Events");
    out.push_str(
        "Those whose words the engine knows; any other name is an event of yours. Every event has `id`, `name` and `time`.\n\n\
         | event | properties | |\n|---|---|---|\n",
    );
    for word in WORDS {
        let properties = word.properties.iter().map(|(name, ty)| format!("`{name}` ({})", kind(*ty)));
        out.push_str(&format!("| `{}` | {} | {} |\n", word.name, properties.collect::<Vec<_>>().join(", "), word.doc));
    }
}

fn kind(ty: WordType) -> &'static str {
    match ty {
        WordType::Text => "text",
        WordType::Number => "number",
        WordType::Money => "money",
        WordType::Time => "instant",
        WordType::Items => "list of `sku`, `category`, `quantity`, `amount`",
        WordType::Bool => "true or false",
    }
}
