//! The table of targets: a row is a figure of a measurement and what it must meet.

use crate::metric::Unit;

/// How a figure is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The median meets the target and half the 90 % interval is below 7 %.
    Narrow,
    /// The figure is pooled over all pairs and meets the target.
    Pooled,
    /// The figure of each run meets the target.
    Each,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    pub name: &'static str,
    pub what: &'static str,
    /// At most this; none: a comparison, reported only.
    pub target: Option<f64>,
    /// Reported, not required.
    pub goal: Option<f64>,
    pub unit: Unit,
    pub measurement: &'static str,
    /// Name of the figure among the measurement's metrics.
    pub figure: &'static str,
    pub rule: Rule,
    /// Two times of which the figure is the ratio, shown beside it.
    pub sides: Option<(&'static str, &'static str)>,
    /// What a reader must know about how it was taken.
    pub method: &'static str,
}

/// A ratio of processor time per delivery.
const fn ratio(
    name: &'static str,
    measurement: &'static str,
    target: Option<f64>,
    (what, method): (&'static str, &'static str),
) -> Row {
    Row {
        name,
        what,
        target,
        goal: None,
        unit: Unit::Ratio,
        measurement,
        figure: "cpu_ratio",
        rule: Rule::Narrow,
        sides: Some(("product_cpu_us", "floor_cpu_us")),
        method,
    }
}

/// The same as [`ratio`], with other sides than gateway and floor.
const fn between(sides: (&'static str, &'static str), row: Row) -> Row {
    Row {
        sides: Some(sides),
        ..row
    }
}

/// A comparison with another server, without a target.
const fn rival(name: &'static str, texts: (&'static str, &'static str)) -> Row {
    between(("a_cpu_us", "b_cpu_us"), ratio(name, name, None, texts))
}

/// Push divided by polling: name, then measurement, figure and the most it may be.
const fn polling(
    name: &'static str,
    (measurement, figure, target): (&'static str, &'static str, f64),
    (what, method): (&'static str, &'static str),
) -> Row {
    Row {
        name,
        what,
        target: Some(target),
        goal: None,
        unit: Unit::Ratio,
        measurement,
        figure,
        rule: Rule::Each,
        sides: None,
        method,
    }
}

const fn goal(goal: f64, row: Row) -> Row {
    Row {
        goal: Some(goal),
        ..row
    }
}

/// Growth must not exceed this ratio at any size.
const GROWTH: Option<f64> = Some(1.3);

/// All rows, in the order of the table.
pub const ROWS: [Row; 28] = [
    Row {
        name: "memory",
        what: "memory per connection: signed in, in one room, one message of 1 KiB sent and ten received",
        target: Some(4_096.0),
        goal: Some(3_072.0),
        unit: Unit::Bytes,
        measurement: "memory",
        figure: "bytes_per_connection",
        rule: Rule::Each,
        sides: None,
        method: "slope of resident memory from 5,000 to 15,000 connections, 30 s quiet, an account for each; \
                 gateway unpinned",
    },
    Row {
        name: "memory-large",
        what: "growth of that after one message of 16 KiB each, where no history is kept",
        target: Some(0.10),
        goal: None,
        unit: Unit::Share,
        measurement: "memory-large",
        figure: "then_growth",
        rule: Rule::Each,
        sides: None,
        method: "slope as above, then read again 30 s after the large messages; rooms.history_messages is 0 for \
                 both, so that connections are weighed and not the kept text of messages; gateway unpinned",
    },
    Row {
        name: "memory-expired",
        what: "the same where history was kept and has expired: what the allocator holds back of it",
        target: None,
        goal: None,
        unit: Unit::Share,
        measurement: "memory-expired",
        figure: "then_growth",
        rule: Rule::Each,
        sides: None,
        method: "as memory-large, but rooms.history_ms and rooms.cid_ms are 5 s and messages are kept until then; \
                 one run; gateway unpinned",
    },
    goal(
        1.15,
        ratio(
            "paced",
            "paced",
            Some(1.25),
            (
                "1,000 in one room, paced: CPU per delivery ÷ floor",
                "50 messages a second",
            ),
        ),
    ),
    goal(
        1.0,
        ratio(
            "burst",
            "burst",
            Some(1.15),
            (
                "1,000 in one room, burst: CPU per delivery ÷ coalesced floor",
                "32 messages in flight",
            ),
        ),
    ),
    ratio(
        "small-rooms",
        "small-rooms",
        Some(1.25),
        (
            "500 rooms of 10, paced: CPU per delivery ÷ floor",
            "10 messages a second into each room, members take turns",
        ),
    ),
    between(
        ("unpinned_cpu_us", "pinned_cpu_us"),
        ratio(
            "two-workers",
            "two-workers",
            Some(1.15),
            (
                "two workers, unpinned: CPU per delivery ÷ one worker, pinned",
                "the paced load on two processes of the gateway in turn: one started on one processor, one on \
                 all; tester pinned with the first only",
            ),
        ),
    ),
    ratio(
        "members-10",
        "rooms-1",
        GROWTH,
        (
            "growth: 10 members, ÷ floor",
            "5,000 messages a second, members take turns",
        ),
    ),
    ratio(
        "members-100",
        "members-100",
        GROWTH,
        ("growth: 100 members, ÷ floor", "500 messages a second"),
    ),
    ratio(
        "members-1000",
        "paced",
        GROWTH,
        ("growth: 1,000 members, ÷ floor", "50 messages a second"),
    ),
    ratio(
        "members-10000",
        "members-10000",
        GROWTH,
        ("growth: 10,000 members, ÷ floor", "5 messages a second"),
    ),
    ratio(
        "rooms-1",
        "rooms-1",
        GROWTH,
        (
            "growth: 1 room of 10, ÷ floor",
            "the run of 10 members: 5,000 messages a second",
        ),
    ),
    ratio(
        "rooms-100",
        "rooms-100",
        GROWTH,
        (
            "growth: 100 rooms of 10, ÷ floor",
            "50 messages a second into each, members take turns",
        ),
    ),
    ratio(
        "rooms-1000",
        "rooms-1000",
        GROWTH,
        (
            "growth: 1,000 rooms of 10, ÷ floor",
            "5 messages a second into each, members take turns",
        ),
    ),
    Row {
        figure: "p99_ratio",
        rule: Rule::Pooled,
        sides: Some(("product_p99", "floor_p99")),
        ..ratio(
            "latency",
            "paced",
            Some(1.5),
            (
                "delivery latency, paced: p99 ÷ floor's",
                "the paced run; histograms pooled over its pairs",
            ),
        )
    },
    Row {
        name: "handshake",
        what: "upgrade, token and join: CPU per connection",
        target: Some(150.0),
        goal: None,
        unit: Unit::Micros,
        measurement: "handshake",
        figure: "connect_cpu_us",
        rule: Rule::Narrow,
        sides: None,
        method: "5,000 connections, 2,500 a second, each with a token of its own: no signature is verified twice; \
                 12 runs, each on a fresh gateway",
    },
    Row {
        name: "idle-cpu",
        what: "10,000 signed-in connections that do nothing: CPU, share of a core",
        target: Some(0.01),
        goal: None,
        unit: Unit::Share,
        measurement: "idle-cpu",
        figure: "quiet_cpu",
        rule: Rule::Each,
        sides: None,
        method: "100 s that begin 10 s after the last joined, pings every 25 s",
    },
    Row {
        name: "qr-attempts",
        what: "a QR login, open, scan, confirm, redeem: CPU, so that one core does 2,000 in a second",
        target: Some(500.0),
        goal: None,
        unit: Unit::Micros,
        measurement: "qr",
        figure: "cpu_us_per_attempt",
        rule: Rule::Narrow,
        sides: None,
        method: "200 PCs on open sockets, 200 phones on kept connections, each call with a token that is verified; 1,000 \
                 attempts a second for 10 s, 500 echoes a second beside, whose cost is in it; 12 runs, each on a fresh \
                 gateway",
    },
    Row {
        name: "qr-push-latency",
        what: "from the phone's request to the push it causes: p99 less that of an echo in the same run",
        target: Some(1_000.0),
        goal: None,
        unit: Unit::Micros,
        measurement: "qr",
        figure: "push_over_echo_p99",
        rule: Rule::Pooled,
        sides: Some(("push_p99", "echo_p99")),
        method: "the runs of qr-attempts; the slower of scanned and confirmed, median of 12 runs",
    },
    polling(
        "qr-poll-cpu",
        ("qr-poll", "cpu_ratio", 1.0 / 20.0),
        (
            "10,000 waiting PCs: CPU of push ÷ polling on kept connections",
            "one question a second each; heartbeats and rotation on; 50 s a side, 4 pairs; what polling could not ask \
             for lack of processor time is not added",
        ),
    ),
    polling(
        "qr-poll-bytes",
        ("qr-poll", "bytes_ratio", 1.0 / 50.0),
        (
            "the same: bytes on the sockets, both directions",
            "the runs of qr-poll-cpu; without the headers of TCP and IP, and with the fewest headers of HTTP that do",
        ),
    ),
    Row {
        sides: Some(("push_lateness_p50", "poll_lateness_p50")),
        ..polling(
            "qr-poll-lateness",
            ("qr-poll", "lateness_ratio", 1.0 / 100.0),
            (
                "the same: how late a PC learns, median",
                "the runs of qr-poll-cpu; from the phone's request until its PC knows, two logins a second",
            ),
        )
    },
    polling(
        "qr-poll-connect",
        ("qr-poll-connect", "cpu_ratio", 1.0 / 75.0),
        (
            "10,000 waiting PCs: CPU of push ÷ polling with a connection for each question",
            "as qr-poll-cpu",
        ),
    ),
    Row {
        name: "watch-memory",
        what: "memory per PC that watches a QR login, login included",
        target: Some(5_120.0),
        goal: None,
        unit: Unit::Bytes,
        measurement: "qr-poll",
        figure: "bytes_per_waiting",
        rule: Rule::Pooled,
        sides: None,
        method: "growth of resident memory of a fresh gateway from before the first of 10,000 PCs until all wait; what a \
                 first connection needs once is in it",
    },
    rival(
        "ws-paced",
        (
            "against ws (Node.js), 1,000 in one room, paced: CPU per delivery ÷ its",
            "25 messages a second",
        ),
    ),
    rival(
        "ws-burst",
        (
            "against ws (Node.js), burst: CPU per delivery ÷ its",
            "32 messages in flight",
        ),
    ),
    rival(
        "nats-paced",
        (
            "against nats-server over WebSocket, 1,000 in one room, paced: CPU per delivery ÷ its",
            "25 messages a second",
        ),
    ),
    rival(
        "nats-burst",
        (
            "against nats-server over WebSocket, burst: CPU per delivery ÷ its",
            "32 messages in flight",
        ),
    ),
];
