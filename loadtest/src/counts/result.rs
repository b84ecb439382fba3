//! What a `counts` run amounts to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CountsPlan;
use super::driver::LikeTally;
use super::views::Spans;
use crate::error::Result;
use crate::host::usage::Usage;
use crate::k6::Wire;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::files::Trace;
use crate::series::Course;
use crate::story::split::{Pool, add};
use crate::story::told::CountsTally;
use crate::story::visits::VisitTally;
use crate::workers::WorkerShare;

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
    pub tally: LikeTally,
    pub unanswered: u64,
    pub stale: u64,
    pub viewers_wrong: u64,
    pub members_wrong: u64,
    pub acknowledged: u64,
    /// Acknowledged and in no value; in a value beyond what was acknowledged, whether all likes were answered or not.
    pub lost: u64,
    pub unexpected: u64,
    pub spans: Spans,
    pub unnoted: u64,
    pub answer: Latency,
    pub lag: Latency,
    pub pushes_max: u64,
    pub counts: CountsTally,
    pub connect_refused: BTreeMap<String, u64>,
    pub visits: Option<VisitTally>,
}

impl Pool for Books {
    fn pool(&mut self, other: Books) -> Result<()> {
        let (ours, theirs) = (&mut self.tally, other.tally);
        ours.sent += theirs.sent;
        ours.unsent += theirs.unsent;
        ours.accepted += theirs.accepted;
        add(&mut ours.refused, theirs.refused);
        ours.malformed += theirs.malformed;
        add(&mut ours.ended, theirs.ended);
        ours.counted += theirs.counted;
        self.unanswered += other.unanswered;
        self.stale += other.stale;
        self.viewers_wrong += other.viewers_wrong;
        self.members_wrong += other.members_wrong;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.unexpected += other.unexpected;
        self.spans.from_intended.pool(&other.spans.from_intended)?;
        self.spans.from_answer.pool(&other.spans.from_answer)?;
        self.spans.unseen += other.spans.unseen;
        self.unnoted += other.unnoted;
        self.answer.pool(&other.answer)?;
        self.lag.pool(&other.lag)?;
        self.pushes_max = self.pushes_max.max(other.pushes_max);
        self.counts.pool(other.counts)?;
        add(&mut self.connect_refused, other.connect_refused);
        if let (Some(ours), Some(theirs)) = (&mut self.visits, other.visits) {
            ours.pool(theirs)?;
        }
        Ok(())
    }
}

impl CountsResult {
    pub(super) fn conclude(
        &mut self,
        books: Books,
        plan: &CountsPlan,
        (wire, mut course): (Wire, Option<Course>),
    ) {
        self.members = plan.members() as u64;
        self.unanswered = books.unanswered;
        self.stale_at_end = books.stale;
        (self.viewers_wrong, self.members_wrong) = (books.viewers_wrong, books.members_wrong);
        self.acknowledged = books.acknowledged;
        self.likes_lost = books.lost;
        if self.unanswered == 0 {
            self.likes_unexpected = books.unexpected;
        }
        let spans = books.spans;
        self.latency = spans.from_intended.percentiles();
        self.after_answer = spans.from_answer.percentiles();
        self.unseen = spans.unseen;
        self.unnoted = books.unnoted;
        self.answer = books.answer.percentiles();
        self.send_lag = books.lag.percentiles();
        self.pushes_max = books.pushes_max;
        let (counts, tally) = (books.counts, books.tally);
        let per_second = tally.counted as f64 / self.usage.seconds.max(1e-9);
        self.pushes_per_member = per_second / plan.members().max(1) as f64;
        self.counts_wire_bytes = counts.bytes as f64 / counts.pushes.max(1) as f64;
        self.cpu_us_per_push = self.usage.server_us_per(tally.counted);
        self.counts = counts;
        (self.likes, self.unsent, self.accepted) = (tally.sent, tally.unsent, tally.accepted);
        (self.refused, self.ended, self.malformed) = (tally.refused, tally.ended, tally.malformed);
        self.connect_refused = books.connect_refused;
        self.visits = books.visits;
        if let Some(course) = &mut course {
            course.settle(self.likes_lost);
        }
        self.wire = wire;
        self.trace = Trace {
            latencies: [
                ("push", spans.from_intended),
                ("after-answer", spans.from_answer),
                ("answer", books.answer),
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
