//! Faults at places that are known: one at a time, so that each is seen to cost nothing, and to have happened.

use std::ops::RangeFrom;
use std::sync::Arc;

use countersign::config::Config;
use countersign_protocol::server::MatchMode;
use serde_json::{Value, json};

use super::attempt::{Outcome, Setting};
use super::common::TestServer;
use super::pc::{Habit, Over};
use super::phone::Will;
use super::plan::{Direction, Fault, Plan, Planned};
use super::{BEATEN, TOO_LATE, WAYS, all_is_over, carry_all, descriptors, tally, watchful};

/// How often a sign-in is tried whose fault did not happen. Where its line's units are is known as long as nobody loses
/// patience, which on a slow machine somebody may.
const ROUNDS_MAX: usize = 8;

const CUTS: [Fault; 4] = [
    Fault::CutBefore,
    Fault::CutInside,
    Fault::CutAfter,
    Fault::HalfOpen,
];

fn at(connection: u64, direction: Direction, unit: u64, fault: Fault) -> (u64, Planned) {
    let planned = Planned {
        direction,
        unit,
        fault,
    };
    (connection, planned)
}

/// A place for each cut on the units of a connection, `to_gateway` and `to_client` of them.
fn cuts(connection: u64, to_gateway: u64, to_client: u64) -> Vec<(u64, Planned)> {
    let ways = [
        (Direction::ToGateway, to_gateway),
        (Direction::ToClient, to_client),
    ];
    let units = ways
        .into_iter()
        .flat_map(|(direction, units)| (0..units).map(move |n| (direction, n)));
    units
        .flat_map(|(direction, unit)| CUTS.map(|fault| at(connection, direction, unit, fault)))
        .collect()
}

/// So many requests on a connection: each cut, and each made twice.
fn requests(connection: u64, count: u64) -> Vec<(u64, Planned)> {
    let mut places = cuts(connection, count, count);
    places.extend((0..count).map(|unit| at(connection, Direction::ToGateway, unit, Fault::Duplicate)));
    places
}

/// Requests on a connection each.
fn one_each(connections: u64) -> Vec<(u64, Planned)> {
    (0..connections)
        .flat_map(|connection| requests(connection, 1))
        .collect()
}

fn setting(over: Over, keeps: bool, pc: Plan, phone: Plan) -> Setting {
    Setting {
        name: 0,
        typist: MatchMode::PhoneTypes,
        over,
        keeps,
        habit: Habit::Waits,
        pc,
        phones: vec![(Will::Confirm, phone)],
    }
}

/// Carries them out under the next of `names`, again where a fault did not happen.
async fn each_happens(
    server: &Arc<TestServer>,
    mut settings: Vec<Setting>,
    names: &mut RangeFrom<u64>,
) -> Vec<(Setting, Outcome)> {
    let certain = |s: &Setting| {
        let phones = s.phones.iter().map(|(_, plan)| plan);
        phones.chain([&s.pc]).map(|p| p.certain().unwrap()).sum::<usize>()
    };
    let mut happened = Vec::new();
    for _ in 0..ROUNDS_MAX {
        for setting in &mut settings {
            setting.name = names.next().unwrap();
        }
        let carried = carry_all(server, std::mem::take(&mut settings)).await;
        for (setting, outcome) in carried {
            let answered = outcome.doubles.iter().all(|double| double.is_answered());
            if outcome.faults.len() == certain(&setting) && answered {
                happened.push((setting, outcome));
            } else {
                settings.push(setting);
            }
        }
        if settings.is_empty() {
            return happened;
        }
    }
    panic!("these faults did not happen: {settings:#?}");
}

pub(crate) async fn single_faults() {
    let patient = |config: &mut Config| {
        watchful(config);
        // All of them are to be confirmed, however busy the machine is.
        config.oauth.lifetime_ms = 30_000;
    };
    let server = Arc::new(TestServer::start(patient).await);
    server.user("warm").await;
    let before = descriptors();
    let pc = |over, keeps, places: Vec<(u64, Planned)>| {
        let plans = places.into_iter().map(|place| Plan::Named(vec![place]));
        plans.map(move |plan| setting(over, keeps, plan, Plan::Clean))
    };
    let mut settings = Vec::new();
    // Handshake, opening and redemption; the other way the handshake, hello, two replies and two pushes.
    settings.extend(pc(Over::WebSocket, false, cuts(0, 3, 6)));
    // Opening and redemption, and the stream on a connection of its own, with two events behind its head.
    settings.extend(pc(Over::Events, true, requests(0, 2)));
    settings.extend(pc(Over::Events, true, requests(1, 1)));
    settings.extend(pc(Over::Events, true, cuts(1, 0, 3)));
    settings.extend(pc(Over::Events, false, one_each(3)));
    // Opening, questions, redemption.
    settings.extend(pc(Over::Polls, true, requests(0, 4)));
    settings.extend(pc(Over::Polls, false, one_each(4)));
    // An app: authorization, exchange.
    settings.extend(pc(Over::Grants, true, requests(0, 2)));
    settings.extend(pc(Over::Grants, false, one_each(2)));
    // A phone: scan or code, confirmation, outcome.
    for over in WAYS.into_iter().chain([Over::Grants]) {
        for (keeps, places) in [(true, requests(0, 3)), (false, one_each(3))] {
            let plans = places.into_iter().map(|place| Plan::Named(vec![place]));
            settings.extend(plans.map(|plan| setting(over, keeps, Plan::Clean, plan)));
        }
    }
    let count = settings.len();
    let endings = tally(&each_happens(&server, settings, &mut (0..)).await);
    println!("{count} sign-ins with one fault each: {endings:?}");
    assert_eq!(endings["redeemed"], count, "{endings:?}");
    // Each has one phone, which is the scanner.
    assert_eq!((endings[TOO_LATE], endings[BEATEN]), (0, 0), "{endings:?}");
    all_is_over(&server, before).await;
}

/// Times that each command comes twice.
const TIMES: usize = 6;

/// A command, who says it, and how the sign-in ends then.
type Said = (&'static str, Setting, &'static str);

pub(crate) async fn said_twice() {
    let twice = |connection, command| at(connection, Direction::ToGateway, command, Fault::Duplicate);
    let over = |faults| setting(Over::WebSocket, false, Plan::Named(faults), Plan::Clean);
    let mut cancels = over(vec![twice(0, 1)]);
    cancels.habit = Habit::Cancels(1);
    let lost = at(0, Direction::ToClient, 3, Fault::CutAfter);
    carried_twice(
        MatchMode::PhoneTypes,
        [
            // The first code was shown, and is nobody's now: the second took its place.
            ("qr.open", over(vec![twice(0, 0)]), "cancelled superseded"),
            ("qr.redeem", over(vec![twice(0, 1)]), "redeemed"),
            ("qr.watch", over(vec![lost, twice(1, 0)]), "redeemed"),
            ("qr.cancel", cancels, "cancelled user"),
        ],
    )
    .await;
    let mut mistypes = over(vec![twice(0, 1)]);
    mistypes.phones[0].0 = Will::Mistype;
    carried_twice(
        MatchMode::PcTypes,
        [
            ("qr.answer", over(vec![twice(0, 1)]), "redeemed"),
            ("qr.answer", mistypes, "denied match_failed"),
        ],
    )
    .await;
}

async fn carried_twice<const N: usize>(typist: MatchMode, said: [Said; N]) {
    let config = |config: &mut Config| {
        watchful(config);
        config.qr.match_mode = typist;
        config.qr.idle_ms = 2_000;
    };
    let server = Arc::new(TestServer::start(config).await);
    server.user("warm").await;
    let before = descriptors();
    let mut names = 0..;
    for (what, mut setting, end) in said {
        setting.typist = typist;
        for (setting, outcome) in each_happens(&server, vec![setting; TIMES], &mut names).await {
            let [double] = &outcome.doubles[..] else {
                panic!("{outcome:?}");
            };
            assert_eq!((&*double.what, &*outcome.state), (what, end), "{outcome:?}");
            assert_eq!(double.replies.len(), 2, "{double:?}");
            fit(&setting, what, &double.told());
        }
    }
    // A code that nobody knows is watched by a connection that has gone: it ends in its time.
    all_is_over(&server, before).await;
}

/// What two replies to one command say.
fn fit(setting: &Setting, what: &str, replies: &[Value]) {
    let [first, second] = replies else {
        panic!("{replies:?}");
    };
    let mistypes = setting.phones[0].0 == Will::Mistype;
    match (what, mistypes) {
        ("qr.open", _) => {
            assert_eq!((&first["type"], &second["type"]), (&json!("ok"), &json!("ok")));
            assert!(first["claim"] != second["claim"] && first["qr_id"] != second["qr_id"]);
        }
        // One session, one pair of tokens.
        ("qr.redeem", _) => {
            assert!(first["access_token"].is_string(), "{first}");
            assert_eq!(first["session"], second["session"]);
            assert_eq!(first["access_token"], second["access_token"]);
            assert_eq!((&first["type"], &second["type"]), (&json!("ok"), &json!("ok")));
        }
        ("qr.watch", _) => {
            assert!(first["state"].is_string(), "{first}");
            assert_eq!(first["state"], second["state"]);
            assert_eq!((&first["type"], &second["type"]), (&json!("ok"), &json!("ok")));
        }
        ("qr.cancel", _) => {
            assert_eq!(
                (&first["type"], &second["code"]),
                (&json!("ok"), &json!("already_final"))
            );
        }
        // Each is a try.
        (_, true) => {
            let left = [&first["tries_left"], &second["tries_left"]];
            assert_eq!(left, [&json!(2), &json!(1)], "{replies:?}");
        }
        (_, false) => {
            let code = second["code"].as_str();
            assert_eq!(first["type"], "ok", "{first}");
            assert!(matches!(code, None | Some("already_confirmed")), "{second}");
        }
    }
}
