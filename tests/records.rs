//! The record of a gateway's connections is judged without a test asking for it: what is made to go wrong between
//! gateway and client, and in the engine, is told when the gateway is stopped, and what is well is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use std::net::SocketAddr;

use common::talk::{join, offset, say, unhurried};
use common::{Client, Manners, TestServer, until};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, connect_async};

/// What is handed on for a frame of the gateway.
trait HandOn: FnMut(Value) -> Vec<Value> + Send + 'static {}
impl<F: FnMut(Value) -> Vec<Value> + Send + 'static> HandOn for F {}

/// A line to a gateway for one client, which does with the gateway's frames what it likes.
async fn line(gateway: SocketAddr, mut hand_on: impl HandOn) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let (mut to_client, mut from_client) = accept_async(client).await.unwrap().split();
        let (gateway, _) = connect_async(format!("ws://{gateway}/v1/ws")).await.unwrap();
        let (mut to_gateway, mut from_gateway) = gateway.split();
        let there = async {
            while let Some(Ok(frame)) = from_client.next().await {
                if to_gateway.send(frame).await.is_err() {
                    return;
                }
            }
        };
        let back = async {
            while let Some(Ok(frame)) = from_gateway.next().await {
                let Message::Text(text) = frame else { continue };
                for frame in hand_on(serde_json::from_str(&text).unwrap()) {
                    if to_client.send(Message::text(frame.to_string())).await.is_err() {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = there => {}
            () = back => {}
        }
    });
    addr
}

/// The number of a frame that is a message.
fn number(frame: &Value) -> Option<u64> {
    (frame["type"] == "message").then(|| offset(frame))
}

/// Four messages, and somebody who is told of them over a line.
async fn heard_over_a_line(server: &TestServer, hand_on: impl HandOn) {
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    let addr = line(server.addr, hand_on).await;
    server.history.also_at(addr);
    let mut viewer = Client::connect(addr).await;
    join(&mut viewer, "chat:a").await;
    for n in 1..=4 {
        assert_eq!(say(&mut alice, "chat:a", &json!({"n": n})).await, n);
    }
    viewer.push_where("message", |m| offset(m) == 4).await;
}

/// What is said of a record that does not hold, by whatever ends the gateway.
async fn accused(ending: impl Future<Output = ()> + Send + 'static) -> String {
    let ended = tokio::spawn(ending).await;
    let panic = ended.expect_err("the record was found to hold").into_panic();
    panic.downcast_ref::<String>().unwrap().clone()
}

/// Exactly these rules are named as broken.
fn names(said: &str, rules: &[&str]) {
    let failed: Vec<&str> = said
        .lines()
        .filter_map(|l| l.strip_prefix("FAIL ")?.split(' ').next())
        .collect();
    assert_eq!(failed, rules, "{said}");
}

async fn lied_to(hand_on: impl HandOn) -> String {
    let server = TestServer::start(unhurried).await;
    heard_over_a_line(&server, hand_on).await;
    accused(server.stop()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_on_the_way_is_told() {
    let lose = |frame: Value| {
        if number(&frame) == Some(2) {
            vec![]
        } else {
            vec![frame]
        }
    };
    names(&lied_to(lose).await, &["R5", "R6"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_twice_is_told() {
    let repeat = |frame: Value| vec![frame.clone(); if number(&frame) == Some(2) { 2 } else { 1 }];
    names(&lied_to(repeat).await, &["R4"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_places_is_told() {
    let mut held = None;
    let swap = move |frame: Value| match number(&frame) {
        Some(2) => {
            held = Some(frame);
            vec![]
        }
        Some(3) => [Some(frame), held.take()].into_iter().flatten().collect(),
        _ => vec![frame],
    };
    names(&lied_to(swap).await, &["R3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forged_is_told() {
    // What Alice's own connection was told by then may contradict it too.
    let forge = |mut frame: Value| {
        if number(&frame) == Some(2) {
            frame["from"]["id"] = json!("mallory");
        }
        vec![frame]
    };
    let said = lied_to(forge).await;
    assert!(
        said.contains("FAIL R1") && said.contains("says it is from mallory"),
        "{said}"
    );
}

/// A gateway that a test merely lets go is judged too, but where it said that it is not to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_dropped_is_judged_and_one_without_a_record_is_not() {
    let repeat = |frame: Value| vec![frame.clone(); if number(&frame) == Some(2) { 2 } else { 1 }];
    let server = TestServer::start(unhurried).await;
    heard_over_a_line(&server, repeat).await;
    names(&accused(async move { drop(server) }).await, &["R4"]);

    let server = TestServer::start(unhurried)
        .await
        .unrecorded("what is wrong with it has been told above");
    heard_over_a_line(&server, repeat).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_brings_what_it_is_given_is_not_accused() {
    let server = TestServer::start(unhurried).await;
    heard_over_a_line(&server, |frame: Value| vec![frame]).await;
    server.stop().await;
}

/// An engine that takes messages and tells nobody: who was there is not as far as what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_loses_without_a_word_is_found_out() {
    let silent = Manners {
        dropped_percent: 100,
        suspects: false,
        ..Manners::from_environment()
    };
    let (server, line) = TestServer::with_manners(unhurried, silent).await;
    let mut viewer = server.anonymous().await;
    join(&mut viewer, "chat:a").await;
    let mut alice = server.signed_in("alice").await;
    join(&mut alice, "chat:a").await;
    for n in 1..=4 {
        assert_eq!(say(&mut alice, "chat:a", &json!({"n": n})).await, n);
    }
    until("all is lost", || line.is_quiet() && line.tally().dropped >= 4).await;
    viewer.ok("ping", json!({})).await;
    server.history.quiet(false);
    let said = accused(server.stop()).await;
    names(&said, &["R6"]);
    assert!(said.contains("message 4 was acknowledged"), "{said}");
}
