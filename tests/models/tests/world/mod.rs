//! One node on the memory engine, with phones that are signed in and PCs that ask, built anew for each schedule.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test file uses its part"
)]

mod schedule;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use countersign_models::auth::device::DeviceDigest;
use countersign_models::auth::jwt::KeySet;
use countersign_models::auth::key::SigningKey;
use countersign_models::auth::sessions::{NewSession, Session, Sessions};
use countersign_models::clock::Clock;
use countersign_models::config::Config;
use countersign_models::core::attempt::{
    self, Attempt, Command, Digest, Digits, Outcome, Policy, QrId, Step,
};
use countersign_models::engine::{Account, AttemptRef, DecideAttempt, Decided, Engine, Sink};
use countersign_models::hub::{Connection, MemoryWire, Wire};
use countersign_models::node::{self, Built, Caller, Claim, Node, QrRequest, Refusal, Requester};
use countersign_protocol::client::{Device, DeviceKind, QrOpen};
use countersign_protocol::http::{Confirm, Tokens};
use countersign_protocol::server::{Profile, PublicDevice, QrOpened, QrPush, QrRedeemed, QrState};
use countersign_protocol::{DeviceId, ErrorCode, UserId};
use shuttle::future::block_on;

pub use schedule::{Ways, told};

/// Noon of some day.
const NOON: u64 = 1_700_000_000_000;
/// A PC asks this often for its ticket while others are at work.
const LOOKS: usize = 4;

pub const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A node and what the tests hold of it.
pub struct World {
    pub node: Arc<Node>,
    pub clock: Clock,
    /// Makes sessions as the node does, without its passwords.
    sessions: Sessions,
}

/// A PC that has opened a login.
#[derive(Clone)]
pub struct Pc {
    pub qr_id: String,
    claim: String,
    device: DeviceId,
}

/// A phone with an account of its name.
#[derive(Clone)]
pub struct Phone {
    pub caller: Caller,
    pub user: UserId,
    pub device: DeviceId,
    pub refresh_token: String,
}

impl Phone {
    pub fn session(&self) -> &Session {
        self.caller.session.as_deref().unwrap()
    }
}

impl Pc {
    fn of(opened: &QrOpened, device: DeviceId) -> Self {
        Self {
            qr_id: opened.qr_id.clone(),
            claim: opened.claim.clone(),
            device,
        }
    }

    pub fn claim(&self) -> Claim<'_> {
        Claim {
            qr_id: &self.qr_id,
            claim: &self.claim,
            device: &self.device,
        }
    }
}

impl World {
    pub fn new() -> Arc<Self> {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Config)) -> Arc<Self> {
        let mut config = Config::default();
        change(&mut config);
        let clock = Clock::manual(NOON);
        let memory = node::memory_engine(&config);
        let engine = Engine::Memory(Arc::clone(&memory));
        let keys = KeySet::new(SigningKey::generate().unwrap(), "http://models", "models");
        let sessions = Sessions::new(keys, engine.clone(), config.tokens.clone());
        let built = Node::build(config, engine, clock.clone(), "http://models".into(), 100).unwrap();
        let Built { node, sink, .. } = built;
        memory.attach(sink as Arc<dyn Sink>);
        Arc::new(Self {
            node,
            clock,
            sessions,
        })
    }

    /// A device of an account, which is made when it is not there.
    pub fn phone(&self, name: &str) -> Phone {
        block_on(async {
            let now = self.clock.now();
            let user = UserId::parse(name).unwrap();
            let profile = Profile {
                id: user.clone(),
                name: None,
                avatar: None,
            };
            let account = Account {
                profile: profile.clone(),
                password_hash: String::new(),
                created_at: now,
                locked: false,
            };
            // It may be there.
            let _ = self.node.engine.create_account(account).await;
            let device = device(&format!("phone of {name}"));
            let new = NewSession {
                user: profile,
                device: Some(DeviceDigest::of(&device)),
                public_device: PublicDevice {
                    name: None,
                    kind: DeviceKind::Android,
                },
                ip: HERE.to_string(),
                jkt: None,
                client: None,
            };
            let minted = self.sessions.mint(new, now).unwrap();
            self.node.engine.open_session(minted.record, now).await.unwrap();
            let session = self.sessions.adopt(&minted.adoption, &device, now).await;
            Phone {
                caller: Caller {
                    address: HERE,
                    session: Some(session.unwrap()),
                },
                user,
                device,
                refresh_token: minted.tokens.refresh_token,
            }
        })
    }

    /// Opens a login by HTTP.
    pub fn try_open(&self, name: &str) -> Result<Pc, Refusal> {
        let device = device(name);
        let request = request(&device);
        let opened = block_on(self.node.open_qr_unwatched(HERE, Requester::default(), &request));
        Ok(Pc::of(&opened?, device))
    }

    /// Opens a login on a WebSocket, which watches it from then on.
    pub fn open_on(&self, socket: &Socket) -> Pc {
        let device = device("pc");
        let mut pc = None;
        let reply = |opened: &QrOpened| {
            pc = Some(Pc::of(opened, device.clone()));
            Bytes::new()
        };
        block_on(self.node.open_qr(&socket.connection, &request(&device), reply)).unwrap();
        pc.unwrap()
    }

    pub fn open(&self) -> Pc {
        self.try_open("pc").unwrap()
    }

    /// Scans what the PC showed when it asked, and confirms with the number that it shows then.
    pub fn scan_and_confirm(&self, phone: &Phone, pc: &Pc) -> Result<(), Refusal> {
        block_on(async {
            let scanned = self.node.scan_qr(&phone.caller, &pc.qr_id).await?;
            let shown = self.node.poll_qr(pc.claim()).await?;
            let confirm = Confirm {
                scan_token: scanned.scan_token,
                code: shown.number.and_then(|number| number.code),
                password: None,
            };
            self.node.confirm_qr(&phone.caller, &pc.qr_id, &confirm).await?;
            Ok(())
        })
    }

    /// A WebSocket that has been greeted with nothing.
    pub fn socket(&self) -> Socket {
        let wire = MemoryWire::new(usize::MAX);
        let connection = (self.node).open_connection(HERE, Wire::Memory(wire.clone()), |_| Bytes::new());
        Socket { connection, wire }
    }

    /// Takes the watching over.
    pub fn watch(&self, socket: &Socket, pc: &Pc) -> Result<(), Refusal> {
        block_on((self.node).watch_qr(&socket.connection, pc.claim(), None, |_| Bytes::new()))
    }

    pub fn poll(&self, pc: &Pc) -> Result<QrPush, Refusal> {
        block_on(self.node.poll_qr(pc.claim()))
    }

    pub fn redeem(&self, pc: &Pc, ticket: &str) -> Result<QrRedeemed, Refusal> {
        block_on(self.node.redeem_qr_unconnected(pc.claim(), ticket))
    }

    /// Asks a few times for the ticket, and redeems it when it is there. `closed` is looked at before it redeems:
    /// whether from then on nobody may be signed in any more.
    pub fn wait_and_redeem(&self, pc: &Pc, closed: &AtomicBool) -> Option<Result<QrRedeemed, Refusal>> {
        for _ in 0..LOOKS {
            let ticket = self.poll(pc).ok().and_then(|shown| shown.ticket);
            if let Some(ticket) = ticket {
                let was_closed = closed.load(Ordering::SeqCst);
                let redeemed = self.redeem(pc, &ticket);
                assert!(
                    !(was_closed && redeemed.is_ok()),
                    "signed in by who had been signed out"
                );
                return Some(redeemed);
            }
            shuttle::thread::yield_now();
        }
        None
    }

    /// Sessions of an account, its phone's included.
    pub fn sessions_of(&self, user: &UserId) -> Vec<String> {
        let records = block_on(self.node.engine.sessions_of(user.clone(), self.clock.now()));
        records
            .unwrap()
            .iter()
            .map(|record| record.identity.id.clone())
            .collect()
    }

    /// How the login stands, whoever asks; `None`: it is forgotten.
    pub fn attempt(&self, pc: &Pc) -> Option<Arc<Attempt>> {
        self.decided(pc, &mut unaffected).map(|decided| decided.attempt)
    }

    /// Puts a decision in place of the node's; whether it took effect.
    pub fn update(&self, pc: &Pc, decide: DecideAttempt<'_>) -> bool {
        self.decided(pc, decide)
            .is_some_and(|decided| decided.step.outcome.is_ok())
    }

    fn decided(&self, pc: &Pc, decide: DecideAttempt<'_>) -> Option<Decided> {
        let id = AttemptRef::Id(QrId::parse(&pc.qr_id).unwrap());
        block_on(self.node.engine.update_attempt(id, decide, self.clock.now())).unwrap()
    }

    /// What a scan makes of a login that stands as `read`.
    pub fn scan_of(&self, phone: &Phone, pc: &Pc, read: &Attempt) -> Step {
        let session = phone.session();
        let phone = attempt::Phone {
            user: (**session.user()).clone(),
            session: session.id().into(),
            device: Digest(*session.device().unwrap().as_bytes()),
            ip: HERE,
        };
        let scan = Command::Scan {
            qr_id: QrId::parse(&pc.qr_id).unwrap(),
            phone: &phone,
            token: Digest([7; 32]),
            digits: Digits::new(42).unwrap(),
            typed: None,
        };
        attempt::decide(read, &scan, self.clock.now(), &Policy::default())
    }

    /// Lets `ms` pass, and deals with what that makes due.
    pub fn pass(&self, ms: u64) {
        self.clock.advance(ms);
        block_on(self.node.deal_with_due());
    }

    pub fn refresh(&self, phone: &Phone, token: &str) -> Result<Tokens, Refusal> {
        block_on(self.node.refresh_tokens(token, Some(&phone.device)))
    }
}

/// One of those who act at once.
pub type Actor = Box<dyn FnOnce() + Send>;

/// A decision that changes nothing.
pub fn unaffected(_: &Attempt) -> Step {
    Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    }
}

/// A PC's WebSocket, and what it is told.
pub struct Socket {
    pub connection: Arc<Connection>,
    wire: MemoryWire,
}

impl Socket {
    /// The pushes of QR logins it was told, in their order: number and state.
    pub fn told(&self) -> Vec<(u32, QrState)> {
        let bytes = self.wire.taken();
        let mut rest = bytes.as_slice();
        let mut pushes = Vec::new();
        while let [_, length, after @ ..] = rest {
            let (length, after) = match (*length, after) {
                (126, [high, low, after @ ..]) => (u16::from_be_bytes([*high, *low]).into(), after),
                (length @ 0..126, after) => (usize::from(length), after),
                other => panic!("no frame of the gateway's: {other:?}"),
            };
            let (text, after) = after.split_at(length);
            let push = serde_json::from_slice::<QrPush>(text);
            pushes.extend(push.ok().map(|push| (push.seq, push.state)));
            rest = after;
        }
        pushes
    }
}

/// Runs all at once, each on a thread of its own, until all have ended.
pub fn together<const N: usize>(all: [Actor; N]) {
    let threads = all.map(shuttle::thread::spawn);
    for thread in threads {
        thread.join().unwrap();
    }
}

pub fn code<T>(answer: &Result<T, Refusal>) -> Option<ErrorCode> {
    answer.as_ref().err().map(|refusal| refusal.code)
}

fn request(device: &DeviceId) -> QrRequest {
    let open = QrOpen {
        device: Device {
            id: device.as_str().into(),
            name: None,
            kind: DeviceKind::Pc,
        },
        public_key: None,
        dpop_jkt: None,
        client_id: None,
    };
    QrRequest::read(&open).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::parse(&format!("{name:-<40}").replace(' ', "-")).unwrap()
}

/// A phone that scans and confirms, and a PC that waits and redeems, not any more once `closed`.
pub fn login(world: &Arc<World>, pc: &Pc, phone: &Phone, closed: &Arc<AtomicBool>) -> [Actor; 2] {
    let scans: Actor = {
        let (world, phone, pc) = (Arc::clone(world), phone.clone(), pc.clone());
        Box::new(move || {
            // It may be refused at each step.
            let _ = world.scan_and_confirm(&phone, &pc);
        })
    };
    let waits: Actor = {
        let (world, pc, closed) = (Arc::clone(world), pc.clone(), Arc::clone(closed));
        Box::new(move || {
            world.wait_and_redeem(&pc, &closed);
        })
    };
    [scans, waits]
}
