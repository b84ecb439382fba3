//! Keyed rates: per address and per account. Bounded in keys; IPv6 addresses count by /64, the smallest
//! network a host is given, and by /48.

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use countersign_protocol::UserId;
use governor::clock::{Clock as _, ReasonablyRealtime, Reference};
use governor::nanos::Nanos;
use governor::state::keyed::DashMapStateStore;
use governor::{NotUntil, RateLimiter};
use parking_lot::Mutex;

use super::guesses::Guesses;
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::config::Limits;
use crate::config::limits::RateLimit;
use crate::core::attempt::AttemptKey;
pub use crate::core::network::network_of;
use crate::core::network::{SITE_FACTOR, site_of};
use crate::tally::Tally;

/// The gateway's clock in the shape the limiter asks for.
#[derive(Debug, Clone)]
pub struct LimiterClock(Clock);

/// Milliseconds of the gateway's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

fn whole_ms(n: Nanos) -> u64 {
    n.as_u64() / 1_000_000
}

impl std::ops::Add<Nanos> for Instant {
    type Output = Instant;
    fn add(self, n: Nanos) -> Instant {
        Instant(self.0.saturating_add(whole_ms(n)))
    }
}

impl Reference for Instant {
    fn duration_since(&self, earlier: Self) -> Nanos {
        Duration::from_millis(self.0.saturating_sub(earlier.0)).into()
    }
    fn saturating_sub(&self, n: Nanos) -> Self {
        Instant(self.0.saturating_sub(whole_ms(n)))
    }
}

impl governor::clock::Clock for LimiterClock {
    type Instant = Instant;
    fn now(&self) -> Instant {
        Instant(self.0.now())
    }
}

impl ReasonablyRealtime for LimiterClock {}

type Store<K> =
    RateLimiter<K, DashMapStateStore<K>, LimiterClock, governor::middleware::NoOpMiddleware<Instant>>;

/// How long whoever comes to a full table of busy keys is told to wait, ms.
const FULL_MS: u64 = 1_000;

/// A rate per key.
#[derive(Debug)]
pub struct Keyed<K: Hash + Eq + Clone> {
    limiter: ArcSwap<Store<K>>,
    clock: LimiterClock,
    keys_max: usize,
    /// Calls until the keys have to be counted again: each brings one more at most.
    uncounted: AtomicUsize,
    /// When a full table may be swept again: a sweep looks at every key.
    sweep_from: Mutex<Instant>,
    what: &'static str,
    /// The limit's name.
    name: &'static str,
    refused: Tally,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(limit: RateLimit, keys_max: usize, clock: &Clock, name: &'static str, what: &'static str) -> Self {
        let clock = LimiterClock(clock.clone());
        Self {
            limiter: ArcSwap::from_pointee(store(limit, &clock)),
            clock,
            keys_max,
            uncounted: AtomicUsize::new(keys_max),
            sweep_from: Mutex::new(Instant(0)),
            what,
            name,
            refused: Tally::default(),
        }
    }

    /// The limit's name, and how many calls it refused.
    fn limited(&self) -> (&'static str, u64) {
        (self.name, self.refused.get())
    }

    /// Goes on with another rate, for which every key has its full burst.
    fn renew(&self, limit: RateLimit) {
        self.limiter.store(Arc::new(store(limit, &self.clock)));
    }

    /// Counts one call.
    ///
    /// # Errors
    /// `rate_limited` with `after_ms`; also when the table of keys is full of busy ones.
    pub fn check(&self, key: &K) -> Result<(), Refusal> {
        self.checked(key).inspect_err(|_| self.refused.one())
    }

    fn checked(&self, key: &K) -> Result<(), Refusal> {
        if !self.has_room() {
            return Err(Refusal::rate_limited("too many callers at once", FULL_MS));
        }
        self.limiter
            .load()
            .check_key(key)
            .map_err(|until: NotUntil<Instant>| {
                let wait = until.wait_time_from(self.clock.now());
                let after_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                Refusal::rate_limited(format!("too many {}", self.what), after_ms)
            })
    }

    /// Whether the table takes one more key. Counting them asks every shard of it, so that is not done for each call.
    fn has_room(&self) -> bool {
        if self.spend() {
            return true;
        }
        let mut sweep_from = self.sweep_from.lock();
        // Somebody else may have counted meanwhile.
        if self.spend() {
            return true;
        }
        if self.limiter.load().len() >= self.keys_max {
            let now = governor::clock::Clock::now(&self.clock);
            if now < *sweep_from {
                return false;
            }
            self.sweep();
            *sweep_from = Instant(now.0.saturating_add(FULL_MS));
        }
        let free = self.keys_max.saturating_sub(self.limiter.load().len());
        // This call is one of those there is room for.
        self.uncounted.store(free.saturating_sub(1), Ordering::Relaxed);
        free > 0
    }

    fn spend(&self) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        let spent = self
            .uncounted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        spent.is_ok()
    }

    /// Forgets keys that are as good as new.
    pub fn sweep(&self) {
        let limiter = self.limiter.load();
        limiter.retain_recent();
        limiter.shrink_to_fit();
    }
}

/// A rate per address: for each IPv4 address and IPv6 /64, and [`SITE_FACTOR`] times as much for each /48.
#[derive(Debug)]
pub struct ByAddress {
    network: Keyed<IpAddr>,
    site: Keyed<IpAddr>,
}

impl ByAddress {
    fn new(limit: RateLimit, keys_max: usize, clock: &Clock, name: &'static str, what: &'static str) -> Self {
        Self {
            network: Keyed::new(limit, keys_max, clock, name, what),
            site: Keyed::new(limit.times(SITE_FACTOR), keys_max, clock, name, what),
        }
    }

    /// The limit's name, and how many calls it refused.
    fn limited(&self) -> (&'static str, u64) {
        let (name, refused) = self.network.limited();
        (name, refused.saturating_add(self.site.limited().1))
    }

    /// Counts one call from `address`. What its own network may not do is not charged to the /48: one /64 takes no more
    /// than an eighth of what all have.
    ///
    /// # Errors
    /// As [`Keyed::check`].
    pub fn check(&self, address: IpAddr) -> Result<(), Refusal> {
        self.network.check(&network_of(address))?;
        site_of(address).map_or(Ok(()), |site| self.site.check(&site))
    }

    fn renew(&self, limit: RateLimit) {
        self.network.renew(limit);
        self.site.renew(limit.times(SITE_FACTOR));
    }

    fn sweep(&self) {
        self.network.sweep();
        self.site.sweep();
    }
}

fn store<K: Hash + Eq + Clone>(limit: RateLimit, clock: &LimiterClock) -> Store<K> {
    RateLimiter::new(limit.quota(), DashMapStateStore::default(), clock.clone())
}

/// All keyed rates of a node.
#[derive(Debug)]
pub struct Limiters {
    pub qr_open: ByAddress,
    pub qr_phone: Keyed<UserId>,
    /// As many denials as `qr_phone` has scans and confirmations, counted apart: whoever has used those up can still
    /// say no.
    pub qr_deny: Keyed<UserId>,
    /// By attempt, once its claim has been proved.
    pub qr_poll: Keyed<AttemptKey>,
    /// By device authorization that nobody has confirmed yet; one that asks too often is told to slow down.
    pub oauth_poll: Keyed<AttemptKey>,
    pub qr_picture: ByAddress,
    pub user_code: Guesses,
    pub message: Keyed<UserId>,
    /// By account and network: whoever guesses from elsewhere does not lock the owner out.
    pub login_account: Keyed<(UserId, IpAddr)>,
    pub login_address: ByAddress,
}

impl Limiters {
    pub(super) fn new(limits: &Limits, oauth_interval_ms: u64, clock: &Clock) -> Self {
        let keys = limits.limiter_keys_max;
        // Who keeps the interval comes early at times, by as much as the network was late before.
        let oauth_poll = RateLimit {
            count: 1,
            period_ms: oauth_interval_ms,
            burst: 2,
        };
        Self {
            qr_open: ByAddress::new(
                limits.qr_open_rate,
                keys,
                clock,
                "qr_open_rate",
                "QR logins opened from this address",
            ),
            qr_phone: Keyed::new(
                limits.qr_phone_rate,
                keys,
                clock,
                "qr_phone_rate",
                "scans and confirmations by this account",
            ),
            qr_deny: Keyed::new(
                limits.qr_phone_rate,
                keys,
                clock,
                "qr_phone_rate",
                "denials by this account",
            ),
            qr_poll: Keyed::new(
                limits.qr_poll_rate,
                // All attempts there can be, polled, and as many that ended since the last sweep.
                keys.max(limits.qr_attempts_max.saturating_mul(2)),
                clock,
                "qr_poll_rate",
                "questions about this QR login",
            ),
            oauth_poll: Keyed::new(
                oauth_poll,
                keys.max(limits.qr_attempts_max.saturating_mul(2)),
                clock,
                "oauth.interval_ms",
                "questions about this device authorization",
            ),
            qr_picture: ByAddress::new(
                limits.qr_picture_rate,
                keys,
                clock,
                "qr_picture_rate",
                "pictures drawn for this address",
            ),
            user_code: Guesses::new(
                limits.user_code_account_rate,
                limits.user_code_address_rate,
                keys,
                clock,
            ),
            message: Keyed::new(
                limits.message_rate_per_user,
                keys,
                clock,
                "message_rate_per_user",
                "messages of this user",
            ),
            login_account: Keyed::new(
                limits.login_account_rate,
                keys,
                clock,
                "login_account_rate",
                "sign-ins to this account from this address",
            ),
            login_address: ByAddress::new(
                limits.login_address_rate,
                keys,
                clock,
                "login_address_rate",
                "sign-ins from this address",
            ),
        }
    }

    /// What was refused so far, by the limits' names.
    pub(super) fn limited(&self) -> Vec<(&'static str, u64)> {
        let [accounts, addresses] = self.user_code.limited();
        vec![
            accounts,
            addresses,
            self.qr_open.limited(),
            self.qr_phone.limited(),
            self.qr_deny.limited(),
            self.qr_poll.limited(),
            self.qr_picture.limited(),
            self.message.limited(),
            self.login_account.limited(),
            self.login_address.limited(),
        ]
    }

    /// Goes on with the rates that have changed; how many keys are remembered stays as it was.
    pub(super) fn renew(&self, old: &Limits, new: &Limits) {
        macro_rules! renew {
            ($($keyed:ident: $limit:ident;)*) => {
                $( if old.$limit != new.$limit {
                    self.$keyed.renew(new.$limit);
                } )*
            };
        }
        self.user_code
            .renew(new.user_code_account_rate, new.user_code_address_rate);
        renew! {
            qr_open: qr_open_rate;
            qr_phone: qr_phone_rate;
            qr_deny: qr_phone_rate;
            qr_poll: qr_poll_rate;
            qr_picture: qr_picture_rate;
            message: message_rate_per_user;
            login_account: login_account_rate;
            login_address: login_address_rate;
        }
    }

    /// Forgets idle keys everywhere.
    pub fn sweep(&self) {
        self.qr_open.sweep();
        self.qr_phone.sweep();
        self.qr_deny.sweep();
        self.qr_poll.sweep();
        self.oauth_poll.sweep();
        self.qr_picture.sweep();
        self.user_code.sweep();
        self.message.sweep();
        self.login_account.sweep();
        self.login_address.sweep();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_and_others_do_not() {
        let clock = Clock::manual(1_000_000);
        let keyed = Keyed::new(
            RateLimit {
                count: 2,
                period_ms: 1_000,
                burst: 2,
            },
            10,
            &clock,
            "calls_rate",
            "calls",
        );
        assert!(keyed.check(&1).is_ok() && keyed.check(&1).is_ok());
        let refused = keyed.check(&1).unwrap_err();
        assert!(keyed.check(&2).is_ok());
        clock.advance(refused.after_ms.unwrap());
        assert!(keyed.check(&1).is_ok());
    }

    #[test]
    fn many_networks_of_a_site_share_a_rate() {
        let clock = Clock::manual(1_000_000);
        let limit = RateLimit {
            count: 2,
            period_ms: 1_000,
            burst: 2,
        };
        let by_address = ByAddress::new(limit, 1_000, &clock, "calls_rate", "calls");
        let check = |address: String| by_address.check(address.parse().unwrap());
        let one = (0..100).filter(|_| check("2001:db8:1:ffff::1".into()).is_ok());
        assert_eq!(one.count(), 2);
        // Whatever that one was refused, its neighbours have the rest.
        let rest = (0..100).filter(|n| check(format!("2001:db8:1:{n:x}::1")).is_ok());
        assert_eq!(rest.count(), 2 * SITE_FACTOR as usize - 2);
        assert!(check("2001:db8:2::1".into()).is_ok() && check("192.0.2.1".into()).is_ok());
        assert_eq!(by_address.limited(), ("calls_rate", 98 + 86));
    }

    #[test]
    fn the_table_is_bounded() {
        let clock = Clock::manual(1_000_000);
        let keyed = Keyed::new(
            RateLimit {
                count: 1,
                period_ms: 1_000,
                burst: 1,
            },
            3,
            &clock,
            "calls_rate",
            "calls",
        );
        for key in 0..3 {
            assert!(keyed.check(&key).is_ok());
        }
        assert!(keyed.check(&9).is_err(), "all keys are busy");
        clock.advance(10_000);
        assert!(keyed.check(&9).is_ok(), "idle keys were forgotten");
    }
}
