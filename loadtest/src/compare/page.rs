//! A comparison for people: as rows, and as a report.

use super::{Comparison, Difference};
use crate::assertion::Verdict;
use crate::document::Stored;
use crate::document::page::report_of;
use crate::metric::{Unit, show};
use crate::report::{Block, Cell, Level, Notice, ReportInput, Section, Table};

/// Head and rows for people.
pub(super) fn table(comparison: &Comparison) -> Vec<[String; 5]> {
    let mut rows = vec![["metric", "a", "b", "difference", "ratio"].map(str::to_owned)];
    rows.extend(comparison.pairs.iter().map(|p| {
        let text = |value: Option<f64>, unit| value.map_or_else(|| "–".to_owned(), |v| show(v, unit));
        [
            p.metric.clone(),
            text(p.a, p.unit),
            text(p.b, p.unit),
            text(p.difference, p.unit),
            text(p.ratio, Unit::Ratio),
        ]
    }));
    rows
}

/// The report of both with the comparison in front.
pub(super) fn page(a: &Stored, b: &Stored, comparison: &Comparison, verdicts: &[Verdict]) -> ReportInput {
    let mut page = report_of(&[("a", a), ("b", b)]);
    page.title = format!(
        "{} compared",
        if a.scenario == b.scenario {
            &a.scenario
        } else {
            "two runs"
        }
    );
    if !comparison.differences.is_empty() {
        let notice = Notice {
            level: Level::Warning,
            text: "NOT COMPARABLE as they are: a and b were not taken the same way".to_owned(),
        };
        page.notices.insert(0, notice);
    }
    let mut blocks = Vec::new();
    if !verdicts.is_empty() {
        blocks.push(Block::Table(verdict_table(verdicts)));
    }
    if !comparison.differences.is_empty() {
        let row = |d: &Difference| vec![Cell::text(&d.what), Cell::text(&d.a), Cell::text(&d.b)];
        blocks.push(Block::Table(Table {
            caption: "Not the same".to_owned(),
            columns: ["", "a", "b"].map(str::to_owned).to_vec(),
            rows: comparison.differences.iter().map(row).collect(),
        }));
    }
    let mut rows = table(comparison).into_iter();
    let columns = rows.next().unwrap_or_default().to_vec();
    let cells = |row: [String; 5]| {
        let [metric, figures @ ..] = row;
        std::iter::once(Cell::text(metric))
            .chain(figures.into_iter().map(Cell::number))
            .collect()
    };
    let all = Table {
        caption: "Ratio: b divided by a".to_owned(),
        columns,
        rows: rows.map(cells).collect(),
    };
    if !blocks.is_empty() {
        page.sections.insert(
            0,
            Section {
                heading: "Comparison".to_owned(),
                blocks,
            },
        );
    }
    // In place of the figures without differences.
    for section in page.sections.iter_mut().filter(|s| s.heading == "Figures") {
        section.blocks = vec![Block::Table(all.clone())];
    }
    page
}

fn verdict_table(verdicts: &[Verdict]) -> Table {
    let row = |v: &Verdict| {
        let (word, level) = if v.passed {
            ("pass", Level::Good)
        } else {
            ("FAIL", Level::Bad)
        };
        vec![
            Cell::text(word).level(level),
            Cell::text(&v.assertion),
            Cell::number(&v.found),
        ]
    };
    Table {
        caption: String::new(),
        columns: ["", "assertion", "found"].map(str::to_owned).to_vec(),
        rows: verdicts.iter().map(row).collect(),
    }
}
