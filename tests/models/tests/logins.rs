//! QR logins, sessions and locked accounts under a scheduler that chooses who has the next turn at each lock
//! (`shuttle`). What has to hold is asked when all have ended, and of some things at once.
//!
//! `COUNTERSIGN_MODELS` schedules of each kind are tried of each story, 1,000 where it is not set. A failure prints its
//! schedule. Where a story can go several ways it says which it has to have gone.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a story that cannot be told has failed"
)]

mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use countersign_protocol::ErrorCode;
use countersign_protocol::http::Confirm;
use countersign_protocol::server::QrState;
use shuttle::future::block_on;

use world::{Actor, Phone, World, code, login, together, told, unaffected};

#[test]
fn one_of_two_phones_signs_the_pc_in() {
    let ways = told(|ways| {
        let world = World::new();
        let pc = world.open();
        let phones = ["ada", "bob"].map(|name| world.phone(name));
        let won = Arc::new(AtomicUsize::new(0));
        let scans = |phone: &Phone| -> Actor {
            let (world, phone, pc, won) = (Arc::clone(&world), phone.clone(), pc.clone(), Arc::clone(&won));
            Box::new(move || match world.scan_and_confirm(&phone, &pc) {
                Ok(()) => {
                    won.fetch_add(1, Ordering::SeqCst);
                }
                Err(refusal) => assert_eq!(refusal.code, ErrorCode::AlreadyScanned),
            })
        };
        together([scans(&phones[0]), scans(&phones[1])]);
        assert_eq!(won.load(Ordering::SeqCst), 1);

        let ticket = world.poll(&pc).unwrap().ticket.expect("confirmed");
        let redeems = || -> Actor {
            let (world, pc, ticket) = (Arc::clone(&world), pc.clone(), ticket.clone());
            Box::new(move || assert!(world.redeem(&pc, &ticket).is_ok(), "a repeat is told the same"))
        };
        together([redeems(), redeems()]);
        let user = world.attempt(&pc).unwrap().scanner().unwrap().user.id.clone();
        for phone in &phones {
            let expected = if phone.user == user { 2 } else { 1 };
            assert_eq!(
                world.sessions_of(&phone.user).len(),
                expected,
                "its own, and its PC's"
            );
        }
        ways.count(if phones[0].user == user {
            "the first"
        } else {
            "the second"
        });
    });
    ways.all(&["the first", "the second"]);
}

#[test]
fn a_phone_that_is_signed_out_signs_nobody_in_afterwards() {
    let ways = told(|ways| {
        let world = World::new();
        let (pc, phone) = (world.open(), world.phone("ada"));
        let closed = Arc::default();
        let [scans, waits] = login(&world, &pc, &phone, &closed);
        let out = {
            let (world, phone) = (Arc::clone(&world), phone.clone());
            ends(&closed, move || {
                block_on(world.node.logout(phone.session())).unwrap()
            })
        };
        together([scans, waits, out]);
        let left = world.sessions_of(&phone.user).len();
        let state = world.attempt(&pc).unwrap().state();
        match state {
            QrState::Waiting | QrState::Denied => assert_eq!(left, 0),
            QrState::Redeemed => assert_eq!(left, 1, "the PC was signed in before"),
            other => panic!("who scanned is gone, and the login is {other:?}"),
        }
        ways.count(state.name());
    });
    ways.all(&["denied", "redeemed"]);
}

#[test]
fn a_locked_account_is_signed_in_nowhere() {
    let ways = told(|ways| {
        let world = World::new();
        let (pc, phone) = (world.open(), world.phone("ada"));
        let closed = Arc::default();
        let [scans, waits] = login(&world, &pc, &phone, &closed);
        let locks = {
            let (world, user) = (Arc::clone(&world), phone.user.clone());
            ends(&closed, move || {
                block_on(world.node.lock_account(user.as_str())).unwrap();
            })
        };
        together([scans, waits, locks]);
        assert_eq!(world.sessions_of(&phone.user), Vec::<String>::new());
        let state = world.attempt(&pc).unwrap().state();
        let ended = matches!(state, QrState::Waiting | QrState::Denied | QrState::Redeemed);
        assert!(ended, "the account is locked, and the login is {state:?}");
        ways.count(state.name());
    });
    ways.all(&["denied", "redeemed"]);
}

#[test]
fn signing_out_everywhere_else_leaves_one_session() {
    let ways = told(|ways| {
        let world = World::new();
        let (pc, phone, keeper) = (world.open(), world.phone("ada"), world.phone("ada"));
        let closed = Arc::default();
        let [scans, waits] = login(&world, &pc, &phone, &closed);
        let out = {
            let (world, keeper) = (Arc::clone(&world), keeper.clone());
            ends(&closed, move || {
                block_on(world.node.end_other_sessions(keeper.session())).unwrap()
            })
        };
        together([scans, waits, out]);
        assert_eq!(world.sessions_of(&phone.user), [keeper.session().id()]);
        ways.count(world.attempt(&pc).unwrap().state().name());
    });
    ways.all(&["denied", "redeemed"]);
}

/// Whoever ends something: once that has been answered, nobody is to be signed in by it.
fn ends(closed: &Arc<AtomicBool>, end: impl FnOnce() + Send + 'static) -> Actor {
    let closed = Arc::clone(closed);
    Box::new(move || {
        end();
        closed.store(true, Ordering::SeqCst);
    })
}

#[test]
fn a_cancelled_login_signs_nobody_in() {
    let ways = told(|ways| {
        let world = World::new();
        let (pc, phone) = (world.open(), world.phone("ada"));
        let [scans, waits] = login(&world, &pc, &phone, &Arc::default());
        let cancelled = Arc::new(AtomicBool::new(false));
        let cancels: Actor = {
            let (world, pc, cancelled) = (Arc::clone(&world), pc.clone(), Arc::clone(&cancelled));
            Box::new(move || {
                let answer = block_on(world.node.cancel_qr(pc.claim()));
                assert!(matches!(code(&answer), None | Some(ErrorCode::AlreadyFinal)));
                cancelled.store(answer.is_ok(), Ordering::SeqCst);
            })
        };
        together([scans, waits, cancels]);
        let (cancelled, state) = (
            cancelled.load(Ordering::SeqCst),
            world.attempt(&pc).unwrap().state(),
        );
        let expected = if cancelled {
            QrState::Cancelled
        } else {
            QrState::Redeemed
        };
        assert_eq!(state, expected);
        let sessions = world.sessions_of(&phone.user).len();
        assert_eq!(sessions, if cancelled { 1 } else { 2 });
        ways.count(state.name());
    });
    ways.all(&["cancelled", "redeemed"]);
}

#[test]
fn yes_and_no_at_once_are_one_of_them() {
    let ways = told(|ways| {
        let world = World::new();
        let (pc, phone) = (world.open(), world.phone("ada"));
        let scanned = block_on(world.node.scan_qr(&phone.caller, &pc.qr_id)).unwrap();
        let code_shown = world.poll(&pc).unwrap().number.and_then(|number| number.code);
        let heard = Arc::new(AtomicUsize::new(0));
        let confirms: Actor = {
            let (world, phone, pc, heard) =
                (Arc::clone(&world), phone.clone(), pc.clone(), Arc::clone(&heard));
            let scan_token = scanned.scan_token.clone();
            Box::new(move || {
                let confirm = Confirm {
                    scan_token,
                    code: code_shown,
                    password: None,
                };
                let answer = block_on(world.node.confirm_qr(&phone.caller, &pc.qr_id, &confirm));
                heard.fetch_add(usize::from(answer.is_ok()), Ordering::SeqCst);
            })
        };
        let denies: Actor = {
            let (world, phone, pc, heard) = (Arc::clone(&world), phone, pc.clone(), Arc::clone(&heard));
            Box::new(move || {
                let answer = block_on(world.node.deny_qr(&phone.caller, &pc.qr_id, &scanned.scan_token));
                heard.fetch_add(2 * usize::from(answer.is_ok()), Ordering::SeqCst);
            })
        };
        together([confirms, denies]);
        let state = world.attempt(&pc).unwrap().state();
        match (state, heard.load(Ordering::SeqCst)) {
            // No is heard after yes as long as nobody has been signed in.
            (QrState::Denied, 2) => ways.count("no"),
            (QrState::Denied, 3) => ways.count("yes, then no"),
            other => panic!("{other:?}"),
        }
    });
    ways.all(&["no", "yes, then no"]);
}

#[test]
fn wrong_numbers_at_once_are_counted_one_by_one() {
    let ways = told(|ways| {
        let world = World::with(|config| config.limits.qr_tries_max = 3);
        let (pc, phone) = (world.open(), world.phone("ada"));
        let scanned = block_on(world.node.scan_qr(&phone.caller, &pc.qr_id)).unwrap();
        let shown = world.poll(&pc).unwrap().number.and_then(|number| number.code);
        let wrong = if shown.as_deref() == Some("10") {
            "11"
        } else {
            "10"
        };
        let left = Arc::new(shuttle::sync::Mutex::new(Vec::new()));
        let guesses = || -> Actor {
            let (world, phone, pc, left) = (Arc::clone(&world), phone.clone(), pc.clone(), Arc::clone(&left));
            let scan_token = scanned.scan_token.clone();
            Box::new(move || {
                let code = Some(wrong.to_owned());
                let confirm = Confirm {
                    scan_token,
                    code,
                    password: None,
                };
                for _ in 0..2 {
                    let answer = block_on(world.node.confirm_qr(&phone.caller, &pc.qr_id, &confirm));
                    let refusal = answer.expect_err("the number is wrong");
                    left.lock().unwrap().extend(refusal.tries_left);
                }
            })
        };
        together([guesses(), guesses()]);
        let mut left = left.lock().unwrap().clone();
        ways.count(if left == [2, 1, 0] {
            "told in order"
        } else {
            "told in another"
        });
        left.sort_unstable();
        assert_eq!(left, [0, 1, 2], "each of three tries was counted, and no more");
        assert_eq!(world.attempt(&pc).unwrap().state(), QrState::Denied);
    });
    ways.all(&["told in order", "told in another"]);
}

#[test]
fn of_two_sockets_that_take_over_one_hears_everything() {
    let ways = told(|ways| {
        let world = World::new();
        let (pc, phone) = (world.open(), world.phone("ada"));
        let sockets = [world.socket(), world.socket()].map(Arc::new);
        let watches = |n: usize| -> Actor {
            let (world, pc, socket) = (Arc::clone(&world), pc.clone(), Arc::clone(&sockets[n]));
            Box::new(move || world.watch(&socket, &pc).unwrap())
        };
        let scans: Actor = {
            let (world, phone, pc) = (Arc::clone(&world), phone, pc.clone());
            Box::new(move || world.scan_and_confirm(&phone, &pc).unwrap())
        };
        together([watches(0), watches(1), scans]);
        let attempt = world.attempt(&pc).unwrap();
        let watching: Vec<_> = (0..2)
            .filter(|n| world.node.hub.watches(attempt.key(), sockets[*n].connection.id))
            .collect();
        let &[one] = watching.as_slice() else {
            panic!("{watching:?} watch")
        };
        let name = countersign_models::node::connection_name(sockets[one].connection.id);
        assert_eq!(
            attempt.watched_by(),
            Some(name.as_str()),
            "the engine knows who watches"
        );
        let (told, other) = (sockets[one].told(), sockets[1 - one].told());
        let in_order = |told: &[(u32, QrState)]| told.windows(2).all(|two| two[0].0 + 1 == two[1].0);
        assert!(
            in_order(&other),
            "nor did the other miss anything before: {other:?}"
        );
        assert!(in_order(&told), "once each, in order: {told:?}");
        assert_eq!(told.last(), Some(&(attempt.seq(), QrState::Confirmed)));
        ways.count(if told.len() == 1 {
            "told how it stands"
        } else {
            "told as it happened"
        });
    });
    ways.all(&["told how it stands", "told as it happened"]);
}

#[test]
fn a_code_that_is_replaced_signs_nobody_in() {
    let ways = told(|ways| {
        let world = World::new();
        let (socket, phone) = (Arc::new(world.socket()), world.phone("ada"));
        let former = world.open_on(&socket);
        let closed = Arc::default();
        let [scans, waits] = login(&world, &former, &phone, &closed);
        let next = Arc::new(shuttle::sync::Mutex::new(None));
        let replaces = {
            let (world, socket, next) = (Arc::clone(&world), Arc::clone(&socket), Arc::clone(&next));
            ends(&closed, move || {
                *next.lock().unwrap() = Some(world.open_on(&socket))
            })
        };
        together([scans, waits, replaces]);
        let (old, next) = (
            world.attempt(&former).unwrap(),
            next.lock().unwrap().take().unwrap(),
        );
        let new = world.attempt(&next).unwrap();
        assert_eq!(new.state(), QrState::Waiting);
        let watches = |key| world.node.hub.watches(key, socket.connection.id);
        assert_eq!((watches(old.key()), watches(new.key())), (false, true));
        let sessions = world.sessions_of(&phone.user).len();
        match old.state() {
            QrState::Cancelled => assert_eq!(sessions, 1),
            QrState::Redeemed => assert_eq!(sessions, 2, "the PC was signed in before"),
            other => panic!("replaced, and {other:?}"),
        }
        ways.count(old.state().name());
    });
    ways.all(&["cancelled", "redeemed"]);
}

/// Who decides on what it read before, and not on what is there, lets both phones win, and the schedules find that: they
/// do what the stories above are told for.
#[test]
#[should_panic(expected = "both phones have scanned")]
fn a_decision_beside_the_lock_is_found() {
    told(|_| {
        let world = World::new();
        let pc = world.open();
        let won = Arc::new(AtomicUsize::new(0));
        let scans = |name: &str| -> Actor {
            let (world, pc, won) = (Arc::clone(&world), pc.clone(), Arc::clone(&won));
            let phone = world.phone(name);
            Box::new(move || {
                let read = world.attempt(&pc).unwrap();
                let mut step = Some(world.scan_of(&phone, &pc, &read));
                if world.update(&pc, &mut |now| step.take().unwrap_or_else(|| unaffected(now))) {
                    won.fetch_add(1, Ordering::SeqCst);
                }
            })
        };
        together([scans("ada"), scans("bob")]);
        assert!(won.load(Ordering::SeqCst) < 2, "both phones have scanned");
    });
}
