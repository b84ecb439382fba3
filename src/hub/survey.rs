//! Looking over everything that is here, for an operator: what is not part of the answer is counted and let go. A walk
//! holds one shard of a map at a time, for as long as it takes to look at what is in it, and keeps a heap of as many as
//! were asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use countersign_protocol::UserId;

use super::{Connection, ConnectionId, Hub, Room};

/// Connections by what they are for, each in one of the first five; and what waits in their queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    pub signed_in: usize,
    /// In a room, not signed in.
    pub viewers: usize,
    /// They watch a QR login and are neither of the above.
    pub watching: usize,
    /// None of these yet.
    pub fresh: usize,
    pub event_streams: usize,
    /// Connections with something in their queue.
    pub queued: usize,
    /// Bytes in all queues.
    pub outbox_bytes: u64,
    /// Bytes in the fullest.
    pub outbox_bytes_largest: usize,
}

/// Which connections come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Newest,
    Oldest,
    /// The fullest queue first, then whoever was not sent the most.
    Slowest,
}

impl Tally {
    fn count(&mut self, connection: &Connection) {
        let (used, expiry) = connection.use_and_expiry();
        let kind = match (connection.is_event_stream(), expiry, used) {
            (true, ..) => &mut self.event_streams,
            (_, Some(_), _) => &mut self.signed_in,
            (.., false) => &mut self.fresh,
            _ if connection.subscription_count() > 0 => &mut self.viewers,
            _ => &mut self.watching,
        };
        *kind += 1;
        let queued = connection.standing().queued;
        self.queued += usize::from(queued > 0);
        self.outbox_bytes += queued as u64;
        self.outbox_bytes_largest = self.outbox_bytes_largest.max(queued);
    }
}

impl Hub {
    /// Counts all connections.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for connection in self.connections.iter() {
            tally.count(connection.value());
        }
        tally
    }

    /// How many users are signed in on connections here.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// The first `limit` connections in an order. `user`: only theirs; `beyond`: only those that come behind this one,
    /// in an order by age.
    pub fn first_connections(
        &self,
        user: Option<&UserId>,
        order: Order,
        beyond: Option<ConnectionId>,
        limit: usize,
    ) -> Vec<Arc<Connection>> {
        let mut top = Top::new(limit);
        let mut consider = |connection: &Arc<Connection>| {
            let id = connection.id;
            let (rank, behind) = match order {
                Order::Newest => ((id, 0), beyond.is_none_or(|b| id < b)),
                Order::Oldest => ((!id, 0), beyond.is_none_or(|b| id > b)),
                Order::Slowest => {
                    let (standing, sent) = connection.standing_and_sent();
                    ((standing.queued as u64, sent.dropped()), true)
                }
            };
            if behind {
                top.offer(rank, connection);
            }
        };
        match user {
            Some(user) => self.connections_of(user).iter().for_each(consider),
            None => self.connections.iter().for_each(|c| consider(c.value())),
        }
        top.into_vec()
    }

    /// The `limit` rooms with the most connections of this process in them, and how many those are.
    pub fn largest_rooms(&self, limit: usize) -> Vec<(Arc<Room>, usize)> {
        let mut top = Top::new(limit);
        for (at, room) in self.rooms.iter().enumerate() {
            // Among equals those found first stay: a page of thousands of rooms of one is any of them.
            top.offer((room.len() as u64, u64::MAX - at as u64), room.value());
        }
        let sized = |room: Arc<Room>| {
            let len = room.len();
            (room, len)
        };
        top.into_vec().into_iter().map(sized).collect()
    }
}

type Rank = (u64, u64);

/// The highest ranks that were offered, at most `limit` of them.
struct Top<T> {
    limit: usize,
    /// The lowest on top.
    kept: BinaryHeap<Reverse<Ranked<T>>>,
}

struct Ranked<T> {
    rank: Rank,
    item: Arc<T>,
}

impl<T> Top<T> {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            kept: BinaryHeap::with_capacity(limit),
        }
    }

    /// Keeps it if it is among the highest; nothing is counted or allocated for others.
    fn offer(&mut self, rank: Rank, item: &Arc<T>) {
        if self.kept.len() >= self.limit {
            if self.kept.peek().is_none_or(|lowest| lowest.0.rank >= rank) {
                return;
            }
            self.kept.pop();
        }
        let item = Arc::clone(item);
        self.kept.push(Reverse(Ranked { rank, item }));
    }

    /// The highest first.
    fn into_vec(self) -> Vec<Arc<T>> {
        let sorted = self.kept.into_sorted_vec();
        sorted.into_iter().map(|ranked| ranked.0.item).collect()
    }
}

impl<T> PartialEq for Ranked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl<T> Eq for Ranked<T> {}

impl<T> PartialOrd for Ranked<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Ranked<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank.cmp(&other.rank)
    }
}
