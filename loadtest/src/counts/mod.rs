//! The `counts` scenario: likes at a rate, viewers that change, and how soon, how often and how truly each
//! member is told.

mod args;
mod driver;
mod result;
mod views;

use serde::Serialize;

pub use self::args::{CountsArgs, command};
use self::driver::Driver;
pub use self::result::CountsResult;
use crate::clock::{self, MILLI, Nanos};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::room::Stage;
use crate::series::Phase;
use crate::story::visits::VisitPlan;
use crate::story::{Story, check, drive, drive_until, end, gather};

/// After all is as it should be, this long nothing may change it: longer than the default interval of counts.
const QUIET: Nanos = 300 * MILLI;

/// What a run does.
#[derive(Debug, Clone, Serialize)]
pub struct CountsPlan {
    pub rooms: usize,
    /// Members of each room, who all watch.
    pub per_room: usize,
    /// Members of each room that like, in turn.
    pub likers: usize,
    /// Likes per second into each room.
    pub per_second: f64,
    /// What each like adds, 1 to 100.
    pub n: u64,
    /// Viewers that come and go besides.
    pub visits: Option<VisitPlan>,
    pub warmup: Nanos,
    /// The measured span.
    pub window: Nanos,
    /// Longest wait for what is still under way afterwards.
    pub drain: Nanos,
}

impl CountsPlan {
    /// Members that stay.
    pub fn members(&self) -> usize {
        self.rooms * self.per_room
    }

    /// All connections there can be at once.
    pub fn connections(&self) -> usize {
        self.members() + self.visits.map_or(0, |v| v.slots())
    }

    fn lasts(&self) -> Nanos {
        self.warmup + self.window + self.drain + QUIET
    }
}

/// Connects, likes for the warm-up and the measured span, waits until all is told, and counts.
pub fn run(plan: &CountsPlan, stage: &Stage<'_>) -> Result<CountsResult> {
    check(stage, plan.lasts())?;
    if stage.sessions.is_empty() {
        return Err(Error::Usage("likes are sent by signed-in members".to_owned()));
    }
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage)?;
    driver.phase(Phase::Connecting);
    let mut result = CountsResult::default();
    let bar = stage.progress.bar("connecting", plan.members());
    gather(&mut engine, &mut driver, plan.members(), stage.until, &bar)?;
    bar.done();

    let start = clock::now() + MILLI;
    let (from, to) = (start + plan.warmup, start + plan.warmup + plan.window);
    driver.begin(start, (from, to));
    driver.phase(Phase::Warmup);
    drive(&mut engine, &mut driver, from)?;
    driver.counting = true;
    driver.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    drive(&mut engine, &mut driver, to)?;
    driver.counting = false;
    result.usage = watch.end()?;
    result.rss_bytes = stage.server.map(resident_bytes).transpose()?;
    driver.stop();
    driver.phase(Phase::Draining);
    settle(&mut engine, &mut driver, plan.drain)?;
    let ended = end(&engine, &mut driver);
    result.conclude(driver, plan, ended)?;
    engine.close_all()?;
    Ok(result)
}

/// Waits until visitors are gone and everything is told as it is, and then a little longer.
fn settle(engine: &mut Engine, driver: &mut Driver<'_>, drain: Nanos) -> Result<()> {
    let until = clock::now() + drain;
    while clock::now() < until {
        if drive_until(engine, driver, until, |d, _| d.settled())? {
            drive(engine, driver, clock::now() + QUIET)?;
            if driver.settled() {
                return Ok(());
            }
        }
    }
    Ok(())
}
