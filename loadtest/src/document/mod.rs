//! Documents of earlier runs, read back. They may come from anywhere, so nothing in them is believed to be
//! there or to be small.

pub(crate) mod charts;
mod context;
pub mod page;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::assertion::Verdict;
use crate::error::{Error, Result};
use crate::host::machine::Machine;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metrics, Unit};
use crate::series::Columns;

/// What a document calls itself. It changes when a reader of the former could misread it.
pub const FORMAT: &str = "countersign-loadtest/1";
/// Largest document read, bytes. The largest that are written, a thousand pairs or a day by the second, have
/// less than 2 MiB.
pub const DOCUMENT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A latency distribution, as points of its curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    /// Microseconds, as everywhere in a document.
    pub percentiles: Percentiles,
    /// Quantile (0 to 1) and milliseconds.
    pub points_ms: Vec<(f64, f64)>,
}

impl Curve {
    /// Of a histogram.
    pub fn of(name: &str, latency: &Latency) -> Curve {
        Curve {
            name: name.to_owned(),
            percentiles: latency.percentiles(),
            points_ms: latency
                .curve()
                .into_iter()
                .map(|p| (p.quantile, p.span as f64 / 1e6))
                .collect(),
        }
    }
}

/// The units of metrics, by name.
pub fn units(metrics: &Metrics) -> Value {
    let unit = |m: &crate::metric::Metric| serde_json::to_value(m.unit).unwrap_or_default();
    Value::Object(metrics.0.iter().map(|m| (m.name.to_string(), unit(m))).collect())
}

/// Which program wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ToolName {
    pub name: String,
    pub version: String,
}

/// A document that was read.
#[derive(Debug, Clone, Deserialize)]
pub struct Stored {
    pub format: String,
    pub tool: ToolName,
    pub scenario: String,
    pub at_ms: u64,
    pub machine: Machine,
    pub target: String,
    pub protocol: String,
    pub profile: String,
    pub method: Value,
    /// By name; `None` was not measured.
    pub metrics: BTreeMap<String, Option<f64>>,
    pub units: BTreeMap<String, Unit>,
    pub assertions: Vec<Verdict>,
    pub passed: bool,
    #[serde(default)]
    pub warnings: Vec<String>,
    #[serde(default)]
    pub curves: Vec<Curve>,
    pub series: Option<Columns>,
}

impl Stored {
    /// Reads a file: not a document of ours, damaged, or larger than [`DOCUMENT_BYTES_MAX`] is an error that
    /// names it.
    pub fn read(path: &Path) -> Result<Stored> {
        let name = path.display().to_string();
        let wrong = |why: String| Error::Usage(format!("{name}: {why}"));
        let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let mut bytes = Vec::new();
        // Not by the size the file says it has: a pipe or a device says none.
        file.take(DOCUMENT_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| wrong(e.to_string()))?;
        if bytes.len() as u64 > DOCUMENT_BYTES_MAX {
            return Err(wrong(format!(
                "larger than {} MiB, which no document of this program is",
                DOCUMENT_BYTES_MAX / 1024 / 1024
            )));
        }
        Stored::parse(&bytes, &name)
    }

    /// Reads the text of a document; `name` is for the error.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Stored> {
        #[derive(Deserialize)]
        struct Head {
            format: Option<String>,
        }
        let wrong = |why: String| Error::Usage(format!("{name}: {why}"));
        let foreign = "no document of countersign-loadtest; make one with --json FILE";
        let head: Head = serde_json::from_slice(bytes).map_err(|e| wrong(format!("{foreign} ({e})")))?;
        match head.format.as_deref() {
            Some(FORMAT) => {}
            Some(other) if other.starts_with("countersign-loadtest/") => {
                return Err(wrong(format!("format {other}, this version reads {FORMAT}")));
            }
            _ => return Err(wrong(foreign.to_owned())),
        }
        serde_json::from_slice(bytes).map_err(|e| wrong(format!("a damaged document: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_is_refused_with_a_reason() {
        for (text, why) in [
            ("", "no document"),
            ("[1,2]", "no document"),
            ("{\"format\":\"other\"}", "no document"),
            ("{\"metrics\":{}}", "no document"),
            ("{\"format\":\"countersign-loadtest/99\"}", "this version reads"),
            ("{\"format\":\"countersign-loadtest/1\"}", "damaged"),
        ] {
            let error = Stored::parse(text.as_bytes(), "x.json").unwrap_err().to_string();
            assert!(
                error.starts_with("x.json: ") && error.contains(why),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = Stored::read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("larger than 16 MiB"), "{error}");
        assert!(Stored::read(Path::new("/no/such/file")).is_err());
    }
}
