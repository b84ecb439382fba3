//! A second gateway in miniature, for connections that come and go: history and recovery, likes, counts
//! pushed with every change, leaving. It can be told to do wrong, and counts how often it did.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use countersign_loadtest::engine::upgrade::{accept, header};
use countersign_protocol::ErrorCode;
use countersign_protocol::client::{Command, Join, Priority, parse};
use countersign_protocol::codec::{json_frame, ok_json, text_frame};
use countersign_protocol::error::ErrorReply;
use countersign_protocol::id::{RoomName, UserId};
use countersign_protocol::server::{
    Counts, CountsPush, From, Joined, Liked, Me, MessagePush, Role, RoomInfo, Sent,
};
use serde_json::value::RawValue;

use super::newcomer::{Newcomer, Wrong};
use super::talk::{account, frames, hello, http, listen};

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every n-th like is acknowledged and not counted.
    LoseLike(u64),
    /// Every n-th like counts twice, once unasked.
    LikeTwice(u64),
    /// With every n-th like the second member is first told one less than before.
    Fall(u64),
    /// The second member is told nothing by counts after its join.
    Deaf,
    /// Every n-th who goes stays among the viewers.
    LeakViewer(u64),
    /// A recovery lacks its first message and says it is whole.
    LoseAtResume,
    /// A recovery begins with the last message the member has.
    RepeatAtResume,
    /// A recovery gives the newest only and says so, when more than this many were missed.
    Trim(usize),
    /// No recovery is given at all, and none is denied.
    Mute,
    /// Those who come back are in another epoch.
    OtherEpoch,
    /// Every n-th upgrade is answered 503 with Retry-After 0.
    Busy(u64),
    /// The n upgrades after the first so many are answered 503, with a Retry-After of so many seconds or none.
    Overrun(u64, u64, Option<u64>),
    /// Every n-th join is refused for good.
    Ban(u64),
    /// One of the last two in a room is cut when all others have gone.
    CutAnother,
    /// The first three messages after every n-th join are not as they should be for who joined.
    Newcomer(u64, Wrong),
    /// The first message after the n-th join does not reach its room's newest member, and all sends after it are
    /// refused.
    LoseLast(u64),
}

struct Seat {
    connection: u64,
    user: Option<String>,
    stream: TcpStream,
    newcomer: Newcomer,
}

#[derive(Default)]
struct Room {
    history: Vec<(u64, String, Box<RawValue>)>,
    offset: u64,
    likes: u64,
    version: u64,
    seats: Vec<Seat>,
    phantoms: u64,
}

#[derive(Default)]
struct State {
    rooms: HashMap<String, Room>,
    connections: u64,
    likes: u64,
    departures: u64,
    joins: u64,
    planted: u64,
}

struct Shared {
    fault: Fault,
    state: Mutex<State>,
}

/// A running fake; its threads end with the process.
pub(crate) struct Lively {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Lively {
    pub(crate) fn start(fault: Fault) -> Lively {
        let shared = Arc::new(Shared {
            fault,
            state: Mutex::default(),
        });
        let addr = listen(&shared, serve);
        Lively { addr, shared }
    }

    /// How often the fault was planted.
    pub(crate) fn planted(&self) -> u64 {
        self.shared.state.lock().unwrap().planted
    }
}

/// HTTP until an upgrade, then frames. `None`: the connection is over.
fn serve(shared: &Shared, stream: TcpStream) -> Option<()> {
    let asked = http(stream, |_, path, body| {
        account(path, body, |login| login.user_id.clone())
    })?;
    upgrade(shared, asked.reader, asked.out, &asked.head)
}

fn upgrade(shared: &Shared, mut reader: BufReader<TcpStream>, mut out: TcpStream, head: &str) -> Option<()> {
    let connection = {
        let mut state = shared.state.lock().unwrap();
        state.connections += 1;
        state.connections
    };
    let refused = match shared.fault {
        Fault::Busy(n) => connection.is_multiple_of(n).then_some(Some(0)),
        Fault::Overrun(first, n, after_s) => (first + 1..=first + n).contains(&connection).then_some(after_s),
        _ => None,
    };
    if let Some(after_s) = refused {
        shared.state.lock().unwrap().planted += 1;
        let after = after_s.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
        let busy = format!("HTTP/1.1 503 X\r\n{after}content-length: 0\r\nconnection: close\r\n\r\n");
        return out.write_all(busy.as_bytes()).ok();
    }
    let user = header(head, "authorization").and_then(|v| Some(v.strip_prefix("Bearer ")?.to_owned()));
    let answer = format!(
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
        accept(header(head, "sec-websocket-key")?)
    );
    out.write_all(answer.as_bytes()).ok()?;
    out.write_all(&hello(format!("c_{connection}"))).ok()?;
    frames(&mut reader, |text| {
        let text = std::str::from_utf8(text).ok()?;
        let bytes = command(shared, &out, connection, user.as_deref(), text)?;
        (&mut &out).write_all(&bytes).ok()
    });
    let mut state = shared.state.lock().unwrap();
    let rooms: Vec<String> = state.rooms.keys().cloned().collect();
    for room in rooms {
        depart(shared.fault, &mut state, &room, connection);
    }
    out.shutdown(Shutdown::Both).ok()
}

/// Does a command; returns what is written after it.
fn command(
    shared: &Shared,
    out: &TcpStream,
    connection: u64,
    user: Option<&str>,
    text: &str,
) -> Option<Vec<u8>> {
    let frame = parse(text).ok()?;
    let mut state = shared.state.lock().unwrap();
    let (state, fault) = (&mut *state, shared.fault);
    match frame.command {
        Command::Join(mut join_command) => {
            state.joins += 1;
            if matches!(fault, Fault::Ban(n) if state.joins.is_multiple_of(n)) {
                state.planted += 1;
                return Some(text_frame(&refusal(frame.id, ErrorCode::NotAllowed)));
            }
            let name = RoomName::parse(&join_command.room).ok()?;
            join_command.room = Cow::Owned(name.as_str().to_owned());
            let mut stream = out.try_clone().ok()?;
            let reply = join(fault, state, &join_command, &name, frame.id);
            // Under the lock, so that no push of the room precedes it.
            stream.write_all(&reply).ok()?;
            let room = state.rooms.get_mut(name.as_str())?;
            room.seats.push(Seat {
                connection,
                user: user.map(str::to_owned),
                stream,
                newcomer: Newcomer::new(state.joins),
            });
            counts(fault, room, &name);
            Some(Vec::new())
        }
        Command::Leave(leave) => {
            depart(fault, state, &leave.room, connection);
            Some(json_frame(&ok_json(
                frame.id,
                &countersign_protocol::client::Empty {},
            )))
        }
        Command::Like(like) => {
            let name = RoomName::parse(&like.room).ok()?;
            state.likes += 1;
            let room = state.rooms.get_mut(name.as_str())?;
            let lost = matches!(fault, Fault::LoseLike(n) if state.likes.is_multiple_of(n));
            let twice = matches!(fault, Fault::LikeTwice(n) if state.likes.is_multiple_of(n));
            let falls = matches!(fault, Fault::Fall(n) if state.likes.is_multiple_of(n)) && room.likes > 0;
            state.planted += u64::from(lost) + u64::from(twice) + u64::from(falls);
            if falls {
                room.version += 1;
                let low = push(room, &name, room.likes - 1);
                let _ = room.seats[1].stream.write_all(&low);
            }
            let value = room.likes + like.n;
            room.likes = if lost {
                room.likes
            } else {
                value + u64::from(twice)
            };
            counts(fault, room, &name);
            Some(json_frame(&ok_json(frame.id, &Liked { value })))
        }
        Command::Send(send) => {
            let user = user?;
            let room = state.rooms.get_mut(&*send.room)?;
            let last = matches!(fault, Fault::LoseLast(n) if state.joins >= n);
            if last && state.planted > 0 {
                return Some(text_frame(&refusal(frame.id, ErrorCode::Muted)));
            }
            room.offset += 1;
            room.history
                .push((room.offset, user.to_owned(), send.body.to_owned()));
            let bytes = text_frame(&message(&send.room, room.offset, user, send.body));
            let newest = room.seats.len() - 1;
            for (i, seat) in room.seats.iter_mut().enumerate() {
                if i == newest && last {
                    state.planted += 1;
                    continue;
                }
                let mut frames = Cow::Borrowed(&bytes);
                if let Fault::Newcomer(n, wrong) = fault
                    && let Some((instead, planted)) =
                        seat.newcomer.planted(n, wrong, (&send.room, room.offset), &bytes)
                {
                    state.planted += planted;
                    frames = Cow::Owned(instead);
                }
                // Whoever is gone is taken out when its thread sees it.
                let _ = seat.stream.write_all(&frames);
            }
            let sent = Sent {
                offset: Some(room.offset),
                at_ms: Some(1),
                ..Sent::default()
            };
            Some(json_frame(&ok_json(frame.id, &sent)))
        }
        _ => None,
    }
}

fn refusal(id: u64, code: ErrorCode) -> ErrorReply {
    ErrorReply {
        id: Some(id),
        code,
        message: "no".to_owned(),
        retry: false,
        after_ms: None,
        state: None,
        reason: None,
        tries_left: None,
    }
}

fn message<'a>(room: &'a str, offset: u64, user: &str, body: &'a RawValue) -> MessagePush<'a> {
    MessagePush {
        room: Cow::Borrowed(room),
        offset,
        at_ms: 1,
        from: Some(Cow::Owned(From {
            id: UserId::parse(user).unwrap(),
            name: None,
            avatar: None,
            role: Role::Member,
        })),
        source: None,
        cid: None,
        priority: Priority::Normal,
        body,
    }
}

/// The reply to a join.
fn join(fault: Fault, state: &mut State, join: &Join<'_>, name: &RoomName, id: u64) -> Vec<u8> {
    let room = state
        .rooms
        .entry(name.as_str().to_owned())
        .or_insert_with(|| Room {
            // Not from zero: bases must be taken from the reply.
            offset: 40,
            likes: 7,
            ..Room::default()
        });
    let mut first = room.offset + 1;
    let mut recovered = None;
    if let Some(after) = &join.after {
        first = after.offset + 1;
        let missed = usize::try_from(room.offset - after.offset).unwrap();
        recovered = Some(true);
        match fault {
            Fault::LoseAtResume if missed > 0 => {
                first += 1;
                state.planted += 1;
            }
            Fault::RepeatAtResume if after.offset > 40 => {
                first -= 1;
                state.planted += 1;
            }
            Fault::Trim(most) if missed > most => {
                first = room.offset - most as u64 + 1;
                recovered = Some(false);
                state.planted += (missed - most) as u64;
            }
            Fault::Mute if missed > 0 => {
                first = room.offset + 1;
                recovered = None;
                state.planted += missed as u64;
            }
            _ => {}
        }
    }
    let other_epoch = fault == Fault::OtherEpoch && join.after.is_some();
    state.planted += u64::from(other_epoch);
    let reply = Joined {
        room: name.clone(),
        epoch: if other_epoch { "f" } else { "e" }.to_owned(),
        offset: room.offset,
        recovered,
        messages: room
            .history
            .iter()
            .filter(|(offset, ..)| *offset >= first)
            .map(|(offset, user, body)| message(name.as_str(), *offset, user, body))
            .collect(),
        counts: Counts {
            version: room.version,
            viewers: viewers(room),
            members: members(room),
            counters: BTreeMap::from([("likes".to_owned(), room.likes)]),
        },
        info: RoomInfo::default(),
        me: Me {
            role: Role::Member,
            muted_for_ms: None,
        },
    };
    json_frame(&ok_json(id, &reply))
}

fn viewers(room: &Room) -> u64 {
    room.seats.len() as u64 + room.phantoms
}

fn members(room: &Room) -> u64 {
    let users: BTreeSet<&String> = room.seats.iter().filter_map(|s| s.user.as_ref()).collect();
    users.len() as u64
}

fn push(room: &Room, name: &RoomName, likes: u64) -> Vec<u8> {
    text_frame(&CountsPush {
        room: name.clone(),
        version: room.version,
        viewers: viewers(room),
        members: members(room),
        counters: BTreeMap::from([("likes".to_owned(), likes)]),
    })
}

/// Tells all how it is now.
fn counts(fault: Fault, room: &mut Room, name: &RoomName) {
    room.version += 1;
    let bytes = push(room, name, room.likes);
    for (i, seat) in room.seats.iter_mut().enumerate() {
        if fault != Fault::Deaf || i != 1 {
            let _ = seat.stream.write_all(&bytes);
        }
    }
}

fn depart(fault: Fault, state: &mut State, name: &str, connection: u64) {
    let Some(room) = state.rooms.get_mut(name) else {
        return;
    };
    let before = room.seats.len();
    room.seats.retain(|s| s.connection != connection);
    if room.seats.len() == before {
        return;
    }
    state.departures += 1;
    if matches!(fault, Fault::LeakViewer(n) if state.departures.is_multiple_of(n)) {
        room.phantoms += 1;
        state.planted += 1;
    }
    if fault == Fault::CutAnother && state.planted == 0 && room.seats.len() == 2 {
        state.planted += 1;
        let _ = room.seats[1].stream.shutdown(Shutdown::Both);
    }
    counts(fault, room, &RoomName::parse(name).unwrap());
}
