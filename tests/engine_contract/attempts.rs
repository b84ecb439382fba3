//! QR logins as records: bounded, found by every id, moved by time, forgotten.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU8, Ordering};

use countersign::core::attempt::{
    self, Attempt, AttemptKey, CancelReason, Client, Command, Device, Digest, Digits, Event as Change, Grant,
    Opening, Outcome, Phone, Policy, QrId, Step, UserCode,
};
use countersign::engine::memory::MemoryLimits;
use countersign::engine::{AttemptRef, Decided, Due, EngineError, Event, Topic};
use countersign_protocol::client::DeviceKind;
use countersign_protocol::server::{MatchMode, QrState};

use crate::stage::{Make, Stage, T0, at_once, limits, profile, until};

pub const CLAIM: Digest = Digest([1; 32]);
pub const DEVICE: Digest = Digest([2; 32]);

/// An attempt opened at [`T0`] from `ip`, named by `n`.
pub fn opened(n: u8, ip: &str) -> Attempt {
    attempt::open(opening(n, ip), T0, &Policy::default())
}

/// The same by a device authorization with this user code and device code.
fn granted(n: u8, user_code: UserCode, device_code: Digest) -> Attempt {
    let client = Client {
        id: "tv".into(),
        name: "TV".into(),
        grant: Some(Grant {
            user_code,
            scopes: Vec::new(),
        }),
    };
    let opening = Opening {
        claim: device_code,
        client: Some(client),
        connection: None,
        ..opening(n, "192.0.2.1")
    };
    attempt::open(opening, T0, &Policy::default())
}

fn opening(n: u8, ip: &str) -> Opening {
    Opening {
        key: AttemptKey([n; 16]),
        qr_id: QrId([n; 16]),
        claim: CLAIM,
        device: Device {
            digest: Some(DEVICE),
            name: Some("a PC".into()),
            kind: DeviceKind::Web,
        },
        ip: ip.parse::<IpAddr>().unwrap(),
        user_agent: Some("test".into()),
        client: None,
        public_key: None,
        dpop_jkt: None,
        mode: MatchMode::None,
        connection: Some("c_1".into()),
    }
}

pub fn key(n: u8) -> AttemptRef {
    AttemptRef::Key(AttemptKey([n; 16]))
}

pub fn phone(user: &str, session: &str) -> Phone {
    Phone {
        user: profile(user),
        session: session.into(),
        device: Digest([9; 32]),
        ip: "192.0.2.99".parse().unwrap(),
    }
}

pub fn scan(n: u8, phone: &Phone) -> Command<'_> {
    Command::Scan {
        qr_id: QrId([n; 16]),
        phone,
        token: Digest([3; 32]),
        digits: Digits::new(42).unwrap(),
        typed: None,
    }
}

pub const CANCEL: Command<'static> = Command::Cancel {
    claim: CLAIM,
    device: DEVICE,
    reason: CancelReason::User,
};

/// Makes a command, as often as it has to be decided.
pub type Ask<'c> = &'c (dyn Fn() -> Command<'c> + Send + Sync);

impl Stage {
    /// One decision on an attempt.
    pub async fn decide<'c>(
        &self,
        which: AttemptRef,
        now: u64,
        command: &(dyn Fn() -> Command<'c> + Send + Sync),
    ) -> Option<Decided> {
        let policy = Policy::default();
        let mut decide = |attempt: &Attempt| attempt::decide(attempt, &command(), now, &policy);
        self.engine.update_attempt(which, &mut decide, now).await.unwrap()
    }

    async fn tick(&self, attempt: AttemptKey, now: u64) -> Option<Decided> {
        static FRESH: AtomicU8 = AtomicU8::new(100);
        let fresh = QrId([
            FRESH.fetch_add(1, Ordering::Relaxed),
            attempt.0[0],
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            1,
        ]);
        self.decide(AttemptRef::Key(attempt), now, &|| Command::Tick { fresh })
            .await
    }

    /// Follows an attempt from here on.
    pub async fn follow_attempt(&self, n: u8) -> Topic {
        let topic = Topic::Attempt(AttemptKey([n; 16]));
        self.engine.follow(topic.clone()).await.unwrap();
        topic
    }

    /// The changes told of an attempt, waiting until that of `seq` or a suspicion came: rising numbers, each
    /// with the attempt as it was after it.
    pub async fn changes(&self, topic: &Topic, seq: u32) -> Vec<Change> {
        let list = || -> Vec<Change> {
            let mut changes: Vec<Change> = Vec::new();
            for event in self.told.about(topic) {
                let Event::Attempt { attempt, events } = event else {
                    continue;
                };
                assert_eq!(
                    attempt.seq(),
                    events.last().unwrap().seq,
                    "told with the attempt after it"
                );
                for change in events {
                    match changes.last() {
                        Some(last) if last.seq == change.seq && !self.exact => {}
                        Some(last) if last.seq >= change.seq => panic!("{} after {}", change.seq, last.seq),
                        _ => changes.push(change),
                    }
                }
            }
            changes
        };
        until("the change is told", || {
            list().last().is_some_and(|c| c.seq >= seq) || self.is_suspect(topic)
        })
        .await;
        list()
    }
}

/// By what a phone types and by what its device has, for as long as it is kept; and no two have the same.
pub async fn a_device_authorization_is_found_by_its_codes(make: Make) {
    let stage = make(limits());
    let code = |letter: u8| UserCode::new([letter; 8]).unwrap();
    let claim = |n: u8| Digest([n; 32]);
    let first = granted(1, code(3), claim(31));
    stage.engine.open_attempt(first).await.unwrap();
    let same = granted(2, code(3), claim(32));
    assert!(matches!(
        stage.engine.open_attempt(same).await,
        Err(EngineError::Exists)
    ));
    stage
        .engine
        .open_attempt(granted(2, code(4), claim(32)))
        .await
        .unwrap();

    let found = |which| {
        let stage = &stage;
        async move {
            let unwatch = || Command::Unwatch { connection: "c_9" };
            let decided = stage.decide(which, T0, &unwatch).await;
            decided.map(|decided| decided.attempt.key())
        }
    };
    for (n, letter) in [(1, 3), (2, 4)] {
        let key = Some(AttemptKey([n; 16]));
        assert_eq!(found(AttemptRef::UserCode(code(letter))).await, key);
        assert_eq!(found(AttemptRef::DeviceCode(claim(30 + n))).await, key);
    }
    // A refused one leaves nothing behind, and a claim that is no device code finds nothing.
    stage.engine.open_attempt(opened(3, "192.0.2.1")).await.unwrap();
    assert_eq!(found(AttemptRef::DeviceCode(CLAIM)).await, None);
    assert_eq!(found(AttemptRef::UserCode(code(5))).await, None);

    let over = T0 + Policy::default().grant_lifetime_ms;
    stage.tick(AttemptKey([1; 16]), over).await.unwrap();
    let code_taken = granted(4, code(3), claim(34));
    assert!(
        stage.engine.open_attempt(code_taken.clone()).await.is_err(),
        "its end can be read"
    );
    stage
        .tick(AttemptKey([1; 16]), over + Policy::default().final_ms)
        .await
        .unwrap();
    assert_eq!(found(AttemptRef::UserCode(code(3))).await, None);
    assert_eq!(found(AttemptRef::DeviceCode(claim(31))).await, None);
    stage.engine.open_attempt(code_taken).await.unwrap();
}

pub async fn attempts_are_bounded_in_all_and_per_network(make: Make) {
    let bounds = MemoryLimits {
        attempts_max: 8,
        attempts_waiting_per_address_max: 4,
        ..limits()
    };
    let stage = make(bounds);
    let open = |n: usize, ip: String| {
        let engine = stage.engine.clone();
        async move { engine.open_attempt(opened(u8::try_from(n).unwrap(), &ip)).await }
    };
    let one = at_once(16, |n| open(n, "192.0.2.1".into())).await;
    assert_eq!(one.iter().filter(|a| a.is_ok()).count(), 4);
    assert!(
        one.iter()
            .flat_map(|a| a.as_ref().err())
            .all(|e| matches!(e, EngineError::TooMany(_)))
    );
    // A host with IPv6 has a whole /64 to call from, and counts once.
    let many = at_once(16, |n| open(100 + n, format!("2001:db8::{n}"))).await;
    assert_eq!(many.iter().filter(|a| a.is_ok()).count(), 4);
    assert!(matches!(
        open(50, "192.0.2.3".into()).await,
        Err(EngineError::Full("attempts"))
    ));
    let taken = one
        .iter()
        .position(Result::is_ok)
        .map(|n| u8::try_from(n).unwrap())
        .unwrap();
    assert!(
        stage
            .engine
            .open_attempt(opened(taken, "192.0.2.4"))
            .await
            .is_err()
    );

    // What has ended no longer waits, but is kept for a while.
    stage
        .decide(key(taken), T0, &|| CANCEL)
        .await
        .unwrap()
        .step
        .outcome
        .unwrap();
    assert!(matches!(
        open(51, "192.0.2.1".into()).await,
        Err(EngineError::Full("attempts"))
    ));
    let over = T0 + Policy::default().final_ms;
    stage.tick(AttemptKey([taken; 16]), over).await;
    assert!(
        stage.decide(key(taken), over, &|| CANCEL).await.is_none(),
        "forgotten"
    );
    assert_eq!(
        open(52, "192.0.2.1".into()).await,
        Ok(()),
        "a place is free, here and in all"
    );
    assert!(open(53, "192.0.2.1".into()).await.is_err());
    // The same attempt twice is one; a place it did not need is not kept.
    let another = one
        .iter()
        .rposition(Result::is_ok)
        .map(|n| u8::try_from(n).unwrap())
        .unwrap();
    let scanner = phone("alice", "s1");
    stage
        .decide(key(another), T0, &|| scan(another, &scanner))
        .await
        .unwrap()
        .step
        .outcome
        .unwrap();
    stage.decide(key(52), over, &|| CANCEL).await.unwrap();
    stage
        .tick(AttemptKey([52; 16]), over + Policy::default().final_ms)
        .await;
    assert_eq!(
        open(another.into(), "192.0.2.1".into()).await,
        Err(EngineError::Exists)
    );
    assert_eq!(open(54, "192.0.2.1".into()).await, Ok(()));
    stage.assert_orderly();
}

pub async fn every_id_leads_to_the_attempt(make: Make) {
    let stage = make(limits());
    stage.engine.open_attempt(opened(1, "192.0.2.1")).await.unwrap();
    let topic = stage.follow_attempt(1).await;
    let policy = Policy::default();
    let mut ids = vec![QrId([1; 16])];
    for n in 1..=3 {
        let now = T0 + n * policy.rotate_every_ms();
        let decided = stage.tick(AttemptKey([1; 16]), now).await.unwrap();
        ids.push(decided.attempt.qr_id());
        for id in &ids {
            let found = stage
                .decide(AttemptRef::Id(*id), now, &|| Command::Unwatch {
                    connection: "other",
                })
                .await;
            assert_eq!(found.unwrap().attempt.key(), AttemptKey([1; 16]));
        }
    }
    let none = stage.decide(AttemptRef::Id(QrId([77; 16])), T0, &|| CANCEL).await;
    assert!(none.is_none());
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 4);
    let now = T0 + 4 * policy.rotate_every_ms();
    stage
        .decide(AttemptRef::Id(ids[0]), now, &|| CANCEL)
        .await
        .unwrap()
        .step
        .outcome
        .unwrap();
    stage.changes(&topic, 5).await;
    stage.tick(AttemptKey([1; 16]), now + policy.final_ms).await;
    for id in ids {
        assert!(
            stage.decide(AttemptRef::Id(id), now, &|| CANCEL).await.is_none(),
            "no id outlives the attempt"
        );
    }
    stage.assert_orderly();
}

/// Only what the engine says is due is done, and that is enough: codes rotate, the attempt expires and goes.
pub async fn time_takes_an_attempt_through_its_life(make: Make) {
    let stage = make(limits());
    let policy = Policy::default();
    stage.engine.open_attempt(opened(1, "192.0.2.1")).await.unwrap();
    let topic = stage.follow_attempt(1).await;
    let (mut now, mut seen) = (T0, Vec::new());
    while now <= T0 + policy.lifetime_ms + policy.final_ms {
        for due in stage.engine.due(now, 10).await.unwrap() {
            assert_eq!(due, Due::Attempt(AttemptKey([1; 16])));
            if let Some(decided) = stage.tick(AttemptKey([1; 16]), now).await {
                seen.push((decided.attempt.state(), decided.attempt.seq()));
            }
            let again = stage.engine.due(now, 10).await.unwrap();
            assert!(again.is_empty(), "dealt with: {again:?}");
        }
        now += 1_000;
    }
    let rotations = policy.lifetime_ms / policy.rotate_every_ms();
    let rotated = (2..)
        .map(|seq| (QrState::Waiting, seq))
        .take(usize::try_from(rotations).unwrap());
    let end = u32::try_from(rotations).unwrap() + 2;
    let ended = [(QrState::Expired, end), (QrState::Expired, end)];
    assert_eq!(seen, rotated.chain(ended).collect::<Vec<_>>());
    assert!(stage.engine.due(u64::MAX, 10).await.unwrap().is_empty());
    assert!(stage.decide(key(1), now, &|| CANCEL).await.is_none());
    stage.changes(&topic, end).await;
    stage.assert_orderly();
}

pub async fn scans_of_a_session_are_known_while_live(make: Make) {
    let stage = make(limits());
    for n in 1..=4 {
        stage.engine.open_attempt(opened(n, "192.0.2.1")).await.unwrap();
    }
    let (alice, bob) = (phone("alice", "s1"), phone("bob", "s2"));
    for n in 1..=3 {
        // Scanning again is the same scan.
        for _ in 0..2 {
            stage
                .decide(key(n), T0, &|| scan(n, &alice))
                .await
                .unwrap()
                .step
                .outcome
                .unwrap();
        }
    }
    stage
        .decide(key(4), T0, &|| scan(4, &bob))
        .await
        .unwrap()
        .step
        .outcome
        .unwrap();
    let scanned = |session: &str| stage.engine.attempts_scanned_by(session.into());
    let mut by_alice = scanned("s1").await.unwrap();
    by_alice.sort();
    assert_eq!(by_alice, (1..=3).map(|n| AttemptKey([n; 16])).collect::<Vec<_>>());
    assert_eq!(scanned("s2").await.unwrap(), [AttemptKey([4; 16])]);
    stage.decide(key(1), T0, &|| CANCEL).await.unwrap();
    let revoked = stage
        .decide(key(2), T0, &|| Command::ScannerRevoked { session: "s1" })
        .await
        .unwrap();
    assert_eq!(revoked.step.outcome, Ok(Outcome::Revoked));
    assert_eq!(scanned("s1").await.unwrap(), [AttemptKey([3; 16])]);
    stage
        .tick(AttemptKey([3; 16]), T0 + Policy::default().scanned_ms)
        .await;
    assert!(scanned("s1").await.unwrap().is_empty());
    assert!(scanned("s3").await.unwrap().is_empty());
    stage.assert_orderly();
}

pub async fn a_decision_that_changes_nothing_is_not_told(make: Make) {
    let stage = make(limits());
    stage.engine.open_attempt(opened(1, "192.0.2.1")).await.unwrap();
    let topic = stage.follow_attempt(1).await;
    let mut look = |_: &Attempt| Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    };
    let looked = stage
        .engine
        .update_attempt(key(1), &mut look, T0)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((looked.attempt.version(), looked.attempt.seq()), (1, 1));
    let wrong = || Command::Cancel {
        claim: Digest([0; 32]),
        device: DEVICE,
        reason: CancelReason::User,
    };
    assert!(
        stage
            .decide(key(1), T0, &wrong)
            .await
            .unwrap()
            .step
            .outcome
            .is_err()
    );
    // A change that raises no event is kept, and not told.
    stage
        .decide(key(1), T0, &|| Command::Unwatch { connection: "c_1" })
        .await
        .unwrap();
    let ended = stage.decide(key(1), T0, &|| CANCEL).await.unwrap();
    assert_eq!((ended.attempt.version(), ended.attempt.seq()), (3, 2));
    let told = stage.changes(&topic, 2).await;
    assert!(told.iter().all(|c| c.seq == 2), "{told:?}");
    assert!(told.len() == 1 || !stage.exact);
    stage.assert_orderly();
}
