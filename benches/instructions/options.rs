//! What the harness was asked to do.

/// Counts of one path, of which the median is taken: keys of hash tables differ from process to process.
const RUNS: usize = 3;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Mode {
    /// Carry every path out without counting.
    Check,
    /// Count, and compare.
    Bench,
    /// Carry one path out under callgrind.
    Count { name: String },
}

/// The command line.
#[derive(Debug)]
pub struct Options {
    pub mode: Mode,
    /// Write what was counted as the new baseline.
    pub update: bool,
    /// Processes per path; odd, so that there is a median.
    pub runs: usize,
    /// Only paths with one of these in their names; all when empty.
    only: Vec<String>,
}

impl Options {
    /// Reads the arguments. `cargo bench` adds `--bench`, and `cargo test` passes on what is meant for tests.
    ///
    /// # Errors
    /// A sentence about what was not understood.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            mode: Mode::Check,
            update: false,
            runs: RUNS,
            only: Vec::new(),
        };
        let mut unknown = None;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => options.mode = Mode::Bench,
                "--count" => {
                    let name = arguments.next().ok_or("--count takes the name of a path")?;
                    options.mode = Mode::Count { name };
                }
                "--update" => options.update = true,
                "--runs" => {
                    let runs = arguments.next().and_then(|n| n.parse().ok());
                    options.runs = runs.filter(|n| n % 2 == 1).ok_or("--runs takes an odd number")?;
                }
                flag if flag.starts_with('-') => unknown = Some(argument),
                _ => options.only.push(argument),
            }
        }
        match (unknown, &options.mode) {
            (Some(flag), Mode::Bench) => Err(format!(
                "unknown flag {flag}; there are --update, --runs N, and parts of names"
            )),
            _ => Ok(options),
        }
    }

    /// Whether a path is asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| name.contains(part.as_str()))
    }
}
