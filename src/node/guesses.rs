//! How many wrong guesses there may be, per account and per address. A guess is counted before it is looked at, so that
//! many at once are no way around, and given back when it was right: being right costs nothing.
//!
//! Counted are the guesses of the last period, each by its instant, and not at a rate: within any period there are never
//! more than the bound, whenever it began.

use std::hash::Hash;
use std::net::IpAddr;

use countersign_protocol::UserId;
use dashmap::DashMap;
use parking_lot::Mutex;

use super::refusal::Refusal;
use crate::clock::Clock;
use crate::config::limits::RateLimit;
use crate::core::network::scopes_of;
use crate::tally::Tally;

/// How long a full table is not swept again, ms: a sweep looks at every key.
const SWEEP_EVERY_MS: u64 = 1_000;

/// What one kind of key has guessed.
#[derive(Debug)]
struct Counted<K: Hash + Eq> {
    /// Instants of the last period, oldest first, never more than the bound: Unix milliseconds.
    guesses: DashMap<K, Vec<u64>>,
    rate: Mutex<RateLimit>,
    keys_max: usize,
    sweep_from: Mutex<u64>,
    /// The limit's name.
    name: &'static str,
    refused: Tally,
}

impl<K: Hash + Eq + Clone> Counted<K> {
    fn new(rate: RateLimit, keys_max: usize, name: &'static str) -> Self {
        Self {
            guesses: DashMap::new(),
            rate: Mutex::new(rate),
            keys_max,
            sweep_from: Mutex::new(0),
            name,
            refused: Tally::default(),
        }
    }

    fn take(&self, key: &K, factor: u32, now: u64) -> Result<(), Refusal> {
        self.try_take(key, factor, now).map_err(|after_ms| {
            self.refused.one();
            Refusal::rate_limited("too many codes that were none", after_ms)
        })
    }

    fn try_take(&self, key: &K, factor: u32, now: u64) -> Result<(), u64> {
        if !self.guesses.contains_key(key) && !self.has_room(now) {
            return Err(SWEEP_EVERY_MS);
        }
        let rate = self.rate.lock().times(factor);
        let bound = usize::try_from(rate.count.min(rate.burst)).unwrap_or(usize::MAX);
        let mut guesses = self.guesses.entry(key.clone()).or_default();
        guesses.retain(|at| now < at.saturating_add(rate.period_ms));
        // The one that makes room when its period is over; a bound may have been lowered meanwhile.
        let in_the_way = guesses.len().checked_sub(bound).and_then(|at| guesses.get(at));
        match in_the_way {
            Some(at) => Err(at.saturating_add(rate.period_ms).saturating_sub(now)),
            None => {
                guesses.push(now);
                Ok(())
            }
        }
    }

    /// Takes back one that was counted at `at`.
    fn give_back(&self, key: &K, at: u64) {
        if let Some(mut guesses) = self.guesses.get_mut(key)
            && let Some(index) = guesses.iter().rposition(|counted| *counted == at)
        {
            guesses.remove(index);
        }
    }

    fn has_room(&self, now: u64) -> bool {
        if self.guesses.len() < self.keys_max {
            return true;
        }
        let mut sweep_from = self.sweep_from.lock();
        if now < *sweep_from {
            return false;
        }
        *sweep_from = now.saturating_add(SWEEP_EVERY_MS);
        self.sweep(now);
        self.guesses.len() < self.keys_max
    }

    /// Forgets keys that have nothing counted.
    fn sweep(&self, now: u64) {
        let period_ms = self.rate.lock().period_ms;
        let counted = |at: &u64| now < at.saturating_add(period_ms);
        self.guesses.retain(|_, guesses| guesses.iter().any(counted));
        self.guesses.shrink_to_fit();
    }
}

/// Guesses at user codes.
#[derive(Debug)]
pub struct Guesses {
    accounts: Counted<UserId>,
    addresses: Counted<IpAddr>,
    clock: Clock,
}

/// A guess that is counted unless it turns out [`right`](Guess::right).
#[derive(Debug)]
pub struct Guess<'a> {
    guesses: &'a Guesses,
    user: &'a UserId,
    address: IpAddr,
    at: u64,
}

impl Guesses {
    pub(super) fn new(account: RateLimit, address: RateLimit, keys_max: usize, clock: &Clock) -> Self {
        Self {
            accounts: Counted::new(account, keys_max, "user_code_account_rate"),
            addresses: Counted::new(address, keys_max, "user_code_address_rate"),
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
                self.accounts.give_back(user, now);
                let narrower = scopes_of(address).take(at);
                narrower.for_each(|scope| self.addresses.give_back(&scope.key, now));
                return Err(refusal);
            }
        }
        Ok(Guess {
            guesses: self,
            user,
            address,
            at: now,
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
            at,
        } = self;
        guesses.accounts.give_back(user, at);
        scopes_of(address).for_each(|scope| guesses.addresses.give_back(&scope.key, at));
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
        assert_eq!(refused.after_ms, Some(600_000));
        // From anywhere, and whether it would have been right or not.
        assert!(guesses.guess(&alice, "192.0.2.2".parse().unwrap()).is_err());
        clock.advance(599_999);
        assert_eq!(guesses.guess(&alice, address).unwrap_err().after_ms, Some(1));
        clock.advance(1);
        assert!(guesses.guess(&alice, address).is_ok());
        assert_eq!(guesses.limited()[0], ("user_code_account_rate", 3));
    }

    /// Wherever a period begins, there are no more in it than the bound.
    #[test]
    fn any_period_holds_no_more_than_the_bound() {
        let clock = Clock::manual(1_000_000);
        let guesses = Guesses::new(rate(5), rate(1_000), 100, &clock);
        let (alice, address) = (user(1), "192.0.2.1".parse().unwrap());
        let mut taken = Vec::new();
        for step in 0..2_000_u64 {
            clock.advance(500 + 977 * (step % 7));
            if guesses.guess(&alice, address).is_ok() {
                taken.push(clock.now());
            }
        }
        assert!(taken.len() > 20, "{}", taken.len());
        let too_close = taken.windows(6).find(|six| six[5] < six[0] + 600_000);
        assert_eq!(too_close, None);
    }

    #[test]
    fn a_lowered_bound_holds_at_once() {
        let clock = Clock::manual(1_000_000);
        let guesses = Guesses::new(rate(5), rate(5), 100, &clock);
        let (alice, address) = (user(1), "192.0.2.1".parse().unwrap());
        for _ in 0..4 {
            assert!(guesses.guess(&alice, address).is_ok());
            clock.advance(1_000);
        }
        guesses.renew(rate(2), rate(5));
        // The third of the four has to lapse.
        let refused = guesses.guess(&alice, address).unwrap_err();
        assert_eq!(refused.after_ms, Some(600_000 - 2_000));
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
        assert_eq!(guesses.accounts.guesses.len(), 1);
    }
}
