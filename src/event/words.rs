//! The words of events: names and properties that the engine itself understands.
//!
//! Any other name is a custom event. `check` knows the properties of these and finds typing errors in
//! them; what a sender puts beside them is kept and readable.

/// What type a known property has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WordType {
    /// Text.
    Text,
    /// A whole or decimal number.
    Number,
    /// Money: major units of the workspace currency in conditions.
    Money,
    /// An instant.
    Time,
    /// A list of maps with `sku`, `category`, `quantity`, `amount`.
    Items,
    /// True or false.
    Bool,
}

/// A well-known event.
pub struct Word {
    /// The event's name.
    pub name: &'static str,
    /// Its properties.
    pub properties: &'static [(&'static str, WordType)],
    /// One sentence for the reference.
    pub doc: &'static str,
}

use WordType::{Bool, Items, Money, Number, Text, Time};

/// A purchase.
pub const PURCHASE: &str = "purchase";
/// Money given back.
pub const REFUND: &str = "refund";

/// The customer moved to another tier.
pub const TIER_CHANGED: &str = "tier_changed";

/// A provider could not deliver a message.
pub const MESSAGE_BOUNCED: &str = "message_bounced";
/// A message was reported as unwanted.
pub const MESSAGE_COMPLAINED: &str = "message_complained";
/// She left a list.
pub const MESSAGE_UNSUBSCRIBED: &str = "message_unsubscribed";
/// She answered; the text may be a keyword.
pub const MESSAGE_REPLIED: &str = "message_replied";
/// A remote loyalty store reports what it knows of her now.
pub const STORE_UPDATED: &str = "store_updated";
/// A remote loyalty store books again what it had blocked.
pub const STORE_UNBLOCKED: &str = "store_unblocked";
/// A link in a message was followed.
pub const MESSAGE_CLICKED: &str = "message_clicked";

const ITEM_FIELDS: &[(&str, WordType)] = &[("sku", Text), ("category", Text), ("quantity", Number), ("amount", Money)];
const MEMBERSHIP: &[(&str, WordType)] =
    &[("membership", Text), ("term", Text), ("started", Time), ("ends", Time), ("auto_renew", Bool)];
const OFFER: &[(&str, WordType)] = &[("offer", Text), ("code", Text), ("funnel", Text), ("ends", Time)];
const MESSAGE: &[(&str, WordType)] = &[
    ("channel", Text),
    ("template", Text),
    ("funnel", Text),
    ("link", Text),
    ("text", Text),
    ("bounce", Text),
    ("effect", Text),
];
const BONUS: &[(&str, WordType)] = &[("points", Number), ("reason", Text), ("grant", Text), ("expires", Time)];

const STORE: &[(&str, WordType)] = &[("balance", Number), ("pending", Number), ("tier", Text), ("next_expiry", Time)];

/// Properties of one entry of `items`.
pub fn item_fields() -> &'static [(&'static str, WordType)] {
    ITEM_FIELDS
}

/// Every event whose words the engine knows.
pub const WORDS: &[Word] = &[
    Word {
        name: PURCHASE,
        properties: &[
            ("order_id", Text),
            ("amount", Money),
            ("currency", Text),
            ("amount_base", Money),
            ("items", Items),
            ("offer", Text),
            ("code", Text),
        ],
        doc: "the customer bought something",
    },
    Word {
        name: REFUND,
        properties: &[("order_id", Text), ("amount", Money), ("currency", Text), ("amount_base", Money)],
        doc: "money was given back; sums go down",
    },
    Word { name: "signed_up", properties: &[("source", Text)], doc: "the customer registered" },
    Word { name: "membership_started", properties: MEMBERSHIP, doc: "a membership began" },
    Word { name: "membership_renewed", properties: MEMBERSHIP, doc: "a membership was renewed" },
    Word { name: "membership_cancelled", properties: MEMBERSHIP, doc: "a membership was cancelled" },
    Word { name: "membership_expired", properties: MEMBERSHIP, doc: "a membership ran out" },
    Word { name: "membership_changed", properties: MEMBERSHIP, doc: "a membership was exchanged for another" },
    Word { name: "offer_shown", properties: OFFER, doc: "an offer was made" },
    Word { name: "offer_used", properties: OFFER, doc: "an offer was taken up" },
    Word { name: "offer_expired", properties: OFFER, doc: "an offer ran out unused" },
    Word { name: "message_sent", properties: MESSAGE, doc: "a provider accepted a message" },
    Word { name: "message_delivered", properties: MESSAGE, doc: "a provider reported delivery" },
    Word { name: "message_opened", properties: MESSAGE, doc: "a provider reported an open" },
    Word { name: MESSAGE_CLICKED, properties: MESSAGE, doc: "a link was followed" },
    Word { name: MESSAGE_BOUNCED, properties: MESSAGE, doc: "a provider could not deliver; `bounce: soft` may pass" },
    Word { name: MESSAGE_COMPLAINED, properties: MESSAGE, doc: "the customer complained about a message" },
    Word { name: MESSAGE_UNSUBSCRIBED, properties: MESSAGE, doc: "the customer wants no more marketing there" },
    Word { name: MESSAGE_REPLIED, properties: MESSAGE, doc: "the customer answered" },
    Word { name: "bonus_granted", properties: BONUS, doc: "points were booked" },
    Word { name: "bonus_activated", properties: BONUS, doc: "points became spendable" },
    Word { name: "bonus_expired", properties: BONUS, doc: "points ran out" },
    Word { name: STORE_UPDATED, properties: STORE, doc: "a remote loyalty store reported what it knows of the customer" },
    Word {
        name: STORE_UNBLOCKED,
        properties: &[("programme", Text)],
        doc: "a remote loyalty store works again for the customer: her parked grants are sent again",
    },
    Word { name: TIER_CHANGED, properties: &[("tier", Text), ("from", Text)], doc: "the customer moved to another tier" },
    Word { name: "referral", properties: &[("friend", Text)], doc: "the customer brought a friend" },
    Word { name: "review", properties: &[("sku", Text), ("rating", Number)], doc: "the customer wrote a review" },
    Word {
        name: "cart_updated",
        properties: &[("cart_id", Text), ("amount", Money), ("items", Items)],
        doc: "the customer changed the cart",
    },
];

/// The word of that name.
pub fn word(name: &str) -> Option<&'static Word> {
    WORDS.iter().find(|word| word.name == name)
}

/// Whether an event of that name carries an amount that enters money sums, and with which sign.
pub fn money_sign(name: &str) -> Option<i64> {
    match name {
        PURCHASE => Some(1),
        REFUND => Some(-1),
        _ => None,
    }
}
