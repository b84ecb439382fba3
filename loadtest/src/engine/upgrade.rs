//! The HTTP upgrade, written and read by hand.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_protocol::SUBPROTOCOL;
use countersign_protocol::http::DEVICE_HEADER;
use sha1::{Digest, Sha1};

use crate::clock::{self, Nanos};
use crate::target::Target;

/// Longest answer to an upgrade that is read, bytes of head and body.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Who a connection says it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Identity {
    /// `Countersign-Device`.
    pub device: Option<String>,
    /// Access token for `Authorization: Bearer`; none: anonymous.
    pub token: Option<String>,
}

/// How messages are framed on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One message is one text message of WebSocket.
    Text,
    /// Binary frames carry a stream of bytes and end anywhere in it.
    Stream,
}

/// What a connection asks for when it opens.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// Path of the upgrade.
    pub path: &'a str,
    pub identity: &'a Identity,
    /// `Sec-WebSocket-Protocol`; none: not offered.
    pub subprotocol: Option<&'static str>,
    pub framing: Framing,
}

impl<'a> Opening<'a> {
    /// As a gateway is spoken to.
    pub fn countersign(path: &'a str, identity: &'a Identity) -> Opening<'a> {
        Opening {
            path,
            identity,
            subprotocol: Some(SUBPROTOCOL),
            framing: Framing::Text,
        }
    }
}

/// An upgrade under way.
#[derive(Debug)]
pub struct Upgrade {
    /// What is sent.
    pub request: Vec<u8>,
    /// When it began: now, before the TCP connection.
    pub began: Nanos,
    accept: String,
    subprotocol: Option<&'static str>,
}

/// The answer to an upgrade.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// More bytes are needed.
    Unfinished,
    /// 101 and rightly so; frames begin this many bytes in.
    Upgraded(usize),
    /// Another status: refused. `after_s` is `Retry-After`, seconds.
    Refused {
        status: u16,
        after_s: Option<u64>,
        detail: String,
    },
    /// Not an answer to this upgrade.
    Broken(&'static str),
}

impl Upgrade {
    /// An upgrade at the target, with the 16 random bytes of `key`.
    pub fn new(target: &Target, opening: &Opening<'_>, key: [u8; 16]) -> Upgrade {
        let key = STANDARD.encode(key);
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            opening.path, target.authority
        );
        if let Some(subprotocol) = opening.subprotocol {
            request.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
        }
        if let Some(device) = &opening.identity.device {
            request.push_str(&format!("{DEVICE_HEADER}: {device}\r\n"));
        }
        if let Some(token) = &opening.identity.token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        Upgrade {
            request: request.into_bytes(),
            began: clock::now(),
            accept: accept(&key),
            subprotocol: opening.subprotocol,
        }
    }

    /// Reads what has arrived so far.
    pub fn answer(&self, bytes: &[u8]) -> Answer {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return if bytes.len() > ANSWER_BYTES_MAX {
                Answer::Broken("the answer's head does not end")
            } else {
                Answer::Unfinished
            };
        };
        let Ok(head) = std::str::from_utf8(&bytes[..end]) else {
            return Answer::Broken("the answer is not text");
        };
        let status = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse::<u16>().ok());
        let Some(status) = status else {
            return Answer::Broken("the answer is not HTTP/1.1");
        };
        if status != 101 {
            let detail = String::from_utf8_lossy(&bytes[end + 4..]);
            return Answer::Refused {
                status,
                after_s: header(head, "retry-after").and_then(|v| v.parse().ok()),
                detail: detail.chars().take(200).collect(),
            };
        }
        if header(head, "sec-websocket-accept") != Some(self.accept.as_str()) {
            return Answer::Broken("Sec-WebSocket-Accept does not match the key");
        }
        if !header(head, "upgrade").is_some_and(|v| v.eq_ignore_ascii_case("websocket")) {
            return Answer::Broken("101 without Upgrade: websocket");
        }
        if header(head, "sec-websocket-protocol").is_some_and(|v| Some(v) != self.subprotocol) {
            return Answer::Broken("another sub-protocol was chosen");
        }
        if header(head, "sec-websocket-extensions").is_some() {
            return Answer::Broken("an extension was chosen that was not offered");
        }
        Answer::Upgraded(end + 4)
    }
}

/// The accept value that answers `key`.
pub fn accept(key: &str) -> String {
    let mut hash = Sha1::new();
    hash.update(key.as_bytes());
    hash.update(GUID);
    STANDARD.encode(hash.finalize())
}

/// The value of a header, trimmed; names are compared without case.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Remote;

    fn upgrade() -> Upgrade {
        let target = Target::parse("ws://127.0.0.1:8080", Remote::Refused).unwrap();
        let identity = Identity {
            device: Some("d1".to_owned()),
            token: Some("t1".to_owned()),
        };
        Upgrade::new(
            &target,
            &Opening::countersign(&target.path, &identity),
            *b"the sample nonce",
        )
    }

    #[test]
    fn accept_is_that_of_rfc_6455() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let request = String::from_utf8(upgrade().request).unwrap();
        assert!(request.contains("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"));
        assert_eq!(header(&request, "Countersign-Device"), Some("d1"));
        assert_eq!(header(&request, "Authorization"), Some("Bearer t1"));
    }

    #[test]
    fn only_what_was_offered_may_be_chosen() {
        let target = Target::parse("ws://127.0.0.1:8080", Remote::Refused).unwrap();
        let identity = Identity::default();
        let mut opening = Opening::countersign("/r", &identity);
        let answer = |opening: &Opening<'_>| {
            let upgrade = Upgrade::new(&target, opening, *b"the sample nonce");
            let request = String::from_utf8(upgrade.request.clone()).unwrap();
            assert!(request.starts_with("GET /r HTTP/1.1\r\n") && request.ends_with("\r\n\r\n"));
            let offered = header(&request, "sec-websocket-protocol").map(str::to_owned);
            let chosen = format!(
                "HTTP/1.1 101 X\r\nupgrade: websocket\r\nsec-websocket-accept: {}\r\n\
                 sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n",
                accept("dGhlIHNhbXBsZSBub25jZQ==")
            );
            (offered, upgrade.answer(chosen.as_bytes()))
        };
        let (offered, chosen) = answer(&opening);
        assert!(offered.as_deref() == Some(SUBPROTOCOL) && matches!(chosen, Answer::Upgraded(_)));
        opening.subprotocol = None;
        let (offered, chosen) = answer(&opening);
        assert!(offered.is_none() && matches!(chosen, Answer::Broken(_)));
    }

    #[test]
    fn answers_are_told_apart() {
        let upgrade = upgrade();
        let good = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
                    sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        assert_eq!(
            upgrade.answer(format!("{good}\u{1}").as_bytes()),
            Answer::Upgraded(good.len())
        );
        for cut in 0..good.len() {
            assert_eq!(upgrade.answer(&good.as_bytes()[..cut]), Answer::Unfinished);
        }
        assert!(matches!(
            upgrade.answer(good.replace("s3p", "S3p").as_bytes()),
            Answer::Broken(_)
        ));
        assert_eq!(
            upgrade.answer(b"HTTP/1.1 503 Busy\r\nRetry-After: 2\r\n\r\nfull"),
            Answer::Refused {
                status: 503,
                after_s: Some(2),
                detail: "full".to_owned()
            }
        );
        assert!(matches!(
            upgrade.answer(&vec![b'x'; ANSWER_BYTES_MAX + 1]),
            Answer::Broken(_)
        ));
    }
}
