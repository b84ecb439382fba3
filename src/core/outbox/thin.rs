//! What happens when the bound is reached: which frames go, and how the client is told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::RoomName;
use countersign_protocol::codec::text_frame_of;
use countersign_protocol::server::{GapPush, PresencePush};

use super::batch::{Batch, Class, Classes, Mark, Part};
use super::{Chunk, Outbox, Shed};

/// What goes first, and what goes when that was not enough.
const STAGES: [Classes; 2] = [
    Classes::of(&[Class::Presence, Class::Low]),
    Classes::of(&[Class::Normal]),
];

/// Stands for dropped frames, where they stood.
#[derive(Debug)]
pub(super) struct Note {
    room: RoomName,
    kind: Kind,
    /// Empty while the note may still grow: it is written once, when the queue is thin enough.
    frame: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages `from` to `to`, both included.
    Gap { from: u64, to: u64 },
    /// Presence of any number of changes.
    Reset,
}

impl Note {
    pub(super) fn new(room: RoomName, kind: Kind) -> Self {
        Self {
            room,
            kind,
            frame: Bytes::new(),
        }
    }

    /// Length of the frame, bytes, whether it is written already or not.
    pub(super) fn len(&self) -> usize {
        // Room names need no escapes, so the JSON is its fixed text, the name and the numbers.
        let json = match self.kind {
            Kind::Gap { from, to } => {
                r#"{"type":"gap","room":"","from":,"to":}"#.len() + digits(from) + digits(to)
            }
            Kind::Reset => r#"{"type":"presence","room":"","joined":[],"left":[],"reset":true}"#.len(),
        } + self.room.as_str().len();
        json + if json < 126 { 2 } else { 4 }
    }

    /// The frame as it is written; empty only while the outbox is being thinned.
    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }

    #[cfg(test)]
    pub(super) fn told(&self) -> (&RoomName, Kind) {
        (&self.room, self.kind)
    }

    fn write(&mut self) {
        let (room, len) = (self.room.clone(), self.len());
        self.frame = Bytes::from(match self.kind {
            Kind::Gap { from, to } => text_frame_of(&GapPush { room, from, to }, len),
            Kind::Reset => {
                let (joined, left) = (Vec::new(), Vec::new());
                let reset = PresencePush {
                    room,
                    joined,
                    left,
                    reset: true,
                };
                text_frame_of(&reset, len)
            }
        });
    }
}

fn digits(n: u64) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

impl Outbox {
    /// Drops frames until three quarters of the bound are left, so that the walk is paid for by many pushes.
    pub(super) fn thin(&mut self, shed: &mut Shed) {
        let target = self.bytes_max as usize / 4 * 3;
        for droppable in STAGES {
            if self.bytes <= target {
                break;
            }
            let queue = std::mem::take(&mut self.queue);
            let mut pass = Pass {
                queue: VecDeque::with_capacity(queue.len()),
                bytes: self.bytes,
                target,
                droppable,
                told: BTreeMap::new(),
                shed,
            };
            let mut begun = self.cut > 0;
            for chunk in queue {
                pass.chunk(chunk, begun);
                begun = false;
            }
            (self.queue, self.bytes) = (pass.queue, pass.bytes);
        }
        for chunk in &mut self.queue {
            match chunk {
                Chunk::Note(note) if note.frame.is_empty() => note.write(),
                Chunk::Part(part) => part.unpin(),
                _ => {}
            }
        }
    }
}

impl Part {
    /// Copies the frames when they are less than a quarter of the batch they keep alive.
    fn unpin(&mut self) {
        if self.len() >= self.batch.bytes().len() / 4 {
            return;
        }
        let start = u32::try_from(self.start()).unwrap_or(u32::MAX);
        let shifted = |mark: &Mark| Mark {
            end: mark.end.saturating_sub(start),
            ..*mark
        };
        let marks: Vec<Mark> = self.marks().iter().map(shifted).collect();
        let bytes = Bytes::copy_from_slice(self.bytes());
        (self.first, self.end) = (0, self.end - self.first);
        self.batch = Arc::new(Batch::new(self.batch.room().clone(), bytes, marks));
    }
}

/// One walk over the queue, front to back, building the next one.
struct Pass<'a> {
    queue: VecDeque<Chunk>,
    bytes: usize,
    target: usize,
    droppable: Classes,
    told: BTreeMap<RoomName, Told>,
    shed: &'a mut Shed,
}

/// Where the notes of one stay in one room stand in the queue, while they may still grow.
#[derive(Default)]
struct Told {
    gap: Option<usize>,
    reset: bool,
}

impl Pass<'_> {
    fn chunk(&mut self, chunk: Chunk, begun: bool) {
        match chunk {
            Chunk::Part(part) => self.part(part, begun),
            Chunk::Note(note) if !begun => {
                self.bytes = self.bytes.saturating_sub(note.len());
                self.note(*note);
            }
            Chunk::Join(join) => {
                self.told.remove(&join.0);
                self.queue.push_back(Chunk::Join(join));
            }
            chunk => self.queue.push_back(chunk),
        }
    }

    fn part(&mut self, part: Part, begun: bool) {
        if !part.batch.classes().meets(self.droppable) {
            return self.queue.push_back(Chunk::Part(part));
        }
        let Part { batch, first, end } = part.clone();
        let mut kept = part;
        for (index, mark) in (first..end).zip(batch.marks().iter().skip(first as usize)) {
            if self.bytes <= self.target {
                break;
            }
            if !self.droppable.has(mark.class) || (begun && index == first) {
                continue;
            }
            let before = Part {
                end: index,
                ..kept.clone()
            };
            self.keep(before);
            self.bytes = self.bytes.saturating_sub(kept.len_of(index));
            kept.first = index + 1;
            self.dropped(batch.room(), *mark);
        }
        self.keep(kept);
    }

    fn keep(&mut self, part: Part) {
        if part.first < part.end {
            self.queue.push_back(Chunk::Part(part));
        }
    }

    fn dropped(&mut self, room: &RoomName, mark: Mark) {
        match mark.class {
            Class::Low => self.shed.low += 1,
            Class::Presence => self.shed.presence += 1,
            _ => self.shed.normal += 1,
        }
        let kind = match (mark.class, mark.offset) {
            (Class::Presence, _) => Kind::Reset,
            (_, 0) => return,
            (_, offset) => Kind::Gap {
                from: offset,
                to: offset,
            },
        };
        self.note(Note::new(room.clone(), kind));
    }

    /// Puts a note down here, or into the one before it that already says so or can be made to.
    fn note(&mut self, note: Note) {
        let here = self.queue.len();
        let told = self.told.entry(note.room.clone()).or_default();
        match note.kind {
            // A client asks for the members after it has read the reset, so one covers later changes too.
            Kind::Reset if std::mem::replace(&mut told.reset, true) => return,
            Kind::Reset => {}
            Kind::Gap { from, to } => {
                let before = told.gap.and_then(|at| self.queue.get_mut(at));
                if let Some(Chunk::Note(before)) = before
                    && let Kind::Gap { from: start, to: end } = before.kind
                    && end + 1 == from
                {
                    self.bytes = self.bytes.saturating_sub(before.len());
                    **before = Note::new(note.room, Kind::Gap { from: start, to });
                    self.bytes += before.len();
                    return;
                }
                told.gap = Some(here);
            }
        }
        self.bytes += note.len();
        self.queue.push_back(Chunk::Note(Box::new(note)));
    }
}
