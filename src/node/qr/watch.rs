//! Who hears what becomes of an attempt: one connection, a WebSocket or an event stream.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::server::QrWatching;
use countersign_protocol::{DeviceId, ErrorCode};

use super::Claim;
use crate::core::attempt::{Attempt, AttemptKey, Command};
use crate::engine::{AttemptRef, Topic};
use crate::hub::{Connection, ConnectionId, Watched};
use crate::node::follow::Unfinished;
use crate::node::{Node, Refusal, connection_name, sink};

impl Node {
    pub(super) fn tell_watcher(&self, attempt: &Arc<Attempt>) {
        let told = self.hub.tell_watcher(attempt, |attempt, told, format| {
            sink::frames(attempt, told, format, self.clock.now(), self.origins.public())
        });
        if told {
            // Its event has not come, or not yet.
            let took = self.clock.now().saturating_sub(attempt.newest_at());
            self.metrics.qr.pushed(took);
        }
    }

    pub(super) fn release_watch(&self, connection: &Arc<Connection>, attempt: &Arc<Attempt>, told: u32) {
        self.hub
            .release_watch(attempt, connection.id, told, |attempt, told, format| {
                sink::frames(attempt, told, format, self.clock.now(), self.origins.public())
            });
        connection.write_queued();
    }

    /// Watches an attempt again, after a lost connection. `reply` makes the answer, which leaves first; then
    /// every event after `after_seq`, or the newest.
    pub async fn watch_qr(
        &self,
        connection: &Arc<Connection>,
        claim: Claim<'_>,
        after_seq: Option<u32>,
        reply: impl FnOnce(&QrWatching) -> Bytes + Send,
    ) -> Result<(), Refusal> {
        self.counted(self.watch(connection, claim, after_seq, reply))
            .await
    }

    pub(super) async fn watch(
        &self,
        connection: &Arc<Connection>,
        claim: Claim<'_>,
        after_seq: Option<u32>,
        reply: impl FnOnce(&QrWatching) -> Bytes + Send,
    ) -> Result<(), Refusal> {
        check_device(connection, claim.device)?;
        let key = self.ask(&claim, self.clock.now()).await?.0.key();
        let which = AttemptRef::Key(key);
        let (digest, device) = claim.digests();
        let name = connection_name(connection.id);
        let watch = || Command::Watch {
            claim: digest,
            device,
            connection: &name,
        };
        let topic = Topic::Attempt(key);
        // The connection knows nothing of the attempt yet, and its departure would not tell.
        let unfinished = self.unfinished_watch(connection, which);
        // Held from before the engine knows who watches until the hub does: of two that take over at once, the engine
        // would name the one as its watcher and the hub tell the other.
        let turn = self.turns.turn(&topic).await;
        let now = self.clock.now();
        let decided = self.update(which, now, &watch).await;
        unfinished.done();
        decided?.step.outcome?;
        claim_device(connection, claim.device)?;
        let watched = Watched {
            key,
            claim: digest,
            device,
        };
        let former = connection
            .set_watched(Some(watched))
            .filter(|former| former.key != key);
        // What it watched before is given up now, and in the engine below or, when this command ends before, by the reaper.
        let left = former.map(|former| {
            self.hub.unwatch(former.key, connection.id);
            self.unfinished_watch(connection, AttemptRef::Key(former.key))
        });
        self.hub.hold_watch(key, connection);
        let followed = self.engine.follow(topic).await;
        drop(turn);
        if let Some(former) = former {
            self.unwatch_qr(connection, former.key, now).await;
        }
        left.into_iter().for_each(Unfinished::done);
        // Read again now that nothing can be missed.
        let poll = || Command::Poll {
            claim: digest,
            device,
        };
        let read = match followed {
            Ok(()) => self.update(which, now, &poll).await,
            Err(e) => Err(e.into()),
        };
        let attempt = match read {
            Ok(decided) => decided.attempt,
            Err(refusal) => {
                connection.set_watched(None);
                let unfinished = self.unfinished_watch(connection, which);
                self.unwatch_qr(connection, key, now).await;
                unfinished.done();
                return Err(refusal);
            }
        };
        connection.queue(reply(&QrWatching {
            state: attempt.state(),
            expires_in_ms: attempt.expires_at().saturating_sub(now),
        }));
        let told = after_seq.unwrap_or_else(|| attempt.seq().saturating_sub(1));
        self.release_watch(connection, &attempt, told);
        Ok(())
    }

    async fn unwatch_qr(&self, connection: &Connection, key: AttemptKey, now: u64) {
        self.hub.unwatch(key, connection.id);
        self.forget_watch(connection.id, AttemptRef::Key(key), now).await;
        self.unfollow_unless_needed(Topic::Attempt(key)).await;
    }

    /// A connection no longer watches; another may.
    pub(in crate::node) async fn forget_watch(&self, connection: ConnectionId, which: AttemptRef, now: u64) {
        let name = connection_name(connection);
        let unwatch = || Command::Unwatch { connection: &name };
        // Refused when the attempt is gone: then nobody need know.
        let _ = self.update(which, now, &unwatch).await;
    }
}

fn other_device() -> Refusal {
    Refusal::new(ErrorCode::DeviceMismatch, "this connection is another device")
}

/// A command that is refused leaves the connection as it was, so the device is looked at first and kept last.
pub(super) fn check_device(connection: &Connection, device: &DeviceId) -> Result<(), Refusal> {
    match connection.device() {
        Some(known) if known != *device => Err(other_device()),
        _ => Ok(()),
    }
}

pub(super) fn claim_device(connection: &Connection, device: &DeviceId) -> Result<(), Refusal> {
    connection.set_device(device).map_err(|_| other_device())
}
