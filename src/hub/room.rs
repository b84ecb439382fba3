//! A room's local members, and what is pending for them.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::RoomName;
use parking_lot::Mutex;

use super::connection::Connection;
use super::counters::Counters;
use super::flusher::Flusher;
pub use super::pending::PENDING_CUT_OFF_BYTES_MAX;
use super::pending::{Pending, Pushed, Taken};
use super::subscription::Subscription;
use crate::core::outbox::Class;

/// A list of members shorter than this is not shrunk.
const SHRINK_FROM: usize = 64;

/// A room as this process's sockets know it.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    state: Mutex<State>,
    pub(super) counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Arc<Subscription>>,
    /// Rises with every change of `members`: a flusher copies them again only when there was one.
    changes: u64,
    pending: Pending,
    flushing: bool,
    retired: bool,
    /// The newest offset appended here; what is not its successor shows that something was missed.
    last: Option<u64>,
    /// Where `last` started: messages up to here were never appended, joiners had them from a read.
    floor: u64,
    /// The newest versions told, of counts and of info.
    counts_version: u64,
    info_version: u64,
}

/// Where absolute values come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A publication, which may come late or twice.
    Told,
    /// A read, which may hold later counts than the publication of the same version.
    Read,
}

/// What became of a message offered to a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It will be flushed, or nobody is here to see it.
    Done,
    /// It was here before.
    Stale,
    /// One or more before it are missing: read the room again.
    Missed {
        /// The newest offset seen.
        after: u64,
    },
}

impl Room {
    pub(super) fn new(name: RoomName, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Self {
            name,
            counters,
            state: Mutex::new(State::default()),
        })
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Bytes waiting to be flushed.
    pub fn pending_bytes(&self) -> usize {
        self.state.lock().pending.bytes()
    }

    /// Local members, those still joining included.
    pub fn len(&self) -> usize {
        self.state.lock().members.len()
    }

    /// Whether nobody local is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a flusher is at work.
    #[cfg(test)]
    pub(super) fn is_flushing(&self) -> bool {
        self.state.lock().flushing
    }

    /// Adds a member whose frames are held. `None`: the room has been retired, look it up again.
    pub(super) fn hold(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Arc<Subscription>> {
        let subscription = Subscription::new(Arc::clone(connection), Arc::clone(self));
        let mut state = self.state.lock();
        if state.retired {
            return None;
        }
        connection.begin_hold(&subscription);
        subscription.set_place(Some(state.members.len()));
        state.members.push(Arc::clone(&subscription));
        state.changes += 1;
        Some(subscription)
    }

    /// Takes a member out; `true` when nobody is left.
    pub(super) fn remove(&self, subscription: &Arc<Subscription>) -> bool {
        let mut state = self.state.lock();
        // Its own place, not that of its connection: that may have joined again before this leave is through.
        if let Some(at) = subscription.place() {
            subscription.set_place(None);
            state.members.swap_remove(at);
            if let Some(moved) = state.members.get(at) {
                moved.set_place(Some(at));
            }
            state.changes += 1;
            let (len, capacity) = (state.members.len(), state.members.capacity());
            if capacity >= SHRINK_FROM && len < capacity / 4 {
                state.members.shrink_to(len * 2);
            }
        }
        state.members.is_empty()
    }

    /// Marks an empty room as gone; whoever still holds it looks up again.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.state.lock();
        state.retired |= state.members.is_empty();
        state.retired
    }

    /// Appends a frame that is no message.
    pub(super) fn append(self: &Arc<Self>, frame: Vec<u8>, class: Class) {
        self.append_locked(&mut self.state.lock(), frame, class);
    }

    fn append_locked(self: &Arc<Self>, state: &mut State, frame: Vec<u8>, class: Class) {
        if state.members.is_empty() {
            return;
        }
        self.push(state, frame, 0, class);
        self.start(state);
    }

    /// Appends a frame of absolute values, unless newer ones were before.
    pub(super) fn append_absolute(
        self: &Arc<Self>,
        frame: Vec<u8>,
        class: Class,
        version: u64,
        source: Source,
    ) {
        let mut state = self.state.lock();
        let (newest, again) = match class {
            Class::Room => (&mut state.info_version, false),
            _ => (&mut state.counts_version, source == Source::Read),
        };
        if version > *newest || (version == *newest && again) {
            *newest = version;
            self.append_locked(&mut state, frame, class);
        }
    }

    /// Appends a message frame in its order.
    pub(super) fn append_message(self: &Arc<Self>, frame: Vec<u8>, offset: u64, class: Class) -> Appended {
        let mut state = self.state.lock();
        match state.last {
            Some(last) if offset <= last => return Appended::Stale,
            Some(last) if offset > last + 1 => return Appended::Missed { after: last },
            Some(_) => {}
            // Whoever joins has to have read what came before, for it may not come again.
            None => state.floor = offset.saturating_sub(1),
        }
        state.last = Some(offset);
        if !state.members.is_empty() {
            self.push(&mut state, frame, offset, class);
            self.start(&mut state);
        }
        Appended::Done
    }

    /// A joiner has read the room up to `offset`. `false`: what lies behind that was never appended here, or has
    /// been told as a gap already, so it will not come; read again.
    pub(super) fn read_up_to(self: &Arc<Self>, offset: u64) -> bool {
        let mut state = self.state.lock();
        if state.last.is_none() {
            state.last = Some(offset);
            state.floor = offset;
        }
        if offset < state.floor.max(state.pending.gap_end()) {
            return false;
        }
        let last = state.last.unwrap_or(offset);
        if state.pending.joined(&self.name, offset, last) {
            self.start(&mut state);
        }
        true
    }

    /// The newest offset appended here.
    pub(super) fn last(&self) -> Option<u64> {
        self.state.lock().last
    }

    /// A read of the room found it at `top`, with nothing in between that could still be had.
    pub(super) fn skip_to(self: &Arc<Self>, top: u64) {
        let mut state = self.state.lock();
        let Some(last) = state.last.filter(|&last| top > last) else {
            return;
        };
        state.last = Some(top);
        if !state.members.is_empty() {
            state.pending.miss(last + 1, top);
            self.start(&mut state);
        }
    }

    /// Queues a member's answer if a flush that it is part of is still to come, and writes it at once if not.
    pub(super) fn answer(&self, subscription: &Subscription, frame: Bytes) {
        let state = self.state.lock();
        if state.flushing && !state.pending.is_empty() && subscription.place().is_some() {
            // Queued under the room's lock: that flush cannot be over before this is there.
            subscription.connection.queue(frame);
            return;
        }
        drop(state);
        subscription.connection.push(frame);
    }

    fn push(&self, state: &mut State, frame: Vec<u8>, offset: u64, class: Class) {
        if state.pending.push(&self.name, frame, offset, class) == Pushed::Dropped {
            self.counters.overran(class);
        }
    }

    fn start(self: &Arc<Self>, state: &mut State) {
        if !state.flushing {
            state.flushing = Flusher::start(self);
        }
    }

    /// Ends the flusher when nothing is pending: `true`. Only here and in [`Room::take`], under the lock, does one
    /// end: two flushers in one room would overtake each other.
    pub(super) fn rest(&self) -> bool {
        let mut state = self.state.lock();
        state.flushing = !state.pending.is_empty();
        !state.flushing
    }

    /// What a flusher is to do next and who is to get it. [`Taken::Nothing`] is the end of the flusher.
    pub(super) fn take(&self, members: &mut Vec<Arc<Subscription>>, changes: &mut Option<u64>) -> Taken {
        let mut state = self.state.lock();
        let taken = state.pending.take(&self.name);
        if matches!(taken, Taken::Nothing) {
            state.flushing = false;
        } else if *changes != Some(state.changes) {
            // A plain copy: walked in pieces, the list itself would hide whom a leave moves forward.
            members.clear();
            members.extend_from_slice(&state.members);
            *changes = Some(state.changes);
        }
        taken
    }
}
