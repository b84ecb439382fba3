//! Coming, going and being counted.

use countersign::hub::MemoryWire;

use super::Path;
use crate::stage::{Stage, device, room, served};

/// Joins and leaves of one run.
const STAYS: u64 = 32;
/// Connections of one run.
const CONNECTIONS: u64 = 4;

pub fn paths() -> Vec<Path> {
    vec![
        Path::new("room/join_leave_10", (STAYS, "stay"), || join_and_leave(10)),
        Path::new("room/join_leave_10000", (STAYS, "stay"), || {
            join_and_leave(10_000)
        }),
        Path::new("room/counts_to_1000", (1_000, "delivery"), counts),
        Path::new(
            "connection/sign_in_join",
            (CONNECTIONS, "connection"),
            sign_in_and_join,
        ),
    ]
}

/// A signed-in user joins a room of `n` others and leaves it. What the others are told is told later, once for all.
fn join_and_leave(n: u64) -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let wires = stage.populate(&room(), n);
    let token = stage.token("alice");
    let (connection, wire) = stage.signed_in(&token);
    move || {
        let (node, before) = (stage.node(), wire.writes());
        stage.run(async {
            for _ in 0..STAYS {
                stage.join(&connection).await;
                node.leave(&connection, room().as_str()).await.unwrap();
            }
        });
        assert_eq!(wires.len() as u64, n);
        wire.writes() - before
    }
}

/// A counter was raised, and every member is told.
fn counts() -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let wires = stage.populate(&room(), 1_000);
    let mut before = 0;
    served(&wires, &mut before);
    move || {
        stage.clock.advance(1_000);
        let now = stage.clock.now();
        stage
            .run(stage.node().engine.add(room(), "likes".into(), 1, now))
            .unwrap();
        stage.settle();
        served(&wires, &mut before)
    }
}

/// What a connection costs after its handshake: token, session, a room of a thousand, and its end.
fn sign_in_and_join() -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let wires = stage.populate(&room(), 1_000);
    let tokens: Vec<_> = (0..CONNECTIONS)
        .map(|n| stage.token(&format!("alice-{n}")))
        .collect();
    let device = device();
    move || {
        let node = stage.node();
        let mut joined = 0;
        for token in &tokens {
            let connection = stage.connect(MemoryWire::counting());
            stage.run(async {
                let session = node.authenticate(token, Some(&device), None).await.unwrap();
                node.sign_in(&connection, session).await.unwrap();
                stage.join(&connection).await;
                joined += connection.subscription_count() as u64;
                node.leave(&connection, room().as_str()).await.unwrap();
            });
            node.hub.unregister(&connection);
        }
        assert_eq!(wires.len(), 1_000);
        joined
    }
}
