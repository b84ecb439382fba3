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

/// When it is known whose a socket is. Who is refused as an address does not count as new for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Now,
    /// A PROXY header will say it.
    Later,
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
        let next = Bounds::new(limits, self.descriptors_max);
        let former = std::mem::replace(&mut *self.bounds.write(), next);
        // Who has waited for a slow rate does not go on waiting for it.
        if former.rate != next.rate {
            *self.accepted.lock() = Gcra::default();
        }
        if former.address_rate != next.address_rate {
            self.addresses
                .iter_mut()
                .for_each(|mut known| known.accepted = Gcra::default());
        }
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
        self.place(Some(network_of(address)), Named::Now, now)
    }

    /// The same for a socket of a listed proxy: it counts for the node, and for no address until
    /// [`Admission::count_for`] says which.
    pub fn admit_proxy(self: &Arc<Self>, named: Named, now: u64) -> Option<Admission> {
        self.place(None, named, now)
    }

    fn place(self: &Arc<Self>, network: Option<IpAddr>, named: Named, now: u64) -> Option<Admission> {
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
        } else if named == Named::Later {
            None
        } else {
            self.arrive(now).err()
        };
        admission.refusal = refusal.map(Box::new);
        Some(admission)
    }

    /// One more new socket of the node.
    fn arrive(&self, now: u64) -> Result<(), Refusal> {
        let checked = self.accepted.lock().check(&self.bounds().rate, now, 1);
        checked.map_err(|after_ms| {
            self.count(Limited::Rate);
            Refusal::unavailable("too many new connections at once", after_ms.max(1_000))
        })
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
            let checked = self.door.check(&entered).and_then(|()| self.door.arrive(now));
            self.refusal = checked.err().map(Box::new);
        }
        entered.excess <= REFUSED_AT_ONCE_MAX
    }

    /// A proxy has said that the connection is another listed proxy's: its requests say whose they are.
    pub fn stays_a_proxys(&mut self, now: u64) {
        if self.refusal.is_none() {
            self.refusal = self.door.arrive(now).err().map(Box::new);
        }
    }

    /// Whether it was admitted as a proxy's, and nobody has said since whose all of it is.
    pub fn is_a_proxys(&self) -> bool {
        self.of_a_proxy
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
mod tests;
