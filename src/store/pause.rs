//! Pauses: a funnel, a provider or the whole workspace sends, books and calls nothing until a person says so.
//!
//! Customers go on entering and waiting while something is paused; only effects stay where they are. The store
//! heeds a pause in the atomic step that lets an effect begin ([`super::Store::begin`]) and in the commit that
//! books one, so that nothing leaves once the pause was answered. What a pause holds up looks at it again
//! [`RECHECK_MS`] later and, when it is ended, at once; what has outlived its shelf life by then is decided anew.

use super::digest;
use crate::effect::{Effect, EffectKind};
use crate::lang::time::{MINUTE_MS, Time};
use serde::{Deserialize, Serialize};

/// What an effect is told to wait for; the list of effects shows it.
pub const PAUSED: &str = "paused";
/// How long a paused effect is left alone, in milliseconds. Ending a pause does not depend on it, unless it was
/// broken off half-way.
pub const RECHECK_MS: i64 = 10 * MINUTE_MS;

/// What can be paused.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pausable {
    /// Everything.
    Workspace,
    /// A funnel, in all its versions.
    Funnel(String),
    /// A provider of messages or of the loyalty store, or a service.
    Provider(String),
    /// What is marketing of the messages of a provider.
    Marketing(String),
}

impl Pausable {
    /// `workspace`, `funnel welcome`, `provider mail`: unique, and for people.
    pub fn name(&self) -> String {
        match self {
            Pausable::Workspace => "workspace".to_owned(),
            Pausable::Funnel(name) => format!("funnel {name}"),
            Pausable::Provider(name) => format!("provider {name}"),
            Pausable::Marketing(name) => format!("marketing {name}"),
        }
    }

    /// The tags of what it holds: a provider's marketing stands under a tag of its own.
    fn tags(&self) -> Vec<Tag> {
        match self {
            Pausable::Workspace => vec![WORKSPACE],
            Pausable::Funnel(name) => vec![funnel_tag(name)],
            Pausable::Provider(name) => vec![provider_tag(name), marketing_tag(name)],
            Pausable::Marketing(name) => vec![marketing_tag(name)],
        }
    }
}

/// A pause.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pause {
    /// Of what.
    pub of: Pausable,
    /// Since when.
    pub since: Time,
    /// Who asked for it: the name of a token, or the rule that did.
    pub by: String,
    /// Why, for people; may be empty.
    pub why: String,
}

/// What stands for a name where names are compared often.
pub type Tag = [u8; 8];

/// The tag of everything.
pub const WORKSPACE: Tag = [0; 8];

fn funnel_tag(name: &str) -> Tag {
    digest::named("funnel", name)
}

fn provider_tag(name: &str) -> Tag {
    digest::named("provider", name)
}

fn marketing_tag(name: &str) -> Tag {
    digest::named("marketing", name)
}

/// By what an effect can be paused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Under {
    /// Its funnel.
    pub funnel: Tag,
    /// Its provider, or that provider's marketing.
    pub provider: Tag,
}

impl Under {
    /// Of an effect.
    pub fn of(effect: &Effect) -> Under {
        let marketing = matches!(&effect.kind, EffectKind::Message(message) if !message.transactional);
        let tag = if marketing { marketing_tag } else { provider_tag };
        Under { funnel: funnel_tag(&effect.funnel), provider: effect.provider().map_or(WORKSPACE, tag) }
    }
}

/// All pauses.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Pauses {
    list: Vec<Pause>,
    tags: Vec<Tag>,
}

impl Pauses {
    /// Of a list.
    pub fn new(mut list: Vec<Pause>) -> Pauses {
        list.sort_by(|a, b| a.of.cmp(&b.of));
        let tags = list.iter().flat_map(|pause| pause.of.tags()).collect();
        Pauses { list, tags }
    }

    /// Whether an effect has to wait.
    pub fn hold(&self, under: Under) -> bool {
        self.tags.iter().any(|tag| *tag == WORKSPACE || *tag == under.funnel || *tag == under.provider)
    }

    /// With one more, or with another reason for one.
    pub fn with(&self, pause: Pause) -> Pauses {
        let others = self.list.iter().filter(|other| other.of != pause.of).cloned();
        Pauses::new(others.chain([pause.clone()]).collect())
    }

    /// Without one; `None`: there was none.
    pub fn without(&self, of: &Pausable) -> Option<Pauses> {
        let others: Vec<Pause> = self.list.iter().filter(|pause| pause.of != *of).cloned().collect();
        (others.len() < self.list.len()).then(|| Pauses::new(others))
    }

    /// By what they are known: the workspace first, then funnels, then providers, by name.
    pub fn list(&self) -> &[Pause] {
        &self.list
    }

    /// The tags of all that they hold.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }
}

/// Those of some pauses that hold an effect up.
pub fn pauses_of(pauses: &[Pause], under: Under) -> Vec<Pause> {
    pauses.iter().filter(|pause| Pauses::new(vec![(*pause).clone()]).hold(under)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pause(of: Pausable) -> Pause {
        Pause { of, since: Time(1), by: "ops".to_owned(), why: String::new() }
    }

    #[test]
    fn a_pause_holds_what_it_names() {
        let under = Under { funnel: funnel_tag("welcome"), provider: provider_tag("mail") };
        let nothing = Pauses::default();
        assert!(!nothing.hold(under));
        for (of, holds) in [
            (Pausable::Workspace, true),
            (Pausable::Funnel("welcome".to_owned()), true),
            (Pausable::Provider("mail".to_owned()), true),
            (Pausable::Funnel("mail".to_owned()), false),
            (Pausable::Provider("welcome".to_owned()), false),
        ] {
            let one = nothing.with(pause(of.clone()));
            assert_eq!(one.hold(under), holds, "{of:?}");
            assert_eq!(one.without(&of), Some(Pauses::default()));
        }
        assert_eq!(nothing.without(&Pausable::Workspace), None);
        // A provider's pause holds its marketing too; a pause of its marketing holds nothing else.
        let marketing = Under { funnel: funnel_tag("welcome"), provider: marketing_tag("mail") };
        for (of, holds) in [
            (Pausable::Provider("mail".to_owned()), (true, true)),
            (Pausable::Marketing("mail".to_owned()), (false, true)),
            (Pausable::Marketing("other".to_owned()), (false, false)),
        ] {
            let one = nothing.with(pause(of.clone()));
            assert_eq!((one.hold(under), one.hold(marketing)), holds, "{of:?}");
        }
        // The built-in account is nobody's provider.
        let own = Under { provider: WORKSPACE, ..under };
        assert!(!nothing.with(pause(Pausable::Provider("mail".to_owned()))).hold(own));
    }

    #[test]
    fn the_same_again_replaces_its_reason() {
        let first = Pauses::default().with(pause(Pausable::Workspace));
        let again = first.with(Pause { why: "stock-taking".to_owned(), ..pause(Pausable::Workspace) });
        assert_eq!(again.list().len(), 1);
        assert_eq!(again.list()[0].why, "stock-taking");
    }
}
