//! The alerts and the dashboard that come with the gateway: they ask for what there is, and `promtool` finds nothing
//! wrong.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use countersign::ops::metrics::catalog::{ALL, Kind};
use serde_json::Value;

use crate::common::{TestServer, request};

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap()
}

/// What the panels and annotations of the dashboard ask, with their variables set.
pub(crate) fn questions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(&text("deploy/grafana/countersign.json")).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        let targets = panel["targets"].as_array();
        assert_eq!(targets.is_none(), panel["type"] == "row", "{title}");
        for target in targets.into_iter().flatten() {
            found.push((title.to_owned(), target["expr"].as_str().unwrap().to_owned()));
        }
    }
    for annotation in dashboard["annotations"]["list"].as_array().unwrap() {
        found.push((
            "annotation".into(),
            annotation["expr"].as_str().unwrap().to_owned(),
        ));
    }
    for (_, question) in &mut found {
        *question = question
            .replace("$__rate_interval", "1m")
            .replace("$instance", ".*");
        assert!(!question.contains('$'), "{question}");
    }
    found
}

/// Names of ours, and of the process, in expressions.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = |word: &&str| ["countersign_", "process_"].iter().any(|p| word.starts_with(p));
    words.filter(ours).map(str::to_owned).collect()
}

/// Every name that can be asked for.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for metric in ALL {
        match metric.kind {
            Kind::Histogram => {
                known.extend(["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.name)))
            }
            _ => drop(known.insert(metric.name.to_owned())),
        }
    }
    known
}

/// The alerts: names and expressions, as written.
pub(crate) fn alerts() -> Vec<String> {
    let text = text("deploy/prometheus/alerts.yml");
    let named = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    named.map(str::to_owned).collect()
}

fn promtool(arguments: &[&str]) -> Command {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(file("deploy/prometheus"));
    command
}

fn succeeds(mut command: Command) -> String {
    let output = command
        .output()
        .expect("promtool, from Debian's package prometheus");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}\n{said}\n{wrong}");
    said
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let known = known();
    let asked: String = questions()
        .into_iter()
        .map(|(_, question)| question + "\n")
        .collect();
    for text in [asked, text("deploy/prometheus/alerts.yml")] {
        let named = names(&text);
        assert!(named.len() > 10, "{named:?}");
        let unknown: Vec<_> = named.difference(&known).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    assert_eq!(
        names("sum(rate(countersign_x_total{a=\"process_y\"}[1m]))").len(),
        2,
        "names are found"
    );
}

/// All that is counted of the gateway is on the dashboard.
#[test]
fn the_dashboard_leaves_nothing_out() {
    let asked: String = questions()
        .into_iter()
        .map(|(_, question)| question + "\n")
        .collect();
    let asked = names(&asked);
    let missing: Vec<_> = ALL
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !asked.iter().any(|asked| asked.starts_with(name)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_alert_leads_to_its_section() {
    let rules = text("deploy/prometheus/alerts.yml");
    let alerts = alerts();
    assert!(alerts.len() >= 14, "{alerts:?}");
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let section = format!("runbook_url: docs/troubleshooting.md#{}", name.to_lowercase());
        for part in [
            "for: ",
            "severity: ",
            "summary: ",
            "description: ",
            section.as_str(),
        ] {
            assert!(rule.contains(part), "{name}: {part}");
        }
    }
    // Without that page there is nothing to lead to yet.
    if let Ok(page) = std::fs::read_to_string(file("docs/troubleshooting.md")) {
        for name in &alerts {
            let section = |line: &str| line.trim_start_matches('#').trim() == name && line.starts_with('#');
            assert!(page.lines().any(section), "docs/troubleshooting.md: ## {name}");
        }
    }
}

#[test]
fn promtool_checks_rules_and_configuration() {
    succeeds(promtool(&["check", "rules", "alerts.yml"]));
    succeeds(promtool(&["check", "config", "prometheus.yml"]));
}

/// Each alert fires on what it is for, and none does while all is well.
#[test]
fn every_alert_can_fire() {
    let tests = text("deploy/prometheus/alerts.test.yml");
    for name in alerts() {
        assert!(
            tests.contains(&format!(
                "alertname: {name}\n        exp_alerts:\n          - exp_labels"
            )),
            "{name} is not shown to fire"
        );
        assert!(
            tests.contains(&format!("alertname: {name}, exp_alerts: []")),
            "{name} is not shown to rest"
        );
    }
    succeeds(promtool(&["test", "rules", "alerts.test.yml"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_wrong_with_the_metrics() {
    let server = TestServer::start(|_| {}).await;
    let answer = request(server.operator, "GET", "/metrics").send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    server.stop().await;
    let check = tokio::task::spawn_blocking(move || {
        let mut child = promtool(&["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool, from Debian's package prometheus");
        child.stdin.take().unwrap().write_all(&answer.body).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = check.await.unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
