//! What a `churn` run amounts to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ChurnPlan;
use super::visitors::VisitorTally;
use crate::error::Result;
use crate::host::usage::Usage;
use crate::k6::Wire;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::files::Trace;
use crate::series::Course;
use crate::story::ledger::{Loss, MessageTally};
use crate::story::split::{Pool, add};
use crate::story::told::CountsTally;
use crate::story::visits::VisitTally;
use crate::workers::WorkerShare;

/// The result of a `churn` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ChurnResult {
    /// Members that stay.
    pub members: u64,
    pub visits: VisitTally,
    /// Visitors whose end the server had not answered when the run ended.
    pub hanging: u64,
    /// Tries told to wait or that failed and were made again, of members and visitors, by what.
    pub connect_refused: BTreeMap<String, u64>,
    /// From the intended arrival to the reply to `join`, of those meant in the measured span.
    pub latency: Percentiles,
    /// How late the tester itself began arrivals.
    pub arrival_lag: Percentiles,
    /// Server processor time per arrival of the measured span, µs: that of messages and counts is in it.
    pub cpu_us_per_arrival: Option<f64>,
    /// The same less what the server used in the calm span.
    pub cpu_us_per_arrival_net: Option<f64>,
    /// Messages to the members that stay.
    pub messages: MessageTally,
    pub loss: Loss,
    /// Messages to visitors, and of these all that were lost, again, late or unclear.
    pub visitor_messages: VisitorTally,
    pub visitor_faults: u64,
    /// Messages before the reply to a join.
    pub early: u64,
    /// Message latency to members that stay: without visitors, and with them.
    pub calm_message: Percentiles,
    pub message: Percentiles,
    /// How late the tester itself sent messages.
    pub send_lag: Percentiles,
    /// Members that stay and whose connection ended, by how.
    pub ended: BTreeMap<String, u64>,
    pub counts: CountsTally,
    /// Members last told another number of viewers than there are connections, and of users.
    pub viewers_wrong: u64,
    pub members_wrong: u64,
    /// Resident memory of the server: members in, before visitors; at the start and at the end of the measured
    /// span; after all visitors are gone.
    pub rss_start_bytes: Option<u64>,
    pub rss_warm_bytes: Option<u64>,
    pub rss_churning_bytes: Option<u64>,
    pub rss_end_bytes: Option<u64>,
    /// Growth from start to end divided by all visits; the allocator's reserve is in it.
    pub leak_bytes: Option<f64>,
    /// Growth over the measured span, in which as many come as go, divided by its arrivals.
    pub leak_steady_bytes: Option<f64>,
    /// The span without visitors, and the measured one.
    pub calm_usage: Usage,
    pub usage: Usage,
    /// All connections, until everything had arrived.
    pub wire: Wire,
    /// The processes that drove the connections in the measured span, when they were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerShare>,
    /// Distributions, and the run second by second.
    #[serde(skip)]
    pub trace: Trace,
}

/// What one process counted, or several whose rooms are different ones.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Books {
    pub hanging: u64,
    pub viewers_wrong: u64,
    pub members_wrong: u64,
    pub loss: Loss,
    pub messages: MessageTally,
    pub counts: CountsTally,
    pub calm: Latency,
    pub churning: Latency,
    pub lag: Latency,
    pub arrival: Latency,
    pub arrival_lag: Latency,
    pub visits: VisitTally,
    pub connect_refused: BTreeMap<String, u64>,
    pub ended: BTreeMap<String, u64>,
    pub visitors: VisitorTally,
    pub early: u64,
}

impl Pool for Books {
    fn pool(&mut self, other: Books) -> Result<()> {
        self.hanging += other.hanging;
        self.viewers_wrong += other.viewers_wrong;
        self.members_wrong += other.members_wrong;
        self.loss.pool(other.loss)?;
        self.messages.pool(other.messages)?;
        self.counts.pool(other.counts)?;
        self.calm.pool(&other.calm)?;
        self.churning.pool(&other.churning)?;
        self.lag.pool(&other.lag)?;
        self.arrival.pool(&other.arrival)?;
        self.arrival_lag.pool(&other.arrival_lag)?;
        self.visits.pool(other.visits)?;
        add(&mut self.connect_refused, other.connect_refused);
        add(&mut self.ended, other.ended);
        self.visitors.pool(other.visitors)?;
        self.early += other.early;
        Ok(())
    }
}

impl ChurnResult {
    pub(super) fn conclude(
        &mut self,
        books: Books,
        plan: &ChurnPlan,
        (wire, mut course): (Wire, Option<Course>),
    ) {
        self.members = plan.members() as u64;
        self.hanging = books.hanging;
        (self.viewers_wrong, self.members_wrong) = (books.viewers_wrong, books.members_wrong);
        (self.loss, self.messages, self.counts) = (books.loss, books.messages, books.counts);
        self.calm_message = books.calm.percentiles();
        self.message = books.churning.percentiles();
        self.send_lag = books.lag.percentiles();
        self.latency = books.arrival.percentiles();
        self.arrival_lag = books.arrival_lag.percentiles();
        self.visits = books.visits;
        (self.connect_refused, self.ended) = (books.connect_refused, books.ended);
        self.visitor_messages = books.visitors;
        self.visitor_faults = self.visitor_messages.faults();
        self.early = books.early;
        let arrivals = self.latency.count;
        self.cpu_us_per_arrival = self.usage.server_us_per(arrivals);
        let calm = self.calm_usage.server_cores().unwrap_or(0.0) * self.usage.seconds * 1e6;
        self.cpu_us_per_arrival_net = self
            .cpu_us_per_arrival
            .map(|us| us - calm / arrivals.max(1) as f64);
        if let Some(course) = &mut course {
            course.settle(self.loss.lost);
        }
        self.wire = wire;
        self.trace = Trace {
            latencies: [
                ("arrival", books.arrival),
                ("message", books.churning),
                ("calm-message", books.calm),
            ]
            .map(|(name, latency)| (name.to_owned(), latency))
            .into(),
            course,
            wire: Some((wire, None)),
        };
        let growth = |from: Option<u64>, to: Option<u64>, n: u64| {
            let bytes = to? as f64 - from? as f64;
            (n > 0).then(|| bytes / n as f64)
        };
        self.leak_bytes = growth(self.rss_start_bytes, self.rss_end_bytes, self.visits.joined);
        self.leak_steady_bytes = growth(self.rss_warm_bytes, self.rss_churning_bytes, arrivals);
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let us = |name: &'static str, value: f64| Metric::span(name, value);
        let share = |name, value: f64| Metric::new(name, Unit::Share, value);
        let bytes = |name, value: Option<f64>| Metric::new(name, Unit::Bytes, value);
        let rss = |name, value: Option<u64>| Metric::new(name, Unit::Bytes, value.map(|b| b as f64));
        let sum = |name, map: &BTreeMap<String, u64>| Metric::count(name, map.values().sum());
        let (l, v, m, w) = (
            &self.latency,
            &self.visits,
            &self.messages,
            &self.visitor_messages,
        );
        let mut all = vec![
            Metric::count("arrivals", v.due),
            Metric::count("arrivals_joined", v.joined),
            sum("arrivals_failed", &v.failed),
            Metric::count("arrivals_no_slot", v.no_slot),
            sum("connect_refused", &self.connect_refused),
            Metric::count("left", v.left),
            Metric::count("dropped", v.dropped),
            sum("visits_ended", &v.ended),
            Metric::count("hanging", self.hanging),
            us("p50", l.p50_us),
            us("p75", l.p75_us),
            us("p90", l.p90_us),
            us("p95", l.p95_us),
            us("p99", l.p99_us),
            us("p99_9", l.p99_9_us),
            us("max", l.max_us),
            us("arrival_lag_p99", self.arrival_lag.p99_us),
            Metric::new("cpu_us_per_arrival", Unit::Micros, self.cpu_us_per_arrival),
            Metric::new(
                "cpu_us_per_arrival_net",
                Unit::Micros,
                self.cpu_us_per_arrival_net,
            ),
            Metric::count("sent", m.sent),
            Metric::count("unsent", m.unsent),
            Metric::count("accepted", m.accepted),
            sum("refused", &m.refused),
            Metric::count("unanswered", self.loss.unanswered),
            Metric::count("expected", self.loss.expected),
            Metric::count("delivered", m.delivered),
            Metric::count("told", m.told),
            Metric::count("lost", self.loss.lost),
            Metric::count("members_short", self.loss.members_short),
            Metric::count("unexpected", self.loss.unexpected),
            Metric::count("duplicated", m.duplicated),
            Metric::count("out_of_order", m.out_of_order),
            Metric::count("gaps", m.gaps),
            Metric::count("disagreed", m.disagreed),
            Metric::count("foreign", m.foreign),
            Metric::count("malformed", m.malformed + w.malformed + self.counts.malformed),
            Metric::count("visitor_delivered", w.delivered),
            Metric::count("visitor_told", w.told),
            Metric::count("visitor_lost", w.lost),
            Metric::count("visitor_duplicated", w.duplicated),
            Metric::count("visitor_out_of_order", w.out_of_order),
            Metric::count("visitor_faults", self.visitor_faults),
            Metric::count("early", self.early),
            us("calm_message_p50", self.calm_message.p50_us),
            us("calm_message_p99", self.calm_message.p99_us),
            us("message_p50", self.message.p50_us),
            us("message_p99", self.message.p99_us),
            us("message_max", self.message.max_us),
            us("send_lag_p99", self.send_lag.p99_us),
            sum("closed", &self.ended),
            Metric::count("version_fell", self.counts.version_fell),
            Metric::count("behind_join", self.counts.behind_join),
            Metric::count("viewers_wrong", self.viewers_wrong),
            Metric::count("members_wrong", self.members_wrong),
            rss("rss_start", self.rss_start_bytes),
            rss("rss_warm", self.rss_warm_bytes),
            rss("rss_churning", self.rss_churning_bytes),
            rss("rss_end", self.rss_end_bytes),
            bytes("leak_bytes", self.leak_bytes),
            bytes("leak_steady_bytes", self.leak_steady_bytes),
            Metric::new("calm_cores", Unit::Ratio, self.calm_usage.server_cores()),
            Metric::new("server_cores", Unit::Ratio, self.usage.server_cores()),
            share("tester", self.usage.tester_share),
            share("tester_wait", self.usage.tester_wait),
            Metric::new("server_wait", Unit::Share, self.usage.server_wait),
            share("steal", self.usage.steal),
        ];
        all.extend(self.wire.metrics());
        Metrics(all)
    }
}
