//! The engine of one process: concurrent maps, and per-record locks that keep each topic's events in order.
//!
//! No guard of a map leaves the function that took it; records are handed out as `Arc`s. The sink is called
//! under the lock that orders the topic: a room's, an attempt's, and for a user one of a few that all users
//! share. Lock order: attempt → user → session, and any of them → a list of what comes due.

mod accounts;
mod attempts;
mod due;
mod places;
mod rooms;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, OnceLock};

use countersign_protocol::{RoomName, UserId};
use dashmap::DashMap;
use parking_lot::{Mutex, MutexGuard};

use super::Tallies;
use super::event::{Event, Sink, Topic};
use super::record::{Account, EngineError, OnceKey, SessionRecord};
use crate::core::attempt::{AttemptKey, Policy, QrId, UserCode};
use crate::core::rate::Rate;
use crate::core::stream::{CidKey, StreamLimits};
use places::Places;

/// Bounds of the memory engine. The defaults are those of `docs/configuration.md`.
#[derive(Debug, Clone)]
pub struct MemoryLimits {
    pub rooms_max: usize,
    /// An empty room is dropped after this; the next one by its name has a new epoch.
    pub room_idle_ms: u64,
    /// Counts of a room are published at most this often.
    pub counts_interval_ms: u32,
    pub stream: StreamLimits,
    /// History of all rooms together; beyond it the rooms silent for longest lose theirs first.
    pub history_bytes_max: usize,
    /// Messages of a room.
    pub room_rate: Rate,
    /// Share of `room_rate`'s burst kept for `high` messages, percent.
    pub room_reserved_percent: u8,
    pub attempts_max: usize,
    /// Waiting attempts opened from one address.
    pub attempts_waiting_per_address_max: usize,
    pub attempt: Policy,
    pub accounts_max: usize,
    pub sessions_per_user_max: usize,
    /// Once-only keys remembered at a time.
    pub once_keys_max: usize,
}

/// Shared state in this process.
pub struct Memory {
    limits: MemoryLimits,
    sink: OnceLock<Arc<dyn Sink>>,
    cid_key: CidKey,
    rooms: DashMap<RoomName, Arc<rooms::RoomCell>>,
    room_places: Places,
    history_bytes: AtomicUsize,
    trimming: Mutex<()>,
    attempts: DashMap<AttemptKey, Arc<attempts::AttemptCell>>,
    attempt_places: Places,
    attempt_ids: DashMap<QrId, AttemptKey>,
    /// Device authorizations by what a phone types, and by the digest of what their device has.
    user_codes: DashMap<UserCode, AttemptKey>,
    device_codes: DashMap<[u8; 32], AttemptKey>,
    scanned_by: DashMap<String, Vec<AttemptKey>>,
    /// By network: a host with IPv6 has more addresses than it can count.
    waiting: DashMap<IpAddr, usize>,
    accounts: DashMap<UserId, Arc<Account>>,
    account_places: Places,
    sessions: DashMap<String, Arc<Mutex<Arc<SessionRecord>>>>,
    sessions_of: DashMap<UserId, Vec<String>>,
    user_order: UserOrder,
    once: Mutex<Once>,
    due: due::Schedule,
    pub(in crate::engine) tallies: Tallies,
}

/// Locks under which the events of a user are told, one after the other. Users share them.
struct UserOrder {
    locks: [Mutex<()>; 64],
    hash: RandomState,
}

impl UserOrder {
    fn lock(&self, user: &UserId) -> MutexGuard<'_, ()> {
        // The remainder is below the length, whatever the width of a pointer.
        #[allow(clippy::cast_possible_truncation)]
        let at = self.hash.hash_one(user) as usize % self.locks.len();
        self.locks[at].lock()
    }
}

/// Once-only keys with the time each may be forgotten at.
#[derive(Default)]
struct Once {
    keys: std::collections::HashMap<OnceKey, u64>,
    by_end: BTreeSet<(u64, [u8; 32])>,
}

impl Memory {
    /// An empty engine. Events are dropped until [`Memory::attach`].
    pub fn new(limits: MemoryLimits) -> Arc<Self> {
        Arc::new(Self {
            room_places: Places::new(limits.rooms_max, "rooms"),
            attempt_places: Places::new(limits.attempts_max, "attempts"),
            account_places: Places::new(limits.accounts_max, "accounts"),
            limits,
            sink: OnceLock::new(),
            cid_key: CidKey::new(RandomState::new(), RandomState::new()),
            rooms: DashMap::new(),
            history_bytes: AtomicUsize::new(0),
            trimming: Mutex::new(()),
            attempts: DashMap::new(),
            attempt_ids: DashMap::new(),
            user_codes: DashMap::new(),
            device_codes: DashMap::new(),
            scanned_by: DashMap::new(),
            waiting: DashMap::new(),
            accounts: DashMap::new(),
            sessions: DashMap::new(),
            sessions_of: DashMap::new(),
            user_order: UserOrder {
                locks: std::array::from_fn(|_| Mutex::new(())),
                hash: RandomState::new(),
            },
            once: Mutex::new(Once::default()),
            due: due::Schedule::default(),
            tallies: Tallies::default(),
        })
    }

    /// Where events go; the first sink stays.
    pub fn attach(&self, sink: Arc<dyn Sink>) {
        let _ = self.sink.set(sink);
    }

    fn deliver(&self, event: Event) {
        if let Some(sink) = self.sink.get() {
            sink.deliver(event);
        }
    }

    pub(in crate::engine) fn take(&self, key: OnceKey, until: u64, now: u64) -> Result<bool, EngineError> {
        let OnceKey::Proof(digest) = key;
        let mut once = self.once.lock();
        while let Some(&(end, oldest)) = once.by_end.first().filter(|(end, _)| *end <= now) {
            once.by_end.remove(&(end, oldest));
            once.keys.remove(&OnceKey::Proof(oldest));
        }
        if once.keys.contains_key(&key) {
            return Ok(false);
        }
        if once.keys.len() >= self.limits.once_keys_max {
            // Forgetting a key early would let it be used twice.
            return Err(EngineError::Full("once-only keys"));
        }
        once.keys.insert(key, until);
        once.by_end.insert((until, digest));
        Ok(true)
    }

    // One process needs no subscription: every event is delivered here.
    #[allow(
        clippy::unused_self,
        clippy::needless_pass_by_value,
        clippy::unnecessary_wraps
    )]
    pub(in crate::engine) fn follow(&self, _: Topic) -> Result<(), EngineError> {
        Ok(())
    }

    #[allow(
        clippy::unused_self,
        clippy::needless_pass_by_value,
        clippy::unnecessary_wraps
    )]
    pub(in crate::engine) fn unfollow(&self, _: Topic) -> Result<(), EngineError> {
        Ok(())
    }
}

impl Memory {
    /// QR logins kept, those that have ended lately included: what [`MemoryLimits::attempts_max`] bounds.
    pub fn attempts_kept(&self) -> usize {
        self.attempt_places.taken()
    }

    /// Rooms kept: what [`MemoryLimits::rooms_max`] bounds.
    pub(in crate::engine) fn rooms_kept(&self) -> usize {
        self.room_places.taken()
    }

    /// History kept: what [`MemoryLimits::history_bytes_max`] bounds.
    pub(in crate::engine) fn history_bytes(&self) -> usize {
        self.history_bytes.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory")
            .field("rooms", &self.rooms.len())
            .field("attempts", &self.attempts.len())
            .finish_non_exhaustive()
    }
}
