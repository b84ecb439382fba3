//! One local connection as the hub sees it: an outbox, its wire, and whom to wake.
//!
//! Any thread may offer frames; only the owner task (`ws::connection`) reads, and only it ends the
//! connection. The outbox lock is the last in the order engine room → hub room → outbox and is the only one
//! held across a (non-blocking) write.

use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;

use bytes::Bytes;
use countersign_protocol::{CloseCode, DeviceId, RoomName};
use futures::task::AtomicWaker;
use parking_lot::{Mutex, MutexGuard};

use super::room::Room;
use super::wire::Wire;
use crate::auth::sessions::Session;
use crate::core::attempt::{AttemptKey, Digest};
use crate::core::outbox::{Batch, Ending, Outbox};
use crate::core::rate::{Gcra, Rate};

/// Frames written with one vectored write at most; more go with the next.
const SLICES_MAX: usize = 16;
/// Bytes held for one join under way; a join that takes longer than this lasts ends the connection.
const HOLD_BYTES_MAX: usize = 256 * 1024;

/// Number of a connection within this process; its wire name is `c_…`.
pub type ConnectionId = u64;

/// One connection. Lives as long as its owner task or a flush in progress needs it.
#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub address: IpAddr,
    out: Mutex<Out>,
    wire: Wire,
    owner: AtomicWaker,
    local: Mutex<Local>,
}

/// What commands of this connection have made it.
#[derive(Debug, Default)]
struct Local {
    session: Option<Arc<Session>>,
    device: Option<DeviceId>,
    rooms: Vec<Arc<Subscription>>,
    attempt: Option<Watched>,
    /// Kept until sign-in: a QR login shows it to the phone.
    user_agent: Option<Box<str>>,
    rates: [Gcra; 3],
}

/// What is counted per connection besides commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    Message,
    Like,
    Join,
}

/// The QR login a connection watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched {
    pub key: AttemptKey,
    /// SHA-256 of the claim that was proved.
    pub claim: Digest,
    /// Digest of the attempt's device.
    pub device: Digest,
}

/// The connection has another device already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherDevice;

#[derive(Debug)]
struct Out {
    outbox: Outbox,
    /// Frames of rooms whose join is under way, in arrival order. Rarely anything.
    holds: Vec<Hold>,
    /// The wire said it is full (or is [`Wire::Woken`] and has been told): the owner is to write.
    blocked: bool,
    /// Bytes that have left, so that the owner can tell a slow peer from a stuck one.
    sent: u64,
    end: Option<End>,
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
}

#[derive(Debug)]
struct Hold {
    subscription: Arc<Subscription>,
    batches: Vec<Arc<Batch>>,
    bytes: usize,
}

/// A connection's membership of a room.
#[derive(Debug)]
pub struct Subscription {
    pub connection: Arc<Connection>,
    pub room: Arc<Room>,
    /// Messages up to this offset are not for this member; or one of the two marks below.
    live_after: AtomicU64,
}

/// The join is under way: frames are held.
const HELD: u64 = u64::MAX;
/// The member has left: frames of a flush that still knows it are dropped.
const GONE: u64 = u64::MAX - 1;

impl Subscription {
    pub(super) fn new(connection: Arc<Connection>, room: Arc<Room>) -> Arc<Self> {
        Arc::new(Self { connection, room, live_after: AtomicU64::new(HELD) })
    }

    /// Whether this is still a membership, or the memory of one.
    pub fn is_gone(&self) -> bool {
        self.live_after.load(Ordering::Acquire) == GONE
    }

    /// Whether the join has been answered and the member has not left.
    pub fn is_live(&self) -> bool {
        self.live_after.load(Ordering::Acquire) < GONE
    }
}

impl Connection {
    /// A connection whose queue holds at most `outbox_bytes_max`.
    pub fn new(id: ConnectionId, address: IpAddr, wire: Wire, outbox_bytes_max: u32) -> Arc<Self> {
        Arc::new(Self {
            id,
            address,
            out: Mutex::new(Out {
                outbox: Outbox::new(outbox_bytes_max),
                holds: Vec::new(),
                blocked: false,
                sent: 0,
                end: None,
            }),
            wire,
            owner: AtomicWaker::new(),
            local: Mutex::new(Local::default()),
        })
    }

    /// The wire, for the owner's reading side.
    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The authenticated session, if any.
    pub fn session(&self) -> Option<Arc<Session>> {
        self.local.lock().session.clone()
    }

    /// Sets or replaces the session. Callers have checked that the user does not change.
    pub fn set_session(&self, session: Arc<Session>) {
        let mut local = self.local.lock();
        local.session = Some(session);
        local.user_agent = None;
        drop(local);
        self.owner.wake();
    }

    /// The device this connection is, once a header or a command has said so.
    pub fn device(&self) -> Option<DeviceId> {
        self.local.lock().device.clone()
    }

    /// Sets the device; the first one stays.
    ///
    /// # Errors
    /// [`OtherDevice`] when it is another one already.
    pub fn set_device(&self, device: &DeviceId) -> Result<(), OtherDevice> {
        let mut local = self.local.lock();
        match &local.device {
            Some(known) if known != device => Err(OtherDevice),
            Some(_) => Ok(()),
            None => {
                local.device = Some(device.clone());
                Ok(())
            }
        }
    }

    /// The `User-Agent` of the upgrade; forgotten at sign-in.
    pub fn user_agent(&self) -> Option<Box<str>> {
        self.local.lock().user_agent.clone()
    }

    /// Keeps the `User-Agent` of the upgrade.
    pub fn set_user_agent(&self, user_agent: Option<Box<str>>) {
        self.local.lock().user_agent = user_agent;
    }

    /// Counts one of something against its rate.
    ///
    /// # Errors
    /// In how many milliseconds there is room for one more.
    pub fn charge(&self, what: Charge, rate: &Rate, now: u64) -> Result<(), u64> {
        let mut local = self.local.lock();
        let [message, like, join] = &mut local.rates;
        let gcra = match what {
            Charge::Message => message,
            Charge::Like => like,
            Charge::Join => join,
        };
        gcra.check(rate, now, 1)
    }

    /// The QR login this connection watches.
    pub fn watched(&self) -> Option<Watched> {
        self.local.lock().attempt
    }

    /// Sets what it watches and answers what it watched before.
    pub fn set_watched(&self, watched: Option<Watched>) -> Option<Watched> {
        std::mem::replace(&mut self.local.lock().attempt, watched)
    }

    /// Whether it has done any of what a connection is for: signed in, opened or watched a QR login, joined.
    pub fn is_used(&self) -> bool {
        let local = self.local.lock();
        local.session.is_some() || local.attempt.is_some() || !local.rooms.is_empty()
    }

    /// The rooms this connection is in or joining.
    pub fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.local.lock().rooms.clone()
    }

    /// The membership of one room.
    pub fn subscription(&self, room: &RoomName) -> Option<Arc<Subscription>> {
        self.local.lock().rooms.iter().find(|s| s.room.name() == room).cloned()
    }

    /// How many rooms.
    pub fn subscription_count(&self) -> usize {
        self.local.lock().rooms.len()
    }

    pub(super) fn remember(&self, subscription: &Arc<Subscription>) {
        self.local.lock().rooms.push(Arc::clone(subscription));
    }

    pub(super) fn forget(&self, subscription: &Arc<Subscription>) {
        let mut local = self.local.lock();
        local.rooms.retain(|s| !Arc::ptr_eq(s, subscription));
        if local.rooms.is_empty() {
            local.rooms = Vec::new();
        }
    }

    /// Queues a frame that is never dropped; it leaves with the next write.
    pub fn queue(&self, frame: Bytes) {
        let mut out = self.out.lock();
        self.queue_locked(&mut out, frame);
    }

    fn queue_locked(&self, out: &mut Out, frame: Bytes) {
        if out.end.is_none() && out.outbox.push(frame).is_err() {
            self.end_locked(out, End::Close(CloseCode::SlowConsumer));
        }
    }

    /// Queues a frame that is never dropped and writes what the wire takes.
    pub fn push(&self, frame: Bytes) {
        let mut out = self.out.lock();
        self.queue_locked(&mut out, frame);
        self.write(&mut out);
    }

    /// Writes what is queued and what the wire takes of it.
    pub fn flush(&self) {
        let mut out = self.out.lock();
        self.write(&mut out);
    }

    /// A room's batch for this member. The fast path is one write and no queue.
    pub(super) fn offer(&self, subscription: &Arc<Subscription>, batch: &Arc<Batch>) {
        let mut out = self.out.lock();
        if out.end.is_some() {
            return;
        }
        let live_after = match subscription.live_after.load(Ordering::Acquire) {
            GONE => return,
            HELD => return self.hold(&mut out, subscription, batch),
            offset => offset,
        };
        self.deliver(&mut out, batch, live_after);
        if !out.outbox.is_empty() {
            self.write(&mut out);
        }
    }

    /// Writes a batch straight to an idle wire, or queues it.
    fn deliver(&self, out: &mut Out, batch: &Arc<Batch>, live_after: u64) {
        let first = batch.first_after(live_after);
        if first >= batch.marks().len() {
            return;
        }
        let mut sent = 0;
        if out.outbox.is_empty() && !out.blocked {
            let bytes = batch.bytes().get(batch.start_of(first)..).unwrap_or_default();
            match self.wire.try_write(&[IoSlice::new(bytes)]) {
                Ok(n) => {
                    out.sent += n as u64;
                    if n == bytes.len() {
                        return;
                    }
                    sent = n;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.end_locked(out, End::Broken),
            }
            self.block(out);
        }
        if out.outbox.push_batch(batch, first, sent).is_err() {
            self.end_locked(out, End::Close(CloseCode::SlowConsumer));
        }
    }

    fn hold(&self, out: &mut Out, subscription: &Arc<Subscription>, batch: &Arc<Batch>) {
        let Some(hold) = out.holds.iter_mut().find(|h| Arc::ptr_eq(&h.subscription, subscription)) else {
            return;
        };
        hold.bytes += batch.bytes().len();
        hold.batches.push(Arc::clone(batch));
        if hold.bytes > HOLD_BYTES_MAX {
            self.end_locked(out, End::Close(CloseCode::SlowConsumer));
        }
    }

    pub(super) fn begin_hold(&self, subscription: &Arc<Subscription>) {
        self.out.lock().holds.push(Hold {
            subscription: Arc::clone(subscription),
            batches: Vec::new(),
            bytes: 0,
        });
    }

    /// The join's answer, then what was held of it after `offset`, then live frames.
    pub(super) fn release(&self, subscription: &Arc<Subscription>, reply: Bytes, offset: u64) {
        let mut out = self.out.lock();
        if out.end.is_none() && out.outbox.push_join(subscription.room.name(), reply).is_err() {
            self.end_locked(&mut out, End::Close(CloseCode::SlowConsumer));
        }
        let at = out.holds.iter().position(|h| Arc::ptr_eq(&h.subscription, subscription));
        let held = at.map(|i| out.holds.swap_remove(i));
        if out.holds.is_empty() {
            out.holds = Vec::new();
        }
        if out.end.is_some() {
            return;
        }
        // Somebody may have ended the membership while the join was under way.
        if subscription
            .live_after
            .compare_exchange(HELD, offset, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
        {
            for batch in held.into_iter().flat_map(|h| h.batches) {
                let first = batch.first_after(offset);
                if first < batch.marks().len() && out.outbox.push_batch(&batch, first, 0).is_err() {
                    self.end_locked(&mut out, End::Close(CloseCode::SlowConsumer));
                    return;
                }
            }
        }
        self.write(&mut out);
    }

    /// No frame of this membership is delivered from here on.
    pub(super) fn end_subscription(&self, subscription: &Arc<Subscription>) {
        let mut out = self.out.lock();
        subscription.live_after.store(GONE, Ordering::Release);
        out.holds.retain(|h| !Arc::ptr_eq(&h.subscription, subscription));
    }

    /// Asks the owner to end the connection; the first reason stands.
    pub fn end(&self, end: End) {
        let mut out = self.out.lock();
        self.end_locked(&mut out, end);
    }

    /// [`Connection::end`] with a last frame before the close.
    pub fn end_with(&self, frame: Bytes, code: CloseCode) {
        let mut out = self.out.lock();
        self.queue_locked(&mut out, frame);
        self.end_locked(&mut out, End::Close(code));
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

    fn write(&self, out: &mut MutexGuard<'_, Out>) {
        while !out.blocked && !out.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = out.outbox.io_slices(&mut slices);
            match self.wire.try_write(&slices[..n]) {
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

    /// Registers whom to wake when something is asked of the owner.
    pub fn register_owner(&self, waker: &Waker) {
        self.owner.register(waker);
    }

    /// What the owner has to do.
    pub fn standing(&self) -> Standing {
        let out = self.out.lock();
        Standing { end: out.end, blocked: out.blocked, queued: out.outbox.bytes(), sent: out.sent }
    }

    /// The wire has room again: write on.
    pub fn unblock(&self) {
        let mut out = self.out.lock();
        out.blocked = false;
        self.write(&mut out);
    }

    /// Lets the owner of a [`Wire::Woken`] write: `write` gets what is next and says how much left.
    ///
    /// # Errors
    /// What `write` answered, but for `WouldBlock`, which is `Ok`.
    pub fn drain_with(&self, mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<usize>) -> io::Result<()> {
        let mut out = self.out.lock();
        out.blocked = false;
        while !out.outbox.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let n = out.outbox.io_slices(&mut slices);
            match write(&slices[..n]) {
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
        let frame = Bytes::from(countersign_protocol::codec::close_frame(code));
        let ending = match code {
            CloseCode::SlowConsumer => Ending::AtOnce,
            _ => Ending::AfterQueue,
        };
        let mut out = self.out.lock();
        out.outbox.close(frame, ending);
        self.write(&mut out);
    }

    /// The peer has closed: `frame` is the answer, and nothing follows it.
    pub fn answer_close(&self, frame: Bytes) {
        let mut out = self.out.lock();
        if out.end.is_none() {
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
