//! A TCP proxy in front of a Redis socket, for tests of a bad link: slow, silent, or cut at a chosen byte.
//!
//! The waits in here are the fault itself; nothing is waited for by their length.

use crate::provider::Bell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Most bytes passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// How the link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    /// As if the proxy were not there.
    Open,
    /// Every portion comes so much later, either way.
    Late(Duration),
    /// Answers come in portions of so many bytes with a pause between them.
    Drip(usize, Duration),
    /// Nothing passes, and nobody is told. What was sent meanwhile arrives when the link is open again.
    Silent,
}

/// A cut that waits for its moment.
#[derive(Clone, Debug)]
struct Cut {
    /// A text in the request.
    request: String,
    /// The connection ends after so many bytes of what is answered.
    after: usize,
}

/// One connection through the proxy.
struct Pair {
    client: TcpStream,
    server: UnixStream,
    /// Bytes of an answer that still pass before the cut, and whether the answer has begun.
    left: Mutex<Option<(usize, bool)>>,
}

impl Pair {
    fn end(&self) {
        // What has ended already cannot be ended: either is right.
        let _client = self.client.shutdown(Shutdown::Both);
        let _server = self.server.shutdown(Shutdown::Both);
    }
}

struct Desk {
    target: PathBuf,
    link: Mutex<Link>,
    changed: Condvar,
    cut: Mutex<Option<Cut>>,
    cuts: AtomicUsize,
    whole: AtomicUsize,
    closed: AtomicBool,
    pairs: Mutex<Vec<Arc<Pair>>>,
    bell: Arc<Bell>,
}

/// A running proxy. It ends with its value.
pub struct Proxy {
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl Proxy {
    /// Listens on a free port of this machine.
    pub fn start(target: PathBuf, bell: Arc<Bell>) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk {
            target,
            link: Mutex::new(Link::Open),
            changed: Condvar::new(),
            cut: Mutex::default(),
            cuts: AtomicUsize::new(0),
            whole: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            pairs: Mutex::default(),
            bell,
        });
        let at = desk.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if at.closed.load(Ordering::Acquire) {
                    return;
                }
                if let Ok(client) = client {
                    at.clone().open(client);
                }
            }
        });
        Proxy { address, desk }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the link, for connections that are open too.
    pub fn set(&self, link: Link) {
        *self.desk.link.lock().unwrap() = link;
        self.desk.changed.notify_all();
    }

    /// Ends every connection.
    pub fn reset(&self) {
        self.desk.pairs.lock().unwrap().drain(..).for_each(|pair| pair.end());
    }

    /// Arms a cut: the next request that holds this text is done by the server, and its connection ends after
    /// so many bytes of the answer.
    pub fn cut(&self, request: &str, after: usize) {
        *self.desk.cut.lock().unwrap() = Some(Cut { request: request.to_owned(), after });
    }

    /// Cuts so far; and answers that were shorter than their cut, and so came whole.
    pub fn cuts(&self) -> (usize, usize) {
        (self.desk.cuts.load(Ordering::Acquire), self.desk.whole.load(Ordering::Acquire))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.desk.closed.store(true, Ordering::Release);
        self.set(Link::Open);
        self.reset();
        // Wakes the thread that accepts; if it cannot be reached it has ended.
        drop(TcpStream::connect(self.address));
    }
}

impl Desk {
    fn open(self: Arc<Desk>, client: TcpStream) {
        // A server that is down refuses the connection, as it would without a proxy.
        let Ok(server) = UnixStream::connect(&self.target) else { return };
        let _gone = client.set_nodelay(true);
        let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else { return };
        let pair = Arc::new(Pair { client, server, left: Mutex::default() });
        let mut pairs = self.pairs.lock().unwrap();
        pairs.retain(|pair| Arc::strong_count(pair) > 1);
        pairs.push(pair.clone());
        drop(pairs);
        let (up, down) = (self.clone(), self);
        let other = pair.clone();
        std::thread::spawn(move || up.up(from_client, &other));
        std::thread::spawn(move || down.down(from_server, &pair));
    }

    fn up(&self, mut from: TcpStream, pair: &Pair) {
        let (mut chunk, mut tail) = (vec![0; CHUNK_BYTES], String::new());
        while let Ok(count) = from.read(&mut chunk) {
            if count == 0 {
                break;
            }
            self.hold();
            // A text may lie across two portions.
            tail.push_str(&String::from_utf8_lossy(&chunk[..count]));
            self.arm(pair, &tail);
            let keep = tail.len() - tail.len().min(64);
            tail = tail.char_indices().filter(|(at, _)| *at >= keep).map(|(_, letter)| letter).collect();
            if (&pair.server).write_all(&chunk[..count]).is_err() {
                break;
            }
        }
        pair.end();
    }

    fn arm(&self, pair: &Pair, text: &str) {
        let mut left = pair.left.lock().unwrap();
        if left.is_some_and(|(_, begun)| begun) {
            // The next request: the answer to the last one was shorter than its cut.
            *left = None;
            self.whole.fetch_add(1, Ordering::AcqRel);
            self.bell.ring();
        }
        let mut cut = self.cut.lock().unwrap();
        if cut.as_ref().is_some_and(|cut| text.contains(&cut.request)) {
            *left = cut.take().map(|cut| (cut.after, false));
        }
    }

    fn down(&self, mut from: UnixStream, pair: &Pair) {
        let mut chunk = vec![0; CHUNK_BYTES];
        while let Ok(count) = from.read(&mut chunk) {
            if count == 0 {
                break;
            }
            self.hold();
            let mut left = pair.left.lock().unwrap();
            let (passes, cut) = match *left {
                Some((after, _)) if after <= count => (after, true),
                Some((after, _)) => {
                    *left = Some((after - count, true));
                    (count, false)
                }
                None => (count, false),
            };
            drop(left);
            let done = self.pass(&chunk[..passes], pair);
            if cut {
                self.cuts.fetch_add(1, Ordering::AcqRel);
                pair.end();
                self.bell.ring();
            }
            if cut || !done {
                break;
            }
        }
        pair.end();
    }

    fn pass(&self, bytes: &[u8], pair: &Pair) -> bool {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (size, pause) = match *self.link.lock().unwrap() {
                Link::Drip(size, pause) => (size.min(rest.len()), Some(pause)),
                _ => (rest.len(), None),
            };
            if (&pair.client).write_all(&rest[..size]).is_err() {
                return false;
            }
            rest = &rest[size..];
            if let Some(pause) = pause {
                self.wait(pause, |link| matches!(link, Link::Drip(..)));
            }
        }
        true
    }

    /// Waits as long as the link demands.
    fn hold(&self) {
        let link = *self.link.lock().unwrap();
        match link {
            Link::Late(by) => self.wait(by, |link| matches!(link, Link::Late(_))),
            Link::Silent => {
                let link: MutexGuard<'_, Link> = self.link.lock().unwrap();
                drop(self.changed.wait_while(link, |link| *link == Link::Silent).unwrap());
            }
            Link::Open | Link::Drip(..) => {}
        }
    }

    fn wait(&self, time: Duration, still: impl Fn(&Link) -> bool) {
        let link = self.link.lock().unwrap();
        drop(self.changed.wait_timeout_while(link, time, |link| still(link)).unwrap());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::os::unix::net::UnixListener;

    /// A server that answers every line with itself.
    fn echo(folder: &std::path::Path) -> PathBuf {
        let path = folder.join("echo");
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                std::thread::spawn(move || {
                    let mut chunk = [0; 256];
                    while let Ok(count @ 1..) = stream.read(&mut chunk) {
                        if stream.write_all(&chunk[..count]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        path
    }

    fn ask(stream: &mut TcpStream, text: &str) -> String {
        stream.write_all(text.as_bytes()).unwrap();
        let mut got = Vec::new();
        let mut chunk = [0; 256];
        while got.len() < text.len() {
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&chunk[..count]),
                Err(why) if why.kind() == ErrorKind::ConnectionReset => break,
                Err(why) => return format!("{:?}", why.kind()),
            }
        }
        String::from_utf8(got).unwrap()
    }

    #[test]
    fn an_answer_is_cut_at_the_chosen_byte_and_only_that_one() {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(echo(folder.path()), Arc::default());
        let connect = || TcpStream::connect(proxy.address()).unwrap();
        proxy.cut("commit", 3);
        assert_eq!(ask(&mut connect(), "accept-1"), "accept-1");
        let mut cut = connect();
        assert_eq!(ask(&mut cut, "commit-1"), "com");
        assert_eq!(proxy.cuts(), (1, 0));
        let mut next = connect();
        assert_eq!(ask(&mut next, "commit-2"), "commit-2");
        proxy.cut("commit", 30);
        assert_eq!((ask(&mut next, "commit-3"), ask(&mut next, "commit-4")), ("commit-3".to_owned(), "commit-4".to_owned()));
        assert_eq!(proxy.cuts(), (1, 1), "the answer was shorter");
    }

    #[test]
    fn a_silent_link_delivers_later_and_a_slow_one_everything() {
        let folder = tempfile::tempdir().unwrap();
        let proxy = Proxy::start(echo(folder.path()), Arc::default());
        let mut stream = TcpStream::connect(proxy.address()).unwrap();
        assert_eq!(ask(&mut stream, "one"), "one");
        proxy.set(Link::Silent);
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        assert_eq!(ask(&mut stream, "two"), "WouldBlock");
        stream.set_read_timeout(None).unwrap();
        proxy.set(Link::Drip(1, Duration::from_millis(1)));
        let got = ask(&mut stream, "three ");
        assert!("twothree ".starts_with(&got), "{got}");
        proxy.set(Link::Late(Duration::from_millis(5)));
        proxy.reset();
        assert_eq!(ask(&mut TcpStream::connect(proxy.address()).unwrap(), "four"), "four");
    }
}
