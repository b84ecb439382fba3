//! Counts of one room: absolute values with a version, published at intervals and only when they differ.
//!
//! Who is there is kept by [`Presence`]; [`Counts`] is told how many that makes. Both are published on the
//! same schedule, the first change after a quiet time at once, later ones once per interval.

use std::collections::BTreeMap;

use countersign_protocol::server::Counts as CountsView;

mod presence;

#[cfg(test)]
mod tests;

pub use presence::{CHANGES_MAX, Presence, PresenceDelta};

/// A value, and what was last published of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Told {
    value: u64,
    published: u64,
}

impl Told {
    fn differs(self) -> bool {
        self.value != self.published
    }

    /// From 0 to some or from some to 0: somebody came into an empty room, or the last one left.
    fn crosses_zero(self) -> bool {
        (self.value == 0) != (self.published == 0)
    }
}

/// Viewers, members and named counters of one room.
///
/// **Versions.** Every publication has the next version, from 1, and the latest wins. A reply to `join`
/// ([`snapshot`](Counts::snapshot)) shows the values of that instant under the version published last, and
/// is the new base of whoever gets it: a push of that version or a smaller one that is still on its way is
/// stale or equal, and is rightly ignored; the next publication is greater and newer. When the values shown
/// were not published yet, the next publication is sent even if the change is undone before it: otherwise
/// whoever saw them would keep them for ever.
#[derive(Debug, Clone)]
pub struct Counts {
    viewers: Told,
    members: Told,
    counters: BTreeMap<Box<str>, Told>,
    version: u64,
    /// At least this long between publications, milliseconds; default 200.
    interval_ms: u32,
    /// Of the last publication; 0 before the first.
    published_at: u64,
    /// A snapshot showed values that no publication has.
    shown: bool,
}

impl Counts {
    /// All zero, version 0.
    pub const fn new(interval_ms: u32) -> Self {
        Self {
            viewers: Told {
                value: 0,
                published: 0,
            },
            members: Told {
                value: 0,
                published: 0,
            },
            counters: BTreeMap::new(),
            version: 0,
            interval_ms,
            published_at: 0,
            shown: false,
        }
    }

    /// How many connections are in the room, and how many distinct signed-in users they belong to.
    pub fn set_present(&mut self, viewers: u64, members: u64) {
        self.viewers.value = viewers;
        self.members.value = members;
    }

    /// Adds to a named counter and returns its value; it stops at `u64::MAX`. Which names there may be is
    /// for the caller to check: each new one stays for as long as the room.
    pub fn add(&mut self, counter: &str, n: u64) -> u64 {
        if let Some(told) = self.counters.get_mut(counter) {
            told.value = told.value.saturating_add(n);
            return told.value;
        }
        let told = Told {
            value: n,
            published: 0,
        };
        self.counters.insert(counter.into(), told);
        n
    }

    /// Value of a named counter, 0 when it was never added to.
    pub fn counter(&self, counter: &str) -> u64 {
        self.counters.get(counter).map_or(0, |told| told.value)
    }

    /// Version published last, 0 before the first.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When the next publication is due, `None` when there is nothing to publish. An instant that has
    /// passed means now. Ask after every change.
    pub fn due(&self) -> Option<u64> {
        if self.viewers.crosses_zero() || self.members.crosses_zero() {
            return Some(self.published_at);
        }
        let differs = self.shown
            || self.viewers.differs()
            || self.members.differs()
            || self.counters.values().any(|told| told.differs());
        differs.then(|| self.published_at.saturating_add(u64::from(self.interval_ms)))
    }

    /// What is to be published, when it is due.
    pub fn take(&mut self, now: u64) -> Option<CountsView> {
        if self.due()? > now {
            return None;
        }
        self.version += 1;
        self.published_at = now;
        self.shown = false;
        let named = self.counters.values_mut();
        for told in named.chain([&mut self.viewers, &mut self.members]) {
            told.published = told.value;
        }
        Some(self.view())
    }

    /// The values of this instant for a connection that will get the publications from here on.
    pub fn snapshot(&mut self) -> CountsView {
        self.shown = self.due().is_some();
        self.view()
    }

    /// The values of this instant for somebody who asks once, over HTTP.
    pub fn view(&self) -> CountsView {
        let counters = self.counters.iter();
        CountsView {
            version: self.version,
            viewers: self.viewers.value,
            members: self.members.value,
            counters: counters
                .map(|(name, told)| (name.to_string(), told.value))
                .collect(),
        }
    }
}
