//! A run in the names users of k6 know, with their meaning there. Only what is measured is given.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::clock::{self, Nanos, seconds};
use crate::engine::Io;
use crate::engine::traffic::Traffic;
use crate::error::Result;
use crate::latency::{Latency, Moments, Percentiles};
use crate::metric::{Metric, Unit};

/// A distribution as k6 calls it, milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Trend {
    pub count: u64,
    pub avg: f64,
    pub min: f64,
    pub med: f64,
    pub max: f64,
    #[serde(rename = "p(90)")]
    pub p90: f64,
    #[serde(rename = "p(95)")]
    pub p95: f64,
    #[serde(rename = "p(99)")]
    pub p99: f64,
}

impl Trend {
    /// Of a histogram; zeros when nothing was counted.
    pub fn of(latency: &Latency) -> Trend {
        let (p, m): (Percentiles, Moments) = (latency.percentiles(), latency.moments());
        Trend {
            count: p.count,
            avg: p.mean_us / 1e3,
            min: m.min as f64 / 1e6,
            med: p.p50_us / 1e3,
            max: p.max_us / 1e3,
            p90: p.p90_us / 1e3,
            p95: p.p95_us / 1e3,
            p99: p.p99_us / 1e3,
        }
    }

    /// The same as metrics of the run, `<name>_avg` and so on; not measured when nothing was counted.
    fn metrics(&self, name: &str) -> Vec<Metric> {
        [
            ("avg", self.avg),
            ("med", self.med),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("max", self.max),
        ]
        .into_iter()
        .map(|(part, ms)| {
            let us = (self.count > 0).then_some(ms * 1e3);
            Metric::new(format!("{name}_{part}"), Unit::Micros, us)
        })
        .collect()
    }
}

/// What went over the WebSockets of a run, closing not included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Wire {
    /// From the beginning of a connect to the end of its 101: TCP and upgrade.
    pub ws_connecting_ms: Trend,
    /// From the beginning of a connect to the end of its connection, each that was accepted; of those still
    /// open to the end of the run, when the tester lets go of them.
    pub ws_session_duration_ms: Trend,
    /// Upgrades that were accepted.
    pub ws_sessions: u64,
    /// Messages of any kind, those that bring connections into their rooms and replies included.
    pub ws_msgs_sent: u64,
    pub ws_msgs_received: u64,
    /// Bytes on the sockets, upgrades and frame headers included, TCP not.
    pub data_sent: u64,
    pub data_received: u64,
    /// Most connections at once: one is what k6 calls a virtual user.
    pub vus_max: u64,
    /// From before the first connect until now: what rates are over.
    pub seconds: f64,
}

/// What one process saw of its sockets until an instant, in a form that can be sent to another and added up
/// there. The most connections at once are the sum of each process's most.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sockets {
    traffic: Traffic,
    frames: u64,
    at: Nanos,
}

impl Sockets {
    /// Of an engine's connections, until now.
    pub(crate) fn of(io: &Io) -> Sockets {
        let (at, mut traffic) = (clock::now(), io.traffic.clone());
        for began in io.sessions() {
            traffic.sessions.record(at.saturating_sub(began));
        }
        Sockets {
            traffic,
            frames: io.frames,
            at,
        }
    }

    /// Adds those of another process of the same run.
    pub(crate) fn pool(&mut self, other: &Sockets) -> Result<()> {
        self.frames += other.frames;
        self.at = self.at.max(other.at);
        self.traffic.pool(&other.traffic)
    }

    /// What it amounts to.
    pub(crate) fn wire(&self) -> Wire {
        let t = &self.traffic;
        Wire {
            ws_connecting_ms: Trend::of(&t.connecting),
            ws_session_duration_ms: Trend::of(&t.sessions),
            ws_sessions: t.connecting.count(),
            ws_msgs_sent: t.messages_sent,
            ws_msgs_received: self.frames.saturating_sub(t.other_frames),
            data_sent: t.bytes_sent,
            data_received: t.bytes_received,
            vus_max: t.live_max as u64,
            seconds: seconds(self.at.saturating_sub(t.began)),
        }
    }
}

impl Wire {
    /// Of an engine's connections, until now.
    pub fn of(io: &Io) -> Wire {
        Sockets::of(io).wire()
    }

    /// The same for assertions: `ws_connecting_p95<50ms`, `ws_sessions==100`.
    pub fn metrics(&self) -> Vec<Metric> {
        let mut all = self.ws_connecting_ms.metrics("ws_connecting");
        all.extend(self.ws_session_duration_ms.metrics("ws_session_duration"));
        all.extend([
            Metric::count("ws_sessions", self.ws_sessions),
            Metric::count("ws_msgs_sent", self.ws_msgs_sent),
            Metric::count("ws_msgs_received", self.ws_msgs_received),
            Metric::new("data_sent", Unit::Bytes, self.data_sent as f64),
            Metric::new("data_received", Unit::Bytes, self.data_received as f64),
            Metric::count("vus_max", self.vus_max),
        ]);
        all
    }

    /// The section `k6` of a document, shaped as k6's own summary. `checks` are passes and fails; `None` when
    /// nothing was checked.
    pub fn section(&self, checks: Option<(u64, u64)>) -> Value {
        let counter = |count: u64| json!({ "count": count, "rate": count as f64 / self.seconds.max(1e-9) });
        let mut all = Map::new();
        let mut put = |name: &str, value: Value| all.insert(name.to_owned(), value);
        for (name, trend) in [
            ("ws_connecting", &self.ws_connecting_ms),
            ("ws_session_duration", &self.ws_session_duration_ms),
        ] {
            if trend.count > 0 {
                put(name, json!(trend));
            }
        }
        put("ws_sessions", counter(self.ws_sessions));
        put("ws_msgs_sent", counter(self.ws_msgs_sent));
        put("ws_msgs_received", counter(self.ws_msgs_received));
        put("data_sent", counter(self.data_sent));
        put("data_received", counter(self.data_received));
        put("vus_max", json!({ "value": self.vus_max, "max": self.vus_max }));
        if let Some((passes, fails)) = checks.filter(|(p, f)| p + f > 0) {
            let value = passes as f64 / (passes + fails) as f64;
            put(
                "checks",
                json!({ "passes": passes, "fails": fails, "value": value }),
            );
        }
        Value::Object(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::MILLI;

    #[test]
    fn the_section_has_what_was_measured_and_nothing_else() {
        let empty = Wire::default().section(None);
        for name in ["ws_connecting", "ws_session_duration", "checks"] {
            assert!(empty.get(name).is_none(), "{name}");
        }
        assert!(Wire::default().metrics()[0].value.is_none());
        let mut latency = Latency::new().unwrap();
        (1..=100).for_each(|ms| latency.record(ms * MILLI));
        let wire = Wire {
            ws_connecting_ms: Trend::of(&latency),
            ws_sessions: 100,
            seconds: 4.0,
            ..Wire::default()
        };
        let section = wire.section(Some((3, 1)));
        assert_eq!(section["ws_sessions"], json!({ "count": 100, "rate": 25.0 }));
        assert_eq!(
            section["checks"],
            json!({ "passes": 3, "fails": 1, "value": 0.75 })
        );
        for (name, ms) in [
            ("min", 1.0),
            ("med", 50.0),
            ("p(90)", 90.0),
            ("p(95)", 95.0),
            ("p(99)", 99.0),
            ("max", 100.0),
            ("avg", 50.5),
        ] {
            let found = section["ws_connecting"][name].as_f64().unwrap();
            assert!((found - ms).abs() / ms < 0.001, "{name}: {found}");
        }
        let p95 = wire.metrics().into_iter().find(|m| m.name == "ws_connecting_p95");
        assert!((p95.unwrap().value.unwrap() - 95_000.0).abs() < 95.0);
    }
}
