//! Every value that is stored or delivered is the same after it has been bytes.

use std::fmt::Debug;
use std::sync::Arc;

use countersign::core::attempt::{Attempt, AttemptKey, Command, Digest, P256Key, QrId, Sealed, Secret};
use countersign::core::stream::{Publication, Source};
use countersign::engine::{
    AttemptRef, Create, Due, Event, History, OnceKey, Present, Read, RefreshState, Replaced, RoomView,
    Sequenced, SessionRecord, Topic,
};
use countersign_protocol::client::{DeviceKind, Position, Priority};
use countersign_protocol::server::{Counts, From as Author, Member, PublicDevice, Role, RoomInfo};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::accounts::account;
use crate::attempts::{Ask, CLAIM, DEVICE, key, opened, phone, scan};
use crate::sessions::record;
use crate::stage::{T0, body, limits, memory, profile, room, user};

/// The same value again, by way of bytes that are the same again.
fn by_bytes<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = serde_json::to_vec(value).unwrap();
    let again: T = serde_json::from_slice(&bytes)
        .unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(&bytes)));
    let after = serde_json::to_vec(&again).unwrap();
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&after));
    again
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    assert_eq!(&by_bytes(value), value);
}

fn publication() -> Publication {
    let raw = r#"{"b":1.50,"a":[null,"é\u0000","\u003c"],"n":12345678901234567890}"#;
    Publication {
        offset: u64::MAX,
        at_ms: T0,
        from: Some(Arc::new(Author {
            id: user("alice"),
            name: Some("Ali\"ce\n".into()),
            avatar: Some("https://example.org/a.png".into()),
            role: Role::Owner,
        })),
        source: Some(Source::Server),
        cid: Some("c-1".into()),
        priority: Priority::High,
        body: serde_json::value::RawValue::from_string(raw.into()).unwrap(),
    }
}

fn bare() -> Publication {
    Publication {
        offset: 1,
        at_ms: 0,
        from: None,
        source: None,
        cid: None,
        priority: Priority::Normal,
        body: body(""),
    }
}

#[test]
fn messages_and_rooms() {
    for publication in [publication(), bare()] {
        let again = by_bytes(&publication);
        assert_eq!(
            again.body.get(),
            publication.body.get(),
            "a body is left as it is, byte for byte"
        );
        assert_eq!(again.weight(), publication.weight());
    }
    let messages = vec![Arc::new(bare()), Arc::new(publication())];
    for recovered in [None, Some(true), Some(false)] {
        by_bytes(&History {
            epoch: "e_1".into(),
            top: 7,
            recovered,
            messages: messages.clone(),
        });
    }
    same(&Sequenced {
        offset: 3,
        at_ms: T0,
        duplicate: true,
    });
    let counters = [("likes".to_owned(), u64::MAX)].into();
    let counts = Counts {
        version: 9,
        viewers: 2,
        members: 1,
        counters,
    };
    same(&RoomView {
        counts,
        info: RoomInfo::default(),
    });
    same(&Present {
        connection: u64::MAX,
        member: Some((Arc::new(profile("alice")), Role::Moderator)),
    });
    same(&Present {
        connection: 0,
        member: None,
    });
    for read in [
        Read::Join {
            after: Some(Position {
                epoch: "e".into(),
                offset: 3,
            }),
        },
        Read::Join { after: None },
        Read::Before { offset: 1, limit: 2 },
        Read::After { offset: 1, limit: 2 },
        Read::Newest { limit: 2 },
    ] {
        same(&read);
    }
    same(&Create::Allowed);
    same(&Create::Refused);
}

#[test]
fn people_and_keys() {
    let full = SessionRecord {
        jkt: Some("thumb".into()),
        refresh: RefreshState {
            family: [7; 32],
            current: [8; 32],
            previous: vec![Replaced {
                digest: [9; 32],
                at: T0,
                sealed: vec![0, 255, 1],
            }],
        },
        revoked: true,
        ..record("s1", "alice", T0)
    };
    for session in [record("s1", "alice", T0), full] {
        assert!(by_bytes(&session) == session);
    }
    assert!(by_bytes(&account("alice")) == account("alice"));
    same(&OnceKey::Proof([200; 32]));
    let topics = [
        Topic::Room(room("chat:lobby")),
        Topic::User(user("alice")),
        Topic::Attempt(AttemptKey([5; 16])),
    ];
    for topic in topics {
        same(&topic);
        assert_eq!(by_bytes(&Event::Suspect(topic.clone())).topic(), topic);
    }
    same(&Due::Attempt(AttemptKey([255; 16])));
    same(&Due::Room(room("chat:lobby")));
    same(&AttemptRef::Id(QrId([4; 16])));
    same(&AttemptRef::Key(AttemptKey([4; 16])));
}

#[test]
fn events() {
    let (lobby, alice) = (room("chat:lobby"), user("alice"));
    let member = Member {
        id: alice.clone(),
        name: None,
        avatar: None,
        role: Role::Member,
    };
    let device = PublicDevice {
        name: None,
        kind: DeviceKind::Web,
    };
    for (event, topic) in [
        (
            Event::Published {
                room: lobby.clone(),
                publication: Arc::new(publication()),
            },
            Topic::Room(lobby.clone()),
        ),
        (
            Event::Room {
                room: lobby.clone(),
                info: RoomInfo::default(),
            },
            Topic::Room(lobby.clone()),
        ),
        (
            Event::Counts {
                room: lobby.clone(),
                counts: Counts::default(),
            },
            Topic::Room(lobby.clone()),
        ),
        (
            Event::Presence {
                room: lobby.clone(),
                joined: vec![member],
                left: vec![alice.clone()],
                reset: false,
            },
            Topic::Room(lobby),
        ),
        (
            Event::SignedIn {
                user: alice.clone(),
                session: "s1".into(),
                device,
                ip: "192.0.2.1".into(),
                client: Some("reader".into()),
            },
            Topic::User(alice.clone()),
        ),
        (
            Event::Revoked {
                user: alice.clone(),
                session: "s1".into(),
            },
            Topic::User(alice),
        ),
    ] {
        assert_eq!(by_bytes(&event).topic(), topic);
    }
}

/// Through every state, and every event on the way.
#[tokio::test]
async fn attempts() {
    let stage = memory(limits());
    let mut full = opened(1, "2001:db8::1");
    same(&full);
    stage.engine.open_attempt(full.clone()).await.unwrap();
    let topic = stage.follow_attempt(1).await;
    let scanner = phone("alice", "s1");
    let (ticket, sealed) = (Secret::new("the ticket"), Sealed::new(vec![0, 1, 255]));
    let id = QrId([1; 16]);
    let commands: [Ask<'_>; 5] = [
        &|| Command::Unwatch { connection: "c_1" },
        &|| Command::Tick { fresh: QrId([8; 16]) },
        &|| scan(1, &scanner),
        &|| Command::Confirm {
            qr_id: id,
            phone: &scanner,
            token: Digest([3; 32]),
            code: None,
            ticket: &ticket,
        },
        &|| Command::Redeem {
            claim: CLAIM,
            device: DEVICE,
            ticket: "the ticket",
            session: "pc",
            result: &sealed,
        },
    ];
    for command in commands {
        let decided = stage.decide(key(1), T0 + 45_000, command).await.unwrap();
        decided.step.outcome.unwrap();
        assert!(decided.attempt.version() > full.version());
        full = Attempt::clone(&decided.attempt);
        same(&full);
    }
    assert_eq!(by_bytes(&full).events_after(Some(0)), full.events_after(Some(0)));
    let told = stage.told.about(&topic);
    assert_eq!(told.len(), 4);
    told.iter()
        .for_each(|event| assert_eq!(by_bytes(event).topic(), topic));
    same(&P256Key::from_jwk(&countersign_protocol::client::PublicKey {
        kty: "EC".into(),
        crv: "P-256".into(),
        x: "A".repeat(43).into(),
        y: "A".repeat(43).into(),
    }));
}
