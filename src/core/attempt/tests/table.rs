//! Every state against everything that can happen: the whole product, one expected cell for each.
//!
//! A cell is the answer (`ok`, or a refusal) and what is stored: nothing, `~` a change without an event,
//! `>x` one event into that state. Refusals: `nf` not_found, `as` already_scanned, `ac` already_confirmed,
//! `af` already_final, `ti` scan_token_invalid, `mr` match_required, `mf` match_failed, `cf` conflict.
//! States: `s` scanned, `c` confirmed, `r` redeemed, `d` denied, `x` cancelled, `e` expired.

use std::collections::BTreeSet;

use countersign_protocol::ErrorCode;
use countersign_protocol::server::QrState;

use super::*;

/// W waiting · Wi idle for too long, no tick yet · S scanned, phone_types · S2 after two wrong codes ·
/// P scanned, pc_types · P2 after two wrong codes · Pm matched · N scanned, no match · Sx scanned, its
/// time over, no tick yet · C confirmed · Cx the same, its time over · R redeemed · Rg grace over ·
/// D denied · X cancelled · E expired · Xw cancelled before any scan · F final, its 60 s over.
pub(super) const STATES: &str = "W Wi S S2 P P2 Pm N Sx C Cx R Rg D X E Xw F";

const TABLE: &str = "
tick                ok   ok>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   ok   ok
watch               ok~  ok>e ok~  ok~  ok~  ok~  ok~  ok~  ok>e ok~  ok>e ok   ok~  ok   ok   ok   ok   nf
watch/claim         nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
watch/device        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
unwatch             ok~  ok>e ok~  ok~  ok~  ok~  ok~  ok~  ok>e ok~  ok>e ok   ok~  ok   ok   ok   ok   ok
unwatch/other       ok   ok>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   ok   ok
poll                ok   ok>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   ok   nf
poll/claim          nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
poll/device         nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
scan                ok>s af>e ok~  ok~  ok~  ok~  ok~  ok~  af>e ac   af>e af   af~  af   af   af   af   nf
scan/previous       ok>s nf>e ok~  ok~  ok~  ok~  ok~  ok~  af>e ac   af>e af   af~  af   af   af   af   nf
scan/rotated        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
scan/unknown        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
scan/account        ok>s af>e as   as   as   as   as   as   af>e as   af>e af   af~  af   af   af   af   nf
scan/device         ok>s af>e as   as   as   as   as   as   af>e as   af>e af   af~  af   af   af   af   nf
scan/session        ok>s af>e as   as   as   as   as   as   af>e ac   af>e af   af~  af   af   af   af   nf
answer              cf   af>e cf   cf   ok>s ok>s ok   cf   af>e ac   af>e af   af~  af   af   af   af   nf
answer/wrong        cf   af>e cf   cf   mf~  mf>d mf~  cf   af>e ac   af>e af   af~  af   af   af   af   nf
answer/none         cf   af>e cf   cf   mr   mr   mr   cf   af>e ac   af>e af   af~  af   af   af   af   nf
answer/claim        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
answer/pc           nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
confirm             ti   af>e ok>c ok>c mr   mr   ok>c ok>c af>e ac   af>e af   af~  af   af   af   af   nf
confirm/none        ti   af>e mr   mr   mr   mr   ok>c ok>c af>e ac   af>e af   af~  af   af   af   af   nf
confirm/wrong       ti   af>e mf~  mf>d mr   mr   ok>c ok>c af>e ac   af>e af   af~  af   af   af   af   nf
confirm/old_token   ti   af>e ti   ti   ti   ti   ti   ti   af>e ac   af>e af   af~  af   af   af   af   nf
confirm/bad_token   ti   af>e ti   ti   ti   ti   ti   ti   af>e ac   af>e af   af~  af   af   af   af   nf
confirm/account     ti   af>e ti   ti   ti   ti   ti   ti   af>e ti   af>e af   af~  af   af   af   af   nf
confirm/device      ti   af>e ti   ti   ti   ti   ti   ti   af>e ti   af>e af   af~  af   af   af   af   nf
confirm/session     ti   af>e ti   ti   ti   ti   ti   ti   af>e ac   af>e af   af~  af   af   af   af   nf
confirm/previous    ti   nf>e ok>c ok>c mr   mr   ok>c ok>c af>e ac   af>e af   af~  af   af   af   af   nf
confirm/rotated     nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
confirm/unknown     nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
deny                ti   af>e ok>d ok>d ok>d ok>d ok>d ok>d af>e ok>d af>e af   af~  af   af   af   af   nf
deny/old_token      ti   af>e ti   ti   ti   ti   ti   ti   af>e ok>d af>e af   af~  af   af   af   af   nf
deny/bad_token      ti   af>e ti   ti   ti   ti   ti   ti   af>e ok>d af>e af   af~  af   af   af   af   nf
deny/account        ti   af>e ti   ti   ti   ti   ti   ti   af>e ti   af>e af   af~  af   af   af   af   nf
deny/device         ti   af>e ti   ti   ti   ti   ti   ti   af>e ti   af>e af   af~  af   af   af   af   nf
deny/session        ti   af>e ti   ti   ti   ti   ti   ti   af>e ok>d af>e af   af~  af   af   af   af   nf
deny/rotated        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
deny/unknown        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
ask                 nf   nf>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   nf   nf
ask/account         nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
ask/device          nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
ask/session         nf   nf>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   nf   nf
ask/rotated         nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
ask/unknown         nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
cancel              ok>x af>e ok>x ok>x ok>x ok>x ok>x ok>x af>e ok>x af>e af   af~  af   af   af   af   nf
cancel/superseded   ok>x af>e ok>x ok>x ok>x ok>x ok>x ok>x af>e ok>x af>e af   af~  af   af   af   af   nf
cancel/claim        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
cancel/pc           nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
redeem              cf   af>e cf   cf   cf   cf   cf   cf   af>e ok>r af>e ok   af~  af   af   af   af   nf
redeem/ticket       cf   af>e cf   cf   cf   cf   cf   cf   af>e nf   af>e af   af~  af   af   af   af   nf
redeem/claim        nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
redeem/pc           nf   nf>e nf   nf   nf   nf   nf   nf   nf>e nf   nf>e nf   nf~  nf   nf   nf   nf   nf
revoked             ok   ok>e ok>d ok>d ok>d ok>d ok>d ok>d ok>e ok>d ok>e ok   ok~  ok   ok   ok   ok   ok
revoked/other       ok   ok>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   ok   ok
locked              ok   ok>e ok>d ok>d ok>d ok>d ok>d ok>d ok>e ok>d ok>e ok   ok~  ok   ok   ok   ok   ok
locked/other        ok   ok>e ok   ok   ok   ok   ok   ok   ok>e ok   ok>e ok   ok~  ok   ok   ok   ok   ok
";

/// Each kind of command with each way of getting it wrong: the rows there must be.
pub(super) const ROWS: &[(&str, &[&str])] = &[
    ("tick", &[]),
    ("watch", &["claim", "device"]),
    ("unwatch", &["other"]),
    ("poll", &["claim", "device"]),
    (
        "scan",
        &["previous", "rotated", "unknown", "account", "device", "session"],
    ),
    ("answer", &["wrong", "none", "claim", "pc"]),
    (
        "confirm",
        &[
            "none",
            "wrong",
            "old_token",
            "bad_token",
            "account",
            "device",
            "session",
            "previous",
            "rotated",
            "unknown",
        ],
    ),
    (
        "deny",
        &[
            "old_token",
            "bad_token",
            "account",
            "device",
            "session",
            "rotated",
            "unknown",
        ],
    ),
    ("ask", &["account", "device", "session", "rotated", "unknown"]),
    ("cancel", &["superseded", "claim", "pc"]),
    ("redeem", &["ticket", "claim", "pc"]),
    ("revoked", &["other"]),
    ("locked", &["other"]),
];

pub(super) fn fixture(state: &str) -> (Attempt, u64) {
    let wrong = |attempt: &Attempt, phone_types: bool| {
        let (alice, ticket) = (alice(), Secret::new(TICKET));
        let (token, code) = (digest(21), "08");
        let command = if phone_types {
            Command::Confirm {
                qr_id: id(2),
                phone: &alice,
                token,
                code: Some(code),
                ticket: &ticket,
            }
        } else {
            Command::Answer {
                claim: CLAIM,
                device: PC,
                code,
            }
        };
        decide(attempt, &command, T0 + 92 * S, &Policy::default())
            .next
            .unwrap()
    };
    let cancel = Command::Cancel {
        claim: CLAIM,
        device: PC,
        reason: CancelReason::User,
    };
    let phone_types = || scanned(MatchMode::PhoneTypes);
    let pc_types = || scanned(MatchMode::PcTypes);
    let denied = || {
        let deny = Command::Deny {
            qr_id: id(2),
            phone: &alice(),
            token: digest(21),
        };
        run(&phone_types(), &deny, T0 + 92 * S)
    };
    let now = T0 + 95 * S;
    match state {
        "W" => (waiting(MatchMode::PhoneTypes), now),
        "Wi" => {
            let unwatch = Command::Unwatch { connection: "c_1" };
            let attempt = run(&waiting(MatchMode::PhoneTypes), &unwatch, T0 + 91 * S);
            (attempt, T0 + 151 * S)
        }
        "S" => (phone_types(), now),
        "S2" => (wrong(&wrong(&phone_types(), true), true), now),
        "P" => (pc_types(), now),
        "P2" => (wrong(&wrong(&pc_types(), false), false), now),
        "Pm" => {
            let answer = Command::Answer {
                claim: CLAIM,
                device: PC,
                code: "07",
            };
            (run(&pc_types(), &answer, T0 + 92 * S), now)
        }
        "N" => (scanned(MatchMode::None), now),
        "Sx" => (phone_types(), T0 + 151 * S),
        "C" => (confirmed(), now),
        "Cx" => (confirmed(), T0 + 122 * S),
        "R" => (redeemed(), now),
        "Rg" => (redeemed(), T0 + 123 * S),
        "D" => (denied(), now),
        "X" => (run(&phone_types(), &cancel, T0 + 92 * S), now),
        "E" => (run(&phone_types(), &tick(9), T0 + 151 * S), T0 + 155 * S),
        "Xw" => (run(&waiting(MatchMode::PhoneTypes), &cancel, T0 + 92 * S), now),
        "F" => (denied(), T0 + 152 * S),
        _ => panic!("no such state: {state}"),
    }
}

/// What the commands borrow.
pub(super) struct Borrowed {
    phones: [Phone; 4],
    ticket: Secret,
    sealed: Sealed,
    mallory: UserId,
}

impl Borrowed {
    pub(super) fn new() -> Self {
        Self {
            phones: phones(),
            ticket: Secret::new(TICKET),
            sealed: sealed(),
            mallory: UserId::parse("mallory").unwrap(),
        }
    }
}

pub(super) fn command<'a>(kind: &str, fault: &str, b: &'a Borrowed) -> Command<'a> {
    let phone = match fault {
        "account" => &b.phones[1],
        "device" => &b.phones[2],
        "session" => &b.phones[3],
        _ => &b.phones[0],
    };
    let qr_id = match fault {
        "previous" => id(1),
        "rotated" => id(0),
        "unknown" => id(77),
        _ => id(2),
    };
    let token = match fault {
        "old_token" => digest(20),
        "bad_token" => WRONG,
        _ => digest(21),
    };
    let claim = if fault == "claim" { WRONG } else { CLAIM };
    let device = if matches!(fault, "device" | "pc") {
        WRONG
    } else {
        PC
    };
    let code = match fault {
        "wrong" => "70",
        "none" => "",
        _ => "07",
    };
    match kind {
        "tick" => tick(99),
        "watch" => Command::Watch {
            claim,
            device,
            connection: "c_2",
        },
        "unwatch" => Command::Unwatch {
            connection: if fault == "other" { "c_0" } else { "c_1" },
        },
        "poll" => Command::Poll { claim, device },
        "scan" => Command::Scan {
            qr_id,
            phone,
            token: digest(22),
            digits: Digits::new(55).unwrap(),
            typed: None,
        },
        "answer" => Command::Answer { claim, device, code },
        "confirm" => {
            let code = (fault != "none").then_some(code);
            Command::Confirm {
                qr_id,
                phone,
                token,
                code,
                ticket: &b.ticket,
            }
        }
        "deny" => Command::Deny { qr_id, phone, token },
        "ask" => Command::AskOutcome { qr_id, phone },
        "cancel" if fault == "superseded" => Command::Cancel {
            claim,
            device,
            reason: CancelReason::Superseded,
        },
        "cancel" => Command::Cancel {
            claim,
            device,
            reason: CancelReason::User,
        },
        "redeem" => {
            let ticket = if fault == "ticket" {
                "another-ticket"
            } else {
                TICKET
            };
            Command::Redeem {
                claim,
                device,
                ticket,
                session: PC_SESSION,
                result: &b.sealed,
            }
        }
        "revoked" => Command::ScannerRevoked {
            session: if fault == "other" { "s_9" } else { "s_1" },
        },
        "locked" => Command::ScannerLocked {
            user: if fault == "other" {
                &b.mallory
            } else {
                &b.phones[0].user.id
            },
        },
        _ => panic!("no such command: {kind}"),
    }
}

fn cell(before: &Attempt, step: &Step) -> String {
    let answer = match &step.outcome {
        Ok(_) => "ok",
        Err(refusal) => match refusal.code {
            ErrorCode::NotFound => "nf",
            ErrorCode::AlreadyScanned => "as",
            ErrorCode::AlreadyConfirmed => "ac",
            ErrorCode::AlreadyFinal => "af",
            ErrorCode::ScanTokenInvalid => "ti",
            ErrorCode::MatchRequired => "mr",
            ErrorCode::MatchFailed => "mf",
            ErrorCode::Conflict => "cf",
            other => other.name(),
        },
    };
    let stored = match (&step.next, step.events.as_slice()) {
        (None, []) => "",
        (Some(next), []) if next.state() == before.state() => "~",
        (Some(next), [event]) if next.state() == event.state() => match next.state() {
            QrState::Waiting => ">w",
            QrState::Scanned => ">s",
            QrState::Confirmed => ">c",
            QrState::Redeemed => ">r",
            QrState::Denied => ">d",
            QrState::Cancelled => ">x",
            QrState::Expired => ">e",
        },
        _ => "?",
    };
    format!("{answer}{stored}")
}

/// What holds in every cell, whatever it says.
fn check_step(before: &Attempt, step: &Step, place: &str) {
    let raised = u32::try_from(step.events.len()).unwrap();
    let after = step.next.as_ref().unwrap_or(before);
    assert_eq!(after.seq(), before.seq() + raised, "{place}");
    assert_eq!(
        after.version(),
        before.version() + u64::from(step.next.is_some()),
        "{place}"
    );
    assert_eq!(after.events_after(Some(before.seq())), step.events, "{place}");
    if before.state().is_final() {
        assert_eq!((after.state(), raised), (before.state(), 0), "{place}");
    }
    if let Err(refusal) = &step.outcome {
        let told = matches!(refusal.code, ErrorCode::AlreadyFinal)
            || refusal.code == ErrorCode::MatchFailed && raised == 1;
        let expected = if told {
            (Some(after.state()), after.reason())
        } else {
            (None, None)
        };
        assert_eq!((refusal.state, refusal.reason), expected, "{place}");
    }
}

#[test]
fn every_state_meets_every_command() {
    let states: Vec<&str> = STATES.split_whitespace().collect();
    let b = Borrowed::new();
    let mut missing: BTreeSet<String> = ROWS
        .iter()
        .flat_map(|(kind, faults)| {
            let wrong = faults.iter().map(move |fault| format!("{kind}/{fault}"));
            wrong.chain([(*kind).to_owned()])
        })
        .collect();
    let (mut kinds, mut wrong_cells) = (BTreeSet::new(), Vec::new());
    for row in TABLE.lines().filter(|row| !row.is_empty()) {
        let mut words = row.split_whitespace();
        let name = words.next().unwrap();
        assert!(missing.remove(name), "{name} is in the table twice, or unknown");
        let (kind, fault) = name.split_once('/').unwrap_or((name, ""));
        let cells: Vec<&str> = words.collect();
        assert_eq!(cells.len(), states.len(), "{name}");
        for (state, expected) in states.iter().zip(cells) {
            let place = format!("{name} in {state}");
            let (before, now) = fixture(state);
            let command = command(kind, fault, &b);
            kinds.insert(command.name());
            let step = decide(&before, &command, now, &Policy::default());
            check_step(&before, &step, &place);
            let found = cell(&before, &step);
            if found != expected {
                wrong_cells.push(format!("{place}: expected {expected}, found {found}"));
            }
        }
    }
    assert!(missing.is_empty(), "without a row: {missing:?}");
    assert_eq!(kinds.len(), 13, "every kind of command");
    assert!(wrong_cells.is_empty(), "{wrong_cells:#?}");
}

/// The reasons that come with each end.
#[test]
fn every_end_names_its_reason() {
    let b = Borrowed::new();
    for (state, name, reason) in [
        ("Wi", "tick", "idle"),
        ("Sx", "tick", "unconfirmed"),
        ("Cx", "tick", "unredeemed"),
        ("S2", "confirm/wrong", "match_failed"),
        ("P2", "answer/wrong", "match_failed"),
        ("S", "deny", "user"),
        ("C", "deny", "user"),
        ("W", "cancel", "user"),
        ("C", "cancel/superseded", "superseded"),
        ("S", "revoked", "revoked"),
        ("C", "locked", "revoked"),
    ] {
        let (before, now) = fixture(state);
        let (kind, fault) = name.split_once('/').unwrap_or((name, ""));
        let step = decide(&before, &command(kind, fault, &b), now, &Policy::default());
        let push = step.events[0].push(now, "https://example.com");
        assert_eq!(push.reason.as_deref(), Some(reason), "{name} in {state}");
    }
}
