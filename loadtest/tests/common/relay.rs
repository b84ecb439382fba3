//! Broadcast servers in miniature that speak `ws` and NATS, a thread per connection. They can be told to
//! do wrong, and the one that speaks NATS cuts its stream into frames wherever it likes.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use countersign_loadtest::engine::upgrade::{accept, header};
use countersign_loadtest::fleet::Dialect;
use countersign_protocol::codec::{Opcode, write_frame};

use super::fake::Fault;
use super::talk::frames;

/// Lengths of the pieces a stream is cut into, in turn.
const PIECES: [usize; 5] = [1, 300, 7, 64, 2];

struct Member {
    stream: TcpStream,
    held: Vec<Vec<u8>>,
    writes: usize,
}

#[derive(Default)]
struct Room {
    sends: u64,
    members: Vec<(u64, Member)>,
}

struct Shared {
    dialect: Dialect,
    fault: Fault,
    connections: AtomicU64,
    /// Answers to our pings of NATS.
    pongs: AtomicU64,
    rooms: Mutex<HashMap<String, Room>>,
}

/// A running relay; its threads end with the process.
pub(crate) struct Relay {
    pub addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Relay {
    pub(crate) fn start(dialect: Dialect, fault: Fault) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            dialect,
            fault,
            connections: AtomicU64::new(0),
            pongs: AtomicU64::new(0),
            rooms: Mutex::default(),
        });
        let for_clients = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = for_clients.clone();
                std::thread::spawn(move || {
                    serve(&shared, &stream);
                    // The room still holds a handle: closing is said, not left to dropping.
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Relay { addr, shared }
    }

    pub(crate) fn pongs(&self) -> u64 {
        self.shared.pongs.load(Ordering::SeqCst)
    }
}

fn member(stream: &TcpStream) -> Option<Member> {
    Some(Member {
        stream: stream.try_clone().ok()?,
        held: Vec::new(),
        writes: 0,
    })
}

/// `None`: the connection is over.
fn serve(shared: &Shared, mut stream: &TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let id = shared.connections.fetch_add(1, Ordering::SeqCst);
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    assert_eq!(header(&head, "sec-websocket-protocol"), None, "{head}");
    let room = head.split(' ').nth(1)?.trim_start_matches('/').to_owned();
    let mut answer = format!(
        "HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: {}\r\n\r\n",
        accept(header(&head, "sec-websocket-key")?)
    )
    .into_bytes();
    if shared.dialect == Dialect::Nats {
        // In one write with the answer, and not the whole line.
        let info = "INFO {\"version\":\"2.9.10\"} \r\n";
        write_frame(&mut answer, Opcode::Binary, None, &info.as_bytes()[..9]);
        stream.write_all(&answer).ok()?;
        write(stream, &info.as_bytes()[9..], 0)?;
        return frames(&mut reader, nats(shared, stream, id));
    }
    let joined = member(stream)?;
    shared
        .rooms
        .lock()
        .unwrap()
        .entry(room.clone())
        .or_default()
        .members
        .push((id, joined));
    stream.write_all(&answer).ok()?;
    frames(&mut reader, move |payload| publish(shared, &room, id, payload))
}

/// What a member of NATS says, line by line.
fn nats<'a>(shared: &'a Shared, stream: &'a TcpStream, id: u64) -> impl FnMut(&[u8]) -> Option<()> + 'a {
    let mut text = String::new();
    move |payload| {
        text.push_str(std::str::from_utf8(payload).ok()?);
        while let Some((line, rest)) = text.split_once("\r\n") {
            let mut words = line.split(' ');
            let mut used = line.len() + 2;
            match words.next()? {
                "CONNECT" => assert!(line.ends_with('}'), "{line}"),
                "SUB" => {
                    let joined = member(stream)?;
                    let mut rooms = shared.rooms.lock().unwrap();
                    rooms
                        .entry(words.next()?.to_owned())
                        .or_default()
                        .members
                        .push((id, joined));
                    assert_eq!(words.next(), Some("1"));
                }
                "PING" => {
                    // Nobody else may write in the middle of this.
                    let _rooms = shared.rooms.lock().unwrap();
                    write(stream, b"PONG\r\nPING\r\n", 0)?;
                }
                "PONG" => drop(shared.pongs.fetch_add(1, Ordering::SeqCst)),
                "PUB" => {
                    let (room, length): (_, usize) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
                    if rest.len() < length + 2 {
                        return Some(());
                    }
                    publish(shared, &room, id, &rest.as_bytes()[..length])?;
                    assert_eq!(&rest[length..length + 2], "\r\n");
                    used += length + 2;
                }
                // The connection ends, which no test takes for well.
                _ => return None,
            }
            text.drain(..used);
        }
        Some(())
    }
}

fn publish(shared: &Shared, name: &str, sender: u64, body: &[u8]) -> Option<()> {
    let mut rooms = shared.rooms.lock().unwrap();
    let room = rooms.get_mut(name)?;
    room.sends += 1;
    let n = room.sends;
    for (i, (id, member)) in room.members.iter_mut().enumerate() {
        let faulty = if i == 1 { shared.fault } else { Fault::None };
        if matches!(shared.fault, Fault::Silent(k) if n.is_multiple_of(k) && *id == sender) {
            continue;
        }
        let mut now = vec![body.to_vec()];
        match faulty {
            Fault::Lose(k) if n.is_multiple_of(k) => now.clear(),
            Fault::Repeat(k) if n.is_multiple_of(k) => now.push(body.to_vec()),
            Fault::Swap(k) if n.is_multiple_of(k) => member.held.append(&mut now),
            Fault::Swap(_) => now.append(&mut member.held),
            Fault::Alter(k) if n.is_multiple_of(k) => {
                let text = String::from_utf8(body.to_vec()).ok()?;
                now = vec![text.replace("xx", "xy").into_bytes()];
            }
            _ => {}
        }
        for body in now {
            member.writes += 1;
            // A member that left is no concern.
            let _ = match shared.dialect {
                Dialect::Nats => {
                    let ping = if member.writes.is_multiple_of(8) {
                        "PING\r\n"
                    } else {
                        ""
                    };
                    let line = format!("{ping}MSG {name} 1 {}\r\n", body.len()).into_bytes();
                    write(
                        &member.stream,
                        &[&line, &body, &b"\r\n"[..]].concat(),
                        member.writes,
                    )
                }
                _ => {
                    let mut frame = Vec::new();
                    write_frame(&mut frame, Opcode::Text, None, &body);
                    (&member.stream).write_all(&frame).ok()
                }
            };
        }
    }
    Some(())
}

/// Writes a stretch of a stream: as one frame, as several, or as the fragments of one message, with a ping
/// of WebSocket in between.
fn write(mut stream: &TcpStream, mut bytes: &[u8], turn: usize) -> Option<()> {
    let mut out = Vec::new();
    let mut piece = turn;
    let mut first = true;
    while !bytes.is_empty() {
        let whole = turn.is_multiple_of(3);
        let length = if whole {
            bytes.len()
        } else {
            PIECES[piece % PIECES.len()].min(bytes.len())
        };
        let (now, rest) = bytes.split_at(length);
        let (start, fragments) = (out.len(), turn % 3 == 1);
        let opcode = if fragments && !first {
            Opcode::Continuation
        } else {
            Opcode::Binary
        };
        write_frame(&mut out, opcode, None, now);
        if fragments && !rest.is_empty() {
            out[start] &= 0x7f;
        }
        if piece.is_multiple_of(4) {
            write_frame(&mut out, Opcode::Ping, None, b"p");
        }
        (bytes, first, piece) = (rest, false, piece + 1);
    }
    // In two writes, so that what is read ends anywhere too.
    let (a, b) = out.split_at(out.len() / 2);
    stream.write_all(a).ok()?;
    stream.write_all(b).ok()
}
