//! What a room's flusher has to take next: frames in their order, and in short form what found no place.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::RoomName;
use countersign_protocol::codec::text_frame;
use countersign_protocol::server::{GapPush, PresencePush};

use crate::core::outbox::{Batch, Class, Mark};
use crate::core::room::PENDING_HARD_BYTES_MAX;

/// Pending bytes above which even what is never dropped finds no place: the members are cut off.
pub const PENDING_CUT_OFF_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of one batch, unless one frame alone is longer. A quarter of an outbox: a member whose wire has to be
/// woken first must not lose messages because a room was busy for a moment.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// Offsets of joiners who knew more than had been appended that are kept. To more of them a gap may name messages that
/// they have, and they fetch those once more; it takes so many different ones while nothing is appended.
pub(super) const AHEAD_MAX: usize = 64;

/// Frames in the order they are to be flushed. Empty it owns no heap but what joiners had read ahead.
#[derive(Debug, Default)]
pub(super) struct Pending {
    /// Batches that take no more, oldest first. Rarely any.
    full: VecDeque<Frames>,
    open: Frames,
    /// Bytes of all of these.
    bytes: usize,
    late: Option<Box<Late>>,
    /// The newest gap told ends here.
    gap_end: u64,
    /// What joiners had read that was not appended here, ascending: should it be missed, the gap is told in parts, so
    /// that each joiner's says exactly what it misses.
    ahead: Vec<u64>,
    cut_off: bool,
}

#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

/// What was not appended because too much is pending. It stands behind everything that was.
#[derive(Debug, Default)]
struct Late {
    /// Messages, first and last.
    gap: Option<(u64, u64)>,
    presence: bool,
    /// The newest of each.
    info: Option<Box<[u8]>>,
    counts: Option<Box<[u8]>>,
}

/// What became of a frame that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It will be flushed, or the members are cut off.
    Kept,
    /// Nobody will see it, or what it replaced; what was missed is told.
    Dropped,
}

/// What a flusher does next.
#[derive(Debug)]
pub(super) enum Taken {
    /// Offers this to every member.
    Batch(Arc<Batch>),
    /// Ends every member's connection: what may never be dropped had to be.
    CutOff,
    Nothing,
}

impl Pending {
    /// Bytes of the frames that are waiting.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether [`Pending::take`] would answer [`Taken::Nothing`].
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.late.is_none() && !self.cut_off
    }

    /// Where the newest gap told ends. Messages up to here may never have been appended.
    pub(super) fn gap_end(&self) -> u64 {
        self.gap_end
    }

    /// Appends a frame, or keeps in mind that it had no place. `offset` is 0 for a frame that is no message.
    pub(super) fn push(&mut self, room: &RoomName, frame: Vec<u8>, offset: u64, class: Class) -> Pushed {
        let kept = matches!(class, Class::Own | Class::High);
        let max = if kept {
            PENDING_CUT_OFF_BYTES_MAX
        } else {
            PENDING_HARD_BYTES_MAX
        };
        if self.cut_off {
            return Pushed::Kept;
        }
        if self.bytes < max {
            self.tell_late(room);
            self.add(frame, offset, class);
        } else if kept {
            *self = Self {
                cut_off: true,
                gap_end: self.gap_end,
                ..Self::default()
            };
        } else {
            let late = self.late.get_or_insert_default();
            let newest = match class {
                Class::Room => &mut late.info,
                Class::Counts => &mut late.counts,
                Class::Presence => {
                    late.presence = true;
                    return Pushed::Dropped;
                }
                _ => {
                    late.miss(offset, offset);
                    return Pushed::Dropped;
                }
            };
            if newest.replace(frame.into_boxed_slice()).is_some() {
                return Pushed::Dropped;
            }
        }
        Pushed::Kept
    }

    /// Messages `from` to `to` will never be appended.
    pub(super) fn miss(&mut self, from: u64, to: u64) {
        self.late.get_or_insert_default().miss(from, to);
    }

    /// A joiner has been given everything up to `offset`, and the newest message appended or missed is `last`.
    /// `true` when that added a frame.
    pub(super) fn joined(&mut self, room: &RoomName, offset: u64, last: u64) -> bool {
        let told = self.part_gap(room, offset);
        if offset > last {
            // What is missed before `last` has just been told.
            self.ahead.retain(|&end| end > last);
            if let Err(at) = self.ahead.binary_search(&offset)
                && self.ahead.len() < AHEAD_MAX
            {
                self.ahead.insert(at, offset);
            }
        }
        told
    }

    /// A gap that begins before `offset` is told in two.
    fn part_gap(&mut self, room: &RoomName, offset: u64) -> bool {
        let Some(late) = &mut self.late else { return false };
        let Some((from, to)) = late.gap.filter(|&(from, _)| from <= offset) else {
            return false;
        };
        let end = to.min(offset);
        late.gap = (end < to).then_some((end + 1, to));
        if late.is_empty() {
            self.late = None;
        }
        self.add_gap(room, from, end);
        true
    }

    /// The oldest batch.
    pub(super) fn take(&mut self, room: &RoomName) -> Taken {
        if self.cut_off {
            self.cut_off = false;
            return Taken::CutOff;
        }
        if self.full.is_empty() {
            // Nobody waits for the next message to hear of a gap: there may be none for hours.
            self.tell_late(room);
        }
        let frames = self
            .full
            .pop_front()
            .unwrap_or_else(|| std::mem::take(&mut self.open));
        if self.full.is_empty() {
            self.full = VecDeque::new();
        }
        if frames.marks.is_empty() {
            return Taken::Nothing;
        }
        self.bytes -= frames.bytes.len();
        // It came with at most twice its bytes and grew by doubling, so a slow member who keeps the batch keeps no
        // more than that.
        Taken::Batch(Arc::new(Batch::new(
            room.clone(),
            Bytes::from(frames.bytes),
            frames.marks,
        )))
    }

    fn tell_late(&mut self, room: &RoomName) {
        let Some(late) = self.late.take() else { return };
        if let Some((from, to)) = late.gap {
            self.add_gap(room, from, to);
        }
        if late.presence {
            let (joined, left) = (Vec::new(), Vec::new());
            let reset = PresencePush {
                room: room.clone(),
                joined,
                left,
                reset: true,
            };
            self.add(text_frame(&reset), 0, Class::Presence);
        }
        if let Some(info) = late.info {
            self.add(info.into_vec(), 0, Class::Room);
        }
        if let Some(counts) = late.counts {
            self.add(counts.into_vec(), 0, Class::Counts);
        }
    }

    fn add_gap(&mut self, room: &RoomName, mut from: u64, to: u64) {
        let ends = self.ahead.partition_point(|&end| end <= to);
        for end in self.ahead.drain(..ends).collect::<Vec<_>>() {
            if from <= end && end < to {
                self.add_part(room, from, end);
                from = end + 1;
            }
        }
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        self.add_part(room, from, to);
    }

    /// The frame carries the offset it ends with: who was given those messages by a join is not told of a gap.
    fn add_part(&mut self, room: &RoomName, from: u64, to: u64) {
        self.gap_end = self.gap_end.max(to);
        self.add(
            text_frame(&GapPush {
                room: room.clone(),
                from,
                to,
            }),
            to,
            Class::Own,
        );
    }

    fn add(&mut self, frame: Vec<u8>, offset: u64, class: Class) {
        let bytes = frame.len();
        if !self.open.marks.is_empty() && self.open.bytes.len() + bytes > BATCH_BYTES_MAX {
            self.full.push_back(std::mem::take(&mut self.open));
        }
        if self.open.marks.is_empty() && frame.capacity() / 2 <= bytes {
            // Most batches of a small room are one frame.
            self.open.bytes = frame;
        } else {
            self.open.bytes.extend_from_slice(&frame);
        }
        let end = u32::try_from(self.open.bytes.len()).unwrap_or(u32::MAX);
        self.open.marks.push(Mark { end, offset, class });
        self.bytes += bytes;
    }
}

impl Late {
    fn miss(&mut self, from: u64, to: u64) {
        self.gap = Some((self.gap.map_or(from, |(first, _)| first), to));
    }

    fn is_empty(&self) -> bool {
        self.gap.is_none() && !self.presence && self.info.is_none() && self.counts.is_none()
    }
}
