//! Why a run could not be made or finished. A failed assertion is not an error but a result.

use std::io;

use crate::clock::{Nanos, seconds};

/// What ends a run without a result.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option, or two that contradict each other.
    #[error("{0}")]
    Usage(String),
    /// An operation of the operating system.
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// The connection could not be opened, or not upgraded.
    #[error("connection {member}: {why}")]
    Connect { member: usize, why: String },
    /// An HTTP call that was needed did not succeed.
    #[error("{call}: {why}")]
    Http { call: String, why: String },
    /// The target answered something the contract does not have.
    #[error("the target broke the protocol: {0}")]
    Protocol(String),
    /// A phase did not end in time.
    #[error("deadline: {phase} did not end within {:.1} s ({state})", seconds(*.limit))]
    Deadline {
        phase: &'static str,
        limit: Nanos,
        state: String,
    },
    /// A process that was to be watched or started.
    #[error("{0}")]
    Process(String),
    /// Why a run ended whose history is in several parts.
    #[error("{error}; what it recorded until then is in {parts}, and is not whole")]
    Unfinished {
        #[source]
        error: Box<Error>,
        parts: String,
    },
}

impl Error {
    /// Wraps an error of the operating system with what was tried.
    pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { what, source }
    }

    /// The same for rustix, whose errors are bare numbers.
    pub fn os(what: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
        move |errno| Error::Io {
            what,
            source: errno.into(),
        }
    }
}

/// Short for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
