//! Local connections and rooms: who is here, and how a frame reaches them. The hub knows nothing of where
//! shared state lives; the node joins it to the engine.

pub mod connection;
mod counters;
mod flusher;
mod outcome;
mod pending;
pub mod room;
mod subscription;
mod survey;
mod watch;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::{CloseCode, RoomName, UserId};
use dashmap::DashMap;
use parking_lot::Mutex;

pub use connection::{Charge, Connection, ConnectionId, End, OtherDevice, Requester, Standing, Watched};
pub use outcome::Awaited;
pub use room::{Appended, Room, Source};
pub use subscription::Subscription;
pub use survey::{Order, Tally};
pub use wire::{Format, MemoryWire, Wire};

use crate::core::attempt::AttemptKey;
use crate::core::outbox::Class;

/// Everything that hangs on this process's sockets.
#[derive(Debug, Default)]
pub struct Hub {
    connections: DashMap<ConnectionId, Arc<Connection>>,
    rooms: DashMap<RoomName, Arc<Room>>,
    users: DashMap<UserId, Vec<Arc<Connection>>>,
    watchers: DashMap<AttemptKey, watch::Watch>,
    outcomes: DashMap<AttemptKey, outcome::Waiting>,
    counters: Arc<counters::Counters>,
    told: counters::Told,
    counting: Mutex<()>,
}

impl Hub {
    /// Adds a connection to the registry that drain and operators walk.
    pub fn register(&self, connection: &Arc<Connection>) {
        self.counters.opened(connection.format);
        self.connections.insert(connection.id, Arc::clone(connection));
    }

    /// All connections of this process.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        self.connections.iter().map(|c| Arc::clone(c.value())).collect()
    }

    /// How many connections.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// One of them.
    pub fn connection(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.connections.get(&id).map(|c| Arc::clone(c.value()))
    }

    /// How many rooms have local members.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// Takes a connection out of everything local. Answers what the engine has to be told.
    pub fn unregister(&self, connection: &Arc<Connection>) -> Vec<RoomName> {
        if self.connections.remove(&connection.id).is_some() {
            self.counters.departed(&connection.take_sent());
            // An event stream whose reader left has no end of its own.
            self.counters
                .closed(connection.standing().end.unwrap_or(End::Broken));
        }
        let (session, subscriptions) = connection.set_departed();
        if let Some(session) = session {
            self.unbind_user(session.user_id(), connection);
        }
        subscriptions.iter().for_each(|s| self.leave(s));
        subscriptions.iter().map(|s| s.room.name().clone()).collect()
    }

    /// Counts a connection under its user, unless the user has `max` already.
    ///
    /// # Errors
    /// [`TooMany`] when the user is at the limit.
    pub fn bind_user(&self, user: &UserId, connection: &Arc<Connection>, max: usize) -> Result<(), TooMany> {
        let mut bound = self.users.entry(user.clone()).or_default();
        if bound.iter().any(|c| c.id == connection.id) {
            return Ok(());
        }
        if bound.len() >= max {
            drop(bound);
            self.users.remove_if(user, |_, bound| bound.is_empty());
            return Err(TooMany);
        }
        bound.push(Arc::clone(connection));
        Ok(())
    }

    fn unbind_user(&self, user: &UserId, connection: &Arc<Connection>) {
        if let Some(mut bound) = self.users.get_mut(user) {
            bound.retain(|c| c.id != connection.id);
        }
        self.users.remove_if(user, |_, bound| bound.is_empty());
    }

    /// Whether this user has a connection here.
    pub fn is_connected(&self, user: &UserId) -> bool {
        self.users.contains_key(user)
    }

    /// This user's connections here.
    pub fn connections_of(&self, user: &UserId) -> Vec<Arc<Connection>> {
        self.users
            .get(user)
            .map(|bound| bound.clone())
            .unwrap_or_default()
    }

    /// Join, step one: the connection is a member whose frames are held. One that has been unregistered gets a
    /// membership that has ended.
    pub fn hold(&self, name: &RoomName, connection: &Arc<Connection>) -> Arc<Subscription> {
        loop {
            let room = Arc::clone(
                self.rooms
                    .entry(name.clone())
                    .or_insert_with(|| self.new_room(name.clone()))
                    .value(),
            );
            if let Some(subscription) = room.hold(connection) {
                if !connection.remember(&subscription) {
                    self.leave(&subscription);
                }
                return subscription;
            }
            self.rooms.remove_if(name, |_, known| Arc::ptr_eq(known, &room));
        }
    }

    /// Join, step three: the reply leaves first, then what was held after `offset`, then live frames.
    /// `false`, and nothing done: the room has to be read again.
    pub fn release(&self, subscription: &Arc<Subscription>, reply: Bytes, offset: u64) -> bool {
        if !subscription.room.read_up_to(offset) {
            return false;
        }
        subscription.connection.release(subscription, reply, offset);
        true
    }

    /// Ends a membership here. Safe to call twice.
    pub fn leave(&self, subscription: &Arc<Subscription>) {
        let connection = &subscription.connection;
        connection.end_subscription(subscription);
        connection.forget(subscription);
        let room = &subscription.room;
        if room.remove(subscription) {
            self.rooms
                .remove_if(room.name(), |_, known| Arc::ptr_eq(known, room) && room.retire());
        }
    }

    /// A room with local members.
    pub fn room(&self, name: &RoomName) -> Option<Arc<Room>> {
        self.rooms.get(name).map(|r| Arc::clone(r.value()))
    }

    /// A message frame for everyone in a room.
    pub fn publish_message(
        &self,
        name: &RoomName,
        frame: impl FnOnce() -> Vec<u8>,
        offset: u64,
        class: Class,
    ) -> Appended {
        let appended = match self.room(name) {
            Some(room) => room.append_message(frame(), offset, class),
            None => Appended::Done,
        };
        if appended == Appended::Done {
            self.counters.published();
        }
        appended
    }

    /// Any other frame for everyone in a room.
    pub fn publish(&self, name: &RoomName, frame: impl FnOnce() -> Vec<u8>, class: Class) {
        if let Some(room) = self.room(name) {
            room.append(frame(), class);
        }
    }

    /// Absolute values (counts, info) for everyone in a room, unless newer ones were told before.
    pub fn publish_absolute(
        &self,
        name: &RoomName,
        frame: impl FnOnce() -> Vec<u8>,
        class: Class,
        version: u64,
        source: Source,
    ) {
        if let Some(room) = self.room(name) {
            room.append_absolute(frame(), class, version, source);
        }
    }

    /// The newest offset that reached a room's members here.
    pub fn last_offset(&self, name: &RoomName) -> Option<u64> {
        self.room(name).and_then(|r| r.last())
    }

    /// What lies between the last offset here and `top` cannot be had any more: members are told by a gap.
    pub fn skip_to(&self, name: &RoomName, top: u64) {
        if let Some(room) = self.room(name) {
            room.skip_to(top);
        }
    }

    /// Ends every connection of a session, with a last frame.
    pub fn end_session(&self, user: &UserId, session: &str, frame: &Bytes, code: CloseCode) {
        for connection in self.connections_of(user) {
            if connection.session().is_some_and(|s| s.id() == session) {
                connection.end_with(frame.clone(), code);
            }
        }
    }
}

/// The user has as many connections as allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;
