//! Reading what was said.

use countersign::core::stream::StreamLimits;
use countersign::engine::memory::MemoryLimits;
use countersign::engine::{History, Read};
use countersign_protocol::client::Position;
use countersign_protocol::limits::RECOVERY_MESSAGES_MAX;

use crate::stage::{Make, Stage, T0, draft, limits, room};

fn offsets(history: &History) -> Vec<u64> {
    history.messages.iter().map(|m| m.offset).collect()
}

async fn speak(stage: &Stage, name: &str, n: u64) -> String {
    for i in 0..n {
        stage
            .engine
            .append(room(name), draft("alice", &format!("{i}")), T0)
            .await
            .unwrap();
    }
    stage
        .engine
        .read(room(name), Read::Newest { limit: 1 }, T0)
        .await
        .unwrap()
        .epoch
}

pub async fn a_joiner_recovers_all_or_is_told(make: Make) {
    let stream = StreamLimits {
        messages: 120,
        ..StreamLimits::default()
    };
    let stage = make(MemoryLimits { stream, ..limits() });
    let epoch = speak(&stage, "chat:lobby", 130).await;
    let join = |epoch: &str, offset: u64, now: u64| {
        let after = Some(Position {
            epoch: epoch.into(),
            offset,
        });
        stage.engine.read(room("chat:lobby"), Read::Join { after }, now)
    };
    for (after, whole) in [
        (130, true),
        (129, true),
        (40, true),
        (30, true),
        (29, false),
        (10, false),
        (9, false),
    ] {
        let history = join(&epoch, after, T0).await.unwrap();
        assert_eq!(history.recovered, Some(whole), "after {after}");
        assert_eq!((history.top, history.epoch.as_str()), (130, epoch.as_str()));
        let from = if whole {
            after + 1
        } else {
            131 - RECOVERY_MESSAGES_MAX as u64
        };
        assert_eq!(
            offsets(&history),
            (from..=130).collect::<Vec<_>>(),
            "after {after}"
        );
    }
    let other = join("another", 130, T0).await.unwrap();
    assert_eq!(
        (other.recovered, other.epoch),
        (Some(false), epoch.clone()),
        "a position of another epoch is none"
    );
    assert_eq!(
        join(&epoch, 131, T0).await.unwrap().recovered,
        Some(false),
        "nobody has seen the future"
    );
    let fresh = stage
        .engine
        .read(room("chat:lobby"), Read::Join { after: None }, T0)
        .await
        .unwrap();
    assert_eq!(
        (fresh.recovered, fresh.messages.len()),
        (None, RECOVERY_MESSAGES_MAX)
    );
    // Too old is gone, and said to be.
    let late = T0 + stream.age_ms;
    let aged = join(&epoch, 129, late).await.unwrap();
    assert_eq!(
        (aged.recovered, aged.top, aged.messages.len()),
        (Some(false), 130, 0)
    );
    assert_eq!(
        join(&epoch, 130, late).await.unwrap().recovered,
        Some(true),
        "nothing was missed"
    );
    stage.assert_orderly();
}

pub async fn pages_before_and_after(make: Make) {
    let stage = make(limits());
    speak(&stage, "chat:lobby", 50).await;
    let page = |part: Read| stage.engine.read(room("chat:lobby"), part, T0);
    for (part, expected) in [
        (Read::Newest { limit: 3 }, 48..=50),
        (Read::Newest { limit: 500 }, 1..=50),
        (Read::Before { offset: 48, limit: 3 }, 45..=47),
        (Read::Before { offset: 3, limit: 10 }, 1..=2),
        (
            Read::Before {
                offset: 1_000,
                limit: 2,
            },
            49..=50,
        ),
        (Read::After { offset: 0, limit: 2 }, 1..=2),
        (
            Read::After {
                offset: 48,
                limit: 10,
            },
            49..=50,
        ),
    ] {
        let history = page(part.clone()).await.unwrap();
        assert_eq!(offsets(&history), expected.collect::<Vec<_>>(), "{part:?}");
        assert_eq!((history.top, history.recovered), (50, None));
    }
    for part in [
        Read::Before { offset: 0, limit: 5 },
        Read::Before { offset: 1, limit: 5 },
        Read::After { offset: 50, limit: 5 },
        Read::After {
            offset: u64::MAX,
            limit: 5,
        },
        Read::Newest { limit: 0 },
    ] {
        assert!(page(part.clone()).await.unwrap().messages.is_empty(), "{part:?}");
    }
    stage.assert_orderly();
}

pub async fn an_unknown_room_is_empty(make: Make) {
    let stage = make(limits());
    let none = room("chat:none");
    let after = Some(Position {
        epoch: "e".into(),
        offset: 3,
    });
    for (part, recovered) in [
        (Read::Join { after }, Some(false)),
        (Read::Join { after: None }, None),
        (Read::Newest { limit: 5 }, None),
        (Read::After { offset: 0, limit: 5 }, None),
    ] {
        let history = stage.engine.read(none.clone(), part, T0).await.unwrap();
        assert_eq!(
            (history.top, history.recovered, history.messages.len()),
            (0, recovered, 0)
        );
    }
    assert_eq!(stage.engine.view(none.clone(), T0).await.unwrap(), None);
    assert_eq!(
        stage.engine.members(none.clone(), None, 5).await.unwrap().total,
        0
    );
    stage.engine.leave(none.clone(), 1, T0).await.unwrap();
    stage.engine.settle(none.clone(), T0).await.unwrap();
    assert_eq!(
        stage.engine.view(none, T0).await.unwrap(),
        None,
        "asking does not make a room"
    );
    assert!(stage.told.room(&room("chat:none")).is_empty());
}
