//! The load tester's scenarios, driven by its library against a gateway of a test's own.

use std::net::SocketAddr;

use countersign::config::{Config, Profile};
use countersign_loadtest::accounts::{self, AccountPlan, Session};
use countersign_loadtest::clock::{self, SECOND};
use countersign_loadtest::fleet::{Dialect, Pace};
use countersign_loadtest::host::server::Server;
use countersign_loadtest::metric::Metrics;
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::Stage;
use countersign_loadtest::target::{Remote, Sources, Target};

/// Rates that no load of a test meets.
pub fn bench(config: &mut Config) {
    config.limits_profile = Profile::Bench;
}

/// Drives a gateway with so many accounts from a thread of its own.
pub async fn drive<T: Send + 'static>(
    addr: SocketAddr,
    users: usize,
    scenario: impl FnOnce(&Stage<'_>) -> T + Send + 'static,
) -> T {
    let task = tokio::task::spawn_blocking(move || {
        let target = Target::parse(&format!("ws://{addr}"), Remote::Refused).unwrap();
        let mut stage = Stage {
            target: &target,
            dialect: Dialect::Countersign,
            sources: Sources::new(&target, 150),
            pace: Pace {
                in_flight: 20,
                per_second: 0.0,
            },
            sessions: &[],
            anonymous: false,
            server: Some(Server::Pid(std::process::id())),
            namespace: "default",
            // Runs on one gateway have accounts of their own.
            run: u32::try_from(clock::now() & 0xffff_ffff).unwrap(),
            until: clock::now() + 600 * SECOND,
            progress: Progress::hidden(),
        };
        let plan = AccountPlan {
            users,
            at_once: 2,
            until: stage.until,
        };
        let (sessions, _): (Vec<Session>, _) =
            accounts::make(&target, stage.sources, stage.run, &plan, &stage.progress).unwrap();
        stage.sessions = &sessions;
        scenario(&stage)
    });
    task.await.unwrap()
}

/// A metric that was measured.
pub fn value(metrics: &Metrics, name: &str) -> f64 {
    metrics.named(name).unwrap().value.unwrap()
}

/// Asserts that all these metrics are 0.
pub fn zero(metrics: &Metrics, names: &[&str]) {
    for name in names {
        let found = value(metrics, name);
        assert!(found.abs() < 0.5, "{name} is {found}: {metrics:?}");
    }
}
