//! Everything a person or a script sees: tables on stdout, progress on stderr, documents in files.
//! No other module prints.

mod csv;
pub mod files;
mod hgrm;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use self::files::{Files, Trace};
use crate::assertion::Verdict;
use crate::clock;
use crate::document::{Curve, FORMAT, units};
use crate::error::{Error, Result};
use crate::host::machine::Machine;
use crate::metric::Metrics;
use crate::series::Columns;

/// Whether bars are drawn: only on a terminal.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    drawn: bool,
}

impl Progress {
    /// Bars when stderr is a terminal.
    pub fn on_terminal() -> Progress {
        Progress {
            drawn: std::io::stderr().is_terminal(),
        }
    }

    /// No bars.
    pub fn hidden() -> Progress {
        Progress { drawn: false }
    }

    /// A bar of `length` steps.
    pub fn bar(&self, what: &'static str, length: usize) -> Bar {
        if !self.drawn {
            return Bar(None);
        }
        let bar = ProgressBar::new(length as u64);
        let template = "{prefix:>10} [{bar:40}] {pos}/{len} {msg} {elapsed} (left {eta})";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(250));
        Bar(Some(bar))
    }
}

/// One progress bar, or none.
#[derive(Debug)]
pub struct Bar(Option<ProgressBar>);

impl Bar {
    /// One step on.
    pub fn inc(&self) {
        if let Some(bar) = &self.0 {
            bar.inc(1);
        }
    }

    /// At this step.
    pub fn set(&self, at: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(at as u64);
        }
    }

    /// A few words beside the bar.
    pub fn say(&self, words: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(words);
        }
    }

    /// Takes the bar off the screen.
    pub fn done(self) {
        if let Some(bar) = self.0 {
            bar.finish_and_clear();
        }
    }
}

/// The JSON document of a run.
#[derive(Serialize)]
pub struct Document<'a, M: Serialize, R: Serialize> {
    /// Tells documents of ours from others.
    pub format: &'static str,
    pub tool: Tool,
    pub scenario: &'static str,
    /// Unix time at the end, milliseconds.
    pub at_ms: u64,
    pub machine: Machine,
    pub target: &'a str,
    pub protocol: &'a str,
    /// The limits profile the gateway was started with, as the user told it.
    pub profile: &'a str,
    /// The options that decide what the figures mean.
    pub method: M,
    pub result: R,
    /// The result once more, flat, by the names assertions use; times in microseconds.
    pub metrics: &'a Metrics,
    /// What each metric counts in.
    pub units: serde_json::Value,
    /// What a reader must know before believing the figures.
    pub warnings: Vec<String>,
    /// Latency distributions; at most about 200 points each.
    pub curves: Vec<Curve>,
    /// The run second by second, bounded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub series: Option<Columns>,
    /// What k6 calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub k6: Option<serde_json::Value>,
    pub assertions: &'a [Verdict],
    pub passed: bool,
}

/// Which program wrote a document.
#[derive(Serialize)]
pub struct Tool {
    pub name: &'static str,
    pub version: &'static str,
}

impl Tool {
    /// This program.
    pub fn this() -> Tool {
        Tool {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl<'a, M: Serialize, R: Serialize> Document<'a, M, R> {
    /// A document of a run that ends now, on this machine.
    pub fn new(
        scenario: &'static str,
        (target, protocol, profile): (&'a str, &'a str, &'a str),
        method: M,
        result: R,
        metrics: &'a Metrics,
        assertions: &'a [Verdict],
    ) -> Self {
        Document {
            format: FORMAT,
            tool: Tool::this(),
            scenario,
            at_ms: clock::unix_ms(),
            machine: Machine::here(),
            target,
            protocol,
            profile,
            method,
            result,
            metrics,
            units: units(metrics),
            warnings: Vec::new(),
            curves: Vec::new(),
            series: None,
            k6: None,
            assertions,
            passed: assertions.iter().all(|v| v.passed),
        }
    }

    /// The same with the run's distributions, its course and its traffic.
    #[must_use]
    pub fn with(mut self, trace: &Trace) -> Self {
        self.curves = trace
            .latencies
            .iter()
            .map(|(name, l)| Curve::of(name, l))
            .collect();
        self.series = trace.course.as_ref().map(|c| c.columns());
        self.k6 = trace.wire.as_ref().map(|(wire, checks)| wire.section(*checks));
        self
    }

    /// Prints the table and the verdicts, and writes the document when a file was named, the other files
    /// when they were. Notes that are warnings go into the document.
    pub fn publish(
        &mut self,
        title: &str,
        notes: &[String],
        json: Option<&Path>,
        (files, trace): (&Files, &Trace),
    ) -> Result<()> {
        self.warnings = notes.iter().filter(|n| is_warning(n)).cloned().collect();
        table(title, self.metrics);
        for text in notes {
            note(text);
        }
        for verdict in self.assertions {
            note(&format!(
                "{} {} (found {})",
                if verdict.passed { "pass" } else { "FAIL" },
                verdict.assertion,
                verdict.found
            ));
        }
        let mut text = serde_json::to_string_pretty(self).map_err(|e| Error::Usage(e.to_string()))?;
        text.push('\n');
        if let Some(path) = json {
            files::write(path, &text)?;
        }
        files.write(&text, trace)
    }
}

/// Warnings begin with one word in capitals: SATURATED, DISTURBED, STEAL.
fn is_warning(note: &str) -> bool {
    note.split_once(':')
        .is_some_and(|(word, _)| word.len() > 1 && word.bytes().all(|b| b.is_ascii_uppercase()))
}

/// Prints metrics as a table of two columns.
fn table(title: &str, metrics: &Metrics) {
    note(title);
    let width = metrics.0.iter().map(|m| m.name.len()).max().unwrap_or(0);
    for metric in &metrics.0 {
        note(&format!("  {:width$}  {:>14}", metric.name, metric.text()));
    }
}

/// Writes one line on stdout. A reader that went away is no reason to stop measuring.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Writes one line on stderr.
pub fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::document::Stored;
    use crate::host::usage::Usage;

    #[test]
    fn warnings_are_in_the_document_and_on_its_page_and_other_notes_are_not() {
        let usage = Usage {
            seconds: 1.0,
            saturated: true,
            tester_wait: 0.5,
            steal: 0.5,
            ..Usage::default()
        };
        let warnings = usage.warnings_of("the ramp");
        assert_eq!(warnings.len(), 3);
        let mut notes = warnings.clone();
        notes.push("  refused: rate_limited × 5".to_owned());
        notes.push("note: tokens live 5 s".to_owned());
        let dir = tempfile::tempdir().unwrap();
        let json = dir.path().join("run.json");
        let files = Files {
            html: Some(dir.path().join("run.html")),
            ..Files::default()
        };
        let metrics = Metrics::default();
        let target = ("ws://127.0.0.1:1", "p", "bench");
        let mut document = Document::new("idle", target, json!({}), json!({}), &metrics, &[]);
        document
            .publish("title", &notes, Some(&json), (&files, &Trace::default()))
            .unwrap();
        assert_eq!(Stored::read(&json).unwrap().warnings, warnings);
        let page = std::fs::read_to_string(files.html.unwrap()).unwrap();
        for warning in &warnings {
            assert!(page.contains(warning.as_str()), "{warning}");
        }
    }
}
