//! What is bounded stays so, and what ends leaves nothing behind, whoever has the next turn at each lock: as
//! `logins.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story that cannot be told has failed"
)]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign_protocol::ErrorCode;
use shuttle::future::block_on;

use world::{Actor, World, code, login, together, told};

#[test]
fn time_passes_and_nothing_is_left_behind() {
    let ways = told(|ways| {
        let world = World::with(|config| config.limits.qr_waiting_per_address_max = 1);
        let (pc, phone) = (world.open(), world.phone("ada"));
        let [scans, waits] = login(&world, &pc, &phone, &Arc::default());
        let passes: Actor = {
            let world = Arc::clone(&world);
            Box::new(move || {
                // A rotation, then the end of a code nobody has scanned, or of the time to redeem.
                world.pass(45_000);
                world.pass(61_000);
            })
        };
        together([scans, waits, passes]);
        ways.count(
            world
                .attempt(&pc)
                .map_or("forgotten", |attempt| attempt.state().name()),
        );
        for _ in 0..4 {
            world.pass(300_000);
        }
        assert!(world.attempt(&pc).is_none(), "it is forgotten");
        assert_eq!(world.node.engine.attempts_kept(), 0);
        let scanned = world
            .node
            .engine
            .attempts_scanned_by(phone.session().id().to_owned());
        assert_eq!(block_on(scanned).unwrap(), []);
        let later = world.clock.now() + 600_000;
        assert_eq!(block_on(world.node.engine.due(later, 10)).unwrap(), []);
        // Its address has room again, for one and no more.
        assert!(world.try_open("next").is_ok());
        assert_eq!(code(&world.try_open("more")), Some(ErrorCode::RateLimited));
    });
    // What was redeemed has been forgotten by then.
    ways.all(&["forgotten", "expired"]);
}

#[test]
fn a_node_keeps_no_more_logins_than_it_may() {
    let ways = told(|ways| {
        let world = World::with(|config| {
            config.limits.qr_attempts_max = 2;
            config.limits.qr_waiting_per_address_max = 100;
        });
        let opened = Arc::new(AtomicUsize::new(0));
        let opens = |name: &'static str| -> Actor {
            let (world, opened, ways) = (Arc::clone(&world), Arc::clone(&opened), ways.clone());
            Box::new(move || match world.try_open(name) {
                Ok(_) => {
                    opened.fetch_add(1, Ordering::SeqCst);
                }
                Err(refusal) => {
                    assert_eq!(refusal.code, ErrorCode::Unavailable);
                    ways.count(name);
                }
            })
        };
        together([opens("a"), opens("b"), opens("c")]);
        assert_eq!(opened.load(Ordering::SeqCst), 2);
        assert_eq!(world.node.engine.attempts_kept(), 2);
        for _ in 0..4 {
            world.pass(300_000);
        }
        assert_eq!(world.node.engine.attempts_kept(), 0);
        assert!(world.try_open("next").is_ok());
    });
    ways.all(&["a", "b", "c"]);
}

#[test]
fn an_account_has_no_more_sessions_than_it_may() {
    let ways = told(|ways| {
        let world = World::with(|config| config.limits.sessions_per_user_max = 2);
        let phone = world.phone("ada");
        let confirmed = ["a", "b", "c"].map(|name| {
            let pc = world.try_open(name).unwrap();
            world.scan_and_confirm(&phone, &pc).unwrap();
            let ticket = world.poll(&pc).unwrap().ticket.unwrap();
            (pc, ticket)
        });
        let signed_in = Arc::new(AtomicUsize::new(0));
        together(confirmed.map(|(pc, ticket)| -> Actor {
            let (world, signed_in) = (Arc::clone(&world), Arc::clone(&signed_in));
            Box::new(move || {
                let redeemed = world.redeem(&pc, &ticket).is_ok();
                signed_in.fetch_add(usize::from(redeemed), Ordering::SeqCst);
            })
        }));
        assert_eq!(world.sessions_of(&phone.user).len(), 2);
        // The phone's own session makes room for the second, and takes with it what it has confirmed and nobody redeemed.
        match signed_in.load(Ordering::SeqCst) {
            2 => ways.count("the third is denied"),
            3 => ways.count("the third was as quick"),
            other => panic!("{other} PCs were signed in"),
        }
    });
    ways.all(&["the third is denied", "the third was as quick"]);
}

#[test]
fn a_refresh_token_used_twice_at_once_gives_one_pair() {
    told(|_| {
        let world = World::new();
        let phone = world.phone("ada");
        let pairs = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
        let refreshes = || -> Actor {
            let (world, phone, pairs) = (Arc::clone(&world), phone.clone(), Arc::clone(&pairs));
            Box::new(move || {
                let tokens = world
                    .refresh(&phone, &phone.refresh_token)
                    .expect("within the grace");
                pairs.lock().unwrap().push(tokens.refresh_token);
            })
        };
        together([refreshes(), refreshes()]);
        let pairs = pairs.lock().unwrap().clone();
        assert_eq!(pairs[0], pairs[1]);
        assert_eq!(world.sessions_of(&phone.user).len(), 1);
        // Later the first one is a thief's, or the other is: both are signed out.
        world.clock.advance(60_000);
        assert!(world.refresh(&phone, &phone.refresh_token).is_err());
        assert_eq!(world.sessions_of(&phone.user), Vec::<String>::new());
    });
}
