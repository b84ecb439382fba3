//! The course of a run that several processes drive: what each counted in a second, put together by that second.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Course, Phase, ROWS_MAX, Row, Series, latencies, quantiles};
use crate::clock::Nanos;
use crate::error::{Error, Result};
use crate::host::server::Server;

/// Most seconds that some processes have reported and others have not. A process that is silent for 30 s ends the run.
const OPEN_MAX: usize = 120;

/// What one process counted in one second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// When it began, seconds since the beginning of the run.
    pub at_s: f64,
    /// Its length: 1, less for the last of the process.
    pub seconds: f64,
    pub sent: u64,
    pub received: u64,
    /// Deliveries known here to be missing at its end, of the whole run.
    pub missing: u64,
    /// Open here at its end.
    pub connections: u64,
    /// Share of its processor the process used, 0 to 1.
    pub tester_share: f64,
    /// Latencies of what arrived, nanoseconds, two significant digits, and how often each was.
    pub latencies: Vec<(Nanos, u64)>,
}

impl Second {
    pub(super) fn of(row: &Row, latencies: Vec<(Nanos, u64)>) -> Second {
        Second {
            at_s: row.at_s,
            seconds: row.seconds,
            sent: row.sent,
            received: row.received,
            missing: row.missing,
            connections: row.connections,
            tester_share: row.tester_share,
            latencies,
        }
    }
}

/// How things stood at the end of a second of one process.
#[derive(Debug, Clone, Copy, Default)]
struct Level {
    missing: u64,
    connections: u64,
}

/// A second that not all have reported.
#[derive(Debug)]
struct Open {
    /// Of each process that has reported it.
    levels: Vec<Option<Level>>,
    /// Of each process, seconds: more than one only in the last row there is place for.
    lengths: Vec<f64>,
    row: Row,
    latencies: Histogram<u64>,
}

impl Open {
    fn new(processes: usize) -> Result<Open> {
        Ok(Open {
            levels: vec![None; processes],
            lengths: vec![0.0; processes],
            row: Row {
                at_s: 0.0,
                seconds: 0.0,
                sent: 0,
                received: 0,
                missing: 0,
                p50_ms: None,
                p99_ms: None,
                max_ms: None,
                connections: 0,
                rss_bytes: None,
                server_cores: None,
                tester_share: 0.0,
            },
            latencies: latencies()?,
        })
    }

    fn add(&mut self, process: usize, second: &Second) {
        if let (Some(level), Some(length)) = (self.levels.get_mut(process), self.lengths.get_mut(process)) {
            *level = Some(Level {
                missing: second.missing,
                connections: second.connections,
            });
            *length += second.seconds;
        }
        let row = &mut self.row;
        row.sent += second.sent;
        row.received += second.received;
        row.tester_share = row.tester_share.max(second.tester_share);
        for (span, count) in &second.latencies {
            self.latencies.saturating_record_n(*span, *count);
        }
    }

    fn is_whole(&self) -> bool {
        self.levels.iter().all(Option::is_some)
    }

    /// `levels` are those of the second before: who has not reported this one has ended, and stands as it did.
    fn close(mut self, levels: &mut [Level]) -> Row {
        for (before, now) in levels.iter_mut().zip(&self.levels) {
            *before = now.unwrap_or(*before);
        }
        self.row.missing = levels.iter().map(|level| level.missing).sum();
        self.row.connections = levels.iter().map(|level| level.connections).sum();
        self.row.seconds = self.lengths.iter().copied().fold(0.0, f64::max);
        [self.row.p50_ms, self.row.p99_ms, self.row.max_ms] = quantiles(&self.latencies);
        self.row
    }
}

/// The course of all processes. The server is followed here; the tester's share is that of the busiest process.
#[derive(Debug)]
pub struct Joint {
    own: Series,
    /// Of each process, at the end of the last second that is closed.
    levels: Vec<Level>,
    open: BTreeMap<usize, Open>,
    /// The seconds that all have reported, without gaps: each process reports its own in their order.
    closed: Vec<Row>,
}

impl Joint {
    /// Begins now, for so many processes.
    pub fn new(server: Option<Server<'_>>, processes: usize) -> Result<Joint> {
        Ok(Joint {
            own: Series::new(server)?,
            levels: vec![Level::default(); processes],
            open: BTreeMap::new(),
            closed: Vec::new(),
        })
    }

    /// When it began, on the monotonic clock: what the parts count their seconds from.
    pub fn began(&self) -> Nanos {
        self.own.began
    }

    /// When a tick is due, on the monotonic clock.
    pub fn wake_at(&self) -> Nanos {
        self.own.wake_at()
    }

    /// Looks at the server when it is time.
    pub fn tick(&mut self, now: Nanos) {
        self.own.tick(now, 0);
    }

    /// What goes on from now on.
    pub fn phase(&mut self, phase: Phase) {
        self.own.phase(phase);
    }

    /// A process, numbered from 0, has ended a second. An error when others are too far behind.
    pub fn add(&mut self, process: usize, second: &Second) -> Result<()> {
        // Parts begin their seconds at whole ones. Negative and not a number are 0 by the conversion.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = second.at_s.round() as usize;
        let last = ROWS_MAX - 1;
        if !self.open.contains_key(&index.min(last)) {
            if self.open.len() >= OPEN_MAX {
                return Err(Error::Process(format!(
                    "a worker's course is {OPEN_MAX} s behind that of another; the run is void"
                )));
            }
            self.open.insert(index.min(last), Open::new(self.levels.len())?);
        }
        if let Some(open) = self.open.get_mut(&index.min(last)) {
            open.add(process, second);
        }
        // What comes after the last row is all in it.
        while let Some(first) = self.open.first_entry() {
            if !first.get().is_whole() || *first.key() >= last {
                break;
            }
            self.closed.push(first.remove().close(&mut self.levels));
        }
        Ok(())
    }

    /// Ends the run, when all processes have reported their last second.
    pub fn finish(mut self) -> Course {
        for open in std::mem::take(&mut self.open).into_values() {
            self.closed.push(open.close(&mut self.levels));
        }
        // What the server did while the processes closed their connections is not of the run.
        let mut course = self.own.finish(0);
        course.rows.truncate(self.closed.len());
        for (row, counted) in course.rows.iter_mut().zip(self.closed) {
            *row = Row {
                at_s: row.at_s,
                rss_bytes: row.rss_bytes,
                server_cores: row.server_cores,
                ..counted
            };
        }
        let to_s = course.rows.last().map_or(0.0, |row| row.at_s + row.seconds);
        for phase in &mut course.phases {
            phase.to_s = phase.to_s.min(to_s).max(phase.from_s);
        }
        course
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLI;

    fn second(at: usize, sent: u64, missing: u64, latencies: &[(Nanos, u64)]) -> Second {
        Second {
            at_s: at as f64,
            seconds: 1.0,
            sent,
            received: latencies.iter().map(|(_, n)| n).sum(),
            missing,
            connections: 5,
            tester_share: 0.1 * sent as f64,
            latencies: latencies.to_vec(),
        }
    }

    #[test]
    fn seconds_are_put_together_whoever_is_first() {
        let mut joint = Joint::new(None, 2).unwrap();
        joint.phase(Phase::Measured);
        let slow = [(10 * MILLI, 1)];
        joint.add(0, &second(0, 1, 0, &[(MILLI, 99)])).unwrap();
        joint.add(0, &second(1, 2, 4, &[])).unwrap();
        assert!(joint.closed.is_empty(), "the other has not reported");
        joint.add(1, &second(0, 3, 1, &slow)).unwrap();
        joint.add(1, &second(1, 1, 2, &slow)).unwrap();
        // The last second of one is shorter, and the other has one more.
        let last = Second {
            seconds: 0.25,
            ..second(2, 1, 3, &[])
        };
        joint.add(0, &last).unwrap();
        assert_eq!((joint.closed.len(), joint.open.len()), (2, 1));
        joint.tick(joint.began() + 4 * crate::clock::SECOND);
        let course = joint.finish();
        assert_eq!(
            course.rows.len(),
            3,
            "what comes after the last second is not of the run"
        );
        let [first, next, last] = course.rows[..] else {
            unreachable!()
        };
        assert_eq!(
            (first.sent, first.received, first.missing, first.connections),
            (4, 100, 1, 10)
        );
        assert!((first.tester_share - 0.3).abs() < 1e-9, "that of the busiest");
        // 99 of 1 ms and one of 10 ms.
        assert!((first.p99_ms.unwrap() - 1.0).abs() < 0.02 && (first.max_ms.unwrap() - 10.0).abs() < 0.1);
        assert_eq!((next.sent, next.received, next.missing), (3, 1, 6));
        assert!((next.at_s - 1.0).abs() < 1e-9 && (last.seconds - 0.25).abs() < 1e-9);
        assert!(last.p50_ms.is_none());
        assert_eq!(
            (last.missing, last.connections),
            (3 + 2, 10),
            "who has ended stands as it did"
        );
        assert!(course.phases[0].to_s <= 2.25 + 1e-9);
    }

    #[test]
    fn what_comes_after_the_last_row_is_in_it_and_levels_are_not_added_up() {
        let mut joint = Joint::new(None, 1).unwrap();
        for at in [ROWS_MAX - 1, ROWS_MAX, ROWS_MAX + 1] {
            joint.add(0, &second(at, 2, 3, &[])).unwrap();
        }
        let (_, open) = joint.open.pop_first().unwrap();
        let row = open.close(&mut joint.levels);
        assert_eq!((row.sent, row.missing, row.connections), (6, 3, 5));
        assert!((row.seconds - 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_process_that_is_far_behind_voids_the_run() {
        let mut joint = Joint::new(None, 2).unwrap();
        for at in 0..OPEN_MAX {
            joint.add(0, &second(at, 1, 0, &[])).unwrap();
        }
        let error = joint.add(0, &second(OPEN_MAX, 1, 0, &[])).unwrap_err();
        assert!(error.to_string().contains("behind"), "{error}");
    }
}
