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
        "QR logins opened, over a WebSocket (ws), over HTTP (http) or as device authorizations (oauth)";
    QR_LIVE = Gauge, "countersign_qr_live", "attempts", ["state"],
        "QR logins that have not ended, by where they stand";
    QR_ENDED = Counter, "countersign_qr_ended_total", "attempts", ["state", "reason"],
        "QR logins that ended, by how and why; a redeemed one has the reason none";
    QR_ROTATIONS = Counter, "countersign_qr_rotations_total", "codes", [],
        "codes replaced by new ones";
    QR_REFUSALS = Counter, "countersign_qr_refusals_total", "calls", ["code"],
        "calls about QR logins that were refused, from the PC and from the phone, by the code they were told";
    QR_STEP = Histogram, "countersign_qr_step_seconds", "seconds", ["step"],
        "time that a QR login stood where it was until it was scanned, confirmed, redeemed, denied, cancelled or expired, by what it came to: from opened to scanned, from scanned to confirmed, from confirmed to redeemed, and to an end from whichever of opened, scanned and confirmed came last";
    QR_ATTEMPT = Histogram, "countersign_qr_attempt_seconds", "seconds", ["state", "reason"],
        "time that a QR login took from when it was opened to its end, by how and why it ended; a redeemed one has the reason none";
    QR_PUSH = Histogram, "countersign_qr_push_seconds", "seconds", [],
        "time from when a change of a QR login was asked for, or found due, until it was queued for the PC that watches and its write tried; the clock has whole milliseconds";
    QR_KEPT = Gauge, "countersign_qr_kept", "attempts", [],
        "QR logins in memory, those that ended in the last minute included";
    QR_KEPT_LIMIT = Gauge, "countersign_qr_kept_limit", "attempts", [],
        "bound of QR logins in memory, qr_attempts_max";
    SOCKETS = Gauge, "countersign_sockets", "sockets", [],
        "TCP connections on the public port";
    SOCKETS_LIMIT = Gauge, "countersign_sockets_limit", "sockets", [],
        "bound of TCP connections on the public port: connections_max, or what there are descriptors for";
    CONNECTIONS = Gauge, "countersign_connections", "connections", ["state"],
        "TCP connections on the public port by what they are: HTTP, WebSockets without and with a session, event streams, and those whose end is decided";
    OPENED = Counter, "countersign_connections_opened_total", "connections", ["transport"],
        "WebSockets (ws) and event streams opened";
    CLOSES = Counter, "countersign_closes_total", "connections", ["code"],
        "WebSockets and event streams that ended, by the close code that the gateway gave, or peer (the client closed first), lost (it was gone without a word), done (an event stream had told all)";
    DRAINING = Gauge, "countersign_draining", "", [],
        "1 from when the gateway was told to stop, 0 before";
    SENT_BYTES = Counter, "countersign_sent_bytes_total", "bytes", [],
        "bytes written to WebSockets and event streams, below TLS";
    SENT_FRAMES = Counter, "countersign_sent_frames_total", "frames", [],
        "WebSocket frames and events queued or written for connections";
    OUTBOX = Gauge, "countersign_outbox_bytes", "bytes", [],
        "bytes that wait in the queues of all connections";
    OUTBOX_LONGEST = Gauge, "countersign_outbox_longest_bytes", "bytes", [],
        "bytes that wait in the longest queue of a connection";
    OUTBOX_LIMIT = Gauge, "countersign_outbox_limit_bytes", "bytes", [],
        "bound of the queue of one connection, outbox_bytes_max";
    OUTBOX_CONNECTIONS = Gauge, "countersign_outbox_connections", "connections", [],
        "connections that have bytes waiting";
    ROOMS = Gauge, "countersign_rooms", "rooms", [],
        "rooms in memory, empty ones that have not been forgotten included";
    ROOMS_LIMIT = Gauge, "countersign_rooms_limit", "rooms", [],
        "bound of rooms in memory, rooms_max";
    ROOMS_JOINED = Gauge, "countersign_rooms_joined", "rooms", [],
        "rooms that a connection here is in";
    MEMBERSHIPS = Gauge, "countersign_memberships", "memberships", [],
        "connections times the rooms each is in";
    MESSAGES = Counter, "countersign_messages_total", "messages", [],
        "messages published";
    DELIVERIES = Counter, "countersign_deliveries_total", "messages", [],
        "messages times the connections they were handed to; who joins while a batch is on its way counts with all of it";
    DROPS = Counter, "countersign_drops_total", "frames", ["class", "reason"],
        "frames not delivered: for one connection that reads too slowly (outbox), for all of a room that says too much (room), or messages refused to their sender for that (publish)";
    BATCH_FRAMES = Histogram, "countersign_flush_frames", "frames", [],
        "frames of each batch that a room handed to its members";
    FLUSH = Histogram, "countersign_flush_seconds", "seconds", [],
        "time from when a batch began to wait until all members of the room here were handed it, in a room that never rests from when the one before was; of one batch in eight";
    HISTORY = Gauge, "countersign_history_bytes", "bytes", [],
        "bytes of messages kept as history";
    HISTORY_LIMIT = Gauge, "countersign_history_limit_bytes", "bytes", [],
        "bound of the history of all rooms, history_bytes_max";
    ENGINE = Counter, "countersign_engine_operations_total", "operations", ["verb", "outcome"],
        "what was asked of shared state: answered (ok), refused by a rule (refused), or not to be had (failed)";
    ENGINE_SECONDS = Histogram, "countersign_engine_operation_seconds", "seconds", ["verb"],
        "time such an operation took; of one in 64, and of the first";
    LIMITED = Counter, "countersign_limited_total", "refusals", ["limit"],
        "refusals because a limit was reached, by its name; a socket that was dropped for one counts too";
    HANDSHAKES = Counter, "countersign_handshakes_total", "requests", ["outcome"],
        "requests for a WebSocket: accepted, or the code of the refusal";
    HTTP_REQUESTS = Counter, "countersign_http_requests_total", "requests", ["port", "status"],
        "requests answered on the public and on the operator's port, handshakes included, by class of status";
    AUTH = Counter, "countersign_auth_total", "attempts", ["kind", "outcome"],
        "credentials shown: passwords, new accounts, access tokens, refresh tokens; accepted (ok), wrong or not allowed (refused), over a limit (limited), or not to be checked (failed)";
    RECEIVED_BYTES = Counter, "countersign_received_bytes_total", "bytes", [],
        "bytes read from WebSockets, below TLS";
    RECEIVED_FRAMES = Counter, "countersign_received_frames_total", "frames", [],
        "messages and pongs read from WebSockets";
    COMMANDS = Counter, "countersign_commands_total", "commands", ["type", "outcome"],
        "commands on WebSockets, by type and what became of them; unread is what could not be read";
    COMMAND_REFUSALS = Counter, "countersign_command_refusals_total", "commands", ["code"],
        "commands that were answered with an error, by its code";
    OAUTH = Counter, "countersign_oauth_requests_total", "requests", ["request", "outcome"],
        "requests at /oauth/*, those for tokens by their grant: answered (ok), or the error that was told";
    LOG_DROPPED = Counter, "countersign_log_dropped_total", "lines", [],
        "lines of the log, audit records among them, that were dropped because its reader did not keep up";
    BUILD = Gauge, "countersign_build_info", "", ["version"],
        "1, with the version of the gateway";
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
