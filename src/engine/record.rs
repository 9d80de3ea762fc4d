//! Between stored records and what turns work with.

use crate::account::Account;
use crate::customer::{Customer, Run, RunState, codec};
use crate::funnel::Definitions;
use crate::lang::value::Value;
use crate::store::{Commit, CustomerRow, Record, RunRow};
use crate::turn::Turned;

/// A customer's two documents, decoded.
pub struct Documents {
    /// The customer; `None` when nothing is known of her.
    pub customer: Option<Customer>,
    /// Her account.
    pub account: Account,
}

/// Decodes a record. The document's gate is raised to the store's: an accept may have raised that one.
///
/// # Errors
/// When a stored document is damaged or of a newer format.
pub fn decode(record: &Record) -> Result<Documents, codec::CodecError> {
    let mut customer: Option<Customer> = match record.document.is_empty() {
        true => None,
        false => Some(codec::decode(&record.document)?),
    };
    if let Some(customer) = &mut customer {
        customer.gate = customer.gate.max(record.gate);
    }
    Ok(Documents { customer, account: Account::from_stored(&record.account)? })
}

/// The commit of a turn.
pub fn commit(definitions: &Definitions, id: String, base: u64, turned: Turned, consumed: Vec<u64>) -> Commit {
    let runs = rows(definitions, &turned);
    Commit {
        base,
        document: codec::encode(&turned.customer),
        account: turned.account.as_ref().map(Account::to_stored),
        consumed,
        settled: None,
        withdrawn: turned.withdrawn,
        effects: turned.effects,
        hand_over: false,
        facts: turned.facts,
        runs,
        wake: turned.wake,
        gate: turned.customer.gate,
        judged: turned.customer.judged_by.clone(),
        index: index(&turned.customer),
        erase: turned.erase,
        customer: id,
    }
}

fn index(customer: &Customer) -> CustomerRow {
    let text = |name: &str| customer.profile.get(name).and_then(Value::as_text).unwrap_or_default().to_owned();
    CustomerRow {
        id: customer.id.clone(),
        name: text("name"),
        email: text("email"),
        phone: text("phone"),
        segments: customer.segments.keys().cloned().collect(),
    }
}

fn rows(definitions: &Definitions, turned: &Turned) -> Vec<RunRow> {
    let live = turned.runs.touched.iter().filter_map(|number| turned.customer.run(*number)).filter(|run| run.is_live());
    let ended = turned.runs.ended.iter().map(|(run, how, at)| {
        let mut row = row(definitions, &turned.customer.id, run);
        row.state = (*how).to_owned();
        row.until = Some(*at);
        row
    });
    live.map(|run| row(definitions, &turned.customer.id, run)).chain(ended).collect()
}

fn row(definitions: &Definitions, customer: &str, run: &Run) -> RunRow {
    let step = definitions.funnel(&run.version).and_then(|funnel| funnel.steps.list.get(run.at as usize));
    let state = match run.state {
        RunState::Held { .. } => "held",
        RunState::Effect { .. } => "sending",
        RunState::Ready | RunState::Waiting { .. } | RunState::WaitingFor { .. } | RunState::Ended { .. } => "waiting",
    };
    RunRow {
        customer: customer.to_owned(),
        run: run.id,
        funnel: run.funnel.clone(),
        version: run.version.clone(),
        state: state.to_owned(),
        step: step.map(|step| step.id.clone()).unwrap_or_default(),
        entered: run.entered,
        until: run.due(),
    }
}
