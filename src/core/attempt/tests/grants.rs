//! Device authorizations: what differs from a login that a PC opens.

use countersign_protocol::ErrorCode;
use countersign_protocol::server::{MatchForm, QrState};

use super::*;

fn decide(attempt: &Attempt, command: &Command<'_>, now: u64) -> Step {
    super::decide(attempt, command, now, &Policy::default())
}

fn code_of(step: &Step) -> Option<ErrorCode> {
    step.outcome.as_ref().err().map(|refusal| refusal.code)
}

fn granted() -> Attempt {
    open(granting(), T0, &Policy::default())
}

fn scan<'a>(phone: &'a Phone, typed: Option<UserCode>) -> Command<'a> {
    Command::Scan {
        qr_id: id(0),
        phone,
        token: digest(20),
        digits: digits(),
        typed,
    }
}

fn confirm<'a>(phone: &'a Phone, code: Option<&'a str>, ticket: &'a Secret) -> Command<'a> {
    Command::Confirm {
        qr_id: id(0),
        phone,
        token: digest(20),
        code,
        ticket,
    }
}

fn exchange<'a>(claim: Digest, client: &'a str, result: &'a Sealed) -> Command<'a> {
    Command::Exchange {
        claim,
        client,
        session: PC_SESSION,
        result,
    }
}

/// Confirmed by Alice, who typed the code.
fn confirmed() -> Attempt {
    let (phone, ticket) = (alice(), Secret::new(TICKET));
    let typed = run(&granted(), &scan(&phone, Some(user_code())), T0 + S);
    run(&typed, &confirm(&phone, None, &ticket), T0 + 2 * S)
}

fn shown(step: &Step) -> (MatchMode, MatchForm, Option<String>) {
    let Ok(Outcome::Scanned(scanned)) = &step.outcome else {
        panic!("{:?}", step.outcome)
    };
    (
        scanned.number.mode,
        scanned.number.form,
        scanned.number.code.clone(),
    )
}

#[test]
fn it_lives_for_its_whole_time_with_one_id_and_nobody_watching() {
    let attempt = granted();
    assert_eq!(attempt.due_at(&Policy::default()), T0 + 300 * S);
    for at in [45, 60, 90, 299] {
        let ticked = decide(&attempt, &tick(1), T0 + at * S);
        assert_eq!((ticked.next, ticked.events.len()), (None, 0), "{at} s");
    }
    let phone = alice();
    assert_eq!(
        code_of(&decide(&attempt, &scan(&phone, None), T0 + 299 * S)),
        None
    );
    let over = run(&attempt, &tick(1), T0 + 300 * S);
    assert_eq!(
        (over.state(), over.reason()),
        (QrState::Expired, Some(Reason::Idle))
    );
}

#[test]
fn who_scans_types_the_user_code_and_who_typed_it_types_nothing() {
    let (phone, ticket) = (alice(), Secret::new(TICKET));
    let scanned = decide(&granted(), &scan(&phone, None), T0 + S);
    assert_eq!(
        shown(&scanned),
        (MatchMode::PhoneTypes, MatchForm::UserCode, None)
    );
    let push = scanned.events[0]
        .push(T0 + S, "https://gate.example")
        .number
        .unwrap();
    let told = (push.mode, push.form, push.code.as_deref());
    assert_eq!(
        told,
        (MatchMode::PhoneTypes, MatchForm::UserCode, Some(USER_CODE))
    );
    let attempt = scanned.next.unwrap();
    let at = T0 + 2 * S;
    for (code, expected) in [
        (None, Some(ErrorCode::MatchRequired)),
        (Some("07"), Some(ErrorCode::MatchFailed)),
        (Some("BCDF-GHJL"), Some(ErrorCode::MatchFailed)),
        (Some("bcdfghjk"), None),
    ] {
        assert_eq!(
            code_of(&decide(&attempt, &confirm(&phone, code, &ticket), at)),
            expected,
            "{code:?}"
        );
    }
    let typed = decide(&granted(), &scan(&phone, Some(user_code())), T0 + S);
    assert_eq!(shown(&typed), (MatchMode::None, MatchForm::Digits, None));
    let push = typed.events[0]
        .push(T0 + S, "https://gate.example")
        .number
        .unwrap();
    assert_eq!((push.mode, push.code), (MatchMode::None, None));
    // Typed by the phone that had scanned: nothing is left to type, and nothing is told again.
    let again = decide(&attempt, &scan(&phone, Some(user_code())), at);
    assert_eq!((shown(&again).0, again.events.len()), (MatchMode::None, 0));
    let again = again.next.unwrap();
    assert_eq!(
        code_of(&decide(&again, &confirm(&phone, None, &ticket), at)),
        None
    );
    // And scanned again after that.
    let scanned = decide(&again, &scan(&phone, None), at);
    assert_eq!(shown(&scanned).0, MatchMode::None);
}

#[test]
fn a_code_that_is_not_its_own_finds_it_not() {
    let phone = alice();
    let other = UserCode::new([1; 8]);
    assert_eq!(
        code_of(&decide(&granted(), &scan(&phone, other), T0 + S)),
        Some(ErrorCode::NotFound)
    );
    let pc = open(opening(MatchMode::PhoneTypes), T0, &Policy::default());
    let typed = decide(&pc, &scan(&phone, Some(user_code())), T0 + S);
    assert_eq!(
        code_of(&typed),
        Some(ErrorCode::NotFound),
        "a login without a user code"
    );
}

#[test]
fn its_tokens_are_its_clients_and_need_no_ticket() {
    let (attempt, result) = (confirmed(), sealed());
    assert_eq!(attempt.expires_at(), T0 + 2 * S + 120 * S);
    let newest = attempt.push(&attempt.newest(), T0 + 2 * S, "https://gate.example");
    assert_eq!((newest.state, newest.ticket), (QrState::Confirmed, None));
    let at = T0 + 100 * S;
    for (claim, client) in [(WRONG, CLIENT), (CLAIM, "reader"), (CLAIM, "")] {
        assert!(!attempt.would_exchange(claim, client, at));
        let step = decide(&attempt, &exchange(claim, client, &result), at);
        assert_eq!(code_of(&step), Some(ErrorCode::NotFound), "{client}");
    }
    assert!(attempt.would_exchange(CLAIM, CLIENT, at));
    assert!(!attempt.would_redeem(CLAIM, PC, TICKET, at));
    let by_ticket = decide(&attempt, &redeem(&result), at);
    assert_eq!(
        code_of(&by_ticket),
        Some(ErrorCode::Conflict),
        "its client has to show who it is"
    );
    let done = run(&attempt, &exchange(CLAIM, CLIENT, &result), at);
    assert_eq!(
        (done.state(), done.session()),
        (QrState::Redeemed, Some(PC_SESSION))
    );
    let other = Sealed::new(*b"another result");
    let again = decide(&done, &exchange(CLAIM, CLIENT, &other), at + 29 * S);
    assert_eq!(again.outcome, Ok(Outcome::RedeemedAgain(sealed())));
    let late = decide(&done, &exchange(CLAIM, CLIENT, &other), at + 30 * S);
    assert_eq!(code_of(&late), Some(ErrorCode::AlreadyFinal));
}

#[test]
fn an_exchange_tells_how_it_stands() {
    let (phone, result) = (alice(), sealed());
    let exchange = exchange(CLAIM, CLIENT, &result);
    let waiting = granted();
    assert_eq!(
        code_of(&decide(&waiting, &exchange, T0 + S)),
        Some(ErrorCode::Conflict)
    );
    let scanned = run(&waiting, &scan(&phone, None), T0 + S);
    assert_eq!(
        code_of(&decide(&scanned, &exchange, T0 + 2 * S)),
        Some(ErrorCode::Conflict)
    );
    let deny = Command::Deny {
        qr_id: id(0),
        phone: &phone,
        token: digest(20),
    };
    let denied = run(&scanned, &deny, T0 + 2 * S);
    let refusal = decide(&denied, &exchange, T0 + 3 * S).outcome.unwrap_err();
    assert_eq!(
        (refusal.code, refusal.state),
        (ErrorCode::AlreadyFinal, Some(QrState::Denied))
    );
    let late = decide(&waiting, &exchange, T0 + 300 * S).outcome.unwrap_err();
    assert_eq!(
        (late.code, late.state),
        (ErrorCode::AlreadyFinal, Some(QrState::Expired))
    );
    // A login that a PC opened is nobody's grant, whoever knows its claim.
    let pc = super::confirmed();
    assert_eq!(
        code_of(&decide(&pc, &exchange, T0 + 93 * S)),
        Some(ErrorCode::NotFound)
    );
}

#[test]
fn without_a_device_the_claim_is_enough_and_with_one_it_is_not() {
    let ask = |attempt: &Attempt, device| {
        let poll = Command::Poll { claim: CLAIM, device };
        code_of(&decide(attempt, &poll, T0 + S))
    };
    assert_eq!(ask(&granted(), WRONG), Some(ErrorCode::NotFound));
    let mut opening = granting();
    opening.device.digest = None;
    let free = open(opening, T0, &Policy::default());
    assert_eq!(ask(&free, WRONG), None);
    let phone = alice();
    let told = |attempt: &Attempt| match decide(attempt, &scan(&phone, None), T0 + S).outcome {
        Ok(Outcome::Scanned(scanned)) => {
            let request = scanned.request;
            (request.client, request.scopes, request.full_access)
        }
        other => panic!("{other:?}"),
    };
    let asked = vec!["openid".to_owned()];
    assert_eq!(told(&free), (Some("Living room".into()), asked.clone(), false));
    assert_eq!(told(&granted()), (Some("Living room".into()), asked, true));
}
