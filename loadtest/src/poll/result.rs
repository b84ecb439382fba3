//! What pairs of waiting by push and by polling amount to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::driver::Counts;
use super::{Mode, PollPlan};
use crate::error::Result;
use crate::host::usage::{STEAL_SHARE, Usage};
use crate::interval::Interval;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::files::Trace;

/// One side of a pair.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Side {
    pub mode: Option<Mode>,
    /// The measured span.
    pub usage: Usage,
    /// Requests of HTTP in it, of phones too, and bytes on all sockets: TCP's own not.
    pub requests: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    /// Questions in it, and those not asked as the one before was unanswered.
    pub polls: u64,
    pub polls_skipped: u64,
    /// Growth of the server's resident memory from before the first PC until all wait.
    pub rss_growth: Option<f64>,
    /// Logins under way at the end.
    pub unlearned: u64,
    /// Tries to connect that were told to wait and made again, by what.
    pub connect_refused: BTreeMap<String, u64>,
    /// The whole side.
    pub counts: Counts,
    /// From the phone's request until the PC knows.
    pub lateness: Percentiles,
}

impl Side {
    fn bytes(&self) -> f64 {
        (self.bytes_sent + self.bytes_received) as f64
    }

    fn void(&self) -> Option<&'static str> {
        if self.usage.steal > STEAL_SHARE {
            Some("steal above 5 %")
        } else if self.usage.saturated {
            Some("tester above 90 % of its core")
        } else {
            None
        }
    }
}

/// Both sides, next to each other in time.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    pub push: Side,
    pub poll: Side,
    /// Push divided by polling; `None` without a pid.
    pub cpu_ratio: Option<f64>,
    pub bytes_ratio: f64,
    /// Of the medians; `None` when nothing was learned on one side.
    pub lateness_ratio: Option<f64>,
    /// Why the pair does not count.
    pub void: Option<&'static str>,
}

/// The result of a `poll` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PollResult {
    pub pcs: u64,
    pub pairs: Vec<Pair>,
    /// Push divided by polling, over the valid pairs.
    pub cpu_ratio: Option<Interval>,
    pub bytes_ratio: Option<Interval>,
    pub lateness_ratio: Option<Interval>,
    /// Pooled over the valid pairs.
    pub push_lateness: Percentiles,
    pub poll_lateness: Percentiles,
    /// Questions meant in a second, all PCs together.
    pub polls_intended: f64,
    /// Growth of memory for each PC of the first push side, if it was the first of all: on a fresh gateway.
    pub bytes_per_waiting: Option<f64>,
    #[serde(skip)]
    pools: Option<(Latency, Latency)>,
    #[serde(skip)]
    pub trace: Trace,
}

impl PollResult {
    pub(super) fn new(plan: &PollPlan) -> Result<PollResult> {
        Ok(PollResult {
            pcs: plan.pcs as u64,
            polls_intended: plan.pcs as f64 / crate::clock::seconds(plan.interval).max(1e-9),
            pools: Some((Latency::new()?, Latency::new()?)),
            ..PollResult::default()
        })
    }

    /// Another pair with the lateness of both sides.
    pub(super) fn add(
        &mut self,
        push: Side,
        poll: Side,
        (push_late, poll_late): (&Latency, &Latency),
    ) -> Result<()> {
        let cpu = push.usage.server_cpu().zip(poll.usage.server_cpu());
        let (a, b) = (push.lateness.p50_us, poll.lateness.p50_us);
        let void = push.void().or(poll.void());
        if self.pairs.is_empty() {
            self.bytes_per_waiting = push.rss_growth.map(|b| b / self.pcs.max(1) as f64);
        }
        if let (Some(pools), None) = (&mut self.pools, void) {
            pools.0.pool(push_late)?;
            pools.1.pool(poll_late)?;
        }
        self.pairs.push(Pair {
            cpu_ratio: cpu.map(|(push, poll)| push / poll.max(1e-9)),
            bytes_ratio: push.bytes() / poll.bytes().max(1.0),
            lateness_ratio: (a > 0.0 && b > 0.0).then(|| a / b),
            void,
            push,
            poll,
        });
        Ok(())
    }

    /// Pairs that count.
    pub(super) fn valid(&self) -> usize {
        self.pairs.iter().filter(|p| p.void.is_none()).count()
    }

    pub(super) fn conclude(&mut self) {
        let valid: Vec<&Pair> = self.pairs.iter().filter(|p| p.void.is_none()).collect();
        let over = |figure: fn(&Pair) -> Option<f64>| {
            let figures: Vec<f64> = valid.iter().filter_map(|p| figure(p)).collect();
            Interval::of(&figures)
        };
        let (cpu, bytes, late) = (
            over(|p| p.cpu_ratio),
            over(|p| Some(p.bytes_ratio)),
            over(|p| p.lateness_ratio),
        );
        (self.cpu_ratio, self.bytes_ratio, self.lateness_ratio) = (cpu, bytes, late);
        if let Some((push, poll)) = self.pools.take() {
            (self.push_lateness, self.poll_lateness) = (push.percentiles(), poll.percentiles());
            self.trace.latencies = vec![("push".to_owned(), push), ("poll".to_owned(), poll)];
        }
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let valid = self.valid();
        let mut all = vec![
            Metric::count("pairs", valid as u64),
            Metric::count("pairs_void", (self.pairs.len() - valid) as u64),
        ];
        ratio(
            &mut all,
            [
                "cpu_ratio",
                "cpu_ratio_low",
                "cpu_ratio_high",
                "cpu_ratio_half_width",
            ],
            self.cpu_ratio,
        );
        ratio(
            &mut all,
            [
                "bytes_ratio",
                "bytes_ratio_low",
                "bytes_ratio_high",
                "bytes_ratio_half_width",
            ],
            self.bytes_ratio,
        );
        ratio(
            &mut all,
            [
                "lateness_ratio",
                "lateness_ratio_low",
                "lateness_ratio_high",
                "lateness_ratio_half_width",
            ],
            self.lateness_ratio,
        );
        all.extend(self.sides());
        all.push(Metric::new(
            "bytes_per_waiting",
            Unit::Bytes,
            self.bytes_per_waiting,
        ));
        let worst = |figure: fn(&Usage) -> f64| {
            let sides = self.pairs.iter().flat_map(|p| [&p.push.usage, &p.poll.usage]);
            sides.map(figure).fold(0.0, f64::max)
        };
        all.push(Metric::new("tester", Unit::Share, worst(|u| u.tester_share)));
        all.push(Metric::new("tester_wait", Unit::Share, worst(|u| u.tester_wait)));
        all.push(Metric::new("steal", Unit::Share, worst(|u| u.steal)));
        Metrics(all)
    }

    /// Each side's own figures: medians over the valid pairs, and counts over all pairs.
    fn sides(&self) -> Vec<Metric> {
        let median = |figure: &dyn Fn(&Pair) -> Option<f64>| {
            let valid = self.pairs.iter().filter(|p| p.void.is_none());
            Interval::of(&valid.filter_map(figure).collect::<Vec<_>>()).map(|i| i.median)
        };
        let sum = |figure: &dyn Fn(&Side) -> u64| -> u64 {
            self.pairs.iter().map(|p| figure(&p.push) + figure(&p.poll)).sum()
        };
        let pcs = self.pcs.max(1) as f64;
        let span = |side: &Side| side.usage.seconds.max(1e-9);
        let per_pc = |side: &Side| Some(side.bytes() / span(side) / pcs);
        let (push, poll) = (&self.push_lateness, &self.poll_lateness);
        let cores = |name, figure: Option<f64>| Metric::new(name, Unit::Ratio, figure);
        let bytes = |name, figure: Option<f64>| Metric::new(name, Unit::Bytes, figure);
        let rate = |name, figure: Option<f64>| Metric::new(name, Unit::PerSecond, figure);
        let us = |name: &'static str, value: f64| Metric::span(name, value);
        vec![
            cores("push_cores", median(&|p| p.push.usage.server_cores())),
            cores("poll_cores", median(&|p| p.poll.usage.server_cores())),
            bytes("push_bytes_per_pc_second", median(&|p| per_pc(&p.push))),
            bytes("poll_bytes_per_pc_second", median(&|p| per_pc(&p.poll))),
            rate(
                "push_requests",
                median(&|p| Some(p.push.requests as f64 / span(&p.push))),
            ),
            rate(
                "poll_requests",
                median(&|p| Some(p.poll.requests as f64 / span(&p.poll))),
            ),
            rate("polls_intended", Some(self.polls_intended)),
            rate(
                "polls_per_second",
                median(&|p| Some(p.poll.polls as f64 / span(&p.poll))),
            ),
            Metric::count("polls_skipped", sum(&|s| s.polls_skipped)),
            us("push_lateness_p50", push.p50_us),
            us("push_lateness_p99", push.p99_us),
            us("push_lateness_max", push.max_us),
            us("poll_lateness_p50", poll.p50_us),
            us("poll_lateness_p99", poll.p99_us),
            us("poll_lateness_max", poll.max_us),
            Metric::count("logins", sum(&|s| s.counts.logins)),
            Metric::count("learned", sum(&|s| s.counts.learned)),
            Metric::count("unlearned", sum(&|s| s.unlearned)),
            Metric::count("failed", sum(&|s| s.counts.failed.values().sum())),
            Metric::count("closed", sum(&|s| s.counts.ended.values().sum())),
            Metric::count("malformed", sum(&|s| s.counts.malformed)),
            Metric::count("connect_refused", sum(&|s| s.connect_refused.values().sum())),
            Metric::count("heartbeats", sum(&|s| s.counts.pings)),
            Metric::count("rotations", sum(&|s| s.counts.rotations)),
        ]
    }

    /// What a reader must know, and each pair in a line.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        for (i, p) in self.pairs.iter().enumerate() {
            let cores = |side: &Side| side.usage.server_cores().unwrap_or(0.0);
            notes.push(format!(
                "  pair {:>2}: cores {:.4} and {:.4}, {:.1} and {:.1} MB, lateness {:.2} and {:.2} ms{}",
                i + 1,
                cores(&p.push),
                cores(&p.poll),
                p.push.bytes() / 1e6,
                p.poll.bytes() / 1e6,
                p.push.lateness.p50_us / 1e3,
                p.poll.lateness.p50_us / 1e3,
                p.void.map(|why| format!(" — void: {why}")).unwrap_or_default()
            ));
            notes.extend(p.push.usage.warnings());
            notes.extend(p.poll.usage.warnings());
        }
        let skipped: u64 = self.pairs.iter().map(|p| p.poll.polls_skipped).sum();
        if skipped > 0 {
            notes.push(format!(
                "BEHIND: {skipped} questions were not asked as the ones before were unanswered; what polling costs is more \
                 than measured"
            ));
        }
        notes
    }
}

/// A ratio with where it lies.
fn ratio(all: &mut Vec<Metric>, names: [&'static str; 4], interval: Option<Interval>) {
    let [median, low, high, half] = names;
    all.push(Metric::new(median, Unit::Ratio, interval.map(|i| i.median)));
    all.push(Metric::new(low, Unit::Ratio, interval.map(|i| i.low)));
    all.push(Metric::new(high, Unit::Ratio, interval.map(|i| i.high)));
    all.push(Metric::new(half, Unit::Share, interval.map(|i| i.half_width)));
}
