//! Quantities that all processes share: each lies in a shard of its name, and belongs to nobody.

use super::super::StoreResult;
use super::super::quantity::{KEPT_MS, Quantity};
use super::key::shard_of;
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
