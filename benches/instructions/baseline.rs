//! The committed counts, and what they were made with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::path::Path;

use serde::Deserialize;

/// The head of the file.
const HEAD: &str = "\
# Instructions and allocations of the gateway's paths, and what they were counted with. `make bench` compares with this
# file, `make bench BENCH_FLAGS=--update` writes it. Tolerances are edited here and kept; see docs/performance.md.
";

/// A change by more than this is reported, unless the path says otherwise, percent. Without hash tables a path
/// repeats to the instruction; with them single runs lie within this, and the median of three lies closer.
const TOLERANCE_PERCENT: f64 = 1.0;

/// What else than the program decides how many instructions there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MadeWith {
    /// Version of the compiler, such as `1.95.0`.
    pub rustc: String,
    /// Version of valgrind, such as `3.19.0`.
    pub valgrind: String,
    /// Architecture and system, such as `x86_64-linux`.
    pub target: String,
}

impl fmt::Display for MadeWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rustc,
            valgrind,
            target,
        } = self;
        write!(f, "rustc {rustc}, valgrind {valgrind}, {target}")
    }
}

/// One path.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Of one run of the path, whatever number of units that is.
    pub instructions: u64,
    /// Of this path alone.
    pub tolerance_percent: Option<f64>,
    /// Of the same run; none in a file of the time before they were counted.
    pub allocations: Option<u64>,
    /// How many more or less are no change. Only where the random keys of hash tables decide when a table grows:
    /// everything else repeats exactly.
    pub allocations_tolerance: Option<u64>,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    pub tolerance_percent: f64,
    pub made_with: MadeWith,
    pub paths: BTreeMap<String, Entry>,
}

impl Default for Baseline {
    fn default() -> Self {
        Self {
            tolerance_percent: TOLERANCE_PERCENT,
            made_with: MadeWith::default(),
            paths: BTreeMap::new(),
        }
    }
}

impl Baseline {
    /// Reads the file.
    ///
    /// # Errors
    /// When it is not there or not what [`write`](Self::write) writes.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text =
            std::fs::read_to_string(file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
        toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
    }

    /// Whether the paths of the file are those of the harness.
    ///
    /// # Errors
    /// The names that only one of the two has.
    pub fn check_names(&self, names: &[&str]) -> Result<(), String> {
        let known: BTreeSet<&str> = self.paths.keys().map(String::as_str).collect();
        let here: BTreeSet<&str> = names.iter().copied().collect();
        if here.len() != names.len() {
            return Err("two paths have one name".into());
        }
        let only_one: Vec<_> = known.symmetric_difference(&here).collect();
        if only_one.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{only_one:?}: in the harness or in benches/baseline.toml, but not in both; \
             `make bench BENCH_FLAGS=--update` writes the file"
        ))
    }

    /// How much a path may change, percent.
    pub fn tolerance_percent(&self, name: &str) -> f64 {
        let own = self.paths.get(name).and_then(|entry| entry.tolerance_percent);
        own.unwrap_or(self.tolerance_percent)
    }

    /// How many allocations more or less of a path are no change.
    pub fn allocations_tolerance(&self, name: &str) -> u64 {
        let own = self.paths.get(name).and_then(|entry| entry.allocations_tolerance);
        own.unwrap_or(0)
    }

    /// This file with new counts, of instructions and of allocations; paths that were not counted stay.
    pub fn updated<'a>(
        mut self,
        made_with: MadeWith,
        counts: impl Iterator<Item = (&'a str, u64, u64)>,
    ) -> Self {
        self.made_with = made_with;
        for (name, instructions, allocations) in counts {
            let known = self.paths.get(name);
            let entry = Entry {
                instructions,
                tolerance_percent: known.and_then(|entry| entry.tolerance_percent),
                allocations: Some(allocations),
                allocations_tolerance: known.and_then(|entry| entry.allocations_tolerance),
            };
            self.paths.insert(name.to_owned(), entry);
        }
        self
    }

    /// Forgets paths that are no more.
    #[must_use]
    pub fn without_all_but(mut self, names: &[&str]) -> Self {
        self.paths.retain(|name, _| names.contains(&name.as_str()));
        self
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, file: &Path) -> std::io::Result<()> {
        let MadeWith {
            rustc,
            valgrind,
            target,
        } = &self.made_with;
        let mut text = format!(
            "{HEAD}tolerance_percent = {:?}\n\n[made_with]\nrustc = {rustc:?}\nvalgrind = {valgrind:?}\n\
             target = {target:?}\n\n[paths]\n",
            self.tolerance_percent
        );
        for (name, entry) in &self.paths {
            let _ = write!(text, "{name:?} = {{ instructions = {}", entry.instructions);
            if let Some(percent) = entry.tolerance_percent {
                let _ = write!(text, ", tolerance_percent = {percent:?}");
            }
            if let Some(allocations) = entry.allocations {
                let _ = write!(text, ", allocations = {allocations}");
            }
            if let Some(tolerance) = entry.allocations_tolerance {
                let _ = write!(text, ", allocations_tolerance = {tolerance}");
            }
            text.push_str(" }\n");
        }
        std::fs::write(file, text)
    }
}
