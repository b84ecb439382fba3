//! What happens by itself: timers that come due, departures, repairs. One task each; they hold the node weakly and
//! end with it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::sink::{Repair, Repaired};
use super::{Departure, Node};
use crate::engine::{AttemptRef, Due, Topic};

/// How often the engine is asked what has come due, ms. A timer fires at most this late.
const TICK_MS: u64 = 50;
/// Timers asked for at once; where there are more, the next are asked for when these are dealt with.
const DUE_AT_ONCE: usize = 512;
/// QR logins dealt with per tick, within a batch: the rest waits for the next one. A late timer changes nothing but
/// when it is told, so a hundred thousand due at once are spread over some 2.5 s, in which everybody else is served
/// and the log keeps up. Far above the 2,223 a second by which as many rotate every 45 s.
const ATTEMPTS_PER_TICK: usize = 2_048;
/// How long after a repair that could not be made it is tried again.
const REPAIR_AGAIN: Duration = Duration::from_millis(100);
/// How often what grows with callers is swept.
const SWEEP_EVERY_TICKS: u32 = 3_000;

/// The receiving ends of a node's background work.
pub(super) struct Background {
    pub(super) departed: mpsc::UnboundedReceiver<Departure>,
}

impl Background {
    pub(super) fn start(self, node: &Arc<Node>) {
        tokio::spawn(tick(Arc::downgrade(node)));
        tokio::spawn(reap(Arc::downgrade(node), self.departed));
        tokio::spawn(repair(Arc::downgrade(node)));
    }
}

/// A failure in one round must not be the last round: without these tasks nothing expires and no place is freed.
async fn guarded<T>(what: &'static str, round: impl Future<Output = T>) -> Option<T> {
    let outcome = AssertUnwindSafe(round).catch_unwind().await;
    if outcome.is_err() {
        tracing::error!(what, "failed");
    }
    outcome.ok()
}

async fn tick(node: Weak<Node>) {
    let mut ticks = 0_u32;
    let Some(clock) = node.upgrade().map(|n| n.clock.clone()) else {
        return;
    };
    loop {
        // At the instants that pings share: both wake the process once.
        let at = (clock.now() + 1).next_multiple_of(TICK_MS);
        let Some(at) = clock.instant_of(at) else { return };
        tokio::time::sleep_until(Instant::from_std(at)).await;
        let Some(node) = node.upgrade() else { return };
        guarded("timers", node.deal_with_due()).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(SWEEP_EVERY_TICKS) {
            guarded("a sweep", async { node.sweep() }).await;
        }
    }
}

async fn reap(node: Weak<Node>, mut departed: mpsc::UnboundedReceiver<Departure>) {
    while let Some(departure) = departed.recv().await {
        let Some(node) = node.upgrade() else { return };
        guarded("a departure", node.tell_departure(departure)).await;
        tokio::task::coop::consume_budget().await;
    }
}

async fn repair(node: Weak<Node>) {
    let Some(repairs) = node.upgrade().map(|n| n.repairs.clone()) else {
        return;
    };
    while let Some(asked) = repairs.next().await {
        let mut again = Vec::new();
        for repair in asked {
            let Some(node) = node.upgrade() else { return };
            // What failed that way would fail again.
            if !guarded("a repair", node.repair(&repair)).await.unwrap_or(true) {
                again.push(repair);
            }
        }
        if !again.is_empty() {
            tokio::time::sleep(REPAIR_AGAIN).await;
            again.into_iter().for_each(|repair| repairs.ask(repair));
        }
    }
}

impl Node {
    /// What has come due now, rooms and QR logins half and half where there are many of both, until a tick's QR logins
    /// are dealt with. Counts and rooms are settled by the engine, attempts by a tick. Other tasks have their turn
    /// in between.
    pub async fn deal_with_due(&self) {
        let mut attempts = 0;
        loop {
            let now = self.clock.now();
            let due = match self.engine.due(now, DUE_AT_ONCE).await {
                Ok(due) => due,
                Err(e) => {
                    tracing::warn!(error = %e, "timers could not be read");
                    return;
                }
            };
            let more = due.len() == DUE_AT_ONCE;
            let mut undone = 0;
            for key in due {
                let done = match key {
                    Due::Attempt(key) => {
                        attempts += 1;
                        self.tick_attempt(key, now).await
                    }
                    Due::Room(room) => self.engine.settle(room, now).await.is_ok(),
                };
                undone += usize::from(!done);
                tokio::task::coop::consume_budget().await;
            }
            if undone > 0 {
                // They would be answered again at once.
                tracing::warn!(
                    timers = undone,
                    "timers could not be dealt with; they are tried again"
                );
                return;
            }
            if !more || attempts >= ATTEMPTS_PER_TICK {
                return;
            }
        }
    }

    async fn tell_departure(&self, departure: Departure) {
        let now = self.clock.now();
        for room in &departure.rooms {
            if let Err(e) = self.engine.leave(room.clone(), departure.connection, now).await {
                tracing::warn!(%room, error = %e, "a departure could not be told");
            }
            self.unfollow_unless_needed(Topic::Room(room.clone())).await;
        }
        if let Some(attempt) = departure.attempt {
            self.forget_watch(departure.connection, attempt, now).await;
            if let AttemptRef::Key(key) = attempt {
                // Of a command that was dropped: one it had not come to give up.
                self.hub.unwatch(key, departure.connection);
                self.unfollow_unless_needed(Topic::Attempt(key)).await;
            }
        }
        if let Some(user) = departure.user {
            self.unfollow_unless_needed(Topic::User(user)).await;
        }
    }

    /// Whether it is done. What is not is tried again: a suspicion that is forgotten is a silent gap.
    async fn repair(&self, repair: &Repair) -> bool {
        let outcome = match repair {
            Repair::Room(room) => self.repair_room(room).await,
            Repair::Attempt(key) => self.repair_attempt(*key).await.map(|()| Repaired::Done),
            Repair::User(user) => self.repair_user(user).await.map(|()| Repaired::Done),
            Repair::Needless(topic) => {
                self.unfollow_unless_needed(topic.clone()).await;
                Ok(Repaired::Done)
            }
        };
        if let Err(refusal) = &outcome {
            tracing::warn!(?repair, error = %refusal.message, "could not read again what may have been missed");
        }
        matches!(outcome, Ok(Repaired::Done))
    }
}
