//! The only place that reads the time. Everything else is given a [`Clock`] or a number.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since the Unix epoch that never run backwards. Clones share one time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System { started_at_ms: u64, started: Instant },
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's wall time, read once, plus the monotonic time since. When somebody sets the wall
    /// clock, or the machine sleeps, the difference stays until the process starts again: no token
    /// expires, and no deadline passes, because a clock was corrected.
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place that reads the time, so that everything else can be tested with a number"
    )]
    pub fn system() -> Self {
        // A wall clock before 1970 reads as 1970.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(Source::System {
            started_at_ms: whole_ms(since_epoch.as_millis()),
            started: Instant::now(),
        })
    }

    /// A clock that stands at `start_ms` until [`advance`](Self::advance) moves it, for tests.
    pub fn manual(start_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(start_ms))))
    }

    /// Moves a manual clock, and its clones, forward. The system's clock moves by itself: no effect.
    pub fn advance(&self, ms: u64) {
        if let Source::Manual(at) = &self.0 {
            at.fetch_add(ms, Ordering::Relaxed);
        }
    }

    /// When it will be `at_ms`, for a timer. Timers set for the same millisecond, whenever that is done, go off
    /// together: counted from now they would be spread by the part of a millisecond that has passed. `None`: later
    /// than the system can tell.
    #[allow(clippy::disallowed_methods, reason = "as in `system`")]
    pub fn instant_of(&self, at_ms: u64) -> Option<Instant> {
        let (from, from_ms) = match &self.0 {
            Source::System {
                started_at_ms,
                started,
            } => (*started, *started_at_ms),
            Source::Manual(_) => (Instant::now(), self.now()),
        };
        from.checked_add(Duration::from_millis(at_ms.saturating_sub(from_ms)))
    }

    /// Unix milliseconds.
    pub fn now(&self) -> u64 {
        match &self.0 {
            Source::System {
                started_at_ms,
                started,
            } => started_at_ms.saturating_add(whole_ms(started.elapsed().as_millis())),
            Source::Manual(at) => at.load(Ordering::Relaxed),
        }
    }
}

/// How long something takes, for what is counted and decides nothing.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[allow(clippy::disallowed_methods, reason = "as in `system`")]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Whole microseconds since.
    pub fn us(&self) -> u64 {
        whole_ms(self.0.elapsed().as_micros())
    }
}

fn whole_ms(ms: u128) -> u64 {
    u64::try_from(ms).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_manual_clock_share_its_time() {
        let clock = Clock::manual(1_000);
        let other = clock.clone();
        clock.advance(5);
        assert_eq!((clock.now(), other.now()), (1_005, 1_005));
    }

    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "what the timers' own clock says is compared"
    )]
    fn an_instant_does_not_depend_on_when_it_is_asked_for() {
        let clock = Clock::system();
        let at = clock.now() + 1_000;
        let instant = clock.instant_of(at).unwrap();
        while clock.now() < at {
            assert_eq!(clock.instant_of(at), Some(instant));
            std::thread::yield_now();
        }
        // The millisecond has begun by then, or the clock was read in between.
        assert!(Instant::now() >= instant);
        let manual = Clock::manual(5_000);
        let before = Instant::now();
        assert!(manual.instant_of(6_000).unwrap() >= before + Duration::from_secs(1));
        assert!(manual.instant_of(4_000).unwrap() <= Instant::now());
    }

    #[test]
    fn the_system_clock_is_this_century_and_never_steps_back() {
        let clock = Clock::system();
        let first = clock.now();
        clock.advance(1_000_000);
        let second = clock.now();
        assert!(first > 1_700_000_000_000 && second >= first && second < first + 1_000_000);
    }
}
