//! The workspace of the simulation: every kind of step, provider and rule that the shell around the core
//! treats in its own way.

use autofunnel::app::workspace;
use autofunnel::channel::Channel;
use autofunnel::funnel::{Definitions, Files};
use autofunnel::wire::Client;
use autofunnel::wire::secrets::Placeholders;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// Most marketing mails within seven days.
pub const MAILS_MAX: usize = 3;
/// Most marketing text messages within seven days.
pub const TEXTS_MAX: usize = 2;
/// Nothing that is marketing goes out from this hour on …
pub const QUIET_FROM: u32 = 21;
/// … until this one.
pub const QUIET_UNTIL: u32 = 8;
/// Points of an order.
pub const ORDER_POINTS: i64 = 10;
/// Points of a purchase after the welcome.
pub const WELCOME_POINTS: i64 = 25;
/// Points of what is played for, and the budget of them.
pub const BONUS_POINTS: i64 = 7;
/// No more than this is given, over all customers and for ever.
pub const BONUS_MOST: i64 = 40;
/// Points of what a person looks at first.
pub const PRIZE_POINTS: i64 = 3;
/// Points on the path that an edit changes.
pub const PATH_POINTS: i64 = 5;
/// Points for who brings a friend.
pub const GIFT_POINTS: i64 = 30;
/// Points for the friend.
pub const FRIEND_POINTS: i64 = 20;
/// A receipt is followed by a text message after so many hours.
pub const TEXT_AFTER_HOURS: i64 = 2;

const SETTINGS: &str = r#"
workspace: Simulation
zone: UTC
currency: EUR
unknown: create
events: { asked: { n: number }, joined: { n: number }, played: { n: number }, looked: { n: number }, vouched: { friend: text } }
budgets:
  - { funnel: bonus, points: 40, per: ever }
quiet_hours: { from: "21:00", until: "08:00" }
caps:
  - { channel: email, at_most: 3, within: 7 days }
  - { channel: sms, at_most: 2, within: 7 days }
channels: { email: mail, sms: text, push: pager, chat: inbox }
providers:
  inbox: { kind: inbox }
  mail:                      # knows a key again
    kind: http
    url: https://provider.example.com/mail
    idempotency_header: Idempotency-Key
    json: { id: "{{ effect.id }}", step: "{{ effect.step }}", to: "{{ message.to }}", text: "{{ message.text }}" }
  text:                      # takes no key and must not be doubled
    kind: http
    url: https://provider.example.com/text
    on_uncertain: hold
    json: { id: "{{ effect.id }}", step: "{{ effect.step }}", to: "{{ message.to }}", text: "{{ message.text }}" }
  pager:                     # takes no key and must arrive
    kind: http
    url: https://provider.example.com/page
    on_uncertain: resend
    json: { id: "{{ effect.id }}", step: "{{ effect.step }}", to: "{{ message.to }}", text: "{{ message.text }}" }
  bank:                      # books points and knows a key again
    kind: http
    url: https://provider.example.com/points
    idempotency_header: Idempotency-Key
    json: { id: "{{ effect.id }}", step: "{{ effect.step }}", points: "{{ grant.points }}" }
"#;

const CATALOG: &str = "
bundles:
  starter: { title: Starter, kind: starter, items: [{ sku: beans, quantity: 1 }], price: 10, worth: 12, valid_for: 3 days }
";

const SEGMENTS: &str = r#"
fresh: { when: purchases("36h") >= 1 }
"#;

const RECEIPT: &str = r#"
funnel: Receipt
trigger: purchase
key: event.order_id
re_entry: always
transactional: true
priority: 5
steps:
  - email: { subject: "Order {{ event.order_id }}", text: "Thanks for {{ event.order_id }} ({{ event.id }})" }
    id: letter
  - grant: 10 points
    id: points
    reason: order
    expires_after: 4 days
  - wait: 2h
  - sms: { text: "{{ event.order_id }} is on its way" }
    id: text
  - push: { text: "{{ event.order_id }} is on its way" }
    id: page
  - chat: { text: "{{ event.order_id }} is on its way" }
    id: chat
"#;

const WELCOME: &str = r#"
funnel: Welcome
trigger: joined
re_entry: never
exit_on: { event: refund }
goal: { event: purchase, within: 5 days }
steps:
  - email: { subject: Hello, text: "Hello {{ customer.id }}" }
    id: hello
  - wait: 1 day
  - wait_for: purchase
    up_to: 2 days
    then:
      - grant: 25 points
        id: thanks
        reason: welcome
    otherwise:
      - offer: starter
        id: gift
  - split:
      one: { weight: 1, steps: [ { email: { subject: One, text: One }, id: one } ] }
      two: { weight: 1, steps: [ { sms: { text: Two }, id: two } ] }
    id: which
  - email: { subject: Last, text: "Last, {{ customer.balance }} points" }
    id: last
"#;

const NEWS: &str = r#"
funnel: News
trigger: asked
re_entry: always
exit_on: { event: refund }
steps:
  - email: { subject: News, text: News }
    id: news
  - sms: { text: Flash }
    id: flash
"#;

const BACK: &str = r#"
funnel: Back
trigger: { segment_left: fresh }
re_entry: after 1 day
steps:
  - email: { subject: Back, text: Come back }
    id: back
  - wait_until: "10:00"
  - push: { text: Come back }
    id: nudge
    transactional: true
"#;

const BONUS: &str = r#"
funnel: Bonus
trigger: played
re_entry: always
steps:
  - grant: 7 points
    id: bonus
    reason: bonus
"#;

const LOOKED: &str = r#"
funnel: Looked at
trigger: looked
re_entry: always
mode: hold_for_review
transactional: true
steps:
  - push: { text: Look }
    id: seen
  - grant: 3 points
    id: prize
    reason: looked
"#;

/// An edit gives one step another name and shortens a wait; runs go on in it.
const PATH: &str = r#"
funnel: Path
trigger: joined
re_entry: never
transactional: true
steps:
  - wait: 20h
    id: pause
  - grant: 5 points
    id: step
    reason: path
  - wait: 50h
    id: rest
  - chat: { text: There }
    id: end
"#;

/// Where the account is the engine's own, both are given points or neither.
const FRIEND: &str = r#"
funnel: Friend
trigger: vouched
key: event.friend
re_entry: always
exit_on: { event: refund }
steps:
  - both:
      - { grant: 30 points, reason: referral }
      - { grant: 20 points, reason: referred, to: event.friend }
    id: gift
    within: 6h
    on_error: skip
  - emit: hailed
    to: event.friend
    id: hail
"#;

/// Elsewhere she is only told of it.
const FRIEND_ELSEWHERE: &str = r#"
funnel: Friend
trigger: vouched
key: event.friend
re_entry: always
steps:
  - emit: hailed
    to: event.friend
    id: hail
"#;

/// A workspace, compiled.
pub struct Stage {
    /// Definitions.
    pub definitions: Definitions,
    /// The same after somebody has edited them, with the versions of before.
    pub edited: Definitions,
    /// Real providers by name; nothing is ever sent through them.
    pub channels: HashMap<String, Arc<dyn Channel>>,
}

impl Stage {
    /// The version of before, of a funnel of the edited workspace.
    pub fn before(&self, version: &str) -> Option<String> {
        let edited = self.edited.current.funnels.values().find(|funnel| funnel.version == version)?;
        self.definitions.current.funnels.get(&edited.name).map(|funnel| funnel.version.clone())
    }
}

fn compile(settings: &str) -> Stage {
    let friend = if settings.contains("loyalty: bank") { FRIEND_ELSEWHERE } else { FRIEND };
    let files = [
        ("bonus.yaml", BONUS),
        ("looked.yaml", LOOKED),
        ("path.yaml", PATH),
        ("friend.yaml", friend),
        ("autofunnel.yaml", settings),
        ("catalog.yaml", CATALOG),
        ("segments.yaml", SEGMENTS),
        ("receipt.yaml", RECEIPT),
        ("welcome.yaml", WELCOME),
        ("news.yaml", NEWS),
        ("back.yaml", BACK),
    ];
    let files: Files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    let edit = |text: &String| {
        let text = text.replace("text: News", "text: Better news").replace("Hello {{", "Welcome {{").replace("36h", "30h");
        let moved = "funnel: Path\non_change: migrate\nrenamed: { pause: hold }\n";
        text.replace("funnel: Path\n", moved).replace("id: pause", "id: hold").replace("wait: 50h", "wait: 10h")
    };
    let later: Files = files.iter().map(|(name, text)| (name.clone(), edit(text))).collect();
    let [checked, edited] = [&files, &later].map(|files| workspace::check(files, &Placeholders));
    let [before, after] =
        [checked.workspace, edited.workspace].map(|workspace| workspace.expect("the workspace of the simulation is sound"));
    let mut edited = Definitions::new(Arc::new(after));
    edited.pin(&before);
    Stage { definitions: Definitions::new(Arc::new(before)), edited, channels: checked.channels }
}

/// How a workspace is kept: its hash, its funnels with their versions, its bundle.
pub fn kept(definitions: &Definitions) -> (String, Vec<(String, String)>, Vec<u8>) {
    let current = &definitions.current;
    let funnels = current.funnels.values().map(|funnel| (funnel.name.clone(), funnel.version.clone())).collect();
    (current.hash.clone(), funnels, serde_json::to_vec(&current.files).unwrap())
}

/// Points are kept by the built-in account.
pub static OWN: LazyLock<Stage> = LazyLock::new(|| compile(SETTINGS));

/// Points are kept by a remote store.
pub static REMOTE: LazyLock<Stage> = LazyLock::new(|| compile(&format!("{SETTINGS}loyalty: bank\n")));

/// What channels are given; nothing is sent with it.
pub static CLIENT: LazyLock<Client> = LazyLock::new(|| Client::new().unwrap());
