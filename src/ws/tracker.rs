//! Counts tasks, so that a shutdown can wait for them: a task that serves a socket is on its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// The count.
#[derive(Debug, Clone, Default)]
pub(super) struct Tracker(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    tasks: AtomicUsize,
    none_left: Notify,
}

/// One task's part of the count, for as long as it lives.
#[derive(Debug)]
pub(super) struct Tracked(Arc<Count>);

impl Tracker {
    pub(super) fn track(&self) -> Tracked {
        self.0.tasks.fetch_add(1, Ordering::AcqRel);
        Tracked(Arc::clone(&self.0))
    }

    pub(super) fn count(&self) -> usize {
        self.0.tasks.load(Ordering::Acquire)
    }

    /// Returns when there is none.
    pub(super) async fn idle(&self) {
        loop {
            let none_left = self.0.none_left.notified();
            if self.count() == 0 {
                return;
            }
            none_left.await;
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if self.0.tasks.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}
