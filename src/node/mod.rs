//! The use cases. Each reads as the story it is: what a person, a page or a phone asked for, step by step,
//! over the engine (shared state) and the hub (local sockets), which know nothing of each other.

pub mod admission;
mod follow;
pub mod limiters;
mod lock;
mod presence;
mod proxies;
mod qr;
mod rooms;
mod seed;
mod signin;
mod sink;
mod ticker;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use countersign_protocol::{RoomName, UserId};
use tokio::sync::mpsc;

use crate::refusal;
pub use crate::refusal::Refusal;
pub use admission::{Admission, Stay};
pub use lock::Locked;
pub use presence::Presence;
pub use proxies::{Forwarding, STRANGER_MS, STRANGERS_MAX};
pub use qr::{Claim, EventStream, QrRequest, Redeemed, no_attempt};
pub use rooms::{Message, Page};
pub use signin::{Caller, SignInError, unauthenticated};
pub use sink::NodeSink;

use crate::auth::password::{Cost, Hasher};
use crate::auth::sessions::Sessions;
use crate::auth::{jwt, key, secret};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::core::attempt::Policy;
use crate::engine::memory::MemoryLimits;
use crate::engine::{AttemptRef, Engine, Memory};
use crate::hub::{Connection, ConnectionId, Hub, Wire};
use crate::ops::metrics::{self, Metrics};
use crate::origin::Origins;
use admission::Door;
use limiters::Limiters;
use proxies::Proxies;

/// Everything one process serves with. Built once by [`crate::app`].
pub struct Node {
    pub clock: Clock,
    pub config: Config,
    /// The limits under the configured profile.
    pub limits: Limits,
    pub hub: Arc<Hub>,
    pub engine: Engine,
    pub origins: Origins,
    metrics: Arc<Metrics>,
    sessions: Sessions,
    hasher: Hasher,
    limiters: Limiters,
    door: Arc<Door>,
    proxies: Proxies,
    draining: AtomicBool,
    next_connection: AtomicU64,
    departures: mpsc::UnboundedSender<Departure>,
    repairs: sink::Repairs,
    turns: follow::Turns,
}

/// What the engine has to be told after a connection is gone. It keeps the connection's place until then, so
/// there are never more of these than places.
struct Departure {
    connection: ConnectionId,
    rooms: Vec<RoomName>,
    attempt: Option<AttemptRef>,
    /// Whose last connection here this was.
    user: Option<UserId>,
    _place: Option<Arc<Admission>>,
}

/// Why a node could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Key(#[from] key::KeyError),
    #[error("the password hasher could not be set up: {0}")]
    Password(String),
    #[error("the system gave no random bytes")]
    NoEntropy,
}

/// A node with the parts that still have to be set running.
pub struct Built {
    pub node: Arc<Node>,
    /// Attach it to the engine.
    pub sink: Arc<NodeSink>,
    background: ticker::Background,
}

impl Built {
    /// Starts the tasks behind the node: what comes due, departures, repairs. They end with the node.
    pub fn start(self) -> Arc<Node> {
        self.background.start(&self.node);
        self.node
    }
}

/// The memory engine for a configuration.
pub fn memory_engine(config: &Config) -> Arc<Memory> {
    let limits = config.limits.clone().under(config.limits_profile);
    Memory::new(MemoryLimits {
        rooms_max: limits.rooms_max,
        room_idle_ms: config.rooms.idle_ms,
        counts_interval_ms: config.rooms.counts_interval_ms,
        stream: crate::core::stream::StreamLimits {
            messages: config.rooms.history_messages,
            bytes: config.rooms.history_bytes,
            age_ms: config.rooms.history_ms,
            cid_entries: config.rooms.cid_entries,
            cid_ms: config.rooms.cid_ms,
        },
        history_bytes_max: limits.history_bytes_max,
        room_rate: limits.room_rate.rate(),
        room_reserved_percent: limits.room_reserved_percent,
        attempts_max: limits.qr_attempts_max,
        attempts_waiting_per_address_max: limits.qr_waiting_per_address_max,
        attempt: qr_policy(config),
        accounts_max: limits.accounts_max,
        sessions_per_user_max: limits.sessions_per_user_max,
        once_keys_max: limits.once_keys_max,
    })
}

fn qr_policy(config: &Config) -> Policy {
    Policy {
        lifetime_ms: config.qr.lifetime_ms,
        rotate_ms: config.qr.rotate_ms,
        idle_ms: config.qr.idle_ms,
        scanned_ms: config.qr.scanned_ms,
        confirmed_ms: config.qr.confirmed_ms,
        tries_max: config.limits.qr_tries_max,
        ..Policy::default()
    }
}

impl Node {
    /// A node over an engine. `public_origin` is where browsers find it, such as `http://127.0.0.1:8080`;
    /// `connections_max` what the process has descriptors for.
    ///
    /// # Errors
    /// A key file that cannot be used, or a system without random bytes.
    pub fn build(
        config: Config,
        engine: Engine,
        clock: Clock,
        public_origin: String,
        connections_max: usize,
    ) -> Result<Built, BuildError> {
        let limits = config.limits.clone().under(config.limits_profile);
        let signing = match &config.tokens.key_file {
            Some(path) => key::SigningKey::from_file(path)?,
            None => key::SigningKey::generate()?,
        };
        let keys = jwt::KeySet::new(
            signing,
            config.tokens.issuer.clone(),
            config.tokens.audience.clone(),
        );
        let hasher = Hasher::new(Cost {
            memory_kib: config.accounts.argon2_memory_kib,
            iterations: config.accounts.argon2_iterations,
            waiting_max: limits.password_queue_max,
            ..Cost::default()
        })
        .map_err(|e| BuildError::Password(e.to_string()))?;
        let hub = Arc::new(Hub::default());
        let metrics = Arc::new(Metrics::new(clock.now()));
        let (departures, departed) = mpsc::unbounded_channel();
        let repairs = sink::Repairs::default();
        let origins = Origins::new(
            public_origin,
            config.public_origin.is_some(),
            &config.allowed_origins,
        );
        let sink = Arc::new(NodeSink::new(
            Arc::clone(&hub),
            clock.clone(),
            origins.public().to_owned(),
            repairs.clone(),
            Arc::clone(&metrics),
        ));
        // The high bits are random so that numbers of two processes do not meet in one engine.
        let first = u64::from_le_bytes(secret::bytes().map_err(|_| BuildError::NoEntropy)?) & !0xffff_ffff;
        let node = Arc::new(Self {
            metrics,
            sessions: Sessions::new(keys, engine.clone(), config.tokens.clone()),
            limiters: Limiters::new(&limits, &clock),
            door: Door::new(&limits, connections_max.min(limits.connections_max)),
            proxies: Proxies::of(&config),
            clock,
            config,
            limits,
            hub,
            engine,
            origins,
            hasher,
            draining: AtomicBool::new(false),
            next_connection: AtomicU64::new(first),
            departures,
            repairs,
            turns: follow::Turns::default(),
        });
        Ok(Built {
            node,
            sink,
            background: ticker::Background { departed },
        })
    }

    /// A place for an accepted socket. `None`: drop it.
    pub fn admit(&self, peer: IpAddr) -> Option<Admission> {
        let now = self.clock.now();
        if self.proxies.is_listed(peer) {
            self.door.admit_proxy(now)
        } else {
            self.door.admit(peer, now)
        }
    }

    /// Whose request it is, by its peer and what it says: the address for everything that asks for one. Over a proxy's
    /// socket, which `place` is, it counts as a connection of that address.
    ///
    /// # Errors
    /// `rate_limited` and `unavailable`, as for a socket of that address; `bad_request` when a proxy names two.
    pub fn client_of(
        &self,
        peer: IpAddr,
        said: &Forwarding<'_>,
        place: &Admission,
        stay: Stay,
    ) -> Result<IpAddr, Refusal> {
        let now = self.clock.now();
        let client = self.proxies.client_of(peer, said, now)?;
        place.count_for(client, stay, now)?;
        Ok(client)
    }

    /// Sockets accepted and not yet gone.
    pub fn sockets(&self) -> usize {
        self.door.total()
    }

    /// What `/metrics` answers. Reads files of the system's: not for a task that others wait for.
    pub fn metrics_text(&self) -> String {
        self.metrics.text(metrics::Now {
            qr_kept: self.engine.attempts_kept(),
            sockets: self.sockets(),
            connections: self.hub.connection_count(),
        })
    }

    /// Whether new work is refused because the node is about to end.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Refuses new work from here on.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.hub.tell_all_phones();
    }

    /// Registers a connection that has been upgraded. `greeting` is its first frame: nothing can be told before.
    pub fn open_connection(
        &self,
        address: IpAddr,
        wire: Wire,
        greeting: impl FnOnce(&Connection) -> Bytes,
    ) -> Arc<Connection> {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::new(id, address, wire, self.limits.outbox_bytes_max);
        connection.push(greeting(&connection));
        self.hub.register(&connection);
        connection
    }

    /// Registers an event stream.
    fn open_stream(&self, address: IpAddr) -> Arc<Connection> {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let connection = Connection::event_stream(id, address, self.limits.outbox_bytes_max);
        self.hub.register(&connection);
        connection
    }

    /// The connection is gone: local membership ends now, the engine is told soon. Call it once.
    pub fn depart(&self, connection: &Arc<Connection>, place: Option<Arc<Admission>>) {
        let rooms = self.hub.unregister(connection);
        let attempt = connection.set_watched(None).map(|w| w.key);
        if let Some(key) = attempt {
            self.hub.unwatch(key, connection.id);
        }
        let user = connection
            .session()
            .map(|s| s.user_id().clone())
            .filter(|user| !self.hub.is_connected(user));
        if rooms.is_empty() && attempt.is_none() && user.is_none() {
            return;
        }
        // Fails only when the reaper has ended with the process.
        let _ = self.departures.send(Departure {
            connection: connection.id,
            rooms,
            attempt: attempt.map(AttemptRef::Key),
            user,
            _place: place,
        });
    }

    /// Sweeps what grows with callers.
    fn sweep(&self) {
        self.limiters.sweep();
        self.door.sweep(self.clock.now());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.repairs.close();
    }
}

/// The wire name of a connection.
pub fn connection_name(id: ConnectionId) -> String {
    format!("c_{id:016x}")
}
