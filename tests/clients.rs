//! Logins that the page of a registered client opens: whose page it is, what the phone is told, whom the client admits.

mod common;

use common::{Client as Socket, Person, TestServer, qr, request};
use countersign::config::{Client, ClientSecret, Config};
use countersign_protocol::ErrorCode;
use countersign_protocol::http::{Scanned, Sessions};
use serde_json::{Value, json};

const PAGE: &str = "https://reader.example";
const TV: &str = "https://tv.example";

fn client(name: &str, origin: &str) -> Client {
    Client {
        name: name.into(),
        origins: vec![origin.into()],
        ..Client::default()
    }
}

fn registered(config: &mut Config) {
    let mut add = |id: &str, client: Client| config.clients.insert(id.into(), client);
    add("reader", client("Reader", PAGE));
    add(
        "staff",
        Client {
            users: vec!["alice".into()],
            ..client("Staff only", TV)
        },
    );
    add(
        "backend",
        Client {
            secret: Some(ClientSecret::new("0123456789abcdef0123456789".into())),
            ..client("Backend", PAGE)
        },
    );
}

fn open(client: &str) -> Value {
    json!({"device": {"id": "pc-1", "name": "Office PC"}, "client_id": client})
}

async fn page(server: &TestServer, origin: &'static str) -> Socket {
    Socket::connect_with(server.addr, &[("origin", origin)])
        .await
        .unwrap()
}

async fn scan(phone: &Person, opened: &Value) -> common::Answer {
    qr::scan(phone, opened["qr_id"].as_str().unwrap()).await
}

#[tokio::test]
async fn the_page_of_a_client_signs_in_under_its_name() {
    let server = TestServer::start(registered).await;
    let alice = server.user("alice").await;
    let mut pc = page(&server, PAGE).await;
    let opened = pc.ok("qr.open", open("reader")).await;
    let answer = scan(&alice, &opened).await;
    let scanned: Scanned = answer.read();
    let request = &scanned.request;
    assert_eq!(request.client.as_deref(), Some("Reader"));
    assert!(request.full_access && request.scopes.is_empty());
    assert_eq!(request.device.name.as_deref(), Some("Office PC"));
    let code = pc.push("qr").await["match"]["code"].clone();
    let qr_id = opened["qr_id"].as_str().unwrap();
    let confirmed = qr::confirm(&alice, qr_id, &scanned.scan_token, code.as_str()).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let ticket = pc.push("qr").await["ticket"].clone();
    let redeem = json!({"qr_id": opened["qr_id"], "claim": opened["claim"], "ticket": ticket});
    let redeemed = pc.ok("qr.redeem", redeem).await;
    // The person sees which app it was, and can end it.
    let listed: Sessions = alice.request("GET", "/v1/sessions").send().await.read();
    let of_app = listed
        .sessions
        .iter()
        .find(|s| s.id == redeemed["session"])
        .unwrap();
    assert_eq!(of_app.client.as_deref(), Some("Reader"));
    assert!(listed.sessions.iter().any(|s| s.current && s.client.is_none()));
    let me = request_with_device(&server, redeemed["access_token"].as_str().unwrap()).await;
    assert_eq!(me["user"]["id"], "alice", "{me}");
}

async fn request_with_device(server: &TestServer, token: &str) -> Value {
    let me = request(server.addr, "GET", "/v1/me")
        .header("authorization", &format!("Bearer {token}"))
        .header("countersign-device", "pc-1");
    me.send().await.json()
}

/// What shows whose page it is, is the origin, which a page cannot choose.
#[tokio::test]
async fn nobody_else_opens_one_in_a_clients_name() {
    let server = TestServer::start(registered).await;
    let own = server.url("");
    for (origin, id) in [
        (Some(PAGE), "staff"),
        (Some(TV), "reader"),
        (Some(own.as_str()), "reader"),
        (None, "reader"),
        // A page keeps no secret.
        (Some(PAGE), "backend"),
        (Some(PAGE), "nobody"),
        (Some(PAGE), ""),
    ] {
        let origin: Vec<(&'static str, &str)> = origin.map(|origin| ("origin", origin)).into_iter().collect();
        let mut pc = Socket::connect_with(server.addr, &origin).await.unwrap();
        let refused = pc.refused("qr.open", open(id)).await;
        assert_eq!(refused["code"], "not_allowed", "{origin:?} {id}: {refused}");
        let mut asked = request(server.addr, "POST", "/v1/qr").json(&open(id));
        for (name, value) in &origin {
            asked = asked.header(name, value);
        }
        let answer = asked.send().await;
        assert_eq!(
            (answer.status, qr::code(&answer)),
            (403, "not_allowed".into()),
            "{id}"
        );
        // Without a client's name it is a login like any other.
        pc.ok("qr.open", json!({"device": {"id": "pc-1"}})).await;
    }
    let by_http = request(server.addr, "POST", "/v1/qr")
        .header("origin", PAGE)
        .json(&open("reader"));
    let answer = by_http.send().await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some(PAGE),
        "its page may read it"
    );
    let stranger = Socket::connect_with(server.addr, &[("origin", "https://evil.example")]).await;
    assert!(stranger.is_err());
}

#[tokio::test]
async fn a_client_admits_whom_it_lists() {
    let server = TestServer::start(registered).await;
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let mut pc = page(&server, TV).await;
    let opened = pc.ok("qr.open", open("staff")).await;
    let refused = scan(&bob, &opened).await;
    assert_eq!(
        (refused.status, qr::code(&refused)),
        (403, ErrorCode::PolicyDenied.name().into())
    );
    // It is as it was: the first scan is still to come.
    let scanned: Scanned = scan(&alice, &opened).await.read();
    assert_eq!(scanned.request.client.as_deref(), Some("Staff only"));
    let code = pc.push("qr").await["match"]["code"].clone();

    // Taken off the list, or the client out of the configuration, before the confirmation: no longer.
    let qr_id = opened["qr_id"].as_str().unwrap();
    let confirm = || qr::confirm(&alice, qr_id, &scanned.scan_token, code.as_str());
    for change in [
        |config: &mut Config| config.clients.get_mut("staff").unwrap().users = vec!["bob".into()],
        |config: &mut Config| drop(config.clients.remove("staff")),
    ] {
        let mut config = (**server.node.config()).clone();
        change(&mut config);
        server.node.reload(config).unwrap();
        let refused = confirm().await;
        assert_eq!(
            (refused.status, qr::code(&refused)),
            (403, "policy_denied".into())
        );
    }
    // Who is refused can still say no.
    let denied = qr::deny(&alice, qr_id, &scanned.scan_token).await;
    assert_eq!(denied.status, 200, "{}", denied.text());
    assert_eq!(pc.push("qr").await["state"], "denied");
    let mut gone = page(&server, PAGE).await;
    assert_eq!(
        gone.refused("qr.open", open("staff")).await["code"],
        "not_allowed"
    );
}
