//! Sign-ins by QR code over lines that fail: cut before, inside and after each frame and message, delayed, repeated,
//! open at one end. Whatever happens, both sides come to know how it ended, at most one session comes of it, and
//! nothing hangs or is left behind.
//!
//! A failure prints the seed; `COUNTERSIGN_TEST_SEED` draws the same faults again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what must hold"
)]

#[path = "fire/agree.rs"]
mod agree;
#[path = "fire/attempt.rs"]
mod attempt;
mod common;
#[path = "fire/grant_taint.rs"]
mod grant_taint;
#[path = "fire/link.rs"]
mod link;
#[path = "fire/pc.rs"]
mod pc;
#[path = "fire/pc_grant.rs"]
mod pc_grant;
#[path = "fire/pc_http.rs"]
mod pc_http;
#[path = "fire/phone.rs"]
mod phone;
#[path = "fire/places.rs"]
mod places;
#[path = "fire/plan.rs"]
mod plan;
#[path = "fire/proxy.rs"]
mod proxy;
#[path = "fire/rng.rs"]
mod rng;
#[path = "fire/taint.rs"]
mod taint;
#[path = "fire/twice.rs"]
mod twice;
#[path = "fire/units.rs"]
mod units;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use attempt::{Outcome, Setting, carry_out};
use common::{PATIENCE, TestServer};
use countersign::config::{Config, Profile};
use countersign::core::attempt::{Attempt, Outcome as Decided, Step};
use countersign::engine::{AttemptRef, Due};
use countersign_protocol::server::MatchMode;
use futures::StreamExt;
use pc::{Habit, Over};
use phone::Will;
use plan::{FAULT_KINDS, Plan};
use rng::{Rng, seed};

/// Of a PC that `qr.open` signs in.
const WAYS: [Over; 3] = [Over::WebSocket, Over::Events, Over::Polls];

/// What is counted beside the ends: faults that happened, and phones that had no part in an attempt.
const FAULTS: &str = "faults";
const TOO_LATE: &str = "phones too late";
const BEATEN: &str = "phones beaten";

/// Sign-ins under way at a time.
const AT_ONCE: usize = 24;

/// Pings and comments come often, so that a line that is open at one end only is noticed soon; waits end soon.
fn watchful(config: &mut Config) {
    config.limits_profile = Profile::Bench;
    config.limits.ping_interval_ms = 300;
    config.limits.pong_ms = 1_500;
    config.limits.event_comment_ms = 300;
    config.limits.outcome_wait_ms = 1_000;
    // A code whose PC never got it ends soon, and not while a PC comes back.
    config.qr.idle_ms = 10_000;
    config.oauth.interval_ms = 1_000;
    config.oauth.lifetime_ms = 10_000;
}

/// Times so short that some run out.
fn hasty(config: &mut Config) {
    watchful(config);
    config.qr.rotate_ms = 700;
    config.qr.lifetime_ms = 8_000;
    config.qr.idle_ms = 2_000;
    config.qr.scanned_ms = 3_000;
    config.qr.confirmed_ms = 3_000;
    config.oauth.lifetime_ms = 8_000;
    // Longer than an app waits that was told to slow down.
    config.oauth.confirmed_ms = 8_000;
}

/// Carries settings out, some at a time.
async fn carry_all(server: &Arc<TestServer>, settings: Vec<Setting>) -> Vec<(Setting, Outcome)> {
    let running = futures::stream::iter(settings.into_iter().map(|setting| {
        let server = Arc::clone(server);
        async move {
            let told = setting.clone();
            let carried = tokio::spawn(async move { carry_out(&server, told).await }).await;
            let outcome = carried.unwrap_or_else(|e| panic!("{e}\nin {setting:?}"));
            (setting, outcome)
        }
    }));
    running.buffer_unordered(AT_ONCE).collect().await
}

/// How they ended, and what happened on the way.
fn tally(carried: &[(Setting, Outcome)]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    let mut count = |what: String, times| *tally.entry(what).or_default() += times;
    for (setting, outcome) in carried {
        count(outcome.state.clone(), 1);
        if setting.over == Over::Grants {
            count(format!("apps: {}", outcome.state), 1);
        }
        count(TOO_LATE.into(), outcome.too_late);
        count(BEATEN.into(), outcome.beaten);
        count(FAULTS.into(), outcome.faults.len());
        for fault in &outcome.faults {
            count(format!("faults: {}", fault.name()), 1);
        }
        for double in outcome.doubles.iter().filter(|d| d.what.starts_with("qr.")) {
            count(format!("twice: {}", double.what), 1);
        }
    }
    tally
}

/// Each test counts the descriptors of the process, so it has the process to itself. A test that waits for its turn has
/// none: its runtime is made when it has it.
fn alone(test: impl Future<Output = ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test);
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Codes that are still live, known to anybody or not.
async fn live(server: &TestServer) -> Vec<String> {
    let mut live = Vec::new();
    for due in server.node.engine.due(u64::MAX, usize::MAX).await.unwrap() {
        let Due::Attempt(key) = due else { continue };
        let mut look = |_: &Attempt| Step {
            next: None,
            events: Vec::new(),
            outcome: Ok(Decided::Unaffected),
        };
        let now = server.node.clock.now();
        let found = server
            .node
            .engine
            .update_attempt(AttemptRef::Key(key), &mut look, now);
        let found = found.await.unwrap().map(|decided| decided.attempt);
        live.extend(found.filter(|a| !a.state().is_final()).map(|a| format!("{a:?}")));
    }
    live
}

/// Nothing is left of it: no socket, no descriptor, no code that has not ended.
async fn all_is_over(server: &TestServer, descriptors_before: usize) {
    let mut left = String::new();
    let gone = async {
        loop {
            let (sockets, descriptors, live) = (server.node.sockets(), descriptors(), live(server).await);
            if sockets == 0 && descriptors <= descriptors_before && live.is_empty() {
                return;
            }
            left = format!("{sockets} sockets, {descriptors} descriptors of {descriptors_before}, {live:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = tokio::time::timeout(2 * PATIENCE, gone).await;
    assert!(gone.is_ok(), "this is left: {left}");
}

/// Threat 8 of `SECURITY.md`: claim, ticket and tokens are told in one stream each, of all that are recorded.
#[test]
fn what_is_the_pcs_alone_is_in_one_stream() {
    alone(one_stream());
}

async fn one_stream() {
    let server = TestServer::start(watchful).await;
    for over in WAYS {
        taint::only_one_stream(&server, over).await;
    }
    for typed in [true, false] {
        grant_taint::only_its_client(&server, typed).await;
    }
    server.stop().await;
}

/// One line, one fault, at every place there is: the sign-in succeeds all the same.
#[test]
fn a_single_fault_anywhere_costs_nothing() {
    alone(places::single_faults());
}

/// A command that comes twice is carried out once, and answered twice.
#[test]
fn what_is_said_twice_is_done_once() {
    alone(places::said_twice());
}

/// Every line fails again and again, people change their minds, times run out.
async fn storm(attempts: u64, typist: MatchMode) {
    let seed = seed();
    println!("COUNTERSIGN_TEST_SEED={seed}, {attempts} attempts, {typist:?}");
    let config = |config: &mut Config| {
        hasty(config);
        config.qr.match_mode = typist;
    };
    let server = Arc::new(TestServer::start(config).await);
    server.user("warm").await;
    let before = descriptors();
    let settings = (0..attempts)
        .map(|name| setting(&Rng::new(seed), name, typist))
        .collect();
    let endings = tally(&carry_all(&server, settings).await);
    println!("seed {seed}, {attempts} attempts, {typist:?}: {endings:?}");
    for often in [
        "redeemed",
        "apps: redeemed",
        "denied user",
        "denied match_failed",
        "cancelled user",
    ] {
        assert!(endings.contains_key(often), "none ended {often}: {endings:?}");
    }
    for kind in FAULT_KINDS {
        let fault = format!("{FAULTS}: {kind}");
        assert!(endings.contains_key(&fault), "none was {kind}: {endings:?}");
    }
    assert!(
        endings[FAULTS] > usize::try_from(attempts).unwrap() / 2,
        "little failed: {endings:?}"
    );
    // Each of them is accounted for: no other phone had that code, and it ended without one, or one was first. Were they
    // the most, little would have been tried.
    let phones = usize::try_from(attempts + attempts.div_ceil(4)).unwrap();
    let no_part = endings[TOO_LATE] + endings[BEATEN];
    assert!(
        no_part < phones / 2,
        "{no_part} of {phones} had no part: {endings:?}"
    );
    all_is_over(&server, before).await;
}

fn setting(seed: &Rng, name: u64, typist: MatchMode) -> Setting {
    let mut rng = seed.named(name);
    let storm = |percent: u64| Plan::Storm(rng.named(percent.wrapping_mul(7) + 1), percent);
    let (pc, first, second) = (storm(60), storm(50), storm(51));
    let mut will = || match rng.below(20) {
        0..=11 => Will::Confirm,
        12..=13 => Will::Mistype,
        14..=15 => Will::Deny,
        16..=17 => Will::Repent,
        18 => Will::Forget,
        _ => Will::SignOut,
    };
    let mut phones = vec![(will(), first)];
    if name.is_multiple_of(4) {
        phones.push((will(), second));
    }
    let habit = match rng.below(20) {
        0..=1 => Habit::Cancels(rng.below(4).try_into().unwrap()),
        2 => Habit::Leaves(rng.below(4).try_into().unwrap()),
        _ => Habit::Waits,
    };
    Setting {
        name,
        typist,
        // An eighth are apps.
        over: match rng.below(8) {
            0 => Over::Grants,
            _ => rng.pick(&WAYS),
        },
        keeps: rng.percent(50),
        habit,
        pc,
        phones,
    }
}

#[test]
fn whatever_happens_on_the_lines_both_sides_know_the_end() {
    alone(storm(300, MatchMode::PhoneTypes));
}

#[test]
fn whatever_happens_both_sides_know_the_end_where_the_pc_types() {
    alone(storm(150, MatchMode::PcTypes));
}

/// By `make soak`: `COUNTERSIGN_SOAK` times as many.
#[test]
#[ignore = "long: make soak"]
fn soak_thousands_of_attempts() {
    alone(storm(300 * common::soak(), MatchMode::PhoneTypes));
    alone(storm(150 * common::soak(), MatchMode::PcTypes));
}
