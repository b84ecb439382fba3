//! Verdicts from given figures, the table against the real command line, and the report of a canned result.

use std::collections::BTreeMap;

use clap::Parser;
use serde_json::{Value, json};

use super::about::About;
use super::evidence::{Evidence, Figure};
use super::measure::{How, MEASUREMENTS, Server, Span};
use super::publish::{Report, RowResult, date};
use super::rows::{ROWS, Row, Rule};
use super::runner::Measured;
use super::verdict::{Verdict, decide};
use super::{PAIRS_MIN, PerfArgs, Setup, chosen, clock_text};
use crate::cli::{Cli, Command};
use crate::error::Error;
use crate::host::machine::Machine;
use crate::idle::IdleResult;

fn setup(words: &[&str]) -> Result<Setup, Error> {
    let cli = Cli::try_parse_from(["x", "perf"].iter().chain(words)).unwrap();
    let Command::Perf(args) = cli.command else {
        panic!("not perf")
    };
    Setup::of(&args)
}

fn by_the_method() -> Setup {
    setup(&[]).unwrap()
}

fn row(name: &str) -> Row {
    *ROWS.iter().find(|row| row.name == name).unwrap()
}

/// Evidence of twelve valid pairs with one figure.
fn evidence(name: &str, value: f64, half_width: Option<f64>) -> Evidence {
    let half = half_width.unwrap_or(0.0) * value;
    let figure = Figure {
        value,
        low: value - half,
        high: value + half,
        half_width,
        median_interval: None,
        worst: value + half,
    };
    Evidence {
        figures: BTreeMap::from([(name.to_owned(), figure)]),
        valid: PAIRS_MIN,
        void: 0,
        wanted: PAIRS_MIN,
        broken: Vec::new(),
    }
}

fn verdict(row_name: &str, evidence: &Evidence) -> Verdict {
    decide(&row(row_name), evidence, false).verdict
}

#[test]
fn a_ratio_is_met_by_its_median_and_a_narrow_interval() {
    let of = |value, half| evidence("cpu_ratio", value, half);
    assert_eq!(verdict("paced", &of(1.25, Some(0.069))), Verdict::Met);
    assert_eq!(verdict("paced", &of(1.2501, Some(0.01))), Verdict::NotMet);
    for wide in [Some(0.07), Some(0.3), None] {
        let decision = decide(&row("paced"), &of(1.0, wide), false);
        assert_eq!(decision.verdict, Verdict::NotMet, "{wide:?}");
        assert!(decision.why.contains("interval"), "{}", decision.why);
    }
    assert_eq!(verdict("paced", &of(f64::NAN, Some(0.01))), Verdict::NotMet);
}

#[test]
fn a_pooled_figure_needs_no_interval_and_repeated_runs_must_all_meet_it() {
    assert_eq!(
        verdict("latency", &evidence("p99_ratio", 1.5, None)),
        Verdict::Met
    );
    assert_eq!(
        verdict("latency", &evidence("p99_ratio", 1.51, None)),
        Verdict::NotMet
    );
    let mut memory = evidence("bytes_per_connection", 4_000.0, Some(0.02));
    assert_eq!(verdict("memory", &memory), Verdict::Met);
    memory.figures.get_mut("bytes_per_connection").unwrap().worst = 4_100.0;
    let decision = decide(&row("memory"), &memory, false);
    assert_eq!(decision.verdict, Verdict::NotMet);
    assert!(decision.why.contains("one run had"), "{}", decision.why);
}

#[test]
fn too_few_valid_pairs_and_missing_figures_are_void() {
    let mut few = evidence("cpu_ratio", 1.0, Some(0.01));
    (few.valid, few.void) = (11, 13);
    let decision = decide(&row("paced"), &few, false);
    assert_eq!(decision.verdict, Verdict::Void);
    assert!(
        decision.why.contains("11 of 12 valid, 13 void"),
        "{}",
        decision.why
    );
    assert_eq!(
        verdict("latency", &evidence("cpu_ratio", 1.0, Some(0.01))),
        Verdict::Void
    );
    // Void stays void in an indication.
    assert_eq!(decide(&row("paced"), &few, true).verdict, Verdict::Void);
}

#[test]
fn what_loses_messages_meets_nothing() {
    let mut lossy = evidence("cpu_ratio", 0.5, Some(0.01));
    lossy.broken = vec!["lost==0 does not hold (found 3)".to_owned()];
    let decision = decide(&row("paced"), &lossy, false);
    assert_eq!(decision.verdict, Verdict::NotMet);
    assert!(decision.why.contains("lost==0"), "{}", decision.why);
    // A comparison has no target, but is none either.
    assert_eq!(verdict("ws-paced", &lossy), Verdict::NotMet);
}

#[test]
fn an_indication_never_says_met_and_a_comparison_has_no_target() {
    let good = evidence("cpu_ratio", 1.0, Some(0.01));
    assert_eq!(verdict("paced", &good), Verdict::Met);
    let quick = decide(&row("paced"), &good, true);
    assert_eq!(quick.verdict, Verdict::Quick);
    assert!(quick.why.contains("within the target"), "{}", quick.why);
    assert_eq!(verdict("ws-paced", &good), Verdict::Reported);
    assert!(Verdict::Met.settled() && Verdict::Reported.settled());
    for open in [Verdict::NotMet, Verdict::Void, Verdict::Quick, Verdict::NotRun] {
        assert!(!open.settled(), "{open:?}");
    }
}

#[test]
fn only_the_whole_method_can_decide() {
    let method = by_the_method();
    assert!(!method.indication);
    assert_eq!((method.pairs, method.seconds), (12, 3.0));
    for less in [&["--quick"][..], &["--pairs", "11"], &["--scale", "0.5"]] {
        assert!(setup(less).unwrap().indication, "{less:?}");
    }
    assert!(!setup(&["--pairs", "20"]).unwrap().indication);
    for bad in [
        &["--pairs", "0"][..],
        &["--scale", "0"],
        &["--scale", "2"],
        &["--server-cpu", "1"],
    ] {
        assert!(setup(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_table_is_sound() {
    for (i, row) in ROWS.iter().enumerate() {
        assert!(
            ROWS[..i].iter().all(|other| other.name != row.name),
            "{}",
            row.name
        );
        assert!(
            MEASUREMENTS.iter().any(|m| m.name == row.measurement),
            "{}",
            row.name
        );
        assert!(row.goal.is_none_or(|goal| row.target.is_some_and(|t| goal < t)));
    }
    for (i, m) in MEASUREMENTS.iter().enumerate() {
        assert!(
            MEASUREMENTS[..i].iter().all(|other| other.name != m.name),
            "{}",
            m.name
        );
        assert!(ROWS.iter().any(|row| row.measurement == m.name), "{}", m.name);
        // A figure that is decided by its interval needs enough runs for one.
        let narrow = ROWS
            .iter()
            .any(|row| row.measurement == m.name && row.rule == Rule::Narrow);
        assert!(!narrow || m.wanted(&by_the_method()) >= PAIRS_MIN, "{}", m.name);
    }
    let names: Vec<&str> = chosen(&["burst".to_owned(), "memory".to_owned()])
        .unwrap()
        .iter()
        .map(|row| row.name)
        .collect();
    assert_eq!(names, ["memory", "burst"], "the table's order");
    let error = chosen(&["bursts".to_owned()]).unwrap_err().to_string();
    assert!(
        error.contains("bursts") && error.contains("small-rooms"),
        "{error}"
    );
}

#[test]
fn every_command_is_taken_by_the_real_command_line() {
    let server = |pinned| Server {
        url: "ws://127.0.0.1:1",
        pid: 1,
        pinned,
    };
    for setup in [by_the_method(), setup(&["--quick", "--scale", "0.001"]).unwrap()] {
        for m in &MEASUREMENTS {
            let command = m.command(&setup, server(m.pinned), "x.json");
            let parsed = Cli::try_parse_from(std::iter::once("x").chain(command.iter().map(String::as_str)));
            let cli = parsed.unwrap_or_else(|e| panic!("{}: {e}", m.name));
            match (m.how, cli.command) {
                (How::Floor, Command::Ratio(args)) => {
                    assert_eq!(args.pairs, setup.pairs);
                    assert_eq!(args.common.pin_server, Some(setup.server_cpu));
                }
                (How::Workers, Command::Room(args)) => {
                    assert_eq!(args.common.pin_tester, Some(setup.tester_cpu));
                }
                (How::Polling { .. }, Command::Poll(args)) => {
                    assert_eq!(args.pairs, m.wanted(&setup));
                    assert_eq!(args.connect, m.name.ends_with("connect"));
                }
                (
                    How::Repeated {
                        span: Span::Measured, ..
                    },
                    Command::Qr(args),
                ) => {
                    assert!(args.pcs >= 10 && args.rate >= 1.0);
                    assert_eq!(args.common.profile, "bench");
                }
                (How::Repeated { .. }, Command::Idle(args)) => {
                    assert_eq!(args.common.users, Some(args.connections), "a token for each");
                    assert!(args.slope_from.unwrap() < args.connections);
                    let known = IdleResult::default().metrics();
                    args.common
                        .assertions
                        .iter()
                        .for_each(|a| a.check(&known).unwrap());
                    for must in ["lost==0", "duplicated==0", "unanswered==0"] {
                        assert!(command.iter().any(|word| word == must), "{}: {must}", m.name);
                    }
                }
                (How::Rival(name), Command::Versus(args)) => {
                    assert_eq!((args.pairs, args.b.label.as_str()), (setup.pairs, name));
                }
                (how, command) => panic!("{}: {how:?} became {command:?}", m.name),
            }
            assert!(m.seconds(&setup) > 0.0 && m.deadline(&setup) > m.seconds(&setup));
        }
    }
    let unpinned = MEASUREMENTS[0].command(&by_the_method(), server(false), "x.json");
    assert!(
        unpinned.iter().all(|word| !word.starts_with("--pin")),
        "{unpinned:?}"
    );
}

/// A document of `ratio`.
fn ratio_document() -> Value {
    json!({
        "metrics": {
            "pairs": 12.0, "pairs_void": 2.0, "cpu_ratio": 1.1, "cpu_ratio_low": 1.05, "cpu_ratio_high": 1.16,
            "cpu_ratio_half_width": 0.05, "cpu_ratio_median_low": 1.08, "cpu_ratio_median_high": 1.12, "product_cpu_us": 5.5, "floor_cpu_us": 5.0, "p99_ratio": 1.2,
            "send_cost": null,
        },
        "assertions": [
            { "assertion": "lost==0", "passed": true, "found": "0" },
            { "assertion": "refused==0", "passed": false, "found": "7" },
        ],
    })
}

#[test]
fn pairs_are_read_from_their_document() {
    let found = Evidence::of_pairs(&ratio_document(), 12);
    assert_eq!((found.valid, found.void, found.wanted), (12, 2, 12));
    let ratio = found.figure("cpu_ratio").unwrap();
    assert_eq!((ratio.value, ratio.low, ratio.high), (1.1, 1.05, 1.16));
    assert_eq!(ratio.half_width, Some(0.05));
    assert_eq!(found.figure("p99_ratio").unwrap().half_width, None);
    assert_eq!(found.figure("send_cost"), None);
    assert_eq!(found.broken, ["refused==0 does not hold (found 7)"]);
    let nothing = Evidence::of_pairs(&json!({}), 12);
    assert_eq!(verdict("paced", &nothing), Verdict::Void);
}

/// A document of `idle`.
fn idle_document(bytes: f64, steal: f64, tester: f64) -> Value {
    let usage = json!({ "steal": steal, "tester_share": tester });
    let calm = json!({ "steal": 0.0, "tester_share": 0.1 });
    json!({
        "result": { "stops": [{ "quiet": calm, "ramp": calm }, { "quiet": usage, "ramp": calm }], "then": null },
        "metrics": { "bytes_per_connection": bytes },
        "assertions": [],
    })
}

#[test]
fn runs_whose_span_was_disturbed_do_not_count() {
    let documents = [
        idle_document(4_000.0, 0.0, 0.1),
        idle_document(9_000.0, 0.06, 0.1),
        idle_document(9_000.0, 0.0, 0.91),
        idle_document(4_200.0, 0.05, 0.9),
        idle_document(4_100.0, 0.0, 0.1),
    ];
    let found = Evidence::of_runs(&documents, Span::Quiet, 3);
    assert_eq!((found.valid, found.void), (3, 2));
    let bytes = found.figure("bytes_per_connection").unwrap();
    assert_eq!((bytes.value, bytes.worst), (4_100.0, 4_200.0));
    // The ramps were calm.
    assert_eq!(Evidence::of_runs(&documents, Span::Ramp, 3).valid, 5);
    // The second message's span counts too.
    let mut then = idle_document(4_000.0, 0.0, 0.1);
    then["result"]["then"] = json!({ "quiet": { "steal": 0.5, "tester_share": 0.1 } });
    assert_eq!(Evidence::of_runs(&[then], Span::Quiet, 1).valid, 0);
    assert_eq!(Evidence::of_runs(&[json!({})], Span::Quiet, 1).valid, 0);
    // A scenario with one measured span has these among its metrics.
    let run =
        |steal: f64| json!({ "metrics": { "steal": steal, "tester": 0.5, "p99": 1.0 }, "assertions": [] });
    let found = Evidence::of_runs(&[run(0.0), run(0.06), json!({})], Span::Measured, 1);
    assert_eq!((found.valid, found.void), (1, 2));
}

#[test]
fn workers_are_compared_pair_by_pair() {
    let run = |cpu: f64, steal: f64, tester: f64| {
        json!({
            "metrics": { "cpu_us_per_delivery": cpu, "steal": steal, "tester": tester },
            "assertions": [],
        })
    };
    let pairs = [
        (run(5.0, 0.0, 0.5), run(5.5, 0.0, 0.5)),
        (run(4.0, 0.0, 0.5), run(4.8, 0.0, 0.5)),
        (run(5.0, 0.0, 0.95), run(50.0, 0.0, 0.5)),
        (run(5.0, 0.0, 0.5), run(50.0, 0.2, 0.5)),
        (
            run(5.0, 0.0, 0.5),
            json!({ "metrics": { "cpu_us_per_delivery": null } }),
        ),
    ];
    let found = Evidence::of_workers(&pairs, 2);
    assert_eq!((found.valid, found.void), (2, 3));
    assert!((found.figure("cpu_ratio").unwrap().value - 1.15).abs() < 1e-9);
    assert!((found.figure("unpinned_cpu_us").unwrap().value - 5.15).abs() < 1e-9);
}

/// A report with one row met, one not run.
fn canned() -> Report {
    let about = About {
        machine: Machine {
            cpu_model: "Model | 9".to_owned(),
            cores: 2,
            memory_bytes: 1 << 33,
            kernel: "6.1".to_owned(),
        },
        gateway: "countersign 9.9.9".to_owned(),
        commit: "abcdef".to_owned(),
        rustc: String::new(),
    };
    let rows = [row("paced"), row("ws-paced")];
    let mut report = Report::new(about, by_the_method(), &rows);
    let mut document = ratio_document();
    document["assertions"] = json!([]);
    let measured = Ok(Measured {
        evidence: Evidence::of_pairs(&document, 12),
        curves: Vec::new(),
        documents: vec!["paced.json".to_owned()],
        command: "countersign-loadtest ratio --rate 50".to_owned(),
        version: "countersign 9.9.9".to_owned(),
    });
    report.put(RowResult::of(&rows[0], &measured, false));
    assert!(!report.all_met, "a row is open");
    let missing = Err(Error::Process("node is missing <install it>".to_owned()));
    report.put(RowResult::of(&rows[1], &missing, false));
    report
}

#[test]
fn a_report_is_written_for_people_and_programs() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = canned();
    assert_eq!(report.summary(), "not all met: 1 met, 1 not run");
    report.write(folder.path()).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();

    let document: Value = serde_json::from_str(&read("perf.json")).unwrap();
    assert_eq!(document["all_met"], false);
    assert_eq!(document["about"]["commit"], "abcdef");
    let first = &document["rows"][0];
    assert_eq!(
        (&first["verdict"], &first["unit"]),
        (&json!("met"), &json!("ratio"))
    );
    assert_eq!(first["figure"]["value"], 1.1);
    assert_eq!(first["goal_met"], true);
    assert_eq!(first["sides_us"], json!([5.5, 5.0]));
    assert_eq!(document["rows"][1]["verdict"], "not_run");

    let markdown = read("perf.md");
    let line = "| ≤ 1.250 (1.150) | 1.100 (5.50 µs ÷ 5.00 µs) | 1.050 … 1.160 (±5.0 %); median 1.080 … 1.120 | met, and \
                the goal |";
    assert!(markdown.contains(line), "{markdown}");
    assert!(markdown.contains("not run: node is missing"), "{markdown}");
    assert!(
        markdown.contains("countersign 9.9.9, commit abcdef, 2 × Model"),
        "{markdown}"
    );
    assert!(!markdown.contains("An indication"), "{markdown}");
    for table_row in markdown.lines().filter(|l| l.starts_with('|')) {
        assert_eq!(table_row.matches('|').count(), 6, "{table_row}");
    }

    let page = read("perf.html");
    assert!(page.contains("not all met: 1 met, 1 not run"), "{page}");
    assert!(page.contains("countersign-loadtest ratio --rate 50"));
    assert!(page.contains("node is missing &lt;install it&gt;") && !page.contains("<install"));
}

#[test]
fn all_met_is_said_when_every_row_is_settled() {
    let mut report = canned();
    let measured = Ok(Measured {
        evidence: evidence("cpu_ratio", 0.2, Some(0.01)),
        curves: Vec::new(),
        documents: Vec::new(),
        command: String::new(),
        version: String::new(),
    });
    report.put(RowResult::of(&row("ws-paced"), &measured, false));
    assert!(report.all_met);
    assert_eq!(report.summary(), "all met: 1 met, 1 reported");
}

#[test]
fn days_and_durations_for_people() {
    assert_eq!(date(0), "1970-01-01");
    assert_eq!(date(951_782_400_000), "2000-02-29");
    assert_eq!(date(1_735_689_599_999), "2024-12-31");
    assert_eq!(date(1_735_689_600_000), "2025-01-01");
    assert_eq!(clock_text(0.0), "0:00");
    assert_eq!(clock_text(61.2), "1:02");
    assert_eq!(clock_text(3_600.0), "60:00");
}

#[test]
fn options_have_the_defaults_the_method_asks_for() {
    let Command::Perf(PerfArgs { only, quick, out, .. }) =
        Cli::try_parse_from(["x", "perf"]).unwrap().command
    else {
        panic!("not perf")
    };
    assert!(only.is_empty() && !quick && out.ends_with("perf"));
}
