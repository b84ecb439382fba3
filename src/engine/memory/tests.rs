//! Nothing stays in an index after what it was for.

mod scale;
mod schedule;

use std::sync::atomic::Ordering;

use countersign_protocol::UserId;
use countersign_protocol::client::{DeviceKind, Priority};
use countersign_protocol::server::{MatchMode, Profile, PublicDevice};

use super::super::Due;
use super::*;
use crate::auth::device::DeviceDigest;
use crate::core::attempt::{self, Command, Device, Digest, Digits, Opening, Phone};
use crate::core::stream::Draft;
use crate::engine::record::{Identity, RefreshState};
use crate::engine::{AttemptRef, Create, Present};

const T0: u64 = 1_000_000;

fn limits() -> MemoryLimits {
    MemoryLimits {
        rooms_max: 100,
        room_idle_ms: 1,
        counts_interval_ms: 0,
        stream: StreamLimits::default(),
        history_bytes_max: 20_000,
        room_rate: Rate::UNLIMITED,
        room_reserved_percent: 50,
        attempts_max: 1_000,
        attempts_waiting_per_address_max: 1_000,
        attempt: Policy::default(),
        accounts_max: 10,
        sessions_per_user_max: 3,
        once_keys_max: 10,
    }
}

fn draft(bytes: usize) -> Draft {
    let body = format!("\"{}\"", "x".repeat(bytes));
    Draft {
        from: None,
        source: None,
        cid: None,
        priority: Priority::Normal,
        body: serde_json::value::RawValue::from_string(body).unwrap(),
    }
}

fn user(id: &str) -> Profile {
    Profile {
        id: UserId::parse(id).unwrap(),
        name: None,
        avatar: None,
    }
}

/// Rooms go while others are trimmed: their bytes are counted out once, or the budget would be full for ever.
#[test]
fn the_budget_comes_back_when_rooms_go() {
    let memory = Memory::new(limits());
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let memory = &memory;
            scope.spawn(move || {
                for n in 0..2_000_u64 {
                    let room = RoomName::parse(&format!("chat:{}", (n * 7 + thread) % 11)).unwrap();
                    memory.append(room.clone(), draft(1_000), T0 + n).unwrap();
                    memory.settle(room, T0 + n + 10).unwrap();
                }
            });
        }
    });
    for n in 0..11 {
        memory
            .settle(RoomName::parse(&format!("chat:{n}")).unwrap(), T0 + 1_000_000)
            .unwrap();
    }
    assert_eq!(memory.history_bytes.load(Ordering::Relaxed), 0);
    assert_eq!((memory.rooms.len(), memory.room_places.taken()), (0, 0));
    assert!(memory.due.is_empty());
}

/// The same, one step after the other.
#[test]
fn a_room_that_went_meanwhile_is_not_trimmed() {
    let memory = Memory::new(limits());
    let [gone, here] = ["chat:gone", "chat:here"].map(|name| RoomName::parse(name).unwrap());
    memory.append(gone.clone(), draft(1_000), T0).unwrap();
    memory.append(here, draft(1_000), T0).unwrap();
    let both = memory.history_bytes.load(Ordering::Relaxed);
    let rooms = memory.by_silence();
    memory.settle(gone, T0 + 1).unwrap();
    memory.trim(rooms, 0);
    assert_eq!(memory.history_bytes.load(Ordering::Relaxed), 0, "of {both}");
}

#[test]
fn a_room_forgets_in_silence() {
    let memory = Memory::new(limits());
    let room = RoomName::parse("chat:lobby").unwrap();
    memory
        .enter(
            room.clone(),
            Present {
                connection: 1,
                member: None,
            },
            Create::Allowed,
            T0,
        )
        .unwrap();
    memory.append(room.clone(), draft(1_000), T0).unwrap();
    assert!(memory.history_bytes.load(Ordering::Relaxed) > 1_000);
    let kept_ms = memory.limits.stream.age_ms;
    assert_eq!(memory.due(T0 + kept_ms, 10).unwrap(), [Due::Room(room.clone())]);
    memory.settle(room, T0 + kept_ms).unwrap();
    assert_eq!(memory.history_bytes.load(Ordering::Relaxed), 0);
    assert!(memory.due.is_empty());
    assert_eq!(memory.rooms.len(), 1, "somebody is here");
}

#[test]
fn attempts_leave_no_trace() {
    let memory = Memory::new(limits());
    let policy = Policy::default();
    let phone = Phone {
        user: user("alice"),
        session: "s1".into(),
        device: Digest([9; 32]),
        ip: "192.0.2.9".parse().unwrap(),
    };
    for n in 0..100_u8 {
        let opening = Opening {
            key: AttemptKey([n; 16]),
            qr_id: QrId([n; 16]),
            claim: Digest([1; 32]),
            device: Device {
                digest: Some(Digest([2; 32])),
                name: None,
                kind: DeviceKind::Web,
            },
            ip: format!("192.0.2.{n}").parse().unwrap(),
            user_agent: None,
            client: None,
            public_key: None,
            dpop_jkt: None,
            mode: MatchMode::None,
            connection: Some("c_1".into()),
        };
        memory.open_attempt(attempt::open(opening, T0, &policy)).unwrap();
        if n % 2 == 0 {
            let scan = Command::Scan {
                qr_id: QrId([n; 16]),
                phone: &phone,
                token: Digest([3; 32]),
                digits: Digits::new(7).unwrap(),
                typed: None,
            };
            let mut decide = |a: &attempt::Attempt| attempt::decide(a, &scan, T0, &policy);
            let decided = memory
                .update_attempt(AttemptRef::Id(QrId([n; 16])), &mut decide, T0)
                .unwrap();
            decided.unwrap().step.outcome.unwrap();
        }
    }
    assert_eq!((memory.waiting.len(), memory.scanned_by.len()), (50, 1));
    let (mut now, mut rotated) = (T0, 0_u8);
    while now < T0 + 500_000 {
        now += 5_000;
        for due in memory.due(now, 1_000).unwrap() {
            let Due::Attempt(key) = due else { panic!("{due:?}") };
            rotated = rotated.wrapping_add(1);
            let mut fresh = key.0;
            (fresh[14], fresh[15]) = (u8::try_from(now / 5_000 % 256).unwrap(), rotated);
            let tick = Command::Tick { fresh: QrId(fresh) };
            let mut decide = |a: &attempt::Attempt| attempt::decide(a, &tick, now, &policy);
            memory
                .update_attempt(AttemptRef::Key(key), &mut decide, now)
                .unwrap();
        }
    }
    let left = (
        memory.attempts.len(),
        memory.attempt_ids.len(),
        memory.waiting.len(),
        memory.scanned_by.len(),
    );
    assert_eq!(left, (0, 0, 0, 0));
    assert_eq!(memory.attempt_places.taken(), 0);
    assert!(memory.due.is_empty());
}

#[test]
fn sessions_leave_no_trace() {
    let memory = Memory::new(limits());
    let record = |id: &str, owner: &str, life: u64| SessionRecord {
        identity: Identity::new(
            id.into(),
            user(owner),
            DeviceDigest::of(&countersign_protocol::DeviceId::parse("d").unwrap()),
            PublicDevice {
                name: None,
                kind: DeviceKind::Web,
            },
        ),
        version: 1,
        jkt: None,
        ip: "192.0.2.1".into(),
        created_at: T0,
        last_seen_at: T0,
        expires_at: T0 + life,
        refresh: RefreshState {
            family: [0; 32],
            current: [0; 32],
            previous: Vec::new(),
        },
        revoked: false,
    };
    for n in 0..10 {
        memory
            .open_session(record(&format!("a{n}"), "alice", 100), T0)
            .unwrap();
    }
    assert_eq!((memory.sessions.len(), memory.sessions_of.len()), (3, 1));
    assert!(memory.revoke_session("a9".into(), T0).unwrap());
    memory.open_session(record("b1", "bob", 10), T0).unwrap();
    assert_eq!((memory.sessions.len(), memory.sessions_of.len()), (3, 2));
    // Lapsed: dropped when somebody asks, or when its user signs in with as many as are allowed.
    assert!(memory.session("b1".into(), T0 + 10).unwrap().is_none());
    assert_eq!((memory.sessions.len(), memory.sessions_of.len()), (2, 1));
    memory.open_session(record("a10", "alice", 100), T0).unwrap();
    memory
        .open_session(record("a11", "alice", 1_000), T0 + 100)
        .unwrap();
    assert_eq!(memory.sessions.len(), 1);
    assert!(memory.revoke_session("a11".into(), T0 + 100).unwrap());
    assert_eq!((memory.sessions.len(), memory.sessions_of.len()), (0, 0));
}
