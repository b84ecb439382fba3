//! The `counts` scenario: likes at a rate, viewers that change, and how soon, how often and how truly each
//! member is told.

mod args;
mod driver;
mod result;
pub mod split;
mod views;

use serde::{Deserialize, Serialize};

pub use self::args::{CountsArgs, command};
use self::driver::Driver;
pub use self::result::CountsResult;
use crate::clock::{self, MILLI, Nanos};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::host::server::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::room::{Share, Stage};
use crate::series::{Phase, Series};
use crate::story::visits::VisitPlan;
use crate::story::{Story, check, drive, drive_until, end, gather};

/// After all is as it should be, this long nothing may change it: longer than the default interval of counts.
const QUIET: Nanos = 300 * MILLI;

/// What a run does.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

    /// Those of one process.
    pub fn connections_of(&self, share: Share) -> usize {
        let visitors = self.visits.map_or(0, |v| v.slots_of(self.rooms, share));
        share.count(self.rooms) * self.per_room + visitors
    }

    /// The measured span of a run whose likes begin at `start`.
    fn spans(&self, start: Nanos) -> (Nanos, Nanos) {
        (start + self.warmup, start + self.warmup + self.window)
    }

    fn lasts(&self) -> Nanos {
        self.warmup + self.window + self.drain + QUIET
    }
}

/// Connects, likes for the warm-up and the measured span, waits until all is told, and counts.
pub fn run(plan: &CountsPlan, stage: &Stage<'_>) -> Result<CountsResult> {
    possible(plan, stage)?;
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage, Share::WHOLE, Some(Series::new(stage.server)?))?;
    driver.phase(Phase::Connecting);
    let mut result = CountsResult::default();
    let bar = stage.progress.bar("connecting", plan.members());
    gather(&mut engine, &mut driver, plan.members(), stage.until, &bar)?;
    bar.done();

    result.usage = measure(&mut engine, &mut driver, plan, stage, clock::now() + MILLI)?;
    result.rss_bytes = stage.server.map(resident_bytes).transpose()?;
    driver.stop();
    driver.phase(Phase::Draining);
    settle(&mut engine, &mut driver, plan.drain)?;
    let ended = end(&engine, &mut driver);
    result.conclude(driver.into_books()?, plan, ended);
    engine.close_all()?;
    Ok(result)
}

/// Refuses a run that cannot be.
fn possible(plan: &CountsPlan, stage: &Stage<'_>) -> Result<()> {
    check(stage, plan.lasts())?;
    if stage.sessions.is_empty() {
        return Err(Error::Usage("likes are sent by signed-in members".to_owned()));
    }
    Ok(())
}

/// Likes from `start` for the warm-up and the measured span; what the latter cost.
fn measure(
    engine: &mut Engine,
    driver: &mut Driver<'_>,
    plan: &CountsPlan,
    stage: &Stage<'_>,
    start: Nanos,
) -> Result<Usage> {
    let (from, to) = plan.spans(start);
    driver.begin(start, (from, to));
    driver.phase(Phase::Warmup);
    drive(engine, driver, from)?;
    driver.counting = true;
    driver.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    drive(engine, driver, to)?;
    driver.counting = false;
    watch.end()
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
