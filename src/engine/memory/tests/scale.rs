//! As many QR logins as a node may have, driven by `due` and nothing else, on a clock that is moved by hand.

use std::collections::BTreeMap;

use countersign_protocol::server::QrState;

use super::*;
use crate::core::attempt::{Reason, Sealed, Secret};
use crate::engine::Redeemed;

const ATTEMPTS: u32 = 100_000;
/// They are opened within a second, so that every deadline of theirs falls into the same one.
const OPENED_WITHIN_MS: u64 = 1_000;
const PC: Digest = Digest([2; 32]);
const CLAIM: Digest = Digest([1; 32]);

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unwatched,
    Unscanned,
    Unconfirmed,
    Unredeemed,
    Redeemed,
}

fn fate(n: u32) -> Fate {
    match n % 5 {
        0 => Fate::Unwatched,
        1 => Fate::Unscanned,
        2 => Fate::Unconfirmed,
        3 => Fate::Unredeemed,
        _ => Fate::Redeemed,
    }
}

#[derive(Default)]
struct Told(Mutex<BTreeMap<(&'static str, Option<&'static str>), u32>>);

impl Sink for Told {
    fn deliver(&self, event: Event) {
        let Event::Attempt { attempt, events } = event else {
            panic!("{event:?}")
        };
        for event in events {
            let change = attempt.transition(event.seq).unwrap();
            let end = (change.name, change.reason.map(Reason::name));
            *self.0.lock().entry(end).or_default() += 1;
        }
    }
}

fn id(n: u32, rotation: u8) -> QrId {
    let mut bytes = [rotation; 16];
    bytes[..4].copy_from_slice(&n.to_le_bytes());
    QrId(bytes)
}

fn key(n: u32) -> AttemptKey {
    // Not in the order of opening.
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
    bytes[4..8].copy_from_slice(&n.to_le_bytes());
    AttemptKey(bytes)
}

fn open(memory: &Memory, n: u32) {
    let opening = Opening {
        key: key(n),
        qr_id: id(n, 0),
        claim: CLAIM,
        device: Device {
            digest: Some(PC),
            name: None,
            kind: DeviceKind::Web,
        },
        ip: std::net::Ipv4Addr::from(0x0a00_0000 + n / 100).into(),
        user_agent: None,
        client: None,
        public_key: None,
        dpop_jkt: None,
        mode: MatchMode::None,
        connection: (fate(n) != Fate::Unwatched).then(|| "c_1".into()),
    };
    let at = T0 + u64::from(n) % OPENED_WITHIN_MS;
    let attempt = attempt::open(opening, at, &memory.limits.attempt);
    memory.open_attempt(attempt).unwrap();
}

fn run(memory: &Memory, n: u32, command: &Command<'_>, now: u64) {
    let policy = memory.limits.attempt.clone();
    let mut decide = |a: &attempt::Attempt| (attempt::decide(a, command, now, &policy), None);
    let Redeemed { decided, .. } = memory
        .redeem_attempt(AttemptRef::Key(key(n)), &mut decide, now)
        .unwrap()
        .unwrap();
    decided.step.outcome.unwrap();
}

/// Takes an attempt as far as it gets.
fn live(memory: &Memory, n: u32, now: u64) {
    let phone = Phone {
        user: user("alice"),
        session: format!("s_{}", n / 1_000).into(),
        device: Digest([9; 32]),
        ip: "192.0.2.9".parse().unwrap(),
    };
    let (token, ticket) = (Digest([3; 32]), Secret::new("ticket"));
    let fate = fate(n);
    if matches!(fate, Fate::Unwatched | Fate::Unscanned) {
        return;
    }
    let scan = Command::Scan {
        qr_id: id(n, 0),
        phone: &phone,
        token,
        digits: Digits::new(7).unwrap(),
        typed: None,
    };
    run(memory, n, &scan, now);
    if fate == Fate::Unconfirmed {
        return;
    }
    let confirm = Command::Confirm {
        qr_id: id(n, 0),
        phone: &phone,
        token,
        code: None,
        ticket: &ticket,
    };
    run(memory, n, &confirm, now);
    if fate == Fate::Redeemed {
        let redeem = Command::Redeem {
            claim: CLAIM,
            device: PC,
            ticket: "ticket",
            session: "s",
            result: &Sealed::new([0; 64]),
        };
        run(memory, n, &redeem, now);
    }
}

/// Deals with everything that is due, in batches; answers how many.
fn tick_all(memory: &Memory, now: u64) -> u32 {
    let policy = memory.limits.attempt.clone();
    let (mut dealt, mut last) = (0, 0);
    loop {
        let due = memory.due(now, 512).unwrap();
        assert!(due.len() <= 512);
        if due.is_empty() {
            return dealt;
        }
        for due in due {
            let Due::Attempt(key) = due else { panic!("{due:?}") };
            let mut fresh = QrId([0; 16]);
            let mut decide = |a: &attempt::Attempt| {
                let at = a.due_at(&policy);
                assert!(last <= at && at <= now, "{at} after {last} at {now}");
                last = at;
                let n = u32::from_le_bytes(key.0[4..8].try_into().unwrap());
                fresh = id(n, u8::try_from(a.ids().count()).unwrap());
                attempt::decide(a, &Command::Tick { fresh }, now, &policy)
            };
            let found = memory
                .update_attempt(AttemptRef::Key(key), &mut decide, now)
                .unwrap();
            assert!(found.is_some(), "due, and not there");
            dealt += 1;
        }
    }
}

#[test]
fn a_hundred_thousand_attempts_come_and_go() {
    let memory = Memory::new(MemoryLimits {
        attempts_max: ATTEMPTS as usize,
        ..limits()
    });
    let told = Arc::new(Told::default());
    memory.attach(Arc::clone(&told) as Arc<dyn Sink>);
    (0..ATTEMPTS).for_each(|n| open(&memory, n));
    assert_eq!(memory.attempts_kept(), ATTEMPTS as usize);
    let now = T0 + OPENED_WITHIN_MS;
    (0..ATTEMPTS).for_each(|n| live(&memory, n, now));
    assert_eq!(tick_all(&memory, now), 0, "nothing is due yet");

    // A second at a time; the last deadline is that of the records of attempts that nobody scanned.
    let policy = Policy::default();
    let mut most = 0;
    let end = now + policy.lifetime_ms + policy.final_ms;
    let mut at = now;
    while at < end {
        at += 1_000;
        most = most.max(tick_all(&memory, at));
        assert!(memory.due(at, 1).unwrap().is_empty());
    }
    assert!(most >= 2 * ATTEMPTS / 5, "many at once: {most}");

    let each = ATTEMPTS / 5;
    let expected = [
        (("confirmed", None), 2 * each),
        (("expired", Some("idle")), 2 * each),
        (("expired", Some("unconfirmed")), each),
        (("expired", Some("unredeemed")), each),
        (("redeemed", None), each),
        // Every 45 s of 300 s while watched, and once before nobody's 60 s were over.
        (("rotated", None), 7 * each),
        (("scanned", None), 3 * each),
    ];
    assert_eq!(*told.0.lock(), BTreeMap::from(expected));
    let left = (
        memory.attempts.len(),
        memory.attempt_ids.len(),
        memory.waiting.len(),
        memory.scanned_by.len(),
        memory.attempts_kept(),
    );
    assert_eq!(left, (0, 0, 0, 0, 0));
    assert!(memory.due.is_empty());
    let room = [
        memory.attempts.capacity(),
        memory.attempt_ids.capacity(),
        memory.waiting.capacity(),
        memory.scanned_by.capacity(),
    ];
    assert!(room.iter().all(|room| *room < 10_000), "not given back: {room:?}");
    // And there is room for as many again.
    (0..ATTEMPTS).for_each(|n| open(&memory, n));
    assert_eq!(memory.attempts.len(), ATTEMPTS as usize);
    assert_eq!(
        memory.due(u64::MAX, 1).unwrap().len(),
        1,
        "they are in the list again"
    );
    let state = memory.attempts.get(&key(0)).map(|_| QrState::Waiting);
    assert_eq!(state, Some(QrState::Waiting));
}
