//! What paths are carried out on: a node with the memory engine, rooms full of viewers, and fixed inputs. One
//! thread, a clock that stands still, and wires in memory that take everything and count it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use countersign::auth::device::DeviceDigest;
use countersign::auth::jwt::{Claims, KeySet};
use countersign::auth::key::SigningKey;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::config::limits::Profile;
use countersign::core::stream::Draft;
use countersign::engine::record::Identity;
use countersign::engine::{Create, Engine, Present, RefreshState, SessionRecord};
use countersign::hub::{Connection, Hub, MemoryWire, Wire};
use countersign::node::{Built, Node, memory_engine};
use countersign_protocol::client::{DeviceKind, Priority};
use countersign_protocol::codec::{json_frame, ok_json};
use countersign_protocol::server::{From as Author, Joined, Profile as UserProfile, PublicDevice, Role};
use countersign_protocol::{DeviceId, RoomName, UserId};
use serde_json::value::RawValue;
use tokio::runtime::{Builder, Runtime};

/// RFC 8410 §10.3: a key everybody knows, so that signatures are the same in every run.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n\
    -----END PRIVATE KEY-----\n";
/// Where browsers would find the gateway, and the issuer of its tokens.
const ORIGIN: &str = "http://localhost";
/// The stage's time, Unix milliseconds.
pub const NOW: u64 = 1_795_305_226_000;
/// The device of everybody.
const DEVICE: &str = "pc-1";
/// 128 bytes of JSON, as in the measurements of time.
const BODY: &str = r#"{"text":"a message of the length that the measurements of time send, padded with words until its JSON has 128 bytes in all ..."}"#;
const _: () = assert!(BODY.len() == 128);

/// A node, and the runtime its flushers live in. Nothing runs in the background: what comes due is asked for.
pub struct Stage {
    runtime: Runtime,
    // Holds the ends of the node's queues.
    built: Built,
    pub clock: Clock,
    tokens: KeySet,
}

/// The room of the paths.
pub fn room() -> RoomName {
    RoomName::parse("chat:lobby").unwrap()
}

/// The device every token is bound to.
pub fn device() -> DeviceId {
    DeviceId::parse(DEVICE).unwrap()
}

/// What is said.
pub fn body() -> Box<RawValue> {
    RawValue::from_string(BODY.to_owned()).unwrap()
}

/// A user with everything a user can have.
pub fn profile(name: &str) -> UserProfile {
    UserProfile {
        id: UserId::parse(name).unwrap(),
        name: Some("Alice of the benchmarks".into()),
        avatar: Some("https://img.example/alice.png".into()),
    }
}

/// The author of messages.
pub fn author() -> Author {
    let UserProfile { id, name, avatar } = profile("alice");
    Author {
        id,
        name,
        avatar,
        role: Role::Member,
    }
}

/// A message; `n` makes its `cid`, of the length of a UUID.
pub fn draft(from: &Arc<Author>, n: u64) -> Draft {
    Draft {
        from: Some(Arc::clone(from)),
        source: None,
        cid: Some(cid(n).into()),
        priority: Priority::Normal,
        body: body(),
    }
}

/// A `cid` of its own for each number.
pub fn cid(n: u64) -> String {
    format!("0198c0de-7a61-7c3e-9d0b-{n:012}")
}

/// One thread, without timers and sockets.
pub fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// Lets every flusher come to its end.
pub fn settle(runtime: &Runtime) {
    let metrics = runtime.handle().metrics();
    runtime.block_on(async {
        while metrics.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

/// A viewer whose wire takes everything.
pub fn viewer(id: u64) -> (Arc<Connection>, MemoryWire) {
    let wire = MemoryWire::counting();
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let connection = Connection::new(id, address, Wire::Memory(wire.clone()), 256 * 1024, 0);
    (connection, wire)
}

/// Makes `n` viewers live members of a room of a hub, after `offset`.
pub fn fill(hub: &Hub, name: &RoomName, n: u64, offset: u64) -> Vec<MemoryWire> {
    (0..n)
        .map(|id| {
            let (connection, wire) = viewer(id);
            let subscription = hub.hold(name, &connection);
            assert!(hub.release(&subscription, Bytes::from_static(b"x"), offset));
            wire
        })
        .collect()
}

/// How many of the wires have taken another write since `before`, which becomes what they have now.
pub fn served(wires: &[MemoryWire], before: &mut u64) -> u64 {
    let writes: u64 = wires.iter().map(MemoryWire::writes).sum();
    writes - std::mem::replace(before, writes)
}

impl Stage {
    /// A node whose rates and counts do not matter.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, KEY).unwrap();
        let mut config = Config {
            limits_profile: Profile::Bench,
            ..Config::default()
        };
        config.tokens.key_file = Some(key);
        config.limits.room_rate.count = 0;
        let tokens = KeySet::new(
            SigningKey::from_bytes(KEY.as_bytes()).unwrap(),
            ORIGIN,
            config.tokens.audience.clone(),
        );
        let clock = Clock::manual(NOW);
        let memory = memory_engine(&config);
        let engine = Engine::Memory(Arc::clone(&memory));
        let built = Node::build(config, engine, clock.clone(), ORIGIN.into(), 1_000_000).unwrap();
        memory.attach(Arc::clone(&built.sink) as Arc<_>);
        Self {
            runtime: runtime(),
            built,
            clock,
            tokens,
        }
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.built.node
    }

    /// The keys that sign the stage's tokens.
    pub fn tokens(&self) -> &KeySet {
        &self.tokens
    }

    /// Runs a future to its end. Flushers it started wait until [`settle`](Self::settle).
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Lets every flusher come to its end.
    pub fn settle(&self) {
        settle(&self.runtime);
    }

    /// The access token of a session that is stored with it.
    pub fn token(&self, user: &str) -> String {
        let profile = profile(user);
        let session = format!("s_{user:_>22}");
        let bound = DeviceDigest::of(&device());
        let claims = Claims {
            user: profile.id.clone(),
            session: session.clone(),
            id: "t_5uX0c1nQTqkYwDg3pJ8zRA".into(),
            issued_at: NOW,
            expires_at: NOW + 900_000,
            device: Some(bound),
            key: None,
            client: None,
            audience: None,
        };
        let record = SessionRecord {
            identity: Identity::new(
                session,
                profile,
                bound,
                PublicDevice {
                    name: Some("Firefox on Linux".into()),
                    kind: DeviceKind::Web,
                },
            ),
            version: 1,
            jkt: None,
            ip: "127.0.0.1".into(),
            created_at: NOW,
            last_seen_at: NOW,
            expires_at: NOW + 86_400_000,
            refresh: RefreshState {
                family: [1; 32],
                current: [2; 32],
                previous: Vec::new(),
            },
            revoked: false,
        };
        self.run(self.node().engine.open_session(record, NOW)).unwrap();
        self.tokens.issue(&claims).unwrap()
    }

    /// A connection with a wire that takes everything, signed in with a token.
    pub fn signed_in(&self, token: &str) -> (Arc<Connection>, MemoryWire) {
        let wire = MemoryWire::counting();
        let connection = self.connect(wire.clone());
        self.run(async {
            let session = self.node().authenticate(token, Some(&device()), None).await;
            self.node().sign_in(&connection, session.unwrap()).await.unwrap();
        });
        (connection, wire)
    }

    /// A connection that nobody has signed in.
    pub fn connect(&self, wire: MemoryWire) -> Arc<Connection> {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        self.node()
            .open_connection(address, Wire::Memory(wire), |_| Bytes::from_static(b"x"))
    }

    /// Joins the room with the reply a client gets.
    pub async fn join(&self, connection: &Arc<Connection>) {
        let reply = |joined: &Joined<'_>| Bytes::from(json_frame(&ok_json(7, joined)));
        let room = room();
        let joined = self.node().join(connection, room.as_str(), None, reply);
        joined.await.unwrap();
    }

    /// Fills a room with `n` members, each another user. They are put there by hand: ten thousand signatures are
    /// slow to check under callgrind, and are not what is counted.
    pub fn populate(&self, name: &RoomName, n: u64) -> Vec<MemoryWire> {
        let mut wires = Vec::new();
        self.run(async {
            for user in 0..n {
                let wire = MemoryWire::counting();
                let connection = self.connect(wire.clone());
                let subscription = self.node().hub.hold(name, &connection);
                let present = Present {
                    connection: connection.id,
                    member: Some((Arc::new(profile(&format!("user-{user:05}"))), Role::Member)),
                };
                let engine = &self.node().engine;
                engine
                    .enter(name.clone(), present, Create::Allowed, self.clock.now())
                    .await
                    .unwrap();
                assert!(
                    self.node()
                        .hub
                        .release(&subscription, Bytes::from_static(b"x"), 0)
                );
                wires.push(wire);
            }
        });
        self.publish_due(name);
        wires
    }

    /// Lets the time come at which what has changed in a room is told, and has it told.
    pub fn publish_due(&self, name: &RoomName) {
        self.settle();
        self.clock.advance(1_000);
        self.run(self.node().engine.settle(name.clone(), self.clock.now()))
            .unwrap();
        self.settle();
    }
}
