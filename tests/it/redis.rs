//! A real `redis-server` for one test: on a socket of its own, in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// How a server writes to disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Disk {
    /// Not at all.
    Never,
    /// Append-only file, synced once a second.
    EverySecond,
    /// Append-only file, synced before every answer.
    Always,
}

/// A running server. It ends with this value.
pub struct Server {
    folder: tempfile::TempDir,
    disk: Disk,
    password: Option<String>,
    child: Option<Child>,
}

impl Server {
    /// Starts an empty one.
    pub fn start(disk: Disk) -> Server {
        Server::new(disk, None)
    }

    /// The same, with a password.
    pub fn with_password(disk: Disk, password: &str) -> Server {
        Server::new(disk, Some(password.to_owned()))
    }

    fn new(disk: Disk, password: Option<String>) -> Server {
        let mut server = Server { folder: tempfile::tempdir().unwrap(), disk, password, child: None };
        server.go();
        server
    }

    /// Starts it again over the same files.
    pub fn go(&mut self) {
        let (append, sync) = match self.disk {
            Disk::Never => ("no", "no"),
            Disk::EverySecond => ("yes", "everysec"),
            Disk::Always => ("yes", "always"),
        };
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log")).unwrap();
        let socket = self.socket();
        let _absent = std::fs::remove_file(&socket);
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", append, "--appendfsync", sync]).args([
            "--unixsocket",
            socket.to_str().unwrap(),
            "--dir",
            self.folder.path().to_str().unwrap(),
        ]);
        if let Some(password) = &self.password {
            command.args(["--requirepass", password]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("redis-server is needed for these tests; `tests/run` installs it");
        self.child = Some(child);
        let started = Instant::now();
        while self.query(&redis::cmd("PING")).is_err() {
            assert!(started.elapsed() < PATIENCE, "redis-server does not start: {}", self.log());
            std::thread::yield_now();
        }
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its address.
    pub fn address(&self) -> String {
        let password = self.password.as_ref().map(|password| format!("?pass={password}")).unwrap_or_default();
        format!("unix://{}{password}", self.socket().display())
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Runs a command.
    pub fn query(&self, command: &redis::Cmd) -> redis::RedisResult<redis::Value> {
        let mut connection = redis::Client::open(self.address())?.get_connection()?;
        command.query(&mut connection)
    }
}

/// What tests look at and change, on one server or on all that hold a part of the store.
pub trait Look {
    /// Runs a script without keys on each of them.
    fn scripts(&self, text: &str, arguments: &[&str]) -> redis::RedisResult<Vec<redis::Value>>;

    /// How much there is to do: inputs, effects, live runs; `None`: it does not answer.
    fn left(&self) -> Option<i64> {
        let script = "
            local left = 0
            for _, key in ipairs(redis.call('KEYS', 'af:*:ready')) do left = left + redis.call('ZCARD', key) end
            for _, key in ipairs(redis.call('KEYS', 'af:*:outbox')) do left = left + redis.call('ZCARD', key) end
            for _, key in ipairs(redis.call('KEYS', 'af:*:live')) do
              for _, count in ipairs(redis.call('HVALS', key)) do left = left + count end
            end
            return left";
        let counts = self.scripts(script, &[]).ok()?;
        counts.into_iter().map(|left| redis::from_redis_value::<i64>(left).ok()).sum()
    }

    /// The newest place of each shard's fact stream.
    fn streams(&self) -> Vec<(u16, String)> {
        let script = "
            local all = {}
            for _, key in ipairs(redis.call('KEYS', 'af:*:facts')) do
              local info = redis.call('XINFO', 'STREAM', key)
              for i = 1, #info, 2 do
                if info[i] == 'last-generated-id' then all[#all + 1] = {string.match(key, '%d+'), info[i + 1]} end
              end
            end
            return all";
        let parts = self.scripts(script, &[]).unwrap().into_iter();
        parts.flat_map(|part| redis::from_redis_value::<Vec<(u16, String)>>(part).unwrap()).collect()
    }

    /// What waits where, for whoever looks for the cause.
    fn waiting(&self) -> String {
        let script = "
            local t = redis.call('TIME')
            local lines = {'now ' .. string.format('%.0f', t[1] * 1000 + t[2] / 1000)}
            for _, name in ipairs({'ready', 'wake', 'outbox', 'live'}) do
              for _, key in ipairs(redis.call('KEYS', 'af:*:' .. name)) do
                local rows = name == 'live' and redis.call('HGETALL', key) or redis.call('ZRANGE', key, 0, 20, 'WITHSCORES')
                local lease = redis.call('HGETALL', string.gsub(key, name .. '$', 'lease') .. '')
                lines[#lines + 1] = key .. ': ' .. table.concat(rows, ' ') .. ' lease ' .. table.concat(lease, ' ')
              end
            end
            for _, key in ipairs(redis.call('KEYS', 'af:*:inbox:*')) do
              lines[#lines + 1] = key .. ': ' .. redis.call('LLEN', key)
            end
            return table.concat(lines, '\\n')";
        match self.scripts(script, &[]) {
            Ok(texts) => {
                texts.into_iter().map(|text| redis::from_redis_value::<String>(text).unwrap_or_default() + "\n").collect()
            }
            Err(why) => why.to_string(),
        }
    }

    /// Names of the workers that have said that they live.
    fn workers(&self) -> Vec<String> {
        let script = "
            local key = redis.call('KEYS', 'af:{meta}:workers')[1]
            return key and redis.call('ZRANGE', key, 0, -1) or {}";
        let parts = self.scripts(script, &[]).unwrap_or_default().into_iter();
        parts.flat_map(|names| redis::from_redis_value::<Vec<String>>(names).unwrap_or_default()).collect()
    }

    /// How many shards a worker owns, and how many have any owner.
    fn owned(&self, worker: &str) -> (i64, i64) {
        let script = "
            local hers, all = 0, 0
            for _, key in ipairs(redis.call('KEYS', 'af:*:lease')) do
              local owner = redis.call('HGET', key, 'w') or ''
              if owner == ARGV[1] then hers = hers + 1 end
              if owner ~= '' then all = all + 1 end
            end
            return {hers, all}";
        let Ok(parts) = self.scripts(script, &[worker]) else { return (-1, -1) };
        let counts = parts.into_iter().map(|counts| redis::from_redis_value::<(i64, i64)>(counts).unwrap_or((-1, -1)));
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1))
    }

    /// Lets all leases run out: whoever owned a shard or had something in hand is taken for dead.
    fn end_leases(&self) {
        let script = "
            for _, key in ipairs(redis.call('KEYS', 'af:*:lease')) do redis.call('HSET', key, 'u', '0') end
            for _, key in ipairs(redis.call('KEYS', 'af:{meta}:workers')) do redis.call('DEL', key) end
            for _, name in ipairs({'ready', 'wake', 'outbox'}) do
              for _, key in ipairs(redis.call('KEYS', 'af:*:' .. name)) do
                local rows = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
                for i = 1, #rows, 2 do
                  if string.sub(rows[i + 1], -2) == '.5' then
                    redis.call('ZADD', key, string.format('%.1f', tonumber(rows[i + 1]) - tonumber(ARGV[1])), rows[i])
                  end
                end
              end
            end
            return 1";
        self.scripts(script, &["15000"]).unwrap();
    }
}

/// A script without keys.
pub fn script(text: &str, arguments: &[&str]) -> redis::Cmd {
    let mut eval = redis::cmd("EVAL");
    eval.arg(text).arg(0).arg(arguments);
    eval
}

impl Look for Server {
    fn scripts(&self, text: &str, arguments: &[&str]) -> redis::RedisResult<Vec<redis::Value>> {
        self.query(&script(text, arguments)).map(|answer| vec![answer])
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
