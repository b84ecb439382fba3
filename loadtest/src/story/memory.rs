//! The server's resident memory, looked at now and then for its peak.

use crate::clock::{MILLI, Nanos, SECOND};
use crate::error::Result;
use crate::host::server::{Followed, Server};

/// Between two looks at a process. Each costs it a walk of its page tables.
const EVERY: Nanos = 100 * MILLI;
/// Between two looks at a gateway by its metrics, for which it looks at all its connections.
const EVERY_ASKED: Nanos = SECOND;

/// The highest resident memory seen.
#[derive(Debug)]
pub struct MemoryPeak {
    server: Option<Followed>,
    every: Nanos,
    next_at: Nanos,
    peak: Option<u64>,
}

impl MemoryPeak {
    /// Nothing is looked at without a server.
    pub fn new(server: Option<Server<'_>>) -> Result<MemoryPeak> {
        Ok(MemoryPeak {
            every: match server {
                Some(Server::Metrics(_)) => EVERY_ASKED,
                _ => EVERY,
            },
            server: server.map(Followed::new).transpose()?,
            next_at: 0,
            peak: None,
        })
    }

    /// Looks, when it is time.
    pub fn look(&mut self, now: Nanos) {
        if now < self.next_at {
            return;
        }
        self.next_at = now + self.every;
        // A process that went away shows in everything else.
        if let Some(bytes) = self.server.as_ref().and_then(Followed::resident_bytes) {
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
        let mut peak = MemoryPeak::new(Some(Server::Pid(std::process::id()))).unwrap();
        peak.look(EVERY);
        assert!(peak.peak().is_some_and(|b| b > 100_000));
        let next = peak.next_at;
        peak.look(EVERY + 1);
        assert_eq!(peak.next_at, next);
        let mut none = MemoryPeak::new(None).unwrap();
        none.look(EVERY);
        assert_eq!(none.peak(), None);
    }
}
