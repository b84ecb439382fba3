//! What an operator can count: one registry, read at `/metrics`. A metric is described in [`catalog`], registered
//! beside what it counts, and written to by atomics only.

pub mod catalog;
mod histogram;
mod oauth;
mod process;
mod qr;
mod series;
mod state;
mod text;
mod traffic;

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric as Encoded, Registry};

use catalog::Metric;
pub use histogram::Counted;
use histogram::seconds;
pub use oauth::{OAuth, OAuthRequest};
pub use process::Resources;
pub use qr::{Funnel, Qr, Transport};
use series::Gauges;
use state::State;
pub use text::Format;
pub use traffic::{Credential, Limit, Traffic};

use super::{descriptors, logging};
use crate::tally::parts::Everything;

/// Label names with their values: never a word of a user's.
type Labels<const N: usize> = [(&'static str, &'static str); N];

fn register(registry: &mut Registry, metric: &Metric, counted: impl Encoded) {
    registry.register(metric.family(), metric.meaning, counted);
}

/// The metrics of a gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub qr: Qr,
    pub traffic: Traffic,
    pub oauth: OAuth,
    state: State,
    process: Process,
    /// Who asks: one at a time, so that nobody is told half of what another is about to write.
    telling: Mutex<()>,
}

/// Of the process, set whenever somebody asks.
#[derive(Debug, Default)]
struct Process {
    log_dropped: Counter,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    descriptors: Gauge,
    descriptors_max: Gauge,
    started: Gauge<f64, AtomicU64>,
}

impl Process {
    fn new(registry: &mut Registry, started_at: u64) -> Self {
        let process = Self::default();
        register(registry, &catalog::LOG_DROPPED, process.log_dropped.clone());
        let build = Gauges::of(registry, &catalog::BUILD, [[env!("CARGO_PKG_VERSION")]]);
        build.store([1]);
        register(registry, &catalog::PROCESS_CPU, process.cpu.clone());
        register(registry, &catalog::PROCESS_MEMORY, process.memory.clone());
        register(registry, &catalog::PROCESS_FDS, process.descriptors.clone());
        let max = process.descriptors_max.clone();
        register(registry, &catalog::PROCESS_FDS_MAX, max);
        register(registry, &catalog::PROCESS_START, process.started.clone());
        process.started.set(seconds(started_at));
        process
    }

    fn read(&self) {
        let dropped = self.log_dropped.inner();
        dropped.store(logging::dropped_lines(), Ordering::Relaxed);
        let cpu = seconds(process::cpu_ms()).to_bits();
        self.cpu.inner().store(cpu, Ordering::Relaxed);
        self.memory.set(whole(process::resident_bytes()));
        self.descriptors.set(whole(process::open_descriptors()));
        self.descriptors_max.set(whole(descriptors::limit()));
    }
}

impl Metrics {
    /// Everything at 0. `started_at`: now, Unix milliseconds. `verbs`: names of what shared state can be asked.
    pub fn new(started_at: u64, verbs: &'static [&'static str]) -> Self {
        let mut registry = Registry::default();
        // In the order of the catalog.
        let qr = Qr::new(&mut registry);
        let state = State::new(&mut registry, verbs);
        let traffic = Traffic::new(&mut registry);
        let oauth = OAuth::new(&mut registry);
        let process = Process::new(&mut registry, started_at);
        Self {
            registry,
            qr,
            traffic,
            oauth,
            state,
            process,
            telling: Mutex::new(()),
        }
    }

    /// All of them as text, with what others `counted`. Reads files of the system's: not for a task that others wait for.
    pub fn text(&self, counted: impl FnOnce() -> Everything, format: Format) -> String {
        let _one_at_a_time = self.telling.lock();
        self.state.store(&counted());
        self.process.read();
        let mut text = String::new();
        // Writing to memory does not fail.
        let _ = encode(&mut text, &self.registry);
        format.of(text)
    }
}

fn whole(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}
