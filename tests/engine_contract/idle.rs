//! Rooms in which nothing happens.

use countersign::core::stream::StreamLimits;
use countersign::engine::memory::MemoryLimits;
use countersign::engine::{Create, Due, Read};
use countersign_protocol::client::Position;

use crate::stage::{Make, Stage, T0, at_once, draft, draft_once, limits, present, room};

async fn epoch(stage: &Stage, now: u64) -> (String, u64) {
    let history = stage
        .engine
        .read(room("chat:lobby"), Read::Newest { limit: 1 }, now)
        .await
        .unwrap();
    (history.epoch, history.top)
}

pub async fn an_idle_room_goes_and_comes_back_as_another(make: Make) {
    let stage = make(limits());
    let (lobby, idle) = (room("chat:lobby"), limits().room_idle_ms);
    stage
        .engine
        .enter(lobby.clone(), present(1, None), Create::Allowed, T0)
        .await
        .unwrap();
    stage
        .engine
        .append(lobby.clone(), draft("alice", "hello"), T0)
        .await
        .unwrap();
    let (first, _) = epoch(&stage, T0).await;
    stage.settle_due(T0 + 10 * idle).await;
    assert_eq!(epoch(&stage, T0 + 10 * idle).await.0, first, "somebody is here");
    let left = T0 + 11 * idle;
    stage.engine.leave(lobby.clone(), 1, left).await.unwrap();
    stage.engine.leave(lobby.clone(), 1, left + 10).await.unwrap();
    stage.settle_due(left + idle - 1).await;
    assert_eq!(epoch(&stage, left).await, (first.clone(), 1), "not yet");
    stage
        .engine
        .enter(lobby.clone(), present(2, None), Create::Refused, left + idle - 1)
        .await
        .unwrap();
    stage.settle_due(left + idle).await;
    assert_eq!(epoch(&stage, left).await.0, first, "somebody came back in time");
    stage.engine.leave(lobby.clone(), 2, left + idle).await.unwrap();
    stage.settle_due(left + 2 * idle).await;
    assert_eq!(epoch(&stage, left).await, (String::new(), 0), "gone");
    // The next one by its name is another, and nobody is told that they recovered.
    let now = left + 2 * idle;
    let placed = stage
        .engine
        .append(lobby.clone(), draft("alice", "again"), now)
        .await
        .unwrap();
    assert_eq!(placed.offset, 1);
    let (second, _) = epoch(&stage, now).await;
    assert_ne!(first, second);
    let after = Some(Position {
        epoch: first,
        offset: 1,
    });
    assert_eq!(
        stage
            .engine
            .read(lobby, Read::Join { after }, now)
            .await
            .unwrap()
            .recovered,
        Some(false)
    );
    stage.assert_orderly();
}

pub async fn what_is_said_or_counted_keeps_a_room(make: Make) {
    let stage = make(limits());
    let (lobby, idle) = (room("chat:lobby"), limits().room_idle_ms);
    stage
        .engine
        .append(lobby.clone(), draft("alice", "one"), T0)
        .await
        .unwrap();
    let (first, _) = epoch(&stage, T0).await;
    stage
        .engine
        .append(lobby.clone(), draft("alice", "two"), T0 + idle - 1)
        .await
        .unwrap();
    stage.settle_due(T0 + idle).await;
    assert_eq!(
        epoch(&stage, T0 + idle).await,
        (first.clone(), 2),
        "acknowledged a moment ago"
    );
    stage
        .engine
        .add(lobby.clone(), "likes".into(), 1, T0 + 2 * idle - 2)
        .await
        .unwrap();
    stage.settle_due(T0 + 2 * idle).await;
    assert_eq!(epoch(&stage, T0 + 2 * idle).await.0, first);
    stage.settle_due(T0 + 3 * idle).await;
    assert_eq!(epoch(&stage, T0 + 3 * idle).await.0, "", "nothing more happened");
    stage.assert_orderly();
}

/// Rooms go at every moment; whoever was let in is in, and whatever was acknowledged while they were is read.
pub async fn nobody_is_lost_to_a_room_that_goes(make: Make) {
    const PEOPLE: usize = 6;
    let stage = make(MemoryLimits {
        room_idle_ms: 1,
        ..limits()
    });
    at_once(PEOPLE + 2, |task| {
        let stage = stage.clone();
        async move {
            let (engine, lobby) = (&stage.engine, room(&format!("chat:{}", task % 2)));
            for round in 0..60_u64 {
                let now = T0 + round * 5;
                if task >= PEOPLE {
                    engine.settle(lobby.clone(), now + 1_000).await.unwrap();
                    stage.settle_due(now + 1_000).await;
                    continue;
                }
                let me = task as u64;
                engine
                    .enter(lobby.clone(), present(me, Some("alice")), Create::Allowed, now)
                    .await
                    .unwrap();
                let text = format!("{task}-{round}");
                let placed = engine
                    .append(lobby.clone(), draft("alice", &text), now)
                    .await
                    .unwrap();
                let part = Read::After {
                    offset: placed.offset - 1,
                    limit: 1,
                };
                let read = engine.read(lobby.clone(), part, now).await.unwrap();
                assert_eq!(
                    read.messages.first().map(|m| m.body.get().to_owned()),
                    Some(format!("{text:?}"))
                );
                let view = engine.view(lobby.clone(), now).await.unwrap();
                assert!(view.is_some_and(|v| v.counts.viewers >= 1 && v.counts.members == 1));
                engine.leave(lobby.clone(), me, now).await.unwrap();
            }
        }
    })
    .await;
    stage.settle_due(T0 + 10_000).await;
    assert!(
        stage.engine.due(u64::MAX, 10).await.unwrap().is_empty(),
        "no room is left, and nothing to come"
    );
    stage.assert_orderly();
}

/// A room with somebody in it and nothing said gives back what its history and cids took.
pub async fn a_silent_room_forgets_what_is_too_old(make: Make) {
    let stream = StreamLimits {
        age_ms: 1_000,
        cid_ms: 3_000,
        ..StreamLimits::default()
    };
    let stage = make(MemoryLimits { stream, ..limits() });
    let lobby = room("chat:lobby");
    stage
        .engine
        .enter(lobby.clone(), present(1, None), Create::Allowed, T0)
        .await
        .unwrap();
    for n in 0..5 {
        stage
            .engine
            .append(
                lobby.clone(),
                draft_once("alice", &format!("c{n}"), "x"),
                T0 + n * 1_000,
            )
            .await
            .unwrap();
    }
    let mut now = T0 + 4_000;
    for _ in 0..8 {
        now += 500;
        stage.settle_due(now).await;
    }
    assert_eq!(
        stage.engine.due(u64::MAX, 10).await.unwrap(),
        Vec::<Due>::new(),
        "there is nothing left to forget"
    );
    let history = stage
        .engine
        .read(lobby.clone(), Read::Newest { limit: 10 }, T0)
        .await
        .unwrap();
    assert_eq!(
        (history.top, history.messages.len()),
        (5, 0),
        "forgotten, not only hidden"
    );
    let again = stage
        .engine
        .append(lobby, draft_once("alice", "c4", "x"), now)
        .await
        .unwrap();
    assert_eq!((again.offset, again.duplicate), (6, false));
    stage.assert_orderly();
}
