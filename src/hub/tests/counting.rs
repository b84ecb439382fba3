//! What the hub says it has done is what was done.

use countersign_protocol::CloseCode;

use super::*;
use crate::core::room::PENDING_HARD_BYTES_MAX;
use crate::tally::parts::{CLOSES, Drops, Sockets};

fn closes(counts: &Sockets) -> Vec<(&'static str, u64)> {
    let all = CLOSES.into_iter().zip(counts.closes);
    all.filter(|(_, n)| *n > 0).collect()
}

#[tokio::test]
async fn deliveries_frames_and_bytes_are_those_that_arrived() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seats: Vec<Seat> = (0..3).map(|id| Seat::new(id, ALL)).collect();
    for seat in &seats {
        hub.register(&seat.connection);
        seat.join(&hub, &room, 0);
    }
    let stranger = Seat::new(9, ALL);
    hub.register(&stranger.connection);
    for offset in 1..=5 {
        say(&hub, &room, offset);
    }
    assert_eq!(say(&hub, &room, 5), Appended::Stale);
    assert!(matches!(say(&hub, &room, 7), Appended::Missed { .. }));
    count(&hub, &room, 1);
    quiet(&hub, &room).await;
    say(&hub, &named("chat:empty"), 1);
    let counts = hub.counts();
    assert_eq!((counts.published, counts.deliveries), (6, 15));
    // Six frames for each member in one batch, and the answer to its join.
    assert_eq!(counts.frames_out, 3 * (6 + 1));
    let arrived: u64 = seats.iter().map(|seat| seat.wire.total()).sum();
    assert_eq!(counts.bytes_out, arrived);
    assert_eq!((counts.batch_frames.count(), counts.batch_frames.sum), (1, 6));
    assert_eq!(counts.flush_us.count(), 1, "the first is timed");
    let now = counts.now;
    assert_eq!((now.anonymous, now.authenticated, now.closing), (4, 0, 0));
    assert_eq!((now.rooms, now.memberships, now.waiting), (1, 3, 0));
    assert_eq!(counts.opened, [4, 0]);
}

#[tokio::test]
async fn what_waits_is_there_and_what_is_dropped_is_counted() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let slow = Seat::new(1, 100);
    hub.register(&slow.connection);
    slow.join(&hub, &room, 0);
    let long = |offset: u64| {
        text_frame(&json!({ "type": "message", "room": room, "offset": offset, "body": "x".repeat(2_000) }))
    };
    let mut offset = 0;
    while hub.counts().shed.low < 10 {
        offset += 1;
        hub.publish_message(&room, || long(offset), offset, Class::Low);
        count(&hub, &room, offset);
        quiet(&hub, &room).await;
    }
    let counts = hub.counts();
    assert_eq!((counts.shed.normal, counts.shed.presence), (0, 0));
    assert_eq!(counts.shed.replaced, offset - 1, "the newest counts stay");
    assert_eq!(counts.overrun, Drops::default());
    let now = counts.now;
    assert_eq!((now.waiting, now.queued_bytes_most), (1, now.queued_bytes));
    assert!(now.queued_bytes > 100_000 && now.queued_bytes <= OUTBOX as usize);
    // It goes, and what it was sent and not sent stays counted, its last frames too.
    slow.connection.end(End::Close(CloseCode::SlowConsumer));
    assert_eq!(hub.counts().now.closing, 1);
    hub.unregister(&slow.connection);
    hub.unregister(&slow.connection);
    slow.wire.allow(ALL);
    slow.connection.queue_close(CloseCode::SlowConsumer);
    slow.connection.unblock();
    hub.count_last(&slow.connection);
    let after = hub.counts();
    assert_eq!(after.shed, counts.shed);
    assert_eq!(after.bytes_out, slow.wire.total());
    assert_eq!(after.frames_out, counts.frames_out + 1);
    assert_eq!(closes(&after), [("4008", 1)]);
    assert_eq!((after.now.closing, after.now.queued_bytes), (0, 0));
}

#[tokio::test]
async fn what_a_room_cannot_hand_out_is_counted_apart() {
    let (hub, room) = (Hub::default(), named("chat:a"));
    let seat = Seat::new(1, ALL);
    hub.register(&seat.connection);
    seat.join(&hub, &room, 0);
    let here = hub.room(&room).unwrap();
    let body = "x".repeat(2_000);
    let mut offset = 0;
    while here.pending_bytes() < PENDING_HARD_BYTES_MAX {
        offset += 1;
        let frame = || text_frame(&json!({ "type": "message", "offset": offset, "body": body }));
        hub.publish_message(&room, frame, offset, Class::Normal);
    }
    for more in 1..=3 {
        say(&hub, &room, offset + more);
        count(&hub, &room, more);
    }
    let overrun = hub.counts().overrun;
    assert_eq!((overrun.normal, overrun.low, overrun.presence), (3, 0, 0));
    assert_eq!(overrun.replaced, 2, "the newest is told");
    quiet(&hub, &room).await;
    assert_eq!(hub.counts().shed.total(), 0);
}

#[tokio::test]
async fn every_end_is_counted_once() {
    let hub = Hub::default();
    let ends = [
        End::Answered,
        End::Broken,
        End::Done,
        End::Close(CloseCode::Restart),
        End::Close(CloseCode::Restart),
    ];
    for (id, end) in (0..).zip(ends) {
        let seat = Seat::new(id, ALL);
        hub.register(&seat.connection);
        seat.connection.end(end);
        seat.connection.end(End::Close(CloseCode::Internal));
        hub.unregister(&seat.connection);
    }
    assert_eq!(
        closes(&hub.counts()),
        [("1012", 2), ("peer", 1), ("lost", 1), ("done", 1)]
    );
}

/// Connections that go while somebody counts make no sum fall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_never_falls() {
    let hub = Arc::new(Hub::default());
    let coming_and_going = {
        let hub = Arc::clone(&hub);
        std::thread::spawn(move || {
            for id in 0..20_000 {
                let seat = Seat::new(id, ALL);
                hub.register(&seat.connection);
                seat.connection.push(frame("hello"));
                hub.unregister(&seat.connection);
            }
        })
    };
    let mut last = 0;
    while !coming_and_going.is_finished() {
        let now = hub.counts().frames_out;
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
    coming_and_going.join().unwrap();
    assert_eq!(hub.counts().frames_out, 20_000);
}
