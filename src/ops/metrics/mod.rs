//! What an operator can count: one registry, read at `/metrics`. A metric is described in [`catalog`], registered
//! beside what it counts, and written to by atomics only.

pub mod catalog;
mod histogram;
mod process;
mod qr;

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric as Encoded, Registry};

use catalog::Metric;
pub use histogram::Counted;
use histogram::seconds;
pub use process::Process;
pub use qr::{Funnel, Qr, Transport};

use super::{descriptors, logging};

/// Media type of [`Metrics::text`]: OpenMetrics, which Prometheus reads.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Label names with their values: never a word of a user's.
type Labels<const N: usize> = [(&'static str, &'static str); N];

fn register(registry: &mut Registry, metric: &Metric, counted: impl Encoded) {
    registry.register(metric.family(), metric.meaning, counted);
}

/// What is read elsewhere at the time of asking.
#[derive(Debug, Clone, Copy, Default)]
pub struct Now {
    /// QR logins in this process's memory.
    pub qr_kept: usize,
    pub sockets: usize,
    pub connections: usize,
}

/// The metrics of a gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub qr: Qr,
    sampled: Sampled,
}

/// Set whenever somebody asks.
#[derive(Debug, Default)]
struct Sampled {
    qr_kept: Gauge,
    sockets: Gauge,
    connections: Gauge,
    log_dropped: Counter,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    descriptors: Gauge,
    descriptors_max: Gauge,
    started: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Everything at 0. `started_at`: now, Unix milliseconds.
    pub fn new(started_at: u64) -> Self {
        let mut registry = Registry::default();
        let qr = Qr::new(&mut registry);
        let sampled = Sampled::default();
        register(&mut registry, &catalog::QR_KEPT, sampled.qr_kept.clone());
        register(&mut registry, &catalog::SOCKETS, sampled.sockets.clone());
        register(&mut registry, &catalog::CONNECTIONS, sampled.connections.clone());
        register(&mut registry, &catalog::LOG_DROPPED, sampled.log_dropped.clone());
        register(&mut registry, &catalog::PROCESS_CPU, sampled.cpu.clone());
        register(&mut registry, &catalog::PROCESS_MEMORY, sampled.memory.clone());
        register(&mut registry, &catalog::PROCESS_FDS, sampled.descriptors.clone());
        let max = sampled.descriptors_max.clone();
        register(&mut registry, &catalog::PROCESS_FDS_MAX, max);
        register(&mut registry, &catalog::PROCESS_START, sampled.started.clone());
        sampled.started.set(seconds(started_at));
        Self {
            registry,
            qr,
            sampled,
        }
    }

    /// All of them as text. Reads files of the system's: not for a task that others wait for.
    pub fn text(&self, now: Now) -> String {
        let sampled = &self.sampled;
        sampled.qr_kept.set(whole(now.qr_kept));
        sampled.sockets.set(whole(now.sockets));
        sampled.connections.set(whole(now.connections));
        let dropped = sampled.log_dropped.inner();
        dropped.store(logging::dropped_lines(), Ordering::Relaxed);
        let cpu = seconds(process::cpu_ms()).to_bits();
        sampled.cpu.inner().store(cpu, Ordering::Relaxed);
        sampled.memory.set(whole(process::resident_bytes()));
        sampled.descriptors.set(whole(process::open_descriptors()));
        sampled.descriptors_max.set(whole(descriptors::limit()));
        let mut text = String::new();
        // Writing to memory does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
