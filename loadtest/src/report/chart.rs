//! One chart as inline SVG, drawn twice: for a wide page and for a narrow one, where the letters of the wide
//! drawing would be too small to read. The style shows one of them.

use super::page::escape;
use super::scale::{Range, Scale, short};
use super::{Chart, LINES_MAX, Line, POINTS_MAX, Span};

/// A drawing: the picture and the margins around its frame, in units of the view box.
struct Shape {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    /// Most points of one line.
    points: usize,
}

const WIDE: Shape = Shape {
    class: "wide",
    width: 760.0,
    height: 300.0,
    left: 64.0,
    right: 16.0,
    top: 20.0,
    bottom: 46.0,
    points: POINTS_MAX,
};
/// As wide as a page of 360 px leaves it: letters have their own size there.
const NARROW: Shape = Shape {
    class: "narrow",
    width: 340.0,
    height: 250.0,
    left: 56.0,
    right: 10.0,
    points: POINTS_MAX / 2,
    ..WIDE
};
/// Nearer than this two labels would run into each other.
const LABEL_GAP_X: f64 = 44.0;
const LABEL_GAP_Y: f64 = 16.0;
/// About the width of a letter of a label, and that of a digit or a percent sign at most.
const LETTER: f64 = 6.6;
const DIGIT: f64 = 9.0;

struct Frame {
    shape: &'static Shape,
    x: Range,
    y: Range,
}

impl Frame {
    fn of(chart: &Chart, shape: &'static Shape) -> Frame {
        let points = || chart.lines.iter().take(LINES_MAX).flat_map(|l| l.points.iter());
        let seen = |p: &&(f64, f64)| p.1.is_finite();
        Frame {
            shape,
            // The last x is the end: half an empty chart says nothing.
            x: Range::of(chart.x.scale, points().map(|p| p.0), true),
            y: Range::of(chart.y.scale, points().filter(seen).map(|p| p.1), false),
        }
    }

    fn x(&self, value: f64) -> f64 {
        self.shape.left + self.x.place(value) * (self.right() - self.shape.left)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.place(value) * (self.bottom() - self.shape.top)
    }

    /// The frame's right and lower edges.
    fn right(&self) -> f64 {
        self.shape.width - self.shape.right
    }

    fn bottom(&self) -> f64 {
        self.shape.height - self.shape.bottom
    }

    fn is_quantile(&self) -> bool {
        self.x.is(Scale::Nines)
    }
}

/// The chart with its title and legend.
pub(super) fn figure(chart: &Chart) -> String {
    let mut out = format!("<figure><figcaption>{}</figcaption>\n", escape(&chart.title));
    out.push_str(&legend(chart));
    for shape in [&WIDE, &NARROW] {
        out.push_str(&drawing(chart, &Frame::of(chart, shape)));
    }
    // What the script says of a value to those who do not see it.
    out.push_str("<p class=\"said\" role=\"status\"></p>\n");
    if chart.lines.iter().all(|l| l.points.is_empty()) {
        out.push_str("<p class=\"note\">Nothing was measured.</p>\n");
    }
    if chart.lines.len() > LINES_MAX {
        out.push_str(&format!(
            "<p class=\"note\">{} lines more are not drawn.</p>\n",
            chart.lines.len() - LINES_MAX
        ));
    }
    out.push_str("</figure>\n");
    out
}

/// One drawing; the frame's edges go along for the script.
fn drawing(chart: &Chart, frame: &Frame) -> String {
    let Shape {
        class,
        width,
        height,
        left,
        top,
        ..
    } = frame.shape;
    let mut out = format!(
        "<svg class=\"chart {class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{}\" \
         data-x=\"{}\" data-scale=\"{}\" data-frame=\"{left} {} {top} {}\">\n",
        escape(&chart.title),
        escape(&chart.x.label),
        if frame.is_quantile() { "nines" } else { "plain" },
        frame.right(),
        frame.bottom(),
    );
    for span in &chart.spans {
        out.push_str(&shade(span, frame));
    }
    out.push_str(&axes(chart, frame));
    for (i, line) in chart.lines.iter().take(LINES_MAX).enumerate() {
        out.push_str(&path(i, line, frame));
    }
    // Above the lines: a name is what a shade is known by.
    for span in &chart.spans {
        out.push_str(&span_name(span, frame));
    }
    out.push_str("<g class=\"cursor\"></g></svg>\n");
    out
}

/// What each line and each shade is.
fn legend(chart: &Chart) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (i, line) in chart.lines.iter().take(LINES_MAX).enumerate() {
        let (kind, d) = match line.points.len() {
            1 => ("line dot", "M12 4h0"),
            _ => ("line", "M1 4H23"),
        };
        out.push_str(&format!(
            "<li><svg viewBox=\"0 0 24 8\" class=\"key\"><path class=\"{kind} s{i}\" d=\"{d}\"/></svg>{}</li>",
            escape(&line.name)
        ));
    }
    let mut named: Vec<&str> = Vec::new();
    for span in chart.spans.iter().filter(|s| !s.label.is_empty()) {
        if !named.contains(&span.label.as_str()) {
            named.push(&span.label);
            out.push_str(&format!(
                "<li><svg viewBox=\"0 0 24 8\" class=\"key\"><rect class=\"{}\" width=\"24\" height=\"8\"/></svg>{}</li>",
                span_class(span),
                escape(&span.label)
            ));
        }
    }
    out.push_str("</ul>\n");
    out
}

fn span_class(span: &Span) -> &'static str {
    if span.reference { "span reference" } else { "span" }
}

fn shade(span: &Span, frame: &Frame) -> String {
    let (from, to) = (frame.x(span.from), frame.x(span.to));
    format!(
        "<rect class=\"{}\" x=\"{from:.1}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"/>\n",
        span_class(span),
        frame.shape.top,
        (to - from).max(0.0),
        frame.bottom() - frame.shape.top,
    )
}

/// The name in the shade, where it fits; the legend has it in any case.
fn span_name(span: &Span, frame: &Frame) -> String {
    let (from, to) = (frame.x(span.from), frame.x(span.to));
    if to - from < span.label.chars().count() as f64 * LETTER {
        return String::new();
    }
    format!(
        "<text class=\"spanname\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
        f64::midpoint(from, to),
        frame.shape.top + 13.0,
        escape(&span.label)
    )
}

fn axes(chart: &Chart, frame: &Frame) -> String {
    let Shape { width, left, top, .. } = *frame.shape;
    let (bottom, right) = (frame.bottom(), frame.right());
    let mut out = String::new();
    let mut last = f64::MAX;
    for tick in frame.y.ticks() {
        let y = bottom - tick.at * (bottom - top);
        out.push_str(&format!("<path class=\"grid\" d=\"M{left} {y:.1}H{right}\"/>"));
        if last - y >= LABEL_GAP_Y {
            last = y;
            out.push_str(&format!(
                "<text class=\"ty\" x=\"{}\" y=\"{:.1}\">{}</text>\n",
                left - 8.0,
                y + 4.0,
                escape(&tick.label)
            ));
        }
    }
    let mut last = f64::MIN;
    for tick in frame.x.ticks() {
        let x = left + tick.at * (right - left);
        if x - last >= LABEL_GAP_X {
            last = x;
            out.push_str(&format!(
                "<path class=\"tick\" d=\"M{x:.1} {bottom}v5\"/>\
                 <text class=\"tx\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
                // The last one ends with the picture.
                x.min(width - tick.label.len() as f64 * DIGIT / 2.0),
                bottom + 18.0,
                escape(&tick.label)
            ));
        }
    }
    out.push_str(&format!(
        "<path class=\"axis\" d=\"M{left} {bottom}H{right}\"/>\
         <text class=\"lx\" x=\"{:.1}\" y=\"{}\">{}</text>\
         <text class=\"ly\" x=\"{left}\" y=\"{}\">{}</text>\n",
        f64::midpoint(left, right),
        frame.shape.height - 8.0,
        escape(&chart.x.label),
        top - 6.0,
        escape(&chart.y.label)
    ));
    out
}

/// One line, broken at its gaps. The values go along for the script that shows them.
fn path(index: usize, line: &Line, frame: &Frame) -> String {
    let points = thin(&line.points, frame.shape.points);
    let (mut d, mut xs, mut ys) = (String::new(), Vec::new(), Vec::new());
    let mut pen_up = true;
    for (x, y) in points {
        if !(x.is_finite() && y.is_finite()) {
            pen_up = true;
            continue;
        }
        let verb = if pen_up { 'M' } else { 'L' };
        d.push_str(&format!("{verb}{:.1} {:.1}", frame.x(x), frame.y(y)));
        pen_up = false;
        xs.push(if frame.is_quantile() {
            format!("{x:.7}")
        } else {
            short(x)
        });
        ys.push(short(y));
    }
    // A single point has no length: a dot of the line's round cap.
    let kind = if xs.len() == 1 {
        d.push_str("h0");
        "line dot"
    } else {
        "line"
    };
    format!(
        "<path class=\"{kind} s{index}\" d=\"{d}\" data-name=\"{}\" data-x=\"{}\" data-y=\"{}\"/>\n",
        escape(&line.name),
        xs.join(" "),
        ys.join(" ")
    )
}

/// At most `max` points: of each stretch the lowest and the highest, in their order.
pub(super) fn thin(points: &[(f64, f64)], max: usize) -> Vec<(f64, f64)> {
    if points.len() <= max.max(2) {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil((max / 2).max(1));
    let mut out = Vec::with_capacity(max);
    for part in points.chunks(stretch) {
        let finite = || part.iter().enumerate().filter(|(_, p)| p.1.is_finite());
        let low = finite().min_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(i, _)| i);
        let high = finite().max_by(|a, b| a.1.1.total_cmp(&b.1.1)).map(|(i, _)| i);
        let (Some(low), Some(high)) = (low, high) else {
            out.extend(part.first());
            continue;
        };
        out.push(part[low.min(high)]);
        if low != high {
            out.push(part[low.max(high)]);
        }
    }
    out
}
