//! What the scenarios share in which connections come and go while the run is on: `counts`, `churn` and
//! `storm`. [`arrivals`] brings single members in and in again, [`visits`] lets them come, stay and leave on
//! a schedule, [`ledger`] accounts for messages over all connections of a member.

pub mod arrivals;
pub mod ledger;
pub mod memory;
pub mod schedule;
pub mod split;
pub mod told;
pub mod visits;

use std::collections::BTreeMap;

use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::{Ended, Engine, Handler, Io};
use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::k6::Wire;
use crate::output::Bar;
use crate::room::Stage;
use crate::series::{Course, Phase, Series};

/// Longest wait of one turn.
const TURN_MAX: Nanos = 50 * MILLI;

/// A scenario whose connections come and go.
pub trait Story: Handler {
    /// Does what is due at `now`; returns when the next is.
    fn tick(&mut self, io: &mut Io, now: Nanos) -> Nanos;

    /// The course of the run, while it is recorded.
    fn series(&mut self) -> &mut Option<Series>;

    /// What goes on from now on.
    fn phase(&mut self, phase: Phase) {
        if let Some(series) = self.series() {
            series.phase(phase);
        }
    }
}

/// Does what is due at `due_until` and tells the course the time, which is `now`.
fn turn<S: Story>(io: &mut Io, story: &mut S, due_until: Nanos, now: Nanos) -> Nanos {
    let next = story.tick(io, due_until);
    if let Some(series) = story.series() {
        series.tick(now, io.live());
    }
    next
}

/// Ends the course: what went over the sockets until now, and the run second by second.
pub fn end<S: Story>(engine: &Engine, story: &mut S) -> (Wire, Option<Course>) {
    let live = engine.io.live();
    let course = story.series().take().map(|s| s.finish(live));
    (Wire::of(&engine.io), course)
}

/// Runs `story` until `to`. What was due until then is done even when it is late: a schedule that is cut
/// short when the tester or the server stalls would hide the stall.
pub fn drive<S: Story>(engine: &mut Engine, story: &mut S, to: Nanos) -> Result<()> {
    loop {
        let now = clock::now();
        let due = turn(&mut engine.io, story, now.min(to.saturating_sub(1)), now);
        if now >= to && due >= to {
            return Ok(());
        }
        let wake = due.min(to).min(now + TURN_MAX);
        engine.turn(story, wake.saturating_sub(clock::now()))?;
    }
}

/// Runs `story` until `done`, not longer than `until`. Whether it was done.
pub fn drive_until<S: Story>(
    engine: &mut Engine,
    story: &mut S,
    until: Nanos,
    mut done: impl FnMut(&mut S, Nanos) -> bool,
) -> Result<bool> {
    loop {
        let now = clock::now();
        let due = turn(&mut engine.io, story, now, now);
        if done(story, now) {
            return Ok(true);
        }
        if now >= until {
            return Ok(false);
        }
        let wake = due.min(until).min(now + TURN_MAX);
        engine.turn(story, wake.saturating_sub(clock::now()))?;
    }
}

/// The state of a story while all of its population is brought in.
pub trait Gathering: Story {
    /// How many are in, and the first that cannot come with the reason.
    fn gathered(&mut self) -> (usize, Option<(usize, String)>);
}

/// Waits until `total` members are in. One that cannot come ends the run.
pub fn gather<S: Gathering>(
    engine: &mut Engine,
    story: &mut S,
    total: usize,
    until: Nanos,
    bar: &Bar,
) -> Result<()> {
    let began = clock::now();
    let (mut failed, mut ready) = (None, 0);
    let done = drive_until(engine, story, until, |story, _| {
        (ready, failed) = story.gathered();
        bar.set(ready);
        ready >= total || failed.is_some()
    })?;
    if let Some((member, why)) = failed {
        return Err(Error::Connect { member, why });
    }
    if done {
        return Ok(());
    }
    Err(Error::Deadline {
        phase: "connecting",
        limit: clock::now() - began,
        state: format!("{ready} of {total} ready"),
    })
}

/// Refuses a run that cannot be: another dialect, or one that would end after its deadline.
pub fn check(stage: &Stage<'_>, lasts: Nanos) -> Result<()> {
    speaks(stage.dialect)?;
    if clock::now() + lasts > stage.until {
        return Err(Error::Usage(
            "the run does not fit before its deadline (--deadline)".to_owned(),
        ));
    }
    Ok(())
}

/// Refuses a dialect that has no words for what stories are about.
pub fn speaks(dialect: Dialect) -> Result<()> {
    if dialect == Dialect::Countersign {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "this scenario joins, leaves, counts and recovers, which --protocol {} does not know: it needs --protocol \
         countersign",
        dialect.name()
    )))
}

/// The rooms of a run.
pub fn room_names(stage: &Stage<'_>, rooms: usize) -> Vec<String> {
    (0..rooms)
        .map(|r| format!("{}:lt-{:08x}-{r:05}", stage.namespace, stage.run))
        .collect()
}

/// The short name of an end, for counting.
pub fn reason(how: &Ended) -> String {
    match how {
        Ended::Refused { status, .. } => format!("upgrade {status}"),
        Ended::Closed { code } => format!("closed {code}"),
        Ended::Lost(_) => "lost".to_owned(),
        Ended::Failed(why) => why.clone(),
    }
}

/// One more of `what`.
pub fn count(map: &mut BTreeMap<String, u64>, what: &str) {
    if let Some(n) = map.get_mut(what) {
        *n += 1;
    } else {
        map.insert(what.to_owned(), 1);
    }
}

/// `value`, when it is within `low..=high`.
pub fn within(name: &str, value: f64, low: f64, high: f64) -> Result<f64> {
    if value.is_finite() && (low..=high).contains(&value) {
        return Ok(value);
    }
    Err(Error::Usage(format!("{name} is {low} to {high}, not {value}")))
}

/// Far enough from `now` that something else is due before.
pub(crate) fn idle(now: Nanos) -> Nanos {
    now + SECOND
}
