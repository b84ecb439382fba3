//! An operator looks over everything: nothing is counted twice, and a page is what a naive sort says it is.

use countersign_protocol::UserId;

use super::*;
use crate::core::attempt::{AttemptKey, Digest};
use crate::hub::{Order, Tally};

const MANY: u64 = 20_000;

fn ids(found: &[Arc<Connection>]) -> Vec<u64> {
    found.iter().map(|connection| connection.id).collect()
}

#[tokio::test]
async fn each_connection_is_counted_once() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..4).map(|id| Seat::new(id, 0)).collect();
    for seat in &seats {
        hub.register(&seat.connection);
    }
    let stream = Connection::event_stream(9, IpAddr::V4(Ipv4Addr::LOCALHOST), OUTBOX, 0);
    hub.register(&stream);
    assert_eq!(
        hub.tally(),
        Tally {
            fresh: 4,
            event_streams: 1,
            ..Tally::default()
        }
    );
    let user = UserId::parse("alice").unwrap();
    seats[0].connection.set_session(leaks::session(&user).await);
    hub.bind_user(&user, &seats[0].connection, 1).unwrap();
    seats[0].join(&hub, &room, 0);
    seats[1].join(&hub, &room, 0);
    seats[2].connection.set_watched(Some(Watched {
        key: AttemptKey([1; 16]),
        claim: Digest([2; 32]),
        device: Digest([3; 32]),
    }));
    seats[3].connection.push(frame("more"));
    let (tally, reply, more) = (hub.tally(), frame("joined").len(), frame("more").len());
    assert_eq!(
        tally,
        Tally {
            signed_in: 1,
            viewers: 1,
            watching: 1,
            fresh: 1,
            event_streams: 1,
            queued: 3,
            outbox_bytes: (2 * reply + more) as u64,
            outbox_bytes_largest: reply,
        }
    );
    assert_eq!(hub.user_count(), 1);
    let theirs = hub.first_connections(Some(&user), Order::Slowest, None, 10);
    assert_eq!(ids(&theirs), [0]);
    let rooms = hub.largest_rooms(1);
    assert_eq!((rooms[0].0.name(), rooms[0].1), (&room, 2));
}

#[test]
fn a_page_of_many_is_what_a_sort_of_all_would_be() {
    let hub = Hub::default();
    let mut queued = Vec::new();
    for id in 0..MANY {
        let wire = Wire::Memory(MemoryWire::new(0));
        let connection = Connection::new(id, IpAddr::V4(Ipv4Addr::LOCALHOST), wire, OUTBOX, 0);
        hub.register(&connection);
        // No two of the long ones are alike; most have nothing.
        let len = if id % 7 == 0 {
            id.wrapping_mul(7_919) % 10_007
        } else {
            0
        };
        if len > 0 {
            connection.push(vec![0; len as usize].into());
        }
        queued.push((len, id));
    }
    queued.sort_unstable_by(|a, b| b.cmp(a));
    for limit in [1, 50, 200] {
        let expected: Vec<u64> = queued.iter().take(limit).map(|(_, id)| *id).collect();
        assert_eq!(
            ids(&hub.first_connections(None, Order::Slowest, None, limit)),
            expected
        );
        let limit = limit as u64;
        let newest: Vec<u64> = (MANY - limit..MANY).rev().collect();
        assert_eq!(
            ids(&hub.first_connections(None, Order::Newest, None, limit as usize)),
            newest
        );
        let behind: Vec<u64> = (1_000 - limit..1_000).rev().collect();
        assert_eq!(
            ids(&hub.first_connections(None, Order::Newest, Some(1_000), limit as usize)),
            behind
        );
        let older: Vec<u64> = (1_001..1_001 + limit).collect();
        assert_eq!(
            ids(&hub.first_connections(None, Order::Oldest, Some(1_000), limit as usize)),
            older
        );
    }
    assert!(hub.first_connections(None, Order::Newest, Some(0), 10).is_empty());
}

#[test]
fn the_largest_rooms_are_found_among_many() {
    let hub = Hub::default();
    let mut seats = Vec::new();
    for n in 0..300_usize {
        for _ in 0..n % 13 {
            let seat = Seat::new(seats.len() as u64, ALL);
            seat.join(&hub, &named(&format!("chat:r{n}")), 0);
            seats.push(seat);
        }
    }
    let sizes: Vec<usize> = hub.largest_rooms(30).iter().map(|(_, len)| *len).collect();
    let expected: Vec<usize> = [vec![12; 23], vec![11; 7]].concat();
    assert_eq!(sizes, expected);
}
