//! Simulation: many customers on virtual clocks, and what a workspace would do with what happened to them.
//!
//! Every input goes through the real turn ([`crate::play`]), in order of time for each customer, with all her
//! wakes between. No provider is called. What comes of effects is a model, and the report says so ([`MODEL`]).
//! Customers do not touch each other, so parts of them may be simulated beside each other and their reports
//! merged: the outcome is the same.
//!
//! ```text
//! mod      customers and their clocks        against  two reports beside each other
//! tally    facts → figures                   text     a report as tables
//! report   figures, merged and as JSON       html     a report as a page with charts
//! winners  what a split's test would have decided, and when
//! record   turns that were recorded live, and the proof that they are done the same again
//! ```

use crate::event::InputBody;
use crate::funnel::Definitions;
use crate::lang::time::Time;
use crate::play::Player;
use std::collections::HashMap;
use tally::Tally;
use winners::Drawn;

pub mod against;
pub mod html;
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
not reach her; what waits for a person's word waits on";

/// A simulation of some customers.
pub struct Simulation<'a> {
    definitions: &'a Definitions,
    players: HashMap<String, (Player<'a>, Tally)>,
    report: Report,
}

impl<'a> Simulation<'a> {
    /// Nobody yet.
    pub fn new(definitions: &'a Definitions) -> Simulation<'a> {
        let report = Report { drawn: Drawn::of(definitions), ..Report::new(&definitions.current) };
        Simulation { definitions, players: HashMap::new(), report }
    }

    /// Something happens to a customer. Her inputs come in order of time; one that comes late acts when it comes.
    pub fn input(&mut self, customer: &str, at: Time, body: InputBody) {
        self.report.counted(&body, at);
        if !self.players.contains_key(customer) {
            let player = Player::new(self.definitions, customer, at);
            self.players.insert(customer.to_owned(), (player, Tally::default()));
        }
        if let Some((player, tally)) = self.players.get_mut(customer) {
            let at = at.max(player.now);
            player.input(at, body);
            tally.take(player, &mut self.report);
        }
    }

    /// Plays everybody on until `until`, and ends.
    pub fn finish(mut self, until: Time) -> Report {
        self.report.until = self.report.until.max(until);
        let until = self.report.until;
        for (id, (mut player, mut tally)) in self.players {
            player.run_until(until);
            tally.take(&mut player, &mut self.report);
            tally.close(id, &player, &mut self.report);
        }
        self.report
    }
}
