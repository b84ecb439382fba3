//! What is counted of attempts while they run, and the distributions of their parts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::Nanos;
use crate::error::Result;
use crate::latency::Latency;

/// Counts of the whole run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QrTally {
    /// Attempts that were due, and those not begun as no PC was free.
    pub due: u64,
    pub no_slot: u64,
    /// Signed in, the PC told and the phone answered.
    pub completed: u64,
    /// Broken off, by what.
    pub failed: BTreeMap<String, u64>,
    /// Pushes of no attempt of their connection, and those whose `seq` is not the one after the last.
    pub stray: u64,
    pub out_of_order: u64,
    /// Frames and answers that could not be read.
    pub malformed: u64,
    /// PCs signed in as somebody else than who confirmed.
    pub wrong_user: u64,
    /// Sockets, and connections of phones during a call, that ended; by how.
    pub ended: BTreeMap<String, u64>,
    /// Echoes sent, answered otherwise than by `ok`, and not answered at the end.
    pub echoes: u64,
    pub echoes_refused: u64,
    pub echoes_unanswered: u64,
}

/// Spans of attempts meant in the measured span.
#[derive(Debug)]
pub(super) struct Spans {
    /// From the intended begin to the tokens.
    pub whole: Latency,
    /// From `qr.open` to its reply.
    pub open: Latency,
    /// From the phone's request to its answer.
    pub scan: Latency,
    pub confirm: Latency,
    /// From the phone's request to the push it causes.
    pub scanned: Latency,
    pub confirmed: Latency,
    /// From `qr.redeem` to its reply.
    pub redeem: Latency,
    /// From `ping` to its reply.
    pub echo: Latency,
    /// How late the tester itself began attempts.
    pub lag: Latency,
}

impl Spans {
    pub(super) fn new() -> Result<Spans> {
        Ok(Spans {
            whole: Latency::new()?,
            open: Latency::new()?,
            scan: Latency::new()?,
            confirm: Latency::new()?,
            scanned: Latency::new()?,
            confirmed: Latency::new()?,
            redeem: Latency::new()?,
            echo: Latency::new()?,
            lag: Latency::new()?,
        })
    }
}

/// Whether something meant at `at` is measured.
pub(super) fn within(window: (Nanos, Nanos), at: Nanos) -> bool {
    at >= window.0 && at < window.1
}
