//! The connections' own state, and what a handler may do with them.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::os::fd::{BorrowedFd, OwnedFd};

use countersign_protocol::codec::{Opcode, write_frame};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::socket::{Acks, Mode, acknowledge, open_narrow, outcome};
use super::stream::Stream;
use super::traffic::Traffic;
use super::upgrade::{Framing, Identity, Opening, Upgrade};
use crate::clock::{self, Nanos};
use crate::error::{Error, Result};
use crate::history::tap::Tap;
use crate::target::Target;

/// Most bytes waiting to be written on one connection; a send beyond it is not taken.
pub(super) const OUT_BYTES_MAX: usize = 1024 * 1024;
/// Receive buffer of a connection that will stop reading, bytes; the kernel doubles it. Small, so that it
/// is soon the server that has to keep what is not read.
const NARROW_BYTES: usize = 4096;

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
    /// TCP alone, for [`Phase::Http`].
    Dialing,
    /// Requests and answers.
    Http,
    Open,
    /// We sent a close frame.
    Closing,
}

/// One connection. Small: buffers are empty unless something is half-way.
pub(super) struct Socket {
    fd: OwnedFd,
    pub(super) phase: Phase,
    /// When the connect of a session that was accepted began.
    session: Option<Nanos>,
    /// The start of a frame whose rest has not arrived.
    pub(super) partial: Vec<u8>,
    /// Not written yet.
    pub(super) out: Vec<u8>,
    /// Fragments of a message whose end has not arrived.
    pub(super) fragments: Option<Vec<u8>>,
    /// How far the stream of [`Framing::Stream`] is taken out of its frames.
    pub(super) stream: Option<Stream>,
    dirty: bool,
    wants_out: bool,
    paused: bool,
}

impl Socket {
    /// Asks to be told of what this socket waits for.
    fn watch(&self, poll: &OwnedFd, member: usize) -> rustix::io::Result<()> {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, !self.paused);
        flags.set(epoll::EventFlags::OUT, self.wants_out);
        epoll::modify(poll, &self.fd, epoll::EventData::new_u64(member as u64), flags)
    }
}

/// The connections, as handlers see them.
pub struct Io {
    poll: OwnedFd,
    sockets: Vec<Option<Socket>>,
    dirty: Vec<usize>,
    live: usize,
    acks: Acks,
    rng: SmallRng,
    narrow: HashSet<usize>,
    /// Frames received, of any kind.
    pub frames: u64,
    /// Bytes of frames received, headers included.
    pub bytes: u64,
    /// What else is counted.
    pub traffic: Traffic,
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
            narrow: HashSet::new(),
            frames: 0,
            bytes: 0,
            traffic: Traffic::new()?,
            tap: None,
        })
    }

    /// Begins a connection to a gateway; see [`Io::open`].
    pub fn connect(
        &mut self,
        member: usize,
        target: &Target,
        path: &str,
        source: Option<Ipv4Addr>,
        identity: &Identity,
    ) -> Result<()> {
        self.open(member, target, source, &Opening::countersign(path, identity))
    }

    /// Begins a connection that handlers will know as `member`; a number is used for one at a time.
    pub fn open(
        &mut self,
        member: usize,
        target: &Target,
        source: Option<Ipv4Addr>,
        opening: &Opening<'_>,
    ) -> Result<()> {
        let upgrade = Upgrade::new(target, opening, self.rng.random());
        let stream = (opening.framing == Framing::Stream).then(Stream::default);
        self.begin(
            member,
            target,
            source,
            Phase::Connecting(Box::new(upgrade)),
            stream,
        )
    }

    pub(super) fn begin(
        &mut self,
        member: usize,
        target: &Target,
        source: Option<Ipv4Addr>,
        phase: Phase,
        stream: Option<Stream>,
    ) -> Result<()> {
        let buffer = self.narrow.contains(&member).then_some(NARROW_BYTES);
        let fd = open_narrow(target.addr, source, Mode::NonBlocking, buffer).map_err(|e| Error::Connect {
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
            phase,
            session: None,
            partial: Vec::new(),
            out: Vec::new(),
            fragments: None,
            stream,
            dirty: false,
            wants_out: true,
            paused: false,
        });
        self.live += 1;
        self.traffic.live_max = self.traffic.live_max.max(self.live);
        Ok(())
    }

    /// `member` will have a small receive buffer; to be said before it connects.
    pub fn narrow(&mut self, member: usize) {
        self.narrow.insert(member);
    }

    /// Reads nothing more from `member`, or begins to read again. That it was reset is noticed all the same.
    pub fn pause(&mut self, member: usize, paused: bool) -> Result<()> {
        let Some(socket) = self.sockets.get_mut(member).and_then(Option::as_mut) else {
            return Ok(());
        };
        socket.paused = paused;
        socket.watch(&self.poll, member).map_err(Error::os("epoll_ctl"))
    }

    /// Queues a message: text, or binary where the connection carries a stream. False: the connection is
    /// not open, or too much waits on it already.
    pub fn send(&mut self, member: usize, payload: &[u8]) -> bool {
        let opcode = match self.socket(member) {
            Some(s) if matches!(s.phase, Phase::Open) && s.out.len() + payload.len() <= OUT_BYTES_MAX => {
                if s.stream.is_some() {
                    Opcode::Binary
                } else {
                    Opcode::Text
                }
            }
            _ => return false,
        };
        if let Some(tap) = &mut self.tap {
            tap.sent(member, payload);
        }
        self.queue(member, opcode, payload);
        self.traffic.messages_sent += 1;
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

    /// Drops a connection without a close frame, as a program that is killed does. Nothing is told of its
    /// end.
    pub fn cut(&mut self, member: usize) {
        self.remove(member);
    }

    /// Connections that exist, open or on their way.
    pub fn live(&self) -> usize {
        self.live
    }

    /// When the connects of the sessions that go on began.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = Nanos> + '_ {
        self.sockets.iter().flatten().filter_map(|socket| socket.session)
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
        if let Some(socket) = self.sockets.get_mut(member).and_then(Option::take) {
            self.live -= 1;
            if let Some(began) = socket.session {
                self.traffic.sessions.record(clock::now().saturating_sub(began));
            }
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
        matches!(self.phase(member), Some(Phase::Connecting(_) | Phase::Dialing))
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
            Phase::Dialing => socket.phase = Phase::Http,
            other => socket.phase = other,
        }
        self.mark_dirty(member);
        Ok(())
    }

    /// The upgrade was accepted by bytes read at `at`.
    pub(super) fn opened(&mut self, member: usize, at: Nanos) {
        if let Some(socket) = self.sockets.get_mut(member).and_then(Option::as_mut) {
            if let Phase::Upgrading(upgrade) = std::mem::replace(&mut socket.phase, Phase::Open) {
                let span = at.saturating_sub(upgrade.began);
                self.traffic.connecting.record(span);
                socket.session = Some(upgrade.began);
            }
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
        self.traffic.bytes_sent += written as u64;
        let wants_out = !socket.out.is_empty();
        if wants_out != socket.wants_out {
            socket.wants_out = wants_out;
            socket
                .watch(&self.poll, member)
                .map_err(|e| Ended::Lost(e.to_string()))?;
        }
        Ok(())
    }

    pub(super) fn queue(&mut self, member: usize, opcode: Opcode, payload: &[u8]) {
        let mask: [u8; 4] = self.rng.random();
        if let Some(socket) = self.socket(member) {
            write_frame(&mut socket.out, opcode, Some(mask), payload);
            self.mark_dirty(member);
        }
    }

    pub(super) fn socket(&mut self, member: usize) -> Option<&mut Socket> {
        self.sockets.get_mut(member)?.as_mut()
    }
}
