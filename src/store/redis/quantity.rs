//! Quantities that all processes share: each lies in a shard of its name, and belongs to nobody.

use super::super::StoreResult;
use super::super::quantity::{KEPT_MS, Quantity, Taken};
use super::import::{Target, command};
use super::key::{key, shard_of};
use super::pump::Op;
use super::script::Script;
use super::{Inner, value};

impl Inner {
    /// [`super::super::Store::take_quantity`].
    pub async fn take_quantity(&self, quantity: Quantity, least: i64, want: i64) -> StoreResult<i64> {
        let mut op = Op::new(Script::Quantity, shard_of(&quantity.name));
        let until = quantity.until.map(|until| until.plus_ms(KEPT_MS).0.to_string()).unwrap_or_default();
        op.args.push(&quantity.name).int(quantity.most).int(least).int(want).push(&until);
        let got = value::text(self.call(op).await?.value);
        got.parse().map_err(|_| value::strange("a quantity"))
    }

    /// [`super::super::Store::return_quantity`].
    pub async fn return_quantity(&self, name: String, count: i64) -> StoreResult<()> {
        let mut op = Op::new(Script::Quantity, shard_of(&name));
        op.args.push(&name).push("").push("").int(count).push("");
        self.call(op).await.map(|_| ())
    }
}

/// The move of a store.
impl Target {
    /// Writes what was taken of quantities whose time is not over.
    ///
    /// # Errors
    /// When Redis does not answer.
    pub async fn quantities(&self, taken: &[Taken]) -> StoreResult<()> {
        let mut commands = Vec::new();
        for one in taken {
            let mut set = command("SET", place(&one.name));
            set.arg(one.taken);
            if let Some(until) = one.until {
                set.arg("PX").arg((until - self.began()).max(1));
            }
            commands.push(set);
        }
        self.ask(&commands).await.map(|_| ())
    }

    /// Reads them back by their names; `None`: there is none.
    ///
    /// # Errors
    /// As above.
    pub async fn read_quantities(&self, taken: &[Taken]) -> StoreResult<Vec<Option<i64>>> {
        let commands: Vec<redis::Cmd> = taken.iter().map(|one| command("GET", place(&one.name))).collect();
        let answers = self.ask(&commands).await?;
        Ok(answers.into_iter().map(|answer| value::text(answer).parse().ok()).collect())
    }
}

fn place(name: &str) -> String {
    key(shard_of(name), &format!("quantity:{name}"))
}
