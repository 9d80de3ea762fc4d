//! Opening: connect, check, make or recognise the store, take the first shards.

use super::super::{StoreError, StoreResult};
use super::address::{Address, Shape};
use super::clock::Clock;
use super::heard::Heard;
use super::key::{SHARDS, meta};
use super::lane::load;
use super::link::{Connection, Dialer};
use super::memory::Memory;
use super::plain::Plain;
use super::pump::{Pump, Told};
use super::{Inner, Options, RedisStore, behind, check, follow, import, value};
use crate::customer::codec::FORMAT;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Version of the layout of keys; raised by every change that an older engine cannot work with.
pub const LAYOUT: i64 = 3;
/// Connections where every write is synced: while one waits for the disk the others are written.
const CONNECTIONS_SYNCED: usize = 3;
/// Connections otherwise.
const CONNECTIONS: usize = 2;

impl RedisStore {
    /// Opens the store, or makes it in an empty Redis, and takes shards if this process is to work.
    ///
    /// # Errors
    /// [`StoreError::Fatal`] when the address is wrong, Redis is not reached, is unsafe (see [`check`]), or
    /// a newer engine wrote it.
    pub async fn open(options: Options) -> StoreResult<Arc<RedisStore>> {
        let address = Address::parse(&options.address)?;
        let shown = address.to_string();
        let fatal = |why: redis::RedisError| {
            StoreError::Fatal(format!("cannot reach Redis at {shown}: {why}; check that it runs, the address and the password"))
        };
        let dialer = Dialer::new(address, &options.address).map_err(fatal)?;
        let mut first = dialer.connect().await.map_err(fatal)?;
        load(&mut first).await.map_err(fatal)?;
        let found = behind::servers(&mut first, &dialer).await.map_err(fatal)?;
        found.iter().try_for_each(|(_, found)| check::allow(found, options.accept_loss))?;
        let synced = found.iter().all(|(_, found)| found.synced);
        let id = recognise(&mut first, &shown).await?;
        import::refuse_half(&mut first, &shown).await?;

        let mut connections = Vec::new();
        let count = match options.connections {
            0 if synced => CONNECTIONS_SYNCED,
            0 => CONNECTIONS,
            count => count,
        };
        for _ in 0..count {
            connections.push(dialer.connect_for_scripts().await.map_err(fatal)?);
        }
        let clock = Arc::new(Clock::new(options.clock.clone()));
        let told = Arc::new(Told {
            now: Box::new({
                let clock = clock.clone();
                move || clock.told()
            }),
            me: name()?,
            closed: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            complained: AtomicI64::new(0),
            dialed: AtomicU64::new(0),
            heard: Heard::new(dialer.address.shape != Shape::Single || options.wait_replicas > 0),
            wait_replicas: options.wait_replicas,
        });
        let (pump, mut tasks) = Pump::start(&dialer, told.clone(), connections);
        tasks.push(tokio::spawn(dialer.clone().watch()));
        let inner = Arc::new(Inner {
            memory: Mutex::new(Memory::new(options.recent_bytes)),
            options,
            pump,
            plain: Plain::new(dialer.clone(), first),
            dialer,
            told,
            clock,
            turns: Notify::new(),
            effects: Notify::new(),
            follower: follow::Signals::default(),
            paused: AtomicBool::new(false),
            confirmed: AtomicI64::new(0),
            recognised: tokio::sync::Mutex::new(0),
            synced,
            mark: tokio::sync::Mutex::new(None),
            id,
        });
        inner.set_clock().await?;
        inner.check_watermark(true).await?;
        if inner.options.works {
            let listening = inner.open_bell().await.map_err(fatal)?;
            inner.balance(&mut None).await?;
            tasks.push(tokio::spawn(inner.clone().keep_leases()));
            tasks.push(tokio::spawn(inner.clone().listen(listening)));
            tasks.push(tokio::spawn(inner.clone().keep_watermark()));
        }
        if inner.options.reports
            && let Some(mirror) = inner.options.mirror.clone()
        {
            inner.adopt(&mirror).await?;
            tasks.push(tokio::spawn(inner.clone().follow(mirror)));
        }
        Ok(Arc::new(RedisStore { inner, tasks }))
    }

    /// The store's id: another one means another store.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// How many shards this process owns.
    pub fn shards_owned(&self) -> usize {
        self.inner.memory().owned()
    }
}

impl Inner {
    /// Learns what time it is on the server.
    async fn set_clock(&self) -> StoreResult<()> {
        let answers = self.plain(&[redis::cmd("TIME")]).await?;
        let mut parts = value::list(answers.into_iter().next().unwrap_or_default()).into_iter();
        let seconds = value::int(&value::next(&mut parts));
        let micros = value::int(&value::next(&mut parts));
        self.clock.seen(seconds * 1_000 + micros / 1_000);
        Ok(())
    }
}

/// A name that no other process has: workers of one machine, or copies of one image, must never be taken
/// for each other.
fn name() -> StoreResult<String> {
    let mut id = [0; 8];
    getrandom::fill(&mut id)
        .map_err(|why| StoreError::Fatal(format!("the system gives no random numbers ({why}); check the machine")))?;
    Ok(id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Makes the store's mark in an empty Redis, or reads it. Returns the store's id.
pub async fn recognise(connection: &mut Connection, shown: &str) -> StoreResult<String> {
    let fatal = |why: redis::RedisError| StoreError::Fatal(format!("cannot use Redis at {shown}: {why}; check its access rules"));
    let id = name()?;
    let mut made = Vec::new();
    for (field, value) in
        [("id", id), ("shards", SHARDS.to_string()), ("layout", LAYOUT.to_string()), ("format", FORMAT.to_string())]
    {
        let mut set = redis::cmd("HSETNX");
        set.arg(meta("store")).arg(field).arg(value);
        made.push(set);
    }
    let mut get = redis::cmd("HMGET");
    get.arg(meta("store")).arg("id").arg("shards").arg("layout").arg("format");
    for set in &made {
        connection.ask(set).await.map_err(fatal)?;
    }
    let kept = value::list(connection.ask(&get).await.map_err(fatal)?);
    let number = |place: usize| kept.get(place).map_or(0, value::int);
    if number(1) != i64::from(SHARDS) {
        return Err(StoreError::Fatal(format!(
            "the store at {shown} has {} shards, this engine works with {SHARDS}; start the engine that made it",
            number(1)
        )));
    }
    for (name, found, known) in [("layout", number(2), LAYOUT), ("format", number(3), i64::from(FORMAT))] {
        if found > known {
            return Err(StoreError::Fatal(format!(
                "the store at {shown} was written by a newer engine ({name} {found}, this engine knows {known}); start the newer engine"
            )));
        }
    }
    if number(2) < LAYOUT {
        // Keys were added and none changed. An engine that knows nothing of them (addresses; the common stream of facts)
        // must not start on it again.
        let mut set = redis::cmd("HSET");
        set.arg(meta("store")).arg("layout").arg(LAYOUT);
        connection.ask(&set).await.map_err(fatal)?;
    }
    Ok(kept.into_iter().next().map(value::text).unwrap_or_default())
}
