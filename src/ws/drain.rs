//! Leaving without losing anybody: every connection is told when to come back, and is closed when it has been.

use std::sync::Arc;
use std::time::Duration;

use countersign_protocol::CloseCode;
use countersign_protocol::codec::text_frame;
use countersign_protocol::server::ReconnectPush;
use tokio::time::{Instant, sleep_until};

use crate::hub::{Connection, End};
use crate::node::Node;

/// Connections told or closed before others have a turn.
const BATCH: usize = 256;
/// How often those whose time has come are closed.
const STEP: Duration = Duration::from_millis(50);

/// Empties a node that takes no new connections any more. Returns when all are gone, or after the hard limit.
pub async fn run(node: &Arc<Node>) {
    let config = node.config();
    let settings = &config.drain;
    let hard = Instant::now() + Duration::from_millis(settings.hard_ms);
    let grace = Instant::now() + Duration::from_millis(settings.grace_ms.min(settings.hard_ms));
    // With nobody here there is nobody to be graceful to.
    while Instant::now() < grace && node.sockets() > 0 {
        sleep_until((Instant::now() + STEP).min(grace)).await;
    }

    let mut leaving = tell_all(node, settings.spread_ms).await;
    let told_at = Instant::now();
    while Instant::now() < hard {
        let passed = told_at.elapsed();
        let mut closed = 0_usize;
        while let Some(next) = leaving.pop_if(|next| next.after <= passed) {
            next.connection.end(End::Close(CloseCode::Restart));
            closed += 1;
            if closed.is_multiple_of(BATCH) {
                tokio::task::yield_now().await;
            }
        }
        if leaving.is_empty() {
            // Those whose handshake had begun before the drain did.
            for connection in node.hub.connections() {
                connection.end(End::Close(CloseCode::Restart));
            }
            if node.hub.connection_count() == 0 {
                return;
            }
        }
        sleep_until((Instant::now() + STEP).min(hard)).await;
    }
    tracing::warn!(
        left = node.hub.connection_count(),
        "the drain's hard limit has come"
    );
}

/// A connection that has been told to go.
struct Leaving {
    connection: Arc<Connection>,
    after: Duration,
}

/// Spreads the connections over `spread_ms` and tells each its time. Last to go first.
async fn tell_all(node: &Node, spread_ms: u64) -> Vec<Leaving> {
    let connections = node.hub.connections();
    let count = connections.len() as u64;
    let mut leaving = Vec::with_capacity(connections.len());
    for (at, connection) in connections.into_iter().enumerate() {
        let after_ms = spread_ms.saturating_mul(at as u64) / count.max(1);
        // An event stream says it by ending.
        if !connection.is_event_stream() {
            connection.push(text_frame(&ReconnectPush { after_ms }).into());
        }
        leaving.push(Leaving {
            connection,
            after: Duration::from_millis(after_ms),
        });
        if (at + 1).is_multiple_of(BATCH) {
            tokio::task::yield_now().await;
        }
    }
    leaving.reverse();
    leaving
}
