//! The history of all rooms together.

use countersign::engine::Read;
use countersign::engine::memory::MemoryLimits;
use countersign_protocol::client::Position;

use crate::stage::{Make, T0, at_once, draft, limits, room};

pub async fn the_longest_silent_rooms_pay(make: Make) {
    const EACH: u64 = 20;
    let stage = make(MemoryLimits {
        history_bytes_max: 100_000,
        ..limits()
    });
    let text = "x".repeat(500);
    let mut epochs = Vec::new();
    // Each room holds some 15 KB, so the budget is full with six of them.
    for n in 0..10_u64 {
        let name = room(&format!("chat:{n}"));
        for _ in 0..EACH {
            stage
                .engine
                .append(name.clone(), draft("alice", &text), T0 + n)
                .await
                .unwrap();
        }
        epochs.push(
            stage
                .engine
                .read(name, Read::Newest { limit: 1 }, T0 + n)
                .await
                .unwrap()
                .epoch,
        );
    }
    let recovered = |n: usize| {
        let after = Some(Position {
            epoch: epochs[n].clone(),
            offset: 0,
        });
        stage
            .engine
            .read(room(&format!("chat:{n}")), Read::Join { after }, T0 + 10)
    };
    let (mut kept, mut bytes) = (Vec::new(), 0);
    for n in 0..10 {
        let history = recovered(n).await.unwrap();
        assert_eq!(history.top, EACH, "offsets outlive the history");
        kept.push(history.recovered == Some(true));
        bytes += history.messages.iter().map(|m| m.weight()).sum::<usize>();
        if history.recovered == Some(true) {
            assert_eq!(history.messages.len(), 20);
        }
    }
    assert!(bytes <= 100_000, "{bytes}");
    assert!(!kept[0] && kept[9], "{kept:?}");
    assert!(
        kept.windows(2).all(|w| w[0] <= w[1]),
        "who spoke later keeps more: {kept:?}"
    );
    assert!(kept.iter().filter(|k| **k).count() >= 4, "{kept:?}");

    // The oldest room speaks again: it is the others that pay now, whoever speaks at the same time.
    at_once(4, |_| {
        let (engine, text) = (stage.engine.clone(), text.clone());
        async move {
            for _ in 0..15 {
                engine
                    .append(room("chat:0"), draft("alice", &text), T0 + 20)
                    .await
                    .unwrap();
            }
        }
    })
    .await;
    let first = stage
        .engine
        .read(
            room("chat:0"),
            Read::After {
                offset: EACH,
                limit: 100,
            },
            T0 + 20,
        )
        .await
        .unwrap();
    assert_eq!(first.messages.len(), 60);
    assert_eq!(recovered(5).await.unwrap().recovered, Some(false));
    stage.assert_orderly();
}
