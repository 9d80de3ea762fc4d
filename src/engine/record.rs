//! Between stored records and what turns work with.

use crate::account::Account;
use crate::customer::{Customer, DOCUMENT_BYTES_MAX, Run, RunState, codec};
use crate::event::address::StopKind;
use crate::fact::count::Terms;
use crate::fact::{Fact, What};
use crate::funnel::Definitions;
use crate::lang::value::Value;
use crate::store::known::Known;
use crate::store::read::{ASKED, PARKED};
use crate::store::{Commit, CustomerRow, Record, RunRow};
use crate::turn::Turned;

/// Single events per name that a document that is too large may keep, tried in this order.
const FOLD_STEPS: [usize; 4] = [100, 40, 10, 0];

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

/// A turn that is decided, on its way to the store.
pub struct Decided {
    /// What is to be committed.
    pub commit: Commit,
    /// The documents that it holds; none when she is forgotten.
    pub known: Option<Box<Known>>,
}

/// What is known of her already, as it goes on from a record of the same version.
///
/// # Errors
/// When a stored document is damaged or of a newer format.
pub fn known(known: Known, record: &Record) -> Result<Documents, codec::CodecError> {
    let account = match known.account {
        Some(account) => account,
        None => Account::from_stored(&record.account)?,
    };
    let mut customer = known.customer;
    customer.gate = customer.gate.max(record.gate);
    let documents = Documents { customer: Some(customer), account };
    // What was misread on its way here is no loss: it is known.
    debug_assert!(
        decode(record).map_or(true, |stored| stored.customer == documents.customer && stored.account == documents.account),
        "what is known of a customer is not what is stored"
    );
    Ok(documents)
}

/// The commit that consumes what arrived for a customer who was erased.
pub fn erasing(id: String, consumed: Vec<u64>) -> Decided {
    Decided { commit: Commit { customer: id, erase: true, consumed, ..Commit::default() }, known: None }
}

/// The commit of a turn.
pub fn commit(definitions: &Definitions, id: String, base: u64, mut turned: Turned, consumed: Vec<u64>) -> Decided {
    let runs = rows(definitions, &turned);
    let document = encode_bounded(definitions, &mut turned);
    let commit = Commit {
        base,
        document,
        account: turned.account.as_ref().map(Account::to_stored),
        consumed,
        settled: None,
        books: false,
        withdrawn: turned.withdrawn,
        effects: turned.effects,
        hand_over: false,
        addresses_taken: turned.taken,
        addresses_left: turned.left,
        facts: turned.facts,
        terms: terms(definitions),
        runs,
        began: turned.runs.began.iter().copied().collect(),
        moved: turned.runs.moved,
        // Clocks show whole milliseconds: what is due at one is over for sure only in the next. Never early.
        wake: turned.wake.map(|wake| wake.plus_ms(1)),
        gate: turned.customer.gate,
        judged: turned.customer.judged_by.clone(),
        index: index(&turned.customer),
        erase: turned.erase,
        customer: id,
    };
    let known = Known { version: base + 1, customer: turned.customer, account: turned.account };
    Decided { known: Some(Box::new(known)).filter(|_| !commit.erase), commit }
}

/// In which terms figures are counted: those of the workspace that is current.
fn terms(definitions: &Definitions) -> Terms {
    let settings = &definitions.current.settings;
    Terms { zone: settings.zone, currency: Some(settings.currency), point: settings.point_value }
}

/// Encodes the document; one that is too large gives up single events for day sums until it fits.
fn encode_bounded(definitions: &Definitions, turned: &mut Turned) -> Vec<u8> {
    let mut document = codec::encode(&turned.customer);
    if document.len() <= DOCUMENT_BYTES_MAX {
        return document;
    }
    let (before, zone) = (document.len(), turned.customer.zone(definitions.current.settings.zone));
    for most in FOLD_STEPS {
        for history in turned.customer.history.values_mut() {
            history.fold(most, zone);
        }
        document = codec::encode(&turned.customer);
        if document.len() <= DOCUMENT_BYTES_MAX {
            break;
        }
    }
    turned.facts.push(Fact {
        at: turned.customer.now,
        what: What::Alert,
        about: "document".to_owned(),
        run: None,
        why: format!("the document had {before} bytes, the bound is {DOCUMENT_BYTES_MAX}; single events became day sums"),
        seen: Vec::new(),
        amount: None,
    });
    document
}

/// What lists show of a customer as she stands: her line and her live runs.
pub fn standing(definitions: &Definitions, customer: &Customer) -> (CustomerRow, Vec<RunRow>) {
    let live = customer.runs.iter().filter(|run| run.is_live());
    (index(customer), live.map(|run| row(definitions, &customer.id, run)).collect())
}

fn index(customer: &Customer) -> CustomerRow {
    let text = |name: &str| customer.profile.get(name).and_then(Value::as_text).unwrap_or_default().to_owned();
    // What waits outside of runs: grants that a store has parked, those of others' runs and messages whose fate nobody
    // knows.
    let given = customer.asked.iter().any(|asked| asked.unknown.is_some());
    let waits = given || !customer.parked.is_empty() || !customer.unsure.is_empty();
    let asked = customer.stops.iter().any(|(_, stop)| stop.kind == StopKind::Asked).then(|| ASKED.to_owned());
    let parked = waits.then(|| PARKED.to_owned());
    CustomerRow {
        id: customer.id.clone(),
        name: text("name"),
        email: text("email"),
        phone: text("phone"),
        segments: customer.segments.keys().cloned().chain(parked).chain(asked).collect(),
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
    // Who is held out is at no step.
    let step = step.filter(|_| !run.ghost);
    let state = match run.state {
        _ if run.ghost => "held_out",
        RunState::Held { .. } => "held",
        RunState::Effect { .. } if run.unknown.is_some() => "unresolved",
        RunState::Review { .. } => "review",
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
