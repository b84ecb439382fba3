//! What is asked before a phone is asked for its password says what the confirmation itself would say.

use countersign_protocol::ErrorCode;

use super::table::{Borrowed, ROWS, STATES, command, fixture};
use super::*;

/// In every state, with every way of getting a confirmation wrong.
#[test]
fn a_confirmation_is_refused_the_same_before_its_password() {
    let b = Borrowed::new();
    let (_, faults) = ROWS.iter().find(|(kind, _)| *kind == "confirm").unwrap();
    let (mut asked, mut refused) = (0, 0);
    for state in STATES.split_whitespace() {
        for fault in faults.iter().chain(&[""]) {
            let place = format!("confirm/{fault} in {state}");
            let (attempt, now) = fixture(state);
            let confirm = command("confirm", fault, &b);
            let Command::Confirm {
                qr_id, phone, token, ..
            } = confirm
            else {
                panic!("{place}")
            };
            let policy = Policy::default();
            let before = attempt.check_confirm(qr_id, phone, token, now, &policy);
            let number = |code| matches!(code, ErrorCode::MatchRequired | ErrorCode::MatchFailed);
            let told = decide(&attempt, &confirm, now, &policy).outcome.err();
            let otherwise = told.filter(|refusal| !number(refusal.code));
            assert_eq!(before.err(), otherwise, "{place}");
            match before {
                Ok(()) => asked += 1,
                Err(_) => refused += 1,
            }
        }
    }
    // Six ways to stand scanned, each with the number right, wrong, absent, and under the id before.
    assert_eq!((asked, refused), (6 * 4, 18 * 11 - 6 * 4));
}
