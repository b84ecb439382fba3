//! The HTML report.

use super::curves;
use super::publish::{Report, RowResult, date};
use super::verdict::Verdict;
use crate::report::{Axis, Block, Cell, Chart, Level, Line, Notice, ReportInput, Section, Table};

/// The report as a page.
pub fn html(report: &Report) -> String {
    let mut sections = vec![Section {
        heading: "Targets".to_owned(),
        blocks: vec![Block::Text(report.method()), Block::Table(targets(&report.rows))],
    }];
    if let Some(chart) = growth(&report.rows) {
        sections.push(Section {
            heading: "Growth".to_owned(),
            blocks: vec![Block::Chart(chart)],
        });
    }
    sections.extend(curves::section(&report.curves));
    sections.push(Section {
        heading: "How each line was taken".to_owned(),
        blocks: vec![Block::Table(methods(&report.rows))],
    });
    crate::report::html(&ReportInput {
        title: "Performance by the method".to_owned(),
        subtitle: format!("{}: {}", date(report.at_ms), report.about.line()),
        notices: notices(report),
        sections,
    })
}

fn notices(report: &Report) -> Vec<Notice> {
    let mut notices = vec![Notice {
        level: if report.all_met {
            Level::Good
        } else {
            Level::Warning
        },
        text: report.summary(),
    }];
    if report.setup.indication {
        notices.push(Notice {
            level: Level::Warning,
            text: "An indication: fewer pairs or smaller loads than the method asks for.".to_owned(),
        });
    }
    notices
}

fn level(verdict: Verdict) -> Level {
    match verdict {
        Verdict::Met => Level::Good,
        Verdict::NotMet => Level::Bad,
        Verdict::Void | Verdict::NotRun => Level::Warning,
        Verdict::Quick | Verdict::Reported => Level::Plain,
    }
}

fn targets(rows: &[RowResult]) -> Table {
    // The verdict stands where a narrow page shows it.
    let columns = [
        "what",
        "verdict",
        "target (goal)",
        "figure",
        "90 % interval",
        "valid, void",
    ];
    Table {
        caption: String::new(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::text(row.what),
                    Cell::text(row.verdict_text()).level(level(row.verdict)),
                    Cell::text(row.target_text()),
                    Cell::text(row.figure_text()),
                    Cell::text(row.interval_text()),
                    Cell::number(format!("{}, {}", row.valid, row.void)),
                ]
            })
            .collect(),
    }
}

fn methods(rows: &[RowResult]) -> Table {
    Table {
        caption: String::new(),
        columns: ["row", "how", "command"].map(str::to_owned).to_vec(),
        rows: rows
            .iter()
            .map(|row| {
                vec![
                    Cell::text(row.name),
                    Cell::text(row.method),
                    Cell::text(row.command.clone()),
                ]
            })
            .collect(),
    }
}

/// Ratios to the floor over members and rooms; none when nothing of it was measured.
fn growth(rows: &[RowResult]) -> Option<Chart> {
    let line = |prefix: &str, name: &str| {
        let points: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|row| {
                let size: f64 = row.name.strip_prefix(prefix)?.parse().ok()?;
                Some((size, row.figure?.value))
            })
            .collect();
        (!points.is_empty()).then(|| Line::new(name, points))
    };
    let lines: Vec<Line> = [
        line("members-", "members of one room"),
        line("rooms-", "rooms of ten"),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!lines.is_empty()).then(|| Chart {
        title: "CPU per delivery ÷ floor".to_owned(),
        x: Axis::log("members, rooms"),
        y: Axis::linear("ratio"),
        lines,
        spans: Vec::new(),
    })
}
