//! The program as somebody starts it who wants a phone to reach it: what it says, what it shows, and that what its
//! codes say is true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use common::program::{Program, run};
use common::zbar::{codes_in, write_pgm};
use common::{Client, request, until};
use serde_json::json;
use tempfile::TempDir;

const LAN: &str = "http://192.168.1.20:8080";
const QUICK: &str = "[drain]\ngrace_ms = 0\nspread_ms = 0\nhard_ms = 2000\n";

/// A configuration that leaves quickly.
fn quick() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("countersign.toml");
    std::fs::write(&path, QUICK).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

/// Starts it on every address of this machine, with an origin that names one of them. Somebody else may take the port
/// between our asking for one and its use.
fn on_the_network(config: &str) -> (Program, String) {
    for _ in 0..20 {
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let (listen, origin) = (format!("0.0.0.0:{free}"), format!("http://127.0.0.2:{free}"));
        let arguments = [
            "serve",
            "--trial-on-lan",
            "--listen",
            &listen,
            "--public-origin",
            &origin,
            "--config",
            config,
        ];
        match Program::start(&arguments) {
            Ok(program) => return (program, origin),
            Err(log) => assert!(log.contains("cannot be bound"), "{log}"),
        }
    }
    panic!("no port was free");
}

/// On whatever address a PC opened it, its code leads to the configured origin, and there is the confirm page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_code_leads_to_the_configured_origin_which_answers() {
    let (folder, config) = quick();
    let (program, origin) = on_the_network(&config);
    let pc_at = SocketAddr::from(([127, 0, 0, 1], program.addr.port()));
    let mut pc = Client::connect_with(pc_at, &[("origin", &origin)]).await.unwrap();
    let opened = pc.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    let url = opened["url"].as_str().unwrap();
    assert!(url.starts_with(&format!("{origin}/q/")), "{url}");

    let png = format!("/v1/qr/{}.png", opened["qr_id"].as_str().unwrap());
    let picture = folder.path().join("code.png");
    std::fs::write(&picture, request(pc_at, "GET", &png).send().await.body).unwrap();
    let read = codes_in(&picture);
    assert_eq!(read, [url]);

    let (host, path) = read[0].strip_prefix("http://").unwrap().split_once('/').unwrap();
    let phone_at: SocketAddr = host.parse().unwrap();
    assert_eq!(phone_at.ip().to_string(), "127.0.0.2");
    let page = request(phone_at, "GET", &format!("/{path}")).send().await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html; charset=utf-8"))
    );
    assert!(page.text().contains("confirm.js"));
    // A page of that origin may talk to it, and another may not.
    let foreign = Client::connect_with(phone_at, &[("origin", &format!("http://{pc_at}"))]).await;
    assert!(foreign.is_err());
    drop(pc);
    program.stop();
}

#[test]
fn a_port_open_to_others_needs_an_origin_and_is_told_which() {
    for command in [&["serve"][..], &[]] {
        let output = run(&[command, &["--listen", "0.0.0.0:8080"]].concat());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(
            told.contains("set public_origin")
                && told.contains("--public-origin http://")
                && told.contains("--trial-on-lan"),
            "{told}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_list_of_proxies_that_cannot_be_meant_is_refused() {
    for (list, told) in [("10.0.0.0/99", "10.0.0.0/99"), ("10.0.0.1,0.0.0.0/0", "anybody")] {
        let output = run(&["--trusted-proxies", list]);
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(told) && said.contains("trusted_proxies"), "{said}");
    }
}

/// With a command and without one; the flags before the command and after it.
#[test]
fn serve_is_what_happens_anyway() {
    let (_folder, config) = quick();
    let listen = ["--listen", "127.0.0.1:0", "--config", &config];
    for arguments in [
        listen.to_vec(),
        [&["serve"], &listen[..]].concat(),
        [&listen[..], &["serve"]].concat(),
    ] {
        let program = Program::start(&arguments).unwrap();
        let port = program.addr.port();
        let (said, _) = program.stop();
        let for_a_phone = format!("countersign serve --trial-on-lan --listen 0.0.0.0:{port}");
        assert!(said.contains(&for_a_phone), "{said}");
        assert!(!said.contains('\x1b'), "{said}");
    }
}

/// A pipe is no terminal: no code unless one was asked for.
#[test]
fn a_pipe_gets_a_code_when_it_asks_for_one() {
    let (_folder, config) = quick();
    let start = |more: &[&str]| {
        let arguments = ["--listen", "127.0.0.1:0", "--config", &config];
        let program = Program::start(&[&arguments[..], more].concat()).unwrap();
        program.stop().0
    };
    let silent = start(&["--public-origin", LAN]);
    assert!(
        silent.ends_with(&format!("open {LAN}/ in a browser\n")),
        "{silent}"
    );
    assert_is_read(
        &start(&["--public-origin", LAN, "--terminal-code", "always"]),
        LAN,
    );
    let long = "https://sign-in.a-department-with-a-long-name.of-an-organisation.example";
    assert_is_read(
        &start(&["--public-origin", long, "--terminal-code", "always"]),
        long,
    );
    // Of an address that only this machine has, there is none.
    assert!(!start(&["--terminal-code", "always"]).contains('\x1b'));
}

/// On a terminal the code comes by itself, and does not when it is not wanted or the terminal is a dumb one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_gets_the_code_of_the_page() {
    for (more, term, shown) in [
        ("", "xterm-256color", true),
        ("--terminal-code never", "xterm-256color", false),
        ("", "dumb", false),
    ] {
        let gateway = env!("CARGO_BIN_EXE_countersign");
        let ports = "--listen 127.0.0.1:0 --operator-listen 127.0.0.1:0";
        let mut terminal = Command::new("script");
        terminal
            .env("TERM", term)
            .args(["--quiet", "--return", "--command"])
            .arg(format!(
                "exec '{gateway}' {ports} --public-origin {LAN} {more} 2>&1"
            ))
            .arg("/dev/null");
        let program = Program::of(terminal).unwrap();
        // What it logs comes after what it says.
        until("the greeting has been printed", || {
            program.said().contains(" public=")
        })
        .await;
        let (said, addr) = (program.said(), program.addr);
        drop(program);
        until("the gateway ends with its terminal", || {
            std::net::TcpStream::connect(addr).is_err()
        })
        .await;
        if shown {
            assert_is_read(&said, LAN);
        } else {
            assert!(!said.contains('\x1b'), "{said}");
        }
    }
}

/// The listed peer's word is taken without a word of ours; of each other peer that sends a header one line is logged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unlisted_peer_with_a_forwarding_header_is_warned_of_once() {
    let (_folder, config) = quick();
    for (listed, warnings) in [("", 1), ("127.0.0.1", 0), ("10.0.0.0/8,192.0.2.1", 1)] {
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--trusted-proxies",
            listed,
            "--config",
            &config,
        ];
        let program = Program::start(&arguments).unwrap();
        for n in 0..5 {
            let header = ["x-forwarded-for", "forwarded"][n % 2];
            let value = ["203.0.113.9", "for=203.0.113.9"][n % 2];
            let asked = request(program.addr, "GET", "/").header(header, value);
            assert_eq!(asked.send().await.status, 200);
        }
        let wrong = json!({"user_id": "alice", "password": "wrong horse", "device": {"id": "d"}});
        let refused = request(program.addr, "POST", "/v1/login").json(&wrong);
        let refused = refused.header("x-forwarded-for", "203.0.113.9").send().await;
        assert_eq!(refused.status, 401);
        let (_, logged) = program.stop();
        let caller = if warnings == 0 { "203.0.113.9" } else { "127.0.0.1" };
        let line = format!("sign-in refused address={caller}");
        assert!(logged.contains(&line), "{line}: {logged}");
        let told: Vec<_> = logged.lines().filter(|l| l.contains("trusted_proxies")).collect();
        assert_eq!(told.len(), warnings, "{listed:?}: {logged}");
        assert!(
            told.iter()
                .all(|l| l.contains("WARN") && l.contains("peer=127.0.0.1"))
        );
    }
}

/// Draws what a terminal would show, on a light and on a dark one, and reads the code in it.
fn assert_is_read(said: &str, origin: &str) {
    let folder = TempDir::new().unwrap();
    for (name, background) in [("light", 255), ("dark", 0), ("grey", 128)] {
        let picture = folder.path().join(name);
        write_pgm(&drawn(said, background), &picture);
        assert_eq!(codes_in(&picture), [format!("{origin}/")], "{name}: {said}");
    }
}

/// Pixels of half a character.
const HALF: usize = 6;

/// The lines with colours as pixels, with the terminal's own background around them.
fn drawn(said: &str, background: u8) -> Vec<Vec<u8>> {
    let around = 3;
    let mut halves: Vec<Vec<u8>> = Vec::new();
    for line in said.lines().filter(|line| line.contains('\x1b')) {
        let (mut upper, mut lower) = (vec![background; around], vec![background; around]);
        let (mut ink, mut paper) = (255 - background, background);
        let mut rest = line.trim_end_matches('\r').chars();
        while let Some(c) = rest.next() {
            let (above, below) = match c {
                '\x1b' => {
                    let code: String = rest.by_ref().take_while(|c| *c != 'm').collect();
                    (ink, paper) = match code.as_str() {
                        "[38;5;16;48;5;231" => (0, 255),
                        "[0" => (255 - background, background),
                        other => panic!("a colour this terminal does not know: {other}"),
                    };
                    continue;
                }
                ' ' => (paper, paper),
                '▀' => (ink, paper),
                '▄' => (paper, ink),
                '█' => (ink, ink),
                other => panic!("{other:?} is no part of a code"),
            };
            upper.push(above);
            lower.push(below);
        }
        assert_eq!(paper, background, "the colours end with the line");
        halves.extend([upper, lower]);
    }
    assert!(!halves.is_empty(), "there is a code");
    let width = halves[0].len() + around;
    let plain = || std::iter::repeat_n(vec![background; width], around);
    let whole: Vec<Vec<u8>> = plain().chain(halves).chain(plain()).collect();
    let wide = |row: Vec<u8>| -> Vec<u8> {
        let mut row: Vec<u8> = row.iter().flat_map(|p| [*p; HALF]).collect();
        row.resize(width * HALF, background);
        row
    };
    whole
        .into_iter()
        .map(wide)
        .flat_map(|row| std::iter::repeat_n(row, HALF))
        .collect()
}
