//! The server's resident memory, looked at now and then for its peak.

use crate::clock::{MILLI, Nanos};
use crate::host::process::resident_bytes;

/// Between two looks. Each costs the server a walk of its page tables.
const EVERY: Nanos = 100 * MILLI;

/// The highest resident memory seen.
#[derive(Debug, Clone, Copy)]
pub struct MemoryPeak {
    pid: Option<u32>,
    next_at: Nanos,
    peak: Option<u64>,
}

impl MemoryPeak {
    /// Nothing is looked at without a pid.
    pub fn new(pid: Option<u32>) -> MemoryPeak {
        MemoryPeak {
            pid,
            next_at: 0,
            peak: None,
        }
    }

    /// Looks, when it is time.
    pub fn look(&mut self, now: Nanos) {
        if now < self.next_at {
            return;
        }
        self.next_at = now + EVERY;
        // A process that went away shows in everything else.
        if let Some(bytes) = self.pid.and_then(|pid| resident_bytes(pid).ok()) {
            self.peak = self.peak.max(Some(bytes));
        }
    }

    /// The highest seen, bytes.
    pub fn peak(&self) -> Option<u64> {
        self.peak
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_when_it_is_time() {
        let mut peak = MemoryPeak::new(Some(std::process::id()));
        peak.look(EVERY);
        assert!(peak.peak().is_some_and(|b| b > 100_000));
        let next = peak.next_at;
        peak.look(EVERY + 1);
        assert_eq!(peak.next_at, next);
        let mut none = MemoryPeak::new(None);
        none.look(EVERY);
        assert_eq!(none.peak(), None);
    }
}
