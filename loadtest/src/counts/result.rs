//! What a `counts` run amounts to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::CountsPlan;
use super::driver::Driver;
use crate::error::Result;
use crate::host::usage::Usage;
use crate::k6::Wire;
use crate::latency::Percentiles;
use crate::metric::{Metric, Metrics, Unit};
use crate::output::files::Trace;
use crate::series::Course;
use crate::story::told::CountsTally;
use crate::story::visits::VisitTally;

/// The result of a `counts` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct CountsResult {
    pub members: u64,
    /// Likes handed to a socket, due and not sent, acknowledged, without an answer; refused by code.
    pub likes: u64,
    pub unsent: u64,
    pub accepted: u64,
    pub unanswered: u64,
    pub refused: BTreeMap<String, u64>,
    /// Sum of what acknowledged likes added, all rooms.
    pub acknowledged: u64,
    /// Of these, not in the highest value that counts told a member.
    pub likes_lost: u64,
    /// In that value beyond what was acknowledged, when all likes were answered.
    pub likes_unexpected: u64,
    /// Members whose last value is another than the sum of the acknowledged likes.
    pub stale_at_end: u64,
    /// Members last told another number of viewers than there are connections, and of users.
    pub viewers_wrong: u64,
    pub members_wrong: u64,
    /// Likes times members for which no push with their value came.
    pub unseen: u64,
    /// Pushes and likes beyond what the tester notes; their latencies are not in the figures.
    pub unnoted: u64,
    pub counts: CountsTally,
    /// Replies that could not be read.
    pub malformed: u64,
    /// From the intended like to the push that holds it, over all members of its room.
    pub latency: Percentiles,
    /// From its acknowledgement to that push.
    pub after_answer: Percentiles,
    /// From the intended like to its acknowledgement.
    pub answer: Percentiles,
    /// How late the tester itself sent.
    pub send_lag: Percentiles,
    /// Pushes per member and second over the measured span.
    pub pushes_per_member: f64,
    /// The most pushes a member got in the whole run.
    pub pushes_max: u64,
    /// Mean length of a push on the wire, frame header included, bytes.
    pub counts_wire_bytes: f64,
    /// Server processor time per push, µs; that of likes and visitors is in it.
    pub cpu_us_per_push: Option<f64>,
    pub rss_bytes: Option<u64>,
    /// Viewers that came and went.
    pub visits: Option<VisitTally>,
    pub connect_refused: BTreeMap<String, u64>,
    /// Members whose connection ended, by how.
    pub ended: BTreeMap<String, u64>,
    /// The measured span.
    pub usage: Usage,
    /// All connections, until everything had arrived.
    pub wire: Wire,
    /// Distributions, and the run second by second.
    #[serde(skip)]
    pub trace: Trace,
}

impl CountsResult {
    pub(super) fn conclude(
        &mut self,
        driver: Driver<'_>,
        plan: &CountsPlan,
        (wire, mut course): (Wire, Option<Course>),
    ) -> Result<()> {
        self.members = plan.members() as u64;
        self.unanswered = driver.unanswered();
        self.stale_at_end = driver.stale();
        (self.viewers_wrong, self.members_wrong) = driver.wrong();
        for room in &driver.rooms {
            self.acknowledged += room.acknowledged;
            let due = room.base.saturating_add(room.acknowledged);
            self.likes_lost += due.saturating_sub(room.top);
            if self.unanswered == 0 {
                self.likes_unexpected += room.top.saturating_sub(due);
            }
        }
        let spans = driver.views.spans(|member| driver.arrivals.is_inside(member))?;
        self.latency = spans.from_intended.percentiles();
        self.after_answer = spans.from_answer.percentiles();
        self.unseen = spans.unseen;
        self.unnoted = driver.views.unnoted;
        self.answer = driver.answer.percentiles();
        self.send_lag = driver.lag.percentiles();
        self.pushes_max = (0..plan.members())
            .map(|m| driver.told.last(m).pushes)
            .max()
            .unwrap_or(0);
        let counts = driver.told.tally;
        let per_second = driver.tally.counted as f64 / self.usage.seconds.max(1e-9);
        self.pushes_per_member = per_second / plan.members().max(1) as f64;
        self.counts_wire_bytes = counts.bytes as f64 / counts.pushes.max(1) as f64;
        self.cpu_us_per_push = self.usage.server_us_per(driver.tally.counted);
        self.counts = counts;
        let tally = driver.tally;
        (self.likes, self.unsent, self.accepted) = (tally.sent, tally.unsent, tally.accepted);
        (self.refused, self.ended, self.malformed) = (tally.refused, tally.ended, tally.malformed);
        self.connect_refused = driver.arrivals.refused().clone();
        self.visits = driver.visits.map(|v| v.tally);
        if let Some(course) = &mut course {
            course.settle(self.likes_lost);
        }
        self.wire = wire;
        self.trace = Trace {
            latencies: [
                ("push", spans.from_intended),
                ("after-answer", spans.from_answer),
                ("answer", driver.answer),
            ]
            .map(|(name, latency)| (name.to_owned(), latency))
            .into(),
            course,
            wire: Some((wire, None)),
        };
        Ok(())
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let us = |name: &'static str, value: f64| Metric::span(name, value);
        let share = |name, value: f64| Metric::new(name, Unit::Share, value);
        let sum = |name, map: &BTreeMap<String, u64>| Metric::count(name, map.values().sum());
        let (l, c) = (&self.latency, &self.counts);
        let visits = self.visits.clone().unwrap_or_default();
        let mut all = vec![
            Metric::count("likes", self.likes),
            Metric::count("unsent", self.unsent),
            Metric::count("accepted", self.accepted),
            sum("refused", &self.refused),
            Metric::count("unanswered", self.unanswered),
            Metric::count("acknowledged", self.acknowledged),
            Metric::count("likes_lost", self.likes_lost),
            Metric::count("likes_unexpected", self.likes_unexpected),
            Metric::count("stale_at_end", self.stale_at_end),
            Metric::count("unseen", self.unseen),
            Metric::count("unnoted", self.unnoted),
            Metric::count("fell", c.fell),
            Metric::count("version_fell", c.version_fell),
            Metric::count("behind_join", c.behind_join),
            Metric::count("viewers_wrong", self.viewers_wrong),
            Metric::count("members_wrong", self.members_wrong),
            Metric::count("malformed", self.malformed + c.malformed),
            sum("closed", &self.ended),
            sum("connect_refused", &self.connect_refused),
            Metric::count("visits", visits.joined),
            sum("visits_failed", &visits.failed),
            Metric::count("visits_no_slot", visits.no_slot),
            us("p50", l.p50_us),
            us("p75", l.p75_us),
            us("p90", l.p90_us),
            us("p95", l.p95_us),
            us("p99", l.p99_us),
            us("p99_9", l.p99_9_us),
            us("max", l.max_us),
            us("after_answer_p50", self.after_answer.p50_us),
            us("after_answer_p99", self.after_answer.p99_us),
            us("after_answer_max", self.after_answer.max_us),
            us("answer_p50", self.answer.p50_us),
            us("answer_p99", self.answer.p99_us),
            us("send_lag_p99", self.send_lag.p99_us),
            Metric::count("pushes", c.pushes),
            Metric::new("pushes_per_member", Unit::Ratio, self.pushes_per_member),
            Metric::count("pushes_max", self.pushes_max),
            Metric::new("counts_wire_bytes", Unit::Bytes, self.counts_wire_bytes),
            Metric::new("cpu_us_per_push", Unit::Micros, self.cpu_us_per_push),
            Metric::new("server_cores", Unit::Ratio, self.usage.server_cores()),
            Metric::new("rss", Unit::Bytes, self.rss_bytes.map(|b| b as f64)),
            share("tester", self.usage.tester_share),
            share("tester_wait", self.usage.tester_wait),
            Metric::new("server_wait", Unit::Share, self.usage.server_wait),
            share("steal", self.usage.steal),
        ];
        all.extend(self.wire.metrics());
        Metrics(all)
    }
}
