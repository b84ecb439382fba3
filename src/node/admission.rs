//! Who may hold a socket: the node's bound, the rate of new ones, and the bound of an address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::Mutex;

use super::limiters::network_of;
use super::refusal::Refusal;
use crate::core::rate::{Gcra, Rate};

/// Sockets served beyond a bound only to be told so.
const REFUSED_AT_ONCE_MAX: usize = 32;

/// Counts of accepted sockets.
#[derive(Debug)]
pub struct Door {
    total: AtomicUsize,
    total_max: usize,
    addresses: DashMap<IpAddr, Network>,
    address_max: usize,
    /// New sockets of the node.
    rate: Rate,
    /// New sockets of one address: one that comes and goes quickly leaves room for the others.
    address_rate: Rate,
    accepted: Mutex<Gcra>,
}

/// One address, or one IPv6 /64.
#[derive(Debug, Default)]
struct Network {
    held: usize,
    accepted: Gcra,
}

/// One accepted socket's place. Dropping it frees the place.
#[derive(Debug)]
pub struct Admission {
    door: Arc<Door>,
    network: IpAddr,
    /// Boxed: a place is kept for as long as its socket, and most have none.
    refusal: Option<Box<Refusal>>,
}

impl Door {
    pub(super) fn new(total_max: usize, address_max: usize, rate: Rate, address_rate: Rate) -> Arc<Self> {
        Arc::new(Self {
            total: AtomicUsize::new(0),
            total_max,
            addresses: DashMap::new(),
            address_max,
            rate,
            address_rate,
            accepted: Mutex::new(Gcra::default()),
        })
    }

    /// Forgets addresses that hold nothing and could open as many as ever.
    pub fn sweep(&self, now: u64) {
        self.addresses
            .retain(|_, known| known.held > 0 || !known.accepted.is_full(now));
    }

    /// Sockets held now.
    pub fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// A place for a new socket. `None`: there is not even one to say no from, drop it.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: u64) -> Option<Admission> {
        let network = network_of(address);
        let total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        let (here, hurried) = {
            let mut known = self.addresses.entry(network).or_default();
            known.held += 1;
            (known.held, known.accepted.check(&self.address_rate, now, 1).err())
        };
        let mut admission = Admission {
            door: Arc::clone(self),
            network,
            refusal: None,
        };
        if total > self.total_max + REFUSED_AT_ONCE_MAX
            || here > self.address_max.saturating_add(REFUSED_AT_ONCE_MAX)
        {
            return None;
        }
        let refusal = if total > self.total_max {
            Some(Refusal::unavailable(
                "this node holds as many connections as it may",
                5_000,
            ))
        } else if here > self.address_max {
            Some(Refusal::rate_limited(
                "too many connections from this address",
                5_000,
            ))
        } else if let Some(after_ms) = hurried {
            let message = "too many new connections from this address";
            Some(Refusal::rate_limited(message, after_ms.max(1_000)))
        } else {
            let checked = self.accepted.lock().check(&self.rate, now, 1);
            checked
                .err()
                .map(|after_ms| Refusal::unavailable("too many new connections at once", after_ms.max(1_000)))
        };
        admission.refusal = refusal.map(Box::new);
        Some(admission)
    }
}

impl Admission {
    /// Why this socket gets one answer and is closed, if it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_deref()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.door.total.fetch_sub(1, Ordering::Relaxed);
        if let Some(mut known) = self.door.addresses.get_mut(&self.network) {
            known.held = known.held.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door(total: usize, address: usize) -> Arc<Door> {
        Door::new(total, address, Rate::new(1_000, 1_000, 1_000), Rate::UNLIMITED)
    }

    /// One is kept for every socket.
    #[test]
    fn a_place_is_small() {
        assert!(size_of::<Admission>() <= 40, "{}", size_of::<Admission>());
    }

    #[test]
    fn an_address_is_told_and_then_dropped() {
        let door = door(1_000, 2);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let held: Vec<_> = (0..2 + REFUSED_AT_ONCE_MAX)
            .map(|_| door.admit(address, 0).unwrap())
            .collect();
        assert_eq!(
            held.iter().filter(|a| a.refusal().is_some()).count(),
            REFUSED_AT_ONCE_MAX
        );
        assert!(door.admit(address, 0).is_none());
        assert!(
            door.admit("192.0.2.2".parse().unwrap(), 0)
                .unwrap()
                .refusal()
                .is_none()
        );
        drop(held);
        assert_eq!(door.total(), 0);
        door.sweep(0);
        assert!(door.addresses.is_empty());
        assert!(door.admit(address, 0).unwrap().refusal().is_none());
    }

    #[test]
    fn the_node_and_the_rate_are_bounded() {
        let full = door(1, 100);
        let _first = full.admit("192.0.2.1".parse().unwrap(), 0).unwrap();
        assert!(
            full.admit("192.0.2.2".parse().unwrap(), 0)
                .unwrap()
                .refusal()
                .is_some()
        );
        let slow = Door::new(1_000, 1_000, Rate::new(1, 1_000, 2), Rate::UNLIMITED);
        let refused = (0..4).filter(|_| {
            let a = slow.admit("192.0.2.1".parse().unwrap(), 0).unwrap();
            a.refusal().is_some()
        });
        assert_eq!(refused.count(), 2);
    }

    #[test]
    fn an_address_in_a_hurry_leaves_room_for_others() {
        let door = Door::new(1_000, 1_000, Rate::new(10, 1_000, 10), Rate::new(2, 1_000, 2));
        let admitted = |address: &str| {
            let place = door.admit(address.parse().unwrap(), 0).unwrap();
            place.refusal().is_none()
        };
        assert_eq!((0..100).filter(|_| admitted("192.0.2.1")).count(), 2);
        assert!(
            admitted("192.0.2.2"),
            "what was refused did not count against the node"
        );
        door.sweep(0);
        assert_eq!(door.addresses.len(), 2, "not forgotten while it matters");
        door.sweep(10_000);
        assert!(door.addresses.is_empty());
    }
}
