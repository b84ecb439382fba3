//! A life like the real one, recorded and judged: members that come, go, stop reading, lose their sockets and resume,
//! send twice and like, in several rooms at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{Client, Person, TestServer, until};
use countersign::config::Profile;
use countersign_loadtest::history::check::Rule;
use serde_json::{Value, json};
use tokio::sync::Barrier;

const ROOMS: [&str; 3] = ["chat:a", "chat:b", "chat:c"];
const MEMBERS: u64 = 6;
const ROUNDS: u64 = 40;
/// Who does not read waits until the others have sent this many: more than socket and outbox hold.
const STALL: u64 = 120;
/// A test that is not done by then hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Numbers that are random enough, and the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }
}

/// What members share.
struct Stage {
    server: TestServer,
    barrier: Barrier,
    /// Messages acknowledged so far, all members together.
    acknowledged: AtomicU64,
    /// Members that neither stall nor have done all their steps.
    active: AtomicU64,
    /// The last offset of each room, once all has been said.
    tops: [AtomicU64; ROOMS.len()],
}

/// A member and what it knows.
struct Member {
    name: String,
    person: Person,
    stage: Arc<Stage>,
    client: Client,
    random: Random,
    /// Rooms it is to be in, and is in.
    wanted: BTreeSet<&'static str>,
    joined: BTreeSet<&'static str>,
    /// Epoch and newest offset of rooms that it is or was in.
    at: BTreeMap<&'static str, (String, u64)>,
    /// Version and viewers of the counts last told.
    viewers: BTreeMap<&'static str, (u64, u64)>,
    sent: u64,
    /// A message with a cid that was sent before.
    retry: Option<(&'static str, Value)>,
}

fn counts(told: &Value) -> (u64, u64) {
    let number = |key: &str| told[key].as_u64().unwrap();
    (number("version"), number("viewers"))
}

/// A connection that takes little while nobody reads it; its sign-in is part of the record.
async fn connect(person: &Person) -> Client {
    let mut client = Client::connect_narrow(person.addr).await;
    let token = json!({"token": person.tokens.access_token, "device": person.device});
    client.ok("auth", token).await;
    client
}

impl Member {
    async fn new(stage: &Arc<Stage>, number: u64) -> Self {
        let name = format!("m{number}");
        let person = stage.server.user(&name).await;
        Self {
            client: connect(&person).await,
            name,
            person,
            stage: Arc::clone(stage),
            random: Random((number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
            wanted: BTreeSet::new(),
            joined: BTreeSet::new(),
            at: BTreeMap::new(),
            viewers: BTreeMap::new(),
            sent: 0,
            retry: None,
        }
    }

    async fn step(&mut self) {
        self.restore().await;
        let room = ROOMS[usize::try_from(self.random.below(3)).unwrap()];
        let here = self.joined.contains(room);
        match self.random.below(100) {
            0..8 if here => self.leave(room).await,
            8..50 if here => self.send(room).await,
            50..60 if here => {
                let n = 1 + self.random.below(5);
                self.call("like", json!({"room": room, "n": n})).await;
            }
            60..70 => self.send_again().await,
            70..76 => self.lose_socket().await,
            76..82 if here => self.page(room).await,
            82..86 if here => self.stall().await,
            _ => {
                self.wanted.insert(room);
            }
        }
    }

    /// A command and its reply; everything read on the way is taken in. `None`: the connection is over.
    async fn call(&mut self, kind: &str, fields: Value) -> Option<Value> {
        let id = self.client.send(kind, fields).await;
        self.replies(vec![id]).await.pop()
    }

    /// The replies to commands, as many as come.
    async fn replies(&mut self, mut ids: Vec<u64>) -> Vec<Value> {
        let mut replies = Vec::new();
        while !ids.is_empty() {
            let Some(frame) = self.client.read().await else {
                break;
            };
            match frame["id"].as_u64() {
                Some(id) => {
                    ids.retain(|i| *i != id);
                    replies.push(frame);
                }
                None => self.take_in(&frame),
            }
        }
        replies
    }

    fn take_in(&mut self, push: &Value) {
        let Some(room) = ROOMS.into_iter().find(|room| push["room"] == *room) else {
            return;
        };
        let newest = match push["type"].as_str().unwrap() {
            "message" => &push["offset"],
            "gap" => &push["to"],
            "counts" => {
                let told = counts(push);
                // What is not newer than the reply to the join is from before it.
                if told.0 > self.viewers[room].0 {
                    self.viewers.insert(room, told);
                }
                return;
            }
            _ => return,
        };
        self.at.get_mut(room).unwrap().1 = newest.as_u64().unwrap();
    }

    /// Connects again when the gateway has ended the connection, and is in the rooms it wants to be in.
    async fn restore(&mut self) {
        while self.client.closed.is_some() || self.joined != self.wanted {
            if self.client.closed.is_some() {
                self.client = connect(&self.person).await;
                self.joined.clear();
            }
            let missing: Vec<_> = self.wanted.difference(&self.joined).copied().collect();
            for room in missing {
                self.join(room).await;
            }
        }
    }

    async fn join(&mut self, room: &'static str) {
        let mut fields = json!({"room": room});
        let before = self.at.get(room);
        if let Some((epoch, offset)) = before {
            fields["after"] = json!({"epoch": epoch, "offset": offset});
        }
        let Some(reply) = self.call("join", fields).await else {
            return;
        };
        assert_eq!(reply["type"], "ok", "{reply}");
        let epoch = reply["epoch"].as_str().unwrap().to_owned();
        self.at.insert(room, (epoch, reply["offset"].as_u64().unwrap()));
        self.viewers.insert(room, counts(&reply["counts"]));
        self.joined.insert(room);
    }

    async fn leave(&mut self, room: &'static str) {
        self.call("leave", json!({"room": room})).await;
        self.wanted.remove(room);
        self.joined.remove(room);
    }

    /// A run of messages without waiting in between.
    async fn send(&mut self, room: &'static str) {
        let mut ids = Vec::new();
        for _ in 0..=self.random.below(15) {
            let id = self.next_message();
            let (priority, pad) = match self.random.below(10) {
                0 => ("high", 0),
                1..3 => ("low", 3_000),
                n => ("normal", 1_000 * n),
            };
            let pad = "x".repeat(usize::try_from(pad).unwrap());
            let mut fields = json!({"room": room, "priority": priority, "body": {"id": id, "pad": pad}});
            if self.random.below(2) == 0 {
                fields["cid"] = json!(id);
                self.retry = Some((room, fields.clone()));
            }
            ids.push(self.client.send("send", fields).await);
        }
        let replies = self.replies(ids).await;
        let accepted = replies.iter().filter(|r| r["offset"].is_u64()).count();
        self.stage
            .acknowledged
            .fetch_add(accepted as u64, Ordering::AcqRel);
    }

    fn next_message(&mut self) -> String {
        self.sent += 1;
        format!("{}-{}", self.name, self.sent)
    }

    async fn send_again(&mut self) {
        let Some((room, fields)) = self.retry.clone() else {
            return;
        };
        if self.joined.contains(room) {
            self.call("send", fields).await;
        }
    }

    async fn page(&mut self, room: &'static str) {
        let mut fields = json!({"room": room});
        let offset = self.at[room].1;
        match self.random.below(3) {
            0 => fields["after"] = json!(offset.saturating_sub(10)),
            1 => fields["before"] = json!(offset + 1),
            _ => {}
        }
        self.call("history", fields).await;
    }

    /// The socket is gone before a message is answered; it is sent again when the rooms are back.
    async fn lose_socket(&mut self) {
        if let Some(room) = self.joined.first().copied() {
            let id = self.next_message();
            let fields = json!({"room": room, "body": {"id": id}, "cid": id});
            self.client.send("send", fields.clone()).await;
            self.retry = Some((room, fields));
        }
        let fresh = connect(&self.person).await;
        std::mem::replace(&mut self.client, fresh).cut();
        self.joined.clear();
        self.restore().await;
        self.send_again().await;
    }

    /// Reads nothing while the others say more than can wait for it, or have fallen silent.
    async fn stall(&mut self) {
        let stage = Arc::clone(&self.stage);
        let enough = stage.acknowledged.load(Ordering::Acquire) + STALL;
        stage.active.fetch_sub(1, Ordering::AcqRel);
        until("the others go on", || {
            stage.acknowledged.load(Ordering::Acquire) >= enough
                || stage.active.load(Ordering::Acquire) < MEMBERS / 2
        })
        .await;
        stage.active.fetch_add(1, Ordering::AcqRel);
        self.call("ping", json!({})).await;
    }

    /// Says the last word in each room, and likes, so that all are told counts once more.
    async fn last_words(&mut self) {
        for (room, top) in ROOMS.iter().zip(&self.stage.tops) {
            let fields = json!({"room": room, "body": "the last word", "priority": "high"});
            let reply = self.client.ok("send", fields).await;
            top.store(reply["offset"].as_u64().unwrap(), Ordering::Release);
            self.client.ok("like", json!({"room": room, "n": 1})).await;
        }
        while let Some(push) = self.client.pushes.pop_front() {
            self.take_in(&push);
        }
    }

    /// Reads until everything has been said to it and it was told how many are there.
    async fn catch_up(&mut self) {
        let tops: Vec<u64> = self
            .stage
            .tops
            .iter()
            .map(|top| top.load(Ordering::Acquire))
            .collect();
        loop {
            let mut rooms = ROOMS.iter().zip(&tops);
            if rooms.all(|(room, top)| self.at[room].1 >= *top && self.viewers[room].1 == MEMBERS) {
                return;
            }
            let frame = self.client.read().await.expect("open");
            self.take_in(&frame);
        }
    }

    async fn live(mut self, first: bool) {
        for _ in 0..ROUNDS {
            self.step().await;
        }
        self.stage.active.fetch_sub(1, Ordering::AcqRel);
        self.wanted.extend(ROOMS);
        self.restore().await;
        self.stage.barrier.wait().await;
        if first {
            self.last_words().await;
        }
        self.stage.barrier.wait().await;
        self.catch_up().await;
        self.stage.barrier.wait().await;
        if first {
            self.stage.server.history.quiet(true);
        }
        self.stage.barrier.wait().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_members_do_the_record_holds() {
    let server = TestServer::start(|c| {
        c.limits_profile = Profile::Bench;
        // Just above the largest answer, so that who does not read is soon told of a gap.
        c.limits.outbox_bytes_max = 192 * 1024;
        c.limits.send_buffer_bytes = 16 * 1024;
        c.limits.write_ms = 60_000;
    })
    .await;
    let stage = Arc::new(Stage {
        server,
        barrier: Barrier::new(usize::try_from(MEMBERS).unwrap()),
        acknowledged: AtomicU64::new(0),
        active: AtomicU64::new(MEMBERS),
        tops: Default::default(),
    });
    let mut tasks = Vec::new();
    for number in 0..MEMBERS {
        let stage = Arc::clone(&stage);
        tasks.push(tokio::spawn(async move {
            Member::new(&stage, number).await.live(number == 0).await;
        }));
    }
    for task in tasks {
        let ended = tokio::time::timeout(PATIENCE, task).await;
        ended.expect("a member waits for ever").unwrap();
    }
    let verdict = stage.server.history.holds();
    let s = &verdict.summary;
    assert!(
        s.connections > MEMBERS && s.acknowledged > 200 && s.deliveries > 1_000 && s.likes > 10,
        "{s:?}"
    );
    assert!(s.recoveries > 10 && s.stays > s.recoveries && s.gaps > 0, "{s:?}");
}

/// What would be seen if the gateway did wrong: a message that says it is from somebody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_of_something_forged_does_not_hold() {
    let server = TestServer::start(|c| c.limits_profile = Profile::Bench).await;
    let mut ann = server.signed_in("ann").await;
    let mut ben = server.signed_in("ben").await;
    ann.ok("join", json!({"room": "chat:a"})).await;
    let joined = ben.ok("join", json!({"room": "chat:a"})).await;
    let tap = server.history.connection(None);
    tap.sent(&json!({"id": 1, "type": "join", "room": "chat:a"}).to_string());
    let reply = json!({"id": 1, "type": "ok", "room": "chat:a", "epoch": joined["epoch"], "offset": 0});
    tap.received(&reply.to_string());
    ann.ok("send", json!({"room": "chat:a", "body": {"id": 1}})).await;
    let mut forged = ben.push("message").await;
    forged["from"]["id"] = json!("ben");
    tap.received(&forged.to_string());
    let verdict = server.history.decide().unwrap();
    assert_eq!(
        verdict.violated(),
        [Rule::R1, Rule::R2],
        "{}",
        verdict.text().join("\n")
    );
    server.stop().await;
}
