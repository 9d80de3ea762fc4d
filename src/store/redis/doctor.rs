//! A look at a Redis store from outside: what it is, who works on it, what waits, and what is wrong.

use super::super::{StoreError, StoreResult};
use super::address::Address;
use super::behind::{self, Behind};
use super::check::{self, Remark};
use super::key::{SHARDS, key, meta, streams};
use super::link::{Connection, Dialer};
use super::{value, watermark};
use redis::{Cmd, RedisError, Value};

/// Keys of one kind that are weighed.
const SAMPLE_KEYS: usize = 200;
/// Work that waits longer than this has nobody who does it, in milliseconds.
const WAITS_MS_MAX: i64 = 60_000;
/// Entries of the fact streams from which on the read side is said to be behind.
const BEHIND_ENTRIES: u64 = 100_000;

/// A worker as Redis knows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Worker {
    /// Its name.
    pub name: String,
    /// Milliseconds since it last said that it lives.
    pub silent_ms: i64,
    /// Shards that it owns.
    pub shards: usize,
}

/// Bytes of one kind of key.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Weight {
    /// `customer`, `account`, …
    pub kind: String,
    /// Keys looked at.
    pub keys: usize,
    /// Mean bytes of one, as Redis accounts for them.
    pub mean_bytes: u64,
    /// The largest.
    pub largest_bytes: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Report {
    /// Server and version.
    pub server: String,
    /// What stands behind the address: each server that holds customers, with its slots, replicas, sentinels.
    pub behind: Vec<String>,
    /// The store's id; empty: there is no store in this Redis yet.
    pub store: String,
    /// Bytes used by Redis and its bound (0: none).
    pub memory: (u64, u64),
    /// Workers.
    pub workers: Vec<Worker>,
    /// Shards that nobody owns though they have work.
    pub orphaned: usize,
    /// Customers with inputs that no turn has consumed.
    pub unread: u64,
    /// Effects on their way.
    pub outbox: u64,
    /// Inputs put aside.
    pub quarantined: u64,
    /// How long the oldest due wake, input and effect have waited, in milliseconds; 0: none waits.
    pub waits_ms: (i64, i64, i64),
    /// Entries that no read side has followed yet.
    pub unfollowed: u64,
    /// Bytes by kind of key.
    pub weights: Vec<Weight>,
    /// What is to be done something about, worst first.
    pub problems: Vec<String>,
    /// What is good to know.
    pub notes: Vec<String>,
}

/// Looks at a store. Nothing is changed.
///
/// # Errors
/// When the address is wrong or Redis cannot be reached.
pub async fn examine(address: &str) -> StoreResult<Report> {
    let parsed = Address::parse(address)?;
    let shown = parsed.to_string();
    let fatal = |why: RedisError| {
        StoreError::Fatal(format!("cannot reach Redis at {shown}: {why}; check that it runs, the address and the password"))
    };
    let dialer = Dialer::new(parsed, address).map_err(fatal)?;
    let mut connection = dialer.connect().await.map_err(fatal)?;
    let behind = behind::look(&mut connection, &dialer).await.map_err(fatal)?;
    let mut report = first_look(behind);
    let mut id = redis::cmd("HGET");
    id.arg(meta("store")).arg("id");
    let id = connection.ask(&id).await.map(value::text);
    match &id {
        Ok(id) if id.is_empty() => {
            match value::int(&connection.ask(&command("ZCARD", meta("workers"), &[])).await.map_err(fatal)?) {
                0 => report.notes.push("there is no store in this Redis yet; the first `serve` makes it".to_owned()),
                workers => report.problems.push(emptied(workers)),
            }
            return Ok(report);
        }
        Ok(id) => report.store.clone_from(id),
        Err(_) => {}
    }
    let mut looked = id.map(|_| ());
    if looked.is_ok() {
        looked = look_at_work(&mut connection, &mut report).await;
    }
    if looked.is_ok() {
        looked = weigh(&mut connection, &dialer, &mut report).await;
    }
    match looked {
        Ok(()) => judge(&mut report),
        // A part of a cluster that is away was told already.
        Err(why) if report.problems.is_empty() => return Err(fatal(why)),
        Err(why) => report.notes.push(format!("what waits could not be read everywhere ({why})")),
    }
    Ok(report)
}

/// Says that sending may go on though Redis came back older than it was.
///
/// # Errors
/// As [`examine`].
pub async fn confirm(address: &str) -> StoreResult<()> {
    let parsed = Address::parse(address)?;
    let shown = parsed.to_string();
    let fatal = |why: RedisError| StoreError::Fatal(format!("cannot reach Redis at {shown}: {why}"));
    let dialer = Dialer::new(parsed, address).map_err(fatal)?;
    watermark::confirm(&dialer).await.map_err(fatal)
}

fn first_look(behind: Behind) -> Report {
    let mut report = Report { behind: behind.lines, problems: behind.problems, notes: behind.notes, ..Report::default() };
    for (name, found) in behind.servers {
        report.server = format!("{} {}", found.server, found.version);
        report.memory.0 += found.memory.0;
        report.memory.1 += found.memory.1;
        for remark in check::remarks(&found) {
            let (list, why) = match remark {
                Remark::Refusal(why) | Remark::Loss(why) => (&mut report.problems, why),
                Remark::Warning(why) | Remark::Note(why) => (&mut report.notes, why),
            };
            let said = if name.is_empty() { why.clone() } else { format!("{name}: {why}") };
            // What holds of every node is said once.
            if !list.iter().any(|other| other.ends_with(&why)) {
                list.push(said);
            }
        }
    }
    report
}

async fn each_shard(connection: &mut Connection, command: impl Fn(u16) -> Cmd) -> Result<Vec<Value>, RedisError> {
    let commands: Vec<Cmd> = (0..SHARDS).map(command).collect();
    connection.run(commands).await?.into_iter().collect()
}

fn command(name: &str, key: String, rest: &[&str]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(key);
    rest.iter().for_each(|arg| {
        command.arg(arg);
    });
    command
}

async fn look_at_work(connection: &mut Connection, report: &mut Report) -> Result<(), RedisError> {
    let time = value::list(connection.ask(&redis::cmd("TIME")).await?);
    let now = time.first().map_or(0, value::int) * 1_000;
    let sum = |answers: Vec<Value>| answers.iter().map(|count| u64::try_from(value::int(count)).unwrap_or(0)).sum::<u64>();
    report.unread = sum(each_shard(connection, |shard| command("ZCARD", key(shard, "ready"), &[])).await?);
    report.outbox = sum(each_shard(connection, |shard| command("ZCARD", key(shard, "outbox"), &[])).await?);
    report.quarantined = sum(each_shard(connection, |shard| command("HLEN", key(shard, "quarantine"), &[])).await?);
    let lengths = streams().map(|shard| command("XLEN", key(shard, "facts"), &[])).collect();
    report.unfollowed = sum(connection.run(lengths).await?.into_iter().collect::<Result<_, _>>()?);
    let leases = each_shard(connection, |shard| command("HMGET", key(shard, "lease"), &["w", "u"])).await?;
    let mut waits = [0i64; 3];
    let mut waiting_in = vec![false; usize::from(SHARDS)];
    for (place, index) in ["wake", "ready", "outbox"].into_iter().enumerate() {
        let firsts = each_shard(connection, |shard| command("ZRANGE", key(shard, index), &["0", "0", "WITHSCORES"])).await?;
        for (shard, first) in firsts.into_iter().enumerate() {
            let score = value::pairs(first).into_iter().next().map(|(_, score)| match score {
                Value::Double(score) => score as i64,
                other => value::instant(&value::text(other)).unwrap_or(i64::MAX),
            });
            let late = score.map_or(0, |score| (now - score).max(0));
            waits[place] = waits[place].max(late);
            waiting_in[shard] |= late > 0;
        }
    }
    report.waits_ms = (waits[0], waits[1], waits[2]);
    let mut owners: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for (shard, lease) in leases.into_iter().enumerate() {
        let mut parts = value::list(lease).into_iter();
        let (owner, until) = (value::text(value::next(&mut parts)), value::text(value::next(&mut parts)));
        if owner.is_empty() || until.parse::<i64>().is_ok_and(|until| until < now) {
            report.orphaned += usize::from(waiting_in[shard]);
        } else {
            *owners.entry(owner).or_default() += 1;
        }
    }
    let beats = value::pairs(connection.ask(&command("ZRANGE", meta("workers"), &["0", "-1", "WITHSCORES"])).await?);
    for (name, beat) in beats {
        let name = value::text(name);
        let beat = match beat {
            Value::Double(beat) => beat as i64,
            other => value::instant(&value::text(other)).unwrap_or(0),
        };
        let shards = owners.get(&name).copied().unwrap_or(0);
        report.workers.push(Worker { name, silent_ms: (now - beat).max(0), shards });
    }
    Ok(())
}

/// Bytes of keys, by a sample of the key space.
async fn weigh(connection: &mut Connection, dialer: &Dialer, report: &mut Report) -> Result<(), RedisError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(0).arg("MATCH").arg("af:*").arg("COUNT").arg(SAMPLE_KEYS * 20);
    let mut answers = Vec::new();
    match connection {
        Connection::One(_) => answers.push(connection.ask(&scan).await?),
        Connection::Many(cluster) => {
            for node in cluster.nodes().await? {
                answers.push(dialer.connect_to(&node.name).await?.ask(&scan).await?);
            }
        }
    }
    let mut kinds: std::collections::BTreeMap<String, Vec<String>> = std::collections::BTreeMap::new();
    // Each answer is a cursor and names.
    let names = answers.into_iter().flat_map(|answer| value::list(answer).into_iter().skip(1)).flat_map(value::list);
    for name in names.map(value::text) {
        let kind = name.split(':').nth(2).unwrap_or("other").to_owned();
        let keys = kinds.entry(kind).or_default();
        if keys.len() < SAMPLE_KEYS {
            keys.push(name);
        }
    }
    for (kind, keys) in kinds {
        let commands: Vec<Cmd> = keys
            .iter()
            .map(|key| {
                let mut usage = redis::cmd("MEMORY");
                usage.arg("USAGE").arg(key);
                usage
            })
            .collect();
        let bytes: Vec<u64> = connection
            .run(commands)
            .await?
            .into_iter()
            .flatten()
            .map(|bytes| u64::try_from(value::int(&bytes)).unwrap_or(0))
            .collect();
        if bytes.is_empty() {
            continue;
        }
        let (total, largest_bytes) = (bytes.iter().sum::<u64>(), bytes.iter().max().copied().unwrap_or(0));
        report.weights.push(Weight { kind, keys: bytes.len(), mean_bytes: total / bytes.len() as u64, largest_bytes });
    }
    Ok(())
}

/// Only who lives is written down again after everything was deleted.
fn emptied(workers: i64) -> String {
    format!(
        "the store is gone, and workers are at work here ({workers}): this Redis was emptied under them, and they send nothing. \
         Stop every engine, and restore the back-up; or begin anew, with another file for --report and folder for --state"
    )
}

fn judge(report: &mut Report) {
    let mut say = |problem: String| report.problems.push(problem);
    let living = report.workers.iter().filter(|worker| worker.shards > 0).count();
    if living == 0 {
        say("no worker is at work; start `autofunnel serve --role worker`".to_owned());
    } else if report.orphaned > 0 {
        say(format!("{} shards have work and no owner; a worker takes them within a lease of 15 s, look again", report.orphaned));
    }
    for (what, late) in [("a wake", report.waits_ms.0), ("an input", report.waits_ms.1), ("an effect", report.waits_ms.2)] {
        if late > WAITS_MS_MAX {
            say(format!("{what} has been waiting for {} s; start more workers, or see their logs", late / 1_000));
        }
    }
    if report.quarantined > 0 {
        say(format!("{} inputs were put aside; `autofunnel quarantine list` shows them", report.quarantined));
    }
    if report.unfollowed > BEHIND_ENTRIES {
        say(format!(
            "the read side is {} entries behind; start (or look at) the process with the role `report`",
            report.unfollowed
        ));
    }
    let (used, bound) = report.memory;
    if bound > 0 && used * 10 > bound * 9 {
        say(format!("Redis has used {} % of its memory; raise maxmemory before it refuses events", used * 100 / bound));
    }
    if bound == 0 {
        report.notes.push("Redis has no maxmemory: it takes what the machine has, until the system ends it".to_owned());
    }
}
