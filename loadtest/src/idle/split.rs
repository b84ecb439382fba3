//! An `idle` run shared among worker processes, whole rooms each. The coordinator alone looks at the server.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Count, Crowd, IdlePlan, IdleResult, Stop, TURN_MAX, members_of};
use crate::clock::{self, Nanos, SECOND};
use crate::error::{Error, Result};
use crate::host::process::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::output::Progress;
use crate::room::{Share, Stage};
use crate::workers::child::Link;
use crate::workers::crew::Crew;
use crate::workers::{Order, Report, Scenario, Task, WorkerShare, pack, unpack};

/// Longest wait for the workers to close their connections and report.
const REPORT_MAX: Nanos = 60 * SECOND;

/// What a worker reports at the end.
#[derive(Serialize, Deserialize)]
struct Counted {
    count: Count,
    /// In each quiet span.
    shares: Vec<WorkerShare>,
}

/// How many connections a share has.
pub fn connections(plan: &IdlePlan, share: Share) -> usize {
    members_of(plan, share).len()
}

/// Runs `plan` on `workers` processes of `program`.
pub fn run(plan: &IdlePlan, stage: &Stage<'_>, workers: usize, program: &Path) -> Result<IdleResult> {
    let shares: Vec<Share> = (0..workers).map(|index| Share { index, of: workers }).collect();
    let most = shares
        .iter()
        .map(|share| connections(plan, *share))
        .max()
        .unwrap_or(0);
    let task = |share: &Share| Task::of(Scenario::Idle(plan.clone()), stage, *share, most);
    let tasks: Vec<Task> = shares.iter().map(task).collect();
    let look = || stage.pid.map(resident_bytes).transpose();
    let mut result = IdleResult {
        rss_before_bytes: look()?,
        ..IdleResult::default()
    };
    let mut crew = Crew::start(program, &tasks)?;
    for (index, upto) in plan.stops.iter().enumerate() {
        let watch = Watch::begin(stage.pid)?;
        crew.tell(Order::Stop(index))?;
        crew.ready("connecting", stage.until)?;
        let ramp = watch.end(stage.pid)?;
        let watch = Watch::begin(stage.pid)?;
        crew.rest_until((clock::now() + plan.quiet).min(stage.until))?;
        result.stops.push(Stop {
            connections: *upto,
            quiet: watch.end(stage.pid)?,
            rss_bytes: look()?,
            ramp,
        });
    }
    crew.tell(Order::Finish)?;
    let mut by_worker = Vec::new();
    for report in crew.done(clock::now() + REPORT_MAX)? {
        let counted: Counted = unpack(&report)?;
        result.add(counted.count);
        by_worker.push(counted.shares);
    }
    for (index, stop) in result.stops.iter_mut().enumerate() {
        let shares: Vec<WorkerShare> = by_worker.iter().filter_map(|w| w.get(index).copied()).collect();
        WorkerShare::into_usage(&shares, &mut stop.quiet);
        result.workers = shares;
    }
    result.conclude(plan);
    Ok(result)
}

/// A worker's part: its share of `plan`, stop by stop as the coordinator says.
pub fn work(plan: &IdlePlan, stage: &Stage<'_>, share: Share, link: &Link) -> Result<Box<RawValue>> {
    let mut crowd = Crowd::new(plan, stage, share)?;
    link.beat(crowd.engine.turns());
    let bar = Progress::hidden().bar("connecting", 0);
    let mut shares = Vec::new();
    let mut quiet: Option<Watch> = None;
    loop {
        let order = match link.order() {
            Some(order) => order,
            None => {
                crowd.rest(TURN_MAX)?;
                continue;
            }
        };
        if let Some(watch) = quiet.take() {
            let usage: Usage = watch.end(None)?;
            shares.push(WorkerShare::of(crowd.reached, &usage));
        }
        match order {
            Order::Stop(index) => {
                let upto = plan.stops.get(index).copied();
                let upto = upto.ok_or_else(|| Error::Process(format!("there is no stop {index}")))?;
                crowd.reach(upto, &bar)?;
                link.tell(&Report::Ready(pack(&())?))?;
                quiet = Some(Watch::begin(None)?);
            }
            Order::Finish => {
                let count = crowd.leave()?;
                return pack(&Counted { count, shares });
            }
            Order::Start(_) => return Err(Error::Process("idle connections start nothing".to_owned())),
        }
    }
}
