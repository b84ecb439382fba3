//! Phones that wait for the end of a QR login they scanned.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Hub;
use crate::core::attempt::AttemptKey;

/// Who waits for one attempt. There are never more than requests under way, which have a bound of their own.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    phones: usize,
    news: Arc<Notify>,
}

/// One that waits; it no longer does when this value is dropped.
pub struct Awaited {
    hub: Arc<Hub>,
    key: AttemptKey,
    /// Told when the attempt has changed: ask again.
    pub news: Arc<Notify>,
}

impl Hub {
    /// Waits for an attempt.
    pub fn await_outcome(self: &Arc<Self>, key: AttemptKey) -> Awaited {
        let mut waiting = self.outcomes.entry(key).or_default();
        waiting.phones += 1;
        Awaited {
            hub: Arc::clone(self),
            key,
            news: Arc::clone(&waiting.news),
        }
    }

    /// Whether a phone here waits for an attempt.
    pub fn is_awaited(&self, key: AttemptKey) -> bool {
        self.outcomes.contains_key(&key)
    }

    /// Phones here that wait.
    pub fn awaited_count(&self) -> usize {
        self.outcomes.iter().map(|waiting| waiting.phones).sum()
    }

    /// An attempt has changed: those that wait for it ask again.
    pub fn tell_phones(&self, key: AttemptKey) {
        if let Some(waiting) = self.outcomes.get(&key) {
            waiting.news.notify_waiters();
        }
    }

    /// Those that wait for any attempt ask again.
    pub fn tell_all_phones(&self) {
        for waiting in self.outcomes.iter() {
            waiting.news.notify_waiters();
        }
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        if let Some(mut waiting) = self.hub.outcomes.get_mut(&self.key) {
            waiting.phones -= 1;
        }
        self.hub
            .outcomes
            .remove_if(&self.key, |_, waiting| waiting.phones == 0);
    }
}
