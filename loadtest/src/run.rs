//! From the command line to a scenario and from its result to the outputs.

mod history;
mod watched;

use std::path::PathBuf;

use serde::Serialize;

use self::history::{in_parts, parts_note, with_history};
use self::watched::Watched;
use crate::accounts::{self, AccountCost, AccountPlan, Session};
use crate::assertion;
use crate::churn;
use crate::cli::{Cli, Command, Common, FloorKind, IdleArgs, LoadArgs, RatioArgs, RoomArgs};
use crate::clock::{self, Nanos, from_seconds};
use crate::compare;
use crate::counts;
use crate::error::{Error, Result};
use crate::fleet::{Dialect, Pace};
use crate::floor::serve;
use crate::history::tap::Tap;
use crate::host::{limits, pin};
use crate::idle::{self, IdlePlan, IdleResult};
use crate::metric::Metrics;
use crate::output::files::Trace;
use crate::output::{Document, Progress};
use crate::poll;
use crate::qr;
use crate::ratio::{self, RatioPlan, RatioResult};
use crate::room::{self, Load, Records, RoomPlan, RoomResult, Stage, Variant};
use crate::series::Series;
use crate::storm;
use crate::suite::{self, supervised};
use crate::target::{Remote, Sources, Target};
use crate::versus;
use crate::wire::stamp::BODY_BYTES_MIN;
use crate::workers;
use crate::workers::crew::Hands;

/// The gateway's limit of connections per user.
const CONNECTIONS_PER_USER: usize = 16;
/// New connections per second by default, below the gateway's 500.
const CONNECT_RATE: f64 = 450.0;
/// The profile that lifts every rate.
const BENCH: &str = "bench";
/// One frame in this many is decoded as JSON.
const DECODE_EVERY: u64 = 1_000;
/// Most connections of a run.
pub(crate) const CONNECTIONS_MAX: usize = 1_000_000;

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
        Command::Counts(args) => counts::command(&args),
        Command::Churn(args) => churn::command(&args),
        Command::Storm(args) => storm::command(&args),
        Command::Qr(args) => qr::command(&args),
        Command::Poll(args) => poll::command(&args),
        Command::Ratio(args) => ratio(&args),
        Command::Versus(args) => versus::command::run(&args),
        Command::Compare(args) => Ok(if compare::run(&args)? {
            Verdict::Passed
        } else {
            Verdict::Failed
        }),
        Command::Floor(args) => {
            serve::run(&args)?;
            Ok(Verdict::Passed)
        }
        Command::Perf(args) => Ok(match suite::run(&args)? {
            true => Verdict::Passed,
            false => Verdict::Failed,
        }),
        Command::Supervised(args) => Err(supervised::run(&args)),
        Command::Worker => {
            workers::child::run()?;
            Ok(Verdict::Passed)
        }
        Command::Check(args) => crate::history::command::run(&args),
    }
}

/// Everything scenarios share, made from the common options.
pub(crate) struct Base<'a> {
    common: &'a Common,
    target: Target,
    sources: Sources,
    sessions: Vec<Session>,
    cost: AccountCost,
    run: u32,
    until: Nanos,
    progress: Progress,
    watched: Watched,
    /// What the run has beside its numbers; a scenario sets it before it publishes.
    pub(crate) trace: Trace,
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
    /// Where the server's memory and processor time are read: `pid` or `metrics`.
    server_figures: Option<&'static str>,
    /// Where processor time per delivery and its parts come from.
    note: &'a str,
}

impl<'a> Base<'a> {
    /// Checks the options, pins, makes room for descriptors and signs users in.
    pub(crate) fn prepare(
        common: &'a Common,
        known: &Metrics,
        connections: usize,
        signing_in: usize,
    ) -> Result<Self> {
        Self::prepare_split(common, known, connections, signing_in, connections)
    }

    /// The same when processes share the connections, of which none has more than `most`.
    pub(crate) fn prepare_split(
        common: &'a Common,
        known: &Metrics,
        connections: usize,
        signing_in: usize,
        most: usize,
    ) -> Result<Self> {
        for assertion in &common.assertions {
            assertion.check(known)?;
        }
        common.files.check()?;
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
        limits::allow(most)?;
        // Its thread is not pinned with the tester's.
        let watched = Watched::start(common, remote)?;
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
        let (sessions, cost) = if common.protocol.signs_in() && signing_in > 0 {
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
            watched,
            trace: Trace::default(),
        })
    }

    pub(crate) fn stage(&self) -> Stage<'_> {
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
            server: self.watched.server(),
            namespace: &self.common.namespace,
            run: self.run,
            until: self.until,
            progress: self.progress,
        }
    }

    /// Writes the outputs and decides.
    pub(crate) fn publish<P: Serialize, R: Serialize>(
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
        let protocol = common.protocol.name();
        let target = self.target.url();
        let method = Method {
            plan,
            connections,
            anonymous: common.anonymous,
            accounts: self.cost,
            connections_per_source: common.per_source,
            pin_server: common.pin_server,
            pin_tester: common.pin_tester,
            server_figures: self.watched.source(),
            note: "spans in nanoseconds; server processor time is user and system time of all threads",
        };
        let mut document = Document::new(
            scenario,
            (&target, protocol, &common.profile),
            method,
            result,
            metrics,
            &assertions,
        )
        .with(&self.trace);
        let title = format!(
            "{scenario}: {connections} connections to {target}, limits profile {}",
            common.profile
        );
        let files = (&common.files, &self.trace);
        let server = self.watched.line();
        let notes: Vec<String> = server.into_iter().chain(notes.iter().cloned()).collect();
        document.publish(&title, &notes, common.json.as_deref(), files)?;
        Ok(if document.passed {
            Verdict::Passed
        } else {
            Verdict::Failed
        })
    }

    /// A warning when tokens end before the run may.
    pub(crate) fn token_note(&self, seconds: f64) -> Option<String> {
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
    common.files.without_latency("idle")?;
    check_body(args.message_bytes)?;
    args.then_message_bytes.map_or(Ok(()), check_body)?;
    let mut stops = vec![slope_from, slope_to, total];
    stops.retain(|n| *n > 0);
    stops.dedup();
    let plan = IdlePlan {
        stops,
        slope: (slope_from, slope_to),
        per_room: args.members_per_room.max(1),
        active: args.active,
        body_bytes: args.message_bytes,
        then_body_bytes: args.then_message_bytes,
        drain: from_seconds(args.drain),
        settle: from_seconds(args.settle),
        quiet: from_seconds(args.quiet),
    };
    let signing_in = if common.anonymous { 0 } else { total };
    let workers = args.workers.count()?;
    let known = IdleResult::default().metrics();
    let by_rooms = total.div_ceil(plan.per_room).div_ceil(workers) * plan.per_room;
    let mut base = Base::prepare_split(common, &known, total, signing_in, by_rooms.min(total))?;
    let mut result = match workers {
        1 => idle::run(&plan, &base.stage())?,
        _ => idle::split::run(&plan, &base.stage(), workers, &this_program()?)?,
    };
    let metrics = result.metrics();
    let mut notes: Vec<String> = base
        .token_note((args.settle + args.quiet) * (plan.stops.len() + 1) as f64)
        .into_iter()
        .collect();
    notes.extend(result.warnings());
    notes.extend(listed("refused", &result.messages.refused));
    notes.extend(listed("ended", &result.messages.ended));
    base.trace = Trace {
        latencies: Vec::new(),
        course: result.course.take(),
        wire: Some((result.wire, None)),
    };
    base.publish("idle", total, (plan, result), &metrics, &notes)
}

fn room(args: &RoomArgs) -> Result<Verdict> {
    let common = &args.common;
    let (mut plan, signing_in) = load(&args.load, common)?;
    let signing_in = args.variant.apply(&mut plan, common, signing_in)?;
    let total = plan.connections();
    let known = RoomResult::of(&plan).metrics();
    let workers = args.workers.count_for_room(common)?;
    if let Some(path) = &args.history {
        with_history(&mut plan, common, path, workers)?;
    }
    let mut base = Base::prepare_split(common, &known, total, signing_in, total.div_ceil(workers))?;
    let outcome = if workers == 1 {
        let tap = args.history.as_deref().map(Tap::create).transpose()?;
        let records = Records {
            series: Some(Series::new(base.watched.server())?),
            tap: tap.map(Box::new),
        };
        room::recorded(&plan, &base.stage(), records)?
    } else {
        let hands = Hands {
            program: &this_program()?,
            workers,
            history: args.history.as_deref(),
        };
        in_parts(hands, || room::split::recorded(&plan, &base.stage(), hands))?
    };
    let metrics = outcome.result.metrics();
    let mut notes: Vec<String> = base.token_note(plan.seconds()).into_iter().collect();
    notes.extend(plan.load.note());
    notes.extend(parts_note(args.history.as_deref(), workers));
    notes.extend(outcome.result.warnings());
    notes.extend(listed("refused", &outcome.result.tally.refused));
    notes.extend(listed("ended", &outcome.result.tally.ended));
    base.trace = Trace {
        latencies: std::iter::once(("delivery".to_owned(), outcome.latency))
            .chain(outcome.reference.map(|r| ("reference".to_owned(), r)))
            .collect(),
        course: outcome.course,
        wire: Some((outcome.result.wire, outcome.result.checks())),
    };
    let both = (plan, outcome.result);
    base.publish("room", total, both, &metrics, &notes)
}

fn ratio(args: &RatioArgs) -> Result<Verdict> {
    #[derive(Serialize)]
    struct Both {
        #[serde(flatten)]
        load: RoomPlan,
        #[serde(flatten)]
        ratio: RatioPlan,
    }
    args.common.files.without_course("ratio")?;
    if args.common.metrics.is_some() {
        return Err(ratio::needs_pid());
    }
    let (load, signing_in) = load(&args.load, &args.common)?;
    let total = load.connections();
    versus::check_pairs(args.pairs)?;
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
    let mut base = Base::prepare(&args.common, &RatioResult::default().metrics(), total, signing_in)?;
    let mut result = ratio::run(&load, &plan, &base.stage(), &this_program()?)?;
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
    notes.extend(result.warnings.iter().cloned());
    let (product, floor) = result.pools.take().unzip();
    let named = |name: &str, latency: Option<_>| latency.map(|l| (name.to_owned(), l));
    base.trace = Trace {
        latencies: named("product", product)
            .into_iter()
            .chain(named("floor", floor))
            .collect(),
        ..Trace::default()
    };
    let both = (Both { load, ratio: plan }, result);
    base.publish("ratio", total, both, &metrics, &notes)
}

pub(crate) fn this_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(Error::io("finding this program"))
}

/// The plan of a load, and how many connections sign in for it.
pub(crate) fn load(args: &LoadArgs, common: &Common) -> Result<(RoomPlan, usize)> {
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
        variant: Variant::default(),
    };
    let signing_in = if common.anonymous {
        args.rooms * publishers
    } else {
        plan.connections()
    };
    Ok((plan, signing_in))
}

pub(crate) fn check_body(bytes: usize) -> Result<()> {
    let max = countersign_protocol::limits::BODY_BYTES_MAX;
    if (BODY_BYTES_MIN..=max).contains(&bytes) {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--message-bytes is {BODY_BYTES_MIN} to {max}, not {bytes}"
    )))
}

pub(crate) fn listed(what: &str, counts: &std::collections::BTreeMap<String, u64>) -> Vec<String> {
    counts
        .iter()
        .map(|(name, n)| format!("  {what}: {name} × {n}"))
        .collect()
}
