//! What sentinels say: which server is the master.
//!
//! Not the client library's sentinel client: that one believes the first sentinel that answers. During a
//! fail-over they differ for a moment, and an old master that is started again still thinks that it is one
//! until a sentinel has told it otherwise, which takes ten seconds. Whoever writes to it meanwhile loses all of
//! it. So the newest word of all of them counts, and it is asked for again all the time: connections to a
//! server that is not the master any more are given up.

use super::link::config;
use super::value;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, Value};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::{Mutex, watch};

/// How long one sentinel may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// See the module.
pub struct Sentinels {
    /// URL of each.
    urls: Vec<String>,
    /// What they call the master.
    name: String,
    open: Mutex<HashMap<String, MultiplexedConnection>>,
    /// The master, and how often it was another one.
    master: watch::Sender<(u64, String)>,
}

impl Sentinels {
    /// Nothing is asked yet.
    pub fn new(urls: Vec<String>, name: String) -> Sentinels {
        Sentinels { urls, name, open: Mutex::default(), master: watch::Sender::new((0, String::new())) }
    }

    /// How often the master was found to be another one.
    pub fn changes(&self) -> u64 {
        self.master.borrow().0
    }

    /// Returns when the master is another one than it was at so many changes.
    pub async fn changed(&self, since: u64) {
        // The sender is here: it does not go away while somebody waits.
        let _gone = self.master.subscribe().wait_for(|(changes, _)| *changes != since).await.is_err();
    }

    /// Asks all of them for the master, `host:port`.
    ///
    /// # Errors
    /// When none knows.
    pub async fn find(&self) -> Result<String, RedisError> {
        let mut open = self.open.lock().await;
        let asked = self.urls.iter().map(|url| {
            let kept = open.get(url).cloned();
            async move { (url, tokio::time::timeout(ANSWER, self.ask(url, kept)).await.unwrap_or_else(|_| Err(late()))) }
        });
        let (mut newest, mut last) = (None, late());
        for (url, answer) in join_all(asked).await {
            match answer {
                Ok((connection, epoch, name)) => {
                    open.insert(url.clone(), connection);
                    newest = newest.max(Some((epoch, name)));
                }
                Err(why) => {
                    open.remove(url);
                    last = why;
                }
            }
        }
        drop(open);
        let (_, name) = newest.ok_or(last)?;
        self.master.send_if_modified(|(changes, known)| {
            let other = *known != name;
            if other {
                *changes += 1;
                known.clone_from(&name);
            }
            other
        });
        Ok(name)
    }

    async fn ask(
        &self,
        url: &str,
        kept: Option<MultiplexedConnection>,
    ) -> Result<(MultiplexedConnection, u64, String), RedisError> {
        let mut connection = match kept {
            Some(connection) => connection,
            None => Client::open(url)?.get_multiplexed_async_connection_with_config(&config()).await?,
        };
        let mut command = redis::cmd("SENTINEL");
        command.arg("MASTER").arg(&self.name);
        let said = connection.send_packed_command(&command).await.and_then(Value::extract_error)?;
        let (epoch, name) = read(said);
        Ok((connection, epoch, name))
    }
}

/// How new a sentinel's word is, and the master that it names.
fn read(said: Value) -> (u64, String) {
    let told: BTreeMap<String, String> =
        value::pairs(said).into_iter().map(|(name, told)| (value::text(name), value::text(told))).collect();
    let field = |name: &str| told.get(name).map_or("", String::as_str);
    let host = match field("ip") {
        ip if ip.contains(':') => format!("[{ip}]"),
        ip => ip.to_owned(),
    };
    (field("config-epoch").parse().unwrap_or(0), format!("{host}:{}", field("port")))
}

/// Sees that a server is a master and not one that has been told otherwise meanwhile.
///
/// # Errors
/// When it is a replica.
pub async fn is_master(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let role = connection.send_packed_command(&redis::cmd("ROLE")).await.and_then(Value::extract_error)?;
    match value::list(role).into_iter().next().map(value::text).as_deref() {
        Some("master") => Ok(()),
        _ => Err(RedisError::from(std::io::Error::other("who should be the master is a replica still"))),
    }
}

fn late() -> RedisError {
    RedisError::from(std::io::Error::new(std::io::ErrorKind::TimedOut, "no sentinel answers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_of_a_sentinel_is_read() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let said = |ip| Value::Array(["name", "shop", "ip", ip, "port", "6380", "config-epoch", "7"].map(text).to_vec());
        assert_eq!(read(said("10.0.0.1")), (7, "10.0.0.1:6380".to_owned()));
        assert_eq!(read(said("::1")), (7, "[::1]:6380".to_owned()));
    }
}
