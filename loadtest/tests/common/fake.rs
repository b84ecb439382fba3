//! A gateway in miniature, a thread per connection: accounts, login, upgrade, hello, join, send. It can be
//! told to do wrong.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use countersign_loadtest::clock::{self, MILLI, Nanos};
use countersign_loadtest::engine::upgrade::{accept, header};
use countersign_protocol::ErrorCode;
use countersign_protocol::client::{Command, Priority, parse};
use countersign_protocol::codec::{Opcode, json_frame, ok_json, text_frame, write_frame};
use countersign_protocol::error::ErrorReply;
use countersign_protocol::id::{RoomName, UserId};
use countersign_protocol::server::{
    Counts, CountsPush, From, GapPush, Joined, Me, MessagePush, Role, RoomInfo, Sent,
};
use serde_json::value::RawValue;

use super::line::Line;
use super::talk::{account, frames, hello, http, listen};

/// What is done wrong, to the second member of each room unless said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Every n-th message is not delivered.
    Lose(u64),
    /// Every n-th message is delivered twice.
    Repeat(u64),
    /// Every n-th message is delivered after the next one.
    Swap(u64),
    /// Every n-th message is delivered so many milliseconds later, and those behind it wait for it.
    Late(u64, u64),
    /// The same to all.
    LateAll(u64, u64),
    /// Every n-th message is not delivered, and a `gap` says so.
    Shed(u64),
    /// Every n-th message has another sender.
    Forge(u64),
    /// Every n-th message has another body.
    Alter(u64),
    /// Every n-th message says the offsets of its neighbour's content, to this member only.
    Disagree(u64),
    /// To all: every n-th send is refused.
    Limit(u64),
    /// To all: every n-th send is never answered, though delivered.
    Silent(u64),
    /// To all: the first n upgrades are answered 503 with Retry-After 0.
    Busy(u64),
    /// To all: every n-th message is delivered to nobody.
    LoseAll(u64),
    /// To all: every n-th message is sequenced twice.
    Twice(u64),
    /// The member's connection is closed with 4008 at the n-th message.
    Close(u64),
    /// The member's stream ends at the n-th message without a close frame.
    Cut(u64),
    /// From the n-th message on nothing is delivered to the member, and nothing is said.
    Mute(u64),
    /// These four for the last member of each room.
    ShedLast(u64),
    CloseLast(u64),
    CutLast(u64),
    MuteLast(u64),
    /// Every n-th `low` send is answered `shed`; every n-th message of that priority that is not is told
    /// to the second member by a `gap`.
    ShedLow(u64),
}

impl Fault {
    /// What is done to one member, and which of `members` that is.
    fn at(self, members: usize) -> (Fault, usize) {
        let last = members.saturating_sub(1);
        match self {
            Fault::ShedLast(n) => (Fault::Shed(n), last),
            Fault::CloseLast(n) => (Fault::Close(n), last),
            Fault::CutLast(n) => (Fault::Cut(n), last),
            Fault::MuteLast(n) => (Fault::Mute(n), last),
            other => (other, 1),
        }
    }
}

struct Member {
    stream: TcpStream,
    held: Vec<Vec<u8>>,
    line: Option<Line>,
}

#[derive(Default)]
struct Room {
    offset: u64,
    sends: u64,
    low: u64,
    members: Vec<Member>,
}

struct Shared {
    fault: Fault,
    upgrades: AtomicU64,
    logins: AtomicU64,
    rooms: Mutex<HashMap<String, Room>>,
    /// When each room was joined first, on the monotonic clock, in that order.
    begun: Mutex<Vec<Nanos>>,
}

/// A running fake; its threads end with the process.
pub(crate) struct Fake {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Fake {
    pub(crate) fn start(fault: Fault) -> Fake {
        let shared = Arc::new(Shared {
            fault,
            upgrades: AtomicU64::new(0),
            logins: AtomicU64::new(0),
            rooms: Mutex::default(),
            begun: Mutex::default(),
        });
        let addr = listen(&shared, serve);
        Fake { addr, shared }
    }

    /// When each room was joined first, in that order: a run has rooms of its own.
    pub(crate) fn begun(&self) -> Vec<Nanos> {
        self.shared.begun.lock().unwrap().clone()
    }

    pub(crate) fn logins(&self) -> u64 {
        self.shared.logins.load(Ordering::SeqCst)
    }
}

/// HTTP until an upgrade, then frames. `None`: the connection is over.
fn serve(shared: &Shared, stream: TcpStream) -> Option<()> {
    let asked = http(stream, |_, path, body| {
        account(path, body, |login| {
            shared.logins.fetch_add(1, Ordering::SeqCst);
            format!("{}!{}", login.user_id, login.device.id)
        })
    })?;
    upgrade(shared, asked.reader, asked.out, &asked.head)
}

fn upgrade(shared: &Shared, mut reader: BufReader<TcpStream>, mut out: TcpStream, head: &str) -> Option<()> {
    if let Fault::Busy(n) = shared.fault
        && shared.upgrades.fetch_add(1, Ordering::SeqCst) < n
    {
        let busy = "HTTP/1.1 503 X\r\nretry-after: 0\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return out.write_all(busy.as_bytes()).ok();
    }
    let user = match header(head, "authorization") {
        Some(value) => {
            let (user, device) = value.strip_prefix("Bearer ")?.split_once('!')?;
            if header(head, "countersign-device") != Some(device) {
                return out
                    .write_all(b"HTTP/1.1 401 X\r\ncontent-length: 15\r\n\r\ndevice_mismatch")
                    .ok();
            }
            Some(user.to_owned())
        }
        None => None,
    };
    let key = header(head, "sec-websocket-key")?;
    let answer = format!(
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n\
         sec-websocket-protocol: countersign.v1.json\r\n\r\n",
        accept(key)
    );
    out.write_all(answer.as_bytes()).ok()?;
    out.write_all(&hello("c_1".to_owned())).ok()?;
    // A ping before anything else: the tester must answer and not count it.
    let mut ping = Vec::new();
    write_frame(&mut ping, Opcode::Ping, None, b"p");
    out.write_all(&ping).ok()?;
    frames(&mut reader, |text| {
        command(shared, &out, user.as_deref(), std::str::from_utf8(text).ok()?)
    });
    // The room still holds a handle: closing is said, not left to dropping.
    out.shutdown(Shutdown::Both).ok()
}

fn command(shared: &Shared, out: &TcpStream, user: Option<&str>, text: &str) -> Option<()> {
    let frame = parse(text).ok()?;
    let mut rooms = shared.rooms.lock().unwrap();
    match frame.command {
        Command::Join(join) => {
            let name = RoomName::parse(&join.room).ok()?;
            let room = rooms.entry(name.as_str().to_owned()).or_insert_with(|| {
                shared.begun.lock().unwrap().push(clock::now());
                Room {
                    // Not from zero: bases must be taken from the reply.
                    offset: 95,
                    ..Room::default()
                }
            });
            let reply = Joined {
                room: name.clone(),
                epoch: "e".to_owned(),
                offset: room.offset,
                recovered: None,
                messages: Vec::new(),
                counts: Counts::default(),
                info: RoomInfo::default(),
                me: Me {
                    role: Role::Member,
                    muted_for_ms: None,
                },
            };
            let mut bytes = json_frame(&ok_json(frame.id, &reply));
            // And a push of another kind behind it.
            bytes.extend(text_frame(&CountsPush {
                room: name,
                version: 1,
                viewers: 1,
                members: 1,
                counters: BTreeMap::new(),
            }));
            room.members.push(Member {
                stream: out.try_clone().ok()?,
                held: Vec::new(),
                line: None,
            });
            (&mut &*out).write_all(&bytes).ok()
        }
        Command::Send(send) => {
            let room = rooms.get_mut(&*send.room)?;
            let user = user?;
            room.sends += 1;
            if let Fault::Limit(n) = shared.fault
                && room.sends.is_multiple_of(n)
            {
                let refusal = ErrorReply {
                    id: Some(frame.id),
                    code: ErrorCode::RateLimited,
                    message: "slow down".to_owned(),
                    retry: true,
                    after_ms: Some(5),
                    state: None,
                    reason: None,
                    tries_left: None,
                };
                return (&mut &*out).write_all(&text_frame(&refusal)).ok();
            }
            room.low += u64::from(send.priority == Priority::Low);
            let mut fault = shared.fault;
            if let Fault::ShedLow(n) = fault {
                let low = send.priority == Priority::Low;
                if low && room.low.is_multiple_of(n) {
                    let sent = Sent {
                        shed: true,
                        after_ms: Some(5),
                        ..Sent::default()
                    };
                    return (&mut &*out)
                        .write_all(&json_frame(&ok_json(frame.id, &sent)))
                        .ok();
                }
                // One in n of those that are left, whatever its offset.
                fault = if low && room.low % n == 1 {
                    Fault::Shed(1)
                } else {
                    Fault::None
                };
            }
            room.offset += 1;
            if !matches!(shared.fault, Fault::Silent(n) if room.sends.is_multiple_of(n)) {
                let sent = Sent {
                    offset: Some(room.offset),
                    at_ms: Some(1),
                    ..Sent::default()
                };
                (&mut &*out)
                    .write_all(&json_frame(&ok_json(frame.id, &sent)))
                    .ok()?;
            }
            publish(room, fault, (&send.room, user), send.priority, send.body);
            if let Fault::Twice(n) = shared.fault
                && room.sends.is_multiple_of(n)
            {
                room.offset += 1;
                publish(room, Fault::None, (&send.room, user), send.priority, send.body);
            }
            Some(())
        }
        _ => None,
    }
}

fn message(room: &str, offset: u64, user: &str, priority: Priority, body: &RawValue) -> Vec<u8> {
    text_frame(&MessagePush {
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
        priority,
        body,
    })
}

fn publish(room: &mut Room, fault: Fault, (name, user): (&str, &str), priority: Priority, body: &RawValue) {
    let offset = room.offset;
    let plain = message(name, offset, user, priority, body);
    if matches!(fault, Fault::LoseAll(n) if offset.is_multiple_of(n)) {
        return;
    }
    let (fault, whom) = fault.at(room.members.len());
    for (i, member) in room.members.iter_mut().enumerate() {
        let late = match fault {
            Fault::Late(n, ms) if i == whom => Some((n, ms)),
            Fault::LateAll(n, ms) => Some((n, ms)),
            _ => None,
        };
        if let Some((n, ms)) = late {
            let later = if offset.is_multiple_of(n) { ms } else { 0 };
            let stream = &member.stream;
            let line = member
                .line
                .get_or_insert_with(|| Line::to(stream.try_clone().unwrap()));
            line.write(&plain, later * MILLI);
            continue;
        }
        let frames = if i == whom {
            planted(member, fault, (name, user), offset, body, &plain)
        } else {
            plain.clone()
        };
        // A member that left is no concern.
        let _ = member.stream.write_all(&frames);
    }
}

/// What the second member gets in place of `plain`.
fn planted(
    member: &mut Member,
    fault: Fault,
    (name, user): (&str, &str),
    offset: u64,
    body: &RawValue,
    plain: &[u8],
) -> Vec<u8> {
    let raw = |text: String| RawValue::from_string(text).unwrap();
    match fault {
        Fault::Lose(n) if offset.is_multiple_of(n) => Vec::new(),
        Fault::Repeat(n) if offset.is_multiple_of(n) => [plain, plain].concat(),
        Fault::Swap(n) if offset.is_multiple_of(n) => {
            member.held.push(plain.to_vec());
            Vec::new()
        }
        Fault::Swap(_) => [plain, &member.held.drain(..).flatten().collect::<Vec<u8>>()].concat(),
        Fault::Shed(n) if offset.is_multiple_of(n) => text_frame(&GapPush {
            room: RoomName::parse(name).unwrap(),
            from: offset,
            to: offset,
        }),
        Fault::Forge(n) if offset.is_multiple_of(n) => message(name, offset, "eve", Priority::Normal, body),
        Fault::Alter(n) if offset.is_multiple_of(n) => message(
            name,
            offset,
            user,
            Priority::Normal,
            &raw(body.get().replace("xx", "xy")),
        ),
        Fault::Disagree(n) if offset.is_multiple_of(n) => {
            // The same length and form, another message's number.
            let text = body.get();
            let at = text.find("cslt:").unwrap() + 14;
            let other = format!("{}{}{}", &text[..at], "00000fffffff", &text[at + 12..]);
            message(name, offset, user, Priority::Normal, &raw(other))
        }
        Fault::Close(n) if offset == n => {
            let mut frame = Vec::new();
            write_frame(&mut frame, Opcode::Close, None, &4008_u16.to_be_bytes());
            frame
        }
        Fault::Cut(n) if offset == n => {
            let _ = member.stream.shutdown(Shutdown::Both);
            Vec::new()
        }
        Fault::Close(n) | Fault::Cut(n) if offset > n => Vec::new(),
        Fault::Mute(n) if offset >= n => Vec::new(),
        _ => plain.to_vec(),
    }
}
