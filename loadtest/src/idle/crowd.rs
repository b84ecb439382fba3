//! The connections of an idle run, or those of one process of it: whole rooms.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::IdlePlan;
use super::activity::Activity;
use super::messages::Messages;
use crate::clock::Nanos;
use crate::engine::Engine;
use crate::engine::socket::Acks;
use crate::error::Result;
use crate::fleet::{Fleet, Ramp, Seat};
use crate::k6::Sockets;
use crate::room::{Share, Stage};
use crate::series::{Course, Phase, Series};

/// Connections that come in stops, and what they do there.
pub(super) struct Crowd<'a> {
    pub engine: Engine,
    plan: &'a IdlePlan,
    stage: &'a Stage<'a>,
    fleet: Fleet<'a>,
    /// Their numbers in the run, rising.
    members: Vec<usize>,
    activity: Activity,
    /// How many of them are connected.
    pub reached: usize,
}

/// What one process counted.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Count {
    #[serde(flatten)]
    pub messages: Messages,
    pub connect_refused: BTreeMap<String, u64>,
    pub sockets: Sockets,
}

/// The members of a share: those of every `of`-th room.
pub(super) fn members_of(plan: &IdlePlan, share: Share) -> Vec<usize> {
    let total = plan.stops.last().copied().unwrap_or(0);
    let ours = |member: &usize| share.local(member / plan.per_room.max(1)).is_some();
    (0..total).filter(ours).collect()
}

impl<'a> Crowd<'a> {
    pub(super) fn new(plan: &'a IdlePlan, stage: &'a Stage<'a>, share: Share) -> Result<Crowd<'a>> {
        let total = plan.stops.last().copied().unwrap_or(0);
        let per_room = plan.per_room.max(1);
        let members = members_of(plan, share);
        let rooms: Vec<String> = (0..share.count(total.div_ceil(per_room)))
            .map(|r| format!("{}:lt-{:08x}-{:05}", stage.namespace, stage.run, share.global(r)))
            .collect();
        let users = stage.sessions.len();
        let seats = members.iter().enumerate().map(|(local, member)| Seat {
            room: local / per_room,
            session: (users > 0).then(|| member % users),
        });
        Ok(Crowd {
            engine: Engine::new(Acks::Prompt)?,
            activity: Activity::new(plan, stage, &rooms)?,
            plan,
            stage,
            fleet: Fleet {
                target: stage.target,
                dialect: stage.dialect,
                sources: stage.sources,
                sessions: stage.sessions,
                rooms,
                seats: seats.collect(),
                pace: stage.pace,
                state: Ramp::default(),
            },
            members,
            reached: 0,
        })
    }

    /// From now on the course of the run is recorded.
    pub(super) fn record(&mut self, series: Option<Series>) {
        self.activity.series = series;
    }

    /// Connects what is driven here of the first `upto` connections of the run, and lets it become active.
    pub(super) fn reach(&mut self, upto: usize) -> Result<()> {
        let upto = self.members.partition_point(|member| *member < upto);
        let new = self.reached..upto;
        self.activity.phase(Phase::Connecting);
        let bar = self.stage.progress.bar("connecting", self.members.len());
        // The fleet tells the course the time meanwhile.
        self.fleet.state.series = self.activity.series.take();
        self.fleet.raise(&mut self.engine, upto, self.stage.until, &bar)?;
        self.activity.series = self.fleet.state.series.take();
        bar.done();
        self.reached = upto;
        let bases = new.clone().map(|member| self.fleet.state.base(member));
        self.activity.enter(bases);
        if self.plan.active {
            self.activity.phase(Phase::Warmup);
            self.activity.run(&mut self.engine, new, self.stage)?;
        }
        Ok(())
    }

    /// Lets each send another message, with a body of `body_bytes`.
    pub(super) fn speak(&mut self, body_bytes: usize) -> Result<()> {
        self.activity.phase(Phase::Warmup);
        self.activity.speak(&self.fleet.rooms, body_bytes)?;
        let all = 0..self.reached;
        self.activity.run(&mut self.engine, all, self.stage)
    }

    /// Lets counts go out.
    pub(super) fn settle(&mut self) -> Result<()> {
        if self.plan.settle == 0 {
            return Ok(());
        }
        self.activity.phase(Phase::Draining);
        self.rest("settling", self.plan.settle)
    }

    /// The quiet span.
    pub(super) fn quiet(&mut self) -> Result<()> {
        self.activity.phase(Phase::Quiet);
        self.rest("quiet", self.plan.quiet)
    }

    /// Sends nothing for `span`; pings are answered.
    pub(super) fn rest(&mut self, what: &'static str, span: Nanos) -> Result<()> {
        self.activity.rest(&mut self.engine, what, span, self.stage)
    }

    /// Closes all connections; what was counted, and the course if it was recorded.
    pub(super) fn leave(mut self) -> Result<(Count, Option<Course>)> {
        let sockets = Sockets::of(&self.engine.io);
        let live = self.engine.io.live();
        let mut course = self.activity.series.take().map(|s| s.finish(live));
        self.engine.close_all()?;
        let messages = self.activity.counted();
        if let Some(course) = &mut course {
            course.settle(messages.lost);
        }
        let count = Count {
            messages,
            connect_refused: self.fleet.state.refused().clone(),
            sockets,
        };
        Ok((count, course))
    }
}
