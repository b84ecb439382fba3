//! Reading tables of settings, with everything that is wrong in them.

use std::ops::Range;

use super::settings::{Bound, Mark, Row, Settings};
use super::suggest::closest;
use super::value::{Kind, Value, Written, number};

/// Something that was written and cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// Of the setting, such as `qr.rotate_ms`.
    pub(super) path: String,
    /// Where it begins, bytes.
    pub(super) at: usize,
    /// A sentence that says what to write.
    pub(super) text: String,
}

/// Collects what a source says.
#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) faults: Vec<Fault>,
    /// The settings that it has, each with where it begins, bytes.
    pub(super) seen: Vec<(String, usize)>,
    path: String,
    secret: bool,
}

impl Reader {
    /// One that stands at a setting.
    pub(super) fn at(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            ..Self::default()
        }
    }

    /// Reads something below where it stands, `step` being `.name` or `[number]`.
    pub(super) fn below(&mut self, step: &str, span: Range<usize>, read: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        if length == 0 {
            self.path = self.path.trim_start_matches('.').to_owned();
        }
        self.seen.push((self.path.clone(), span.start));
        read(self);
        self.path.truncate(length);
    }

    /// What was written is wrong: `told` goes on after the name of the setting.
    pub(super) fn fault(&mut self, value: &Written<'_>, told: &str) {
        let told = if self.secret {
            "cannot be used as it is written"
        } else {
            told
        };
        let text = format!("{} {told}", self.path);
        self.push(value.span().start, text);
    }

    /// It is something else than it has to be. What it is, is not said: it may be a secret in the wrong place.
    pub(super) fn wrong_kind(&mut self, value: &Written<'_>, expected: Kind) {
        let text = format!(
            "{} must be {}, and is {}",
            self.path,
            expected.noun(),
            match value.get_ref().type_str() {
                "integer" => "a number",
                "float" => "a number with a point",
                "string" => "text",
                "boolean" => "true or false",
                "datetime" => "a date",
                "array" => "a list",
                _ => "a table",
            }
        );
        self.push(value.span().start, text);
    }

    /// It is none of the words that it can be.
    pub(super) fn unknown_word(&mut self, value: &Written<'_>, text: &str, words: &[&str]) {
        let meant = closest(text, words.iter().copied())
            .map(|word| format!("; did you mean {word:?}?"))
            .unwrap_or_default();
        let told = format!("cannot be {text:?}: {}{meant}", words.join(", "));
        self.fault(value, &told);
    }

    fn push(&mut self, at: usize, text: String) {
        self.faults.push(Fault {
            path: self.path.clone(),
            at,
            text,
        });
    }

    /// A key that no setting has.
    fn unknown_key(&mut self, at: usize, siblings: &[Row]) {
        let (above, name) = self.path.rsplit_once('.').unwrap_or(("", &self.path));
        let here = |name: &str| match above {
            "" => name.to_owned(),
            above => format!("{above}.{name}"),
        };
        let meant = closest(name, siblings.iter().map(|row| row.name))
            .map(here)
            .or_else(|| super::fields::elsewhere(name));
        let text = match meant {
            Some(meant) => format!("{} is no setting; did you mean {meant}?", self.path),
            None => format!(
                "{} is no setting; `countersign config-reference` lists them",
                self.path
            ),
        };
        self.push(at, text);
    }
}

/// Reads a table into settings. What is not there stays as it is.
pub(super) fn read_settings(settings: &mut dyn Settings, value: &Written<'_>, reader: &mut Reader) {
    let Some(table) = value.get_ref().as_table() else {
        reader.wrong_kind(value, Kind::Table);
        return;
    };
    for (key, value) in table {
        let rows = settings.rows();
        let name = key.get_ref().as_ref();
        reader.below(&format!(".{name}"), key.span(), |reader| {
            let row = rows.iter().find(|row| row.name == name);
            match row.zip(settings.value_mut(name)) {
                Some((row, field)) => read_field(row, field, value, reader),
                None => reader.unknown_key(key.span().start, rows),
            }
        });
    }
}

/// Reads one setting within its bounds.
pub(super) fn read_field(row: &Row, field: &mut dyn Value, value: &Written<'_>, reader: &mut Reader) {
    let outer = std::mem::replace(&mut reader.secret, row.has(Mark::Secret));
    match out_of_bounds(row, value) {
        Some(told) => reader.fault(value, &told),
        None => field.read(value, reader),
    }
    reader.secret = outer;
}

fn out_of_bounds(row: &Row, value: &Written<'_>) -> Option<String> {
    let Bound::Within(low, high) = row.bound else {
        return None;
    };
    // What is below zero is a number all the same.
    let integer = value.get_ref().as_integer()?;
    let within = number(value.get_ref()).is_some_and(|n| (u128::from(low)..=u128::from(high)).contains(&n));
    (!within).then(|| bounds_told(&integer.to_string(), row, low, high))
}

/// How a number that is out of bounds is told, after the name of its setting.
pub(super) fn bounds_told(number: &str, row: &Row, low: u64, high: u64) -> String {
    let unit = if row.unit.is_empty() {
        String::new()
    } else {
        format!(" {}", row.unit)
    };
    format!("= {number} is out of bounds: {low} to {high}{unit}")
}
