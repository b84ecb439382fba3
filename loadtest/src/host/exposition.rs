//! Two figures of a process in the text of Prometheus: its processor time and its resident memory.

/// Names as Prometheus's own clients have them; `docs/metrics.md` of the gateway.
const CPU: &str = "process_cpu_seconds_total";
const MEMORY: &str = "process_resident_memory_bytes";
const STARTED: &str = "process_start_time_seconds";

/// What a process said of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// User and system time since its start, seconds.
    pub cpu_seconds: f64,
    /// Resident memory, bytes.
    pub memory_bytes: f64,
    /// When it was started, Unix time in seconds, if it says so.
    pub started: Option<f64>,
}

impl Figures {
    /// Reads them, or says what is wrong with the text.
    pub fn read(text: &str) -> Result<Figures, String> {
        let needed = |name| one(text, name)?.ok_or_else(|| format!("there is no {name}: {OPERATOR}"));
        let figures = Figures {
            cpu_seconds: needed(CPU)?,
            memory_bytes: needed(MEMORY)?,
            started: one(text, STARTED)?,
        };
        if figures.memory_bytes < 1.0 {
            return Err(format!("{MEMORY} is 0: the gateway could not read it"));
        }
        Ok(figures)
    }
}

const OPERATOR: &str = "is it the operator's port of a gateway?";

/// The value of a metric without labels; none when it is not there.
fn one(text: &str, name: &str) -> Result<Option<f64>, String> {
    let mut values = text.lines().filter_map(|line| {
        let rest = line.trim_start().strip_prefix(name)?;
        // Another name may begin with this one.
        rest.starts_with([' ', '\t', '{']).then_some(rest)
    });
    let Some(rest) = values.next() else {
        return Ok(None);
    };
    if rest.starts_with('{') || values.next().is_some() {
        return Err(format!("{name} is there of several processes: {OPERATOR}"));
    }
    // A time may follow.
    let value = rest.split_whitespace().next().unwrap_or_default();
    match value.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(Some(number)),
        _ => Err(format!("{name} is no figure: {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_among_others() {
        let text = "# HELP process_cpu_seconds_total processor time\n\
            # TYPE process_cpu_seconds_total counter\n\
            process_cpu_seconds_total 12.34\n\
            process_cpu_seconds_total_of_others 99\n\
            countersign_rooms{a=\"process_resident_memory_bytes 7\"} 5\n\
            process_resident_memory_bytes 1.5e7 1700000000000\n\
            process_start_time_seconds 1700000000\n";
        let want = Figures {
            cpu_seconds: 12.34,
            memory_bytes: 1.5e7,
            started: Some(1.7e9),
        };
        assert_eq!(Figures::read(text), Ok(want));
        let text = "process_cpu_seconds_total 0\nprocess_resident_memory_bytes 4096";
        assert_eq!(Figures::read(text).unwrap().started, None);
    }

    #[test]
    fn what_is_no_figure_is_said() {
        let memory = "process_resident_memory_bytes 4096\n";
        for (text, why) in [
            ("", "there is no process_cpu_seconds_total"),
            (memory, "there is no process_cpu_seconds_total"),
            ("process_cpu_seconds_total 1\n", "there is no process_resident"),
            ("process_cpu_seconds_total NaN\n", "no figure: \"NaN\""),
            ("process_cpu_seconds_total -1\n", "no figure"),
            ("process_cpu_seconds_total \n", "no figure: \"\""),
            ("process_cpu_seconds_total +Inf\n", "no figure"),
            (
                "process_cpu_seconds_total 1\nprocess_cpu_seconds_total 2\n",
                "several",
            ),
            ("process_cpu_seconds_total{job=\"a\"} 1\n", "several"),
            (
                "process_cpu_seconds_total 1\nprocess_resident_memory_bytes 0\n",
                "could not read it",
            ),
        ] {
            let error = Figures::read(text).unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }
}
