//! A `churn` run shared among worker processes, whole rooms each. The coordinator alone looks at the server.

use serde_json::value::RawValue;

use super::driver::Driver;
use super::result::Books;
use super::{ChurnPlan, ChurnResult, measure, settle};
use crate::clock;
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::room::{Share, Stage};
use crate::series::Phase;
use crate::story::check;
use crate::story::split::{self, LEAD, REPORT_MAX, Told};
use crate::workers::child::Link;
use crate::workers::crew::Hands;
use crate::workers::{Order, Scenario, WorkerShare};

/// Runs `plan` on several processes.
pub fn run(plan: &ChurnPlan, stage: &Stage<'_>, hands: Hands<'_>) -> Result<ChurnResult> {
    check(stage, plan.lasts() + LEAD)?;
    let most = hands.shares().map(|share| plan.connections_of(share)).max();
    let mut crew = split::raise(hands, &Scenario::Churn(plan.clone()), stage, most)?;
    let rss = || stage.server.map(resident_bytes).transpose();
    crew.phase(Phase::Quiet);
    crew.rest_until(clock::now() + plan.quiet)?;
    let mut result = ChurnResult {
        rss_start_bytes: rss()?,
        ..ChurnResult::default()
    };
    let spans = plan.spans(clock::now() + LEAD);
    crew.tell(Order::Start(spans.calm_from))?;
    crew.rest_until(spans.calm_from)?;
    crew.phase(Phase::Reference);
    let watch = Watch::begin(stage.server)?;
    crew.rest_until(spans.come_from)?;
    result.calm_usage = watch.end()?;
    crew.phase(Phase::Warmup);
    crew.rest_until(spans.from)?;
    result.rss_warm_bytes = rss()?;
    crew.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    crew.rest_until(spans.to)?;
    result.usage = watch.end()?;
    result.rss_churning_bytes = rss()?;
    crew.phase(Phase::Draining);
    crew.ready("draining", spans.to + plan.settles() + REPORT_MAX)?;
    crew.phase(Phase::Quiet);
    crew.rest_until(clock::now() + plan.quiet)?;
    result.rss_end_bytes = rss()?;
    let told: Told<Books> = split::finish(crew)?;
    WorkerShare::into_usage(&told.shares(0), &mut result.calm_usage);
    result.workers = told.shares(1);
    WorkerShare::into_usage(&result.workers, &mut result.usage);
    result.conclude(told.books, plan, (told.wire, told.course));
    Ok(result)
}

/// A worker's part: its share of `plan`, as the coordinator says.
pub fn work(plan: &ChurnPlan, stage: &Stage<'_>, share: Share, link: &Link) -> Result<Box<RawValue>> {
    let mut driver = Driver::new(plan, stage, share, link.series()?)?;
    let members = driver.part.members();
    let (mut engine, start) = split::begin(&mut driver, members, stage, link)?;
    let measured = measure(&mut engine, &mut driver, stage, &plan.spans(start))?;
    settle(&mut engine, &mut driver, plan)?;
    split::ready(link)?;
    let connections = plan.connections_of(share);
    let shares = [measured.calm, measured.usage].map(|usage| WorkerShare::of(connections, &usage));
    split::report(engine, driver, link, shares.into(), |driver| {
        Ok(driver.into_books())
    })
}
