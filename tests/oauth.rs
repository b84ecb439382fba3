//! The OAuth 2.0 face over real sockets: an app opens a device authorization, a phone types its code or scans it, the
//! app exchanges its device code and goes on with tokens of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

#[path = "oauth/bounds.rs"]
mod bounds;
mod common;
#[path = "oauth/ends.rs"]
mod ends;
#[path = "oauth/forms.rs"]
mod forms;
#[path = "oauth/later.rs"]
mod later;
#[path = "oauth/stage.rs"]
mod stage;
#[path = "oauth/tokens.rs"]
mod tokens;

use common::events::Events;
use common::qr::{confirm, scan, text};
use common::request;
use serde_json::json;
use stage::{
    OTHER, READER, Screen, TV, TV_AUDIENCE, TV_BY_FORM, ask, by_code, claims, part, refused, server,
    with_token,
};

/// A screen without any device of ours: the code is typed, the tokens are for the client's own service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_typed_code_without_a_device() {
    let server = server().await;
    let phone = server.user("alice").await;
    for (client, id, audience) in [(READER, "reader", "reader"), (TV, "tv", TV_AUDIENCE)] {
        let screen = Screen::open(&server, client, "openid profile openid").await;
        let (code, opened) = (&screen.user_code, &screen.opened);
        assert_eq!((code.len(), code.find('-')), (9, Some(4)), "{code}");
        assert_eq!(opened["verification_uri"], server.url("/q"));
        let complete = server.url(&format!("/q/{}", screen.qr_id));
        assert_eq!(opened["verification_uri_complete"], complete);
        assert_eq!(
            (&opened["expires_in"], &opened["interval"]),
            (&json!(300), &json!(5))
        );
        refused(&screen.exchange().await, 400, "authorization_pending");

        let typed = code.to_lowercase().replace('-', " ");
        let scanned = by_code(&phone, &typed).await;
        let seen = scanned.json();
        assert_eq!(
            (scanned.status, &seen["qr_id"]),
            (200, &json!(screen.qr_id)),
            "{seen}"
        );
        assert_eq!(seen["match"], json!({"mode": "none"}));
        let name = if id == "tv" { "Living room" } else { "Reader" };
        assert_eq!(seen["request"]["client"], name);
        assert_eq!(seen["request"]["scopes"], json!(["openid", "profile"]));
        assert_eq!(
            seen["request"]["device"],
            json!({"name": "Big screen", "kind": "tv"})
        );
        assert!(!seen["request"]["full_access"].as_bool().unwrap_or_default());
        refused(&screen.exchange().await, 400, "authorization_pending");
        let confirmed = confirm(&phone, &screen.qr_id, &text(&seen["scan_token"]), None).await;
        assert_eq!(confirmed.status, 200, "{}", confirmed.text());

        // Asked at once, though it was asked twice just before: what has been decided does not wait.
        let answer = screen.exchange().await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (200, Some("no-store"))
        );
        let tokens = answer.json();
        assert_eq!(
            (&tokens["token_type"], &tokens["scope"]),
            (&json!("Bearer"), &json!("openid profile"))
        );
        let expires_in = tokens["expires_in"].as_u64().unwrap();
        assert!((1..=900).contains(&expires_in), "{expires_in}");
        let access = claims(&tokens["access_token"]);
        assert_eq!(access["aud"], audience);
        assert_eq!(
            (&access["client_id"], &access["scope"]),
            (&json!(id), &json!("openid profile"))
        );
        assert_eq!((&access["sub"], &access["dev"]), (&json!("alice"), &json!(null)));
        let id_token = claims(&tokens["id_token"]);
        assert_eq!(
            (&id_token["aud"], &id_token["sub"]),
            (&json!(id), &json!("alice"))
        );
        assert_eq!(
            (&id_token["iss"], &access["iss"]),
            (&json!(server.url("")), &json!(server.url("")))
        );
        assert_eq!(part(&tokens["id_token"], 0)["typ"], "JWT");

        // Not for this gateway's own API, whatever device is named.
        for device in [None, Some("pc-1"), Some(phone.device.as_str())] {
            for token in ["access_token", "id_token"] {
                let me = with_token(&server, "/v1/me", &tokens[token], device).await;
                assert_eq!((me.status, &me.json()["code"]), (401, &json!("invalid_token")));
            }
        }
        let info = with_token(&server, "/oauth/userinfo", &tokens["access_token"], None).await;
        assert_eq!(info.json(), json!({"sub": "alice", "name": "alice of test"}));
        assert!(screen.refresh(&tokens["refresh_token"]).await.status == 200);
    }
    // The person sees both, and ends one.
    let sessions = phone.request("GET", "/v1/sessions").send().await.json();
    let mut names: Vec<_> = sessions["sessions"].as_array().unwrap().iter().collect();
    names.retain(|session| session["client"].is_string());
    assert_eq!(names.len(), 2, "{sessions}");
    let reader = names
        .iter()
        .find(|session| session["client"] == "Reader")
        .unwrap();
    assert_eq!(reader["device"], json!({"name": "Big screen", "kind": "tv"}));
    server.stop().await;
}

/// A screen that is a device of the user's: the code is scanned and its letters are typed, the tokens are the user's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_a_scanned_code_with_a_device() {
    let server = server().await;
    let phone = server.user("alice").await;
    for client in [READER, TV, TV_BY_FORM] {
        let screen = Screen::open_on(&server, client, "", Some("screen-1")).await;
        let seen = scan(&phone, &screen.qr_id).await.json();
        assert_eq!(seen["match"], json!({"mode": "phone_types", "form": "user_code"}));
        assert_eq!(seen["request"]["full_access"], true);
        let token = text(&seen["scan_token"]);
        for (code, status) in [(None, 422), (Some("00"), 422), (Some("BBBB-BBBB"), 422)] {
            assert_eq!(confirm(&phone, &screen.qr_id, &token, code).await.status, status);
        }
        let typed = screen.user_code.to_lowercase();
        assert_eq!(
            confirm(&phone, &screen.qr_id, &token, Some(&typed)).await.status,
            200
        );
        let tokens = screen.exchange().await.json();
        let access = claims(&tokens["access_token"]);
        assert_eq!(
            (&access["aud"], &tokens["scope"]),
            (&json!("countersign"), &json!(""))
        );
        assert!(
            access["dev"].is_string() && access["client_id"].is_string(),
            "{access}"
        );
        assert_eq!(tokens.get("id_token"), None);

        let me = with_token(&server, "/v1/me", &tokens["access_token"], Some("screen-1")).await;
        assert_eq!((me.status, &me.json()["user"]["id"]), (200, &json!("alice")));
        for device in [None, Some("pc-1")] {
            let me = with_token(&server, "/v1/me", &tokens["access_token"], device).await;
            assert_eq!((me.status, &me.json()["code"]), (401, &json!("device_mismatch")));
        }
        let mut socket = server.anonymous().await;
        let auth = json!({"token": tokens["access_token"], "device": "screen-1"});
        assert_eq!(socket.ok("auth", auth).await["user"]["id"], "alice");
        // Nothing was asked that would tell who it is.
        let info = with_token(
            &server,
            "/oauth/userinfo",
            &tokens["access_token"],
            Some("screen-1"),
        )
        .await;
        assert_eq!(info.status, 403, "{}", info.text());
    }
    server.stop().await;
}

/// The device code is the claim: with it the app hears at once what others poll for, and ends what it began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_watched_and_cancelled_by_its_device_code() {
    let server = server().await;
    let phone = server.user("alice").await;
    let screen = Screen::open(&server, READER, "openid").await;
    let claimed = |method, verb: &str, device: &str| {
        request(server.addr, method, &format!("/v1/qr/{}{verb}", screen.qr_id))
            .header("authorization", &format!("Claim {}", screen.device_code))
            .header("countersign-device", device)
    };
    let mut events = Events::open(claimed("GET", "/events?after_seq=1", "any-device")).await;
    let token = text(&scan(&phone, &screen.qr_id).await.json()["scan_token"]);
    let scanned = events.next().await.unwrap().data;
    assert_eq!(scanned["match"]["code"], screen.user_code, "{scanned}");
    let right = Some(screen.user_code.as_str());
    assert_eq!(confirm(&phone, &screen.qr_id, &token, right).await.status, 200);
    let confirmed = events.next().await.unwrap().data;
    assert_eq!(
        (&confirmed["state"], confirmed.get("ticket")),
        (&json!("confirmed"), None)
    );
    // It is its client that gets the tokens.
    for ticket in ["", "a"] {
        let redeem = claimed("POST", "/redeem", "any-device").json(&json!({"ticket": ticket}));
        assert_eq!(redeem.send().await.json()["code"], "conflict");
    }
    let tokens = screen.exchange().await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    assert_eq!(events.next().await.unwrap().data["state"], "redeemed");
    // The phone is told which session it made, and may end it.
    let outcome = phone.request("GET", &format!("/v1/qr/{}/outcome", screen.qr_id));
    let session = outcome.send().await.json()["session"].clone();
    assert_eq!(session, claims(&tokens.json()["access_token"])["sid"]);
    let path = format!("/v1/sessions/{}", session.as_str().unwrap());
    assert_eq!(phone.request("DELETE", &path).send().await.status, 204);
    let info = with_token(&server, "/oauth/userinfo", &tokens.json()["access_token"], None).await;
    refused(&info, 401, "invalid_token");
    refused(
        &screen.refresh(&tokens.json()["refresh_token"]).await,
        400,
        "invalid_grant",
    );

    let bound = Screen::open_on(&server, READER, "", Some("screen-1")).await;
    let cancel = |device| {
        request(server.addr, "DELETE", &format!("/v1/qr/{}", bound.qr_id))
            .header("authorization", &format!("Claim {}", bound.device_code))
            .header("countersign-device", device)
    };
    assert_eq!(cancel("screen-2").send().await.status, 404);
    assert_eq!(cancel("screen-1").send().await.status, 204);
    refused(&bound.exchange().await, 400, "access_denied");
    drop(events);
    server.stop().await;
}

/// A QR login that a page opens for its client makes a session of that client's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_that_a_clients_page_opened_is_that_clients() {
    let page = "https://reader.example";
    let server = common::TestServer::start(|config| {
        stage::clients(config);
        config.clients.get_mut("reader").unwrap().origins = vec![page.into()];
        config.allowed_origins = vec![page.into()];
    })
    .await;
    let phone = server.user("alice").await;
    let open = json!({"device": {"id": "pc-1", "kind": "web"}, "client_id": "reader"});
    let opened = request(server.addr, "POST", "/v1/qr")
        .header("origin", page)
        .json(&open);
    let opened = opened.send().await.json();
    let mut watching = phone.connect().await;
    let path = |verb: &str| format!("/v1/qr/{}{verb}", opened["qr_id"].as_str().unwrap());
    let claimed = |method, verb: &str| {
        request(server.addr, method, &path(verb))
            .header(
                "authorization",
                &format!("Claim {}", opened["claim"].as_str().unwrap()),
            )
            .header("countersign-device", "pc-1")
    };
    let seen = phone.request("POST", &path("/scan")).send().await.json();
    assert_eq!(seen["request"]["client"], "Reader", "{seen}");
    let digits = claimed("GET", "").send().await.json()["match"]["code"].clone();
    let body = json!({"scan_token": seen["scan_token"], "code": digits});
    assert_eq!(
        phone
            .request("POST", &path("/confirm"))
            .json(&body)
            .send()
            .await
            .status,
        200
    );
    let ticket = claimed("GET", "").send().await.json()["ticket"].clone();
    let redeemed = claimed("POST", "/redeem")
        .json(&json!({"ticket": ticket}))
        .send()
        .await
        .json();
    let access = claims(&redeemed["access_token"]);
    let told = watching.push("session").await;
    assert_eq!(
        (&told["state"], &told["session"], &told["client"]),
        (&json!("new_device"), &access["sid"], &json!("Reader")),
        "{told}"
    );
    assert_eq!(
        (&access["aud"], &access["client_id"]),
        (&json!("countersign"), &json!("reader"))
    );
    let me = with_token(&server, "/v1/me", &redeemed["access_token"], Some("pc-1")).await;
    assert_eq!(me.status, 200, "{}", me.text());
    let sessions = phone.request("GET", "/v1/sessions").send().await.text();
    assert!(sessions.contains("\"client\":\"Reader\""), "{sessions}");
    // It goes on at either address: nobody authenticates for a public client.
    let refresh = request(server.addr, "POST", "/v1/refresh").header("countersign-device", "pc-1");
    let body = json!({"refresh_token": redeemed["refresh_token"]});
    let fresh = refresh.json(&body).send().await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    let fresh = stage::refresh(&server, READER, &fresh.json()["refresh_token"], Some("pc-1")).await;
    assert_eq!(fresh.status, 200, "{}", fresh.text());
    server.stop().await;
}

/// What programs find out by themselves is what there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documents_name_what_there_is() {
    let server = server().await;
    let read = |path| async move { request(server.addr, "GET", path).send().await };
    let metadata = read("/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata.status, 200);
    assert_eq!(
        metadata.json(),
        read("/.well-known/openid-configuration").await.json()
    );
    for document in ["oauth-authorization-server", "openid-configuration", "jwks.json"] {
        let answer = request(server.addr, "GET", &format!("/.well-known/{document}"))
            .header("origin", "https://anybody.example")
            .send()
            .await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("*"),
            "{document}"
        );
        assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    }
    let metadata = metadata.json();
    assert_eq!(metadata["issuer"], server.url(""));
    for (name, expected) in [
        ("device_authorization_endpoint", 400),
        ("token_endpoint", 400),
        ("revocation_endpoint", 400),
        ("introspection_endpoint", 400),
        ("userinfo_endpoint", 405),
    ] {
        let address = text(&metadata[name]);
        let path = address.strip_prefix(&server.url("")).unwrap();
        let answer = request(server.addr, "POST", path).send().await;
        refused(&answer, expected, "invalid_request");
    }
    assert_eq!(metadata["jwks_uri"], server.url("/.well-known/jwks.json"));
    let methods = json!(["client_secret_basic", "client_secret_post", "none"]);
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], methods);
    // Its signatures are those of the keys there.
    let phone = server.user("alice").await;
    let tokens = Screen::open(&server, TV, "openid").await.tokens(&phone).await;
    let jwks = read("/.well-known/jwks.json").await.json();
    for token in ["access_token", "id_token"] {
        tokens::verify(&jwks, &tokens[token]);
    }
    server.stop().await;
}

/// Each client has its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_codes_and_tokens_are_its_own() {
    let server = server().await;
    let phone = server.user("alice").await;
    let screen = Screen::open(&server, TV, "openid").await;
    screen.confirmed_by(&phone).await;
    for other in [READER, OTHER] {
        refused(&screen.exchange_as(other).await, 400, "invalid_grant");
    }
    let tokens = screen.exchange().await.json();
    for other in [READER, OTHER] {
        refused(&screen.exchange_as(other).await, 400, "invalid_grant");
        let stolen = stage::refresh(&server, other, &tokens["refresh_token"], None).await;
        refused(&stolen, 400, "invalid_grant");
        let token = tokens["refresh_token"].as_str().unwrap();
        let revoke = ask(&server, other, "revoke", &[("token", token)]).send().await;
        assert_eq!((revoke.status, revoke.text()), (200, String::new()));
    }
    // None of that has ended anything.
    assert_eq!(screen.refresh(&tokens["refresh_token"]).await.status, 200);
    server.stop().await;
}
