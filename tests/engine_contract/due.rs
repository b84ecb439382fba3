//! What comes due.

use countersign::core::attempt::{AttemptKey, Command, QrId};
use countersign::engine::{AttemptRef, Create, Due};

use crate::attempts::{CANCEL, key, opened};
use crate::stage::{Make, T0, at_once, draft, limits, present, room};

pub async fn what_is_due_comes_oldest_first_until_dealt_with(make: Make) {
    let stage = make(limits());
    let idle = limits().room_idle_ms;
    for n in [3_u64, 1, 2] {
        stage
            .engine
            .append(room(&format!("chat:{n}")), draft("alice", "x"), T0 + n * 100)
            .await
            .unwrap();
    }
    let rooms = |ns: &[u64]| {
        ns.iter()
            .map(|n| Due::Room(room(&format!("chat:{n}"))))
            .collect::<Vec<_>>()
    };
    let due = |now: u64, limit: usize| stage.engine.due(now, limit);
    assert!(
        due(T0 + 100 + idle - 1, 10).await.unwrap().is_empty(),
        "nothing before its time"
    );
    assert_eq!(due(T0 + 100 + idle, 10).await.unwrap(), rooms(&[1]));
    for _ in 0..2 {
        assert_eq!(
            due(T0 + 300 + idle, 10).await.unwrap(),
            rooms(&[1, 2, 3]),
            "asked again, answered again"
        );
    }
    assert_eq!(due(T0 + 300 + idle, 2).await.unwrap(), rooms(&[1, 2]));
    assert!(due(T0 + 300 + idle, 0).await.unwrap().is_empty());
    stage
        .engine
        .settle(room("chat:1"), T0 + 300 + idle)
        .await
        .unwrap();
    assert_eq!(due(T0 + 300 + idle, 2).await.unwrap(), rooms(&[2, 3]));
    stage
        .engine
        .enter(room("chat:2"), present(1, None), Create::Refused, T0 + 300 + idle)
        .await
        .unwrap();
    assert_eq!(
        due(T0 + 300 + idle, 2).await.unwrap(),
        rooms(&[3]),
        "what became needless is not due"
    );
    // Attempts and rooms stand in one line.
    stage.engine.open_attempt(opened(1, "192.0.2.1")).await.unwrap();
    let both = due(T0 + 300 + idle, 10).await.unwrap();
    assert_eq!(
        both,
        [vec![Due::Attempt(AttemptKey([1; 16]))], rooms(&[3])].concat()
    );
}

/// Whatever happens at once, at the end there is nothing to come and nothing that stays.
pub async fn nothing_stays_due(make: Make) {
    let stage = make(limits());
    at_once(8, |task| {
        let stage = stage.clone();
        async move {
            let engine = &stage.engine;
            for round in 0..12_u8 {
                let now = T0 + u64::from(round);
                let n = u8::try_from(task).unwrap() * 12 + round;
                engine
                    .open_attempt(opened(n, &format!("192.0.2.{task}")))
                    .await
                    .unwrap();
                let fresh = QrId([n, n, n, n, n, n, n, n, n, n, n, n, n, n, n, 255]);
                let (late, tick) = (now + 50_000, || Command::Tick { fresh });
                stage
                    .decide(AttemptRef::Key(AttemptKey([n; 16])), late, &tick)
                    .await
                    .unwrap();
                let lobby = room(&format!("chat:{}", round % 3));
                engine
                    .enter(
                        lobby.clone(),
                        present(task as u64, Some("alice")),
                        Create::Allowed,
                        now,
                    )
                    .await
                    .unwrap();
                engine.add(lobby.clone(), "likes".into(), 1, now).await.unwrap();
                engine
                    .append(lobby.clone(), draft("alice", "x"), now)
                    .await
                    .unwrap();
                engine.leave(lobby, task as u64, now).await.unwrap();
                if round % 2 == 0 {
                    stage.decide(key(n), late, &|| CANCEL).await.unwrap();
                }
            }
        }
    })
    .await;
    let mut now = T0;
    for _ in 0..20 {
        now += 60_000;
        for due in stage.engine.due(now, 1_000).await.unwrap() {
            match due {
                Due::Room(room) => stage.engine.settle(room, now).await.unwrap(),
                Due::Attempt(key) => {
                    let fresh = QrId([
                        key.0[0],
                        1,
                        2,
                        3,
                        4,
                        5,
                        6,
                        7,
                        8,
                        9,
                        10,
                        11,
                        12,
                        13,
                        14,
                        u8::try_from(now / 60_000 % 200).unwrap(),
                    ]);
                    stage
                        .decide(AttemptRef::Key(key), now, &|| Command::Tick { fresh })
                        .await;
                }
            }
        }
        let left = stage.engine.due(now, 1_000).await.unwrap();
        assert!(left.is_empty(), "dealt with at {now} and still due: {left:?}");
    }
    assert_eq!(
        stage.engine.due(u64::MAX, 1_000).await.unwrap(),
        Vec::<Due>::new()
    );
    stage.assert_orderly();
}
