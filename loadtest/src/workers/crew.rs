//! The coordinator's side: children started, told, listened to, and ended whatever happens.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Order, Report, Scenario, Task, history_part};
use crate::clock::{self, MILLI, Nanos, SECOND, seconds};
use crate::error::{Error, Result};
use crate::room::{Share, Stage};
use crate::series::{Course, Joint, Phase};

/// A worker that says nothing for this long has failed.
const SILENCE_MAX: Nanos = 30 * SECOND;
/// Longest wait for the status of a worker that has closed its output.
const ENDING_MAX: Nanos = SECOND;
/// Longest line of a worker, bytes: the books of a run.
const LINE_BYTES_MAX: u64 = 1 << 30;
/// Most reports waiting to be looked at.
const REPORTS_MAX: usize = 1_024;
/// How often something else is looked at while the workers are waited for.
const GLANCE_EVERY: Nanos = 50 * MILLI;
/// How often silence is looked for.
const LOOK_EVERY: Nanos = 250 * MILLI;

struct Worker {
    child: Child,
    stdin: Option<ChildStdin>,
    heard_at: Nanos,
    done: bool,
}

/// The workers of a run. They end with this value.
pub struct Crew {
    workers: Vec<Worker>,
    lines: Receiver<(usize, Option<String>)>,
    silence_max: Nanos,
    /// Workers that were ready before that was asked for: one that is on time may be ahead of who is to wait for it.
    early: Vec<(usize, Box<RawValue>)>,
    /// The course of the run, while it is recorded.
    course: Option<Joint>,
}

/// What a crew is made of: each of so many processes of `program` has a share.
#[derive(Debug, Clone, Copy)]
pub struct Hands<'a> {
    pub program: &'a Path,
    pub workers: usize,
    /// The history of the run, each worker's part in a file of its own; see [`history_part`].
    pub history: Option<&'a Path>,
}

impl Hands<'_> {
    /// So many, without a history.
    pub fn of(program: &Path, workers: usize) -> Hands<'_> {
        Hands {
            program,
            workers,
            history: None,
        }
    }

    /// The shares.
    pub fn shares(&self) -> impl Iterator<Item = Share> {
        let of = self.workers;
        (0..of).map(move |index| Share { index, of })
    }
}

impl Crew {
    /// Starts a crew for `scenario` and records its course. No share has more than `most` connections.
    pub fn raise(hands: Hands<'_>, scenario: &Scenario, stage: &Stage<'_>, most: usize) -> Result<Crew> {
        let course = Joint::new(stage.server, hands.workers)?;
        let task = |share: Share| {
            let part = hands.history.map(|path| history_part(path, share.index));
            Task::of(scenario.clone(), stage, share, most).recorded(course.began(), part)
        };
        let tasks: Vec<Task> = hands.shares().map(task).collect();
        let mut crew = Crew::start(hands.program, &tasks)?;
        crew.course = Some(course);
        Ok(crew)
    }

    /// Starts `program worker` once for each task.
    pub fn start(program: &Path, tasks: &[Task]) -> Result<Crew> {
        let (sender, lines) = sync_channel(REPORTS_MAX);
        let mut crew = Crew {
            workers: Vec::new(),
            lines,
            silence_max: SILENCE_MAX,
            early: Vec::new(),
            course: None,
        };
        for (index, task) in tasks.iter().enumerate() {
            let mut child = Command::new(program)
                .arg("worker")
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(Error::io("starting a worker"))?;
            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
            crew.workers.push(Worker {
                child,
                stdin,
                heard_at: clock::now(),
                done: false,
            });
            if let Some(stdout) = stdout {
                listen(index, stdout, sender.clone());
            }
            crew.say(index, task)?;
        }
        Ok(crew)
    }

    /// A worker that says nothing for `silence` has failed; 30 s unless said.
    #[must_use]
    pub fn patient_for(mut self, silence: Nanos) -> Crew {
        self.silence_max = silence;
        self
    }

    /// What goes on from now on.
    pub fn phase(&mut self, phase: Phase) {
        if let Some(course) = &mut self.course {
            course.phase(phase);
        }
    }

    /// Ends the course, when all workers are done.
    pub fn course(&mut self) -> Option<Course> {
        self.course.take().map(Joint::finish)
    }

    /// Process ids, in the order of the tasks.
    pub fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(|w| w.child.id()).collect()
    }

    /// Tells all workers.
    pub fn tell(&mut self, order: Order) -> Result<()> {
        (0..self.workers.len()).try_for_each(|index| self.say(index, &order))
    }

    /// Waits until every worker is ready; what each said, in their order.
    pub fn ready(&mut self, phase: &'static str, until: Nanos) -> Result<Vec<Box<RawValue>>> {
        self.one_of_each(phase, until, |report| match report {
            Report::Ready(value) => Some(value),
            _ => None,
        })
    }

    /// The same, and looks at something meanwhile.
    pub fn ready_meanwhile(
        &mut self,
        phase: &'static str,
        until: Nanos,
        mut look: impl FnMut(Nanos),
    ) -> Result<()> {
        let (began, mut ready) = (clock::now(), vec![false; self.workers.len()]);
        while ready.contains(&false) {
            let now = clock::now();
            if now >= until {
                return Err(Error::Deadline {
                    phase,
                    limit: now - began,
                    state: format!(
                        "{} of {} workers",
                        ready.iter().filter(|r| **r).count(),
                        ready.len()
                    ),
                });
            }
            look(now);
            if let Some((index, Report::Ready(_))) = self.report(until.min(now + GLANCE_EVERY))?
                && let Some(ready) = ready.get_mut(index)
            {
                *ready = true;
            }
        }
        Ok(())
    }

    /// Waits until every worker has reported what it counted.
    pub fn done(&mut self, until: Nanos) -> Result<Vec<Box<RawValue>>> {
        self.one_of_each("the workers' reports", until, |report| match report {
            Report::Done(value) => Some(value),
            _ => None,
        })
    }

    /// Only watches that all workers live, until `at`. Who is ready meanwhile is found by who asks for that next.
    pub fn rest_until(&mut self, at: Nanos) -> Result<()> {
        loop {
            match self.next(at)? {
                Some((index, Report::Ready(value))) => self.early.push((index, value)),
                Some(_) => {}
                None if clock::now() >= at => return Ok(()),
                None => {}
            }
        }
    }

    /// [`Crew::next`], what was not looked at first.
    fn report(&mut self, until: Nanos) -> Result<Option<(usize, Report)>> {
        match self.early.pop() {
            Some((index, value)) => Ok(Some((index, Report::Ready(value)))),
            None => self.next(until),
        }
    }

    /// The next report, and whose it is; `None` when `until` has come. The end or the silence of a worker
    /// is an error.
    pub fn next(&mut self, until: Nanos) -> Result<Option<(usize, Report)>> {
        loop {
            let now = clock::now();
            let mut wait = until.saturating_sub(now).min(LOOK_EVERY);
            if let Some(course) = &mut self.course {
                course.tick(now);
                wait = wait.min(course.wake_at().saturating_sub(now));
            }
            match self.lines.recv_timeout(Duration::from_nanos(wait)) {
                Ok((index, line)) => {
                    if let Some(report) = self.heard(index, line)? {
                        return Ok(Some((index, report)));
                    }
                }
                Err(RecvTimeoutError::Timeout) if clock::now() >= until => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::Process("all workers have ended".to_owned()));
                }
            }
            self.look_for_silence()?;
        }
    }

    fn heard(&mut self, index: usize, line: Option<String>) -> Result<Option<Report>> {
        let Some(worker) = self.workers.get_mut(index) else {
            return Ok(None);
        };
        worker.heard_at = clock::now();
        let Some(line) = line else {
            if worker.done {
                return Ok(None);
            }
            let how = ending(&mut worker.child);
            return Err(Error::Process(format!(
                "worker {index} ended without a result ({how}); the run is void"
            )));
        };
        match serde_json::from_str(&line) {
            Ok(Report::Alive) => Ok(None),
            Ok(Report::Second(second)) => {
                let course = self.course.as_mut();
                course
                    .map_or(Ok(()), |course| course.add(index, &second))
                    .map(|()| None)
            }
            Ok(Report::Failed(why)) => Err(Error::Process(format!("worker {index}: {why}"))),
            Ok(report) => {
                worker.done |= matches!(report, Report::Done(_));
                Ok(Some(report))
            }
            Err(e) => Err(Error::Process(format!(
                "worker {index} said what cannot be read: {e}"
            ))),
        }
    }

    fn look_for_silence(&self) -> Result<()> {
        let now = clock::now();
        let silent = |w: &&Worker| !w.done && now.saturating_sub(w.heard_at) > self.silence_max;
        match self.workers.iter().position(|w| silent(&w)) {
            Some(index) => Err(Error::Process(format!(
                "worker {index} has said nothing for {:.0} s; the run is void",
                seconds(self.silence_max)
            ))),
            None => Ok(()),
        }
    }

    fn one_of_each(
        &mut self,
        phase: &'static str,
        until: Nanos,
        wanted: impl Fn(Report) -> Option<Box<RawValue>>,
    ) -> Result<Vec<Box<RawValue>>> {
        let began = clock::now();
        let mut found: Vec<Option<Box<RawValue>>> = self.workers.iter().map(|_| None).collect();
        while found.iter().any(Option::is_none) {
            let Some((index, report)) = self.report(until)? else {
                return Err(Error::Deadline {
                    phase,
                    limit: clock::now() - began,
                    state: format!("{} of {} workers", found.iter().flatten().count(), found.len()),
                });
            };
            if let (Some(place), Some(value)) = (found.get_mut(index), wanted(report)) {
                *place = Some(value);
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn say<T: Serialize>(&mut self, index: usize, what: &T) -> Result<()> {
        let mut line = serde_json::to_vec(what).map_err(|e| Error::Process(e.to_string()))?;
        line.push(b'\n');
        let stdin = self.workers.get_mut(index).and_then(|w| w.stdin.as_mut());
        let written = stdin.map(|stdin| stdin.write_all(&line).and_then(|()| stdin.flush()));
        match written {
            Some(Ok(())) => Ok(()),
            // It has ended; why, its last words or its status tell better than a broken pipe.
            _ => match self.next(clock::now() + SECOND) {
                Err(error) => Err(error),
                Ok(_) => Err(Error::Process(format!("worker {index} cannot be told anything"))),
            },
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            drop(worker.stdin.take());
            // They are ours and hold nothing: no need to wait until they have noticed.
            let _ = worker.child.kill();
            let _ = worker.child.wait();
        }
    }
}

/// How a worker ended whose stdout is closed: it has ended, or is about to, or closed it for no reason.
fn ending(child: &mut Child) -> String {
    let until = clock::now() + ENDING_MAX;
    while clock::now() < until {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(e) => return e.to_string(),
        }
    }
    "its output is closed".to_owned()
}

/// Passes on a worker's lines, and at last that there are no more.
fn listen(index: usize, stdout: ChildStdout, to: SyncSender<(usize, Option<String>)>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        loop {
            let mut line = String::new();
            let read = reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
            let line = matches!(read, Ok(n) if n > 0).then_some(line);
            let last = line.is_none();
            if to.send((index, line)).is_err() || last {
                return;
            }
        }
    });
}
