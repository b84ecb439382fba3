//! The flusher among others: who takes over, and who has to wait for whom.

use super::*;

#[tokio::test]
async fn a_flusher_that_panics_hands_over_and_nobody_else_misses_anything() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..5).map(|id| Seat::new(id, ALL)).collect();
    for seat in &seats {
        seat.join(&hub, &room, 0);
    }
    for at in [2, 4] {
        seats[at].wire.panic_once();
    }
    say(&hub, &room, 1);
    quiet(&hub, &room).await;
    say(&hub, &room, 2);
    quiet(&hub, &room).await;
    for at in [0, 1, 3] {
        assert_eq!(seats[at].read(), ["joined", "1", "2"]);
    }
    for at in [2, 4] {
        assert_eq!(
            (seats[at].end(), seats[at].read()),
            (Some(End::Broken), vec!["joined".to_owned()])
        );
    }
}

#[test]
fn a_runtime_that_ends_during_a_flush_ends() {
    let hub = Hub::default();
    let room = named("chat:a");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let seat = Seat::new(1, ALL);
        seat.join(&hub, &room, 0);
        say(&hub, &room, 1);
        tokio::task::yield_now().await;
        say(&hub, &room, 2);
    });
    drop(runtime);
    // Without a runtime nothing is flushed, and nothing panics.
    say(&hub, &room, 3);
    assert!(hub.room(&room).is_some());
}

#[tokio::test]
async fn small_rooms_do_not_wait_for_a_large_one() {
    let (hub, large) = (Hub::default(), named("chat:large"));
    let crowd: Vec<Seat> = (0..10_000).map(|id| Seat::new(id, ALL)).collect();
    for seat in &crowd {
        seat.join(&hub, &large, 0);
    }
    let small: Vec<(RoomName, Seat)> = (0..500)
        .map(|n| (named(&format!("chat:s{n}")), Seat::new(10_000 + n, ALL)))
        .collect();
    for (room, seat) in &small {
        seat.join(&hub, room, 0);
    }
    say(&hub, &large, 1);
    for (room, _) in &small {
        say(&hub, room, 1);
    }
    for (room, _) in &small {
        quiet(&hub, room).await;
    }
    let served = crowd.iter().filter(|seat| seat.wire.writes() == 2).count();
    assert!(
        (1..10_000).contains(&served),
        "{served} of the crowd were served first"
    );
    quiet(&hub, &large).await;
    assert!(crowd.iter().all(|seat| seat.read() == ["joined", "1"]));
}

#[test]
fn a_retired_room_takes_nobody() {
    let (hub, name) = (Hub::default(), named("chat:a"));
    let (first, second) = (Seat::new(1, ALL), Seat::new(2, ALL));
    let former = first.join(&hub, &name, 0);
    hub.leave(&former);
    // Who looked the room up before it was retired.
    assert!(former.room.hold(&second.connection).is_none());
    // As it stands in the map for a moment.
    hub.rooms.insert(name.clone(), Arc::clone(&former.room));
    let next = second.join(&hub, &name, 0);
    assert!(!Arc::ptr_eq(&next.room, &former.room));
    assert!(
        hub.room(&name)
            .is_some_and(|known| Arc::ptr_eq(&known, &next.room))
    );
}

/// Rooms are retired and made anew while others join and speak. A member's room is the one in the map.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_never_retired_under_a_member() {
    const ROUNDS: u64 = 20_000;
    let (hub, room) = (Arc::new(Hub::default()), named("chat:a"));
    let tasks: Vec<_> = (0..2)
        .map(|id| {
            let (hub, room) = (Arc::clone(&hub), room.clone());
            tokio::spawn(async move {
                let seat = Seat::new(id, ALL);
                hub.register(&seat.connection);
                for round in 0..ROUNDS {
                    let subscription = seat.join(&hub, &room, 0);
                    let known = hub.room(&room).expect("a member's room is in the map");
                    assert!(Arc::ptr_eq(&known, &subscription.room));
                    if round % 64 == 0 {
                        count(&hub, &room, round);
                        while known.is_flushing() {
                            tokio::task::yield_now().await;
                        }
                        assert!(seat.read().contains(&format!("counts {round}")));
                    }
                    seat.wire.drain();
                    hub.leave(&subscription);
                }
                hub.unregister(&seat.connection);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((hub.room_count(), hub.connection_count()), (0, 0));
}
