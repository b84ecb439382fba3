//! The program as it is run, over real sockets: its log has one audit record for each change of a QR login and none
//! for anything else, and no secret in any.

#[path = "audit/pc_types.rs"]
mod pc_types;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::common::events::Events;
use crate::common::qr::{confirm, deny, scan, scan_token, text};
use crate::common::{Client, Person, request, within};
use crate::process::{Log, Process};

/// One record.
#[derive(Debug, Clone)]
struct Record {
    line: String,
    fields: BTreeMap<String, String>,
}

impl Record {
    fn read(line: &str) -> Option<Self> {
        let (_, fields) = line.split_once(" audit: qr ")?;
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap();
            (name.to_owned(), value.trim_matches('"').to_owned())
        };
        Some(Self {
            line: line.to_owned(),
            fields: fields.split_whitespace().map(pair).collect(),
        })
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// What the test knows of an attempt: its changes, as its PC was told of them.
#[derive(Default)]
struct Known {
    /// `seq`, state, reason.
    told: Vec<(u32, String, String)>,
    qr_ids: Vec<String>,
}

impl Known {
    fn opened(opened: &Value) -> Self {
        let mut known = Self::default();
        known.hear(opened);
        known
    }

    /// An opening, a push or a poll.
    fn hear(&mut self, event: &Value) {
        let seq = u32::try_from(event["seq"].as_u64().unwrap()).unwrap();
        let reason = event["reason"].as_str().unwrap_or_default().to_owned();
        if self.told.last().is_none_or(|(last, ..)| *last < seq) {
            self.told.push((seq, text(&event["state"]), reason));
        }
        self.qr_ids.push(text(&event["qr_id"]));
    }
}

/// A test's view of the program, and every secret that passed through it.
struct World {
    addr: SocketAddr,
    known: Vec<Known>,
    secrets: Vec<String>,
    log: Log,
}

impl World {
    async fn person(&mut self, user: &str) -> Person {
        let password = format!("Passw0rd-of-{user}-Tv4");
        let device = format!("DeviceOf-{user}-Jk20Lq8");
        let account = json!({"user_id": user, "password": password});
        let made = request(self.addr, "POST", "/v1/accounts")
            .json(&account)
            .send()
            .await;
        assert_eq!(made.status, 201);
        let login = json!({"user_id": user, "password": password, "device": {"id": device, "kind": "ios"}});
        let answer = request(self.addr, "POST", "/v1/login").json(&login).send().await;
        self.secrets.extend([password, device.clone()]);
        let person = Person {
            addr: self.addr,
            device,
            tokens: answer.read(),
        };
        self.secrets.push(person.tokens.access_token.clone());
        self.secrets.push(person.tokens.refresh_token.clone());
        person
    }

    /// Opens on a connection; answers the attempt's place among all.
    async fn open(&mut self, client: &mut Client) -> (usize, Value) {
        let device = json!({"device": {"id": "TheOffice-Pc-77xKq", "kind": "pc"}});
        let opened = client.ok("qr.open", device).await;
        (self.keep(&opened), opened)
    }

    fn keep(&mut self, opened: &Value) -> usize {
        self.secrets.push(text(&opened["claim"]));
        self.known.push(Known::opened(opened));
        self.known.len() - 1
    }

    /// Hears what comes until this state.
    async fn until(&mut self, client: &mut Client, at: usize, state: &str) -> Value {
        loop {
            let push = client.push("qr").await;
            self.known[at].hear(&push);
            if push["state"] == state {
                return push;
            }
        }
    }

    fn newest(&self, at: usize) -> String {
        self.known[at].qr_ids.last().unwrap().clone()
    }
}

/// Everything that takes an attempt somewhere, and much that does not.
async fn stories(world: &mut World) {
    let (alice, bob) = (world.person("alice").await, world.person("bobby").await);
    let mut pc = Client::connect(world.addr).await;

    // Signed in; with wrong digits, repeated scans and refused ones, and the same redemption from many at once.
    let (at, opened) = world.open(&mut pc).await;
    scan_token(&alice, &world.newest(at)).await;
    let id = world.newest(at);
    let again = (0..4).map(|_| scan_token(&alice, &id));
    let tokens = futures::future::join_all(again).await;
    assert_eq!(scan(&bob, &id).await.status, 409);
    world.secrets.extend(tokens.iter().cloned());
    let digits = text(&world.until(&mut pc, at, "scanned").await["match"]["code"]);
    let wrong = if digits == "00" { "01" } else { "00" };
    let mut confirmed = 0;
    for token in &tokens {
        // One of them was the last to be handed out.
        let refused = confirm(&alice, &id, token, Some(wrong)).await.status;
        assert!(matches!(refused, 403 | 422 | 409), "{refused}");
        confirmed += u32::from(confirm(&alice, &id, token, Some(&digits)).await.status == 200);
    }
    assert_eq!(confirmed, 1);
    let ticket = text(&world.until(&mut pc, at, "confirmed").await["ticket"]);
    world.secrets.push(ticket.clone());
    let redeem = || {
        request(world.addr, "POST", &format!("/v1/qr/{id}/redeem"))
            .header("authorization", &format!("Claim {}", text(&opened["claim"])))
            .header("countersign-device", "TheOffice-Pc-77xKq")
            .json(&json!({"ticket": ticket}))
            .send()
    };
    // The replies but one are lost on somebody who asks again.
    let replies = futures::future::join_all((0..8).map(|_| redeem())).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    let tokens = replies[0].json();
    world.secrets.push(text(&tokens["access_token"]));
    world.secrets.push(text(&tokens["refresh_token"]));
    world.until(&mut pc, at, "redeemed").await;

    // Denied; the digits wrong too often; cancelled; superseded.
    let (at, _) = world.open(&mut pc).await;
    let token = scan_token(&alice, &world.newest(at)).await;
    world.until(&mut pc, at, "scanned").await;
    assert_eq!(deny(&bob, &world.newest(at), &token).await.status, 403);
    for status in [200, 409] {
        assert_eq!(deny(&alice, &world.newest(at), &token).await.status, status);
    }
    world.until(&mut pc, at, "denied").await;
    let (at, _) = world.open(&mut pc).await;
    let token = scan_token(&bob, &world.newest(at)).await;
    let digits = text(&world.until(&mut pc, at, "scanned").await["match"]["code"]);
    let wrong = if digits == "00" { "01" } else { "00" };
    for _ in 0..4 {
        confirm(&bob, &world.newest(at), &token, Some(wrong)).await;
    }
    world.until(&mut pc, at, "denied").await;
    let (at, opened) = world.open(&mut pc).await;
    let claim = json!({"qr_id": opened["qr_id"], "claim": opened["claim"]});
    pc.ok("qr.cancel", claim.clone()).await;
    assert_eq!(pc.refused("qr.cancel", claim).await["code"], "already_final");
    world.until(&mut pc, at, "cancelled").await;
    let (former, _) = world.open(&mut pc).await;
    let (at, _) = world.open(&mut pc).await;
    world.until(&mut pc, former, "cancelled").await;

    // Rotated, and scanned by somebody whose session ends.
    while world.newest(at) == world.known[at].qr_ids[0] {
        let push = pc.push("qr").await;
        world.known[at].hear(&push);
    }
    let token = scan_token(&bob, &world.newest(at)).await;
    world.secrets.push(token);
    world.until(&mut pc, at, "scanned").await;
    assert_eq!(bob.request("POST", "/v1/logout").send().await.status, 204);
    world.until(&mut pc, at, "denied").await;

    over_http(world, &alice).await;
}

/// The same without a WebSocket: one that a stream watches, and one that nobody does.
async fn over_http(world: &mut World, alice: &Person) {
    let addr = world.addr;
    let body = json!({"device": {"id": "ThePanel-Wx93Qa", "kind": "tv"}});
    let mut opened = Vec::new();
    for _ in 0..2 {
        let answer = request(addr, "POST", "/v1/qr").json(&body).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        opened.push((world.keep(&answer.json()), answer.json()));
    }
    let say = |opened: &Value, method: &'static str, verb: &str| {
        request(addr, method, &format!("/v1/qr/{}{verb}", text(&opened["qr_id"])))
            .header("authorization", &format!("Claim {}", text(&opened["claim"])))
            .header("countersign-device", "ThePanel-Wx93Qa")
    };
    let (at, watched) = opened.remove(0);
    let mut events = Events::open(say(&watched, "GET", "/events?after_seq=1")).await;
    scan_token(alice, &world.newest(at)).await;
    assert_eq!(say(&watched, "DELETE", "").send().await.status, 204);
    while let Some(event) = within("an event", events.next()).await {
        world.known[at].hear(&event.data);
    }
    let (at, nobodys) = opened.remove(0);
    // Asking for it would show that its PC is there; its record is what tells.
    let _ = nobodys;
    world.known[at].told.push((2, "expired".into(), "idle".into()));
    world.log.has("reason=\"idle\"").await;
}

/// Starts the program with these lines in its section of QR logins.
fn start(folder: &Path, qr: &str) -> (Process, World) {
    let config = folder.join("countersign.toml");
    let text = format!(
        "[accounts]\nargon2_memory_kib = 8\nargon2_iterations = 1\n[drain]\ngrace_ms = 0\nspread_ms = 10\n\
        [qr]\n{qr}[limits]\nqr_phone_rate = {{ count = 1000, period_ms = 1000, burst = 1000 }}\n"
    );
    std::fs::write(&config, text).unwrap();
    let process = Process::start(&config);
    let world = World {
        addr: process.addr,
        known: Vec::new(),
        secrets: Vec::new(),
        log: process.log(),
    };
    (process, world)
}

/// `typist` is who types the digits, and so who gets them wrong.
fn check_fields(record: &Record, typist: &str) {
    let actor = match (record.field("event"), record.field("reason")) {
        ("opened" | "matched" | "redeemed" | "cancelled", _) => "pc",
        ("rotated" | "expired", _) => "timer",
        ("denied", "revoked") => "server",
        ("denied", "match_failed") => typist,
        ("scanned" | "confirmed" | "denied", _) => "phone",
        (other, _) => panic!("{other}: {record:?}"),
    };
    assert_eq!(record.field("actor"), actor, "{record:?}");
    assert_eq!(record.field("ip"), "127.0.0.1");
    assert!(["pc", "tv"].contains(&record.field("device_kind")));
    let scanned = !matches!(record.field("event"), "opened" | "rotated") && record.field("from") != "waiting";
    let user = record.field("user");
    assert!(!scanned || user == "alice" || user == "bobby", "{record:?}");
}

/// Ends the program and compares what it has on record with what its PCs were told; answers the records.
async fn check_records(process: Process, world: &World, typist: &str) -> Vec<Record> {
    process.terminate();
    let (status, printed) = within("the end", tokio::task::spawn_blocking(move || process.end()))
        .await
        .unwrap();
    assert_eq!(status.code(), Some(0), "{printed}");
    assert!(!printed.contains("were dropped"), "the log was read");

    let records: Vec<Record> = printed.lines().filter_map(Record::read).collect();
    records.iter().for_each(|record| check_fields(record, typist));
    check_chains(&records, world);
    for secret in &world.secrets {
        assert!(!printed.contains(secret.as_str()), "a secret was printed");
    }
    for id in world.known.iter().flat_map(|known| &known.qr_ids) {
        assert!(
            records.iter().all(|r| !r.line.contains(id.as_str())),
            "a code was printed"
        );
    }
    records
}

/// Attempts were opened one after the other, so the first records of each stand in that order.
fn check_chains(records: &[Record], world: &World) {
    let openings = records.iter().filter(|r| r.field("event") == "opened");
    let attempts: Vec<&str> = openings.map(|r| r.field("attempt")).collect();
    assert_eq!(attempts.len(), world.known.len());
    for (attempt, known) in attempts.iter().zip(&world.known) {
        let mut of: Vec<_> = records
            .iter()
            .filter(|r| r.field("attempt") == *attempt)
            .collect();
        of.sort_by_key(|r| r.field("seq").parse::<u32>().unwrap());
        let seen: Vec<_> = of
            .iter()
            .map(|r| {
                (
                    r.field("seq").parse().unwrap(),
                    r.field("to").to_owned(),
                    r.field("reason").to_owned(),
                )
            })
            .collect();
        assert_eq!(seen, known.told);
        let chain = of
            .windows(2)
            .all(|pair| pair[0].field("to") == pair[1].field("from"));
        assert!(chain && of[0].field("from").is_empty(), "{of:#?}");
    }
    let told: usize = world.known.iter().map(|known| known.told.len()).sum();
    assert_eq!(records.len(), told, "a record that belongs to no change");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_change_has_one_record_without_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let qr = "lifetime_ms = 120000\nrotate_ms = 30000\nidle_ms = 20000\n";
    let (process, mut world) = start(folder.path(), qr);
    stories(&mut world).await;
    check_records(process, &world, "phone").await;
}
