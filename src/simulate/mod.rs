//! Simulation: many customers on virtual clocks, and what a workspace would do with what happened to them.
//!
//! Every input goes through the real turn ([`crate::play`]), in order of time for each customer, with all her
//! wakes between. No provider is called. What comes of effects is a model, and the report says so ([`MODEL`]).
//! Where they draw on no budget of all together, customers do not touch each other, so parts of them may be simulated
//! beside each other and their reports merged: the outcome is the same.
//!
//! ```text
//! mod      customers and their clocks        against  two reports beside each other
//! tally    facts → figures                   text     a report as tables
//! order    who is due next
//! report   figures, merged and as JSON       html     a report as a page with charts
//! winners  what a split's test would have decided, and when
//! record   turns that were recorded live, and the proof that they are done the same again
//! ```

use crate::event::InputBody;
use crate::funnel::Definitions;
use crate::lang::time::Time;
use crate::play::Player;
use crate::play::purse::Purse;
use order::Order;
use record::Chain;
use std::collections::HashMap;
use tally::Tally;
use winners::Drawn;

pub mod against;
pub mod html;
mod order;
pub mod record;
pub mod report;
mod tally;
#[cfg(test)]
mod tests;
pub mod text;
pub mod winners;

pub use report::Report;

/// How results come about where nobody is called.
pub const MODEL: &str = "every message is rendered and accepted at once, every grant is booked and every call answered at once; \
nothing bounces, is opened, clicked or bought that the events do not tell of; what one customer tells another is counted and does \
not reach her; what waits for a person's word waits on, and so does what a used up budget has paused";

/// A simulation of some customers.
pub struct Simulation<'a> {
    definitions: &'a Definitions,
    players: HashMap<String, (Player<'a>, Tally)>,
    report: Report,
    /// Budgets of all customers together: whoever is played has it in hand.
    purse: Option<Purse>,
    /// When customers are due next, where that matters to others.
    order: Order,
    /// Records that are being played, by customer.
    chains: HashMap<String, Chain>,
}

/// Whether customers touch each other under a workspace: where all draw on one budget, they are to be simulated
/// together, in order of time.
pub fn is_one(definitions: &Definitions) -> bool {
    Purse::new(&definitions.current.settings).is_some()
}

impl<'a> Simulation<'a> {
    /// Nobody yet.
    pub fn new(definitions: &'a Definitions) -> Simulation<'a> {
        Simulation {
            definitions,
            players: HashMap::new(),
            report: Report { drawn: Drawn::of(definitions), ..Report::new(&definitions.current) },
            purse: Purse::new(&definitions.current.settings),
            order: Order::default(),
            chains: HashMap::new(),
        }
    }

    /// Something happens to a customer. Her inputs come in order of time; one that comes late acts when it comes. Where
    /// customers draw on one budget, all inputs come in order of time.
    pub fn input(&mut self, customer: &str, at: Time, body: InputBody) {
        self.report.counted(&body, at);
        self.play_until(at.plus_ms(-1));
        if !self.players.contains_key(customer) {
            let player = Player::new(self.definitions, customer, at);
            self.players.insert(customer.to_owned(), (player, Tally::default()));
        }
        self.with(customer, Some(Time(i64::MIN)), |player, tally, report| {
            let at = at.max(player.now);
            player.input(at, body);
            tally.take(player, report);
        });
    }

    /// Plays everybody on until `until`, and ends.
    pub fn finish(mut self, until: Time) -> Report {
        self.report.until = self.report.until.max(until);
        let until = self.report.until;
        self.play_until(until);
        for (id, (mut player, mut tally)) in self.players {
            player.purse = self.purse.take();
            player.run_until(until);
            self.purse = player.purse.take();
            tally.take(&mut player, &mut self.report);
            tally.close(id, &player, &mut self.report);
        }
        self.report.used_up = self.purse.map(|purse| purse.paused).unwrap_or_default();
        self.report
    }

    /// Plays all that is due up to and including an instant, in its order, where customers touch each other.
    fn play_until(&mut self, until: Time) {
        if self.purse.is_none() {
            return;
        }
        while let Some((at, id)) = self.order.next(until) {
            if self.players.get(&id).is_some_and(|(player, _)| player.wake == Some(at)) {
                // Who is due there still is left to the end, which is bounded.
                self.with(&id, Some(at), |player, tally, report| {
                    player.run_until(at);
                    tally.take(player, report);
                });
            }
        }
    }

    /// Does something with one customer, who has the budgets in hand meanwhile. She is played on by herself where she is
    /// due after `goes_on`.
    fn with(&mut self, id: &str, goes_on: Option<Time>, done: impl FnOnce(&mut Player<'a>, &mut Tally, &mut Report)) {
        let Some((player, tally)) = self.players.get_mut(id) else { return };
        player.purse = self.purse.take();
        done(player, tally, &mut self.report);
        self.purse = player.purse.take();
        let due = player.wake.filter(|wake| goes_on.is_some_and(|after| *wake > after));
        if let Some(wake) = due.filter(|_| self.purse.is_some()) {
            self.order.push(wake, id);
        }
    }
}
