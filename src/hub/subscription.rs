//! A connection's membership of a room, from the start of a join to the leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::connection::Connection;
use super::room::Room;

/// A connection's membership of a room. A later one of the same connection and room is another.
#[derive(Debug)]
pub struct Subscription {
    pub connection: Arc<Connection>,
    pub room: Arc<Room>,
    /// Messages up to this offset are not for this member; or one of the two marks below. Leaves [`HELD`] and
    /// reaches [`GONE`] under the connection's outbox lock, so that an offer under it is before or after.
    live_after: AtomicU64,
    /// Where it stands in the room's list of members; read and written under the room's lock only.
    place: AtomicUsize,
}

/// The join is under way: frames are held.
const HELD: u64 = u64::MAX;
/// The member has left: frames of a flush that still knows it are dropped.
const GONE: u64 = u64::MAX - 1;
/// Not in the room's list.
const NOWHERE: usize = usize::MAX;

/// How far a membership is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The join is under way.
    Held,
    /// Messages after this offset are for this member.
    Live { after: u64 },
    /// It has ended.
    Gone,
}

impl Subscription {
    pub(super) fn new(connection: Arc<Connection>, room: Arc<Room>) -> Arc<Self> {
        Arc::new(Self {
            connection,
            room,
            live_after: AtomicU64::new(HELD),
            place: AtomicUsize::new(NOWHERE),
        })
    }

    /// Whether this is the memory of a membership that has ended.
    pub fn is_gone(&self) -> bool {
        self.stage() == Stage::Gone
    }

    /// Whether the join has been answered and the member has not left.
    pub fn is_live(&self) -> bool {
        matches!(self.stage(), Stage::Live { .. })
    }

    pub(super) fn stage(&self) -> Stage {
        match self.live_after.load(Ordering::Acquire) {
            HELD => Stage::Held,
            GONE => Stage::Gone,
            after => Stage::Live { after },
        }
    }

    /// `false` when it is not held any more: somebody has ended it while the join was under way.
    pub(super) fn go_live(&self, after: u64) -> bool {
        let after = after.min(GONE - 1);
        self.live_after
            .compare_exchange(HELD, after, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    pub(super) fn set_gone(&self) {
        self.live_after.store(GONE, Ordering::Release);
    }

    /// Its index in the room's list, if it is there.
    pub(super) fn place(&self) -> Option<usize> {
        Some(self.place.load(Ordering::Relaxed)).filter(|&at| at != NOWHERE)
    }

    pub(super) fn set_place(&self, at: Option<usize>) {
        self.place.store(at.unwrap_or(NOWHERE), Ordering::Relaxed);
    }
}
