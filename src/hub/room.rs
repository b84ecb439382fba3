//! A room's local members, its pending frames, and its one flusher.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::BytesMut;
use countersign_protocol::RoomName;
use countersign_protocol::codec;
use countersign_protocol::server::GapPush;
use parking_lot::Mutex;

use super::connection::{Connection, ConnectionId, Subscription};
use crate::core::outbox::{Batch, Class, Mark};

/// Pending bytes of a room above which `low` messages are refused; `normal` at twice this.
pub const PENDING_LOW_BYTES_MAX: usize = 128 * 1024;
/// Pending bytes of a room above which `normal` messages are refused.
pub const PENDING_BYTES_MAX: usize = 256 * 1024;
/// Pending bytes above which everything is refused, and what arrives all the same becomes a `gap`.
pub const PENDING_HARD_BYTES_MAX: usize = 512 * 1024;
/// Members served between two yields of a flusher.
const FLUSH_CHUNK: usize = 256;

/// A room as this process's sockets know it.
#[derive(Debug)]
pub struct Room {
    name: RoomName,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Arc<Subscription>>,
    positions: HashMap<ConnectionId, usize>,
    pending: BytesMut,
    marks: Vec<Mark>,
    /// Messages that found `pending` over its hard bound, told as one gap before the next frame.
    dropped: Option<(u64, u64)>,
    flushing: bool,
    retired: bool,
    /// The newest offset appended here; what is not its successor shows that something was missed.
    last: Option<u64>,
    /// Where `last` started: messages up to here were never appended, joiners had them from a read.
    floor: u64,
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
    pub(super) fn new(name: RoomName) -> Arc<Self> {
        Arc::new(Self { name, state: Mutex::new(State::default()) })
    }

    /// The room's name.
    pub fn name(&self) -> &RoomName {
        &self.name
    }

    /// Bytes waiting to be flushed.
    pub fn pending_bytes(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Local members, those still joining included.
    pub fn len(&self) -> usize {
        self.state.lock().members.len()
    }

    /// Whether nobody local is here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a member whose frames are held. `None`: the room has been retired, look it up again.
    pub(super) fn hold(self: &Arc<Self>, connection: &Arc<Connection>) -> Option<Arc<Subscription>> {
        let subscription = Subscription::new(Arc::clone(connection), Arc::clone(self));
        let mut state = self.state.lock();
        if state.retired {
            return None;
        }
        connection.begin_hold(&subscription);
        let at = state.members.len();
        state.members.push(Arc::clone(&subscription));
        state.positions.insert(connection.id, at);
        Some(subscription)
    }

    /// Takes a member out; `true` when nobody is left.
    pub(super) fn remove(&self, subscription: &Arc<Subscription>) -> bool {
        let mut state = self.state.lock();
        let id = subscription.connection.id;
        let Some(&at) = state.positions.get(&id) else {
            return state.members.is_empty();
        };
        if !state.members.get(at).is_some_and(|m| Arc::ptr_eq(m, subscription)) {
            return false;
        }
        state.positions.remove(&id);
        state.members.swap_remove(at);
        if let Some(moved) = state.members.get(at).map(|m| m.connection.id) {
            state.positions.insert(moved, at);
        }
        if state.members.capacity() > 64 && state.members.len() < state.members.capacity() / 4 {
            state.members.shrink_to_fit();
            state.positions.shrink_to_fit();
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
    pub(super) fn append(self: &Arc<Self>, frame: &[u8], class: Class) {
        let mut state = self.state.lock();
        if state.members.is_empty() {
            return;
        }
        if state.pending.len() < PENDING_HARD_BYTES_MAX {
            state.add(frame, 0, class);
        }
        self.start(&mut state);
    }

    /// Appends a message frame in its order.
    pub(super) fn append_message(self: &Arc<Self>, frame: &[u8], offset: u64, class: Class) -> Appended {
        let mut state = self.state.lock();
        match state.last {
            Some(last) if offset <= last => return Appended::Stale,
            Some(last) if offset > last + 1 => return Appended::Missed { after: last },
            _ => {}
        }
        state.last = Some(offset);
        if state.members.is_empty() {
            return Appended::Done;
        }
        if state.pending.len() >= PENDING_HARD_BYTES_MAX && class != Class::High {
            let from = state.dropped.map_or(offset, |(from, _)| from);
            state.dropped = Some((from, offset));
            return Appended::Done;
        }
        if let Some((from, to)) = state.dropped.take() {
            let gap = codec::text_frame(&GapPush { room: self.name.clone(), from, to });
            state.add(&gap, 0, Class::Own);
        }
        state.add(frame, offset, class);
        self.start(&mut state);
        Appended::Done
    }

    /// A joiner has read the room up to `offset`. `false`: another joiner's read went further before anything
    /// was appended here, so what lies between will not come; read again.
    pub(super) fn read_up_to(&self, offset: u64) -> bool {
        let mut state = self.state.lock();
        if state.last.is_none() {
            state.last = Some(offset);
            state.floor = offset;
        }
        offset >= state.floor
    }

    /// The newest offset appended here.
    pub(super) fn last(&self) -> Option<u64> {
        self.state.lock().last
    }

    /// A read of the room found it at `top`, with nothing in between that could still be had.
    pub(super) fn skip_to(&self, top: u64) {
        let mut state = self.state.lock();
        if let Some(last) = state.last
            && top > last
        {
            let from = state.dropped.map_or(last + 1, |(from, _)| from);
            state.dropped = Some((from, top));
            state.last = Some(top);
        }
    }

    fn start(self: &Arc<Self>, state: &mut State) {
        if !state.flushing {
            state.flushing = true;
            tokio::spawn(flush(Arc::clone(self)));
        }
    }

    /// The next batch and who is to get it, or the end of this flusher.
    fn take(&self) -> Option<(Arc<Batch>, Vec<Arc<Subscription>>)> {
        let mut state = self.state.lock();
        if state.marks.is_empty() {
            // Only here, under the lock and with nothing pending, does a flusher end: two flushers in one
            // room would overtake each other.
            state.flushing = false;
            if state.pending.capacity() > PENDING_LOW_BYTES_MAX {
                state.pending = BytesMut::new();
            }
            return None;
        }
        let bytes = state.pending.split().freeze();
        let marks = std::mem::take(&mut state.marks);
        let batch = Arc::new(Batch::new(self.name.clone(), bytes, marks));
        Some((batch, state.members.clone()))
    }
}

impl State {
    fn add(&mut self, frame: &[u8], offset: u64, class: Class) {
        self.pending.extend_from_slice(frame);
        let end = u32::try_from(self.pending.len()).unwrap_or(u32::MAX);
        self.marks.push(Mark { end, offset, class });
    }
}

/// The one flusher of a room: what is pending goes to each member as one buffer, until nothing is pending.
async fn flush(room: Arc<Room>) {
    let mut guard = Handover(Some(room));
    let Some(room) = guard.0.as_ref() else { return };
    // Publishers that are ready append to the same batch.
    tokio::task::yield_now().await;
    while let Some((batch, members)) = room.take() {
        for (i, subscription) in members.iter().enumerate() {
            subscription.connection.offer(subscription, &batch);
            if (i + 1) % FLUSH_CHUNK == 0 {
                tokio::task::yield_now().await;
            }
        }
        drop(members);
        tokio::task::yield_now().await;
    }
    guard.0 = None;
}

/// If a flusher panics its room would be frozen: another takes over.
struct Handover(Option<Arc<Room>>);

impl Drop for Handover {
    fn drop(&mut self) {
        if let Some(room) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(flush(room));
        }
    }
}
