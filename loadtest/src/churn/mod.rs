//! The `churn` scenario: connections come, stay a while and leave at a rate, while others stay and talk.

mod args;
mod driver;
mod result;
pub mod split;
mod visitors;

use serde::{Deserialize, Serialize};

pub use self::args::{ChurnArgs, command};
use self::driver::Driver;
pub use self::result::ChurnResult;
pub use self::visitors::VisitorTally;
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::Result;
use crate::host::server::resident_bytes;
use crate::host::usage::{Usage, Watch};
use crate::room::{Share, Stage};
use crate::series::{Phase, Series};
use crate::story::visits::VisitPlan;
use crate::story::{Story, check, drive, drive_until, end, gather};

/// Between the last arrival and the first visitor's leave there may be this much beyond stay and drain.
const MARGIN: Nanos = SECOND;

/// What a run does.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

    /// Those of one process.
    pub fn connections_of(&self, share: Share) -> usize {
        share.count(self.rooms) * self.per_room + self.visits.slots_of(self.rooms, share)
    }

    /// The spans of a run whose messages begin at `calm_from`.
    fn spans(&self, calm_from: Nanos) -> Spans {
        let come_from = calm_from + self.calm;
        let from = come_from + self.warmup;
        Spans {
            calm_from,
            come_from,
            from,
            to: from + self.window,
        }
    }

    /// Longest time from the end of the measured span until all is settled.
    fn settles(&self) -> Nanos {
        // The last who came may wait for a message until then, and have still to be let go.
        self.visits.stay + 2 * self.drain
    }

    fn lasts(&self) -> Nanos {
        2 * self.quiet + self.calm + self.warmup + self.window + self.visits.stay + 2 * self.drain + MARGIN
    }
}

/// When what begins, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Spans {
    calm_from: Nanos,
    /// Visitors come.
    come_from: Nanos,
    /// The measured span.
    from: Nanos,
    to: Nanos,
}

/// Connects who stays, lets visitors come and go, waits until they are gone, and counts.
pub fn run(plan: &ChurnPlan, stage: &Stage<'_>) -> Result<ChurnResult> {
    check(stage, plan.lasts())?;
    let mut engine = Engine::new(Acks::Prompt)?;
    let mut driver = Driver::new(plan, stage, Share::WHOLE, Some(Series::new(stage.server)?))?;
    driver.phase(Phase::Connecting);
    let mut result = ChurnResult::default();
    let bar = stage.progress.bar("connecting", plan.members());
    gather(&mut engine, &mut driver, plan.members(), stage.until, &bar)?;
    bar.done();
    driver.phase(Phase::Quiet);
    drive(&mut engine, &mut driver, clock::now() + plan.quiet)?;
    let rss = || stage.server.map(resident_bytes).transpose();
    result.rss_start_bytes = rss()?;

    let spans = plan.spans(clock::now() + MILLI);
    let measured = measure(&mut engine, &mut driver, stage, &spans)?;
    (result.calm_usage, result.usage) = (measured.calm, measured.usage);
    result.rss_warm_bytes = measured.rss_warm_bytes;
    result.rss_churning_bytes = rss()?;

    driver.phase(Phase::Draining);
    settle(&mut engine, &mut driver, plan)?;
    driver.phase(Phase::Quiet);
    drive(&mut engine, &mut driver, clock::now() + plan.quiet)?;
    result.rss_end_bytes = rss()?;
    let ended = end(&engine, &mut driver);
    result.conclude(driver.into_books(), plan, ended);
    engine.close_all()?;
    Ok(result)
}

/// What the spans cost, and the server's memory before the measured one.
struct Measured {
    calm: Usage,
    usage: Usage,
    rss_warm_bytes: Option<u64>,
}

/// Messages without visitors, with them, and with them measured.
fn measure(
    engine: &mut Engine,
    driver: &mut Driver<'_>,
    stage: &Stage<'_>,
    spans: &Spans,
) -> Result<Measured> {
    driver.begin(spans.calm_from, spans.come_from, (spans.from, spans.to));
    driver.phase(Phase::Reference);
    let watch = Watch::begin(stage.server)?;
    drive(engine, driver, spans.come_from)?;
    let calm = watch.end()?;
    driver.phase(Phase::Warmup);
    drive(engine, driver, spans.from)?;
    let rss_warm_bytes = stage.server.map(resident_bytes).transpose()?;
    driver.phase(Phase::Measured);
    let watch = Watch::begin(stage.server)?;
    drive(engine, driver, spans.to)?;
    Ok(Measured {
        calm,
        usage: watch.end()?,
        rss_warm_bytes,
    })
}

/// Nobody comes any more: waits until all who came are gone and everything is accounted for.
fn settle(engine: &mut Engine, driver: &mut Driver<'_>, plan: &ChurnPlan) -> Result<()> {
    driver.stop_visits();
    let until = clock::now() + plan.settles();
    drive_until(engine, driver, until, |d, _| d.visitors_present() == 0)?;
    driver.stop_messages();
    let until = until.min(clock::now() + plan.drain);
    drive_until(engine, driver, until, |d, _| d.settled())?;
    Ok(())
}
