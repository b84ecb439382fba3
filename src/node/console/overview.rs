//! The node at one moment, in numbers.

use serde::Serialize;

use super::Node;
use crate::ops::metrics::{Funnel, Resources};
use crate::tally::parts::{Drops, Everything};

/// Everything that is not a list. Totals only rise while the process lives: a reader makes rates of two of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    pub version: &'static str,
    pub now_ms: u64,
    pub uptime_ms: u64,
    /// The node takes no new work and empties.
    pub draining: bool,
    pub connections: Connections,
    pub sockets: Bounded,
    pub outbox: Outbox,
    pub traffic: Traffic,
    /// Rooms with somebody here.
    pub rooms: usize,
    /// Users signed in on connections here.
    pub users: usize,
    pub qr: Funnel,
    /// QR logins in memory, those that ended in the last minute included.
    pub qr_kept: Bounded,
    pub process: Resources,
}

/// A number with its bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bounded {
    pub now: usize,
    pub max: usize,
}

/// Connections: WebSockets and event streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Connections {
    pub now: usize,
    pub signed_in: usize,
    /// In a room, not signed in.
    pub viewers: usize,
    /// They watch a QR login.
    pub watching: usize,
    /// None of these yet.
    pub fresh: usize,
    pub event_streams: usize,
    pub opened_total: u64,
    pub closed_total: u64,
}

/// What waits to be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outbox {
    /// Connections with something in their queue.
    pub connections: usize,
    pub bytes: u64,
    /// In the fullest queue.
    pub bytes_largest: usize,
    /// Bound of one queue.
    pub bytes_each_max: u32,
}

/// What has gone through, since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// That reached the rooms of this node, once each.
    pub messages_total: u64,
    /// Messages times the members they were handed to.
    pub deliveries_total: u64,
    pub frames_in_total: u64,
    pub frames_out_total: u64,
    pub bytes_in_total: u64,
    pub bytes_out_total: u64,
    /// Frames that slow readers were not sent.
    pub dropped_total: u64,
    pub flush: Flush,
}

/// Time from when frames of a room wait until all its members were handed them; of one in eight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flush {
    /// Upper bounds, microseconds, rising, each included.
    pub bounds_us: &'static [u64],
    /// How many were within each bound and not the one before; one more for what was longer.
    pub counts: Vec<u64>,
}

impl Traffic {
    fn of(everything: Everything) -> Self {
        let Everything { sockets, traffic, .. } = everything;
        let Drops {
            low,
            normal,
            presence,
            ..
        } = sockets.shed;
        Self {
            messages_total: sockets.published,
            deliveries_total: sockets.deliveries,
            frames_in_total: traffic.received_frames,
            frames_out_total: sockets.frames_out,
            bytes_in_total: traffic.received_bytes,
            bytes_out_total: sockets.bytes_out,
            dropped_total: low + normal + presence,
            flush: Flush {
                bounds_us: sockets.flush_us.bounds,
                counts: sockets.flush_us.counts,
            },
        }
    }
}

impl Node {
    /// The node at this moment. Looks at every connection and reads files of the system's: not for a task that others
    /// wait for.
    pub fn overview(&self) -> Overview {
        let now = self.clock.now();
        let tally = self.hub.tally();
        Overview {
            version: env!("CARGO_PKG_VERSION"),
            now_ms: now,
            uptime_ms: now.saturating_sub(self.console.started_at),
            draining: self.is_draining(),
            connections: Connections {
                now: self.hub.connection_count(),
                signed_in: tally.signed_in,
                viewers: tally.viewers,
                watching: tally.watching,
                fresh: tally.fresh,
                event_streams: tally.event_streams,
                opened_total: self.connections_opened(),
                closed_total: self.console.closes.total(),
            },
            sockets: Bounded {
                now: self.sockets(),
                max: self.door.total_max(),
            },
            outbox: Outbox {
                connections: tally.queued,
                bytes: tally.outbox_bytes,
                bytes_largest: tally.outbox_bytes_largest,
                bytes_each_max: self.limits().outbox_bytes_max,
            },
            traffic: Traffic::of(self.counts()),
            rooms: self.hub.room_count(),
            users: self.hub.user_count(),
            qr: self.metrics.qr.funnel(),
            qr_kept: Bounded {
                now: self.engine.attempts_kept(),
                max: self.limits().qr_attempts_max,
            },
            process: Resources::now(),
        }
    }
}
