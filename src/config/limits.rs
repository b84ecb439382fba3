//! Every bound of the gateway has its name, unit, default and sound values here.

use std::num::NonZeroU32;

use governor::Quota;

use super::reader::{Reader, read_settings};
use super::settings::{Bound, Mark, Row, Settings, settings, tables};
use super::value::{Kind, Value, Written, words};
use crate::core::rate::Rate;

/// How strict the limits are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// As documented.
    #[default]
    Default,
    /// Every rate, and every count per address and per user, a thousandfold: for measurements on loopback.
    Bench,
}

words!(Profile { "default" => Profile::Default, "bench" => Profile::Bench });

/// Largest count and burst of a rate.
const RATE_MAX: u64 = 10_000_000;
/// What a rate has to be, for documents.
const RATE: &str = "count and burst 1 to 10,000,000, period 1 to 3,600,000 ms";
/// Milliseconds of an hour.
const HOUR: u64 = 3_600_000;

settings! {
    /// A rate: `count` in `period_ms`, all of them at once at most `burst`.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RateLimit {
        count: u32 = 1, "", Within(1, RATE_MAX), "how many in a period";
        period_ms: u64 = 1_000, "ms", Within(1, HOUR), "the period";
        burst: u32 = 1, "", Within(1, RATE_MAX), "how many at one instant";
    }
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
        let fast = self.times(1_000);
        Self {
            count: fast.count.min(10_000_000),
            burst: fast.burst.min(10_000_000),
            ..fast
        }
    }

    /// So many times as fast.
    #[must_use]
    pub fn times(self, factor: u32) -> Self {
        let times = |n: u32| n.saturating_mul(factor);
        Self {
            count: times(self.count),
            burst: times(self.burst),
            ..self
        }
    }
}

settings! {
    /// Bounds with their defaults.
    #[derive(Debug, Clone)]
    pub struct Limits {
        head_ms: u64 = 5_000, "ms", Within(1, HOUR),
            "time for a request head to arrive";
        tls_handshake_ms: u64 = 5_000, "ms", Within(100, 60_000),
            "time for a TLS handshake; that of the first request head begins after it";
        proxy_header_ms: u64 = 5_000, "ms", Within(100, 60_000),
            "time for a PROXY header to arrive, where `proxy_protocol` asks for one";
        head_bytes_max: usize = 16 * 1024, "bytes", Within(8 * 1024, 1 << 20),
            "request head";
        headers_max: usize = 64, "headers", Within(1, 1_000),
            "headers of a request";
        handshake_header_bytes_max: usize = 1024, "bytes", Within(64, 64 * 1024),
            "`Sec-WebSocket-Protocol` and `-Extensions`, each";
        request_ms: u64 = 15_000, "ms", Within(1, HOUR),
            "time for a request to be answered";
        outcome_wait_ms: u64 = 25_000, "ms", Within(1_000, 600_000),
            "a phone that waits for the end of a QR login is told how things stand after this";
        keep_alive_ms: u64 = 60_000, "ms", Within(1, HOUR),
            "an HTTP connection that rests is closed after this";
        unauthenticated_ms: u64 = 10_000, "ms", Within(1, HOUR),
            "a connection that does nothing is closed after this (4502)";
        outbox_bytes_max: u32 = 256 * 1024, "bytes", Within(64 * 1024, 1 << 30),
            "outgoing queue of a connection. Below the default, replies with much history may not fit and close the connection (4008)";
        write_ms: u64 = 5_000, "ms", Within(1, HOUR),
            "a queue that does not move for this long ends its connection (4008)";
        ping_interval_ms: u64 = 25_000, "ms", Within(20, HOUR),
            "WebSocket pings, a tenth more or less";
        pong_ms: u64 = 10_000, "ms", Within(1, HOUR),
            "time for a pong (4012)";
        fragments_max: u32 = 64, "frames", Within(1, 1_000_000),
            "frames of one message (1008)";
        fragments_ms: u64 = 5_000, "ms", Within(1, HOUR),
            "first to last frame of a message (1008)";
        control_rate: RateLimit = RateLimit::new(2, 1_000, 20), "frames", Form(RATE),
            "pings and unasked pongs of a client (1008)" [Scaled];
        command_rate: RateLimit = RateLimit::new(50, 1_000, 200), "commands", Form(RATE),
            "commands of a connection" [Scaled];
        command_refusals_max: u32 = 200, "commands", Within(1, 1_000_000_000),
            "refused in a row by `command_rate`, then 4029";
        commands_waiting_max: usize = 8, "commands", Within(1, 1_000),
            "commands of a connection under way; then it is not read";
        bad_tokens_max: u8 = 3, "tokens", Within(1, 255),
            "bad tokens on one connection, then 4500";
        message_rate: RateLimit = RateLimit::new(5, 1_000, 20), "messages", Form(RATE),
            "`send` of a connection" [Scaled];
        message_rate_per_user: RateLimit = RateLimit::new(10, 1_000, 40), "messages", Form(RATE),
            "`send` of a user, over all connections: no one user fills a room's rate" [Scaled];
        like_rate: RateLimit = RateLimit::new(10, 1_000, 20), "calls", Form(RATE),
            "`like` of a connection" [Scaled];
        like_max: u64 = 100, "", Within(1, 1_000_000_000),
            "largest `n` of one `like`";
        join_rate: RateLimit = RateLimit::new(20, 1_000, 150), "joins", Form(RATE),
            "`join` of a connection" [Scaled];
        subscriptions_max: usize = 128, "rooms", Within(1, 100_000),
            "rooms of a connection";
        room_rate: RateLimit = RateLimit::new(40, 1_000, 40), "messages", Form(RATE),
            "messages of a room" [Scaled];
        room_reserved_percent: u8 = 50, "percent", Within(0, 90),
            "share of `room_rate` kept for `high` messages";
        connections_per_address_max: usize = 200, "sockets", Within(1, 100_000_000),
            "TCP connections from one address (one /64 for IPv6, and eight times as many from a /48)" [Scaled];
        connections_per_user_max: usize = 16, "connections", Within(1, 100_000_000),
            "WebSocket connections of one user (4504)" [Scaled];
        connections_max: usize = 65_536, "sockets", Within(1, 100_000_000),
            "TCP connections of the node; lowered to the descriptor limit less `descriptors_reserved`";
        descriptors_reserved: usize = 64, "descriptors", Within(0, 1_000_000),
            "kept for the operator's port and for refusals";
        accept_rate: RateLimit = RateLimit::new(500, 1_000, 2_000), "sockets", Form(RATE),
            "new TCP connections of the node" [Scaled];
        accept_rate_per_address: RateLimit = RateLimit::new(100, 1_000, 400), "sockets", Form(RATE),
            "new TCP connections from one address (one /64 for IPv6, and eight times as many from a /48), before they count against the node; over a listed proxy, upgrades, event streams and waits for an outcome of one client" [Scaled];
        send_buffer_bytes: usize = 64 * 1024, "bytes", Within(16 * 1024, 16 << 20),
            "socket send buffer asked of the system, which doubles it. What lies there is out of the outbox's hands: a large one hides a slow reader, and then makes a steady one look stuck";
        rooms_max: usize = 65_536, "rooms", Within(1, 100_000_000),
            "rooms of the node";
        history_bytes_max: usize = 256 * 1024 * 1024, "bytes", Within(0, 1 << 44),
            "history of all rooms together, envelope included";
        qr_open_rate: RateLimit = RateLimit::new(60, 60_000, 60), "calls", Form(RATE),
            "QR logins opened from one address, over any transport" [Scaled];
        qr_waiting_per_address_max: usize = 200, "attempts", Within(1, 100_000_000),
            "waiting QR logins per address" [Scaled];
        qr_attempts_max: usize = 100_000, "attempts", Within(1, 100_000_000),
            "QR logins of the node";
        qr_phone_rate: RateLimit = RateLimit::new(20, 120_000, 20), "calls", Form(RATE),
            "scan and confirm per account, and as often deny, counted apart; calls that name a live attempt" [Scaled];
        qr_poll_rate: RateLimit = RateLimit::new(1, 1_000, 3), "calls", Form(RATE),
            "questions of a polling PC, per QR login" [Scaled];
        qr_picture_rate: RateLimit = RateLimit::new(20, 1_000, 400), "calls", Form(RATE),
            "pictures of codes drawn for one address" [Scaled];
        event_comment_ms: u64 = 15_000, "ms", Within(20, HOUR),
            "interval of the comments that show that an event stream lives";
        qr_tries_max: u8 = 3, "codes", Within(1, 255),
            "wrong codes that end a QR login";
        user_code_account_rate: RateLimit = RateLimit::new(5, 600_000, 5), "codes", Form(RATE),
            "wrong user codes per account within any period, the smaller of count and burst; beyond it right ones are refused too" [Scaled];
        user_code_address_rate: RateLimit = RateLimit::new(20, 600_000, 20), "codes", Form(RATE),
            "wrong user codes per address, likewise" [Scaled];
        login_account_rate: RateLimit = RateLimit::new(10, 60_000, 10), "calls", Form(RATE),
            "password checks per account and network (one address, or one IPv6 /64), right ones too: whoever guesses from elsewhere does not lock the owner out" [Scaled];
        login_address_rate: RateLimit = RateLimit::new(60, 60_000, 60), "calls", Form(RATE),
            "password checks and registrations per address" [Scaled];
        limiter_keys_max: usize = 100_000, "keys", Within(1, 100_000_000),
            "keys each keyed limiter remembers, and addresses that proxies name; idle ones go first, and when none is idle the call is refused";
        password_queue_max: usize = 32, "callers", Within(0, 100_000),
            "waiting for a password check; as many as there are cores run at once";
        accounts_max: usize = 100_000, "accounts", Within(1, 100_000_000),
            "accounts in memory";
        sessions_per_user_max: usize = 20, "sessions", Within(1, 100_000),
            "sessions of one user; then the one refreshed longest ago ends" [Scaled];
        once_keys_max: usize = 1_000_000, "keys", Within(1, 1_000_000_000),
            "DPoP proofs remembered until they are too old to be used again";
    }
}

tables!(Limits);

impl Limits {
    /// The names of all limits.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::default().rows().iter().map(|row| row.name)
    }

    /// The same limits under a profile.
    #[must_use]
    pub fn under(mut self, profile: Profile) -> Self {
        if profile == Profile::Bench {
            for row in self.rows().iter().filter(|row| row.has(Mark::Scaled)) {
                if let Some(limit) = self.value_mut(row.name) {
                    limit.scale();
                }
            }
        }
        self
    }
}

impl Value for RateLimit {
    fn kind(&self) -> Kind {
        Kind::Rate
    }
    /// All of its three numbers have to be there: half a rate is a slip.
    fn read(&mut self, value: &Written<'_>, reader: &mut Reader) {
        let Some(table) = value.get_ref().as_table() else {
            reader.wrong_kind(value, self.kind());
            return;
        };
        let has = |name: &str| table.keys().any(|key| key.get_ref() == name);
        let missing: Vec<_> = self
            .rows()
            .iter()
            .map(|row| row.name)
            .filter(|name| !has(name))
            .collect();
        if !missing.is_empty() {
            reader.fault(value, &format!("needs {} too", missing.join(" and ")));
        }
        read_settings(self, value, reader);
    }
    fn shown(&self) -> Option<String> {
        Some(format!(
            "{{ count = {}, period_ms = {}, burst = {} }}",
            self.count, self.period_ms, self.burst
        ))
    }
    fn unsound(&self) -> Option<String> {
        let sound = |row: &Row| match (row.bound, self.value(row.name).and_then(Value::number)) {
            (Bound::Within(low, high), Some(number)) => (low..=high).contains(&number),
            _ => true,
        };
        (!self.rows().iter().all(sound)).then(|| format!("is out of bounds: {RATE}"))
    }
    fn scale(&mut self) {
        *self = self.scaled();
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
