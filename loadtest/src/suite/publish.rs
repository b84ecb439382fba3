//! The report of a run of the suite: lines for people, JSON, Markdown and HTML.

use std::path::Path;

use serde::Serialize;

use super::Setup;
use super::about::About;
use super::curves::Curves;
use super::evidence::Figure;
use super::rows::Row;
use super::runner::Measured;
use super::verdict::{Decision, Verdict, decide};
use crate::clock;
use crate::error::{Error, Result};
use crate::metric::{Unit, show};
use crate::output::{Tool, note};

/// One row with what was found.
#[derive(Debug, Clone, Serialize)]
pub struct RowResult {
    pub name: &'static str,
    pub what: &'static str,
    pub target: Option<f64>,
    pub goal: Option<f64>,
    /// `us`, `bytes`, `share` or `ratio`.
    pub unit: &'static str,
    #[serde(skip)]
    pub shown_in: Unit,
    pub figure: Option<Figure>,
    /// Microseconds of both sides of a ratio, or of a difference.
    pub sides_us: Option<(f64, f64)>,
    pub valid: usize,
    pub void: usize,
    pub wanted: usize,
    pub verdict: Verdict,
    /// Why it is not met, void or not run.
    pub why: String,
    pub goal_met: Option<bool>,
    pub method: &'static str,
    pub command: String,
    /// Names of files beside the report.
    pub documents: Vec<String>,
}

/// Everything.
#[derive(Serialize)]
pub struct Report {
    pub tool: Tool,
    /// Unix time of the last change, milliseconds.
    pub at_ms: u64,
    pub about: About,
    /// The limits profile of the gateway.
    pub profile: &'static str,
    pub setup: Setup,
    /// Duration so far, seconds.
    pub seconds: f64,
    pub rows: Vec<RowResult>,
    /// For the page; programs find them in the documents of the measurements.
    #[serde(skip)]
    pub curves: Vec<Curves>,
    pub all_met: bool,
}

impl RowResult {
    /// A row that has not been reached.
    fn unreached(row: &Row) -> RowResult {
        RowResult {
            name: row.name,
            what: row.what,
            target: row.target,
            goal: row.goal,
            unit: match row.unit {
                Unit::Micros => "us",
                Unit::Bytes => "bytes",
                Unit::Share => "share",
                Unit::Ratio => "ratio",
                Unit::Count => "count",
                Unit::PerSecond => "per_second",
            },
            shown_in: row.unit,
            figure: None,
            sides_us: None,
            valid: 0,
            void: 0,
            wanted: 0,
            verdict: Verdict::NotRun,
            why: "not reached".to_owned(),
            goal_met: None,
            method: row.method,
            command: String::new(),
            documents: Vec::new(),
        }
    }

    /// A row and the measurement that decides it.
    pub fn of(row: &Row, measured: &Result<Measured>, indication: bool) -> RowResult {
        let mut result = RowResult::unreached(row);
        let measured = match measured {
            Ok(measured) => measured,
            Err(e) => {
                result.why = e.to_string();
                return result;
            }
        };
        let evidence = &measured.evidence;
        let Decision { verdict, why } = decide(row, evidence, indication);
        result.verdict = verdict;
        result.why = why;
        result.figure = evidence.figure(row.figure);
        result.goal_met = result.figure.zip(row.goal).map(|(f, goal)| f.value <= goal);
        result.sides_us = row.sides.and_then(|(a, b)| {
            let (a, b) = (evidence.figure(a)?, evidence.figure(b)?);
            Some((a.value, b.value))
        });
        (result.valid, result.void, result.wanted) = (evidence.valid, evidence.void, evidence.wanted);
        result.command.clone_from(&measured.command);
        result.documents.clone_from(&measured.documents);
        result
    }

    /// What is required, and in brackets what is wished for.
    pub fn target_text(&self) -> String {
        let shown = |value| show(value, self.shown_in);
        match (self.target, self.goal) {
            (Some(target), Some(goal)) => format!("≤ {} ({})", shown(target), shown(goal)),
            (Some(target), None) => format!("≤ {}", shown(target)),
            (None, _) => "–".to_owned(),
        }
    }

    /// The figure, and the times behind a ratio.
    pub fn figure_text(&self) -> String {
        let Some(figure) = self.figure else {
            return "–".to_owned();
        };
        let value = show(figure.value, self.shown_in);
        match self.sides_us {
            Some((a, b)) => {
                let sign = if self.shown_in == Unit::Ratio { '÷' } else { '−' };
                format!(
                    "{value} ({} {sign} {})",
                    show(a, Unit::Micros),
                    show(b, Unit::Micros)
                )
            }
            None => value,
        }
    }

    /// The interval, when there is one, and that of the median.
    pub fn interval_text(&self) -> String {
        let Some((figure, half)) = self.figure.and_then(|f| Some((f, f.half_width?))) else {
            return "–".to_owned();
        };
        let range = |low, high| format!("{} … {}", show(low, self.shown_in), show(high, self.shown_in));
        let mut text = format!("{} (±{:.1} %)", range(figure.low, figure.high), half * 100.0);
        if let Some((low, high)) = figure.median_interval {
            text.push_str(&format!("; median {}", range(low, high)));
        }
        text
    }

    /// The verdict and its reason.
    pub fn verdict_text(&self) -> String {
        let mut text = self.verdict.text().to_owned();
        if self.goal_met == Some(true) && self.verdict == Verdict::Met {
            text.push_str(", and the goal");
        }
        if !self.why.is_empty() {
            text.push_str(": ");
            text.push_str(&self.why);
        }
        text
    }

    /// Everything in one line.
    pub fn line(&self) -> String {
        format!(
            "{:<14} {:<22} {}  {} — {}",
            self.name,
            self.target_text(),
            self.figure_text(),
            self.interval_text(),
            self.verdict_text()
        )
    }
}

impl Report {
    /// A report of rows that are still to be reached.
    pub fn new(about: About, setup: Setup, rows: &[Row]) -> Report {
        Report {
            tool: Tool::this(),
            at_ms: clock::unix_ms(),
            about,
            profile: "bench",
            setup,
            seconds: 0.0,
            rows: rows.iter().map(RowResult::unreached).collect(),
            curves: Vec::new(),
            all_met: false,
        }
    }

    /// Puts a result in its row's place.
    pub fn put(&mut self, result: RowResult) {
        if let Some(place) = self.rows.iter_mut().find(|row| row.name == result.name) {
            *place = result;
        }
        self.all_met = !self.rows.is_empty() && self.rows.iter().all(|row| row.verdict.settled());
    }

    /// The whole once more, and what it comes to.
    pub fn print(&self) {
        note(&self.about.line());
        for row in &self.rows {
            note(&format!("  {}", row.line()));
        }
        note(&self.summary());
    }

    /// How many ended how.
    pub fn summary(&self) -> String {
        let count = |verdict| self.rows.iter().filter(|row| row.verdict == verdict).count();
        let parts: Vec<String> = [
            Verdict::Met,
            Verdict::NotMet,
            Verdict::Void,
            Verdict::Quick,
            Verdict::Reported,
            Verdict::NotRun,
        ]
        .into_iter()
        .filter(|verdict| count(*verdict) > 0)
        .map(|verdict| format!("{} {}", count(verdict), verdict.text()))
        .collect();
        format!(
            "{}: {}",
            if self.all_met { "all met" } else { "not all met" },
            parts.join(", ")
        )
    }

    /// One sentence on how the figures were taken.
    pub fn method(&self) -> String {
        let setup = &self.setup;
        format!(
            "{}Limits profile {}, server on processor {}, tester on {}, {} valid pairs of {} s in order A B B A, a \
             fresh gateway for each measurement; processor time from schedstat; a pair is void when steal exceeds 5 % or \
             the tester uses more than 90 % of its core. Met: the median meets the target and half the 90 % interval is \
             below 7 %; without pairs, each run meets it. After \"median\", for information: the interval that holds the \
             true median with 90 % confidence.",
            if setup.indication {
                "An indication, not by the method: nothing can be met. "
            } else {
                ""
            },
            self.profile,
            setup.server_cpu,
            setup.tester_cpu,
            setup.pairs,
            setup.seconds,
        )
    }

    /// A table for `docs/performance.md`.
    pub fn markdown(&self) -> String {
        let mut out = format!(
            "{}. {}.\n\n{}\n\n| what | target (goal) | figure | 90 % interval | verdict |\n|---|---|---|---|---|\n",
            date(self.at_ms),
            self.about.line(),
            self.method()
        );
        for row in &self.rows {
            let cells = [
                row.what.to_owned(),
                row.target_text(),
                row.figure_text(),
                row.interval_text(),
                row.verdict_text(),
            ];
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            out.push_str(&format!("| {} |\n", cells.join(" | ")));
        }
        out.push_str("\nHow each line was taken:\n\n");
        for row in &self.rows {
            out.push_str(&format!("- **{}**: {}.\n", row.name, row.method));
        }
        out.push_str(&format!("\n{}.\n", self.summary()));
        out
    }

    /// Writes perf.json, perf.md and perf.html into `folder`.
    pub fn write(&mut self, folder: &Path) -> Result<()> {
        self.at_ms = clock::unix_ms();
        let json = serde_json::to_string_pretty(&*self).map_err(|e| Error::Usage(e.to_string()))?;
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).map_err(Error::io("writing the report"))
        };
        write("perf.json", json + "\n")?;
        write("perf.md", self.markdown())?;
        write("perf.html", super::page::html(self))
    }
}

/// Day of a Unix time, UTC: `2025-01-31`.
pub fn date(unix_ms: u64) -> String {
    // Civil from days, by H. Hinnant's algorithm: years begin in March, eras have 400 years.
    let days = unix_ms / 86_400_000 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
