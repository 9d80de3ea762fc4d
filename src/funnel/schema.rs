//! JSON Schemas of the files of a workspace, from which editors complete and check while a file is written.
//!
//! They are made of the same tables of fields and registries by which files are read, so that what an editor
//! offers is what the engine takes. What a table cannot say (a segment that there is not, a condition with a
//! wrong type) only `check` finds. The fields of tests stand here, because only this form needs them as tables.

use super::settings::CHANNELS;
use super::{blocks, draft, settings};
use crate::catalog;
use crate::lang::diag::Faults;
use crate::lang::node;
use crate::lang::shape::{self, Field, Shape, object_schema, schema};
use crate::segment;
use crate::step;
use crate::trigger;
use crate::watch;
use serde_json::{Map, Value as Json, json};

#[cfg(test)]
mod tests;

/// The version of JSON Schema in which all of them are written.
pub const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// Fields of a funnel's test.
pub const TEST_FIELDS: &[Field] = &[
    Field::required("name", Shape::Text, "what it shows, as one says it"),
    Field::optional("given", Shape::Object(GIVEN_FIELDS), "the customer before the test begins, and the time at which it begins"),
    Field::optional("events", Shape::List(&Shape::Ref("test_event")), "what happens, in the order of time"),
    Field::optional(
        "until",
        Shape::Phrase(MOMENT),
        "the test plays on to here (default: until nothing more is due, at most 400 days)",
    ),
    Field::optional(
        "expect",
        Shape::List(&Shape::Ref("test_fact")),
        "what the funnel did, in order, exactly this: `[time] kind [channel] [about][: text that the reason contains]`",
    ),
    Field::optional("state", Shape::Object(STATE_FIELDS), "what must hold of the customer at the end"),
];

/// Fields of `given`.
pub const GIVEN_FIELDS: &[Field] = &[
    Field::optional("customer", Shape::MapOf(&Shape::Data), "profile fields; without `zone` she lives in the workspace's zone"),
    Field::optional("holdout", Shape::Bool, "`true`: she is one of those who are held out (default: she is not)"),
    Field::optional(
        "variants",
        Shape::MapOf(&Shape::Name("variant")),
        "the variants that she gets, by the id of the split: `{ split_1: letter }` (default: they are drawn by her id)",
    ),
    Field::optional("consent", Shape::Ref("test_consent"), "consent given before the test begins"),
    Field::optional("membership", Shape::Object(MEMBERSHIP_FIELDS), "her membership"),
    Field::optional("store", Shape::Object(STORE_FIELDS), "what the remote loyalty store says of her and does with grants"),
    Field::optional(
        "history",
        Shape::List(&Shape::Ref("test_history")),
        "earlier events: they fill her history and fire nothing",
    ),
    Field::optional(
        "answers",
        Shape::MapOf(&Shape::Object(ANSWER_FIELDS)),
        "what services answer, by the id of the step that calls (default: 200 without a body)",
    ),
    Field::optional("at", Shape::Phrase(MOMENT), "the time at which the test begins"),
];

/// Fields of a membership in a test.
pub const MEMBERSHIP_FIELDS: &[Field] = &[
    Field::required("name", Shape::Name("membership"), "which membership"),
    Field::optional("started", Shape::Phrase(MOMENT), "when the present term began"),
    Field::optional("ends", Shape::Phrase(MOMENT), "when the present term ends"),
    Field::optional("auto_renew", Shape::Bool, "whether it renews by itself (default: false)"),
    Field::optional("cancelled", Shape::Bool, "whether she has cancelled it (default: false)"),
];

/// Fields of a remote loyalty store in a test. What it is not told to say of points comes from a ledger of its own, in
/// which it books the grants of the test.
pub const STORE_FIELDS: &[Field] = &[
    Field::optional("grants", Shape::Word(STORE_GRANTS), "what it does with grants (default: active)"),
    Field::optional("reason", Shape::Text, "why it parks or refuses them"),
    Field::optional("down", Shape::Bool, "it does not answer any more (default: false)"),
    Field::optional("balance", Shape::Number, "points that she can spend"),
    Field::optional("pending", Shape::Number, "points that wait for activation"),
    Field::optional("tier", Shape::Text, "her tier"),
    Field::optional("next_expiry", Shape::Text, "when points run out next"),
    Field::optional("programmes", Shape::Data, "as `customer.programmes`"),
    Field::optional("memberships", Shape::Data, "as `customer.memberships`"),
    Field::optional("offers", Shape::Data, "as `customer.offers`"),
];

/// Fields of `state`.
pub const STATE_FIELDS: &[Field] = &[
    Field::optional("segments", Shape::List(&Shape::Name("segment")), "exactly the segments that she is in"),
    Field::optional("tier", Shape::Name("tier"), "her tier"),
    Field::optional("balance", Shape::Number, "points that she can spend"),
    Field::optional("profile", Shape::MapOf(&Shape::Data), "profile fields with the values that they must have"),
];

/// What an event of a test may be beside an event: one table for each, its first field says which.
pub const HAPPENING_FIELDS: &[&[Field]] = &[
    &[Field::required("consent", Shape::Ref("test_consent"), "she gives or takes back consent"), AT],
    &[Field::required("set", Shape::MapOf(&Shape::Data), "her profile is changed from outside"), AT],
    &[Field::required("membership", Shape::Object(MEMBERSHIP_FIELDS), "her membership is set from outside"), AT],
    &[
        Field::required("enrol", Shape::Bool, "`true`: somebody asks for a run of this funnel"),
        Field::optional("properties", Shape::MapOf(&Shape::Data), "can be read as `event.<name>` in the run"),
        AT,
    ],
    &[Field::required("store", Shape::Object(STORE_FIELDS), "the remote loyalty store says or does something else"), AT],
    &[Field::required("stop", Shape::Word(CHANNELS), "she answers STOP by this channel"), AT],
    &[Field::required("start", Shape::Word(CHANNELS), "she answers START by this channel, and may be written to again"), AT],
    &[Field::required("unsubscribe", Shape::Word(CHANNELS), "she takes the way out of a marketing message of this channel"), AT],
    &[Field::required("release", Shape::Name("step"), "a person releases what this step holds for review"), AT],
    &[Field::required("reject", Shape::Name("step"), "a person says no to what this step holds for review"), AT],
    &[
        Field::required(
            "fail",
            Shape::Name("step"),
            "the next effect of this step, or with this template, fails; `STEP.other`: what a step `both` asks of the other",
        ),
        Field::optional(
            "with",
            Shape::Word(FAILURES),
            "how it fails: `refused` by the receiver (default), `dead` after all attempts, or `silent`: nobody answers",
        ),
        AT,
    ],
    &[
        Field::required("answer", Shape::Name("step"), "from now on calls of this step are answered so"),
        Field::optional("status", Shape::Int(100, 599), "the status (default: 200)"),
        Field::optional("body", Shape::Data, "the JSON body (default: none)"),
        AT,
    ],
];

/// Fields of an answer in `given`.
pub const ANSWER_FIELDS: &[Field] = &[
    Field::optional("status", Shape::Int(100, 599), "the status (default: 200)"),
    Field::optional("body", Shape::Data, "the JSON body (default: none)"),
];

/// An event of a test; its properties stand beside these fields.
const EVENT_FIELDS: &[Field] =
    &[Field::required("event", Shape::Name("event"), "the event's name; its properties stand beside it"), AT];

const AT: Field = Field::optional("at", Shape::Phrase(MOMENT), "when it happens; `+3 days` counts from what stands before");
const MOMENT: &str = "A time such as 2027-03-01 10:00, in the customer's zone, or 2027-03-01T10:00:00Z.";
const FAILURES: &[&str] = &["refused", "dead", "silent"];
/// What a store of a test can do with grants.
pub const STORE_GRANTS: &[&str] = &["active", "parked", "refused"];

/// Kinds of facts that `expect` lists, each with what it says.
pub const FACT_KINDS: &[(&str, &str)] = &[
    ("entered", "a run began"),
    ("held_out", "she would have entered and is left alone"),
    ("settling", "the trigger fired, and who may enter is judged again for a while"),
    ("not_entered", "the trigger fired and no run began"),
    ("sent", "a message was sent"),
    ("granted", "points were granted"),
    ("undone", "points that were granted were taken back"),
    ("parked", "a grant waits for a blocked programme"),
    ("offered", "an offer was made"),
    ("told", "another customer was told of an event, or got points"),
    ("called", "a service was called and answered as expected"),
    ("skipped", "a step was skipped"),
    ("held", "a message waits for the end of quiet hours, for its window, or for room under a cap"),
    ("review", "a step waits for a person's release"),
    ("released", "a person released it"),
    ("shadowed", "what a step would have done, where nothing leaves"),
    ("capped", "a cap stood against a message"),
    ("variant", "a split chose"),
    ("set", "a profile field was set"),
    ("emitted", "an event was emitted"),
    ("passed_on", "another funnel was asked to begin"),
    ("restarted", "a wait began anew"),
    ("failed", "a step failed for good"),
    ("goal", "the goal was reached"),
    ("exited", "the run ended early"),
    ("stopped", "the run ended by a step"),
    ("finished", "the run came to its end"),
    ("withdrawn", "what was planned was taken back"),
];

/// The schemas of `loyalty_store` and of its requests; their tables stand in a higher layer.
pub struct Store {
    /// The store itself.
    pub store: Json,
    /// A request that books something.
    pub booking: Json,
    /// A lookup.
    pub lookup: Json,
}

/// All schemas with their file names. `provider` is the schema of one entry of `providers`, `source` that of one
/// entry of `sources`, `service` that of one entry of `services`; their registries stand in higher layers.
pub fn all(provider: Json, source: Json, service: Json, store: Store) -> Vec<(&'static str, Json)> {
    vec![
        ("funnel.schema.json", funnel_schema()),
        ("settings.schema.json", settings_schema(provider, source, service, store)),
        ("segments.schema.json", segments_schema()),
        ("catalog.schema.json", catalog_schema()),
        ("blocks.schema.json", blocks_schema()),
        ("tests.schema.json", tests_schema()),
    ]
}

/// The schema of a funnel's file.
pub fn funnel_schema() -> Json {
    let mut defs = test_defs();
    defs.insert("trigger".to_owned(), trigger_def());
    defs.insert("watch".to_owned(), watch_def());
    defs.insert("steps".to_owned(), json!({ "type": "array", "items": reference("step") }));
    let names = step::KINDS.iter().map(|kind| kind.name).chain(["use"]);
    let arms: Vec<Json> = names.map(|name| reference(&format!("step_{name}"))).collect();
    let step = json!({ "title": "Step", "description": "One kind of step, and options beside it.", "anyOf": arms });
    defs.insert("step".to_owned(), step);
    for kind in step::KINDS {
        let body = object_schema(&[kind.fields, step::COMMON]);
        let def = kind_def(kind.name, kind.doc, &format!("- {}", kind.example), true, body);
        defs.insert(format!("step_{}", kind.name), def);
    }
    let body = object_schema(&[blocks::USE_FIELDS]);
    let example = "- { use: nudge, with: { template: benefits } }";
    defs.insert("step_use".to_owned(), kind_def("use", "put the steps of a block of blocks.yaml here", example, true, body));
    document("Funnel", "A funnel: why a run starts and what it does.", object_schema(&[draft::FIELDS]), defs)
}

/// The schema of `autofunnel.yaml`; see [`all`] for the arguments.
pub fn settings_schema(provider: Json, source: Json, service: Json, store: Store) -> Json {
    let defs = [
        ("provider", provider),
        ("source", source),
        ("service", service),
        ("store", store.store),
        ("store_booking", store.booking),
        ("store_lookup", store.lookup),
    ];
    let defs = Map::from_iter(defs.map(|(name, def)| (name.to_owned(), def)));
    document("Settings", "The settings of a workspace.", object_schema(&[settings::FIELDS]), defs)
}

/// The schema of `segments.yaml`.
pub fn segments_schema() -> Json {
    let body = json!({
        "type": "object",
        "propertyNames": { "pattern": format!("^[a-z0-9-]{{1,{}}}$", shape::NAME_CHARS_MAX) },
        "maxProperties": segment::SEGMENTS_MAX,
        "additionalProperties": object_schema(&[segment::FIELDS]),
        "examples": [{ "vip": { "title": "VIP", "family": "value", "when": "spent(\"365 days\") >= 500" } }],
    });
    document("Segments", "Named conditions on customers, kept up to date by events and by time.", body, Map::new())
}

/// The schema of `catalog.yaml`.
pub fn catalog_schema() -> Json {
    let about = "Tiers, memberships and bundles: what there is to earn and to buy.";
    document("Catalog", about, object_schema(&[catalog::FIELDS]), Map::new())
}

/// The schema of `blocks.yaml`. What stands for a parameter may stand everywhere, so steps are checked only where a
/// block is used.
pub fn blocks_schema() -> Json {
    let body = json!({
        "type": "object",
        "propertyNames": { "pattern": format!("^[a-z0-9-]{{1,{}}}$", shape::NAME_CHARS_MAX) },
        "maxProperties": blocks::BLOCKS_MAX,
        "additionalProperties": object_schema(&[blocks::FIELDS]),
        "examples": [{ "nudge": { "with": ["template"], "steps": [{ "wait": "3 days" }, { "email": "${template}" }] } }],
    });
    let steps = json!({ "type": "array", "items": { "type": "object" } });
    let about = "Lists of steps with parameters, which funnels take in with `use`.";
    document("Blocks", about, body, Map::from_iter([("steps".to_owned(), steps)]))
}

/// The schema of `tests/<funnel>.yaml`.
pub fn tests_schema() -> Json {
    const FILE: &[Field] =
        &[Field::required("tests", Shape::List(&Shape::Ref("test")), "the tests of the funnel of the same name")];
    document("Tests", "What customers would see, checked by `autofunnel test`.", object_schema(&[FILE]), test_defs())
}

/// A schema that stands for a file: its dialect, its title and what it refers to.
fn document(title: &str, about: &str, body: Json, defs: Map<String, Json>) -> Json {
    let mut out = Map::new();
    out.insert("$schema".to_owned(), json!(DIALECT));
    out.insert("title".to_owned(), json!(title));
    out.insert("description".to_owned(), json!(about));
    if let Json::Object(body) = body {
        out.extend(body);
    }
    if !defs.is_empty() {
        out.insert("$defs".to_owned(), Json::Object(defs));
    }
    Json::Object(out)
}

fn reference(name: &str) -> Json {
    json!({ "$ref": format!("#/$defs/{name}") })
}

/// A kind of step or trigger; its example is data where it can be read as such (one with `…` cannot).
fn kind_def(name: &str, doc: &str, example: &str, listed: bool, body: Json) -> Json {
    let mut out = Map::new();
    out.insert("title".to_owned(), json!(name));
    out.insert("description".to_owned(), json!(sentence(doc)));
    if let Some(data) = data(example) {
        let data = if listed { data.get(0).cloned().unwrap_or(data) } else { data };
        out.insert("examples".to_owned(), json!([data]));
    }
    if let Json::Object(body) = body {
        out.extend(body);
    }
    Json::Object(out)
}

fn sentence(doc: &str) -> String {
    let mut chars = doc.chars();
    let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", chars.as_str().trim_end_matches('.'))
}

/// An example as data; `None` when it leaves something out, or is not data of this language.
fn data(example: &str) -> Option<Json> {
    let mut faults = Faults::default();
    let node = node::parse("example", example, &mut faults).filter(|_| !example.contains('…'))?;
    let data = shape::data(&node, &mut faults)?;
    (!faults.has_errors()).then(|| data.to_json())
}

/// A word alone (a kind that may stand so, or an event's name), or a map with the fields of one kind.
fn trigger_def() -> Json {
    let bare = trigger::KINDS.iter().filter(|kind| kind.bare);
    let words = bare.map(|kind| json!({ "const": kind.name, "title": kind.name, "description": sentence(kind.doc) }));
    let mut event = schema(&Shape::Name("event"));
    event["title"] = json!("event");
    event["description"] = json!("The name of an event that starts a run.");
    let maps = trigger::KINDS.iter().map(|kind| {
        let example =
            if kind.example.starts_with('{') { kind.example.to_owned() } else { format!("{{ {}: true }}", kind.example) };
        kind_def(kind.name, kind.doc, &example, false, object_schema(&[kind.fields]))
    });
    let arms: Vec<Json> = words.chain([event]).chain(maps).collect();
    json!({ "title": "Trigger", "description": "Why a run starts.", "anyOf": arms })
}

/// What a run looks out for: an event's name, or a map with exactly one kind.
fn watch_def() -> Json {
    let kinds = watch::FIELDS.iter().filter(|field| field.name != "where");
    let one_of: Vec<Json> = kinds.map(|field| json!({ "required": [field.name] })).collect();
    let mut map = object_schema(&[watch::FIELDS]);
    map["oneOf"] = json!(one_of);
    map["dependentRequired"] = json!({ "where": ["event"] });
    json!({
        "title": "Watch",
        "description": "An event, a change of segments, or a condition that becomes true.",
        "anyOf": [schema(&Shape::Name("event")), map],
        "examples": ["membership_renewed", { "event": "refund", "where": "event.amount > 10" }, { "segment_entered": "vip" }],
    })
}

/// The definitions that a test refers to.
fn test_defs() -> Map<String, Json> {
    let mut test = object_schema(&[TEST_FIELDS]);
    test["title"] = json!("Test");
    let mut event = object_schema(&[EVENT_FIELDS]);
    event["additionalProperties"] = json!(true);
    event["title"] = json!("event");
    let others = HAPPENING_FIELDS.iter().map(|fields| {
        let mut out = object_schema(&[fields]);
        out["title"] = json!(fields.first().map_or("", |field| field.name));
        out
    });
    let arms: Vec<Json> = std::iter::once(event.clone()).chain(others).collect();
    let happening = json!({ "title": "Event of a test", "anyOf": arms });
    Map::from_iter([
        ("test".to_owned(), test),
        ("test_event".to_owned(), happening),
        ("test_history".to_owned(), event),
        ("test_consent".to_owned(), consent_def()),
        ("test_fact".to_owned(), fact_def()),
    ])
}

/// A list of what consent is given to, or a map that says yes or no for each.
fn consent_def() -> Json {
    let channels: Vec<Json> = settings::CHANNELS.iter().map(|channel| json!(channel)).collect();
    json!({
        "title": "Consent",
        "description": "Channels, or `channel:topic`: a list of what consent is given to, or `true`/`false` for each.",
        "anyOf": [schema(&Shape::List(&Shape::Text)), schema(&Shape::MapOf(&Shape::Bool))],
        "examples": [channels, { "sms": false }],
    })
}

/// A line of `expect`. A line with a reason (`skipped nudge: customer.tier`) is a map with one entry to YAML.
fn fact_def() -> Json {
    let words: Vec<&str> = FACT_KINDS.iter().map(|(word, _)| *word).collect();
    let pattern = format!("^([^a-z]\\S* +)*({})( |:|$)", words.join("|"));
    let kinds: Vec<String> = FACT_KINDS.iter().map(|(word, about)| format!("`{word}` ({about})")).collect();
    json!({
        "title": "Fact",
        "description": format!("`[time] kind [channel] [about]`; after `: ` text that the reason contains. Kinds: {}.", kinds.join(", ")),
        "anyOf": [
            { "type": "string", "pattern": pattern },
            { "type": "object", "propertyNames": { "pattern": pattern }, "minProperties": 1, "maxProperties": 1, "additionalProperties": { "type": "string" } },
        ],
        "examples": ["2027-03-01 10:00 entered", "2027-03-01 10:00 sent email welcome", "granted 200 points", "finished"],
    })
}
