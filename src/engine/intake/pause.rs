//! What a person says to the whole outbox or to one effect in it: pause, go on, try again, drop.

use super::resolve::{Known, known};
use super::{Intake, IntakeError, Refusal, SOURCE_API, json};
use crate::effect::Effect;
use crate::event::InputBody;
use crate::lang::value::{Fields, Value};
use crate::store::NewInput;
use crate::store::pause::{Pausable, Pause, Under, pauses_of};
use std::collections::BTreeSet;

/// Longest reason, in characters.
const WHY_CHARS_MAX: usize = 500;
/// The provider of every channel that the settings do not name.
const INBOX: &str = "inbox";

/// What a person's wish to have an effect tried at once has come to.
#[derive(Default)]
pub struct Hastened {
    /// The pauses that hold it up all the same.
    pub pauses: Vec<Pause>,
    /// Whom it calls, if anybody: a provider that rests is not called sooner for it.
    pub provider: Option<String>,
}

impl Intake {
    /// Pauses what the body names: `{"funnel"}`, `{"provider"}`, `{"marketing"}` (a provider's) or `{"workspace": true}`, each with `"why"?`.
    ///
    /// # Errors
    /// When something is wrong, the workspace has no such funnel or provider, or the store fails.
    pub async fn pause(&self, by: &str, body: &[u8]) -> Result<Pause, IntakeError> {
        let mut sent = json::read_map(body)?;
        let why = why(&mut sent)?;
        let of = pausable(sent)?;
        self.there(&of).await?;
        // Said again without a reason, the reason stays.
        let known = self.store.pauses().await?.into_iter().find(|pause| pause.of == of);
        let why = why.or(known.map(|pause| pause.why)).unwrap_or_default();
        let pause = Pause { of, since: self.store.now(), by: by.to_owned(), why };
        self.store.pause(pause.clone()).await?;
        tracing::warn!(paused = pause.of.name(), by, why = pause.why, "paused; nothing of it leaves until it is resumed");
        Ok(pause)
    }

    /// Ends a pause, named as for [`Intake::pause`].
    ///
    /// # Errors
    /// When something is wrong, it is not paused, or the store fails.
    pub async fn resume(&self, by: &str, body: &[u8]) -> Result<Pausable, IntakeError> {
        let of = pausable(json::read_map(body)?)?;
        if !self.store.resume(of.clone()).await? {
            let others: Vec<String> = self.store.pauses().await?.iter().map(|pause| pause.of.name()).collect();
            let hint = match others.is_empty() {
                true => "nothing is".to_owned(),
                false => format!("paused: {}", others.join(", ")),
            };
            return Err(IntakeError::NoSuch(Refusal::new(format!("the {} is not paused", of.name())).hint(hint)));
        }
        tracing::warn!(resumed = of.name(), by, "resumed; what waited for it leaves");
        Ok(of)
    }

    async fn there(&self, of: &Pausable) -> Result<(), IntakeError> {
        let world = self.world.get();
        let (word, name, known) = match of {
            Pausable::Workspace => return Ok(()),
            Pausable::Funnel(name) => {
                let mut known: BTreeSet<String> = world.funnels.keys().cloned().collect();
                // One whose file is gone may have runs.
                known.extend(self.store.counts().await?.live_runs.into_iter().map(|(funnel, _, _)| funnel));
                ("funnel", name, known)
            }
            Pausable::Marketing(name) => {
                let known = world.settings.channels.values().cloned().chain([INBOX.to_owned()]);
                ("marketing", name, known.collect())
            }
            Pausable::Provider(name) => {
                let named = world
                    .settings
                    .channels
                    .values()
                    .chain(&world.settings.loyalty)
                    .chain(world.settings.services.keys())
                    .cloned();
                ("provider", name, named.chain([INBOX.to_owned()]).collect())
            }
        };
        match known.contains(name) {
            true => Ok(()),
            false => Err(IntakeError::NoSuch(
                Refusal::new(format!("there is no {} `{name}`", if word == "marketing" { "provider of messages" } else { word }))
                    .did_you_mean(name, known.iter().map(String::as_str))
                    .field(word),
            )),
        }
    }

    /// Makes an effect that waits due now, or asks for a parked grant again: `{"effect"}`. The pauses that hold it up all
    /// the same are returned; it goes when they are ended.
    ///
    /// # Errors
    /// When something is wrong, it does not wait, or the store fails.
    pub async fn hasten(&self, by: &str, customer: &str, body: &[u8]) -> Result<Hastened, IntakeError> {
        let mut sent = json::read_map(body)?;
        let effect = effect(&mut sent)?;
        nothing_else(&sent, &["effect"])?;
        let waiting = self.store.waiting(effect.clone(), customer.to_owned()).await?;
        if self.store.hasten(effect.clone(), customer.to_owned()).await? {
            return match waiting {
                Some(waiting) => self.held_up(&waiting.effect).await,
                // It came back to wait at this very moment.
                None => Ok(Hastened::default()),
            };
        }
        let (document, _) = self.document(customer).await?;
        match document.as_ref().map_or(Known::Not, |customer| known(customer, &effect)) {
            Known::Parked(parked) => {
                let (grant, why) = (parked.grant.clone(), format!("{by} asked for it"));
                let (source, body) = (SOURCE_API.to_owned(), InputBody::Again { effect, why });
                // Said twice it does no harm: what is on its way is left alone.
                let input = NewInput { customer: customer.to_owned(), source, id: None, digest: 0, body };
                self.accept_one(input).await?;
                self.held_up(&grant).await
            }
            Known::Unknown(_) => Err(IntakeError::NoSuch(
                Refusal::new("nobody knows whether this effect happened, so it is not tried again before you have said so")
                    .hint("find out where it would have happened, then say it: `autofunnel effects resolve`, with --retry if it did not"),
            )),
            Known::Not => Err(not_waiting()),
        }
    }

    /// What an effect waits for that is due now.
    async fn held_up(&self, effect: &Effect) -> Result<Hastened, IntakeError> {
        let pauses = pauses_of(&self.store.pauses().await?, Under::of(effect));
        Ok(Hastened { pauses, provider: effect.provider().map(str::to_owned) })
    }

    /// Drops an effect that waits: `{"effect", "why"?}`. Its run goes on as after a refusal.
    ///
    /// # Errors
    /// When something is wrong, it does not wait, or the store fails.
    pub async fn drop_effect(&self, by: &str, customer: &str, body: &[u8]) -> Result<(), IntakeError> {
        let mut sent = json::read_map(body)?;
        let (effect, why) = (effect(&mut sent)?, why(&mut sent)?);
        nothing_else(&sent, &["effect", "why"])?;
        let why = why.map_or_else(|| format!("dropped by {by}"), |why| format!("dropped by {by}: {why}"));
        match self.store.drop_effect(effect, customer.to_owned(), why).await? {
            true => Ok(()),
            false => Err(not_waiting()),
        }
    }
}

fn not_waiting() -> IntakeError {
    IntakeError::NoSuch(
        Refusal::new("no effect of this customer waits under that id").hint(
            "`autofunnel effects list` (GET /v1/effects) lists those that do; one that is being sent right now is left alone",
        ),
    )
}

pub(super) fn effect(sent: &mut Fields) -> Result<String, Refusal> {
    match sent.remove("effect") {
        Some(Value::Text(effect)) if !effect.is_empty() => Ok(effect),
        _ => Err(Refusal::new("`effect` is the id of the effect, as `autofunnel effects list` (GET /v1/effects) shows it")
            .field("effect")),
    }
}

pub(super) fn why(sent: &mut Fields) -> Result<Option<String>, Refusal> {
    match sent.remove("why") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Text(why)) if why.chars().count() <= WHY_CHARS_MAX => Ok(Some(why)),
        Some(_) => Err(Refusal::new(format!("`why` is a text of at most {WHY_CHARS_MAX} characters")).field("why")),
    }
}

pub(super) fn nothing_else(sent: &Fields, known: &[&str]) -> Result<(), Refusal> {
    match sent.keys().next() {
        None => Ok(()),
        Some(other) => Err(Refusal::new(format!("there is no field `{other}`")).did_you_mean(other, known.iter().copied())),
    }
}

fn pausable(mut sent: Fields) -> Result<Pausable, Refusal> {
    let mut found = Vec::new();
    for (word, make) in [
        ("funnel", Pausable::Funnel as fn(String) -> Pausable),
        ("provider", Pausable::Provider),
        ("marketing", Pausable::Marketing),
    ] {
        match sent.remove(word) {
            None | Some(Value::Null) => {}
            Some(Value::Text(name)) if !name.is_empty() => found.push(make(name)),
            Some(_) => return Err(Refusal::new(format!("`{word}` is a name")).field(word)),
        }
    }
    match sent.remove("workspace") {
        None | Some(Value::Null | Value::Bool(false)) => {}
        Some(Value::Bool(true)) => found.push(Pausable::Workspace),
        Some(_) => return Err(Refusal::new("`workspace` is true: everything is meant").field("workspace")),
    }
    nothing_else(&sent, &["funnel", "provider", "marketing", "workspace", "why"])?;
    match found.len() {
        1 => Ok(found.remove(0)),
        _ => Err(Refusal::new("say what is meant with one of `funnel`, `provider`, `marketing` and `workspace`")
            .hint(r#"for example {"funnel": "welcome"}"#)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Pausable, String> {
        let fields = json::read_map(text.as_bytes()).map_err(|refusal| refusal.to_string())?;
        pausable(fields).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn one_thing_is_meant() {
        assert_eq!(read(r#"{"funnel":"welcome"}"#), Ok(Pausable::Funnel("welcome".to_owned())));
        assert_eq!(read(r#"{"provider":"mail","funnel":null}"#), Ok(Pausable::Provider("mail".to_owned())));
        assert_eq!(read(r#"{"marketing":"mail"}"#), Ok(Pausable::Marketing("mail".to_owned())));
        assert_eq!(read(r#"{"workspace":true}"#), Ok(Pausable::Workspace));
        for (wrong, says) in [
            ("{}", "say what is meant"),
            (r#"{"workspace":false}"#, "say what is meant"),
            (r#"{"funnel":"a","provider":"b"}"#, "say what is meant"),
            (r#"{"funnel":7}"#, "`funnel` is a name"),
            (r#"{"funel":"a"}"#, "no field `funel`"),
            (r#"{"workspace":"yes"}"#, "`workspace` is true"),
        ] {
            let said = read(wrong).unwrap_err();
            assert!(said.contains(says), "{wrong}: {said}");
        }
    }
}
