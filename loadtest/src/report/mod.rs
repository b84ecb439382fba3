//! A report as one HTML file that opens from disk: no network, no fonts, nothing outside of the file, and a
//! content policy that says so. Charts are inline SVG; a small script reads values under the pointer or by the arrow
//! keys, and the page is whole without it. Narrow pages have drawings of their own. Light and dark follow the reader's system.
//!
//! A caller describes the report as plain data and gets the page as text:
//!
//! ```
//! use countersign_loadtest::report::{Axis, Block, Cell, Chart, Level, Line, Notice, ReportInput, Section, Table, html};
//!
//! let page = html(&ReportInput {
//!     title: "paced fan-out".to_owned(),
//!     subtitle: "1,000 members, 50 messages a second".to_owned(),
//!     notices: vec![Notice { level: Level::Warning, text: "SATURATED: …".to_owned() }],
//!     sections: vec![Section {
//!         heading: "Latency".to_owned(),
//!         blocks: vec![
//!             Block::Text("From the intended send to the read.".to_owned()),
//!             Block::Table(Table {
//!                 caption: String::new(),
//!                 columns: vec!["metric".to_owned(), "value".to_owned()],
//!                 rows: vec![vec![Cell::text("p99"), Cell::number("1.20 ms").level(Level::Good)]],
//!             }),
//!             Block::Chart(Chart {
//!                 title: "Latency by percentile".to_owned(),
//!                 x: Axis::nines("percentile"),
//!                 y: Axis::log("latency, ms"),
//!                 lines: vec![Line::new("gateway", vec![(0.5, 0.4), (0.99, 1.2)])],
//!                 spans: Vec::new(),
//!             }),
//!         ],
//!     }],
//! });
//! assert!(page.starts_with("<!doctype html>"));
//! ```
//!
//! All text is escaped here, never by the caller. Lines longer than [`POINTS_MAX`] are thinned so that no peak
//! is lost; more than [`LINES_MAX`] lines in one chart are not drawn, and the chart says so.

mod chart;
mod page;
mod scale;
#[cfg(test)]
mod tests;

pub use self::page::html;
pub use self::scale::Scale;

/// Most points of one line that are drawn; longer lines keep the lowest and highest of each stretch.
pub const POINTS_MAX: usize = 1_000;
/// Most lines of one chart.
pub const LINES_MAX: usize = 8;

/// A whole report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReportInput {
    pub title: String,
    /// One line below the title: what was run, on what.
    pub subtitle: String,
    /// What a reader must see first.
    pub notices: Vec<Notice>,
    pub sections: Vec<Section>,
}

/// How something is coloured. Colour is never the only sign: the text must say it too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Level {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
}

/// A line in a box at the top.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    pub level: Level,
    pub text: String,
}

/// A heading and what stands below it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    pub heading: String,
    pub blocks: Vec<Block>,
}

/// One thing in a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// A paragraph.
    Text(String),
    /// Text as it is, in a fixed-width font.
    Code(String),
    Table(Table),
    Chart(Chart),
}

/// A table. Rows may be shorter than the columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Above the table; nothing when empty.
    pub caption: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

/// One cell of a table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    pub text: String,
    /// Set to the right, digits below digits.
    pub number: bool,
    pub level: Level,
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Cell {
        Cell {
            text: text.into(),
            ..Cell::default()
        }
    }

    /// A figure, written for people by the caller.
    pub fn number(text: impl Into<String>) -> Cell {
        Cell {
            number: true,
            ..Cell::text(text)
        }
    }

    /// The same, coloured.
    #[must_use]
    pub fn level(self, level: Level) -> Cell {
        Cell { level, ..self }
    }
}

/// A line chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// Stretches of x that are shaded and named, the measured span for instance.
    pub spans: Vec<Span>,
}

/// What an axis shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// With its unit: `latency, ms`.
    pub label: String,
    pub scale: Scale,
}

impl Axis {
    /// From 0, even steps.
    pub fn linear(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            scale: Scale::Linear,
        }
    }

    /// Decades; values of 0 and below stand at the lower end.
    pub fn log(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            scale: Scale::Log,
        }
    }

    /// Quantiles 0 to 1 by 1 / (1 − q): 0.9, 0.99 and 0.999 are equally far apart.
    pub fn nines(label: impl Into<String>) -> Axis {
        Axis {
            label: label.into(),
            scale: Scale::Nines,
        }
    }
}

/// A named line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    pub name: String,
    /// x ascending. A y that is not finite is a gap.
    pub points: Vec<(f64, f64)>,
}

impl Line {
    /// A line through `points`, x ascending.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Line {
        Line {
            name: name.into(),
            points,
        }
    }
}

/// A named stretch of x.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub from: f64,
    pub to: f64,
    pub label: String,
    /// What other spans are compared with, shaded in another way than they.
    pub reference: bool,
}
