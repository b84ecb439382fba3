//! The worker's side: the hidden command `worker`.

use std::io::BufRead;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::value::RawValue;

use super::{Order, Report, Scenario, Task};
use crate::clock::Nanos;
use crate::error::{Error, Result};
use crate::history::tap::Tap;
use crate::host::limits;
use crate::output::note;
use crate::series::{Outlet, Series};
use crate::{churn, counts, idle, room, storm};

/// Most orders waiting to be followed.
const ORDERS_MAX: usize = 16;
/// How often a sign of life is given.
const BEAT: Duration = Duration::from_secs(1);
/// Exit code of a worker whose coordinator is gone.
const ORPHANED: i32 = 3;

/// The line to the coordinator.
pub struct Link {
    orders: Receiver<Order>,
    course_from: Option<Nanos>,
    history: Option<PathBuf>,
}

impl Link {
    /// What the coordinator said next, if it has.
    pub fn order(&self) -> Option<Order> {
        self.orders.try_recv().ok()
    }

    /// Says something.
    pub fn tell(&self, report: &Report) -> Result<()> {
        say(report)
    }

    /// This worker's part of the course, whose seconds are told as they end.
    pub fn series(&self) -> Result<Option<Series>> {
        let tell: Outlet = |second| {
            // A coordinator that cannot be told is gone, and this process ends with it.
            let _ = say(&Report::Second(second.clone()));
        };
        self.course_from
            .map(|began| Series::part(began, tell))
            .transpose()
    }

    /// This worker's part of the history.
    pub fn tap(&self) -> Result<Option<Box<Tap>>> {
        let tap = self.history.as_deref().map(Tap::create).transpose()?;
        Ok(tap.map(Box::new))
    }

    /// From now on gives a sign of life whenever `turns` has grown: an event loop that hangs is silent.
    pub fn beat(&self, turns: Arc<AtomicU64>) {
        std::thread::spawn(move || {
            let mut seen = 0;
            loop {
                std::thread::sleep(BEAT);
                let now = turns.load(Ordering::Relaxed);
                if now != seen && say(&Report::Alive).is_err() {
                    return;
                }
                seen = now;
            }
        });
    }
}

fn say(report: &Report) -> Result<()> {
    let line = serde_json::to_string(report).map_err(|e| Error::Process(e.to_string()))?;
    note(&line);
    Ok(())
}

/// Reads a task from stdin and does it. Ends the process when stdin closes.
pub fn run() -> Result<()> {
    let mut lines = std::io::BufReader::new(std::io::stdin()).lines();
    let task = match lines.next() {
        Some(Ok(line)) => serde_json::from_str::<Task>(&line),
        _ => {
            return Err(Error::Usage(
                "a worker is started by --workers, not by hand".to_owned(),
            ));
        }
    };
    let (sender, orders) = sync_channel(ORDERS_MAX);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else {
                break;
            };
            if sender.send(order).is_err() {
                break;
            }
        }
        // Nobody is there to report to, and nobody would end us.
        std::process::exit(ORPHANED);
    });
    let (course_from, history) = match &task {
        Ok(task) => (task.course_from, task.history.clone()),
        Err(_) => (None, None),
    };
    let link = Link {
        orders,
        course_from,
        history,
    };
    let result = task
        .map_err(|e| Error::Process(format!("a task that cannot be read: {e}")))
        .and_then(|task| work(&task, &link));
    match result {
        Ok(books) => link.tell(&Report::Done(books)),
        Err(error) => link.tell(&Report::Failed(error.to_string())),
    }
}

fn work(task: &Task, link: &Link) -> Result<Box<RawValue>> {
    let stage = task.stage();
    match &task.scenario {
        Scenario::Room(plan) => {
            limits::allow(task.share.count(plan.connections()))?;
            room::split::work(plan, &stage, task.share, link)
        }
        Scenario::Idle(plan) => {
            limits::allow(idle::split::connections(plan, task.share))?;
            idle::split::work(plan, &stage, task.share, link)
        }
        Scenario::Counts(plan) => {
            limits::allow(plan.connections_of(task.share))?;
            counts::split::work(plan, &stage, task.share, link)
        }
        Scenario::Churn(plan) => {
            limits::allow(plan.connections_of(task.share))?;
            churn::split::work(plan, &stage, task.share, link)
        }
        Scenario::Storm(plan) => {
            limits::allow(plan.connections_of(task.share))?;
            storm::split::work(plan, &stage, task.share, link)
        }
    }
}
