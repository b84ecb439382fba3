//! Every bound of the gateway has its name, unit and default here. `docs/operations.md` lists them, and a test
//! holds the two together.

use std::num::NonZeroU32;

use governor::Quota;
use serde::Deserialize;

use crate::core::rate::Rate;

/// How strict the limits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// As documented.
    #[default]
    Default,
    /// Every rate, and every count per address and per user, a thousandfold: for measurements on loopback.
    Bench,
}

impl std::str::FromStr for Profile {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Profile::Default),
            "bench" => Ok(Profile::Bench),
            other => Err(format!("no limits profile {other:?}: default or bench")),
        }
    }
}

/// A rate: `count` in `period_ms`, all of them at once at most `burst`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    pub count: u32,
    pub period_ms: u64,
    pub burst: u32,
}

impl RateLimit {
    const fn new(count: u32, period_ms: u64, burst: u32) -> Self {
        Self {
            count,
            period_ms,
            burst,
        }
    }

    /// As the core's rate.
    pub fn rate(self) -> Rate {
        Rate::new(self.count, self.period_ms, self.burst)
    }

    /// As a quota of a keyed limiter.
    pub fn quota(self) -> Quota {
        let one = NonZeroU32::MIN;
        let nanos = self.period_ms.max(1).saturating_mul(1_000_000) / u64::from(self.count.max(1));
        Quota::with_period(std::time::Duration::from_nanos(nanos.max(1)))
            .unwrap_or_else(|| Quota::per_second(one))
            .allow_burst(NonZeroU32::new(self.burst).unwrap_or(one))
    }

    fn scaled(self) -> Self {
        self.times(1_000)
    }

    /// So many times as fast, at most ten million.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        let times = |n: u32| n.saturating_mul(factor).min(10_000_000);
        Self {
            count: times(self.count),
            burst: times(self.burst),
            ..self
        }
    }
}

macro_rules! limits {
    ($( $(#[$doc:meta])* $name:ident : $ty:ty = $default:expr $(, $scaled:ident)? ; )*) => {
        /// Bounds with their defaults.
        #[derive(Debug, Clone, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits { $( $(#[$doc])* pub $name: $ty, )* }

        impl Default for Limits {
            fn default() -> Self {
                Self { $( $name: $default, )* }
            }
        }

        impl Limits {
            /// The names of all limits, for the test that compares them with the documents.
            pub const NAMES: &'static [&'static str] = &[ $( stringify!($name), )* ];

            /// The same limits under a profile.
            #[must_use]
            pub fn under(mut self, profile: Profile) -> Self {
                if profile == Profile::Bench {
                    $( $( self.$name = Scale::$scaled(self.$name); )? )*
                }
                self
            }
        }
    };
}

/// What the bench profile does to a limit.
struct Scale;

impl Scale {
    fn rate(limit: RateLimit) -> RateLimit {
        limit.scaled()
    }
    fn count(limit: usize) -> usize {
        limit.saturating_mul(1_000)
    }
}

limits! {
    /// Time for a request head to arrive, ms.
    head_ms: u64 = 5_000;
    /// Request head, bytes.
    head_bytes_max: usize = 16 * 1024;
    /// Headers of a request.
    headers_max: usize = 64;
    /// `Sec-WebSocket-Protocol` and `Sec-WebSocket-Extensions`, bytes each.
    handshake_header_bytes_max: usize = 1024;
    /// Time for a request to be answered, ms.
    request_ms: u64 = 15_000;
    /// Longest wait of a phone for the end of a QR login, milliseconds; then it is told how things stand.
    outcome_wait_ms: u64 = 25_000;
    /// An idle keep-alive connection is closed after this, ms.
    keep_alive_ms: u64 = 60_000;
    /// A connection that neither signs in, nor opens or watches a QR login, nor joins a room is closed after this, ms.
    unauthenticated_ms: u64 = 10_000;
    /// Outgoing queue of a connection, bytes.
    outbox_bytes_max: u32 = 256 * 1024;
    /// A queue that does not move for this long ends its connection, ms.
    write_ms: u64 = 5_000;
    /// Interval of WebSocket pings, jittered by a tenth, ms.
    ping_interval_ms: u64 = 25_000;
    /// Time for a pong, ms.
    pong_ms: u64 = 10_000;
    /// Frames of one fragmented message.
    fragments_max: u32 = 64;
    /// Time from the first to the last frame of a message, ms.
    fragments_ms: u64 = 5_000;
    /// Control frames of a client (ping, pong).
    control_rate: RateLimit = RateLimit::new(2, 1_000, 20), rate;
    /// Commands of a connection, of any kind.
    command_rate: RateLimit = RateLimit::new(50, 1_000, 200), rate;
    /// Refused commands in a row after which a connection over its command rate is closed with 4029.
    command_refusals_max: u32 = 200;
    /// Commands of a connection that wait for something outside.
    commands_waiting_max: usize = 8;
    /// Bad tokens on one connection before it is closed with 4500.
    bad_tokens_max: u8 = 3;
    /// Messages of a connection.
    message_rate: RateLimit = RateLimit::new(5, 1_000, 20), rate;
    /// Messages of a user, over all connections.
    message_rate_per_user: RateLimit = RateLimit::new(10, 1_000, 40), rate;
    /// Likes of a connection, calls.
    like_rate: RateLimit = RateLimit::new(10, 1_000, 20), rate;
    /// Largest `n` of one `like`.
    like_max: u64 = 100;
    /// Joins of a connection.
    join_rate: RateLimit = RateLimit::new(20, 1_000, 150), rate;
    /// Rooms of a connection.
    subscriptions_max: usize = 128;
    /// Messages of a room.
    room_rate: RateLimit = RateLimit::new(40, 1_000, 40), rate;
    /// Share of `room_rate` kept for `high` messages, percent, 0 to 90.
    room_reserved_percent: u8 = 50;
    /// Connections from one address (one /64 for IPv6).
    connections_per_address_max: usize = 200, count;
    /// Connections of one user.
    connections_per_user_max: usize = 16, count;
    /// Connections of this node; lowered to the descriptor limit less `descriptors_reserved`.
    connections_max: usize = 65_536;
    /// Descriptors kept for the operator's port and for answering refusals.
    descriptors_reserved: usize = 64;
    /// New connections of this node.
    accept_rate: RateLimit = RateLimit::new(500, 1_000, 2_000), rate;
    /// New connections from one address (one /64 for IPv6).
    accept_rate_per_address: RateLimit = RateLimit::new(100, 1_000, 400), rate;
    /// Socket send buffer asked of the system, bytes; it doubles the number. What lies there is out of the outbox's
    /// hands, so a large one hides a slow reader and then makes a steady one look stuck.
    send_buffer_bytes: usize = 64 * 1024;
    /// Rooms of this node.
    rooms_max: usize = 65_536;
    /// History of all rooms, bytes.
    history_bytes_max: usize = 256 * 1024 * 1024;
    /// `qr.open` per address.
    qr_open_rate: RateLimit = RateLimit::new(60, 60_000, 60), rate;
    /// Waiting QR logins per address.
    qr_waiting_per_address_max: usize = 200, count;
    /// QR logins of this node.
    qr_attempts_max: usize = 100_000;
    /// Scan, confirm and deny per account, calls that name a live attempt.
    qr_phone_rate: RateLimit = RateLimit::new(20, 120_000, 20), rate;
    /// Questions of a polling PC, per QR login.
    qr_poll_rate: RateLimit = RateLimit::new(1, 1_000, 3), rate;
    /// Pictures of codes drawn for one address.
    qr_picture_rate: RateLimit = RateLimit::new(20, 1_000, 400), rate;
    /// Interval of the comments that show that an event stream lives, ms.
    event_comment_ms: u64 = 15_000;
    /// Wrong codes that end a QR login.
    qr_tries_max: u8 = 3;
    /// Password checks per account.
    login_account_rate: RateLimit = RateLimit::new(10, 60_000, 10), rate;
    /// Password checks and registrations per address.
    login_address_rate: RateLimit = RateLimit::new(60, 60_000, 60), rate;
    /// Keys a keyed limiter remembers; beyond it the oldest idle ones go, and if none is idle the call is refused.
    limiter_keys_max: usize = 100_000;
    /// Password checks waiting for a permit; as many as cores run at once.
    password_queue_max: usize = 32;
    /// Accounts in memory.
    accounts_max: usize = 100_000;
    /// Sessions of one user; beyond it the one unused for longest is revoked.
    sessions_per_user_max: usize = 20, count;
    /// Once-only keys remembered (DPoP proofs).
    once_keys_max: usize = 1_000_000;
}

impl Limits {
    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, text: &str| {
            if !ok {
                problems.push(format!("limits.{text}"));
            }
        };
        check(
            self.outbox_bytes_max >= 64 * 1024,
            "outbox_bytes_max must hold one largest frame: at least 65536",
        );
        check(
            self.head_bytes_max >= 8 * 1024,
            "head_bytes_max must be at least 8192",
        );
        check(
            self.room_reserved_percent <= 90,
            "room_reserved_percent must be 0 to 90",
        );
        check(
            self.commands_waiting_max >= 1,
            "commands_waiting_max must be at least 1",
        );
        check(
            self.subscriptions_max >= 1,
            "subscriptions_max must be at least 1",
        );
        check(
            (16 * 1024..=16 << 20).contains(&self.send_buffer_bytes),
            "send_buffer_bytes must be 16384 to 16777216",
        );
        check(self.like_max >= 1, "like_max must be at least 1");
        check(
            self.ping_interval_ms >= 20,
            "ping_interval_ms must be at least 20",
        );
        check(
            (1_000..=600_000).contains(&self.outcome_wait_ms),
            "outcome_wait_ms must be 1000 to 600000",
        );
        check(
            self.event_comment_ms >= 20,
            "event_comment_ms must be at least 20",
        );
        check(self.qr_tries_max >= 1, "qr_tries_max must be at least 1");
        for (name, rate) in [
            ("control_rate", self.control_rate),
            ("command_rate", self.command_rate),
            ("message_rate", self.message_rate),
            ("like_rate", self.like_rate),
            ("join_rate", self.join_rate),
            ("room_rate", self.room_rate),
            ("accept_rate", self.accept_rate),
            ("accept_rate_per_address", self.accept_rate_per_address),
            ("message_rate_per_user", self.message_rate_per_user),
            ("qr_open_rate", self.qr_open_rate),
            ("qr_phone_rate", self.qr_phone_rate),
            ("qr_poll_rate", self.qr_poll_rate),
            ("qr_picture_rate", self.qr_picture_rate),
            ("login_account_rate", self.login_account_rate),
            ("login_address_rate", self.login_address_rate),
        ] {
            let sound = rate.count > 0 && rate.burst > 0 && (1..=3_600_000).contains(&rate.period_ms);
            check(
                sound,
                &format!("{name} needs count and burst of at least 1 and period_ms of 1 to 3600000"),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bench_raises_rates_and_counts_and_leaves_sizes() {
        let (plain, bench) = (Limits::default(), Limits::default().under(Profile::Bench));
        assert_eq!(bench.message_rate.count, 1_000 * plain.message_rate.count);
        assert_eq!(
            bench.connections_per_address_max,
            1_000 * plain.connections_per_address_max
        );
        assert_eq!(bench.outbox_bytes_max, plain.outbox_bytes_max);
        assert_eq!(bench.connections_max, plain.connections_max);
    }
}
