//! The first look at a request: its path and the host that it was sent to.
//!
//! A server on loopback answers only to names of loopback: a foreign page that has pointed its own name
//! at 127.0.0.1 (DNS rebinding) gets nothing.

use super::answer::Problem;
use super::call::decode;
use axum::http::header::{HOST, HeaderMap};
use axum::http::{StatusCode, Uri};
use std::net::SocketAddr;

/// Longest path with its query, in bytes.
pub const TARGET_BYTES_MAX: usize = 8 * 1024;

/// The hosts that this server answers to.
pub struct Gate {
    hosts: Option<Vec<String>>,
}

impl Gate {
    /// The gate of a server that listens there and is also known by `hosts`.
    pub fn new(address: SocketAddr, hosts: &[String]) -> Gate {
        let loopback = Some(address).filter(|address| address.ip().is_loopback());
        let own = loopback.into_iter().flat_map(|address| {
            let port = address.port();
            let names = ["127.0.0.1", "localhost", "[::1]"];
            names.into_iter().flat_map(move |name| {
                [Some(format!("{name}:{port}")), (port == 80).then(|| name.to_owned())].into_iter().flatten()
            })
        });
        let all: Vec<String> = own.chain(hosts.iter().map(|host| host.to_ascii_lowercase())).collect();
        Gate { hosts: (!all.is_empty()).then_some(all) }
    }

    /// Lets a request through, or says why not.
    ///
    /// # Errors
    /// 421 for a foreign host, 400 or 404 for a path that means nothing.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        self.check_host(headers)?;
        check_path(uri)
    }

    fn check_host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(hosts) = &self.hosts else { return Ok(()) };
        let mut sent = headers.get_all(HOST).iter();
        let host = sent.next().and_then(|host| host.to_str().ok()).filter(|_| sent.next().is_none());
        match host {
            Some(host) if hosts.iter().any(|known| known.eq_ignore_ascii_case(host)) => Ok(()),
            _ => Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "this server does not answer to that host name")
                .hint("use the address that it printed at its start, or add the name to its hosts")
                .close()),
        }
    }
}

/// Whether a path could be one of ours: decodable, without empty or dotted parts.
fn check_path(uri: &Uri) -> Result<(), Problem> {
    let target = uri.path_and_query().map_or(uri.path(), |target| target.as_str());
    if target.len() > TARGET_BYTES_MAX {
        return Err(Problem::new(StatusCode::NOT_FOUND, format!("the path is longer than {TARGET_BYTES_MAX} bytes")).close());
    }
    let path = uri.path();
    // The usual path has nothing to decode and nothing to look for.
    if path.starts_with('/') && !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Ok(());
    }
    if path.contains("//") || !path.starts_with('/') {
        return Err(Problem::not_found());
    }
    for part in path.split('/') {
        let decoded = decode(part, false)
            .filter(|part| !part.chars().any(char::is_control))
            .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "the path is not percent-encoded text"))?;
        if decoded.split('/').any(|piece| piece == ".." || piece == ".") {
            return Err(Problem::not_found());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn status(path: &str) -> u16 {
        let uri: Uri = path.parse().unwrap();
        check_path(&uri).err().map_or(200, |problem| problem.status.as_u16())
    }

    #[test]
    fn paths_that_mean_nothing_go_no_further() {
        for good in ["/", "/v1/events", "/v1/customers/a%2Fb", "/v1/customers/C..1", "/v1/customers/%C3%A4?x=//"] {
            assert_eq!(status(good), 200, "{good}");
        }
        for (bad, wanted) in [
            ("/hooks/..%2fadmin", 404),
            ("/hooks/%2e%2e/admin", 404),
            ("/hooks/../admin", 404),
            ("/./v1", 404),
            ("//v1/events", 404),
            ("/v1//events", 404),
            ("/v1/%00", 400),
            ("/v1/%0a", 400),
            ("/v1/%ff", 400),
            ("/v1/%4", 400),
        ] {
            assert_eq!(status(bad), wanted, "{bad}");
        }
        assert_eq!(status(&format!("/{}", "x".repeat(TARGET_BYTES_MAX))), 404);
    }

    #[test]
    fn a_server_on_loopback_answers_to_loopback_names_only() {
        let gate = Gate::new("127.0.0.1:4000".parse().unwrap(), &["Funnels.example.com".to_owned()]);
        let ask = |gate: &Gate, hosts: &[&str]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_str(host).unwrap());
            }
            gate.check_host(&headers).err().map_or(200, |problem| problem.status.as_u16())
        };
        for good in ["127.0.0.1:4000", "localhost:4000", "LOCALHOST:4000", "[::1]:4000", "funnels.example.com"] {
            assert_eq!(ask(&gate, &[good]), 200, "{good}");
        }
        for bad in ["evil.example", "127.0.0.1", "127.0.0.1:80", "localhost:4000.evil.example", "", "127.0.0.1:4000@evil"] {
            assert_eq!(ask(&gate, &[bad]), 421, "{bad}");
        }
        assert_eq!(ask(&gate, &[]), 421);
        assert_eq!(ask(&gate, &["127.0.0.1:4000", "evil.example"]), 421);
        let outside = Gate::new("192.0.2.1:4000".parse().unwrap(), &[]);
        assert_eq!(ask(&outside, &["anything"]), 200);
    }
}
