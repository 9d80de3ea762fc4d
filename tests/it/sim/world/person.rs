//! What people do: they pause and resume, and say a word on what is held for review.

use super::super::fault::at_once;
use super::{PAGE, World};
use autofunnel::customer::{Customer, codec};
use autofunnel::engine::intake::review::held;
use autofunnel::store::Store;
use autofunnel::store::pause::{Pausable, Pause};
use autofunnel::store::read::RunFilter;
use std::sync::Arc;

/// What is paused now and then.
const FUNNELS: &[&str] = &["receipt", "welcome", "news", "back", "bonus", "looked", "path", "friend"];
const PROVIDERS: &[&str] = &["mail", "text", "pager", "bank", "inbox"];

impl World {
    /// Pauses something.
    pub(super) fn pause(&mut self, which: usize) {
        let of = match self.roll(8) {
            0 => Pausable::Workspace,
            1..=3 => Pausable::Provider(PROVIDERS[self.roll(PROVIDERS.len())].to_owned()),
            _ => Pausable::Funnel(FUNNELS[self.roll(FUNNELS.len())].to_owned()),
        };
        let store = self.workers[which].store.store.clone();
        let pause = Pause { of, since: store.now(), by: "somebody".to_owned(), why: String::new() };
        // A worker that is presumed dead can do nothing.
        if at_once(store.pause(pause.clone())).is_ok() {
            let mut state = self.state();
            state.report.add("person", "paused");
            state.paused(&pause);
        }
    }

    /// Ends a pause; false: there is none.
    pub(super) fn resume(&mut self, which: usize) -> bool {
        let paused: Vec<Pausable> = self.state().judge.pauses.list().iter().map(|pause| pause.of.clone()).collect();
        if paused.is_empty() {
            return false;
        }
        let of = paused[self.roll(paused.len())].clone();
        let store = self.workers[which].store.store.clone();
        match at_once(store.resume(of.clone())) {
            Ok(there) => {
                let now = store.now();
                let mut state = self.state();
                state.report.add("person", "resumed");
                state.resumed(now, &of, there);
                true
            }
            Err(_) => false,
        }
    }

    /// A word on one of the steps that are held for review; false: none is.
    pub(super) fn review(&mut self, which: usize) -> bool {
        let store = self.workers[which].store.store.clone();
        let Some((customer, effect)) = self.chosen(&store) else { return false };
        let release = self.roll(3) > 0;
        self.state().report.add("person", if release { "released" } else { "rejected" });
        self.state().say(|| format!("somebody says {} to {effect}", if release { "yes" } else { "no" }));
        self.workers[which].review(customer, &effect, release);
        true
    }

    fn chosen(&self, store: &Arc<dyn Store>) -> Option<(String, String)> {
        let filter = RunFilter { state: "review".to_owned(), ..RunFilter::default() };
        let rows = at_once(store.runs(filter, PAGE)).ok().filter(|rows| !rows.is_empty())?;
        let row = &rows[self.roll(rows.len())];
        let record = at_once(store.record(row.customer.clone())).ok()??;
        let customer: Customer = codec::decode(&record.document).ok()?;
        let effect = held(customer.run(row.run)?)?.to_owned();
        Some((customer.id, effect))
    }
}
