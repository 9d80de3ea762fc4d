//! A walk over all customers, by the names of their keys: for what has to be made anew from the store.
//!
//! Redis hands out names in portions while everything goes on. Who was there all the time is found, some
//! of them twice; who came meanwhile may be missing.

use super::super::{Record, StoreError, StoreResult};
use super::key::{key, shard_of};
use super::link::Connection;
use super::record::read_record;
use super::{Inner, RedisStore, value};
use redis::RedisError;
use std::sync::Arc;

/// Names looked at in one portion.
const NAMES_MAX: usize = 1_000;
/// What the key of a customer's record has between its shard and her id.
const BEFORE_ID: &str = "}:customer:";

/// A walk under way.
pub struct Walk {
    inner: Arc<Inner>,
    /// Servers that are still to be walked over, the present one last.
    servers: Vec<Connection>,
    cursor: String,
}

impl RedisStore {
    /// Begins a walk over all customers.
    ///
    /// # Errors
    /// When a server cannot be reached.
    pub async fn walk(&self) -> StoreResult<Walk> {
        let dialer = &self.inner.dialer;
        let servers = async {
            let connection = dialer.connect().await?;
            Ok(match connection {
                Connection::One(_) => vec![connection],
                Connection::Many(mut cluster) => {
                    let mut servers = Vec::new();
                    for node in cluster.nodes().await? {
                        servers.push(dialer.connect_to(&node.name).await?);
                    }
                    servers
                }
            })
        };
        Ok(Walk { inner: self.inner.clone(), servers: servers.await.map_err(unavailable)?, cursor: "0".to_owned() })
    }

    /// Whether there is a record of each of these customers.
    ///
    /// # Errors
    /// When a server cannot be reached.
    pub async fn has(&self, customers: &[String]) -> StoreResult<Vec<bool>> {
        let asked: Vec<redis::Cmd> = customers.iter().map(|id| ask("EXISTS", id)).collect();
        Ok(self.inner.plain(&asked).await?.iter().map(|there| value::int(there) == 1).collect())
    }
}

impl Walk {
    /// The next customers, without their accounts, perhaps none; `None`: that was all.
    ///
    /// # Errors
    /// When a server cannot be reached: the walk has to begin anew.
    pub async fn next(&mut self) -> StoreResult<Option<Vec<(String, Record)>>> {
        let Some(server) = self.servers.last_mut() else { return Ok(None) };
        let mut scan = redis::cmd("SCAN");
        scan.arg(&self.cursor).arg("MATCH").arg(format!("af:{{*{BEFORE_ID}*")).arg("COUNT").arg(NAMES_MAX);
        let mut answer = value::list(server.ask(&scan).await.map_err(unavailable)?).into_iter();
        self.cursor = value::text(value::next(&mut answer));
        let names = value::list(value::next(&mut answer)).into_iter().map(value::text);
        let ids: Vec<String> = names.filter_map(|name| name.split_once(BEFORE_ID).map(|(_, id)| id.to_owned())).collect();
        if self.cursor == "0" {
            self.servers.pop();
        }
        let asked: Vec<redis::Cmd> = ids.iter().map(|id| ask("GET", id)).collect();
        if asked.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let records = self.inner.plain(&asked).await?.into_iter().map(value::bytes);
        let mut found = Vec::with_capacity(ids.len());
        for (id, bytes) in ids.into_iter().zip(records) {
            // Erased since her name was read.
            if bytes.is_empty() {
                continue;
            }
            match read_record(bytes, Vec::new(), false) {
                Some((record, _)) => found.push((id, record)),
                None => tracing::error!(customer = %id, "what is kept of a customer is not one of this engine's records"),
            }
        }
        Ok(Some(found))
    }
}

fn ask(what: &str, customer: &str) -> redis::Cmd {
    let mut command = redis::cmd(what);
    command.arg(key(shard_of(customer), "customer:") + customer);
    command
}

fn unavailable(why: RedisError) -> StoreError {
    StoreError::Unavailable(format!("Redis does not answer as it should ({why})"))
}
