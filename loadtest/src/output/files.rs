//! The files a run may leave behind, each only when it is asked for.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{csv, hgrm};
use crate::document::Stored;
use crate::document::page::report_of;
use crate::error::{Error, Result};
use crate::k6::Wire;
use crate::latency::Latency;
use crate::report;
use crate::series::Course;

/// Which files, beside the JSON document.
#[derive(Debug, Clone, Default, Args)]
pub struct Files {
    /// Write one row per second: counts, rates' parts, latency, memory, processor time.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Write the latency distribution as HdrHistogram's percentile text, milliseconds.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Write one HTML report with charts that opens from disk.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// What a run has beside its numbers. A scenario gives what it has.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// Distributions by name; the first is the one of the scenario, in `.hgrm` as well.
    pub latencies: Vec<(String, Latency)>,
    /// The run second by second.
    pub course: Option<Course>,
    /// What went over the sockets, and the frames that were compared: as they should be, and not.
    pub wire: Option<(Wire, Option<(u64, u64)>)>,
}

impl Files {
    /// Refuses, before a run, a file that could not be written after it.
    pub fn check(&self) -> Result<()> {
        for path in [&self.csv, &self.hgrm, &self.html].into_iter().flatten() {
            check_folder(path)?;
        }
        Ok(())
    }

    /// Refuses `--csv` before a run of `scenario`, which has no course by the second.
    pub fn without_course(&self, scenario: &str) -> Result<()> {
        match self.csv {
            Some(_) => Err(Error::Usage(format!(
                "--csv: {scenario} has no course by the second"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses `--hgrm` before a run of `scenario`, which measures no latency.
    pub fn without_latency(&self, scenario: &str) -> Result<()> {
        match self.hgrm {
            Some(_) => Err(Error::Usage(format!("--hgrm: {scenario} measures no latency"))),
            None => Ok(()),
        }
    }

    /// Writes what was asked for. `json` is the run's document.
    pub fn write(&self, json: &str, trace: &Trace) -> Result<()> {
        if let Some(path) = &self.html {
            let stored = Stored::parse(json.as_bytes(), "this run")?;
            let name = stored.scenario.clone();
            write(path, &report::html(&report_of(&[(&name, &stored)])))?;
        }
        if let Some(path) = &self.csv {
            match &trace.course {
                Some(course) => write(path, &csv::text(course))?,
                None => self.without_course("this scenario")?,
            }
        }
        if let Some(path) = &self.hgrm {
            for (i, (name, latency)) in trace.latencies.iter().enumerate() {
                let path = if i == 0 { path.clone() } else { beside(path, name) };
                write(&path, &hgrm::text(latency))?;
            }
            if trace.latencies.is_empty() {
                self.without_latency("this scenario")?;
            }
        }
        Ok(())
    }
}

/// `a/x.hgrm` and `floor` become `a/x-floor.hgrm`.
fn beside(path: &Path, name: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path
        .extension()
        .map(|e| format!(".{}", e.to_string_lossy()))
        .unwrap_or_default();
    path.with_file_name(format!("{stem}-{name}{extension}"))
}

/// Refuses a path whose folder is not there.
pub(super) fn check_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    if folder.is_some_and(|f| !f.is_dir()) || path.is_dir() {
        return Err(Error::Usage(format!(
            "{}: no file can be written there; name one in a folder that exists",
            path.display()
        )));
    }
    Ok(())
}

/// Writes a file, or says which it was.
pub fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|e| Error::Usage(format!("{} cannot be written: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_distributions_stand_beside_the_first() {
        assert_eq!(
            beside(Path::new("a/x.hgrm"), "floor"),
            Path::new("a/x-floor.hgrm")
        );
        assert_eq!(beside(Path::new("x"), "floor"), Path::new("x-floor"));
    }

    #[test]
    fn a_path_that_cannot_be_written_is_refused_at_once() {
        let files = |path: &str| Files {
            html: Some(path.into()),
            ..Files::default()
        };
        assert!(files("/no such folder/x.html").check().is_err() && files("/").check().is_err());
        assert!(files("x.html").check().is_ok());
    }
}
