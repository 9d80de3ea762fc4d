//! Who the invented customers are and what they do, day by day.

use crate::lang::time::{DAY_MS, Time, Zone};
use serde_json::{Value as Json, json};

/// Something that a customer does.
pub struct Line {
    /// Day of the story, with its fraction.
    pub day: f64,
    /// Her id.
    pub who: &'static str,
    /// What she does.
    pub act: Act,
}

/// The kinds of doing.
pub enum Act {
    /// Her data is put: profile and consent.
    Put(Json),
    /// An event with its properties.
    Event(&'static str, Json),
}

/// A customer of the story.
struct Person {
    id: &'static str,
    name: &'static str,
    /// Day of the story on which she is registered; before it nobody knows her.
    from: f64,
    sms: bool,
    /// Day of the story on which her birthday is.
    birthday: Option<u32>,
}

const PEOPLE: &[Person] = &[
    Person { id: "ada", name: "Ada Lindqvist", from: 0.1, sms: true, birthday: None },
    Person { id: "ben", name: "Ben Okafor", from: 0.2, sms: false, birthday: Some(34) },
    Person { id: "clara", name: "Clara Voss", from: 1.15, sms: true, birthday: None },
    Person { id: "diego", name: "Diego Marín", from: 2.3, sms: false, birthday: Some(12) },
    Person { id: "emi", name: "Emi Sato", from: 3.2, sms: true, birthday: None },
    Person { id: "finn", name: "Finn Petersen", from: 0.05, sms: true, birthday: None },
    Person { id: "greta", name: "Greta Holm", from: 0.05, sms: true, birthday: Some(50) },
    Person { id: "hugo", name: "Hugo Lang", from: 0.05, sms: true, birthday: None },
    Person { id: "ines", name: "Ines Duarte", from: 8.4, sms: false, birthday: None },
    Person { id: "jonas", name: "Jonas Weber", from: 14.2, sms: true, birthday: Some(70) },
];

fn date(begin: Time, zone: Zone, day: f64) -> String {
    begin.plus_ms((day * DAY_MS as f64) as i64).date(zone).format("%Y-%m-%d").to_string()
}

fn instant(begin: Time, day: f64) -> String {
    Time(begin.plus_ms((day * DAY_MS as f64) as i64).0 / 1_000 * 1_000).to_string()
}

/// What was bought before the story begins: NDJSON rows for the import.
pub fn past(begin: Time) -> String {
    let mut rows = Vec::new();
    for person in PEOPLE.iter().filter(|person| person.from < 0.1) {
        rows.push(
            json!({ "customer": person.id, "profile": { "name": person.name, "email": format!("{}@example.com", person.id) } }),
        );
    }
    let purchases: [(&str, f64, &str); 8] = [
        ("finn", -52.0, "31.00"),
        ("greta", -80.0, "48.50"),
        ("greta", -55.0, "52.00"),
        ("greta", -30.0, "61.90"),
        ("greta", -9.0, "44.00"),
        ("hugo", -200.0, "120.00"),
        ("hugo", -120.0, "190.00"),
        ("hugo", -40.0, "230.00"),
    ];
    for (number, (who, day, amount)) in purchases.into_iter().enumerate() {
        let order = format!("P-{}", 900 + number);
        let items = json!([{ "sku": "beans-house", "category": "beans", "quantity": 2, "amount": amount }]);
        rows.push(json!({
            "id": format!("past-{number}"), "event": "purchase", "customer": who, "time": instant(begin, day),
            "properties": { "order_id": order, "amount": amount, "items": items },
        }));
    }
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// The story, in the order of time.
pub fn story(begin: Time, zone: Zone) -> Vec<Line> {
    let mut lines = Vec::new();
    for person in PEOPLE {
        lines.push(Line { day: person.from, who: person.id, act: Act::Put(profile(person, begin, zone)) });
        if person.from >= 0.1 {
            lines.push(event(person.from + 0.01, person.id, "signed_up", json!({ "source": "checkout" })));
        }
    }
    for (number, (day, who, category, amount)) in ORDERS.iter().enumerate() {
        let sku = if *category == "brewer" { "dripper-02" } else { "beans-house" };
        let items = json!([{ "sku": sku, "category": category, "quantity": 1, "amount": amount }]);
        let order = json!({ "order_id": format!("A-{}", 1000 + number), "amount": amount, "items": items });
        lines.push(event(*day, who, "purchase", order));
    }
    memberships(&mut lines, begin);
    beside_orders(&mut lines, begin);
    lines.push(event(24.5, "emi", "complaint_opened", json!({ "ticket": "T-71" })));
    lines.push(event(30.4, "emi", "complaint_closed", json!({ "ticket": "T-71" })));
    lines.push(event(17.3, "clara", "review", json!({ "sku": "beans-house", "rating": 5 })));
    lines.push(event(21.6, "greta", "refund", json!({ "order_id": "A-1009", "amount": "12.00" })));
    let withdrawn = json!({ "consent": { "sms": { "granted": false, "source": "STOP" } } });
    lines.push(Line { day: 41.2, who: "clara", act: Act::Put(withdrawn) });
    lines.sort_by(|a, b| a.day.total_cmp(&b.day));
    lines
}

/// Day, customer, category, amount.
const ORDERS: &[(f64, &str, &str, &str)] = &[
    (2.2, "ada", "beans", "24.90"),
    (1.9, "clara", "beans", "32.00"),
    (6.3, "ada", "brewer", "39.00"),
    (9.1, "diego", "espresso", "28.50"),
    (10.4, "ines", "beans", "19.90"),
    (12.3, "clara", "beans", "31.00"),
    (13.2, "greta", "beans", "58.00"),
    (16.4, "jonas", "espresso", "36.00"),
    (18.3, "emi", "beans", "27.00"),
    (20.5, "greta", "espresso", "62.00"),
    (23.3, "clara", "beans", "33.50"),
    (27.1, "ada", "beans", "24.90"),
    (33.4, "clara", "beans", "29.00"),
    (38.2, "greta", "beans", "49.00"),
    (44.3, "clara", "espresso", "55.00"),
    (52.2, "ada", "beans", "44.00"),
    (61.4, "greta", "beans", "47.00"),
    (66.2, "ines", "beans", "21.00"),
    (79.5, "finn", "beans", "26.00"),
];

fn memberships(lines: &mut Vec<Line>, begin: Time) {
    // Hugo's term ends on day 40: he gets the notices and renews after the second. Greta cancels. Ada's
    // renews by itself.
    for (day, who, ends, auto_renew) in [(0.3, "hugo", 40.5, false), (0.3, "greta", 45.5, false), (5.0, "ada", 60.5, true)] {
        let term = json!({
            "membership": "roastery-club", "started": instant(begin, ends - 365.0), "ends": instant(begin, ends), "auto_renew": auto_renew,
        });
        lines.push(event(day, who, "membership_started", term));
    }
    lines.push(event(34.3, "hugo", "membership_renewed", json!({ "membership": "roastery-club" })));
    lines.push(event(39.7, "greta", "membership_cancelled", json!({ "membership": "roastery-club" })));
    lines.push(event(60.4, "ada", "membership_renewed", json!({ "membership": "roastery-club" })));
}

/// What customers do beside ordering: a cart, a school, a club, a friend.
fn beside_orders(lines: &mut Vec<Line>, begin: Time) {
    let cart =
        json!({ "cart_id": "K-7", "amount": "21.00", "items": [{ "sku": "beans-house", "quantity": 1, "amount": "21.00" }] });
    lines.push(event(65.4, "ines", "cart_updated", cart));
    for (lesson, name) in ["water", "grind", "bloom", "pour", "taste", "milk"].into_iter().enumerate() {
        lines.push(event(25.4 + 2.0 * lesson as f64, "finn", "lesson_finished", json!({ "lesson": name })));
    }
    let term = json!({
        "membership": "tasting-club", "started": instant(begin, 28.4), "ends": instant(begin, 88.4), "auto_renew": true,
    });
    lines.push(event(28.4, "diego", "membership_started", term));
    lines.push(event(37.6, "diego", "tasting_noted", json!({ "sku": "sample-ethiopia", "words": "peach and tea" })));
    lines.push(event(19.3, "clara", "referral", json!({ "friend": "ines" })));
}

fn profile(person: &Person, begin: Time, zone: Zone) -> Json {
    let mut profile = json!({ "name": person.name, "email": format!("{}@example.com", person.id) });
    if person.sms {
        profile["phone"] = json!("+49 40 5550 100");
    }
    if let Some(day) = person.birthday {
        let born = date(begin, zone, f64::from(day));
        profile["birthday"] = json!(format!("1988{}", born.get(4..).unwrap_or("-06-01")));
    }
    let consent = if person.sms { json!({ "email": true, "sms": true }) } else { json!({ "email": true }) };
    json!({ "profile": profile, "consent": consent })
}

fn event(day: f64, who: &'static str, name: &'static str, properties: Json) -> Line {
    Line { day, who, act: Act::Event(name, properties) }
}
