//! Which topics this node follows: those that somebody connected here is concerned with.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tokio::sync::{Mutex, MutexGuard};

use super::{Departure, Node};
use crate::engine::{AttemptRef, EngineError, Topic};
use crate::hub::{Connection, Subscription};

/// Topics share this many turns.
const TURNS: usize = 64;

/// One at a time follows a topic or stops following it. Without turns an unfollow, decided when nobody was left,
/// could reach the engine after the follow of somebody who came since, who then hears nothing.
pub(super) struct Turns {
    turns: [Mutex<()>; TURNS],
    hash: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            turns: std::array::from_fn(|_| Mutex::default()),
            hash: RandomState::new(),
        }
    }
}

impl Turns {
    /// Hold it from before somebody here becomes concerned with the topic until it is followed. Nobody holds two.
    pub(super) async fn turn(&self, topic: &Topic) -> MutexGuard<'_, ()> {
        // The remainder is below the length, whatever the width of a pointer.
        #[allow(clippy::cast_possible_truncation)]
        let at = self.hash.hash_one(topic) as usize % TURNS;
        self.turns[at].lock().await
    }
}

/// What the reaper has to do in place of a command that was dropped on the way.
pub(super) struct Unfinished<'a> {
    node: &'a Node,
    departure: Option<Departure>,
}

impl Unfinished<'_> {
    /// The command came through, or was refused.
    pub(super) fn done(mut self) {
        self.departure = None;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(departure) = self.departure.take() {
            let _ = self.node.departures.send(departure);
        }
    }
}

impl Node {
    /// Stops following a topic, unless somebody here is concerned with it.
    pub(super) async fn unfollow_unless_needed(&self, topic: Topic) {
        if self.is_needed(&topic) {
            // Whoever is the last to go comes by here.
            return;
        }
        let _turn = self.turns.turn(&topic).await;
        if self.is_needed(&topic) {
            return;
        }
        if let Err(e) = self.engine.unfollow(topic.clone()).await {
            tracing::warn!(?topic, error = %e, "could not unfollow");
        }
    }

    fn is_needed(&self, topic: &Topic) -> bool {
        match topic {
            Topic::Room(room) => self.hub.room(room).is_some(),
            Topic::User(user) => self.hub.is_connected(user),
            Topic::Attempt(key) => self.hub.is_watched(*key) || self.hub.is_awaited(*key),
        }
    }

    /// Ends a membership, here and in the engine. When the connection ends meanwhile, and the command with it,
    /// the reaper tells the engine: a viewer who is gone is not counted for ever.
    pub(super) async fn part(&self, subscription: &Arc<Subscription>) -> Result<(), EngineError> {
        let (room, connection) = (subscription.room.name().clone(), subscription.connection.id);
        let departure = Departure {
            connection,
            rooms: vec![room.clone()],
            attempt: None,
            user: None,
            _place: None,
        };
        let unfinished = Unfinished {
            node: self,
            departure: Some(departure),
        };
        self.hub.leave(subscription);
        let told = self
            .engine
            .leave(room.clone(), connection, self.clock.now())
            .await;
        self.unfollow_unless_needed(Topic::Room(room)).await;
        unfinished.done();
        told
    }

    /// Hold it while the engine is told that `connection` watches an attempt, and the connection has not been told:
    /// when it ends meanwhile, and the command with it, the attempt would be watched by somebody who is gone, and
    /// would not end before its whole life is over.
    pub(super) fn unfinished_watch(&self, connection: &Connection, attempt: AttemptRef) -> Unfinished<'_> {
        Unfinished {
            node: self,
            departure: Some(Departure {
                connection: connection.id,
                rooms: Vec::new(),
                attempt: Some(attempt),
                user: None,
                _place: None,
            }),
        }
    }
}
