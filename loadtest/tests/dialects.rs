//! Targets that echo: a clean one is not accused, a faulty one is reported truthfully, in both dialects.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use common::fake::Fault;
use common::relay::Relay;
use common::{LOSSY_DRAIN, ONE_BY_ONE, plan, stage, target};
use countersign_loadtest::clock::{MILLI, SECOND};
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::idle::{self, IdlePlan, Messages};
use countersign_loadtest::room::{self, Big, Load, RoomPlan, RoomResult, Stage};

const DIALECTS: [Dialect; 2] = [Dialect::Ws, Dialect::Nats];
const MEMBERS: usize = 4;

fn run(dialect: Dialect, fault: Fault, change: impl FnOnce(&mut RoomPlan)) -> RoomResult {
    let mut plan = plan(1, MEMBERS, Load::Paced { per_second: 200.0 });
    change(&mut plan);
    let relay = Relay::start(dialect, fault);
    let target = target(relay.addr);
    let stage = Stage {
        // The second member, to whom wrong is done, does not publish.
        pace: ONE_BY_ONE,
        ..stage(&target, dialect)
    };
    let outcome = room::run(&plan, &stage).unwrap();
    if dialect == Dialect::Nats {
        assert!(relay.pongs() > 0, "pings are answered");
    }
    outcome.result
}

fn clean(result: &RoomResult) {
    let t = &result.tally;
    assert!(t.sent > 0 && t.accepted == t.sent, "{t:?}");
    assert_eq!(t.delivered, result.expected, "{t:?}");
    assert_eq!(
        (result.lost, result.unexpected, result.unanswered, t.unsent),
        (0, 0, 0, 0),
        "{t:?}"
    );
    assert_eq!(
        (t.duplicated, t.out_of_order, t.gaps, t.foreign, t.malformed),
        (0, 0, 0, 0, 0),
        "{t:?}"
    );
    assert_eq!(
        (t.decoded, t.mismatched, t.disagreed),
        (t.delivered, 0, 0),
        "{t:?}"
    );
    assert!(t.ended.is_empty() && t.pushes.is_empty(), "{t:?}");
    assert_eq!(result.members_short, 0);
}

#[test]
fn a_clean_relay_is_not_accused_paced_and_burst() {
    for dialect in DIALECTS {
        for load in [Load::Paced { per_second: 100.0 }, Load::InFlight { messages: 5 }] {
            let result = run(dialect, Fault::None, |plan| {
                plan.load = load;
                plan.rooms = 3;
                plan.publishers = 2;
            });
            clean(&result);
            assert_eq!(result.expected, result.tally.sent * MEMBERS as u64);
        }
    }
}

#[test]
fn one_big_room_and_small_ones_have_accounts_of_their_own() {
    for dialect in DIALECTS {
        let result = run(dialect, Fault::Lose(5), |plan| {
            plan.rooms = 3;
            // A room of one has no second member to lose anything.
            plan.per_room = 1;
            plan.drain = LOSSY_DRAIN;
            plan.variant.big = Some(Big {
                members: 6,
                per_second: 150.0,
            });
        });
        let groups = result.groups.unwrap();
        let (big, small) = (groups.big.counts, groups.small.counts);
        assert!(big.sent > 0 && small.sent > 0, "{dialect:?}");
        assert_eq!((big.accepted, small.accepted), (big.sent, small.sent));
        assert_eq!((big.expected, small.expected), (6 * big.sent, small.sent));
        assert_eq!((big.lost, small.lost), (big.sent / 5, 0), "{dialect:?}");
        assert_eq!(big.delivered + big.lost, big.expected);
        assert_eq!(big.expected + small.expected, result.expected);
    }
}

#[test]
fn messages_larger_than_a_read_are_put_together() {
    for dialect in DIALECTS {
        let result = run(dialect, Fault::None, |plan| {
            plan.body_bytes = 16_384;
            plan.load = Load::InFlight { messages: 16 };
        });
        clean(&result);
        assert!(result.message_wire_bytes > 16_384.0);
    }
}

#[test]
fn loss_is_counted() {
    for dialect in DIALECTS {
        let result = run(dialect, Fault::Lose(7), |plan| plan.drain = LOSSY_DRAIN);
        let lost = result.tally.sent / 7;
        assert!(lost > 0 && result.tally.gaps > 0);
        assert_eq!((result.lost, result.members_short), (lost, 1), "{dialect:?}");
        assert_eq!(result.expected - result.tally.delivered, lost);
        assert_eq!(result.unanswered, 0);
    }
}

#[test]
fn a_message_its_sender_does_not_hear_is_lost_and_unanswered() {
    for dialect in DIALECTS {
        let result = run(dialect, Fault::Silent(9), |plan| plan.drain = LOSSY_DRAIN);
        let silent = result.tally.sent / 9;
        assert!(silent > 0);
        assert_eq!((result.unanswered, result.lost), (silent, silent), "{dialect:?}");
        assert_eq!(result.tally.accepted, result.tally.sent - silent);
    }
}

#[test]
fn duplicates_and_late_ones_are_told_apart() {
    for dialect in DIALECTS {
        let t = run(dialect, Fault::Repeat(5), |_| ()).tally;
        assert_eq!((t.duplicated, t.out_of_order), (t.sent / 5, 0), "{dialect:?}");
        let result = run(dialect, Fault::Swap(5), |plan| plan.drain = LOSSY_DRAIN);
        let t = &result.tally;
        // The last one is held for good when nothing comes after it.
        let held = u64::from(t.sent.is_multiple_of(5));
        assert_eq!(
            (t.duplicated, t.out_of_order),
            (0, t.sent / 5 - held),
            "{dialect:?}"
        );
        assert_eq!(result.lost, held);
    }
}

#[test]
fn an_altered_body_is_seen() {
    for dialect in DIALECTS {
        let t = run(dialect, Fault::Alter(6), |_| ()).tally;
        assert_eq!((t.mismatched, t.foreign), (t.sent / 6, 0), "{dialect:?}");
    }
}

/// Two rooms of ten, each of whom says one thing.
fn idle_messages(dialect: Dialect, fault: Fault) -> Messages {
    let relay = Relay::start(dialect, fault);
    let target = target(relay.addr);
    let plan = IdlePlan {
        stops: vec![20],
        slope: (0, 20),
        per_room: 10,
        active: true,
        body_bytes: 256,
        then_body_bytes: None,
        drain: LOSSY_DRAIN,
        settle: 0,
        quiet: 10 * MILLI,
    };
    idle::run(&plan, &stage(&target, dialect)).unwrap().messages
}

/// What [`idle_messages`] are when nothing is wrong.
fn idle_clean() -> Messages {
    Messages {
        sent: 20,
        answered: 20,
        accepted: 20,
        expected: 200,
        delivered: 200,
        ..Messages::default()
    }
}

#[test]
fn idle_connections_send_one_message_each() {
    for dialect in DIALECTS {
        assert_eq!(idle_messages(dialect, Fault::None), idle_clean(), "{dialect:?}");
        // Between publishers no order is promised.
        assert_eq!(
            idle_messages(dialect, Fault::Swap(3)),
            idle_clean(),
            "{dialect:?}"
        );
    }
}

#[test]
fn idle_reports_loss_and_duplicates_without_offsets() {
    for dialect in DIALECTS {
        let m = idle_messages(dialect, Fault::Lose(4));
        assert_eq!((m.lost, m.members_short, m.delivered), (4, 2, 196), "{dialect:?}");
        // What was lost may be the answer to who sent it.
        assert_eq!(m.accepted + m.unanswered, 20, "{m:?}");
        let silent = Messages {
            answered: 16,
            unanswered: 4,
            accepted: 16,
            delivered: 196,
            lost: 4,
            members_short: 4,
            ..idle_clean()
        };
        assert_eq!(idle_messages(dialect, Fault::Silent(5)), silent, "{dialect:?}");
        let repeated = Messages {
            duplicated: 4,
            ..idle_clean()
        };
        assert_eq!(idle_messages(dialect, Fault::Repeat(5)), repeated, "{dialect:?}");
    }
}

#[test]
fn a_server_of_another_kind_is_told() {
    let relay = Relay::start(Dialect::Ws, Fault::None);
    let target = target(relay.addr);
    let mut stage = stage(&target, Dialect::Nats);
    stage.until = countersign_loadtest::clock::now() + SECOND;
    let error = room::run(&plan(1, 1, Load::Paced { per_second: 1.0 }), &stage)
        .err()
        .unwrap();
    // A relay that says nothing: the greeting never comes.
    assert!(error.to_string().contains("connecting did not end"), "{error}");
}
