//! The `churn` scenario: connections come, stay a while and leave at a rate, while others stay and talk.

mod args;
mod driver;
mod result;
mod visitors;

use serde::Serialize;

pub use self::args::{ChurnArgs, command};
use self::driver::Driver;
pub use self::result::ChurnResult;
pub use self::visitors::VisitorTally;
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::room::Stage;
use crate::series::Phase;
use crate::story::visits::VisitPlan;
use crate::story::{Story, check, drive, drive_until, end, gather};

/// Between the last arrival and the first visitor's leave there may be this much beyond stay and drain.
const MARGIN: Nanos = SECOND;

/// What a run does.
#[derive(Debug, Clone, Serialize)]
pub struct ChurnPlan {
    pub rooms: usize,
    /// Members of each room that stay.
    pub per_room: usize,
    /// Of these, who send in turn.
    pub publishers: usize,
    /// Messages per second into each room; 0: none.
    pub messages_per_second: f64,
    /// Length of a message's body, bytes of JSON.
    pub body_bytes: usize,
    pub visits: VisitPlan,
    /// Visitors do not sign in.
    pub anonymous_visitors: bool,
    /// Messages without visitors, to compare with.
    pub calm: Nanos,
    /// Visitors come and are not measured.
    pub warmup: Nanos,
    /// The measured span.
    pub window: Nanos,
    /// Longest wait for what is still under way, of a visitor at the end of its stay and of all at the end of the
    /// run.
    pub drain: Nanos,
    /// Nothing happens for this long before memory is read.
    pub quiet: Nanos,
}

impl ChurnPlan {
    /// Members that stay.
    pub fn members(&self) -> usize {
        self.rooms * self.per_room
    }

    /// All connections there can be at once.
    pub fn connections(&self) -> usize {
        self.members() + self.visits.slots()
    }

    fn lasts(&self) -> Nanos {
        2 * self.quiet + self.calm + self.warmup + self.window + self.visits.stay + 2 * self.drain + MARGIN
    }
}

/// Connects who stays, lets visitors come and go, waits until they are gone, and counts.
pub fn run(plan: &ChurnPlan, stage: &Stage<'_>) -> Result<ChurnResult> {
    check(stage, plan.lasts())?;
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage)?;
    driver.phase(Phase::Connecting);
    let mut result = ChurnResult::default();
    let bar = stage.progress.bar("connecting", plan.members());
    gather(&mut engine, &mut driver, plan.members(), stage.until, &bar)?;
    bar.done();
    driver.phase(Phase::Quiet);
    drive(&mut engine, &mut driver, clock::now() + plan.quiet)?;
    let rss = || stage.server.map(resident_bytes).transpose();
    result.rss_start_bytes = rss()?;

    let calm_from = clock::now() + MILLI;
    let come_from = calm_from + plan.calm;
    let (from, to) = (come_from + plan.warmup, come_from + plan.warmup + plan.window);
    driver.begin(calm_from, come_from, (from, to));
    driver.phase(Phase::Reference);
    let watch = Watch::begin(stage.server)?;
    drive(&mut engine, &mut driver, come_from)?;
    result.calm_usage = watch.end()?;
    driver.phase(Phase::Warmup);
    drive(&mut engine, &mut driver, from)?;
    result.rss_warm_bytes = rss()?;
    driver.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    drive(&mut engine, &mut driver, to)?;
    result.usage = watch.end()?;
    result.rss_churning_bytes = rss()?;

    driver.stop_visits();
    driver.phase(Phase::Draining);
    // The last who came may wait for a message until then, and have still to be let go.
    let until = clock::now() + plan.visits.stay + 2 * plan.drain;
    drive_until(&mut engine, &mut driver, until, |d, _| d.visitors_present() == 0)?;
    driver.stop_messages();
    let until = until.min(clock::now() + plan.drain);
    drive_until(&mut engine, &mut driver, until, |d, _| d.settled())?;
    driver.phase(Phase::Quiet);
    drive(&mut engine, &mut driver, clock::now() + plan.quiet)?;
    result.rss_end_bytes = rss()?;
    let ended = end(&engine, &mut driver);
    result.conclude(driver, plan, ended);
    engine.close_all()?;
    Ok(result)
}
