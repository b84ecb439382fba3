//! A socket without a library in between: exact bytes out, exact bytes in.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test file uses its part"
)]

use std::net::SocketAddr;
use std::time::Duration;

use countersign_protocol::codec::{Header, Opcode, write_frame};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::common::http::Answer;
use crate::common::within;

/// The key of RFC 6455 §1.3, and what it is answered with.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

const MASK: Option<[u8; 4]> = Some([0x37, 0xfa, 0x21, 0x3d]);

/// One TCP connection.
pub struct Raw {
    stream: TcpStream,
    /// Read and not yet looked at.
    pub unread: Vec<u8>,
}

/// The request for a socket, with further header lines, each ending in CRLF.
pub fn upgrade_request(addr: SocketAddr, more: &str) -> String {
    upgrade_request_with(addr, KEY, more)
}

/// The same with another key.
pub fn upgrade_request_with(addr: SocketAddr, key: &str, more: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n"
    )
}

/// A masked frame.
pub fn frame(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_frame(&mut out, opcode, MASK, payload);
    out
}

/// A masked text frame.
pub fn text(payload: &str) -> Vec<u8> {
    frame(Opcode::Text, payload.as_bytes())
}

/// A masked frame after which its message goes on.
pub fn fragment(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(opcode, payload);
    out[0] &= 0x7f;
    out
}

/// A masked close frame.
pub fn close(code: u16) -> Vec<u8> {
    frame(Opcode::Close, &code.to_be_bytes())
}

impl Raw {
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            unread: Vec::new(),
        }
    }

    /// With a receive buffer of about so many bytes.
    pub async fn connect_narrow(addr: SocketAddr, bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(bytes).unwrap();
        Self {
            stream: socket.connect(addr).await.unwrap(),
            unread: Vec::new(),
        }
    }

    /// A WebSocket past its `hello`.
    pub async fn open(addr: SocketAddr) -> Self {
        Self::connect(addr).await.upgrade(addr).await
    }

    /// The handshake, and `hello`.
    pub async fn upgrade(mut self, addr: SocketAddr) -> Self {
        self.send(upgrade_request(addr, "").as_bytes()).await;
        let answer = self.answer().await;
        assert_eq!(answer.status, 101, "{}", answer.text());
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT));
        assert_eq!(self.json().await["type"], "hello");
        self
    }

    /// Sends bytes. The other side may have closed: then it is what is read next that tells.
    pub async fn send(&mut self, bytes: &[u8]) {
        let _ = within("bytes are taken", self.stream.write_all(bytes)).await;
    }

    /// Ends our side only.
    pub async fn end_writing(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads more; `false` at the end. A reset is a failure: it may overtake what was sent before it.
    async fn more(&mut self) -> bool {
        let n = within("bytes or an end", self.stream.read_buf(&mut self.unread)).await;
        n.unwrap_or_else(|e| panic!("{e}, after {:?}", String::from_utf8_lossy(&self.unread))) > 0
    }

    /// Whether nothing comes for a while.
    pub async fn is_quiet(&mut self, span: Duration) -> bool {
        self.unread.is_empty()
            && tokio::time::timeout(span, self.stream.read_buf(&mut self.unread))
                .await
                .is_err()
    }

    /// The next answer; its body when it says how long it is.
    pub async fn answer(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(
                self.more().await,
                "ended before an answer: {:?}",
                String::from_utf8_lossy(&self.unread)
            );
        };
        let head = self.unread.drain(..end).collect::<Vec<_>>();
        let mut answer = Answer::parse(&head);
        let length = answer
            .header("content-length")
            .and_then(|l| l.parse().ok())
            .unwrap_or(0);
        while self.unread.len() < length {
            assert!(self.more().await, "ended inside a body");
        }
        answer.body = self.unread.drain(..length).collect();
        answer
    }

    /// Everything until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.unread)
    }

    /// The next frame; `None` at the end.
    pub async fn frame(&mut self) -> Option<(Opcode, Vec<u8>)> {
        loop {
            if let Some(header) = Header::parse(&self.unread).expect("a sound frame") {
                let end = header.len + usize::try_from(header.payload).unwrap();
                if self.unread.len() >= end {
                    assert_eq!(header.mask, None, "servers do not mask");
                    let payload = self.unread[header.len..end].to_vec();
                    self.unread.drain(..end);
                    return Some((header.opcode, payload));
                }
            }
            if !self.more().await {
                assert!(self.unread.is_empty(), "ended inside a frame");
                return None;
            }
        }
    }

    /// The next text frame; pings before it are not answered.
    pub async fn json(&mut self) -> Value {
        loop {
            match self.frame().await {
                Some((Opcode::Text, payload)) => return serde_json::from_slice(&payload).unwrap(),
                Some((Opcode::Ping | Opcode::Pong, _)) => {}
                other => panic!("no text frame but {other:?}"),
            }
        }
    }

    /// The code the connection is closed with, after which its bytes end cleanly. What comes before is dropped.
    pub async fn close_code(&mut self) -> u16 {
        while let Some((opcode, payload)) = self.frame().await {
            if opcode == Opcode::Close {
                assert_eq!(self.frame().await, None, "nothing follows a close frame");
                return payload
                    .get(..2)
                    .map_or(1005, |c| u16::from_be_bytes([c[0], c[1]]));
            }
        }
        panic!("ended without a close frame");
    }
}
