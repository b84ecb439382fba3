//! The connections' own state, and what a handler may do with them.

use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};

use countersign_protocol::codec::{Header, Opcode, write_frame};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::FRAME_BYTES_MAX;
use super::socket::{Acks, Mode, acknowledge, open, outcome};
use super::upgrade::{Identity, Upgrade};
use crate::error::{Error, Result};
use crate::history::tap::Tap;
use crate::target::Target;

/// Most bytes waiting to be written on one connection; a send beyond it is not taken.
const OUT_BYTES_MAX: usize = 1024 * 1024;

/// How a connection came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// The upgrade was answered with another status. `after_s` is `Retry-After`, seconds.
    Refused {
        status: u16,
        after_s: Option<u64>,
        detail: String,
    },
    /// No TCP connection, or no sound WebSocket on it.
    Failed(String),
    /// The server sent a close frame; 1005 when it had no code.
    Closed { code: u16 },
    /// The stream ended without a close frame.
    Lost(String),
}

/// How far a connection has come.
pub(super) enum Phase {
    Connecting(Box<Upgrade>),
    Upgrading(Box<Upgrade>),
    Open,
    /// We sent a close frame.
    Closing,
}

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

/// One connection. Small: buffers are empty unless something is half-way.
struct Socket {
    fd: OwnedFd,
    phase: Phase,
    /// The start of a frame whose rest has not arrived.
    partial: Vec<u8>,
    /// Not written yet.
    out: Vec<u8>,
    /// Fragments of a message whose end has not arrived.
    fragments: Option<Vec<u8>>,
    dirty: bool,
    wants_out: bool,
}

/// The connections, as handlers see them.
pub struct Io {
    poll: OwnedFd,
    sockets: Vec<Option<Socket>>,
    dirty: Vec<usize>,
    live: usize,
    acks: Acks,
    rng: SmallRng,
    /// Frames received, of any kind.
    pub frames: u64,
    /// Bytes of frames received, headers included.
    pub bytes: u64,
    /// Records what passes, when a history is wanted.
    pub tap: Option<Box<Tap>>,
}

impl Io {
    pub(super) fn new(acks: Acks) -> Result<Io> {
        Ok(Io {
            poll: epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::os("epoll_create"))?,
            sockets: Vec::new(),
            dirty: Vec::new(),
            live: 0,
            acks,
            rng: SmallRng::seed_from_u64(rand::random()),
            frames: 0,
            bytes: 0,
            tap: None,
        })
    }

    /// Begins a connection that handlers will know as `member`; a number is used for one at a time.
    pub fn connect(
        &mut self,
        member: usize,
        target: &Target,
        path: &str,
        source: Option<Ipv4Addr>,
        identity: &Identity,
    ) -> Result<()> {
        let upgrade = Upgrade::new(target, path, identity, self.rng.random());
        let fd = open(target.addr, source, Mode::NonBlocking).map_err(|e| Error::Connect {
            member,
            why: e.to_string(),
        })?;
        acknowledge(&fd, self.acks).map_err(Error::os("TCP_QUICKACK"))?;
        epoll::add(
            &self.poll,
            &fd,
            epoll::EventData::new_u64(member as u64),
            epoll::EventFlags::IN | epoll::EventFlags::OUT,
        )
        .map_err(Error::os("epoll_ctl"))?;
        if self.sockets.len() <= member {
            self.sockets.resize_with(member + 1, || None);
        }
        self.sockets[member] = Some(Socket {
            fd,
            phase: Phase::Connecting(Box::new(upgrade)),
            partial: Vec::new(),
            out: Vec::new(),
            fragments: None,
            dirty: false,
            wants_out: true,
        });
        self.live += 1;
        Ok(())
    }

    /// Queues a text message. False: the connection is not open, or too much waits on it already.
    pub fn send(&mut self, member: usize, text: &[u8]) -> bool {
        match self.socket(member) {
            Some(s) if matches!(s.phase, Phase::Open) && s.out.len() + text.len() <= OUT_BYTES_MAX => {}
            _ => return false,
        }
        if let Some(tap) = &mut self.tap {
            tap.sent(member, text);
        }
        self.queue(member, Opcode::Text, text);
        true
    }

    /// Sends a close frame with 1000; the connection ends when the server has answered.
    pub fn close(&mut self, member: usize) {
        match self.socket(member).map(|s| &mut s.phase) {
            Some(phase @ Phase::Open) => {
                *phase = Phase::Closing;
                self.queue(member, Opcode::Close, &1000_u16.to_be_bytes());
            }
            Some(Phase::Closing) | None => {}
            Some(_) => self.remove(member),
        }
    }

    /// Connections that exist, open or on their way.
    pub fn live(&self) -> usize {
        self.live
    }

    pub(super) fn close_all(&mut self) {
        for member in 0..self.sockets.len() {
            self.close(member);
        }
    }

    pub(super) fn drop_all(&mut self) {
        self.sockets.clear();
        self.dirty.clear();
        self.live = 0;
    }

    pub(super) fn remove(&mut self, member: usize) {
        if self.sockets.get_mut(member).and_then(Option::take).is_some() {
            self.live -= 1;
        }
    }

    pub(super) fn poll(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.poll.as_fd()
    }

    pub(super) fn descriptor(&self, member: usize) -> Option<&OwnedFd> {
        self.sockets.get(member)?.as_ref().map(|s| &s.fd)
    }

    pub(super) fn phase(&self, member: usize) -> Option<&Phase> {
        self.sockets.get(member)?.as_ref().map(|s| &s.phase)
    }

    pub(super) fn is_connecting(&self, member: usize) -> bool {
        matches!(self.phase(member), Some(Phase::Connecting(_)))
    }

    /// TCP is there, or will not be: writes the request.
    pub(super) fn connected(&mut self, member: usize) -> Result<(), Ended> {
        let Some(socket) = self.socket(member) else {
            return Ok(());
        };
        outcome(&socket.fd).map_err(|e| Ended::Failed(e.to_string()))?;
        match std::mem::replace(&mut socket.phase, Phase::Open) {
            Phase::Connecting(mut upgrade) => {
                socket.out = std::mem::take(&mut upgrade.request);
                socket.phase = Phase::Upgrading(upgrade);
            }
            other => socket.phase = other,
        }
        self.mark_dirty(member);
        Ok(())
    }

    pub(super) fn opened(&mut self, member: usize) {
        if let Some(socket) = self.socket(member) {
            socket.phase = Phase::Open;
            // The request is not needed again.
            socket.out = Vec::new();
        }
    }

    pub(super) fn mark_dirty(&mut self, member: usize) {
        if let Some(socket) = self.socket(member)
            && !socket.dirty
        {
            socket.dirty = true;
            self.dirty.push(member);
        }
    }

    pub(super) fn next_dirty(&mut self) -> Option<usize> {
        let member = self.dirty.pop()?;
        if let Some(socket) = self.socket(member) {
            socket.dirty = false;
        }
        Some(member)
    }

    /// Writes what fits; asks to be told of room when not all did.
    pub(super) fn write(&mut self, member: usize) -> Result<(), Ended> {
        let Some(socket) = self.sockets.get_mut(member).and_then(Option::as_mut) else {
            return Ok(());
        };
        let mut written = 0;
        while written < socket.out.len() {
            match send(&socket.fd, &socket.out[written..], SendFlags::NOSIGNAL) {
                Ok(n) => written += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(e) => return Err(Ended::Lost(e.to_string())),
            }
        }
        socket.out.drain(..written);
        let wants_out = !socket.out.is_empty();
        if wants_out != socket.wants_out {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, wants_out);
            let data = epoll::EventData::new_u64(member as u64);
            epoll::modify(&self.poll, &socket.fd, data, flags).map_err(|e| Ended::Lost(e.to_string()))?;
            socket.wants_out = wants_out;
        }
        Ok(())
    }

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
        let socket = self.sockets.get(member)?.as_ref()?;
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

    fn queue(&mut self, member: usize, opcode: Opcode, payload: &[u8]) {
        let mask: [u8; 4] = self.rng.random();
        if let Some(socket) = self.socket(member) {
            write_frame(&mut socket.out, opcode, Some(mask), payload);
            self.mark_dirty(member);
        }
    }

    fn socket(&mut self, member: usize) -> Option<&mut Socket> {
        self.sockets.get_mut(member)?.as_mut()
    }
}
