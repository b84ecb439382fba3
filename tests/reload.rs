//! SIGHUP and SIGTERM, sent to the program itself.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use common::program::program;
use common::tls::{Shown, Tunnel, shown_at, trusting};
use common::{Answer, Client, request, until, within};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The program with a configuration file that tests rewrite; ended with this value.
struct Running {
    child: Child,
    addr: SocketAddr,
    operator: SocketAddr,
    file: PathBuf,
    logged: Arc<Mutex<String>>,
    _folder: TempDir,
}

/// What all of them have: cheap passwords.
const COMMON: &str = "[accounts]\nargon2_memory_kib = 8\nargon2_iterations = 1\n";

impl Running {
    fn start(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("countersign.toml");
        std::fs::write(&file, text).unwrap();
        let mut child = program(&["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let logged = Arc::new(Mutex::new(String::new()));
        let (stderr, all) = (child.stderr.take().unwrap(), Arc::clone(&logged));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                all.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let said: Vec<String> = BufReader::new(child.stdout.take().unwrap())
            .lines()
            .map_while(Result::ok)
            .take_while(|line| !line.starts_with("open "))
            .collect();
        let address = |what: &str| -> SocketAddr {
            let line = said.iter().find(|line| line.starts_with(what));
            let line = line.unwrap_or_else(|| panic!("{}", logged.lock().unwrap()));
            line.split("://").nth(1).unwrap().parse().unwrap()
        };
        Self {
            addr: address("listening on"),
            operator: address("operator on"),
            child,
            file,
            logged,
            _folder: folder,
        }
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        let sent = kill.args(["-s", name, &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    fn has_logged(&self, part: &str) -> usize {
        self.logged.lock().unwrap().matches(part).count()
    }

    /// Reloads with this configuration and answers what is logged about it.
    async fn reload(&self, text: &str) -> String {
        std::fs::write(&self.file, text).unwrap();
        let before = self.logged.lock().unwrap().len();
        let ends = ["reloaded: the configuration was read", "nothing was reloaded"];
        let done = || ends.iter().map(|end| self.has_logged(end)).sum::<usize>();
        let so_far = done();
        self.signal("HUP");
        until("the reload is told", || done() > so_far).await;
        self.logged.lock().unwrap()[before..].to_owned()
    }

    async fn register(&self, user: &str) -> Answer {
        let account = json!({"user_id": user, "password": "correct horse"});
        request(self.addr, "POST", "/v1/accounts")
            .json(&account)
            .send()
            .await
    }

    async fn login(&self, user: &str) -> Value {
        let device = json!({"id": "a-device", "kind": "ios"});
        let login = json!({"user_id": user, "password": "correct horse", "device": device});
        let answer = request(self.addr, "POST", "/v1/login").json(&login).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    async fn me(&self, tokens: &Value) -> u16 {
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let asked = request(self.addr, "GET", "/v1/me").header("authorization", &bearer);
        asked.header("countersign-device", "a-device").send().await.status
    }

    async fn key_ids(&self) -> Vec<String> {
        let answer = request(self.addr, "GET", "/.well-known/jwks.json")
            .send()
            .await
            .json();
        let keys = answer["keys"].as_array().unwrap();
        keys.iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    async fn end(&mut self) -> ExitStatus {
        within("the program ends", async {
            loop {
                if let Some(status) = self.child.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_tls(shown: &Shown, more: &str) -> String {
    format!(
        "{more}\n{COMMON}[tls]\ncertificate_file = {:?}\nkey_file = {:?}\n",
        shown.certificate_file(),
        shown.key_file()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_changes_and_connections_stay() {
    let mut shown = Shown::new();
    let text = with_tls(&shown, "");
    let program = Running::start(&text);
    let former = shown.certificate.clone();
    let tunnel = Tunnel::to(program.addr, trusting(&former)).await;
    let mut staying = Client::connect(tunnel.addr).await;
    staying.ok("join", json!({"room": "chat:a"})).await;

    shown.renew();
    let told = program.reload(&text).await;
    assert!(
        told.contains("the certificate") && told.contains("changes=1"),
        "{told}"
    );
    assert_eq!(shown_at(program.addr).await.unwrap(), shown.certificate);
    staying.ok("ping", json!({})).await;
    // A client that has a ticket from the former one begins anew, and finds that it does not trust the new one.
    let refused = common::tls::connect(program.addr, trusting(&former)).await;
    assert!(refused.is_err());
    let renewed = Tunnel::to(program.addr, trusting(&shown.certificate)).await;
    Client::connect(renewed.addr).await.ok("ping", json!({})).await;

    // A key of another certificate: the one that is shown stays, and all that is wrong is told.
    let good = std::fs::read_to_string(shown.key_file()).unwrap();
    let other = Shown::new();
    std::fs::copy(other.key_file(), shown.key_file()).unwrap();
    let told = program
        .reload(&with_tls(&shown, "allowed_origins = [\"nowhere\"]"))
        .await;
    for part in [
        "is not that of the first certificate",
        "nowhere",
        "problems=2",
        "stays as it was",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(shown_at(program.addr).await.unwrap(), shown.certificate);
    std::fs::write(shown.key_file(), good).unwrap();
    let told = program.reload(&text).await;
    assert!(told.contains("changes=0"), "{told}");
    staying.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policy_and_limits_change_and_what_cannot_is_said() {
    let program = Running::start(COMMON);
    let mut staying = Client::connect(program.addr).await;
    staying.ok("join", json!({"room": "chat:a"})).await;
    assert_eq!(program.register("alice").await.status, 201);
    let changed = format!(
        "{COMMON}open_registration = false\n\
         [limits]\nlike_max = 3\nrooms_max = 9\n[namespaces.chat]\ncounters = [\"claps\"]\n"
    );
    let told = program.reload(&changed).await;
    for (name, said) in [
        ("accounts.open_registration", " reloaded, for everybody"),
        ("limits.like_max", " reloaded, for everybody"),
        ("namespaces", " reloaded, for everybody"),
        ("limits.rooms_max", " not reloaded: it takes a restart"),
    ] {
        let line = told.lines().find(|line| line.contains(&format!("\"{name}\"")));
        assert!(line.is_some_and(|line| line.contains(said)), "{name}: {told}");
    }
    assert_eq!(program.register("bob").await.status, 403);
    assert_eq!(program.login("alice").await["user"]["id"], "alice");
    // The connection that was there is held to the new ones.
    let like = |n: u32, counter: &str| json!({"room": "chat:a", "n": n, "counter": counter});
    assert_eq!(
        staying.refused("like", like(4, "claps")).await["code"],
        "bad_request"
    );
    assert_eq!(
        staying.refused("like", like(1, "likes")).await["code"],
        "not_found"
    );
    staying.ok("like", like(3, "claps")).await;

    // What is not TOML at all changes nothing either.
    let told = program.reload("limits = ").await;
    assert!(
        told.contains("countersign.toml") && told.contains("nothing was reloaded"),
        "{told}"
    );
    assert_eq!(program.register("bob").await.status, 403);
}

/// What the former key signed is accepted until it has lapsed, and both keys are published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signing_key_changes_and_tokens_stay_good() {
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("key.pem");
    let make = || {
        let made = Command::new("openssl")
            .args(["genpkey", "-algorithm", "ed25519", "-out"])
            .arg(&key)
            .output();
        assert!(made.unwrap().status.success());
    };
    make();
    let text = format!("{COMMON}[tokens]\nkey_file = {key:?}\n");
    let program = Running::start(&text);
    program.register("alice").await;
    let before = program.login("alice").await;
    let first = program.key_ids().await;
    assert_eq!(program.reload(&text).await.matches("signing key").count(), 0);
    make();
    assert!(program.reload(&text).await.contains("the signing key"));
    let after = program.login("alice").await;
    let both = program.key_ids().await;
    assert_eq!((both.len(), &both[1..]), (2, &first[..]));
    assert_eq!((program.me(&before).await, program.me(&after).await), (200, 200));
    // No key at all: the one in use stays.
    assert!(program.reload(COMMON).await.contains("it takes a restart"));
    assert_eq!(program.key_ids().await, both);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_levels_of_the_log_change() {
    let program = Running::start("log_levels = \"info\"");
    until("it says that it listens", || program.has_logged("listening") == 1).await;
    let told = program.reload("log_levels = \"loud\"").await;
    assert!(
        told.contains("log_levels") && told.contains("nothing was reloaded"),
        "{told}"
    );
    program.reload("").await;
    // From here on only errors are told, so that it happened shows elsewhere.
    let quiet = format!("log_levels = \"error\"\n{COMMON}open_registration = false");
    std::fs::write(&program.file, quiet).unwrap();
    program.signal("HUP");
    within("the reload", async {
        while program.register("alice").await.status != 403 {}
    })
    .await;
    assert!(program.reload("limits = ").await.contains("nothing was reloaded"));
    assert_eq!(program.has_logged("open_registration"), 0, "that was no error");
    program.reload("").await;
    let refused = program_with_levels("loud");
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("info,countersign::node=debug")
    );
}

fn program_with_levels(levels: &str) -> std::process::Output {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("countersign.toml");
    std::fs::write(&file, format!("log_levels = {levels:?}")).unwrap();
    common::program::run(&["--listen", "127.0.0.1:0", "--config", file.to_str().unwrap()])
}

/// The first SIGTERM begins a drain that would last; the second one does not wait for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_sigterm_ends_at_once() {
    let mut program = Running::start("[drain]\ngrace_ms = 86400000\nhard_ms = 86400000");
    let mut staying = Client::connect(program.addr).await;
    program.signal("TERM");
    until("it drains", || program.has_logged("draining") == 1).await;
    let ready = request(program.operator, "GET", "/readyz").send().await;
    assert_eq!(ready.status, 503);
    staying.ok("ping", json!({})).await;
    // A reload during a drain changes nothing about it.
    program
        .reload("[drain]\ngrace_ms = 86400000\nhard_ms = 86400000")
        .await;
    program.signal("TERM");
    assert_eq!(program.end().await.code(), Some(130));
}
