//! One thread, one epoll, many raw-frame WebSocket clients.
//!
//! Frame headers are walked in one read buffer shared by all connections, so an idle connection costs the
//! tester little and a delivery costs it less than the server it measures. What happens on connections
//! goes to a [`Handler`]; what a handler wants goes through [`Io`].

mod connection;
pub mod http;
mod inbound;
pub mod socket;
mod stream;
pub mod traffic;
pub mod upgrade;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use self::connection::Phase;
pub use self::connection::{Ended, Io};
use self::inbound::Walk;
use self::socket::Acks;
use self::upgrade::Answer;
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::error::{Error, Result};

/// Largest frame accepted from a server, bytes.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// The shared read buffer, bytes.
const BUFFER_BYTES: usize = 2 * FRAME_BYTES_MAX;
/// Events taken at once. Few, so that sends that fall due meanwhile do not wait for long.
const EVENTS_MAX: usize = 64;
/// Reads from one connection before the others have their turn.
const READS_MAX: usize = 4;
/// Longest wait for the server's side of a close.
const CLOSE_WAIT: Nanos = 2 * SECOND;

/// Takes what happens. Connections are named by the number given to [`Io::connect`].
pub trait Handler {
    /// The upgrade was accepted.
    fn opened(&mut self, io: &mut Io, member: usize);
    /// A text message arrived; `at` is when its bytes were read.
    fn text(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos);
    /// More of the stream of a connection opened with [`upgrade::Framing::Stream`] arrived. Returns how much
    /// of it was used; the rest comes again with what follows. By default it is of no interest.
    fn stream(&mut self, io: &mut Io, member: usize, bytes: &[u8], at: Nanos) -> usize {
        let _ = (io, member, at);
        bytes.len()
    }
    /// An answer arrived on a connection opened with [`Io::dial`]. By default it is of no interest.
    fn answered(&mut self, io: &mut Io, member: usize, response: &http::Response<'_>, at: Nanos) {
        let _ = (io, member, response, at);
    }
    /// The connection is no more, or never came to be.
    fn ended(&mut self, io: &mut Io, member: usize, how: Ended);
}

/// The event loop and its connections.
pub struct Engine {
    /// What handlers act through.
    pub io: Io,
    buffer: Vec<u8>,
    events: Vec<epoll::Event>,
    turns: Arc<AtomicU64>,
}

impl Engine {
    /// An engine without connections.
    pub fn new(acks: Acks) -> Result<Engine> {
        Ok(Engine {
            io: Io::new(acks)?,
            buffer: vec![0; BUFFER_BYTES],
            events: Vec::with_capacity(EVENTS_MAX),
            turns: Arc::default(),
        })
    }

    /// How often [`Engine::turn`] was called: what another thread sees growing while this one is alive.
    pub fn turns(&self) -> Arc<AtomicU64> {
        self.turns.clone()
    }

    /// Writes what is due, waits at most `wait` for something to happen and handles it. Returns how many
    /// connections something happened on.
    pub fn turn<H: Handler>(&mut self, handler: &mut H, wait: Nanos) -> Result<usize> {
        self.turns.fetch_add(1, Ordering::Relaxed);
        self.flush(handler);
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let room = rustix::buffer::spare_capacity(&mut events);
        match epoll::wait(self.io.poll(), room, Some(&clock::timespec(wait))) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(Error::os("epoll_wait")(e)),
        }
        let count = events.len();
        for event in &events {
            let member = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
            self.dispatch(handler, member, event.flags);
        }
        self.events = events;
        self.flush(handler);
        Ok(count)
    }

    /// Closes every connection with 1000 and waits, within bounds, until the server has done so too.
    pub fn close_all(&mut self) -> Result<()> {
        struct Ignore;
        impl Handler for Ignore {
            fn opened(&mut self, io: &mut Io, member: usize) {
                io.close(member);
            }
            fn text(&mut self, _: &mut Io, _: usize, _: &[u8], _: Nanos) {}
            fn ended(&mut self, _: &mut Io, _: usize, _: Ended) {}
        }
        self.io.close_all();
        let until = clock::now() + CLOSE_WAIT;
        while self.io.live() > 0 && clock::now() < until {
            self.turn(&mut Ignore, 10 * MILLI)?;
        }
        self.io.drop_all();
        Ok(())
    }

    fn flush<H: Handler>(&mut self, handler: &mut H) {
        while let Some(member) = self.io.next_dirty() {
            if let Err(how) = self.io.write(member) {
                self.end(handler, member, how);
            }
        }
    }

    fn dispatch<H: Handler>(&mut self, handler: &mut H, member: usize, flags: epoll::EventFlags) {
        if self.io.is_connecting(member) {
            match self.io.connected(member) {
                Ok(()) if self.io.is_http(member) => {
                    if let Some(tap) = &mut self.io.tap {
                        tap.opened(member);
                    }
                    handler.opened(&mut self.io, member);
                }
                Ok(()) => {}
                Err(how) => self.end(handler, member, how),
            }
            return;
        }
        if flags.contains(epoll::EventFlags::OUT) {
            self.io.mark_dirty(member);
        }
        if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR)
            && let Err(how) = self.read(handler, member)
        {
            self.end(handler, member, how);
        }
    }

    fn end<H: Handler>(&mut self, handler: &mut H, member: usize, how: Ended) {
        self.io.remove(member);
        if let Some(tap) = &mut self.io.tap {
            tap.ended(member, &how);
        }
        handler.ended(&mut self.io, member, how);
    }

    /// Reads and handles what has arrived on one connection.
    fn read<H: Handler>(&mut self, handler: &mut H, member: usize) -> Result<(), Ended> {
        let Engine { io, buffer, .. } = self;
        let mut filled = io.take_partial(member, buffer);
        for _ in 0..READS_MAX {
            let Some(fd) = io.descriptor(member) else {
                return Ok(());
            };
            let n = match recv(fd, &mut buffer[filled..], RecvFlags::empty()) {
                Ok((0, _)) => return Err(Ended::Lost("end of stream".to_owned())),
                Ok((n, _)) => n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Ended::Lost(e.to_string())),
            };
            let at = clock::now();
            filled += n;
            io.traffic.bytes_received += n as u64;
            let full = filled == buffer.len();
            let used = if io.stream(member).is_some() {
                stream::walk(io, handler, member, &mut buffer[..filled], at)?
            } else if io.is_http(member) {
                http::walk(io, handler, member, &buffer[..filled], at)?
            } else {
                walk(io, handler, member, &mut buffer[..filled], at)?
            };
            if used == filled {
                filled = 0;
            } else {
                buffer.copy_within(used..filled, 0);
                filled -= used;
            }
            if !full {
                break;
            }
        }
        io.keep_partial(member, &buffer[..filled]);
        Ok(())
    }
}

/// A text message, to the tap and to the handler.
fn hear<H: Handler>(io: &mut Io, handler: &mut H, member: usize, payload: &[u8], at: Nanos) {
    if let Some(tap) = &mut io.tap {
        tap.received(member, payload, at);
    }
    handler.text(io, member, payload, at);
}

/// Handles all that is whole in `bytes`; returns how much that was.
fn walk<H: Handler>(
    io: &mut Io,
    handler: &mut H,
    member: usize,
    bytes: &mut [u8],
    at: Nanos,
) -> Result<usize, Ended> {
    let mut used = 0;
    loop {
        // The common case by far, and the loop that bounds how fast a server can be measured.
        while let Some((from, to)) = io.plain_text(member, &bytes[used..]) {
            hear(io, handler, member, &bytes[used + from..used + to], at);
            used += to;
        }
        match io.phase(member) {
            Some(Phase::Open | Phase::Closing) => {}
            Some(Phase::Upgrading(upgrade)) => match upgrade.answer(&bytes[used..]) {
                Answer::Unfinished => return Ok(used),
                Answer::Upgraded(n) => {
                    used += n;
                    io.opened(member, at);
                    if let Some(tap) = &mut io.tap {
                        tap.opened(member);
                    }
                    handler.opened(io, member);
                    if io.stream(member).is_some() {
                        return Ok(used + stream::walk(io, handler, member, &mut bytes[used..], at)?);
                    }
                }
                Answer::Refused {
                    status,
                    after_s,
                    detail,
                } => {
                    return Err(Ended::Refused {
                        status,
                        after_s,
                        detail,
                    });
                }
                Answer::Broken(why) => return Err(Ended::Failed(why.to_owned())),
            },
            // Removed by its handler meanwhile: what remains is nobody's.
            Some(Phase::Connecting(_) | Phase::Dialing | Phase::Http) | None => return Ok(bytes.len()),
        }
        match io.frame(member, &bytes[used..])? {
            Walk::More => return Ok(used),
            Walk::Text { from, to } => {
                hear(io, handler, member, &bytes[used + from..used + to], at);
                used += to;
            }
            Walk::Whole { text, used: n } => {
                hear(io, handler, member, &text, at);
                used += n;
            }
            Walk::Skip(n) => used += n,
        }
    }
}
