//! What a `storm` run amounts to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::driver::Rejoins;
use crate::clock::MICRO;
use crate::error::Result;
use crate::host::usage::Usage;
use crate::k6::Wire;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::files::Trace;
use crate::series::Course;
use crate::story::arrivals::Waits;
use crate::story::ledger::{Loss, MessageTally};
use crate::story::split::{Pool, add};
use crate::story::told::CountsTally;
use crate::workers::WorkerShare;

/// The result of a `storm` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StormResult {
    /// Connections that were cut, that stayed, and of the former that were current again at the end.
    pub cut: u64,
    pub stayed: u64,
    pub current: u64,
    /// Cut and not current when the time was up.
    pub not_current: u64,
    /// Of these, that gave up, by why.
    pub given_up: BTreeMap<String, u64>,
    /// Joins with `recovered:true` that held all; with `recovered:false`; with `recovered:true` and something
    /// missing; with another epoch.
    pub recovered: u64,
    pub recovered_false: u64,
    pub recovery_short: u64,
    pub epoch_changed: u64,
    /// From the cut to the reply to `join`, of each.
    pub rejoin: Percentiles,
    /// From the cut until a member had, or was told to lack, all that anybody was told.
    pub latency: Percentiles,
    /// From the cut until that held for all, µs; `None` when it never did.
    pub all_current_us: Option<f64>,
    /// Tries told to wait or that failed and were made again, before the cut and in the storm, by what.
    pub connect_refused: BTreeMap<String, u64>,
    pub storm_refused: BTreeMap<String, u64>,
    /// What those who were refused in the storm were told of when to come again.
    pub waits: Waits,
    pub messages: MessageTally,
    pub loss: Loss,
    /// Messages before the reply to a join.
    pub early: u64,
    /// Message latency to those who stay: before the cut, and from the cut until all are current.
    pub before_message: Percentiles,
    pub storm_message: Percentiles,
    /// How late the tester itself sent messages.
    pub send_lag: Percentiles,
    /// Connections that stayed and ended nevertheless, by how.
    pub stayed_ended: BTreeMap<String, u64>,
    /// Connections that came back and were ended again, by how.
    pub ended_again: BTreeMap<String, u64>,
    pub counts: CountsTally,
    /// Members last told another number of viewers than there are connections, and of users.
    pub viewers_wrong: u64,
    pub members_wrong: u64,
    /// Server processor time from the cut until all are current, per connection that came back, µs.
    pub cpu_us_per_return: Option<f64>,
    /// Resident memory of the server: before the cut, the highest seen in the storm, and at the end.
    pub rss_before_bytes: Option<u64>,
    pub rss_peak_bytes: Option<u64>,
    pub rss_end_bytes: Option<u64>,
    /// From the cut until all are current.
    pub usage: Usage,
    /// All connections, until everything had arrived.
    pub wire: Wire,
    /// The processes that drove the connections from the cut until all were current, when they were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerShare>,
    /// Distributions, and the run second by second.
    #[serde(skip)]
    pub trace: Trace,
}

/// What one process counted, or several whose rooms are different ones.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Books {
    pub cut: u64,
    pub stayed: u64,
    pub current: u64,
    pub viewers_wrong: u64,
    pub members_wrong: u64,
    pub loss: Loss,
    pub storm_refused: BTreeMap<String, u64>,
    pub waits: Waits,
    pub all_current_us: Option<f64>,
    pub rejoins: Rejoins,
    pub rejoin: Latency,
    pub to_current: Latency,
    pub before: Latency,
    pub during: Latency,
    pub lag: Latency,
    pub messages: MessageTally,
    pub counts: CountsTally,
    pub early: u64,
    pub connect_refused: BTreeMap<String, u64>,
    pub given_up: BTreeMap<String, u64>,
    pub stayed_ended: BTreeMap<String, u64>,
    pub ended_again: BTreeMap<String, u64>,
}

impl Pool for Books {
    fn pool(&mut self, other: Books) -> Result<()> {
        self.cut += other.cut;
        self.stayed += other.stayed;
        self.current += other.current;
        self.viewers_wrong += other.viewers_wrong;
        self.members_wrong += other.members_wrong;
        self.loss.pool(other.loss)?;
        add(&mut self.storm_refused, other.storm_refused);
        self.waits.pool(other.waits)?;
        // All are current when the last of all processes are.
        let both = self.all_current_us.zip(other.all_current_us);
        self.all_current_us = both.map(|(ours, theirs)| ours.max(theirs));
        self.rejoins.recovered += other.rejoins.recovered;
        self.rejoins.broken += other.rejoins.broken;
        self.rejoins.short += other.rejoins.short;
        self.rejoins.other_epoch += other.rejoins.other_epoch;
        self.rejoin.pool(&other.rejoin)?;
        self.to_current.pool(&other.to_current)?;
        self.before.pool(&other.before)?;
        self.during.pool(&other.during)?;
        self.lag.pool(&other.lag)?;
        self.messages.pool(other.messages)?;
        self.counts.pool(other.counts)?;
        self.early += other.early;
        add(&mut self.connect_refused, other.connect_refused);
        add(&mut self.given_up, other.given_up);
        add(&mut self.stayed_ended, other.stayed_ended);
        add(&mut self.ended_again, other.ended_again);
        Ok(())
    }
}

impl StormResult {
    pub(super) fn conclude(&mut self, books: Books, (wire, mut course): (Wire, Option<Course>)) {
        (self.cut, self.stayed, self.current) = (books.cut, books.stayed, books.current);
        self.not_current = self.cut - self.current;
        (self.viewers_wrong, self.members_wrong) = (books.viewers_wrong, books.members_wrong);
        self.loss = books.loss;
        self.storm_refused = books.storm_refused;
        self.waits = books.waits;
        self.all_current_us = books.all_current_us;
        let rejoins = books.rejoins;
        (self.recovered, self.recovered_false) = (rejoins.recovered, rejoins.broken);
        (self.recovery_short, self.epoch_changed) = (rejoins.short, rejoins.other_epoch);
        self.rejoin = books.rejoin.percentiles();
        self.latency = books.to_current.percentiles();
        self.before_message = books.before.percentiles();
        self.storm_message = books.during.percentiles();
        self.send_lag = books.lag.percentiles();
        self.cpu_us_per_return = self.usage.server_us_per(self.rejoin.count);
        (self.messages, self.counts, self.early) = (books.messages, books.counts, books.early);
        self.connect_refused = books.connect_refused;
        self.given_up = books.given_up;
        (self.stayed_ended, self.ended_again) = (books.stayed_ended, books.ended_again);
        if let Some(course) = &mut course {
            course.settle(self.loss.lost);
        }
        self.wire = wire;
        self.trace = Trace {
            latencies: [
                ("current", books.to_current),
                ("rejoin", books.rejoin),
                ("before-message", books.before),
                ("storm-message", books.during),
            ]
            .map(|(name, latency)| (name.to_owned(), latency))
            .into(),
            course,
            wire: Some((wire, None)),
        };
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let us = |name: &'static str, value: f64| Metric::span(name, value);
        let share = |name, value: f64| Metric::new(name, Unit::Share, value);
        let rss = |name, value: Option<u64>| Metric::new(name, Unit::Bytes, value.map(|b| b as f64));
        let sum = |name, map: &BTreeMap<String, u64>| Metric::count(name, map.values().sum());
        let (l, m) = (&self.latency, &self.messages);
        let mut all = vec![
            Metric::count("cut", self.cut),
            Metric::count("stayed", self.stayed),
            Metric::count("current", self.current),
            Metric::count("not_current", self.not_current),
            sum("given_up", &self.given_up),
            Metric::count("recovered", self.recovered),
            Metric::count("recovered_false", self.recovered_false),
            Metric::count("recovery_short", self.recovery_short),
            Metric::count("epoch_changed", self.epoch_changed),
            Metric::new("all_current", Unit::Micros, self.all_current_us),
            us("p50", l.p50_us),
            us("p75", l.p75_us),
            us("p90", l.p90_us),
            us("p95", l.p95_us),
            us("p99", l.p99_us),
            us("p99_9", l.p99_9_us),
            us("max", l.max_us),
            us("rejoin_p50", self.rejoin.p50_us),
            us("rejoin_p99", self.rejoin.p99_us),
            sum("connect_refused", &self.connect_refused),
            sum("storm_refused", &self.storm_refused),
            Metric::count("storm_waited", self.waits.arrivals),
            Metric::count("storm_told_when", self.waits.told),
            Metric::new(
                "storm_wait_max",
                Unit::Micros,
                self.waits.longest_told as f64 / MICRO as f64,
            ),
            Metric::count("sent", m.sent),
            Metric::count("unsent", m.unsent),
            Metric::count("accepted", m.accepted),
            sum("refused", &m.refused),
            Metric::count("unanswered", self.loss.unanswered),
            Metric::count("expected", self.loss.expected),
            Metric::count("delivered", m.delivered),
            Metric::count("replayed", m.replayed),
            Metric::count("told", m.told),
            Metric::count("lost", self.loss.lost),
            Metric::count("members_short", self.loss.members_short),
            Metric::count("unexpected", self.loss.unexpected),
            Metric::count("duplicated", m.duplicated),
            Metric::count("out_of_order", m.out_of_order),
            Metric::count("gaps", m.gaps),
            Metric::count("unclear", m.unclear),
            Metric::count("disagreed", m.disagreed),
            Metric::count("foreign", m.foreign),
            Metric::count("malformed", m.malformed + self.counts.malformed),
            Metric::count("early", self.early),
            sum("stayed_closed", &self.stayed_ended),
            sum("ended_again", &self.ended_again),
            us("before_message_p50", self.before_message.p50_us),
            us("before_message_p99", self.before_message.p99_us),
            us("storm_message_p50", self.storm_message.p50_us),
            us("storm_message_p99", self.storm_message.p99_us),
            us("storm_message_max", self.storm_message.max_us),
            us("send_lag_p99", self.send_lag.p99_us),
            Metric::count("version_fell", self.counts.version_fell),
            Metric::count("behind_join", self.counts.behind_join),
            Metric::count("viewers_wrong", self.viewers_wrong),
            Metric::count("members_wrong", self.members_wrong),
            Metric::new("cpu_us_per_return", Unit::Micros, self.cpu_us_per_return),
            rss("rss_before", self.rss_before_bytes),
            rss("rss_peak", self.rss_peak_bytes),
            rss("rss_end", self.rss_end_bytes),
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
