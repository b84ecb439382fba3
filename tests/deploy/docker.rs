//! The Dockerfile, as far as it can be looked at without an engine that builds it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::{read, root};

/// Instructions, continued lines joined: the word, and what follows it.
fn instructions(text: &str) -> Vec<(String, String)> {
    let joined = text.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (word, rest) = line.split_once(' ').unwrap();
        (word.to_owned(), rest.trim().to_owned())
    };
    lines.map(split).collect()
}

fn of(all: &[(String, String)], word: &str) -> Vec<String> {
    all.iter()
        .filter(|(name, _)| name == word)
        .map(|(_, rest)| rest.clone())
        .collect()
}

/// Folders and files of the repository that the image is built from.
fn copied(all: &[(String, String)]) -> BTreeSet<String> {
    let plain = of(all, "COPY")
        .into_iter()
        .filter(|rest| !rest.starts_with("--from="));
    let sources = plain.flat_map(|rest| {
        let mut words: Vec<_> = rest.split_whitespace().map(str::to_owned).collect();
        words.pop();
        words
    });
    sources.collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        std::fs::copy(from, to).unwrap();
        return;
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "node_modules" && name != "target" {
            copy(&from.join(&name), &to.join(&name));
        }
    }
}

/// Folders of the repository that sources embed files of.
fn embedded(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            embedded(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let after = text.split("include_str!(concat!(\"../../").skip(1);
            found.extend(after.map(|rest| rest.split('/').next().unwrap().to_owned()));
        }
    }
}

#[test]
fn what_the_image_is_built_from_is_enough_to_build() {
    let all = instructions(&read("deploy/docker/Dockerfile"));
    let copied = copied(&all);
    let tree = TempDir::new().unwrap();
    for name in &copied {
        copy(&root().join(name), &tree.path().join(name));
    }
    // Everything the manifest names is there: members, targets, the lock file.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .current_dir(tree.path())
        .args([
            "metadata",
            "--format-version",
            "1",
            "--offline",
            "--locked",
            "--no-deps",
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut found = BTreeSet::new();
    embedded(&tree.path().join("src"), &mut found);
    assert!(!found.is_empty() && found.is_subset(&copied), "{found:?}");
    // The context that reaches the engine has the same.
    let ignored = read(".dockerignore");
    let let_in: BTreeSet<String> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .map(str::to_owned)
        .collect();
    assert_eq!(let_in, copied);
}

#[test]
fn the_image_runs_as_nobody_and_asks_after_its_health() {
    let all = instructions(&read("deploy/docker/Dockerfile"));
    assert_eq!(of(&all, "FROM").len(), 2);
    assert_eq!(of(&all, "USER"), ["65532:65532"]);
    let manifest = read("Cargo.toml");
    let oldest = manifest
        .lines()
        .find_map(|line| line.strip_prefix("rust-version = "))
        .unwrap();
    assert!(of(&all, "FROM")[0].starts_with(&format!("rust:{}-", oldest.trim_matches('"'))));
    let health = of(&all, "HEALTHCHECK").remove(0);
    let command = health.split_once("CMD ").unwrap().1;
    let words: Vec<String> = serde_json::from_str(command).unwrap();
    assert_eq!(words[0], "/usr/bin/countersign");
    let help = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .args(&words[1..])
        .arg("--help")
        .output();
    assert!(help.unwrap().status.success(), "{words:?}");
    for variable in of(&all, "ENV")[0].split_whitespace() {
        let (name, _) = variable.split_once('=').unwrap();
        let known = read("README.md") + &read("docs/operations.md");
        assert!(known.contains(name), "{name}");
    }
}
