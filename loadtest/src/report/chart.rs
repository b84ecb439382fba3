//! One chart as inline SVG.

use super::page::escape;
use super::scale::{Range, Scale, short};
use super::{Chart, LINES_MAX, Line, POINTS_MAX, Span};

/// The picture and the frame in it, in units of the view box.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 46.0;
/// Nearer than this two labels would run into each other.
const LABEL_GAP_X: f64 = 44.0;
const LABEL_GAP_Y: f64 = 16.0;

struct Frame {
    x: Range,
    y: Range,
}

impl Frame {
    fn of(chart: &Chart) -> Frame {
        let points = || chart.lines.iter().take(LINES_MAX).flat_map(|l| l.points.iter());
        let seen = |p: &&(f64, f64)| p.1.is_finite();
        Frame {
            // The last x is the end: half an empty chart says nothing.
            x: Range::of(chart.x.scale, points().map(|p| p.0), true),
            y: Range::of(chart.y.scale, points().filter(seen).map(|p| p.1), false),
        }
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }
}

/// The chart with its title and legend.
pub(super) fn figure(chart: &Chart) -> String {
    let frame = Frame::of(chart);
    let mut out = format!("<figure><figcaption>{}</figcaption>\n", escape(&chart.title));
    out.push_str(&legend(&chart.lines));
    out.push_str(&format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\" \
         data-x=\"{}\" data-scale=\"{}\">\n",
        escape(&chart.title),
        escape(&chart.x.label),
        if chart.x.scale == Scale::Nines {
            "nines"
        } else {
            "plain"
        },
    ));
    for span in &chart.spans {
        out.push_str(&shade(span, &frame));
    }
    out.push_str(&axes(chart, &frame));
    for (i, line) in chart.lines.iter().take(LINES_MAX).enumerate() {
        out.push_str(&path(i, line, &frame));
    }
    out.push_str("<g class=\"cursor\"></g></svg>\n");
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

fn legend(lines: &[Line]) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (i, line) in lines.iter().take(LINES_MAX).enumerate() {
        out.push_str(&format!(
            "<li><svg viewBox=\"0 0 24 8\" class=\"key\"><path class=\"line s{i}\" d=\"M1 4H23\"/></svg>{}</li>",
            escape(&line.name)
        ));
    }
    out.push_str("</ul>\n");
    out
}

fn shade(span: &Span, frame: &Frame) -> String {
    let (from, to) = (frame.x(span.from), frame.x(span.to));
    format!(
        "<rect class=\"span\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/>\
         <text class=\"spanname\" x=\"{:.1}\" y=\"{}\">{}</text>\n",
        (to - from).max(0.0),
        HEIGHT - TOP - BOTTOM,
        f64::midpoint(from, to),
        TOP - 6.0,
        escape(&span.label)
    )
}

fn axes(chart: &Chart, frame: &Frame) -> String {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let mut out = String::new();
    let mut last = f64::MAX;
    for tick in frame.y.ticks() {
        let y = bottom - tick.at * (bottom - TOP);
        out.push_str(&format!("<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>"));
        if last - y >= LABEL_GAP_Y {
            last = y;
            out.push_str(&format!(
                "<text class=\"ty\" x=\"{}\" y=\"{:.1}\">{}</text>\n",
                LEFT - 8.0,
                y + 4.0,
                escape(&tick.label)
            ));
        }
    }
    let mut last = f64::MIN;
    for tick in frame.x.ticks() {
        let x = LEFT + tick.at * (right - LEFT);
        if x - last >= LABEL_GAP_X {
            last = x;
            out.push_str(&format!(
                "<path class=\"tick\" d=\"M{x:.1} {bottom}v5\"/>\
                 <text class=\"tx\" x=\"{x:.1}\" y=\"{}\">{}</text>\n",
                bottom + 18.0,
                escape(&tick.label)
            ));
        }
    }
    out.push_str(&format!(
        "<path class=\"axis\" d=\"M{LEFT} {bottom}H{right}\"/>\
         <text class=\"lx\" x=\"{:.1}\" y=\"{}\">{}</text>\
         <text class=\"ly\" x=\"{LEFT}\" y=\"{}\">{}</text>\n",
        f64::midpoint(LEFT, right),
        HEIGHT - 8.0,
        escape(&chart.x.label),
        TOP - 6.0,
        escape(&chart.y.label)
    ));
    out
}

/// One line, broken at its gaps. The values go along for the script that shows them.
fn path(index: usize, line: &Line, frame: &Frame) -> String {
    let points = thin(&line.points, POINTS_MAX);
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
    if xs.len() == 1 {
        d.push_str("h0");
    }
    format!(
        "<path class=\"line s{index}\" d=\"{d}\" data-name=\"{}\" data-x=\"{}\" data-y=\"{}\"/>\n",
        escape(&line.name),
        xs.join(" "),
        ys.join(" ")
    )
}

impl Frame {
    fn is_quantile(&self) -> bool {
        self.x.is(Scale::Nines)
    }
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
