//! What a node hears of.

use countersign::engine::{Create, Topic};

use crate::attempts::{CANCEL, key, opened};
use crate::sessions::record;
use crate::stage::{Make, T0, at_once, draft, limits, present, room, until, user};

pub async fn what_follows_a_follow_is_told(make: Make) {
    let stage = make(limits());
    let lobby = room("chat:lobby");
    for round in 1..=5 {
        stage.engine.follow(Topic::Room(lobby.clone())).await.unwrap();
        // Twice is once.
        stage.engine.follow(Topic::Room(lobby.clone())).await.unwrap();
        let before = stage.told.room(&lobby).len();
        stage
            .engine
            .append(lobby.clone(), draft("alice", &format!("{round}")), T0)
            .await
            .unwrap();
        until("it is told or suspected", || {
            stage.told.room(&lobby).len() > before
        })
        .await;
        stage.engine.unfollow(Topic::Room(lobby.clone())).await.unwrap();
        stage.engine.unfollow(Topic::Room(lobby.clone())).await.unwrap();
    }
    stage.engine.unfollow(Topic::User(user("nobody"))).await.unwrap();
    stage.assert_orderly();
}

/// Everything happens at once; each topic is one sequence, told by nobody else at the same time.
pub async fn every_topic_is_told_alone(make: Make) {
    let stage = make(limits());
    for n in 0..4_u8 {
        stage.follow_room(&room(&format!("chat:{n}"))).await;
        stage.follow_attempt(n).await;
        stage
            .engine
            .follow(Topic::User(user(&format!("user{n}"))))
            .await
            .unwrap();
        stage.engine.open_attempt(opened(n, "192.0.2.1")).await.unwrap();
    }
    at_once(8, |task| {
        let stage = stage.clone();
        async move {
            for round in 0..20_u64 {
                let n = (task as u64 + round) % 4;
                let room = room(&format!("chat:{n}"));
                stage
                    .engine
                    .append(room.clone(), draft("alice", "x"), T0)
                    .await
                    .unwrap();
                let me = task as u64;
                stage
                    .engine
                    .enter(room.clone(), present(me, None), Create::Allowed, T0 + round)
                    .await
                    .unwrap();
                stage.engine.leave(room, me, T0 + round).await.unwrap();
                let session = record(&format!("s{task}-{round}"), &format!("user{n}"), T0);
                stage.engine.open_session(session, T0).await.unwrap();
                stage
                    .engine
                    .revoke_session(format!("s{task}-{round}"), T0)
                    .await
                    .unwrap();
                stage
                    .decide(key(u8::try_from(n).unwrap()), T0, &|| CANCEL)
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    for n in 0..4 {
        stage.published(&room(&format!("chat:{n}")), 40).await;
        stage
            .changes(
                &Topic::Attempt(countersign::core::attempt::AttemptKey([n; 16])),
                2,
            )
            .await;
    }
    stage.assert_orderly();
}
