//! How a document was taken: machine, program and each option, by name.

use serde_json::Value;

use super::Stored;
use crate::metric::{Unit, show};

/// Most lines of a context.
pub(super) const LINES_MAX: usize = 200;
/// Longest value of a method that is shown whole, characters.
const VALUE_CHARS_MAX: usize = 200;

impl Stored {
    /// A metric for people.
    pub fn figure(&self, name: &str) -> String {
        let unit = self.units.get(name).copied().unwrap_or(Unit::Count);
        match self.metrics.get(name) {
            Some(Some(value)) => show(*value, unit),
            Some(None) => "not measured".to_owned(),
            None => String::new(),
        }
    }

    /// What decides whether figures can be compared, name and value: machine, program, target's protocol,
    /// profile, and each option of the method.
    pub fn context(&self) -> Vec<(String, String)> {
        let line = |name: &str, value: String| (name.to_owned(), value);
        let m = &self.machine;
        let mut out = vec![
            line("scenario", self.scenario.clone()),
            line("tool version", self.tool.version.clone()),
            line("protocol", self.protocol.clone()),
            line("limits profile", self.profile.clone()),
            line("processor", m.cpu_model.clone()),
            line("processors", m.cores.to_string()),
            line("memory", show(m.memory_bytes as f64, Unit::Bytes)),
            line("kernel", m.kernel.clone()),
        ];
        leaves("method", &self.method, &mut out);
        out
    }
}

/// The leaves of `value` with their paths. What making accounts took is no option.
fn leaves(path: &str, value: &Value, out: &mut Vec<(String, String)>) {
    if out.len() >= LINES_MAX
        || matches!(
            path,
            "method.accounts.seconds" | "method.accounts.refused" | "method.note"
        )
    {
        return;
    }
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                leaves(&format!("{path}.{name}"), value, out);
            }
        }
        Value::String(text) => out.push((path.to_owned(), clip(text))),
        Value::Null => out.push((path.to_owned(), "–".to_owned())),
        other => out.push((path.to_owned(), clip(&other.to_string()))),
    }
}

fn clip(text: &str) -> String {
    text.chars().take(VALUE_CHARS_MAX).collect()
}

/// Unix milliseconds as `2026-01-31 12:34`, proleptic Gregorian.
pub(super) fn date(at_ms: u64) -> String {
    let minutes = at_ms / 60_000;
    let (days, minute) = (minutes / 1_440, minutes % 1_440);
    // Days to civil, counted in eras of 400 years from 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}",
        minute / 60,
        minute % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_instants() {
        for (at_ms, text) in [
            (0, "1970-01-01 00:00"),
            (951_782_399_999, "2000-02-28 23:59"),
            (951_782_400_000, "2000-02-29 00:00"),
            (951_868_800_000, "2000-03-01 00:00"),
            (1_767_225_599_000, "2025-12-31 23:59"),
        ] {
            assert_eq!(date(at_ms), text);
        }
    }
}
