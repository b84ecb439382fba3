//! A hub with memory wires; the tests are in the submodules. Most run on one thread, where nothing is flushed
//! until the test waits: what happens in between is the test's to say.
#![allow(clippy::cast_possible_truncation)]

mod counting;
mod joining;
mod late;
mod leaks;
mod overload;
mod running;
mod watching;
mod writing;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use bytes::Bytes;
use countersign_protocol::RoomName;
use countersign_protocol::codec::{Header, Opcode, text_frame};
use serde_json::{Value, json};

use super::*;

const OUTBOX: u32 = 256 * 1024;
const ALL: usize = usize::MAX;

fn named(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

fn frame(text: &str) -> Bytes {
    text_frame(&json!({ "type": text })).into()
}

fn message(room: &RoomName, offset: u64) -> Vec<u8> {
    text_frame(&json!({ "type": "message", "room": room, "offset": offset }))
}

/// A connection with the far end of its wire, and how often its owner was woken.
struct Seat {
    connection: Arc<Connection>,
    wire: MemoryWire,
    woken: Arc<Woken>,
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Seat {
    fn on(id: u64, wire: MemoryWire, over: Wire) -> Self {
        let connection = Connection::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST), over, OUTBOX);
        let seat = Self {
            connection,
            wire,
            woken: Arc::default(),
        };
        seat.register();
        seat
    }

    /// A connection whose wire takes `allowance` bytes.
    fn new(id: u64, allowance: usize) -> Self {
        let wire = MemoryWire::new(allowance);
        Self::on(id, wire.clone(), Wire::Memory(wire))
    }

    /// A connection whose owner has to write.
    fn woken(id: u64) -> Self {
        Self::on(id, MemoryWire::new(0), Wire::Woken)
    }

    /// The owner is about to sleep.
    fn register(&self) {
        self.connection
            .register_owner(&Waker::from(Arc::clone(&self.woken)));
    }

    /// How often the owner was woken since the last call.
    fn wakes(&self) -> usize {
        self.register();
        self.woken.0.swap(0, Ordering::Relaxed)
    }

    fn join(&self, hub: &Hub, room: &RoomName, offset: u64) -> Arc<Subscription> {
        let subscription = hub.hold(room, &self.connection);
        assert!(hub.release(&subscription, frame("joined"), offset));
        subscription
    }

    /// What came since the last call, in short.
    fn read(&self) -> Vec<String> {
        told(&self.wire.drain())
    }

    fn end(&self) -> Option<End> {
        self.connection.standing().end
    }
}

/// Frames in short: messages by offset, gaps by their ends, others by type.
fn told(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(header) = Header::parse(bytes).unwrap() {
        let end = header.len + header.payload as usize;
        let payload = bytes.get(header.len..end).expect("half a frame");
        bytes = &bytes[end..];
        if header.opcode == Opcode::Close {
            all.push("close".to_owned());
            continue;
        }
        let value: Value = serde_json::from_slice(payload).unwrap();
        all.push(match value["type"].as_str().unwrap() {
            "message" => value["offset"].to_string(),
            "gap" => format!("gap {}-{}", value["from"], value["to"]),
            "presence" if value["reset"] == true => "reset".to_owned(),
            "counts" => format!("counts {}", value["version"]),
            other => other.to_owned(),
        });
    }
    assert!(bytes.is_empty(), "half a header");
    all
}

fn say(hub: &Hub, room: &RoomName, offset: u64) -> Appended {
    hub.publish_message(room, || message(room, offset), offset, Class::Normal)
}

fn count(hub: &Hub, room: &RoomName, version: u64) {
    let counts = || text_frame(&json!({ "type": "counts", "room": room, "version": version }));
    hub.publish(room, counts, Class::Counts);
}

/// Waits until a room has nothing to flush and no flusher.
async fn quiet(hub: &Hub, room: &RoomName) {
    while hub.room(room).is_some_and(|r| r.is_flushing()) {
        tokio::task::yield_now().await;
    }
}
