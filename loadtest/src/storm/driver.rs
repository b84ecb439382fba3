//! The running `storm` scenario.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::StormPlan;
use super::result::Books;
use crate::clock::{self, MICRO, Nanos};
use crate::engine::{Ended, Handler, Io};
use crate::error::Result;
use crate::fleet::Pace;
use crate::latency::Latency;
use crate::room::{Share, Stage};
use crate::series::Series;
use crate::story::arrivals::{Arrivals, Fate, Heard, Waits};
use crate::story::ledger::{Chain, Ledger, publisher_of};
use crate::story::memory::MemoryPeak;
use crate::story::schedule::Schedule;
use crate::story::split::Part;
use crate::story::told::{COUNTS_PREFIX, Told};
use crate::story::{Gathering, Story, count, reason};
use crate::wire::MESSAGE_PREFIX;

/// Most messages made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;

/// How far somebody who was cut has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Back {
    /// Stays connected, or was not cut yet.
    Never,
    Away,
    /// In the room again; something is still missing.
    Joined,
    Current,
}

/// How joins went on, counted.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Rejoins {
    pub recovered: u64,
    pub broken: u64,
    pub short: u64,
    pub other_epoch: u64,
}

/// The running scenario.
pub(super) struct Driver<'a> {
    plan: StormPlan,
    pub part: Part,
    pub arrivals: Arrivals<'a>,
    pub ledger: Ledger,
    pub told: Told,
    pub rejoins: Rejoins,
    back: Vec<Back>,
    were_cut: usize,
    /// Of these, not current.
    missing: usize,
    cut_at: Nanos,
    over_at: Nanos,
    pub memory: MemoryPeak,
    /// From the cut to the reply to `join`, and to having all that anybody was told.
    pub rejoin: Latency,
    pub current: Latency,
    /// From the intended message to the read that brought it to one who stays: before the cut, and in the
    /// storm.
    pub before: Latency,
    pub during: Latency,
    pub lag: Latency,
    pub given_up: BTreeMap<String, u64>,
    /// Connections that stayed and ended nevertheless, and that ended again after they came back.
    pub stayed_ended: BTreeMap<String, u64>,
    pub ended_again: BTreeMap<String, u64>,
    pub early: u64,
    /// Tries refused before the cut.
    pub refused_before: BTreeMap<String, u64>,
    schedule: Option<Schedule>,
    failed: Option<(usize, String)>,
    /// When the last who was cut was current.
    all_current_at: Option<Nanos>,
}

impl<'a> Driver<'a> {
    /// For the members of a share, who come when the story goes on.
    pub(super) fn new(
        plan: &StormPlan,
        stage: &Stage<'a>,
        share: Share,
        series: Option<Series>,
    ) -> Result<Driver<'a>> {
        let part = Part {
            share,
            rooms: plan.rooms,
            per_room: plan.per_room,
        };
        let users = stage.sessions.len().max(1);
        let arrivals = part.arrivals(stage, |member| {
            let (room, place) = (member / plan.per_room, member % plan.per_room);
            if !stage.anonymous {
                Some(member % users)
            } else {
                (place < plan.publishers).then_some((room * plan.publishers + place) % users)
            }
        });
        let members = part.members();
        let room_of = (0..members).map(|m| m / plan.per_room).collect();
        let mut ledger = Ledger::new(stage.run, &part.names(stage), plan.body_bytes, room_of)?;
        ledger.series = series;
        Ok(Driver {
            arrivals,
            ledger,
            told: Told::new(members),
            rejoins: Rejoins::default(),
            back: vec![Back::Never; members],
            were_cut: 0,
            missing: 0,
            cut_at: Nanos::MAX,
            over_at: Nanos::MAX,
            memory: MemoryPeak::new(stage.server)?,
            rejoin: Latency::new()?,
            current: Latency::new()?,
            before: Latency::new()?,
            during: Latency::new()?,
            lag: Latency::new()?,
            given_up: BTreeMap::new(),
            stayed_ended: BTreeMap::new(),
            ended_again: BTreeMap::new(),
            early: 0,
            refused_before: BTreeMap::new(),
            schedule: None,
            failed: None,
            all_current_at: None,
            part,
            plan: plan.clone(),
        })
    }

    pub(super) fn begin(&mut self, start: Nanos) {
        let per_second = self.plan.messages_per_second * self.plan.rooms as f64;
        self.schedule = Some(Schedule::new(start, per_second));
    }

    pub(super) fn stop(&mut self) {
        self.schedule = None;
    }

    /// Drops all sockets but those that stay; returns when.
    pub(super) fn cut(&mut self, io: &mut Io) -> Nanos {
        self.refused_before = self.arrivals.refused().clone();
        self.arrivals.waits = Waits::default();
        self.cut_at = clock::now();
        for member in 0..self.part.members() {
            if !self.plan.stays(member) {
                self.arrivals.cut(io, member);
                self.back[member] = Back::Away;
                self.were_cut += 1;
            }
        }
        self.missing = self.were_cut;
        self.cut_at
    }

    /// Lets all who were cut come back from where they were.
    pub(super) fn come_back(&mut self) {
        // That all come at once is what is asked here: the bounds under which they came first are none now.
        self.arrivals.pace = Pace {
            in_flight: usize::MAX,
            per_second: self.plan.returns_per_second / self.part.share.of.max(1) as f64,
        };
        for member in 0..self.part.members() {
            if self.back[member] == Back::Away {
                self.arrivals.ask(member, self.ledger.position(member));
            }
        }
    }

    /// Messages meant from now on are after the storm.
    pub(super) fn storm_is_over(&mut self, now: Nanos) {
        self.over_at = now;
    }

    /// Those who were cut and are current again.
    pub(super) fn current(&self) -> usize {
        self.were_cut - self.missing
    }

    /// Those who were cut.
    pub(super) fn were_cut(&self) -> usize {
        self.were_cut
    }

    /// Whether all who were cut and did not give up are current.
    pub(super) fn all_are_back(&self) -> bool {
        self.missing as u64 <= self.given_up.values().sum()
    }

    /// Those who were not cut.
    pub(super) fn stayed(&self) -> usize {
        self.back.len() - self.were_cut()
    }

    /// From the cut until all were current, µs.
    pub(super) fn all_current_us(&self) -> Option<f64> {
        Some((self.all_current_at? - self.cut_at) as f64 / MICRO as f64)
    }

    /// Whether a member was never cut, or has come back.
    pub(super) fn counts(&self, member: usize) -> bool {
        matches!(
            self.back.get(member),
            Some(Back::Never | Back::Joined | Back::Current)
        )
    }

    /// Whether all messages are accounted for and all members told how many are there.
    pub(super) fn settled(&self) -> bool {
        self.ledger.settled(|m| self.counts(m)) && self.wrong() == (0, 0)
    }

    /// Members last told a wrong number of viewers, and of users.
    pub(super) fn wrong(&self) -> (u64, u64) {
        let present = self.arrivals.present();
        self.told.wrong(|member| {
            let there = self.arrivals.is_inside(member);
            there.then(|| present[member / self.plan.per_room])
        })
    }

    /// Since the cut: refusals and failures that were tried again.
    pub(super) fn storm_refused(&self) -> BTreeMap<String, u64> {
        let mut refused = self.arrivals.refused().clone();
        for (what, n) in &self.refused_before {
            if let Some(all) = refused.get_mut(what) {
                *all -= n;
            }
        }
        refused.retain(|_, n| *n > 0);
        refused
    }

    /// Everything that was counted.
    pub(super) fn into_books(self) -> Books {
        let (viewers_wrong, members_wrong) = self.wrong();
        Books {
            cut: self.were_cut() as u64,
            stayed: self.stayed() as u64,
            current: self.current() as u64,
            viewers_wrong,
            members_wrong,
            loss: self.ledger.settle(|member| self.counts(member)),
            storm_refused: self.storm_refused(),
            waits: self.arrivals.waits,
            all_current_us: self.all_current_us(),
            rejoins: self.rejoins,
            rejoin: self.rejoin,
            to_current: self.current,
            before: self.before,
            during: self.during,
            lag: self.lag,
            messages: self.ledger.tally,
            counts: self.told.tally,
            early: self.early,
            connect_refused: self.refused_before,
            given_up: self.given_up,
            stayed_ended: self.stayed_ended,
            ended_again: self.ended_again,
        }
    }

    fn joined(&mut self, member: usize, chain: Chain, at: Nanos) {
        match chain {
            Chain::Begun => return,
            Chain::Recovered => self.rejoins.recovered += 1,
            Chain::Short => self.rejoins.short += 1,
            Chain::Broken => self.rejoins.broken += 1,
            Chain::OtherEpoch => self.rejoins.other_epoch += 1,
        }
        if self.back[member] == Back::Away {
            self.back[member] = Back::Joined;
            self.rejoin.record(at.saturating_sub(self.cut_at));
        }
        self.look(member, at);
    }

    /// Notes the moment a member has all that anybody was told.
    fn look(&mut self, member: usize, at: Nanos) {
        if self.back[member] == Back::Joined && self.ledger.is_current(member) {
            self.back[member] = Back::Current;
            self.current.record(at.saturating_sub(self.cut_at));
            self.missing -= 1;
            if self.missing == 0 {
                self.all_current_at = Some(at);
            }
        }
    }

    fn message(&mut self, member: usize, payload: &[u8], at: Nanos) {
        let intended_at = self.ledger.message(member, payload, at);
        self.look(member, at);
        let Some(intended_at) = intended_at.filter(|_| self.plan.stays(member)) else {
            return;
        };
        let span = at.saturating_sub(intended_at);
        if intended_at < self.cut_at {
            self.before.record(span);
        } else if intended_at < self.over_at {
            self.during.record(span);
        }
    }
}

impl Story for Driver<'_> {
    fn tick(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        for _ in 0..CATCH_UP_MAX {
            let Some((k, due)) = self.schedule.as_mut().and_then(|s| s.take(now)) else {
                break;
            };
            let plan = &self.plan;
            let publisher = publisher_of(k, plan.rooms, plan.per_room, plan.publishers);
            if let Some(member) = self.part.local(publisher) {
                self.lag.record(now - due);
                self.ledger.send(io, member, due);
            }
        }
        let next = self.schedule.as_ref().map_or(Nanos::MAX, Schedule::due_at);
        let next = next.min(self.arrivals.begin_due(io, now));
        for (member, why) in self.arrivals.given_up() {
            if self.cut_at == Nanos::MAX {
                self.failed = Some((member, why));
            } else {
                count(&mut self.given_up, &why);
            }
        }
        if now >= self.cut_at && now < self.over_at {
            self.memory.look(now);
        }
        next
    }

    fn series(&mut self) -> &mut Option<Series> {
        &mut self.ledger.series
    }
}

impl Gathering for Driver<'_> {
    fn gathered(&mut self) -> (usize, Option<(usize, String)>) {
        (self.arrivals.inside(), self.failed.take())
    }
}

impl Handler for Driver<'_> {
    fn opened(&mut self, _: &mut Io, member: usize) {
        self.arrivals.opened(member);
    }

    fn text(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos) {
        match self.arrivals.heard(io, member, payload, at) {
            Heard::Joined(joined) => {
                self.told.joined(member, &joined.counts);
                let chain = self.ledger.joined(member, &joined);
                self.joined(member, chain, at);
            }
            Heard::Inside if payload.starts_with(MESSAGE_PREFIX) => self.message(member, payload, at),
            Heard::Inside if payload.starts_with(COUNTS_PREFIX) => {
                self.told.push(member, payload);
            }
            Heard::Inside => {
                self.ledger.other(member, payload);
                self.look(member, at);
            }
            Heard::Early => self.early += 1,
            Heard::Way => {}
        }
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        let now = clock::now();
        if self.arrivals.ended(member, &how, now) != Fate::Inside {
            return;
        }
        if self.back[member] == Back::Never {
            count(&mut self.stayed_ended, &reason(&how));
        } else {
            // Came back and was sent away again: as a good client it comes again.
            count(&mut self.ended_again, &reason(&how));
            self.missing += usize::from(self.back[member] == Back::Current);
            self.back[member] = Back::Away;
            self.arrivals.ask(member, self.ledger.position(member));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;
    use crate::fleet::Dialect;
    use crate::output::Progress;
    use crate::target::{Remote, Sources, Target};

    #[test]
    fn the_pace_of_the_ramp_does_not_hold_back_who_returns() {
        let target = Target::parse("ws://127.0.0.1:1", Remote::Refused).unwrap();
        let stage = Stage {
            target: &target,
            dialect: Dialect::Countersign,
            sources: Sources::new(&target, 150),
            pace: Pace {
                in_flight: 1,
                per_second: 1.0,
            },
            sessions: &[],
            anonymous: true,
            server: None,
            namespace: "default",
            run: 1,
            until: SECOND,
            progress: Progress::hidden(),
        };
        for rate in [0.0, 7.0] {
            let plan = StormPlan {
                rooms: 1,
                per_room: 3,
                publishers: 1,
                stayers: 0,
                messages_per_second: 1.0,
                body_bytes: 128,
                before: 0,
                away: 0,
                returns_per_second: rate,
                limit: SECOND,
                after: 0,
                drain: 0,
            };
            let mut driver = Driver::new(&plan, &stage, Share::WHOLE, None).unwrap();
            assert_eq!(driver.arrivals.pace.in_flight, 1);
            driver.come_back();
            let pace = driver.arrivals.pace;
            assert_eq!(pace.in_flight, usize::MAX);
            assert!((pace.per_second - rate).abs() < f64::EPSILON, "{pace:?}");
        }
    }
}
