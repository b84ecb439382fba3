//! What was collected: rows, phases, and both as columns for a document.

use serde::{Deserialize, Serialize};

use super::ROWS_MAX;

/// Most rows a document stores; longer runs are stored in stretches of several seconds.
pub const ROWS_STORED_MAX: usize = 1_200;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Connections are made.
    Connecting,
    /// Load that is not measured.
    Warmup,
    /// What the measured span is compared with.
    Reference,
    /// The measured span.
    Measured,
    /// Load that goes on after it.
    After,
    /// What is under way arrives.
    Draining,
    /// Nothing is sent.
    Quiet,
}

impl Phase {
    /// As documents and tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Connecting => "connecting",
            Phase::Warmup => "warmup",
            Phase::Reference => "reference",
            Phase::Measured => "measured",
            Phase::After => "after",
            Phase::Draining => "draining",
            Phase::Quiet => "quiet",
        }
    }
}

/// One second of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// When it began, seconds since the beginning of the run.
    pub at_s: f64,
    /// Its length: 1, less for the last.
    pub seconds: f64,
    pub sent: u64,
    pub received: u64,
    /// Deliveries known to be missing at its end, of the whole run.
    pub missing: u64,
    /// Latency of what arrived in it, two significant digits; `None` when nothing did.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub max_ms: Option<f64>,
    /// Open at its end.
    pub connections: u64,
    /// The server's resident memory at its end, as `status` has it.
    pub rss_bytes: Option<u64>,
    /// Processors the server used.
    pub server_cores: Option<f64>,
    /// Share of its processor the tester used, 0 to 1.
    pub tester_share: f64,
}

impl Row {
    /// The same second without what is counted.
    pub(super) fn emptied(self) -> Row {
        Row {
            sent: 0,
            received: 0,
            p50_ms: None,
            p99_ms: None,
            max_ms: None,
            ..self
        }
    }
}

/// A phase with its ends, seconds since the beginning of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PhaseSpan {
    pub phase: Phase,
    pub from_s: f64,
    pub to_s: f64,
}

/// A whole run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    pub rows: Vec<Row>,
    pub phases: Vec<PhaseSpan>,
}

impl Course {
    pub(super) fn push(&mut self, row: Row) {
        match self.rows.get_mut(ROWS_MAX - 1) {
            None => self.rows.push(row),
            Some(last) => {
                last.sent += row.sent;
                last.received += row.received;
                last.seconds += row.seconds;
                last.missing = row.missing;
            }
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, at_s: f64) {
        self.end(at_s);
        // A scenario that alternates for hours is not worth a list of its own.
        if self.phases.len() < ROWS_STORED_MAX {
            self.phases.push(PhaseSpan {
                phase,
                from_s: at_s,
                to_s: at_s,
            });
        }
    }

    pub(super) fn end(&mut self, at_s: f64) {
        if let Some(last) = self.phases.last_mut() {
            last.to_s = at_s;
        }
    }

    /// Sets what was found missing in the end: the last messages of a run are missed only then.
    pub fn settle(&mut self, lost: u64) {
        if let Some(last) = self.rows.last_mut() {
            last.missing = lost;
        }
    }

    /// The phase most of a row was in.
    pub fn phase_of(&self, row: &Row) -> Option<Phase> {
        let overlap = |p: &PhaseSpan| p.to_s.min(row.at_s + row.seconds) - p.from_s.max(row.at_s);
        self.phases
            .iter()
            .max_by(|a, b| overlap(a).total_cmp(&overlap(b)))
            .map(|p| p.phase)
    }

    /// The run as a document stores it: at most [`ROWS_STORED_MAX`] rows.
    pub fn columns(&self) -> Columns {
        let step = self.rows.len().div_ceil(ROWS_STORED_MAX).max(1);
        let parts: Vec<&[Row]> = self.rows.chunks(step).collect();
        let column = |name: &str| {
            let of = value_of(name);
            let sums = matches!(name, "seconds" | "sent" | "received");
            let merge = |part: &&[Row]| {
                let values = part.iter().filter_map(of);
                if name == "at_s" {
                    part.first().and_then(of)
                } else if sums {
                    Some(values.sum())
                } else {
                    values.fold(None, |most: Option<f64>, v| Some(most.map_or(v, |m| m.max(v))))
                }
            };
            parts.iter().map(merge).collect()
        };
        Columns {
            step_s: step as u64,
            phases: self.phases.clone(),
            columns: COLUMNS
                .into_iter()
                .map(|name| (name.to_owned(), column(name)))
                .collect(),
        }
    }
}

/// The columns of a series, in the order of the CSV. Units are in the names; `tester_share` is 0 to 1.
pub const COLUMNS: [&str; 12] = [
    "at_s",
    "seconds",
    "sent",
    "received",
    "missing",
    "p50_ms",
    "p99_ms",
    "max_ms",
    "connections",
    "rss_bytes",
    "server_cores",
    "tester_share",
];

/// One column's value of a row.
pub(crate) fn value_of(name: &str) -> fn(&Row) -> Option<f64> {
    match name {
        "at_s" => |r| Some(r.at_s),
        "seconds" => |r| Some(r.seconds),
        "sent" => |r| Some(r.sent as f64),
        "received" => |r| Some(r.received as f64),
        "missing" => |r| Some(r.missing as f64),
        "p50_ms" => |r| r.p50_ms,
        "p99_ms" => |r| r.p99_ms,
        "max_ms" => |r| r.max_ms,
        "connections" => |r| Some(r.connections as f64),
        "rss_bytes" => |r| r.rss_bytes.map(|b| b as f64),
        "server_cores" => |r| r.server_cores,
        "tester_share" => |r| Some(r.tester_share),
        _ => |_| None,
    }
}

/// A series in a document: by column. In a run of more rows than are stored each stands for `step_s` seconds:
/// `seconds`, `sent` and `received` are then sums, the others the largest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    pub step_s: u64,
    pub phases: Vec<PhaseSpan>,
    /// By name, see [`COLUMNS`].
    pub columns: std::collections::BTreeMap<String, Vec<Option<f64>>>,
}

impl Columns {
    /// A column; empty when there is none of that name.
    pub fn get(&self, name: &str) -> &[Option<f64>] {
        self.columns.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(at: usize) -> Row {
        Row {
            at_s: at as f64,
            seconds: 1.0,
            sent: 1,
            received: 2,
            missing: at as u64,
            p50_ms: at.is_multiple_of(2).then_some(1.0),
            p99_ms: (at == 77).then_some(50.0),
            max_ms: None,
            connections: 3,
            rss_bytes: Some(at as u64),
            server_cores: None,
            tester_share: 0.5,
        }
    }

    #[test]
    fn a_long_run_is_stored_in_stretches_that_keep_sums_and_peaks() {
        let mut course = Course::default();
        (0..5_000).for_each(|at| course.push(row(at)));
        let stored = course.columns();
        assert_eq!(stored.step_s, 5);
        assert_eq!(stored.get("sent").len(), 1_000);
        let sum: f64 = stored.get("received").iter().flatten().sum();
        assert!((sum - 10_000.0).abs() < 1e-9);
        assert_eq!(stored.get("p99_ms")[15], Some(50.0));
        assert_eq!(stored.get("p99_ms")[16], None);
        assert_eq!(
            (stored.get("at_s")[1], stored.get("missing")[1]),
            (Some(5.0), Some(9.0))
        );
        assert!(stored.get("nothing").is_empty());
    }

    #[test]
    fn rows_are_bounded_and_sums_are_kept() {
        let mut course = Course::default();
        (0..ROWS_MAX + 10).for_each(|at| course.push(row(at)));
        assert_eq!(course.rows.len(), ROWS_MAX);
        assert_eq!(
            course.rows.iter().map(|r| r.sent).sum::<u64>(),
            ROWS_MAX as u64 + 10
        );
    }

    #[test]
    fn a_row_belongs_to_the_phase_it_was_mostly_in() {
        let mut course = Course::default();
        assert_eq!(course.phase_of(&row(0)), None);
        course.enter(Phase::Connecting, 0.0);
        course.enter(Phase::Warmup, 1.3);
        course.enter(Phase::Measured, 2.6);
        course.end(9.0);
        let phases: Vec<Phase> = (0..4).filter_map(|at| course.phase_of(&row(at))).collect();
        assert_eq!(
            phases,
            [Phase::Connecting, Phase::Warmup, Phase::Warmup, Phase::Measured]
        );
    }
}
