//! Requests and sockets that may come to nothing: every failure is an answer, and the caller tries again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::common::Answer;
use super::common::http::{Request, kept, request};

/// How long somebody waits for an answer the `tries`th time: longer each time, so that a slow machine is not an endless
/// one.
pub(crate) fn patience(tries: u32) -> Duration {
    Duration::from_millis(1_500) * 2_u32.pow(tries.min(4))
}

/// Whether a raw answer is all there.
fn whole(raw: &[u8]) -> Option<Answer> {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = Answer::parse_head(&raw[..end]);
    let length = head
        .header("content-length")
        .and_then(|l| l.parse().ok())
        .unwrap_or(0);
    (raw.len() >= end + length).then(|| Answer::parse(raw))
}

/// Requests over a line, one after another.
pub(crate) struct Calls {
    line: SocketAddr,
    /// On one connection, while it lasts; otherwise on one each.
    keeps: bool,
    open: Option<TcpStream>,
}

impl Calls {
    pub(crate) fn new(line: SocketAddr, keeps: bool) -> Self {
        Self {
            line,
            keeps,
            open: None,
        }
    }

    pub(crate) fn request(&self, method: &'static str, path: &str) -> Request {
        let begin = if self.keeps { kept } else { request };
        begin(self.line, method, path)
    }

    /// Sends a request; `None` when no whole answer came.
    pub(crate) async fn ask(&mut self, request: &Request, patience: Duration) -> Option<Answer> {
        let (kept, line) = (self.open.take(), self.line);
        let exchange = async {
            let mut stream = match kept {
                Some(stream) => stream,
                None => TcpStream::connect(line).await.ok()?,
            };
            stream.write_all(&request.bytes()).await.ok()?;
            let mut raw = Vec::new();
            loop {
                if let Some(answer) = whole(&raw) {
                    return Some((answer, stream));
                }
                // A reset after the whole answer is an answer.
                if stream.read_buf(&mut raw).await.ok()? == 0 {
                    return None;
                }
            }
        };
        let (answer, stream) = tokio::time::timeout(patience, exchange).await.ok().flatten()?;
        let goes_on = self.keeps && answer.header("connection") != Some("close");
        self.open = goes_on.then_some(stream);
        Some(answer)
    }
}

/// A WebSocket.
pub(crate) struct Link {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    pushes: VecDeque<Value>,
}

/// Nothing came.
pub(crate) enum Nothing {
    /// For this long.
    Silence,
    /// And nothing will.
    Closed,
}

impl Link {
    pub(crate) async fn connect(line: SocketAddr, patience: Duration) -> Option<Self> {
        let connecting = async {
            let stream = TcpStream::connect(line).await.ok()?;
            let (socket, _) = client_async(format!("ws://{line}/v1/ws"), stream).await.ok()?;
            let mut link = Self {
                socket,
                next_id: 1,
                pushes: VecDeque::new(),
            };
            (link.read().await?["type"] == "hello").then_some(link)
        };
        tokio::time::timeout(patience, connecting).await.ok().flatten()
    }

    async fn read(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }

    /// The reply to a command; pushes before it are kept. `None`: the connection is of no use any more.
    pub(crate) async fn call(&mut self, kind: &str, mut fields: Value, patience: Duration) -> Option<Value> {
        let id = self.next_id;
        self.next_id += 1;
        fields["id"] = json!(id);
        fields["type"] = json!(kind);
        let exchange = async {
            self.socket.send(Message::text(fields.to_string())).await.ok()?;
            loop {
                let frame = self.read().await?;
                if frame["id"] == json!(id) {
                    return Some(frame);
                }
                self.pushes.extend(pushed(frame));
            }
        };
        tokio::time::timeout(patience, exchange).await.ok().flatten()
    }

    /// The next push.
    pub(crate) async fn push(&mut self, patience: Duration) -> Result<Value, Nothing> {
        if let Some(push) = self.pushes.pop_front() {
            return Ok(push);
        }
        let pushes = async {
            loop {
                let frame = self.read().await?;
                if let Some(push) = pushed(frame) {
                    return Some(push);
                }
            }
        };
        match tokio::time::timeout(patience, pushes).await {
            Ok(Some(push)) => Ok(push),
            Ok(None) => Err(Nothing::Closed),
            Err(_) => Err(Nothing::Silence),
        }
    }
}

/// A frame unless it is the second reply to something that has been answered, which says nothing new.
fn pushed(frame: Value) -> Option<Value> {
    let id = frame.get("id");
    assert!(id.is_none_or(Value::is_u64), "not understood: {frame}");
    id.is_none().then_some(frame)
}
