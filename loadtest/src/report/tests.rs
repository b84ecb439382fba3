use super::chart::thin;
use super::*;

fn sample() -> ReportInput {
    let hostile = "</script><img src=x onerror=\"a\">&'\u{1}";
    let chart = Chart {
        title: hostile.to_owned(),
        x: Axis::linear("second"),
        y: Axis::log(hostile),
        lines: vec![
            Line::new(hostile, vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 4.0), (3.0, 5.0)]),
            Line::new("empty", Vec::new()),
        ],
        spans: vec![Span {
            from: 1.0,
            to: 2.0,
            label: hostile.to_owned(),
            reference: true,
        }],
    };
    ReportInput {
        title: hostile.to_owned(),
        subtitle: hostile.to_owned(),
        notices: vec![Notice {
            level: Level::Bad,
            text: hostile.to_owned(),
        }],
        sections: vec![Section {
            heading: hostile.to_owned(),
            blocks: vec![
                Block::Text(hostile.to_owned()),
                Block::Code(hostile.to_owned()),
                Block::Table(Table {
                    caption: hostile.to_owned(),
                    columns: vec![hostile.to_owned()],
                    rows: vec![vec![Cell::number(hostile).level(Level::Warning)]],
                }),
                Block::Chart(chart),
            ],
        }],
    }
}

/// Whether every element that is opened is closed, in order. The page uses no optional end tags.
fn is_balanced(page: &str) -> Result<(), String> {
    const VOID: [&str; 1] = ["meta"];
    let mut open: Vec<String> = Vec::new();
    let mut rest = page.strip_prefix("<!doctype html>").ok_or("no doctype")?;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').ok_or("a tag does not end")?;
        let (tag, after) = (&rest[..end], &rest[end + 1..]);
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(char::is_ascii_alphanumeric)
            .collect();
        rest = after;
        if tag.starts_with('/') {
            if open.pop().as_deref() != Some(name.as_str()) {
                return Err(format!("</{name}> closes something else"));
            }
        } else if !tag.ends_with('/') && !VOID.contains(&name.as_str()) {
            // Raw text: no tags until its end.
            if name == "style" || name == "script" {
                let end = format!("</{name}>");
                rest = &rest[rest.find(&end).ok_or("raw text does not end")?..];
            }
            open.push(name);
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("{open:?} stay open"))
    }
}

#[test]
fn the_page_is_well_formed_and_self_contained() {
    let page = html(&sample());
    is_balanced(&page).unwrap();
    for outside in [
        "http:",
        "https:",
        "//",
        "url(",
        "@import",
        "src=x onerror=\"",
        "<img",
        "<link",
        "style=\"",
    ] {
        let found: Vec<&str> = page.lines().filter(|line| line.contains(outside)).collect();
        let comment = |line: &&&str| line.trim_start().starts_with("// ");
        assert!(found.iter().all(|l| comment(&l)), "{outside}: {found:?}");
    }
    for attribute in [" src=", " href="] {
        let text = page.replace("&lt;img src=x", "");
        assert!(!text.contains(attribute), "{attribute}");
    }
    assert!(page.contains("default-src 'none'"));
    assert!(!page.contains('\u{1}') && !page.contains("NaN"));
    // Broken at the gap: two strokes of the pen, the second with a line.
    let stroke = page
        .lines()
        .find(|l| l.starts_with("<path class=\"line s0\""))
        .unwrap();
    let d = stroke.split(" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!((d.matches('M').count(), d.matches('L').count()), (2, 1), "{d}");
}

#[test]
fn the_balance_test_itself_sees_faults() {
    for bad in [
        "<p>",
        "<!doctype html><p>",
        "<!doctype html><p><b></p></b>",
        "<!doctype html></p>",
    ] {
        assert!(is_balanced(bad).is_err(), "{bad}");
    }
}

#[test]
fn thinning_keeps_peaks() {
    let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
    points[77_777].1 = 99.0;
    points[33_333].1 = -5.0;
    let thinned = thin(&points, POINTS_MAX);
    assert!(thinned.len() <= POINTS_MAX);
    assert!(thinned.contains(&(77_777.0, 99.0)) && thinned.contains(&(33_333.0, -5.0)));
    assert!(thinned.windows(2).all(|w| w[0].0 < w[1].0));
}

#[test]
fn too_many_lines_are_said() {
    let line = Line::new("x", vec![(0.0, 1.0)]);
    let chart = Chart {
        title: String::new(),
        x: Axis::linear("x"),
        y: Axis::linear("y"),
        lines: vec![line; LINES_MAX + 2],
        spans: Vec::new(),
    };
    let text = super::chart::figure(&chart);
    assert!(text.contains("2 lines more are not drawn"));
}
