//! A faulty server is reported truthfully, and a clean one is not accused.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use common::fake::{Fake, Fault};
use common::{LOSSY_DRAIN, ONE_BY_ONE, plan, stage, target};
use countersign_loadtest::accounts::{self, AccountPlan, Session};
use countersign_loadtest::clock::SECOND;
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::host::server::Server;
use countersign_loadtest::idle::{self, IdlePlan, Messages};
use countersign_loadtest::latency::Latency;
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::{self, Load, RoomPlan, RoomResult, Stage};
use countersign_loadtest::target::Target;

/// The fake's rooms begin at this offset.
const BASE: u64 = 95;
const MEMBERS: usize = 4;

fn sessions(stage: &Stage<'_>, users: usize) -> Vec<Session> {
    let plan = AccountPlan {
        users,
        at_once: 2,
        until: stage.until,
    };
    let (sessions, cost) =
        accounts::make(stage.target, stage.sources, stage.run, &plan, &Progress::hidden()).unwrap();
    assert_eq!((sessions.len(), cost.users, cost.refused), (users, users, 0));
    sessions
}

fn on_fake<T>(fault: Fault, drive: impl FnOnce(&Stage<'_>) -> T) -> T {
    let fake = Fake::start(fault);
    let target: Target = target(fake.addr);
    let stage = stage(&target, Dialect::Countersign);
    let sessions = sessions(&stage, 3);
    assert_eq!(fake.logins(), 3);
    drive(&Stage {
        sessions: &sessions,
        // The second member, to whom wrong is done, does not publish.
        pace: ONE_BY_ONE,
        ..stage
    })
}

fn run(fault: Fault, change: impl FnOnce(&mut RoomPlan)) -> RoomResult {
    let mut plan = plan(1, MEMBERS, Load::Paced { per_second: 200.0 });
    change(&mut plan);
    on_fake(fault, |stage| room::run(&plan, stage).unwrap().result)
}

/// How many of the offsets handed out are multiples of `n`.
fn hit(result: &RoomResult, n: u64) -> u64 {
    (BASE + result.tally.accepted) / n - BASE / n
}

/// Asserts that nothing is wrong but what is taken out before.
fn otherwise_clean(result: &RoomResult) {
    let t = &result.tally;
    assert_eq!(
        (t.duplicated, t.out_of_order, t.gaps, t.unclear),
        (0, 0, 0, 0),
        "{t:?}"
    );
    assert_eq!(
        (t.told, t.foreign, t.malformed, t.mismatched, t.disagreed),
        (0, 0, 0, 0, 0),
        "{t:?}"
    );
    assert_eq!(
        (result.lost, result.unexpected, result.unanswered),
        (0, 0, 0),
        "{t:?}"
    );
    assert!(t.ended.is_empty(), "{t:?}");
}

#[test]
fn a_clean_server_is_not_accused() {
    let result = run(Fault::None, |_| ());
    otherwise_clean(&result);
    let t = &result.tally;
    assert!(t.accepted > 50 && t.accepted == t.sent);
    assert_eq!(t.delivered, t.accepted * MEMBERS as u64);
    assert_eq!(
        (result.expected, t.decoded, result.members_short),
        (t.delivered, t.delivered, 0)
    );
}

#[test]
fn a_clean_server_is_not_accused_in_a_burst_of_many_publishers() {
    let result = run(Fault::None, |plan| {
        plan.load = Load::InFlight { messages: 4 };
        plan.publishers = 3;
        plan.rooms = 3;
    });
    otherwise_clean(&result);
    assert_eq!(result.tally.delivered, result.expected);
}

#[test]
fn loss_is_counted() {
    let mut result = run(Fault::Lose(7), |plan| plan.drain = LOSSY_DRAIN);
    let lost = hit(&result, 7);
    assert!(lost > 0 && result.tally.gaps > 0);
    assert_eq!((result.lost, result.members_short), (lost, 1));
    assert_eq!(result.expected - result.tally.delivered, lost);
    assert_eq!(result.per_member.1 - result.per_member.0, lost);
    (result.lost, result.tally.gaps) = (0, 0);
    otherwise_clean(&result);
}

#[test]
fn duplicates_are_counted_and_not_taken_for_deliveries() {
    let mut result = run(Fault::Repeat(5), |_| ());
    assert_eq!(result.tally.duplicated, hit(&result, 5));
    assert_eq!(result.tally.delivered, result.expected);
    result.tally.duplicated = 0;
    otherwise_clean(&result);
}

#[test]
fn disorder_is_counted_and_is_not_loss() {
    // A swap whose second message never comes is loss, and rightly so: an even count avoids it.
    let mut result = run(Fault::Swap(6), |plan| plan.drain = LOSSY_DRAIN);
    let swapped = hit(&result, 6);
    let left_over = u64::from((BASE + result.tally.accepted).is_multiple_of(6));
    assert_eq!(result.tally.out_of_order, swapped - left_over);
    assert_eq!(result.lost, left_over);
    (result.lost, result.tally.out_of_order, result.tally.gaps) = (0, 0, 0);
    otherwise_clean(&result);
}

/// A planted delay, and with the three digits a histogram has the least that must be found of it.
const DELAY_MS: u64 = 150;
const DELAY_US: f64 = 0.999 * 1e3 * DELAY_MS as f64;

/// How many of the latencies hold the planted delay.
fn delayed(latency: &Latency) -> u64 {
    let recorded: Vec<(u64, u64)> = serde_json::from_value(serde_json::to_value(latency).unwrap()).unwrap();
    let held = recorded.iter().filter(|(ns, _)| *ns as f64 >= DELAY_US * 1e3);
    held.map(|(_, times)| times).sum()
}

/// The same on a gateway that delays; nothing else is wrong with it.
fn late(fault: Fault) -> (RoomResult, Latency) {
    let plan = plan(1, MEMBERS, Load::Paced { per_second: 200.0 });
    let outcome = on_fake(fault, |stage| room::run(&plan, stage).unwrap());
    otherwise_clean(&outcome.result);
    assert_eq!(outcome.result.tally.delivered, outcome.result.expected);
    assert!(outcome.latency.count() > 50 * MEMBERS as u64);
    (outcome.result, outcome.latency)
}

#[test]
fn a_delay_of_all_messages_is_in_all_latencies() {
    let (result, latency) = late(Fault::LateAll(1, DELAY_MS));
    let (p50, p99) = (result.latency.p50_us, result.latency.p99_us);
    assert!(p50 >= DELAY_US && p99 >= DELAY_US, "{:?}", result.latency);
    assert_eq!(delayed(&latency), latency.count());
}

#[test]
fn a_delay_of_some_messages_to_one_member_is_in_as_many_latencies() {
    let (result, latency) = late(Fault::Late(10, DELAY_MS));
    // Of messages in a row one in ten; more when the tester or the server was late besides.
    let (affected, planted) = (delayed(&latency), latency.count() / MEMBERS as u64 / 10);
    assert!(
        affected >= planted && planted >= 5,
        "{affected}: {:?}",
        result.latency
    );
    // They are more than one in a hundred of all four members' deliveries.
    assert!(result.latency.p99_us >= DELAY_US, "{:?}", result.latency);
    assert!(result.latency.max_us >= result.latency.p99_us);
}

#[test]
fn what_the_server_tells_is_not_loss() {
    let mut result = run(Fault::Shed(9), |_| ());
    let told = hit(&result, 9);
    assert!(told > 0);
    assert_eq!(result.tally.told, told);
    assert_eq!(result.tally.delivered + told, result.expected);
    assert_eq!(result.tally.pushes.get("gap"), Some(&told));
    result.tally.told = 0;
    otherwise_clean(&result);
}

#[test]
fn another_sender_or_body_is_seen() {
    for fault in [Fault::Forge(4), Fault::Alter(4)] {
        let mut result = run(fault, |_| ());
        assert_eq!(result.tally.mismatched, hit(&result, 4), "{fault:?}");
        result.tally.mismatched = 0;
        otherwise_clean(&result);
    }
}

#[test]
fn members_that_are_told_different_things_are_seen() {
    let mut result = run(Fault::Disagree(4), |_| ());
    // Once each when the others are read first; when the one that was told otherwise is, by all the others.
    let hits = hit(&result, 4);
    assert!(hits > 0 && result.tally.disagreed >= hits, "{:?}", result.tally);
    result.tally.disagreed = 0;
    otherwise_clean(&result);
}

#[test]
fn a_message_sequenced_twice_is_seen() {
    let result = run(Fault::Twice(10), |_| ());
    let extra = result.tally.sent / 10;
    assert!(extra > 0);
    assert_eq!(result.unexpected, extra * MEMBERS as u64);
    assert_eq!(result.tally.disagreed, extra * MEMBERS as u64);
    assert_eq!(result.lost, 0);
}

#[test]
fn refusals_are_refusals() {
    for load in [Load::Paced { per_second: 200.0 }, Load::InFlight { messages: 2 }] {
        let mut result = run(Fault::Limit(3), |plan| plan.load = load);
        let t = &result.tally;
        let refused = t.refused.get("rate_limited").copied().unwrap();
        assert_eq!(refused, t.sent / 3);
        assert_eq!(t.accepted + refused, t.sent);
        assert_eq!(t.delivered, result.expected);
        result.tally.refused.clear();
        otherwise_clean(&result);
    }
}

#[test]
fn a_missing_reply_is_not_hidden() {
    let result = run(Fault::Silent(8), |plan| plan.drain = LOSSY_DRAIN);
    assert_eq!(result.unanswered, result.tally.sent / 8);
    assert_eq!(result.lost, 0);
    assert!(result.tally.delivered > result.expected);
}

#[test]
fn a_closed_connection_is_named_and_what_it_missed_is_lost() {
    let result = run(Fault::Close(BASE + 20), |plan| plan.drain = LOSSY_DRAIN);
    assert_eq!(result.tally.ended.get("closed 4008"), Some(&1));
    assert_eq!(result.lost, result.tally.accepted - 19);
    assert_eq!(result.members_short, 1);
}

#[test]
fn a_busy_server_is_tried_again() {
    let result = run(Fault::Busy(3), |_| ());
    assert_eq!(result.connect_refused.get("upgrade 503"), Some(&3));
    otherwise_clean(&result);
}

#[test]
fn members_may_stay_anonymous() {
    let plan = plan(2, MEMBERS, Load::Paced { per_second: 100.0 });
    let result = on_fake(Fault::None, |stage| {
        let stage = Stage {
            anonymous: true,
            ..*stage
        };
        room::run(&plan, &stage).unwrap().result
    });
    otherwise_clean(&result);
    assert_eq!(result.tally.delivered, result.expected);
}

#[test]
fn idle_connections_are_counted_and_weighed() {
    let plan = IdlePlan {
        stops: vec![10, 30],
        slope: (10, 30),
        per_room: 5,
        active: true,
        body_bytes: 256,
        then_body_bytes: None,
        drain: 10 * SECOND,
        settle: 0,
        quiet: 0,
    };
    let result = on_fake(Fault::Limit(4), |stage| {
        let stage = Stage {
            server: Some(Server::Pid(std::process::id())),
            ..*stage
        };
        idle::run(&plan, &stage).unwrap()
    });
    // Every fourth send of a room is refused once and comes again: each connection gets through.
    let m = &result.messages;
    assert_eq!(m.accepted, 30);
    assert_eq!((m.expected, m.delivered), (150, 150));
    assert_eq!(m.refused.get("rate_limited"), Some(&(m.sent - m.accepted)));
    assert_eq!(
        result.stops.iter().map(|s| s.connections).collect::<Vec<_>>(),
        [10, 30]
    );
    assert!(result.bytes_per_connection.is_some() && m.ended.is_empty());
}

#[test]
fn a_second_message_from_each_is_sent_at_the_end_and_weighed() {
    let plan = IdlePlan {
        stops: vec![10, 20],
        slope: (10, 20),
        per_room: 5,
        active: true,
        body_bytes: 256,
        then_body_bytes: Some(16_384),
        drain: 10 * SECOND,
        settle: 0,
        quiet: 0,
    };
    let result = on_fake(Fault::None, |stage| {
        let stage = Stage {
            server: Some(Server::Pid(std::process::id())),
            ..*stage
        };
        idle::run(&plan, &stage).unwrap()
    });
    let m = &result.messages;
    assert_eq!((m.accepted, m.expected, m.delivered), (40, 200, 200));
    let then = result.then.as_ref().unwrap();
    assert_eq!((then.connections, then.rss_bytes.is_some()), (20, true));
    let grown = result.metrics().named("then_bytes_per_connection").unwrap().value;
    assert!(grown.is_some());
}

#[test]
fn idle_connections_may_be_anonymous_but_not_active() {
    let fake = Fake::start(Fault::None);
    let target = target(fake.addr);
    let stage = stage(&target, Dialect::Countersign);
    let mut plan = IdlePlan {
        stops: vec![20],
        slope: (0, 20),
        per_room: 10,
        active: false,
        body_bytes: 256,
        then_body_bytes: None,
        drain: 10 * SECOND,
        settle: 0,
        quiet: 0,
    };
    let result = idle::run(&plan, &stage).unwrap();
    assert_eq!((result.stops[0].connections, fake.logins()), (20, 0));
    assert_eq!(result.bytes_per_connection, None, "no pid, no figure");
    plan.active = true;
    assert!(idle::run(&plan, &stage).is_err());
}

/// Two rooms of five, from each of whom comes one message: offsets from 96 to 100.
fn idle_messages(fault: Fault) -> Messages {
    let plan = IdlePlan {
        stops: vec![10],
        slope: (0, 10),
        per_room: 5,
        active: true,
        body_bytes: 256,
        then_body_bytes: None,
        drain: LOSSY_DRAIN,
        settle: 0,
        quiet: 0,
    };
    on_fake(fault, |stage| idle::run(&plan, stage).unwrap().messages)
}

/// What [`idle_messages`] are when nothing is wrong.
fn idle_clean() -> Messages {
    Messages {
        sent: 10,
        answered: 10,
        accepted: 10,
        expected: 50,
        delivered: 50,
        ..Messages::default()
    }
}

#[test]
fn idle_accuses_nobody_who_is_clean() {
    assert_eq!(idle_messages(Fault::None), idle_clean());
}

#[test]
fn idle_reports_what_is_lost_and_ends() {
    let lossy = Messages {
        delivered: 48,
        lost: 2,
        members_short: 2,
        gaps: 2,
        ..idle_clean()
    };
    assert_eq!(idle_messages(Fault::Lose(7)), lossy);
    // The last of a room shows by no gap.
    assert_eq!(idle_messages(Fault::Lose(10)), Messages { gaps: 0, ..lossy });
}

#[test]
fn idle_takes_no_duplicate_for_a_delivery() {
    let repeated = Messages {
        duplicated: 2,
        ..idle_clean()
    };
    assert_eq!(idle_messages(Fault::Repeat(10)), repeated);
}

#[test]
fn idle_tells_order_and_senders_apart() {
    let swapped = Messages {
        gaps: 2,
        out_of_order: 2,
        ..idle_clean()
    };
    assert_eq!(idle_messages(Fault::Swap(7)), swapped);
    // Every fifth message of a room once more: nobody asked for it.
    let twice = Messages {
        delivered: 60,
        unexpected: 10,
        ..idle_clean()
    };
    assert_eq!(idle_messages(Fault::Twice(5)), twice);
}

#[test]
fn idle_does_not_count_as_lost_what_was_told() {
    let told = Messages {
        delivered: 48,
        told: 2,
        ..idle_clean()
    };
    assert_eq!(idle_messages(Fault::Shed(9)), told);
}

#[test]
fn idle_ends_without_an_answer() {
    let silent = Messages {
        answered: 6,
        unanswered: 4,
        accepted: 6,
        expected: 30,
        ..idle_clean()
    };
    assert_eq!(idle_messages(Fault::Silent(2)), silent);
}

#[test]
fn idle_does_not_wait_for_who_was_closed() {
    let m = idle_messages(Fault::Close(BASE + 3));
    assert_eq!(m.ended.get("closed 4008"), Some(&2));
    // They may or may not have sent before their end; what came after it they miss.
    assert_eq!(m.members_short, 2);
    assert!((m.accepted - 4..=6).contains(&m.lost), "{m:?}");
}
