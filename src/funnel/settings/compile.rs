//! From `autofunnel.yaml` to checked [`Settings`]: tables of fields, then one reader per field.

use super::*;
use crate::event::words;
use crate::lang::diag::Place;
use crate::lang::node::Key;
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{DAY_MS, Time};

/// Fields of `autofunnel.yaml`.
pub const FIELDS: &[Field] = &[
    Field::required("workspace", Shape::Text, "the workspace's name, as messages and pages show it"),
    Field::required("zone", Shape::Zone, "the time zone of customers who name none, and of schedules"),
    Field::required("currency", Shape::Phrase("three capital letters of ISO 4217, such as EUR"), "the currency of every amount"),
    Field::optional(
        "unknown",
        Shape::Word(UNKNOWN),
        "what an event of a customer nobody has introduced does: `create` her (default), or `refuse` the event",
    ),
    Field::optional(
        "profile",
        Shape::MapOf(&Shape::Word(TYPES)),
        "profile fields with their types, beside the built-in name, email, phone, zone, language, birthday, chat and push",
    ),
    Field::optional(
        "membership_owner",
        Shape::Word(OWNERS),
        "who says what membership a customer has: `events` (membership_* events, default), `api`, or the engine itself with its steps (`account`)",
    ),
    Field::optional(
        "events",
        Shape::MapOf(&Shape::MapOf(&Shape::Word(TYPES))),
        "custom events with the types of their properties; well-known events are built in",
    ),
    Field::optional("keep", Shape::Duration, "how long well-known events are kept singly at least (default: 400 days)"),
    Field::optional(
        "quiet_hours",
        Shape::Object(QUIET_FIELDS),
        "when marketing messages are held, by the customer's clock (default: never)",
    ),
    Field::optional(
        "caps",
        Shape::List(&Shape::Object(CAP_FIELDS)),
        "most marketing messages in a period; all caps hold together (default: none)",
    ),
    Field::optional("offers", Shape::Object(OFFERS_FIELDS), "the cool-down between offers, over all funnels (default: none)"),
    Field::optional(
        "holdout",
        holdout::SHAPE,
        "so many customers are left alone by every funnel, and measured all the same (default: none)",
    ),
    Field::optional("channels", Shape::Object(CHANNEL_FIELDS), "which provider carries which channel (default: inbox for all)"),
    Field::optional(
        "address",
        Shape::Text,
        "where customers reach this engine, https://…: links to unsubscribe and counted links are made of it (default: none)",
    ),
    Field::optional(
        "clicks",
        Shape::List(&Shape::Word(CHANNELS)),
        "channels whose links lead through `address` and are counted (default: email; `[]` for none)",
    ),
    Field::optional(
        "loyalty",
        Shape::Name("provider"),
        "who keeps the points: `account`, which is built in (default), or a provider of kind http",
    ),
    Field::optional(
        "loyalty_store",
        Shape::Either(&[Shape::Word(&["built_in"]), Shape::Ref("store")]),
        "who keeps the points and says what a customer has: `built_in` (default), or a store over HTTP",
    ),
    Field::optional("providers", Shape::MapOf(&Shape::Ref("provider")), "what carries messages and remote grants, by name"),
    Field::optional("sources", Shape::MapOf(&Shape::Ref("source")), "who may deliver webhooks, by name"),
    Field::optional(
        "budgets",
        Shape::List(&Shape::Object(budget::BUDGET_FIELDS)),
        "most points that may be given in a period; all budgets hold together, and a breach pauses the funnel (default: none)",
    ),
    Field::optional("point_value", Shape::Number, "what a point is worth in the workspace's currency, for budgets in money"),
    Field::optional("services", Shape::MapOf(&Shape::Ref("service")), "what steps may `call`, by name; they reach nothing else"),
];

/// Fields of `quiet_hours`.
pub const QUIET_FIELDS: &[Field] = &[
    Field::required("from", Shape::Clock, "the first quiet minute"),
    Field::required("until", Shape::Clock, "the first minute that is not quiet any more; may be in the next morning"),
];

/// Fields of a cap.
pub const CAP_FIELDS: &[Field] = &[
    Field::optional("channel", Shape::Word(CHANNELS), "only messages of this channel (default: every channel together)"),
    Field::optional("tag", Shape::Name("tag"), "only messages with this tag (default: any)"),
    Field::required("at_most", Shape::Int(1, AT_MOST_MAX), "most messages in the period"),
    Field::optional("per", Shape::Word(PER), "a calendar period in the customer's zone; a week begins on Monday"),
    Field::optional("within", Shape::Duration, "a rolling period: this long before the message"),
];

/// Fields of `offers`.
pub const OFFERS_FIELDS: &[Field] = &[
    Field::required("at_most", Shape::Int(1, AT_MOST_MAX), "most offers in the period"),
    Field::required("within", Shape::Duration, "the rolling period: this long before the offer"),
];

/// Fields of `channels`.
pub const CHANNEL_FIELDS: &[Field] = &[
    Field::optional("email", Shape::Name("provider"), "the provider of e-mail; sent to `customer.email`"),
    Field::optional("sms", Shape::Name("provider"), "the provider of text messages; sent to `customer.phone`"),
    Field::optional("chat", Shape::Name("provider"), "the provider of chat messages; sent to `customer.chat`"),
    Field::optional("push", Shape::Name("provider"), "the provider of push messages; sent to `customer.push`"),
];

const UNKNOWN: &[&str] = &["create", "refuse"];
const OWNERS: &[&str] = &["events", "api", "account"];
const PER: &[&str] = &["day", "week", "month"];
const TYPES: &[&str] = &["text", "number", "bool", "date", "time"];

impl Settings {
    /// Reads `autofunnel.yaml`. All faults are reported at once; what has an error takes its default (a zone UTC, a
    /// currency EUR, a name nothing), so that a faulty result is good only for looking further faults up.
    pub fn compile(node: &Node, faults: &mut Faults) -> Settings {
        let object = Object::read(node, &[FIELDS], "the settings", faults);
        let field = |name: &str| object.as_ref().and_then(|object| object.node(name));
        let zone = field("zone").and_then(|node| shape::zone(node, faults)).unwrap_or(chrono_tz::UTC);
        let currency = field("currency").and_then(|node| currency(node, faults)).unwrap_or_else(euro);
        let providers = nodes(field("providers"), "providers", faults);
        let known: BTreeSet<String> =
            providers.keys().map(String::as_str).chain([BUILT_IN_PROVIDER]).map(str::to_owned).collect();
        let point_value = field("point_value").and_then(|node| shape::number(node, faults));
        let options = TemplateOptions { currency, zone };
        let owner = field("membership_owner").and_then(|node| shape::word(node, OWNERS, faults));
        let mut settings = Settings {
            workspace: field("workspace").and_then(|node| title(node, faults)).unwrap_or_default(),
            zone,
            currency,
            create_unknown: field("unknown").and_then(|node| shape::word(node, UNKNOWN, faults)) != Some("refuse"),
            profile: named(field("profile"), PROFILE_FIELDS_MAX, "profile fields", faults, profile_field),
            membership_owner: match owner {
                Some("api") => MembershipOwner::Api,
                Some("account") => MembershipOwner::Account,
                _ => MembershipOwner::Events,
            },
            events: named(field("events"), EVENTS_MAX, "custom events", faults, custom_event),
            keep: field("keep").and_then(|node| length(node, faults)).unwrap_or(Span::days(KEEP_DAYS_DEFAULT)),
            quiet_hours: field("quiet_hours").and_then(|node| quiet_hours(node, faults)),
            caps: field("caps").map(|node| caps(node, faults)).unwrap_or_default(),
            offers: field("offers").and_then(|node| offers(node, faults)),
            holdout: field("holdout").and_then(|node| Share::read(node, faults)),
            channels: field("channels").map(|node| channels(node, &providers, faults)).unwrap_or_default(),
            address: field("address").and_then(|node| public_address(node, faults)),
            clicks: field("clicks").map_or_else(|| vec!["email".to_owned()], |node| clicks(node, faults)),
            loyalty: field("loyalty").and_then(|node| loyalty(node, &providers, faults)),
            provider_variables: variables(&providers, options, faults),
            providers,
            loyalty_store: None,
            sources: nodes(field("sources"), "sources", faults),
            point_value,
            budgets: field("budgets").map(|node| budget::budgets(node, point_value, currency, faults)).unwrap_or_default(),
            services: services(field("services"), &known, faults),
        };
        settings.loyalty_store = field("loyalty_store").and_then(|node| LoyaltyStore::read(node, &settings, faults));
        if let Some(store) = &settings.loyalty_store {
            settings.loyalty = Some(STORE.to_owned());
            let node = BTreeMap::from([(STORE.to_owned(), store.node.clone())]);
            settings.provider_variables.extend(variables(&node, options, faults));
        }
        settings
    }
}

/// What stands in for a currency that is missing or wrong, until that is repaired.
fn euro() -> Currency {
    Currency::parse("EUR").expect("EUR is three capital letters, which is all that a currency must be")
}

fn title(node: &Node, faults: &mut Faults) -> Option<String> {
    let text = shape::text(node, faults)?;
    if text.text.trim().is_empty() {
        faults.error("empty-field", &text.place, "the workspace's name is empty").hint("write the name that customers know");
        return None;
    }
    Some(text.text)
}

fn currency(node: &Node, faults: &mut Faults) -> Option<Currency> {
    let text = shape::text(node, faults)?;
    let read = Currency::parse(&text.text);
    if read.is_none() {
        let shown: String = text.text.chars().take(20).collect();
        faults.error("bad-currency", &text.place, format!("`{shown}` is not a currency"));
        let capitals = shown.trim().to_ascii_uppercase();
        match Currency::parse(&capitals) {
            Some(_) => faults.hint(format!("did you mean `{capitals}`?")),
            None => faults.hint("write the three capital letters of ISO 4217, for example `EUR` or `USD`"),
        };
    }
    read
}

/// A duration that is longer than nothing.
fn length(node: &Node, faults: &mut Faults) -> Option<Span> {
    let span = shape::span(node, faults)?;
    if span.is_zero() {
        faults.error("bad-duration", &node.place, "this duration is no time at all").hint("write for example `7 days`");
        return None;
    }
    Some(span)
}

/// A map of names, each read by `read`, up to `max` of them.
fn named<T>(
    node: Option<&Node>,
    max: usize,
    what: &str,
    faults: &mut Faults,
    read: fn(&Key, &Node, &mut Faults) -> Option<T>,
) -> BTreeMap<String, T> {
    let Some(node) = node else { return BTreeMap::new() };
    let Some(entries) = node.map() else {
        let message = format!("{what} must be a map of names, but here stands {}", node.describe());
        faults.error("wrong-type", &node.place, message).hint("write each as `name: …` on a line of its own");
        return BTreeMap::new();
    };
    bounded(entries.len(), max, &node.place, what, faults);
    let entries = entries.iter().take(max);
    entries.filter_map(|(key, node)| Some((key.text.clone(), read(key, node, faults)?))).collect()
}

pub(super) fn bounded(count: usize, max: usize, place: &Place, what: &str, faults: &mut Faults) {
    if count > max {
        faults.error("too-many", place, format!("{count} {what} are too many")).hint(format!("use at most {max}"));
    }
}

/// A key obeys the rules of any other name; quoted, because a key is always text.
fn key_name(key: &Key, faults: &mut Faults) -> Option<Text> {
    let kind = NodeKind::Scalar { text: key.text.clone(), plain: false };
    shape::name(&Node { place: key.place.clone(), kind }, faults)
}

/// A key that conditions can write after a dot.
fn field_name(key: &Key, faults: &mut Faults) -> Option<Text> {
    let name = key_name(key, faults)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.text.chars().all(plain) && !name.text.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(name);
    }
    let better: String = name.text.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    let better = if better.starts_with(|c: char| c.is_ascii_digit()) { format!("_{better}") } else { better };
    faults
        .error("bad-name", &name.place, format!("`{}` cannot be written in a condition", name.text))
        .hint(format!("use letters, digits and `_`, no digit first; write for example `{better}`"));
    None
}

/// The type a word stands for. A `date` is a day such as 2027-03-01, which conditions compare as a time.
fn property_type(node: &Node, faults: &mut Faults) -> Option<Type> {
    Some(match shape::word(node, TYPES, faults)? {
        "number" => Type::Number,
        "bool" => Type::Bool,
        "date" | "time" => Type::Time,
        _ => Type::Text,
    })
}

fn profile_field(key: &Key, node: &Node, faults: &mut Faults) -> Option<Type> {
    let ty = property_type(node, faults);
    let name = field_name(key, faults)?;
    if BUILT_IN_PROFILE.contains(&name.text.as_str()) {
        let message = format!("the profile field `{}` is built in", name.text);
        faults.error("reserved-name", &name.place, message).hint("remove the line; it is there without it");
        return None;
    }
    if RESERVED_PROFILE.contains(&name.text.as_str()) {
        let message = format!("`customer.{}` is something else already", name.text);
        faults.error("reserved-name", &name.place, message).hint(format!("choose another name, for example `my_{}`", name.text));
        return None;
    }
    ty
}

fn custom_event(key: &Key, node: &Node, faults: &mut Faults) -> Option<Type> {
    let properties = match node.is_null() {
        true => BTreeMap::new(),
        false => named(Some(node), PROPERTIES_MAX, "properties", faults, |key, node, faults| {
            let ty = property_type(node, faults);
            field_name(key, faults).and(ty)
        }),
    };
    let name = key_name(key, faults)?;
    if words::word(&name.text).is_some() {
        faults
            .error("reserved-name", &name.place, format!("the event `{}` is built in, with its properties", name.text))
            .hint("remove it here; what a sender puts beside the known properties is kept and can be read all the same");
        return None;
    }
    Some(Type::Object(properties.into_iter().collect()))
}

fn quiet_hours(node: &Node, faults: &mut Faults) -> Option<QuietHours> {
    let object = Object::read(node, &[QUIET_FIELDS], "`quiet_hours`", faults)?;
    let (from, until) = (object.clock("from", faults), object.clock("until", faults));
    let (from, until) = (from?, until?);
    if from == until {
        faults
            .error("quiet-hours", &object.place("until"), "quiet hours that end when they begin would be never or always")
            .hint("write another time, or remove `quiet_hours` to have none");
        return None;
    }
    Some(QuietHours { from, until })
}

fn caps(node: &Node, faults: &mut Faults) -> Vec<Cap> {
    let Some(items) = node.list() else {
        let message = format!("`caps` must be a list, but here stands {}", node.describe());
        faults.error("wrong-type", &node.place, message).hint("write for example `- { channel: email, at_most: 3, per: week }`");
        return Vec::new();
    };
    bounded(items.len(), CAPS_MAX, &node.place, "caps", faults);
    items.iter().take(CAPS_MAX).filter_map(|item| cap(item, faults)).collect()
}

fn cap(node: &Node, faults: &mut Faults) -> Option<Cap> {
    let object = Object::read(node, &[CAP_FIELDS], "a cap", faults)?;
    let before = faults.error_count();
    let channel = object.word("channel", CHANNELS, faults).map(str::to_owned);
    let tag = object.node("tag").and_then(|node| shape::name(node, faults)).map(|tag| tag.text);
    let at_most = at_most(&object, faults);
    let period = match (object.node("per"), object.node("within")) {
        (Some(per), None) => shape::word(per, PER, faults).map(|word| match word {
            "day" => Period::Day,
            "week" => Period::Week,
            _ => Period::Month,
        }),
        (None, Some(_)) => within(&object, faults).map(Period::Within),
        (Some(_), Some(within)) => {
            faults
                .error("cap-period", &within.place, "a cap has one period; this one has `per` and `within`")
                .hint("keep one; write a second cap for the other");
            None
        }
        (None, None) => {
            faults
                .error("cap-period", &node.place, "a cap lacks its period")
                .hint("add `per: week` (calendar: day, week, month) or `within: 7 days` (rolling)");
            None
        }
    };
    // A cap whose channel or tag is faulty must not become one over everything.
    if faults.error_count() > before {
        return None;
    }
    Some(Cap { channel, tag, at_most: at_most?, period: period? })
}

fn at_most(object: &Object<'_>, faults: &mut Faults) -> Option<u32> {
    object.int("at_most", 1, AT_MOST_MAX, faults).and_then(|n| u32::try_from(n).ok())
}

fn within(object: &Object<'_>, faults: &mut Faults) -> Option<Span> {
    let node = object.node("within")?;
    let span = length(node, faults)?;
    if Time(0).plus(span, chrono_tz::UTC).0 > CAP_DAYS_MAX * DAY_MS {
        faults
            .error("out-of-range", &node.place, format!("`{span}` is longer than sent messages are remembered"))
            .hint(format!("write at most `{CAP_DAYS_MAX} days`"));
        return None;
    }
    Some(span)
}

fn offers(node: &Node, faults: &mut Faults) -> Option<(u32, Span)> {
    let object = Object::read(node, &[OFFERS_FIELDS], "`offers`", faults)?;
    let (at_most, within) = (at_most(&object, faults), within(&object, faults));
    Some((at_most?, within?))
}

/// Providers or sources, as written.
fn nodes(node: Option<&Node>, what: &str, faults: &mut Faults) -> BTreeMap<String, Node> {
    named(node, PROVIDERS_MAX, what, faults, |key, node, faults| {
        let name = key_name(key, faults)?;
        if let Some(why) = store::reserved(&name.text) {
            faults.error("reserved-name", &name.place, why).hint("choose another name");
            return None;
        }
        Some(node.clone())
    })
}

/// Services, as written. Rates, pauses and figures know a service by its name, so no provider has the same.
fn services(node: Option<&Node>, providers: &BTreeSet<String>, faults: &mut Faults) -> BTreeMap<String, Node> {
    let services = nodes(node, "services", faults);
    for (name, node) in services.iter().filter(|(name, _)| providers.contains(*name)) {
        faults
            .error("reserved-name", &node.place, format!("a provider is called `{name}` already"))
            .hint(format!("choose another name for the service, for example `{name}-api`"));
    }
    services
}

/// The name of a provider that there is.
fn provider(node: &Node, providers: &BTreeMap<String, Node>, more: &'static str, faults: &mut Faults) -> Option<String> {
    let name = shape::name(node, faults)?;
    if name.text == more || providers.contains_key(&name.text) {
        return Some(name.text);
    }
    let known: BTreeSet<&str> = providers.keys().map(String::as_str).chain([more]).collect();
    faults
        .error("unknown-provider", &name.place, format!("there is no provider `{}` under `providers`", name.text))
        .did_you_mean(&name.text, known);
    None
}

fn channels(node: &Node, providers: &BTreeMap<String, Node>, faults: &mut Faults) -> BTreeMap<String, String> {
    let Some(object) = Object::read(node, &[CHANNEL_FIELDS], "`channels`", faults) else { return BTreeMap::new() };
    let written = CHANNELS.iter().filter_map(|channel| Some((*channel, object.node(channel)?)));
    written
        .filter_map(|(channel, node)| Some((channel.to_owned(), provider(node, providers, BUILT_IN_PROVIDER, faults)?)))
        .collect()
}

/// `https://shop.example`: without a path of ours at its end.
fn public_address(node: &Node, faults: &mut Faults) -> Option<String> {
    let text = shape::text(node, faults)?;
    let address = text.text.trim_end_matches('/');
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://localhost"));
    let fits = rest.is_some_and(|rest| {
        (!rest.is_empty() || address.starts_with("http:"))
            && !rest.starts_with('/')
            && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/~[]".contains(&byte))
    });
    if !fits {
        faults
            .error("bad-url", &text.place, "this is not an address that links in messages could be made of")
            .hint("write for example `https://mail.shop.example`; http is for localhost only");
        return None;
    }
    Some(address.to_owned())
}

fn clicks(node: &Node, faults: &mut Faults) -> Vec<String> {
    let Some(items) = node.list() else {
        let message = format!("`clicks` must be a list, but here stands {}", node.describe());
        faults.error("wrong-type", &node.place, message).hint("write for example `clicks: [email]`, or `clicks: []`");
        return Vec::new();
    };
    items.iter().filter_map(|item| shape::word(item, CHANNELS, faults).map(str::to_owned)).collect()
}

fn loyalty(node: &Node, providers: &BTreeMap<String, Node>, faults: &mut Faults) -> Option<String> {
    let name = provider(node, providers, ACCOUNT, faults)?;
    let kind = providers.get(&name).and_then(|node| node.get("kind")).and_then(Node::scalar);
    if kind == Some(BUILT_IN_PROVIDER) {
        faults
            .error(
                "loyalty-provider",
                &node.place,
                format!("the provider `{name}` is an inbox, which keeps messages, not points"),
            )
            .hint("write `account`, or the name of a provider of kind http");
        return None;
    }
    (name != ACCOUNT).then_some(name)
}
