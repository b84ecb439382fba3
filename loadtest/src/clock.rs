//! Time. Everything here is nanoseconds of the monotonic clock, which all processes of one machine
//! share: a stamp written by one process can be read by another.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds: a monotonic instant or a span between two.
pub type Nanos = u64;

/// Nanoseconds in a microsecond.
pub const MICRO: Nanos = 1_000;
/// Nanoseconds in a millisecond.
pub const MILLI: Nanos = 1_000_000;
/// Nanoseconds in a second.
pub const SECOND: Nanos = 1_000_000_000;

/// The monotonic clock, now.
pub fn now() -> Nanos {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Unix time, milliseconds. Only for the date of a report.
pub fn unix_ms() -> u64 {
    nanos(clock_gettime(ClockId::Realtime)) / MILLI
}

/// Processor time this thread has used so far.
pub fn thread_cpu() -> Nanos {
    nanos(clock_gettime(ClockId::ThreadCPUTime))
}

/// Processor time this process has used so far, all threads.
pub fn process_cpu() -> Nanos {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
}

/// A wait of `span` as the kernel takes it.
pub fn timespec(span: Nanos) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(span / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(span % SECOND).unwrap_or(0),
    }
}

/// `seconds` as nanoseconds; negative and absurd values are clamped to 0 and one year.
pub fn from_seconds(seconds: f64) -> Nanos {
    const YEAR: f64 = 365.0 * 24.0 * 3600.0;
    let seconds = if seconds.is_finite() {
        seconds.clamp(0.0, YEAR)
    } else {
        0.0
    };
    // In range by the clamp above.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let nanos = (seconds * SECOND as f64).round() as Nanos;
    nanos
}

/// `span` in seconds.
pub fn seconds(span: Nanos) -> f64 {
    span as f64 / SECOND as f64
}

fn nanos(t: Timespec) -> Nanos {
    u64::try_from(t.tv_sec).unwrap_or(0) * SECOND + u64::try_from(t.tv_nsec).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_clamped() {
        assert_eq!(from_seconds(1.5), 1_500 * MILLI);
        assert_eq!(from_seconds(-1.0), 0);
        assert_eq!(from_seconds(f64::NAN), 0);
        assert!(timespec(from_seconds(f64::MAX)).tv_sec > 0);
    }
}
