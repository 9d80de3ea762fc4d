//! What a person says of an effect of which nobody knows whether it happened.

use super::{Intake, IntakeError, Refusal, SOURCE_API, digest, json};
use crate::customer::store::Parked;
use crate::customer::{Customer, Run, codec};
use crate::effect::Outcome;
use crate::event::InputBody;
use crate::lang::value::{Fields, Value};
use crate::store::{Accepted, NewInput, StoreError};

/// Longest reason, in characters.
const WHY_CHARS_MAX: usize = 500;

/// A person's word.
struct Word {
    effect: String,
    says: Says,
}

#[derive(PartialEq, Debug)]
enum Says {
    Outcome(Outcome),
    /// It did not happen: it is decided anew, under another key.
    Again(String),
}

impl Intake {
    /// Takes a person's word on an effect of a customer that is held because its fate is unknown:
    /// `{"effect", "outcome": "accepted" | "refused" | "retry", "why"?, "points"?}`. The run goes on from there.
    ///
    /// # Errors
    /// When something is missing or wrong, no run of hers is held by that effect, or the store fails.
    pub async fn resolve(&self, customer: &str, body: &[u8]) -> Result<Accepted, IntakeError> {
        let sent = json::read_map(body)?;
        let (digest, _) = digest::of_value(&Value::Map(sent.clone()));
        let Word { effect, says } = word(sent)?;
        let (document, version) = self.document(customer).await?;
        let known = document.as_ref().map_or(Known::Not, |customer| known(customer, &effect));
        let doubt = match known {
            Known::Unknown(doubt) => doubt,
            _ => {
                return Err(IntakeError::NoSuch(Refusal::new("no effect of that id of this customer waits for your word").hint(
                    "`autofunnel effects list` (GET /v1/effects) lists those that do; one that was resolved is there no more",
                )));
            }
        };
        let points = matches!(&says, Says::Outcome(Outcome::Accepted { data, .. }) if data.contains_key("points"));
        if points && document.is_some_and(|customer| customer.unsure.iter().any(|unsure| unsure.effect == effect)) {
            return Err(Refusal::new("this effect is a message, which gives no points")
                .field("points")
                .hint("leave `points` out")
                .into());
        }
        if matches!(says, Says::Again(_)) && doubt == Doubt::Lost {
            return Err(Refusal::new("these points were asked for by an earlier version of the engine, which did not keep how")
                .field("outcome")
                .hint("say `accepted` if she has them, else `refused`: the other's run then goes on as its step says")
                .into());
        }
        // The same word twice is one; another word about the same effect is a conflict. What keeps its key when it is
        // tried again can be in doubt again, and then needs another word.
        let id = match doubt {
            Doubt::Run => format!("resolve:{effect}"),
            Doubt::SameKey | Doubt::Lost => format!("resolve:{effect}:{version}"),
        };
        let id = Some(id);
        let body = match says {
            Says::Outcome(outcome) => InputBody::Result { effect, outcome },
            Says::Again(why) => InputBody::Again { effect, why },
        };
        let input = NewInput { customer: customer.to_owned(), source: SOURCE_API.to_owned(), id, digest, body };
        self.accept_one(input).await
    }

    /// A customer's document, if there is one, with its version.
    pub(super) async fn document(&self, customer: &str) -> Result<(Option<Customer>, u64), IntakeError> {
        let record = self.store.record(customer.to_owned()).await?.unwrap_or_default();
        if record.document.is_empty() {
            return Ok((None, record.version));
        }
        let document: Customer = codec::decode(&record.document)
            .map_err(|why| StoreError::Unavailable(format!("this customer's document cannot be read: {why}")))?;
        Ok((Some(document), record.version))
    }
}

/// What her document knows of an effect that is in no outbox.
#[derive(Clone, Copy)]
pub enum Known<'c> {
    /// Nothing.
    Not,
    /// A store has parked it; it is asked for again.
    Parked(&'c Parked),
    /// It waits for a person's word.
    Unknown(Doubt),
}

/// What waits for a person's word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// A run is held, or a message has left its run behind; tried again, it has another key.
    Run,
    /// A parked grant, or points of another's run: they keep their key.
    SameKey,
    /// Points of another's run of which it is not kept how they were asked for.
    Lost,
}

/// What a customer's document knows of an effect.
pub fn known<'c>(customer: &'c Customer, effect: &str) -> Known<'c> {
    if let Some(parked) = customer.parked.iter().find(|parked| parked.grant.id == effect) {
        return if parked.unknown.is_some() { Known::Unknown(Doubt::SameKey) } else { Known::Parked(parked) };
    }
    // Points that another customer's run gives her are held by no run of hers.
    if let Some(asked) = customer.asked.iter().find(|asked| asked.unknown.is_some() && asked.booking == effect) {
        return Known::Unknown(if asked.grant.is_some() { Doubt::SameKey } else { Doubt::Lost });
    }
    let unsure = customer.unsure.iter().any(|unsure| unsure.effect == effect);
    match unsure || customer.runs.iter().any(|run| is_held(run) && run.waits_for(effect)) {
        true => Known::Unknown(Doubt::Run),
        false => Known::Not,
    }
}

/// Whether a run waits for a person's word.
pub fn is_held(run: &Run) -> bool {
    run.unknown.is_some()
}

fn word(mut fields: Fields) -> Result<Word, Refusal> {
    let effect = match fields.remove("effect") {
        Some(Value::Text(effect)) if !effect.is_empty() => effect,
        _ => {
            return Err(Refusal::new(
                "`effect` is the id of the effect, as `autofunnel effects list` (GET /v1/effects) shows it",
            ));
        }
    };
    let why = match fields.remove("why") {
        None | Some(Value::Null) => "a person said so".to_owned(),
        Some(Value::Text(why)) if why.chars().count() <= WHY_CHARS_MAX => why,
        Some(_) => return Err(Refusal::new(format!("`why` is a text of at most {WHY_CHARS_MAX} characters"))),
    };
    let points = match fields.remove("points") {
        None | Some(Value::Null) => None,
        Some(Value::Int(points)) if points > 0 => Some(points),
        Some(_) => return Err(Refusal::new("`points` is a whole number above 0: how many were booked")),
    };
    let says = match fields.remove("outcome").as_ref().and_then(Value::as_text) {
        Some("accepted") => {
            let data = points.map(|points| ("points".to_owned(), Value::from(points))).into_iter().collect();
            Says::Outcome(Outcome::Accepted { reference: None, data })
        }
        Some("refused") if points.is_none() => Says::Outcome(Outcome::Refused { why }),
        Some("retry") if points.is_none() => Says::Again(why),
        Some("refused" | "retry") => return Err(Refusal::new("`points` belongs to `accepted`")),
        _ => {
            let says = "`outcome` is `accepted` (it did happen), `refused` (it did not, and will not) or `retry` (it did not, and is to)";
            return Err(Refusal::new(says));
        }
    };
    match fields.keys().next() {
        Some(unknown) => {
            let known = ["effect", "outcome", "why", "points"];
            Err(Refusal::new(format!("there is no field `{unknown}`")).did_you_mean(unknown, known))
        }
        None => Ok(Word { effect, says }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Says, String> {
        let fields = json::read_map(text.as_bytes()).map_err(|refusal| refusal.to_string())?;
        word(fields).map(|word| word.says).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn a_word_says_what_happened() {
        let accepted = read(r#"{"effect":"c/1/gift/1","outcome":"accepted","points":10}"#).unwrap();
        assert!(matches!(accepted, Says::Outcome(Outcome::Accepted { data, .. }) if data["points"] == Value::Int(10)));
        let refused = read(r#"{"effect":"c/1/gift/1","outcome":"refused","why":"not in their list"}"#).unwrap();
        assert_eq!(refused, Says::Outcome(Outcome::Refused { why: "not in their list".to_owned() }));
        let again = read(r#"{"effect":"c/1/gift/1","outcome":"retry","why":"not in their list"}"#).unwrap();
        assert_eq!(again, Says::Again("not in their list".to_owned()));
        for (wrong, says) in [
            (r#"{"outcome":"accepted"}"#, "`effect`"),
            (r#"{"effect":"e","outcome":"maybe"}"#, "`outcome`"),
            (r#"{"effect":"e","outcome":"refused","points":1}"#, "`points` belongs"),
            (r#"{"effect":"e","outcome":"accepted","points":0}"#, "`points` is"),
            (r#"{"effect":"e","outcome":"accepted","point":1}"#, "no field `point`"),
        ] {
            let said = read(wrong).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}
