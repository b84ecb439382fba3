//! What arrives: frames out of the bytes of a connection, whose ends need not be those of a read.

use countersign_protocol::codec::{Header, Opcode};

use super::FRAME_BYTES_MAX;
use super::connection::{Ended, Io, Phase};
use super::stream::Stream;

/// What the next frame is.
pub(super) enum Walk {
    /// Not whole yet.
    More,
    /// A text message, payload at this range, frame ending with it.
    Text { from: usize, to: usize },
    /// The end of a fragmented text message.
    Whole { text: Vec<u8>, used: usize },
    /// Handled; this many bytes.
    Skip(usize),
}

impl Io {
    /// Moves a kept start of a frame to the front of `buffer`; returns its length.
    pub(super) fn take_partial(&mut self, member: usize, buffer: &mut [u8]) -> usize {
        let Some(socket) = self.socket(member) else {
            return 0;
        };
        let n = socket.partial.len();
        buffer[..n].copy_from_slice(&socket.partial);
        socket.partial.clear();
        n
    }

    pub(super) fn keep_partial(&mut self, member: usize, rest: &[u8]) {
        if !rest.is_empty()
            && let Some(socket) = self.socket(member)
        {
            socket.partial.extend_from_slice(rest);
        }
    }

    /// The stream of an open connection that carries one.
    pub(super) fn stream(&mut self, member: usize) -> Option<&mut Stream> {
        let socket = self.socket(member)?;
        match socket.phase {
            Phase::Open | Phase::Closing => socket.stream.as_mut(),
            _ => None,
        }
    }

    /// The payload's range when a whole, unfragmented text frame stands at the start of `bytes` and nothing
    /// else has to be considered.
    pub(super) fn plain_text(&mut self, member: usize, bytes: &[u8]) -> Option<(usize, usize)> {
        const FIN_TEXT: u8 = 0x81;
        let (from, len) = match *bytes {
            [FIN_TEXT, 126, a, b, ..] => (4, usize::from(u16::from_be_bytes([a, b]))),
            [FIN_TEXT, len @ 0..126, ..] => (2, usize::from(len)),
            _ => return None,
        };
        let to = from + len;
        let socket = self.socket(member)?;
        let plain = matches!(socket.phase, Phase::Open) && socket.fragments.is_none();
        if !plain || bytes.len() < to {
            return None;
        }
        self.frames += 1;
        self.bytes += to as u64;
        Some((from, to))
    }

    /// Looks at the frame at the start of `bytes`; control frames are answered here.
    pub(super) fn frame(&mut self, member: usize, bytes: &[u8]) -> Result<Walk, Ended> {
        let broken = |why: &str| Ended::Failed(why.to_owned());
        let header = match Header::parse(bytes) {
            Ok(Some(header)) => header,
            Ok(None) => return Ok(Walk::More),
            Err(()) => return Err(broken("a frame header that RFC 6455 does not have")),
        };
        let from = header.len;
        let to = usize::try_from(header.payload)
            .ok()
            .filter(|n| *n <= FRAME_BYTES_MAX)
            .map(|n| from + n)
            .ok_or_else(|| broken("a frame larger than the tester reads"))?;
        if header.mask.is_some() {
            return Err(broken("a masked frame from a server"));
        }
        let Some(payload) = bytes.get(from..to) else {
            return Ok(Walk::More);
        };
        self.frames += 1;
        self.bytes += to as u64;
        let message = header.fin && matches!(header.opcode, Opcode::Text | Opcode::Continuation);
        self.traffic.other_frames += u64::from(!message);
        match header.opcode {
            Opcode::Text | Opcode::Continuation => self.text_frame(member, header, payload),
            Opcode::Binary => Err(broken("a binary frame")),
            Opcode::Ping => {
                self.queue(member, Opcode::Pong, payload);
                Ok(Walk::Skip(to))
            }
            Opcode::Pong => Ok(Walk::Skip(to)),
            Opcode::Close => {
                if !matches!(self.phase(member), Some(Phase::Closing)) {
                    self.queue(member, Opcode::Close, payload.get(..2).unwrap_or(&[]));
                    // Best effort: the connection ends either way.
                    let _ = self.write(member);
                }
                let code = match payload {
                    [a, b, ..] => u16::from_be_bytes([*a, *b]),
                    _ => 1005,
                };
                Err(Ended::Closed { code })
            }
        }
    }

    fn text_frame(&mut self, member: usize, header: Header, payload: &[u8]) -> Result<Walk, Ended> {
        let (from, to) = (header.len, header.len + payload.len());
        let Some(socket) = self.socket(member) else {
            return Ok(Walk::Skip(to));
        };
        let first = header.opcode == Opcode::Text;
        match socket.fragments.take() {
            None if first && header.fin => Ok(Walk::Text { from, to }),
            None if first => {
                socket.fragments = Some(payload.to_vec());
                Ok(Walk::Skip(to))
            }
            Some(mut text) if !first && text.len() + payload.len() <= FRAME_BYTES_MAX => {
                text.extend_from_slice(payload);
                if header.fin {
                    return Ok(Walk::Whole { text, used: to });
                }
                socket.fragments = Some(text);
                Ok(Walk::Skip(to))
            }
            _ => Err(Ended::Failed("fragments out of place or too long".to_owned())),
        }
    }
}
