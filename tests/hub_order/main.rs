//! Order and loss on the way from the engine to the wires, with several threads: whatever viewers do, each reads
//! every message once and in order, or is told which are missing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "these are tests"
)]

mod reading;
mod viewer;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::clock::Clock;
use countersign::config::Config;
use countersign::core::room::PENDING_BYTES_MAX;
use countersign::core::stream::{Draft, Source};
use countersign::engine::{Engine, Read};
use countersign::node::{Node, memory_engine};
use countersign_protocol::RoomName;
use countersign_protocol::client::Priority;
use serde_json::value::RawValue;

use reading::{Ledger, Seen};
use viewer::{Random, Viewer};

/// A test that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(120);

fn start() -> (Arc<Node>, Clock) {
    let mut config = Config::default();
    // No limit.
    config.limits.room_rate.count = 0;
    let clock = Clock::manual(1_000_000);
    let memory = memory_engine(&config);
    let engine = Engine::Memory(Arc::clone(&memory));
    let built = Node::build(config, engine, clock.clone(), "http://localhost".into(), 10_000).unwrap();
    memory.attach(Arc::clone(&built.sink) as Arc<_>);
    (built.start(), clock)
}

/// One of the publishers of a room. Respects the room's bound most of the time.
async fn publish(
    node: Arc<Node>,
    clock: Clock,
    ledger: Arc<Ledger>,
    room: String,
    first: u64,
    messages: u64,
) {
    let name = RoomName::parse(&room).unwrap();
    let mut random = Random::new(first);
    for n in first..first + messages {
        let priority = match random.below(100) {
            0..3 => Priority::High,
            3..20 => Priority::Low,
            _ => Priority::Normal,
        };
        let draft = Draft {
            from: None,
            source: Some(Source::Server),
            cid: None,
            priority,
            body: RawValue::from_string(format!("{{\"n\":{n}}}")).unwrap(),
        };
        let sequenced = node
            .engine
            .append(name.clone(), draft, clock.now())
            .await
            .unwrap();
        ledger.agree(&room, sequenced.offset, n);
        if random.below(8) == 0 {
            clock.advance(1);
            tokio::task::yield_now().await;
        }
        while random.below(10) != 0
            && node
                .hub
                .room(&name)
                .is_some_and(|r| r.pending_bytes() > PENDING_BYTES_MAX)
        {
            tokio::task::yield_now().await;
        }
    }
}

/// `members` viewers of each room, each viewer in `rooms_each` of them; two publishers per room.
async fn run(rooms: usize, viewers: usize, rooms_each: usize, messages: u64) -> Seen {
    let (node, clock) = start();
    let rooms: Vec<String> = (0..rooms).map(|n| format!("chat:r{n}")).collect();
    let ledger = Arc::new(Ledger::new(&rooms, messages));
    let half = messages / 2;
    let open = Arc::new(AtomicUsize::new(rooms.len() * 2));

    let mut tasks = Vec::new();
    for v in 0..viewers {
        let mine: Vec<String> = (0..rooms_each)
            .map(|n| rooms[(v + n) % rooms.len()].clone())
            .collect();
        let (node, ledger, open) = (Arc::clone(&node), Arc::clone(&ledger), Arc::clone(&open));
        tasks.push(tokio::spawn(async move {
            let mut viewer = Viewer::new(&node, &ledger, &mine, v as u64 + 1);
            while open.load(Ordering::Acquire) > 0 {
                viewer.step().await;
            }
            let mut tops = Vec::new();
            for room in &mine {
                let name = RoomName::parse(room).unwrap();
                tops.push(
                    node.engine
                        .read(name, Read::Newest { limit: 1 }, 0)
                        .await
                        .unwrap()
                        .top,
                );
            }
            viewer.catch_up(&tops).await
        }));
    }
    for room in &rooms {
        for publisher in 0..2 {
            let first = 1 + publisher * half;
            let work = publish(
                Arc::clone(&node),
                clock.clone(),
                Arc::clone(&ledger),
                room.clone(),
                first,
                half,
            );
            let open = Arc::clone(&open);
            tokio::spawn(async move {
                work.await;
                open.fetch_sub(1, Ordering::Release);
            });
        }
    }
    let mut seen = Seen::default();
    for task in tasks {
        seen += tokio::time::timeout(PATIENCE, task)
            .await
            .expect("a viewer waits for ever")
            .unwrap();
    }
    assert_eq!((node.hub.connection_count(), node.hub.room_count()), (0, 0));
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_room_of_forty() {
    let seen = run(1, 40, 1, 100_000).await;
    assert!(
        seen.messages > 100_000 && seen.gaps > 0 && seen.counts > 0,
        "{seen:?}"
    );
    assert!(seen.joins > 100 && seen.recoveries > 0, "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn rooms_with_shared_members() {
    let seen = run(6, 24, 2, 20_000).await;
    assert!(
        seen.messages > 20_000 && seen.joins > 100 && seen.recoveries > 0,
        "{seen:?}"
    );
}
