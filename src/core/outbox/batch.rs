//! Frames of a room as all its members share them, and the range of them one connection still has to send.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::RoomName;
use countersign_protocol::client::Priority;

/// What may happen to a frame under pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Replies, `hello`, `qr`, `session`, `me`, `left`, pong, close: never dropped.
    Own,
    /// Message that is never dropped.
    High,
    /// Message that is dropped, oldest first, when nothing lesser is left.
    Normal,
    /// Message that is dropped first.
    Low,
    /// Dropped with the low messages; told by `reset`.
    Presence,
    /// Absolute values: a newer one takes the older one's place.
    Counts,
    /// `room` (info), also absolute: a newer one takes the older one's place.
    Room,
}

impl Class {
    /// Whether users say such frames.
    pub const fn is_message(self) -> bool {
        matches!(self, Class::High | Class::Normal | Class::Low)
    }
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::High => Class::High,
            Priority::Normal => Class::Normal,
            Priority::Low => Class::Low,
        }
    }
}

/// A set of classes, so that one test spares a walk over the marks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Classes(u8);

impl Classes {
    pub(super) const fn of(classes: &[Class]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < classes.len() {
            bits |= 1 << classes[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    pub(super) const fn has(self, class: Class) -> bool {
        self.0 & (1 << class as u8) != 0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// Where one frame of a batch ends, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// End of the frame, bytes from the start of the batch. It starts where the one before ends.
    pub end: u32,
    /// The message's offset; 0 for a frame that is no message.
    pub offset: u64,
    pub class: Class,
}

/// Frames of one room in the room's order, encoded once and shared by all members.
#[derive(Debug)]
pub struct Batch {
    room: RoomName,
    bytes: Bytes,
    marks: Vec<Mark>,
    classes: Classes,
    /// Smallest message offset; `u64::MAX` when there is no message.
    offset_first: u64,
    messages: u32,
}

impl Batch {
    /// `bytes` are whole WebSocket frames; `marks` has one entry per frame, ends strictly rising, message
    /// offsets strictly rising. A mark that ends outside `bytes` or not after the one before is left out,
    /// and so are bytes behind the last mark: they would be half a frame.
    pub fn new(room: RoomName, mut bytes: Bytes, mut marks: Vec<Mark>) -> Self {
        let (mut end, mut classes, mut offset_first, mut messages) = (0, 0, u64::MAX, 0);
        marks.retain(|mark| {
            if mark.end <= end || mark.end as usize > bytes.len() {
                return false;
            }
            end = mark.end;
            classes |= Classes::of(&[mark.class]).0;
            messages += u32::from(mark.class.is_message());
            if mark.offset != 0 {
                offset_first = offset_first.min(mark.offset);
            }
            true
        });
        bytes.truncate(end as usize);
        Self {
            room,
            bytes,
            marks,
            classes: Classes(classes),
            offset_first,
            messages,
        }
    }

    /// How many of the frames are messages.
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// The room whose frames these are.
    pub fn room(&self) -> &RoomName {
        &self.room
    }

    /// All frames, one behind the other.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// One mark per frame.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The classes of its frames.
    pub(super) fn classes(&self) -> Classes {
        self.classes
    }

    /// Index of the first mark for a member whose live stream starts after message `offset`: one past the
    /// last message at or below it, 0 when there is none, `marks().len()` when nothing is left.
    ///
    /// Other frames in front of that message go with it. They were published before the state the member
    /// was given with `offset`, so that state is at least as new; those behind it are kept, and may repeat it.
    pub fn first_after(&self, offset: u64) -> usize {
        if self.offset_first > offset {
            return 0;
        }
        let old = |mark: &Mark| mark.offset != 0 && mark.offset <= offset;
        self.marks.iter().rposition(old).map_or(0, |last| last + 1)
    }

    /// First byte of the frame at `mark`; the length of the batch for the index past the last.
    pub fn start_of(&self, mark: usize) -> usize {
        let before = mark.checked_sub(1).and_then(|m| self.marks.get(m));
        match before {
            Some(before) => before.end as usize,
            None if mark == 0 => 0,
            None => self.bytes.len(),
        }
    }
}

/// Consecutive frames of a batch: marks `first` to `end`, the last not included. Never empty in a queue.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) batch: Arc<Batch>,
    pub(super) first: u32,
    pub(super) end: u32,
}

impl Part {
    pub(super) fn start(&self) -> usize {
        self.batch.start_of(self.first as usize)
    }

    pub(super) fn stop(&self) -> usize {
        self.batch.start_of(self.end as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.stop().saturating_sub(self.start())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.batch
            .bytes
            .get(self.start()..self.stop())
            .unwrap_or_default()
    }

    pub(super) fn marks(&self) -> &[Mark] {
        let range = self.first as usize..self.end as usize;
        self.batch.marks.get(range).unwrap_or_default()
    }

    pub(super) fn len_of(&self, mark: u32) -> usize {
        let mark = mark as usize;
        self.batch
            .start_of(mark + 1)
            .saturating_sub(self.batch.start_of(mark))
    }

    /// Leaves out the frames that end within the first `n` bytes; returns how many bytes of the next
    /// frame are gone too.
    pub(super) fn skip(&mut self, n: usize) -> usize {
        let position = self.start() + n;
        let gone = self.marks().partition_point(|mark| mark.end as usize <= position);
        self.first += u32::try_from(gone).unwrap_or(u32::MAX);
        position.saturating_sub(self.start())
    }
}
