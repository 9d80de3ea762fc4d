//! `settle`: who may not enter yet may enter when what the filter asks for arrives in time.
//!
//! The event that starts a funnel often overtakes the profile that its `only_if` reads. For as long as the funnel
//! says, the entry is kept and judged again with everything that happens.

use super::Turn;
use super::entries::{Fired, Refusal};
use super::view::View;
use crate::customer::Settling;
use crate::event::Event;
use crate::fact::What;
use crate::funnel::Funnel;
use crate::lang::time::Time;
use crate::trigger::Firing;
use std::sync::Arc;

/// Most entries of one customer that are kept to be judged again.
pub const SETTLING_MAX: usize = 20;

impl Turn<'_> {
    /// Judges kept entries again; what is not let in stays until its time is up.
    pub(super) fn settle(&mut self) {
        for kept in std::mem::take(&mut self.customer.settling) {
            let Some(funnel) = self.workspace.funnels.get(&kept.funnel).cloned() else { continue };
            let firing = Firing { key: kept.key, anchor: kept.anchor, mark: kept.mark, properties: kept.properties };
            self.enter(Fired { settling: Some(kept.until), ..Fired::new(&funnel, firing) }, kept.event, kept.depth);
        }
    }

    /// Keeps an entry that the filter refused; `false`: it is refused for good.
    pub(super) fn keep_entry(&mut self, fired: &Fired, event: Option<&Event>, depth: u8, refusal: &Refusal) -> bool {
        let (funnel, firing) = (&fired.funnel, &fired.firing);
        let Some(settle) = funnel.settle else { return false };
        let until = fired.settling.unwrap_or_else(|| self.now.plus(settle, self.zone));
        let same = |kept: &Settling| kept.funnel == funnel.name && kept.key == firing.key;
        let kept = &self.customer.settling;
        if until <= self.now || kept.len() >= SETTLING_MAX || kept.iter().any(same) {
            return false;
        }
        if fired.settling.is_none() {
            let why = format!("{}; judged again until {}", refusal.why, self.clock_text(until));
            self.about_entry(What::Settling, funnel, why).seen = refusal.seen.clone();
        }
        self.customer.settling.push(Settling {
            funnel: funnel.name.clone(),
            key: firing.key.clone(),
            anchor: firing.anchor,
            mark: firing.mark,
            properties: firing.properties.clone(),
            event: event.cloned(),
            depth,
            until,
        });
        true
    }

    /// When a kept entry is to be judged again though nothing happens.
    pub(super) fn settling_due(&self) -> Option<Time> {
        let due = |kept: &Settling| {
            let funnel: Option<&Arc<Funnel>> = self.workspace.funnels.get(&kept.funnel);
            let only_if = funnel.and_then(|funnel| funnel.only_if.as_ref());
            let flip = only_if.and_then(|only_if| only_if.judge(&View { event: kept.event.as_ref(), ..self.view() }).until);
            flip.filter(|flip| *flip > self.now).map_or(kept.until, |flip| flip.min(kept.until))
        };
        self.customer.settling.iter().map(due).min()
    }
}
