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
    apply(pid, &set(cpu)?)
}

/// Lets a process run anywhere again: a child inherits the pin of the thread that started it.
pub fn release(pid: u32) -> Result<()> {
    let mut all = CpuSet::new();
    // What the machine does not have, the kernel leaves out.
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    apply(pid, &all)
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
    use rustix::thread::sched_getaffinity;

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
            child.kill().unwrap();
            child.wait().unwrap();
        })
        .join()
        .unwrap();
        assert!(this_thread(CpuSet::MAX_CPU).is_err());
    }
}
