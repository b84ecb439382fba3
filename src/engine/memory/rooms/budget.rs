//! How much of what was said is kept: by room and time, and by all rooms together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::Memory;
use super::{RoomCell, RoomState};

impl Memory {
    pub(super) fn count_bytes(&self, before: usize, after: usize) {
        if after >= before {
            self.history_bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.history_bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }

    /// Above the node's bound the rooms that have been silent for longest lose their history, an eighth of
    /// the bound at a time so that the walk over the rooms is rare.
    pub(super) fn trim_history(&self) {
        let max = self.limits.history_bytes_max;
        if self.history_bytes.load(Ordering::Relaxed) <= max {
            return;
        }
        if let Some(_only_one) = self.trimming.try_lock() {
            self.trim(self.by_silence(), max - max / 8);
        }
    }

    /// All rooms, the one that has been silent for longest first.
    pub(in crate::engine::memory) fn by_silence(&self) -> Vec<Arc<RoomCell>> {
        let mut silent: Vec<(u64, Arc<RoomCell>)> = Vec::new();
        for room in self.rooms.iter() {
            silent.push((0, Arc::clone(room.value())));
        }
        for (at, room) in &mut silent {
            *at = room.state.lock().stream.last_at();
        }
        silent.sort_by_key(|(at, _)| *at);
        silent.into_iter().map(|(_, room)| room).collect()
    }

    /// Takes history from `rooms`, in this order, until all rooms together hold at most `bytes`.
    pub(in crate::engine::memory) fn trim(&self, rooms: Vec<Arc<RoomCell>>, bytes: usize) {
        for room in rooms {
            let mut state = room.state.lock();
            if state.retired {
                // Its bytes have been counted out.
                continue;
            }
            while self.history_bytes.load(Ordering::Relaxed) > bytes {
                let freed = state.stream.trim_oldest();
                if freed == 0 {
                    break;
                }
                self.count_bytes(freed, 0);
            }
            if self.history_bytes.load(Ordering::Relaxed) <= bytes {
                return;
            }
        }
    }

    /// Longest that anything said in a room is remembered.
    pub(super) fn kept_ms(&self) -> u64 {
        self.limits.stream.age_ms.max(self.limits.stream.cid_ms)
    }

    /// Forgets what is too old where nobody speaks. Looks again once everything will be.
    pub(super) fn expire(&self, state: &mut RoomState, now: u64) {
        if state.expire_at.is_none_or(|at| at > now) {
            return;
        }
        let before = state.stream.bytes();
        state.stream.expire(now);
        self.count_bytes(before, state.stream.bytes());
        state.expire_at = Some(state.stream.last_at().saturating_add(self.kept_ms())).filter(|at| *at > now);
    }
}
