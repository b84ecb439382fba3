//! The page around the charts: head, notices, tables.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::chart::figure;
use super::{Block, Level, ReportInput, Section, Table};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("pointer.js");

/// The report as one HTML document. Nothing in it is loaded from anywhere: its policy allows this style
/// and this script, by their digests, and nothing else.
pub fn html(input: &ReportInput) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{}'; \
         script-src 'sha256-{}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{}</h1>\n",
        digest(STYLE),
        digest(SCRIPT),
        escape(&input.title),
        escape(&input.title)
    );
    if !input.subtitle.is_empty() {
        out.push_str(&format!(
            "<p class=\"subtitle\">{}</p>\n",
            escape(&input.subtitle)
        ));
    }
    for notice in &input.notices {
        out.push_str(&format!(
            "<p class=\"notice {}\">{}</p>\n",
            class(notice.level),
            escape(&notice.text)
        ));
    }
    for section in &input.sections {
        write_section(&mut out, section);
    }
    out.push_str(&format!("</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"));
    out
}

fn write_section(out: &mut String, section: &Section) {
    out.push_str("<section>\n");
    if !section.heading.is_empty() {
        out.push_str(&format!("<h2>{}</h2>\n", escape(&section.heading)));
    }
    for block in &section.blocks {
        match block {
            Block::Text(text) => out.push_str(&format!("<p>{}</p>\n", escape(text))),
            Block::Code(text) => out.push_str(&format!("<pre>{}</pre>\n", escape(text))),
            Block::Table(table) => write_table(out, table),
            Block::Chart(chart) => out.push_str(&figure(chart)),
        }
    }
    out.push_str("</section>\n");
}

fn write_table(out: &mut String, table: &Table) {
    // Wide tables move in their own box, not the page with them.
    out.push_str("<div class=\"wide\"><table>\n");
    if !table.caption.is_empty() {
        out.push_str(&format!("<caption>{}</caption>\n", escape(&table.caption)));
    }
    let numeric = |column: usize| {
        table
            .rows
            .iter()
            .filter_map(|row| row.get(column))
            .any(|cell| cell.number)
    };
    out.push_str("<thead><tr>");
    for (i, column) in table.columns.iter().enumerate() {
        let class = if numeric(i) { " class=\"number\"" } else { "" };
        out.push_str(&format!("<th scope=\"col\"{class}>{}</th>", escape(column)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            let number = if cell.number { "number " } else { "" };
            out.push_str(&format!(
                "<td class=\"{number}{}\">{}</td>",
                class(cell.level),
                escape(&cell.text)
            ));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn class(level: Level) -> &'static str {
    match level {
        Level::Plain => "plain",
        Level::Good => "good",
        Level::Warning => "warning",
        Level::Bad => "bad",
    }
}

fn digest(text: &str) -> String {
    STANDARD.encode(Sha256::digest(text.as_bytes()))
}

/// Text as it may stand in an element or a quoted attribute. Control characters, which HTML does not have,
/// become the replacement character.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
