//! What callgrind has written, read without I/O: `tests/instructions.rs` tests it.

use std::collections::HashMap;
use std::fmt;

/// Calls of the allocator, by the function that was asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allocations {
    pub malloc: u64,
    /// Memory that is asked for as zeros.
    pub calloc: u64,
    /// What is there becomes larger or smaller; whether it was moved is not told.
    pub realloc: u64,
    /// `posix_memalign` and its like: more than the usual alignment, as tokio asks for its tasks.
    pub aligned: u64,
}

impl Allocations {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.malloc + self.calloc + self.realloc + self.aligned
    }

    /// The count that a function belongs to; none when it does not allocate.
    fn of(&mut self, function: &str) -> Option<&mut u64> {
        match plain(function) {
            "malloc" => Some(&mut self.malloc),
            "calloc" => Some(&mut self.calloc),
            "realloc" | "reallocarray" => Some(&mut self.realloc),
            "posix_memalign" | "aligned_alloc" | "memalign" | "valloc" | "pvalloc" => Some(&mut self.aligned),
            _ => None,
        }
    }
}

impl fmt::Display for Allocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            malloc,
            calloc,
            realloc,
            aligned,
        } = self;
        write!(
            f,
            "{malloc} malloc, {calloc} calloc, {realloc} realloc, {aligned} aligned"
        )
    }
}

/// What one process has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    pub instructions: u64,
    pub allocations: Allocations,
}

impl Profile {
    /// Reads one part of callgrind's output. An allocation is a call from outside of the allocator: what it calls of
    /// itself (`posix_memalign` may end in `malloc`) is not another one.
    ///
    /// # Errors
    /// When nothing was counted, or a line is not what callgrind writes.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut names = Names::default();
        let (mut caller, mut callee) = ("", "");
        let mut allocations = Allocations::default();
        let mut total = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                caller = names.resolve(name)?;
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = names.resolve(name)?;
            } else if let Some(calls) = line.strip_prefix("calls=") {
                // `calls=3 120`: the number, and where the callee begins.
                let calls = calls.split(' ').next().and_then(|n| n.parse::<u64>().ok());
                let calls = calls.ok_or_else(|| format!("{line:?}: no number of calls"))?;
                if let Some(count) = allocations.of(callee)
                    && !is_of_the_allocator(caller)
                {
                    *count += calls;
                }
            } else if let Some(n) = line.strip_prefix("totals: ") {
                total = n.trim().parse().ok();
            }
        }
        match total {
            Some(instructions) if instructions > 0 => Ok(Self {
                instructions,
                allocations,
            }),
            _ => Err("callgrind has counted nothing: the counted function was not found".into()),
        }
    }
}

/// Names are written once, as `(7) name`, and `(7)` from then on. Functions that call and that are called share them.
#[derive(Default)]
struct Names<'a>(HashMap<&'a str, &'a str>);

impl<'a> Names<'a> {
    fn resolve(&mut self, text: &'a str) -> Result<&'a str, String> {
        // A name may have brackets of its own: `(2) (below main)`.
        let (number, name) = match text.split_once(' ') {
            Some((number, name)) => (number, Some(name)),
            None => (text, None),
        };
        if !(number.starts_with('(') && number.ends_with(')')) {
            // With `--compress-strings=no` there are no numbers.
            return Ok(text);
        }
        if let Some(name) = name {
            self.0.insert(number, name);
        }
        let known = self.0.get(number).copied();
        known.ok_or_else(|| format!("function {number} has no name"))
    }
}

/// A function's name without what the library of C and callgrind put around it: `__GI___libc_malloc`,
/// `posix_memalign@@GLIBC_2.2.5`, and `malloc'2` when it calls itself.
fn plain(function: &str) -> &str {
    let end = function.find(['@', '\'']).unwrap_or(function.len());
    let name = &function[..end];
    let name = name.strip_prefix("__GI_").unwrap_or(name);
    let name = name.strip_prefix("__libc_").unwrap_or(name);
    name.strip_prefix("__").unwrap_or(name)
}

/// Whether a function is one of the allocator's, which calls others of its own.
fn is_of_the_allocator(function: &str) -> bool {
    // glibc's inner functions; the compiler may make variants, as `_mid_memalign.constprop.0`.
    let inner = ["_mid_memalign", "_int_memalign", "_int_malloc", "_int_realloc"];
    Allocations::default().of(function).is_some() || inner.iter().any(|name| function.starts_with(name))
}
