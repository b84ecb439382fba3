//! What is measured, and the command lines that measure it. A measurement may decide several rows.

use super::Setup;

/// Median and interval are taken over this many runs where a figure is not a ratio of pairs.
const RUNS: usize = 12;
/// The same where one run takes minutes; then each of them must meet the target.
const LONG_RUNS: usize = 3;
/// Pairs of push and polling, A B B A: a side takes a minute.
const POLLING_PAIRS: usize = 4;
/// Bringing up and ending one side of these, seconds; only for telling how long a run takes.
const SIDE_SECONDS: f64 = 15.0;
/// Warm-up before each measured span, seconds.
const WARMUP: f64 = 1.0;
/// Connecting and closing one connection, both sides, seconds; only for telling how long a run takes.
const CONNECT_SECONDS: f64 = 250e-6;
/// Making one account, seconds; the same.
const ACCOUNT_SECONDS: f64 = 2e-3;
/// Starting processes and draining, per run, seconds; the same.
const OVERHEAD_SECONDS: f64 = 0.4;

/// Phones beside PCs that wait.
const WAITING_PHONES: usize = 20;
/// Shortest span of these when scaled, seconds: a PC that polls learns what its phone did within three.
const WAITING_SECONDS_LEAST: f64 = 5.0;

/// Accounts are made before anything is measured, so their passwords may cost little. Everything else is as
/// it comes.
const CHEAP_PASSWORDS: &str = "[accounts]\nargon2_memory_kib = 8\nargon2_iterations = 1\n";
/// Only connections are weighed: kept messages of 16 KiB would be all there is to see.
const NO_HISTORY: &str = "[rooms]\nhistory_messages = 0\n";
/// What is said is kept, and forgotten before memory is read.
const SHORT_HISTORY: &str = "[rooms]\nhistory_ms = 5000\ncid_ms = 5000\n";

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sending {
    /// Open loop, messages per second into each room.
    Paced(f64),
    /// Closed loop, messages each publisher keeps unanswered.
    InFlight(usize),
}

/// What is put on a gateway.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// Messages into rooms.
    Rooms {
        rooms: usize,
        members: usize,
        publishers: usize,
        sending: Sending,
    },
    /// Connections in rooms of ten, each with an account of its own.
    Idle {
        connections: usize,
        /// Memory is a slope from this number of connections; 0: from the start.
        slope_from: usize,
        /// Each sends 1 KiB and receives ten.
        active: bool,
        /// Each sends a second message of this many bytes.
        then: Option<usize>,
        settle: f64,
        quiet: f64,
        /// New connections per second; none: as fast as it goes.
        connect_rate: Option<f64>,
    },
    /// Whole QR logins.
    Logins {
        pcs: usize,
        per_second: f64,
        seconds: f64,
    },
    /// PCs that wait for one.
    Waiting {
        pcs: usize,
        /// A connection for each poll.
        connect: bool,
        seconds: f64,
    },
}

/// The span of a run that steal and a saturated tester make void.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Connecting.
    Ramp,
    /// The quiet one.
    Quiet,
    /// The one that is measured, of a scenario that has one.
    Measured,
}

/// How figures come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Pairs with the floor: the command `ratio` on one gateway.
    Floor,
    /// Pairs of one worker pinned and all workers unpinned: the command `room` on two gateways in turn.
    Workers,
    /// Pairs with another server: the command `versus` on one gateway.
    Rival(&'static str),
    /// Pairs of push and polling: the command `poll` on one gateway.
    Polling { pairs: usize },
    /// The command of the load, `idle` or `qr`, each time on a fresh gateway.
    Repeated { runs: usize, span: Span },
}

/// One measurement.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measurement {
    /// Names its documents.
    pub name: &'static str,
    pub how: How,
    pub load: Load,
    /// Gateway on one processor with one worker, tester on another.
    pub pinned: bool,
    /// Configuration of the gateway beyond cheap passwords, TOML.
    config: &'static str,
}

const fn rooms(rooms: usize, members: usize, publishers: usize, sending: Sending) -> Load {
    Load::Rooms {
        rooms,
        members,
        publishers,
        sending,
    }
}

const fn pairs(name: &'static str, how: How, load: Load) -> Measurement {
    Measurement {
        name,
        how,
        load,
        pinned: true,
        config: "",
    }
}

/// One room of 1,000 at 50,000 deliveries per second.
const PACED: Load = rooms(1, 1_000, 1, Sending::Paced(50.0));
/// The same, 32 messages in flight.
const BURST: Load = rooms(1, 1_000, 1, Sending::InFlight(32));
/// At 25,000 deliveries per second: more than that, paced, is beyond one core of some rivals.
const RIVAL_PACED: Load = rooms(1, 1_000, 1, Sending::Paced(25.0));

const MEMORY: Load = Load::Idle {
    connections: 15_000,
    slope_from: 5_000,
    active: true,
    then: None,
    settle: 0.0,
    quiet: 30.0,
    connect_rate: None,
};

const MEMORY_LARGE: Load = Load::Idle {
    connections: 15_000,
    slope_from: 5_000,
    active: true,
    then: Some(16_384),
    settle: 0.0,
    quiet: 30.0,
    connect_rate: None,
};

/// PCs that wait, and how long they are looked at: one rotation of each code and two heartbeats.
const fn waiting(name: &'static str, connect: bool) -> Measurement {
    pairs(
        name,
        How::Polling { pairs: POLLING_PAIRS },
        Load::Waiting {
            pcs: 10_000,
            connect,
            seconds: 50.0,
        },
    )
}

/// All measurements, in the order they are made.
pub const MEASUREMENTS: [Measurement; 21] = [
    Measurement {
        // Two workers, as deployed: each has its own arenas.
        pinned: false,
        ..pairs("memory", repeated(LONG_RUNS, Span::Quiet), MEMORY)
    },
    Measurement {
        pinned: false,
        config: NO_HISTORY,
        ..pairs("memory-large", repeated(LONG_RUNS, Span::Quiet), MEMORY_LARGE)
    },
    Measurement {
        pinned: false,
        config: SHORT_HISTORY,
        ..pairs("memory-expired", repeated(1, Span::Quiet), MEMORY_LARGE)
    },
    pairs("paced", How::Floor, PACED),
    pairs("burst", How::Floor, BURST),
    pairs(
        "small-rooms",
        How::Floor,
        rooms(500, 10, 10, Sending::Paced(10.0)),
    ),
    pairs("two-workers", How::Workers, PACED),
    // Growth: 50,000 deliveries per second each, so that the load stays and the shape changes.
    pairs("rooms-1", How::Floor, rooms(1, 10, 10, Sending::Paced(5_000.0))),
    pairs("members-100", How::Floor, rooms(1, 100, 1, Sending::Paced(500.0))),
    pairs(
        "members-10000",
        How::Floor,
        rooms(1, 10_000, 1, Sending::Paced(5.0)),
    ),
    pairs("rooms-100", How::Floor, rooms(100, 10, 10, Sending::Paced(50.0))),
    pairs(
        "rooms-1000",
        How::Floor,
        rooms(1_000, 10, 10, Sending::Paced(5.0)),
    ),
    pairs(
        "handshake",
        repeated(RUNS, Span::Ramp),
        Load::Idle {
            connections: 5_000,
            slope_from: 0,
            active: false,
            then: None,
            settle: 0.0,
            quiet: 0.0,
            // The tester must not be what is slow.
            connect_rate: Some(2_500.0),
        },
    ),
    pairs(
        "idle-cpu",
        repeated(LONG_RUNS, Span::Quiet),
        Load::Idle {
            connections: 10_000,
            slope_from: 0,
            active: false,
            then: None,
            settle: 10.0,
            // Four rounds of pings at the default interval of 25 s.
            quiet: 100.0,
            connect_rate: None,
        },
    ),
    pairs(
        "qr",
        repeated(RUNS, Span::Measured),
        Load::Logins {
            pcs: 200,
            per_second: 1_000.0,
            seconds: 10.0,
        },
    ),
    waiting("qr-poll", false),
    waiting("qr-poll-connect", true),
    pairs("ws-paced", How::Rival("ws"), RIVAL_PACED),
    pairs("ws-burst", How::Rival("ws"), BURST),
    pairs("nats-paced", How::Rival("nats"), RIVAL_PACED),
    pairs("nats-burst", How::Rival("nats"), BURST),
];

const fn repeated(runs: usize, span: Span) -> How {
    How::Repeated { runs, span }
}

/// A gateway and, when its command pins, the tester's part of it.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// `ws://host:port`.
    pub url: &'a str,
    pub pid: u32,
    /// Kept on the server's processor.
    pub pinned: bool,
}

impl Measurement {
    /// Pairs or runs wanted.
    pub fn wanted(&self, setup: &Setup) -> usize {
        match self.how {
            How::Repeated { runs, .. } | How::Polling { pairs: runs } if setup.indication => {
                runs.min(setup.pairs).max(1)
            }
            How::Repeated { runs, .. } | How::Polling { pairs: runs } => runs,
            _ => setup.pairs,
        }
    }

    /// Configuration of its gateway, TOML.
    pub fn config(&self) -> String {
        format!("{CHEAP_PASSWORDS}{}", self.config)
    }

    /// Connections of one run.
    pub fn connections(&self, setup: &Setup) -> usize {
        match self.load {
            Load::Rooms { rooms, members, .. } => setup.scaled(rooms, 1) * setup.scaled(members, 2),
            Load::Idle { connections, .. } => setup.scaled(connections, 20),
            Load::Logins { pcs, .. } => 2 * setup.scaled(pcs, 10),
            Load::Waiting { pcs, .. } => setup.scaled(pcs, 20) + WAITING_PHONES,
        }
    }

    /// About how long it takes, seconds, when no pair is void.
    pub fn seconds(&self, setup: &Setup) -> f64 {
        let (connections, wanted) = (self.connections(setup) as f64, self.wanted(setup) as f64);
        let connecting = connections * CONNECT_SECONDS + OVERHEAD_SECONDS;
        match (self.how, self.load) {
            (How::Repeated { .. }, Load::Idle { settle, quiet, .. }) => {
                let stops = match self.load {
                    Load::Idle { then: Some(_), .. } => 3.0,
                    Load::Idle { active: true, .. } => 2.0,
                    _ => 1.0,
                };
                let quiet = setup.shortened(settle + quiet) * stops;
                let accounts = connections * ACCOUNT_SECONDS;
                wanted * (connecting * stops + quiet + accounts)
            }
            (_, Load::Logins { seconds, .. }) => {
                wanted * (connecting + WARMUP + setup.shortened(seconds) + connections * ACCOUNT_SECONDS)
            }
            (_, Load::Waiting { seconds, .. }) => 2.0 * wanted * (SIDE_SECONDS + setup.shortened(seconds)),
            _ => (2.0 * wanted + 1.0) * (WARMUP + setup.seconds + connecting),
        }
    }

    /// The command that measures `server`, without the program's name. `json` is its document.
    pub fn command(&self, setup: &Setup, server: Server<'_>, json: &str) -> Vec<String> {
        let mut line = Line::default();
        match self.how {
            How::Floor => {
                line.word("ratio").option("pairs", setup.pairs);
            }
            How::Workers => {
                line.word("room");
            }
            How::Rival(name) => {
                line.word("versus")
                    .option("a", format!("countersign,{},pid={}", server.url, server.pid))
                    .option("b", name)
                    .option("pairs", setup.pairs);
            }
            How::Polling { .. } => {
                line.word("poll").option("pairs", self.wanted(setup));
            }
            How::Repeated { .. } => {
                line.word(if matches!(self.load, Load::Logins { .. }) {
                    "qr"
                } else {
                    "idle"
                });
            }
        }
        if !matches!(self.how, How::Rival(_)) {
            line.option("target", server.url).option("pid", server.pid);
        }
        line.option("profile", "bench");
        if server.pinned {
            line.option("pin-server", setup.server_cpu)
                .option("pin-tester", setup.tester_cpu);
        }
        self.load(setup, &mut line);
        for must in self.musts() {
            line.option("assert", must);
        }
        line.option("deadline", self.deadline(setup).ceil())
            .option("json", json);
        line.0
    }

    /// Longest one command may take, seconds: twice as many pairs may be tried, on a slow machine.
    pub fn deadline(&self, setup: &Setup) -> f64 {
        120.0 + 4.0 * self.seconds(setup)
    }

    /// What must hold besides the target: a gateway that loses messages is not fast.
    fn musts(&self) -> &'static [&'static str] {
        match self.how {
            How::Repeated {
                span: Span::Measured, ..
            } => &[
                "failed==0",
                "no_slot==0",
                "unfinished==0",
                "stray==0",
                "out_of_order==0",
                "wrong_user==0",
                "closed==0",
            ],
            How::Polling { .. } => &["failed==0", "unlearned==0", "closed==0"],
            // A connection weighs what it does when it has sent and received all that it should.
            How::Repeated { .. } => &[
                "lost==0",
                "told==0",
                "duplicated==0",
                "out_of_order==0",
                "unexpected==0",
                "unsent==0",
                "unanswered==0",
                "closed==0",
            ],
            // What the other server loses is in its document; ours must not.
            How::Rival(_) => &["a_lost==0", "a_duplicated==0", "a_out_of_order==0"],
            _ => &["lost==0", "duplicated==0", "out_of_order==0", "refused==0"],
        }
    }

    fn load(&self, setup: &Setup, line: &mut Line) {
        match self.load {
            Load::Rooms {
                rooms,
                members,
                publishers,
                sending,
            } => {
                let members = setup.scaled(members, 2);
                line.option("rooms", setup.scaled(rooms, 1))
                    .option("members", members)
                    .option("publishers", publishers.min(members))
                    .option("seconds", setup.seconds)
                    .option("warmup", WARMUP);
                match sending {
                    Sending::Paced(rate) => line.option("rate", rate),
                    Sending::InFlight(messages) => line.option("in-flight", messages),
                };
            }
            Load::Idle {
                slope_from,
                active,
                then,
                settle,
                quiet,
                connect_rate,
                ..
            } => {
                let connections = self.connections(setup);
                line.option("connections", connections)
                    .option("users", connections)
                    .option("slope-from", setup.scaled(slope_from, 0))
                    .option("settle", setup.shortened(settle))
                    .option("quiet", setup.shortened(quiet));
                if active {
                    line.word("--active");
                }
                if let Some(bytes) = then {
                    line.option("then-message-bytes", bytes);
                }
                if let Some(rate) = connect_rate {
                    line.option("connect-rate", rate);
                }
            }
            Load::Logins {
                pcs,
                per_second,
                seconds,
            } => {
                line.option("pcs", setup.scaled(pcs, 10))
                    .option("rate", (per_second * setup.scale).max(1.0))
                    .option("seconds", setup.shortened(seconds).max(setup.seconds))
                    .option("warmup", WARMUP);
            }
            Load::Waiting {
                pcs,
                connect,
                seconds,
            } => {
                line.option("pcs", setup.scaled(pcs, 20))
                    .option("phones", WAITING_PHONES)
                    .option("seconds", setup.shortened(seconds).max(WAITING_SECONDS_LEAST));
                if connect {
                    line.word("--connect");
                }
            }
        }
    }
}

/// A command line as it grows.
#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn word(&mut self, word: &str) -> &mut Line {
        self.0.push(word.to_owned());
        self
    }

    #[allow(
        clippy::needless_pass_by_value,
        reason = "numbers, and words that are borrowed"
    )]
    fn option(&mut self, name: &str, value: impl ToString) -> &mut Line {
        self.0.push(format!("--{name}"));
        self.0.push(value.to_string());
        self
    }
}
