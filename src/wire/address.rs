//! Where a call may go.
//!
//! Without permission a call reaches only public addresses over https (ports 443 and 8443). A host that is
//! written as this machine itself (`127.0.0.1`, `[::1]`, `localhost`) was put there by whoever runs the
//! process, so it is allowed, over http too. What a name resolves to is judged address by address; one
//! private answer refuses the whole name.

use super::Reach;
use futures_util::future::BoxFuture;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::dns::Name;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::vec;
use tower::Service;
use url::{Position, Url};

/// Ports of public hosts that may be called.
const PUBLIC_PORTS: &[u16] = &[80, 443, 8080, 8443];

/// Judged URLs kept; beyond it all are judged anew.
const JUDGED_MAX: usize = 64;

/// A judged URL.
#[derive(Debug)]
pub(super) struct Target {
    pub url: Url,
    /// Its addresses need no check: it is this machine, or private networks are allowed.
    pub unguarded: bool,
}

/// A judged URL in the forms in which it is called.
#[derive(Debug)]
pub(super) struct Place {
    pub target: Target,
    /// Scheme, host and port: what a connection leads to.
    pub origin: Arc<str>,
    /// All of it.
    pub uri: Uri,
    /// Path and query.
    pub path: Uri,
    /// Host and port, as the receiver is told them.
    pub host: HeaderValue,
}

impl Place {
    fn new(target: Target) -> Result<Place, String> {
        let url = &target.url;
        let unfit = || "the URL has characters that HTTP does not allow".to_owned();
        let uri = url[..Position::AfterQuery].parse().map_err(|_| unfit())?;
        let path = url[Position::BeforePath..Position::AfterQuery].parse().map_err(|_| unfit())?;
        let host = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|_| unfit())?;
        Ok(Place { origin: Arc::from(&url[..Position::AfterPort]), uri, path, host, target })
    }
}

/// Checks a URL, or the beginning of one up to its path, before anything is sent there.
///
/// # Errors
/// One sentence that says what is not allowed about it.
pub fn check_url(url: &str, reach: Reach) -> Result<(), String> {
    target(url, reach).map(|_| ())
}

/// Whether a URL is written as a place of this machine where `own` listens.
pub(super) fn leads_to(url: &Url, own: SocketAddr) -> bool {
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok().map(plain);
    let here = host == "localhost" || literal.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified());
    let same = literal == Some(plain(own.ip()));
    url.port_or_known_default() == Some(own.port()) && (same || (here && (own.ip().is_loopback() || own.ip().is_unspecified())))
}

/// Judged URLs: most providers are called under one and the same. At most [`JUDGED_MAX`] are kept.
#[derive(Debug, Default)]
pub(super) struct Judged(Mutex<HashMap<String, (Reach, Arc<Place>)>>);

impl Judged {
    /// As [`target`].
    pub fn place(&self, url: &str, reach: Reach) -> Result<Arc<Place>, String> {
        // A map of whole entries is as good as before after a panic elsewhere.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match known.get(url) {
            Some((of, place)) if *of == reach => return Ok(place.clone()),
            _ => {}
        }
        let place = Arc::new(Place::new(target(url, reach)?)?);
        if known.len() >= JUDGED_MAX {
            known.clear();
        }
        known.insert(url.to_owned(), (reach, place.clone()));
        Ok(place)
    }
}

pub(super) fn target(url: &str, reach: Reach) -> Result<Target, String> {
    let url =
        Url::parse(url).map_err(|_| "the URL cannot be read; write for example `https://api.example.com/v1/send`".to_owned())?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("`{}:` URLs cannot be called; use https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the URL holds a user name or password; use `auth` instead".to_owned());
    }
    let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    let own = host == "localhost" || literal.is_some_and(|ip| plain(ip).is_loopback());
    if url.scheme() == "http" && !own && !reach.http {
        return Err(format!("`http://{host}` is not encrypted; use https, or say `allow_http: true`"));
    }
    if own || reach.private {
        return Ok(Target { url, unguarded: true });
    }
    if let Some(ip) = literal
        && !is_public(ip)
    {
        return Err(format!("{ip} is an address of a private network; say `allow_private: true` if that is meant"));
    }
    if host.ends_with(".localhost") {
        return Err(format!("`{host}` is a name for this machine; write `localhost`"));
    }
    match url.port_or_known_default() {
        Some(port) if PUBLIC_PORTS.contains(&port) => Ok(Target { url, unguarded: false }),
        port => Err(format!("port {} of a public host cannot be called; use 443", port.unwrap_or_default())),
    }
}

/// An IPv4 address that is written as IPv6 counts as what it is.
pub(super) fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

/// Whether an address belongs to the public internet (IANA special-purpose registries).
pub(super) fn is_public(ip: IpAddr) -> bool {
    match plain(ip) {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let s = ip.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo and documentation.
        [0x2001, 0 | 0xdb8, ..] => false,
        [first, ..] => (0x2000..0x4000).contains(&first),
    }
}

/// Resolves names.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Refuses those that lead into a private network.
    pub guarded: bool,
}

impl Service<Name> for Names {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let guarded = self.guarded;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(private) = found.iter().find(|address| guarded && !is_public(address.ip())) {
                return Err(format!("{} leads to {}, an address of a private network", name.as_str(), private.ip()).into());
            }
            Ok(found.into_iter())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_https_can_be_called_without_permission() {
        let none = Reach::default();
        for url in [
            "https://api.example.com/x",
            "https://api.example.com:8443",
            "http://127.0.0.1:9000/a",
            "http://localhost:1",
            "http://[::1]:80/",
            "https://8.8.8.8/",
        ] {
            assert_eq!(check_url(url, none), Ok(()), "{url}");
        }
        for url in [
            "http://api.example.com",
            "https://169.254.169.254/",
            "http://169.254.169.254/",
            "https://0.0.0.0/",
            "https://[::ffff:10.0.0.1]/",
            "https://[fd00::1]/",
            "https://100.64.0.1/",
            "https://10.1.2.3",
            "https://[64:ff9b::a00:1]/",
            "https://[::]/",
            "https://x.localhost/",
            "file:///etc/passwd",
            "gopher://x",
            "ftp://x",
            "https://u:p@h/",
            "https://h:22/",
            "https://h:6379/",
            "nonsense",
            "",
            "https://",
            "https://0xa.1/",
            "https://167837953/",
        ] {
            assert!(check_url(url, none).is_err(), "{url}");
        }
        // Other ways to write 127.0.0.1 are read as what they are: this machine.
        for url in ["http://2130706433/", "http://0x7f.1/", "http://localhost./", "http://[::ffff:127.0.0.1]/"] {
            assert!(target(url, none).is_ok_and(|t| t.unguarded), "{url}");
        }
    }

    #[test]
    fn s36_the_engines_own_doors_are_known_however_they_are_written() {
        let own = |url: &str, at: &str| leads_to(&Url::parse(url).unwrap(), at.parse().unwrap());
        for url in [
            "http://127.0.0.1:7700/v1/tokens",
            "http://localhost:7700",
            "http://[::1]:7700",
            "http://2130706433:7700/",
            "http://127.0.0.2:7700",
        ] {
            assert!(own(url, "127.0.0.1:7700") && own(url, "0.0.0.0:7700"), "{url}");
        }
        assert!(own("http://10.0.0.7:7700/", "10.0.0.7:7700") && own("https://10.0.0.7/", "10.0.0.7:443"));
        for url in ["http://127.0.0.1:7701/", "http://10.0.0.7:7700/", "https://api.example.com:7700/"] {
            assert!(!own(url, "127.0.0.1:7700"), "{url}");
        }
        assert!(!own("http://127.0.0.1:7700/", "10.0.0.7:7700"), "another process may listen there");
    }

    #[test]
    fn permission_is_asked_for_separately() {
        assert!(check_url("http://shop.example.com", Reach { http: true, private: false }).is_ok());
        assert!(check_url("http://10.0.0.1", Reach { http: true, private: false }).is_err());
        assert!(check_url("https://10.0.0.1:9443", Reach { http: false, private: true }).is_ok());
        assert!(check_url("http://10.0.0.1", Reach { http: false, private: true }).is_err());
    }

    #[test]
    fn addresses_are_judged_by_their_ranges() {
        for ip in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(is_public(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "172.31.255.255",
            "192.168.0.1",
            "198.19.0.1",
            "255.255.255.255",
            "224.0.0.1",
            "fe80::1",
            "ff02::1",
            "2002:a00:1::",
            "2001:db8::1",
            "::ffff:192.168.1.1",
        ] {
            assert!(!is_public(ip.parse().unwrap()), "{ip}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_after_resolution() {
        // `localhost` stands for any name whose answer is a private address.
        let mut names = Names { guarded: true };
        let Err(why) = names.call("localhost".parse().unwrap()).await.map(|_| ()) else { panic!("resolved") };
        assert!(why.to_string().contains("private"), "{why}");
        assert!(Names { guarded: false }.call("localhost".parse().unwrap()).await.is_ok());
    }

    #[test]
    fn a_place_is_what_http_is_told_of_a_url() {
        let place = |url: &str| Place::new(target(url, Reach { http: true, private: true }).unwrap()).unwrap();
        let told = |url: &str| {
            let place = place(url);
            (place.origin.to_string(), place.host.to_str().unwrap().to_owned(), place.path.to_string())
        };
        let is = |origin: &str, host: &str, path: &str| (origin.to_owned(), host.to_owned(), path.to_owned());
        assert_eq!(told("https://a.example/x?y=1#z"), is("https://a.example", "a.example", "/x?y=1"));
        assert_eq!(told("http://127.0.0.1:9100"), is("http://127.0.0.1:9100", "127.0.0.1:9100", "/"));
        assert_eq!(told("https://[::1]:8443/a|b{c}^"), is("https://[::1]:8443", "[::1]:8443", "/a|b%7Bc%7D^"));
        // The usual port is not said.
        assert_eq!(told("https://a.example:443/"), is("https://a.example", "a.example", "/"));
    }
}
