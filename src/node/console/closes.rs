//! The last connections that ended, for an operator to look at.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use countersign_protocol::server::Profile;
use parking_lot::Mutex;
use serde::Serialize;

use super::{Transport, Who};
use crate::hub::{Connection, End};
use crate::node::connection_name;

/// Ends of connections that are remembered; older ones are forgotten.
pub const CLOSES_KEPT: usize = 500;

/// A ring of ends, one for the whole node.
#[derive(Debug, Default)]
pub(in crate::node) struct Closes(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    total: u64,
    /// The newest first.
    kept: VecDeque<Kept>,
}

/// What is kept of one: the rest is made of it when somebody asks.
#[derive(Debug)]
struct Kept {
    at: u64,
    connection: u64,
    opened_at: u64,
    transport: Transport,
    address: IpAddr,
    user: Option<Arc<Profile>>,
    end: Option<End>,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Closed {
    /// Counts ends since the start, from 1.
    pub seq: u64,
    pub at_ms: u64,
    pub connection: String,
    pub transport: Transport,
    /// `gateway`, `client` or `network`.
    pub by: &'static str,
    /// What the other side was told, or told us, where there is a close frame with a code that the protocol knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
    pub reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Who>,
    pub address: IpAddr,
    /// To the second.
    pub lasted_ms: u64,
}

/// The newest ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClosesPage {
    /// Ends since the start.
    pub total: u64,
    /// How many are remembered at most.
    pub kept: usize,
    pub closes: Vec<Closed>,
}

impl Closes {
    /// A connection has ended.
    pub(in crate::node) fn record(&self, connection: &Connection, now: u64) {
        let kept = Kept {
            at: now,
            connection: connection.id,
            opened_at: connection.opened_at(),
            transport: Transport::of(connection),
            address: connection.address,
            user: connection.session().map(|session| Arc::clone(session.user())),
            end: connection.standing().end,
        };
        let mut ring = self.0.lock();
        ring.total += 1;
        ring.kept.truncate(CLOSES_KEPT - 1);
        ring.kept.push_front(kept);
    }

    /// Ends since the start.
    pub(super) fn total(&self) -> u64 {
        self.0.lock().total
    }

    /// The newest `limit`.
    pub(super) fn newest(&self, limit: usize) -> ClosesPage {
        let ring = self.0.lock();
        let newest = ring.kept.iter().take(limit).zip((1..=ring.total).rev());
        ClosesPage {
            total: ring.total,
            kept: CLOSES_KEPT,
            closes: newest.map(|(kept, seq)| kept.told(seq)).collect(),
        }
    }
}

impl Kept {
    fn told(&self, seq: u64) -> Closed {
        let (by, code, reason) = match self.end {
            Some(End::Close(code)) => ("gateway", Some(code.code()), code.reason()),
            Some(End::Answered(code)) => ("client", code.map(|code| code.code()), "closed"),
            Some(End::Done) => ("gateway", None, "told_all"),
            Some(End::Broken) => ("network", None, "lost"),
            // An event stream whose reader went away.
            None => ("client", None, "left"),
        };
        Closed {
            seq,
            at_ms: self.at,
            connection: connection_name(self.connection),
            transport: self.transport,
            by,
            code,
            reason,
            user: self.user.as_deref().map(Who::of),
            address: self.address.to_canonical(),
            lasted_ms: self.at.saturating_sub(self.opened_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use countersign_protocol::CloseCode;

    use super::*;
    use crate::hub::{MemoryWire, Wire};

    fn connection(id: u64, end: Option<End>) -> Arc<Connection> {
        let wire = Wire::Memory(MemoryWire::counting());
        let connection = Connection::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST), wire, 65_536, 5_999);
        end.into_iter().for_each(|end| connection.end(end));
        connection
    }

    #[test]
    fn each_end_has_its_words() {
        let closes = Closes::default();
        for (id, end) in [
            Some(End::Close(CloseCode::Disconnected)),
            Some(End::Answered(Some(CloseCode::GoingAway))),
            Some(End::Answered(None)),
            Some(End::Broken),
            Some(End::Done),
            None,
        ]
        .into_iter()
        .enumerate()
        {
            closes.record(&connection(id as u64, end), 7_000);
        }
        let page = closes.newest(100);
        let told: Vec<_> = page
            .closes
            .iter()
            .map(|c| (c.seq, c.by, c.code, c.reason))
            .collect();
        assert_eq!(
            told,
            [
                (6, "client", None, "left"),
                (5, "gateway", None, "told_all"),
                (4, "network", None, "lost"),
                (3, "client", None, "closed"),
                (2, "client", Some(1001), "closed"),
                (1, "gateway", Some(4505), "disconnected"),
            ]
        );
        assert!(
            page.closes
                .iter()
                .all(|c| c.lasted_ms == 2_000 && c.user.is_none())
        );
    }

    #[test]
    fn old_ends_are_forgotten_and_counted() {
        let closes = Closes::default();
        let one = connection(1, Some(End::Broken));
        for at in 0..CLOSES_KEPT as u64 + 7 {
            closes.record(&one, at);
        }
        let page = closes.newest(usize::MAX);
        assert_eq!((page.closes.len(), page.total), (CLOSES_KEPT, 507));
        assert_eq!((page.closes[0].seq, page.closes[0].at_ms), (507, 506));
        assert_eq!(page.closes[CLOSES_KEPT - 1].seq, 8);
        assert_eq!(closes.newest(3).closes.len(), 3);
        assert_eq!(closes.total(), 507);
    }
}
