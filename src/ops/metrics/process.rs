//! What the system says about this process, read when it is asked for. What cannot be read is told as 0.

use std::fs;

use serde::Serialize;

use crate::ops::{descriptors, logging};

/// Parts of a second in which Linux counts processor time (`USER_HZ`), on every architecture it has.
const TICKS_PER_SECOND: u64 = 100;

/// This process at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resources {
    /// Resident.
    pub memory_bytes: u64,
    pub descriptors: u64,
    /// The soft limit.
    pub descriptors_max: usize,
    /// Processor time since the start, user and system.
    pub cpu_total_ms: u64,
    /// Lines of the log that nobody read in time.
    pub log_dropped_total: u64,
}

impl Resources {
    /// Asks the system.
    pub fn now() -> Self {
        Self {
            memory_bytes: resident_bytes(),
            descriptors: open_descriptors(),
            descriptors_max: descriptors::limit(),
            cpu_total_ms: cpu_ms(),
            log_dropped_total: logging::dropped_lines(),
        }
    }
}

/// Resident memory, bytes.
pub(super) fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    resident_of(&status).unwrap_or(0)
}

fn resident_of(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kib.checked_mul(1024)
}

/// Processor time, user and system, milliseconds.
pub(super) fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    ticks_of(&stat)
        .unwrap_or(0)
        .saturating_mul(1_000 / TICKS_PER_SECOND)
}

fn ticks_of(stat: &str) -> Option<u64> {
    // The name of the program stands in brackets and may hold anything, brackets too.
    let (_, behind) = stat.rsplit_once(')')?;
    let mut fields = behind.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

/// Open descriptors. Linux from 6.2 on says how many there are; before that they are counted.
pub(super) fn open_descriptors() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).map(|folder| folder.len()) {
        Ok(count) if count > 0 => count,
        // Reading the folder opens one more.
        _ => fs::read_dir(FOLDER).map_or(0, |entries| (entries.count() as u64).saturating_sub(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(
            resident_of("VmHWM:\t  9999 kB\nVmRSS:\t    5120 kB\n"),
            Some(5 << 20)
        );
        assert_eq!(resident_of(""), None);
        let stat = "17 (a ) name) S 1 17 17 0 -1 4194560 300 0 0 0 250 50 0 0 20 0 3 0 100";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(ticks_of("17 (cut) S 1"), None);
    }

    #[test]
    fn this_process_has_some_of_everything() {
        let _open = fs::File::open("/proc/self/status").unwrap();
        assert!(resident_bytes() > 100_000 && open_descriptors() > 3);
        let before = cpu_ms();
        while cpu_ms() == before {
            std::hint::black_box((0..100_000_u64).sum::<u64>());
        }
    }
}
