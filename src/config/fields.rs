//! All settings there are, by their paths, and the names they have outside of files.

use super::Config;
use super::settings::{Bound, Mark, Row, Settings};
use super::value::{Kind, Value};

/// What the names of all variables begin with.
pub const PREFIX: &str = "COUNTERSIGN_";

/// A setting: what can be said in a file, in the environment and, but for secrets, by a flag.
#[derive(Debug, Clone)]
pub struct Field {
    /// Such as `qr.rotate_ms`, or `namespaces.*.anonymous` below a table that there are any number of.
    pub path: String,
    pub row: &'static Row,
    pub kind: Kind,
    /// As a file has it; `None`: nothing.
    pub default: Option<String>,
}

impl Field {
    /// The variable that sets it; `None` below tables that there are any number of, which are set as a whole.
    pub fn variable(&self) -> Option<String> {
        let name = || PREFIX.to_owned() + &self.path.replace('.', "_").to_uppercase();
        (!self.is_below_many()).then(name)
    }

    /// The flag that sets it, without the dashes before it: its path, or, outside of tables, its name with dashes.
    pub fn flag(&self) -> Option<String> {
        let is_flag = !self.is_below_many() && !self.row.has(Mark::Secret);
        is_flag.then(|| match self.path.contains('.') {
            true => self.path.clone(),
            false => self.path.replace('_', "-"),
        })
    }

    /// Whether it belongs to a table that there are any number of.
    pub fn is_below_many(&self) -> bool {
        self.path.contains('*')
    }

    /// The table that it stands in, empty for none.
    pub fn table(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(table, _)| table)
    }

    /// What its value is, for documents: the kind, and the unit of a number.
    pub fn value(&self) -> String {
        let kind = match self.kind {
            Kind::Number => "number",
            Kind::Switch => "`true` or `false`",
            Kind::Text | Kind::Choice(_) => "text",
            Kind::List | Kind::Choices(_) => "list of texts",
            Kind::Rate => "rate",
            Kind::Table if self.path == "accounts.users" => "list of tables",
            Kind::Table => "tables by name",
        };
        match self.row.unit {
            "" => kind.to_owned(),
            unit if self.kind == Kind::Number => unit.to_owned(),
            unit => format!("{kind}, {unit}"),
        }
    }

    /// What is allowed, for documents; empty where that is plain.
    pub fn bound(&self) -> String {
        let words = |words: &[&str]| {
            let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            quoted.join(", ")
        };
        match (self.row.bound, self.kind) {
            (Bound::Within(low, high), _) => format!("{} to {}", grouped(low), grouped(high)),
            (Bound::Form(told), _) => told.to_owned(),
            (Bound::Free, Kind::Choice(names) | Kind::Choices(names)) => words(names),
            (Bound::Free, _) => String::new(),
        }
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// All settings with their defaults, in the order of the documents.
pub fn all() -> Vec<Field> {
    let mut found = Vec::new();
    walk(&Config::default(), "", &mut |path, row, value| {
        found.push(Field {
            path: path.to_owned(),
            row,
            kind: value.kind(),
            default: value.shown(),
        });
    });
    found
}

/// The heading of a table, empty where it has none.
pub fn heading(table: &str) -> &'static str {
    let config = Config::default();
    let row = config.rows().iter().find(|row| row.name == table);
    row.map_or("", |row| row.what)
}

/// Shows each setting: path, row, value. Tables themselves only where there can be any number of them; after those,
/// the settings of one.
pub(super) fn walk(
    settings: &dyn Settings,
    above: &str,
    show: &mut dyn FnMut(&str, &'static Row, &dyn Value),
) {
    for row in settings.rows() {
        let Some(value) = settings.value(row.name) else {
            continue;
        };
        let path = format!("{above}{}", row.name);
        match (value.settings(), value.one_of_many()) {
            (Some(below), _) => walk(below, &format!("{path}."), show),
            (None, Some(one)) => {
                show(&path, row, value);
                walk(one.as_ref(), &format!("{path}.*."), show);
            }
            (None, None) => show(&path, row, value),
        }
    }
}

/// The row and the value at a path.
pub(super) fn at<'a>(config: &'a mut Config, path: &str) -> Option<(&'static Row, &'a mut dyn Value)> {
    let (tables, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut settings: &mut dyn Settings = config;
    for table in tables.split('.').filter(|table| !table.is_empty()) {
        settings = settings.value_mut(table)?.settings_mut()?;
    }
    let row = settings.rows().iter().find(|row| row.name == name)?;
    Some((row, settings.value_mut(name)?))
}

/// The path of a setting that has this name in some table.
pub(super) fn elsewhere(name: &str) -> Option<String> {
    let fields = all();
    let found = fields.iter().find(|field| field.row.name == name)?;
    Some(found.path.clone())
}
