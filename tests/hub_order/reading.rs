//! Decodes what left on one wire and judges it: whole frames, and in each stay in a room every message once and
//! in order, or a gap that says which are missing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_protocol::codec::{Header, Opcode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Which message stands at which offset, agreed between its publisher and all who see it.
pub(crate) struct Ledger(HashMap<String, Vec<AtomicU64>>);

impl Ledger {
    pub(crate) fn new(rooms: &[String], messages: u64) -> Self {
        let places = || (0..=messages).map(|_| AtomicU64::new(0)).collect();
        Self(rooms.iter().map(|room| (room.clone(), places())).collect())
    }

    pub(crate) fn agree(&self, room: &str, offset: u64, n: u64) {
        let place = &self.0[room][usize::try_from(offset).unwrap()];
        if let Err(known) = place.compare_exchange(0, n, Ordering::Relaxed, Ordering::Relaxed) {
            assert_eq!(known, n, "two messages at {offset} of {room}");
        }
    }
}

/// The answer to `leave`, as these tests write it.
#[derive(Serialize)]
pub(crate) struct Left<'a> {
    pub(crate) left: &'a str,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    room: Option<&'a str>,
    left: Option<&'a str>,
    epoch: Option<&'a str>,
    offset: Option<u64>,
    recovered: Option<bool>,
    #[serde(borrow)]
    messages: Option<Vec<Frame<'a>>>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
    to: Option<u64>,
    version: Option<u64>,
    body: Option<Body>,
}

#[derive(Deserialize)]
struct Body {
    n: u64,
}

/// From the answer to `join` to the answer to `leave`.
struct Stay {
    next: u64,
    counts: Option<u64>,
}

/// Where a chain of stays has got to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

/// What was seen, to show that the test has tested something.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) messages: u64,
    pub(crate) gaps: u64,
    pub(crate) missed: u64,
    pub(crate) joins: u64,
    pub(crate) recoveries: u64,
    pub(crate) counts: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.gaps += other.gaps;
        self.missed += other.missed;
        self.joins += other.joins;
        self.recoveries += other.recoveries;
        self.counts += other.counts;
    }
}

/// The bytes of one connection.
#[derive(Default)]
pub(crate) struct Reading {
    rest: Vec<u8>,
    stays: HashMap<String, Stay>,
    /// The position each open `join` was given.
    pub(crate) asked: HashMap<String, Place>,
    /// Where each chain stands, over all stays and connections of this viewer.
    pub(crate) places: HashMap<String, Place>,
    pub(crate) closed: bool,
    pub(crate) seen: Seen,
}

impl Reading {
    pub(crate) fn feed(&mut self, bytes: &[u8], ledger: &Ledger) {
        self.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut self.rest);
        let mut rest = all.as_slice();
        while let Some(header) = Header::parse(rest).unwrap() {
            let end = header.len + usize::try_from(header.payload).unwrap();
            if rest.len() < end {
                break;
            }
            assert!(!self.closed, "a frame behind the close frame");
            assert!(header.fin && header.mask.is_none());
            match header.opcode {
                Opcode::Text => self.text(&rest[header.len..end], ledger),
                Opcode::Close => self.closed = true,
                other => panic!("nobody sent {other:?}"),
            }
            rest = &rest[end..];
        }
        self.rest = rest.to_vec();
    }

    /// Whether the last frame is whole.
    pub(crate) fn is_between_frames(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next offset of an open stay.
    pub(crate) fn next(&self, room: &str) -> Option<u64> {
        self.stays.get(room).map(|stay| stay.next)
    }

    /// A new connection of the same viewer.
    pub(crate) fn restart(&mut self) {
        self.rest.clear();
        self.stays.clear();
        self.asked.clear();
        self.closed = false;
    }

    fn text(&mut self, json: &[u8], ledger: &Ledger) {
        let frame: Frame<'_> = serde_json::from_slice(json)
            .unwrap_or_else(|e| panic!("no whole frame: {e}: {}", String::from_utf8_lossy(json)));
        match frame.kind {
            "ok" if frame.left.is_some() => {
                let room = frame.left.unwrap();
                self.stays
                    .remove(room)
                    .unwrap_or_else(|| panic!("left {room} twice"));
            }
            "ok" => self.join(&frame, ledger),
            "message" => {
                self.seen.messages += 1;
                self.advance(&frame, frame.offset.unwrap(), frame.offset.unwrap());
                ledger.agree(frame.room.unwrap(), frame.offset.unwrap(), frame.body.unwrap().n);
            }
            "gap" => {
                let from = frame.from.unwrap().get().parse().unwrap();
                let to = frame.to.unwrap();
                assert!(from <= to);
                self.seen.gaps += 1;
                self.seen.missed += to + 1 - from;
                self.advance(&frame, from, to);
            }
            "counts" => {
                self.seen.counts += 1;
                let version = frame.version.unwrap();
                let before = self.stay(&frame).counts.replace(version);
                assert!(before < Some(version), "counts {version} behind {before:?}");
            }
            "presence" | "room" => drop(self.stay(&frame)),
            other => panic!("nobody sent {other}"),
        }
    }

    fn stay(&mut self, frame: &Frame<'_>) -> &mut Stay {
        let room = frame.room.unwrap();
        self.stays
            .get_mut(room)
            .unwrap_or_else(|| panic!("a {} of {room} outside of a stay", frame.kind))
    }

    fn advance(&mut self, frame: &Frame<'_>, from: u64, to: u64) {
        let stay = self.stay(frame);
        assert_eq!(
            from,
            stay.next,
            "a {} of {} in the wrong place",
            frame.kind,
            frame.room.unwrap()
        );
        stay.next = to + 1;
        self.places.get_mut(frame.room.unwrap()).unwrap().offset = to;
    }

    fn join(&mut self, frame: &Frame<'_>, ledger: &Ledger) {
        let (room, epoch, top) = (frame.room.unwrap(), frame.epoch.unwrap(), frame.offset.unwrap());
        self.seen.joins += 1;
        let messages = frame.messages.as_ref().unwrap();
        let count = messages.len() as u64;
        for (message, offset) in messages.iter().zip(top + 1 - count..) {
            assert_eq!(message.offset, Some(offset), "an answer to join with a hole");
            ledger.agree(room, offset, message.body.as_ref().unwrap().n);
        }
        let asked = self.asked.remove(room);
        assert_eq!(asked.is_some(), frame.recovered.is_some());
        if frame.recovered == Some(true) {
            assert_eq!(
                asked,
                Some(Place {
                    epoch: epoch.to_owned(),
                    offset: top - count
                })
            );
            self.seen.recoveries += 1;
        }
        let former = self.stays.insert(
            room.to_owned(),
            Stay {
                next: top + 1,
                counts: None,
            },
        );
        assert!(former.is_none(), "{room} joined twice");
        self.places.insert(
            room.to_owned(),
            Place {
                epoch: epoch.to_owned(),
                offset: top,
            },
        );
    }
}
