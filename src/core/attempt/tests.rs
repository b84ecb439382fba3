//! A small world of people and secrets; the tests are in the submodules.

mod grants;
mod interleavings;
mod rules;
mod sequences;
mod step_up;
mod table;
mod transitions;

use std::net::IpAddr;

use countersign_protocol::UserId;
use countersign_protocol::client::DeviceKind;
use countersign_protocol::server::{MatchMode, Profile};

use super::*;

const T0: u64 = 1_790_000_000_000;
const S: u64 = 1_000;
const TICKET: &str = "the-ticket";
const PC_SESSION: &str = "s_pc";

fn digest(n: u8) -> Digest {
    Digest([n; 32])
}

const CLAIM: Digest = Digest([1; 32]);
const PC: Digest = Digest([2; 32]);
const WRONG: Digest = Digest([0xee; 32]);

fn id(n: u8) -> QrId {
    QrId([n; 16])
}

fn digits() -> Digits {
    Digits::new(7).unwrap()
}

fn user(id: &str) -> Profile {
    let avatar = Some(format!("https://example.com/{id}.png"));
    Profile {
        id: UserId::parse(id).unwrap(),
        name: Some(id.to_uppercase()),
        avatar,
    }
}

fn phone(account: &str, device: u8, session: &str) -> Phone {
    let ip = IpAddr::from([203, 0, 113, 9]);
    Phone {
        user: user(account),
        session: session.into(),
        device: digest(device),
        ip,
    }
}

/// The scanner, and one phone that differs from it in each way.
fn phones() -> [Phone; 4] {
    [
        phone("alice", 10, "s_1"),
        phone("mallory", 10, "s_1"),
        phone("alice", 11, "s_1"),
        phone("alice", 10, "s_2"),
    ]
}

fn alice() -> Phone {
    phone("alice", 10, "s_1")
}

fn opening(mode: MatchMode) -> Opening {
    Opening {
        key: AttemptKey([9; 16]),
        qr_id: id(0),
        claim: CLAIM,
        device: Device {
            digest: Some(PC),
            name: Some("Desk".into()),
            kind: DeviceKind::Web,
        },
        ip: IpAddr::from([203, 0, 113, 9]),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64) Chrome/140".into()),
        client: None,
        public_key: None,
        dpop_jkt: None,
        mode,
        connection: Some("c_1".into()),
    }
}

const USER_CODE: &str = "BCDF-GHJK";
const CLIENT: &str = "tv";

fn user_code() -> UserCode {
    UserCode::parse(USER_CODE).unwrap()
}

/// As [`opening`], by a device authorization.
fn granting() -> Opening {
    let grant = Grant {
        user_code: user_code(),
        scopes: vec!["openid".into()],
    };
    Opening {
        client: Some(Client {
            id: CLIENT.into(),
            name: "Living room".into(),
            grant: Some(grant),
        }),
        connection: None,
        ..opening(MatchMode::None)
    }
}

fn sealed() -> Sealed {
    Sealed::new(*b"sealed result")
}

/// Runs a command that must be carried out, and returns what is stored afterwards.
#[track_caller]
fn run(attempt: &Attempt, command: &Command<'_>, now: u64) -> Attempt {
    let step = decide(attempt, command, now, &Policy::default());
    assert!(step.outcome.is_ok(), "{command:?}: {:?}", step.outcome);
    step.next.unwrap_or_else(|| attempt.clone())
}

fn tick(n: u8) -> Command<'static> {
    Command::Tick { fresh: id(n) }
}

/// Waiting since `T0`, rotated in time at 45 s and 90 s: id 0 is dead from 90 s, ids 1 and 2 are good at 91 s.
fn waiting(mode: MatchMode) -> Attempt {
    let attempt = open(opening(mode), T0, &Policy::default());
    let attempt = run(&attempt, &tick(1), T0 + 45 * S);
    run(&attempt, &tick(2), T0 + 90 * S)
}

/// Scanned by Alice at 91 s with token 20, and again with token 21.
fn scanned(mode: MatchMode) -> Attempt {
    let phone = alice();
    let scan = |token| Command::Scan {
        qr_id: id(2),
        phone: &phone,
        token: digest(token),
        digits: digits(),
        typed: None,
    };
    let attempt = run(&waiting(mode), &scan(20), T0 + 91 * S);
    run(&attempt, &scan(21), T0 + 91 * S)
}

fn confirmed() -> Attempt {
    let (phone, ticket) = (alice(), Secret::new(TICKET));
    let token = digest(21);
    let confirm = Command::Confirm {
        qr_id: id(2),
        phone: &phone,
        token,
        code: Some("07"),
        ticket: &ticket,
    };
    run(&scanned(MatchMode::PhoneTypes), &confirm, T0 + 92 * S)
}

fn redeem(result: &Sealed) -> Command<'_> {
    Command::Redeem {
        claim: CLAIM,
        device: PC,
        ticket: TICKET,
        session: PC_SESSION,
        result,
    }
}

fn redeemed() -> Attempt {
    run(&confirmed(), &redeem(&sealed()), T0 + 93 * S)
}
