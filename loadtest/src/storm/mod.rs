//! The `storm` scenario: all are cut at once and come back at once, to recover what was said meanwhile.

mod args;
mod driver;
mod result;

use serde::Serialize;

pub use self::args::{StormArgs, command};
use self::driver::Driver;
pub use self::result::StormResult;
use crate::clock::{self, MILLI, Nanos};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::host::server::resident_bytes;
use crate::host::usage::Watch;
use crate::room::Stage;
use crate::series::Phase;
use crate::story::{Story, check, drive, drive_until, end, gather};

/// After all is accounted for nothing must arrive for this long: what comes twice is still counted.
const QUIET: Nanos = 300 * MILLI;

/// What a run does.
#[derive(Debug, Clone, Serialize)]
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

    /// Whether a member stays connected.
    pub fn stays(&self, member: usize) -> bool {
        member % self.per_room.max(1) < self.publishers + self.stayers
    }

    fn lasts(&self) -> Nanos {
        self.before + self.limit.max(self.away) + self.after + self.drain + QUIET
    }
}

/// Connects, talks, cuts, lets come back, and counts.
pub fn run(plan: &StormPlan, stage: &Stage<'_>) -> Result<StormResult> {
    check(stage, plan.lasts())?;
    if stage.sessions.is_empty() {
        return Err(Error::Usage("messages are sent by signed-in members".to_owned()));
    }
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage)?;
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
    let cut_at = driver.cut(&mut engine.io);
    drive(&mut engine, &mut driver, cut_at + plan.away)?;
    driver.come_back();
    drive_until(
        &mut engine,
        &mut driver,
        cut_at + plan.limit.max(plan.away),
        |d, _| {
            bar.set(d.current());
            d.all_are_back()
        },
    )?;
    result.usage = watch.end()?;
    bar.done();
    driver.storm_is_over(clock::now());
    driver.phase(Phase::After);
    drive(&mut engine, &mut driver, clock::now() + plan.after)?;

    driver.stop();
    driver.phase(Phase::Draining);
    let until = clock::now() + plan.drain;
    if drive_until(&mut engine, &mut driver, until, |d, _| d.settled())? {
        drive(&mut engine, &mut driver, clock::now() + QUIET)?;
    }
    result.rss_end_bytes = stage.server.map(resident_bytes).transpose()?;
    let ended = end(&engine, &mut driver);
    result.conclude(driver, ended);
    engine.close_all()?;
    Ok(result)
}
