//! The machine a result was taken on.

use serde::{Deserialize, Serialize};

/// As reports name it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    pub cpu_model: String,
    /// Processors this process may use.
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
}

impl Machine {
    /// Asks the system; what it does not tell is left empty.
    pub fn here() -> Machine {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Machine {
            cpu_model: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kilobytes(&read("/proc/meminfo"), "MemTotal").unwrap_or(0),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

/// The value of a `name: value` line.
pub(super) fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

/// The value of a `name: n kB` line, in bytes.
pub(super) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = field(text, name)?;
    let number: u64 = value.strip_suffix("kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// Processor time of the whole machine, in ticks, to tell how much a host took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ticks {
    total: u64,
    steal: u64,
}

impl Ticks {
    /// Reads `/proc/stat`.
    pub fn now() -> Ticks {
        std::fs::read_to_string("/proc/stat")
            .ok()
            .and_then(|text| Ticks::parse(&text))
            .unwrap_or_default()
    }

    fn parse(text: &str) -> Option<Ticks> {
        let line = text.lines().find(|l| l.starts_with("cpu "))?;
        let numbers: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .take(8)
            .map_while(|n| n.parse().ok())
            .collect();
        Some(Ticks {
            total: numbers.iter().sum(),
            steal: numbers.get(7).copied().unwrap_or(0),
        })
    }

    /// Share of all processor time since `earlier` that was stolen, 0 to 1.
    pub fn steal_since(&self, earlier: &Ticks) -> f64 {
        let total = self.total.saturating_sub(earlier.total);
        let steal = self.steal.saturating_sub(earlier.steal);
        if total == 0 {
            0.0
        } else {
            steal as f64 / total as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_ticks() {
        let text = "VmRSS:\t  1234 kB\nmodel name\t: X 1\n";
        assert_eq!(kilobytes(text, "VmRSS"), Some(1234 * 1024));
        assert_eq!(field(text, "model name").as_deref(), Some("X 1"));
        assert_eq!(kilobytes(text, "Nothing"), None);
        let a = Ticks::parse("cpu  10 0 10 80 0 0 0 0 0 0\ncpu0 1").unwrap();
        let b = Ticks::parse("cpu  20 0 20 155 0 0 0 5 0 0\n").unwrap();
        assert!((b.steal_since(&a) - 0.05).abs() < 1e-9);
        assert!(a.steal_since(&a).abs() < 1e-9);
    }

    #[test]
    fn this_machine_has_a_kernel() {
        let machine = Machine::here();
        assert!(machine.cores > 0 && !machine.kernel.is_empty() && machine.memory_bytes > 0);
    }
}
