//! An `idle` run shared among worker processes, whole rooms each. The coordinator alone looks at the server.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::activity::TURN_MAX;
use super::crowd::{Count, Crowd, members_of};
use super::{IdlePlan, IdleResult, Stop};
use crate::clock::{self, Nanos, SECOND};
use crate::error::{Error, Result};
use crate::host::server::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::room::{Share, Stage};
use crate::series::Phase;
use crate::workers::child::Link;
use crate::workers::crew::{Crew, Hands};
use crate::workers::{Order, Report, Scenario, WorkerShare, pack, unpack};

/// Longest wait for the workers to close their connections and report.
const REPORT_MAX: Nanos = 60 * SECOND;

/// What a worker reports at the end.
#[derive(Serialize, Deserialize)]
struct Counted {
    count: Count,
    /// In each ramp, and in each quiet span.
    ramps: Vec<WorkerShare>,
    shares: Vec<WorkerShare>,
}

/// How many connections a share has.
pub fn connections(plan: &IdlePlan, share: Share) -> usize {
    members_of(plan, share).len()
}

/// Runs `plan` on `workers` processes of `program`.
pub fn run(plan: &IdlePlan, stage: &Stage<'_>, workers: usize, program: &Path) -> Result<IdleResult> {
    let hands = Hands::of(program, workers);
    let most = hands.shares().map(|share| connections(plan, share)).max();
    let look = || stage.server.map(resident_bytes).transpose();
    let mut result = IdleResult {
        rss_before_bytes: look()?,
        ..IdleResult::default()
    };
    let scenario = Scenario::Idle(plan.clone());
    let mut crew = Crew::raise(hands, &scenario, stage, most.unwrap_or(0))?;
    for (index, upto) in plan.stops.iter().enumerate() {
        let stop = stop(&mut crew, (plan, stage), Order::Stop(index), *upto)?;
        result.stops.push(stop);
    }
    if plan.then_body_bytes.is_some() {
        let total = plan.stops.last().copied().unwrap_or(0);
        result.then = Some(stop(&mut crew, (plan, stage), Order::Speak, total)?);
    }
    crew.tell(Order::Finish)?;
    let (mut counts, mut ramps, mut by_worker) = (Vec::new(), Vec::new(), Vec::new());
    for report in crew.done(clock::now() + REPORT_MAX)? {
        let counted: Counted = unpack(&report)?;
        counts.push(counted.count);
        ramps.push(counted.ramps);
        by_worker.push(counted.shares);
    }
    result.put(counts)?;
    result.course = crew.course();
    if let Some(course) = &mut result.course {
        course.settle(result.messages.lost);
    }
    let last = result.stops.len().saturating_sub(1);
    for (index, stop) in result.stops.iter_mut().chain(&mut result.then).enumerate() {
        // The coordinator only waited.
        WorkerShare::into_usage(&of_all(&ramps, index), &mut stop.ramp);
        let shares = of_all(&by_worker, index);
        WorkerShare::into_usage(&shares, &mut stop.quiet);
        if index == last {
            result.workers = shares;
        }
    }
    result.conclude(plan);
    Ok(result)
}

/// What each worker was in the span of this index.
fn of_all(by_worker: &[Vec<WorkerShare>], index: usize) -> Vec<WorkerShare> {
    by_worker.iter().filter_map(|w| w.get(index).copied()).collect()
}

/// Gives an order, waits until all have followed it and through the quiet span, and reads memory.
fn stop(
    crew: &mut Crew,
    (plan, stage): (&IdlePlan, &Stage<'_>),
    order: Order,
    connections: usize,
) -> Result<Stop> {
    let watch = Watch::begin(stage.server)?;
    crew.phase(match order {
        Order::Speak => Phase::Warmup,
        _ => Phase::Connecting,
    });
    crew.tell(order)?;
    crew.ready("connecting", stage.until)?;
    let ramp = watch.end()?;
    if plan.settle > 0 {
        crew.phase(Phase::Draining);
    }
    crew.rest_until((clock::now() + plan.settle).min(stage.until))?;
    crew.phase(Phase::Quiet);
    let watch = Watch::begin(stage.server)?;
    crew.tell(Order::Quiet)?;
    crew.rest_until((clock::now() + plan.quiet).min(stage.until))?;
    Ok(Stop {
        connections,
        quiet: watch.end()?,
        rss_bytes: stage.server.map(resident_bytes).transpose()?,
        ramp,
    })
}

/// A worker's part: its share of `plan`, stop by stop as the coordinator says.
pub fn work(plan: &IdlePlan, stage: &Stage<'_>, share: Share, link: &Link) -> Result<Box<RawValue>> {
    let mut crowd = Crowd::new(plan, stage, share)?;
    link.beat(crowd.engine.turns());
    crowd.record(link.series()?);
    let (mut ramps, mut shares) = (Vec::new(), Vec::new());
    let mut quiet: Option<Watch> = None;
    loop {
        let order = match link.order() {
            Some(order) => order,
            None => {
                crowd.rest("quiet", TURN_MAX)?;
                continue;
            }
        };
        if let Some(watch) = quiet.take() {
            let usage: Usage = watch.end()?;
            shares.push(WorkerShare::of(crowd.reached, &usage));
        }
        match order {
            Order::Stop(index) => {
                let upto = plan.stops.get(index).copied();
                let upto = upto.ok_or_else(|| Error::Process(format!("there is no stop {index}")))?;
                let watch = Watch::begin(None)?;
                crowd.reach(upto)?;
                ramps.push(WorkerShare::of(crowd.reached, &watch.end()?));
                link.tell(&Report::Ready(pack(&())?))?;
            }
            Order::Speak => {
                let watch = Watch::begin(None)?;
                if let Some(bytes) = plan.then_body_bytes {
                    crowd.speak(bytes)?;
                }
                ramps.push(WorkerShare::of(crowd.reached, &watch.end()?));
                link.tell(&Report::Ready(pack(&())?))?;
            }
            Order::Quiet => quiet = Some(Watch::begin(None)?),
            Order::Finish => {
                let (count, _) = crowd.leave()?;
                return pack(&Counted { count, ramps, shares });
            }
            Order::Start(_) | Order::Over(_) | Order::Waited(_) => {
                return Err(Error::Process(format!("{order:?} to idle connections")));
            }
        }
    }
}
