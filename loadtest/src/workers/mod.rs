//! Worker processes: one process may have only so many descriptors, so a run of more connections is
//! shared among children of this program.
//!
//! Each child drives its share of the connections from source addresses of its own. Coordinator and child
//! speak in lines of JSON on the child's stdin and stdout: a [`Task`], then [`Order`]s down and [`Report`]s
//! up. A child ends when its stdin closes, so none outlives the coordinator.

pub mod child;
pub mod crew;

use std::path::{Path, PathBuf};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::accounts::Session;
use crate::churn::ChurnPlan;
use crate::cli::Common;
use crate::clock::Nanos;
use crate::counts::CountsPlan;
use crate::error::{Error, Result};
use crate::fleet::{Dialect, Pace};
use crate::host::usage::Usage;
use crate::idle::IdlePlan;
use crate::output::Progress;
use crate::room::{RoomPlan, Share, Stage};
use crate::series::Second;
use crate::storm::StormPlan;
use crate::target::{Sources, Target};

/// Most workers of a run.
pub const WORKERS_MAX: usize = 64;

/// How many processes drive the connections.
#[derive(Debug, Clone, Copy, Args)]
pub struct WorkerArgs {
    /// Processes that drive the connections; more than 1 for more connections than one process may have
    /// descriptors.
    #[arg(long, default_value_t = 1)]
    pub workers: usize,
}

impl WorkerArgs {
    /// The number of workers, if it is one that can be.
    pub fn count(&self) -> Result<usize> {
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return Err(Error::Usage(format!(
                "--workers is 1 to {WORKERS_MAX}, not {}",
                self.workers
            )));
        }
        Ok(self.workers)
    }

    /// The same for rooms, whose members may be in all processes.
    pub fn count_for_room(&self, common: &Common) -> Result<usize> {
        if self.workers > 1 && common.protocol.echoes() {
            return Err(Error::Usage(format!(
                "--workers: --protocol {} has no offsets, by which what several processes saw of a room could be \
                 put together; leave --workers out",
                common.protocol.name()
            )));
        }
        self.count()
    }

    /// The same for a scenario that is shared by whole rooms.
    pub fn count_by_rooms(&self, scenario: &str, rooms: usize) -> Result<usize> {
        if self.workers > rooms {
            return Err(Error::Usage(format!(
                "--workers {}: {scenario} is shared by whole rooms, as one process alone can say what became of a \
                 room, and there are {rooms}; name at most as many workers, or more --rooms",
                self.workers
            )));
        }
        self.count()
    }
}

/// What a worker is to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Task {
    pub scenario: Scenario,
    pub share: Share,
    target: Target,
    dialect: Dialect,
    sources: Sources,
    in_flight: usize,
    per_second: f64,
    sessions: Vec<Session>,
    anonymous: bool,
    namespace: String,
    run: u32,
    until: Nanos,
    /// When the course of the run began, when it is recorded.
    course_from: Option<Nanos>,
    /// Where the history of this share goes, when it is recorded.
    history: Option<PathBuf>,
}

/// What all workers of a run drive together.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scenario {
    Room(RoomPlan),
    Idle(IdlePlan),
    Counts(CountsPlan),
    Churn(ChurnPlan),
    Storm(StormPlan),
}

/// What the coordinator says after the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Begin to send at this instant of the monotonic clock, which all processes of a machine share.
    Start(Nanos),
    /// `idle`: go on to the stop of this index.
    Stop(usize),
    /// `idle`: let each connection send its second message.
    Speak,
    /// `idle`: a quiet span begins.
    Quiet,
    /// `storm`: all are back, or the time for it is up; the storm was over at this instant.
    Over(Nanos),
    /// What was acknowledged before this instant has been waited for in all processes.
    Waited(Nanos),
    /// Close the connections and report what was counted.
    Finish,
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// Its event loop has turned since it last said so.
    Alive,
    /// It did what it was told to, and waits for the next order.
    Ready(Box<RawValue>),
    /// A second of its course has ended.
    Second(Second),
    /// How far it is.
    State(Box<RawValue>),
    /// All that it counted; nothing follows.
    Done(Box<RawValue>),
    /// Why it ended without a result.
    Failed(String),
}

/// What a worker was to the machine in the measured span.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkerShare {
    pub connections: usize,
    /// Share of one core, 0 to 1.
    pub tester_share: f64,
    /// Share of the span it waited for a processor.
    pub tester_wait: f64,
    pub saturated: bool,
}

impl WorkerShare {
    /// Of the usage of a worker's thread.
    pub fn of(connections: usize, usage: &Usage) -> WorkerShare {
        WorkerShare {
            connections,
            tester_share: usage.tester_share,
            tester_wait: usage.tester_wait,
            saturated: usage.saturated,
        }
    }

    /// Makes the tester's part of `usage` that of the busiest worker: one that is saturated is enough to
    /// doubt the figures.
    pub fn into_usage(workers: &[WorkerShare], usage: &mut Usage) {
        let most = |of: fn(&WorkerShare) -> f64| workers.iter().map(of).fold(0.0, f64::max);
        usage.tester_share = most(|w| w.tester_share);
        usage.tester_wait = most(|w| w.tester_wait);
        usage.saturated = workers.iter().any(|w| w.saturated);
    }
}

impl Task {
    /// The task of one worker. No share has more than `most` connections: each has a range of source
    /// addresses of its own.
    pub fn of(scenario: Scenario, stage: &Stage<'_>, share: Share, most: usize) -> Task {
        Task {
            scenario,
            share,
            target: stage.target.clone(),
            dialect: stage.dialect,
            sources: stage.sources.part(share.index, most),
            in_flight: (stage.pace.in_flight / share.of.max(1)).max(1),
            per_second: stage.pace.per_second / share.of.max(1) as f64,
            sessions: stage.sessions.to_vec(),
            anonymous: stage.anonymous,
            namespace: stage.namespace.to_owned(),
            run: stage.run,
            until: stage.until,
            course_from: None,
            history: None,
        }
    }

    /// The same, whose course by the second is recorded, of a run that began at `began`, and its history in `history`.
    pub fn recorded(self, began: Nanos, history: Option<PathBuf>) -> Task {
        Task {
            course_from: Some(began),
            history,
            ..self
        }
    }

    /// The stage a worker acts on. The server's process is watched by the coordinator alone.
    pub fn stage(&self) -> Stage<'_> {
        Stage {
            target: &self.target,
            dialect: self.dialect,
            sources: self.sources,
            pace: Pace {
                in_flight: self.in_flight,
                per_second: self.per_second,
            },
            sessions: &self.sessions,
            anonymous: self.anonymous,
            server: None,
            namespace: &self.namespace,
            run: self.run,
            until: self.until,
            progress: Progress::hidden(),
        }
    }
}

/// Where worker `index` writes its part of the history `path`: `FILE.0`, `FILE.1`, …
pub fn history_part(path: &Path, index: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

/// `value` as it travels.
pub fn pack<T: Serialize>(value: &T) -> Result<Box<RawValue>> {
    serde_json::value::to_raw_value(value).map_err(|e| Error::Process(format!("writing for a process: {e}")))
}

/// What travelled.
pub fn unpack<'a, T: Deserialize<'a>>(value: &'a RawValue) -> Result<T> {
    serde_json::from_str(value.get()).map_err(|e| Error::Process(format!("reading from a worker: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_saturated_worker_marks_the_result() {
        let share = |tester_share, tester_wait, saturated| WorkerShare {
            connections: 10,
            tester_share,
            tester_wait,
            saturated,
        };
        // The coordinator's own part counts for nothing.
        let mut usage = Usage {
            seconds: 1.0,
            tester_share: 1.0,
            tester_wait: 1.0,
            saturated: true,
            steal: 0.01,
            ..Usage::default()
        };
        WorkerShare::into_usage(&[share(0.2, 0.01, false), share(0.1, 0.04, false)], &mut usage);
        assert_eq!(
            (usage.tester_share, usage.tester_wait, usage.steal),
            (0.2, 0.04, 0.01)
        );
        assert!(!usage.saturated && usage.warnings().is_empty());
        WorkerShare::into_usage(&[share(0.2, 0.0, false), share(0.95, 0.0, true)], &mut usage);
        assert!(usage.saturated && usage.warnings().len() == 1);
    }
}
