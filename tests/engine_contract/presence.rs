//! Who is here, how many, and how often that is told.

use std::collections::BTreeSet;

use countersign::engine::{Create, Event};

use crate::stage::{Make, Stage, T0, at_once, limits, present, room};

async fn enter(stage: &Stage, connection: u64, member: Option<&str>, now: u64) -> (u64, u64) {
    let view = stage
        .engine
        .enter(
            room("chat:lobby"),
            present(connection, member),
            Create::Allowed,
            now,
        )
        .await;
    let counts = view.unwrap().counts;
    (counts.viewers, counts.members)
}

pub async fn entering_and_leaving_are_idempotent(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    assert_eq!(enter(&stage, 1, None, T0).await, (1, 0));
    assert_eq!(enter(&stage, 1, None, T0).await, (1, 0));
    assert_eq!(enter(&stage, 2, Some("alice"), T0).await, (2, 1));
    assert_eq!(
        enter(&stage, 3, Some("alice"), T0).await,
        (3, 1),
        "one user by two connections"
    );
    assert_eq!(
        enter(&stage, 1, Some("bob"), T0).await,
        (3, 2),
        "signing in is entering again"
    );
    assert_eq!(enter(&stage, 1, Some("bob"), T0).await, (3, 2));
    for _ in 0..2 {
        stage.engine.leave(lobby.clone(), 3, T0).await.unwrap();
        stage.engine.leave(lobby.clone(), 99, T0).await.unwrap();
    }
    let counts = stage
        .engine
        .view(lobby.clone(), T0)
        .await
        .unwrap()
        .unwrap()
        .counts;
    assert_eq!(
        (counts.viewers, counts.members),
        (2, 2),
        "alice has another connection here"
    );
    stage.engine.leave(lobby.clone(), 2, T0).await.unwrap();
    let counts = stage.engine.view(lobby, T0).await.unwrap().unwrap().counts;
    assert_eq!((counts.viewers, counts.members), (1, 1));
    stage.assert_orderly();
}

pub async fn the_first_and_the_last_are_told_at_once(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    let interval = u64::from(limits().counts_interval_ms);
    stage.follow_room(&lobby).await;
    enter(&stage, 1, Some("alice"), T0).await;
    stage
        .counts(&lobby, T0, "the first is told at once", |c| {
            (c.viewers, c.members) == (1, 1)
        })
        .await;
    for connection in 2..=50 {
        enter(&stage, connection, Some(&format!("user{connection}")), T0 + 1).await;
    }
    let told = stage.told.room(&lobby);
    assert!(
        told.iter()
            .all(|e| !matches!(e, Event::Counts { counts, .. } if counts.viewers > 2)),
        "the rest waits for the interval: {told:?}"
    );
    stage.settle_due(T0 + interval - 1).await;
    stage.settle_due(T0 + interval).await;
    stage
        .counts(&lobby, T0 + interval, "the rest is told together", |c| {
            (c.viewers, c.members) == (50, 50)
        })
        .await;
    if stage.exact {
        let told = stage.told.room(&lobby);
        let counts = told.iter().filter(|e| matches!(e, Event::Counts { .. })).count();
        let joined: Vec<usize> = told
            .iter()
            .filter_map(|e| match e {
                Event::Presence { joined, .. } => Some(joined.len()),
                _ => None,
            })
            .collect();
        assert_eq!((counts, joined), (2, vec![1, 49]));
    }
    for connection in 1..=50 {
        stage
            .engine
            .leave(lobby.clone(), connection, T0 + interval + 1)
            .await
            .unwrap();
    }
    stage
        .counts(&lobby, T0 + interval + 1, "the last is told at once", |c| {
            (c.viewers, c.members) == (0, 0)
        })
        .await;
    stage.assert_orderly();
}

pub async fn churn_ends_at_zero(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    stage.follow_room(&lobby).await;
    at_once(8, |task| {
        let (stage, lobby) = (stage.clone(), lobby.clone());
        async move {
            for round in 0..20_u64 {
                let now = T0 + round * 10;
                let (one, two) = (task as u64 * 2, task as u64 * 2 + 1);
                enter(&stage, one, None, now).await;
                enter(&stage, two, Some(&format!("user{}", task % 3)), now).await;
                enter(&stage, one, Some("everybody"), now).await;
                stage.settle_due(now).await;
                stage.engine.leave(lobby.clone(), one, now + 5).await.unwrap();
                stage.engine.leave(lobby.clone(), two, now + 5).await.unwrap();
            }
        }
    })
    .await;
    let end = T0 + 1_000;
    stage.settle_due(end).await;
    stage
        .counts(&lobby, end, "nobody is left", |c| {
            (c.viewers, c.members) == (0, 0)
        })
        .await;
    assert_eq!(
        stage.engine.members(lobby.clone(), None, 10).await.unwrap().total,
        0
    );
    if stage.exact {
        let mut here = BTreeSet::new();
        let mut version = 0;
        for event in stage.told.room(&lobby) {
            match event {
                Event::Presence {
                    joined, left, reset, ..
                } => {
                    assert!(!reset);
                    here.extend(joined.into_iter().map(|m| m.id));
                    left.iter()
                        .for_each(|id| assert!(here.remove(id), "{id} left and was not here"));
                }
                Event::Counts { counts, .. } => {
                    assert_eq!(counts.version, version + 1);
                    version = counts.version;
                }
                _ => {}
            }
        }
        assert!(here.is_empty(), "{here:?}");
    }
    stage.settle_due(end + limits().room_idle_ms).await;
    assert_eq!(
        stage.engine.view(lobby, end).await.unwrap(),
        None,
        "an empty room goes"
    );
    stage.assert_orderly();
}

pub async fn members_come_in_pages(make: Make) {
    let stage = make(limits());
    for n in 0..25_u64 {
        enter(&stage, n, Some(&format!("user{n:02}")), T0).await;
    }
    enter(&stage, 100, None, T0).await;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = stage
            .engine
            .members(room("chat:lobby"), cursor, 10)
            .await
            .unwrap();
        assert_eq!(page.total, 25);
        seen.extend(page.members.iter().map(|m| m.id.to_string()));
        cursor = page.cursor;
        // Who leaves meanwhile does not upset the order.
        stage.engine.leave(room("chat:lobby"), 0, T0).await.unwrap();
        enter(&stage, 0, Some("user00"), T0).await;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..25).map(|n| format!("user{n:02}")).collect::<Vec<_>>());
    stage.assert_orderly();
}

pub async fn counters_add_up(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    stage.follow_room(&lobby).await;
    let mut answers: Vec<u64> = at_once(10, |_| {
        let (engine, lobby) = (stage.engine.clone(), lobby.clone());
        async move {
            let mut answers = Vec::new();
            for _ in 0..20 {
                answers.push(engine.add(lobby.clone(), "likes".into(), 3, T0).await.unwrap());
            }
            answers
        }
    })
    .await
    .into_iter()
    .flatten()
    .collect();
    answers.sort_unstable();
    assert_eq!(
        answers,
        (1..=200).map(|n| n * 3).collect::<Vec<_>>(),
        "each answer is the value after it"
    );
    let now = T0 + u64::from(limits().counts_interval_ms);
    stage.settle_due(now).await;
    stage
        .counts(&lobby, now, "the sum is told", |c| {
            c.counters.get("likes") == Some(&600)
        })
        .await;
    assert_eq!(
        stage
            .engine
            .add(lobby.clone(), "hearts".into(), 1, now)
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        stage
            .engine
            .add(lobby, "likes".into(), u64::MAX, now)
            .await
            .unwrap(),
        u64::MAX
    );
    stage.assert_orderly();
}

pub async fn a_view_is_what_a_joiner_would_see(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    enter(&stage, 1, Some("alice"), T0).await;
    stage
        .engine
        .add(lobby.clone(), "likes".into(), 2, T0)
        .await
        .unwrap();
    let view = stage.engine.view(lobby.clone(), T0).await.unwrap().unwrap();
    assert_eq!(view.counts.counters.get("likes"), Some(&2));
    let entered = stage
        .engine
        .enter(lobby.clone(), present(1, Some("alice")), Create::Refused, T0)
        .await
        .unwrap();
    assert_eq!(entered, view);
    stage.assert_orderly();
}
