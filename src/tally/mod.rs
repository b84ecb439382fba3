//! Counting without a lock: what hot paths add to ([`Tally`], [`Shards`], [`Buckets`]), and what whoever asks is given
//! ([`parts`], [`Spread`]). A part of the house counts for itself and knows nothing of who reads.

mod buckets;
pub mod parts;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

pub use buckets::{Buckets, Spread};

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Tally(AtomicU64);

impl Tally {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Copies of a count; more threads than this share one.
const SHARDS: usize = 16;

/// As many copies of a count as threads that write to it, so that none of them waits for another's line of memory.
/// For what is counted very often.
#[derive(Debug, Default)]
pub struct Shards<T>([Line<T>; SHARDS]);

/// On lines of its own: processors fetch two at a time.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Line<T>(T);

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Which copy is this thread's; beyond the last: not chosen yet.
    static HERE: Cell<usize> = const { Cell::new(SHARDS) };
}

#[cold]
fn choose() -> usize {
    let at = NEXT_THREAD.fetch_add(1, Ordering::Relaxed) % SHARDS;
    HERE.set(at);
    at
}

impl<T> Shards<T> {
    /// Copies made one by one.
    pub fn of(make: impl Fn() -> T) -> Self {
        Self(std::array::from_fn(|_| Line(make())))
    }

    /// This thread's copy.
    pub fn here(&self) -> &T {
        let at = HERE.get();
        match self.0.get(at) {
            Some(line) => &line.0,
            None => &self.0[choose() % SHARDS].0,
        }
    }

    /// All of them, to be summed up.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|line| &line.0)
    }

    /// The sum of a count of each.
    pub fn sum(&self, of: impl Fn(&T) -> &Tally) -> u64 {
        self.all().map(|copy| of(copy).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn nothing_is_lost_between_threads() {
        let shards: Arc<Shards<Tally>> = Arc::default();
        let threads: Vec<_> = (0..2 * SHARDS)
            .map(|_| {
                let shards = Arc::clone(&shards);
                std::thread::spawn(move || (0..1_000).for_each(|_| shards.here().one()))
            })
            .collect();
        threads.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(shards.sum(|tally| tally), 2 * SHARDS as u64 * 1_000);
        let used = shards.all().filter(|tally| tally.get() > 0).count();
        assert!(used > 1, "all in one place");
    }
}
