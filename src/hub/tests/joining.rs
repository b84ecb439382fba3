//! Hold, read, release, leave: nothing twice, nothing missing, whatever comes in between.

use countersign_protocol::CloseCode;

use super::*;
use crate::hub::pending::AHEAD_MAX;

#[tokio::test]
async fn the_answer_leaves_first_then_what_it_does_not_hold() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let (first, seat) = (Seat::new(1, ALL), Seat::new(2, ALL));
    first.join(&hub, &room, 0);
    let subscription = hub.hold(&room, &seat.connection);
    for offset in 1..=4 {
        say(&hub, &room, offset);
        quiet(&hub, &room).await;
    }
    assert!(!subscription.is_live() && seat.read().is_empty());
    assert!(hub.release(&subscription, frame("joined"), 2));
    say(&hub, &room, 5);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["joined", "3", "4", "5"]);
    assert_eq!(first.read(), ["joined", "1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn counts_in_front_of_an_older_message_are_not_lost() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    let subscription = hub.hold(&room, &seat.connection);
    say(&hub, &room, 1);
    count(&hub, &room, 7);
    say(&hub, &room, 2);
    say(&hub, &room, 3);
    quiet(&hub, &room).await;
    assert!(hub.release(&subscription, frame("joined"), 2));
    assert_eq!(seat.read(), ["joined", "counts 7", "3"]);
    // The same when the flush comes after the release.
    let late = Seat::new(2, ALL);
    let subscription = hub.hold(&room, &late.connection);
    count(&hub, &room, 8);
    say(&hub, &room, 4);
    assert!(hub.release(&subscription, frame("joined"), 4));
    quiet(&hub, &room).await;
    assert_eq!(late.read(), ["joined", "counts 8"]);
}

#[tokio::test]
async fn what_is_held_for_joins_is_bounded() {
    let hub = Hub::default();
    let rooms = [named("chat:a"), named("chat:b")];
    let seat = Seat::new(1, ALL);
    let held: Vec<_> = rooms
        .iter()
        .map(|room| hub.hold(room, &seat.connection))
        .collect();
    let body = "x".repeat(15_000);
    let mut bytes = 0;
    for offset in 1.. {
        for room in &rooms {
            let frame = text_frame(&json!({ "type": "message", "offset": offset, "body": body }));
            bytes += frame.len();
            hub.publish_message(room, || frame, offset, Class::Normal);
            quiet(&hub, room).await;
        }
        if seat.end().is_some() {
            break;
        }
    }
    assert_eq!(
        (seat.end(), seat.wakes()),
        (Some(End::Close(CloseCode::SlowConsumer)), 1)
    );
    assert!((1 << 20..(1 << 20) + 40_000).contains(&bytes), "{bytes}");
    assert!(hub.release(&held[0], frame("joined"), 0));
    assert!(seat.read().is_empty());
}

#[tokio::test]
async fn a_membership_that_ended_meanwhile_gets_its_answer_and_no_more() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let (other, seat) = (Seat::new(1, ALL), Seat::new(2, ALL));
    other.join(&hub, &room, 0);
    let subscription = hub.hold(&room, &seat.connection);
    say(&hub, &room, 1);
    quiet(&hub, &room).await;
    hub.leave(&subscription);
    assert!(hub.release(&subscription, frame("joined"), 0));
    say(&hub, &room, 2);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["joined"]);
    assert!(subscription.is_gone());
}

#[tokio::test]
async fn a_flush_that_knows_a_former_stay_does_not_reach_the_next() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    // The flusher yields before it comes to the last.
    let seats: Vec<Seat> = (0..300).map(|id| Seat::new(id, ALL)).collect();
    let stays: Vec<_> = seats.iter().map(|seat| seat.join(&hub, &room, 0)).collect();
    let (seat, stay) = (seats.last().unwrap(), stays.last().unwrap());
    say(&hub, &room, 1);
    while seats[0].wire.writes() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(seat.read(), ["joined"]);
    hub.leave(stay);
    seat.join(&hub, &room, 1);
    say(&hub, &room, 2);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["joined", "2"]);
}

#[tokio::test]
async fn joining_again_before_the_leave_is_through_leaves_nobody_behind() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let (seat, other) = (Seat::new(1, ALL), Seat::new(2, ALL));
    let former = seat.join(&hub, &room, 0);
    other.join(&hub, &room, 0);
    // The first half of a leave on another thread.
    former.connection.end_subscription(&former);
    former.connection.forget(&former);
    let next = seat.join(&hub, &room, 0);
    hub.leave(&former);
    hub.leave(&former);
    assert_eq!(hub.room(&room).unwrap().len(), 2);
    say(&hub, &room, 1);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["joined", "joined", "1"]);
    hub.leave(&next);
    hub.leave(&other.connection.subscriptions()[0]);
    assert_eq!(hub.room_count(), 0);
}

#[tokio::test]
async fn late_deliveries_are_neither_repeated_nor_missed() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let (first, second) = (Seat::new(1, ALL), Seat::new(2, ALL));
    let held = hub.hold(&room, &second.connection);
    // Messages 4 and 5 are on their way here when the first reads.
    first.join(&hub, &room, 5);
    assert_eq!(say(&hub, &room, 4), Appended::Stale);
    // The second read before them: they will not come again.
    assert!(!hub.release(&held, frame("joined"), 3));
    assert!(hub.release(&held, frame("joined"), 5));
    assert_eq!(say(&hub, &room, 5), Appended::Stale);
    assert_eq!(say(&hub, &room, 8), Appended::Missed { after: 5 });
    // A third has read further than what has come.
    let third = Seat::new(3, ALL);
    third.join(&hub, &room, 7);
    for offset in 6..=8 {
        assert_eq!(say(&hub, &room, offset), Appended::Done);
    }
    quiet(&hub, &room).await;
    assert_eq!(first.read(), ["joined", "6", "7", "8"]);
    assert_eq!(second.read(), ["joined", "6", "7", "8"]);
    assert_eq!(third.read(), ["joined", "8"]);
}

#[tokio::test]
async fn a_gap_that_shows_after_the_joins_names_nothing_that_a_joiner_has() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..5).map(|id| Seat::new(id, ALL)).collect();
    seats[0].join(&hub, &room, 5);
    // They read what never comes here.
    for (seat, read) in seats[1..].iter().zip([8, 7, 9, 8]) {
        seat.join(&hub, &room, read);
    }
    hub.skip_to(&room, 9);
    assert_eq!(say(&hub, &room, 10), Appended::Done);
    quiet(&hub, &room).await;
    let told: Vec<_> = seats.iter().map(Seat::read).collect();
    assert_eq!(told[0], ["joined", "gap 6-7", "gap 8-8", "gap 9-9", "10"]);
    assert_eq!(told[1], ["joined", "gap 9-9", "10"]);
    assert_eq!(told[2], ["joined", "gap 8-8", "gap 9-9", "10"]);
    assert_eq!(told[3], ["joined", "10"]);
    assert_eq!(told[4], told[1]);
    // What came after all is no bound any more.
    let late = Seat::new(9, ALL);
    late.join(&hub, &room, 12);
    for offset in 11..=13 {
        assert_eq!(say(&hub, &room, offset), Appended::Done);
    }
    hub.skip_to(&room, 15);
    quiet(&hub, &room).await;
    assert_eq!(late.read(), ["joined", "13", "gap 14-15"]);
}

#[tokio::test]
async fn a_gap_is_told_though_nobody_speaks_and_only_to_whom_it_concerns() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..4).map(|id| Seat::new(id, ALL)).collect();
    seats[0].join(&hub, &room, 5);
    let within = hub.hold(&room, &seats[1].connection);
    hub.skip_to(&room, 9);
    assert!(hub.release(&within, frame("joined"), 7));
    seats[2].join(&hub, &room, 9);
    quiet(&hub, &room).await;
    assert_eq!(seats[0].read(), ["joined", "gap 6-7", "gap 8-9"]);
    assert_eq!(seats[1].read(), ["joined", "gap 8-9"]);
    assert_eq!(seats[2].read(), ["joined"]);
    // Who read less than what has been told to be missing gets the chance to read more.
    let late = hub.hold(&room, &seats[3].connection);
    assert!(!hub.release(&late, frame("joined"), 8));
    assert!(hub.release(&late, frame("joined"), 9));
    assert_eq!(say(&hub, &room, 10), Appended::Done);
    quiet(&hub, &room).await;
    assert!(
        seats
            .iter()
            .all(|seat| seat.read().last().is_some_and(|last| last == "10"))
    );
}

#[tokio::test]
async fn what_joiners_knew_before_is_kept_of_so_many_only() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(0, ALL);
    seat.join(&hub, &room, 0);
    let ahead = AHEAD_MAX as u64;
    for id in 1..=ahead + 6 {
        Seat::new(id, ALL).join(&hub, &room, id);
    }
    hub.skip_to(&room, ahead + 10);
    quiet(&hub, &room).await;
    let told = seat.read();
    assert_eq!(told.len(), 1 + AHEAD_MAX + 1);
    assert_eq!(told.last(), Some(&format!("gap {}-{}", ahead + 1, ahead + 10)));
}

#[tokio::test]
async fn what_was_appended_since_makes_room_for_those_who_know_more_now() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(0, ALL);
    seat.join(&hub, &room, 0);
    let ahead = AHEAD_MAX as u64;
    for id in 1..=ahead {
        Seat::new(id, ALL).join(&hub, &room, id);
    }
    for offset in 1..=ahead {
        assert_eq!(say(&hub, &room, offset), Appended::Done);
    }
    let next = Seat::new(ahead + 1, ALL);
    next.join(&hub, &room, ahead + 3);
    hub.skip_to(&room, ahead + 5);
    quiet(&hub, &room).await;
    assert_eq!(
        next.read(),
        ["joined".into(), format!("gap {}-{}", ahead + 4, ahead + 5)]
    );
    let told = seat.read();
    assert_eq!(
        told[1 + AHEAD_MAX..],
        [
            format!("gap {}-{}", ahead + 1, ahead + 3),
            format!("gap {}-{}", ahead + 4, ahead + 5)
        ]
    );
}
