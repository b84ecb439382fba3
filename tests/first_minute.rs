//! The first minute with the program: what it says about itself, and about what keeps it from starting.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::program::{Program, run};
use common::until;
use tempfile::TempDir;

/// Neither root nor anybody with a file of their own.
const NOBODY: u32 = 65_534;

/// What it said when it did not start: code 2, nothing on standard output, one sentence that says what to do.
fn refused(output: &Output, says: &[&str]) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(output.stdout.is_empty());
    assert!(
        told.starts_with("countersign: ") && told.ends_with('\n'),
        "{told}"
    );
    for word in says {
        assert!(told.contains(word), "no {word:?} in {told}");
    }
    told
}

/// A folder that everybody may look into, with the program in it.
fn open_folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let copy = folder.path().join("countersign");
    std::fs::copy(env!("CARGO_BIN_EXE_countersign"), &copy).unwrap();
    (folder, copy)
}

/// The program as somebody without rights.
fn powerless(binary: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary);
    command
        .env_clear()
        .args(arguments)
        .stdin(Stdio::null())
        .current_dir("/");
    let root =
        std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if root {
        command.uid(NOBODY).gid(NOBODY);
    }
    loop {
        match command.output() {
            // Another test's child was made while the copy was being written, and has not become its program yet.
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            ended => return ended.unwrap(),
        }
    }
}

#[test]
fn a_port_in_use_is_told_with_how_to_find_who_uses_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let filter = format!("ss -ltnp 'sport = :{}'", taken.local_addr().unwrap().port());
    refused(
        &run(&["--listen", &address]),
        &[&format!("listen = {address} cannot be bound"), &filter, "port 0"],
    );
    let operator = Command::new(env!("CARGO_BIN_EXE_countersign"))
        .env_clear()
        .args(["--listen", "127.0.0.1:0", "--operator-listen", &address])
        .output();
    refused(
        &operator.unwrap(),
        &[&format!("operator_listen = {address}"), &filter],
    );
}

#[test]
fn an_address_that_is_another_machines_is_told() {
    // TEST-NET-1, RFC 5737: nobody has it.
    let exposed = "generated_key,open_registration,demo_pages";
    let output = run(&[
        "--listen",
        "192.0.2.1:0",
        "--public-origin",
        "https://login.example",
        "--exposed",
        exposed,
    ]);
    refused(&output, &["listen = 192.0.2.1:0", "ip -brief address", "0.0.0.0"]);
}

#[test]
fn a_port_that_takes_a_right_is_told_with_the_right() {
    let start: u16 = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .map_or(1_024, |text| text.trim().parse().unwrap());
    let Some(port) = start.checked_sub(1).filter(|port| *port > 0) else {
        // This machine lets everybody have every port: there is nothing to refuse, and what would be said is tested
        // beside src/ops/advice.rs.
        return;
    };
    let (_folder, binary) = open_folder();
    let address = format!("127.0.0.1:{port}");
    let output = powerless(
        &binary,
        &["--listen", &address, "--operator-listen", "127.0.0.1:0"],
    );
    refused(
        &output,
        &[
            &format!("listen = {address}"),
            "CAP_NET_BIND_SERVICE",
            "AmbientCapabilities=",
        ],
    );
}

#[test]
fn a_key_file_that_is_none_is_told_with_how_to_make_one() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("rubbish.pem"), "hello").unwrap();
    std::fs::write(at("empty.pem"), "").unwrap();
    for (key, says) in [
        (at("rubbish.pem"), "openssl genpkey -algorithm ed25519"),
        (at("empty.pem"), "openssl genpkey -algorithm ed25519"),
        (at("missing.pem"), "no such file"),
        (at(""), "that is a folder"),
        ("missing.pem".to_owned(), "write the whole path"),
    ] {
        std::fs::write(at("c.toml"), format!("[tokens]\nkey_file = {key:?}\n")).unwrap();
        let output = run(&["--listen", "127.0.0.1:0", "--config", &at("c.toml")]);
        refused(&output, &["tokens.key_file", says]);
    }
}

#[test]
fn a_path_that_cannot_be_read_is_told_with_what_to_change() {
    let (folder, binary) = open_folder();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(at("secret"), "").unwrap();
    std::fs::write(at("c.toml"), format!("[tokens]\nkey_file = {:?}\n", at("secret"))).unwrap();
    let forbid =
        |name: &str, mode| std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
    forbid("secret", 0o000);
    forbid("c.toml", 0o644);
    let start = |config: &str| {
        let ports = ["--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"];
        powerless(&binary, &[&ports[..], &["--config", config]].concat())
    };
    refused(
        &start(&at("c.toml")),
        &["tokens.key_file", &format!("chmod 640 {}", at("secret"))],
    );
    forbid("c.toml", 0o000);
    refused(
        &start(&at("c.toml")),
        &["the configuration", &format!("chmod 640 {}", at("c.toml"))],
    );
    refused(
        &start(&at("missing.toml")),
        &["the configuration", "correct the path"],
    );
    refused(&start(&at("")), &["the configuration", "that is a folder"]);
}

/// The program under a limit of open files, which the shell sets.
fn limited(files: u32) -> Command {
    let mut command = Command::new("sh");
    let gateway = env!("CARGO_BIN_EXE_countersign");
    let ports = "--listen 127.0.0.1:0 --operator-listen 127.0.0.1:0";
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command.args(["-c", &format!("ulimit -n {files} && exec '{gateway}' {ports}")]);
    command
}

#[test]
fn too_few_descriptors_are_told_before_they_are_missed() {
    let output = limited(64).stdin(Stdio::null()).output().unwrap();
    refused(&output, &["may have 64 files", "ulimit -n", "LimitNOFILE="]);
    let few = Program::of(limited(256)).unwrap();
    let (said, _) = few.stop();
    let line = "for production: open files are limited so that 192 sockets fit, and not limits.connections_max = 65536: \
                `ulimit -n 65600`, or LimitNOFILE=65600 in its systemd unit\n";
    assert!(said.contains(line), "{said}");
}

/// What is provisional is told, and what has been set is not.
#[test]
fn the_start_says_what_is_demo_and_what_production_lacks() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = Command::new("openssl")
        .args(["genpkey", "-algorithm", "ed25519", "-out", &at("key.pem")])
        .output()
        .unwrap();
    assert!(made.status.success());
    std::fs::set_permissions(at("key.pem"), PermissionsExt::from_mode(0o600)).unwrap();
    let told = |config: &str, arguments: &[&str]| {
        let quick = "[drain]\ngrace_ms = 0\nspread_ms = 0\n[limits]\nconnections_max = 64\n";
        std::fs::write(at("c.toml"), format!("{config}\n{quick}")).unwrap();
        let ports = ["--listen", "127.0.0.1:0", "--config", &at("c.toml")];
        let (said, _) = Program::start(&[&ports[..], arguments].concat()).unwrap().stop();
        let lines = |what: &str| said.lines().filter(|line| line.starts_with(what)).count();
        (lines("demo: "), lines("for production: "), said.clone())
    };
    let (demo, missing, said) = told("", &[]);
    assert_eq!((demo, missing), (4, 2), "{said}");
    for word in [
        "open_registration",
        "key_file",
        "in memory",
        "https://",
        "COUNTERSIGN_OPERATOR_KEY",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let config = format!(
        "operator_key = {:?}\n[accounts]\nopen_registration = false\n[tokens]\nkey_file = {:?}\n",
        "k".repeat(24),
        at("key.pem")
    );
    let (demo, missing, said) = told(&config, &["--public-origin", "https://login.example"]);
    assert_eq!((demo, missing), (2, 0), "{said}");
}

/// A container's health check: well while it answers, ready until it leaves, and a sentence otherwise.
#[tokio::test]
async fn the_health_check_says_how_a_gateway_is() {
    let program = Program::start(&["--listen", "127.0.0.1:0"]).unwrap();
    until("it has said where the operator's port is", || {
        program.said().contains("operator on ")
    })
    .await;
    let said = program.said();
    let operator = said
        .lines()
        .find_map(|line| line.strip_prefix("operator on http://"))
        .unwrap();
    let check = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .env_clear()
            .args(["healthcheck", "--operator-listen", operator])
            .args(more);
        command.output().unwrap()
    };
    for more in [&[][..], &["--ready"]] {
        let well = check(more);
        assert_eq!(well.status.code(), Some(0));
        assert!(well.stdout.is_empty() && well.stderr.is_empty());
    }
    drop(program);
    let gone = check(&[]);
    let told = String::from_utf8(gone.stderr).unwrap();
    assert_eq!(gone.status.code(), Some(1));
    assert!(told.contains("/healthz does not answer"), "{told}");
}

#[test]
fn the_version_says_what_was_built() {
    let short = String::from_utf8(run(&["-V"]).stdout).unwrap();
    let name = format!("countersign {} (", env!("CARGO_PKG_VERSION"));
    assert!(short.starts_with(&name) && short.ends_with(")\n"), "{short}");
    let long = String::from_utf8(run(&["--version"]).stdout).unwrap();
    let heads: Vec<_> = long
        .lines()
        .skip(1)
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert!(long.starts_with(short.trim_end()), "{long}");
    assert_eq!(heads, ["features", "profile", "target", "compiler"], "{long}");
    assert!(long.contains("compiler: rustc 1."), "{long}");
}

/// What `build.rs` says in a folder, line by line.
fn built(build: &Path, folder: &Path, variables: &[(&str, &str)]) -> String {
    let output = Command::new(build)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("GIT_CEILING_DIRECTORIES", folder.parent().unwrap())
        .envs([
            ("PROFILE", "release"),
            ("TARGET", "t"),
            ("RUSTC", "no-such-compiler"),
        ])
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The commit comes from git where there is one, from the environment where there is none, and never stops a build.
#[test]
fn the_commit_is_found_with_and_without_git() {
    let folder = TempDir::new().unwrap();
    let (build, tree) = (folder.path().join("build"), folder.path().join("tree"));
    std::fs::create_dir(&tree).unwrap();
    let compiled = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "-o"])
        .arg(&build)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs"))
        .status();
    assert!(compiled.unwrap().success());
    let says = |variables: &[(&str, &str)], line: &str| {
        let said = built(&build, &tree, variables);
        assert!(
            said.contains(&format!("cargo::rustc-env=BUILT_{line}\n")),
            "no {line}: {said}"
        );
        said
    };
    says(&[], "COMMIT=unknown commit");
    says(&[("PATH", "")], "COMMIT=unknown commit");
    says(&[], "COMPILER=unknown");
    says(&[("COUNTERSIGN_COMMIT", "c0ffee")], "COMMIT=c0ffee");
    says(&[("COUNTERSIGN_COMMIT", "a\nb")], "COMMIT=unknown commit");
    says(&[], "FEATURES=none");
    says(
        &[("CARGO_FEATURE_SOME_PART", "1"), ("CARGO_FEATURE_DEFAULT", "1")],
        "FEATURES=some-part",
    );

    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command
            .current_dir(&tree)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_SYSTEM", "/dev/null");
        command
            .args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
            .args(arguments);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    git(&["init", "--quiet"]);
    says(&[], "COMMIT=unknown commit");
    std::fs::write(tree.join("a"), "1").unwrap();
    git(&["add", "a"]);
    git(&["commit", "--quiet", "--message", "one"]);
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let said = says(&[], &format!("COMMIT={commit}"));
    assert!(
        said.lines()
            .any(|line| line.starts_with("cargo::rerun-if-changed=.git/refs/heads/")),
        "{said}"
    );
    says(&[("PROFILE", "debug")], "COMMIT=development");
    std::fs::write(tree.join("a"), "2").unwrap();
    says(&[], &format!("COMMIT={commit}-changed"));
    // A folder in a repository of something else.
    std::fs::create_dir(tree.join("vendored")).unwrap();
    let said = built(&build, &tree.join("vendored"), &[("GIT_CEILING_DIRECTORIES", "")]);
    assert!(said.contains("COMMIT=unknown commit\n"), "{said}");
}
