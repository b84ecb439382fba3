//! A `counts` run shared among worker processes, whole rooms each. The coordinator alone looks at the server.

use serde_json::value::RawValue;

use super::driver::Driver;
use super::result::Books;
use super::{CountsPlan, CountsResult, QUIET, measure, possible, settle};
use crate::clock;
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::room::{Share, Stage};
use crate::series::Phase;
use crate::story::split::{self, LEAD, REPORT_MAX, Told};
use crate::workers::child::Link;
use crate::workers::crew::Hands;
use crate::workers::{Order, Scenario, WorkerShare};

/// Runs `plan` on several processes.
pub fn run(plan: &CountsPlan, stage: &Stage<'_>, hands: Hands<'_>) -> Result<CountsResult> {
    possible(plan, stage)?;
    let most = hands.shares().map(|share| plan.connections_of(share)).max();
    let mut crew = split::raise(hands, &Scenario::Counts(plan.clone()), stage, most)?;
    let start = clock::now() + LEAD;
    let (from, to) = plan.spans(start);
    crew.tell(Order::Start(start))?;
    crew.phase(Phase::Warmup);
    crew.rest_until(from)?;
    crew.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    crew.rest_until(to)?;
    let mut result = CountsResult {
        usage: watch.end()?,
        rss_bytes: stage.server.map(resident_bytes).transpose()?,
        ..CountsResult::default()
    };
    crew.phase(Phase::Draining);
    crew.ready("draining", to + plan.drain + QUIET + REPORT_MAX)?;
    let told: Told<Books> = split::finish(crew)?;
    result.workers = told.shares(0);
    WorkerShare::into_usage(&result.workers, &mut result.usage);
    result.conclude(told.books, plan, (told.wire, told.course));
    Ok(result)
}

/// A worker's part: its share of `plan`, as the coordinator says.
pub fn work(plan: &CountsPlan, stage: &Stage<'_>, share: Share, link: &Link) -> Result<Box<RawValue>> {
    let mut driver = Driver::new(plan, stage, share, link.series()?)?;
    let members = driver.part.members();
    let (mut engine, start) = split::begin(&mut driver, members, stage, link)?;
    let usage = measure(&mut engine, &mut driver, plan, stage, start)?;
    driver.stop();
    settle(&mut engine, &mut driver, plan.drain)?;
    split::ready(link)?;
    let shares = vec![WorkerShare::of(plan.connections_of(share), &usage)];
    split::report(engine, driver, link, shares, Driver::into_books)
}
