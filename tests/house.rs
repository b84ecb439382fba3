//! The rules of the house that a compiler does not know: who imports whom, and what is nowhere. `ARCHITECTURE.md`
//! says why each of them is there.
//!
//! The tests read the source as text, without comments and without test modules.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a rule that cannot be read has failed"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lines of a source file, tests inside it included.
const LINES_MAX: usize = 500;

struct Source {
    /// From the root of the repository, with forward slashes.
    name: String,
    code: String,
    lines: usize,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Source files below a folder; test files are not among them.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    walk(&root().join(folder), &mut paths);
    let read = |path: PathBuf| {
        let name = path
            .strip_prefix(root())
            .unwrap()
            .to_string_lossy()
            .replace('\\', "/");
        let text = std::fs::read_to_string(&path).unwrap();
        Source {
            code: code_of(&text),
            lines: text.lines().count(),
            name,
        }
    };
    let mut all: Vec<Source> = paths.into_iter().map(read).collect();
    assert!(!all.is_empty(), "{folder} has no sources");
    all.retain(|s| !s.name.ends_with("/tests.rs") && !s.name.contains("/tests/"));
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Everything before the test module, without comments.
fn code_of(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let bare = |line: &str| {
        let line = line.split(" // ").next().unwrap_or_default();
        if line.trim_start().starts_with("//") {
            String::new()
        } else {
            line.to_owned()
        }
    };
    code.lines().map(bare).collect::<Vec<_>>().join("\n")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `code` has `word` with no letter of a longer word around it.
fn has_word(code: &str, word: &str) -> bool {
    let begins = |text: &str| text.chars().next().is_some_and(is_word);
    let ends = |text: &str| text.chars().next_back().is_some_and(is_word);
    code.match_indices(word).any(|(at, _)| {
        let joined_before = begins(word) && ends(&code[..at]);
        let joined_behind = ends(word) && begins(&code[at + word.len()..]);
        !joined_before && !joined_behind
    })
}

/// The names that follow `prefix`: one, or those in braces.
fn names_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        let rest = &code[at + prefix.len()..];
        let list = match rest.strip_prefix('{') {
            Some(inner) => inner.split('}').next().unwrap_or_default(),
            None => rest.split(|c: char| !is_word(c)).next().unwrap_or_default(),
        };
        let first = |item: &str| {
            item.trim()
                .split(|c: char| !is_word(c))
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        names.extend(list.split(',').map(first).filter(|name| !name.is_empty()));
    }
    names
}

/// Asserts that no source below `folder` has one of the words.
fn never(folder: &str, words: &[&str]) {
    let mut broken = Vec::new();
    for source in sources(folder) {
        for word in words {
            if has_word(&source.code, word) {
                broken.push(format!("{}: {word}", source.name));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "in {folder} there must not be:\n  {}",
        broken.join("\n  ")
    );
}

/// Asserts that below `src` only files whose name begins with one of `places` have one of the words.
fn only_in(places: &[&str], words: &[&str]) {
    let mut broken = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|s| !places.iter().any(|p| s.name.starts_with(p)))
    {
        for word in words {
            if has_word(&source.code, word) {
                broken.push(format!("{}: {word}", source.name));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "only in {places:?}:\n  {}",
        broken.join("\n  ")
    );
}

#[test]
fn the_core_knows_the_protocol_and_nothing_else_of_ours() {
    for source in sources("src/core") {
        let ours = names_after(&source.code, "crate::");
        assert!(
            ours.iter().all(|name| name == "core"),
            "{}: {ours:?}",
            source.name
        );
    }
}

#[test]
fn the_core_is_pure() {
    for source in sources("src/core") {
        for line in source.code.lines() {
            let Some(path) = line.trim().trim_start_matches("pub ").strip_prefix("use ") else {
                continue;
            };
            let krate = path.split(|c: char| !is_word(c)).next().unwrap_or_default();
            let allowed = [
                "std",
                "crate",
                "super",
                "self",
                "countersign_protocol",
                "serde",
                "serde_json",
                "base64",
                "bytes",
                "subtle",
            ];
            // A lower-case path without a crate is a module of the same file's own.
            let module = source.code.contains(&format!("mod {krate};"));
            assert!(allowed.contains(&krate) || module, "{}: {line}", source.name);
        }
        let sync = names_after(&source.code, "std::sync::");
        assert!(
            sync.iter().all(|name| name == "Arc"),
            "{}: of std::sync only Arc, not {sync:?}",
            source.name
        );
    }
    never(
        "src/core",
        &[
            "tokio",
            "tracing",
            "dashmap",
            "parking_lot",
            "rand",
            "Instant",
            "SystemTime",
            "std::thread",
            "std::net::TcpStream",
            "std::fs",
            "std::env",
            "thread_local",
            "async",
            "await",
            "println",
            "eprintln",
            "unsafe",
        ],
    );
}

#[test]
fn engine_and_hub_do_not_know_each_other() {
    never(
        "src/engine",
        &[
            "crate::hub",
            "crate::node",
            "crate::ws",
            "crate::http",
            "crate::ops",
            "crate::app",
        ],
    );
    never(
        "src/hub",
        &[
            "crate::engine",
            "crate::node",
            "crate::ws",
            "crate::http",
            "crate::ops",
            "crate::app",
        ],
    );
}

#[test]
fn the_node_does_not_know_its_faces() {
    never("src/node", &["crate::ws", "crate::http", "crate::app"]);
    never(
        "src/auth",
        &["crate::hub", "crate::ws", "crate::http", "crate::app"],
    );
    never(
        "src/config",
        &[
            "crate::engine",
            "crate::hub",
            "crate::node",
            "crate::ws",
            "crate::http",
            "crate::app",
        ],
    );
}

#[test]
fn faces_go_through_the_node() {
    never("src/ws", &["crate::engine"]);
    never("src/http", &["crate::engine", "crate::hub", "crate::ws"]);
    never(
        "src/ops",
        &[
            "crate::engine",
            "crate::hub",
            "crate::node",
            "crate::ws",
            "crate::http",
        ],
    );
    // Of the hub a socket knows its own connection: it reads and writes for it. Rooms and other connections are
    // the node's to ask for.
    let allowed = ["Charge", "Connection", "End", "Standing", "Wire"];
    for source in sources("src/ws") {
        let hub = names_after(&source.code, "crate::hub::");
        assert!(
            hub.iter().all(|name| allowed.contains(&name.as_str())),
            "{}: {hub:?}",
            source.name
        );
    }
}

#[test]
fn frameworks_stay_at_the_edge() {
    only_in(
        &["src/ws/", "src/http/"],
        &[
            "axum",
            "hyper",
            "hyper_util",
            "tower",
            "tokio_tungstenite",
            "tungstenite",
        ],
    );
    only_in(&["src/auth/"], &["aws_lc_rs", "jsonwebtoken", "argon2"]);
    only_in(
        &["src/auth/certificate.rs", "src/ws/tls.rs", "src/ws/admit.rs"],
        &["rustls", "tokio_rustls"],
    );
    only_in(&["src/config/"], &["toml", "strsim"]);
    only_in(&["src/arguments.rs"], &["clap"]);
    only_in(&["src/code"], &["fast_qr", "png::"]);
    // Where a request comes from is decided in one place, from what is read in one place.
    only_in(
        &["src/http/extract.rs"],
        &["X_FORWARDED_FOR", "header::FORWARDED"],
    );
    only_in(&["src/ops/metrics/"], &["prometheus_client"]);
}

/// Where a message gets its author. There is one place, and it has the session in its hands.
#[test]
fn a_message_gets_its_author_in_one_place() {
    only_in(&["src/node/rooms.rs", "src/core/"], &["Draft {"]);
    only_in(&["src/node/rooms.rs", "src/auth/sessions.rs"], &["stamp()"]);
}

#[test]
fn the_time_is_read_in_one_place() {
    // The runtime's own clock sets timers in `ws`; it tells nobody what time it is.
    only_in(
        &["src/clock.rs"],
        &["SystemTime", "std::time::Instant", "Utc::now", "UNIX_EPOCH"],
    );
    for source in sources("src") {
        let time = names_after(&source.code, "std::time::");
        assert!(
            source.name == "src/clock.rs" || !time.contains("Instant"),
            "{}: std's Instant",
            source.name
        );
    }
}

#[test]
fn nothing_is_unbounded() {
    // Departures: each holds a connection's place, so there are never more of them than places.
    only_in(
        &["src/node/mod.rs", "src/node/ticker.rs"],
        &["unbounded_channel", "UnboundedReceiver", "UnboundedSender"],
    );
    only_in(
        &[],
        &["unbounded", "LinkedList", "todo!", "unimplemented!", "dbg!"],
    );
}

#[test]
fn errors_are_values() {
    let mut broken = Vec::new();
    for source in sources("src") {
        for (at, line) in source.code.lines().enumerate() {
            if [
                ".unwrap()",
                ".expect(",
                ".unwrap_err()",
                "panic!(",
                "unreachable!(",
            ]
            .iter()
            .any(|w| line.contains(w))
            {
                broken.push(format!("{}:{}: {}", source.name, at + 1, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "outside tests:\n  {}", broken.join("\n  "));
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let mut paths = Vec::new();
    walk(&root().join("src"), &mut paths);
    walk(&root().join("protocol/src"), &mut paths);
    let lines = |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().count();
    let long: Vec<_> = paths
        .iter()
        .map(|p| (p.strip_prefix(root()).unwrap(), lines(p)))
        .filter(|(_, n)| *n > LINES_MAX)
        .collect();
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:?}");
}

#[test]
fn the_load_tester_knows_the_protocol_only() {
    let manifest = std::fs::read_to_string(root().join("loadtest/Cargo.toml")).unwrap();
    for line in manifest.lines().map(str::trim) {
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        assert!(name != "countersign", "loadtest depends on the gateway: {line}");
    }
    for source in sources("loadtest/src") {
        assert!(!has_word(&source.code, "countersign::"), "{}", source.name);
    }
}

/// The section of a manifest, as it is written.
fn dependencies(manifest: &str) -> &str {
    let section = manifest.split("[dependencies]\n").nth(1).unwrap();
    section.split("\n[").next().unwrap()
}

/// Only the locks and maps are others.
#[test]
fn the_models_are_built_of_what_the_gateway_is() {
    let of = |manifest: &str| -> BTreeSet<String> {
        let text = std::fs::read_to_string(root().join(manifest)).unwrap();
        let lines = dependencies(&text)
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    let (gateway, models) = (of("Cargo.toml"), of("tests/models/Cargo.toml"));
    let names = |lines: &[&String]| -> Vec<String> {
        let name = |line: &&String| line.split([' ', '.']).next().unwrap().to_owned();
        lines.iter().map(name).collect()
    };
    let replaced: Vec<_> = gateway.difference(&models).collect();
    let replacing: Vec<_> = models.difference(&gateway).collect();
    assert_eq!(names(&replaced), ["dashmap", "parking_lot"]);
    assert_eq!(names(&replacing), ["dashmap", "parking_lot"]);
}

#[test]
fn the_protocol_needs_nothing_but_serde() {
    let manifest = std::fs::read_to_string(root().join("protocol/Cargo.toml")).unwrap();
    let section = dependencies(&manifest);
    let names: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.split(['.', '=', ' ']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .collect();
    assert_eq!(names, BTreeSet::from(["serde", "serde_json"]));
}

#[test]
fn the_rules_can_fail() {
    let source =
        "use crate::hub::{Connection, Hub as H};\nlet x = crate::hub::End::Broken; // tokio\nmytokio::y();";
    let code = code_of(source);
    assert_eq!(
        names_after(&code, "crate::hub::"),
        BTreeSet::from(["Connection", "Hub", "End"].map(str::to_owned))
    );
    assert!(!has_word(&code, "tokio") && has_word(&code, "mytokio") && has_word(&code, "crate::hub"));
    assert_eq!(code_of("a\n#[cfg(test)]\nmod tests {\n b.unwrap()\n}"), "a");
    assert!(sources("src").iter().all(|s| s.lines > 0));
}
