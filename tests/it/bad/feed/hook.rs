//! Webhooks: bodies that are changed and signed rightly, and signatures, ids and time stamps that are wrong,
//! cut, doubled or huge.

use super::body::{changed, intake};
use super::chance::Chance;
use super::mutate::{self, Corpus};
use super::sample::{self, DESK_SECRET, NOW, SHOP_KEY, TILL_TOKEN};
use super::store::at_once;
use super::tree::Tree;
use super::{Case, Kind, laws};
use autofunnel::engine::intake::hook::Delivery;
use autofunnel::engine::intake::{Intake, IntakeError, json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

const BODIES: &[(&str, &str)] = &[
    (
        "shop",
        r#"{"type":"order.paid","timestamp":"2027-03-01T08:59:00Z","data":{"number":"H-1","customer_id":"c-1","paid_at":"2027-03-01T08:58:00Z","total":"42.50","currency":"EUR","lines":[{"sku":"beans","category":"beans","quantity":2,"amount":"42.50"}],"coupon":"SPRING"}}"#,
    ),
    (
        "shop",
        r#"{"type":"order.refunded","timestamp":"2027-03-01T08:59:00Z","data":{"number":"H-1","refund_id":"r-1","customer_id":"c-1","refunded_at":1803891500,"refunded":4.2,"currency":"EUR"}}"#,
    ),
    (
        "shop",
        r#"{"type":"membership.renewed","timestamp":1803891500000,"data":{"change":"renewed","customer_id":"c-1","product":"roastery-club","started":"2027-03-01T00:00:00Z","ends":"2028-03-01T00:00:00Z","auto_renew":true}}"#,
    ),
    ("help-desk", r#"{"action":"opened","at":1803891500.25,"ticket":{"id":"T-1","kind":"complaint","customer":"c-1"}}"#),
    ("till", r#"{"kind":"purchase","id":17,"who":"c-1","at":"2027-03-01T08:00:00+02:00","sum":"3.20"}"#),
    ("old-shop", r#"{"id":"o-1","who":"c-1","sum":12}"#),
    ("open", r#"{"id":"o-1","who":"c-1","sum":"12.00","items":[{"sku":"a","quantity":1}]}"#),
];

/// See the module.
pub struct Hooks {
    intake: Intake,
    bodies: Vec<(&'static str, Tree)>,
    corpus: Corpus,
}

impl Hooks {
    /// Reads the samples.
    pub fn new() -> Hooks {
        let bodies: Vec<(&str, Tree)> = BODIES.iter().map(|(source, body)| (*source, sample::tree(body))).collect();
        let corpus = sample::corpus(bodies.iter().map(|(_, tree)| tree));
        Hooks { intake: intake().0, bodies, corpus }
    }
}

/// A header.
type Header = (String, String);

fn header(name: &str, value: impl Into<String>) -> Header {
    (name.to_owned(), value.into())
}

fn sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes any key");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The headers of a sound delivery.
fn signed(source: &str, body: &[u8], chance: &mut Chance) -> Vec<Header> {
    match source {
        "shop" => {
            let (id, stamp) = (format!("msg_{}", chance.below(1_000)), (NOW.0 / 1_000 + chance.between(-300, 300)).to_string());
            let mac = sha256(SHOP_KEY, &[id.as_bytes(), b".", stamp.as_bytes(), b".", body]);
            let signature = format!("v1,{}", STANDARD.encode(mac));
            vec![header("webhook-id", id), header("webhook-timestamp", stamp), header("webhook-signature", signature)]
        }
        "help-desk" => {
            vec![header("x-helpdesk-signature", format!("sha256={}", hex(&sha256(DESK_SECRET.as_bytes(), &[body]))))]
        }
        "old-shop" => {
            let mut mac = Hmac::<Sha1>::new_from_slice(DESK_SECRET.as_bytes()).expect("an HMAC takes any key");
            mac.update(body);
            vec![header("x-old-signature", STANDARD.encode(mac.finalize().into_bytes()))]
        }
        "till" => vec![header("authorization", format!("Bearer {TILL_TOKEN}"))],
        _ => Vec::new(),
    }
}

/// Spoils the proof; false when it may still hold.
fn spoil(headers: &mut Vec<Header>, chance: &mut Chance) -> bool {
    if headers.is_empty() {
        return false;
    }
    let at = chance.below(headers.len());
    match chance.below(9) {
        0 => drop(headers.remove(at)),
        1 => headers.push(headers[at].clone()),
        2 => {
            let cut = headers[at].1.len() / 2;
            headers[at].1.truncate(cut);
        }
        3 => headers[at].1 = headers[at].1.repeat(1 + chance.below(2_000)),
        4 => headers[at].1 = mutate::trouble(chance).to_owned(),
        5 => {
            let stamp =
                *chance.item(&["", "-1", "0", "99999999999999999999", "1803891600.5", "1803891600000", " 1803891600", "٣"]);
            return headers.iter_mut().find(|(name, _)| name == "webhook-timestamp").is_some_and(|(_, value)| {
                *value = stamp.to_owned();
                true
            });
        }
        6 => {
            // A right one among wrong ones is allowed, up to 32 of them.
            let many = chance.below(100);
            let list = "v1,AAAA v1a,AAAA v1 v1,! ".repeat(many);
            headers[at].1 = format!("{list}{}", headers[at].1);
            return false;
        }
        7 => {
            headers[at].1 = headers[at].1.to_uppercase();
            return false;
        }
        _ => {
            let before = headers[at].1.clone();
            headers[at].1 = mutate::tweak(&before, chance);
            // Blanks around a token or between signatures mean nothing, and hexadecimal digits have two forms.
            return false;
        }
    }
    // A repeated value of a single repetition, or of nothing, is the same again.
    true
}

impl Kind for Hooks {
    fn name(&self) -> &'static str {
        "hook"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let (source, tree) = chance.item(&self.bodies);
        let source = *source;
        let body = changed(tree, &self.corpus, &mut chance);
        let sound = signed(source, &body, &mut chance);
        let mut headers = sound.clone();
        let spoilt = chance.one_in(2) && spoil(&mut headers, &mut chance) && headers != sound;
        // A byte that changed on the way must never be taken for what was signed.
        let mut sent = body.clone();
        let touched = chance.one_in(8) && !sent.is_empty() && source != "till" && source != "open";
        if touched {
            let at = chance.below(sent.len());
            sent[at] ^= 1;
        }
        let loopback = !chance.one_in(8);
        let shown = format!("{source} loopback={loopback}\n{headers:#?}\n\n{}", String::from_utf8_lossy(&sent)).into_bytes();
        let past_parser = json::read(&sent).is_ok();
        let feed = move || {
            let answer = at_once(self.intake.hook(Delivery { source, headers: &headers, query: "", body: &sent, loopback }));
            let mut verdict = laws::of_door(&answer, past_parser);
            let proven = !matches!(&answer, Err(IntakeError::Unverified(_)));
            let bad_id = matches!(&answer, Err(IntakeError::Refused(why)) if why.error.contains("`webhook-id`"));
            if proven && !bad_id && (touched || spoilt) {
                verdict.broken.get_or_insert("a delivery was taken for proven that is not".to_owned());
            }
            if !proven && headers == sound && !touched && (source != "open" || loopback) {
                verdict.broken.get_or_insert("a sound proof was turned down".to_owned());
            }
            let secrets = [DESK_SECRET, TILL_TOKEN];
            if let Err(why) = &answer
                && secrets.iter().any(|secret| why.to_string().contains(secret))
            {
                verdict.broken.get_or_insert("a refusal tells a secret".to_owned());
            }
            verdict
        };
        Case { shown, feed: Box::new(feed) }
    }
}
