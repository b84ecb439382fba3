//! Limits of those who are not in yet: codes, scans, passwords.

use countersign::config::limits::RateLimit;
use countersign_protocol::ErrorCode;
use serde_json::{Value, json};

use super::limits::{assert_limited, rare};
use super::stage::{Stage, assert_problem};
use super::{Case, Covers, story};
use crate::common::{Person, TestServer, request};

pub(crate) fn table() -> Vec<Case> {
    let limited = Covers::Error(ErrorCode::RateLimited);
    let unavailable = Covers::Error(ErrorCode::Unavailable);
    vec![
        story(limited, "codes opened from an address", || {
            Box::pin(codes_opened())
        }),
        story(limited, "pictures for an address", || Box::pin(pictures())),
        story(limited, "scans of an account", || Box::pin(scans())),
        story(limited, "wrong user codes", || Box::pin(user_codes())),
        story(limited, "wrong user codes, as many as there may be", || {
            Box::pin(user_codes_by_default())
        }),
        story(limited, "sign-ins to an account", || Box::pin(sign_ins())),
        story(unavailable, "codes of the node and of an address", || {
            Box::pin(codes_waiting())
        }),
    ]
}

fn open(device: &str) -> Value {
    json!({"device": {"id": device}})
}

async fn codes_opened() {
    let mut stage = Stage::set(|c| c.limits.qr_open_rate = rare(2)).await;
    let first = stage.nobody.ok("qr.open", open("pc-1")).await;
    let mut second = stage.server.anonymous().await;
    second.ok("qr.open", open("pc-2")).await;
    assert_limited(&stage.nobody.refused("qr.open", open("pc-1")).await);
    assert_limited(&stage.actor.refused("qr.open", open("alice-device")).await);
    // The code that was open is still good, and watched.
    let path = format!("/v1/qr/{}/scan", first["qr_id"].as_str().unwrap());
    assert_eq!(stage.alice.request("POST", &path).send().await.status, 200);
    assert_eq!(stage.nobody.push("qr").await["state"], "scanned");
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// Drawing is work, and nobody has to show anything for it.
async fn pictures() {
    let mut stage = Stage::set(|c| c.limits.qr_picture_rate = rare(2)).await;
    let opened = stage.nobody.ok("qr.open", open("pc-1")).await;
    let path = format!("/v1/qr/{}", opened["qr_id"].as_str().unwrap());
    for ending in ["svg", "png"] {
        let drawn = request(stage.server.addr, "GET", &format!("{path}.{ending}"));
        assert_eq!(drawn.send().await.status, 200);
    }
    for ending in ["svg", "png?size=1024"] {
        let drawn = request(stage.server.addr, "GET", &format!("{path}.{ending}"));
        assert_problem(&drawn.send().await, 429, ErrorCode::RateLimited);
    }
    // The code itself is as it was.
    let scanned = stage.alice.request("POST", &format!("{path}/scan")).send().await;
    assert_eq!(scanned.status, 200);
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn codes_waiting() {
    for node in [true, false] {
        let mut stage = Stage::set(|c| match node {
            true => c.limits.qr_attempts_max = 2,
            false => c.limits.qr_waiting_per_address_max = 2,
        })
        .await;
        let first = stage.nobody.ok("qr.open", open("pc-1")).await;
        let mut second = stage.server.anonymous().await;
        second.ok("qr.open", open("pc-2")).await;
        // Whether it would be the connection's first or its second.
        let mut refusals = Vec::new();
        for (client, device) in [(&mut stage.actor, "alice-device"), (&mut stage.nobody, "pc-1")] {
            let refused = client.refused("qr.open", open(device)).await;
            assert!(
                refused["after_ms"].as_u64() > Some(0) && refused["retry"] == true,
                "{refused}"
            );
            refusals.push(refused["code"].clone());
        }
        assert_eq!(refusals[0], refusals[1]);
        assert!(!node || refusals[0] == "unavailable", "{refusals:?}");
        let path = format!("/v1/qr/{}/scan", first["qr_id"].as_str().unwrap());
        let answer = stage.alice.request("POST", &path).send().await;
        assert_eq!(
            answer.status,
            200,
            "the code that was open is still good: {}",
            answer.text()
        );
        assert_eq!(stage.nobody.push("qr").await["state"], "scanned");
        stage.actor_speaks().await;
        stage.everybody_is_as_before().await;
        stage.strike().await;
    }
}

async fn scans() {
    let mut stage = Stage::set(|c| c.limits.qr_phone_rate = rare(2)).await;
    let opened = stage.nobody.ok("qr.open", open("pc-1")).await;
    let path = format!("/v1/qr/{}/scan", opened["qr_id"].as_str().unwrap());
    // Codes that do not exist cost nothing.
    for _ in 0..5 {
        let answer = stage
            .alice
            .request("POST", "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA/scan")
            .send()
            .await;
        assert_problem(&answer, 404, ErrorCode::NotFound);
    }
    let mut token = Value::Null;
    for _ in 0..2 {
        let scanned = stage.alice.request("POST", &path).send().await;
        assert_eq!(scanned.status, 200);
        token = scanned.json()["scan_token"].clone();
    }
    assert_problem(
        &stage.alice.request("POST", &path).send().await,
        429,
        ErrorCode::RateLimited,
    );
    let bob = stage.server.user("bob").await;
    assert_problem(
        &bob.request("POST", &path).send().await,
        409,
        ErrorCode::AlreadyScanned,
    );
    denials(&mut stage, &opened, &token).await;
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// Whoever may neither scan nor confirm any more can still say no, and that is bounded too: as often as they could scan.
async fn denials(stage: &mut Stage, opened: &Value, token: &Value) {
    let deny = |qr_id: &Value, token: &Value| {
        let path = format!("/v1/qr/{}/deny", qr_id.as_str().unwrap());
        let body = json!({"scan_token": token});
        stage.alice.request("POST", &path).json(&body).send()
    };
    let confirm = format!("/v1/qr/{}/confirm", opened["qr_id"].as_str().unwrap());
    let body = json!({"scan_token": token});
    assert_problem(
        &stage.alice.request("POST", &confirm).json(&body).send().await,
        429,
        ErrorCode::RateLimited,
    );
    let wrong = deny(&opened["qr_id"], &json!("no token")).await;
    assert_problem(&wrong, 403, ErrorCode::ScanTokenInvalid);
    let denied = deny(&opened["qr_id"], token).await;
    assert_eq!(
        (denied.status, &denied.json()["state"]),
        (200, &json!("denied")),
        "{}",
        denied.text()
    );
    // One that has ended costs nothing, at the limit as before it.
    assert_problem(&deny(&opened["qr_id"], token).await, 409, ErrorCode::AlreadyFinal);
    let live = stage.server.anonymous().await.ok("qr.open", open("pc-2")).await;
    assert_problem(&deny(&live["qr_id"], token).await, 429, ErrorCode::RateLimited);
}

/// So many within ten minutes.
fn few(n: u32) -> RateLimit {
    RateLimit { count: n, ..rare(n) }
}

/// Whoever guesses at what devices show runs out of guesses, by account and by address.
async fn user_codes() {
    let mut stage = Stage::set(|c| {
        c.limits.user_code_account_rate = few(2);
        c.limits.user_code_address_rate = few(3);
    })
    .await;
    let guess = |person: &Person, code: &str| {
        let body = json!({"user_code": code});
        person.request("POST", "/v1/qr/scan").json(&body).send()
    };
    // One that can be none counts like one that is none.
    for code in ["BCDF-GHJK", "not a code"] {
        assert_problem(&guess(&stage.alice, code).await, 404, ErrorCode::NotFound);
    }
    assert_problem(
        &guess(&stage.alice, "BCDF-GHJK").await,
        429,
        ErrorCode::RateLimited,
    );
    let bob = stage.server.user("bob").await;
    assert_problem(&guess(&bob, "BCDF-GHJK").await, 404, ErrorCode::NotFound);
    assert_problem(&guess(&bob, "BCDF-GHJK").await, 429, ErrorCode::RateLimited);
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// As it comes: five of an account, twenty of an address.
async fn user_codes_by_default() {
    let mut stage = Stage::set(|_| {}).await;
    let guess = |person: &Person, code: &str| {
        let body = json!({"user_code": code});
        person.request("POST", "/v1/qr/scan").json(&body).send()
    };
    let mut people = vec![];
    for user in ["bob", "carol", "dave"] {
        people.push(stage.server.user(user).await);
    }
    for (n, person) in [&stage.alice].into_iter().chain(&people).enumerate() {
        for _ in 0..5 {
            let none = guess(person, "BCDF-GHJK").await;
            assert_problem(&none, 404, ErrorCode::NotFound);
        }
        // What the account may not do costs the address nothing: else the fourth would not have its five.
        let sixth = guess(person, "BCDF-GHJK").await;
        assert_problem(&sixth, 429, ErrorCode::RateLimited);
        let after_ms = sixth.json()["after_ms"].as_u64().unwrap();
        assert!((1..=600_000).contains(&after_ms), "{n}: {after_ms}");
    }
    let erin = stage.server.user("erin").await;
    let of_the_address = guess(&erin, "BCDF-GHJK").await;
    assert_problem(&of_the_address, 429, ErrorCode::RateLimited);
    // Guesses alone are bounded: what erin was shown by a screen goes on.
    let opened = stage.nobody.ok("qr.open", open("pc-1")).await;
    let path = format!("/v1/qr/{}/scan", opened["qr_id"].as_str().unwrap());
    assert_eq!(erin.request("POST", &path).send().await.status, 200);
    assert_eq!(stage.nobody.push("qr").await["state"], "scanned");
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn sign_ins() {
    // Alice's first sign-in was the stage's own.
    let mut stage = Stage::set(|c| c.limits.login_account_rate = rare(3)).await;
    let login = |user: &str, password: &str| {
        let body = json!({"user_id": user, "password": password, "device": {"id": "d"}});
        request(stage.server.addr, "POST", "/v1/login").json(&body).send()
    };
    for _ in 0..2 {
        assert_problem(&login("alice", "guess").await, 401, ErrorCode::InvalidToken);
    }
    assert_problem(&login("alice", "guess").await, 429, ErrorCode::RateLimited);
    assert_problem(
        &login("alice", "correct horse").await,
        429,
        ErrorCode::RateLimited,
    );
    assert_eq!(
        login("wendy", "correct horse").await.status,
        200,
        "others sign in"
    );
    assert_eq!(
        stage.alice.request("GET", "/v1/me").send().await.status,
        200,
        "who is in stays in"
    );
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;

    // An address that tries many names.
    let server = TestServer::start(|c| c.limits.login_address_rate = rare(3)).await;
    let mut told = Vec::new();
    for n in 0..5 {
        let body = json!({"user_id": format!("user{n}"), "password": "guess", "device": {"id": "d"}});
        told.push(request(server.addr, "POST", "/v1/login").json(&body).send().await);
    }
    told[..3]
        .iter()
        .for_each(|a| assert_problem(a, 401, ErrorCode::InvalidToken));
    told[3..]
        .iter()
        .for_each(|a| assert_problem(a, 429, ErrorCode::RateLimited));
    let new = json!({"user_id": "alice", "password": "correct horse"});
    let answer = request(server.addr, "POST", "/v1/accounts")
        .json(&new)
        .send()
        .await;
    assert_problem(&answer, 429, ErrorCode::RateLimited);
    server.stop().await;
}
