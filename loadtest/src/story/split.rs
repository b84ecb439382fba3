//! Stories shared among worker processes, by whole rooms: what becomes of a room, one process alone can say, and what
//! all of them counted adds up. Every worker keeps the schedules of the whole run and does what is meant for its rooms.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::arrivals::Arrivals;
use super::{Gathering, Story, drive, gather};
use crate::clock::{self, MILLI, Nanos, SECOND};
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::{Error, Result};
use crate::k6::{Sockets, Wire};
use crate::room::{Share, Stage};
use crate::series::{Course, Phase};
use crate::workers::child::Link;
use crate::workers::crew::{Crew, Hands};
use crate::workers::{Order, Report, Scenario, WorkerShare, pack, unpack};

/// From an order to the instant it names: the workers must have read it.
pub const LEAD: Nanos = 500 * MILLI;
/// Longest wait for the workers beyond what they wait for, to close their connections and to report.
pub const REPORT_MAX: Nanos = 60 * SECOND;
/// How often a worker looks for orders.
const LOOK_EVERY: Nanos = 10 * MILLI;

/// The rooms of a run that one process drives, and their members, numbered room by room there as in the run.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub share: Share,
    /// Rooms of the run, and members of each.
    pub rooms: usize,
    pub per_room: usize,
}

impl Part {
    /// Rooms driven here.
    pub fn rooms(&self) -> usize {
        self.share.count(self.rooms)
    }

    /// Members driven here.
    pub fn members(&self) -> usize {
        self.rooms() * self.per_room
    }

    /// Names of the rooms driven here.
    pub fn names(&self, stage: &Stage<'_>) -> Vec<String> {
        let all = super::room_names(stage, self.rooms).into_iter().enumerate();
        let ours = |(room, name)| self.share.local(room).map(|_| name);
        all.filter_map(ours).collect()
    }

    /// The members driven here, all asked to come; `session` says as whom member `global` of the run signs in.
    pub fn arrivals<'a>(&self, stage: &Stage<'a>, session: impl Fn(usize) -> Option<usize>) -> Arrivals<'a> {
        let mut arrivals = Arrivals::new(stage, self.names(stage));
        for local in 0..self.members() {
            let number = arrivals.add(local / self.per_room, session(self.global(local)));
            arrivals.ask(number, None);
        }
        arrivals
    }

    /// The number in the run of member `local` of this process.
    pub fn global(&self, local: usize) -> usize {
        let per_room = self.per_room.max(1);
        self.share.global(local / per_room) * per_room + local % per_room
    }

    /// The number in this process of member `global` of the run, if it is driven here.
    pub fn local(&self, global: usize) -> Option<usize> {
        let per_room = self.per_room.max(1);
        Some(self.share.local(global / per_room)? * per_room + global % per_room)
    }
}

/// What a process counted and what can be added to that of others of the same run.
pub trait Pool: Sized {
    /// Adds the other's.
    fn pool(&mut self, other: Self) -> Result<()>;
}

/// Adds what was counted by name.
pub fn add(to: &mut BTreeMap<String, u64>, other: BTreeMap<String, u64>) {
    for (what, n) in other {
        *to.entry(what).or_default() += n;
    }
}

/// What a worker reports at the end.
#[derive(Serialize, Deserialize)]
struct Counted<B> {
    books: B,
    /// Span by span of those that are watched.
    shares: Vec<WorkerShare>,
    sockets: Sockets,
}

/// What all workers reported.
pub struct Told<B> {
    pub books: B,
    pub wire: Wire,
    pub course: Option<Course>,
    shares: Vec<Vec<WorkerShare>>,
}

impl<B> Told<B> {
    /// What each worker was in the watched span of this number.
    pub fn shares(&self, span: usize) -> Vec<WorkerShare> {
        self.shares
            .iter()
            .filter_map(|of| of.get(span).copied())
            .collect()
    }
}

/// Starts the workers and waits until all members are in.
pub fn raise(hands: Hands<'_>, scenario: &Scenario, stage: &Stage<'_>, most: Option<usize>) -> Result<Crew> {
    let mut crew = Crew::raise(hands, scenario, stage, most.unwrap_or(0))?;
    crew.phase(Phase::Connecting);
    crew.ready("connecting", stage.until)?;
    Ok(crew)
}

/// Lets the workers end, and adds up what they counted.
pub fn finish<B: Pool + DeserializeOwned>(mut crew: Crew) -> Result<Told<B>> {
    crew.tell(Order::Finish)?;
    let reports = crew.done(clock::now() + REPORT_MAX)?;
    let course = crew.course();
    drop(crew);
    add_up(&reports, course)
}

fn add_up<B: Pool + DeserializeOwned>(reports: &[Box<RawValue>], course: Option<Course>) -> Result<Told<B>> {
    let (mut all, mut shares): (Option<(B, Sockets)>, _) = (None, Vec::new());
    for report in reports {
        let counted: Counted<B> = unpack(report)?;
        shares.push(counted.shares);
        match &mut all {
            Some((books, sockets)) => {
                books.pool(counted.books)?;
                sockets.pool(&counted.sockets)?;
            }
            None => all = Some((counted.books, counted.sockets)),
        }
    }
    let (books, sockets) = all.ok_or_else(|| Error::Process("there are no workers".to_owned()))?;
    Ok(Told {
        books,
        wire: sockets.wire(),
        course,
        shares,
    })
}

/// A worker's beginning: all of its members come in, and the coordinator orders the start, at the instant that is
/// returned.
pub fn begin<S: Gathering>(
    story: &mut S,
    members: usize,
    stage: &Stage<'_>,
    link: &Link,
) -> Result<(Engine, Nanos)> {
    let mut engine = Engine::new(Acks::Prompt)?;
    link.beat(engine.turns());
    let bar = stage.progress.bar("connecting", members);
    gather(&mut engine, story, members, stage.until, &bar)?;
    ready(link)?;
    let start = ordered(&mut engine, story, link, start)?;
    Ok((engine, start))
}

/// A worker says that it has come as far as it was told to.
pub fn ready(link: &Link) -> Result<()> {
    link.tell(&Report::Ready(pack(&())?))
}

/// Goes on with the story until there is an order that `wanted` takes something of. Any other is an error.
pub fn ordered<S: Story, T>(
    engine: &mut Engine,
    story: &mut S,
    link: &Link,
    wanted: impl Fn(Order) -> Option<T>,
) -> Result<T> {
    loop {
        if let Some(order) = link.order() {
            return wanted(order).ok_or_else(|| Error::Process(format!("{order:?} comes out of turn")));
        }
        drive(engine, story, clock::now() + LOOK_EVERY)?;
    }
}

/// The instant in an order to start.
fn start(order: Order) -> Option<Nanos> {
    match order {
        Order::Start(at) => Some(at),
        _ => None,
    }
}

/// Goes on until the coordinator says that this is the end, and packs what was counted.
pub fn report<S: Story, B: Serialize>(
    mut engine: Engine,
    mut story: S,
    link: &Link,
    shares: Vec<WorkerShare>,
    books: impl FnOnce(S) -> Result<B>,
) -> Result<Box<RawValue>> {
    ordered(&mut engine, &mut story, link, |order| {
        (order == Order::Finish).then_some(())
    })?;
    let sockets = Sockets::of(&engine.io);
    let live = engine.io.live();
    if let Some(series) = story.series().take() {
        // Its last second goes where the others went.
        let _ = series.finish(live);
    }
    let books = books(story)?;
    engine.close_all()?;
    pack(&Counted {
        books,
        shares,
        sockets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_is_in_one_part_with_all_of_its_room() {
        let of = 3;
        for (rooms, per_room) in [(3, 1), (7, 4), (10, 5)] {
            let parts: Vec<Part> = (0..of)
                .map(|index| Part {
                    share: Share { index, of },
                    rooms,
                    per_room,
                })
                .collect();
            let members: usize = parts.iter().map(Part::members).sum();
            assert_eq!(members, rooms * per_room);
            for member in 0..members {
                let homes: Vec<(&Part, usize)> = parts
                    .iter()
                    .filter_map(|part| Some((part, part.local(member)?)))
                    .collect();
                let [(part, local)] = homes[..] else {
                    unreachable!("{homes:?}")
                };
                assert_eq!(part.global(local), member);
                assert_eq!(part.share.global(local / per_room), member / per_room);
                assert!(local < part.members());
            }
        }
    }
}
