//! Joins the engine to the hub: events become frames, once per room and node, and reach local members.
//! Called from inside engine locks, so nothing here waits or asks the engine; what needs a second look is put on
//! the list of repairs.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::CloseCode;
use countersign_protocol::RoomName;
use countersign_protocol::codec::text_frame;
use countersign_protocol::server::{CountsPush, PresencePush, RoomPush, SessionPush, SessionState};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::core::attempt::{Attempt, AttemptKey};
use crate::core::outbox::Class;
use crate::engine::{Event, Sink, Topic};
use crate::hub::{Appended, Hub};

/// The hub, as the engine's sink.
pub struct NodeSink {
    hub: Arc<Hub>,
    clock: Clock,
    public_origin: String,
    repairs: Repairs,
}

impl NodeSink {
    pub(super) fn new(hub: Arc<Hub>, clock: Clock, public_origin: String, repairs: Repairs) -> Self {
        Self { hub, clock, public_origin, repairs }
    }
}

impl Sink for NodeSink {
    fn deliver(&self, event: Event) {
        match event {
            Event::Published { room, publication } => {
                let class = Class::from(publication.priority);
                let frame = || text_frame(&publication.push(&room));
                if let Appended::Missed { .. } = self.hub.publish_message(&room, frame, publication.offset, class) {
                    self.repairs.ask(Repair::Room(room));
                }
            }
            Event::Counts { room, counts } => {
                let frame = || {
                    text_frame(&CountsPush {
                        room: room.clone(),
                        version: counts.version,
                        viewers: counts.viewers,
                        members: counts.members,
                        counters: counts.counters,
                    })
                };
                self.hub.publish(&room, frame, Class::Counts);
            }
            Event::Presence { room, joined, left, reset } => {
                let frame = || text_frame(&PresencePush { room: room.clone(), joined, left, reset });
                self.hub.publish(&room, frame, Class::Presence);
            }
            Event::Room { room, info } => {
                let frame = || text_frame(&RoomPush { room: room.clone(), version: info.version, info });
                self.hub.publish(&room, frame, Class::Room);
            }
            Event::Attempt { attempt, .. } => self
                .hub
                .tell_watcher(&attempt, |a, told| frames(a, told, self.clock.now(), &self.public_origin)),
            Event::SignedIn { user, session, device, ip } => {
                let frame = Bytes::from(text_frame(&SessionPush {
                    state: SessionState::NewDevice,
                    after_ms: None,
                    session: Some(session.clone()),
                    device: Some(device),
                    ip: Some(ip),
                }));
                for connection in self.hub.connections_of(&user) {
                    if connection.session().is_some_and(|s| s.id() != session) {
                        connection.push(frame.clone());
                    }
                }
            }
            Event::Revoked { user, session } => {
                let frame = Bytes::from(text_frame(&SessionPush {
                    state: SessionState::Revoked,
                    after_ms: None,
                    session: Some(session.clone()),
                    device: None,
                    ip: None,
                }));
                self.hub.end_session(&user, &session, &frame, CloseCode::Revoked);
            }
            Event::Suspect(Topic::Room(room)) => self.repairs.ask(Repair::Room(room)),
            Event::Suspect(Topic::Attempt(key)) => self.repairs.ask(Repair::Attempt(key)),
            Event::Suspect(Topic::User(user)) => self.repairs.ask(Repair::User(user)),
        }
    }
}

/// Frames of the events after `told`, with their numbers.
pub(super) fn frames(attempt: &Attempt, told: u32, now: u64, public_origin: &str) -> Vec<(u32, Bytes)> {
    let events = attempt.events_after(Some(told));
    events.iter().map(|e| (e.seq, Bytes::from(text_frame(&attempt.push(e, now, public_origin))))).collect()
}

/// Something to read again, because an event of it may have been missed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Repair {
    Room(RoomName),
    Attempt(AttemptKey),
    User(countersign_protocol::UserId),
}

/// A set, so that a thousand suspicions of one room are one read. Bounded by what is local: only rooms,
/// attempts and users with sockets here are followed.
#[derive(Clone, Default)]
pub(super) struct Repairs(Arc<(Mutex<HashSet<Repair>>, Notify)>);

impl Repairs {
    fn ask(&self, repair: Repair) {
        self.0.0.lock().insert(repair);
        self.0.1.notify_one();
    }

    /// What is to be read again; waits until there is something.
    pub(super) async fn next(&self) -> Vec<Repair> {
        loop {
            let asked: Vec<_> = std::mem::take(&mut *self.0.0.lock()).into_iter().collect();
            if !asked.is_empty() {
                return asked;
            }
            self.0.1.notified().await;
        }
    }
}

