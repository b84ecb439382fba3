//! What was counted, and what it amounts to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::driver::Room;
use super::echo::Echo;
use crate::host::usage::Usage;
use crate::latency::Percentiles;
use crate::metric::{Metric, Metrics, Unit};
use crate::order::{Order, Seen};

/// One member of a room.
pub(super) struct Member {
    pub room: usize,
    pub order: Order,
    /// Messages of this run received, each once.
    pub delivered: u64,
    /// Messages the server said it dropped for this member.
    pub told: u64,
}

impl Member {
    /// A member that joined `room` when its newest offset was `base`.
    pub(super) fn new(room: usize, base: u64) -> Member {
        Member {
            room,
            order: Order::after(base),
            delivered: 0,
            told: 0,
        }
    }
}

/// Running counts.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Tally {
    /// Messages handed to a socket.
    pub sent: u64,
    /// Messages that were due and could not be: socket full or gone.
    pub unsent: u64,
    /// Sends that got any reply.
    pub answered: u64,
    /// Sends acknowledged with an offset, or come back where there are none.
    pub accepted: u64,
    /// Sends answered `shed`.
    pub shed: u64,
    /// Sends answered with an error, by code.
    pub refused: BTreeMap<String, u64>,
    /// Messages received, each once per member.
    pub delivered: u64,
    /// Of these, in the span the processor time was taken over.
    pub counted: u64,
    /// Received again at the same offset.
    pub duplicated: u64,
    /// Received after a later one.
    pub out_of_order: u64,
    /// Times an offset was skipped, filled later or not.
    pub gaps: u64,
    /// Dropped by the server and told so by `gap`.
    pub told: u64,
    /// Too old to say whether late or duplicate.
    pub unclear: u64,
    /// Messages in our rooms that this run did not send.
    pub foreign: u64,
    /// Frames that could not be read.
    pub malformed: u64,
    /// Frames decoded as JSON and compared.
    pub decoded: u64,
    /// Of these, not what was sent.
    pub mismatched: u64,
    /// `--check`: an offset or a message that was told differently to different members.
    pub disagreed: u64,
    /// Bytes of message payloads received.
    #[serde(skip)]
    pub message_bytes: u64,
    /// Other frames, by type.
    pub pushes: BTreeMap<String, u64>,
    /// Connections that ended during the run, by how.
    pub ended: BTreeMap<String, u64>,
}

impl Tally {
    /// Counts what is odd about an arrival. Whether it is one that was not here before.
    pub(super) fn arrived(&mut self, seen: Seen) -> bool {
        match seen {
            Seen::InOrder => {}
            Seen::Ahead(_) => self.gaps += 1,
            Seen::Late => self.out_of_order += 1,
            Seen::Duplicate => self.duplicated += 1,
            Seen::Unclear => self.unclear += 1,
        }
        matches!(seen, Seen::InOrder | Seen::Ahead(_) | Seen::Late)
    }
}

/// The result of a `room` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RoomResult {
    /// Deliveries there should have been: acknowledged messages (where there are no acknowledgements, those
    /// sent) times members of their room.
    pub expected: u64,
    /// Expected, not received and not told.
    pub lost: u64,
    /// Received beyond what was acknowledged, when every send was answered.
    pub unexpected: u64,
    /// Sends without any reply at the end.
    pub unanswered: u64,
    /// Members that received fewer messages than they should have.
    pub members_short: u64,
    /// Fewest and most messages a member received.
    pub per_member: (u64, u64),
    #[serde(flatten)]
    pub tally: Tally,
    /// Deliveries per second over the measured span.
    pub deliveries_per_second: f64,
    /// Mean length of a message on the wire, frame header included, bytes; of a message that shares its frame
    /// with others, as NATS sends them in a burst, as if it were alone.
    pub message_wire_bytes: f64,
    /// From intended send (paced) or send (burst) to the read that brought the message.
    pub latency: Percentiles,
    /// Paced: how late the tester itself sent.
    pub send_lag: Percentiles,
    /// Server processor time per delivery, microseconds.
    pub cpu_us_per_delivery: Option<f64>,
    /// Server processor time per connection while connecting (upgrade, authentication, join), µs.
    pub connect_cpu_us: Option<f64>,
    /// Duration of connecting, seconds.
    pub connect_seconds: f64,
    /// Upgrades and joins that were told to wait, by status or code.
    pub connect_refused: BTreeMap<String, u64>,
    /// The server's resident memory at the end of the measured span, bytes.
    pub rss_bytes: Option<u64>,
    /// The measured span.
    pub usage: Usage,
}

impl RoomResult {
    /// Counts what is missing per member; by `echo` where there are no offsets.
    pub(super) fn settle(&mut self, rooms: &[Room], members: &[Member], echo: Option<&Echo>) {
        self.unanswered = self.tally.sent.saturating_sub(self.tally.answered);
        self.per_member.0 = members.iter().map(|m| m.delivered).min().unwrap_or(0);
        self.per_member.1 = members.iter().map(|m| m.delivered).max().unwrap_or(0);
        for (index, member) in members.iter().enumerate() {
            let Some(room) = rooms.get(member.room) else {
                continue;
            };
            let accounted = member.delivered + member.told;
            // Two ways to count, by offset and by number: a fault in one does not hide in the other.
            let missing = echo
                .map_or_else(
                    || member.order.missing(room.top),
                    |echo| echo.missing(index, member.room),
                )
                .max(room.accepted.saturating_sub(accounted));
            self.expected += room.accepted;
            self.lost += missing;
            self.members_short += u64::from(missing > 0);
            if self.unanswered == 0 {
                self.unexpected += accounted.saturating_sub(room.accepted);
            }
        }
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let t = &self.tally;
        let refused: u64 = t.refused.values().sum();
        let us = |name, value: f64| Metric::new(name, Unit::Micros, value);
        let share = |name, value: f64| Metric::new(name, Unit::Share, value);
        let l = &self.latency;
        Metrics(vec![
            Metric::count("sent", t.sent),
            Metric::count("unsent", t.unsent),
            Metric::count("accepted", t.accepted),
            Metric::count("refused", refused),
            Metric::count(
                "rate_limited",
                t.refused.get("rate_limited").copied().unwrap_or(0),
            ),
            Metric::count("shed", t.shed),
            Metric::count("unanswered", self.unanswered),
            Metric::count("expected", self.expected),
            Metric::count("delivered", t.delivered),
            Metric::count("told", t.told),
            Metric::count("lost", self.lost),
            Metric::count("members_short", self.members_short),
            Metric::count("duplicated", t.duplicated),
            Metric::count("out_of_order", t.out_of_order),
            Metric::count("gaps", t.gaps),
            Metric::count("unclear", t.unclear),
            Metric::count("unexpected", self.unexpected),
            Metric::count("foreign", t.foreign),
            Metric::count("malformed", t.malformed),
            Metric::count("decoded", t.decoded),
            Metric::count("mismatched", t.mismatched),
            Metric::count("disagreed", t.disagreed),
            Metric::count("closed", t.ended.values().sum()),
            Metric::count("connect_refused", self.connect_refused.values().sum()),
            us("p50", l.p50_us),
            us("p75", l.p75_us),
            us("p90", l.p90_us),
            us("p95", l.p95_us),
            us("p99", l.p99_us),
            us("p99_9", l.p99_9_us),
            us("max", l.max_us),
            us("send_lag_p99", self.send_lag.p99_us),
            Metric::new(
                "deliveries_per_second",
                Unit::PerSecond,
                self.deliveries_per_second,
            ),
            Metric::new("message_wire_bytes", Unit::Bytes, self.message_wire_bytes),
            Metric::new("cpu_us_per_delivery", Unit::Micros, self.cpu_us_per_delivery),
            Metric::new("server_cores", Unit::Ratio, self.usage.server_cores()),
            Metric::new("connect_cpu_us", Unit::Micros, self.connect_cpu_us),
            us("connect_time", self.connect_seconds * 1e6),
            Metric::new("rss", Unit::Bytes, self.rss_bytes.map(|b| b as f64)),
            share("tester", self.usage.tester_share),
            share("tester_wait", self.usage.tester_wait),
            Metric::new("server_wait", Unit::Share, self.usage.server_wait),
            share("steal", self.usage.steal),
        ])
    }
}
