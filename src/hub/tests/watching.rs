//! One watcher per attempt, told every event once and in order.

use countersign_protocol::client::DeviceKind;
use countersign_protocol::server::MatchMode;

use super::*;
use crate::core::attempt::{self, Attempt, CancelReason, Command, Device, Digest, Opening, Policy, QrId};

const KEY: AttemptKey = AttemptKey([9; 16]);
const NOW: u64 = 1_790_000_000_000;

fn opened() -> Attempt {
    let opening = Opening {
        key: KEY,
        qr_id: QrId([0; 16]),
        claim: Digest([1; 32]),
        device: Device {
            digest: Some(Digest([2; 32])),
            name: None,
            kind: DeviceKind::Web,
        },
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        user_agent: None,
        client: None,
        public_key: None,
        dpop_jkt: None,
        mode: MatchMode::PhoneTypes,
        connection: Some("c_1".into()),
    };
    attempt::open(opening, NOW, &Policy::default())
}

fn after(attempt: &Attempt, command: &Command<'_>, now: u64) -> Attempt {
    attempt::decide(attempt, command, now, &Policy::default())
        .next
        .unwrap()
}

/// Event 1 is the opening, 2 a rotation, 3 the end.
fn story() -> [Arc<Attempt>; 3] {
    let first = opened();
    let second = after(&first, &Command::Tick { fresh: QrId([1; 16]) }, NOW + 45_000);
    let cancel = Command::Cancel {
        claim: Digest([1; 32]),
        device: Digest([2; 32]),
        reason: CancelReason::User,
    };
    let third = after(&second, &cancel, NOW + 50_000);
    [first, second, third].map(Arc::new)
}

fn render(attempt: &Attempt, told: u32, _: Format) -> Vec<(u32, Bytes)> {
    let events = attempt.events_after(Some(told));
    events
        .iter()
        .map(|e| (e.seq, frame(&format!("qr {}", e.seq))))
        .collect()
}

#[test]
fn nothing_is_told_before_the_answer_and_everything_after_it_once() {
    let (hub, seat) = (Hub::default(), Seat::new(1, ALL));
    let [first, second, third] = story();
    assert!(hub.hold_watch(KEY, &seat.connection).is_none());
    hub.tell_watcher(&second, render);
    hub.tell_watcher(&first, render);
    assert!(seat.read().is_empty());
    seat.connection.queue(frame("opened"));
    hub.release_watch(&first, 1, first.seq(), render);
    assert_eq!(seat.read(), ["opened", "qr 2"]);
    hub.tell_watcher(&second, render);
    hub.tell_watcher(&third, render);
    assert_eq!(seat.read(), ["qr 3"]);
    // Nothing comes after the end, so nobody watches.
    assert_eq!(hub.watch_count(), 0);
    hub.tell_watcher(&third, render);
    assert!(seat.read().is_empty());
}

#[test]
fn the_end_of_an_attempt_during_the_command_is_told_behind_its_answer() {
    let (hub, seat) = (Hub::default(), Seat::new(1, ALL));
    let [first, _, third] = story();
    hub.hold_watch(KEY, &seat.connection);
    hub.tell_watcher(&third, render);
    hub.release_watch(&first, 1, first.seq(), render);
    assert_eq!(
        (seat.read(), hub.watch_count()),
        (vec!["qr 2".to_owned(), "qr 3".to_owned()], 0)
    );
}

#[test]
fn what_a_command_does_to_the_attempt_is_told_in_one_write_with_its_answer() {
    let (hub, seat) = (Hub::default(), Seat::new(1, ALL));
    let [first, second, _] = story();
    hub.hold_watch(KEY, &seat.connection);
    hub.release_watch(&first, 1, first.seq(), render);
    let writes = seat.wire.writes();
    seat.connection.cork();
    hub.tell_watcher(&second, render);
    seat.connection.queue(frame("ok"));
    seat.connection.flush();
    assert_eq!(seat.read(), ["qr 2", "ok"]);
    assert_eq!(seat.wire.writes(), writes + 1);
}

#[test]
fn a_new_watcher_takes_over() {
    let (hub, old, new) = (Hub::default(), Seat::new(1, ALL), Seat::new(2, ALL));
    let [first, second, third] = story();
    hub.hold_watch(KEY, &old.connection);
    hub.release_watch(&first, 1, first.seq(), render);
    // Watching again replaces nobody.
    assert!(hub.hold_watch(KEY, &old.connection).is_none());
    hub.release_watch(&first, 1, first.seq(), render);
    assert_eq!(hub.hold_watch(KEY, &new.connection).map(|c| c.id), Some(1));
    // The old one's commands have no effect any more.
    hub.release_watch(&second, 1, 0, render);
    assert!(!hub.unwatch(KEY, 1));
    hub.tell_watcher(&second, render);
    hub.release_watch(&second, 2, 0, render);
    hub.tell_watcher(&third, render);
    assert!(old.read().is_empty());
    assert_eq!(new.read(), ["qr 1", "qr 2", "qr 3"]);
    assert_eq!(hub.watch_count(), 0);
}

/// An event stream has nothing to live for once it does not watch; a WebSocket has.
#[test]
fn a_stream_ends_with_its_watch() {
    let stream = |id| Connection::event_stream(id, IpAddr::V4(Ipv4Addr::LOCALHOST), OUTBOX, 0);
    let ended = |connection: &Connection| connection.standing().end;
    let written = |connection: &Connection| {
        let mut text = Vec::new();
        let drained = connection.drain_with(|slices| {
            slices.iter().for_each(|slice| text.extend_from_slice(slice));
            Ok(slices.iter().map(|slice| slice.len()).sum())
        });
        drained.unwrap();
        String::from_utf8(text).unwrap()
    };
    let formats = |attempt: &Attempt, told: u32, format: Format| {
        let events = attempt.events_after(Some(told));
        let line = |seq| Bytes::from(format!("{format:?} {seq} "));
        events.iter().map(|e| (e.seq, line(e.seq))).collect()
    };
    let [first, second, third] = story();
    let (hub, one, two, socket) = (Hub::default(), stream(1), stream(2), Seat::new(3, ALL));
    hub.hold_watch(KEY, &socket.connection);
    hub.hold_watch(KEY, &one);
    hub.release_watch(&second, 1, 0, formats);
    hub.hold_watch(KEY, &one);
    hub.release_watch(&second, 1, 1, formats);
    assert_eq!((ended(&one), socket.end()), (None, None));
    hub.hold_watch(KEY, &two);
    hub.release_watch(&first, 2, first.seq(), formats);
    assert_eq!((ended(&one), ended(&two)), (Some(End::Done), None));
    assert_eq!(written(&one), "Events 1 Events 2 Events 2 ");
    hub.tell_watcher(&third, formats);
    assert_eq!((ended(&two), hub.watch_count()), (Some(End::Done), 0));
    assert_eq!(written(&two), "Events 2 Events 3 ");
}

#[test]
fn an_attempt_that_has_ended_can_be_watched_again() {
    let (hub, seat) = (Hub::default(), Seat::new(1, ALL));
    let [first, _, third] = story();
    hub.hold_watch(KEY, &seat.connection);
    hub.release_watch(&first, 1, first.seq(), render);
    hub.tell_watcher(&third, render);
    assert_eq!(hub.watch_count(), 0);
    hub.hold_watch(KEY, &seat.connection);
    hub.release_watch(&third, 1, 2, render);
    assert_eq!(
        (seat.read(), hub.watch_count()),
        (["qr 2", "qr 3", "qr 3"].map(str::to_owned).to_vec(), 0)
    );
}
