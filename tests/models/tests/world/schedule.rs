//! Under which schedules a story is told, and which ways it goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

/// Bytes of each thread's stack.
const STACK: usize = 1 << 20;
/// Turns that a schedule of the second kind takes from who would have them.
const CHANGES: usize = 4;
/// Schedules of each kind.
const SCHEDULES: usize = 1_000;

/// Tells a story under schedules drawn at random, and under such as let one thread go on but for a few changes: most
/// mistakes take few. Answers which ways it went.
pub fn told(story: fn(&Ways)) -> Ways {
    let schedules = std::env::var("COUNTERSIGN_MODELS").map_or(SCHEDULES, |n| n.parse().unwrap());
    let mut config = Config::new();
    config.stack_size = STACK;
    let ways = Ways::default();
    let (random, few) = (ways.clone(), ways.clone());
    Runner::new(RandomScheduler::new(schedules), config.clone()).run(move || story(&random));
    Runner::new(PctScheduler::new(CHANGES + 1, schedules), config).run(move || story(&few));
    ways
}

/// How often a story has gone which way, over all its schedules.
#[derive(Clone, Default)]
pub struct Ways(Arc<std::sync::Mutex<BTreeMap<&'static str, usize>>>);

impl Ways {
    pub fn count(&self, way: &'static str) {
        *self.0.lock().unwrap().entry(way).or_default() += 1;
    }

    /// All of these were taken: what was asked of them was asked.
    pub fn all(&self, expected: &[&'static str]) {
        let taken = self.0.lock().unwrap();
        let missing: Vec<_> = expected.iter().filter(|way| !taken.contains_key(*way)).collect();
        assert!(
            missing.is_empty(),
            "no schedule has gone {missing:?}, only {taken:?}"
        );
    }
}
