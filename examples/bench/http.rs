//! As much of HTTP/1.1 as two programs on one machine need: the generator shares the processor with the engine
//! under measurement, so it must cost as little as possible.

use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The end of a head, and the length of the body that follows it.
pub struct Head {
    /// Bytes up to and with the empty line.
    pub bytes: usize,
    /// Bytes of the body.
    pub body_bytes: usize,
}

/// Finds a whole head at the beginning of a buffer.
pub fn head(buffer: &[u8]) -> Option<Head> {
    let end = buffer.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let body_bytes = header(&buffer[..end], "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Some(Head { bytes: end, body_bytes })
}

/// The value of a header.
pub fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        if !key.eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        std::str::from_utf8(value.strip_prefix(b":")?).ok().map(str::trim)
    })
}

/// A connection that is kept, with one request under way at a time.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    head: String,
}

impl Client {
    /// Connects; every request carries the token.
    pub async fn connect(address: &str, token: &str) -> io::Result<Client> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, buffer: Vec::with_capacity(4096), head: format!("host: {address}\r\nauthorization: Bearer {token}") })
    }

    /// Sends a request and reads its answer: status and body.
    pub async fn call(&mut self, method: &str, path: &str, kind: &str, body: &str) -> io::Result<(u16, &[u8])> {
        let head = &self.head;
        let length = body.len();
        let text =
            format!("{method} {path} HTTP/1.1\r\n{head}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
        self.stream.write_all(text.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(head) = head_with_body(&self.buffer) {
                let status = std::str::from_utf8(self.buffer.get(9..12).unwrap_or_default()).unwrap_or_default();
                let status = status.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                return Ok((status, &self.buffer[head.bytes..]));
            }
        }
    }
}

fn head_with_body(buffer: &[u8]) -> Option<Head> {
    head(buffer).filter(|head| buffer.len() >= head.bytes + head.body_bytes)
}
