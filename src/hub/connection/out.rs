//! How frames leave a connection: its outbox, what is held for joins under way, and whose turn it is to write.
//!
//! Whoever has the outbox lock writes, until the wire is full; then `blocked` is set and the owner woken, and
//! only the owner clears it. Nothing is written while it is set, so an owner that has looked at it and found it
//! clear is woken by the next frame that does not fit.

use std::io::{self, IoSlice};
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::CloseCode;
use countersign_protocol::codec::close_frame;

use super::Connection;
use crate::core::outbox::{Batch, Ending, Mark, Outbox, Overflow, Shed};
use crate::hub::subscription::{Stage, Subscription};

/// Frames written with one vectored write at most; more go with the next.
const SLICES_MAX: usize = 16;
/// Bytes held for all joins of a connection that are under way. A join that takes longer than this lasts ends
/// the connection.
const HOLD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that wait for a command under way; beyond it they leave before its answer.
const CORKED_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug)]
pub(super) struct Out {
    outbox: Outbox,
    /// Frames of rooms whose join is under way, in arrival order. Rarely anything.
    holds: Vec<Hold>,
    /// The wire said it is full (or is [`Wire::Woken`](crate::hub::Wire) and has been told): the owner is to
    /// write.
    blocked: bool,
    cork: Cork,
    /// Bytes that have left, so that the owner can tell a slow peer from a stuck one.
    sent: u64,
    /// Frames queued by the connection itself. Rooms' are counted by their flushers.
    frames: u32,
    end: Option<End>,
    /// What it was not sent. Rarely anything.
    shed: Option<Box<Shed>>,
}

/// What a connection was sent since the start, or since somebody took note of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// That have left.
    pub bytes: u64,
    /// Of its own.
    pub frames: u32,
    /// That it was not sent, because it read too slowly.
    pub shed: Shed,
}

/// Whether frames wait for the command under way, so that its answer and what it causes leave with one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cork {
    Out,
    In,
    /// Something has been kept from the wire by it.
    Under,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The gateway closes it with this code.
    Close(CloseCode),
    /// The peer closed it, and our answer is queued.
    Answered,
    /// The peer is gone; there is nobody to tell.
    Broken,
    /// An event stream has told what it was opened for, or another watcher tells it from here on.
    Done,
}

/// What a connection's owner looks at when it is woken.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub end: Option<End>,
    pub blocked: bool,
    /// Bytes waiting.
    pub queued: usize,
    /// Bytes that left since the start.
    pub sent: u64,
}

#[derive(Debug)]
struct Hold {
    subscription: Arc<Subscription>,
    batches: Vec<Arc<Batch>>,
    bytes: usize,
}

impl Out {
    pub(super) const fn new(outbox_bytes_max: u32) -> Self {
        Self {
            outbox: Outbox::new(outbox_bytes_max),
            holds: Vec::new(),
            blocked: false,
            cork: Cork::Out,
            sent: 0,
            frames: 0,
            end: None,
            shed: None,
        }
    }

    /// Queues a frame of the connection's own.
    fn push(&mut self, frame: Bytes) -> Result<(), Overflow> {
        self.frames = self.frames.saturating_add(1);
        let shed = self.outbox.push(frame)?;
        self.note(shed);
        Ok(())
    }

    fn push_batch(&mut self, batch: &Arc<Batch>, sent: usize) -> Result<(), Overflow> {
        let shed = self.outbox.push_batch(batch, 0, sent)?;
        self.note(shed);
        Ok(())
    }

    fn note(&mut self, shed: Shed) {
        if shed != Shed::default() {
            **self.shed.get_or_insert_default() += shed;
        }
    }

    fn standing(&self) -> Standing {
        Standing {
            end: self.end,
            blocked: self.blocked,
            queued: self.outbox.bytes(),
            sent: self.sent,
        }
    }

    fn sent(&self) -> Sent {
        Sent {
            bytes: self.sent,
            frames: self.frames,
            shed: self.shed.as_deref().copied().unwrap_or_default(),
        }
    }

    fn take_hold(&mut self, subscription: &Arc<Subscription>) -> Option<Hold> {
        let at = self
            .holds
            .iter()
            .position(|h| Arc::ptr_eq(&h.subscription, subscription))?;
        let hold = self.holds.swap_remove(at);
        if self.holds.is_empty() {
            self.holds = Vec::new();
        }
        Some(hold)
    }
}

impl Connection {
    /// Queues a frame that is never dropped; it leaves with the next write.
    pub fn queue(&self, frame: Bytes) {
        self.queue_locked(&mut self.out.lock(), frame);
    }

    fn queue_locked(&self, out: &mut Out, frame: Bytes) {
        if out.end.is_none() && out.push(frame).is_err() {
            self.end_locked(out, End::Close(CloseCode::SlowConsumer));
        }
    }

    /// Queues a frame that is never dropped and writes what the wire takes.
    pub fn push(&self, frame: Bytes) {
        let mut out = self.out.lock();
        self.queue_locked(&mut out, frame);
        self.write(&mut out);
    }

    /// Writes what the wire takes of what is queued.
    pub fn flush(&self) {
        let mut out = self.out.lock();
        out.cork = Cork::Out;
        self.write(&mut out);
    }

    /// From here to [`Connection::uncork`] or [`Connection::flush`] frames are queued and not written, up to
    /// [`CORKED_BYTES_MAX`]: a command is carried out, whose answer is to leave together with what it causes.
    pub fn cork(&self) {
        let mut out = self.out.lock();
        if out.cork == Cork::Out {
            out.cork = Cork::In;
        }
    }

    /// Writes what was kept from the wire by [`Connection::cork`]; nothing, if nothing was.
    pub fn uncork(&self) {
        let mut out = self.out.lock();
        if std::mem::replace(&mut out.cork, Cork::Out) == Cork::Under {
            self.write(&mut out);
        }
    }

    /// A room's batch for this member: whether it was for it. The fast path is one write and no queue.
    pub(in crate::hub) fn offer(&self, subscription: &Arc<Subscription>, batch: &Arc<Batch>) -> bool {
        let mut out = self.out.lock();
        if out.end.is_some() {
            return false;
        }
        match subscription.stage() {
            Stage::Gone => return false,
            Stage::Held => {
                self.hold(&mut out, subscription, batch);
                return true;
            }
            // Nearly always: none of it is older than what the member has.
            Stage::Live { after } if batch.first_after(after) == 0 => self.deliver(&mut out, batch),
            Stage::Live { after } => {
                if let Some(batch) = later_part(batch, after).as_ref() {
                    self.deliver(&mut out, batch);
                }
            }
        }
        // Answers were waiting for this.
        if !out.outbox.is_empty() {
            self.write(&mut out);
        }
        true
    }

    /// Writes a batch straight to an idle wire, or queues it.
    fn deliver(&self, out: &mut Out, batch: &Arc<Batch>) {
        let mut sent = 0;
        if out.outbox.is_empty() && !out.blocked && out.cork == Cork::Out {
            match self.wire.try_write(&[IoSlice::new(batch.bytes())]) {
                Ok(n) => {
                    out.sent += n as u64;
                    if n == batch.bytes().len() {
                        return;
                    }
                    sent = n;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.end_locked(out, End::Broken),
            }
            self.block(out);
        }
        if out.push_batch(batch, sent).is_err() {
            self.end_locked(out, End::Close(CloseCode::SlowConsumer));
        }
    }

    fn hold(&self, out: &mut Out, subscription: &Arc<Subscription>, batch: &Arc<Batch>) {
        let held: usize = out.holds.iter().map(|h| h.bytes).sum();
        let Some(hold) = out
            .holds
            .iter_mut()
            .find(|h| Arc::ptr_eq(&h.subscription, subscription))
        else {
            return;
        };
        hold.bytes += batch.bytes().len();
        hold.batches.push(Arc::clone(batch));
        if held + batch.bytes().len() > HOLD_BYTES_MAX {
            self.end_locked(out, End::Close(CloseCode::SlowConsumer));
        }
    }

    pub(in crate::hub) fn begin_hold(&self, subscription: &Arc<Subscription>) {
        let mut out = self.out.lock();
        if out.end.is_none() {
            out.holds.push(Hold {
                subscription: Arc::clone(subscription),
                batches: Vec::new(),
                bytes: 0,
            });
        }
    }

    /// The join's answer, then what was held of it after `offset`, then live frames.
    pub(in crate::hub) fn release(&self, subscription: &Arc<Subscription>, reply: Bytes, offset: u64) {
        let mut out = self.out.lock();
        let held = out.take_hold(subscription);
        // Somebody may have ended the membership while the join was under way: then nothing follows the answer.
        let live = subscription.go_live(offset);
        if out.end.is_some() {
            return;
        }
        out.frames = out.frames.saturating_add(1);
        let joined = out.outbox.push_join(subscription.room.name(), reply);
        let mut queued = joined.map(|shed| out.note(shed));
        for batch in held.into_iter().filter(|_| live).flat_map(|h| h.batches) {
            if let Some(batch) = later_part(&batch, offset) {
                queued = queued.and_then(|()| out.push_batch(&batch, 0));
            }
        }
        if queued.is_err() {
            return self.end_locked(&mut out, End::Close(CloseCode::SlowConsumer));
        }
        self.write(&mut out);
    }

    /// No frame of this membership is delivered from here on.
    pub(in crate::hub) fn end_subscription(&self, subscription: &Arc<Subscription>) {
        let mut out = self.out.lock();
        subscription.set_gone();
        out.take_hold(subscription);
    }

    /// Asks the owner to end the connection; the first reason stands.
    pub fn end(&self, end: End) {
        self.end_locked(&mut self.out.lock(), end);
    }

    /// [`Connection::end`] with a last frame before the close.
    pub fn end_with(&self, frame: Bytes, code: CloseCode) {
        let mut out = self.out.lock();
        self.queue_locked(&mut out, frame);
        self.end_locked(&mut out, End::Close(code));
    }

    /// Nothing is left to tell: an event stream ends when what is queued has left, a WebSocket lives on.
    pub(in crate::hub) fn has_told_all(&self) {
        if self.is_event_stream() {
            self.end(End::Done);
        }
    }

    fn end_locked(&self, out: &mut Out, end: End) {
        if out.end.is_none() {
            out.end = Some(end);
            out.holds = Vec::new();
            self.owner.wake();
        }
    }

    fn block(&self, out: &mut Out) {
        if !out.blocked {
            out.blocked = true;
            self.owner.wake();
        }
    }

    fn write(&self, out: &mut Out) {
        if out.cork != Cork::Out && out.end.is_none() && out.outbox.bytes() <= CORKED_BYTES_MAX {
            out.cork = Cork::Under;
            return;
        }
        while !out.blocked && !out.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = out.outbox.io_slices(&mut slices);
            match self.wire.try_write(slices.get(..n).unwrap_or_default()) {
                Ok(0) => return self.end_locked(out, End::Broken),
                Ok(n) => {
                    out.outbox.advance(n);
                    out.sent += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.block(out),
                Err(_) => return self.end_locked(out, End::Broken),
            }
        }
    }

    // What follows is for the owner task.

    /// What the owner has to do.
    pub fn standing(&self) -> Standing {
        self.out.lock().standing()
    }

    /// The same, and what it was sent.
    pub fn standing_and_sent(&self) -> (Standing, Sent) {
        let out = self.out.lock();
        (out.standing(), out.sent())
    }

    /// What it was sent since this was asked last. For a connection that has ended: its owner goes by the bytes sent.
    pub(in crate::hub) fn take_sent(&self) -> Sent {
        let mut out = self.out.lock();
        let sent = out.sent();
        (out.sent, out.frames, out.shed) = (0, 0, None);
        sent
    }

    /// The wire has room again: write on.
    pub fn unblock(&self) {
        let mut out = self.out.lock();
        out.blocked = false;
        self.write(&mut out);
    }

    /// Lets the owner of a [`Wire::Woken`](crate::hub::Wire) write: `write` gets what is next and says how much
    /// left.
    ///
    /// # Errors
    /// What `write` answered, but for `WouldBlock`, which is `Ok`.
    pub fn drain_with(&self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let mut out = self.out.lock();
        out.blocked = false;
        while !out.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = out.outbox.io_slices(&mut slices);
            match write(slices.get(..n).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    out.outbox.advance(n);
                    out.sent += n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    out.blocked = true;
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// The close frame, as the last one: what is queued goes first, unless it is because of the queue that
    /// the connection ends.
    pub fn queue_close(&self, code: CloseCode) {
        let ending = match code {
            CloseCode::SlowConsumer => Ending::AtOnce,
            _ => Ending::AfterQueue,
        };
        let mut out = self.out.lock();
        // Nothing may follow the close frame, whoever asked for it.
        out.end.get_or_insert(End::Close(code));
        out.frames = out.frames.saturating_add(1);
        out.outbox.close(Bytes::from(close_frame(code)), ending);
        self.write(&mut out);
    }

    /// The peer has closed: `frame` is the answer, and nothing follows it.
    pub fn answer_close(&self, frame: Bytes) {
        let mut out = self.out.lock();
        if out.end.is_none() {
            out.frames = out.frames.saturating_add(1);
            out.outbox.close(frame, Ending::AfterQueue);
            self.end_locked(&mut out, End::Answered);
            self.write(&mut out);
        }
    }

    /// A pong that the frame reader produced.
    pub fn queue_control(&self, bytes: &[u8]) {
        self.queue(Bytes::copy_from_slice(bytes));
    }
}

/// What of a batch is for a member who has every message up to `offset`. Usually all of it. Frames that are no
/// messages stay, also those in front of an older message: what the member was told of counts and of who is
/// here may be older than its messages.
fn later_part(batch: &Arc<Batch>, offset: u64) -> Option<Arc<Batch>> {
    if batch.first_after(offset) == 0 {
        return Some(Arc::clone(batch));
    }
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    for (at, mark) in batch.marks().iter().enumerate() {
        if mark.offset == 0 || mark.offset > offset {
            bytes.extend_from_slice(
                batch
                    .bytes()
                    .get(batch.start_of(at)..mark.end as usize)
                    .unwrap_or_default(),
            );
            marks.push(Mark {
                end: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                ..*mark
            });
        }
    }
    (!marks.is_empty()).then(|| Arc::new(Batch::new(batch.room().clone(), bytes.into(), marks)))
}
