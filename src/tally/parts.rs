//! What each part of the house has counted, as values at one moment. Counts rise from 0 at the start of the process,
//! but for what is said to be as it is now.

use countersign_protocol::ErrorCode;

use super::Spread;

/// What became of something that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// It was wrong, or not allowed.
    Refused,
    /// A rate or a bound was in its way.
    Limited,
    /// The gateway could not.
    Failed,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Outcome; 4] = [Outcome::Ok, Outcome::Refused, Outcome::Limited, Outcome::Failed];

    /// What a refusal of this code means.
    pub const fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::RateLimited | ErrorCode::SlowMode | ErrorCode::LimitReached => Outcome::Limited,
            ErrorCode::Unavailable | ErrorCode::Internal | ErrorCode::Timeout => Outcome::Failed,
            _ => Outcome::Refused,
        }
    }

    /// Its name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Refused => "refused",
            Outcome::Limited => "limited",
            Outcome::Failed => "failed",
        }
    }
}

/// What hangs on this process's sockets, by [`Hub::counts`](crate::hub::Hub::counts).
#[derive(Debug, Clone, Default)]
pub struct Sockets {
    pub now: Standing,
    /// WebSockets, and event streams, since the start.
    pub opened: [u64; 2],
    /// Ends by [`CLOSES`].
    pub closes: [u64; CLOSES.len()],
    /// Messages that reached the rooms of this process: once each, whoever is there.
    pub published: u64,
    /// Messages times the members they were handed to. One that joins while a batch is on its way counts with all of it.
    pub deliveries: u64,
    /// WebSocket frames and events given to connections, whether they have left or not.
    pub frames_out: u64,
    /// Bytes that left, below TLS.
    pub bytes_out: u64,
    /// Frames that connections were not sent because they read too slowly.
    pub shed: Drops,
    /// Frames that no member of a room was sent because the room said more than could be handed out.
    pub overrun: Drops,
    /// Frames of each batch.
    pub batch_frames: Spread,
    /// Microseconds from when a batch began to wait until all members were handed it; of one in seven. In a room that
    /// never rests a batch may begin to wait when the one before it is taken.
    pub flush_us: Spread,
}

/// Connections as they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// WebSockets without a session.
    pub anonymous: usize,
    /// WebSockets with one.
    pub authenticated: usize,
    pub event_streams: usize,
    /// Connections whose end is decided.
    pub closing: usize,
    /// Those that have frames waiting.
    pub waiting: usize,
    /// Bytes that wait in all queues, and in the longest.
    pub queued_bytes: usize,
    pub queued_bytes_most: usize,
    /// Rooms somebody here is in.
    pub rooms: usize,
    /// Connections times the rooms they are in.
    pub memberships: usize,
}

/// Frames dropped, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    pub low: u64,
    pub normal: u64,
    pub presence: u64,
    /// Counts and room information whose place newer ones took.
    pub replaced: u64,
}

impl Drops {
    /// With the names of the classes.
    pub const fn named(self) -> [(&'static str, u64); 4] {
        [
            ("low", self.low),
            ("normal", self.normal),
            ("presence", self.presence),
            ("replaced", self.replaced),
        ]
    }

    /// All of them.
    pub const fn total(self) -> u64 {
        self.low + self.normal + self.presence + self.replaced
    }
}

impl std::ops::AddAssign for Drops {
    fn add_assign(&mut self, more: Self) {
        self.low += more.low;
        self.normal += more.normal;
        self.presence += more.presence;
        self.replaced += more.replaced;
    }
}

/// Upper bounds of [`Sockets::batch_frames`].
pub const BATCH_FRAMES: [u64; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// Upper bounds of [`Sockets::flush_us`].
pub const FLUSH_US: [u64; 14] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000,
];
/// Upper bounds of [`Verb::took_us`]. In memory most take one; over a network some thousand.
pub const VERB_US: [u64; 9] = [1, 5, 25, 100, 500, 2_500, 10_000, 100_000, 1_000_000];

/// How a connection can end: the close codes of the protocol, then `peer` (it closed first), `lost` (it is gone without
/// a word) and `done` (an event stream has told all).
pub const CLOSES: [&str; 24] = [
    "1000", "1001", "1002", "1003", "1007", "1008", "1009", "1011", "1012", "1013", "4005", "4008", "4012",
    "4029", "4500", "4501", "4502", "4503", "4504", "4505", "4507", "peer", "lost", "done",
];

/// What was served, by [`Node::counts`](crate::node::Node::counts).
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    pub handshakes_accepted: u64,
    pub handshakes_refused: u64,
    /// From WebSocket clients, below TLS.
    pub received_bytes: u64,
    pub received_frames: u64,
    /// Commands by name, and those that could not be read, by [`Outcome`].
    pub commands: Vec<(&'static str, [u64; Outcome::ALL.len()])>,
    /// Refusals because of a bound, by its name.
    pub limited: Vec<(&'static str, u64)>,
    /// Messages that were not taken because their room had too much to say: low, normal, high ones.
    pub pushed_back: [u64; 3],
}

/// Everything that was counted, at one moment.
#[derive(Debug, Clone, Default)]
pub struct Everything {
    pub sockets: Sockets,
    pub operations: Operations,
    pub traffic: Traffic,
    /// Refusals because of a bound, by its name, wherever they were counted.
    pub limited: Vec<(&'static str, u64)>,
    /// Accepted sockets, and QR logins in memory, now.
    pub accepted: usize,
    pub qr_kept: usize,
    pub draining: bool,
    pub bounds: Bounds,
}

/// What some of it cannot exceed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    pub sockets: usize,
    pub qr_kept: usize,
    pub rooms: usize,
    pub history_bytes: usize,
    /// Of one connection's queue.
    pub outbox_bytes: usize,
}

/// What was asked of shared state, by [`Engine::counts`](crate::engine::Engine::counts).
#[derive(Debug, Clone, Default)]
pub struct Operations {
    pub verbs: Vec<Verb>,
    /// Refusals because of a bound, by its name.
    pub limited: Vec<(&'static str, u64)>,
    /// Rooms there are now.
    pub rooms: usize,
    /// Bytes of history kept now.
    pub history_bytes: usize,
}

/// One verb.
#[derive(Debug, Clone, Default)]
pub struct Verb {
    pub name: &'static str,
    /// Answered, refused and failed: the state could not be reached.
    pub outcomes: [(&'static str, u64); 3],
    /// Microseconds; of the first and then of one in 64.
    pub took_us: Spread,
}

#[cfg(test)]
mod tests {
    use countersign_protocol::CloseCode;

    use super::*;

    #[test]
    fn every_close_code_has_its_place() {
        for (at, code) in CloseCode::ALL.iter().enumerate() {
            assert_eq!(CLOSES[at], code.code().to_string());
        }
        assert_eq!(CLOSES[CloseCode::ALL.len()..], ["peer", "lost", "done"]);
    }
}
