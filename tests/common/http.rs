//! A plain HTTP/1.1 client over one connection per request: small, and it shows what is on the wire.

use std::net::SocketAddr;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

/// A request under construction.
pub struct Request {
    addr: SocketAddr,
    head: String,
    body: Vec<u8>,
}

/// Starts a request.
pub fn request(addr: SocketAddr, method: &'static str, path: &str) -> Request {
    kept(addr, method, path).header("connection", "close")
}

/// Starts a request that others may follow on its connection.
pub fn kept(addr: SocketAddr, method: &'static str, path: &str) -> Request {
    Request {
        addr,
        head: format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n"),
        body: Vec::new(),
    }
}

impl Request {
    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Sets a JSON body.
    pub fn json<T: Serialize>(self, body: &T) -> Self {
        let body = serde_json::to_vec(body).unwrap();
        self.header("content-type", "application/json").body(&body)
    }

    /// Sets a body.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    /// The request as it goes out.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{}content-length: {}\r\n\r\n", self.head, self.body.len()).into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Sends it, and leaves the answer to whoever reads.
    pub async fn begin(self) -> TcpStream {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(&self.bytes()).await.unwrap();
        stream
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Answer {
        within("an HTTP answer", async {
            let mut stream = self.begin().await;
            let mut raw = Vec::new();
            stream.read_to_end(&mut raw).await.unwrap();
            Answer::parse(&raw)
        })
        .await
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads the head of an answer that goes on.
    pub fn parse_head(raw: &[u8]) -> Self {
        Self::split(raw).0
    }

    /// Reads a whole answer with a content length or an end of stream.
    pub fn parse(raw: &[u8]) -> Self {
        let (mut answer, body) = Self::split(raw);
        answer.body = match answer.header("transfer-encoding") {
            Some("chunked") => dechunk(body),
            _ => body.to_vec(),
        };
        answer
    }

    fn split(raw: &[u8]) -> (Self, &[u8]) {
        let end = raw
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .unwrap_or_else(|| panic!("no head in {raw:?}"));
        let head = std::str::from_utf8(&raw[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines
            .next()
            .and_then(|l| l.split(' ').nth(1))
            .and_then(|s| s.parse().ok())
            .unwrap();
        let headers: Vec<_> = lines
            .filter_map(|l| l.split_once(':'))
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        let answer = Self {
            status,
            headers,
            body: Vec::new(),
        };
        (answer, &raw[end + 4..])
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a value.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }

    /// The body as one of the protocol's.
    pub fn read<T: DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", self.text()))
    }
}

fn dechunk(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = rest.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap().trim(), 16).unwrap();
        if size == 0 {
            break;
        }
        out.extend_from_slice(&rest[at + 2..at + 2 + size]);
        rest = &rest[at + 4 + size..];
    }
    out
}
