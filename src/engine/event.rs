//! What the engine tells each node, and whom it tells.

use std::sync::Arc;

use countersign_protocol::server::{Counts, Member, PublicDevice, RoomInfo};
use countersign_protocol::{RoomName, UserId};
use serde::{Deserialize, Serialize};

use crate::core::attempt::{self, Attempt, AttemptKey};
use crate::core::stream::Publication;

/// Something happened to shared state. Events of one topic come in order, never two at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// A message was sequenced.
    Published {
        room: RoomName,
        publication: Arc<Publication>,
    },
    /// A room's info changed.
    Room { room: RoomName, info: RoomInfo },
    /// A room's counts changed, as they are now.
    Counts { room: RoomName, counts: Counts },
    /// Who came and went since the last such event; `reset` when that was too much to list.
    Presence {
        room: RoomName,
        joined: Vec<Member>,
        left: Vec<UserId>,
        reset: bool,
    },
    /// A QR login changed: the attempt after the change, and the events to tell its PC.
    Attempt {
        attempt: Arc<Attempt>,
        events: Vec<attempt::Event>,
    },
    /// A user signed in on another device.
    SignedIn {
        user: UserId,
        session: String,
        device: PublicDevice,
        ip: String,
        /// The id of the registered client it is for, if for one.
        client: Option<String>,
    },
    /// A session's tokens stopped working.
    Revoked { user: UserId, session: String },
    /// Something about this topic may have been missed: read it again.
    Suspect(Topic),
}

impl Event {
    /// What it is about: events of one topic are in order.
    pub fn topic(&self) -> Topic {
        match self {
            Event::Published { room, .. }
            | Event::Room { room, .. }
            | Event::Counts { room, .. }
            | Event::Presence { room, .. } => Topic::Room(room.clone()),
            Event::Attempt { attempt, .. } => Topic::Attempt(attempt.key()),
            Event::SignedIn { user, .. } | Event::Revoked { user, .. } => Topic::User(user.clone()),
            Event::Suspect(topic) => topic.clone(),
        }
    }
}

/// What a node can follow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Topic {
    Room(RoomName),
    User(UserId),
    Attempt(AttemptKey),
}

/// Where events go. A sink never blocks, never awaits and never calls the engine: it may be called from
/// inside a room's lock.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn deliver(&self, event: Event);
}
