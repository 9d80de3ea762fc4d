//! A connection to Redis, however it is reached.

use super::address::{Address, Shape};
use super::nodes::{Cluster, Seeds};
use super::sentinel::{Sentinels, is_master};
use super::value;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, Pipeline, RedisError, Value};
use std::sync::Arc;
use std::time::Duration;

/// How long a server may take to answer: an append-only file that is synced at every write, on a slow disk.
pub const RESPONSE_MS_MAX: u64 = 5_000;
/// How long it may take to connect.
pub const CONNECT_MS_MAX: u64 = 2_000;
/// How often sentinels are asked who the master is.
const WATCH: Duration = Duration::from_millis(500);
/// How long it may take to find out where to connect to, and to connect: dead sentinels and nodes come first.
const DIAL: Duration = Duration::from_secs(10);

/// Makes connections.
#[derive(Clone)]
pub struct Dialer {
    /// Where Redis is.
    pub address: Arc<Address>,
    client: Arc<Target>,
    /// How the URL of any of its servers begins: scheme and credentials.
    begin: Arc<str>,
}

enum Target {
    Single(Client),
    Sentinel(Sentinels),
    Cluster(Seeds),
}

/// An answer, and how many replicas have what it tells of.
pub type Kept = (Result<Value, RedisError>, i64);

/// An open connection; clones share it.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To a cluster.
    Many(Cluster),
}

impl Dialer {
    /// For an address, given as it was written: only there are the credentials.
    ///
    /// # Errors
    /// When the client cannot use it.
    pub fn new(address: Address, written: &str) -> Result<Dialer, RedisError> {
        let who = written.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(who, _)| format!("{who}@"));
        let begin: Arc<str> =
            Arc::from(format!("{}://{}", if address.tls { "rediss" } else { "redis" }, who.unwrap_or_default()));
        let client = match address.shape {
            Shape::Single => Target::Single(Client::open(written)?),
            Shape::Sentinel => Target::Sentinel(Sentinels::new(address.servers.clone(), address.master.clone())),
            Shape::Cluster => Target::Cluster(Seeds {
                begin: begin.clone(),
                names: address.servers.iter().map(|server| place(server).to_owned()).collect(),
            }),
        };
        Ok(Dialer { address: Arc::new(address), client: Arc::new(client), begin })
    }

    /// Connects to one server of several, named as `host:port`.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_to(&self, name: &str) -> Result<Connection, RedisError> {
        self.connect_to_sentinel(&format!("{}{name}", self.begin)).await
    }

    /// Connects to what has this URL.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_to_sentinel(&self, url: &str) -> Result<Connection, RedisError> {
        let client = Client::open(url)?;
        in_time(async { Ok(Connection::One(client.get_multiplexed_async_connection_with_config(&config()).await?)) }).await
    }

    /// Connects, for commands that may be sent twice.
    ///
    /// # Errors
    /// When no server answers in time, or none lets us in.
    pub async fn connect(&self) -> Result<Connection, RedisError> {
        self.dial(false).await
    }

    /// Connects, for scripts.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn connect_for_scripts(&self) -> Result<Connection, RedisError> {
        self.dial(true).await
    }

    async fn dial(&self, for_scripts: bool) -> Result<Connection, RedisError> {
        in_time(async {
            Ok(match &*self.client {
                Target::Single(client) => Connection::One(client.get_multiplexed_async_connection_with_config(&config()).await?),
                Target::Sentinel(sentinels) => {
                    let client = Client::open(self.master(&sentinels.find().await?))?;
                    let mut connection = client.get_multiplexed_async_connection_with_config(&config()).await?;
                    is_master(&mut connection).await?;
                    Connection::One(connection)
                }
                // A slot on its way is not followed by scripts: half of their keys are there, half here.
                Target::Cluster(seeds) => Connection::Many(Cluster::open(seeds.clone(), !for_scripts).await?),
            })
        })
        .await
    }

    /// A connection that listens on a channel. Messages of one node reach all nodes of a cluster.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn listen(&self) -> Result<redis::aio::PubSub, RedisError> {
        in_time(self.listen_somewhere()).await
    }

    async fn listen_somewhere(&self) -> Result<redis::aio::PubSub, RedisError> {
        match &*self.client {
            Target::Single(client) => client.get_async_pubsub().await,
            Target::Sentinel(sentinels) => Client::open(self.master(&sentinels.find().await?))?.get_async_pubsub().await,
            Target::Cluster(_) => {
                let mut last = None;
                for server in &self.address.servers {
                    let client = Client::open(server.as_str())?;
                    match tokio::time::timeout(Duration::from_millis(CONNECT_MS_MAX), client.get_async_pubsub()).await {
                        Ok(Ok(listening)) => return Ok(listening),
                        Ok(Err(why)) => last = Some(why),
                        Err(_) => last = Some(late()),
                    }
                }
                Err(last.unwrap_or_else(|| RedisError::from((redis::ErrorKind::InvalidClientConfig, "no server is named"))))
            }
        }
    }

    /// The URL of a master that sentinels name.
    fn master(&self, name: &str) -> String {
        format!("{}{name}/{}", self.begin, self.address.database)
    }

    /// How often the sentinels have named another master: connections from before are to be given up.
    pub fn changes(&self) -> u64 {
        match &*self.client {
            Target::Sentinel(sentinels) => sentinels.changes(),
            Target::Single(_) | Target::Cluster(_) => 0,
        }
    }

    /// Returns when the sentinels name another master than at so many changes; without sentinels never.
    pub async fn changed(&self, since: u64) {
        match &*self.client {
            Target::Sentinel(sentinels) => sentinels.changed(since).await,
            Target::Single(_) | Target::Cluster(_) => std::future::pending().await,
        }
    }

    /// Asks sentinels again and again who the master is, for as long as this is polled.
    pub async fn watch(self) {
        let Target::Sentinel(sentinels) = &*self.client else { return };
        let mut known = true;
        loop {
            tokio::time::sleep(WATCH).await;
            let before = sentinels.changes();
            match sentinels.find().await {
                Ok(name) if sentinels.changes() != before => tracing::warn!(%name, "the sentinels name another master"),
                Ok(_) => known = true,
                Err(why) => {
                    if std::mem::replace(&mut known, false) {
                        tracing::warn!(%why, "no sentinel can say who the master is");
                    }
                }
            }
        }
    }

    /// Whether one command may use keys of several shards.
    pub fn spans_shards(&self) -> bool {
        self.address.shape != Shape::Cluster
    }
}

pub fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MS_MAX)))
        .set_response_timeout(Some(Duration::from_millis(RESPONSE_MS_MAX)))
}

fn late() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))
}

async fn in_time<T>(work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    tokio::time::timeout(DIAL, work).await.unwrap_or_else(|_| Err(late()))
}

/// A server's URL without what is secret in it.
pub fn place(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.rsplit_once('@').map_or(rest, |(_, place)| place)
}

impl Connection {
    /// Sends commands together; an answer for each in their order. Errors of a command stand in its place.
    ///
    /// # Errors
    /// When the connection failed: nothing is known of any of them.
    pub async fn run(&mut self, commands: Vec<Cmd>) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
        match self {
            Connection::One(connection) => {
                let count = commands.len();
                let mut pipeline = Pipeline::with_capacity(count);
                for command in commands {
                    pipeline.add_command(command);
                }
                let values = connection.send_packed_commands(&pipeline, 0, count).await?;
                Ok(values.into_iter().map(Value::extract_error).collect())
            }
            Connection::Many(cluster) => Ok(cluster.run(commands).await),
        }
    }

    /// The same, with how many replicas have what each wrote, as far as they say so within a time (`WAIT`).
    ///
    /// # Errors
    /// As [`Connection::run`].
    pub async fn run_kept(&mut self, mut commands: Vec<Cmd>, wait: Cmd) -> Result<Vec<Kept>, RedisError> {
        match self {
            Connection::One(_) => {
                commands.push(wait);
                let mut answers = self.run(commands).await?;
                // An error in place of the count counts as none.
                let replicas = answers.pop().and_then(Result::ok).map_or(0, |count| value::int(&count));
                Ok(answers.into_iter().map(|answer| (answer, replicas)).collect())
            }
            Connection::Many(cluster) => Ok(cluster.run_kept(commands, wait).await),
        }
    }

    /// Sends one command.
    ///
    /// # Errors
    /// When it or the connection failed.
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Connection::One(connection) => connection.send_packed_command(command).await.and_then(Value::extract_error),
            Connection::Many(cluster) => cluster.ask(command).await,
        }
    }
}
