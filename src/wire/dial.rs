//! Where a connection that is not HTTP may go: that to a mail server.
//!
//! The rules are those of calls: public addresses only, judged after the name was resolved, unless private
//! networks are allowed or the host is written as this machine itself.

use super::WireError;
use super::address::{is_public, plain};
use std::net::{IpAddr, SocketAddr};
use url::Url;

/// Ports of public hosts at which mail is handed in.
const MAIL_PORTS: &[u16] = &[25, 465, 587, 2465, 2525, 2587];

/// A server to connect to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dial {
    host: String,
    port: u16,
    private: bool,
}

impl Dial {
    /// A server by name or address; `private` when it may be in a private network.
    ///
    /// # Errors
    /// One sentence that says what is not allowed about it.
    pub fn new(host: &str, port: u16, private: bool) -> Result<Dial, String> {
        let Some(host) = ascii_host(host) else {
            return Err("the host cannot be read; write for example `smtp.example.com`".to_owned());
        };
        let dial = Dial { host, port, private };
        if dial.is_own() || private {
            return Ok(dial);
        }
        if let Some(ip) = dial.literal().filter(|ip| !is_public(*ip)) {
            return Err(format!("{ip} is an address of a private network; say `allow_private: true` if that is meant"));
        }
        if dial.host.ends_with(".localhost") {
            return Err(format!("`{}` is a name for this machine; write `localhost`", dial.host));
        }
        if !MAIL_PORTS.contains(&port) {
            return Err(format!("mail is not handed in at port {port} of a public host; use 587 or 465"));
        }
        Ok(dial)
    }

    /// The host's name, as its certificate must have it.
    pub fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    /// Whether it is written as this machine itself.
    pub fn is_own(&self) -> bool {
        self.host == "localhost" || self.literal().is_some_and(|ip| plain(ip).is_loopback())
    }

    /// The addresses that may be connected to; one that may not refuses the whole name.
    ///
    /// # Errors
    /// [`WireError::BeforeSend`] when the name leads nowhere, or into a private network.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, WireError> {
        let failed = |why: String| WireError::BeforeSend(format!("{}: {why}", self.host));
        let found = tokio::net::lookup_host((self.host(), self.port)).await.map_err(|why| failed(why.to_string()))?;
        let found: Vec<SocketAddr> = found.collect();
        let private = found.iter().find(|address| !self.private && !self.is_own() && !is_public(address.ip()));
        match private {
            Some(private) => Err(failed(format!("it leads to {}, an address of a private network", private.ip()))),
            None if found.is_empty() => Err(failed("it has no address".to_owned())),
            None => Ok(found),
        }
    }

    fn literal(&self) -> Option<IpAddr> {
        self.host().parse().ok()
    }
}

/// A host as it is written on the wire (`bücher.example` as `xn--bcher-kva.example`); `None` when it is none.
pub fn ascii_host(host: &str) -> Option<String> {
    let fit = |c: char| c.is_alphanumeric() || "-.:[]_".contains(c);
    if host.is_empty() || !host.chars().all(fit) || (host.contains(':') && !host.starts_with('[')) {
        return None;
    }
    let url = Url::parse(&format!("https://{host}/")).ok()?;
    let plain = url.port().is_none() && url.path() == "/";
    url.host_str().filter(|_| plain).map(|host| host.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_mail_ports_can_be_dialled_without_permission() {
        for (host, port) in [("smtp.example.com", 587), ("8.8.8.8", 465), ("127.0.0.1", 2), ("[::1]", 9), ("localhost", 99)] {
            assert!(Dial::new(host, port, false).is_ok(), "{host}:{port}");
        }
        for (host, port) in [
            ("smtp.example.com", 6379),
            ("10.0.0.1", 25),
            ("169.254.169.254", 25),
            ("[fd00::1]", 587),
            ("0xa.1", 25),
            ("x.localhost", 25),
            ("u@h", 25),
            ("h:25", 25),
            ("h/x", 25),
            ("a b", 25),
            ("h\r\nx", 25),
            ("", 25),
        ] {
            assert!(Dial::new(host, port, false).is_err(), "{host}:{port}");
        }
        assert!(Dial::new("10.0.0.1", 2500, true).is_ok());
        assert_eq!(ascii_host("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_after_resolution() {
        // It stands for any name whose answer is a private address: it is judged by that answer alone here.
        let dial = Dial { host: "10.0.0.1".to_owned(), port: 25, private: false };
        let Err(why) = dial.addresses().await else { panic!("resolved") };
        assert!(why.to_string().contains("private network"), "{why}");
        assert!(Dial { private: true, ..dial }.addresses().await.is_ok());
        // This machine itself may be written.
        assert!(Dial::new("localhost", 25, false).unwrap().addresses().await.is_ok());
    }
}
