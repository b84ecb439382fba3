//! From the command line to a scenario and from its result to the outputs.

use serde::Serialize;

use crate::accounts::{self, AccountCost, AccountPlan, Session};
use crate::assertion;
use crate::cli::{Cli, Command, Common, FloorKind, IdleArgs, LoadArgs, RatioArgs, RoomArgs};
use crate::clock::{self, Nanos, from_seconds};
use crate::error::{Error, Result};
use crate::fleet::{Dialect, Pace};
use crate::floor::serve;
use crate::history::tap::Tap;
use crate::host::{limits, pin};
use crate::idle::{self, IdlePlan, IdleResult};
use crate::metric::Metrics;
use crate::output::{Document, Progress};
use crate::ratio::{self, RatioPlan, RatioResult};
use crate::room::{self, Load, RoomPlan, RoomResult, Stage};
use crate::target::{Remote, Sources, Target};
use crate::wire::stamp::BODY_BYTES_MIN;

/// The gateway's limit of connections per user.
const CONNECTIONS_PER_USER: usize = 16;
/// New connections per second by default, below the gateway's 500.
const CONNECT_RATE: f64 = 450.0;
/// The profile that lifts every rate.
const BENCH: &str = "bench";
/// One frame in this many is decoded as JSON.
const DECODE_EVERY: u64 = 1_000;
/// Most connections of a run.
const CONNECTIONS_MAX: usize = 1_000_000;

/// Whether all assertions held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
}

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<Verdict> {
    match cli.command {
        Command::Idle(args) => idle(&args),
        Command::Room(args) => room(&args),
        Command::Ratio(args) => ratio(&args),
        Command::Floor(args) => {
            serve::run(&args)?;
            Ok(Verdict::Passed)
        }
        Command::Check(args) => crate::history::command::run(&args),
    }
}

/// Everything scenarios share, made from the common options.
struct Base<'a> {
    common: &'a Common,
    target: Target,
    sources: Sources,
    sessions: Vec<Session>,
    cost: AccountCost,
    run: u32,
    until: Nanos,
    progress: Progress,
}

/// The options that decide what figures mean, as written into the document.
#[derive(Serialize)]
struct Method<'a, P: Serialize> {
    #[serde(flatten)]
    plan: P,
    connections: usize,
    anonymous: bool,
    accounts: AccountCost,
    connections_per_source: usize,
    pin_server: Option<usize>,
    pin_tester: Option<usize>,
    /// Where processor time per delivery and its parts come from.
    note: &'a str,
}

impl<'a> Base<'a> {
    /// Checks the options, pins, makes room for descriptors and signs users in.
    fn prepare(common: &'a Common, known: &Metrics, connections: usize, signing_in: usize) -> Result<Self> {
        for assertion in &common.assertions {
            assertion.check(known)?;
        }
        if connections == 0 || connections > CONNECTIONS_MAX {
            return Err(Error::Usage(format!(
                "connections are 1 to {CONNECTIONS_MAX}, not {connections}"
            )));
        }
        let remote = if common.allow_remote {
            Remote::Allowed
        } else {
            Remote::Refused
        };
        let target = Target::parse(&common.target, remote)?;
        limits::allow(connections)?;
        if let Some(cpu) = common.pin_tester {
            pin::this_thread(cpu)?;
        }
        if let Some(cpu) = common.pin_server {
            let pid = common
                .pid
                .ok_or_else(|| Error::Usage("--pin-server needs --pid".to_owned()))?;
            pin::process(pid, cpu)?;
        }
        let until = clock::now() + from_seconds(common.deadline);
        let (run, progress) = (rand::random(), Progress::on_terminal());
        let sources = Sources::new(&target, common.per_source);
        let (sessions, cost) = if common.protocol == Dialect::Countersign && signing_in > 0 {
            let plan = AccountPlan {
                users: common
                    .users
                    .unwrap_or(signing_in.div_ceil(CONNECTIONS_PER_USER))
                    .clamp(1, signing_in),
                at_once: common.logins_in_flight,
                until,
            };
            accounts::make(&target, sources, run, &plan, &progress)?
        } else {
            (Vec::new(), AccountCost::default())
        };
        Ok(Base {
            common,
            target,
            sources,
            sessions,
            cost,
            run,
            until,
            progress,
        })
    }

    fn stage(&self) -> Stage<'_> {
        let unbounded = self.common.profile == BENCH || self.common.protocol == Dialect::Floor;
        let rate = if unbounded { 0.0 } else { CONNECT_RATE };
        Stage {
            target: &self.target,
            dialect: self.common.protocol,
            sources: self.sources,
            pace: Pace {
                in_flight: self.common.connects_in_flight.max(1),
                per_second: self.common.connect_rate.unwrap_or(rate),
            },
            sessions: &self.sessions,
            anonymous: self.common.anonymous,
            pid: self.common.pid,
            namespace: &self.common.namespace,
            run: self.run,
            until: self.until,
            progress: self.progress,
        }
    }

    /// Writes the outputs and decides.
    fn publish<P: Serialize, R: Serialize>(
        &self,
        scenario: &'static str,
        connections: usize,
        (plan, result): (P, R),
        metrics: &Metrics,
        notes: &[String],
    ) -> Result<Verdict> {
        let common = self.common;
        let assertions: Vec<assertion::Verdict> =
            common.assertions.iter().map(|a| a.decide(metrics)).collect();
        let protocol = match common.protocol {
            Dialect::Countersign => countersign_protocol::SUBPROTOCOL,
            Dialect::Floor => "floor",
        };
        let target = self.target.url();
        let method = Method {
            plan,
            connections,
            anonymous: common.anonymous,
            accounts: self.cost,
            connections_per_source: common.per_source,
            pin_server: common.pin_server,
            pin_tester: common.pin_tester,
            note: "spans in nanoseconds; server processor time is user and system time of all threads",
        };
        let document = Document::new(
            scenario,
            (&target, protocol, &common.profile),
            method,
            result,
            metrics,
            &assertions,
        );
        let title = format!(
            "{scenario}: {connections} connections to {target}, limits profile {}",
            common.profile
        );
        document.publish(&title, notes, common.json.as_deref())?;
        Ok(if document.passed {
            Verdict::Passed
        } else {
            Verdict::Failed
        })
    }

    /// A warning when tokens end before the run may.
    fn token_note(&self, seconds: f64) -> Option<String> {
        let shortest = self.sessions.iter().map(|s| s.expires_in_ms).min()?;
        let shortest = shortest as f64 / 1e3;
        (shortest < seconds).then(|| {
            format!("note: tokens live {shortest:.0} s, less than this run; connections will be closed")
        })
    }
}

fn idle(args: &IdleArgs) -> Result<Verdict> {
    let common = &args.common;
    let total = args.connections;
    let slope_to = args.slope_to.unwrap_or(total);
    let slope_from = args.slope_from.unwrap_or(slope_to / 3);
    if slope_from >= slope_to || slope_to > total {
        return Err(Error::Usage(format!(
            "--slope-from {slope_from} < --slope-to {slope_to} <= --connections {total} must hold"
        )));
    }
    check_body(args.message_bytes)?;
    let mut stops = vec![slope_from, slope_to, total];
    stops.retain(|n| *n > 0);
    stops.dedup();
    let plan = IdlePlan {
        stops,
        slope: (slope_from, slope_to),
        per_room: args.members_per_room.max(1),
        active: args.active,
        body_bytes: args.message_bytes,
        quiet: from_seconds(args.quiet),
    };
    let signing_in = if common.anonymous { 0 } else { total };
    let base = Base::prepare(common, &IdleResult::default().metrics(), total, signing_in)?;
    let result = idle::run(&plan, &base.stage())?;
    let metrics = result.metrics();
    let notes: Vec<String> = base
        .token_note(args.quiet * plan.stops.len() as f64)
        .into_iter()
        .collect();
    base.publish("idle", total, (plan, result), &metrics, &notes)
}

fn room(args: &RoomArgs) -> Result<Verdict> {
    let (mut plan, signing_in) = load(&args.load, &args.common)?;
    let total = plan.connections();
    if args.history.is_some() {
        if args.common.protocol != Dialect::Countersign {
            return Err(Error::Usage(
                "--history needs --protocol countersign: others authenticate nobody".to_owned(),
            ));
        }
        (plan.check, plan.decode_every) = (true, 1);
    }
    let base = Base::prepare(&args.common, &RoomResult::default().metrics(), total, signing_in)?;
    let tap = args.history.as_deref().map(Tap::create).transpose()?;
    let outcome = room::run_recorded(&plan, &base.stage(), tap.map(Box::new))?;
    let metrics = outcome.result.metrics();
    let mut notes: Vec<String> = base.token_note(plan.seconds()).into_iter().collect();
    notes.extend(outcome.result.usage.warnings());
    notes.extend(listed("refused", &outcome.result.tally.refused));
    notes.extend(listed("ended", &outcome.result.tally.ended));
    base.publish("room", total, (plan, outcome.result), &metrics, &notes)
}

fn ratio(args: &RatioArgs) -> Result<Verdict> {
    #[derive(Serialize)]
    struct Both {
        #[serde(flatten)]
        load: RoomPlan,
        #[serde(flatten)]
        ratio: RatioPlan,
    }
    let (load, signing_in) = load(&args.load, &args.common)?;
    let total = load.connections();
    if args.pairs == 0 || args.pairs > 1_000 {
        return Err(Error::Usage("--pairs is 1 to 1000".to_owned()));
    }
    let plan = RatioPlan {
        pairs: args.pairs,
        coalesce: match args.floor {
            FloorKind::Auto => matches!(load.load, Load::InFlight { .. }),
            FloorKind::Plain => false,
            FloorKind::Coalesced => true,
        },
        frame_bytes: args.frame_bytes,
        pin_server: args.common.pin_server,
        deadline_seconds: args.common.deadline,
    };
    let base = Base::prepare(&args.common, &RatioResult::default().metrics(), total, signing_in)?;
    let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
    let result = ratio::run(&load, &plan, &base.stage(), &program)?;
    let metrics = result.metrics();
    let mut notes: Vec<String> = base
        .token_note(load.seconds() * 2.0 * args.pairs as f64)
        .into_iter()
        .collect();
    for (i, pair) in result.pairs.iter().enumerate() {
        notes.push(format!(
            "  pair {:>2}: product {:.3} µs, floor {:.3} µs, ratio {:.3}, tester {:.0} and {:.0} %{}",
            i + 1,
            pair.product.cpu_us_per_delivery,
            pair.floor.cpu_us_per_delivery,
            pair.cpu_ratio,
            pair.product.tester_share * 100.0,
            pair.floor.tester_share * 100.0,
            pair.void.map(|why| format!(" — void: {why}")).unwrap_or_default()
        ));
    }
    base.publish(
        "ratio",
        total,
        (Both { load, ratio: plan }, result),
        &metrics,
        &notes,
    )
}

/// The plan of a load, and how many connections sign in for it.
fn load(args: &LoadArgs, common: &Common) -> Result<(RoomPlan, usize)> {
    check_body(args.message_bytes)?;
    let load = match (args.rate, args.in_flight) {
        (Some(rate), None) if rate > 0.0 && rate <= 1e7 => Load::Paced { per_second: rate },
        (None, Some(messages)) if (1..=100_000).contains(&messages) => Load::InFlight { messages },
        (None, None) => {
            return Err(Error::Usage(
                "say --rate (messages per second into each room) or --in-flight (burst)".to_owned(),
            ));
        }
        _ => {
            return Err(Error::Usage(
                "--rate is above 0 and at most 10 million, --in-flight 1 to 100,000".to_owned(),
            ));
        }
    };
    if args.members == 0 || args.rooms == 0 || args.rooms.saturating_mul(args.members) > CONNECTIONS_MAX {
        return Err(Error::Usage(format!(
            "--rooms times --members is 1 to {CONNECTIONS_MAX}"
        )));
    }
    let publishers = args.publishers.clamp(1, args.members);
    let plan = RoomPlan {
        rooms: args.rooms,
        per_room: args.members,
        publishers,
        acks: load.acks(),
        load,
        body_bytes: args.message_bytes,
        warmup: from_seconds(args.warmup),
        window: from_seconds(args.seconds),
        drain: from_seconds(args.drain),
        check: args.check,
        decode_every: if args.check { 1 } else { DECODE_EVERY },
    };
    let signing_in = if common.anonymous {
        args.rooms * publishers
    } else {
        plan.connections()
    };
    Ok((plan, signing_in))
}

fn check_body(bytes: usize) -> Result<()> {
    let max = countersign_protocol::limits::BODY_BYTES_MAX;
    if (BODY_BYTES_MIN..=max).contains(&bytes) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--message-bytes is {BODY_BYTES_MIN} to {max}, not {bytes}"
    )))
}

fn listed(what: &str, counts: &std::collections::BTreeMap<String, u64>) -> Vec<String> {
    counts
        .iter()
        .map(|(name, n)| format!("  {what}: {name} × {n}"))
        .collect()
}
