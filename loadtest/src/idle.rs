//! The `idle` scenario: what a connection that does nothing costs in memory and processor time.

mod account;
mod activity;
mod crowd;
mod messages;
mod receive;
pub mod split;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::crowd::{Count, Crowd};
pub use self::messages::Messages;
use crate::clock::Nanos;
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::k6::{Sockets, Wire};
use crate::metric::{Metric, Metrics, Unit};
use crate::room::{Share, Stage};
use crate::series::{Course, Series};
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
    /// Messages that bring nothing new for this long are waited for no longer; what is missing then is lost.
    pub drain: Nanos,
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
    #[serde(flatten)]
    pub messages: Messages,
    /// Upgrades and joins told to wait.
    pub connect_refused: BTreeMap<String, u64>,
    /// All connections, until the last quiet span was over.
    pub wire: Wire,
    /// The run second by second.
    #[serde(skip)]
    pub course: Option<Course>,
    /// The processes that drove the connections in the last quiet span, when they were several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub workers: Vec<WorkerShare>,
}

/// Connects in stops, lets each become active if asked, waits, and reads memory.
pub fn run(plan: &IdlePlan, stage: &Stage<'_>) -> Result<IdleResult> {
    let mut crowd = Crowd::new(plan, stage, Share::WHOLE)?;
    crowd.record(Some(Series::new(stage.server)?));
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
            self.messages.add(&count.messages);
            for (what, n) in count.connect_refused {
                *self.connect_refused.entry(what).or_default() += n;
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

    /// What a reader must know before believing the figures, span by span.
    pub fn warnings(&self) -> Vec<String> {
        let stops = self.stops.iter().map(|stop| {
            let n = stop.connections;
            let (ramp, quiet) = (
                format!("the ramp to {n} connections"),
                format!("the quiet span at {n}"),
            );
            (stop, ramp, quiet)
        });
        let then = self.then.iter().map(|stop| {
            let (ramp, quiet) = ("the second messages", "the quiet span after them");
            (stop, ramp.to_owned(), quiet.to_owned())
        });
        let of = |(stop, ramp, quiet): (&Stop, String, String)| {
            let quiet = stop.quiet.warnings_of(&quiet);
            stop.ramp.warnings_of(&ramp).into_iter().chain(quiet)
        };
        stops.chain(then).flat_map(of).collect()
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
            Metric::count("connect_refused", self.connect_refused.values().sum()),
            Metric::new("tester", Unit::Share, last.quiet.tester_share),
            Metric::new("steal", Unit::Share, last.quiet.steal),
        ];
        all.extend(self.messages.metrics());
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
            drain: 0,
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

    #[test]
    fn each_span_is_marked_for_itself() {
        let saturated = Usage {
            seconds: 1.0,
            saturated: true,
            ..Usage::default()
        };
        let disturbed = Usage {
            seconds: 1.0,
            tester_wait: 0.5,
            ..Usage::default()
        };
        let stolen = Usage {
            seconds: 1.0,
            steal: 0.5,
            ..Usage::default()
        };
        let clean = IdleResult {
            stops: vec![stop(100, 1), stop(300, 2)],
            then: Some(stop(300, 3)),
            ..IdleResult::default()
        };
        assert!(clean.warnings().is_empty());
        let mut result = clean;
        (result.stops[0].ramp, result.stops[0].quiet) = (saturated, stolen);
        result.stops[1].quiet = disturbed;
        let then = result.then.as_mut().unwrap();
        (then.ramp, then.quiet) = (disturbed, saturated);
        let warnings = result.warnings();
        let begin: Vec<&str> = warnings
            .iter()
            .map(|w| w.split(" the ").nth(1).unwrap())
            .collect();
        assert_eq!(
            begin,
            [
                "ramp to 100 connections",
                "quiet span at 100",
                "quiet span at 300",
                "second messages",
                "quiet span after them"
            ],
            "{warnings:?}"
        );
    }
}
