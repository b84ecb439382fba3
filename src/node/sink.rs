//! Joins the engine to the hub: events become frames, once per room and node, and reach local members.
//! Called from inside engine locks, so nothing here waits or asks the engine; what needs a second look is put on
//! the list of repairs.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use countersign_protocol::CloseCode;
use countersign_protocol::RoomName;
use countersign_protocol::codec::{event_text, text_frame};
use countersign_protocol::server::{
    Counts, CountsPush, PresencePush, RoomInfo, RoomPush, SessionPush, SessionState,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::config::Config;
use crate::core::attempt::{self, Attempt, AttemptKey};
use crate::core::outbox::Class;
use crate::engine::{Event, Sink, Topic};
use crate::hub::{Appended, Format, Hub, Source};
use crate::ops::metrics::Metrics;

/// The hub, as the engine's sink.
pub struct NodeSink {
    hub: Arc<Hub>,
    clock: Clock,
    public_origin: String,
    config: Arc<ArcSwap<Config>>,
    repairs: Repairs,
    metrics: Arc<Metrics>,
}

impl NodeSink {
    pub(super) fn new(
        hub: Arc<Hub>,
        clock: Clock,
        public_origin: String,
        config: Arc<ArcSwap<Config>>,
        repairs: Repairs,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            hub,
            clock,
            public_origin,
            config,
            repairs,
            metrics,
        }
    }
}

impl Sink for NodeSink {
    fn deliver(&self, event: Event) {
        match event {
            Event::Published { room, publication } => {
                let class = Class::from(publication.priority);
                let frame = || text_frame(&publication.push(&room));
                if let Appended::Missed { .. } =
                    self.hub.publish_message(&room, frame, publication.offset, class)
                {
                    self.repairs.ask(Repair::Room(room));
                }
            }
            Event::Counts { room, counts } => publish_counts(&self.hub, &room, counts, Source::Told),
            Event::Presence {
                room,
                joined,
                left,
                reset,
            } => {
                let frame = || {
                    text_frame(&PresencePush {
                        room: room.clone(),
                        joined,
                        left,
                        reset,
                    })
                };
                self.hub.publish(&room, frame, Class::Presence);
            }
            Event::Room { room, info } => publish_info(&self.hub, &room, info, Source::Told),
            Event::Attempt { attempt, .. } => {
                let key = attempt.key();
                let told = self.hub.tell_watcher(&attempt, |a, told, format| {
                    frames(a, told, format, self.clock.now(), &self.public_origin)
                });
                if told {
                    let took = self.clock.now().saturating_sub(attempt.newest_at());
                    self.metrics.qr.pushed(took);
                }
                self.hub.tell_phones(key);
                if !self.hub.is_watched(key) && !self.hub.is_awaited(key) {
                    self.repairs.ask(Repair::Needless(Topic::Attempt(key)));
                }
            }
            Event::SignedIn {
                user,
                session,
                device,
                ip,
                client,
            } => {
                let frame = Bytes::from(text_frame(&SessionPush {
                    state: SessionState::NewDevice,
                    after_ms: None,
                    session: Some(session.clone()),
                    device: Some(device),
                    ip: Some(ip),
                    client: client.map(|id| self.config.load().client_name(&id)),
                }));
                for connection in self.hub.connections_of(&user) {
                    if connection.session().is_some_and(|s| s.id() != session) {
                        connection.push(frame.clone());
                    }
                }
            }
            Event::Revoked { user, session } => {
                self.hub
                    .end_session(&user, &session, &revoked_frame(&session), CloseCode::Revoked);
            }
            Event::Suspect(Topic::Room(room)) => self.repairs.ask(Repair::Room(room)),
            Event::Suspect(Topic::Attempt(key)) => self.repairs.ask(Repair::Attempt(key)),
            Event::Suspect(Topic::User(user)) => self.repairs.ask(Repair::User(user)),
        }
    }
}

/// The events after `told` as their watcher reads them, with their numbers.
pub(super) fn frames(
    attempt: &Attempt,
    told: u32,
    format: Format,
    now: u64,
    public_origin: &str,
) -> Vec<(u32, Bytes)> {
    let events = attempt.events_after(Some(told));
    let written = |event: &attempt::Event| {
        let push = attempt.push(event, now, public_origin);
        match format {
            Format::Frames => text_frame(&push),
            Format::Events => event_text(u64::from(event.seq), &push),
        }
    };
    events.iter().map(|e| (e.seq, written(e).into())).collect()
}

/// The last frame of a revoked session's connections.
pub(super) fn revoked_frame(session: &str) -> Bytes {
    Bytes::from(text_frame(&SessionPush {
        state: SessionState::Revoked,
        after_ms: None,
        session: Some(session.to_owned()),
        device: None,
        ip: None,
        client: None,
    }))
}

/// Tells a room's members here how many they are.
pub(super) fn publish_counts(hub: &Hub, room: &RoomName, counts: Counts, source: Source) {
    let version = counts.version;
    let frame = || {
        text_frame(&CountsPush {
            room: room.clone(),
            version,
            viewers: counts.viewers,
            members: counts.members,
            counters: counts.counters,
        })
    };
    hub.publish_absolute(room, frame, Class::Counts, version, source);
}

/// Tells a room's members here what it is called and about.
pub(super) fn publish_info(hub: &Hub, room: &RoomName, info: RoomInfo, source: Source) {
    let version = info.version;
    let frame = || {
        text_frame(&RoomPush {
            room: room.clone(),
            version,
            info,
        })
    };
    hub.publish_absolute(room, frame, Class::Room, version, source);
}

/// What a repair came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repaired {
    Done,
    /// Not yet: try again soon.
    Later,
}

/// Something to read again, because an event of it may have been missed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Repair {
    Room(RoomName),
    Attempt(AttemptKey),
    User(countersign_protocol::UserId),
    /// A topic that is followed for nobody, as it seems.
    Needless(Topic),
}

/// A set, so that a thousand suspicions of one room are one read. Bounded by what is local: only rooms,
/// attempts and users with sockets here are followed.
#[derive(Clone, Default)]
pub(super) struct Repairs(Arc<Asked>);

#[derive(Default)]
struct Asked {
    repairs: Mutex<HashSet<Repair>>,
    closed: AtomicBool,
    notify: Notify,
}

impl Repairs {
    pub(super) fn ask(&self, repair: Repair) {
        self.0.repairs.lock().insert(repair);
        self.0.notify.notify_one();
    }

    /// What is to be read again; waits until there is something. `None` once the node is gone.
    pub(super) async fn next(&self) -> Option<Vec<Repair>> {
        loop {
            if self.0.closed.load(Ordering::Acquire) {
                return None;
            }
            let asked: Vec<_> = std::mem::take(&mut *self.0.repairs.lock()).into_iter().collect();
            if !asked.is_empty() {
                return Some(asked);
            }
            self.0.notify.notified().await;
        }
    }

    /// The node is gone.
    pub(super) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        self.0.notify.notify_one();
    }
}
