//! A connection's queue: first in, first out, bounded in bytes. The class of a frame decides whether it
//! may be dropped, never whether it may overtake.
//!
//! Rooms hand over a [`Batch`] that all their members share; a connection holds a range of its frames.
//! Under pressure single frames are taken out of the range, never one that has begun to leave, and what
//! was dropped is told in its place: messages by `gap`, presence by `reset`.
//!
//! Memory: an empty outbox owns no heap. A full one keeps at most `bytes_max` bytes of frames and, because
//! batches are shared whole, pins at most eight times that ([`Outbox`] copies out of batches it uses
//! less than a quarter of, and a batch grew by doubling).

use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::RoomName;

mod batch;
mod thin;

#[cfg(test)]
mod tests;

use batch::Part;
pub use batch::{Batch, Class, Mark};
use thin::Note;

/// What the queue is made of. Small, because a slow connection has hundreds.
#[derive(Debug)]
enum Chunk {
    Own(Bytes),
    /// A reply to `join`: what is told before it belongs to an earlier stay in the room.
    Join(Box<(RoomName, Bytes)>),
    Part(Part),
    /// What this connection was not sent.
    Note(Box<Note>),
}

impl Chunk {
    fn len(&self) -> usize {
        match self {
            Chunk::Own(frame) => frame.len(),
            Chunk::Join(join) => join.1.len(),
            Chunk::Part(part) => part.len(),
            Chunk::Note(note) => note.len(),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Own(frame) => frame,
            Chunk::Join(join) => &join.1,
            Chunk::Part(part) => part.bytes(),
            Chunk::Note(note) => note.frame(),
        }
    }
}

/// Frames dropped by one push, by class, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shed {
    pub low: u32,
    pub normal: u32,
    pub presence: u32,
    /// `counts` and `room` frames whose place a newer one took.
    pub replaced: u32,
}

impl std::ops::AddAssign for Shed {
    fn add_assign(&mut self, more: Self) {
        let sum = |a: &mut u32, b: u32| *a = a.saturating_add(b);
        sum(&mut self.low, more.low);
        sum(&mut self.normal, more.normal);
        sum(&mut self.presence, more.presence);
        sum(&mut self.replaced, more.replaced);
    }
}

/// What may never be dropped exceeds the bound: close with 4008.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("frames that are never dropped exceed the outbox")
    }
}

impl std::error::Error for Overflow {}

/// What becomes of the queue when the connection closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The close frame stands behind everything that is queued.
    AfterQueue,
    /// The queue is discarded, but for the rest of a frame that has begun to leave.
    AtOnce,
}

/// One connection's queue. Every method is to be called under one lock, and a write with its
/// [`advance`](Outbox::advance) under the same one: what `io_slices` shows may be dropped by the next push.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Chunk>,
    /// Bytes still to be written.
    bytes: usize,
    /// Bytes of the first frame that have left. More than 0: that frame has begun and must be finished.
    cut: u32,
    /// 0 seals the outbox: nothing may follow a close frame, or what an overflow left out.
    bytes_max: u32,
}

impl Outbox {
    /// `bytes_max`: bound on the bytes waiting, `gap` and `reset` included. With 0 every push overflows.
    pub const fn new(bytes_max: u32) -> Self {
        Self {
            queue: VecDeque::new(),
            bytes: 0,
            cut: 0,
            bytes_max,
        }
    }

    /// Whether everything has left.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Bytes still to be written; at most the bound after every push that returned `Ok`.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a whole frame (or the rest of one that was written in part to an empty outbox) of
    /// [`Class::Own`]. The reply to `join` goes through [`push_join`](Outbox::push_join).
    ///
    /// # Errors
    /// When what is never dropped exceeds the bound. The queue is then discarded but for the rest of a frame
    /// that has begun, and every later push overflows too: [`close`](Outbox::close) with 4008.
    pub fn push(&mut self, frame: Bytes) -> Result<Shed, Overflow> {
        self.push_chunk(Chunk::Own(frame))
    }

    /// Queues the reply to `join`. It parts two stays in the room: a message dropped behind it is never told
    /// by a `gap` in front of it, where the client would take it for part of the stay before.
    ///
    /// # Errors
    /// As [`push`](Outbox::push).
    pub fn push_join(&mut self, room: &RoomName, frame: Bytes) -> Result<Shed, Overflow> {
        if self.is_empty() {
            return self.push(frame);
        }
        self.push_chunk(Chunk::Join(Box::new((room.clone(), frame))))
    }

    /// Queues the frames of `batch` from `first_mark` on. Of their bytes the first `sent` are on the wire
    /// already (a write that took a part); only an empty outbox can have let that happen, so with
    /// `sent > 0` on one that is not empty the byte stream is broken, which overflows.
    ///
    /// # Errors
    /// As [`push`](Outbox::push).
    pub fn push_batch(
        &mut self,
        batch: &Arc<Batch>,
        first_mark: usize,
        sent: usize,
    ) -> Result<Shed, Overflow> {
        if sent > 0 && !self.is_empty() {
            self.overflow();
        }
        if self.is_sealed() {
            return Err(Overflow);
        }
        let mut part = Part {
            batch: Arc::clone(batch),
            first: u32::try_from(first_mark.min(batch.marks().len())).unwrap_or(u32::MAX),
            end: u32::try_from(batch.marks().len()).unwrap_or(u32::MAX),
        };
        if sent >= part.len() {
            return Ok(Shed::default());
        }
        let mut cut = 0;
        if sent > 0 {
            cut = part.skip(sent);
            self.cut = u32::try_from(cut).unwrap_or(u32::MAX);
        }
        self.bytes += part.len().saturating_sub(cut);
        self.queue.push_back(Chunk::Part(part));
        let mut shed = Shed::default();
        for class in [Class::Counts, Class::Room] {
            if batch.classes().has(class) {
                shed.replaced += self.supersede(batch, class);
            }
        }
        self.settle(shed)
    }

    /// Fills `out` with what is to be written next, in order; returns how many slices were set.
    pub fn io_slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut cut = self.cut as usize;
        let mut set = 0;
        for (slot, chunk) in out.iter_mut().zip(&self.queue) {
            *slot = IoSlice::new(chunk.bytes().get(cut..).unwrap_or_default());
            cut = 0;
            set += 1;
        }
        set
    }

    /// `n` bytes have left on the wire. The last of them gives the memory back.
    pub fn advance(&mut self, n: usize) {
        let mut left = n.min(self.bytes);
        self.bytes -= left;
        while left > 0 {
            let cut = self.cut as usize;
            let Some(front) = self.queue.front_mut() else {
                break;
            };
            let waiting = front.len().saturating_sub(cut);
            if left >= waiting {
                left -= waiting;
                self.cut = 0;
                self.queue.pop_front();
                continue;
            }
            let begun = match front {
                Chunk::Part(part) => part.skip(cut + left),
                Chunk::Own(_) | Chunk::Join(_) | Chunk::Note(_) => cut + left,
            };
            self.cut = u32::try_from(begun).unwrap_or(u32::MAX);
            left = 0;
        }
        if self.bytes == 0 {
            self.queue = VecDeque::new();
        }
    }

    /// Queues the close frame and seals the outbox: every later push overflows. The frame is queued even
    /// when the bound is reached (a control frame is at most 127 bytes).
    pub fn close(&mut self, frame: Bytes, ending: Ending) {
        if ending == Ending::AtOnce {
            self.discard();
        }
        self.bytes_max = 0;
        if !frame.is_empty() {
            self.bytes += frame.len();
            self.queue.push_back(Chunk::Own(frame));
        }
    }

    /// Whether the outbox takes nothing any more: it overflowed, or the close frame is queued.
    pub fn is_sealed(&self) -> bool {
        self.bytes_max == 0
    }

    fn push_chunk(&mut self, chunk: Chunk) -> Result<Shed, Overflow> {
        if self.is_sealed() {
            return Err(Overflow);
        }
        let len = chunk.len();
        if len > 0 {
            self.bytes += len;
            self.queue.push_back(chunk);
        }
        self.settle(Shed::default())
    }

    /// Brings the queue back under its bound.
    fn settle(&mut self, mut shed: Shed) -> Result<Shed, Overflow> {
        if self.bytes <= self.bytes_max as usize {
            return Ok(shed);
        }
        self.thin(&mut shed);
        if self.bytes <= self.bytes_max as usize {
            return Ok(shed);
        }
        self.overflow();
        Err(Overflow)
    }

    fn overflow(&mut self) {
        self.discard();
        self.bytes_max = 0;
    }

    /// Forgets everything but the rest of a frame that has begun to leave.
    fn discard(&mut self) {
        let begun = self.queue.pop_front().filter(|_| self.cut > 0);
        self.queue = VecDeque::new();
        self.bytes = 0;
        if let Some(mut chunk) = begun {
            if let Chunk::Part(part) = &mut chunk {
                part.end = part.first + 1;
            }
            self.bytes = chunk.len().saturating_sub(self.cut as usize);
            self.queue.push_back(chunk);
        }
    }

    /// One slot per room and kind: takes out what the newest frame of `class` in `pushed`, which stands at
    /// the end of the queue, has made old.
    fn supersede(&mut self, pushed: &Arc<Batch>, class: Class) -> u32 {
        let mut newest_seen = false;
        let mut replaced = 0;
        // From the back: taking a frame out adds chunks behind it only, so smaller indexes stay true.
        for at in (0..self.queue.len()).rev() {
            let Some(Chunk::Part(part)) = self.queue.get(at) else {
                continue;
            };
            if !part.batch.classes().has(class) || part.batch.room() != pushed.room() {
                continue;
            }
            let part = part.clone();
            let begun = u32::from(at == 0 && self.cut > 0);
            let replaced_before = replaced;
            for mark in (part.first + begun..part.end).rev() {
                let of_class = part
                    .batch
                    .marks()
                    .get(mark as usize)
                    .is_some_and(|m| m.class == class);
                if of_class && std::mem::replace(&mut newest_seen, true) {
                    self.take_out(at, mark);
                    replaced += 1;
                }
            }
            // Every push leaves at most one, so nothing is left in front of an older batch that had one.
            if replaced > replaced_before && !Arc::ptr_eq(&part.batch, pushed) {
                break;
            }
        }
        replaced
    }

    /// Takes one frame out of the part at `at`; frames behind it become a part of their own.
    fn take_out(&mut self, at: usize, mark: u32) {
        let Some(Chunk::Part(part)) = self.queue.get_mut(at) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(part.len_of(mark));
        let mut behind = part.clone();
        (part.end, behind.first) = (mark, mark + 1);
        match (part.first == part.end, behind.first == behind.end) {
            (true, true) => drop(self.queue.remove(at)),
            (true, false) => *part = behind,
            (false, true) => {}
            (false, false) => self.queue.insert(at + 1, Chunk::Part(behind)),
        }
    }
}
