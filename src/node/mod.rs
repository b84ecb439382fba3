//! The use cases. Each reads as the story it is: what a person, a page or a phone asked for, step by step,
//! over the engine (shared state) and the hub (local sockets), which know nothing of each other.

pub mod admission;
pub mod console;
mod follow;
mod guesses;
pub mod limiters;
mod lock;
mod oauth;
mod presence;
mod proxies;
mod qr;
mod reload;
mod rooms;
mod seed;
mod signin;
mod sink;
mod ticker;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use countersign_protocol::{RoomName, UserId};
use tokio::sync::mpsc;

pub use crate::hub::Requester;
pub use crate::ops::ids::connection_name;
use crate::refusal;
pub use crate::refusal::Refusal;
pub use admission::{Admission, Named, Stay};
pub use lock::Locked;
pub use oauth::{Asking, OAuthRefusal};
pub use presence::Presence;
pub use proxies::{Forwarding, Peer, STRANGER_MS, STRANGERS_MAX};
pub use qr::{Claim, DeviceRequest, EventStream, QrRequest, Redeemed, no_attempt};
pub use reload::{Change, Effect, SETTINGS};
pub use rooms::{Message, Page};
pub use signin::{Caller, SignInError, unauthenticated};
pub use sink::NodeSink;

use crate::auth::certificate::{Certificate, CertificateError};
use crate::auth::password::{Cost, Hasher};
use crate::auth::sessions::Sessions;
use crate::auth::{jwt, key, secret};
use crate::clock::Clock;
use crate::config::{Config, Limits};
use crate::core::attempt::Policy;
use crate::core::proxy_protocol::Origin;
use crate::engine::memory::MemoryLimits;
use crate::engine::{self, AttemptRef, Engine, Memory};
use crate::hub::{Connection, ConnectionId, Hub, Wire};
use crate::ops::ids::{RequestId, RequestIds};
use crate::ops::metrics::{Format, Metrics};
use crate::origin::Origins;
use crate::tally::parts::{Bounds, Everything};
use admission::Door;
use limiters::Limiters;
use proxies::Proxies;

/// Everything one process serves with. Built once by [`crate::app`].
pub struct Node {
    pub clock: Clock,
    config: Arc<ArcSwap<Config>>,
    limits: ArcSwap<Limits>,
    /// Held by the reload under way.
    reloading: parking_lot::Mutex<()>,
    pub hub: Arc<Hub>,
    pub engine: Engine,
    pub origins: Origins,
    pub metrics: Arc<Metrics>,
    console: console::Console,
    sessions: Sessions,
    hasher: Hasher,
    limiters: Limiters,
    door: Arc<Door>,
    proxies: Proxies,
    /// What the public port shows, where it speaks TLS.
    certificate: Option<ArcSwap<Certificate>>,
    draining: AtomicBool,
    next_connection: AtomicU64,
    request_ids: RequestIds,
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
    #[error("tokens.key_file: {0}")]
    Key(#[from] key::KeyError),
    #[error(transparent)]
    Certificate(#[from] CertificateError),
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
        grant_lifetime_ms: config.oauth.lifetime_ms,
        grant_confirmed_ms: config.oauth.confirmed_ms,
        tries_max: config.limits.qr_tries_max,
        ..Policy::default()
    }
}

/// Reads the certificate that a configuration names.
fn certificate_of(config: &Config) -> Result<Option<Certificate>, CertificateError> {
    let Some((chain, key)) = config.tls.files() else {
        return Ok(None);
    };
    let certificate = Certificate::from_files(chain, key)?;
    if certificate.is_key_exposed() {
        tracing::warn!(
            file = %key.display(),
            "everybody on this machine may read the private key of the certificate: chmod o-r takes that away"
        );
    }
    Ok(Some(certificate))
}

impl Node {
    /// A node over an engine. `public_origin` is where browsers find it, such as `http://127.0.0.1:8080`;
    /// `connections_max` what the process has descriptors for.
    ///
    /// # Errors
    /// A key or certificate file that cannot be used, or a system without random bytes.
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
            config
                .tokens
                .issuer
                .clone()
                .unwrap_or_else(|| public_origin.clone()),
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
        let metrics = Arc::new(Metrics::new(clock.now(), engine::VERBS));
        let (departures, departed) = mpsc::unbounded_channel();
        let repairs = sink::Repairs::default();
        let origins = Origins::new(
            public_origin,
            config.public_origin.is_some(),
            &config.page_origins(),
        );
        let config = Arc::new(config);
        let current = Arc::new(ArcSwap::new(Arc::clone(&config)));
        let sink = Arc::new(NodeSink::new(
            Arc::clone(&hub),
            clock.clone(),
            origins.public().to_owned(),
            Arc::clone(&current),
            repairs.clone(),
            Arc::clone(&metrics),
        ));
        // The high bits are random so that numbers of two processes do not meet in one engine.
        let first = u64::from_le_bytes(secret::bytes().map_err(|_| BuildError::NoEntropy)?) & !0xffff_ffff;
        let node = Arc::new(Self {
            metrics,
            console: console::Console::new(clock.now(), first),
            sessions: Sessions::new(keys, engine.clone(), config.tokens.clone()),
            limiters: Limiters::new(&limits, config.oauth.interval_ms, &clock),
            door: Door::new(&limits, connections_max),
            proxies: Proxies::of(&config),
            certificate: certificate_of(&config)?.map(ArcSwap::from_pointee),
            clock,
            config: current,
            limits: ArcSwap::from_pointee(limits),
            reloading: parking_lot::Mutex::new(()),
            hub,
            engine,
            origins,
            hasher,
            draining: AtomicBool::new(false),
            next_connection: AtomicU64::new(first),
            request_ids: RequestIds::new(first),
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

    /// The configuration in force; a reload replaces it. Do not keep what this answers across an `.await`.
    pub fn config(&self) -> Guard<Arc<Config>> {
        self.config.load()
    }

    /// The limits in force, under the configured profile. As with [`Node::config`].
    pub fn limits(&self) -> Guard<Arc<Limits>> {
        self.limits.load()
    }

    /// A place for an accepted socket. `None`: drop it.
    pub fn admit(&self, peer: IpAddr) -> Option<Admission> {
        let now = self.clock.now();
        if self.proxies.is_listed(peer) {
            self.door.admit_proxy(self.named(), now)
        } else {
            self.door.admit(peer, now)
        }
    }

    /// A place for a socket of the Unix-domain listener, which is a proxy's. `None`: drop it.
    pub fn admit_local(&self) -> Option<Admission> {
        self.door.admit_proxy(self.named(), self.clock.now())
    }

    /// When it is known whose a proxy's socket is.
    fn named(&self) -> Named {
        if self.config().proxy_protocol {
            Named::Later
        } else {
            Named::Now
        }
    }

    /// Whether a peer writes a PROXY header first. Who is not listed is not asked for one, and refused with it.
    pub fn writes_proxy_header(&self, peer: Peer) -> bool {
        let config = self.config();
        config.proxy_protocol
            && match peer {
                Peer::At(address) => self.proxies.is_listed(address),
                Peer::Local => true,
                Peer::ProxyItself(_) => false,
            }
    }

    /// Who the peer is after its PROXY header, and whether it may stay: the connection counts where it comes from.
    pub fn announced(&self, origin: Origin, proxy: Peer, place: &mut Admission) -> (Peer, bool) {
        let now = self.clock.now();
        match (origin, proxy) {
            // One proxy behind another: the first of them says in its requests whose each is.
            (Origin::Client(address), _) if self.proxies.is_listed(address) => {
                place.stays_a_proxys(now);
                (Peer::At(address), true)
            }
            (Origin::Client(address), _) => (Peer::At(address), place.becomes(address, now)),
            (Origin::Proxy, Peer::At(address) | Peer::ProxyItself(address)) => {
                (Peer::ProxyItself(address), place.becomes(address, now))
            }
            (Origin::Proxy, Peer::Local) => {
                let here = IpAddr::from([127, 0, 0, 1]);
                (Peer::ProxyItself(here), place.becomes(here, now))
            }
        }
    }

    /// Whose request it is, by its peer and what it says: the address for everything that asks for one. Over a proxy's
    /// socket, which `place` is, it counts as a connection of that address.
    ///
    /// # Errors
    /// `rate_limited` and `unavailable`, as for a socket of that address; `bad_request` when a proxy names two.
    pub fn client_of(
        &self,
        peer: Peer,
        said: &Forwarding<'_>,
        place: &Admission,
        stay: Stay,
    ) -> Result<IpAddr, Refusal> {
        let now = self.clock.now();
        let client = match peer {
            // A connection of before the list named its peer, or before the header was asked for, has proved nothing.
            Peer::At(address)
                if self.config().proxy_protocol
                    && self.proxies.is_listed(address)
                    && !place.is_a_proxys() =>
            {
                address.to_canonical()
            }
            Peer::At(address) => self.proxies.client_of(address, said, now)?,
            Peer::ProxyItself(address) => address.to_canonical(),
            Peer::Local => self.proxies.client_of_local(said)?,
        };
        place.count_for(client, stay, now)?;
        Ok(client)
    }

    /// What the public port shows; `None` where it speaks no TLS.
    pub fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.as_ref().map(ArcSwap::load_full)
    }

    /// What a request is called: as its peer says, if that is a listed proxy, or by a number of ours.
    pub fn request_id(&self, peer: Peer, said: Option<&str>) -> RequestId {
        let heard = match peer {
            Peer::At(address) => self.proxies.is_listed(address),
            Peer::ProxyItself(_) => false,
            Peer::Local => true,
        };
        let named = said.filter(|_| heard);
        named
            .and_then(RequestId::parse)
            .unwrap_or_else(|| self.request_ids.next())
    }

    /// Sockets accepted and not yet gone.
    pub fn sockets(&self) -> usize {
        self.door.total()
    }

    /// WebSockets and event streams since the start.
    fn connections_opened(&self) -> u64 {
        let next = self.next_connection.load(Ordering::Relaxed);
        next.wrapping_sub(self.console.first_connection)
    }

    /// What `/metrics` answers. Reads files of the system's: not for a task that others wait for.
    pub fn metrics_text(&self, format: Format) -> String {
        self.metrics.text(|| self.counts(), format)
    }

    /// Everything that was counted so far, and how things stand. Looks at every connection: not for a task that others
    /// wait for.
    pub fn counts(&self) -> Everything {
        let limits = self.limits();
        let (operations, traffic) = (self.engine.counts(), self.metrics.traffic.counts());
        let mut limited = self.limiters.limited();
        limited.extend(self.door.limited());
        limited.extend(operations.limited.iter().chain(&traffic.limited));
        Everything {
            sockets: self.hub.counts(),
            operations,
            traffic,
            limited,
            accepted: self.sockets(),
            qr_kept: self.engine.attempts_kept(),
            draining: self.is_draining(),
            bounds: Bounds {
                sockets: self.door.total_max(),
                qr_kept: limits.qr_attempts_max,
                rooms: limits.rooms_max,
                history_bytes: limits.history_bytes_max,
                outbox_bytes: limits.outbox_bytes_max as usize,
            },
        }
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
        let (bytes_max, now) = (self.limits().outbox_bytes_max, self.clock.now());
        let connection = Connection::new(id, address, wire, bytes_max, now);
        // Queued first and written last: who has been greeted is found, and is told nothing before.
        connection.queue(greeting(&connection));
        self.hub.register(&connection);
        connection.write_queued();
        connection
    }

    /// Registers an event stream.
    fn open_stream(&self, address: IpAddr) -> Arc<Connection> {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let (bytes_max, now) = (self.limits().outbox_bytes_max, self.clock.now());
        let connection = Connection::event_stream(id, address, bytes_max, now);
        self.hub.register(&connection);
        connection
    }

    /// The connection is gone: local membership ends now, the engine is told soon. Call it once.
    pub fn depart(&self, connection: &Arc<Connection>, place: Option<Arc<Admission>>) {
        let rooms = self.hub.unregister(connection);
        self.console.closes.record(connection, self.clock.now());
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
