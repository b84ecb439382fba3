//! A hundred thousand QR logins whose timers fall together, on a clock that is moved by hand and one thread.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use countersign::clock::Clock;
use countersign::config::{Config, Profile};
use countersign::engine::{Create, Engine, Present};
use countersign::http::router;
use countersign::hub::{Connection, Requester, Wire};
use countersign::node::{Node, QrRequest, memory_engine};
use countersign::ops::metrics::Format;
use countersign::ws;
use countersign_protocol::{ErrorCode, RoomName};
use serde_json::json;
use tokio::net::TcpListener;

use super::bound::assert_come_back;
use super::exposition::Exposition;
use crate::common::{self, Answer};

const ATTEMPTS: u32 = 100_000;
const WATCHED: u32 = 2_000;
const T0: u64 = 1_790_000_000_000;

fn request(n: u32) -> QrRequest {
    let text = format!(r#"{{"device":{{"id":"pc-{n}"}}}}"#);
    QrRequest::read(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn address(n: u32) -> IpAddr {
    Ipv4Addr::from(0x0a00_0000 + n / 100).into()
}

struct Stage {
    node: Arc<Node>,
    clock: Clock,
    watchers: Vec<Arc<Connection>>,
}

impl Stage {
    async fn new() -> Self {
        let mut config = Config {
            limits_profile: Profile::Bench,
            ..Config::default()
        };
        config.qr.idle_ms = config.qr.lifetime_ms;
        let (clock, engine) = (Clock::manual(T0), memory_engine(&config));
        let built = Node::build(
            config,
            Engine::Memory(Arc::clone(&engine)),
            clock.clone(),
            "http://127.0.0.1:8080".into(),
            ATTEMPTS as usize,
        )
        .unwrap();
        engine.attach(Arc::clone(&built.sink) as _);
        // Not started: the test asks for what is due itself.
        let node = built.node;
        let mut watchers = Vec::new();
        for n in 0..ATTEMPTS {
            if n < WATCHED {
                let connection = node.open_connection(address(n), Wire::Woken, |_| Bytes::new());
                node.open_qr(&connection, &request(n), |_| Bytes::from_static(b"ok"))
                    .await
                    .unwrap();
                watchers.push(connection);
            } else {
                node.open_qr_unwatched(address(n), Requester::default(), &request(n))
                    .await
                    .unwrap();
            }
        }
        Self {
            node,
            clock,
            watchers,
        }
    }

    /// One more, over HTTP, from an address that has none.
    async fn one_more(&self) -> Answer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let server = ws::Server::start(Arc::clone(&self.node), listener, router(&self.node));
        let body = json!({"device": {"id": "one-more"}});
        let answer = common::request(addr, "POST", "/v1/qr").json(&body).send().await;
        server.stop().await;
        answer
    }

    fn read(&self) -> Exposition {
        Exposition::parse(&self.node.metrics_text(Format::OpenMetrics))
    }

    /// Ticks until `done`; answers how many were dealt with in each, by `count`, and how often another task had
    /// its turn meanwhile.
    async fn tick_until(&self, all: f64, count: impl Fn(&Exposition) -> f64) -> Vec<(f64, usize)> {
        let turns = Arc::new(AtomicUsize::new(0));
        let others = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move {
                loop {
                    turns.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        let (mut ticks, mut before) = (Vec::new(), 0.0);
        while before < all {
            let node = Arc::clone(&self.node);
            let had = turns.load(Ordering::Relaxed);
            tokio::spawn(async move { node.deal_with_due().await })
                .await
                .unwrap();
            let now = count(&self.read());
            assert!(
                now > before,
                "a tick that does nothing while {before} of {all} are done"
            );
            ticks.push((now - before, turns.load(Ordering::Relaxed) - had));
            before = now;
        }
        others.abort();
        ticks
    }
}

#[tokio::test]
async fn a_burst_of_timers_is_spread_and_lets_others_work() {
    let all = f64::from(ATTEMPTS);
    let stage = Stage::new().await;
    let full = stage.read();
    assert_eq!(
        full.get("countersign_qr_kept_limit"),
        all,
        "the bound as it is by default"
    );
    assert_come_back(&stage.one_more().await, 503, ErrorCode::Unavailable);
    let waiting = "countersign_qr_live{state=\"waiting\"}";
    assert_eq!((full.get(waiting), stage.read().get(waiting)), (all, all));
    // A room whose time comes behind all of theirs.
    let room = RoomName::parse("chat:lobby").unwrap();
    let present = Present {
        connection: 1,
        member: None,
    };
    stage.clock.advance(44_999);
    let (engine, now) = (&stage.node.engine, stage.clock.now());
    engine
        .enter(room.clone(), present, Create::Allowed, now)
        .await
        .unwrap();
    engine.leave(room.clone(), 1, now).await.unwrap();
    stage.clock.advance(1_001);

    let rotations = |now: &Exposition| now.get("countersign_qr_rotations_total");
    let node = Arc::clone(&stage.node);
    node.deal_with_due().await;
    let first = rotations(&stage.read());
    assert!((2_048.0..=2_560.0).contains(&first), "{first}");
    let there = engine.view(room, stage.clock.now()).await.unwrap();
    assert_eq!(there, None, "the room was not held back by those before it");
    let ticks = stage.tick_until(all, rotations).await;
    for (dealt, turns) in &ticks[1..] {
        assert!(*dealt <= 2_560.0, "{dealt} in one tick");
        // Tasks take turns after 128 steps.
        assert!(
            *turns as f64 >= dealt / 128.0 - 2.0,
            "{turns} turns beside {dealt}"
        );
    }
    assert_eq!(rotations(&stage.read()), all, "each rotated once");

    // To the end of their lives, and of their records.
    for _ in 0..5 {
        stage.clock.advance(45_000);
        let done = rotations(&stage.read());
        let ticks = stage
            .tick_until(all, |now: &Exposition| rotations(now) - done)
            .await;
        assert!(ticks.iter().all(|(dealt, _)| *dealt <= 2_560.0));
    }
    stage.clock.advance(300_000 - 6 * 45_000 - 1_000);
    let idle = |now: &Exposition| now.get("countersign_qr_ended_total{state=\"expired\",reason=\"idle\"}");
    stage.tick_until(all, idle).await;
    let now = stage.read();
    assert!(now.nonzero("countersign_qr_live").is_empty());
    assert_eq!(
        now.nonzero("countersign_qr_ended_total").len(),
        1,
        "for no other reason"
    );
    assert_eq!(now.get("countersign_qr_kept"), all, "readable for a while");
    assert_eq!(
        now.get("countersign_qr_push_seconds_count"),
        f64::from(WATCHED) * 7.0,
        "who watches was told of each code and of the end"
    );
    assert_eq!(stage.node.hub.watch_count(), 0);
    stage.clock.advance(60_000);
    stage
        .tick_until(all, |now: &Exposition| all - now.get("countersign_qr_kept"))
        .await;
    assert!(engine.due(u64::MAX, 1).await.unwrap().is_empty());
    assert_eq!(stage.watchers.len(), WATCHED as usize);
    assert_eq!(stage.one_more().await.status, 201, "there is room again");
}
