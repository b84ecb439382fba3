//! The running `churn` scenario.

use std::collections::BTreeMap;

use super::ChurnPlan;
use super::result::Books;
use super::visitors::Visitors;
use crate::clock::{self, Nanos};
use crate::engine::{Ended, Handler, Io};
use crate::error::Result;
use crate::latency::Latency;
use crate::room::{Share, Stage};
use crate::series::Series;
use crate::story::arrivals::{Arrivals, Fate, Heard};
use crate::story::ledger::{Ledger, publisher_of};
use crate::story::schedule::Schedule;
use crate::story::split::Part;
use crate::story::told::{COUNTS_PREFIX, Told};
use crate::story::visits::Visits;
use crate::story::{Gathering, Story, count, reason};
use crate::wire::MESSAGE_PREFIX;

/// Most messages made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;

/// The running scenario.
pub(super) struct Driver<'a> {
    plan: ChurnPlan,
    pub part: Part,
    pub arrivals: Arrivals<'a>,
    pub visits: Visits,
    /// Messages of the members that stay.
    pub ledger: Ledger,
    pub told: Told,
    /// From the intended message to the read that brought it to a member that stays: without visitors, and
    /// with them.
    pub calm: Latency,
    pub churning: Latency,
    pub lag: Latency,
    /// Members that stay whose connection ended, by how.
    pub ended: BTreeMap<String, u64>,
    /// Messages to those who come and go.
    pub visitors: Visitors,
    /// Messages before the reply to a join.
    pub early: u64,
    schedule: Option<Schedule>,
    window: (Nanos, Nanos),
    calm_to: Nanos,
    failed: Option<(usize, String)>,
}

impl<'a> Driver<'a> {
    /// For the members of a share, who come when the story goes on.
    pub(super) fn new(
        plan: &ChurnPlan,
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
        let mut arrivals = part.arrivals(stage, |member| Some(member % users));
        let members = part.members();
        let first = plan.members() + plan.visits.first_slot(plan.rooms, share);
        let visits = Visits::new(plan.visits, part, &mut arrivals, |slot| {
            (!plan.anonymous_visitors).then_some((first + slot) % users)
        })?;
        let room_of = (0..members).map(|m| m / plan.per_room).collect();
        let mut ledger = Ledger::new(stage.run, &part.names(stage), plan.body_bytes, room_of)?;
        ledger.series = series;
        Ok(Driver {
            arrivals,
            visits,
            ledger,
            told: Told::new(members),
            calm: Latency::new()?,
            churning: Latency::new()?,
            lag: Latency::new()?,
            ended: BTreeMap::new(),
            visitors: Visitors::new(plan.visits.slots_of(plan.rooms, share)),
            early: 0,
            schedule: None,
            window: (0, 0),
            calm_to: 0,
            failed: None,
            part,
            plan: plan.clone(),
        })
    }

    /// Messages are sent from `start`, visitors come from `visits_from`; those of `window` are measured.
    pub(super) fn begin(&mut self, start: Nanos, visits_from: Nanos, window: (Nanos, Nanos)) {
        let per_second = self.plan.messages_per_second * self.plan.rooms as f64;
        self.schedule = (per_second > 0.0).then(|| Schedule::new(start, per_second));
        self.calm_to = visits_from;
        self.window = window;
        self.visits.window = window;
        self.visits.begin(visits_from);
        // The schedule is the pace: a bound here would make the loop a closed one.
        self.arrivals.pace.per_second = 0.0;
        self.arrivals.pace.in_flight = usize::MAX;
    }

    pub(super) fn stop_visits(&mut self) {
        self.visits.stop();
    }

    pub(super) fn stop_messages(&mut self) {
        self.schedule = None;
    }

    /// Visitors that are not gone.
    pub(super) fn visitors_present(&self) -> usize {
        self.visits.present()
    }

    /// Whether all messages are accounted for and all members told how many are there.
    pub(super) fn settled(&self) -> bool {
        self.visitors_present() == 0 && self.ledger.settled(|_| true) && self.wrong() == (0, 0)
    }

    /// Members last told a wrong number of viewers, and of users.
    pub(super) fn wrong(&self) -> (u64, u64) {
        let present = self.arrivals.present();
        self.told.wrong(|member| {
            let there = self.arrivals.is_inside(member);
            there.then(|| present[member / self.plan.per_room])
        })
    }

    /// Everything that was counted.
    pub(super) fn into_books(self) -> Books {
        let (viewers_wrong, members_wrong) = self.wrong();
        Books {
            hanging: self.visitors_present() as u64,
            viewers_wrong,
            members_wrong,
            loss: self.ledger.settle(|_| true),
            messages: self.ledger.tally,
            counts: self.told.tally,
            calm: self.calm,
            churning: self.churning,
            lag: self.lag,
            arrival: self.visits.latency,
            arrival_lag: self.visits.lag,
            visits: self.visits.tally,
            connect_refused: self.arrivals.refused().clone(),
            ended: self.ended,
            visitors: self.visitors.settle(),
            early: self.early,
        }
    }

    fn message(&mut self, member: usize, payload: &[u8], at: Nanos) {
        if let Some(slot) = self.visits.slot_of(member) {
            self.visitors.message(slot, payload);
            return;
        }
        let Some(intended_at) = self.ledger.message(member, payload, at) else {
            return;
        };
        if intended_at < self.calm_to {
            self.calm.record(at.saturating_sub(intended_at));
        } else if intended_at >= self.window.0 && intended_at < self.window.1 {
            self.churning.record(at.saturating_sub(intended_at));
        }
    }

    fn other(&mut self, member: usize, payload: &[u8]) {
        if let Some(slot) = self.visits.slot_of(member) {
            self.visitors.other(slot, payload);
        } else if payload.starts_with(COUNTS_PREFIX) {
            self.told.push(member, payload);
        } else {
            self.ledger.other(member, payload);
        }
    }

    /// Who came goes when its time is over and it has what anybody was told of by then.
    fn visitors_tick(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        let (visitors, ledger, first) = (&mut self.visitors, &self.ledger, self.part.members());
        let patience = self.plan.drain;
        self.visits.tick(io, &mut self.arrivals, now, |arrivals, member| {
            let top = ledger.top(arrivals.room_of(member));
            visitors.may_go(member - first, top, now, patience)
        })
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
        let next = next.min(self.visitors_tick(io, now));
        let next = next.min(self.arrivals.begin_due(io, now));
        for (member, why) in self.arrivals.given_up() {
            if self.visits.is_visitor(member) {
                self.visits.failed(member, &why);
            } else {
                self.failed = Some((member, why));
            }
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
                if self.told.joined(member, &joined.counts) {
                    self.ledger.joined(member, &joined);
                } else {
                    if let Some(slot) = self.visits.slot_of(member) {
                        self.visitors.joined(slot, joined.offset);
                    }
                    self.visits.joined(member, at);
                }
            }
            Heard::Inside if payload.starts_with(MESSAGE_PREFIX) => self.message(member, payload, at),
            Heard::Inside => self.other(member, payload),
            Heard::Early => self.early += 1,
            Heard::Way => {}
        }
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        let fate = self.arrivals.ended(member, &how, clock::now());
        let unasked = (fate == Fate::Inside).then(|| reason(&how));
        if let Some(slot) = self.visits.slot_of(member) {
            if matches!(fate, Fate::Inside | Fate::Left) {
                self.visitors.ended(slot);
                self.visits.ended(member, unasked.as_deref());
            }
        } else if let Some(how) = unasked {
            count(&mut self.ended, &how);
        }
    }
}
