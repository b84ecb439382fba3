//! Bringing the members of a run into their rooms.

use super::layout::{Layout, Share};
use super::tally::RoomResult;
use super::{RoomPlan, Stage};
use crate::engine::Engine;
use crate::error::Result;
use crate::fleet::{Fleet, Ramp, Seat};
use crate::host::usage::Watch;
use crate::series::{Phase, Series};

/// The rooms of a run, and members that have joined.
pub(super) struct Gathered {
    /// Names of all rooms, and the users who publish there.
    pub rooms: Vec<(String, Vec<String>)>,
    /// The offset each member driven here joined at.
    pub bases: Vec<u64>,
    /// The course of the run, when it is recorded.
    pub series: Option<Series>,
}

/// Brings the members of this share into their rooms.
pub(super) fn gather(
    engine: &mut Engine,
    plan: &RoomPlan,
    stage: &Stage<'_>,
    share: Share,
    mut series: Option<Series>,
) -> Result<(Gathered, RoomResult)> {
    let layout = Layout::of(plan);
    let total = share.count(layout.members());
    let rooms: Vec<String> = (0..layout.rooms())
        .map(|r| format!("{}:lt-{:08x}-{r:05}", stage.namespace, stage.run))
        .collect();
    let seats: Vec<Seat> = (0..total)
        .map(|local| share.global(local))
        .map(|member| Seat {
            room: layout.room_of(member),
            session: session_of(member, &layout, stage),
        })
        .collect();
    if let Some(tap) = &mut engine.io.tap {
        let user = |seat: &Seat| Some(stage.sessions.get(seat.session?)?.user.clone());
        tap.users = seats.iter().map(user).collect();
    }
    for local in (0..total).filter(|local| layout.stalls(share.global(*local))) {
        engine.io.narrow(local);
    }
    let users = (0..layout.rooms()).map(|room| publishers_of(room, &layout, stage));
    let users: Vec<Vec<String>> = users.collect();
    let mut fleet = Fleet {
        target: stage.target,
        dialect: stage.dialect,
        sources: stage.sources,
        sessions: stage.sessions,
        rooms,
        seats,
        pace: stage.pace,
        state: Ramp::default(),
    };
    if let Some(series) = &mut series {
        series.phase(Phase::Connecting);
    }
    fleet.state.series = series;
    let bar = stage.progress.bar("connecting", total);
    let watch = Watch::begin(stage.server)?;
    fleet.raise(engine, total, stage.until, &bar)?;
    let usage = watch.end()?;
    bar.done();
    let result = RoomResult {
        connect_cpu_us: usage.server_us_per(total as u64),
        connect_seconds: usage.seconds,
        connect_refused: fleet.state.refused().clone(),
        ramp: usage,
        ..RoomResult::default()
    };
    let joined = Gathered {
        bases: (0..total).map(|m| fleet.state.base(m)).collect(),
        series: fleet.state.series.take(),
        rooms: fleet.rooms.into_iter().zip(users).collect(),
    };
    Ok((joined, result))
}

/// The users who publish in a room.
fn publishers_of(room: usize, layout: &Layout, stage: &Stage<'_>) -> Vec<String> {
    (0..layout.publishers(room))
        .filter_map(|k| session_of(layout.first(room) + k, layout, stage))
        .filter_map(|s| stage.sessions.get(s).map(|s| s.user.clone()))
        .collect()
}

fn session_of(member: usize, layout: &Layout, stage: &Stage<'_>) -> Option<usize> {
    if stage.sessions.is_empty() {
        return None;
    }
    if !stage.anonymous {
        return Some(member % stage.sessions.len());
    }
    let room = layout.room_of(member);
    let (k, publishers) = (member - layout.first(room), layout.publishers(room));
    (k < publishers).then(|| (room * publishers + k) % stage.sessions.len())
}
