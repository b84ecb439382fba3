//! What a `qr` run amounts to.

use std::collections::BTreeMap;

use serde::Serialize;

use super::QrPlan;
use super::driver::Driver;
use super::tally::QrTally;
use crate::host::usage::Usage;
use crate::k6::Wire;
use crate::latency::{Latency, Percentiles};
use crate::metric::{Metric, Metrics, Unit};
use crate::output::files::Trace;
use crate::series::Course;

/// The result of a `qr` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct QrResult {
    pub pcs: u64,
    #[serde(flatten)]
    pub tally: QrTally,
    /// Attempts under way when the run ended.
    pub unfinished: u64,
    /// Attempts meant to begin in a second.
    pub intended_per_second: f64,
    /// Completed in the measured span, and in a second of it.
    pub completed_in_window: u64,
    pub per_second: f64,
    /// Tries to connect that were told to wait and made again, by what.
    pub connect_refused: BTreeMap<String, u64>,
    /// From the intended begin to the tokens, of attempts meant in the measured span; so are all below.
    pub latency: Percentiles,
    /// From a command, or a phone's request, to its answer.
    pub open: Percentiles,
    pub scan: Percentiles,
    pub confirm: Percentiles,
    pub redeem: Percentiles,
    /// From the phone's request to the push it causes at the PC; `push` is both.
    pub scanned: Percentiles,
    pub confirmed: Percentiles,
    pub push: Percentiles,
    /// From `ping` to its reply on a WebSocket of the same run.
    pub echo: Percentiles,
    /// The larger of the two pushes' p99 less that of the echo, µs.
    pub push_over_echo_p99_us: Option<f64>,
    /// How late the tester itself began attempts.
    pub lag: Percentiles,
    /// Server processor time of the measured span per attempt completed in it, µs; the echoes are in it.
    pub cpu_us_per_attempt: Option<f64>,
    /// Attempts one core of the server would do in a second at that cost.
    pub attempts_per_core: Option<f64>,
    /// Resident memory of the server at the end of the measured span.
    pub rss_bytes: Option<u64>,
    pub usage: Usage,
    /// Requests of phones, and the answers to them.
    pub requests: u64,
    pub answers: u64,
    /// All connections, those of phones included.
    pub wire: Wire,
    /// Distributions, and the run second by second.
    #[serde(skip)]
    pub trace: Trace,
}

impl QrResult {
    pub(super) fn conclude(
        &mut self,
        mut driver: Driver<'_>,
        plan: &QrPlan,
        (wire, course): (Wire, Option<Course>),
    ) {
        self.pcs = plan.pcs as u64;
        self.unfinished = driver.unfinished();
        driver.tally.echoes_unanswered = driver.unanswered();
        self.intended_per_second = plan.per_second;
        self.per_second = self.completed_in_window as f64 / self.usage.seconds.max(1e-9);
        self.connect_refused = std::mem::take(&mut driver.sockets.refused);
        let spans = driver.spans;
        self.latency = spans.whole.percentiles();
        self.open = spans.open.percentiles();
        self.scan = spans.scan.percentiles();
        self.confirm = spans.confirm.percentiles();
        self.redeem = spans.redeem.percentiles();
        self.scanned = spans.scanned.percentiles();
        self.confirmed = spans.confirmed.percentiles();
        self.echo = spans.echo.percentiles();
        self.lag = spans.lag.percentiles();
        let pushes = both(&spans.scanned, &spans.confirmed);
        self.push = pushes.percentiles();
        let enough = self.scanned.count > 0 && self.confirmed.count > 0 && self.echo.count > 0;
        let slower = self.scanned.p99_us.max(self.confirmed.p99_us);
        self.push_over_echo_p99_us = enough.then_some(slower - self.echo.p99_us);
        self.cpu_us_per_attempt = self.usage.server_us_per(self.completed_in_window);
        self.attempts_per_core = self.cpu_us_per_attempt.map(|us| 1e6 / us.max(1e-9));
        self.tally = driver.tally;
        self.wire = wire;
        self.trace = Trace {
            latencies: [
                ("attempt", spans.whole),
                ("push", pushes),
                ("scanned", spans.scanned),
                ("confirmed", spans.confirmed),
                ("redeem", spans.redeem),
                ("echo", spans.echo),
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
        let rate = |name, value: f64| Metric::new(name, Unit::PerSecond, value);
        let sum = |name, map: &BTreeMap<String, u64>| Metric::count(name, map.values().sum());
        let (l, t) = (&self.latency, &self.tally);
        let mut all = vec![
            Metric::count("attempts", t.due),
            Metric::count("completed", t.completed),
            sum("failed", &t.failed),
            Metric::count("no_slot", t.no_slot),
            Metric::count("unfinished", self.unfinished),
            rate("attempts_intended", self.intended_per_second),
            rate("attempts_per_second", self.per_second),
            us("p50", l.p50_us),
            us("p75", l.p75_us),
            us("p90", l.p90_us),
            us("p95", l.p95_us),
            us("p99", l.p99_us),
            us("p99_9", l.p99_9_us),
            us("max", l.max_us),
            us("attempt_lag_p99", self.lag.p99_us),
            us("open_p50", self.open.p50_us),
            us("open_p99", self.open.p99_us),
            us("scan_p50", self.scan.p50_us),
            us("scan_p99", self.scan.p99_us),
            us("scanned_p50", self.scanned.p50_us),
            us("scanned_p99", self.scanned.p99_us),
            us("confirm_p50", self.confirm.p50_us),
            us("confirm_p99", self.confirm.p99_us),
            us("confirmed_p50", self.confirmed.p50_us),
            us("confirmed_p99", self.confirmed.p99_us),
            us("redeem_p50", self.redeem.p50_us),
            us("redeem_p99", self.redeem.p99_us),
            us("push_p50", self.push.p50_us),
            us("push_p99", self.push.p99_us),
            us("push_max", self.push.max_us),
            us("echo_p50", self.echo.p50_us),
            us("echo_p99", self.echo.p99_us),
            us("echo_max", self.echo.max_us),
            Metric::new("push_over_echo_p99", Unit::Micros, self.push_over_echo_p99_us),
            Metric::new("cpu_us_per_attempt", Unit::Micros, self.cpu_us_per_attempt),
            Metric::new("attempts_per_core", Unit::PerSecond, self.attempts_per_core),
            Metric::count("stray", t.stray),
            Metric::count("out_of_order", t.out_of_order),
            Metric::count("malformed", t.malformed),
            Metric::count("wrong_user", t.wrong_user),
            Metric::count("echoes", t.echoes),
            Metric::count("echoes_refused", t.echoes_refused),
            Metric::count("echoes_unanswered", t.echoes_unanswered),
            sum("closed", &t.ended),
            sum("connect_refused", &self.connect_refused),
            Metric::count("requests", self.requests),
            Metric::count("answers", self.answers),
            Metric::new("rss", Unit::Bytes, self.rss_bytes.map(|b| b as f64)),
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

/// Both histograms in one.
fn both(a: &Latency, b: &Latency) -> Latency {
    let mut pooled = a.clone();
    // Histograms of one shape can always be added.
    let _ = pooled.pool(b);
    pooled
}
