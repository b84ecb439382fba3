//! The run second by second as CSV: `second`, `phase`, and the columns of a series, units in their names.
//! What was not measured is empty.

use crate::series::{COLUMNS, Course, value_of};

/// The rows of `course` with a head line.
pub(super) fn text(course: &Course) -> String {
    let mut out = format!("second,phase,{}\n", COLUMNS.join(","));
    for (second, row) in course.rows.iter().enumerate() {
        let phase = course.phase_of(row).map_or("", |p| p.name());
        let values = COLUMNS.map(|name| value_of(name)(row).map_or_else(String::new, number));
        out.push_str(&format!("{second},{phase},{}\n", values.join(",")));
    }
    out
}

/// Counts whole, the rest to a millionth.
fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.6}")
    }
}
