//! Every block of code in the README and the documents: run where it can be, read by those it is for where it cannot.
//!
//! A block says its language. A comment on the line before may say `not run: why`, for shell, which is then checked for
//! its syntax and the program's own arguments; `tested by: file`; or `printed at the start`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::program::{Program, program};
use common::{request, until};
use countersign::config::Config;
use serde_json::json;
use tempfile::TempDir;

const OPERATOR_KEY: &str = "0123456789abcdef0123456789abcdef";

/// One block of one document.
struct Block {
    /// Document and line.
    at: String,
    language: String,
    /// What the comment before it says.
    marker: Option<String>,
    text: String,
}

impl Block {
    fn marked(&self, what: &str) -> Option<&str> {
        Some(self.marker.as_deref()?.strip_prefix(what)?.trim())
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All documents that a reader copies from.
fn documents() -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = [
        "README.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "loadtest/README.md",
    ]
    .map(|name| root().join(name))
    .into();
    let folder = std::fs::read_dir(root().join("docs")).unwrap();
    all.extend(
        folder
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "md")),
    );
    all.sort();
    all
}

fn blocks_of(name: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let (mut before, mut open) = ("", None);
    for (at, whole) in text.lines().enumerate() {
        let line = whole.trim();
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                let marker = before
                    .strip_prefix("<!--")
                    .and_then(|rest| rest.strip_suffix("-->"));
                open = Some(Block {
                    at: format!("{name}:{}", at + 1),
                    language: language.to_owned(),
                    marker: marker.map(|text| text.trim().to_owned()),
                    text: String::new(),
                });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => block.text.push_str(&format!("{whole}\n")),
            (None, None) => before = line,
        }
    }
    assert!(open.is_none(), "{name}: a block has no end");
    blocks
}

fn blocks() -> Vec<Block> {
    let all: Vec<Block> = documents()
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            blocks_of(&name, &std::fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(all.len() > 10);
    all
}

/// What a tool says about a text on its standard input, if anything is wrong with it.
fn complaint(mut tool: Command, text: &str) -> Option<String> {
    use std::io::Write;
    let mut child = tool
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn bash(arguments: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    // What it shows is short: whatever waits for ever has failed.
    command.args(["--kill-after=5", "120", "bash"]).args(arguments);
    command
}

/// Arguments of each call of the program in a piece of shell: `countersign …` and `cargo run … -- …`.
fn calls(shell: &str) -> Vec<Vec<String>> {
    let joined = shell.replace("\\\n", " ");
    let calls = joined
        .lines()
        .flat_map(|line| line.split(['|', ';', '&', '#']).collect::<Vec<_>>());
    let arguments = |part: &str| {
        let words: Vec<&str> = part.split_whitespace().collect();
        let is_cargo = words.starts_with(&["cargo", "run"]);
        let at = words.iter().position(|word| {
            if is_cargo {
                *word == "--"
            } else {
                *word == "countersign"
            }
        });
        let at = at.or_else(|| is_cargo.then(|| words.len() - 1))?;
        // A name behind `--tag`, `--unit` and their like is no call.
        let called = is_cargo || at == 0 || !words[at - 1].starts_with('-') && words[0] == "timeout";
        let plain = |word: &&str| word.trim_matches(['"', '\'', '`']).to_owned();
        called.then(|| words[at + 1..].iter().map(plain).collect())
    };
    calls.filter_map(arguments).collect()
}

/// Whether the program takes these arguments: it is asked for its help with them.
fn is_taken(arguments: &[String]) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .env_clear()
        .args(arguments)
        .arg("--help")
        .output();
    let output = output.unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_block_has_a_language_and_a_reason_where_it_is_not_run() {
    let mut broken = Vec::new();
    for block in blocks() {
        let known = ["sh", "toml", "json", "js", "html", "yaml", "text"].contains(&block.language.as_str());
        if !known {
            broken.push(format!("{}: no check for {:?}", block.at, block.language));
        }
        let reason = block.marked("not run:");
        if reason.is_some_and(|why| why.len() < 10) {
            broken.push(format!("{}: a reason says why", block.at));
        }
        if ["html", "js", "yaml"].contains(&block.language.as_str()) && reason.is_none() {
            let by = block.marked("tested by:").unwrap_or_default();
            let name = block.at.split(':').next().unwrap();
            let tests = std::fs::read_to_string(root().join(by)).unwrap_or_default();
            if !tests.contains(name) {
                broken.push(format!("{}: {by:?} does not read {name}", block.at));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn configurations_are_taken() {
    for block in blocks().iter().filter(|block| block.language == "toml") {
        let config = Config::from_toml(&block.text).unwrap_or_else(|e| panic!("{}: {e}", block.at));
        config
            .validate()
            .unwrap_or_else(|e| panic!("{}: {e:?}", block.at));
    }
}

#[test]
fn json_is_json_and_scripts_are_scripts() {
    for block in blocks() {
        match block.language.as_str() {
            "json" => {
                for line in block.text.lines() {
                    serde_json::from_str::<serde_json::Value>(line)
                        .or_else(|_| serde_json::from_str(&block.text))
                        .unwrap_or_else(|e| panic!("{}: {e}", block.at));
                }
            }
            "js" => {
                let mut node = Command::new("node");
                node.args(["--check", "--input-type=module", "-"]);
                assert_eq!(complaint(node, &block.text), None, "{}", block.at);
            }
            _ => {}
        }
    }
}

#[test]
fn shell_is_shell_and_the_program_takes_its_arguments() {
    let mut seen = 0;
    for block in blocks().iter().filter(|block| block.language == "sh") {
        assert_eq!(complaint(bash(&["-n"]), &block.text), None, "{}", block.at);
        for call in calls(&block.text) {
            seen += 1;
            is_taken(&call).unwrap_or_else(|e| panic!("{}: {call:?}: {e}", block.at));
        }
    }
    // Also in running text: all words between backticks that begin with the program's name and a command or a flag.
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let Some(rest) = word.strip_prefix("countersign ") else {
                continue;
            };
            if word.contains(['…', '[', '<', '\n']) {
                continue;
            }
            seen += 1;
            let arguments: Vec<String> = rest.split_whitespace().map(str::to_owned).collect();
            is_taken(&arguments).unwrap_or_else(|e| panic!("{}: {word}: {e}", path.display()));
        }
    }
    assert!(seen > 5);
    assert!(is_taken(&["--no-such-flag".to_owned()]).is_err());
    assert_eq!(
        calls("cargo run --release -- serve --x \\\n  1 # y"),
        [["serve", "--x", "1"]]
    );
    assert_eq!(
        calls("docker build --tag countersign .\ncountersign -V | cat"),
        [["-V"]]
    );
}

/// A folder with the program under its name, and `curl` that ends badly when the answer is an error.
fn commands(folder: &Path) -> String {
    symlink(env!("CARGO_BIN_EXE_countersign"), folder.join("countersign")).unwrap();
    let curl = folder.join("curl");
    std::fs::write(
        &curl,
        "#!/bin/sh\nPATH=${PATH#*:}\nexec curl --fail-with-body --silent --show-error \"$@\"\n",
    )
    .unwrap();
    std::fs::set_permissions(&curl, PermissionsExt::from_mode(0o755)).unwrap();
    format!("{}:{}", folder.display(), std::env::var("PATH").unwrap())
}

fn operator_of(program: &Program) -> String {
    let said = program.said();
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("operator on http://"));
    line.unwrap().to_owned()
}

/// Each block that is not marked is carried out, with a gateway running where the documents say one is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shell_does_what_it_shows() {
    let mut gateway = program(&["--listen", "127.0.0.1:0"]);
    gateway.env("COUNTERSIGN_OPERATOR_KEY", OPERATOR_KEY);
    let gateway = Program::of(gateway).unwrap();
    until("the operator's port is told", || {
        gateway.said().contains("operator on ")
    })
    .await;
    let account = json!({"user_id": "alice", "password": "correct horse", "name": "Alice"});
    assert_eq!(
        request(gateway.addr, "POST", "/v1/accounts")
            .json(&account)
            .send()
            .await
            .status,
        201
    );
    let tools = TempDir::new().unwrap();
    let path = commands(tools.path());
    let operator = operator_of(&gateway);
    let mut ran = Vec::new();
    // What one block of a page leaves behind, a later one of that page finds.
    let mut folders: BTreeMap<String, TempDir> = BTreeMap::new();
    for block in blocks().iter().filter(|block| block.language == "sh") {
        if block.marked("not run:").is_some() {
            continue;
        }
        let text = block
            .text
            .replace("127.0.0.1:8080", &gateway.addr.to_string())
            .replace("127.0.0.1:9090", &operator);
        let page = block.at.split(':').next().unwrap().to_owned();
        let folder = folders.entry(page).or_insert_with(|| TempDir::new().unwrap());
        let output = bash(&["-euo", "pipefail", "-c", &text])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", &path)
            .env("COUNTERSIGN_OPERATOR_KEY", OPERATOR_KEY)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat();
        assert!(output.status.success(), "{}: {said}", block.at);
        ran.push(block.at.clone());
    }
    assert!(ran.len() >= 2, "{ran:?}");
}

/// What the README says that the start prints is what it prints, but for what differs from machine to machine.
#[tokio::test]
async fn the_start_prints_what_the_readme_shows() {
    let all = blocks();
    let shown = all
        .iter()
        .find(|block| block.marker.as_deref() == Some("printed at the start"))
        .unwrap();
    let mut shell = bash(&["-c"]);
    let gateway = env!("CARGO_BIN_EXE_countersign");
    let ports = "--listen 127.0.0.1:0 --operator-listen 127.0.0.1:0";
    shell
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .arg(format!("ulimit -n 1024 && exec '{gateway}' {ports}"));
    let program = Program::of(shell).unwrap();
    until("the last line is printed", || {
        program.said().contains("for one: ")
    })
    .await;
    let (public, operator) = (program.addr.port().to_string(), operator_of(&program));
    let (said, _) = program.stop();
    let told = said
        .replace(&operator, "127.0.0.1:9090")
        .replace(&format!(":{public}"), ":8080");
    assert_eq!(alike(&told), alike(&shown.text));
}

/// Lines without the commit and this machine's address.
fn alike(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line
            .split(" (")
            .next()
            .filter(|_| line.starts_with("countersign "))
            .unwrap_or(line);
        line.split(" --listen").next().unwrap_or_default().to_owned()
    };
    text.lines().map(line).collect()
}

/// What a heading is called in a link: lower case, hyphens for spaces, nothing else that is no letter or digit.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .map(|rest| rest.trim_start_matches('#').trim());
    let slug = |heading: &str| -> String {
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.map(|c| if c == ' ' { '-' } else { c })
            .collect::<String>()
            .to_lowercase()
    };
    headings.map(slug).collect()
}

/// A link to a heading finds one.
#[test]
fn links_to_headings_find_them() {
    let mut broken = Vec::new();
    for path in documents() {
        let text = std::fs::read_to_string(&path).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let Some((file, anchor)) = link.split_once('#').filter(|_| !link.contains("://")) else {
                continue;
            };
            let other = if file.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(file)
            };
            let found = std::fs::read_to_string(&other).is_ok_and(|text| anchors(&text).contains(anchor));
            if !found {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The script of docs/first-run.md, with a compiler that has the program ready.
#[test]
fn the_first_run_goes_from_an_empty_folder_to_a_code() {
    let folder = TempDir::new().unwrap();
    let path = commands(folder.path());
    let at = |name: &str| folder.path().join(name);
    let cargo = format!(
        "#!/bin/sh\necho \"$@\" >&2\nmkdir -p target/debug && ln -s '{}' target/debug/countersign\n",
        env!("CARGO_BIN_EXE_countersign")
    );
    std::fs::write(at("cargo"), cargo).unwrap();
    std::fs::set_permissions(at("cargo"), PermissionsExt::from_mode(0o755)).unwrap();
    let run = |command: &mut Command| {
        let output = command
            .env("PATH", &path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        (String::from_utf8(output.stdout).unwrap(), told)
    };
    let repository = at("repository");
    run(Command::new("git").args(["init", "--quiet"]).arg(&repository));
    let author = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
    let commit = ["commit", "--quiet", "--allow-empty", "--message", "one"];
    run(Command::new("git")
        .arg("-C")
        .arg(&repository)
        .args(author)
        .args(commit));
    let (said, told) = run(Command::new(root().join("scripts/first-run"))
        .arg(&repository)
        .arg("dev"));
    assert!(
        told.contains("build --quiet --locked --profile dev --package countersign"),
        "{told}"
    );
    let steps: Vec<&str> = said.lines().filter(|line| line.ends_with(" ms")).collect();
    let names = [
        "git clone",
        "cargo build",
        "start to",
        "the first page",
        "the first QR code",
        "stop",
    ];
    assert_eq!(steps.len(), names.len(), "{said}");
    assert!(
        steps.iter().zip(names).all(|(step, name)| step.starts_with(name)),
        "{said}"
    );
    assert!(said.contains(" KiB\n") && said.ends_with(")\n"), "{said}");
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 4, "it leaves nothing behind: {left:?}");
}

/// One section for each alert that there is, under its name.
#[test]
fn every_alert_has_its_section() {
    let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let mut sections: BTreeMap<&str, usize> = BTreeMap::new();
    for name in text
        .lines()
        .filter_map(|line| line.strip_prefix("### Countersign"))
    {
        *sections.entry(name).or_default() += 1;
    }
    assert!(sections.values().all(|times| *times == 1), "{sections:?}");
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/alerts.yml")).unwrap_or_default();
    for name in rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: Countersign"))
    {
        assert!(sections.contains_key(name), "Countersign{name} has no section");
    }
}
