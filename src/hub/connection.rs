//! One local connection as the hub sees it: who it is, where it is a member, and its outbox ([`out`]).
//!
//! Any thread may offer frames; only the owner task (`ws::connection`) reads, and only it ends the
//! connection. The outbox lock is the last in the order engine room → hub room → outbox and is the only one
//! held across a (non-blocking) write.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use countersign_protocol::{DeviceId, RoomName};
use futures::task::AtomicWaker;
use parking_lot::Mutex;

mod out;

use out::Out;
pub use out::{End, Sent, Standing};

use super::subscription::Subscription;
use super::wire::{Format, Wire};
use crate::auth::sessions::Session;
use crate::core::attempt::{AttemptKey, Digest};
use crate::core::rate::{Gcra, Rate};

/// Number of a connection within this process; its wire name is `c_…`.
pub type ConnectionId = u64;

/// One connection. Lives as long as its owner task or a flush in progress needs it.
#[derive(Debug)]
pub struct Connection {
    pub id: ConnectionId,
    pub address: IpAddr,
    /// How it is told what it watches.
    pub format: Format,
    /// When it was opened, whole seconds of Unix time: four bytes fit where eight would make every connection larger.
    opened_s: u32,
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
    /// Boxed: most connections watch none.
    attempt: Option<Box<Watched>>,
    /// Boxed, as it is kept until sign-in only.
    requester: Option<Box<Requester>>,
    rates: [Gcra; 3],
    /// It is being taken out of everything: nothing is added any more.
    departed: bool,
}

/// What is counted per connection besides commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Charge {
    Message,
    Like,
    Join,
}

/// What a request says about who asks for a QR login.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requester {
    /// Shown to the phone.
    pub user_agent: Option<Box<str>>,
    /// The page's origin, which is an allowed one; no browser sends none.
    pub origin: Option<Box<str>>,
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

impl Connection {
    /// A connection opened at `now`, Unix milliseconds, whose queue holds at most `outbox_bytes_max`.
    pub fn new(id: ConnectionId, address: IpAddr, wire: Wire, outbox_bytes_max: u32, now: u64) -> Arc<Self> {
        Self::with_format(id, address, wire, outbox_bytes_max, now, Format::Frames)
    }

    /// The same for an event stream, which its owner drains and which ends with what it was opened for.
    pub fn event_stream(id: ConnectionId, address: IpAddr, outbox_bytes_max: u32, now: u64) -> Arc<Self> {
        Self::with_format(id, address, Wire::Woken, outbox_bytes_max, now, Format::Events)
    }

    fn with_format(
        id: ConnectionId,
        address: IpAddr,
        wire: Wire,
        outbox_bytes_max: u32,
        now: u64,
        format: Format,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            address,
            format,
            opened_s: u32::try_from(now / 1_000).unwrap_or(u32::MAX),
            out: Mutex::new(Out::new(outbox_bytes_max)),
            wire,
            owner: AtomicWaker::new(),
            local: Mutex::new(Local::default()),
        })
    }

    /// Whether it ends with what it was opened for, and takes nothing but that.
    pub fn is_event_stream(&self) -> bool {
        self.format == Format::Events
    }

    /// When it was opened, Unix milliseconds, to the second below.
    pub fn opened_at(&self) -> u64 {
        u64::from(self.opened_s) * 1_000
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
        local.requester = None;
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

    /// What the upgrade's request said about who asks; forgotten at sign-in.
    pub fn requester(&self) -> Requester {
        self.local
            .lock()
            .requester
            .as_deref()
            .cloned()
            .unwrap_or_default()
    }

    /// Keeps that.
    pub fn set_requester(&self, requester: Requester) {
        let said = requester != Requester::default();
        self.local.lock().requester = said.then(|| Box::new(requester));
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
        self.local.lock().attempt.as_deref().copied()
    }

    /// Sets what it watches and answers what it watched before.
    pub fn set_watched(&self, watched: Option<Watched>) -> Option<Watched> {
        let watched = watched.map(Box::new);
        std::mem::replace(&mut self.local.lock().attempt, watched).map(|former| *former)
    }

    /// Whether it has done any of what a connection is for (signed in, opened or watched a QR login, joined), and
    /// when its session ends, if it has one.
    pub fn use_and_expiry(&self) -> (bool, Option<u64>) {
        let local = self.local.lock();
        let expires_at = local.session.as_ref().map(|s| s.expires_at());
        let used = expires_at.is_some() || local.attempt.is_some() || !local.rooms.is_empty();
        (used, expires_at)
    }

    /// Whether it is signed in, and in how many rooms it is or is about to be.
    pub(super) fn session_and_rooms(&self) -> (bool, usize) {
        let local = self.local.lock();
        (local.session.is_some(), local.rooms.len())
    }

    /// The rooms this connection is in or joining.
    pub fn subscriptions(&self) -> Vec<Arc<Subscription>> {
        self.local.lock().rooms.clone()
    }

    /// The membership of one room.
    pub fn subscription(&self, room: &RoomName) -> Option<Arc<Subscription>> {
        self.local
            .lock()
            .rooms
            .iter()
            .find(|s| s.room.name() == room)
            .cloned()
    }

    /// The same for a name as a client wrote it, namespace included: a room it is in is found without reading the name.
    pub fn subscription_named(&self, text: &str) -> Option<Arc<Subscription>> {
        let local = self.local.lock();
        let found = local.rooms.iter().find(|s| s.room.name().as_str() == text);
        found.cloned()
    }

    /// How many rooms.
    pub fn subscription_count(&self) -> usize {
        self.local.lock().rooms.len()
    }

    /// Keeps a membership. `false`: the connection has departed, so it must not have one.
    pub(super) fn remember(&self, subscription: &Arc<Subscription>) -> bool {
        let mut local = self.local.lock();
        if !local.departed {
            if local.rooms.is_empty() {
                // Most connections are in one room.
                local.rooms.reserve_exact(1);
            }
            local.rooms.push(Arc::clone(subscription));
        }
        !local.departed
    }

    pub(super) fn forget(&self, subscription: &Arc<Subscription>) {
        let mut local = self.local.lock();
        local.rooms.retain(|s| !Arc::ptr_eq(s, subscription));
        if local.rooms.is_empty() {
            local.rooms = Vec::new();
        }
    }

    /// Nothing is added from here on; answers what there is to be undone.
    pub(super) fn set_departed(&self) -> (Option<Arc<Session>>, Vec<Arc<Subscription>>) {
        let mut local = self.local.lock();
        local.departed = true;
        (local.session.clone(), std::mem::take(&mut local.rooms))
    }

    /// Queues the answer to a command that has put a frame into `room`, so that both leave in one write. When
    /// no flush is on its way any more, the answer is written at once.
    pub fn answer(&self, room: &RoomName, frame: Bytes) {
        match self.subscription(room) {
            Some(subscription) => subscription.room.answer(&subscription, frame),
            None => self.push(frame),
        }
    }

    /// Registers whom to wake when something is asked of the owner.
    pub fn register_owner(&self, waker: &Waker) {
        self.owner.register(waker);
    }
}
