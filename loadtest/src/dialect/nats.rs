//! The client protocol of NATS, as far as a member of a room needs it: lines, of which `MSG` has a payload
//! behind it. Over WebSocket it is one stream in binary frames.

use super::Ready;
use crate::engine::FRAME_BYTES_MAX;
use crate::wire::scan::number;
use crate::wire::stamp::BODY_BYTES_MIN;

/// What a server's `PING` is answered with.
pub const PONG: &[u8] = b"PONG\r\n";
/// The one subscription of a connection.
const SUBSCRIPTION: &str = "1";
/// Longest line that is read, bytes; `INFO` of a cluster is the longest there is.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// What stands next in the stream; `used` is its length, line ends included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Not whole yet.
    More,
    /// A message of our room, its payload at this range.
    Message {
        from: usize,
        to: usize,
        used: usize,
    },
    /// A message of another subject or subscription.
    Stray {
        used: usize,
    },
    /// `INFO`, the server's first line.
    Info {
        used: usize,
    },
    Ping {
        used: usize,
    },
    Pong {
        used: usize,
    },
    /// `+OK`.
    Ok {
        used: usize,
    },
    /// `-ERR`, with what the server says.
    Error {
        what: String,
        used: usize,
    },
    /// Nothing a server sends.
    Broken,
}

/// What a connection says when it has been greeted: who it is, that it listens to `room`, and a `PING`,
/// whose `PONG` tells that the subscription is in force.
pub fn subscribe(room: &str) -> Vec<u8> {
    format!(
        "CONNECT {{\"verbose\":false,\"pedantic\":false,\"echo\":true,\"lang\":\"rust\",\"version\":\"{}\",\
         \"protocol\":1}}\r\nSUB {room} {SUBSCRIPTION}\r\nPING\r\n",
        env!("CARGO_PKG_VERSION")
    )
    .into_bytes()
}

/// The `PUB` of a message into `room`.
pub fn publish(room: &str, body_bytes: usize) -> Ready {
    let bytes = body_bytes.max(BODY_BYTES_MIN);
    Ready::around(format!("PUB {room} {bytes}\r\n").as_bytes(), bytes, b"\r\n")
}

/// How each message of `room` begins: compared first, and all that is read of most messages but the length.
pub fn arriving(room: &str) -> Vec<u8> {
    format!("MSG {room} {SUBSCRIPTION} ").into_bytes()
}

/// Reads what stands at the start of `bytes`; `arriving` is that of the connection's room.
pub fn next(bytes: &[u8], arriving: &[u8]) -> Next {
    if let Some(rest) = bytes.strip_prefix(arriving) {
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        match rest.get(digits..digits + 2) {
            Some(b"\r\n") => {
                return match payload(bytes, arriving.len() + digits + 2, number(rest)) {
                    Payload::Whole { from, to } => Next::Message {
                        from,
                        to,
                        used: to + 2,
                    },
                    Payload::Unfinished => Next::More,
                    Payload::Broken => Next::Broken,
                };
            }
            None => return Next::More,
            // With a reply subject, for one: read the slow way.
            Some(_) => {}
        }
    }
    line(bytes)
}

enum Payload {
    Whole { from: usize, to: usize },
    Unfinished,
    Broken,
}

/// The payload that begins at `from` and is `length` long, with the line end behind it.
fn payload(bytes: &[u8], from: usize, length: Option<u64>) -> Payload {
    let length = length.and_then(|n| usize::try_from(n).ok());
    let Some(length) = length.filter(|n| *n <= FRAME_BYTES_MAX / 2) else {
        return Payload::Broken;
    };
    let to = from + length;
    match bytes.get(to..to + 2) {
        None => Payload::Unfinished,
        Some(b"\r\n") => Payload::Whole { from, to },
        Some(_) => Payload::Broken,
    }
}

/// Anything but the usual message.
fn line(bytes: &[u8]) -> Next {
    let Some(end) = bytes.windows(2).take(LINE_BYTES_MAX).position(|w| w == b"\r\n") else {
        return if bytes.len() > LINE_BYTES_MAX {
            Next::Broken
        } else {
            Next::More
        };
    };
    let used = end + 2;
    let Ok(text) = std::str::from_utf8(&bytes[..end]) else {
        return Next::Broken;
    };
    let (verb, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    match verb {
        "MSG" => {
            let length = rest.split_ascii_whitespace().next_back();
            match payload(bytes, used, length.and_then(|n| n.parse().ok())) {
                Payload::Whole { to, .. } => Next::Stray { used: to + 2 },
                Payload::Unfinished => Next::More,
                Payload::Broken => Next::Broken,
            }
        }
        "INFO" => Next::Info { used },
        "PING" => Next::Ping { used },
        "PONG" => Next::Pong { used },
        "+OK" => Next::Ok { used },
        "-ERR" => Next::Error {
            what: rest.trim_matches('\'').chars().take(200).collect(),
            used,
        },
        _ => Next::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What nats-server 2.9.10 sends to a member of two messages, one of them of another subject.
    const RECORDED: &str = "INFO {\"server_id\":\"ND\",\"version\":\"2.9.10\",\"max_payload\":1048576,\"client_id\":9} \r\n\
        PONG\r\nMSG d:r 1 5\r\nhello\r\nPING\r\nMSG d:other 2 3\r\na\r\n\r\n+OK\r\n\
        MSG d:r 1 d:reply 2\r\nhi\r\n-ERR 'Unknown Protocol Operation'\r\nMSG d:r 1 0\r\n\r\n";

    fn read(mut bytes: &[u8]) -> (Vec<String>, usize) {
        let arriving = arriving("d:r");
        let mut seen = Vec::new();
        loop {
            let (name, used) = match next(bytes, &arriving) {
                Next::More => return (seen, bytes.len()),
                Next::Message { from, to, used } => {
                    (String::from_utf8(bytes[from..to].to_vec()).unwrap(), used)
                }
                Next::Stray { used } => ("stray".to_owned(), used),
                Next::Info { used } => ("info".to_owned(), used),
                Next::Ping { used } => ("ping".to_owned(), used),
                Next::Pong { used } => ("pong".to_owned(), used),
                Next::Ok { used } => ("ok".to_owned(), used),
                Next::Error { what, used } => (what, used),
                Next::Broken => panic!("{seen:?}"),
            };
            seen.push(name);
            bytes = &bytes[used..];
        }
    }

    #[test]
    fn a_stream_is_read_whatever_its_pieces() {
        let all = [
            "info",
            "pong",
            "hello",
            "ping",
            "stray",
            "ok",
            "stray",
            "Unknown Protocol Operation",
            "",
        ];
        let whole = RECORDED.as_bytes();
        assert_eq!(read(whole), (all.map(str::to_owned).to_vec(), 0));
        for cut in 0..whole.len() {
            let (seen, left) = read(&whole[..cut]);
            assert_eq!(seen, all[..seen.len()], "{cut}");
            let (rest, end) = read(&whole[cut - left..]);
            assert_eq!(
                (&rest[..], end),
                (&all.map(str::to_owned)[seen.len()..], 0),
                "{cut}"
            );
        }
    }

    #[test]
    fn what_no_server_sends_is_told() {
        let arriving = arriving("d:r");
        for bad in [
            "HELLO\r\n",
            "MSG d:r 1 5\r\nhelloX\r",
            "MSG d:r 1 99999999\r\n",
            "MSG d:r 1 \r\n",
            "MSG d:r 1 5x\r\nhello\r\n",
            "\r\n",
        ] {
            assert_eq!(next(bad.as_bytes(), &arriving), Next::Broken, "{bad}");
        }
        assert_eq!(next(&[b'x'; LINE_BYTES_MAX + 1], &arriving), Next::Broken);
        assert_eq!(next(&[0xff, b'\r', b'\n'], &arriving), Next::Broken);
    }

    #[test]
    fn lines_have_the_lengths_they_tell() {
        let mut ready = publish("d:r", 128);
        let stamp = crate::wire::stamp::Stamp {
            run: 1,
            number: 2,
            intended_at: 3,
        };
        let text = String::from_utf8(ready.with(&stamp).to_vec()).unwrap();
        let body = text
            .strip_prefix("PUB d:r 128\r\n")
            .unwrap()
            .strip_suffix("\r\n")
            .unwrap();
        assert_eq!(body.len(), 128);
        let greeting = String::from_utf8(subscribe("d:r")).unwrap();
        let lines: Vec<&str> = greeting.split("\r\n").collect();
        let options = lines[0].strip_prefix("CONNECT ").unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(options).unwrap()["echo"] == true);
        assert_eq!(lines[1..], ["SUB d:r 1", "PING", ""]);
    }
}
