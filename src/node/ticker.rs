//! What happens by itself: timers that come due, departures, repairs. One task each; they hold the node weakly and
//! end with it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::sink::Repair;
use super::{Departure, Node};
use crate::engine::{Due, Topic};

/// How often the engine is asked what has come due. A timer fires at most this late.
const TICK: Duration = Duration::from_millis(20);
/// Timers dealt with per question; more are asked for at once.
const DUE_PER_TICK: usize = 512;
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

async fn tick(node: Weak<Node>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0_u32;
    loop {
        interval.tick().await;
        let Some(node) = node.upgrade() else { return };
        node.deal_with_due().await;
        ticks = ticks.wrapping_add(1);
        if ticks % SWEEP_EVERY_TICKS == 0 {
            node.sweep();
        }
    }
}

async fn reap(node: Weak<Node>, mut departed: mpsc::UnboundedReceiver<Departure>) {
    while let Some(departure) = departed.recv().await {
        let Some(node) = node.upgrade() else { return };
        node.tell_departure(departure).await;
        tokio::task::coop::consume_budget().await;
    }
}

async fn repair(node: Weak<Node>) {
    let Some(repairs) = node.upgrade().map(|n| n.repairs.clone()) else { return };
    loop {
        let asked = repairs.next().await;
        let Some(node) = node.upgrade() else { return };
        for repair in asked {
            node.repair(repair).await;
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
            if self.hub.room(room).is_none() {
                let _ = self.engine.unfollow(Topic::Room(room.clone())).await;
            }
        }
        if let Some(key) = departure.attempt {
            self.forget_watch(departure.connection, key, now).await;
        }
    }

    async fn repair(&self, repair: Repair) {
        let outcome = match &repair {
            Repair::Room(room) => self.repair_room(room).await,
            Repair::Attempt(key) => self.repair_attempt(*key).await,
            Repair::User(user) => self.repair_user(user).await,
        };
        if let Err(refusal) = outcome {
            tracing::warn!(?repair, error = %refusal.message, "could not read again what may have been missed");
        }
    }
}
