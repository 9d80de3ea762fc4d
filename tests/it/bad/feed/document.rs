//! Stored documents that were damaged: bytes that changed, and fields that are missing, doubled or of another
//! kind. They are read or refused; nothing else.

use super::chance::Chance;
use super::mutate::{self, Corpus, Form};
use super::tree::Tree;
use super::{Case, Kind, Verdict, laws, sample};
use autofunnel::account::Account;
use autofunnel::customer::Customer;
use autofunnel::customer::codec::{self, CodecError, FORMAT};
use autofunnel::effect::Effect;
use autofunnel::event::{Event, Input, InputBody};
use autofunnel::fact::Fact;
use autofunnel::lang::time::DAY_MS;
use autofunnel::lang::value::{Fields, Value};
use autofunnel::play::Player;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What is read back from a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Customer,
    Account,
    Effect,
    Fact,
    Input,
}

/// See the module.
pub struct Documents {
    bytes: Vec<(What, Vec<u8>, Tree)>,
    corpus: Corpus,
}

impl Documents {
    /// Plays a few customers and keeps what would be stored.
    pub fn new() -> Documents {
        let definitions = sample::definitions();
        let mut kept: Vec<(What, Vec<u8>)> = Vec::new();
        for (number, days) in [3, 20, 200].into_iter().enumerate() {
            let mut player = Player::new(&definitions, "c-1", sample::NOW);
            for (at, name) in ["signed_up", "purchase", "review", "purchase", "membership_started"].into_iter().enumerate() {
                let time = sample::NOW.plus_ms(at as i64 * DAY_MS);
                let properties = Fields::from([
                    ("amount".to_owned(), Value::from("42.50")),
                    ("membership".to_owned(), Value::from("roastery-club")),
                    ("rating".to_owned(), Value::Int(4)),
                ]);
                let event =
                    Event { id: format!("e{number}{at}"), name: name.to_owned(), time, properties, minor: Some(4_250), depth: 0 };
                kept.push((What::Input, codec::encode(&Input { accepted_at: time, body: InputBody::Event(event.clone()) })));
                player.input(time, InputBody::Event(event));
            }
            player.run_until(sample::NOW.plus_ms(days * DAY_MS));
            kept.extend(player.customer.as_ref().map(|customer| (What::Customer, codec::encode(customer))));
            kept.push((What::Account, player.account.to_stored()));
            kept.extend(player.effects.iter().take(3).map(|effect| (What::Effect, codec::encode(effect))));
            kept.extend(player.facts.iter().take(3).map(|fact| (What::Fact, codec::encode(fact))));
        }
        let whole = |bytes: &[u8]| codec::decode::<Tree>(bytes).expect("every document is MessagePack");
        let bytes: Vec<(What, Vec<u8>, Tree)> =
            kept.into_iter().map(|(what, bytes)| (what, bytes.clone(), whole(&bytes))).collect();
        let corpus = sample::corpus(bytes.iter().map(|(_, _, tree)| tree));
        Documents { bytes, corpus }
    }
}

impl Kind for Documents {
    fn name(&self) -> &'static str {
        "document"
    }

    fn case(&self, mut chance: Chance) -> Case<'_> {
        let (what, original, tree) = chance.item(&self.bytes);
        let what = *what;
        let mut bytes = if chance.one_in(4) {
            original.clone()
        } else {
            let mut tree = tree.clone();
            self.corpus.change(&mut tree, Form::Pack, &mut chance);
            let mut bytes = vec![FORMAT];
            tree.pack(&mut bytes);
            bytes
        };
        if bytes == *original || chance.one_in(8) {
            mutate::bytes(&mut bytes, &mut chance);
        }
        let shown = bytes.clone();
        let past_parser = codec::decode::<Tree>(&bytes).is_ok();
        let feed = move || {
            let read = match what {
                What::Customer => again::<Customer>(codec::decode(&bytes)),
                What::Account => again::<Account>(Account::from_stored(&bytes)),
                What::Effect => again::<Effect>(codec::decode(&bytes)),
                What::Fact => again::<Fact>(codec::decode(&bytes)),
                What::Input => again::<Input>(codec::decode(&bytes)),
            };
            let refused = read.is_err();
            let broken = match read {
                Ok(broken) => broken,
                Err(why) => laws::sentence(&why.to_string()),
            };
            Verdict { past_parser, refused, placed: false, broken }
        };
        Case { shown, feed: Box::new(feed) }
    }
}

/// What could be read can be written and read again.
fn again<T: Serialize + DeserializeOwned + PartialEq>(read: Result<T, CodecError>) -> Result<Option<String>, CodecError> {
    let read = read?;
    let same = codec::decode::<T>(&codec::encode(&read)).is_ok_and(|again| again == read);
    Ok((!same).then(|| "what was read cannot be written and read again".to_owned()))
}
