//! Accounts of a part of the messages: of a group of rooms, or of a priority.

use serde::{Deserialize, Serialize};

use super::variant::{CLASSES, Variant};
use crate::error::Result;
use crate::latency::{Latency, Percentiles};
use crate::metric::Metric;

/// Running counts of one group or priority; each means what it means for the whole run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Account {
    #[serde(flatten)]
    pub counts: Counts,
    pub latency: Latency,
}

/// The counts of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Messages handed to a socket, and messages due that could not be.
    pub sent: u64,
    pub unsent: u64,
    /// Sends acknowledged with an offset, answered `shed`, answered with an error.
    pub accepted: u64,
    pub shed: u64,
    pub refused: u64,
    /// Deliveries there should have been.
    pub expected: u64,
    pub delivered: u64,
    /// Told by a `gap`.
    pub told: u64,
    /// Missed by members that stopped reading and were told so by their end.
    pub cut_off: u64,
    pub lost: u64,
}

/// An account, settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct AccountResult {
    #[serde(flatten)]
    pub counts: Counts,
    /// As that of the whole run.
    pub latency: Percentiles,
}

impl Account {
    fn new() -> Result<Account> {
        Ok(Account {
            counts: Counts::default(),
            latency: Latency::new()?,
        })
    }

    /// The account as it is reported.
    pub(super) fn result(&self) -> AccountResult {
        AccountResult {
            counts: self.counts,
            latency: self.latency.percentiles(),
        }
    }
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.sent += other.sent;
        self.unsent += other.unsent;
        self.accepted += other.accepted;
        self.shed += other.shed;
        self.refused += other.refused;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.told += other.told;
        self.cut_off += other.cut_off;
        self.lost += other.lost;
    }
}

/// All accounts of a run: big and small rooms, and one for each of [`CLASSES`]. Empty where the variant
/// has none.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Accounts {
    pub groups: Vec<Account>,
    pub classes: Vec<Account>,
}

impl Accounts {
    /// The accounts of a variant.
    pub(super) fn of(variant: &Variant) -> Result<Accounts> {
        let of = |n: usize, wanted: bool| -> Result<Vec<Account>> {
            (0..n).filter(|_| wanted).map(|_| Account::new()).collect()
        };
        Ok(Accounts {
            groups: of(2, variant.big.is_some())?,
            classes: of(CLASSES.len(), variant.mix.is_some())?,
        })
    }

    /// Lets `note` write into the accounts that a message of `room` with this class belongs to.
    pub(super) fn note(&mut self, room: usize, class: usize, note: impl Fn(&mut Account)) {
        if let Some(account) = self.group(room) {
            note(account);
        }
        if let Some(account) = self.classes.get_mut(class) {
            note(account);
        }
    }

    /// The account of a room's group.
    pub(super) fn group(&mut self, room: usize) -> Option<&mut Account> {
        self.groups.get_mut(usize::from(room != 0))
    }

    /// Adds the accounts of another process of the same run.
    pub(super) fn pool(&mut self, other: &Accounts) -> Result<()> {
        let ours = self.groups.iter_mut().chain(&mut self.classes);
        for (ours, theirs) in ours.zip(other.groups.iter().chain(&other.classes)) {
            ours.counts.add(&theirs.counts);
            ours.latency.pool(&theirs.latency)?;
        }
        Ok(())
    }
}

/// The metrics of an account, their names beginning with `$prefix`.
macro_rules! account_metrics {
    ($prefix:literal, $account:expr) => {
        $crate::room::account::named(
            $account,
            [
                concat!($prefix, "sent"),
                concat!($prefix, "unsent"),
                concat!($prefix, "accepted"),
                concat!($prefix, "shed"),
                concat!($prefix, "refused"),
                concat!($prefix, "expected"),
                concat!($prefix, "delivered"),
                concat!($prefix, "told"),
                concat!($prefix, "cut_off"),
                concat!($prefix, "lost"),
            ],
            [
                concat!($prefix, "p50"),
                concat!($prefix, "p75"),
                concat!($prefix, "p90"),
                concat!($prefix, "p95"),
                concat!($prefix, "p99"),
                concat!($prefix, "p99_9"),
                concat!($prefix, "max"),
            ],
        )
    };
}
pub(super) use account_metrics;

/// Counts and percentiles under the names given, in the order of their fields.
pub(super) fn named(
    account: &AccountResult,
    counts: [&'static str; 10],
    times: [&'static str; 7],
) -> Vec<Metric> {
    let c = &account.counts;
    let values = [
        c.sent,
        c.unsent,
        c.accepted,
        c.shed,
        c.refused,
        c.expected,
        c.delivered,
        c.told,
        c.cut_off,
        c.lost,
    ];
    let l = &account.latency;
    let spans = [
        l.p50_us, l.p75_us, l.p90_us, l.p95_us, l.p99_us, l.p99_9_us, l.max_us,
    ];
    let counts = counts.into_iter().zip(values).map(|(n, v)| Metric::count(n, v));
    let times = times.into_iter().zip(spans);
    counts.chain(times.map(|(n, v)| Metric::span(n, v))).collect()
}
