//! Pinning processes to one processor.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::process::tasks;
use crate::error::{Error, Result};

/// Pins the calling thread; threads it starts later inherit that.
pub fn this_thread(cpu: usize) -> Result<()> {
    sched_setaffinity(None, &set(cpu)?).map_err(Error::os("sched_setaffinity"))
}

/// Pins all threads of a process, where permitted. Threads it starts later inherit that.
pub fn process(pid: u32, cpu: usize) -> Result<()> {
    apply(pid, &set(cpu)?)
}

/// Lets a process run anywhere again: a child inherits the pin of the thread that started it.
pub fn release(pid: u32) -> Result<()> {
    apply(pid, &all())
}

/// Calls `start` on processor `cpu`, or on all, for a child to inherit: a runtime that counts its processors
/// when it starts then finds those it will have.
pub fn starting<T>(cpu: Option<usize>, start: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(None).map_err(Error::os("sched_getaffinity"))?;
    let there = cpu.map_or_else(|| Ok(all()), set)?;
    sched_setaffinity(None, &there).map_err(Error::os("sched_setaffinity"))?;
    let started = start();
    sched_setaffinity(None, &before).map_err(Error::os("sched_setaffinity"))?;
    Ok(started)
}

/// How many processors a process may use.
pub fn processors(pid: u32) -> Result<usize> {
    let task = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let there = sched_getaffinity(task).map_err(Error::os("sched_getaffinity of the server"))?;
    Ok(usize::try_from(there.count()).unwrap_or(1).max(1))
}

fn all() -> CpuSet {
    let mut all = CpuSet::new();
    // What the machine does not have, the kernel leaves out.
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    all
}

fn apply(pid: u32, set: &CpuSet) -> Result<()> {
    for task in tasks(pid)? {
        let task = i32::try_from(task).ok().and_then(Pid::from_raw);
        match sched_setaffinity(task, set) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pins_are_set_and_released() {
        // On a thread of its own: the others of this process stay where they are.
        std::thread::spawn(|| {
            let before = sched_getaffinity(None).unwrap();
            let cpu = (0..CpuSet::MAX_CPU).find(|cpu| before.is_set(*cpu)).unwrap();
            this_thread(cpu).unwrap();
            let mut child = std::process::Command::new("cat")
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
            assert_eq!(sched_getaffinity(pid).unwrap().count(), 1);
            release(child.id()).unwrap();
            assert_eq!(sched_getaffinity(pid).unwrap().count(), before.count());
            process(child.id(), cpu).unwrap();
            assert!(sched_getaffinity(pid).unwrap().is_set(cpu));
            assert_eq!(processors(child.id()).unwrap(), 1);
            child.kill().unwrap();
            child.wait().unwrap();
            let there = |cpu| starting(cpu, || sched_getaffinity(None).unwrap().count()).unwrap();
            assert_eq!((there(Some(cpu)), there(None)), (1, before.count()));
            assert_eq!(sched_getaffinity(None).unwrap().count(), 1, "as it was");
        })
        .join()
        .unwrap();
        assert!(this_thread(CpuSet::MAX_CPU).is_err());
    }
}
