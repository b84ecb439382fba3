//! A room in which more is said than its flusher gets rid of.

use countersign_protocol::CloseCode;

use super::*;
use crate::core::room::PENDING_HARD_BYTES_MAX;
use crate::hub::room::PENDING_CUT_OFF_BYTES_MAX;

/// Longer than a frame has to be for a few hundred to fill a room.
fn long(room: &RoomName, offset: u64) -> Vec<u8> {
    text_frame(&json!({ "type": "message", "room": room, "offset": offset, "body": "x".repeat(2_000) }))
}

#[tokio::test]
async fn what_has_no_place_is_told_in_short_form_and_without_waiting_for_more() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    seat.join(&hub, &room, 0);
    let here = hub.room(&room).unwrap();
    let mut fitted = 0;
    for offset in 1..=400 {
        hub.publish_message(&room, || long(&room, offset), offset, Class::Normal);
        if here.pending_bytes() < PENDING_HARD_BYTES_MAX {
            fitted = offset + 1;
        }
        count(&hub, &room, offset);
    }
    for n in 0..5 {
        let presence = || text_frame(&json!({ "type": "presence", "joined": [n] }));
        hub.publish(&room, presence, Class::Presence);
        hub.publish(
            &room,
            || text_frame(&json!({ "type": "room", "version": n })),
            Class::Room,
        );
    }
    assert!(here.pending_bytes() < PENDING_HARD_BYTES_MAX + 3_000);
    quiet(&hub, &room).await;
    let read = seat.read();
    let messages: Vec<u64> = read.iter().filter_map(|told| told.parse().ok()).collect();
    assert_eq!(messages, (1..=fitted).collect::<Vec<_>>());
    let gap = format!("gap {}-400", fitted + 1);
    assert_eq!(
        read[read.len() - 4..],
        [gap.as_str(), "reset", "room", "counts 400"]
    );
    say(&hub, &room, 401);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["401"]);
}

#[tokio::test]
async fn a_joiner_in_the_midst_of_it_misses_exactly_what_it_is_told() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let (first, joiner) = (Seat::new(1, ALL), Seat::new(2, ALL));
    first.join(&hub, &room, 0);
    let mut speak = {
        let mut offset = 0;
        let (hub, room) = (&hub, room.clone());
        move |n| {
            for _ in 0..n {
                offset += 1;
                hub.publish_message(&room, || long(&room, offset), offset, Class::Normal);
            }
            offset
        }
    };
    let top = speak(350);
    joiner.join(&hub, &room, top);
    let end = speak(10);
    quiet(&hub, &room).await;
    assert_eq!(
        joiner.read(),
        ["joined".to_owned(), format!("gap {}-{end}", top + 1)]
    );
    let read = first.read();
    let from = read.iter().filter(|told| told.parse::<u64>().is_ok()).count() + 1;
    assert_eq!(
        read[read.len() - 2..],
        [format!("gap {from}-{top}"), format!("gap {}-{end}", top + 1)]
    );
}

#[tokio::test]
async fn when_what_is_never_dropped_has_no_place_the_members_are_cut_off() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..3).map(|id| Seat::new(id, ALL)).collect();
    for seat in &seats {
        seat.join(&hub, &room, 0);
    }
    let here = hub.room(&room).unwrap();
    let mut top = 0;
    while here.pending_bytes() < PENDING_CUT_OFF_BYTES_MAX {
        top += 1;
        hub.publish_message(&room, || long(&room, top), top, Class::High);
    }
    assert!(seats.iter().all(|seat| seat.end().is_none()));
    for offset in top + 1..top + 100 {
        hub.publish_message(&room, || long(&room, offset), offset, Class::High);
    }
    assert_eq!(here.pending_bytes(), 0);
    quiet(&hub, &room).await;
    for seat in &seats {
        assert_eq!(seat.end(), Some(End::Close(CloseCode::SlowConsumer)));
        hub.unregister(&seat.connection);
    }
    let next = Seat::new(9, ALL);
    next.join(&hub, &room, top + 99);
    say(&hub, &room, top + 100);
    quiet(&hub, &room).await;
    assert_eq!(next.read(), ["joined".to_owned(), (top + 100).to_string()]);
}

/// A busy moment of the room is no reason to drop messages of a member whose owner is as quick as it can be.
#[tokio::test]
async fn a_woken_owner_gets_its_turn_between_batches() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::woken(1);
    seat.join(&hub, &room, 0);
    for offset in 1..=240 {
        hub.publish_message(&room, || long(&room, offset), offset, Class::Normal);
    }
    assert!(hub.room(&room).unwrap().pending_bytes() > OUTBOX as usize);
    let mut bytes = Vec::new();
    while hub.room(&room).unwrap().is_flushing() || seat.connection.standing().queued > 0 {
        let drained = seat.connection.drain_with(|slices| {
            slices.iter().for_each(|s| bytes.extend_from_slice(s));
            Ok(slices.iter().map(|s| s.len()).sum())
        });
        drained.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(
        told(&bytes)[1..],
        (1..=240).map(|n: u32| n.to_string()).collect::<Vec<_>>()
    );
}
