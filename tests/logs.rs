//! What the program writes to its log: one line for each event, whatever was in it, with what it belongs to, and not
//! more of a kind than a reader can use.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::net::SocketAddr;
use std::time::Instant;

use common::program::{Program, program, run};
use common::{Answer, Client, request, within};
use countersign::ops::sampling::LINES_PER_KIND_MAX;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

const CHEAP: &str = "[accounts]\nargon2_memory_kib = 8\nargon2_iterations = 1\n\
                     [drain]\ngrace_ms = 0\nspread_ms = 0\nhard_ms = 2000\n";

/// A gateway that logs JSON, with these levels.
fn logging(folder: &TempDir, levels: &str, more: &[&str]) -> Program {
    let config = folder.path().join("countersign.toml");
    std::fs::write(&config, CHEAP).unwrap();
    let arguments = ["--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()];
    let mut command = program(&[&arguments[..], more].concat());
    command
        .env("COUNTERSIGN_LOG_FORMAT", "json")
        .env("COUNTERSIGN_LOG", levels);
    Program::of(command).unwrap()
}

/// Stops it; each of its lines is an object of its own.
fn lines_of(program: Program) -> Vec<Value> {
    let (_, log) = program.stop();
    let read =
        |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}")) };
    log.lines().map(read).collect()
}

fn with_message<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

fn bad_login(user: &str) -> Value {
    json!({"user_id": user, "password": "wrong horse", "device": {"id": "d"}})
}

/// Asks again and again over one connection; all are refused.
async fn guess(addr: SocketAddr, times: usize, who: &str) {
    let mut stream = BufReader::new(TcpStream::connect(addr).await.unwrap());
    for n in 0..times {
        let body = bad_login(&format!("{who}-{n}")).to_string();
        let head = format!(
            "POST /v1/login HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        let mut length = 0;
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 401 "), "{line}");
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.unwrap();
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
        }
        stream.read_exact(&mut vec![0; length]).await.unwrap();
    }
}

/// Threat 42: ten thousand bad logins are some lines and their number; audit records are all there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bad_logins_leaves_few_lines_and_the_right_number() {
    const TASKS: usize = 8;
    const EACH: usize = 1_250;
    const OPENED: usize = 200;
    let folder = TempDir::new().unwrap();
    let program = logging(&folder, "info", &["--limits-profile", "bench"]);
    let addr = program.addr;
    #[allow(
        clippy::disallowed_methods,
        reason = "how long the flood took bounds its lines"
    )]
    let began = Instant::now();
    let tasks =
        (0..TASKS).map(|task| tokio::spawn(async move { guess(addr, EACH, &format!("u{task}")).await }));
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for _ in 0..OPENED {
        let open = request(addr, "POST", "/v1/qr").json(&json!({"device": {"id": "pc-1"}}));
        assert_eq!(open.send().await.status, 201);
    }
    let seconds = began.elapsed().as_secs() + 2;
    let lines = lines_of(program);
    let refused = with_message(&lines, "sign-in refused");
    let left_out = lines.iter().filter(|line| line["event"] == "sign-in refused");
    let suppressed: u64 = left_out.map(|line| line["suppressed"].as_u64().unwrap()).sum();
    assert_eq!(refused.len() as u64 + suppressed, (TASKS * EACH) as u64);
    assert!(
        refused.len() as u64 <= u64::from(LINES_PER_KIND_MAX) * seconds,
        "{}",
        refused.len()
    );
    assert!(suppressed > 0);
    assert!(
        refused
            .iter()
            .all(|line| line["request"].is_string() && line["target"] == "countersign::auth")
    );
    let opened = lines
        .iter()
        .filter(|line| line["target"] == "audit" && line["event"] == "opened");
    assert_eq!(opened.count(), OPENED);
}

/// Threat 42 over the wire: nothing that a client says makes a second line or a long one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_a_client_says_makes_a_line_of_its_own() {
    let folder = TempDir::new().unwrap();
    let program = logging(&folder, "debug", &[]);
    let hostile = [
        "a\r\nINFO all is well",
        "\u{1b}[2Jred",
        "\"}\n{\"message\":\"forged\"",
        "\u{202e}x",
    ];
    for text in hostile {
        let account = json!({"user_id": text, "password": "correct horse", "name": text});
        request(program.addr, "POST", "/v1/accounts")
            .json(&account)
            .send()
            .await;
        request(program.addr, "POST", "/v1/login")
            .json(&bad_login(text))
            .send()
            .await;
        let path = format!(
            "/v1/qr/{}",
            text.replace(|c: char| !c.is_ascii_alphanumeric(), "%0a")
        );
        request(program.addr, "GET", &path).send().await;
    }
    let mut socket = Client::connect(program.addr).await;
    let device = json!({"device": {"id": "pc-1", "name": hostile[0]}});
    socket.ok("qr.open", device).await;
    socket.refused("no\r\nsuch", json!({})).await;
    let megabyte = json!({"user_id": "alice", "password": "correct horse", "name": "n".repeat(1 << 20)});
    let answer = request(program.addr, "POST", "/v1/accounts")
        .json(&megabyte)
        .send()
        .await;
    assert_eq!(answer.status, 413);
    drop(socket);
    let lines = lines_of(program);
    assert!(with_message(&lines, "answered").len() >= 3 * hostile.len());
    let known = |line: &Value| !line["message"].as_str().unwrap().contains("forged");
    assert!(lines.iter().all(known), "{lines:#?}");
    assert!(lines.iter().all(|line| line.to_string().len() < 4_096));
}

fn request_id(answer: &Answer) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

/// A request and a connection are called in the log what their client was told; a client chooses neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_say_which_request_or_connection_they_belong_to() {
    let folder = TempDir::new().unwrap();
    let program = logging(&folder, "info,countersign=debug", &[]);
    let login = request(program.addr, "POST", "/v1/login").json(&bad_login("alice"));
    let refused = login.header("x-request-id", "chosen").send().await;
    let id = request_id(&refused);
    assert!(id.starts_with("r_"), "{id}");
    let mut socket = Client::connect(program.addr).await;
    let name = socket.hello["connection"].as_str().unwrap().to_owned();
    socket.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    drop(socket);
    within("the connection has closed", async {
        while request(program.addr, "GET", "/v1/me").send().await.status != 401 {}
    })
    .await;
    let lines = lines_of(program);
    let logged = with_message(&lines, "sign-in refused");
    assert_eq!(logged[0]["request"], json!(id));
    let answered = lines
        .iter()
        .find(|line| line["message"] == "answered" && line["request"] == json!(id));
    let answered = answered.unwrap();
    assert_eq!(
        (&answered["method"], &answered["path"], &answered["status"]),
        (&json!("POST"), &json!("/v1/login"), &json!(401))
    );
    let opened = with_message(&lines, "connection opened");
    assert_eq!(opened[0]["connection"], json!(name));
    assert!(opened[0]["request"].as_str().unwrap().starts_with("r_"));
    assert_eq!(
        with_message(&lines, "connection closed")[0]["connection"],
        json!(name)
    );
    let record = lines.iter().find(|line| line["target"] == "audit").unwrap();
    assert_eq!(
        (&record["event"], &record["connection"]),
        (&json!("opened"), &json!(name))
    );
    assert!(!lines.iter().any(|line| line.to_string().contains("chosen")));
}

/// A listed proxy names requests, as far as its names can be printed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_proxy_names_requests() {
    let folder = TempDir::new().unwrap();
    let program = logging(&folder, "info", &["--trusted-proxies", "127.0.0.1"]);
    let ask = async |names: &[&str]| {
        let login = request(program.addr, "POST", "/v1/login").json(&bad_login("alice"));
        let named = names
            .iter()
            .fold(login, |login, name| login.header("x-request-id", name));
        request_id(&named.send().await)
    };
    assert_eq!(
        ask(&["4bf92f3577b34da6a3ce929d0e0e4736"]).await,
        "4bf92f3577b34da6a3ce929d0e0e4736"
    );
    let longest = "x".repeat(65);
    for bad in [&["a b"][..], &[&longest], &["a", "b"], &["a=\"b\""]] {
        assert!(ask(bad).await.starts_with("r_"), "{bad:?}");
    }
    let lines = lines_of(program);
    let first = with_message(&lines, "sign-in refused")[0];
    assert_eq!(first["request"], "4bf92f3577b34da6a3ce929d0e0e4736");
}

#[test]
fn words_that_no_log_understands_end_the_start() {
    for (name, value, says) in [
        ("COUNTERSIGN_LOG_FORMAT", "xml", "pretty, json or auto"),
        (
            "COUNTERSIGN_LOG",
            "countersign=loud",
            "info,countersign::ws=debug",
        ),
    ] {
        let output = program(&["--listen", "127.0.0.1:0"])
            .env(name, value)
            .output()
            .unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(
            told.contains(name) && told.contains(value) && told.contains(says),
            "{told}"
        );
        assert!(output.stdout.is_empty());
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}
