//! `countersign-loadtest check`.

use std::path::PathBuf;

use clap::Args;

use super::check::Options;
use super::read;
use crate::clock::from_seconds;
use crate::error::{Error, Result};
use crate::output::note;
use crate::run::Verdict;

#[derive(Debug, Clone, Args)]
pub struct CheckArgs {
    /// The histories of one run: files of JSON lines.
    #[arg(required = true)]
    pub histories: Vec<PathBuf>,
    /// Most violations of one rule that are shown; all are counted.
    #[arg(long, default_value_t = 20)]
    pub reports: usize,
    /// How long a repeated cid counts once, seconds; the gateway's `rooms.cid_ms`.
    #[arg(long, default_value_t = 300.0)]
    pub cid_window: f64,
    /// Write the outcome as one JSON document.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// Most violations of one rule that can be asked for.
const REPORTS_MAX: usize = 100_000;

/// Reads, decides, prints.
pub fn run(args: &CheckArgs) -> Result<Verdict> {
    if args.reports > REPORTS_MAX {
        return Err(Error::Usage(format!("--reports is at most {REPORTS_MAX}")));
    }
    let options = Options {
        reports_max: args.reports,
        cid_window: from_seconds(args.cid_window),
    };
    let verdict = read::files(&args.histories, options)?;
    for line in verdict.text() {
        note(&line);
    }
    if let Some(path) = &args.json {
        let mut text = serde_json::to_string_pretty(&verdict).map_err(|e| Error::Usage(e.to_string()))?;
        text.push('\n');
        std::fs::write(path, text).map_err(Error::io("writing the JSON document"))?;
    }
    Ok(if verdict.passed {
        Verdict::Passed
    } else {
        Verdict::Failed
    })
}
