//! The load tester's second source of what a gateway costs: what its operator's port says is what the system says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use common::TestServer;
use common::load::{bench, drive};
use countersign_loadtest::clock::{self, MILLI, SECOND};
use countersign_loadtest::host::metrics::{Reader, TICK};
use countersign_loadtest::host::process::{CpuSource, resident_bytes_nearly};
use countersign_loadtest::host::server::Server;
use countersign_loadtest::room::{self, Load, Records, RoomPlan, Stage, Variant};
use countersign_loadtest::series::Series;
use countersign_loadtest::target::{Remote, Target};

/// Keeps a processor busy for so long, by its own time.
fn work(span: u64) {
    let until = clock::thread_cpu() + span;
    while clock::thread_cpu() < until {
        std::hint::black_box((0..10_000_u64).sum::<u64>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_port_says_what_the_system_says() {
    let server = TestServer::start(bench).await;
    let url = format!("http://{}/metrics", server.operator);
    let task = tokio::task::spawn_blocking(move || {
        let reader = Reader::start(Target::metrics(&url, Remote::Refused).unwrap()).unwrap();
        // The gateway is in this process.
        let outer = clock::process_cpu();
        let begun = Server::Metrics(&reader).begin().unwrap();
        let first = reader.ask().wait().unwrap();
        let inner = clock::process_cpu();
        work(300 * MILLI);
        let inner = clock::process_cpu() - inner;
        let span = begun.end().unwrap();
        let outer = clock::process_cpu() - outer;
        assert_eq!(span.source, CpuSource::Metrics);
        // Threads that run at that moment are counted to their last tick of the scheduler.
        let cut = 4 * TICK;
        assert!(
            span.cpu + cut >= inner && span.cpu <= outer + cut,
            "{inner} {span:?} {outer}"
        );
        assert!(inner >= 300 * MILLI && span.error.is_some_and(|error| error >= 2 * TICK));
        let system = resident_bytes_nearly(std::process::id()).unwrap();
        let told = first.memory_bytes();
        assert!(
            told > 1_000_000 && told / 2 < system && system / 2 < told,
            "{told} {system}"
        );
    });
    task.await.unwrap();
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_is_measured_by_the_gateways_own_metrics() {
    let server = TestServer::start(bench).await;
    let url = format!("http://{}/metrics", server.operator);
    let addr = server.addr;
    let outcome = drive(addr, 2, move |stage| {
        let reader = Reader::start(Target::metrics(&url, Remote::Refused).unwrap()).unwrap();
        let stage = Stage {
            server: Some(Server::Metrics(&reader)),
            ..*stage
        };
        let load = Load::InFlight { messages: 8 };
        let plan = RoomPlan {
            rooms: 1,
            per_room: 20,
            publishers: 2,
            acks: load.acks(),
            load,
            body_bytes: 128,
            warmup: 100 * MILLI,
            window: 1_500 * MILLI,
            drain: 60 * SECOND,
            check: false,
            decode_every: 100,
            variant: Variant::default(),
        };
        let records = Records {
            series: Some(Series::new(stage.server).unwrap()),
            tap: None,
        };
        room::recorded(&plan, &stage, records).unwrap()
    })
    .await;
    let (result, course) = (outcome.result, outcome.course.unwrap());
    assert_eq!((result.lost, result.members_short, result.unanswered), (0, 0, 0));
    assert!(result.tally.delivered > 0 && result.tally.delivered == result.expected);
    let usage = &result.usage;
    assert_eq!(usage.server_cpu_source, Some(CpuSource::Metrics));
    // A burst: the gateway works all the time.
    assert!(usage.server_cpu_seconds.unwrap() > 0.0, "{usage:?}");
    assert!(usage.server_cpu_error_seconds.unwrap() >= 0.02, "{usage:?}");
    assert!(result.rss_bytes.unwrap() > 1_000_000);
    assert!(
        course.rows.iter().all(|row| row.rss_bytes.is_some()),
        "{:?}",
        course.rows
    );
    assert!(
        course.rows.iter().any(|row| row.server_cores.is_some()),
        "{:?}",
        course.rows
    );
    server.stop().await;
}
