//! What was counted, and what it amounts to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::RoomPlan;
use super::account::{AccountResult, Accounts, account_metrics};
use super::stall::StalledResult;
use crate::host::usage::Usage;
use crate::k6::Wire;
use crate::latency::Percentiles;
use crate::metric::{Metric, Metrics, Unit};
use crate::order::Seen;
use crate::workers::WorkerShare;

/// Running counts.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
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
    pub message_bytes: u64,
    /// Other frames, by type.
    pub pushes: BTreeMap<String, u64>,
    /// Connections that ended during the run, by how; without those that stopped reading.
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

    /// Adds the counts of another process of the same run.
    pub(super) fn add(&mut self, other: &Tally) {
        let sums = |ours: &mut BTreeMap<String, u64>, theirs: &BTreeMap<String, u64>| {
            for (name, n) in theirs {
                *ours.entry(name.clone()).or_default() += n;
            }
        };
        sums(&mut self.refused, &other.refused);
        sums(&mut self.pushes, &other.pushes);
        sums(&mut self.ended, &other.ended);
        for (ours, theirs) in [
            (&mut self.sent, other.sent),
            (&mut self.unsent, other.unsent),
            (&mut self.answered, other.answered),
            (&mut self.accepted, other.accepted),
            (&mut self.shed, other.shed),
            (&mut self.delivered, other.delivered),
            (&mut self.counted, other.counted),
            (&mut self.duplicated, other.duplicated),
            (&mut self.out_of_order, other.out_of_order),
            (&mut self.gaps, other.gaps),
            (&mut self.told, other.told),
            (&mut self.unclear, other.unclear),
            (&mut self.foreign, other.foreign),
            (&mut self.malformed, other.malformed),
            (&mut self.decoded, other.decoded),
            (&mut self.mismatched, other.mismatched),
            (&mut self.disagreed, other.disagreed),
            (&mut self.message_bytes, other.message_bytes),
        ] {
            *ours += theirs;
        }
    }
}

/// One big room and the small ones beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Groups {
    pub big: AccountResult,
    pub small: AccountResult,
}

impl Groups {
    pub(super) fn of(accounts: &Accounts) -> Option<Groups> {
        let [big, small] = &accounts.groups[..] else {
            return None;
        };
        Some(Groups {
            big: big.result(),
            small: small.result(),
        })
    }
}

/// Messages by priority.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Priorities {
    pub low: AccountResult,
    pub normal: AccountResult,
    pub high: AccountResult,
}

impl Priorities {
    pub(super) fn of(accounts: &Accounts) -> Option<Priorities> {
        // In the order of their codes.
        let [normal, low, high] = &accounts.classes[..] else {
            return None;
        };
        Some(Priorities {
            low: low.result(),
            normal: normal.result(),
            high: high.result(),
        })
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
    /// Missed by members that stopped reading and were told so by the end of their connection.
    pub cut_off: u64,
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
    /// Connecting: of that are `connect_cpu_us` and `connect_seconds`.
    pub ramp: Usage,
    /// The measured span.
    pub usage: Usage,
    /// All connections, until everything had arrived.
    pub wire: Wire,
    /// With a big room beside small ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Groups>,
    /// With messages of several priorities.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priorities: Option<Priorities>,
    /// With members that stop reading.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<StalledResult>,
    /// The processes that drove the connections, when they were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerShare>,
}

impl RoomResult {
    /// An empty result of a plan: it has all the metrics that the plan's result will have.
    pub fn of(plan: &RoomPlan) -> RoomResult {
        RoomResult {
            groups: plan.variant.big.map(|_| Groups::default()),
            priorities: plan.variant.mix.map(|_| Priorities::default()),
            stalled: (plan.variant.stalled > 0).then(StalledResult::default),
            ..RoomResult::default()
        }
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.whole();
        if let Some(groups) = &self.groups {
            metrics.extend(account_metrics!("big_", &groups.big));
            metrics.extend(account_metrics!("small_", &groups.small));
        }
        if let Some(priorities) = &self.priorities {
            metrics.extend(account_metrics!("low_", &priorities.low));
            metrics.extend(account_metrics!("normal_", &priorities.normal));
            metrics.extend(account_metrics!("high_", &priorities.high));
        }
        if let Some(stalled) = &self.stalled {
            metrics.extend(stalled.metrics());
        }
        metrics.extend(self.wire.metrics());
        Metrics(metrics)
    }

    /// Frames that were decoded: as they were sent, and not. As k6's `checks`.
    pub fn checks(&self) -> Option<(u64, u64)> {
        let t = &self.tally;
        (t.decoded > 0).then(|| (t.decoded.saturating_sub(t.mismatched), t.mismatched))
    }

    /// The metrics of the whole run.
    fn whole(&self) -> Vec<Metric> {
        let t = &self.tally;
        let refused: u64 = t.refused.values().sum();
        let us = |name: &'static str, value: f64| Metric::span(name, value);
        let share = |name, value: f64| Metric::new(name, Unit::Share, value);
        let l = &self.latency;
        vec![
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
            Metric::count("cut_off", self.cut_off),
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
        ]
    }
}
