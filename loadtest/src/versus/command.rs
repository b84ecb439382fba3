//! The `versus` command.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::spec::{Pin, Server, SideSpec};
use super::{VersusResult, check_pairs, first_run, serve};
use crate::cli::{Common, LoadArgs};
use crate::error::{Error, Result};
use crate::floor::{self, FloorOptions};
use crate::host::child::ServerChild;
use crate::host::pin;
use crate::metric::Metrics;
use crate::room::RoomPlan;
use crate::run::{Base, Verdict, load};

/// Length of the floor's frames when there is nothing to learn it from, bytes.
const FRAME_BYTES: usize = 300;

/// The two targets, and the load.
#[derive(Debug, Clone, Args)]
pub struct VersusArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: LoadArgs,
    /// One target: 'countersign,ws://127.0.0.1:8080,pid=123' (or floor, ws, nats in front), or one that
    /// the tester starts: floor, floor-coalesced, ws, ws-prepared, nats. Behind either: ',pin=0' or
    /// ',pin=none'.
    #[arg(long, value_name = "TARGET")]
    pub a: SideSpec,
    /// The other.
    #[arg(long, value_name = "TARGET")]
    pub b: SideSpec,
    /// Valid pairs wanted, in order A B B A.
    #[arg(long, default_value_t = 12)]
    pub pairs: usize,
    /// Length of a floor's frames on the wire; default: as long as the other side's messages.
    #[arg(long)]
    pub frame_bytes: Option<usize>,
    /// The broadcast server on ws that is started for `ws`.
    #[arg(long, default_value = "loadtest/targets/ws/server.mjs")]
    pub ws_server: PathBuf,
}

/// One side, running.
struct Contender {
    /// The common options as this side has them.
    common: Common,
    told: Told,
    /// Ends with this value, when it was started here.
    _child: Option<ServerChild>,
}

/// A side as the document names it.
#[derive(Debug, Clone, Serialize)]
struct Told {
    label: String,
    protocol: &'static str,
    target: String,
    pid: u32,
    pin: Option<usize>,
    processors: usize,
}

/// What is compared.
#[derive(Serialize)]
struct Plan {
    #[serde(flatten)]
    load: RoomPlan,
    pairs: usize,
    /// Length of a floor's frames, bytes; `None` without a floor.
    frame_bytes: Option<usize>,
    a: Told,
    b: Told,
}

/// Does what the options say.
pub fn run(args: &VersusArgs) -> Result<Verdict> {
    let common = &args.common;
    if common.pid.is_some() || common.metrics.is_some() {
        return Err(Error::Usage(
            "versus has two servers: say pid= behind --a and --b, not --pid or --metrics (a floor has none)"
                .to_owned(),
        ));
    }
    if let (Server::Running { pid: a, .. }, Server::Running { pid: b, .. }) = (&args.a.server, &args.b.server)
        && a == b
        && args.a.pin != args.b.pin
    {
        return Err(Error::Usage(
            "one process cannot be pinned in two ways: start the server twice".to_owned(),
        ));
    }
    check_pairs(args.pairs)?;
    let (load, signing_in) = load(&args.load, common)?;
    let known = VersusResult::default().metrics();
    for assertion in &common.assertions {
        assertion.check(&known)?;
    }
    let prepare = Prepare {
        known,
        total: load.connections(),
        signing_in,
    };
    let [a, b] = [&args.a, &args.b];
    let start = |spec: &SideSpec, floor: bool, frame_bytes| -> Result<Option<Contender>> {
        (spec.is_floor() == floor)
            .then(|| Contender::start(args, spec, frame_bytes))
            .transpose()
    };
    // A floor comes second: its frames are as long as the other's messages.
    let plain = (start(a, false, 0)?, start(b, false, 0)?);
    let plain_bases = (prepare.base(&plain.0)?, prepare.base(&plain.1)?);
    let mut learnt = None;
    for base in [&plain_bases.0, &plain_bases.1].into_iter().flatten() {
        let wire_bytes = first_run(&load, &base.stage())?;
        learnt.get_or_insert(wire_bytes);
    }
    let least = floor::frame_bytes_min(&common.namespace);
    let learnt = learnt.unwrap_or(FRAME_BYTES).max(least);
    let frame_bytes = args.frame_bytes.unwrap_or(learnt);
    let floors = (start(a, true, frame_bytes)?, start(b, true, frame_bytes)?);
    let floor_bases = (prepare.base(&floors.0)?, prepare.base(&floors.1)?);
    for base in [&floor_bases.0, &floor_bases.1].into_iter().flatten() {
        first_run(&load, &base.stage())?;
    }
    let missing = || Error::Process("a side was not started".to_owned());
    let told = |side: &Option<Contender>| side.as_ref().map(|side| side.told.clone());
    let plan = Plan {
        pairs: args.pairs,
        frame_bytes: (a.is_floor() || b.is_floor()).then_some(frame_bytes),
        a: told(&plain.0).or(told(&floors.0)).ok_or_else(missing)?,
        b: told(&plain.1).or(told(&floors.1)).ok_or_else(missing)?,
        load,
    };
    let mut a_base = plain_bases.0.or(floor_bases.0).ok_or_else(missing)?;
    let b_base = plain_bases.1.or(floor_bases.1).ok_or_else(missing)?;
    compare(plan, &mut a_base, &b_base)
}

/// Runs the pairs and publishes what they amount to.
fn compare(plan: Plan, a: &mut Base<'_>, b: &Base<'_>) -> Result<Verdict> {
    let mut result = super::run(&plan.load, plan.pairs, &a.stage(), &b.stage())?;
    let seconds = plan.load.seconds() * 2.0 * plan.pairs as f64;
    let mut notes: Vec<String> = [&*a, b]
        .iter()
        .filter_map(|base| base.token_note(seconds))
        .collect();
    notes.extend(lines(&plan, &result));
    let metrics = result.metrics();
    let (of_a, of_b) = result.pools.take().unzip();
    let sides = [("a", of_a), ("b", of_b)];
    a.trace.latencies = sides
        .into_iter()
        .filter_map(|(name, latency)| Some((name.to_owned(), latency?)))
        .collect();
    a.publish(
        "versus",
        plan.load.connections(),
        (plan, result),
        &metrics,
        &notes,
    )
}

/// What both sides are prepared with.
struct Prepare {
    known: Metrics,
    total: usize,
    signing_in: usize,
}

impl Prepare {
    fn base<'a>(&self, side: &'a Option<Contender>) -> Result<Option<Base<'a>>> {
        side.as_ref()
            .map(|side| Base::prepare(&side.common, &self.known, self.total, self.signing_in))
            .transpose()
    }
}

impl Contender {
    fn start(args: &VersusArgs, spec: &SideSpec, frame_bytes: usize) -> Result<Contender> {
        let wanted = match spec.pin {
            Some(Pin::Processor(cpu)) => Some(cpu),
            Some(Pin::Anywhere) => None,
            None => args.common.pin_server,
        };
        let child = match &spec.server {
            Server::Running { .. } => None,
            Server::Ws(idiom) => Some(serve::ws(&args.ws_server, *idiom, wanted)?),
            Server::Nats => Some(serve::nats(wanted)?),
            Server::Floor { coalesce } => {
                let program = std::env::current_exe().map_err(Error::io("finding this program"))?;
                let options = FloorOptions {
                    frame_bytes,
                    coalesce: *coalesce,
                };
                Some(floor::child::start(
                    &program,
                    options,
                    args.common.deadline,
                    wanted,
                )?)
            }
        };
        let (url, pid) = match (&spec.server, &child) {
            (Server::Running { url, pid, .. }, _) => (url.clone(), *pid),
            (_, Some(child)) => (format!("ws://{}", child.authority), child.pid()),
            (_, None) => return Err(Error::Process("a side was not started".to_owned())),
        };
        if spec.pin == Some(Pin::Anywhere) {
            pin::release(pid)?;
        } else if let Some(cpu) = wanted {
            pin::process(pid, cpu)?;
        }
        Ok(Contender {
            told: Told {
                label: spec.label.clone(),
                protocol: spec.dialect().name(),
                target: url.clone(),
                pid,
                pin: wanted,
                processors: pin::processors(pid)?,
            },
            common: Common {
                target: url,
                protocol: spec.dialect(),
                pid: Some(pid),
                pin_server: wanted,
                ..args.common.clone()
            },
            _child: child,
        })
    }
}

/// The sides, pair by pair, and what must be known of them.
fn lines(plan: &Plan, result: &VersusResult) -> Vec<String> {
    let mut out = Vec::new();
    for (name, side) in [("a", &plan.a), ("b", &plan.b)] {
        let pin = side
            .pin
            .map_or("not pinned".to_owned(), |cpu| format!("pinned to {cpu}"));
        out.push(format!(
            "  {name}: {} at {}, process {}, {pin}",
            side.label, side.target, side.pid
        ));
    }
    for (i, pair) in result.pairs.iter().enumerate() {
        out.push(format!(
            "  pair {:>2}: a {:.3} µs, b {:.3} µs, ratio {:.3}, tester {:.0} and {:.0} %{}",
            i + 1,
            pair.a.cpu_us_per_delivery,
            pair.b.cpu_us_per_delivery,
            pair.cpu_ratio,
            pair.a.tester_share * 100.0,
            pair.b.tester_share * 100.0,
            pair.void.map(|why| format!(" — void: {why}")).unwrap_or_default()
        ));
    }
    out.extend(result.warnings("a", "b"));
    out
}
