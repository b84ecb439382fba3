//! The tester on its own floor, over real sockets.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests say what must hold by unwrapping it"
)]

mod common;

use common::{FloorThread, plan, stage, target};
use countersign_loadtest::fleet::Dialect;
use countersign_loadtest::host::server::Server;
use countersign_loadtest::room::{self, Load, RoomResult};

fn clean(result: &RoomResult) {
    let t = &result.tally;
    assert!(t.sent > 0 && t.accepted == t.sent);
    assert_eq!(t.delivered, result.expected);
    assert_eq!(
        (result.lost, result.unexpected, result.unanswered, t.unsent),
        (0, 0, 0, 0)
    );
    assert_eq!(
        (t.duplicated, t.out_of_order, t.gaps, t.foreign, t.malformed),
        (0, 0, 0, 0, 0)
    );
    assert_eq!((t.decoded, t.mismatched, t.disagreed), (t.delivered, 0, 0));
    assert!(t.refused.is_empty() && t.ended.is_empty(), "{t:?}");
    assert_eq!(result.members_short, 0);
}

#[test]
fn everything_sent_arrives_in_order_paced_and_burst_plain_and_coalesced() {
    for coalesce in [false, true] {
        let floor = FloorThread::start(300, coalesce);
        let target = target(floor.addr);
        for (run, load) in [
            (1, Load::Paced { per_second: 100.0 }),
            (2, Load::InFlight { messages: 8 }),
        ] {
            let mut stage = stage(&target, Dialect::Floor);
            stage.run = run;
            let outcome = room::run(&plan(1, 60, load), &stage).unwrap();
            clean(&outcome.result);
            assert_eq!(outcome.result.per_member.0, outcome.result.per_member.1);
            assert!((outcome.result.message_wire_bytes - 300.0).abs() < 1e-9);
            assert!(outcome.latency.count() > 0);
        }
    }
}

#[test]
fn rooms_do_not_hear_each_other() {
    let floor = FloorThread::start(256, true);
    let target = target(floor.addr);
    let mut plan = plan(20, 5, Load::Paced { per_second: 40.0 });
    plan.publishers = 3;
    let outcome = room::run(&plan, &stage(&target, Dialect::Floor)).unwrap();
    clean(&outcome.result);
    assert_eq!(outcome.result.expected, outcome.result.tally.accepted * 5);
}

#[test]
fn runs_follow_each_other_on_one_floor() {
    let floor = FloorThread::start(300, false);
    let target = target(floor.addr);
    for run in 0..3 {
        let mut stage = stage(&target, Dialect::Floor);
        stage.run += run;
        let outcome = room::run(&plan(2, 4, Load::InFlight { messages: 2 }), &stage).unwrap();
        clean(&outcome.result);
    }
}

#[test]
fn the_server_is_watched_by_pid() {
    let floor = FloorThread::start(300, false);
    let target = target(floor.addr);
    let mut stage = stage(&target, Dialect::Floor);
    stage.server = Some(Server::Pid(std::process::id()));
    let result = room::run(&plan(1, 10, Load::InFlight { messages: 4 }), &stage)
        .unwrap()
        .result;
    assert!(result.cpu_us_per_delivery.unwrap() > 0.0);
    assert!(result.rss_bytes.unwrap() > 0 && result.connect_cpu_us.is_some());
    assert!(result.deliveries_per_second > 0.0);
}
