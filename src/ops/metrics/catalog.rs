//! Every metric of the gateway: its name, kind, unit, labels and meaning. `docs/metrics.md` says the same, and a
//! test holds the two, and what `/metrics` answers, together.

/// What a metric does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// As it is now.
    Gauge,
    /// How many were how large; buckets, count and sum only rise.
    Histogram,
}

impl Kind {
    /// As the exposition format calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// As it is asked for; a counter ends in `_total`.
    pub name: &'static str,
    pub kind: Kind,
    pub unit: &'static str,
    /// Names of its labels. Their values are few and never a user's words.
    pub labels: &'static [&'static str],
    /// One sentence without its full stop.
    pub meaning: &'static str,
}

impl Metric {
    /// The name of its family: a counter's without `_total`.
    pub fn family(&self) -> &'static str {
        self.name.strip_suffix("_total").unwrap_or(self.name)
    }
}

macro_rules! catalog {
    ($( $id:ident = $kind:ident, $name:literal, $unit:literal, [$($label:literal),*], $meaning:literal; )*) => {
        $(
            pub(super) const $id: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                unit: $unit,
                labels: &[$($label),*],
                meaning: $meaning,
            };
        )*
        /// All metrics, in the order in which they are told.
        pub const ALL: &[Metric] = &[ $( $id, )* ];
    };
}

catalog! {
    QR_OPENED = Counter, "countersign_qr_opened_total", "attempts", ["transport"],
        "QR logins opened, over a WebSocket (ws) or over HTTP (http)";
    QR_LIVE = Gauge, "countersign_qr_live", "attempts", ["state"],
        "QR logins that have not ended, by where they stand";
    QR_ENDED = Counter, "countersign_qr_ended_total", "attempts", ["state", "reason"],
        "QR logins that ended, by how and why; a redeemed one has the reason none";
    QR_ROTATIONS = Counter, "countersign_qr_rotations_total", "codes", [],
        "codes replaced by new ones";
    QR_REFUSALS = Counter, "countersign_qr_refusals_total", "calls", ["code"],
        "calls about QR logins that were refused, from the PC and from the phone, by the code they were told";
    QR_STEP = Histogram, "countersign_qr_step_seconds", "seconds", ["step"],
        "time from a step of a QR login to the next: from opened to scanned, from scanned to confirmed, from confirmed to redeemed, by the later one";
    QR_PUSH = Histogram, "countersign_qr_push_seconds", "seconds", [],
        "time from when a change of a QR login was asked for, or found due, until it was queued for the PC that watches and its write tried; the clock has whole milliseconds";
    QR_KEPT = Gauge, "countersign_qr_kept", "attempts", [],
        "QR logins in memory, those that ended in the last minute included; qr_attempts_max is their bound";
    SOCKETS = Gauge, "countersign_sockets", "sockets", [],
        "TCP connections on the public port; connections_max is their bound";
    CONNECTIONS = Gauge, "countersign_connections", "connections", [],
        "WebSocket connections and event streams";
    LOG_DROPPED = Counter, "countersign_log_dropped_total", "lines", [],
        "lines of the log, audit records among them, that were dropped because its reader did not keep up";
    PROCESS_CPU = Counter, "process_cpu_seconds_total", "seconds", [],
        "processor time of the process, user and system";
    PROCESS_MEMORY = Gauge, "process_resident_memory_bytes", "bytes", [],
        "resident memory of the process";
    PROCESS_FDS = Gauge, "process_open_fds", "descriptors", [],
        "open descriptors of the process";
    PROCESS_FDS_MAX = Gauge, "process_max_fds", "descriptors", [],
        "the soft limit of open descriptors; 1024 where it cannot be read";
    PROCESS_START = Gauge, "process_start_time_seconds", "seconds", [],
        "when the gateway was built, Unix time";
}
