//! Bounds that hold whatever happens at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::record::EngineError;

/// A bounded number of records: a place is taken before one is kept, and freed when it is gone. A map's own
/// length, asked before an insertion, would let as many too many in as there are threads.
#[derive(Debug)]
pub(super) struct Places {
    taken: AtomicUsize,
    max: usize,
    what: &'static str,
}

impl Places {
    pub(super) const fn new(max: usize, what: &'static str) -> Self {
        Self {
            taken: AtomicUsize::new(0),
            max,
            what,
        }
    }

    pub(super) fn take(&self) -> Result<(), EngineError> {
        let more = |taken: usize| (taken < self.max).then_some(taken + 1);
        let taken = self
            .taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| EngineError::Full(self.what))
    }

    /// Answers how many are taken still.
    pub(super) fn free(&self) -> usize {
        self.taken.fetch_sub(1, Ordering::Relaxed).saturating_sub(1)
    }

    pub(super) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}
