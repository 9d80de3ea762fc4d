//! What stands behind an address: one server, the nodes of a cluster, or a master with replicas and sentinels;
//! and what of it can lose something.

use super::address::Shape;
use super::check::{self, Found, Remark};
use super::link::{Connection, Dialer, place};
use super::nodes::{Node, SLOTS};
use super::value;
use redis::RedisError;
use std::collections::BTreeMap;

/// What was found.
#[derive(Default)]
pub struct Behind {
    /// One line for each server that holds customers.
    pub lines: Vec<String>,
    /// Each of them: its name (empty: it is reached as the address says) and what it is.
    pub servers: Vec<(String, Found)>,
    /// What is to be done something about.
    pub problems: Vec<String>,
    /// What is good to know.
    pub notes: Vec<String>,
}

/// Asks all servers that hold customers what they are.
///
/// # Errors
/// When one of them cannot be asked.
pub async fn servers(connection: &mut Connection, dialer: &Dialer) -> Result<Vec<(String, Found)>, RedisError> {
    let mut found = Vec::new();
    match connection {
        Connection::One(_) => found.push((String::new(), check::look(connection, &dialer.address).await?)),
        Connection::Many(cluster) => {
            for node in cluster.nodes().await? {
                let mut alone = dialer.connect_to(&node.name).await?;
                found.push((node.name, check::look(&mut alone, &dialer.address).await?));
            }
        }
    }
    Ok(found)
}

/// Looks at everything. A server that does not answer is a problem that is told, and no error.
///
/// # Errors
/// When nobody answers.
pub async fn look(connection: &mut Connection, dialer: &Dialer) -> Result<Behind, RedisError> {
    let mut behind = Behind::default();
    match connection {
        Connection::One(_) => {
            let found = check::look(connection, &dialer.address).await?;
            let replicas = replicas_of(connection).await?;
            let master = found.name.clone();
            behind.lines.push(format!("master {master}, {}", count(replicas.len(), "replica")));
            behind.servers.push((String::new(), found));
            behind.look_at_replicas(dialer, &master, &replicas).await;
            if dialer.address.shape == Shape::Sentinel {
                behind.ask_sentinels(dialer).await;
                if replicas.is_empty() {
                    behind.problems.push("the master has no replica: nobody can take over from it; start one".to_owned());
                }
            }
        }
        Connection::Many(cluster) => {
            let nodes = cluster.nodes().await?;
            let slots =
                |node: &Node| node.slots.iter().map(|(first, last)| usize::from(*last) + 1 - usize::from(*first)).sum::<usize>();
            let covered = nodes.iter().map(slots).sum::<usize>();
            if covered < SLOTS {
                behind.problems.push(format!("only {covered} of {SLOTS} slots have a node; run redis-cli --cluster fix"));
            }
            for node in &nodes {
                behind.lines.push(format!(
                    "node {}, {} slots, {}",
                    node.name,
                    slots(node),
                    count(node.replicas.len(), "replica")
                ));
                if let Some(found) = behind.ask(dialer, &node.name).await {
                    behind.servers.push((node.name.clone(), found));
                }
                behind.look_at_replicas(dialer, &node.name, &node.replicas).await;
            }
        }
    }
    behind.judge(dialer.address.shape);
    Ok(behind)
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

async fn replicas_of(connection: &mut Connection) -> Result<Vec<String>, RedisError> {
    let info = value::text(connection.ask(redis::cmd("INFO").arg("replication")).await?);
    let replica = |line: &str| {
        let (_, told) = line.strip_prefix("slave")?.split_once(':')?;
        let fields: BTreeMap<&str, &str> = told.trim().split(',').filter_map(|field| field.split_once('=')).collect();
        Some(format!("{}:{}", fields.get("ip")?, fields.get("port")?))
    };
    Ok(info.lines().filter_map(replica).collect())
}

impl Behind {
    async fn ask(&mut self, dialer: &Dialer, name: &str) -> Option<Found> {
        let asked = async {
            let mut alone = dialer.connect_to(name).await?;
            check::look(&mut alone, &dialer.address).await
        };
        match asked.await {
            Ok(found) => Some(found),
            Err(why) => {
                self.problems.push(format!("{name} does not answer ({why}); start it, or look at its log"));
                None
            }
        }
    }

    /// A replica may be the master tomorrow: it has to be as safe.
    async fn look_at_replicas(&mut self, dialer: &Dialer, master: &str, replicas: &[String]) {
        for name in replicas {
            let Some(found) = self.ask(dialer, name).await else { continue };
            for remark in check::remarks(&found) {
                if let Remark::Refusal(why) | Remark::Loss(why) = remark {
                    self.problems.push(format!("{name}, replica of {master}: {why}"));
                }
            }
        }
    }

    async fn ask_sentinels(&mut self, dialer: &Dialer) {
        let name = &dialer.address.master;
        let (mut quorum, mut known, mut agree) = (String::new(), 0, None);
        for sentinel in &dialer.address.servers {
            let asked = async {
                let mut alone = dialer.connect_to_sentinel(sentinel).await?;
                let told = alone.ask(redis::cmd("SENTINEL").arg("MASTER").arg(name)).await?;
                let quorate = alone.ask(redis::cmd("SENTINEL").arg("CKQUORUM").arg(name)).await;
                Ok::<_, RedisError>((told, quorate))
            };
            match asked.await {
                Ok((told, quorate)) => {
                    let told: BTreeMap<String, String> =
                        value::pairs(told).into_iter().map(|(name, told)| (value::text(name), value::text(told))).collect();
                    quorum = told.get("quorum").cloned().unwrap_or_default();
                    known = 1 + told.get("num-other-sentinels").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
                    agree = agree.or(quorate.err());
                }
                Err(why) => self.problems.push(format!("the sentinel {} does not answer ({why}); start it", place(sentinel))),
            }
        }
        if let Some(line) = self.lines.first_mut() {
            line.push_str(&format!(", {}, quorum {quorum}", count(known, "sentinel")));
        }
        if let Some(why) = agree {
            self.problems.push(format!("the sentinels could not agree on a fail-over: {why}"));
        }
    }

    fn judge(&mut self, shape: Shape) {
        let follow = self.servers.iter().any(|(_, found)| found.replicas > 0) || shape == Shape::Sentinel;
        if follow {
            self.notes.push(
                "Redis answers before its replicas have heard: a fail-over can lose what was answered in the last moment, unless \
                 doors and workers run with --wait-replicas 1 (or more)"
                    .to_owned(),
            );
        }
        if follow && self.servers.iter().any(|(_, found)| found.min_replicas == Some(0)) {
            self.notes.push(
                "min-replicas-to-write is 0: a master that is cut off from its replicas goes on answering, and all of that is lost \
                 when another has taken over; set it to 1"
                    .to_owned(),
            );
        }
        if shape == Shape::Cluster && self.servers.iter().any(|(_, found)| found.full_coverage) {
            self.notes.push(
                "cluster-require-full-coverage is yes: one node that is away stops all; with no, only its customers wait"
                    .to_owned(),
            );
        }
        if shape == Shape::Cluster && self.servers.iter().any(|(_, found)| found.replicas == 0) {
            self.notes.push("a node has no replica: while it is away its customers wait".to_owned());
        }
    }
}
