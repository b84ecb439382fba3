//! Pinning processes to one processor.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

use super::process::tasks;
use crate::error::{Error, Result};

/// Pins the calling thread; threads it starts later inherit that.
pub fn this_thread(cpu: usize) -> Result<()> {
    sched_setaffinity(None, &set(cpu)?).map_err(Error::os("sched_setaffinity"))
}

/// Pins all threads of a process, where permitted. Threads it starts later inherit that.
pub fn process(pid: u32, cpu: usize) -> Result<()> {
    let set = set(cpu)?;
    for task in tasks(pid)? {
        let task = i32::try_from(task).ok().and_then(Pid::from_raw);
        match sched_setaffinity(task, &set) {
            // A thread that ended meanwhile needs no pin.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(e) => return Err(Error::os("sched_setaffinity of the server")(e)),
        }
    }
    Ok(())
}

fn set(cpu: usize) -> Result<CpuSet> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(Error::Usage(format!("no processor {cpu}")));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(set)
}
