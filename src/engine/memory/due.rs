//! What comes due, and when: two lists, so that a hundred thousand QR logins due at once hold no room back.

use std::collections::BTreeSet;

use countersign_protocol::RoomName;
use parking_lot::Mutex;

use super::super::Due;
use super::super::record::EngineError;
use super::Memory;
use crate::core::attempt::AttemptKey;

/// The time of each record that has one, oldest first. Each list is a leaf among the locks.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    attempts: Mutex<BTreeSet<(u64, AttemptKey)>>,
    rooms: Mutex<BTreeSet<(u64, RoomName)>>,
}

/// Moves one entry: out of where it stands, into where it shall stand.
fn shift<K: Ord + Clone>(list: &Mutex<BTreeSet<(u64, K)>>, key: K, from: Option<u64>, to: Option<u64>) {
    if from == to {
        return;
    }
    let mut list = list.lock();
    let key = match from {
        Some(at) => {
            let entry = (at, key);
            list.remove(&entry);
            entry.1
        }
        None => key,
    };
    if let Some(at) = to {
        list.insert((at, key));
    }
}

fn first<K: Ord + Clone>(
    list: &Mutex<BTreeSet<(u64, K)>>,
    now: u64,
    limit: usize,
    due: impl Fn(K) -> Due,
) -> Vec<(u64, Due)> {
    let list = list.lock();
    let come = list.iter().take_while(|(at, _)| *at <= now).take(limit);
    come.map(|(at, key)| (*at, due(key.clone()))).collect()
}

impl Schedule {
    /// Moves an attempt's entry. `None` is nowhere.
    pub(super) fn attempt(&self, key: AttemptKey, from: Option<u64>, to: Option<u64>) {
        shift(&self.attempts, key, from, to);
    }

    /// Moves a room's entry. `None` is nowhere.
    pub(super) fn room(&self, name: &RoomName, from: Option<u64>, to: Option<u64>) {
        shift(&self.rooms, name.clone(), from, to);
    }

    /// What has come due at `now`, oldest first, at most `limit`. When there is more than that of both kinds, each
    /// has half of the answer.
    pub(super) fn due(&self, now: u64, limit: usize) -> Vec<Due> {
        let mut attempts = first(&self.attempts, now, limit, Due::Attempt);
        let mut rooms = first(&self.rooms, now, limit, Due::Room);
        attempts.truncate(limit - rooms.len().min(limit / 2));
        rooms.truncate(limit - attempts.len());
        attempts.append(&mut rooms);
        attempts.sort();
        attempts.into_iter().map(|(_, due)| due).collect()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.attempts.lock().is_empty() && self.rooms.lock().is_empty()
    }
}

impl Memory {
    #[allow(clippy::unnecessary_wraps)]
    pub(in crate::engine) fn due(&self, now: u64, limit: usize) -> Result<Vec<Due>, EngineError> {
        Ok(self.due.due(now, limit))
    }
}
