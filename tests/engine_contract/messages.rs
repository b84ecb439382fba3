//! Saying something: numbered by one, told in order, counted once, within bounds.

use countersign::core::rate::Rate;
use countersign::engine::memory::MemoryLimits;
use countersign::engine::{Create, EngineError, Read};
use countersign_protocol::client::Priority;

use crate::stage::{Make, T0, at_once, draft, draft_once, limits, present, room};

pub async fn offsets_rise_by_one(make: Make) {
    let stage = make(limits());
    let (lobby, other) = (room("chat:lobby"), room("chat:other"));
    stage.follow_room(&lobby).await;
    for n in 1..=20 {
        let placed = stage
            .engine
            .append(lobby.clone(), draft("alice", &format!("{n}")), T0 + n)
            .await
            .unwrap();
        assert_eq!(
            (placed.offset, placed.at_ms, placed.duplicate),
            (n, T0 + n, false)
        );
        let elsewhere = stage
            .engine
            .append(other.clone(), draft("alice", "x"), T0 + n)
            .await
            .unwrap();
        assert_eq!(elsewhere.offset, n, "each room counts for itself");
    }
    let history = stage
        .engine
        .read(lobby.clone(), Read::Newest { limit: 100 }, T0 + 20)
        .await
        .unwrap();
    assert_eq!(history.top, 20);
    assert!(!history.epoch.is_empty());
    for told in stage.published(&lobby, 20).await {
        let read = history.messages.iter().find(|m| m.offset == told.offset).unwrap();
        assert_eq!(
            serde_json::to_string(&told).unwrap(),
            serde_json::to_string(read).unwrap()
        );
        assert_eq!(told.from.as_ref().unwrap().id.as_str(), "alice");
    }
    // A clock that stepped back does not turn the order round.
    let late = stage
        .engine
        .append(lobby, draft("alice", "late"), T0)
        .await
        .unwrap();
    assert_eq!((late.offset, late.at_ms), (21, T0 + 20));
    stage.assert_orderly();
}

pub async fn concurrent_messages_are_told_in_the_order_they_read(make: Make) {
    const AUTHORS: usize = 8;
    const EACH: usize = 30;
    let stage = make(limits());
    let rooms: Vec<_> = (0..3).map(|n| room(&format!("chat:{n}"))).collect();
    for room in &rooms {
        stage.follow_room(room).await;
    }
    let answers = at_once(AUTHORS, |author| {
        let (engine, rooms) = (stage.engine.clone(), rooms.clone());
        async move {
            let mut answers = Vec::new();
            for n in 0..EACH {
                let text = format!("{author}-{n}");
                let at = n % rooms.len();
                let placed = engine
                    .append(rooms[at].clone(), draft("alice", &text), T0)
                    .await
                    .unwrap();
                answers.push((at, placed.offset, text));
            }
            answers
        }
    })
    .await;
    for (at, room) in rooms.iter().enumerate() {
        let mut here: Vec<_> = answers.iter().flatten().filter(|(r, ..)| *r == at).collect();
        here.sort_by_key(|(_, offset, _)| *offset);
        let top = here.len() as u64;
        assert!(
            here.iter().map(|(_, offset, _)| *offset).eq(1..=top),
            "one offset for each message"
        );
        let read = stage
            .engine
            .read(room.clone(), Read::Newest { limit: 1_000 }, T0)
            .await
            .unwrap();
        for (message, (_, offset, text)) in read.messages.iter().zip(&here) {
            assert_eq!(
                (message.offset, message.body.get()),
                (*offset, format!("{text:?}").as_str())
            );
        }
        for told in stage.published(room, top).await {
            let read = &read.messages[usize::try_from(told.offset).unwrap() - 1];
            assert_eq!((told.offset, told.body.get()), (read.offset, read.body.get()));
        }
    }
    stage.assert_orderly();
}

pub async fn a_repeated_cid_counts_once(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    stage.follow_room(&lobby).await;
    let answers = at_once(16, |_| {
        let (engine, lobby) = (stage.engine.clone(), lobby.clone());
        async move {
            engine
                .append(lobby, draft_once("alice", "c1", "hello"), T0)
                .await
                .unwrap()
        }
    })
    .await;
    assert!(
        answers.iter().all(|a| a.offset == 1),
        "every caller gets the one offset"
    );
    assert_eq!(answers.iter().filter(|a| !a.duplicate).count(), 1);
    // Another author's cid is another cid.
    let bob = stage
        .engine
        .append(lobby.clone(), draft_once("bob", "c1", "hello"), T0)
        .await
        .unwrap();
    assert_eq!((bob.offset, bob.duplicate), (2, false));
    let conflict = stage
        .engine
        .append(lobby.clone(), draft_once("alice", "c1", "other"), T0)
        .await;
    assert_eq!(conflict.unwrap_err(), EngineError::CidConflict);
    // After the window it is a new message.
    let later = T0 + limits().stream.cid_ms;
    let again = stage
        .engine
        .append(lobby.clone(), draft_once("alice", "c1", "hello"), later)
        .await
        .unwrap();
    assert_eq!((again.offset, again.duplicate), (3, false));
    stage.published(&lobby, 3).await;
    stage.assert_orderly();
}

pub async fn a_room_has_its_rate_and_a_share_for_high(make: Make) {
    let stage = make(MemoryLimits {
        room_rate: Rate::per_second(10, 10),
        ..limits()
    });
    let lobby = room("chat:lobby");
    let say = |n: usize, priority: Priority, now: u64| {
        let draft = countersign::core::stream::Draft {
            priority,
            ..draft_once("alice", &format!("c{n}"), "hello")
        };
        stage.engine.append(lobby.clone(), draft, now)
    };
    for n in 0..5 {
        say(n, Priority::Normal, T0).await.unwrap();
    }
    // A retry is no new message: it takes nothing, so the next high one finds its whole share.
    let Err(EngineError::Rate { after_ms }) = say(5, Priority::Normal, T0).await else {
        panic!("over the rate")
    };
    assert!((1..=100).contains(&after_ms), "{after_ms}");
    assert!(matches!(
        say(6, Priority::Low, T0).await,
        Err(EngineError::Rate { .. })
    ));
    for n in 10..15 {
        say(n, Priority::High, T0).await.unwrap();
    }
    assert!(matches!(
        say(15, Priority::High, T0).await,
        Err(EngineError::Rate { .. })
    ));
    let at = T0 + 10_000;
    say(20, Priority::Normal, at).await.unwrap();
    for _ in 0..20 {
        if let Ok(again) = say(20, Priority::Normal, at).await {
            assert!(again.duplicate);
        }
    }
    for n in 21..25 {
        say(n, Priority::Normal, at).await.unwrap();
    }
    let other = stage
        .engine
        .append(room("chat:other"), draft("alice", "x"), T0)
        .await;
    assert_eq!(other.unwrap().offset, 1, "another room has its own");
    stage.assert_orderly();
}

pub async fn rooms_are_bounded_whatever_happens_at_once(make: Make) {
    let stage = make(MemoryLimits {
        rooms_max: 10,
        ..limits()
    });
    let answers = at_once(40, |n| {
        let (engine, room) = (stage.engine.clone(), room(&format!("chat:{n}")));
        async move {
            match n % 3 {
                0 => engine.append(room, draft("alice", "x"), T0).await.map(|_| ()),
                1 => engine
                    .enter(room, present(7, None), Create::Allowed, T0)
                    .await
                    .map(|_| ()),
                _ => engine.add(room, "likes".into(), 1, T0).await.map(|_| ()),
            }
        }
    })
    .await;
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 10);
    assert!(
        answers
            .iter()
            .filter_map(|a| a.as_ref().err())
            .all(|e| *e == EngineError::Full("rooms"))
    );
    let missing = stage
        .engine
        .enter(room("chat:none"), present(1, None), Create::Refused, T0)
        .await;
    assert_eq!(missing.unwrap_err(), EngineError::Missing);
    // What goes makes room.
    for n in 0..40 {
        stage
            .engine
            .leave(room(&format!("chat:{n}")), 7, T0)
            .await
            .unwrap();
    }
    stage.settle_due(T0 + limits().room_idle_ms).await;
    let answers = at_once(10, |n| {
        let engine = stage.engine.clone();
        async move {
            engine
                .append(room(&format!("chat:new{n}")), draft("alice", "x"), T0 + 100_000)
                .await
        }
    })
    .await;
    assert!(answers.iter().all(Result::is_ok));
    stage.assert_orderly();
}
