//! Everything a person or a script sees: tables on stdout, progress on stderr, documents in files.
//! No other module prints.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::assertion::Verdict;
use crate::clock;
use crate::error::{Error, Result};
use crate::host::machine::Machine;
use crate::metric::Metrics;

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
            assertions,
            passed: assertions.iter().all(|v| v.passed),
        }
    }

    /// Prints the table and the verdicts, and writes the document when a file was named.
    pub fn publish(&self, title: &str, notes: &[String], json: Option<&Path>) -> Result<()> {
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
        let Some(path) = json else { return Ok(()) };
        let mut text = serde_json::to_string_pretty(self).map_err(|e| Error::Usage(e.to_string()))?;
        text.push('\n');
        std::fs::write(path, text).map_err(Error::io("writing the JSON document"))
    }
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
