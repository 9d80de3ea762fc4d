//! A connection to Redis, however it is reached.

use super::address::{Address, Shape};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{AsyncConnectionConfig, Client, Cmd, IntoConnectionInfo, Pipeline, RedisError, TlsMode, Value};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a server may take to answer: an append-only file that is synced at every write, on a slow disk.
pub const RESPONSE_MS_MAX: u64 = 5_000;
/// How long it may take to connect.
pub const CONNECT_MS_MAX: u64 = 2_000;
/// How often the cluster client follows a redirection before it gives a command back.
const CLUSTER_RETRIES: u32 = 4;

/// Makes connections.
#[derive(Clone)]
pub struct Dialer {
    /// Where Redis is.
    pub address: Arc<Address>,
    client: Arc<Target>,
}

enum Target {
    Single(Client),
    Sentinel(Mutex<SentinelClient>),
    Cluster(ClusterClient),
}

/// An open connection; clones share it.
#[derive(Clone)]
pub enum Connection {
    /// To one server.
    One(MultiplexedConnection),
    /// To a cluster.
    Many(ClusterConnection),
}

impl Dialer {
    /// For an address, given as it was written: only there are the credentials.
    ///
    /// # Errors
    /// When the client cannot use it.
    pub fn new(address: Address, written: &str) -> Result<Dialer, RedisError> {
        let client = match address.shape {
            Shape::Single => Target::Single(Client::open(written)?),
            Shape::Sentinel => Target::Sentinel(Mutex::new(sentinel(&address, written)?)),
            Shape::Cluster => Target::Cluster(
                ClusterClient::builder(address.servers.clone())
                    .retries(CLUSTER_RETRIES)
                    .connection_timeout(Duration::from_millis(CONNECT_MS_MAX))
                    .response_timeout(Duration::from_millis(RESPONSE_MS_MAX))
                    .build()?,
            ),
        };
        Ok(Dialer { address: Arc::new(address), client: Arc::new(client) })
    }

    /// Connects.
    ///
    /// # Errors
    /// When no server answers, or none lets us in.
    pub async fn connect(&self) -> Result<Connection, RedisError> {
        Ok(match &*self.client {
            Target::Single(client) => Connection::One(client.get_multiplexed_async_connection_with_config(&config()).await?),
            Target::Sentinel(client) => Connection::One(client.lock().await.get_async_connection_with_config(&config()).await?),
            Target::Cluster(client) => Connection::Many(client.get_async_connection().await?),
        })
    }

    /// A connection that listens on a channel. Messages of one node reach all nodes of a cluster.
    ///
    /// # Errors
    /// As [`Dialer::connect`].
    pub async fn listen(&self) -> Result<redis::aio::PubSub, RedisError> {
        match &*self.client {
            Target::Single(client) => client.get_async_pubsub().await,
            Target::Sentinel(client) => {
                let client = client.lock().await.async_get_client().await?;
                client.get_async_pubsub().await
            }
            Target::Cluster(_) => {
                let mut last = None;
                for server in &self.address.servers {
                    match Client::open(server.as_str())?.get_async_pubsub().await {
                        Ok(listening) => return Ok(listening),
                        Err(why) => last = Some(why),
                    }
                }
                Err(last.unwrap_or_else(|| RedisError::from((redis::ErrorKind::InvalidClientConfig, "no server is named"))))
            }
        }
    }

    /// Whether one command may use keys of several shards.
    pub fn spans_shards(&self) -> bool {
        self.address.shape != Shape::Cluster
    }
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(Duration::from_millis(CONNECT_MS_MAX)))
        .set_response_timeout(Some(Duration::from_millis(RESPONSE_MS_MAX)))
}

fn sentinel(address: &Address, written: &str) -> Result<SentinelClient, RedisError> {
    let mut servers = Vec::new();
    for server in &address.servers {
        servers.push(server.as_str().into_connection_info()?.addr().clone());
    }
    let mut builder = SentinelClientBuilder::new(servers, &address.master, SentinelServerType::Master)?
        .set_client_to_redis_db(address.database);
    if address.tls {
        builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure).set_client_to_sentinel_tls_mode(TlsMode::Secure);
    }
    let (user, password) = address.credentials(written);
    if let Some(user) = user {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = password {
        builder = builder.set_client_to_redis_password(password);
    }
    builder.build()
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
            Connection::Many(connection) => {
                let sent = commands.into_iter().map(|command| {
                    let mut connection = connection.clone();
                    async move { redis::aio::ConnectionLike::req_packed_command(&mut connection, &command).await }
                });
                Ok(futures_util::future::join_all(sent)
                    .await
                    .into_iter()
                    .map(|answer| answer.and_then(Value::extract_error))
                    .collect())
            }
        }
    }

    /// Sends one command.
    ///
    /// # Errors
    /// When it or the connection failed.
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        match self {
            Connection::One(connection) => connection.send_packed_command(command).await.and_then(Value::extract_error),
            Connection::Many(connection) => {
                redis::aio::ConnectionLike::req_packed_command(connection, command).await.and_then(Value::extract_error)
            }
        }
    }
}
