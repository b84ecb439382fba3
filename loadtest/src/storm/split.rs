//! A `storm` run shared among worker processes, whole rooms each: all cut at one instant. The coordinator alone looks
//! at the server.

use serde_json::value::RawValue;

use super::driver::Driver;
use super::result::Books;
use super::{QUIET, StormPlan, StormResult, possible, settle, storm};
use crate::clock::{self, Nanos};
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::room::{Share, Stage};
use crate::series::Phase;
use crate::story::drive;
use crate::story::memory::MemoryPeak;
use crate::story::split::{self, LEAD, REPORT_MAX, Told};
use crate::workers::child::Link;
use crate::workers::crew::Hands;
use crate::workers::{Order, Scenario, WorkerShare};

/// Runs `plan` on several processes.
pub fn run(plan: &StormPlan, stage: &Stage<'_>, hands: Hands<'_>) -> Result<StormResult> {
    possible(plan, stage)?;
    let most = hands.shares().map(|share| plan.connections_of(share)).max();
    let mut crew = split::raise(hands, &Scenario::Storm(plan.clone()), stage, most)?;
    let rss = || stage.server.map(resident_bytes).transpose();
    let start = clock::now() + LEAD;
    let cut_at = start + plan.before;
    crew.tell(Order::Start(start))?;
    crew.phase(Phase::Reference);
    crew.rest_until(cut_at)?;
    let mut result = StormResult {
        rss_before_bytes: rss()?,
        ..StormResult::default()
    };
    let watch = Watch::begin(stage.server)?;
    crew.phase(Phase::Measured);
    let mut memory = MemoryPeak::new(stage.server)?;
    // Each says so when its own are back or its time is up.
    let until = cut_at + plan.storms() + REPORT_MAX;
    crew.ready_meanwhile("coming back", until, |now| memory.look(now))?;
    result.usage = watch.end()?;
    result.rss_peak_bytes = memory.peak();
    let over_at = clock::now();
    crew.tell(Order::Over(over_at))?;
    crew.phase(Phase::After);
    crew.rest_until(over_at + plan.after)?;
    crew.phase(Phase::Draining);
    crew.ready("draining", over_at + plan.after + plan.drain + QUIET + REPORT_MAX)?;
    result.rss_end_bytes = rss()?;
    let told: Told<Books> = split::finish(crew)?;
    result.workers = told.shares(0);
    WorkerShare::into_usage(&result.workers, &mut result.usage);
    result.conclude(told.books, (told.wire, told.course));
    Ok(result)
}

/// A worker's part: its share of `plan`, as the coordinator says.
pub fn work(plan: &StormPlan, stage: &Stage<'_>, share: Share, link: &Link) -> Result<Box<RawValue>> {
    let mut driver = Driver::new(plan, stage, share, link.series()?)?;
    let members = driver.part.members();
    let (mut engine, start) = split::begin(&mut driver, members, stage, link)?;
    driver.begin(start);
    drive(&mut engine, &mut driver, start + plan.before)?;
    let watch = Watch::begin(None)?;
    let bar = stage.progress.bar("current", members);
    storm(&mut engine, &mut driver, plan, &bar)?;
    split::ready(link)?;
    // Those of others may still be away.
    let over_at = split::ordered(&mut engine, &mut driver, link, over)?;
    let usage = watch.end()?;
    driver.storm_is_over(over_at);
    drive(&mut engine, &mut driver, over_at + plan.after)?;
    settle(&mut engine, &mut driver, plan)?;
    split::ready(link)?;
    let shares = vec![WorkerShare::of(members, &usage)];
    split::report(engine, driver, link, shares, |driver| Ok(driver.into_books()))
}

fn over(order: Order) -> Option<Nanos> {
    match order {
        Order::Over(at) => Some(at),
        _ => None,
    }
}
