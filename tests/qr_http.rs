//! The PC's side of a QR login over HTTP: the same story whichever way it is followed, and what holds for streams
//! and polls alone.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;
#[path = "qr_http/each_way.rs"]
mod each_way;
#[path = "qr_http/ends.rs"]
mod ends;
#[path = "qr_http/screen.rs"]
mod screen;
#[path = "qr_http/stories.rs"]
mod stories;

use std::time::Duration;

use common::events::{Event, Events};
use common::qr::{confirm, scan, scan_token, text};
use common::{Answer, TestServer, request, until, within};
use countersign::config::Config;
use countersign::config::limits::RateLimit;
use screen::{DEVICE, Over, Screen, open_over_http};
use serde_json::{Value, json};

fn seqs(events: &[Event]) -> Vec<u32> {
    events.iter().map(|e| e.id).collect()
}

/// All events there are after one; the attempt has ended.
async fn replay(pc: &Screen, after: Option<u32>) -> Vec<Event> {
    Events::open(pc.events(after)).await.rest().await
}

/// Who lost its stream goes on where it was, in every state, and hears each event once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_stream_is_resumed_with_what_was_missed() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, Over::Events).await;
    drop(pc.take_events());
    let token = scan_token(&phone, &pc.qr_id).await;
    pc.stream(Some(1)).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    drop(pc.take_events());
    assert_eq!(
        confirm(&phone, &pc.qr_id, &token, Some(&digits)).await.status,
        200
    );
    pc.stream(Some(2)).await;
    let confirmed = pc.becomes("confirmed").await;
    drop(pc.take_events());
    // Cut before it was read to the end: the same again.
    pc.stream(Some(2)).await;
    let mut again = pc.take_events();
    assert_eq!(again.next().await.unwrap().data["ticket"], confirmed["ticket"]);
    drop(again);
    let redeemed = pc.say("redeem", json!({"ticket": confirmed["ticket"]})).await;
    assert!(redeemed.is_ok(), "{redeemed:?}");

    assert_eq!(seqs(&replay(&pc, Some(3)).await), [4]);
    assert_eq!(seqs(&replay(&pc, Some(1)).await), [2, 3, 4]);
    assert_eq!(seqs(&replay(&pc, Some(0)).await), [1, 2, 3, 4]);
    assert_eq!(seqs(&replay(&pc, None).await), [4], "the newest");
    let by_query = Events::open(pc.request("GET", "/events?after_seq=2"))
        .await
        .rest()
        .await;
    assert_eq!(seqs(&by_query), [3, 4]);
    // The header is newer than an address that is asked again.
    let both = pc
        .request("GET", "/events?after_seq=1")
        .header("last-event-id", "3");
    assert_eq!(seqs(&Events::open(both).await.rest().await), [4]);
    for seen in [4, 5] {
        let over = pc.events(Some(seen)).send().await;
        assert_eq!((over.status, over.body.len()), (204, 0));
    }
    for wrong in ["/events?after_seq=x", "/events?after_seq=-1"] {
        assert_eq!(pc.request("GET", wrong).send().await.status, 400, "{wrong}");
    }
    let garbled = pc.request("GET", "/events").header("last-event-id", "e:1");
    assert_eq!(garbled.send().await.status, 400);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_says_how_it_is_to_be_treated_and_that_it_lives() {
    let server = TestServer::start(|c| {
        // It outlives what other requests and resting connections are given.
        c.limits.request_ms = 2_000;
        c.limits.keep_alive_ms = 2_000;
        c.limits.head_ms = 2_000;
        c.limits.event_comment_ms = 500;
    })
    .await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, Over::Events).await;
    let mut events = pc.take_events();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("connection", "close"),
    ] {
        assert_eq!(events.head.header(name), Some(value));
    }
    for _ in 0..6 {
        events.comment().await;
    }
    scan_token(&phone, &pc.qr_id).await;
    assert_eq!(events.next().await.unwrap().data["state"], "scanned");
    let comments = events.comments;
    events.comment().await;
    assert_eq!(events.comments, comments + 1);
    drop(events);
    server.stop().await;
}

/// One watches. Whoever takes over hears what comes; a stream that lost the watch ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_watch_goes_from_one_way_to_another() {
    let server = TestServer::start(stories::eager).await;
    let phone = server.user("alice").await;
    // Opened over HTTP, watched by a socket.
    let mut pc = Screen::open(&server, Over::Polling).await;
    pc.socket(&server, 1).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    let mut socket = pc.take_socket();
    // Then by a stream, and by another, whose end the first does not become.
    pc.stream(Some(2)).await;
    let mut first = pc.take_events();
    pc.stream(Some(2)).await;
    assert_eq!((first.next().await, first.finished), (None, true));
    assert_eq!(
        confirm(&phone, &pc.qr_id, &token, Some(&digits)).await.status,
        200
    );
    let ticket = pc.becomes("confirmed").await["ticket"].clone();
    let mut second = pc.take_events();
    // And by a socket again, which redeems.
    pc.socket(&server, 3).await;
    assert_eq!((second.next().await, second.finished), (None, true));
    until("one watches", || server.node.hub.watch_count() == 1).await;
    let redeemed = pc.say("redeem", json!({"ticket": ticket})).await.unwrap();
    assert_eq!(redeemed["user"]["id"], "alice");
    pc.becomes("redeemed").await;
    // The one that was taken over from lives on and heard nothing.
    socket.ok("ping", json!({})).await;
    assert!(socket.pushes.is_empty(), "{:?}", socket.pushes);

    // Opened by a socket that is gone; redeemed over HTTP.
    let mut pc = Screen::open(&server, Over::WebSocket).await;
    drop(pc.take_socket());
    let token = scan_token(&phone, &pc.qr_id).await;
    pc.stream(Some(1)).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
    let ticket = pc.becomes("confirmed").await["ticket"].clone();
    assert!(pc.say("redeem", json!({"ticket": ticket})).await.is_ok());
    pc.becomes("redeemed").await;
    pc.has_ended().await;
    server.stop().await;
}

/// An address has one waiting attempt, and may try to open another as often as it likes.
fn one_at_a_time(config: &mut Config) {
    config.limits.qr_waiting_per_address_max = 1;
    config.limits.qr_open_rate = RateLimit {
        count: 100_000,
        period_ms: 1_000,
        burst: 100_000,
    };
}

/// Between two questions: an address may not connect as often as it likes.
async fn breath() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The next attempt, as soon as the former one waits no longer.
async fn opened_again(server: &TestServer) -> Screen {
    within("the former attempt ends", async {
        loop {
            let answer = open_over_http(server).await;
            if answer.status != 429 {
                return Screen::opened_over_http(server, &answer);
            }
            assert!(answer.header("retry-after").is_some());
            breath().await;
        }
    })
    .await
}

/// A reader that goes is gone at once, though nothing is written to it; then the attempt is nobody's, and ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_leaves_is_noticed() {
    let server = TestServer::start(|c| {
        one_at_a_time(c);
        c.qr.idle_ms = 300;
    })
    .await;
    let hub = &server.node.hub;
    // On a slow machine it is idle before it is watched: then another.
    let events = loop {
        let pc = opened_again(&server).await;
        if let Ok(events) = Events::ask(pc.events(Some(1))).await
            && hub.watch_count() == 1
        {
            break events;
        }
    };
    assert_eq!((hub.watch_count(), hub.connection_count()), (1, 1));
    // A stream holds a place as a socket does, and the attempt lives as long as it is read.
    assert!(server.node.sockets() >= 1);
    assert_eq!(open_over_http(&server).await.status, 429);
    drop(events);
    until("nobody watches", || hub.watch_count() == 0).await;
    until("nobody is connected", || {
        hub.connection_count() == 0 && server.node.sockets() == 0
    })
    .await;
    opened_again(&server).await;
    server.stop().await;
}

/// Whoever asks is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_polls_is_not_idle() {
    let idle_ms = 800;
    let server = TestServer::start(|c| {
        stories::eager(c);
        one_at_a_time(c);
        c.qr.idle_ms = idle_ms;
    })
    .await;
    let now = || server.node.clock.now();
    let asked_for_long = async {
        // A machine that stops for as long shows nothing: then once more.
        'again: loop {
            let pc = opened_again(&server).await;
            let opened_at = now();
            while now() - opened_at < 2 * idle_ms {
                let asked_at = now();
                let state = pc.poll().await.json()["state"].clone();
                let another = open_over_http(&server).await.status;
                if now() - asked_at > idle_ms / 2 {
                    continue 'again;
                }
                assert_eq!((state, another), (json!("waiting"), 429));
                breath().await;
            }
            return;
        }
    };
    within("a machine that is quick enough", asked_for_long).await;
    // And who no longer asks is idle.
    opened_again(&server).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_polls_too_often_waits() {
    let server = TestServer::start(|_| {}).await;
    let pc = Screen::open(&server, Over::Polling).await;
    let other = Screen::open(&server, Over::Polling).await;
    // What cannot prove the claim uses nothing up.
    for _ in 0..20 {
        assert_eq!(
            stolen(&pc, "GET", "")
                .header("authorization", "Claim x")
                .send()
                .await
                .status,
            404
        );
    }
    let mut answers = Vec::new();
    let refused = loop {
        let answer = pc.poll().await;
        if answer.status != 200 {
            break answer;
        }
        answers.push(answer);
        assert!(answers.len() < 1_000, "as often as it likes");
    };
    assert!(!answers.is_empty());
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    let problem = refused.json();
    assert_eq!(problem["code"], "rate_limited");
    let after_ms = problem["after_ms"].as_u64().unwrap();
    assert!((1..=1_000).contains(&after_ms), "{after_ms}");
    assert_eq!(other.poll().await.status, 200, "each attempt has its own");
    tokio::time::sleep(Duration::from_millis(after_ms)).await;
    assert_eq!(pc.poll().await.status, 200);
    server.stop().await;
}

/// The same address without what proves anything.
fn stolen(pc: &Screen, method: &'static str, after: &str) -> common::http::Request {
    request(pc.addr, method, &format!("/v1/qr/{}{after}", pc.qr_id)).header("countersign-device", DEVICE)
}

/// An unknown id, a wrong claim, another device, none of the two: one answer, to the byte. The ticket is never in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_claim_there_is_nothing() {
    let server = TestServer::start(stories::eager).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, Over::Events).await;
    let token = scan_token(&phone, &pc.qr_id).await;
    let digits = text(&pc.becomes("scanned").await["match"]["code"]);
    confirm(&phone, &pc.qr_id, &token, Some(&digits)).await;
    let ticket = text(&pc.becomes("confirmed").await["ticket"]);
    let body = json!({"ticket": ticket, "code": "00"});
    let claim = format!("Claim {}", pc.claim);
    let mut seen: Option<Vec<u8>> = None;
    for (method, path) in [
        ("GET", ""),
        ("GET", "/events"),
        ("POST", "/answer"),
        ("POST", "/redeem"),
        ("DELETE", ""),
    ] {
        let to = |qr_id: &str, query: &str| {
            let request = request(server.addr, method, &format!("/v1/qr/{qr_id}{path}{query}"));
            if method == "POST" {
                request.json(&body)
            } else {
                request
            }
        };
        let unknown = "AAAAAAAAAAAAAAAAAAAAAA";
        let in_query = format!("?claim={}&access_token={}", pc.claim, pc.claim);
        let device = "countersign-device";
        let strangers = [
            to(unknown, "")
                .header("authorization", &claim)
                .header(device, DEVICE),
            to("nonsense", "")
                .header("authorization", &claim)
                .header(device, DEVICE),
            to(&pc.qr_id, "")
                .header("authorization", "Claim x")
                .header(device, DEVICE),
            to(&pc.qr_id, "")
                .header("authorization", &claim)
                .header(device, "pc-2"),
            to(&pc.qr_id, "").header("authorization", &claim),
            to(&pc.qr_id, "").header(device, DEVICE),
            to(&pc.qr_id, &in_query).header(device, DEVICE),
            to(&pc.qr_id, "")
                .header("authorization", &format!("Bearer {}", pc.claim))
                .header(device, DEVICE),
            to(&pc.qr_id, "")
                .header("authorization", &format!("Bearer {}", phone.tokens.access_token))
                .header(device, &phone.device),
        ];
        for (at, stranger) in strangers.into_iter().enumerate() {
            let answer: Answer = stranger.send().await;
            assert_eq!(answer.status, 404, "{method} {path} {at}: {}", answer.text());
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            let first = seen.get_or_insert_with(|| answer.body.clone());
            assert_eq!(*first, answer.body, "{method} {path} {at}");
        }
    }
    // Nothing of that took the watch away, or ended anything.
    let redeemed = pc.say("redeem", json!({"ticket": ticket})).await;
    assert!(redeemed.is_ok(), "{redeemed:?}");
    pc.becomes("redeemed").await;
    pc.has_ended().await;
    server.stop().await;
}

/// A question for the head alone does not take the watch and drop it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_is_no_watcher() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let mut pc = Screen::open(&server, Over::Events).await;
    let head = pc.request("HEAD", "/events").send().await;
    assert_eq!((head.status, head.header("allow")), (405, Some("GET")));
    scan_token(&phone, &pc.qr_id).await;
    pc.becomes("scanned").await;
    server.stop().await;
}

/// The phone is shown who asks, as with a socket; the picture of the code is anybody's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_pc_says_of_itself_is_shown() {
    let server = TestServer::start(|_| {}).await;
    let phone = server.user("alice").await;
    let pc = Screen::open(&server, Over::Polling).await;
    let picture = request(server.addr, "GET", &format!("/v1/qr/{}.svg", pc.qr_id))
        .send()
        .await;
    assert_eq!(
        (picture.status, picture.header("content-type")),
        (200, Some("image/svg+xml"))
    );
    let shown = scan(&phone, &pc.qr_id).await.json()["request"].clone();
    assert_eq!(
        (&shown["device"], &shown["ip"], &shown["user_agent"]),
        (
            &json!({"name": "Office PC", "kind": "pc"}),
            &json!("127.0.0.1"),
            &json!("Office browser 1.0")
        )
    );
    let open = |body: Value| request(server.addr, "POST", "/v1/qr").json(&body);
    for (body, status, code) in [
        (json!({}), 400, "bad_request"),
        (json!({"device": {"id": ""}}), 400, "bad_request"),
        (
            json!({"device": {"id": "pc-1"}, "public_key": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}}),
            400,
            "bad_request",
        ),
        (
            json!({"device": {"id": "pc-1"}, "dpop_jkt": "x"}),
            400,
            "bad_request",
        ),
        (
            json!({"device": {"id": "pc-1"}, "client_id": "app"}),
            403,
            "not_allowed",
        ),
    ] {
        let refused = open(body.clone()).send().await;
        assert_eq!(
            (refused.status, text(&refused.json()["code"]).as_str()),
            (status, code),
            "{body}"
        );
    }
    let two = open(json!({"device": {"id": "pc-1"}})).header("countersign-device", "pc-2");
    assert_eq!(two.send().await.json()["code"], "device_mismatch");
    server.stop().await;
}

/// A node that leaves ends its streams, so that their readers go elsewhere, and waits for none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_streams() {
    let mut server = TestServer::start(|c| c.drain.grace_ms = 3_000).await;
    let mut pc = Screen::open(&server, Over::Events).await;
    server.begin_stop();
    until("it drains", || server.node.is_draining()).await;
    for refused in [pc.events(None).send().await, open_over_http(&server).await] {
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    }
    let mut events = pc.take_events();
    assert_eq!((events.next().await, events.finished), (None, true));
    server.stop().await;
}

/// The rate is that of sockets, and counts for both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_open_as_many_as_they_may() {
    let server = TestServer::start(|c| {
        c.limits.qr_open_rate = RateLimit {
            count: 1,
            period_ms: 3_600_000,
            burst: 2,
        };
    })
    .await;
    for _ in 0..2 {
        assert_eq!(open_over_http(&server).await.status, 201);
    }
    let refused = open_over_http(&server).await;
    assert_eq!(
        (refused.status, &refused.json()["code"]),
        (429, &json!("rate_limited"))
    );
    server.stop().await;
}
