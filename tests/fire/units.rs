//! What passes on a connection in one direction, cut where it can be cut: HTTP messages, the chunks of a body that
//! goes on, and after an upgrade WebSocket frames.

use countersign_protocol::codec::Header;

/// Something whole.
pub(crate) struct Unit {
    /// As it is on the wire.
    pub(crate) wire: Vec<u8>,
    /// What it says: without framing and mask.
    pub(crate) says: Vec<u8>,
    /// A request that can be made again by itself.
    pub(crate) is_request: bool,
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
        let wire: Vec<u8> = self.unread.drain(..end + length).collect();
        Some(Unit {
            says: wire.clone(),
            wire,
            is_request: self.from_client && !upgrades && !chunked,
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
        Some(self.taken(end + 2, says))
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
        Some(self.taken(end, says))
    }

    fn taken(&mut self, end: usize, says: Vec<u8>) -> Unit {
        Unit {
            wire: self.unread.drain(..end).collect(),
            says,
            is_request: false,
        }
    }
}
