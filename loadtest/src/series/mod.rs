//! The course of a run, second by second.
//!
//! Every scenario may hold a [`Series`]. It costs a delivery one increment in a histogram of 30 KB; everything
//! else happens once a second:
//!
//! ```
//! use countersign_loadtest::clock;
//! use countersign_loadtest::series::{Phase, Series};
//!
//! # fn main() -> countersign_loadtest::error::Result<()> {
//! let mut series = Series::new(None)?;     // the server, when it is known
//! series.phase(Phase::Measured);           // what is going on from now on
//! series.sent(1);                          // where a message is handed to a socket
//! series.delivered(250_000);               // where one arrives: its latency, nanoseconds
//! series.received(1);                      // or, where no latency is known
//! series.missing(2);                       // where offsets are skipped; negative when they arrive later
//! series.tick(clock::now(), 1);            // in the loop, each turn: the connections open
//! let course = series.finish(1);           // one row a second, and the phases
//! # assert_eq!(course.rows.iter().map(|r| r.received).sum::<u64>(), 2);
//! # Ok(()) }
//! ```
//!
//! A second lasts until the first tick after its end: turns are short, so that is milliseconds late. When a tick
//! comes several seconds late, the first of them has all that happened and the others are empty.
//!
//! Of a run that several processes drive each has a [`Series::part`], and a [`Joint`] puts their seconds together.

mod course;
mod joint;

use hdrhistogram::Histogram;

pub(crate) use self::course::value_of;
pub use self::course::{COLUMNS, Columns, Course, Phase, PhaseSpan, ROWS_STORED_MAX, Row};
pub use self::joint::{Joint, Second};
use crate::clock::{self, MICRO, MILLI, Nanos, SECOND, seconds};
use crate::error::{Error, Result};
use crate::host::server::{Followed, Server};
use crate::order::Seen;

/// Most seconds of one run that get a row; what comes after is in the last row. A day.
pub const ROWS_MAX: usize = 86_400;
/// Longest latency told apart within a second.
const LONGEST: Nanos = 60 * SECOND;
/// So long before the end of a second a gateway is asked what it will be told to have been then.
const AHEAD: Nanos = 100 * MILLI;

/// Collects one run. See the module.
#[derive(Debug)]
pub struct Series {
    began: Nanos,
    /// End of the second that is open.
    next: Nanos,
    sent: u64,
    received: u64,
    missing: i64,
    /// Latencies of the open second.
    latencies: Histogram<u64>,
    server: Option<Followed>,
    /// When there is something to do: the end of the second, or a little before.
    wake: Nanos,
    tester: (Nanos, Nanos),
    course: Course,
    /// Where the seconds go instead of into the course, when this is a part of a run.
    outlet: Option<Outlet>,
}

/// Takes the seconds of a part of a run as they end.
pub type Outlet = fn(&Second);

/// An empty histogram of a second: two significant digits, as 1 % is finer than a second's percentile is steady.
fn latencies() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(MICRO, LONGEST, 2).map_err(|e| Error::Usage(format!("histogram: {e}")))
}

impl Series {
    /// Begins now. Without a server there is neither memory nor processor time.
    pub fn new(server: Option<Server<'_>>) -> Result<Series> {
        Series::of(clock::now(), server, None)
    }

    /// A part of a run that began at `began` of the monotonic clock and that several processes drive: seconds are
    /// counted from then, as in all of them, and go to `outlet` as they end.
    pub fn part(began: Nanos, outlet: Outlet) -> Result<Series> {
        Series::of(began, None, Some(outlet))
    }

    fn of(began: Nanos, server: Option<Server<'_>>, outlet: Option<Outlet>) -> Result<Series> {
        Ok(Series {
            began,
            next: began + SECOND,
            sent: 0,
            received: 0,
            missing: 0,
            latencies: latencies()?,
            server: server.map(Followed::new).transpose()?,
            wake: began + SECOND - AHEAD,
            tester: (began, clock::thread_cpu()),
            course: Course::default(),
            outlet,
        })
    }

    /// What goes on from now on.
    pub fn phase(&mut self, phase: Phase) {
        self.course.enter(phase, self.since(clock::now()));
    }

    /// `n` messages were handed to a socket.
    pub fn sent(&mut self, n: u64) {
        self.sent += n;
    }

    /// A message arrived after this long, nanoseconds.
    pub fn delivered(&mut self, latency: Nanos) {
        self.received += 1;
        self.latencies.saturating_record(latency);
    }

    /// `n` messages arrived whose latency is not known.
    pub fn received(&mut self, n: u64) {
        self.received += n;
    }

    /// So many deliveries are missing more than before, fewer when negative.
    pub fn missing(&mut self, change: i64) {
        self.missing += change;
    }

    /// What an arrival says about messages that are missing.
    pub(crate) fn seen(&mut self, seen: Seen) {
        match seen {
            Seen::Ahead(missing) => self.missing(i64::try_from(missing).unwrap_or(i64::MAX)),
            Seen::Late => self.missing(-1),
            Seen::InOrder | Seen::Duplicate | Seen::Unclear => {}
        }
    }

    /// Closes the seconds that have ended. `connections`: open at this moment.
    pub fn tick(&mut self, now: Nanos, connections: usize) {
        if now < self.wake {
            return;
        }
        if now < self.next {
            if let Some(server) = &self.server {
                server.prepare();
            }
            self.wake = self.next;
            return;
        }
        let (mut row, mut latencies) = self.row(now, connections);
        while self.next <= now {
            let at = self.next - SECOND;
            let whole = Row {
                at_s: self.since(at),
                seconds: 1.0,
                ..row
            };
            self.put(whole, std::mem::take(&mut latencies));
            row = row.emptied();
            self.next += SECOND;
        }
        self.wake = self.next - AHEAD;
    }

    /// Ends the run: the second that is open gets a shorter row.
    pub fn finish(mut self, connections: usize) -> Course {
        let now = clock::now();
        self.tick(now, connections);
        let at = self.next - SECOND;
        let (row, latencies) = self.row(now, connections);
        let seconds = seconds(now.saturating_sub(at)).max(1e-3);
        let at_s = self.since(at);
        self.put(Row { at_s, seconds, ..row }, latencies);
        self.course.end(self.since(now));
        self.course
    }

    /// When a tick is due, on the monotonic clock.
    pub(crate) fn wake_at(&self) -> Nanos {
        self.wake
    }

    fn put(&mut self, row: Row, latencies: Vec<(Nanos, u64)>) {
        match self.outlet {
            Some(outlet) => outlet(&Second::of(&row, latencies)),
            None => self.course.push(row),
        }
    }

    fn since(&self, at: Nanos) -> f64 {
        seconds(at.saturating_sub(self.began))
    }

    /// Takes what was counted since the last row, and for an outlet the latencies with how often each was.
    fn row(&mut self, now: Nanos, connections: usize) -> (Row, Vec<(Nanos, u64)>) {
        let [p50_ms, p99_ms, max_ms] = quantiles(&self.latencies);
        let mut counted = Vec::new();
        if self.outlet.is_some() {
            let each = self.latencies.iter_recorded();
            counted.extend(each.map(|v| (v.value_iterated_to(), v.count_at_value())));
        }
        self.latencies.reset();
        let (tester_at, tester_cpu) = std::mem::replace(&mut self.tester, (now, clock::thread_cpu()));
        let wall = now.saturating_sub(tester_at).max(1);
        let row = Row {
            at_s: 0.0,
            seconds: 1.0,
            sent: std::mem::take(&mut self.sent),
            received: std::mem::take(&mut self.received),
            missing: u64::try_from(self.missing).unwrap_or(0),
            p50_ms,
            p99_ms,
            max_ms,
            connections: connections as u64,
            // A server that is gone has no figures; the scenario itself will say so.
            rss_bytes: self.server.as_ref().and_then(Followed::memory_bytes),
            server_cores: self.server.as_mut().and_then(Followed::cores),
            tester_share: self.tester.1.saturating_sub(tester_cpu) as f64 / wall as f64,
        };
        (row, counted)
    }
}

/// p50, p99 and the largest of a second, ms; none when nothing arrived in it.
fn quantiles(latencies: &Histogram<u64>) -> [Option<f64>; 3] {
    [0.5, 0.99, 1.0].map(|q| (!latencies.is_empty()).then(|| latencies.value_at_quantile(q) as f64 / 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_has_a_row_and_nothing_is_counted_twice() {
        let mut series = Series::new(Some(Server::Pid(std::process::id()))).unwrap();
        series.phase(Phase::Connecting);
        let began = series.began;
        let mut sent = 0;
        for second in 0..5_u64 {
            for n in 0..=second {
                series.delivered((n + 1) * MILLI);
                series.sent(2);
                sent += 2;
            }
            // Late, as turns are; never so late that a second is left out.
            series.tick(began + (second + 1) * SECOND + 40 * MILLI, 7);
            series.tick(began + (second + 1) * SECOND + 50 * MILLI, 7);
        }
        series.received(3);
        series.missing(4);
        series.missing(-1);
        // Three seconds of which nobody saw the end.
        series.tick(began + 8 * SECOND, 9);
        assert_eq!(series.course.rows.len(), 8);
        let received: Vec<u64> = series.course.rows.iter().map(|r| r.received).collect();
        assert_eq!(received, [1, 2, 3, 4, 5, 3, 0, 0]);
        assert_eq!(series.course.rows.iter().map(|r| r.sent).sum::<u64>(), sent);
        for (i, row) in series.course.rows.iter().enumerate() {
            assert!((row.at_s - i as f64).abs() < 1e-9);
            assert_eq!(row.p50_ms.is_some(), i < 5, "{row:?}");
            assert!(row.rss_bytes.unwrap() > 100_000);
        }
        let row = &series.course.rows[4];
        assert!((row.p50_ms.unwrap() - 3.0).abs() < 0.03 && (row.max_ms.unwrap() - 5.0).abs() < 0.05);
        assert_eq!((row.connections, series.course.rows[5].missing), (7, 3));
    }

    #[test]
    fn a_run_of_less_than_a_second_has_one_row() {
        let mut series = Series::new(None).unwrap();
        series.phase(Phase::Measured);
        series.delivered(MILLI);
        let course = series.finish(1);
        assert_eq!(course.rows.len(), 1);
        let row = &course.rows[0];
        assert_eq!((row.received, row.rss_bytes, row.server_cores), (1, None, None));
        assert!(row.seconds > 0.0 && course.phases[0].to_s >= course.phases[0].from_s);
    }
}
