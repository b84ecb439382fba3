//! Rates of wrong guesses, per account and per address. A guess is counted before it is looked at, so that many at once
//! are no way around, and given back when it was right: being right costs nothing.

use std::hash::Hash;
use std::net::IpAddr;

use countersign_protocol::UserId;
use dashmap::DashMap;
use parking_lot::Mutex;

use super::refusal::Refusal;
use crate::clock::Clock;
use crate::config::limits::RateLimit;
use crate::core::network::scopes_of;
use crate::core::rate::{Gcra, Rate};
use crate::tally::Tally;

/// How long a full table is not swept again, ms: a sweep looks at every key.
const SWEEP_EVERY_MS: u64 = 1_000;

/// What is left to one kind of key.
#[derive(Debug)]
struct Left<K: Hash + Eq> {
    buckets: DashMap<K, Gcra>,
    rate: Mutex<RateLimit>,
    keys_max: usize,
    sweep_from: Mutex<u64>,
    /// The limit's name.
    name: &'static str,
    refused: Tally,
}

impl<K: Hash + Eq + Clone> Left<K> {
    fn new(rate: RateLimit, keys_max: usize, name: &'static str) -> Self {
        Self {
            buckets: DashMap::new(),
            rate: Mutex::new(rate),
            keys_max,
            sweep_from: Mutex::new(0),
            name,
            refused: Tally::default(),
        }
    }

    fn rate(&self, factor: u32) -> Rate {
        self.rate.lock().times(factor).rate()
    }

    fn take(&self, key: &K, factor: u32, now: u64) -> Result<(), Refusal> {
        let taken = self.try_take(key, factor, now);
        taken.map_err(|after_ms| {
            self.refused.one();
            Refusal::rate_limited("too many codes that were none", after_ms)
        })
    }

    fn try_take(&self, key: &K, factor: u32, now: u64) -> Result<(), u64> {
        if !self.buckets.contains_key(key) && !self.has_room(now) {
            return Err(SWEEP_EVERY_MS);
        }
        let mut bucket = self.buckets.entry(key.clone()).or_default();
        bucket.check(&self.rate(factor), now, 1)
    }

    fn give_back(&self, key: &K, factor: u32) {
        if let Some(mut bucket) = self.buckets.get_mut(key) {
            bucket.give_back(&self.rate(factor), 1);
        }
    }

    fn has_room(&self, now: u64) -> bool {
        if self.buckets.len() < self.keys_max {
            return true;
        }
        let mut sweep_from = self.sweep_from.lock();
        if now < *sweep_from {
            return false;
        }
        *sweep_from = now.saturating_add(SWEEP_EVERY_MS);
        self.sweep(now);
        self.buckets.len() < self.keys_max
    }

    /// Forgets keys that have nothing counted.
    fn sweep(&self, now: u64) {
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        self.buckets.shrink_to_fit();
    }
}

/// Guesses at user codes.
#[derive(Debug)]
pub struct Guesses {
    accounts: Left<UserId>,
    addresses: Left<IpAddr>,
    clock: Clock,
}

/// A guess that is counted unless it turns out [`right`](Guess::right).
#[derive(Debug)]
pub struct Guess<'a> {
    guesses: &'a Guesses,
    user: &'a UserId,
    address: IpAddr,
}

impl Guesses {
    pub(super) fn new(account: RateLimit, address: RateLimit, keys_max: usize, clock: &Clock) -> Self {
        Self {
            accounts: Left::new(account, keys_max, "user_code_account_rate"),
            addresses: Left::new(address, keys_max, "user_code_address_rate"),
            clock: clock.clone(),
        }
    }

    /// Counts a guess of this account from this address: an IPv4 address, an IPv6 /64 or, eightfold, a /48.
    ///
    /// # Errors
    /// `rate_limited` with `after_ms`; then the guess is not looked at, right or wrong.
    pub fn guess<'a>(&'a self, user: &'a UserId, address: IpAddr) -> Result<Guess<'a>, Refusal> {
        let now = self.clock.now();
        self.accounts.take(user, 1, now)?;
        for (at, scope) in scopes_of(address).enumerate() {
            if let Err(refusal) = self.addresses.take(&scope.key, scope.factor, now) {
                // What the address may not do is not charged to the account, nor to the narrower network.
                self.accounts.give_back(user, 1);
                let narrower = scopes_of(address).take(at);
                narrower.for_each(|scope| self.addresses.give_back(&scope.key, scope.factor));
                return Err(refusal);
            }
        }
        Ok(Guess {
            guesses: self,
            user,
            address,
        })
    }

    /// The limits' names, and how many guesses each refused.
    pub(super) fn limited(&self) -> [(&'static str, u64); 2] {
        [
            (self.accounts.name, self.accounts.refused.get()),
            (self.addresses.name, self.addresses.refused.get()),
        ]
    }

    /// Goes on with other rates.
    pub(super) fn renew(&self, account: RateLimit, address: RateLimit) {
        *self.accounts.rate.lock() = account;
        *self.addresses.rate.lock() = address;
    }

    /// Forgets idle keys.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        self.accounts.sweep(now);
        self.addresses.sweep(now);
    }
}

impl Guess<'_> {
    /// It was no guess: nothing is counted.
    pub fn right(self) {
        let Self {
            guesses,
            user,
            address,
        } = self;
        guesses.accounts.give_back(user, 1);
        scopes_of(address).for_each(|scope| guesses.addresses.give_back(&scope.key, scope.factor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32) -> RateLimit {
        RateLimit {
            count,
            period_ms: 600_000,
            burst: count,
        }
    }

    fn user(n: usize) -> UserId {
        UserId::parse(&format!("u{n}")).unwrap()
    }

    #[test]
    fn wrong_guesses_run_out_and_right_ones_do_not() {
        let clock = Clock::manual(1_000_000);
        let guesses = Guesses::new(rate(2), rate(5), 100, &clock);
        let (alice, address) = (user(1), "192.0.2.1".parse().unwrap());
        for _ in 0..50 {
            guesses.guess(&alice, address).unwrap().right();
        }
        assert!((0..2).all(|_| guesses.guess(&alice, address).is_ok()));
        let refused = guesses.guess(&alice, address).unwrap_err();
        assert_eq!(refused.after_ms, Some(300_000));
        // From anywhere, and whether it would have been right or not.
        assert!(guesses.guess(&alice, "192.0.2.2".parse().unwrap()).is_err());
        clock.advance(300_000);
        assert!(guesses.guess(&alice, address).is_ok());
        assert_eq!(guesses.limited()[0], ("user_code_account_rate", 2));
    }

    #[test]
    fn an_address_is_counted_over_its_accounts_and_a_site_over_its_networks() {
        let clock = Clock::manual(1_000_000);
        let guesses = Guesses::new(rate(2), rate(3), 1_000, &clock);
        let wrong = |n: usize, address: &str| guesses.guess(&user(n), address.parse().unwrap()).is_ok();
        let from_one = (0..20).filter(|n| wrong(*n, "192.0.2.1"));
        assert_eq!(from_one.count(), 3);
        assert!(
            wrong(4, "192.0.2.9"),
            "the refusals were not charged to the accounts"
        );
        let from_site = (100..200).filter(|n| wrong(*n, &format!("2001:db8:1:{n:x}::1")));
        assert_eq!(from_site.count(), 3 * 8);
        assert!(wrong(300, "2001:db8:2::1"));
    }

    #[test]
    fn many_at_once_are_no_way_around() {
        let clock = Clock::manual(1_000_000);
        let guesses = Guesses::new(rate(5), rate(20), 100, &clock);
        let (alice, address) = (user(1), "192.0.2.1".parse().unwrap());
        let held: Vec<_> = (0..64)
            .filter_map(|_| guesses.guess(&alice, address).ok())
            .collect();
        assert_eq!(held.len(), 5);
    }

    #[test]
    fn the_tables_are_bounded() {
        let clock = Clock::manual(1_000_000);
        let guesses = Guesses::new(rate(1), rate(1_000), 3, &clock);
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        assert!((0..3).all(|n| guesses.guess(&user(n), address).is_ok()));
        assert!(guesses.guess(&user(9), address).is_err(), "all keys are busy");
        clock.advance(600_000);
        assert!(
            guesses.guess(&user(9), address).is_ok(),
            "idle keys were forgotten"
        );
        guesses.sweep();
        assert_eq!(guesses.accounts.buckets.len(), 1);
    }
}
