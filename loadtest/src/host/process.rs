//! Processor time and memory of a process, by pid, from `/proc`.

use std::collections::BTreeMap;

use rustix::param::clock_ticks_per_second;
use serde::Serialize;

use super::machine::kilobytes;
use crate::clock::{self, Nanos, SECOND};
use crate::error::{Error, Result};

/// Where a figure of processor time came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuSource {
    /// Sum over the threads' `schedstat`: nanoseconds.
    Schedstat,
    /// `utime + stime` of `/proc/<pid>/stat`: ticks, used when a thread ended in between and took its
    /// nanoseconds along.
    Stat,
    /// `process_cpu_seconds_total` of the gateway's `/metrics`: ticks of 10 ms.
    Metrics,
}

/// Processor time of a process at one instant.
#[derive(Debug, Clone)]
pub struct CpuSample {
    /// When it was read.
    pub at: Nanos,
    /// Per thread: time on a processor, and time ready for one and waiting.
    tasks: BTreeMap<u32, (Nanos, Nanos)>,
    stat: Nanos,
}

/// Processor time used between two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CpuSpan {
    /// User and system time.
    pub cpu: Nanos,
    /// Time its threads were ready and others had the processor, summed; `None` when it is not known.
    pub waiting: Option<Nanos>,
    /// User and system time of the thread that used most of it; `None` when threads cannot be told apart.
    pub busiest: Option<Nanos>,
    /// Duration.
    pub wall: Nanos,
    /// How much `cpu` may be off, where that can be much.
    pub error: Option<Nanos>,
    pub source: CpuSource,
}

impl CpuSpan {
    /// Cores used on average.
    pub fn cores(&self) -> f64 {
        self.cpu as f64 / self.wall.max(1) as f64
    }
}

impl CpuSample {
    /// Reads the processor time of `pid`.
    pub fn of(pid: u32) -> Result<CpuSample> {
        let mut times = BTreeMap::new();
        for task in tasks(pid)? {
            let path = format!("/proc/{pid}/task/{task}/schedstat");
            if let Some(time) = std::fs::read_to_string(path).ok().and_then(|t| schedstat(&t)) {
                times.insert(task, time);
            }
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|text| stat_time(&text))
            .ok_or_else(|| gone(pid))?;
        Ok(CpuSample {
            at: clock::now(),
            tasks: times,
            stat,
        })
    }

    /// What was used since `earlier`, a sample of the same process.
    pub fn since(&self, earlier: &CpuSample) -> CpuSpan {
        let wall = self.at.saturating_sub(earlier.at);
        let all_there = !self.tasks.is_empty() && earlier.tasks.keys().all(|t| self.tasks.contains_key(t));
        if all_there {
            let (mut cpu, mut waiting, mut busiest) = (0, 0, 0);
            for (task, now) in &self.tasks {
                let before = earlier.tasks.get(task).copied().unwrap_or_default();
                let used = now.0.saturating_sub(before.0);
                cpu += used;
                busiest = used.max(busiest);
                waiting += now.1.saturating_sub(before.1);
            }
            return CpuSpan {
                cpu,
                waiting: Some(waiting),
                busiest: Some(busiest),
                wall,
                error: None,
                source: CpuSource::Schedstat,
            };
        }
        CpuSpan {
            cpu: self.stat.saturating_sub(earlier.stat),
            waiting: None,
            busiest: None,
            wall,
            error: None,
            source: CpuSource::Stat,
        }
    }
}

/// The thread ids of a process.
pub(super) fn tasks(pid: u32) -> Result<Vec<u32>> {
    let dir = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|_| gone(pid))?;
    Ok(dir
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

/// Resident memory of a process, bytes. From `smaps_rollup`, which is exact; `status`, which the kernel
/// keeps approximately, where that is not readable.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    kilobytes(&read("smaps_rollup"), "Rss")
        .or_else(|| kilobytes(&read("status"), "VmRSS"))
        .ok_or_else(|| gone(pid))
}

/// Resident memory as `status` has it, bytes: to within what the kernel has not added up yet, some pages per
/// thread. Unlike [`resident_bytes`] it walks no page tables and takes no lock the server may want: for once a
/// second.
pub fn resident_bytes_nearly(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    kilobytes(&status, "VmRSS").ok_or_else(|| gone(pid))
}

fn gone(pid: u32) -> Error {
    Error::Process(format!("process {pid} is gone or not ours to look at"))
}

/// Time this thread was ready and others had the processor, so far.
pub(super) fn own_waiting() -> Nanos {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| schedstat(&text))
        .map_or(0, |(_, waiting)| waiting)
}

/// Time on a processor and time waiting for one.
fn schedstat(text: &str) -> Option<(Nanos, Nanos)> {
    let mut numbers = text.split_whitespace();
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn stat_time(text: &str) -> Option<Nanos> {
    // The name in parentheses may hold anything; fields are counted after it.
    let rest = &text[text.rfind(')')? + 1..];
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * (SECOND / clock_ticks_per_second().max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Nanos, tasks: &[(u32, Nanos)], stat: Nanos) -> CpuSample {
        CpuSample {
            at,
            tasks: tasks.iter().map(|(task, cpu)| (*task, (*cpu, 2 * cpu))).collect(),
            stat,
        }
    }

    #[test]
    fn threads_are_summed_and_an_ended_one_is_not_forgotten() {
        let a = sample(0, &[(1, 100), (2, 50)], 1_000);
        let b = sample(10, &[(1, 150), (2, 60), (3, 5)], 1_100);
        let span = b.since(&a);
        assert_eq!((span.cpu, span.wall, span.source), (65, 10, CpuSource::Schedstat));
        assert_eq!((span.waiting, span.busiest), (Some(130), Some(50)));
        assert_eq!(schedstat("5 6 7\n"), Some((5, 6)));
        let c = sample(20, &[(1, 160), (3, 5)], 1_300);
        let span = c.since(&b);
        assert_eq!((span.cpu, span.source), (200, CpuSource::Stat));
    }

    #[test]
    fn stat_is_read_behind_the_name() {
        let text = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0";
        assert_eq!(stat_time(text), Some(42 * (SECOND / clock_ticks_per_second())));
    }

    #[test]
    fn this_process_can_be_watched() {
        let pid = std::process::id();
        let a = CpuSample::of(pid).unwrap();
        assert!(resident_bytes(pid).unwrap() > 100_000);
        let b = CpuSample::of(pid).unwrap();
        assert!(b.at >= a.at);
        assert!(CpuSample::of(u32::MAX).is_err() && resident_bytes(u32::MAX).is_err());
    }
}
