//! Rooms: sequence, history, presence and counts behind one lock each, from inside which events are told.

mod budget;

use std::sync::Arc;

use countersign_protocol::RoomName;
use countersign_protocol::client::Priority;
use countersign_protocol::server::{MembersPage, RoomInfo};
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, MutexGuard};

use super::super::event::Event;
use super::super::record::{EngineError, Present};
use super::super::{Create, History, Read, RoomView, Sequenced};
use super::{Memory, MemoryLimits};
use crate::auth::secret;
use crate::core::counter::{Counts, Presence, PresenceDelta};
use crate::core::rate::Gcra;
use crate::core::stream::{AppendError, Appended, Draft, PageMax, Range, Stream};

/// One room. It leaves the map only while its own lock marks it retired.
#[derive(Debug)]
pub(super) struct RoomCell {
    name: RoomName,
    state: Mutex<RoomState>,
}

#[derive(Debug)]
struct RoomState {
    stream: Stream,
    presence: Presence,
    counts: Counts,
    info: RoomInfo,
    rate: Gcra,
    /// Since when nobody is here and nothing is said or counted.
    empty_since: Option<u64>,
    /// A counter was raised.
    liked: bool,
    /// When to look for history and `cid`s that are too old; a room may fall silent and stay.
    expire_at: Option<u64>,
    /// The entry in the engine's list of what comes due.
    due_at: Option<u64>,
    retired: bool,
}

/// An empty room in which nothing was ever said or liked is dropped after this, if not earlier: there is nothing
/// to come back for, and joining and leaving costs a stranger nothing.
const UNUSED_ROOM_IDLE_MS: u64 = 1_000;

impl RoomState {
    /// When it will have been empty for long enough.
    fn idle_at(&self, limits: &MemoryLimits) -> Option<u64> {
        let unused = self.stream.top() == 0 && !self.liked;
        let idle_ms = if unused {
            limits.room_idle_ms.min(UNUSED_ROOM_IDLE_MS)
        } else {
            limits.room_idle_ms
        };
        self.empty_since.map(|at| at.saturating_add(idle_ms))
    }

    fn count_present(&mut self) {
        self.counts
            .set_present(self.presence.viewers(), self.presence.members());
    }

    /// Something was said or counted: what was acknowledged just now is not dropped for want of company.
    fn keep_awake(&mut self, now: u64) {
        self.empty_since = self.empty_since.map(|since| since.max(now));
    }

    fn view(&mut self) -> RoomView {
        self.count_present();
        RoomView {
            counts: self.counts.snapshot(),
            info: self.info.clone(),
        }
    }
}

impl Memory {
    fn room(&self, name: &RoomName) -> Option<Arc<RoomCell>> {
        self.rooms.get(name).map(|r| Arc::clone(r.value()))
    }

    fn room_or_new(&self, name: &RoomName, now: u64) -> Result<Arc<RoomCell>, EngineError> {
        if let Some(room) = self.room(name) {
            return Ok(room);
        }
        let epoch = secret::id("e").map_err(|_| EngineError::Unavailable)?;
        match self.rooms.entry(name.clone()) {
            Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            Entry::Vacant(free) => {
                self.room_places.take()?;
                let stream = Stream::new(epoch.into(), self.limits.stream, self.cid_key.clone());
                let room = Arc::new(RoomCell {
                    name: name.clone(),
                    state: Mutex::new(RoomState {
                        stream,
                        presence: Presence::new(self.limits.counts_interval_ms),
                        counts: Counts::new(self.limits.counts_interval_ms),
                        info: RoomInfo::default(),
                        rate: Gcra::default(),
                        empty_since: Some(now),
                        liked: false,
                        expire_at: None,
                        due_at: None,
                        retired: false,
                    }),
                });
                free.insert(Arc::clone(&room));
                Ok(room)
            }
        }
    }

    /// Runs `act` on a room that is not retired.
    fn with_room<T>(
        &self,
        name: &RoomName,
        create: Create,
        now: u64,
        mut act: impl FnMut(&RoomCell, &mut MutexGuard<'_, RoomState>) -> Result<T, EngineError>,
    ) -> Result<Option<T>, EngineError> {
        loop {
            let room = match (create, self.room(name)) {
                (_, Some(room)) => room,
                (Create::Allowed, None) => self.room_or_new(name, now)?,
                (Create::Refused, None) => return Ok(None),
            };
            let mut state = room.state.lock();
            if state.retired {
                drop(state);
                self.rooms.remove_if(name, |_, known| Arc::ptr_eq(known, &room));
                continue;
            }
            let outcome = act(&room, &mut state);
            self.tell_counts(&room, &mut state, now);
            self.reschedule_room(&room, &mut state);
            return outcome.map(Some);
        }
    }

    fn reschedule_room(&self, room: &RoomCell, state: &mut RoomState) {
        let idle = state.idle_at(&self.limits);
        let next = [state.counts.due(), state.presence.due(), state.expire_at, idle]
            .into_iter()
            .flatten()
            .min();
        let before = std::mem::replace(&mut state.due_at, next);
        self.due.room(&room.name, before, next);
    }

    fn tell_counts(&self, room: &RoomCell, state: &mut RoomState, now: u64) {
        state.count_present();
        if let Some(counts) = state.counts.take(now) {
            self.deliver(Event::Counts {
                room: room.name.clone(),
                counts,
            });
        }
        if let Some(PresenceDelta { joined, left, reset }) = state.presence.take(now) {
            self.deliver(Event::Presence {
                room: room.name.clone(),
                joined,
                left,
                reset,
            });
        }
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn append(
        &self,
        room: RoomName,
        draft: Draft,
        now: u64,
    ) -> Result<Sequenced, EngineError> {
        let mut draft = Some(draft);
        let appended = self.with_room(&room, Create::Allowed, now, |cell, state| {
            let Some(draft) = draft.take() else {
                return Err(EngineError::Unavailable);
            };
            let mut rate = state.rate;
            self.admit(&mut rate, draft.priority, now)?;
            let before = state.stream.bytes();
            let appended = state.stream.append(draft, now).map_err(|e| match e {
                AppendError::CidConflict => EngineError::CidConflict,
                AppendError::CidWindowFull { after_ms } => EngineError::Rate { after_ms },
            })?;
            self.count_bytes(before, state.stream.bytes());
            let (offset, at_ms, duplicate) = match appended {
                Appended::New(publication) => {
                    let place = (publication.offset, publication.at_ms, false);
                    // Only a new message counts; a retry takes nothing from the room's others.
                    state.rate = rate;
                    state.keep_awake(now);
                    state.expire_at.get_or_insert(now.saturating_add(self.kept_ms()));
                    self.deliver(Event::Published {
                        room: cell.name.clone(),
                        publication,
                    });
                    place
                }
                Appended::Duplicate { offset, at_ms } => (offset, at_ms, true),
            };
            Ok(Sequenced {
                offset,
                at_ms,
                duplicate,
            })
        })?;
        self.trim_history();
        appended.ok_or(EngineError::Unavailable)
    }

    /// The room's own rate: half of it is kept for `high`.
    fn admit(&self, rate: &mut Gcra, priority: Priority, now: u64) -> Result<(), EngineError> {
        let reserved = match priority {
            Priority::High => 0,
            Priority::Normal | Priority::Low => self.limits.room_reserved_percent,
        };
        rate.check_reserving(&self.limits.room_rate, now, reserved)
            .map_err(|after_ms| EngineError::Rate { after_ms })
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn read(
        &self,
        room: RoomName,
        part: Read,
        now: u64,
    ) -> Result<History, EngineError> {
        let history = self.with_room(&room, Create::Refused, now, |_, state| {
            let stream = &state.stream;
            let page = |limit: &usize| PageMax {
                messages: *limit,
                ..PageMax::HISTORY
            };
            let (recovered, messages) = match &part {
                Read::Join { after: Some(at) } => {
                    let recovery = stream.recover(&at.epoch, at.offset, PageMax::RECOVERY, now);
                    (Some(recovery.recovered), recovery.messages)
                }
                Read::Join { after: None } => (None, stream.read(Range::Newest, PageMax::RECOVERY, now)),
                Read::Before { offset, limit } => {
                    (None, stream.read(Range::Before(*offset), page(limit), now))
                }
                Read::After { offset, limit } => (None, stream.read(Range::After(*offset), page(limit), now)),
                Read::Newest { limit } => (None, stream.read(Range::Newest, page(limit), now)),
            };
            Ok(History {
                epoch: stream.epoch().to_owned(),
                top: stream.top(),
                recovered,
                messages,
            })
        })?;
        Ok(history.unwrap_or_else(|| History {
            epoch: String::new(),
            top: 0,
            recovered: matches!(part, Read::Join { after: Some(_) }).then_some(false),
            messages: Vec::new(),
        }))
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn enter(
        &self,
        room: RoomName,
        presence: Present,
        create: Create,
        now: u64,
    ) -> Result<RoomView, EngineError> {
        let view = self.with_room(&room, create, now, |_, state| {
            state.presence.enter(presence.connection, presence.member.clone());
            state.empty_since = None;
            Ok(state.view())
        })?;
        view.ok_or(EngineError::Missing)
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn view(&self, room: RoomName, now: u64) -> Result<Option<RoomView>, EngineError> {
        self.with_room(&room, Create::Refused, now, |_, state| Ok(state.view()))
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn leave(
        &self,
        room: RoomName,
        connection: u64,
        now: u64,
    ) -> Result<(), EngineError> {
        self.with_room(&room, Create::Refused, now, |_, state| {
            state.presence.leave(connection);
            if state.presence.is_empty() && state.empty_since.is_none() {
                state.empty_since = Some(now);
            }
            Ok(())
        })?;
        Ok(())
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn members(
        &self,
        room: RoomName,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<MembersPage, EngineError> {
        let Some(cell) = self.room(&room) else {
            return Ok(MembersPage {
                members: Vec::new(),
                total: 0,
                cursor: None,
            });
        };
        let (members, total, cursor) = cell.state.lock().presence.page(cursor.as_deref(), limit);
        Ok(MembersPage {
            members,
            total,
            cursor,
        })
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn add(
        &self,
        room: RoomName,
        counter: String,
        n: u64,
        now: u64,
    ) -> Result<u64, EngineError> {
        let value = self.with_room(&room, Create::Allowed, now, |_, state| {
            state.keep_awake(now);
            state.liked = true;
            Ok(state.counts.add(&counter, n))
        })?;
        value.ok_or(EngineError::Missing)
    }

    #[allow(clippy::needless_pass_by_value)]
    pub(in crate::engine) fn settle(&self, room: RoomName, now: u64) -> Result<(), EngineError> {
        let idle = self.with_room(&room, Create::Refused, now, |_, state| {
            self.expire(state, now);
            Ok(state.idle_at(&self.limits).is_some_and(|at| at <= now))
        })?;
        if idle == Some(true) {
            self.retire(&room, now);
        }
        Ok(())
    }

    /// Drops an idle room, unless somebody came in meanwhile.
    fn retire(&self, name: &RoomName, now: u64) {
        let dropped = self.rooms.remove_if(name, |_, room| {
            let mut state = room.state.lock();
            let idle = state.idle_at(&self.limits).is_some_and(|at| at <= now);
            if idle {
                state.retired = true;
                self.count_bytes(state.stream.bytes(), 0);
                let due = state.due_at.take();
                self.due.room(name, due, None);
            }
            idle
        });
        if dropped.is_some() {
            self.room_places.free();
        }
    }
}
