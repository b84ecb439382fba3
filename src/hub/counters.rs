//! What the hub counts. What happens at every delivery is not among it: a flusher counts a batch once, when all
//! members have it, and what a connection has sent is read from it when somebody asks, and when it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_protocol::CloseCode;

use super::connection::{Connection, End, Sent};
use super::wire::Format;
use super::{Hub, Room};
use crate::clock::Stopwatch;
use crate::core::outbox::{Batch, Class, Shed};
use crate::tally::parts::{BATCH_FRAMES, CLOSES, Drops, FLUSH_US, Sockets, Standing};
use crate::tally::{Buckets, Shards, Tally};

/// One in so many flushes is timed: reading the clock twice is a few percent of a small one. Odd, because a flush that
/// is the only one of its flusher is asked for twice.
const TIMED_EVERY: u64 = 7;

/// The hub's counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    flushes: Shards<Flushes>,
    opened: [Tally; 2],
    closes: [Tally; CLOSES.len()],
    overrun: [Tally; 4],
    departed: Departed,
}

#[derive(Debug)]
struct Flushes {
    begun: Tally,
    published: Tally,
    deliveries: Tally,
    frames: Tally,
    batch_frames: Buckets<{ BATCH_FRAMES.len() }>,
    us: Buckets<{ FLUSH_US.len() }>,
}

impl Default for Flushes {
    fn default() -> Self {
        Self {
            begun: Tally::default(),
            published: Tally::default(),
            deliveries: Tally::default(),
            frames: Tally::default(),
            batch_frames: Buckets::new(&BATCH_FRAMES),
            us: Buckets::new(&FLUSH_US),
        }
    }
}

/// Of connections that are gone.
#[derive(Debug, Default)]
struct Departed {
    bytes: Tally,
    frames: Tally,
    shed: [Tally; 4],
}

/// The largest sum told so far: a connection that goes while the others are looked at is in neither sum for a moment,
/// and a count never falls.
#[derive(Debug, Default)]
pub(super) struct Told {
    bytes: AtomicU64,
    frames: AtomicU64,
    shed: [AtomicU64; 4],
}

fn never_less(told: &AtomicU64, now: u64) -> u64 {
    told.fetch_max(now, Ordering::Relaxed).max(now)
}

impl Counters {
    /// A message reached a room.
    pub(super) fn published(&self) {
        self.flushes.here().published.one();
    }

    /// From here on something may wait for a flush; with a watch if that is to be timed.
    pub(super) fn flush_begins(&self) -> Option<Stopwatch> {
        let begun = &self.flushes.here().begun;
        let timed = begun.get().is_multiple_of(TIMED_EVERY);
        begun.one();
        timed.then(Stopwatch::start)
    }

    /// A batch was handed to so many members.
    pub(super) fn flushed(&self, batch: &Batch, members: u64, watch: Option<&Stopwatch>) {
        let here = self.flushes.here();
        let frames = batch.marks().len() as u64;
        here.batch_frames.observe(frames);
        here.frames.add(frames * members);
        here.deliveries.add(u64::from(batch.messages()) * members);
        if let Some(watch) = watch {
            here.us.observe(watch.us());
        }
    }

    /// A frame found no place among what a room has to say.
    pub(super) fn overran(&self, class: Class) {
        let at = match class {
            Class::Low => 0,
            Class::Presence => 2,
            Class::Counts | Class::Room => 3,
            Class::Own | Class::High | Class::Normal => 1,
        };
        if let Some(tally) = self.overrun.get(at) {
            tally.one();
        }
    }

    pub(super) fn opened(&self, format: Format) {
        let [sockets, streams] = &self.opened;
        match format {
            Format::Frames => sockets.one(),
            Format::Events => streams.one(),
        }
    }

    pub(super) fn closed(&self, end: End) {
        let codes = CloseCode::ALL.len();
        let at = match end {
            End::Close(code) => CloseCode::ALL.iter().position(|known| *known == code),
            End::Answered => Some(codes),
            End::Broken => Some(codes + 1),
            End::Done => Some(codes + 2),
        };
        if let Some(tally) = at.and_then(|at| self.closes.get(at)) {
            tally.one();
        }
    }

    /// What a connection that goes has sent.
    pub(super) fn departed(&self, sent: &Sent) {
        self.departed.bytes.add(sent.bytes);
        self.departed.frames.add(u64::from(sent.frames));
        for (tally, n) in self.departed.shed.iter().zip(in_order(sent.shed)) {
            tally.add(n);
        }
    }
}

fn in_order(shed: Shed) -> [u64; 4] {
    [shed.low, shed.normal, shed.presence, shed.replaced].map(u64::from)
}

fn drops([low, normal, presence, replaced]: [u64; 4]) -> Drops {
    Drops {
        low,
        normal,
        presence,
        replaced,
    }
}

impl Hub {
    /// What was counted so far. Looks at every connection, each for a moment: beside the threads that serve them, and one
    /// at a time.
    pub fn counts(&self) -> Sockets {
        let _one_at_a_time = self.counting.lock();
        let counters = &self.counters;
        // Before those that live: who goes meanwhile is then counted too low for once, not twice.
        let (mut bytes, mut frames) = (counters.departed.bytes.get(), counters.departed.frames.get());
        let mut shed = counters.departed.shed.each_ref().map(Tally::get);
        let mut now = Standing {
            rooms: self.room_count(),
            ..Standing::default()
        };
        for connection in self.connections() {
            let sent = look(&connection, &mut now);
            bytes += sent.bytes;
            frames += u64::from(sent.frames);
            for (sum, n) in shed.iter_mut().zip(in_order(sent.shed)) {
                *sum += n;
            }
        }
        let flushes = &counters.flushes;
        for (sum, told) in shed.iter_mut().zip(&self.told.shed) {
            *sum = never_less(told, *sum);
        }
        Sockets {
            now,
            opened: counters.opened.each_ref().map(Tally::get),
            closes: counters.closes.each_ref().map(Tally::get),
            published: flushes.sum(|f| &f.published),
            deliveries: flushes.sum(|f| &f.deliveries),
            frames_out: never_less(&self.told.frames, frames) + flushes.sum(|f| &f.frames),
            bytes_out: never_less(&self.told.bytes, bytes),
            shed: drops(shed),
            overrun: drops(counters.overrun.each_ref().map(Tally::get)),
            batch_frames: Buckets::spread(flushes.all().map(|f| &f.batch_frames)),
            flush_us: Buckets::spread(flushes.all().map(|f| &f.us)),
        }
    }

    /// Counts what a connection sent after it was unregistered: its last frames.
    pub fn count_last(&self, connection: &Connection) {
        self.counters.departed(&connection.take_sent());
    }

    pub(super) fn new_room(&self, name: countersign_protocol::RoomName) -> Arc<Room> {
        Room::new(name, Arc::clone(&self.counters))
    }
}

/// Adds a connection to how things stand; answers what it has sent.
fn look(connection: &Connection, now: &mut Standing) -> Sent {
    let (standing, sent) = connection.standing_and_sent();
    let (signed_in, rooms) = connection.session_and_rooms();
    let state = if standing.end.is_some() {
        &mut now.closing
    } else if connection.is_event_stream() {
        &mut now.event_streams
    } else if signed_in {
        &mut now.authenticated
    } else {
        &mut now.anonymous
    };
    *state += 1;
    now.waiting += usize::from(standing.queued > 0);
    now.queued_bytes += standing.queued;
    now.queued_bytes_most = now.queued_bytes_most.max(standing.queued);
    now.memberships += rooms;
    sent
}
