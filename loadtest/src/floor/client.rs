//! One connection of the floor.

use std::os::fd::OwnedFd;

use countersign_protocol::SUBPROTOCOL;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::engine::upgrade::{accept, header};

/// Most bytes waiting for a client that does not read; beyond it the client is dropped.
const OUT_BYTES_MAX: usize = 8 * 1024 * 1024;

pub(super) struct Client {
    pub(super) fd: OwnedFd,
    /// Its room, once upgraded.
    pub(super) room: Option<usize>,
    /// Its place among the room's members.
    pub(super) place: usize,
    /// The start of a frame whose rest has not arrived.
    pub(super) partial: Vec<u8>,
    /// Waiting to be sent, in front of anything new.
    pub(super) out: Vec<u8>,
    wants_out: bool,
}

impl Client {
    pub(super) fn new(fd: OwnedFd) -> Client {
        Client {
            fd,
            room: None,
            place: 0,
            partial: Vec::new(),
            out: Vec::new(),
            wants_out: false,
        }
    }

    /// Sends `bytes` behind what waits, in one call. False: the client is gone.
    pub(super) fn send(&mut self, poll: &OwnedFd, index: usize, bytes: &[u8]) -> bool {
        if !self.out.is_empty() {
            self.out.extend_from_slice(bytes);
            if self.out.len() > OUT_BYTES_MAX {
                return false;
            }
            return self.wants_out || self.write(poll, index);
        }
        match send(&self.fd, bytes, SendFlags::NOSIGNAL) {
            Ok(n) if n == bytes.len() => true,
            Ok(n) => {
                self.out.extend_from_slice(&bytes[n..]);
                self.arm(poll, index, true)
            }
            Err(Errno::AGAIN | Errno::INTR) => {
                self.out.extend_from_slice(bytes);
                self.arm(poll, index, true)
            }
            Err(_) => false,
        }
    }

    /// Sends what waits. False: the client is gone.
    pub(super) fn write(&mut self, poll: &OwnedFd, index: usize) -> bool {
        match send(&self.fd, &self.out, SendFlags::NOSIGNAL) {
            Ok(n) if n == self.out.len() => self.out.clear(),
            Ok(n) => drop(self.out.drain(..n)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => return false,
        }
        let waiting = !self.out.is_empty();
        self.arm(poll, index, waiting)
    }

    fn arm(&mut self, poll: &OwnedFd, index: usize, wanted: bool) -> bool {
        if self.wants_out == wanted {
            return true;
        }
        self.wants_out = wanted;
        let mut flags = epoll::EventFlags::IN;
        flags.set(epoll::EventFlags::OUT, wanted);
        let data = epoll::EventData::new_u64(index as u64);
        epoll::modify(poll, &self.fd, data, flags).is_ok()
    }
}

/// The path of an upgrade and the answer to it; `None` for anything else.
pub(super) fn upgrade_answer(head: &str) -> Option<(String, String)> {
    let path = head.strip_prefix("GET ")?.split(' ').next()?;
    let key = header(head, "sec-websocket-key")?;
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n",
        accept(key)
    );
    Some((path.to_owned(), answer))
}
