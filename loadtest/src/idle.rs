//! The `idle` scenario: what a connection that does nothing costs in memory and processor time.

mod activity;
mod crowd;
pub mod split;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::crowd::{Count, Crowd};
use crate::clock::Nanos;
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::k6::{Sockets, Wire};
use crate::metric::{Metric, Metrics, Unit};
use crate::room::{Share, Stage};
use crate::series::Course;
use crate::workers::WorkerShare;

/// What a run does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IdlePlan {
    /// Memory is read at each of these numbers of connections; the last is all.
    pub stops: Vec<usize>,
    /// The slope is taken between these two, which are among the stops.
    pub slope: (usize, usize),
    /// Members of a room.
    pub per_room: usize,
    /// Each connection sends one message, and so receives as many as its room has members.
    pub active: bool,
    /// Length of that message's body, bytes of JSON.
    pub body_bytes: usize,
    /// At the last stop each connection sends a second message of this length, and memory is read again.
    pub then_body_bytes: Option<usize>,
    /// Nothing is sent for this long before a quiet span begins, so that counts and presence are out.
    pub settle: Nanos,
    /// Nothing is sent for this long before memory is read.
    pub quiet: Nanos,
}

/// Figures at one number of connections.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Stop {
    pub connections: usize,
    /// Resident memory of the server after the quiet span, bytes.
    pub rss_bytes: Option<u64>,
    /// The quiet span.
    pub quiet: Usage,
    /// Connecting (and the activity, if any) up to here.
    pub ramp: Usage,
}

/// The result of an `idle` run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IdleResult {
    /// Resident memory of the server before the first connection, bytes.
    pub rss_before_bytes: Option<u64>,
    pub stops: Vec<Stop>,
    /// The last stop once more, after a second message from each connection.
    pub then: Option<Stop>,
    /// Resident memory per connection between the two stops of the slope, bytes.
    pub bytes_per_connection: Option<f64>,
    /// Server processor time per connection while connecting, µs; without activity only.
    pub connect_cpu_us: Option<f64>,
    /// Messages sent, acknowledged, and refused by code.
    pub sent: u64,
    pub accepted: u64,
    pub refused: BTreeMap<String, u64>,
    /// Deliveries there should have been, and were.
    pub expected: u64,
    pub delivered: u64,
    /// Upgrades and joins told to wait.
    pub connect_refused: BTreeMap<String, u64>,
    /// Connections that ended, by how.
    pub ended: BTreeMap<String, u64>,
    /// All connections, until the last quiet span was over.
    pub wire: Wire,
    /// The run second by second, when one process drove it.
    #[serde(skip)]
    pub course: Option<Course>,
    /// The processes that drove the connections in the last quiet span, when they were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerShare>,
}

/// Connects in stops, lets each become active if asked, waits, and reads memory.
pub fn run(plan: &IdlePlan, stage: &Stage<'_>) -> Result<IdleResult> {
    let mut crowd = Crowd::new(plan, stage, Share::WHOLE)?;
    crowd.record()?;
    let mut result = IdleResult {
        rss_before_bytes: stage.server.map(resident_bytes).transpose()?,
        ..IdleResult::default()
    };
    for &upto in &plan.stops {
        let watch = Watch::begin(stage.server)?;
        crowd.reach(upto)?;
        let ramp = watch.end()?;
        result.stops.push(quiet(&mut crowd, stage, upto, ramp)?);
    }
    if let Some(bytes) = plan.then_body_bytes {
        let watch = Watch::begin(stage.server)?;
        crowd.speak(bytes)?;
        let ramp = watch.end()?;
        let total = crowd.reached;
        result.then = Some(quiet(&mut crowd, stage, total, ramp)?);
    }
    let (count, course) = crowd.leave()?;
    result.course = course;
    result.put(vec![count])?;
    result.conclude(plan);
    Ok(result)
}

/// Lets counts go out, waits for the quiet span, and reads memory.
fn quiet(crowd: &mut Crowd<'_>, stage: &Stage<'_>, connections: usize, ramp: Usage) -> Result<Stop> {
    crowd.settle()?;
    let watch = Watch::begin(stage.server)?;
    crowd.quiet()?;
    Ok(Stop {
        connections,
        quiet: watch.end()?,
        rss_bytes: stage.server.map(resident_bytes).transpose()?,
        ramp,
    })
}

impl IdleResult {
    /// Adds up what the processes counted.
    fn put(&mut self, counts: Vec<Count>) -> Result<()> {
        let mut sockets: Option<Sockets> = None;
        for count in counts {
            let m = count.messages;
            self.sent += m.sent;
            self.accepted += m.accepted;
            self.expected += m.expected;
            self.delivered += m.delivered;
            for (ours, theirs) in [
                (&mut self.refused, m.refused),
                (&mut self.connect_refused, count.connect_refused),
                (&mut self.ended, m.ended),
            ] {
                for (name, n) in theirs {
                    *ours.entry(name).or_default() += n;
                }
            }
            match &mut sockets {
                Some(sockets) => sockets.pool(&count.sockets)?,
                None => sockets = Some(count.sockets),
            }
        }
        self.wire = sockets.map(|s| s.wire()).unwrap_or_default();
        Ok(())
    }

    fn conclude(&mut self, plan: &IdlePlan) {
        let at = |n: usize| {
            if n == 0 {
                return self.rss_before_bytes;
            }
            self.stops.iter().find(|s| s.connections == n)?.rss_bytes
        };
        let (from, to) = plan.slope;
        if let (Some(a), Some(b)) = (at(from), at(to))
            && to > from
        {
            self.bytes_per_connection = Some((b as f64 - a as f64) / (to - from) as f64);
        }
        if !plan.active {
            let cpu: Option<f64> = self.stops.iter().map(|s| s.ramp.server_cpu()).sum();
            let total = self.stops.last().map_or(0, |s| s.connections);
            self.connect_cpu_us = cpu.filter(|_| total > 0).map(|s| s * 1e6 / total as f64);
        }
    }

    /// Growth of resident memory per connection by the second message, bytes; it may be negative.
    fn then_bytes(&self) -> Option<f64> {
        let (before, after) = (self.stops.last()?, self.then.as_ref()?);
        let grown = after.rss_bytes? as f64 - before.rss_bytes? as f64;
        (after.connections > 0).then(|| grown / after.connections as f64)
    }

    /// All of it by name.
    pub fn metrics(&self) -> Metrics {
        let then = self.then_bytes();
        let slope = self.bytes_per_connection.filter(|bytes| *bytes > 0.0);
        let last = self.stops.last().cloned().unwrap_or_default();
        let count = |name, map: &BTreeMap<String, u64>| Metric::count(name, map.values().sum());
        let mut all = vec![
            Metric::count("connections", last.connections as u64),
            Metric::new("bytes_per_connection", Unit::Bytes, self.bytes_per_connection),
            Metric::new("then_bytes_per_connection", Unit::Bytes, then),
            Metric::new(
                "then_growth",
                Unit::Share,
                then.zip(slope).map(|(grown, slope)| grown / slope),
            ),
            Metric::new("rss_before", Unit::Bytes, self.rss_before_bytes.map(|b| b as f64)),
            Metric::new("rss", Unit::Bytes, last.rss_bytes.map(|b| b as f64)),
            Metric::new("quiet_cpu", Unit::Share, last.quiet.server_cores()),
            Metric::new("connect_cpu_us", Unit::Micros, self.connect_cpu_us),
            Metric::count("sent", self.sent),
            Metric::count("accepted", self.accepted),
            count("refused", &self.refused),
            Metric::count("expected", self.expected),
            Metric::count("delivered", self.delivered),
            Metric::count("lost", self.expected.saturating_sub(self.delivered)),
            Metric::count("unexpected", self.delivered.saturating_sub(self.expected)),
            count("connect_refused", &self.connect_refused),
            count("closed", &self.ended),
            Metric::new("tester", Unit::Share, last.quiet.tester_share),
            Metric::new("steal", Unit::Share, last.quiet.steal),
        ];
        all.extend(self.wire.metrics());
        Metrics(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(connections: usize, rss_bytes: u64) -> Stop {
        Stop {
            connections,
            rss_bytes: Some(rss_bytes),
            ..Stop::default()
        }
    }

    #[test]
    fn growth_by_a_second_message_is_a_share_of_the_slope() {
        let plan = IdlePlan {
            stops: vec![100, 300],
            slope: (100, 300),
            per_room: 10,
            active: true,
            body_bytes: 1_024,
            then_body_bytes: Some(16_384),
            settle: 0,
            quiet: 0,
        };
        let mut result = IdleResult {
            stops: vec![stop(100, 500_000), stop(300, 1_100_000)],
            then: Some(stop(300, 1_190_000)),
            ..IdleResult::default()
        };
        result.conclude(&plan);
        let value = |result: &IdleResult, name: &str| result.metrics().named(name).unwrap().value;
        // 600,000 bytes for 200 connections; then 90,000 for 300.
        assert_eq!(value(&result, "bytes_per_connection"), Some(3_000.0));
        assert_eq!(value(&result, "then_bytes_per_connection"), Some(300.0));
        assert_eq!(value(&result, "then_growth"), Some(0.1));
        result.then = None;
        assert_eq!(value(&result, "then_growth"), None);
    }
}
