//! Signed-in devices.

use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::auth::device::DeviceDigest;
use countersign::engine::memory::MemoryLimits;
use countersign::engine::{Event, Identity, RefreshState, SessionRecord, Topic};
use countersign_protocol::DeviceId;
use countersign_protocol::client::DeviceKind;
use countersign_protocol::server::PublicDevice;

use crate::stage::{Make, Stage, T0, at_once, limits, profile, until, user};

/// A session's time.
const LIFE: u64 = 10_000;

pub fn record(id: &str, owner: &str, seen_at: u64) -> SessionRecord {
    SessionRecord {
        identity: Identity::new(
            id.into(),
            profile(owner),
            DeviceDigest::of(&DeviceId::parse("device").unwrap()),
            PublicDevice {
                name: Some("a phone".into()),
                kind: DeviceKind::Ios,
            },
        ),
        version: 1,
        jkt: None,
        ip: "192.0.2.1".into(),
        created_at: T0,
        last_seen_at: seen_at,
        expires_at: T0 + LIFE,
        refresh: RefreshState {
            family: [1; 32],
            current: [2; 32],
            previous: Vec::new(),
        },
        revoked: false,
    }
}

async fn follow_user(stage: &Stage, id: &str) -> Topic {
    let topic = Topic::User(user(id));
    stage.engine.follow(topic.clone()).await.unwrap();
    topic
}

/// The sessions told as revoked, each once however often it was said.
fn revoked(stage: &Stage, topic: &Topic) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    for event in stage.told.about(topic) {
        if let Event::Revoked { session, .. } = event {
            assert!(!stage.exact || !ids.contains(&session), "told twice");
            ids.push(session);
        }
    }
    ids.dedup();
    ids
}

async fn is_there(stage: &Stage, id: &str, now: u64) -> bool {
    stage.engine.session(id.into(), now).await.unwrap().is_some()
}

pub async fn a_session_is_read_until_it_ends(make: Make) {
    let stage = make(limits());
    let topic = follow_user(&stage, "alice").await;
    assert!(!is_there(&stage, "s1", T0).await);
    stage
        .engine
        .open_session(record("s1", "alice", T0), T0)
        .await
        .unwrap();
    let read = stage.engine.session("s1".into(), T0).await.unwrap().unwrap();
    assert!(*read == record("s1", "alice", T0));
    until("the sign-in is told", || !stage.told.about(&topic).is_empty()).await;
    let told = stage.told.about(&topic);
    assert!(matches!(&told[0], Event::SignedIn { session, ip, .. } if session == "s1" && ip == "192.0.2.1"));
    assert!(is_there(&stage, "s1", T0 + LIFE - 1).await);
    assert!(!stage.engine.revoke_session("none".into(), T0).await.unwrap());
    // A lapsed one is not there, and cannot be brought back.
    assert!(!is_there(&stage, "s1", T0 + LIFE).await);
    let mut extend = |s: &SessionRecord| {
        Some(SessionRecord {
            expires_at: u64::MAX,
            ..s.clone()
        })
    };
    assert!(
        stage
            .engine
            .update_session("s1".into(), &mut extend, T0 + LIFE)
            .await
            .unwrap()
            .is_none()
    );
    assert!(!stage.engine.revoke_session("s1".into(), T0 + LIFE).await.unwrap());
    stage.assert_orderly();
}

pub async fn an_update_is_one_compare_and_set(make: Make) {
    let stage = make(limits());
    stage
        .engine
        .open_session(record("s1", "alice", T0), T0)
        .await
        .unwrap();
    let changed = std::sync::Arc::new(AtomicUsize::new(0));
    at_once(32, |n| {
        let (engine, changed) = (stage.engine.clone(), std::sync::Arc::clone(&changed));
        async move {
            let mut mine = false;
            let mut decide = |s: &SessionRecord| {
                // Each wants to be the first: only one finds the token it replaces.
                mine = s.refresh.current == [2; 32];
                let current = [u8::try_from(n).unwrap() + 10; 32];
                mine.then(|| SessionRecord {
                    refresh: RefreshState {
                        current,
                        ..s.refresh.clone()
                    },
                    ..s.clone()
                })
            };
            let after = engine
                .update_session("s1".into(), &mut decide, T0)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(after.version, 2);
            changed.fetch_add(usize::from(mine), Ordering::Relaxed);
        }
    })
    .await;
    assert_eq!(changed.load(Ordering::Relaxed), 1);
    let answers = at_once(32, |_| {
        let engine = stage.engine.clone();
        async move {
            let mut seen = |s: &SessionRecord| {
                Some(SessionRecord {
                    last_seen_at: s.last_seen_at + 1,
                    ..s.clone()
                })
            };
            engine
                .update_session("s1".into(), &mut seen, T0)
                .await
                .unwrap()
                .unwrap()
                .version
        }
    })
    .await;
    assert_eq!(
        answers.iter().collect::<std::collections::BTreeSet<_>>().len(),
        32,
        "versions rise by one"
    );
    let after = stage.engine.session("s1".into(), T0).await.unwrap().unwrap();
    assert_eq!(
        (after.version, after.last_seen_at),
        (34, T0 + 32),
        "no update is lost"
    );
    let mut keep = |_: &SessionRecord| None;
    assert_eq!(
        stage
            .engine
            .update_session("s1".into(), &mut keep, T0)
            .await
            .unwrap()
            .unwrap()
            .version,
        34
    );
    assert!(
        stage
            .engine
            .update_session("none".into(), &mut keep, T0)
            .await
            .unwrap()
            .is_none()
    );
    stage.assert_orderly();
}

pub async fn beyond_the_bound_the_longest_unused_ends(make: Make) {
    let stage = make(MemoryLimits {
        sessions_per_user_max: 3,
        ..limits()
    });
    let topic = follow_user(&stage, "alice").await;
    for (id, seen_at) in [("s1", 50), ("s2", 10), ("s3", 30)] {
        stage
            .engine
            .open_session(record(id, "alice", T0 + seen_at), T0)
            .await
            .unwrap();
    }
    stage
        .engine
        .open_session(record("b1", "bob", T0), T0)
        .await
        .unwrap();
    // Seen by a clock that is behind, and still the newest: whoever signs in just now stays.
    stage
        .engine
        .open_session(record("s4", "alice", T0), T0)
        .await
        .unwrap();
    let mut there = Vec::new();
    for id in ["s1", "s2", "s3", "s4", "b1"] {
        there.push(is_there(&stage, id, T0).await);
    }
    assert_eq!(
        there,
        [true, false, true, true, true],
        "s2 was unused for longest"
    );
    until("s2 is told", || {
        revoked(&stage, &topic) == ["s2"] || stage.is_suspect(&topic)
    })
    .await;
    let mut use_it = |s: &SessionRecord| {
        Some(SessionRecord {
            last_seen_at: T0 + 60,
            ..s.clone()
        })
    };
    assert!(
        stage
            .engine
            .update_session("s2".into(), &mut use_it, T0)
            .await
            .unwrap()
            .is_none(),
        "it has ended"
    );
    stage
        .engine
        .update_session("s4".into(), &mut use_it, T0)
        .await
        .unwrap()
        .unwrap();
    stage
        .engine
        .open_session(record("s5", "alice", T0 + 70), T0 + 70)
        .await
        .unwrap();
    assert!(!is_there(&stage, "s3", T0).await && is_there(&stage, "s4", T0).await);
    // Many at once end at the bound, too.
    at_once(16, |n| {
        let engine = stage.engine.clone();
        async move {
            engine
                .open_session(record(&format!("m{n}"), "alice", T0 + 80), T0 + 80)
                .await
                .unwrap()
        }
    })
    .await;
    let mut live = 0;
    for n in 0..16 {
        live += usize::from(is_there(&stage, &format!("m{n}"), T0 + 80).await);
    }
    assert_eq!(live, 3);
    // Lapsed ones make way without a word.
    let before = revoked(&stage, &topic).len();
    let late = T0 + LIFE;
    let fresh = SessionRecord {
        expires_at: late + LIFE,
        ..record("s6", "alice", late)
    };
    stage.engine.open_session(fresh, late).await.unwrap();
    assert!(is_there(&stage, "s6", late).await);
    assert!(!stage.exact || revoked(&stage, &topic).len() == before);
    stage.assert_orderly();
}

pub async fn a_session_is_revoked_once(make: Make) {
    let stage = make(limits());
    let topic = follow_user(&stage, "alice").await;
    stage
        .engine
        .open_session(record("s1", "alice", T0), T0)
        .await
        .unwrap();
    let answers = at_once(32, |_| {
        let engine = stage.engine.clone();
        async move { engine.revoke_session("s1".into(), T0).await.unwrap() }
    })
    .await;
    assert_eq!(answers.iter().filter(|ended| **ended).count(), 1);
    assert!(!is_there(&stage, "s1", T0).await);
    until("the end is told", || {
        revoked(&stage, &topic) == ["s1"] || stage.is_suspect(&topic)
    })
    .await;
    stage.assert_orderly();
}

/// Sessions of one user come and go at once: what is told of them is one sequence, each sign-in before its end.
pub async fn what_happens_to_a_user_is_told_in_order(make: Make) {
    let stage = make(MemoryLimits {
        sessions_per_user_max: 5,
        ..limits()
    });
    let topic = follow_user(&stage, "alice").await;
    at_once(16, |n| {
        let engine = stage.engine.clone();
        async move {
            for round in 0..20 {
                let id = format!("s{n}-{round}");
                engine.open_session(record(&id, "alice", T0), T0).await.unwrap();
                engine.revoke_session(id, T0).await.unwrap();
            }
        }
    })
    .await;
    let everything = || {
        let told = stage.told.about(&topic);
        told.iter().filter(|e| matches!(e, Event::Revoked { .. })).count() >= 320 || stage.is_suspect(&topic)
    };
    until("everything is told", everything).await;
    let mut open = std::collections::HashSet::new();
    for event in stage.told.about(&topic) {
        match event {
            Event::SignedIn { session, .. } => drop(open.insert(session)),
            Event::Revoked { session, .. } => {
                assert!(open.contains(&session), "{session} ended before it began")
            }
            _ => {}
        }
    }
    stage.assert_orderly();
}
