//! The configuration as somebody meets it who runs the program: reports, hashes, seeded accounts, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use common::program::{Program, program, run};
use common::{TestServer, request};
use countersign::auth::password::{Cost, Hasher};
use countersign::config::SeededUser;
use serde_json::json;
use tempfile::TempDir;

/// A configuration file.
fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// What `check-config` says of a file, and its code.
fn checked(path: &str, more: &[&str]) -> (String, Option<i32>) {
    let output = run(&[&["check-config", "--config", path], more].concat());
    assert!(
        output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    (String::from_utf8(output.stdout).unwrap(), output.status.code())
}

#[test]
fn all_that_is_wrong_is_told_with_file_and_line() {
    let (_folder, path) =
        file("lisen = \"x\"\n[qr]\nrotate_ms = 1\nstep_up = 7\n[tokens]\nkey_file = \"/nowhere/key.pem\"\n");
    let (told, code) = checked(&path, &["--qr.idle_ms", "soon"]);
    assert_eq!(code, Some(2));
    for line in [
        format!("{path}:1: lisen is no setting; did you mean listen?\n"),
        format!("{path}:3: qr.rotate_ms = 1 is out of bounds: 50 to 86400000 ms\n"),
        format!("{path}:4: qr.step_up must be text in quotes, and is a number\n"),
        format!("{path}:6: "),
        "--qr.idle_ms: qr.idle_ms must be a whole number, and is text\n".to_owned(),
        "the configuration cannot be used: 5 problems, 0 warnings\n".to_owned(),
    ] {
        assert!(told.contains(&line), "{line}\nnot in\n{told}");
    }
    // The start says the same.
    let output = run(&["--config", &path]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        told.contains(&format!("{path}:3: qr.rotate_ms = 1 is out of bounds")),
        "{told}"
    );
}

#[test]
fn a_sound_configuration_ends_with_0_and_its_warnings() {
    let (_folder, path) = file("public_origin = \"https://login.example\"\n");
    let (told, code) = checked(&path, &[]);
    assert_eq!(code, Some(0), "{told}");
    assert!(
        told.starts_with(&format!("{path}:1: warning: public_origin is a name for others")),
        "{told}"
    );
    assert!(
        told.ends_with("the configuration can be used: 0 problems, 1 warning\n"),
        "{told}"
    );
    let (told, code) = checked(
        concat!(env!("CARGO_MANIFEST_DIR"), "/docs/countersign.example.toml"),
        &[],
    );
    assert_eq!(
        (told.as_str(), code),
        ("the configuration can be used: 0 problems, 0 warnings\n", Some(0))
    );
}

#[test]
fn the_environment_sets_what_flags_do_not() {
    let check = |flags: &[&str], environment: &[(&str, &str)]| {
        let mut command = program(&[&["check-config"], flags].concat());
        let output = command
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    let low = [("COUNTERSIGN_QR_ROTATE_MS", "1")];
    let (told, code) = check(&[], &low);
    assert!(
        code == Some(2) && told.contains("COUNTERSIGN_QR_ROTATE_MS: qr.rotate_ms = 1 is out of bounds"),
        "{told}"
    );
    let (told, code) = check(&[], &[("COUNTERSIGN_QR_ROTATE", "50000")]);
    assert!(
        code == Some(2) && told.contains("did you mean COUNTERSIGN_QR_ROTATE_MS?"),
        "{told}"
    );
    let (told, code) = check(
        &["--limits.message_rate", "{ count = 0, period_ms = 1, burst = 1 }"],
        &[],
    );
    assert!(
        code == Some(2) && told.contains("--limits.message_rate: limits.message_rate.count = 0"),
        "{told}"
    );
    // Written with dashes, before the command or after it; and no secret.
    for flags in [
        ["--qr.match-mode", "none"],
        ["--public_origin", "http://127.0.0.1:1"],
    ] {
        assert_eq!(check(&flags, &[]).1, Some(0), "{flags:?}");
    }
    for secret in ["--operator-key", "--operator_key", "--accounts.users"] {
        let output = run(&["check-config", secret, "0123456789012345678901234"]);
        assert_eq!(output.status.code(), Some(2), "{secret}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("unexpected argument"),
            "{secret}"
        );
    }
}

#[test]
fn what_is_for_trying_is_refused_to_others_unless_it_is_said() {
    let output = run(&[
        "--listen",
        "0.0.0.0:0",
        "--public-origin",
        "http://192.168.1.20:8080",
    ]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for part in [
        "tokens.key_file",
        "accounts.open_registration = false",
        "demo = false",
        "--trial-on-lan",
    ] {
        assert!(told.contains(part), "{part} not in {told}");
    }
    for said in [
        &["--trial-on-lan"][..],
        &["--exposed", "generated_key,open_registration,demo_pages"],
        &[
            "--exposed",
            "generated_key",
            "--accounts.open_registration",
            "false",
            "--demo",
            "false",
        ],
    ] {
        let arguments = [
            "--listen",
            "0.0.0.0:0",
            "--public-origin",
            "http://192.168.1.20:8080",
            "--drain.grace_ms",
            "0",
        ];
        let program = Program::start(&[&arguments[..], said].concat()).unwrap();
        let (_, logged) = program.stop();
        assert!(logged.contains("cross the network in the clear"), "{logged}");
    }
}

#[test]
fn the_reference_and_the_example_are_printed() {
    for (arguments, name) in [
        (&["config-reference"][..], "docs/configuration.md"),
        (
            &["config-reference", "--example"],
            "docs/countersign.example.toml",
        ),
    ] {
        let written = std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
        assert!(run(arguments).stdout == written, "{name} is not what is printed");
    }
}

/// What `hash-password` prints for a line on its standard input.
fn hashed(password: &str, more: &[&str]) -> (String, String, Option<i32>) {
    let mut child = program(&[&["hash-password"], more].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended before it reads.
    let _ = child.stdin.take().unwrap().write_all(password.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

async fn login(addr: SocketAddr, user: &str, password: &str) -> common::Answer {
    let login = json!({"user_id": user, "password": password, "device": {"id": "phone-1", "kind": "ios"}});
    request(addr, "POST", "/v1/login").json(&login).send().await
}

/// From the password to the account that signs in, through files and pipes alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hashed_password_in_the_file_signs_in() {
    let (hash, _, code) = hashed("correct horse\n", &["--accounts.argon2_memory_kib", "64"]);
    assert_eq!(code, Some(0));
    assert!(
        hash.starts_with("$argon2id$v=19$m=64,t=2,p=1$") && hash.ends_with('\n'),
        "{hash}"
    );
    let users = format!(
        "[accounts]\nargon2_memory_kib = 64\nopen_registration = false\n[[accounts.users]]\nid = \"alice\"\n\
         name = \"Alice\\u202e of Accounts\"\npassword_hash = \"{}\"\n[drain]\ngrace_ms = 0\n",
        hash.trim()
    );
    let (_folder, path) = file(&users);
    let program = Program::start(&["--listen", "127.0.0.1:0", "--config", &path]).unwrap();
    let signed_in = login(program.addr, "alice", "correct horse").await;
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let user = &signed_in.json()["user"];
    assert_eq!(user["id"], "alice");
    assert_eq!(
        user["name"], "Alice of Accounts",
        "names are cleaned as any other"
    );
    assert_eq!(login(program.addr, "alice", "wrong horse").await.status, 401);
    program.stop();
}

#[test]
fn a_password_that_is_none_is_refused() {
    for (given, told) in [
        ("short\n", "8 to"),
        ("", "8 to"),
        (&("x".repeat(5_000) + "\n"), "8 to"),
    ] {
        let (hash, error, code) = hashed(given, &[]);
        assert_eq!((hash.as_str(), code), ("", Some(2)), "{error}");
        assert!(error.contains(told), "{error}");
    }
    // A file that says what it costs in a way that cannot be read is no reason to take another cost.
    let (_folder, path) = file("[accounts]\nargon2_iterations = = 3\n");
    let (hash, error, code) = hashed("correct horse\n", &["--config", &path]);
    assert!(
        hash.is_empty() && code == Some(2) && error.contains(&format!("{path}:2: ")),
        "{error}"
    );
    let (_, error, code) = hashed("correct horse\n", &["--accounts.argon2_iterations", "99"]);
    assert!(
        code == Some(2) && error.contains("accounts.argon2_iterations = 99 is out of bounds"),
        "{error}"
    );
}

/// A terminal is asked twice and shows nothing of it.
#[test]
fn a_terminal_does_not_show_the_password() {
    let gateway = env!("CARGO_BIN_EXE_countersign");
    let ask = |typed: &str| {
        let mut child = Command::new("script")
            .args(["--quiet", "--return", "--echo", "never", "--command"])
            .arg(format!(
                "exec '{gateway}' hash-password --accounts.argon2_memory_kib 64"
            ))
            .arg("/dev/null")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code())
    };
    let (said, code) = ask("correct horse\ncorrect horse\n");
    assert!(
        code == Some(0) && said.contains("Password: ") && said.contains("$argon2id$"),
        "{said}"
    );
    assert!(!said.contains("correct horse"), "{said}");
    let (said, code) = ask("correct horse\nanother horse\n");
    assert!(code == Some(2) && said.contains("different"), "{said}");
}

/// Accounts of the configuration are there on every engine, and without the demo what a phone needs is there, and the
/// rest is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_demo_a_phone_still_finds_its_page() {
    let cost = Cost {
        memory_kib: 8,
        iterations: 1,
        ..Cost::default()
    };
    let password_hash = Hasher::new(cost).unwrap().hash("correct horse").await.unwrap();
    let server = TestServer::start(|config| {
        config.demo = false;
        config.accounts.users.push(SeededUser {
            id: "alice".into(),
            name: None,
            password_hash,
        });
    })
    .await;
    let get = async |path: &str| request(server.addr, "GET", path).send().await;
    for gone in [
        "/",
        "/assets/index.html",
        "/assets/index.js",
        "/assets/page/room.js",
    ] {
        assert_eq!(get(gone).await.status, 404, "{gone}");
    }
    // The page, and all that it loads.
    let page = get("/q/AAAAAAAAAAAAAAAAAAAAAA").await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("href=\"/\""));
    // Where a code is typed it is the same one.
    for typed in ["/q", "/q/"] {
        let there = get(typed).await;
        assert_eq!((there.status, there.text()), (200, page.text()), "{typed}");
    }
    let mut waiting: Vec<String> = page
        .text()
        .split('"')
        .filter(|word| word.starts_with("/assets/"))
        .map(str::to_owned)
        .collect();
    let mut loaded = Vec::new();
    while let Some(path) = waiting.pop() {
        if loaded.contains(&path) {
            continue;
        }
        let answer = get(&path).await;
        assert_eq!(answer.status, 200, "{path}");
        let folder = path.rsplit_once('/').unwrap().0.to_owned();
        for import in answer
            .text()
            .split("from '")
            .skip(1)
            .filter_map(|rest| rest.split('\'').next())
        {
            waiting.push(match import.strip_prefix("../") {
                Some(above) => format!("{}/{above}", folder.rsplit_once('/').unwrap().0),
                None => format!("{folder}/{}", import.trim_start_matches("./")),
            });
        }
        loaded.push(path);
    }
    assert!(
        loaded.len() > 15 && loaded.contains(&"/assets/client.js".to_owned()),
        "{loaded:?}"
    );
    assert_eq!(get("/openapi.json").await.status, 200);
    assert_eq!(login(server.addr, "alice", "correct horse").await.status, 200);
    server.stop().await;
}
