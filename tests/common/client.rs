//! A WebSocket client: commands with their replies, and pushes kept in the order they came.

use std::collections::VecDeque;
use std::net::SocketAddr;

use countersign_protocol::codec::{Opcode, write_frame};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Bytes, Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use super::history::{History, Tap, user_of};
use super::within;

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    pub code: u16,
    pub reason: String,
}

/// One connection.
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    /// Frames that were read while waiting for another.
    pub pushes: VecDeque<Value>,
    replies: VecDeque<Value>,
    pub closed: Option<Closed>,
    pub hello: Value,
    tap: Option<Tap>,
}

impl Client {
    /// Connects and reads `hello`.
    pub async fn connect(addr: SocketAddr) -> Self {
        Self::connect_with(addr, &[])
            .await
            .expect("the upgrade is accepted")
    }

    /// Connects with headers.
    pub async fn connect_with(addr: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Self, Error> {
        let mut request = format!("ws://{addr}/v1/ws").into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let (socket, _) = within("the upgrade", connect_async(request)).await?;
        Ok(Self::greeted(socket, user_of(headers)).await)
    }

    /// Connects with a small receive buffer: while nobody reads, little is on its way.
    pub async fn connect_narrow(addr: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let stream = MaybeTlsStream::Plain(socket.connect(addr).await.unwrap());
        let upgrade = client_async(format!("ws://{addr}/v1/ws"), stream);
        let (socket, _) = within("the upgrade", upgrade)
            .await
            .expect("the upgrade is accepted");
        Self::greeted(socket, None).await
    }

    /// Reads `hello`. From here on, what the connection does and is told is in the gateway's record.
    async fn greeted(socket: WebSocketStream<MaybeTlsStream<TcpStream>>, user: Option<String>) -> Self {
        let peer = match socket.get_ref() {
            MaybeTlsStream::Plain(stream) => stream.peer_addr().ok(),
            _ => None,
        };
        let history = peer.and_then(History::of);
        let mut client = Self {
            socket,
            next_id: 1,
            pushes: VecDeque::new(),
            replies: VecDeque::new(),
            closed: None,
            hello: Value::Null,
            tap: history.map(|history| history.connection(user.as_deref())),
        };
        client.hello = client.push("hello").await;
        client
    }

    /// Sends a command and answers its id.
    pub async fn send(&mut self, kind: &str, mut fields: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        fields["id"] = json!(id);
        fields["type"] = json!(kind);
        self.send_text(&fields.to_string()).await;
        id
    }

    /// Sends any text frame.
    pub async fn send_text(&mut self, text: &str) {
        if let Some(tap) = &self.tap {
            tap.sent(text);
        }
        // A close under way is seen by whoever reads next.
        let _ = self.socket.send(Message::text(text)).await;
    }

    /// Sends frames in one write, as a client does that does not wait for replies.
    pub async fn send_at_once(&mut self, texts: &[String]) {
        let mut bytes = Vec::new();
        for text in texts {
            if let Some(tap) = &self.tap {
                tap.sent(text);
            }
            write_frame(&mut bytes, Opcode::Text, Some([1, 2, 3, 4]), text.as_bytes());
        }
        self.send_bytes(&bytes).await;
    }

    /// Sends bytes below the framing.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        match self.socket.get_mut() {
            MaybeTlsStream::Plain(stream) => stream.write_all(bytes).await.unwrap(),
            _ => unreachable!("tests use no TLS"),
        }
    }

    /// Sends a binary frame.
    pub async fn send_binary(&mut self, bytes: &'static [u8]) {
        let _ = self.socket.send(Message::Binary(Bytes::from_static(bytes))).await;
    }

    /// Asks to close.
    pub async fn close(&mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        let _ = self.socket.send(Message::Close(Some(frame))).await;
    }

    /// Sends a command and waits for its reply; pushes that come first are kept.
    pub async fn call(&mut self, kind: &str, fields: Value) -> Value {
        let id = self.send(kind, fields).await;
        self.reply(id).await
    }

    /// The reply to a command sent before.
    pub async fn reply(&mut self, id: u64) -> Value {
        if let Some(at) = self.replies.iter().position(|r| r["id"] == json!(id)) {
            return self.replies.remove(at).unwrap();
        }
        loop {
            let frame = self
                .read()
                .await
                .unwrap_or_else(|| panic!("closed before reply {id}: {:?}", self.closed));
            match &frame["type"] {
                t if t == "ok" || t == "error" => {
                    if frame["id"] == json!(id) {
                        return frame;
                    }
                    self.replies.push_back(frame);
                }
                _ => self.pushes.push_back(frame),
            }
        }
    }

    /// A command that succeeds.
    pub async fn ok(&mut self, kind: &str, fields: Value) -> Value {
        let reply = self.call(kind, fields).await;
        assert_eq!(reply["type"], "ok", "{kind}: {reply}");
        reply
    }

    /// A command that is refused; answers the whole error.
    pub async fn refused(&mut self, kind: &str, fields: Value) -> Value {
        let reply = self.call(kind, fields).await;
        assert_eq!(reply["type"], "error", "{kind}: {reply}");
        reply
    }

    /// The next reply that carries no id.
    pub async fn reply_without_id(&mut self) -> Value {
        loop {
            let frame = self.read().await.expect("open");
            if frame["type"] == "error" && frame["id"].is_null() {
                return frame;
            }
            self.pushes.push_back(frame);
        }
    }

    /// The next push of a type; others before it are dropped.
    pub async fn push(&mut self, kind: &str) -> Value {
        self.push_where(kind, |_| true).await
    }

    /// The next push of a type for which something holds; others before it are dropped.
    pub async fn push_where(&mut self, kind: &str, mut holds: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let frame = self.next_push().await;
            if frame["type"] == kind && holds(&frame) {
                return frame;
            }
        }
    }

    /// The next push of any type.
    pub async fn next_push(&mut self) -> Value {
        if let Some(frame) = self.pushes.pop_front() {
            return frame;
        }
        loop {
            let frame = self
                .read()
                .await
                .unwrap_or_else(|| panic!("closed: {:?}", self.closed));
            if frame["type"] == "ok" || frame["type"] == "error" {
                self.replies.push_back(frame);
            } else {
                return frame;
            }
        }
    }

    /// The next text frame, or `None` when the connection has ended.
    pub async fn read(&mut self) -> Option<Value> {
        loop {
            match within("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    if let Some(tap) = &self.tap {
                        tap.received(&text);
                    }
                    return Some(serde_json::from_str(&text).expect("the server sends JSON"));
                }
                Some(Ok(Message::Close(frame))) => {
                    self.closed = Some(frame.map_or(
                        Closed {
                            code: 1005,
                            reason: String::new(),
                        },
                        |f| Closed {
                            code: u16::from(f.code),
                            reason: f.reason.to_string(),
                        },
                    ));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    self.closed.get_or_insert(Closed {
                        code: u16::from(CloseCode::Abnormal),
                        reason: String::new(),
                    });
                    let code = self.closed.as_ref().map(|closed| closed.code);
                    if let Some(tap) = &mut self.tap {
                        tap.closed(code);
                    }
                    return None;
                }
            }
        }
    }

    /// The next push of a type as it was sent; what comes before it is dropped.
    pub async fn read_text(&mut self, kind: &str) -> String {
        let mark = format!(r#""type":"{kind}""#);
        loop {
            match within("a frame", self.socket.next()).await {
                Some(Ok(Message::Text(text))) => {
                    if let Some(tap) = &self.tap {
                        tap.received(&text);
                    }
                    if text.contains(&mark) {
                        return text.to_string();
                    }
                }
                Some(Ok(_)) => {}
                other => panic!("no {kind}: {other:?}"),
            }
        }
    }

    /// Reads to the end; answers how it ended. Pushes on the way are kept.
    pub async fn end(&mut self) -> Closed {
        while let Some(frame) = self.read().await {
            self.pushes.push_back(frame);
        }
        self.closed.clone().expect("ended")
    }

    /// Drops the connection without a word, as a tunnel does.
    pub fn cut(self) {
        drop(self);
    }
}
