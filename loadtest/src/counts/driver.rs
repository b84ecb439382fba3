//! The running `counts` scenario.

use std::collections::{BTreeMap, HashMap};

use countersign_protocol::ErrorCode;
use countersign_protocol::client::Like;
use countersign_protocol::codec::command_json;
use serde::{Deserialize, Serialize};

use super::CountsPlan;
use super::result::Books;
use super::views::{Liked, Views};
use crate::clock::{self, Nanos};
use crate::engine::{Ended, Handler, Io};
use crate::error::Result;
use crate::latency::Latency;
use crate::room::{Share, Stage};
use crate::series::Series;
use crate::story::arrivals::{Arrivals, Fate, Heard};
use crate::story::ledger::publisher_of;
use crate::story::schedule::Schedule;
use crate::story::split::Part;
use crate::story::told::{COUNTS_PREFIX, Told};
use crate::story::visits::Visits;
use crate::story::{Gathering, Story, count, reason};
use crate::wire::command::FIRST_SEND_ID;

/// Most likes without an answer; beyond it they are counted as unsent.
const OUTSTANDING_MAX: usize = 100_000;
/// Most likes made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;

/// One room: what it was told to be.
#[derive(Debug, Clone)]
pub(super) struct Room {
    pub name: String,
    /// The counter when the first member joined.
    pub base: u64,
    /// Sum of what acknowledged likes added.
    pub acknowledged: u64,
    /// The highest value a member was told by counts.
    pub top: u64,
}

/// Running counts of likes.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct LikeTally {
    pub sent: u64,
    pub unsent: u64,
    pub accepted: u64,
    pub refused: BTreeMap<String, u64>,
    pub malformed: u64,
    pub ended: BTreeMap<String, u64>,
    /// Pushes in the measured span.
    pub counted: u64,
}

/// The running scenario.
pub(super) struct Driver<'a> {
    plan: CountsPlan,
    pub part: Part,
    pub arrivals: Arrivals<'a>,
    pub visits: Option<Visits>,
    pub told: Told,
    pub views: Views,
    pub rooms: Vec<Room>,
    pub tally: LikeTally,
    /// From the intended like to its acknowledgement, and to the moment it was sent.
    pub answer: Latency,
    pub lag: Latency,
    /// Pushes are counted for the rates.
    pub counting: bool,
    window: (Nanos, Nanos),
    schedule: Option<Schedule>,
    number: u64,
    outstanding: HashMap<u64, (usize, Nanos)>,
    failed: Option<(usize, String)>,
    /// The course of the run: likes sent, and pushes to those who watch. When a push is the first that holds a
    /// like is known only at the end.
    series: Option<Series>,
}

/// A reply to `like`.
#[derive(Deserialize)]
struct Reply {
    id: Option<u64>,
    value: Option<u64>,
    code: Option<ErrorCode>,
}

impl<'a> Driver<'a> {
    /// For the members of a share, who come when the story goes on.
    pub(super) fn new(
        plan: &CountsPlan,
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
        let visits = plan
            .visits
            .map(|v| Visits::new(v, part, &mut arrivals, |_| None))
            .transpose()?;
        Ok(Driver {
            arrivals,
            visits,
            told: Told::new(part.members()),
            views: Views::new(part.rooms(), plan.per_room),
            rooms: part
                .names(stage)
                .into_iter()
                .map(|name| Room {
                    name,
                    base: u64::MAX,
                    acknowledged: 0,
                    top: 0,
                })
                .collect(),
            tally: LikeTally::default(),
            answer: Latency::new()?,
            lag: Latency::new()?,
            counting: false,
            window: (0, 0),
            schedule: None,
            number: 0,
            outstanding: HashMap::new(),
            failed: None,
            series,
            part,
            plan: plan.clone(),
        })
    }

    /// Likes are sent from `start`, visitors come; those meant within `window` are measured.
    pub(super) fn begin(&mut self, start: Nanos, window: (Nanos, Nanos)) {
        self.window = window;
        self.schedule = Some(Schedule::new(
            start,
            self.plan.per_second * self.plan.rooms as f64,
        ));
        if let Some(visits) = &mut self.visits {
            visits.window = window;
            visits.begin(start);
        }
    }

    pub(super) fn stop(&mut self) {
        self.schedule = None;
        if let Some(visits) = &mut self.visits {
            visits.stop();
        }
    }

    /// Whether every like is answered, every visitor gone, and every member told how it is.
    pub(super) fn settled(&self) -> bool {
        self.outstanding.is_empty()
            && self.visits.as_ref().is_none_or(|v| v.present() == 0)
            && self.stale() == 0
            && self.wrong() == (0, 0)
    }

    /// Members whose last value is not the sum of the acknowledged likes.
    pub(super) fn stale(&self) -> u64 {
        let stale = |member: &usize| {
            let room = &self.rooms[member / self.plan.per_room];
            self.arrivals.is_inside(*member) && self.told.last(*member).value != room.base + room.acknowledged
        };
        (0..self.part.members()).filter(stale).count() as u64
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
    pub(super) fn into_books(self) -> Result<Books> {
        let (viewers_wrong, members_wrong) = self.wrong();
        let mut books = Books {
            unanswered: self.outstanding.len() as u64,
            stale: self.stale(),
            viewers_wrong,
            members_wrong,
            acknowledged: 0,
            lost: 0,
            unexpected: 0,
            spans: self.views.spans(|member| self.arrivals.is_inside(member))?,
            unnoted: self.views.unnoted,
            pushes_max: (0..self.part.members())
                .map(|m| self.told.last(m).pushes)
                .max()
                .unwrap_or(0),
            tally: self.tally,
            answer: self.answer,
            lag: self.lag,
            counts: self.told.tally,
            connect_refused: self.arrivals.refused().clone(),
            visits: self.visits.map(|v| v.tally),
        };
        for room in &self.rooms {
            books.acknowledged += room.acknowledged;
            let due = room.base.saturating_add(room.acknowledged);
            books.lost += due.saturating_sub(room.top);
            books.unexpected += room.top.saturating_sub(due);
        }
        Ok(books)
    }

    fn like(&mut self, io: &mut Io, member: usize, due: Nanos) {
        let room = member / self.plan.per_room;
        let id = FIRST_SEND_ID + self.number;
        let like = Like {
            room: self.rooms[room].name.as_str().into(),
            counter: None,
            n: self.plan.n,
        };
        let free = self.outstanding.len() < OUTSTANDING_MAX;
        if free && io.send(member, &command_json(id, "like", &like)) {
            self.number += 1;
            self.tally.sent += 1;
            if let Some(series) = &mut self.series {
                series.sent(1);
            }
            self.outstanding.insert(id, (room, due));
        } else {
            self.tally.unsent += 1;
        }
    }

    fn reply(&mut self, payload: &[u8], at: Nanos) {
        let Ok(reply) = serde_json::from_slice::<Reply>(payload) else {
            self.tally.malformed += 1;
            return;
        };
        // A push of another kind, or an answer that was given before.
        let Some((room, intended_at)) = reply.id.and_then(|id| self.outstanding.remove(&id)) else {
            return;
        };
        if let Some(code) = reply.code {
            count(&mut self.tally.refused, code.name());
            return;
        }
        let Some(value) = reply.value else {
            self.tally.malformed += 1;
            return;
        };
        self.tally.accepted += 1;
        self.rooms[room].acknowledged += self.plan.n;
        if intended_at >= self.window.0 && intended_at < self.window.1 {
            self.answer.record(at.saturating_sub(intended_at));
            self.views.liked(Liked {
                room,
                value,
                intended_at,
                answered_at: at,
            });
        }
    }

    fn counts(&mut self, member: usize, payload: &[u8], at: Nanos) {
        let before = self.told.tally.pushes;
        let news = self.told.push(member, payload);
        if let Some(series) = &mut self.series {
            series.received(self.told.tally.pushes - before);
        }
        if !self.visitor(member) {
            self.tally.counted += u64::from(self.counting);
        }
        if let Some(value) = news {
            self.views.saw(member, value, at);
            let room = &mut self.rooms[member / self.plan.per_room];
            room.top = room.top.max(value);
        }
    }

    fn visitor(&self, member: usize) -> bool {
        self.visits.as_ref().is_some_and(|v| v.is_visitor(member))
    }
}

impl Story for Driver<'_> {
    fn tick(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        for _ in 0..CATCH_UP_MAX {
            let Some((k, due)) = self.schedule.as_mut().and_then(|s| s.take(now)) else {
                break;
            };
            let plan = &self.plan;
            let liker = publisher_of(k, plan.rooms, plan.per_room, plan.likers);
            if let Some(member) = self.part.local(liker) {
                self.lag.record(now - due);
                self.like(io, member, due);
            }
        }
        let mut next = self.schedule.as_ref().map_or(Nanos::MAX, Schedule::due_at);
        if let Some(visits) = &mut self.visits {
            next = next.min(visits.tick(io, &mut self.arrivals, now, |_, _| true));
        }
        next = next.min(self.arrivals.begin_due(io, now));
        for (member, why) in self.arrivals.given_up() {
            match &mut self.visits {
                Some(visits) if visits.is_visitor(member) => visits.failed(member, &why),
                _ => self.failed = Some((member, why)),
            }
        }
        next
    }

    fn series(&mut self) -> &mut Option<Series> {
        &mut self.series
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
                    let value = self.told.last(member).value;
                    self.views.saw(member, value, at);
                    let room = &mut self.rooms[member / self.plan.per_room];
                    room.base = room.base.min(value);
                    room.top = room.top.max(value);
                } else if let Some(visits) = &mut self.visits {
                    visits.joined(member, at);
                }
            }
            Heard::Inside if payload.starts_with(COUNTS_PREFIX) => self.counts(member, payload, at),
            Heard::Inside if !self.visitor(member) => self.reply(payload, at),
            Heard::Inside | Heard::Way | Heard::Early => {}
        }
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        let fate = self.arrivals.ended(member, &how, clock::now());
        let unasked = (fate == Fate::Inside).then(|| reason(&how));
        let over = matches!(fate, Fate::Inside | Fate::Left);
        match &mut self.visits {
            Some(visits) if visits.is_visitor(member) && over => visits.ended(member, unasked.as_deref()),
            _ => {
                if let Some(how) = unasked {
                    count(&mut self.tally.ended, &how);
                }
            }
        }
    }
}
