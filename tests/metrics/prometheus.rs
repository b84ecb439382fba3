//! A real Prometheus scrapes a real gateway, with the alerts and the questions of the dashboard.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use countersign::ops::metrics::catalog::{ALL, Kind};
use serde_json::{Value, json};

use crate::common::{Client, TestServer, request, within};
use crate::files::{alerts, file, questions};

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// The server; it ends with this value.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    reading: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Scrapes `target`, on a port of the system's choosing.
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = format!(
            "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: [{:?}]\n\
             scrape_configs: [{{job_name: countersign, static_configs: [{{targets: [\"{target}\"]}}]}}]\n",
            file("deploy/prometheus/alerts.yml")
        );
        let path = folder.path().join("prometheus.yml");
        std::fs::write(&path, config).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", path.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.path().join("data").display()
            ))
            .arg("--web.listen-address=127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("prometheus, from Debian's package of that name");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let from = said.len();
            if log.read_line(&mut said).unwrap() == 0 {
                let _ = child.kill();
                let _ = child.wait();
                panic!("Prometheus has ended:\n{said}");
            }
            let line = &said[from..];
            if let Some((_, address)) = line.split_once("msg=\"Listening on\" address=") {
                break address.trim().parse().unwrap();
            }
        };
        // Read on, or it would wait for somebody who does.
        let reading = std::thread::spawn(move || log.lines().for_each(drop));
        Self {
            child,
            address,
            reading: Some(reading),
            _folder: folder,
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = request(self.address, "GET", path).send().await;
        // It listens before it is ready.
        if answer.status == 503 {
            return Value::Null;
        }
        let body = answer.json();
        assert_eq!(
            (answer.status, &body["status"]),
            (200, &json!("success")),
            "{path}: {body}"
        );
        assert!(body["warnings"].is_null(), "{path}: {body}");
        body["data"].clone()
    }

    /// The answer to a question, once there is one.
    async fn ask(&self, question: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", escaped(question));
        within("Prometheus is ready", async {
            loop {
                if let Some(result) = self.get(&path).await["result"].as_array() {
                    return result.clone();
                }
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await
    }

    /// Asks again until the answer is as it should be.
    async fn when(&self, question: &str, holds: impl Fn(&[Value]) -> bool) {
        within(question, async {
            while !holds(&self.ask(question).await) {
                tokio::time::sleep(PAUSE).await;
            }
        })
        .await;
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}

fn escaped(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let escape = |b: u8| {
        if plain(b) {
            char::from(b).to_string()
        } else {
            format!("%{b:02X}")
        }
    };
    text.bytes().map(escape).collect()
}

/// Something of everything, so that there is something to ask for.
async fn traffic(server: &TestServer) -> Client {
    let mut alice = server.signed_in("alice").await;
    alice.ok("join", json!({"room": "chat:lobby"})).await;
    for n in 0..20 {
        alice
            .ok("send", json!({"room": "chat:lobby", "body": {"n": n}}))
            .await;
    }
    alice
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_prometheus_reads_all_of_it() {
    let server = TestServer::start(|_| {}).await;
    let mut alice = traffic(&server).await;
    let target = server.operator;
    let prometheus = tokio::task::spawn_blocking(move || Prometheus::start(target))
        .await
        .unwrap();
    prometheus
        .when("up{job=\"countersign\"} == 1", |up| up.len() == 1)
        .await;

    // Every metric has arrived, under its name.
    let arrived = prometheus.get("/api/v1/label/__name__/values").await;
    let arrived: BTreeSet<&str> = arrived
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_str().unwrap())
        .collect();
    for metric in ALL {
        let name = match metric.kind {
            Kind::Histogram => format!("{}_bucket", metric.name),
            _ => metric.name.to_owned(),
        };
        assert!(arrived.contains(name.as_str()), "{name} is not among {arrived:?}");
    }
    prometheus
        .when("countersign_messages_total == 20", |found| found.len() == 1)
        .await;

    // A rate needs two scrapes with something between them.
    prometheus
        .when(
            "rate(countersign_http_requests_total{port=\"operator\"}[1m]) > 0",
            |found| !found.is_empty(),
        )
        .await;
    alice.ok("send", json!({"room": "chat:lobby", "body": {}})).await;
    prometheus
        .when("sum(rate(countersign_deliveries_total[1m])) > 0", |found| {
            !found.is_empty()
        })
        .await;
    let mut answered = 0;
    for (panel, question) in questions() {
        let result = prometheus.ask(&question).await;
        // What compares may find nothing to tell; everything else is about something that is there.
        let compares = question.contains(" > 0");
        assert!(compares || !result.is_empty(), "{panel}: {question}");
        answered += 1;
    }
    assert!(answered > 40, "{answered}");

    // All alerts are loaded and evaluated, and none fires.
    let names: BTreeSet<String> = alerts().into_iter().collect();
    within("the alerts are evaluated", async {
        loop {
            let groups = prometheus.get("/api/v1/rules").await;
            let rules = groups["groups"][0]["rules"].as_array().unwrap();
            let found: BTreeSet<String> = rules
                .iter()
                .map(|r| r["name"].as_str().unwrap().to_owned())
                .collect();
            assert_eq!(found, names);
            if rules.iter().all(|rule| rule["health"] == "ok") {
                // On a machine that is busy elsewhere a latency may be pending for a moment.
                assert!(rules.iter().all(|rule| rule["state"] != "firing"), "{groups}");
                break;
            }
            assert!(rules.iter().all(|rule| rule["health"] != "err"), "{groups}");
            tokio::time::sleep(PAUSE).await;
        }
    })
    .await;

    // It notices that the gateway is gone.
    server.stop().await;
    prometheus
        .when("up{job=\"countersign\"} == 0", |down| down.len() == 1)
        .await;
    prometheus
        .when(
            "ALERTS{alertname=\"CountersignDown\", alertstate=\"pending\"}",
            |pending| pending.len() == 1,
        )
        .await;
}
