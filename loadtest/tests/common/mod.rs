//! Servers for the tester to be tested on: the floor on a thread, and a gateway in miniature whose faults
//! are planted.

// Each test file uses its own part of this.
#![allow(dead_code)]

pub(crate) mod desk;
pub(crate) mod fake;
pub(crate) mod line;
pub(crate) mod lively;
pub(crate) mod newcomer;
pub(crate) mod relay;
pub(crate) mod talk;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use countersign_loadtest::clock::{self, MILLI, Nanos, SECOND};
use countersign_loadtest::fleet::{Dialect, Pace};
use countersign_loadtest::floor::{Floor, FloorOptions};
use countersign_loadtest::output::Progress;
use countersign_loadtest::room::{Load, RoomPlan, Stage, Variant};
use countersign_loadtest::target::{Remote, Sources, Target};

/// What is lost never comes, and a run in which something is waits this long for it: long enough for everything
/// else to come on a machine that is busy with other things.
pub(crate) const LOSSY_DRAIN: Nanos = 2 * SECOND;

/// Members join in the order of their numbers: a server's second is the tester's second.
pub(crate) const ONE_BY_ONE: Pace = Pace {
    in_flight: 1,
    per_second: 0.0,
};

/// The floor on a thread; ends when dropped.
pub(crate) struct FloorThread {
    pub addr: SocketAddr,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl FloorThread {
    pub(crate) fn start(frame_bytes: usize, coalesce: bool) -> FloorThread {
        let options = FloorOptions {
            frame_bytes,
            coalesce,
        };
        let mut floor = Floor::bind("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let addr = floor.local_addr();
        let (stop, watched) = UnixStream::pair().unwrap();
        let thread = std::thread::spawn(move || {
            let watched = OwnedFd::from(watched);
            floor.run(Some(&watched), clock::now() + 120 * SECOND).unwrap();
        });
        FloorThread {
            addr,
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for FloorThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

pub(crate) fn target(addr: SocketAddr) -> Target {
    Target::parse(&format!("ws://{addr}"), Remote::Refused).unwrap()
}

/// A stage without sessions; tests change what they need.
pub(crate) fn stage(target: &Target, dialect: Dialect) -> Stage<'_> {
    Stage {
        target,
        dialect,
        sources: Sources::new(target, 150),
        pace: Pace {
            in_flight: 50,
            per_second: 0.0,
        },
        sessions: &[],
        anonymous: false,
        server: None,
        namespace: "default",
        run: 0x00c0_ffee,
        until: clock::now() + 60 * SECOND,
        progress: Progress::hidden(),
    }
}

/// A short run: `rooms` of `per_room`, everything decoded.
pub(crate) fn plan(rooms: usize, per_room: usize, load: Load) -> RoomPlan {
    RoomPlan {
        rooms,
        per_room,
        publishers: 1,
        load,
        acks: load.acks(),
        body_bytes: 128,
        warmup: 50 * MILLI,
        window: 300 * MILLI,
        drain: 10 * SECOND,
        check: true,
        decode_every: 1,
        variant: Variant::default(),
    }
}
