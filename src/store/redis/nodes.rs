//! A cluster's nodes: who has which slots, a connection to each, and commands sent to whoever has their keys.
//!
//! Not the client library's cluster client: that one sends a command again by itself, where a script has to be
//! told so, follows a slot that is on its way, where half of a customer's keys are, and (redis 1.8) comes to a
//! standstill when a slot moves while many commands wait for one node. Here a node's commands are one pipeline,
//! every command has its own answer, and who moved is asked anew.

use super::link::{Kept, config};
use super::value;
use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::cluster_routing::Slot;
use redis::{Arg, Client, Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Slots of every cluster.
pub const SLOTS: usize = 16_384;
/// A node that could not be reached is not tried again before this has passed: others wait for the answer.
const REST: Duration = Duration::from_millis(500);

/// A node that has slots, with its replicas.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Node {
    /// `host:port`.
    pub name: String,
    /// Its slots, as ranges with both ends.
    pub slots: Vec<(u16, u16)>,
    /// `host:port` of each of its replicas.
    pub replicas: Vec<String>,
}

/// How a node is reached: how its URL begins, and the nodes that an operator has named.
#[derive(Clone)]
pub struct Seeds {
    /// Scheme and credentials.
    pub begin: Arc<str>,
    /// `host:port` of each.
    pub names: Arc<[String]>,
}

/// Connections to the nodes of a cluster; clones share them, and each learns for itself who has moved.
#[derive(Clone)]
pub struct Cluster {
    seeds: Seeds,
    /// A key that is on its way is followed to where it goes. Never for scripts.
    follows: bool,
    /// Who had each slot when it was last asked; empty: nothing is known.
    owners: Arc<HashMap<Slot, Arc<str>>>,
    /// Everybody who had some.
    masters: Vec<Arc<str>>,
    open: HashMap<Arc<str>, MultiplexedConnection>,
    /// Who could not be reached, and when.
    resting: HashMap<Arc<str>, Instant>,
}

/// Where a command goes.
enum Place {
    Node(Arc<str>),
    All,
    Any,
}

/// Answers of one node, in the places of their commands.
type Part = (Arc<str>, Vec<usize>, Result<(MultiplexedConnection, Vec<Value>), RedisError>);

impl Cluster {
    /// Connects.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn open(seeds: Seeds, follows: bool) -> Result<Cluster, RedisError> {
        let mut cluster = Cluster {
            seeds,
            follows,
            owners: Arc::default(),
            masters: Vec::new(),
            open: HashMap::new(),
            resting: HashMap::new(),
        };
        cluster.learn().await?;
        Ok(cluster)
    }

    /// Sends each command to the node that has its key.
    pub async fn run(&mut self, commands: Vec<Cmd>) -> Vec<Result<Value, RedisError>> {
        self.run_with(commands, None).await.into_iter().map(|(answer, _)| answer).collect()
    }

    /// The same with a `WAIT` behind the commands of each node, over the same connection: only there it speaks of
    /// them.
    pub async fn run_kept(&mut self, commands: Vec<Cmd>, wait: Cmd) -> Vec<Kept> {
        self.run_with(commands, Some(wait)).await
    }

    /// Sends one command; one for all nodes to all of them.
    ///
    /// # Errors
    /// When it or the connection failed.
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.run(vec![command.clone()]).await.pop().unwrap_or_else(|| Err(gone()))
    }

    async fn run_with(&mut self, commands: Vec<Cmd>, wait: Option<Cmd>) -> Vec<Kept> {
        let count = commands.len();
        if self.owners.is_empty()
            && let Err(why) = self.learn().await
        {
            return (0..count).map(|_| (Err(why.clone()), 0)).collect();
        }
        let mut parts: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
        for (at, command) in commands.iter().enumerate() {
            match self.place(command) {
                Place::Node(node) => parts.entry(node).or_default().push(at),
                Place::All => self.masters.iter().cloned().for_each(|node| parts.entry(node).or_default().push(at)),
                Place::Any => {
                    if let Some(node) = self.masters.iter().find(|node| self.may_answer(node)) {
                        parts.entry(node.clone()).or_default().push(at);
                    }
                }
            }
        }
        let sent = parts.into_iter().map(|(node, places)| self.send(node, places, &commands, wait.as_ref()));
        let answers: Vec<Part> = join_all(sent).await;
        let mut kept: Vec<Option<Kept>> = (0..count).map(|_| None).collect();
        for (node, places, answer) in answers {
            self.sort_in(node, places, answer, wait.is_some(), &mut kept);
        }
        let mut kept: Vec<Kept> = kept.into_iter().map(|kept| kept.unwrap_or_else(|| (Err(gone()), 0))).collect();
        if self.follows {
            self.follow(&commands, &mut kept).await;
        }
        kept
    }

    fn sort_in(
        &mut self,
        node: Arc<str>,
        places: Vec<usize>,
        answer: Result<(MultiplexedConnection, Vec<Value>), RedisError>,
        waited: bool,
        kept: &mut [Option<Kept>],
    ) {
        let mut put = |at: usize, answer: Kept| {
            // Of a command for all nodes one refusal counts.
            if !matches!(kept.get(at), Some(Some((Err(_), _)))) {
                kept[at] = Some(answer);
            }
        };
        match answer {
            Ok((connection, mut values)) => {
                let replicas = if waited { values.pop().map_or(0, |count| value::int(&count)) } else { 0 };
                for (at, value) in places.into_iter().zip(values) {
                    let answer = value.extract_error();
                    if answer.as_ref().is_err_and(has_moved) {
                        self.owners = Arc::default();
                    }
                    put(at, (answer, replicas));
                }
                self.open.insert(node, connection);
            }
            Err(why) => {
                self.owners = Arc::default();
                self.open.remove(&node);
                self.resting.insert(node, Instant::now());
                places.into_iter().for_each(|at| put(at, (Err(why.clone()), 0)));
            }
        }
    }

    /// Sends a node its commands as one pipeline.
    fn send(
        &self,
        node: Arc<str>,
        places: Vec<usize>,
        commands: &[Cmd],
        wait: Option<&Cmd>,
    ) -> impl Future<Output = Part> + use<> {
        let mut pipeline = Pipeline::with_capacity(places.len() + 1);
        places.iter().filter_map(|at| commands.get(*at)).chain(wait).for_each(|command| {
            pipeline.add_command(command.clone());
        });
        let count = places.len() + usize::from(wait.is_some());
        let (open, may, url) = (self.open.get(&node).cloned(), self.may_answer(&node), self.url(&node));
        async move {
            let answer = async {
                let mut connection = match open {
                    Some(connection) => connection,
                    None if may => connect(&url).await?,
                    None => return Err(gone()),
                };
                let values = connection.send_packed_commands(&pipeline, 0, count).await?;
                Ok((connection, values))
            };
            let answer = answer.await;
            (node, places, answer)
        }
    }

    /// Keys that are on their way to another node are asked for there.
    async fn follow(&mut self, commands: &[Cmd], kept: &mut [Kept]) {
        for (command, answer) in commands.iter().zip(kept) {
            let Err(why) = &answer.0 else { continue };
            if why.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
                continue;
            }
            let Some((name, _)) = why.redirect_node() else { continue };
            let node: Arc<str> = Arc::from(name);
            let told = [redis::cmd("ASKING"), command.clone()];
            let (node, _, said) = self.send(node, vec![0, 1], &told, None).await;
            match said {
                Ok((connection, mut values)) => {
                    self.open.insert(node, connection);
                    answer.0 = values.pop().ok_or_else(gone).and_then(Value::extract_error);
                }
                Err(why) => answer.0 = Err(why),
            }
        }
    }

    fn place(&self, command: &Cmd) -> Place {
        match key(command) {
            Some(key) => self.owners.get(&Slot::for_key(key)).map_or(Place::Any, |node| Place::Node(node.clone())),
            None if command.args_iter().next() == Some(Arg::Simple(b"SCRIPT")) => Place::All,
            None => Place::Any,
        }
    }

    fn may_answer(&self, node: &Arc<str>) -> bool {
        self.open.contains_key(node) || self.resting.get(node).is_none_or(|since| since.elapsed() > REST)
    }

    fn url(&self, node: &str) -> String {
        format!("{}{node}", self.seeds.begin)
    }

    /// Asks who has which slots.
    async fn learn(&mut self) -> Result<(), RedisError> {
        let nodes = self.nodes().await?;
        self.owners = Arc::new(owners(&nodes));
        self.masters = nodes.iter().map(|node| Arc::from(node.name.as_str())).collect();
        self.open.retain(|node, _| self.masters.contains(node));
        Ok(())
    }

    /// Asks any node who has which slots.
    ///
    /// # Errors
    /// When no node answers.
    pub async fn nodes(&mut self) -> Result<Vec<Node>, RedisError> {
        let named = self.seeds.names.iter().map(|name| Arc::from(name.as_str()));
        let asked: Vec<Arc<str>> = self.open.keys().cloned().chain(named).collect();
        let mut ask = redis::cmd("CLUSTER");
        ask.arg("SLOTS");
        let mut last = gone();
        for node in asked {
            let (node, _, said) = self.send(node, vec![0], std::slice::from_ref(&ask), None).await;
            let slots = said.and_then(|(connection, mut values)| {
                let slots = values.pop().ok_or_else(gone)?.extract_error()?;
                Ok((connection, read(slots, host(&node))))
            });
            match slots {
                Ok((connection, nodes)) if !nodes.is_empty() => {
                    self.open.insert(node, connection);
                    return Ok(nodes);
                }
                Ok(_) => {}
                Err(why) => {
                    self.open.remove(&node);
                    self.resting.insert(node, Instant::now());
                    last = why;
                }
            }
        }
        Err(last)
    }
}

async fn connect(url: &str) -> Result<MultiplexedConnection, RedisError> {
    Client::open(url)?.get_multiplexed_async_connection_with_config(&config()).await
}

/// Nobody is there who could answer.
fn gone() -> RedisError {
    RedisError::from(std::io::Error::new(std::io::ErrorKind::NotConnected, "a node of the cluster cannot be reached"))
}

/// Whether an answer says that another node has the slot, or that this one cannot serve it.
fn has_moved(why: &RedisError) -> bool {
    use ServerErrorKind::{ClusterDown, MasterDown, Moved, ReadOnly};
    matches!(why.kind(), ErrorKind::Server(Moved | ReadOnly | ClusterDown | MasterDown))
}

fn host(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(host, _)| host)
}

/// The key by which a command finds its node, of the commands that this store uses.
fn key(command: &Cmd) -> Option<&[u8]> {
    let mut words = command.args_iter().filter_map(|arg| match arg {
        Arg::Simple(word) => Some(word),
        _ => None,
    });
    match words.next()? {
        b"TIME" | b"SCRIPT" | b"CLUSTER" => None,
        // Its digest, the number of keys, the first of them.
        b"EVALSHA" => words.nth(2),
        b"MEMORY" => words.nth(1),
        b"XREAD" => words.find(|word| *word == b"STREAMS").and_then(|_| words.next()),
        _ => words.next(),
    }
}

fn owners(nodes: &[Node]) -> HashMap<Slot, Arc<str>> {
    let mut owners = HashMap::with_capacity(SLOTS);
    for node in nodes {
        let name: Arc<str> = Arc::from(node.name.as_str());
        let slots = node.slots.iter().flat_map(|(first, last)| *first..=*last).filter_map(Slot::new);
        owners.extend(slots.map(|slot| (slot, name.clone())));
    }
    owners
}

/// Reads what `CLUSTER SLOTS` says. A node that does not know its own name is where it was asked.
fn read(said: Value, asked: &str) -> Vec<Node> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for range in value::list(said) {
        let mut parts = value::list(range).into_iter();
        let mut number = || u16::try_from(value::int(&value::next(&mut parts))).unwrap_or_default();
        let range = (number(), number());
        let mut names = parts.map(|node| {
            let mut node = value::list(node).into_iter();
            let (host, port) = (value::text(value::next(&mut node)), value::int(&value::next(&mut node)));
            match host.as_str() {
                "" => format!("{asked}:{port}"),
                host if host.contains(':') => format!("[{host}]:{port}"),
                host => format!("{host}:{port}"),
            }
        });
        let Some(name) = names.next() else { continue };
        let node = nodes.entry(name.clone()).or_insert_with(|| Node { name, ..Node::default() });
        node.slots.push(range);
        node.replicas = names.collect();
    }
    nodes.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_sent_by_its_key() {
        let made = |words: &[&str]| {
            let mut command = redis::cmd(words[0]);
            command.arg(&words[1..]);
            command
        };
        for (words, found) in [
            (&["GET", "k"][..], Some("k")),
            (&["EVALSHA", "digest", "2", "k", "l"], Some("k")),
            (&["MEMORY", "USAGE", "k"], Some("k")),
            (&["XREAD", "COUNT", "64", "STREAMS", "k", "0-0"], Some("k")),
            (&["TIME"], None),
            (&["SCRIPT", "LOAD", "text"], None),
        ] {
            assert_eq!(key(&made(words)), found.map(str::as_bytes), "{words:?}");
        }
    }

    #[test]
    fn slots_are_read_by_node() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: &str, port| Value::Array(vec![text(host), Value::Int(port), text("id")]);
        let range = |first, last, nodes: Vec<Value>| Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat());
        let (one, three) = (node("10.0.0.1", 1), node("10.0.0.3", 3));
        let said = Value::Array(vec![
            range(0, 99, vec![one.clone(), three.clone()]),
            range(100, 199, vec![node("", 2)]),
            range(200, 300, vec![one, three]),
        ]);
        let nodes = read(said, "10.0.0.2");
        assert_eq!(nodes.len(), 2);
        assert_eq!((nodes[0].name.as_str(), &nodes[0].slots), ("10.0.0.1:1", &vec![(0, 99), (200, 300)]));
        assert_eq!((nodes[0].replicas.clone(), nodes[1].replicas.len()), (vec!["10.0.0.3:3".to_owned()], 0));
        assert_eq!(nodes[1].name, "10.0.0.2:2");
        assert_eq!(owners(&nodes).len(), 301);
    }
}
