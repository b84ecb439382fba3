//! A client that comes, goes, stops reading and reads on, at random, and reads everything it was sent.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use countersign::hub::{Connection, End, MemoryWire, Wire};
use countersign::node::Node;
use countersign_protocol::CloseCode;
use countersign_protocol::client::Position;
use countersign_protocol::codec::{json_frame, ok_json};

use super::reading::{Ledger, Left, Reading, Seen};

/// Numbers that are random enough, and the same for the same seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

pub(crate) struct Viewer {
    node: Arc<Node>,
    ledger: Arc<Ledger>,
    rooms: Vec<String>,
    random: Random,
    connection: Arc<Connection>,
    wire: MemoryWire,
    reading: Reading,
}

fn connect(node: &Node) -> (Arc<Connection>, MemoryWire) {
    let wire = MemoryWire::new(usize::MAX);
    (
        node.open_connection(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            Wire::Memory(wire.clone()),
            |_| bytes::Bytes::new(),
        ),
        wire,
    )
}

impl Viewer {
    pub(crate) fn new(node: &Arc<Node>, ledger: &Arc<Ledger>, rooms: &[String], seed: u64) -> Self {
        let (connection, wire) = connect(node);
        Self {
            node: Arc::clone(node),
            ledger: Arc::clone(ledger),
            rooms: rooms.to_vec(),
            random: Random::new(seed),
            connection,
            wire,
            reading: Reading::default(),
        }
    }

    /// Does something a client may do.
    pub(crate) async fn step(&mut self) {
        let room = self.rooms[usize::try_from(self.random.below(self.rooms.len() as u64)).unwrap()].clone();
        match self.random.below(100) {
            0..30 => self.join(&room).await,
            30..45 => self.leave(&room).await,
            // Leaves and is back before anybody else has had a turn.
            45..55 => {
                self.leave(&room).await;
                self.join(&room).await;
            }
            55..65 => self.wire.allow_only(0),
            65..75 => {
                self.wire
                    .allow_only(usize::try_from(self.random.below(3_000)).unwrap());
                self.connection.unblock();
            }
            75..98 => self.take_all(),
            _ => self.reconnect(),
        }
        self.read();
        if self.connection.standing().end.is_some() {
            self.close();
        }
        for _ in 0..self.random.below(20) {
            tokio::task::yield_now().await;
        }
    }

    /// Joins every room and takes everything, until it has all there is. Answers what was seen.
    pub(crate) async fn catch_up(mut self, tops: &[u64]) -> Seen {
        loop {
            for room in self.rooms.clone() {
                self.join(&room).await;
            }
            self.take_all();
            self.read();
            if self.connection.standing().end.is_some() {
                self.close();
                continue;
            }
            let mut rooms = self.rooms.iter().zip(tops);
            if rooms.all(|(room, &top)| self.reading.next(room) == Some(top + 1)) {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert!(self.reading.is_between_frames());
        self.node.depart(&self.connection, None);
        self.reading.seen
    }

    async fn join(&mut self, room: &str) {
        if self
            .connection
            .subscriptions()
            .iter()
            .any(|s| s.room.name().as_str() == room)
        {
            return;
        }
        let after = match self.reading.places.get(room) {
            // What is still queued for this viewer would be read after the question.
            Some(place) if self.connection.standing().queued == 0 => {
                self.reading.asked.insert(room.to_owned(), place.clone());
                Some(Position {
                    epoch: place.epoch.clone(),
                    offset: place.offset,
                })
            }
            _ => None,
        };
        let joined = self
            .node
            .join(&self.connection, room, after, |joined| {
                Bytes::from(json_frame(&ok_json(1, joined)))
            })
            .await;
        if self.connection.standing().end.is_none() {
            joined.unwrap();
        }
    }

    async fn leave(&mut self, room: &str) {
        if self.node.leave(&self.connection, room).await.is_ok() {
            self.connection
                .push(json_frame(&ok_json(2, &Left { left: room })).into());
        }
    }

    fn take_all(&mut self) {
        self.wire.allow_only(usize::MAX);
        self.connection.unblock();
    }

    fn read(&mut self) {
        self.reading.feed(&self.wire.drain(), &self.ledger);
    }

    /// The gateway ends the connection: it was too slow for what may not be dropped.
    fn close(&mut self) {
        let code = CloseCode::SlowConsumer;
        assert_eq!(self.connection.standing().end, Some(End::Close(code)));
        self.connection.queue_close(code);
        self.take_all();
        self.read();
        assert!(self.reading.closed && self.reading.is_between_frames());
        self.reconnect();
    }

    /// Gone from one moment to the next, with whatever was on its way.
    fn reconnect(&mut self) {
        self.node.depart(&self.connection, None);
        (self.connection, self.wire) = connect(&self.node);
        self.reading.restart();
    }
}
