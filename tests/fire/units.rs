//! What passes on a connection in one direction, cut where it can be cut: HTTP messages, the chunks of a body that
//! goes on, and after an upgrade WebSocket frames.

use countersign_protocol::codec::{Header, Opcode};
use serde_json::Value;

/// Characters of the public name of a code.
const QR_ID_LENGTH: usize = 22;

/// Something whole.
pub(crate) struct Unit {
    /// As it is on the wire.
    pub(crate) wire: Vec<u8>,
    /// What it says: without framing and mask.
    pub(crate) says: Vec<u8>,
    pub(crate) repeat: Repeat,
    /// A ping, a pong or a comment: how many there are is a matter of time.
    pub(crate) is_sign_of_life: bool,
}

/// Whether it can be given to the gateway a second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// It is the gateway's, part of something, or the beginning of something.
    Never,
    /// A request, by itself: on a connection of its own. Its method and the end of its path.
    Request(String),
    /// A command, on the same connection: its type and its id.
    Command(String, u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Messages,
    Chunks,
    Frames,
}

/// Finds the units of one direction.
pub(crate) struct Splitter {
    mode: Mode,
    from_client: bool,
    unread: Vec<u8>,
}

impl Splitter {
    pub(crate) fn new(from_client: bool) -> Self {
        Self {
            mode: Mode::Messages,
            from_client,
            unread: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// The next unit, once all of it is there.
    pub(crate) fn next(&mut self) -> Option<Unit> {
        match self.mode {
            Mode::Messages => self.message(),
            Mode::Chunks => self.chunk(),
            Mode::Frames => self.frame(),
        }
    }

    /// What came last, and is not whole.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unread)
    }

    /// Whether more belongs to the message that was told.
    pub(crate) fn goes_on(&self) -> bool {
        self.mode != Mode::Messages
    }

    fn message(&mut self) -> Option<Unit> {
        let end = self.unread.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.unread[..end]).to_ascii_lowercase();
        let header = |name: &str| {
            head.split("\r\n")
                .filter_map(|line| line.split_once(':'))
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.trim())
        };
        let length = header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
        let upgrades = if self.from_client {
            header("upgrade") == Some("websocket")
        } else {
            head.starts_with("http/1.1 101")
        };
        let chunked = header("transfer-encoding") == Some("chunked");
        if self.unread.len() < end + length {
            return None;
        }
        if upgrades {
            self.mode = Mode::Frames;
        } else if chunked {
            self.mode = Mode::Chunks;
        }
        let repeat = if self.from_client && !upgrades && !chunked {
            Repeat::Request(name_of(&head))
        } else {
            Repeat::Never
        };
        let wire: Vec<u8> = self.unread.drain(..end + length).collect();
        Some(Unit {
            says: wire.clone(),
            wire,
            repeat,
            is_sign_of_life: false,
        })
    }

    fn chunk(&mut self) -> Option<Unit> {
        let line = self.unread.windows(2).position(|w| w == b"\r\n")?;
        let size = std::str::from_utf8(&self.unread[..line]).ok()?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        let (begin, end) = (line + 2, line + 2 + size);
        if self.unread.len() < end + 2 {
            return None;
        }
        let says = self.unread[begin..end].to_vec();
        // A comment may come with an event in one chunk.
        let is_comment = says.starts_with(b":") && !says.windows(5).any(|w| w == b"data:");
        Some(self.taken(end + 2, says, Repeat::Never, is_comment))
    }

    fn frame(&mut self) -> Option<Unit> {
        let header = Header::parse(&self.unread).ok()??;
        let end = header.len + usize::try_from(header.payload).ok()?;
        if self.unread.len() < end {
            return None;
        }
        let mut says = self.unread[header.len..end].to_vec();
        if let Some(mask) = header.mask {
            for (at, byte) in says.iter_mut().enumerate() {
                *byte ^= mask[at % 4];
            }
        }
        let repeat = match header {
            Header {
                opcode: Opcode::Text,
                fin: true,
                mask: Some(_),
                ..
            } => command(&says),
            _ => Repeat::Never,
        };
        let is_sign_of_life = matches!(header.opcode, Opcode::Ping | Opcode::Pong);
        Some(self.taken(end, says, repeat, is_sign_of_life))
    }

    fn taken(&mut self, end: usize, says: Vec<u8>, repeat: Repeat, is_sign_of_life: bool) -> Unit {
        Unit {
            wire: self.unread.drain(..end).collect(),
            says,
            repeat,
            is_sign_of_life,
        }
    }
}

/// Method and last part of the path of a request, without what is another each time.
fn name_of(head: &str) -> String {
    let mut words = head.split(' ');
    let method = words.next().unwrap_or_default().to_ascii_uppercase();
    let path = words.next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let last = if last.len() == QR_ID_LENGTH { "…" } else { last };
    format!("{method} {last}")
}

/// A whole command.
fn command(says: &[u8]) -> Repeat {
    let command: Value = serde_json::from_slice(says).unwrap_or_default();
    match (command["type"].as_str(), command["id"].as_u64()) {
        (Some(kind), Some(id)) => Repeat::Command(kind.to_owned(), id),
        _ => Repeat::Never,
    }
}
