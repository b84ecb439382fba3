//! Holds the documents to the program: every limit and field with its default, every code with its properties.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a document that cannot be read has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use countersign::config::{Client, Config, Namespace, fields as settings, reference};
use countersign::node::{Effect, SETTINGS};
use countersign::ops::metrics::catalog;
use countersign_protocol::client::Command;
use countersign_protocol::{CloseCode, ErrorCode, server};

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The rows of the table whose first heading is `heading`, cells trimmed and without backticks.
fn table(text: &str, heading: &str) -> Vec<Vec<String>> {
    let start = text
        .find(&format!("\n| {heading} |"))
        .unwrap_or_else(|| panic!("no table {heading}"))
        + 1;
    let rows = text[start..]
        .lines()
        .take_while(|line| line.starts_with('|'))
        .skip(2);
    let cell = |cell: &str| cell.trim().replace('`', "");
    rows.map(|row| row.trim_matches('|').split('|').map(cell).collect())
        .collect()
}

fn defaults(text: &str, heading: &str) -> BTreeMap<String, String> {
    let rows = table(text, heading);
    let found: BTreeMap<_, _> = rows.iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    assert_eq!(found.len(), rows.len(), "a name is there twice");
    found
}

/// Splits what `Debug` wrote of a struct into its fields: nothing inside brackets or quotes separates.
fn fields(debug: &str) -> Vec<(String, String)> {
    let inner = debug.split_once('{').unwrap().1.rsplit_once('}').unwrap().0;
    let (mut parts, mut depth, mut quoted) = (vec![String::new()], 0, false);
    for c in inner.chars() {
        match c {
            '"' => quoted = !quoted,
            '{' | '[' | '(' if !quoted => depth += 1,
            '}' | ']' | ')' if !quoted => depth -= 1,
            ',' if depth == 0 && !quoted => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().unwrap().push(c);
    }
    let pair = |part: &String| {
        part.split_once(": ")
            .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
    };
    parts.iter().filter_map(pair).collect()
}

/// What `Debug` tells of a struct and of those in it, by path. A rate is one value.
fn paths(debug: &str, above: &str, found: &mut BTreeSet<String>) {
    for (name, value) in fields(debug) {
        let path = format!("{above}{name}");
        if !value.starts_with("RateLimit") && !value.starts_with('{') && value.contains(" { ") {
            paths(&value, &format!("{path}."), found);
        } else {
            found.insert(path);
        }
    }
}

#[test]
fn every_field_of_the_configuration_is_described() {
    let mut there = BTreeSet::new();
    paths(&format!("{:?}", Config::default()), "", &mut there);
    paths(
        &format!("{:?}", Namespace::default()),
        "namespaces.*.",
        &mut there,
    );
    paths(&format!("{:?}", Client::default()), "clients.*.", &mut there);
    let described: BTreeSet<String> = settings::all()
        .into_iter()
        .map(|field| field.path)
        // Its `Debug` hides what it has.
        .filter(|path| !path.starts_with("accounts.users.*."))
        .collect();
    assert_eq!(described, there);
    assert!(there.len() > 90 && there.contains("limits.message_rate") && there.contains("qr.rotate_ms"));
}

/// What the program makes is what is committed; `GOLDEN=write` makes it anew.
#[test]
fn the_configuration_documents_are_the_programs() {
    for (name, made) in [
        ("docs/configuration.md", reference::markdown()),
        ("docs/countersign.example.toml", reference::example()),
    ] {
        if std::env::var_os("GOLDEN").is_some_and(|golden| golden == "write") {
            std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(name), &made).unwrap();
        }
        assert!(
            document(name) == made,
            "{name} is not what the program makes: GOLDEN=write cargo test --test docs"
        );
    }
    let page = reference::markdown();
    let rows = page.matches("\n| `").count();
    let introduction = "\n| `generated_key` |\n| `open_registration` |\n| `demo_pages` |\n| `bench_limits` |";
    assert_eq!(rows, settings::all().len() + introduction.lines().count() - 1);
}

/// Each setting there is has its row, and the row says what the program does.
#[test]
fn every_setting_says_what_a_reload_makes_of_it() {
    let written = defaults(&document("docs/reload.md"), "setting");
    let told = |effect| match effect {
        Effect::Now => "now",
        Effect::New => "new",
        Effect::Restart => "restart",
    };
    let mut known: BTreeMap<_, _> = SETTINGS
        .iter()
        .map(|(name, effect)| ((*name).to_owned(), told(*effect).to_owned()))
        .collect();
    known.insert("tls".to_owned(), "new".to_owned());
    assert_eq!(written, known);
    let there = settings::all()
        .into_iter()
        .filter_map(|field| match field.path.split_once('.') {
            // Tables that there are any number of change as a whole.
            Some(("namespaces" | "clients", _)) => None,
            Some(("accounts", below)) if below.starts_with("users.") => None,
            Some(("tls", _)) => Some("tls".to_owned()),
            _ => Some(field.path),
        });
    assert_eq!(
        there.collect::<BTreeSet<_>>(),
        written.into_keys().collect::<BTreeSet<_>>()
    );
}

#[test]
fn every_code_is_in_the_protocol() {
    let text = document("docs/protocol.md");
    let rows = table(&text[text.find("### 7.1").unwrap()..], "code");
    let written: Vec<_> = rows
        .iter()
        .map(|r| (r[0].clone(), r[1].clone(), r[2].clone()))
        .collect();
    let known: Vec<_> = ErrorCode::ALL
        .iter()
        .map(|c| {
            (
                c.name().to_owned(),
                c.status().to_string(),
                if c.retry() { "yes" } else { "no" }.to_owned(),
            )
        })
        .collect();
    assert_eq!(written, known);

    let rows = table(&text[text.find("### 7.2").unwrap()..], "code");
    let written: Vec<_> = rows
        .iter()
        .map(|r| (r[0].clone(), r[1].clone(), r[2].clone()))
        .collect();
    let known: Vec<_> = CloseCode::ALL
        .iter()
        .map(|c| {
            let back = if CloseCode::reconnect(c.code()) {
                "yes"
            } else {
                "no"
            };
            (c.code().to_string(), c.reason().to_owned(), back.to_owned())
        })
        .collect();
    assert_eq!(written, known);
}

#[test]
fn every_command_is_in_the_protocol() {
    let text = document("docs/protocol.md");
    let rows: Vec<String> = text
        .lines()
        .filter(|l| l.starts_with("| `"))
        .map(str::to_owned)
        .collect();
    for name in Command::NAMES {
        assert!(
            rows.iter().any(|row| row.starts_with(&format!("| `{name}` |"))),
            "{name} has no row"
        );
    }
    let hello = serde_json::to_string(&server::HelloLimits {
        frame_bytes_max: 1,
        body_bytes_max: 1,
        subscriptions_max: 1,
        like_max: 1,
    });
    for (name, _) in fields(&hello.unwrap().replace('"', "").replace(':', ": ")) {
        assert!(
            text.contains(&format!("| `limits.{name}` |")),
            "hello.limits.{name}"
        );
    }
}

#[test]
fn every_metric_is_described() {
    let rows = table(&document("docs/metrics.md"), "metric");
    let known: Vec<Vec<String>> = catalog::ALL
        .iter()
        .map(|m| [m.name, m.kind.name(), m.unit, &m.labels.join(", "), m.meaning].map(str::to_owned))
        .map(Vec::from)
        .collect();
    assert_eq!(rows, known);
}

/// A limit that a text names is a limit there is.
#[test]
fn names_in_the_texts_exist() {
    let known: Vec<String> = settings::all().into_iter().map(|field| field.path).collect();
    for name in [
        "docs/protocol.md",
        "docs/operations.md",
        "docs/console.md",
        "docs/configuration.md",
        "docs/metrics.md",
        "docs/oauth.md",
        "docs/security.md",
        "docs/troubleshooting.md",
        "docs/upgrading.md",
        "README.md",
        "ARCHITECTURE.md",
        "SECURITY.md",
    ] {
        for word in document(name).split('`').skip(1).step_by(2) {
            // A setting as it stands in the file.
            let word = word.split(" = ").next().unwrap_or_default();
            let is_limit = ["_rate", "_entries"].iter().any(|end| word.ends_with(end))
                || (word.ends_with("_max")
                    && !word.contains('.')
                    && word.chars().all(|c| c.is_lowercase() || c == '_'));
            let is_field = ["tokens.", "rooms.", "drain.", "accounts.", "qr.", "oauth."]
                .iter()
                .any(|p| word.starts_with(p))
                && word.contains('_');
            if is_limit || is_field {
                let exists = known
                    .iter()
                    .any(|k| k == word || k.split('.').next_back() == Some(word));
                assert!(exists, "{name}: `{word}` is neither a limit nor a field");
            }
        }
    }
}

/// A file that a text names is there.
#[test]
fn paths_in_the_texts_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "docs/protocol.md",
        "docs/operations.md",
        "docs/console.md",
        "docs/configuration.md",
        "docs/metrics.md",
        "docs/oauth.md",
        "docs/qr-login.md",
        "docs/security.md",
        "docs/troubleshooting.md",
        "docs/upgrading.md",
        "docs/first-run.md",
    ];
    let folders = [
        "src/",
        "protocol/",
        "tests/",
        "web/",
        "docs/",
        "loadtest/",
        "contracts/",
        "deploy/",
        "scripts/",
    ];
    let mut gone = Vec::new();
    for name in names {
        for word in document(name).split('`').skip(1).step_by(2) {
            let is_path = folders.iter().any(|f| word.starts_with(f)) && !word.contains([' ', '*', '<']);
            if is_path && !root.join(word).exists() {
                gone.push(format!("{name}: {word}"));
            }
        }
    }
    assert!(gone.is_empty(), "{gone:#?}");
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CHANGELOG.md",
        "docs/protocol.md",
        "docs/operations.md",
        "docs/console.md",
        "docs/configuration.md",
        "docs/metrics.md",
        "docs/oauth.md",
        "docs/qr-login.md",
        "docs/security.md",
        "docs/troubleshooting.md",
        "docs/upgrading.md",
        "docs/first-run.md",
    ];
    for name in names {
        let text = document(name);
        let folder = root.join(name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.starts_with("https://") || link.starts_with('#') {
                continue;
            }
            let path = link.split('#').next().unwrap_or_default();
            assert!(folder.join(path).exists(), "{name}: {link}");
        }
    }
}
