//! Who is told about a QR login: one connection per attempt, and how far it has been told.

use std::sync::Arc;

use bytes::Bytes;

use super::{Connection, ConnectionId, Format, Hub};
use crate::core::attempt::{Attempt, AttemptKey};

/// The watcher of an attempt on this node.
#[derive(Debug)]
pub(super) struct Watch {
    connection: Arc<Connection>,
    /// The newest event told; `None` while the command that watches has not been answered.
    told: Option<u32>,
    /// What happened in the meantime.
    newest: Option<Arc<Attempt>>,
}

impl Hub {
    /// Makes a connection the one watcher of an attempt. Nothing is told until
    /// [`Hub::release_watch`]. Answers the connection it replaces, which ends if it is an event stream.
    pub fn hold_watch(&self, key: AttemptKey, connection: &Arc<Connection>) -> Option<Arc<Connection>> {
        let watch = Watch {
            connection: Arc::clone(connection),
            told: None,
            newest: None,
        };
        let old = self.watchers.insert(key, watch)?;
        let replaced = (old.connection.id != connection.id).then_some(old.connection)?;
        replaced.has_told_all();
        Some(replaced)
    }

    /// The command has been answered from `attempt`: tells every event after `told`, from here on too.
    pub fn release_watch(
        &self,
        attempt: &Arc<Attempt>,
        connection: ConnectionId,
        told: u32,
        render: impl Fn(&Attempt, u32, Format) -> Vec<(u32, Bytes)>,
    ) {
        let newest = {
            let Some(mut watch) = self.watchers.get_mut(&attempt.key()) else {
                return;
            };
            if watch.connection.id != connection {
                return;
            }
            watch.told = Some(told);
            let missed = watch.newest.take().filter(|n| n.seq() > attempt.seq());
            missed.unwrap_or_else(|| Arc::clone(attempt))
        };
        self.tell_watcher(&newest, render);
    }

    /// Tells an attempt's watcher what it has not been told; after a final event there is nothing to watch. Whether
    /// there was something to tell, and somebody who is told now.
    pub fn tell_watcher(
        &self,
        attempt: &Arc<Attempt>,
        render: impl Fn(&Attempt, u32, Format) -> Vec<(u32, Bytes)>,
    ) -> bool {
        let key = attempt.key();
        let mut some = false;
        let connection = {
            let Some(mut watch) = self.watchers.get_mut(&key) else {
                return false;
            };
            let Some(told) = watch.told else {
                if watch.newest.as_ref().is_none_or(|n| n.seq() < attempt.seq()) {
                    watch.newest = Some(Arc::clone(attempt));
                }
                return false;
            };
            // Queued under the entry's lock, so that two tellers cannot swap; written after it.
            for (seq, frame) in render(attempt, told, watch.connection.format) {
                watch.connection.queue(frame);
                watch.told = Some(seq);
                some = true;
            }
            Arc::clone(&watch.connection)
        };
        connection.write_queued();
        if attempt.state().is_final() {
            // A watch of the same connection that begins just now has yet to be told.
            let told = self.watchers.remove_if(&key, |_, watch| {
                watch.connection.id == connection.id && watch.told.is_some()
            });
            if told.is_some() {
                connection.has_told_all();
            }
        }
        some
    }

    /// Ends a watch, if this connection holds it.
    pub fn unwatch(&self, key: AttemptKey, connection: ConnectionId) -> bool {
        self.watchers
            .remove_if(&key, |_, watch| watch.connection.id == connection)
            .is_some()
    }

    /// Whether this connection is the one that watches an attempt.
    pub fn watches(&self, key: AttemptKey, connection: ConnectionId) -> bool {
        self.watchers
            .get(&key)
            .is_some_and(|watch| watch.connection.id == connection)
    }

    /// Whether a connection here watches an attempt.
    pub fn is_watched(&self, key: AttemptKey) -> bool {
        self.watchers.contains_key(&key)
    }

    /// Attempts watched on this node.
    pub fn watch_count(&self) -> usize {
        self.watchers.len()
    }
}
