//! From `catalog.yaml` to a checked [`Catalog`]: tables of fields, then one reader per kind of thing.

use super::{BENEFITS_MAX, BUNDLES_MAX, Bundle, BundleKind, Catalog, ITEMS_MAX, Item, MEMBERSHIPS_MAX, Membership, QUANTITY_MAX};
use super::{Season, TIERS_MAX, Tier};
use crate::lang::cel::{Cond, Schema, Type};
use crate::lang::diag::{Faults, Place};
use crate::lang::node::{Key, Node, NodeKind};
use crate::lang::shape::{self, Field, Object, Shape};
use crate::lang::time::{Span, parse_date};
use crate::money::Currency;
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// Fields of `catalog.yaml`.
pub const FIELDS: &[Field] = &[
    Field::optional(
        "tiers",
        Shape::List(&Shape::Object(TIER_FIELDS)),
        "levels of the programme, lowest first; the highest whose `when` holds counts",
    ),
    Field::optional("memberships", Shape::MapOf(&Shape::Object(MEMBERSHIP_FIELDS)), "memberships as products, by name"),
    Field::optional(
        "bundles",
        Shape::MapOf(&Shape::Object(BUNDLE_FIELDS)),
        "products at one price, by name; the step `offer` offers them",
    ),
    Field::optional("bonus", Shape::Object(BONUS_FIELDS), "rules for all bonus points"),
];

/// Fields of a tier.
pub const TIER_FIELDS: &[Field] = &[
    Field::required("tier", Shape::Name("tier"), "the tier's name"),
    Field::required("when", Shape::Condition, "who is on it; the condition sees neither `customer.tier` nor segments"),
    Field::optional("benefits", Shape::OneOrMore(&Shape::Text), "what it gives, as messages say it"),
];

/// Fields of a membership.
pub const MEMBERSHIP_FIELDS: &[Field] = &[
    Field::required("title", Shape::Text, "its name for people"),
    Field::required("price", Shape::Number, "the price of one term, in the workspace currency"),
    Field::required("term", Shape::Duration, "how long one term is, for example `1 year`"),
    Field::optional("benefits", Shape::OneOrMore(&Shape::Text), "what it gives, as messages say it"),
    Field::optional("auto_renew", Shape::Bool, "whether it renews by itself (default: false)"),
];

/// Fields of a bundle.
pub const BUNDLE_FIELDS: &[Field] = &[
    Field::required("title", Shape::Text, "its name for people"),
    Field::required("kind", Shape::Word(KINDS), "what it is for"),
    Field::required("items", Shape::List(&Shape::Object(ITEM_FIELDS)), "what is in it"),
    Field::required("price", Shape::Number, "its price, in the workspace currency"),
    Field::required("worth", Shape::Number, "what its items cost bought singly; the saving shown is the difference"),
    Field::optional("for", Shape::Condition, "who may have it (default: everybody)"),
    Field::optional("members_only", Shape::Bool, "only for customers with an active membership (default: false)"),
    Field::optional("season", Shape::Object(SEASON_FIELDS), "the days in which it is offered"),
    Field::required("valid_for", Shape::Duration, "how long an offer of it holds where the offer does not say"),
];

/// Fields of an item of a bundle.
pub const ITEM_FIELDS: &[Field] = &[
    Field::required("sku", Shape::Text, "the shop's name for the product"),
    Field::optional("quantity", Shape::Int(1, QUANTITY_MAX), "how many of it (default: 1)"),
];

/// Fields of a season.
pub const SEASON_FIELDS: &[Field] = &[
    Field::required("from", Shape::Phrase("a day such as 2027-11-01"), "the first day, in the customer's zone"),
    Field::required("until", Shape::Phrase("a day such as 2027-12-31"), "the last day, in the customer's zone"),
];

/// Fields of `bonus`.
pub const BONUS_FIELDS: &[Field] = &[Field::required(
    "expires_after",
    Shape::Duration,
    "granted points run out this long after they became spendable, where the step `grant` does not say",
)];

const KINDS: &[&str] = &["starter", "tier", "member_only", "seasonal", "vip", "renewal"];

impl Catalog {
    /// Reads `catalog.yaml`. All faults are reported at once; what has an error is left out of the result,
    /// which is then good only for looking further faults up.
    pub fn compile(node: &Node, schema: &dyn Schema, currency: Currency, faults: &mut Faults) -> Catalog {
        if node.is_null() {
            return Catalog::default();
        }
        let Some(object) = Object::read(node, &[FIELDS], "the catalog", faults) else { return Catalog::default() };
        let mut reader = Reader { schema, currency, faults };
        Catalog {
            tiers: object.node("tiers").map(|node| reader.tiers(node)).unwrap_or_default(),
            memberships: reader.named(object.node("memberships"), MEMBERSHIPS_MAX, "memberships", Reader::membership),
            bundles: reader.named(object.node("bundles"), BUNDLES_MAX, "bundles", Reader::bundle),
            bonus_expires_after: object.node("bonus").and_then(|node| reader.bonus(node)),
        }
    }
}

struct Reader<'a> {
    schema: &'a dyn Schema,
    currency: Currency,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    /// A list within its limit; empty with a fault otherwise.
    fn list<'n>(&mut self, node: &'n Node, max: usize, what: &str) -> &'n [Node] {
        let Some(items) = node.list() else {
            let message = format!("{what} must be a list, but here stands {}", node.describe());
            self.faults.error("wrong-type", &node.place, message).hint("begin each entry with `- `");
            return &[];
        };
        self.bounded(items.len(), max, &node.place, what);
        items
    }

    fn bounded(&mut self, count: usize, max: usize, place: &Place, what: &str) {
        if count > max {
            self.faults.error("too-many", place, format!("{count} {what} are too many")).hint(format!("use at most {max}"));
        }
    }

    /// A map of names to things, each read by `read`.
    fn named<T>(
        &mut self,
        node: Option<&Node>,
        max: usize,
        what: &str,
        read: fn(&mut Self, &Key, &Node) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(node) = node else { return BTreeMap::new() };
        let Some(entries) = node.map() else {
            let message = format!("{what} must be a map of names, but here stands {}", node.describe());
            self.faults.error("wrong-type", &node.place, message).hint("write each as `name:` with its fields below");
            return BTreeMap::new();
        };
        self.bounded(entries.len(), max, &node.place, what);
        let mut out = BTreeMap::new();
        for (key, node) in entries.iter().take(max) {
            // A key obeys the rules of any other name; quoted, because a key is always text.
            let text = NodeKind::Scalar { text: key.text.clone(), plain: false };
            let name = shape::name(&Node { place: key.place.clone(), kind: text }, self.faults);
            if let (Some(name), Some(thing)) = (name, read(self, key, node)) {
                out.insert(name.text, thing);
            }
        }
        out
    }

    fn tiers(&mut self, node: &Node) -> Vec<Tier> {
        let mut out: Vec<Tier> = Vec::new();
        for node in self.list(node, TIERS_MAX, "tiers").iter().take(TIERS_MAX) {
            let Some(tier) = self.tier(node) else { continue };
            if out.iter().any(|other| other.name == tier.name) {
                let message = format!("there are two tiers `{}`", tier.name);
                self.faults.error("doubled-name", &node.place, message).hint("remove one, or give it another name");
                continue;
            }
            out.push(tier);
        }
        out
    }

    fn tier(&mut self, node: &Node) -> Option<Tier> {
        let object = Object::read(node, &[TIER_FIELDS], "a tier", self.faults)?;
        let name = object.node("tier").and_then(|node| shape::name(node, self.faults));
        let when = object.node("when").and_then(|node| self.tier_condition(node));
        let benefits = self.benefits(&object);
        Some(Tier { name: name?.text, when: when?, benefits })
    }

    /// A tier that looked at tiers, or at segments that look at tiers, would have no one right answer.
    fn tier_condition(&mut self, node: &Node) -> Option<Cond> {
        let before = self.faults.error_count();
        let cond = Cond::from_node(node, &WithoutTiers(self.schema), self.faults);
        let text = node.scalar().unwrap_or_default();
        if self.faults.error_count() > before && (text.contains("in_segment") || text.contains("tier")) {
            self.faults.hint("tiers are judged before segments: use what the customer did, `customer.balance` or her profile");
        }
        cond
    }

    fn membership(&mut self, key: &Key, node: &Node) -> Option<Membership> {
        let what = format!("the membership `{}`", key.text);
        let object = Object::read(node, &[MEMBERSHIP_FIELDS], &what, self.faults)?;
        let title = object.text("title", self.faults);
        let price = self.price(&object, "price");
        let term = self.length(&object, "term");
        let benefits = self.benefits(&object);
        let auto_renew = object.bool("auto_renew", false, self.faults);
        Some(Membership { name: key.text.clone(), title: title?.text, price: price?, term: term?, benefits, auto_renew })
    }

    fn bundle(&mut self, key: &Key, node: &Node) -> Option<Bundle> {
        let what = format!("the bundle `{}`", key.text);
        let object = Object::read(node, &[BUNDLE_FIELDS], &what, self.faults)?;
        let title = object.text("title", self.faults);
        let word = object.word("kind", KINDS, self.faults);
        let kind = word.and_then(|word| BundleKind::ALL.iter().find(|(name, _)| *name == word)).map(|(_, kind)| *kind);
        let items = object.node("items").and_then(|node| self.items(node));
        let price = self.price(&object, "price");
        let worth = self.price(&object, "worth");
        self.saving(&object, price, worth);
        let condition = object.node("for");
        let eligible = condition.map(|node| Cond::from_node(node, self.schema, self.faults));
        let members_only = object.node("members_only").and_then(|node| shape::boolean(node, self.faults));
        let season = object.node("season").map(|node| self.season(node));
        let valid_for = self.length(&object, "valid_for");
        if let Some(kind) = kind {
            self.kind_rules(kind, &object, members_only);
        }
        let kind = kind?;
        Some(Bundle {
            name: key.text.clone(),
            title: title?.text,
            kind,
            items: items?,
            price: price?,
            worth: worth?,
            // A condition or season that was written but is faulty must not make the bundle free for all.
            eligible: transpose(eligible)?,
            members_only: members_only.unwrap_or(kind == BundleKind::MemberOnly),
            season: transpose(season)?,
            valid_for: valid_for?,
        })
    }

    /// What the kind promises must be what the other fields say.
    fn kind_rules(&mut self, kind: BundleKind, object: &Object<'_>, members_only: Option<bool>) {
        let place = object.place("kind");
        match kind {
            BundleKind::MemberOnly if members_only == Some(false) => {
                let place = object.place("members_only");
                self.faults
                    .error("kind-rule", &place, "a `member_only` bundle cannot have `members_only: false`")
                    .hint("remove the line, or choose another kind");
            }
            BundleKind::Seasonal if object.node("season").is_none() => {
                self.faults
                    .error("kind-rule", &place, "a `seasonal` bundle lacks its `season`")
                    .hint("add `season: { from: 2027-11-01, until: 2027-12-31 }`");
            }
            BundleKind::Tier | BundleKind::Vip if object.node("for").is_none() => {
                let message = format!("a `{}` bundle without `for` is offered to everybody", kind.name());
                self.faults.warning("kind-rule", &place, message).hint("add for example `for: customer.tier == \"gold\"`");
            }
            _ => {}
        }
    }

    fn items(&mut self, node: &Node) -> Option<Vec<Item>> {
        let nodes = self.list(node, ITEMS_MAX, "items");
        if nodes.is_empty() {
            if node.list().is_some() {
                self.faults
                    .error("no-items", &node.place, "a bundle needs at least one item")
                    .hint("add `- { sku: …, quantity: 1 }`");
            }
            return None;
        }
        let mut out: Vec<Item> = Vec::new();
        for node in nodes.iter().take(ITEMS_MAX) {
            let item = self.item(node)?;
            if out.iter().any(|other| other.sku == item.sku) {
                let message = format!("`{}` stands in the bundle twice", item.sku);
                self.faults.error("doubled-name", &node.place, message).hint("write it once, with its quantity");
            }
            out.push(item);
        }
        Some(out)
    }

    fn item(&mut self, node: &Node) -> Option<Item> {
        let object = Object::read(node, &[ITEM_FIELDS], "an item", self.faults)?;
        let sku = object.text("sku", self.faults);
        let quantity = match object.node("quantity") {
            None => Some(1),
            Some(node) => shape::int(node, 1, QUANTITY_MAX, self.faults),
        };
        Some(Item { sku: sku?.text, quantity: quantity? })
    }

    fn season(&mut self, node: &Node) -> Option<Season> {
        let object = Object::read(node, &[SEASON_FIELDS], "a season", self.faults)?;
        let from = object.node("from").and_then(|node| self.day(node));
        let until = object.node("until").and_then(|node| self.day(node));
        let (from, until) = (from?, until?);
        if from > until {
            let message = format!("the season ends on {until}, before it begins on {from}");
            self.faults.error("bad-season", &object.place("until"), message).hint("exchange the two days, or correct the year");
            return None;
        }
        Some(Season { from, until })
    }

    fn day(&mut self, node: &Node) -> Option<NaiveDate> {
        let day = node.scalar().and_then(parse_date);
        if day.is_none() {
            let shown: String = node.scalar().map_or(node.describe(), |text| text).chars().take(40).collect();
            self.faults.error("bad-date", &node.place, format!("`{shown}` is no day")).hint("write for example `2027-11-01`");
        }
        day
    }

    fn bonus(&mut self, node: &Node) -> Option<Span> {
        let object = Object::read(node, &[BONUS_FIELDS], "`bonus`", self.faults)?;
        self.length(&object, "expires_after")
    }

    /// A duration that is not nothing.
    fn length(&mut self, object: &Object<'_>, name: &str) -> Option<Span> {
        let span = object.span(name, self.faults)?;
        if span.is_zero() {
            self.faults
                .error("no-time", &object.place(name), format!("`{name}` is no time at all"))
                .hint("write for example `14 days`");
            return None;
        }
        Some(span)
    }

    /// A price in minor units: not negative, with no more digits than the currency has.
    fn price(&mut self, object: &Object<'_>, name: &str) -> Option<i64> {
        let node = object.node(name)?;
        let amount = shape::number(node, self.faults)?;
        if amount.0 < 0 {
            self.faults.error("bad-price", &node.place, format!("`{name}` is below zero")).hint("write the amount that is paid");
            return None;
        }
        let minor = self.currency.minor(amount);
        if minor.is_err() {
            let (code, digits) = (self.currency.code().to_owned(), self.currency.digits());
            let message = format!("`{name}` has more digits after the decimal point than {code}, which has {digits}");
            self.faults.error("bad-price", &node.place, message).hint("round it to what can be paid");
        }
        minor.ok()
    }

    /// A bundle that costs more than its parts is a mistake, and a message about its saving would be a lie.
    fn saving(&mut self, object: &Object<'_>, price: Option<i64>, worth: Option<i64>) {
        if let (Some(price), Some(worth)) = (price, worth)
            && worth < price
        {
            let (shown, less) = (self.currency.show(price), self.currency.show(worth));
            self.faults
                .error(
                    "no-saving",
                    &object.place("price"),
                    format!("the bundle costs {shown}, its items bought singly only {less}"),
                )
                .hint("lower `price`, or correct `worth`");
        }
    }

    fn benefits(&mut self, object: &Object<'_>) -> Vec<String> {
        let texts = object.texts("benefits", self.faults);
        self.bounded(texts.len(), BENEFITS_MAX, &object.place("benefits"), "benefits");
        texts.into_iter().map(|text| text.text).collect()
    }
}

/// Not written: fine. Written and faulty: nothing can be made of the whole.
fn transpose<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(thing) => Some(thing),
    }
}

/// The names that there are, without what is judged after tiers.
struct WithoutTiers<'a>(&'a dyn Schema);

impl Schema for WithoutTiers<'_> {
    fn root(&self, name: &str) -> Option<Type> {
        match self.0.root(name)? {
            Type::Object(fields) if name == "customer" => {
                Some(Type::Object(fields.into_iter().filter(|(field, _)| field != "tier").collect()))
            }
            other => Some(other),
        }
    }

    fn roots(&self) -> Vec<String> {
        self.0.roots()
    }

    fn segments(&self) -> Vec<String> {
        Vec::new()
    }

    fn event(&self, name: &str) -> Option<Type> {
        self.0.event(name)
    }

    fn events(&self) -> Vec<String> {
        self.0.events()
    }
}
