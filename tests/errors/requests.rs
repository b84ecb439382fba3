//! Requests that are refused and change nothing.

use countersign::config::{Config, OperatorKey, StepUp};
use countersign_protocol::ErrorCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::stage::{Stage, assert_error, assert_problem};
use super::{Case, Covers, How, story};
use crate::common::http::Request;
use crate::common::{Answer, Person, request, within};

/// A request that is refused with a status.
pub(crate) struct Refused {
    status: u16,
    make: fn(&Stage) -> Request,
}

const UNKNOWN: &str = "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA/scan";

fn bare(stage: &Stage, method: &'static str, path: &str) -> Request {
    request(stage.server.addr, method, path)
}

fn upgrade(stage: &Stage) -> Request {
    // `common::http` says `connection: close` first; tokens of the same header add up.
    bare(stage, "GET", "/v1/ws")
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn claiming(stage: &Stage, after: &str) -> Request {
    bare(stage, "GET", &format!("/v1/qr/AAAAAAAAAAAAAAAAAAAAAA{after}"))
        .header("authorization", "Claim x")
        .header("countersign-device", "d")
}

fn bearer(request: Request, token: &str) -> Request {
    request.header("authorization", &format!("Bearer {token}"))
}

pub(crate) fn table() -> Vec<Case> {
    use ErrorCode as E;
    let mut table = Vec::new();
    let mut add = |code, status, name: &str, make| {
        let name = format!("HTTP {status} {}: {name}", E::name(code));
        table.push(Case {
            covers: Covers::Error(code),
            name,
            how: How::Request(Refused { status, make }),
        });
    };
    add(E::BadRequest, 400, "no JSON", |s| {
        bare(s, "POST", "/v1/login")
            .header("content-type", "application/json")
            .body(b"{")
    });
    add(E::BadRequest, 400, "no media type", |s| {
        bare(s, "POST", "/v1/login").body(b"{}")
    });
    add(E::BadRequest, 400, "a field is missing", |s| {
        bare(s, "POST", "/v1/login").json(&json!({"user_id": "alice"}))
    });
    add(E::BadRequest, 400, "no device", |s| {
        bare(s, "POST", "/v1/refresh").json(&json!({"refresh_token": "x"}))
    });
    add(E::BadRequest, 400, "two tokens", |s| {
        bearer(s.alice.request("GET", "/v1/me"), "x")
    });
    add(E::BadRequest, 400, "two hosts", |s| {
        bare(s, "GET", "/v1/me").header("host", "other.example")
    });
    add(E::BadRequest, 400, "no key in the handshake", |s| {
        upgrade(s).header("sec-websocket-key", "AAAA")
    });
    add(E::BadRequest, 400, "a handshake with a body", |s| {
        upgrade(s).body(b"0123456789")
    });
    add(E::BadRequest, 426, "no handshake", |s| bare(s, "GET", "/v1/ws"));
    add(E::Unauthenticated, 401, "no token", |s| bare(s, "GET", "/v1/me"));
    add(E::Unauthenticated, 401, "no token to log out with", |s| {
        bare(s, "POST", "/v1/logout")
    });
    add(E::Unauthenticated, 401, "a device only", |s| {
        bare(s, "POST", UNKNOWN).header("countersign-device", "d")
    });
    add(E::InvalidToken, 401, "no token of ours", |s| {
        bearer(bare(s, "GET", "/v1/me"), "a.b.c")
    });
    add(E::InvalidToken, 401, "another scheme", |s| {
        bare(s, "GET", "/v1/me").header("authorization", "Basic YTpi")
    });
    add(E::InvalidToken, 401, "a refresh token", |s| {
        bearer(bare(s, "GET", "/v1/me"), &s.alice.tokens.refresh_token)
    });
    add(E::InvalidToken, 401, "at the handshake", |s| {
        bearer(upgrade(s), "a.b.c")
    });
    add(E::InvalidToken, 401, "a wrong password", |s| {
        bare(s, "POST", "/v1/login")
            .json(&json!({"user_id": "alice", "password": "x", "device": {"id": "d"}}))
    });
    add(E::InvalidToken, 401, "no refresh token of ours", |s| {
        bare(s, "POST", "/v1/refresh")
            .header("countersign-device", "d")
            .json(&json!({"refresh_token": "x"}))
    });
    add(E::DeviceMismatch, 401, "no device", |s| {
        bearer(bare(s, "GET", "/v1/me"), &s.alice.tokens.access_token)
    });
    add(E::DeviceMismatch, 401, "another device", |s| {
        bearer(bare(s, "POST", "/v1/logout"), &s.alice.tokens.access_token)
            .header("countersign-device", "other")
    });
    add(E::NotFound, 404, "no such page", |s| {
        bare(s, "GET", "/v1/nothing")
    });
    add(E::NotFound, 404, "no such asset", |s| {
        bare(s, "GET", "/assets/../Cargo.toml")
    });
    add(E::NotFound, 404, "no code of ours", |s| {
        bare(s, "GET", "/v1/qr/nonsense.svg")
    });
    add(E::NotFound, 404, "a PC without its claim", |s| {
        bare(s, "GET", "/v1/qr/AAAAAAAAAAAAAAAAAAAAAA").header("countersign-device", "d")
    });
    add(E::NotFound, 404, "a claim of no attempt", |s| {
        claiming(s, "/events")
    });
    add(E::BadRequest, 400, "no number of an event", |s| {
        claiming(s, "/events?after_seq=x")
    });
    add(E::BadRequest, 400, "two claims", |s| {
        claiming(s, "/events").header("authorization", "Claim y")
    });
    add(E::BadRequest, 400, "no device to open for", |s| {
        bare(s, "POST", "/v1/qr").json(&json!({"device": {"id": ""}}))
    });
    add(E::DeviceMismatch, 401, "two devices to open for", |s| {
        bare(s, "POST", "/v1/qr")
            .header("countersign-device", "other")
            .json(&json!({"device": {"id": "d"}}))
    });
    add(E::NotAllowed, 403, "a client nobody registered", |s| {
        bare(s, "POST", "/v1/qr").json(&json!({"device": {"id": "d"}, "client_id": "app"}))
    });
    add(E::MethodNotAllowed, 405, "an attempt by PUT", |s| {
        bare(s, "PUT", "/v1/qr")
    });
    add(E::NotFound, 404, "an unknown code", |s| {
        s.alice.request("POST", UNKNOWN)
    });
    add(E::MethodNotAllowed, 405, "another method", |s| {
        bare(s, "GET", "/v1/login")
    });
    add(E::MethodNotAllowed, 405, "a socket by POST", |s| {
        bare(s, "POST", "/v1/ws")
    });
    add(E::TooLarge, 413, "a long body", |s| {
        bare(s, "POST", "/v1/login").json(&json!({"user_id": "x".repeat(70_000)}))
    });
    add(E::TooLarge, 431, "a long list of protocols", |s| {
        upgrade(s).header("sec-websocket-protocol", &"x".repeat(1_025))
    });
    add(E::UserExists, 409, "a name that is taken", |s| {
        bare(s, "POST", "/v1/accounts").json(&json!({"user_id": "alice", "password": "correct horse"}))
    });
    for origin in [
        |s: &Stage| upgrade(s).header("origin", "https://evil.example"),
        |s: &Stage| upgrade(s).header("origin", "null"),
        |s: &Stage| upgrade(s).header("origin", &format!("http://{}.evil.example", s.server.addr)),
        |s: &Stage| {
            s.alice
                .request("POST", UNKNOWN)
                .header("origin", "https://evil.example")
        },
        |s: &Stage| {
            s.alice
                .request("DELETE", "/v1/sessions/s_1")
                .header("origin", "null")
        },
    ] {
        let n = table.len();
        let name = format!("HTTP 403 origin_rejected {n}");
        let how = How::Request(Refused {
            status: 403,
            make: origin,
        });
        table.push(Case {
            covers: Covers::Error(E::OriginRejected),
            name,
            how,
        });
    }
    let told = Covers::Error;
    table.extend([
        story(told(E::RegistrationClosed), "registration is closed", || {
            Box::pin(registration_closed())
        }),
        story(told(E::AccountLocked), "an account that is locked", || {
            Box::pin(account_locked())
        }),
        story(told(E::Timeout), "a body that does not come", || {
            Box::pin(timeout())
        }),
        story(told(E::AlreadyScanned), "somebody else scanned", || {
            Box::pin(already_scanned())
        }),
        story(told(E::AlreadyConfirmed), "a second yes", || {
            Box::pin(already_confirmed())
        }),
        story(
            told(E::StepUpRequired),
            "a confirmation without the password",
            || Box::pin(step_up_required()),
        ),
        story(told(E::AlreadyFinal), "a code that has ended", || {
            Box::pin(already_final())
        }),
        story(told(E::ScanTokenInvalid), "another's scan token", || {
            Box::pin(scan_token_invalid())
        }),
        story(told(E::MatchRequired), "no digits", || Box::pin(match_required())),
        story(told(E::MatchFailed), "wrong digits", || Box::pin(match_failed())),
    ]);
    table
}

/// Sends the request, and sees that nothing has changed.
pub(crate) async fn run(stage: &mut Stage, covers: Covers, refused: Refused) {
    let Covers::Error(code) = covers else {
        unreachable!("a request has no close code")
    };
    let answer = (refused.make)(stage).send().await;
    assert_problem(&answer, refused.status, code);
    assert_eq!(
        answer.header("allow").is_some(),
        refused.status == 405,
        "RFC 9110 §15.5.6"
    );
    assert_eq!(
        answer.header("upgrade").is_some(),
        refused.status == 426,
        "RFC 9110 §15.5.22"
    );
    assert_eq!(stage.alice.request("GET", "/v1/me").send().await.status, 200);
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
}

async fn registration_closed() {
    // Accounts that are there stay in use.
    let mut stage = Stage::set(Stage::unhurried).await;
    let closed =
        crate::common::TestServer::start(|c: &mut Config| c.accounts.open_registration = false).await;
    let new = json!({"user_id": "carol", "password": "correct horse"});
    let answer = request(closed.addr, "POST", "/v1/accounts")
        .json(&new)
        .send()
        .await;
    assert_problem(&answer, 403, ErrorCode::RegistrationClosed);
    closed.anonymous().await.ok("ping", json!({})).await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

async fn account_locked() {
    let mut stage = Stage::set(|c| {
        Stage::unhurried(c);
        c.operator_key = Some(OperatorKey::new("k".repeat(32)));
    })
    .await;
    let answer = bearer(
        request(stage.server.operator, "POST", "/users/alice/lock"),
        &"k".repeat(32),
    );
    assert_eq!(answer.send().await.status, 200);
    let login = json!({"user_id": "alice", "password": "correct horse", "device": {"id": "d"}});
    let answer = bare(&stage, "POST", "/v1/login").json(&login).send().await;
    assert_problem(&answer, 403, ErrorCode::AccountLocked);
    assert_eq!(stage.actor.end().await.code, 4503);
    stage.others_are_as_before().await;
    stage.strike().await;
}

async fn timeout() {
    let mut stage = Stage::set(|c| {
        Stage::unhurried(c);
        c.limits.request_ms = 3_000;
    })
    .await;
    let mut stream = TcpStream::connect(stage.server.addr).await.unwrap();
    let head = bare(&stage, "POST", "/v1/login")
        .header("content-type", "application/json")
        .body(b"{1234");
    let bytes = head.bytes();
    stream.write_all(&bytes[..bytes.len() - 1]).await.unwrap();
    let mut raw = Vec::new();
    within("the deadline", stream.read_to_end(&mut raw))
        .await
        .unwrap();
    assert_problem(&Answer::parse(&raw), 408, ErrorCode::Timeout);
    stage.actor_speaks().await;
    stage.everybody_is_as_before().await;
    stage.strike().await;
}

/// A code that Alice has scanned.
struct Scanned {
    stage: Stage,
    path: String,
    claim: Value,
    token: String,
    digits: String,
}

impl Scanned {
    async fn set(change: impl FnOnce(&mut Config)) -> Self {
        let mut stage = Stage::set(|c| {
            Stage::unhurried(c);
            change(c);
        })
        .await;
        let opened = stage
            .nobody
            .ok("qr.open", json!({"device": {"id": "pc-1"}}))
            .await;
        let claim = json!({"qr_id": opened["qr_id"], "claim": opened["claim"]});
        let path = format!("/v1/qr/{}", opened["qr_id"].as_str().unwrap());
        let answer = stage.alice.request("POST", &format!("{path}/scan")).send().await;
        let token = answer.json()["scan_token"].as_str().unwrap().to_owned();
        let pushed = stage.nobody.push_where("qr", |p| p["state"] == "scanned").await;
        let digits = pushed["match"]["code"].as_str().unwrap().to_owned();
        Self {
            stage,
            path,
            claim,
            token,
            digits,
        }
    }

    async fn call(&self, who: &Person, verb: &str, body: Value) -> Answer {
        who.request("POST", &format!("{}/{verb}", self.path))
            .json(&body)
            .send()
            .await
    }

    async fn confirm(&self, who: &Person, code: Option<&str>) -> Answer {
        let mut body = json!({"scan_token": self.token});
        if let Some(code) = code {
            body["code"] = json!(code);
        }
        self.call(who, "confirm", body).await
    }

    /// The right phone may still say yes, and the PC hears it: the refusal changed nothing.
    async fn still_goes_well(mut self) {
        let answer = self.confirm(&self.stage.alice, Some(&self.digits)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let pushed = self.stage.nobody.push("qr").await;
        assert_eq!(
            (&pushed["state"], &pushed["seq"]),
            (&json!("confirmed"), &json!(3)),
            "refusals raise no event"
        );
        self.stage.everybody_is_as_before().await;
        self.stage.strike().await;
    }
}

async fn already_scanned() {
    let scanned = Scanned::set(|_| {}).await;
    let bob = scanned.stage.server.user("bob").await;
    assert_problem(
        &scanned.call(&bob, "scan", json!({})).await,
        409,
        ErrorCode::AlreadyScanned,
    );
    scanned.still_goes_well().await;
}

async fn already_confirmed() {
    let mut scanned = Scanned::set(|_| {}).await;
    assert_eq!(
        scanned
            .confirm(&scanned.stage.alice, Some(&scanned.digits))
            .await
            .status,
        200
    );
    let answer = scanned.confirm(&scanned.stage.alice, Some(&scanned.digits)).await;
    assert_problem(&answer, 409, ErrorCode::AlreadyConfirmed);
    let pushed = scanned
        .stage
        .nobody
        .push_where("qr", |p| p["state"] == "confirmed")
        .await;
    let mut redeem = scanned.claim.clone();
    redeem["ticket"] = pushed["ticket"].clone();
    assert_eq!(
        scanned.stage.nobody.ok("qr.redeem", redeem).await["user"]["id"],
        "alice"
    );
    scanned.stage.everybody_is_as_before().await;
    scanned.stage.strike().await;
}

async fn step_up_required() {
    let mut scanned = Scanned::set(|c| c.qr.step_up = StepUp::Always).await;
    let answer = scanned.confirm(&scanned.stage.alice, Some(&scanned.digits)).await;
    assert_problem(&answer, 403, ErrorCode::StepUpRequired);
    assert_eq!(answer.json()["methods"], json!(["password"]));
    scanned.stage.everybody_is_as_before().await;
    scanned.stage.strike().await;
}

async fn already_final() {
    let mut scanned = Scanned::set(|_| {}).await;
    scanned.stage.nobody.ok("qr.cancel", scanned.claim.clone()).await;
    let answer = scanned.confirm(&scanned.stage.alice, Some(&scanned.digits)).await;
    assert_problem(&answer, 409, ErrorCode::AlreadyFinal);
    assert_eq!(answer.json()["state"], "cancelled");
    let refused = scanned
        .stage
        .nobody
        .refused("qr.cancel", scanned.claim.clone())
        .await;
    assert_error(&refused, &refused["id"], ErrorCode::AlreadyFinal, false);
    assert_eq!(
        (&refused["state"], &refused["reason"]),
        (&json!("cancelled"), &answer.json()["reason"])
    );
    scanned.stage.everybody_is_as_before().await;
    scanned.stage.strike().await;

    let mut scanned = Scanned::set(|c| c.qr.scanned_ms = 300).await;
    let pushed = scanned
        .stage
        .nobody
        .push_where("qr", |p| p["state"] == "expired")
        .await;
    assert_eq!(pushed["reason"], "unconfirmed");
    let answer = scanned.confirm(&scanned.stage.alice, Some(&scanned.digits)).await;
    assert_problem(&answer, 410, ErrorCode::AlreadyFinal);
    assert_eq!(
        (&answer.json()["state"], &answer.json()["reason"]),
        (&json!("expired"), &json!("unconfirmed"))
    );
    scanned.stage.everybody_is_as_before().await;
    scanned.stage.strike().await;
}

async fn scan_token_invalid() {
    let scanned = Scanned::set(|_| {}).await;
    let bob = scanned.stage.server.user("bob").await;
    for verb in ["confirm", "deny"] {
        let body = json!({"scan_token": scanned.token, "code": scanned.digits});
        assert_problem(
            &scanned.call(&bob, verb, body).await,
            403,
            ErrorCode::ScanTokenInvalid,
        );
        let body = json!({"scan_token": "guess", "code": scanned.digits});
        assert_problem(
            &scanned.call(&scanned.stage.alice, verb, body).await,
            403,
            ErrorCode::ScanTokenInvalid,
        );
    }
    scanned.still_goes_well().await;
}

async fn match_required() {
    let scanned = Scanned::set(|_| {}).await;
    for _ in 0..5 {
        let answer = scanned.confirm(&scanned.stage.alice, None).await;
        assert_problem(&answer, 422, ErrorCode::MatchRequired);
    }
    scanned.still_goes_well().await;
}

async fn match_failed() {
    let scanned = Scanned::set(|_| {}).await;
    let wrong = if scanned.digits == "00" { "01" } else { "00" };
    for _ in 0..2 {
        let answer = scanned.confirm(&scanned.stage.alice, Some(wrong)).await;
        assert_problem(&answer, 422, ErrorCode::MatchFailed);
    }
    scanned.still_goes_well().await;
}
