//! What is gone leaves nothing behind.

use countersign_protocol::UserId;
use countersign_protocol::client::DeviceKind;
use countersign_protocol::server::{Profile, PublicDevice};

use super::*;
use crate::auth::device::DeviceDigest;
use crate::auth::sessions::{NewSession, Session, Sessions};
use crate::auth::{jwt, key};
use crate::config::Config;
use crate::engine::Engine;
use crate::node::memory_engine;

pub(super) async fn session(user: &UserId) -> Arc<Session> {
    let config = Config::default();
    let device = countersign_protocol::DeviceId::parse("device-1").unwrap();
    let keys = jwt::KeySet::new(key::SigningKey::generate().unwrap(), "issuer", "audience");
    let engine = Engine::Memory(memory_engine(&config));
    let sessions = Sessions::new(keys, engine.clone(), config.tokens.clone());
    let new = NewSession {
        user: Profile {
            id: user.clone(),
            name: None,
            avatar: None,
        },
        device: Some(DeviceDigest::of(&device)),
        public_device: PublicDevice {
            name: None,
            kind: DeviceKind::Pc,
        },
        ip: "127.0.0.1".into(),
        jkt: None,
        client: None,
    };
    let now = 1_790_000_000_000;
    let minted = sessions.mint(new, now).unwrap();
    engine.open_session(minted.record, now).await.unwrap();
    sessions
        .authenticate(&minted.tokens.access_token, Some(&device), None, now)
        .await
        .unwrap()
}

/// What a socket is to the hub, times the number of sockets.
#[test]
fn a_connection_and_its_membership_are_small() {
    let (connection, membership) = (size_of::<Connection>(), size_of::<Subscription>());
    // With the counts of its owners it takes 336 bytes of the allocator, as it would with 8 less.
    assert!(connection <= 312, "{connection}");
    assert!(membership <= 32, "{membership}");
}

#[tokio::test]
async fn unregistering_removes_a_connection_from_everywhere() {
    let hub = Hub::default();
    let rooms = [named("chat:a"), named("chat:b"), named("chat:c")];
    let user = UserId::parse("alice").unwrap();
    let (seat, other) = (Seat::new(1, ALL), Seat::new(2, ALL));
    let session = session(&user).await;
    for seat in [&seat, &other] {
        hub.register(&seat.connection);
        hub.bind_user(&user, &seat.connection, 2).unwrap();
        seat.connection.set_session(Arc::clone(&session));
    }
    assert_eq!(
        hub.bind_user(&user, &Seat::new(3, ALL).connection, 2),
        Err(TooMany)
    );
    assert_eq!(hub.bind_user(&user, &seat.connection, 2), Ok(()));
    seat.join(&hub, &rooms[0], 0);
    other.join(&hub, &rooms[0], 0);
    seat.join(&hub, &rooms[1], 0);
    hub.hold(&rooms[2], &seat.connection);
    let mut left = hub.unregister(&seat.connection);
    left.sort();
    assert_eq!(left, rooms);
    assert_eq!((hub.connection_count(), hub.room_count()), (1, 1));
    assert_eq!(hub.connections_of(&user).len(), 1);
    assert_eq!(hub.room(&rooms[0]).unwrap().len(), 1);
    assert_eq!(
        (
            seat.connection.subscription_count(),
            Arc::strong_count(&seat.connection)
        ),
        (0, 1)
    );
    // A join that comes too late does not bring it back.
    let late = hub.hold(&rooms[1], &seat.connection);
    assert!(late.is_gone() && hub.room(&rooms[1]).is_none());
    assert!(hub.unregister(&seat.connection).is_empty());
    hub.unregister(&other.connection);
    assert_eq!(
        (hub.connection_count(), hub.room_count(), hub.users.len()),
        (0, 0, 0)
    );
}

#[test]
fn a_refused_user_is_not_kept() {
    let (hub, user) = (Hub::default(), UserId::parse("alice").unwrap());
    assert_eq!(
        hub.bind_user(&user, &Seat::new(1, ALL).connection, 0),
        Err(TooMany)
    );
    assert_eq!(hub.users.len(), 0);
}

#[tokio::test]
async fn nothing_is_left_of_ten_thousand_connections() {
    let hub = Hub::default();
    let rooms: Vec<RoomName> = (0..7).map(|n| named(&format!("chat:r{n}"))).collect();
    let mut offset = 0;
    let mut seats = std::collections::VecDeque::new();
    for id in 0..10_000_u64 {
        // Some take nothing, so that batches wait in their queues.
        let seat = Seat::new(id, if id % 3 == 0 { 100 } else { ALL });
        hub.register(&seat.connection);
        for step in 0..3 {
            let room = &rooms[((id + step) % 7) as usize];
            if step < 2 {
                seat.join(&hub, room, offset);
            } else {
                hub.hold(room, &seat.connection);
            }
        }
        if id % 5 == 0 {
            hub.leave(&seat.connection.subscriptions()[0]);
        }
        seats.push_back(seat);
        if seats.len() > 50 {
            let gone: Seat = seats.pop_front().unwrap();
            hub.unregister(&gone.connection);
        }
        if id % 10 == 0 {
            offset += 1;
            for room in &rooms {
                say(&hub, room, offset);
            }
            tokio::task::yield_now().await;
        }
    }
    for seat in &seats {
        hub.unregister(&seat.connection);
    }
    assert_eq!(
        (
            hub.connection_count(),
            hub.room_count(),
            hub.users.len(),
            hub.watch_count()
        ),
        (0, 0, 0, 0)
    );
    // A flusher may still hold a copy of its members.
    for seat in &seats {
        while Arc::strong_count(&seat.connection) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
