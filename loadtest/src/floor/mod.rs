//! The floor: what fan-out costs at least on this machine. One thread, one epoll, one `send` of a
//! ready-made frame per socket; no async runtime, and on the send path no allocation per message.
//! Coalescing, it joins what is pending for a socket into one `send`.
//!
//! It is no gateway: the room is the path of the upgrade, nobody is authenticated, nothing is kept, and
//! every text frame is answered with an `ok` and broadcast.

pub mod child;
mod client;
mod frame;
pub mod probe;
pub mod serve;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use countersign_protocol::codec::{Header, Opcode};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, accept_with, bind, getsockname, listen, recv,
    socket_with, sockopt,
};

use self::client::{Client, upgrade_answer};
use self::frame::{ReadyFrame, push_ok};
use crate::clock::{self, MILLI, Nanos};
use crate::error::{Error, Result};
use crate::wire::scan::number;
use crate::wire::stamp::{Finder, Stamp};

/// Largest frame read from a client, bytes.
const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Most rooms at once.
const ROOMS_MAX: usize = 65_536;
/// Most bytes collected for one room before they are sent in the middle of a batch.
const PENDING_BYTES_MAX: usize = 256 * 1024;
const EVENTS_MAX: usize = 256;
/// How often the deadline is looked at.
const TURN_MAX: Nanos = 200 * MILLI;

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;

/// How the floor sends.
#[derive(Debug, Clone, Copy)]
pub struct FloorOptions {
    /// Length of every broadcast frame on the wire, bytes.
    pub frame_bytes: usize,
    /// Join what is pending for a socket into one send.
    pub coalesce: bool,
}

/// The shortest frames the floor can send in rooms of `namespace`, bytes, header included.
pub fn frame_bytes_min(namespace: &str) -> usize {
    ReadyFrame::bytes_min(&format!("{namespace}:lt-00000000-00000"))
}

struct Room {
    members: Vec<usize>,
    frame: ReadyFrame,
    offset: u64,
    pending: Vec<u8>,
}

/// The floor server.
pub struct Floor {
    options: FloorOptions,
    listener: OwnedFd,
    addr: SocketAddr,
    poll: OwnedFd,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    rooms: Vec<Room>,
    names: HashMap<String, usize>,
    /// Rooms with something pending.
    dirty: Vec<usize>,
    stamps: Finder,
    /// An `ok` with the frame behind it, for the sender.
    scratch: Vec<u8>,
}

impl Floor {
    /// Binds; port 0 takes a free one.
    pub fn bind(addr: SocketAddr, options: FloorOptions) -> Result<Floor> {
        // Refused now rather than at the first message.
        ReadyFrame::new("default:lt-00000000-00000", options.frame_bytes)?;
        let family = if addr.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listener = socket_with(family, SocketType::STREAM, flags, None).map_err(Error::os("socket"))?;
        sockopt::set_socket_reuseaddr(&listener, true).map_err(Error::os("SO_REUSEADDR"))?;
        bind(&listener, &addr).map_err(Error::os("bind"))?;
        listen(&listener, 4_096).map_err(Error::os("listen"))?;
        let local = getsockname(&listener).map_err(Error::os("getsockname"))?;
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(Error::os("epoll_create"))?;
        let floor = Floor {
            options,
            addr: SocketAddr::try_from(local).map_err(Error::os("getsockname"))?,
            listener,
            poll,
            clients: Vec::new(),
            free: Vec::new(),
            rooms: Vec::new(),
            names: HashMap::new(),
            dirty: Vec::new(),
            stamps: Finder::default(),
            scratch: Vec::with_capacity(options.frame_bytes + 128),
        };
        floor.watch(&floor.listener, LISTENER)?;
        Ok(floor)
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `stop` becomes readable or closes, or until `until`.
    pub fn run(&mut self, stop: Option<&OwnedFd>, until: Nanos) -> Result<()> {
        if let Some(stop) = stop {
            self.watch(stop, STOP)?;
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let mut buffer = vec![0; 4 * FRAME_BYTES_MAX];
        while clock::now() < until {
            events.clear();
            let room = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.poll, room, Some(&clock::timespec(TURN_MAX))) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(e) => return Err(Error::os("epoll_wait")(e)),
            }
            for event in &events {
                match event.data.u64() {
                    STOP => return Ok(()),
                    LISTENER => self.accept(),
                    client => {
                        let index = usize::try_from(client).unwrap_or(usize::MAX);
                        self.serve(index, event.flags, &mut buffer);
                    }
                }
            }
            self.flush_rooms();
        }
        Ok(())
    }

    fn watch(&self, fd: impl AsFd, data: u64) -> Result<()> {
        let data = epoll::EventData::new_u64(data);
        epoll::add(&self.poll, fd, data, epoll::EventFlags::IN).map_err(Error::os("epoll_ctl"))
    }

    fn accept(&mut self) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        for _ in 0..EVENTS_MAX {
            let Ok(fd) = accept_with(&self.listener, flags) else {
                return;
            };
            let index = self.free.pop().unwrap_or(self.clients.len());
            if sockopt::set_tcp_nodelay(&fd, true).is_err() || self.watch(&fd, index as u64).is_err() {
                self.free.push(index);
                continue;
            }
            let client = Some(Client::new(fd));
            match self.clients.get_mut(index) {
                Some(slot) => *slot = client,
                None => self.clients.push(client),
            }
        }
    }

    fn serve(&mut self, index: usize, flags: epoll::EventFlags, buffer: &mut [u8]) {
        let alive = self.try_serve(index, flags, buffer).is_some();
        if !alive {
            self.drop_client(index);
        }
    }

    /// `None`: the connection is over.
    fn try_serve(&mut self, index: usize, flags: epoll::EventFlags, buffer: &mut [u8]) -> Option<()> {
        let client = self.clients.get_mut(index)?.as_mut()?;
        if flags.contains(epoll::EventFlags::OUT) && !client.write(&self.poll, index) {
            return None;
        }
        if !flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
            return Some(());
        }
        let kept = client.partial.len();
        buffer[..kept].copy_from_slice(&client.partial);
        client.partial.clear();
        let n = match recv(&client.fd, &mut buffer[kept..], RecvFlags::empty()) {
            Ok((0, _)) => return None,
            Ok((n, _)) => n,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => return None,
        };
        let filled = kept + n;
        let used = if client.room.is_some() {
            self.frames(index, &mut buffer[..filled])?
        } else {
            self.upgrade(index, &buffer[..filled])?
        };
        let client = self.clients.get_mut(index)?.as_mut()?;
        client.partial.extend_from_slice(&buffer[used..filled]);
        (client.partial.len() <= FRAME_BYTES_MAX + 14).then_some(())
    }

    fn upgrade(&mut self, index: usize, bytes: &[u8]) -> Option<usize> {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            return Some(0);
        };
        let (path, answer) = upgrade_answer(std::str::from_utf8(&bytes[..end]).ok()?)?;
        let room = self.room(path.trim_start_matches('/'))?;
        let client = self.clients.get_mut(index)?.as_mut()?;
        client.room = Some(room);
        client.place = self.rooms[room].members.len();
        self.rooms[room].members.push(index);
        client.out.extend_from_slice(answer.as_bytes());
        client.write(&self.poll, index).then_some(end + 4)
    }

    fn room(&mut self, name: &str) -> Option<usize> {
        if let Some(room) = self.names.get(name) {
            return Some(*room);
        }
        if self.rooms.len() >= ROOMS_MAX {
            return None;
        }
        let room = Room {
            members: Vec::new(),
            frame: ReadyFrame::new(name, self.options.frame_bytes).ok()?,
            offset: 0,
            pending: Vec::new(),
        };
        self.rooms.push(room);
        self.names.insert(name.to_owned(), self.rooms.len() - 1);
        Some(self.rooms.len() - 1)
    }

    /// Handles the whole frames in `bytes`; returns how much that was.
    fn frames(&mut self, index: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut used = 0;
        loop {
            let Some(header) = Header::parse(&bytes[used..]).ok()? else {
                return Some(used);
            };
            let len = usize::try_from(header.payload)
                .ok()
                .filter(|n| *n <= FRAME_BYTES_MAX)?;
            let (from, to) = (used + header.len, used + header.len + len);
            let key = header.mask?;
            let Some(payload) = bytes.get_mut(from..to) else {
                return Some(used);
            };
            for (i, byte) in payload.iter_mut().enumerate() {
                *byte ^= key[i & 3];
            }
            match header.opcode {
                Opcode::Text => {
                    let stamp = self.stamps.find(payload);
                    let id = payload.strip_prefix(b"{\"id\":").and_then(number)?;
                    self.text(index, id, stamp?)?;
                }
                Opcode::Close => return None,
                _ => {}
            }
            used = to;
        }
    }

    /// One message: an `ok` to its sender, the room's frame to all.
    fn text(&mut self, index: usize, id: u64, stamp: Stamp) -> Option<()> {
        let room_index = self.clients.get(index)?.as_ref()?.room?;
        let room = &mut self.rooms[room_index];
        room.offset += 1;
        if self.options.coalesce {
            let client = self.clients.get_mut(index)?.as_mut()?;
            push_ok(&mut client.out, id, room.offset);
            if room.pending.is_empty() {
                self.dirty.push(room_index);
            }
            room.pending
                .extend_from_slice(room.frame.with(room.offset, &stamp));
            if room.pending.len() >= PENDING_BYTES_MAX {
                self.flush_rooms();
            }
            return Some(());
        }
        let Floor {
            scratch,
            clients,
            poll,
            ..
        } = self;
        scratch.clear();
        push_ok(scratch, id, room.offset);
        let ok_len = scratch.len();
        scratch.extend_from_slice(room.frame.with(room.offset, &stamp));
        let mut failed = Vec::new();
        for &member in &room.members {
            let Some(client) = clients[member].as_mut() else {
                continue;
            };
            let bytes = if member == index {
                &scratch[..]
            } else {
                &scratch[ok_len..]
            };
            if !client.send(poll, member, bytes) {
                failed.push(member);
            }
        }
        failed.into_iter().for_each(|member| self.drop_client(member));
        Some(())
    }

    /// Sends what is pending in each room, in one send per member.
    fn flush_rooms(&mut self) {
        let mut failed = Vec::new();
        while let Some(room_index) = self.dirty.pop() {
            let room = &mut self.rooms[room_index];
            for &member in &room.members {
                if let Some(client) = self.clients[member].as_mut()
                    && !client.send(&self.poll, member, &room.pending)
                {
                    failed.push(member);
                }
            }
            room.pending.clear();
        }
        failed.into_iter().for_each(|member| self.drop_client(member));
    }

    fn drop_client(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index).and_then(Option::take) else {
            return;
        };
        self.free.push(index);
        let Some(room) = client.room.and_then(|r| self.rooms.get_mut(r)) else {
            return;
        };
        room.members.swap_remove(client.place);
        if let Some(moved) = room.members.get(client.place).copied()
            && let Some(moved) = self.clients.get_mut(moved).and_then(Option::as_mut)
        {
            moved.place = client.place;
        }
    }
}
