//! A `room` run shared among worker processes. Every worker keeps the same schedules and sends what its own
//! members are to send; what all of them counted is added up and settled as if one had counted it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::books::Books;
use super::driver::Driver;
use super::gather::gather;
use super::layout::{Layout, Share};
use super::stall::Resident;
use super::tally::RoomResult;
use super::{LOOK_EVERY, Outcome, QUIET, QUIET_MAX, RoomPlan, Spans, Stage, glance, look, measure, step};
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::host::usage::Watch;
use crate::k6::Sockets;
use crate::series::Phase;
use crate::workers::child::Link;
use crate::workers::crew::{Crew, Hands};
use crate::workers::{Order, Report, Scenario, WorkerShare, pack, unpack};

/// From the order to start to the first message: the workers must have read it.
const LEAD: Nanos = 500 * MILLI;
/// How often a worker says how far it is while the run drains.
const STATE_EVERY: Nanos = 50 * MILLI;
/// Longest wait for the workers to close their connections and report.
const REPORT_MAX: Nanos = 60 * SECOND;

/// How connecting went.
#[derive(Serialize, Deserialize)]
struct Joined {
    refused: BTreeMap<String, u64>,
    share: WorkerShare,
}

/// How far a worker's share of the run is settled.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    sent: u64,
    answered: u64,
    /// Deliveries had or told of, without those of members that were cut off.
    accounted: u64,
    /// By room: messages acknowledged here, and members here that were cut off.
    accepted: Vec<u64>,
    cut: Vec<u64>,
    /// Nothing came since the last one.
    quiet: bool,
}

/// What a worker reports at the end.
#[derive(Serialize, Deserialize)]
struct Counted {
    books: Books,
    share: WorkerShare,
    sockets: Sockets,
}

/// Runs `plan` on `workers` processes of `program`.
pub fn run(plan: &RoomPlan, stage: &Stage<'_>, workers: usize, program: &Path) -> Result<Outcome> {
    recorded(plan, stage, Hands::of(program, workers))
}

/// [`run`], with a history.
pub fn recorded(plan: &RoomPlan, stage: &Stage<'_>, hands: Hands<'_>) -> Result<Outcome> {
    let layout = Layout::of(plan);
    let most = layout.members().div_ceil(hands.workers.max(1));
    let watch = Watch::begin(stage.server)?;
    let mut crew = Crew::raise(hands, &Scenario::Room(plan.clone()), stage, most)?;
    crew.phase(Phase::Connecting);
    let joined = crew.ready("connecting", stage.until)?;
    let usage = watch.end()?;
    let mut result = RoomResult {
        connect_cpu_us: usage.server_us_per(layout.members() as u64),
        connect_seconds: usage.seconds,
        ramp: usage,
        ..RoomResult::default()
    };
    let mut ramps = Vec::new();
    for joined in &joined {
        let joined: Joined = unpack(joined)?;
        for (what, n) in joined.refused {
            *result.connect_refused.entry(what).or_default() += n;
        }
        ramps.push(joined.share);
    }
    // The coordinator only waited.
    WorkerShare::into_usage(&ramps, &mut result.ramp);
    let spans = Spans::of(plan, clock::now() + LEAD);
    spans.fit(stage.until)?;
    crew.tell(Order::Start(spans.start))?;
    crew.phase(Phase::Warmup);
    let resident = watched(&mut crew, plan, stage, &spans, &mut result)?;
    crew.phase(Phase::Draining);
    let stopped = clock::now();
    let settled_at = drain(&mut crew, &layout, (stopped + plan.drain).min(stage.until))?;
    crew.tell(Order::Waited(settled_at.unwrap_or(stopped)))?;
    crew.tell(Order::Finish)?;
    let (mut books, sockets, shares) = add_up(&crew.done(clock::now() + REPORT_MAX)?)?;
    let mut course = crew.course();
    drop(crew);

    WorkerShare::into_usage(&shares, &mut result.usage);
    result.workers = shares;
    result.wire = sockets.wire();
    books.settle(plan, &mut result);
    books.settle_stall(&layout, spans.measure_from, resident, &mut result);
    result.conclude();
    if let Some(course) = &mut course {
        course.settle(result.lost);
    }
    Ok(Outcome {
        result,
        latency: books.latency,
        reference: plan.compared(books.reference),
        course,
    })
}

/// Watches the server over the measured span.
fn watched(
    crew: &mut Crew,
    plan: &RoomPlan,
    stage: &Stage<'_>,
    spans: &Spans,
    result: &mut RoomResult,
) -> Result<Resident> {
    let stalls = plan.variant.stalled > 0;
    let mut resident = Resident::default();
    if stalls {
        crew.rest_until(spans.reference_from)?;
        crew.phase(Phase::Reference);
    }
    crew.rest_until(spans.measure_from)?;
    crew.phase(Phase::Measured);
    if stalls {
        resident.before = look(stage)?;
    }
    let watch = Watch::begin(stage.server)?;
    if stalls {
        for at in (spans.measure_from..spans.measure_to).step_by(step(LOOK_EVERY)) {
            crew.rest_until(at)?;
            resident.seen(glance(stage)?);
        }
    }
    crew.rest_until(spans.measure_to)?;
    result.usage = watch.end()?;
    result.rss_bytes = look(stage)?;
    Ok(resident)
}

/// Waits until all is accounted for in all workers together and nothing more comes, or `until`; when the former was.
fn drain(crew: &mut Crew, layout: &Layout, until: Nanos) -> Result<Option<Nanos>> {
    let mut states: Vec<Option<State>> = vec![None; crew.pids().len()];
    let mut settled_at: Option<Nanos> = None;
    loop {
        let now = clock::now();
        let quiet = states.iter().flatten().filter(|s| s.quiet).count() == states.len();
        if now >= until || settled_at.is_some_and(|at| quiet || now >= at + QUIET_MAX) {
            return Ok(settled_at);
        }
        let Some((index, Report::State(state))) = crew.next(until)? else {
            continue;
        };
        if let Some(place) = states.get_mut(index) {
            *place = Some(unpack(&state)?);
        }
        if settled_at.is_none() && settled(&states, layout) {
            settled_at = Some(now);
            // Quiet counts from here on.
            states.iter_mut().flatten().for_each(|s| s.quiet = false);
        }
    }
}

fn settled(states: &[Option<State>], layout: &Layout) -> bool {
    if states.iter().any(Option::is_none) {
        return false;
    }
    let sum = |of: &dyn Fn(&State) -> u64| states.iter().flatten().map(of).sum::<u64>();
    let at = |list: &[u64], room: usize| list.get(room).copied().unwrap_or(0);
    let expected: u64 = (0..layout.rooms())
        .map(|room| {
            let members = (layout.size(room) as u64).saturating_sub(sum(&|s| at(&s.cut, room)));
            sum(&|s| at(&s.accepted, room)) * members
        })
        .sum();
    sum(&|s| s.answered) >= sum(&|s| s.sent) && sum(&|s| s.accounted) >= expected
}

fn add_up(reports: &[Box<RawValue>]) -> Result<(Books, Sockets, Vec<WorkerShare>)> {
    let (mut all, mut shares): (Option<(Books, Sockets)>, _) = (None, Vec::new());
    for report in reports {
        let counted: Counted = unpack(report)?;
        shares.push(counted.share);
        match &mut all {
            Some((books, sockets)) => {
                books.pool(counted.books)?;
                sockets.pool(&counted.sockets)?;
            }
            None => all = Some((counted.books, counted.sockets)),
        }
    }
    let (books, sockets) = all.ok_or_else(|| Error::Process("there are no workers".to_owned()))?;
    Ok((books, sockets, shares))
}

/// A worker's part: its share of `plan`, as the coordinator says.
pub fn work(plan: &RoomPlan, stage: &Stage<'_>, share: Share, link: &Link) -> Result<Box<RawValue>> {
    let mut engine = Engine::new(plan.acks)?;
    link.beat(engine.turns());
    engine.io.tap = link.tap()?;
    let (joined, ramp) = gather(&mut engine, plan, stage, share, link.series()?)?;
    let mut driver = Driver::new(plan, stage.dialect, stage.run, share, joined)?;
    link.tell(&Report::Ready(pack(&Joined {
        refused: ramp.connect_refused,
        share: WorkerShare::of(driver.members.len(), &ramp.ramp),
    })?))?;
    let start = loop {
        match link.order() {
            Some(Order::Start(at)) => break at,
            Some(order) => return Err(Error::Process(format!("{order:?} before the start"))),
            None => engine.turn(&mut driver, STATE_EVERY)?,
        };
        driver.tick(&engine.io, clock::now());
    };
    let spans = Spans::of(plan, start);
    let usage = measure(&mut engine, &mut driver, plan, stage, &spans)?.usage;
    let mut events = 0;
    let mut told_at = 0;
    loop {
        match link.order() {
            Some(Order::Finish) => break,
            Some(Order::Waited(since)) => {
                if let Some(mut tap) = engine.io.tap.take() {
                    tap.quiet(since);
                    tap.finish()?;
                }
            }
            Some(order) => return Err(Error::Process(format!("{order:?} while draining"))),
            None => {}
        }
        if clock::now() >= told_at + STATE_EVERY {
            told_at = clock::now();
            link.tell(&Report::State(pack(&state(&driver, events == 0))?))?;
            events = 0;
        }
        events += engine.turn(&mut driver, QUIET)?;
        driver.tick(&engine.io, clock::now());
    }
    let sockets = Sockets::of(&engine.io);
    if let Some(series) = driver.series.take() {
        // Its last second goes where the others went.
        let _ = series.finish(engine.io.live());
    }
    engine.close_all()?;
    let share = WorkerShare::of(driver.members.len(), &usage);
    pack(&Counted {
        books: driver.into_books(),
        share,
        sockets,
    })
}

fn state(driver: &Driver, quiet: bool) -> State {
    State {
        sent: driver.tally.sent,
        answered: driver.tally.answered,
        accounted: driver.accounted(),
        accepted: driver.rooms.iter().map(|r| r.book.accepted).collect(),
        cut: driver.rooms.iter().map(|r| r.cut).collect(),
        quiet,
    }
}
