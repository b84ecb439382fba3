//! What comes late, twice, or not at all, as it does from an engine behind a network.

use super::*;

/// A message that came before the read is no promise that those before it came, too.
#[tokio::test]
async fn a_joiner_has_read_what_came_before_the_first_message_here() {
    let (hub, room, seat) = (Hub::default(), named("chat:lobby"), Seat::new(1, ALL));
    let subscription = hub.hold(&room, &seat.connection);
    assert_eq!(say(&hub, &room, 12), Appended::Done);
    assert!(!hub.release(&subscription, frame("joined"), 10), "where is 11?");
    assert!(hub.release(&subscription, frame("joined"), 11));
    assert_eq!(say(&hub, &room, 13), Appended::Done);
    quiet(&hub, &room).await;
    assert_eq!(seat.read(), ["joined", "12", "13"]);
}

/// Counts that were read again may be newer than a publication on its way, and may hold more than it.
#[tokio::test]
async fn absolute_values_never_go_back() {
    let (hub, room, seat) = (Hub::default(), named("chat:lobby"), Seat::new(1, ALL));
    seat.join(&hub, &room, 0);
    seat.read();
    for (version, source, is_news) in [
        (5, Source::Told, true),
        (4, Source::Told, false),
        (5, Source::Told, false),
        (5, Source::Read, true),
        (4, Source::Read, false),
        (6, Source::Told, true),
    ] {
        let counts = || text_frame(&json!({ "type": "counts", "room": room, "version": version }));
        hub.publish_absolute(&room, counts, Class::Counts, version, source);
        quiet(&hub, &room).await;
        assert_eq!(seat.read().len(), usize::from(is_news), "{version} {source:?}");
    }
    // Info has versions of its own, each of which says all.
    for (version, source, is_news) in [
        (0, Source::Read, false),
        (1, Source::Read, true),
        (1, Source::Told, false),
        (1, Source::Read, false),
    ] {
        hub.publish_absolute(&room, || frame("room").to_vec(), Class::Room, version, source);
        quiet(&hub, &room).await;
        assert_eq!(seat.read().len(), usize::from(is_news), "{version} {source:?}");
    }
}
