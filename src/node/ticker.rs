//! What happens by itself: timers that come due, departures, repairs. One task each; they hold the node weakly and
//! end with it.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::sink::{Repair, Repaired};
use super::{Departure, Node};
use crate::engine::{AttemptRef, Due, Topic};

/// How often the engine is asked what has come due. A timer fires at most this late.
const TICK: Duration = Duration::from_millis(50);
/// Timers dealt with per question; more are asked for at once.
const DUE_PER_TICK: usize = 512;
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
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        interval.tick().await;
        let Some(node) = node.upgrade() else { return };
        guarded("timers", node.deal_with_due()).await;
        ticks = ticks.wrapping_add(1);
        if ticks.is_multiple_of(SWEEP_EVERY_TICKS) {
            node.sweep();
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
    /// Everything that has come due now. Counts and rooms are settled by the engine, attempts by a tick.
    pub async fn deal_with_due(&self) {
        loop {
            let now = self.clock.now();
            let due = match self.engine.due(now, DUE_PER_TICK).await {
                Ok(due) => due,
                Err(e) => {
                    tracing::warn!(error = %e, "timers could not be read");
                    return;
                }
            };
            let more = due.len() == DUE_PER_TICK;
            for key in due {
                match key {
                    Due::Attempt(key) => self.tick_attempt(key, now).await,
                    Due::Room(room) => {
                        let _ = self.engine.settle(room, now).await;
                    }
                }
                tokio::task::coop::consume_budget().await;
            }
            if !more {
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
