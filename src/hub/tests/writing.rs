//! From an offer to the wire: what is written at once, what waits, and who is woken.

use bytes::Bytes;
use countersign_protocol::CloseCode;
use proptest::prelude::*;

use super::*;
use crate::core::outbox::{Batch, Mark};

#[tokio::test]
async fn the_fast_path_is_one_write_and_no_queue() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..600).map(|id| Seat::new(id, ALL)).collect();
    for seat in &seats {
        seat.join(&hub, &room, 0);
        seat.read();
    }
    for offset in 1..=3 {
        say(&hub, &room, offset);
    }
    quiet(&hub, &room).await;
    for seat in &seats {
        // One for the answer, one for all three.
        assert_eq!(
            (
                seat.wire.writes(),
                seat.wakes(),
                seat.connection.standing().queued
            ),
            (2, 0, 0)
        );
        assert_eq!(seat.read(), ["1", "2", "3"]);
    }
}

#[tokio::test]
async fn a_full_wire_wakes_the_owner_once() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    seat.join(&hub, &room, 0);
    seat.wire.allow_only(0);
    for offset in 1..=5 {
        say(&hub, &room, offset);
        quiet(&hub, &room).await;
    }
    assert_eq!(seat.wakes(), 1);
    assert!(seat.connection.standing().blocked);
    // It wakes the owner again when it is full again.
    seat.wire.allow(70);
    seat.connection.unblock();
    assert_eq!(seat.wakes(), 1);
    seat.wire.allow_only(ALL);
    seat.connection.unblock();
    assert_eq!(seat.read(), ["joined", "1", "2", "3", "4", "5"]);
    assert_eq!((seat.wakes(), seat.connection.standing().queued), (0, 0));
    say(&hub, &room, 6);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["6"]);
}

#[tokio::test]
async fn an_owner_that_writes_itself_is_woken_for_every_queue_it_has_emptied() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::woken(1);
    seat.join(&hub, &room, 0);
    for offset in 1..=3 {
        assert_eq!(seat.wakes(), 1);
        let mut bytes = Vec::new();
        let drained = seat.connection.drain_with(|slices| {
            slices.iter().for_each(|s| bytes.extend_from_slice(s));
            Ok(slices.iter().map(|s| s.len()).sum())
        });
        drained.unwrap();
        assert!(!told(&bytes).is_empty() && !seat.connection.standing().blocked);
        say(&hub, &room, offset);
        say(&hub, &named("chat:elsewhere"), offset);
        quiet(&hub, &room).await;
    }
    // A full stream wakes its owner itself.
    let full = |_: &[std::io::IoSlice<'_>]| Err(std::io::ErrorKind::WouldBlock.into());
    seat.connection.drain_with(full).unwrap();
    seat.wakes();
    seat.connection.push(frame("more"));
    assert_eq!((seat.wakes(), seat.connection.standing().blocked), (0, true));
}

#[tokio::test]
async fn an_answer_and_the_batch_leave_in_one_write() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    seat.join(&hub, &room, 0);
    let writes = seat.wire.writes();
    say(&hub, &room, 1);
    seat.connection.answer(&room, frame("ok"));
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["joined", "ok", "1"]);
    assert_eq!(seat.wire.writes(), writes + 1);
    // When the flush is over already, nobody would come to fetch it.
    say(&hub, &room, 2);
    quiet(&hub, &room).await;
    seat.connection.answer(&room, frame("ok"));
    assert_eq!(seat.read(), ["2", "ok"]);
    seat.connection.answer(&named("chat:elsewhere"), frame("ok"));
    assert_eq!(seat.read(), ["ok"]);
}

#[tokio::test]
async fn what_a_command_causes_leaves_with_its_answer() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    seat.join(&hub, &room, 0);
    let writes = seat.wire.writes();
    seat.connection.cork();
    seat.connection.push(frame("told"));
    say(&hub, &room, 1);
    quiet(&hub, &room).await;
    seat.connection.queue(frame("ok"));
    assert_eq!(seat.read(), ["joined"]);
    seat.connection.flush();
    assert_eq!(seat.read(), ["told", "1", "ok"]);
    assert_eq!(seat.wire.writes(), writes + 1);
    // Nothing stays corked, and without a command nothing waits.
    seat.connection.push(frame("next"));
    assert_eq!(seat.read(), ["next"]);
    // An answer that a flush is to take along is left to it; what that flush was kept from writing is not.
    seat.connection.cork();
    seat.connection.queue(frame("ok"));
    seat.connection.uncork();
    assert!(seat.read().is_empty());
    seat.connection.cork();
    say(&hub, &room, 2);
    quiet(&hub, &room).await;
    seat.connection.uncork();
    assert_eq!(seat.read(), ["ok", "2"]);
}

#[tokio::test]
async fn what_waits_for_a_command_is_bounded_and_ends_with_the_connection() {
    let seat = Seat::new(1, ALL);
    seat.connection.cork();
    for _ in 0..3 {
        seat.connection.push(Bytes::from(vec![b'x'; 10_000]));
    }
    assert_eq!(seat.wire.writes(), 1, "the second reached the bound");
    assert_eq!(seat.connection.standing().queued, 10_000);
    seat.connection.end(End::Close(CloseCode::Revoked));
    seat.connection.queue_close(CloseCode::Revoked);
    assert_eq!(seat.connection.standing().queued, 0);
}

#[tokio::test]
async fn a_broken_wire_ends_the_connection() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let (seat, other) = (Seat::new(1, ALL), Seat::new(2, ALL));
    seat.join(&hub, &room, 0);
    other.join(&hub, &room, 0);
    seat.wire.sever();
    say(&hub, &room, 1);
    quiet(&hub, &room).await;
    assert_eq!((seat.end(), seat.wakes()), (Some(End::Broken), 1));
    assert_eq!(other.read(), ["joined", "1"]);
}

#[tokio::test]
async fn what_is_queued_goes_before_the_close_and_nothing_after_it() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, 3);
    seat.join(&hub, &room, 0);
    say(&hub, &room, 1);
    quiet(&hub, &room).await;
    seat.connection.end_with(frame("revoked"), CloseCode::Revoked);
    seat.connection.end(End::Broken);
    assert_eq!(seat.end(), Some(End::Close(CloseCode::Revoked)));
    for offset in 2..4 {
        say(&hub, &room, offset);
        quiet(&hub, &room).await;
        seat.connection.push(frame("late"));
    }
    seat.connection.queue_close(CloseCode::Revoked);
    seat.wire.allow_only(ALL);
    seat.connection.unblock();
    seat.connection.push(frame("late"));
    assert_eq!(seat.read(), ["joined", "1", "revoked", "close"]);
}

#[tokio::test]
async fn the_answer_to_a_close_is_the_last_frame() {
    let seat = Seat::new(1, ALL);
    seat.connection
        .answer_close(countersign_protocol::codec::close_frame(CloseCode::Normal).into());
    seat.connection.push(frame("late"));
    assert_eq!(
        (seat.end(), seat.read()),
        (Some(End::Answered), vec!["close".to_owned()])
    );
}

#[tokio::test]
async fn a_slow_consumer_loses_its_queue_but_no_frame_is_cut() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    seat.join(&hub, &room, 0);
    seat.wire.allow_only(10);
    for offset in 1.. {
        let text = || text_frame(&json!({ "type": "message", "offset": offset, "body": "x".repeat(10_000) }));
        hub.publish_message(&room, text, offset, Class::High);
        quiet(&hub, &room).await;
        if seat.end().is_some() {
            break;
        }
    }
    assert_eq!(seat.end(), Some(End::Close(CloseCode::SlowConsumer)));
    assert!(seat.connection.standing().queued < 11_000);
    seat.connection.queue_close(CloseCode::SlowConsumer);
    seat.wire.allow_only(ALL);
    seat.connection.unblock();
    assert_eq!(seat.read(), ["joined", "1", "close"]);
}

fn batch(room: &RoomName, offsets: std::ops::Range<u64>) -> Arc<Batch> {
    let (mut bytes, mut marks) = (Vec::new(), Vec::new());
    for offset in offsets {
        bytes.extend_from_slice(&message(room, offset));
        marks.push(Mark {
            end: bytes.len() as u32,
            offset,
            class: Class::Normal,
        });
    }
    Arc::new(Batch::new(room.clone(), bytes.into(), marks))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// However little the wire takes at a time, the bytes are those of the frames, and an owner that acts only
    /// when it is woken gets them all out.
    #[test]
    fn partial_writes_lose_nothing(steps in prop::collection::vec((0_u64..4, 0_usize..200, prop::bool::ANY), 1..60)) {
        let (hub, room) = (Hub::default(), named("chat:a"));
        let seat = Seat::new(1, ALL);
        let subscription = seat.join(&hub, &room, 0);
        seat.wire.allow_only(0);
        let mut expected = vec!["joined".to_owned()];
        let (mut next, mut sleeping) = (1, true);
        for (messages, allowed, answered) in steps {
            if answered {
                seat.connection.queue(frame("ok"));
                expected.push("ok".into());
            }
            if messages > 0 {
                seat.connection.offer(&subscription, &batch(&room, next..next + messages));
                expected.extend((next..next + messages).map(|n| n.to_string()));
                next += messages;
            }
            seat.wire.allow(allowed);
            sleeping &= seat.wakes() == 0;
            if !sleeping && allowed > 0 {
                seat.connection.unblock();
                sleeping = !seat.connection.standing().blocked;
                seat.wakes();
            }
            prop_assert_eq!(seat.connection.standing().blocked, !sleeping);
        }
        seat.wire.allow_only(ALL);
        seat.connection.unblock();
        prop_assert_eq!(seat.read(), expected);
        prop_assert_eq!(seat.wire.total(), seat.connection.standing().sent);
    }
}
