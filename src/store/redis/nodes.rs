//! A cluster's nodes: who has which slots, and commands sent to each.

use super::link::Kept;
use super::value;
use futures_util::future::join_all;
use redis::aio::ConnectionLike;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, Slot, SlotAddr};
use redis::{Cmd, Pipeline, RedisError, Value};
use std::collections::{BTreeMap, HashMap};

/// Slots of every cluster.
pub const SLOTS: usize = 16_384;

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

/// A connection to all nodes of a cluster; clones share it.
#[derive(Clone)]
pub struct Cluster {
    connection: ClusterConnection,
    /// Who had each slot when it was last asked; empty: nothing is known.
    owners: HashMap<Slot, String>,
}

impl Cluster {
    /// Knows nothing of slots yet.
    pub fn new(connection: ClusterConnection) -> Cluster {
        Cluster { connection, owners: HashMap::new() }
    }

    /// Sends each command to the node that has its key.
    pub async fn run(&mut self, commands: Vec<Cmd>) -> Vec<Result<Value, RedisError>> {
        let sent = commands.into_iter().map(|command| {
            let mut connection = self.connection.clone();
            async move { connection.req_packed_command(&command).await.and_then(Value::extract_error) }
        });
        join_all(sent).await
    }

    /// Sends one command.
    ///
    /// # Errors
    /// When it or the connection failed.
    pub async fn ask(&mut self, command: &Cmd) -> Result<Value, RedisError> {
        self.connection.req_packed_command(command).await.and_then(Value::extract_error)
    }

    /// Sends commands, each with its key: those of each node together, behind them a `WAIT` over the same
    /// connection, because only there it speaks of them.
    pub async fn run_kept(&mut self, commands: Vec<(Cmd, &'static str)>, wait: Cmd) -> Vec<Kept> {
        if self.owners.is_empty() {
            // While nothing is known each slot is sent for itself, which is slower and as good.
            self.owners = nodes(self).await.map(|nodes| owners(&nodes)).unwrap_or_default();
        }
        let count = commands.len();
        let mut parts: BTreeMap<String, (SingleNodeRoutingInfo, Vec<usize>, Pipeline)> = BTreeMap::new();
        for (place, (command, key)) in commands.into_iter().enumerate() {
            let node = self.owners.get(&Slot::for_key(key)).map_or_else(|| key.to_owned(), Clone::clone);
            let route = SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
            let (_, places, pipeline) = parts.entry(node).or_insert_with(|| (route, Vec::new(), Pipeline::new()));
            places.push(place);
            pipeline.add_command(command);
        }
        let sent = parts.into_values().map(|(route, places, mut pipeline)| {
            let mut connection = self.connection.clone();
            pipeline.add_command(wait.clone());
            async move { (connection.route_pipeline(pipeline, 0, places.len() + 1, route).await, places) }
        });
        let mut kept: Vec<Option<Kept>> = (0..count).map(|_| None).collect();
        for (answers, places) in join_all(sent).await {
            match answers {
                Ok(mut answers) => {
                    let replicas = answers.pop().map_or(0, |count| value::int(&count));
                    for (place, answer) in places.into_iter().zip(answers) {
                        kept[place] = Some((answer.extract_error(), replicas));
                    }
                }
                Err(why) => {
                    self.owners.clear();
                    places.into_iter().for_each(|place| kept[place] = Some((Err(why.clone()), 0)));
                }
            }
        }
        let missing = || (Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))), 0);
        kept.into_iter().map(|kept| kept.unwrap_or_else(missing)).collect()
    }
}

fn owners(nodes: &[Node]) -> HashMap<Slot, String> {
    let slots = nodes.iter().flat_map(|node| node.slots.iter().map(move |(first, last)| (node, *first..=*last)));
    slots.flat_map(|(node, slots)| slots.filter_map(move |slot| Some((Slot::new(slot)?, node.name.clone())))).collect()
}

/// Asks a cluster who has which slots.
///
/// # Errors
/// When no node answers.
pub async fn nodes(cluster: &mut Cluster) -> Result<Vec<Node>, RedisError> {
    let mut ask = redis::cmd("CLUSTER");
    ask.arg("SLOTS");
    Ok(read(cluster.ask(&ask).await?))
}

/// Reads what `CLUSTER SLOTS` says.
fn read(said: Value) -> Vec<Node> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    for range in value::list(said) {
        let mut parts = value::list(range).into_iter();
        let mut number = || u16::try_from(value::int(&value::next(&mut parts))).unwrap_or_default();
        let range = (number(), number());
        let mut names = parts.map(|node| {
            let mut node = value::list(node).into_iter();
            let (host, port) = (value::text(value::next(&mut node)), value::int(&value::next(&mut node)));
            if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
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
    fn slots_are_read_by_node() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |port| Value::Array(vec![text("10.0.0.1"), Value::Int(port), text("id")]);
        let range = |first, last, nodes: Vec<Value>| Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat());
        let said = Value::Array(vec![
            range(0, 99, vec![node(1), node(3)]),
            range(100, 16_383, vec![node(2)]),
            range(200, 300, vec![node(1), node(3)]),
        ]);
        let nodes = read(said);
        assert_eq!(nodes.len(), 2);
        assert_eq!((nodes[0].name.as_str(), &nodes[0].slots), ("10.0.0.1:1", &vec![(0, 99), (200, 300)]));
        assert_eq!((nodes[0].replicas.clone(), nodes[1].replicas.len()), (vec!["10.0.0.1:3".to_owned()], 0));
    }
}
