//! What is said of all settings: the page `docs/configuration.md`, and a file that has each with its default.

use std::fmt::Write;

use super::fields::{self, Field};
use super::settings::Mark;
use super::value::Kind;

/// What stands before the tables.
const INTRODUCTION: &str = include_str!("reference/introduction.md");
/// Before the settings of namespaces and seeded accounts, by their tables.
const NOTES: &[(&str, &str)] = &[
    ("namespaces", include_str!("reference/namespaces.md")),
    ("clients", include_str!("reference/clients.md")),
    ("accounts", include_str!("reference/accounts.md")),
    ("limits", include_str!("reference/limits.md")),
];

/// The page, as Markdown.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (table, fields) in tables() {
        let title = match table.as_str() {
            "" => "Outside of tables".to_owned(),
            table => format!("`[{table}]`"),
        };
        let _ = write!(page, "\n### {title}\n\n");
        let note = NOTES.iter().find(|(of, _)| *of == table).map(|(_, note)| *note);
        match (note, fields::heading(&table)) {
            (Some(note), _) => page.push_str(&format!("{note}\n")),
            (None, "") => {}
            (None, heading) => page.push_str(&format!("{heading}.\n\n")),
        }
        page.push_str("| field | value | default | bound | meaning |\n|---|---|---|---|---|\n");
        for field in fields {
            page.push_str(&row(&field));
        }
    }
    page
}

/// All settings by their table, those of tables of any number with the one above them.
fn tables() -> Vec<(String, Vec<Field>)> {
    let mut tables: Vec<(String, Vec<Field>)> = Vec::new();
    for field in fields::all() {
        let table = field.path.split_once('.').map_or("", |(table, _)| table);
        // These are settings themselves, and the names of their tables.
        let table = match field.path.as_str() {
            "namespaces" => "namespaces",
            "clients" => "clients",
            _ => table,
        };
        match tables.iter_mut().find(|(name, _)| name == table) {
            Some((_, fields)) => fields.push(field),
            None => tables.push((table.to_owned(), vec![field])),
        }
    }
    tables
}

fn row(field: &Field) -> String {
    let default = match (&field.default, field.path.as_str()) {
        (Some(default), _) if default == "\"\"" => "none, needed".to_owned(),
        (Some(default), _) if default == "[]" => "none".to_owned(),
        (Some(default), _) => format!("`{default}`"),
        (None, "namespaces") => "`default`, `chat`, `live`".to_owned(),
        (None, _) => "none".to_owned(),
    };
    let mut bound = field.bound();
    if field.row.has(Mark::Scaled) {
        bound = bound.trim_end().to_owned() + "; *bench* × 1,000";
    }
    let (path, value, what) = (&field.path, field.value(), field.row.what);
    format!("| `{path}` | {value} | {default} | {bound} | {what} |\n")
}

/// The file.
pub fn example() -> String {
    let mut file = include_str!("reference/example.toml").to_owned();
    let mut table = String::new();
    for field in fields::all() {
        let above = heading(&field);
        let many = field.kind == Kind::Table;
        if above != table && !many {
            let _ = write!(file, "\n#{above}\n");
            table = above;
        }
        let mut said = field.row.what.to_owned();
        let bound = field.bound();
        let unit = match (field.kind, field.row.unit) {
            (Kind::Number, unit) if !unit.is_empty() => format!(" {unit}"),
            _ => String::new(),
        };
        if !bound.is_empty() {
            let _ = write!(said, " ({bound}{unit})");
        }
        let value = field
            .default
            .as_deref()
            .filter(|default| !matches!(*default, "[]" | "\"\""));
        let Some(value) = value.or(field.row.example) else {
            // Tables of any number: what follows is one of them.
            let _ = write!(file, "\n{}", commented(&said));
            continue;
        };
        let _ = writeln!(file, "{}#{} = {value}", commented(&said), field.row.name);
    }
    file
}

/// The line above the settings of a table.
fn heading(field: &Field) -> String {
    match field.table() {
        "" => String::new(),
        "accounts.users.*" => "[[accounts.users]]".to_owned(),
        "clients.*" => "[clients.reader]".to_owned(),
        table => format!("[{}]", table.replace('*', "default")),
    }
}

/// As comments, broken into lines.
fn commented(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split(' ') {
        if line.len() + word.len() >= COLUMNS_MAX {
            lines.push_str(&format!("{line}\n"));
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// Width of the example's comments.
const COLUMNS_MAX: usize = 118;
