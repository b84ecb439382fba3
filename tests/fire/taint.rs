//! Threat 8: what only the PC may know is in exactly one stream, of all that were recorded.

use futures::future::join_all;
use serde_json::{Value, json};

use super::attempt::has;
use super::common::events::Events;
use super::common::http::Request;
use super::common::qr::{confirm, scan_token, text};
use super::common::{Client, Person, TestServer, request};
use super::pc::Over;
use super::plan::Plan;
use super::proxy::{Proxy, Stream};

/// How one PC stands before its code, on a line of its own.
enum Screen {
    Socket(Box<Client>),
    Stream(Events),
    Polls,
}

fn claiming(line: &Proxy, method: &'static str, path: &str, claim: &str) -> Request {
    request(line.addr, method, path)
        .header("authorization", &format!("Claim {claim}"))
        .header("countersign-device", "pc-1")
}

/// Everybody who is not this PC, each on a line of their own, doing what they can.
pub(crate) struct Crowd {
    pub(crate) line: Proxy,
    sockets: Vec<Client>,
}

impl Crowd {
    /// Bystanders: nobody, the same user elsewhere, another user, another PC with a code.
    pub(crate) async fn gather(server: &TestServer, alice: &Person, bob: &Person) -> Self {
        let line = Proxy::start(server.addr, Plan::Clean).await;
        let mut sockets = Vec::new();
        for person in [None, Some(alice), Some(bob)] {
            let mut client = Client::connect(line.addr).await;
            if let Some(person) = person {
                let auth = json!({"token": person.tokens.access_token, "device": person.device});
                client.ok("auth", auth).await;
            }
            client.ok("join", json!({"room": "chat:lobby"})).await;
            sockets.push(client);
        }
        let mut other = Client::connect(line.addr).await;
        other.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
        sockets.push(other);
        Self { line, sockets }
    }

    /// Until everybody has been told what they will be told: each answers once more.
    pub(crate) async fn hear_out(&mut self) {
        join_all(self.sockets.iter_mut().map(|c| c.call("ping", json!({})))).await;
    }

    /// With the code, and whatever else they heard of.
    pub(crate) async fn pry(&mut self, qr_id: &str, ticket: &str) {
        for client in &mut self.sockets {
            let guess = json!({"qr_id": qr_id, "claim": "A".repeat(43), "device": "pc-1", "after_seq": 0});
            let refused = client.call("qr.watch", guess.clone()).await;
            assert_eq!(refused["type"], "error", "{refused}");
            let mut redeem = guess;
            redeem["ticket"] = json!(ticket);
            assert_eq!(client.call("qr.redeem", redeem).await["type"], "error");
        }
        let path = format!("/v1/qr/{qr_id}");
        for claim in ["A", "AAAA"] {
            for after in ["", "/events"] {
                let answer = claiming(&self.line, "GET", &format!("{path}{after}"), claim)
                    .send()
                    .await;
                assert_eq!(answer.status, 404);
            }
        }
    }
}

/// In which recorded streams something was told.
pub(crate) fn told_in(streams: &[Stream], secret: &str) -> Vec<usize> {
    (0..streams.len())
        .filter(|&n| has(&streams[n].received, secret))
        .collect()
}

pub(crate) async fn only_one_stream(server: &TestServer, over: Over) {
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut crowd = Crowd::gather(server, &alice, &bob).await;
    let (pc, phone_line) = (
        Proxy::start(server.addr, Plan::Clean).await,
        Proxy::start(server.addr, Plan::Clean).await,
    );
    let phone = Person {
        addr: phone_line.addr,
        device: alice.device.clone(),
        tokens: server.login("alice", &alice.device).await,
    };
    let open = json!({"device": {"id": "pc-1", "kind": "pc"}});
    let (mut screen, opened) = match over {
        Over::WebSocket => {
            let mut client = Client::connect(pc.addr).await;
            let opened = client.ok("qr.open", open).await;
            (Screen::Socket(Box::new(client)), opened)
        }
        _ => {
            let opened = request(pc.addr, "POST", "/v1/qr").json(&open).send().await.json();
            let path = format!("/v1/qr/{}/events", text(&opened["qr_id"]));
            let screen = match over {
                Over::Events => {
                    Screen::Stream(Events::open(claiming(&pc, "GET", &path, &text(&opened["claim"]))).await)
                }
                _ => Screen::Polls,
            };
            (screen, opened)
        }
    };
    let (qr_id, claim) = (text(&opened["qr_id"]), text(&opened["claim"]));
    let path = format!("/v1/qr/{qr_id}");
    crowd.pry(&qr_id, "none").await;
    let scan_token = scan_token(&phone, &qr_id).await;
    let digits = text(&becomes(&mut screen, &pc, &path, &claim, "scanned").await["match"]["code"]);
    assert_eq!(
        confirm(&phone, &qr_id, &scan_token, Some(&digits)).await.status,
        200
    );
    let ticket = text(&becomes(&mut screen, &pc, &path, &claim, "confirmed").await["ticket"]);
    // Before it is used: nobody but the PC can do anything with it, or has it.
    let quiet = pc.streams().len();
    crowd.pry(&qr_id, &ticket).await;
    let redeemed = match &mut screen {
        Screen::Socket(client) => {
            client
                .ok(
                    "qr.redeem",
                    json!({"qr_id": qr_id, "claim": claim, "ticket": ticket}),
                )
                .await
        }
        _ => {
            let redeem = claiming(&pc, "POST", &format!("{path}/redeem"), &claim);
            redeem.json(&json!({"ticket": ticket})).send().await.json()
        }
    };
    let outcome = phone
        .request("GET", &format!("{path}/outcome"))
        .send()
        .await
        .json();
    assert_eq!(outcome["session"], redeemed["session"]);
    crowd.hear_out().await;
    let (told, others) = (
        pc.streams(),
        [crowd.line.streams(), phone_line.streams()].concat(),
    );
    for (what, secret) in [
        ("claim", &claim),
        ("ticket", &ticket),
        ("access token", &text(&redeemed["access_token"])),
        ("refresh token", &text(&redeemed["refresh_token"])),
    ] {
        assert_eq!(told_in(&others, secret), [0_usize; 0], "{what}: to somebody else");
        assert_eq!(told_in(&told, secret).len(), 1, "{what}: in one stream, {over:?}");
    }
    assert_eq!(
        told_in(&others, &scan_token).len(),
        1,
        "the phone's, to the phone"
    );
    assert!(told_in(&told, &scan_token).is_empty());
    assert!(quiet >= 1 && others.len() >= 8, "they were recorded");
}

/// The event of a state, as the PC comes to know it.
async fn becomes(screen: &mut Screen, pc: &Proxy, path: &str, claim: &str, state: &str) -> Value {
    let event = match screen {
        Screen::Socket(client) => client.push("qr").await,
        Screen::Stream(events) => loop {
            let event = events.next().await.expect("it goes on").data;
            if event["state"] != "waiting" {
                break event;
            }
        },
        // One question each, so that one stream has the ticket.
        Screen::Polls => claiming(pc, "GET", path, claim).send().await.json(),
    };
    assert_eq!(event["state"], state, "{event}");
    event
}
