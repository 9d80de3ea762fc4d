//! Where Redis is, as an operator writes it.
//!
//! ```text
//! redis://[user:password@]host[:port][/database]                      one server
//! rediss://…                                                          one server, over TLS
//! redis+sentinel://[user:password@]host:26379,host2:26379/name[/db]   the master that sentinels name
//! redis+cluster://[user:password@]host:6379,host2:6379                a cluster
//! unix:///path/of/socket                                              one server on this machine
//! ```
//! `rediss+sentinel` and `rediss+cluster` speak TLS. A password never appears in an error or a log.

use super::super::StoreError;
use redis::IntoConnectionInfo;

/// How Redis is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One server.
    Single,
    /// The master that sentinels name.
    Sentinel,
    /// A cluster.
    Cluster,
}

/// A parsed address.
#[derive(Clone)]
pub struct Address {
    /// How it is reached.
    pub shape: Shape,
    /// Each server as one URL, credentials included.
    pub servers: Vec<String>,
    /// The master's name for sentinels.
    pub master: String,
    /// Database number.
    pub database: i64,
    /// Encrypted.
    pub tls: bool,
    /// There is a password.
    pub password: bool,
    shown: String,
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown)
    }
}

/// Whether a text is to name a Redis store rather than a file. A mistyped scheme must not become a folder with an
/// empty store in it: [`Address::parse`] says what there is.
pub fn is_address(text: &str) -> bool {
    text.contains("://")
}

impl Address {
    /// Parses an address.
    ///
    /// # Errors
    /// When it is not one of the forms above.
    pub fn parse(text: &str) -> Result<Address, StoreError> {
        let wrong = |why: &str| {
            StoreError::Fatal(format!(
                "the store's address is not understood: {why}; write redis://host:6379, rediss://…, \
                 redis+sentinel://host:26379,…/name, redis+cluster://host:6379,… or the name of a file"
            ))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
        let (credentials, rest) = rest.rsplit_once('@').map_or(("", rest), |(who, rest)| (who, rest));
        let tls = scheme.starts_with("rediss");
        let shape = match scheme {
            "redis" | "rediss" | "unix" => Shape::Single,
            "redis+sentinel" | "rediss+sentinel" => Shape::Sentinel,
            "redis+cluster" | "rediss+cluster" => Shape::Cluster,
            _ => return Err(wrong("its scheme is unknown")),
        };
        // The query of a socket's address may hold a password.
        let shown = format!("{scheme}://{}", rest.split_once('?').map_or(rest, |(place, _)| place));
        let password = credentials.split_once(':').is_some_and(|(_, secret)| !secret.is_empty());
        let mut address = Address { shape, servers: Vec::new(), master: String::new(), database: 0, tls, password, shown };
        if shape == Shape::Single {
            address.servers.push(text.to_owned());
            let info = text.into_connection_info().map_err(|_| wrong("host, port or database is wrong"))?;
            address.database = info.redis_settings().db();
            address.password = info.redis_settings().password().is_some();
            return Ok(address);
        }
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = if tls { "rediss" } else { "redis" };
        let at = if credentials.is_empty() { String::new() } else { format!("{credentials}@") };
        // Sentinels are asked without the master's password.
        let at = if shape == Shape::Sentinel { String::new() } else { at };
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            let url = format!("{plain}://{at}{host}");
            url.as_str().into_connection_info().map_err(|_| wrong("a host or port in the list is wrong"))?;
            address.servers.push(url);
        }
        if address.servers.is_empty() {
            return Err(wrong("it names no host"));
        }
        if shape == Shape::Sentinel {
            let (master, database) = path.split_once('/').unwrap_or((path, "0"));
            if master.is_empty() {
                return Err(wrong("the master's name is missing (…/name)"));
            }
            address.master = master.to_owned();
            address.database = database.parse().map_err(|_| wrong("the database is not a number"))?;
        }
        Ok(address)
    }

    /// Whether every server is on this machine.
    pub fn is_local(&self) -> bool {
        self.servers.iter().all(|server| {
            let Ok(info) = server.as_str().into_connection_info() else { return false };
            match info.addr() {
                redis::ConnectionAddr::Tcp(host, _) | redis::ConnectionAddr::TcpTls { host, .. } => {
                    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
                }
                redis::ConnectionAddr::Unix(_) => true,
                _ => false,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read() {
        let one = Address::parse("redis://:secret@127.0.0.1:7000/3").unwrap();
        assert_eq!((one.shape, one.database, one.password, one.is_local()), (Shape::Single, 3, true, true));
        assert_eq!(one.to_string(), "redis://127.0.0.1:7000/3");
        let many = Address::parse("redis+cluster://u:p@10.0.0.1:7000,10.0.0.2:7000").unwrap();
        assert_eq!((many.shape, many.servers.len(), many.password, many.is_local()), (Shape::Cluster, 2, true, false));
        assert!(!format!("{many:?}").contains("u:p"));
        let socket = Address::parse("unix:///run/redis.sock?pass=hidden").unwrap();
        assert!(socket.is_local() && !socket.to_string().contains("hidden"), "{socket}");
        let watched = Address::parse("rediss+sentinel://:p@a:26379,b:26379/shop/2").unwrap();
        assert_eq!((watched.master.as_str(), watched.database, watched.tls), ("shop", 2, true));
        assert!(watched.servers.iter().all(|server| !server.contains(":p@")));
    }

    #[test]
    fn what_is_wrong_is_said_without_the_password() {
        for wrong in ["http://x", "redis://:hidden@h:port", "redis+sentinel://:hidden@h:1", "redis+cluster://"] {
            let said = Address::parse(wrong).unwrap_err().to_string();
            assert!(said.contains("redis://host:6379") && !said.contains("hidden"), "{said}");
        }
        assert!(is_address("redis://x") && is_address("http://x") && !is_address("data/shop.db"));
    }
}
