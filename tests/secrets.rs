//! The program as it is run: what it prints, whatever it is asked to print, has no secret in it, and it leaves
//! without losing anybody.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;
#[path = "secrets/process.rs"]
#[allow(dead_code, reason = "shared with the tests of attempts")]
mod process;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use common::{Client, Person, request, within};
use process::{OPERATOR_KEY, Process, program};
use serde_json::{Value, json};

/// Everything that must not be printed, with what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, value: &Value) -> String {
        let text = value
            .as_str()
            .unwrap_or_else(|| panic!("no {what}: {value}"))
            .to_owned();
        self.keep_text(what, &text);
        text
    }

    fn keep_text(&mut self, what: &'static str, text: &str) {
        assert!(text.len() >= 8, "{what} is too short to be looked for");
        self.0.push((what, text.to_owned()));
    }

    fn keep_tokens(&mut self, tokens: &Value) {
        self.keep("access token", &tokens["access_token"]);
        self.keep("refresh token", &tokens["refresh_token"]);
    }

    /// Which of them is there, whole or in its telling parts, as text or in another spelling of it.
    fn found_in(&self, printed: &str) -> Option<String> {
        for (what, secret) in &self.0 {
            let parts = secret.split(['.', ' ']).filter(|part| part.len() >= 16);
            // What every token begins with says nothing, and a session's name is for logs.
            let tells = |part: &&str| !is_header(part) && !part.starts_with("s_");
            for part in parts.filter(tells).chain([secret.as_str()]) {
                let hex: String = part.bytes().map(|b| format!("{b:02x}")).collect();
                let list = format!("{:?}", &part.as_bytes()[..8]);
                for spelling in [part, hex.as_str(), list.trim_matches(['[', ']'])] {
                    if let Some(at) = printed.find(spelling) {
                        return Some(format!("{what}: …{}…", around(printed, at)));
                    }
                }
            }
        }
        None
    }
}

fn is_header(part: &str) -> bool {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap_or_default();
    serde_json::from_slice::<Value>(&bytes).is_ok_and(|header| header.get("alg").is_some())
}

fn around(text: &str, at: usize) -> String {
    String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(200)..(at + 100).min(text.len())]).into_owned()
}

/// A configuration that makes passwords cheap and leaving quick.
fn settings(folder: &tempfile::TempDir, more: &str) -> std::path::PathBuf {
    let path = folder.path().join("countersign.toml");
    let text = format!(
        "[accounts]\nargon2_memory_kib = 8\nargon2_iterations = 1\n[drain]\ngrace_ms = 3000\nspread_ms = 600\nhard_ms = 20000\n{more}"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Registers and signs in; with a password and a device that can be told apart from everything else.
async fn person(addr: SocketAddr, secrets: &mut Secrets, user: &str) -> Person {
    let (password, device) = (
        format!("Passw0rd-of-{user}-Xq7"),
        format!("DeviceOf-{user}-Zk93vLw2"),
    );
    secrets.keep_text("password", &password);
    secrets.keep_text("device id", &device);
    let account = json!({"user_id": user, "password": password, "name": user});
    assert_eq!(
        request(addr, "POST", "/v1/accounts")
            .json(&account)
            .send()
            .await
            .status,
        201
    );
    let login = json!({"user_id": user, "password": password, "device": {"id": device, "kind": "ios"}});
    let answer = request(addr, "POST", "/v1/login").json(&login).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    secrets.keep_tokens(&answer.json());
    Person {
        addr,
        device,
        tokens: answer.read(),
    }
}

/// The whole way of a QR login; answers the PC's connection and its tokens.
async fn qr_login(addr: SocketAddr, secrets: &mut Secrets, phone: &Person, device: &str) -> (Client, Value) {
    secrets.keep_text("device id", device);
    let mut pc = Client::connect(addr).await;
    let opened = pc
        .ok(
            "qr.open",
            json!({"device": {"id": device, "name": "Office PC", "kind": "pc"}}),
        )
        .await;
    let claim = secrets.keep("claim", &opened["claim"]);
    let path = |verb: &str| format!("/v1/qr/{}{verb}", opened["qr_id"].as_str().unwrap());
    assert_eq!(request(addr, "GET", &path(".svg")).send().await.status, 200);
    let scanned = phone.request("POST", &path("/scan")).send().await.json();
    let token = secrets.keep("scan token", &scanned["scan_token"]);
    let digits = pc.push_where("qr", |p| p["state"] == "scanned").await["match"]["code"].clone();
    let wrong = if digits == "00" { "01" } else { "00" };
    for (code, status) in [(None, 422), (Some(json!(wrong)), 422), (Some(digits), 200)] {
        let mut body = json!({"scan_token": token});
        if let Some(code) = code {
            body["code"] = code;
        }
        assert_eq!(
            phone
                .request("POST", &path("/confirm"))
                .json(&body)
                .send()
                .await
                .status,
            status
        );
    }
    let ticket = secrets.keep(
        "ticket",
        &pc.push_where("qr", |p| p["state"] == "confirmed").await["ticket"],
    );
    let claims =
        |claim: &str, ticket: &str| json!({"qr_id": opened["qr_id"], "claim": claim, "ticket": ticket});
    pc.refused("qr.redeem", claims(&"B".repeat(43), &ticket)).await;
    pc.refused("qr.redeem", claims(&claim, &"C".repeat(43))).await;
    let redeemed = pc.ok("qr.redeem", claims(&claim, &ticket)).await;
    secrets.keep_tokens(&redeemed);
    // The same again over HTTP, and with what proves nothing.
    let over_http = |method, verb: &str, claim: &str| {
        request(addr, method, &path(verb))
            .header("authorization", &format!("Claim {claim}"))
            .header("countersign-device", device)
    };
    for (claim, status) in [(claim.as_str(), 200), (&"B".repeat(43), 404)] {
        let again = over_http("POST", "/redeem", claim).json(&json!({"ticket": ticket}));
        assert_eq!(again.send().await.status, status);
        for verb in ["", "/events"] {
            assert_eq!(over_http("GET", verb, claim).send().await.status, status);
        }
    }
    (pc, redeemed)
}

/// Secrets in every place where they do not work: refused, and not printed on the way.
async fn failures(addr: SocketAddr, secrets: &mut Secrets, person: &Person) {
    let token = person.tokens.access_token.clone();
    // Another character in the signature's place, whatever stood there.
    let (before, changed) = token.split_at(token.len() - 3);
    let other = if changed.starts_with('x') { 'y' } else { 'x' };
    let tampered = format!("{before}{other}{}", &changed[1..]);
    secrets.keep_text("tampered token", &tampered);
    secrets.keep_text("wrong password", "NotThePassword-Hh31");
    let login =
        |password: Value| json!({"user_id": "alice", "password": password, "device": {"id": person.device}});
    for body in [
        login(json!("NotThePassword-Hh31")),
        login(json!(["NotThePassword-Hh31"])),
        json!(["NotThePassword-Hh31"]),
    ] {
        let answer = request(addr, "POST", "/v1/login").json(&body).send().await;
        assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
    }
    let raw = br#"{"user_id":"alice","password":"NotThePassword-Hh31","device":"#;
    let broken = request(addr, "POST", "/v1/login")
        .header("content-type", "application/json")
        .body(raw);
    assert_eq!(broken.send().await.status, 400);
    let refresh = request(addr, "POST", "/v1/refresh").header("countersign-device", &person.device);
    let body = json!({"refresh_token": format!("{}x", person.tokens.refresh_token)});
    assert_eq!(refresh.json(&body).send().await.status, 401);
    for (header, value) in [
        ("authorization", format!("Bearer {tampered}")),
        ("authorization", format!("Basic {token}")),
        ("authorization", format!("Bearer {}", person.tokens.refresh_token)),
        ("dpop", token.clone()),
        ("x-anything", token.clone()),
    ] {
        let request = request(addr, "GET", "/v1/me")
            .header(header, &value)
            .header("countersign-device", &person.device);
        assert_eq!(request.send().await.status, 401);
    }
    for path in [
        format!("/v1/me?access_token={token}"),
        format!("/{token}"),
        format!("/v1/qr/{token}.svg"),
    ] {
        assert!(matches!(
            request(addr, "GET", &path).send().await.status,
            401 | 404
        ));
    }
    // A head that is no request, with a token in it.
    let mut garbage =
        common::http::request(addr, "GET", "/").header("authorization", &format!("Bearer {token}"));
    garbage = garbage.header("bad header", &token);
    assert_eq!(garbage.send().await.status, 400);
    let bearer = format!("Bearer {tampered}");
    let upgrade = Client::connect_with(
        addr,
        &[("authorization", &bearer), ("countersign-device", &person.device)],
    )
    .await;
    assert!(upgrade.is_err());

    let mut socket = Client::connect(addr).await;
    for text in [
        format!(r#"{{"id":1,"type":"auth","token":"{token}","token":"{token}"}}"#),
        format!(r#"{{"id":1,"type":"auth","token":["{token}"]}}"#),
        format!(r#"{{"id":1,"type":"{token}"}}"#),
        format!(r#"{{"id":1,"type":"join","room":"{token}"}}"#),
    ] {
        socket.send_text(&text).await;
        assert_eq!(socket.reply(1).await["type"], "error");
    }
    for _ in 0..3 {
        socket
            .refused("auth", json!({"token": tampered, "device": person.device}))
            .await;
    }
    assert_eq!(socket.end().await.code, 4500);
    let mut socket = Client::connect(addr).await;
    socket.send_text(&format!("{{{token}")).await;
    assert_eq!(socket.end().await.code, 4501);
    let mut socket = Client::connect(addr).await;
    socket.send_bytes(token.as_bytes()).await;
    assert_eq!(socket.end().await.code, 1002);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_ever_printed() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&settings(&folder, ""));
    let addr = process.addr;
    let mut secrets = Secrets::default();
    let alice = person(addr, &mut secrets, "alice").await;
    let bob = person(addr, &mut secrets, "bobby").await;

    let (mut pc, redeemed) = qr_login(addr, &mut secrets, &alice, "OfficePC-7Ywq4Rtn").await;
    let mut phone = alice.connect().await;
    secrets.keep_text("message", "what-they-said-is-theirs-Qw81");
    for client in [&mut pc, &mut phone] {
        client.ok("join", json!({"room": "chat:lobby"})).await;
    }
    let body = json!({"text": "what-they-said-is-theirs-Qw81"});
    pc.ok(
        "send",
        json!({"room": "chat:lobby", "body": body, "cid": "6f1f2f5e-1"}),
    )
    .await;
    phone.push("message").await;
    let bearer = format!("Bearer {}", redeemed["access_token"].as_str().unwrap());
    let headers = [
        ("authorization", bearer.as_str()),
        ("countersign-device", "OfficePC-7Ywq4Rtn"),
    ];
    Client::connect_with(addr, &headers).await.unwrap().cut();

    let refresh = request(addr, "POST", "/v1/refresh").header("countersign-device", "OfficePC-7Ywq4Rtn");
    let fresh = refresh
        .json(&json!({"refresh_token": redeemed["refresh_token"]}))
        .send()
        .await
        .json();
    secrets.keep_tokens(&fresh);
    pc.ok("refresh", json!({"token": fresh["access_token"]})).await;

    failures(addr, &mut secrets, &alice).await;
    // The wrong device takes a refresh token: the session ends, and with it its socket.
    let stolen = request(addr, "POST", "/v1/refresh").header("countersign-device", &bob.device);
    assert_eq!(
        stolen
            .json(&json!({"refresh_token": fresh["refresh_token"]}))
            .send()
            .await
            .status,
        401
    );
    assert_eq!(pc.end().await.code, 4503);
    // A login that is denied, one that is cancelled, and one that is still under way at the end.
    secrets.keep_text("device id", "Kiosk-Mn30Pzx1");
    let mut kiosk = Client::connect(addr).await;
    let open = json!({"device": {"id": "Kiosk-Mn30Pzx1"}});
    let opened = kiosk.ok("qr.open", open.clone()).await;
    secrets.keep("claim", &opened["claim"]);
    let path = |verb: &str| format!("/v1/qr/{}/{verb}", opened["qr_id"].as_str().unwrap());
    let scanned = alice.request("POST", &path("scan")).send().await.json();
    let scan_token = secrets.keep("scan token", &scanned["scan_token"]);
    assert_eq!(
        bob.request("POST", &path("deny"))
            .json(&json!({"scan_token": scan_token}))
            .send()
            .await
            .status,
        403
    );
    assert_eq!(
        alice
            .request("POST", &path("deny"))
            .json(&json!({"scan_token": scan_token}))
            .send()
            .await
            .status,
        200
    );
    let opened = kiosk.ok("qr.open", open.clone()).await;
    secrets.keep("claim", &opened["claim"]);
    secrets.keep("claim", &kiosk.ok("qr.open", open).await["claim"]);
    assert_eq!(bob.request("POST", "/v1/logout").send().await.status, 204);
    // The operator locks an account; somebody tries with a key that is not theirs.
    for (key, status) in [("somebody-elses-key-Wm31Pd", 401), (OPERATOR_KEY, 200)] {
        secrets.keep_text("operator key", key);
        let lock = request(process.operator, "POST", "/users/bobby/lock");
        let lock = lock.header("authorization", &format!("Bearer {key}"));
        assert_eq!(lock.send().await.status, status);
    }

    process.terminate();
    for client in [&mut phone, &mut kiosk] {
        assert_eq!(client.end().await.code, 1012);
    }
    let (status, printed) = within("the end", tokio::task::spawn_blocking(move || process.end()))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0), "{printed}");
    // It did say what an operator needs, so the silence about secrets is not that of a log switched off.
    for needed in [
        "listening",
        "audit: qr",
        "redeemed",
        "sign-in refused",
        "account locked",
        "a wrong operator key was refused",
        "draining",
        "stopped",
    ] {
        assert!(printed.contains(needed), "no {needed:?} in {printed}");
    }
    assert!(!printed.contains("panicked"), "{printed}");
    assert_eq!(secrets.found_in(&printed), None);
    let kinds: BTreeSet<_> = secrets.0.iter().map(|(what, _)| *what).collect();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    // The search finds what it looks for.
    for (what, secret) in &secrets.0 {
        let bytes = format!("read {:?}", secret.as_bytes());
        let last = secret.rsplit('.').next().unwrap_or_default();
        for planted in [format!("token={secret},"), bytes, format!("…{last}")] {
            assert!(
                secrets.found_in(&format!("{printed}{planted}")).is_some(),
                "{what}"
            );
        }
    }
}

/// SIGTERM: readiness first, then everybody is told their time, then closed, and the process ends well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_drains_and_ends_well() {
    const CLIENTS: usize = 12;
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(&settings(&folder, ""));
    let (addr, operator) = (process.addr, process.operator);
    let ready = || request(operator, "GET", "/readyz").send();
    assert_eq!(ready().await.status, 200);
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut client = Client::connect(addr).await;
        client.ok("join", json!({"room": "chat:a"})).await;
        clients.push(client);
    }
    process.terminate();
    within("readiness is off", async {
        while ready().await.status != 503 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // Before anybody is told to go: those who are here are served, and newcomers are sent elsewhere.
    assert_eq!(request(operator, "GET", "/healthz").send().await.status, 200);
    for client in &mut clients {
        client.ok("ping", json!({})).await;
        assert!(
            client.pushes.iter().all(|p| p["type"] != "reconnect"),
            "{:?}",
            client.pushes
        );
    }
    match Client::connect_with(addr, &[]).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status(), 503);
            assert!(answer.headers().contains_key("retry-after"));
        }
        _ => panic!("a newcomer was let in"),
    }
    assert_eq!(
        clients[0]
            .refused("qr.open", json!({"device": {"id": "d"}}))
            .await["code"],
        "unavailable"
    );
    let mut times = BTreeSet::new();
    for client in &mut clients {
        let closed = client.end().await;
        assert_eq!((closed.code, closed.reason.as_str()), (1012, "restart"));
        let told: Vec<_> = client
            .pushes
            .iter()
            .filter(|p| p["type"] == "reconnect")
            .collect();
        assert_eq!(told.len(), 1);
        times.insert(told[0]["after_ms"].as_u64().unwrap());
    }
    assert_eq!(times.len(), CLIENTS, "spread out: {times:?}");
    assert!(times.iter().all(|ms| *ms < 600), "{times:?}");
    let (status, printed) = within("the end", tokio::task::spawn_blocking(move || process.end()))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(
        std::net::TcpStream::connect(addr).is_err(),
        "nobody listens any more"
    );
}

#[test]
fn what_cannot_be_run_with_is_told_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let good = settings(&folder, "");
    let run = |args: &[&str]| {
        let output = program(&good).args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    let (status, told) = run(&["--limits-profile", "nonsense"]);
    assert!(status == Some(2) && told.contains("nonsense"), "{told}");
    let open = folder.path().join("open.toml");
    std::fs::write(
        &open,
        "listen = \"0.0.0.0:0\"\noperator_listen = \"127.0.0.1:0\"\nlimits_profile = \"bench\"\n",
    )
    .unwrap();
    let mut refused = std::process::Command::new(env!("CARGO_BIN_EXE_countersign"));
    let output = refused.env_clear().arg("--config").arg(&open).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("bench") && told.contains("public_origin"),
        "all problems at once: {told}"
    );
    let output = program(&folder.path().join("missing.toml")).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(2) && told.contains("missing.toml"),
        "{told}"
    );
}
