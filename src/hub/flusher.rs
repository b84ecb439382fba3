//! The one flusher of a room: what is pending goes to each member as one buffer, until nothing is pending.

use std::sync::Arc;

use countersign_protocol::CloseCode;
use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::connection::End;
use super::pending::Taken;
use super::room::Room;
use super::subscription::Subscription;
use crate::clock::Stopwatch;
use crate::core::outbox::Batch;

/// Members served between two yields, so that a room of thousands does not keep a small one waiting: half a millisecond,
/// at 8 µs for a `send`. With 256, messages of 500 rooms of ten took 4.8 ms in place of 0.25 ms (median) beside a room of
/// 10,000, and nothing was cheaper.
const FLUSH_CHUNK: usize = 64;

/// A room's members as they were when something was taken, and how far that has got.
#[derive(Debug)]
pub(super) struct Flusher {
    room: Arc<Room>,
    work: Work,
    members: Vec<Arc<Subscription>>,
    /// The room's count of changes when `members` was copied.
    changes: Option<u64>,
    /// The member to serve next.
    next: usize,
    /// Set while members are served: dropped like this, it has panicked.
    serving: bool,
    /// Since what is being served began to wait, if that is timed.
    watch: Option<Stopwatch>,
    /// At whom the flusher before this one panicked.
    failed: Option<Arc<Subscription>>,
}

#[derive(Debug)]
enum Work {
    Offer(Arc<Batch>),
    CutOff,
    Done,
}

impl Flusher {
    /// To be called under the room's lock, when none runs. `false`: there is no runtime to run it.
    pub(super) fn start(room: &Arc<Room>) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let flusher = Self {
            room: Arc::clone(room),
            work: Work::Done,
            members: Vec::new(),
            changes: None,
            next: 0,
            serving: false,
            watch: room.counters.flush_begins(),
            failed: None,
        };
        runtime.spawn(flusher.run());
        true
    }

    async fn run(mut self) {
        if let Some(member) = self.failed.take() {
            // What has left of the frame is not known.
            self.serving = true;
            member.connection.end(End::Broken);
            self.serving = false;
        }
        // What a flusher that panicked has left.
        self.serve_all().await;
        // Publishers that are ready append to the same batch.
        yield_now().await;
        loop {
            self.work = match self.room.take(&mut self.members, &mut self.changes) {
                Taken::Batch(batch) => Work::Offer(batch),
                Taken::CutOff => Work::CutOff,
                Taken::Nothing => return,
            };
            self.next = 0;
            self.serve_all().await;
            if self.room.rest() {
                return;
            }
            self.watch = self.room.counters.flush_begins();
            // More was appended meanwhile. A slow member's owner gets its turn before that is offered.
            yield_now().await;
        }
    }

    async fn serve_all(&mut self) {
        self.serve();
        while !matches!(self.work, Work::Done) {
            yield_now().await;
            self.serve();
        }
    }

    /// Serves the next members, at most [`FLUSH_CHUNK`].
    fn serve(&mut self) {
        self.serving = true;
        for _ in 0..FLUSH_CHUNK {
            let Some(member) = self.members.get(self.next) else {
                self.served();
                break;
            };
            self.next += 1;
            match &self.work {
                Work::Offer(batch) => member.connection.offer(member, batch),
                Work::CutOff => member.connection.end(End::Close(CloseCode::SlowConsumer)),
                Work::Done => break,
            }
        }
        self.serving = false;
    }

    /// All members have been served.
    fn served(&mut self) {
        if let Work::Offer(batch) = std::mem::replace(&mut self.work, Work::Done) {
            let counters = &self.room.counters;
            counters.flushed(&batch, self.members.len(), self.watch.take());
        }
    }
}

/// If serving a member panics, another flusher goes on with the next: else the members behind would miss the
/// batch without a word, and the room would be frozen.
impl Drop for Flusher {
    fn drop(&mut self) {
        // Not so when the runtime ends: it drops its tasks between two members.
        if !self.serving {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let heir = Self {
            room: Arc::clone(&self.room),
            work: std::mem::replace(&mut self.work, Work::Done),
            failed: self
                .next
                .checked_sub(1)
                .and_then(|at| self.members.get(at))
                .cloned(),
            members: std::mem::take(&mut self.members),
            changes: self.changes,
            next: self.next,
            serving: false,
            watch: self.watch,
        };
        runtime.spawn(heir.run());
    }
}
