//! Many connections that hold the last byte of a request, and let it go together.

use std::net::SocketAddr;

use futures::future::join_all;
use serde_json::Value;

use crate::common::{Answer, Person};
use crate::raw::Raw;

/// A request as bytes, for a connection that goes on.
pub(crate) fn bytes(method: &str, path: &str, headers: &[(&str, &str)], body: Option<&Value>) -> Vec<u8> {
    let body = body.map(Value::to_string).unwrap_or_default();
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        text.push_str("content-type: application/json\r\n");
    }
    text.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
    text.into_bytes()
}

/// A phone's request.
pub(crate) fn phone(person: &Person, path: &str, body: Option<&Value>) -> Vec<u8> {
    let bearer = format!("Bearer {}", person.tokens.access_token);
    let headers = [
        ("authorization", bearer.as_str()),
        ("countersign-device", &person.device),
    ];
    bytes("POST", path, &headers, body)
}

/// A PC's request.
pub(crate) fn pc(method: &str, path: &str, claim: &str, device: &str, body: Option<&Value>) -> Vec<u8> {
    let claim = format!("Claim {claim}");
    let headers = [("authorization", claim.as_str()), ("countersign-device", device)];
    bytes(method, path, &headers, body)
}

/// Connections that stay open from round to round.
pub(crate) struct Lines(Vec<Raw>);

impl Lines {
    pub(crate) async fn open(addr: SocketAddr, count: usize) -> Self {
        Self(join_all((0..count).map(|_| Raw::connect(addr))).await)
    }

    /// One request on its own.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Answer {
        self.0[0].send(request).await;
        self.0[0].answer().await
    }

    /// As many requests as connections: all but the last byte of each, and then the last bytes at once.
    pub(crate) async fn at_once(&mut self, requests: &[Vec<u8>]) -> Vec<Answer> {
        assert!(requests.len() <= self.0.len());
        let held = self.0.iter_mut().zip(requests);
        join_all(held.map(|(line, request)| line.send(&request[..request.len() - 1]))).await;
        let last = self.0.iter_mut().zip(requests);
        join_all(last.map(|(line, request)| line.send(&request[request.len() - 1..]))).await;
        let mut answers = Vec::new();
        for line in self.0.iter_mut().take(requests.len()) {
            answers.push(line.answer().await);
        }
        answers
    }
}
