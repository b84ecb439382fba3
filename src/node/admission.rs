//! Who may hold a socket: the node's bound, the rate of new ones, and the bound of an address.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use super::refusal::Refusal;
use crate::config::Limits;
use crate::config::limits::RateLimit;
use crate::core::network::{network_of, scopes_of};
use crate::core::rate::{Gcra, Rate};
use crate::tally::Tally;

/// Sockets served beyond a bound only to be told so.
const REFUSED_AT_ONCE_MAX: usize = 32;

/// Why sockets are refused or dropped.
const LIMITED: [&str; 5] = [
    "connections_max",
    "connections_per_address_max",
    "accept_rate",
    "accept_rate_per_address",
    "limiter_keys_max",
];

/// Places in [`LIMITED`].
#[derive(Debug, Clone, Copy)]
enum Limited {
    Total,
    Address,
    Rate,
    AddressRate,
    Keys,
}

/// Counts of accepted sockets.
#[derive(Debug)]
pub struct Door {
    total: AtomicUsize,
    /// What the process has descriptors for.
    descriptors_max: usize,
    addresses: DashMap<IpAddr, Network>,
    /// Addresses that proxies may have named and that are remembered.
    networks_max: usize,
    bounds: RwLock<Bounds>,
    accepted: Mutex<Gcra>,
    refused: [Tally; LIMITED.len()],
}

/// What a reload may change.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    total_max: usize,
    address_max: usize,
    /// New sockets of the node.
    rate: Rate,
    /// New sockets of one address: one that comes and goes quickly leaves room for the others.
    address_rate: RateLimit,
}

impl Bounds {
    fn new(limits: &Limits, descriptors_max: usize) -> Self {
        Self {
            total_max: descriptors_max.min(limits.connections_max),
            address_max: limits.connections_per_address_max,
            rate: limits.accept_rate.rate(),
            address_rate: limits.accept_rate_per_address,
        }
    }
}

/// How long a request over a proxy's socket may use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Until it is answered.
    Brief,
    /// For as long as somebody wants: a WebSocket, an event stream, a wait.
    Long,
}

/// One address, one IPv6 /64, or one /48.
#[derive(Debug, Default)]
struct Network {
    held: usize,
    accepted: Gcra,
}

/// One accepted socket's place. Dropping it frees the place.
#[derive(Debug)]
pub struct Admission {
    door: Arc<Door>,
    /// Under whose bound it counts. A proxy's socket counts under its requests' clients, each while it lasts.
    network: Mutex<Option<IpAddr>>,
    of_a_proxy: bool,
    /// Boxed: a place is kept for as long as its socket, and most have none.
    refusal: Option<Box<Refusal>>,
}

impl Door {
    /// Never more sockets than `descriptors_max`, whatever the limits say.
    pub(super) fn new(limits: &Limits, descriptors_max: usize) -> Arc<Self> {
        Arc::new(Self {
            total: AtomicUsize::new(0),
            descriptors_max,
            addresses: DashMap::new(),
            networks_max: limits.limiter_keys_max,
            bounds: RwLock::new(Bounds::new(limits, descriptors_max)),
            accepted: Mutex::new(Gcra::default()),
            refused: std::array::from_fn(|_| Tally::default()),
        })
    }

    /// Holds new sockets to other limits from here on; those there are stay.
    pub(super) fn renew(&self, limits: &Limits) {
        *self.bounds.write() = Bounds::new(limits, self.descriptors_max);
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.read()
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

    /// The bound of them.
    pub fn total_max(&self) -> usize {
        self.bounds().total_max
    }

    /// What was refused or dropped so far, by the limits' names.
    pub fn limited(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let refused = self.refused.iter().map(Tally::get);
        LIMITED.into_iter().zip(refused)
    }

    fn count(&self, limit: Limited) {
        if let Some(tally) = self.refused.get(limit as usize) {
            tally.one();
        }
    }

    /// A place for a new socket. `None`: there is not even one to say no from, drop it.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: u64) -> Option<Admission> {
        self.place(Some(network_of(address)), now)
    }

    /// The same for a socket of a listed proxy: it counts for the node, and for no address until
    /// [`Admission::count_for`] says which.
    pub fn admit_proxy(self: &Arc<Self>, now: u64) -> Option<Admission> {
        self.place(None, now)
    }

    fn place(self: &Arc<Self>, network: Option<IpAddr>, now: u64) -> Option<Admission> {
        let total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        let bounds = self.bounds();
        let entered = network.map_or_else(Entered::default, |network| self.enter(network, Stay::Long, now));
        let mut admission = Admission {
            door: Arc::clone(self),
            network: Mutex::new(network),
            of_a_proxy: network.is_none(),
            refusal: None,
        };
        if total > bounds.total_max + REFUSED_AT_ONCE_MAX {
            self.count(Limited::Total);
            return None;
        }
        if entered.excess > REFUSED_AT_ONCE_MAX {
            self.count(Limited::Address);
            return None;
        }
        let refusal = if total > bounds.total_max {
            self.count(Limited::Total);
            Some(Refusal::unavailable(
                "this node holds as many connections as it may",
                5_000,
            ))
        } else if let Err(refusal) = self.check(&entered) {
            Some(refusal)
        } else {
            let checked = self.accepted.lock().check(&bounds.rate, now, 1);
            checked.err().map(|after_ms| {
                self.count(Limited::Rate);
                Refusal::unavailable("too many new connections at once", after_ms.max(1_000))
            })
        };
        admission.refusal = refusal.map(Box::new);
        Some(admission)
    }

    /// One more of a network, and of its /48. What is brief need not wait, and whoever has to wait as one network does
    /// not count as new for the /48.
    fn enter(&self, network: IpAddr, stay: Stay, now: u64) -> Entered {
        let bounds = self.bounds();
        let mut entered = Entered::default();
        for scope in scopes_of(network) {
            let mut known = self.addresses.entry(scope.key).or_default();
            known.held += 1;
            let max = bounds.address_max.saturating_mul(scope.factor as usize);
            entered.excess = entered.excess.max(known.held.saturating_sub(max));
            if stay == Stay::Long && entered.after_ms.is_none() {
                let rate = bounds.address_rate.times(scope.factor).rate();
                entered.after_ms = known.accepted.check(&rate, now, 1).err();
            }
        }
        entered
    }

    fn leave(&self, network: IpAddr) {
        for scope in scopes_of(network) {
            if let Some(mut known) = self.addresses.get_mut(&scope.key) {
                known.held = known.held.saturating_sub(1);
            }
        }
    }

    fn check(&self, entered: &Entered) -> Result<(), Refusal> {
        if entered.excess > 0 {
            self.count(Limited::Address);
            return Err(Refusal::rate_limited(
                "too many connections from this address",
                5_000,
            ));
        }
        match entered.after_ms {
            Some(after_ms) => {
                self.count(Limited::AddressRate);
                Err(Refusal::rate_limited(
                    "too many new connections from this address",
                    after_ms.max(1_000),
                ))
            }
            None => Ok(()),
        }
    }

    /// Whether one more address can be remembered.
    fn has_room(&self, now: u64) -> bool {
        if self.addresses.len() >= self.networks_max {
            self.sweep(now);
        }
        self.addresses.len() < self.networks_max
    }
}

/// What became of one more socket of an address.
#[derive(Debug, Default)]
struct Entered {
    /// Sockets beyond the bound.
    excess: usize,
    /// How long it would have had to wait.
    after_ms: Option<u64>,
}

impl Admission {
    /// Why this socket gets one answer and is closed, if it is.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_deref()
    }

    /// A proxy has said whose its whole connection is: from here on it is one of that address, and counts as if it had
    /// come from there. `false`: drop it.
    pub fn becomes(&mut self, address: IpAddr, now: u64) -> bool {
        self.leave();
        let network = network_of(address);
        let entered = self.door.enter(network, Stay::Long, now);
        *self.network.lock() = Some(network);
        self.of_a_proxy = false;
        if self.refusal.is_none() {
            self.refusal = self.door.check(&entered).err().map(Box::new);
        }
        entered.excess <= REFUSED_AT_ONCE_MAX
    }

    /// From here on a proxy's socket counts under this address, as a connection of its: what a proxy opens for each
    /// request and what it keeps and shares are then the same. As a new one it counts if the stay is long: a browser
    /// without a proxy would send the brief requests of a page over a few connections. Any other socket counts as
    /// before.
    ///
    /// # Errors
    /// `rate_limited` as for a socket of that address; `unavailable` when too many addresses are known. Then it counts
    /// under none.
    pub fn count_for(&self, address: IpAddr, stay: Stay, now: u64) -> Result<(), Refusal> {
        if !self.of_a_proxy {
            return Ok(());
        }
        self.count_for_nobody();
        if !self.door.has_room(now) {
            self.door.count(Limited::Keys);
            return Err(Refusal::unavailable("too many addresses at once", 1_000));
        }
        let network = network_of(address);
        let entered = self.door.enter(network, stay, now);
        *self.network.lock() = Some(network);
        let checked = self.door.check(&entered);
        if checked.is_err() {
            self.count_for_nobody();
        }
        checked
    }

    /// The request that a proxy's socket counted for has been answered.
    pub fn count_for_nobody(&self) {
        if self.of_a_proxy {
            self.leave();
        }
    }

    fn leave(&self) {
        if let Some(network) = self.network.lock().take() {
            self.door.leave(network);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.door.total.fetch_sub(1, Ordering::Relaxed);
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32) -> RateLimit {
        RateLimit {
            count,
            period_ms: 1_000,
            burst: count,
        }
    }

    /// So many sockets of the node, so many of an address, and rates a second of both.
    fn door_with(total: usize, address: usize, rates: (u32, u32)) -> Arc<Door> {
        let limits = Limits {
            connections_per_address_max: address,
            accept_rate: rate(rates.0),
            accept_rate_per_address: rate(rates.1),
            limiter_keys_max: 50,
            ..Limits::default()
        };
        Door::new(&limits, total)
    }

    fn door(total: usize, address: usize) -> Arc<Door> {
        door_with(total, address, (1_000, 1_000_000))
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
        door.sweep(10_000);
        assert!(door.addresses.is_empty());
        assert!(door.admit(address, 10_000).unwrap().refusal().is_none());
    }

    #[test]
    fn a_connection_that_a_proxy_announces_counts_where_it_comes_from() {
        let door = door(1_000, 2);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let announced = |_| {
            let mut place = door.admit_proxy(0).unwrap();
            let stays = place.becomes(address, 0);
            (place, stays)
        };
        let held: Vec<_> = (0..3 + REFUSED_AT_ONCE_MAX).map(announced).collect();
        let served = held.iter().filter(|(place, _)| place.refusal().is_none());
        assert_eq!(served.count(), 2);
        let dropped: Vec<_> = held.iter().map(|(_, stays)| !stays).collect();
        assert_eq!(dropped.iter().filter(|d| **d).count(), 1);
        // It is its whole life there: an answered request frees nothing.
        held[0].0.count_for_nobody();
        assert!(door.admit(address, 0).is_none());
        drop(held);
        assert!(door.admit(address, 10_000).unwrap().refusal().is_none());
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
        let slow = door_with(1_000, 1_000, (2, 1_000_000));
        let refused = (0..4).filter(|_| {
            let a = slow.admit("192.0.2.1".parse().unwrap(), 0).unwrap();
            a.refusal().is_some()
        });
        assert_eq!(refused.count(), 2);
    }

    #[test]
    fn an_address_in_a_hurry_leaves_room_for_others() {
        let door = door_with(1_000, 1_000, (10, 2));
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

    #[test]
    fn many_networks_of_a_site_share_a_bound() {
        let door = door_with(10_000, 2, (1_000, 1_000));
        let address = |n: u16| -> IpAddr { format!("2001:db8:1:{n:x}::1").parse().unwrap() };
        let held: Vec<_> = (0..20).filter_map(|n| door.admit(address(n), 0)).collect();
        assert_eq!(held.iter().filter(|place| place.refusal().is_none()).count(), 16);
        assert!(
            door.admit("2001:db8:2::1".parse().unwrap(), 0)
                .unwrap()
                .refusal()
                .is_none()
        );
        drop(held);
        let hurried = door_with(10_000, 1_000, (1_000, 2));
        let held: Vec<_> = (0..20).filter_map(|n| hurried.admit(address(n), 0)).collect();
        assert_eq!(held.iter().filter(|place| place.refusal().is_none()).count(), 16);
        drop(held);
        door.sweep(10_000);
        assert!(door.addresses.is_empty() && door.total() == 0);
    }

    #[test]
    fn a_proxys_socket_counts_for_whom_it_asks() {
        let door = door_with(1_000, 2, (1_000, 1_000));
        let (alice, bob): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let held: Vec<_> = (0..10).map(|_| door.admit_proxy(0).unwrap()).collect();
        assert!(held.iter().all(|place| place.refusal().is_none()));
        assert_eq!((door.total(), door.addresses.len()), (10, 0));
        assert!(
            held[0].count_for(alice, Stay::Long, 0).is_ok()
                && held[1].count_for(alice, Stay::Long, 0).is_ok()
        );
        let refused = held[2].count_for(alice, Stay::Long, 0).unwrap_err();
        assert_eq!(refused.code, countersign_protocol::ErrorCode::RateLimited);
        assert!(
            held[2].count_for(bob, Stay::Long, 0).is_ok(),
            "another is not concerned"
        );
        let own = door.admit(alice, 0).unwrap();
        assert!(own.refusal().is_some(), "with a proxy or without: one bound");
        drop(own);
        // The same socket for somebody else, and an answer that has been given, make room.
        assert!(
            held[1].count_for(bob, Stay::Long, 0).is_ok() && held[3].count_for(alice, Stay::Long, 0).is_ok()
        );
        held[3].count_for_nobody();
        assert!(held[4].count_for(alice, Stay::Long, 0).is_ok());
        let own = door.admit("192.0.2.9".parse().unwrap(), 0).unwrap();
        assert!(
            own.count_for(bob, Stay::Long, 0).is_ok(),
            "who is no proxy speaks for nobody"
        );
        drop((held, own));
        door.sweep(10_000);
        assert_eq!((door.total(), door.addresses.len()), (0, 0));
    }

    #[test]
    fn what_proxies_name_is_bounded() {
        let door = door_with(1_000, 1_000, (1_000, 1));
        let proxy = door.admit_proxy(0).unwrap();
        for last in 0..50 {
            assert!(
                proxy
                    .count_for(IpAddr::from([192, 0, 2, last]), Stay::Long, 0)
                    .is_ok()
            );
        }
        assert!(
            proxy
                .count_for(IpAddr::from([192, 0, 2, 99]), Stay::Long, 0)
                .is_err()
        );
        assert!(
            proxy
                .count_for(IpAddr::from([192, 0, 2, 99]), Stay::Long, 10_000)
                .is_ok(),
            "idle ones go"
        );
    }

    #[test]
    fn only_what_lasts_counts_as_new_over_a_proxys_socket() {
        let door = door_with(1_000, 2, (1_000, 3));
        let alice: IpAddr = "192.0.2.1".parse().unwrap();
        let places: Vec<_> = (0..3).map(|_| door.admit_proxy(0).unwrap()).collect();
        for _ in 0..1_000 {
            assert!(places[0].count_for(alice, Stay::Brief, 0).is_ok());
        }
        assert!(places[1].count_for(alice, Stay::Brief, 0).is_ok());
        let held = places[2].count_for(alice, Stay::Brief, 0).unwrap_err();
        assert!(held.message.contains("too many connections"), "{}", held.message);
        places[1].count_for_nobody();
        for _ in 0..3 {
            assert!(places[0].count_for(alice, Stay::Long, 0).is_ok());
        }
        let hurried = places[0].count_for(alice, Stay::Long, 0).unwrap_err();
        assert!(hurried.message.contains("too many new"), "{}", hurried.message);
        assert!(places[0].count_for(alice, Stay::Brief, 0).is_ok());
    }
}
