//! Which `cid`s were used lately, and what they stood for.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};
use std::sync::Arc;

use super::Source;

/// The secret under which `cid`s and bodies are hashed: with it unknown, nobody finds two that collide.
/// One per node, cloned to every room.
#[derive(Debug, Clone)]
pub struct CidKey(Arc<[RandomState; 2]>);

impl CidKey {
    /// `first` and `second` are to be two different states.
    pub fn new(first: RandomState, second: RandomState) -> Self {
        Self(Arc::new([first, second]))
    }

    fn name(&self, value: impl Hash) -> Name {
        let [first, second] = &*self.0;
        Name(first.hash_one(&value), second.hash_one(&value))
    }

    fn body(&self, body: &str) -> u64 {
        self.0[0].hash_one(body)
    }
}

/// 128 bits that stand for author and `cid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Name(u64, u64);

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A name is a keyed hash already; hashing it again would only cost time.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, n: u64) {
        self.0 = n;
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    body: u64,
    offset: u64,
    at_ms: u64,
}

/// A `cid` that is not in the window, ready to be remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vacant {
    name: Name,
    body: u64,
}

#[derive(Debug)]
pub(super) enum Found {
    Nothing(Vacant),
    /// The same message, at its first place.
    First {
        offset: u64,
        at_ms: u64,
    },
    OtherBody,
}

/// Entries leave in the order they came, each after its full time.
#[derive(Debug)]
pub(super) struct Window {
    key: CidKey,
    entries: HashMap<Name, Entry, BuildHasherDefault<AsIs>>,
    /// With the instant each lapses; instants never fall.
    order: VecDeque<(Name, u64)>,
}

impl Window {
    pub(super) fn new(key: CidKey) -> Self {
        Self {
            key,
            entries: HashMap::default(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.order.capacity() + self.entries.capacity()
    }

    pub(super) fn oldest_lapses_at(&self) -> Option<u64> {
        self.order.front().map(|(_, lapses_at)| *lapses_at)
    }

    /// A server key that speaks for a user and that user are two authors.
    pub(super) fn look(&self, author: (Option<Source>, Option<&str>), cid: &str, body: &str) -> Found {
        let name = self.key.name((author, cid));
        let body = self.key.body(body);
        match self.entries.get(&name) {
            None => Found::Nothing(Vacant { name, body }),
            Some(entry) if entry.body != body => Found::OtherBody,
            Some(entry) => Found::First {
                offset: entry.offset,
                at_ms: entry.at_ms,
            },
        }
    }

    pub(super) fn remember(&mut self, vacant: Vacant, offset: u64, at_ms: u64, lapses_at: u64) {
        let Vacant { name, body } = vacant;
        self.entries.insert(name, Entry { body, offset, at_ms });
        self.order.push_back((name, lapses_at));
    }

    pub(super) fn expire(&mut self, now: u64) {
        while let Some((name, _)) = self.order.pop_front_if(|(_, lapses_at)| *lapses_at <= now) {
            self.entries.remove(&name);
        }
    }

    /// Gives back memory that a busier time left behind.
    pub(super) fn shrink(&mut self) {
        if self.order.capacity() > 4 * self.order.len() {
            self.order.shrink_to_fit();
            self.entries.shrink_to_fit();
        }
    }
}
