//! The `storm` scenario: all are cut at once and come back at once, to recover what was said meanwhile.

mod args;
mod driver;
mod result;
pub mod split;

use serde::{Deserialize, Serialize};

pub use self::args::{StormArgs, command};
use self::driver::Driver;
pub use self::result::StormResult;
use crate::clock::{self, MILLI, Nanos};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::output::Bar;
use crate::room::{Share, Stage};
use crate::series::{Phase, Series};
use crate::story::{Story, check, drive, drive_until, end, gather};

/// After all is accounted for nothing must arrive for this long: what comes twice is still counted.
const QUIET: Nanos = 300 * MILLI;

/// What a run does.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StormPlan {
    pub rooms: usize,
    pub per_room: usize,
    /// Members of each room that send in turn. They stay connected, so that there is something to recover.
    pub publishers: usize,
    /// Members of each room that stay connected and only listen.
    pub stayers: usize,
    /// Messages per second into each room, before, during and after the storm.
    pub messages_per_second: f64,
    /// Length of a message's body, bytes of JSON.
    pub body_bytes: usize,
    /// Messages before the cut.
    pub before: Nanos,
    /// From the cut to the first try to come back.
    pub away: Nanos,
    /// Most connections begun in a second when they come back; 0: all at once, as it is after a real cut.
    pub returns_per_second: f64,
    /// Longest time from the cut until all are current.
    pub limit: Nanos,
    /// Messages after all are current.
    pub after: Nanos,
    /// Longest wait for what is still under way at the end.
    pub drain: Nanos,
}

impl StormPlan {
    /// All members.
    pub fn members(&self) -> usize {
        self.rooms * self.per_room
    }

    /// Those of one process, each with a connection.
    pub fn connections_of(&self, share: Share) -> usize {
        share.count(self.rooms) * self.per_room
    }

    /// Longest time from the cut until those who were cut must be current.
    fn storms(&self) -> Nanos {
        self.limit.max(self.away)
    }

    /// Whether a member stays connected.
    pub fn stays(&self, member: usize) -> bool {
        member % self.per_room.max(1) < self.publishers + self.stayers
    }

    fn lasts(&self) -> Nanos {
        self.before + self.storms() + self.after + self.drain + QUIET
    }
}

/// Connects, talks, cuts, lets come back, and counts.
pub fn run(plan: &StormPlan, stage: &Stage<'_>) -> Result<StormResult> {
    possible(plan, stage)?;
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage, Share::WHOLE, Some(Series::new(stage.server)?))?;
    driver.phase(Phase::Connecting);
    let mut result = StormResult::default();
    let bar = stage.progress.bar("connecting", plan.members());
    gather(&mut engine, &mut driver, plan.members(), stage.until, &bar)?;
    bar.done();
    driver.begin(clock::now() + MILLI);
    driver.phase(Phase::Reference);
    drive(&mut engine, &mut driver, clock::now() + plan.before)?;
    result.rss_before_bytes = stage.server.map(resident_bytes).transpose()?;

    let bar = stage.progress.bar("current", plan.members());
    let watch = Watch::begin(stage.server)?;
    driver.phase(Phase::Measured);
    storm(&mut engine, &mut driver, plan, &bar)?;
    result.usage = watch.end()?;
    bar.done();
    driver.storm_is_over(clock::now());
    driver.phase(Phase::After);
    drive(&mut engine, &mut driver, clock::now() + plan.after)?;

    driver.phase(Phase::Draining);
    settle(&mut engine, &mut driver, plan)?;
    result.rss_end_bytes = stage.server.map(resident_bytes).transpose()?;
    let ended = end(&engine, &mut driver);
    result.rss_peak_bytes = driver.memory.peak();
    result.conclude(driver.into_books(), ended);
    engine.close_all()?;
    Ok(result)
}

/// Refuses a run that cannot be.
fn possible(plan: &StormPlan, stage: &Stage<'_>) -> Result<()> {
    check(stage, plan.lasts())?;
    if stage.sessions.is_empty() {
        return Err(Error::Usage("messages are sent by signed-in members".to_owned()));
    }
    Ok(())
}

/// Cuts, and lets come back, until all are current or the time for it is up.
fn storm(engine: &mut Engine, driver: &mut Driver<'_>, plan: &StormPlan, bar: &Bar) -> Result<()> {
    let cut_at = driver.cut(&mut engine.io);
    drive(engine, driver, cut_at + plan.away)?;
    driver.come_back();
    drive_until(engine, driver, cut_at + plan.storms(), |d, _| {
        bar.set(d.current());
        d.all_are_back()
    })?;
    Ok(())
}

/// Nothing is sent any more: waits until all is accounted for, and a little longer.
fn settle(engine: &mut Engine, driver: &mut Driver<'_>, plan: &StormPlan) -> Result<()> {
    driver.stop();
    let until = clock::now() + plan.drain;
    if drive_until(engine, driver, until, |d, _| d.settled())? {
        drive(engine, driver, clock::now() + QUIET)?;
    }
    Ok(())
}
