//! What went over the sockets of one engine, in numbers that load testers share.

use serde::{Deserialize, Serialize};

use crate::clock::{self, Nanos, SECOND};
use crate::error::Result;
use crate::latency::Latency;

/// Longest session told apart; longer ones are counted here. A day.
const LONGEST_SESSION: Nanos = 86_400 * SECOND;

/// Counts since the engine was made. Nothing here is touched per message received: a received message is a
/// frame that is none of `other_frames`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Traffic {
    /// When the engine was made.
    pub began: Nanos,
    /// From the beginning of a connect to the end of its 101, each connection.
    pub connecting: Latency,
    /// From the beginning of a connect to the end of the connection, each that was accepted and has ended.
    pub sessions: Latency,
    /// Text messages handed to a socket.
    pub messages_sent: u64,
    /// Requests handed to a connection for HTTP, and answers that came whole.
    #[serde(default)]
    pub requests: u64,
    #[serde(default)]
    pub answers: u64,
    /// Bytes written to and read from sockets: upgrades and frame headers included, TCP not.
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Frames received that are no message: pings, closes, all but the last fragment of one.
    pub other_frames: u64,
    /// Most connections at once, those on their way included.
    pub live_max: usize,
}

impl Traffic {
    /// Nothing yet.
    pub(super) fn new() -> Result<Traffic> {
        Ok(Traffic {
            began: clock::now(),
            connecting: Latency::new()?,
            sessions: Latency::up_to(LONGEST_SESSION)?,
            messages_sent: 0,
            requests: 0,
            answers: 0,
            bytes_sent: 0,
            bytes_received: 0,
            other_frames: 0,
            live_max: 0,
        })
    }

    /// Adds what the engine of another process counted in the same run.
    pub(crate) fn pool(&mut self, other: &Traffic) -> Result<()> {
        self.began = self.began.min(other.began);
        self.messages_sent += other.messages_sent;
        self.requests += other.requests;
        self.answers += other.answers;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.other_frames += other.other_frames;
        self.live_max += other.live_max;
        self.sessions.pool(&other.sessions)?;
        self.connecting.pool(&other.connecting)
    }
}
