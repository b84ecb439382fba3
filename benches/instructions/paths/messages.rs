//! A message on its way in: encode, sequence, publish, and the whole of a `send`.

use std::collections::VecDeque;
use std::hint::black_box;
use std::sync::Arc;

use countersign::config::Config;
use countersign::core::stream::Publication;
use countersign::engine::Engine;
use countersign::node::memory_engine;
use countersign::ws::dispatch::{Outcome, start};
use countersign_protocol::client::{Priority, parse};
use countersign_protocol::codec::text_frame;

use super::Path;
use crate::stage::{NOW, Stage, author, body, cid, draft, fill, room, runtime, served};

/// Messages of one run.
const MESSAGES: u64 = 32;

pub fn paths() -> Vec<Path> {
    vec![
        Path::new("message/encode", (1, "message"), encode),
        Path::new("message/append", (MESSAGES, "message"), append),
        Path::new("message/publish", (MESSAGES, "message"), publish),
        Path::new("message/send_to_10", (MESSAGES, "message"), send),
    ]
}

/// The push with its WebSocket header.
fn encode() -> impl FnMut() -> u64 {
    let publication = Publication {
        offset: 42,
        at_ms: NOW,
        from: Some(Arc::new(author())),
        source: None,
        cid: Some(cid(1).into()),
        priority: Priority::Normal,
        body: body(),
    };
    let room = room();
    move || {
        black_box(text_frame(&black_box(&publication).push(&room)));
        1
    }
}

/// Dedupe, number and keep, with nobody to tell.
fn append() -> impl FnMut() -> u64 {
    let mut config = Config::default();
    config.limits.room_rate.count = 0;
    let engine = Engine::Memory(memory_engine(&config));
    let (runtime, author) = (runtime(), Arc::new(author()));
    let mut n = 0;
    move || {
        runtime.block_on(async {
            for _ in 0..MESSAGES {
                n += 1;
                engine.append(room(), draft(&author, n), NOW).await.unwrap();
            }
        });
        MESSAGES
    }
}

/// The same, encoded and put before the flusher of a room, which does not run yet.
fn publish() -> impl FnMut() -> u64 {
    let (stage, author) = (Stage::new(), Arc::new(author()));
    let wires = fill(&stage.node().hub, &room(), 1, 0);
    let mut n = 0;
    move || {
        let node = stage.node();
        stage.run(async {
            for _ in 0..MESSAGES {
                n += 1;
                node.engine.append(room(), draft(&author, n), NOW).await.unwrap();
            }
        });
        assert_eq!(wires.len(), 1);
        assert_eq!(node.hub.last_offset(&room()), Some(n));
        MESSAGES
    }
}

/// From the text of the command to ten wires and the reply, one message at a time.
fn send() -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let mut wires = stage.populate(&room(), 9);
    let token = stage.token("alice");
    let (connection, wire) = stage.signed_in(&token);
    wires.push(wire);
    stage.run(stage.join(&connection));
    stage.publish_due(&room());
    let mut texts: VecDeque<String> = (0..MESSAGES * 2)
        .map(|n| {
            let (cid, body) = (cid(n), body());
            format!(r#"{{"id":{n},"type":"send","room":"chat:lobby","body":{body},"cid":"{cid}"}}"#)
        })
        .collect();
    let mut before = 0;
    served(&wires, &mut before);
    move || {
        for _ in 0..MESSAGES {
            let text = texts.pop_front().unwrap();
            let outcome = stage.run(async {
                let frame = parse(&text).unwrap();
                start(stage.node(), &connection, frame).future.await
            });
            assert_eq!(outcome, Outcome::Replied);
            stage.settle();
        }
        served(&wires, &mut before) / 10
    }
}
