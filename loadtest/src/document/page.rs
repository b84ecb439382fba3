//! One document, or several side by side, as a report.

use super::Stored;
use super::charts::{latency, over_time};
use super::context::{LINES_MAX, date};
use crate::report::{Block, Cell, Level, Notice, ReportInput, Section, Table};

/// A report of `docs`, each with the name its lines and columns get.
pub fn report_of(docs: &[(&str, &Stored)]) -> ReportInput {
    let Some((_, first)) = docs.first() else {
        return ReportInput::default();
    };
    let title = match docs {
        [_] => format!("{}, {}", first.scenario, first.target),
        _ => docs.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" · "),
    };
    let of = |heading: &str, blocks: Vec<Block>| Section {
        heading: heading.to_owned(),
        blocks,
    };
    let mut sections = vec![
        of("Latency", latency(docs)),
        of("Over time", over_time(docs)),
        of("Assertions", assertions(docs)),
        of("Figures", vec![figures(docs)]),
        of("Machine and method", vec![context(docs)]),
    ];
    sections.retain(|s| !s.blocks.is_empty());
    ReportInput {
        title,
        subtitle: subtitle(docs),
        notices: docs
            .iter()
            .flat_map(|(name, doc)| notices(name, doc, docs.len()))
            .collect(),
        sections,
    }
}

fn subtitle(docs: &[(&str, &Stored)]) -> String {
    let about = |doc: &Stored| {
        format!(
            "{} of {} ({}, limits profile {}), {} UTC, {} {}",
            doc.scenario,
            doc.target,
            doc.protocol,
            doc.profile,
            date(doc.at_ms),
            doc.tool.name,
            doc.tool.version
        )
    };
    match docs {
        [(_, doc)] => about(doc),
        _ => docs
            .iter()
            .map(|(name, doc)| format!("{name}: {}", about(doc)))
            .collect::<Vec<_>>()
            .join(" — "),
    }
}

/// Warnings, and how the assertions went.
fn notices(name: &str, doc: &Stored, docs: usize) -> Vec<Notice> {
    let prefix = if docs > 1 {
        format!("{name}: ")
    } else {
        String::new()
    };
    let mut out: Vec<Notice> = doc
        .warnings
        .iter()
        .map(|w| Notice {
            level: if w.starts_with("DISTURBED") {
                Level::Warning
            } else {
                Level::Bad
            },
            text: format!("{prefix}{w}"),
        })
        .collect();
    let (all, failed) = (
        doc.assertions.len(),
        doc.assertions.iter().filter(|v| !v.passed).count(),
    );
    if failed > 0 {
        out.push(Notice {
            level: Level::Bad,
            text: format!("{prefix}FAILED: {failed} of {all} assertions"),
        });
    } else if all > 0 {
        out.push(Notice {
            level: Level::Good,
            text: format!("{prefix}passed: {all} of {all} assertions"),
        });
    }
    out
}

/// What a line of one document is called: its own name, and whose it is when there are several.
pub(super) fn label(name: &str, line: &str, docs: usize) -> String {
    if docs > 1 {
        format!("{name}, {line}")
    } else {
        line.to_owned()
    }
}

fn assertions(docs: &[(&str, &Stored)]) -> Vec<Block> {
    let rows: Vec<Vec<Cell>> = docs
        .iter()
        .flat_map(|(name, doc)| {
            doc.assertions.iter().map(move |v| {
                let (word, level) = if v.passed {
                    ("pass", Level::Good)
                } else {
                    ("FAIL", Level::Bad)
                };
                vec![
                    Cell::text(label(name, word, docs.len())).level(level),
                    Cell::text(&v.assertion),
                    Cell::number(&v.found),
                ]
            })
        })
        .collect();
    if rows.is_empty() {
        return Vec::new();
    }
    vec![Block::Table(Table {
        caption: String::new(),
        columns: ["", "assertion", "found"].map(str::to_owned).to_vec(),
        rows,
    })]
}

/// All metrics, a column for each document.
fn figures(docs: &[(&str, &Stored)]) -> Block {
    let mut columns = vec!["metric".to_owned()];
    columns.extend(docs.iter().map(|(name, _)| {
        if docs.len() > 1 {
            (*name).to_owned()
        } else {
            "value".to_owned()
        }
    }));
    let mut names: Vec<&String> = docs.iter().flat_map(|(_, doc)| doc.metrics.keys()).collect();
    names.sort();
    names.dedup();
    let rows = names
        .into_iter()
        .map(|name| {
            let cell = |(_, doc): &(&str, &Stored)| Cell::number(doc.figure(name));
            std::iter::once(Cell::text(name))
                .chain(docs.iter().map(cell))
                .collect()
        })
        .collect();
    Block::Table(Table {
        caption: String::new(),
        columns,
        rows,
    })
}

/// Machine and options, a column for each document.
fn context(docs: &[(&str, &Stored)]) -> Block {
    let all: Vec<Vec<(String, String)>> = docs.iter().map(|(_, doc)| doc.context()).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in all.iter().flatten() {
        if !names.contains(&name) && names.len() < LINES_MAX {
            names.push(name);
        }
    }
    let cell = |name: &String, lines: &Vec<(String, String)>| {
        let value = lines.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        Cell::text(value.unwrap_or_default())
    };
    let mut columns = vec![String::new()];
    columns.extend(docs.iter().map(|(name, _)| {
        if docs.len() > 1 {
            (*name).to_owned()
        } else {
            String::new()
        }
    }));
    Block::Table(Table {
        caption: String::new(),
        columns,
        rows: names
            .into_iter()
            .map(|name| {
                std::iter::once(Cell::text(name))
                    .chain(all.iter().map(|lines| cell(name, lines)))
                    .collect()
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_an_empty_report() {
        assert_eq!(report_of(&[]), ReportInput::default());
    }
}
