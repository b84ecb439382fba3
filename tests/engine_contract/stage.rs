//! Where the contract is played: an engine, a sink that writes everything down, and what both engines may do
//! differently.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::core::attempt::Policy;
use countersign::core::rate::Rate;
use countersign::core::stream::{Draft, Publication, StreamLimits};
use countersign::engine::memory::MemoryLimits;
use countersign::engine::{Due, Engine, Event, Memory, Present, RoomView, Sink, Topic};
use countersign_protocol::client::Priority;
use countersign_protocol::server::{Counts, From as Author, Profile, Role};
use countersign_protocol::{RoomName, UserId};
use serde_json::value::RawValue;

use crate::ill_mannered::{IllMannered, Manners};

/// A condition that does not come true within this has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// Where the tests' time begins, Unix milliseconds.
pub const T0: u64 = 1_000_000;

/// Builds an engine with its recording sink.
pub type Make = fn(MemoryLimits) -> Stage;

/// An engine and what it told.
#[derive(Clone)]
pub struct Stage {
    pub engine: Engine,
    pub told: Arc<Told>,
    /// Nothing is lost, repeated or late: every event is there when its verb answers.
    pub exact: bool,
}

/// The memory engine.
pub fn memory(limits: MemoryLimits) -> Stage {
    let memory = Memory::new(limits);
    let told = Arc::new(Told::default());
    memory.attach(Arc::clone(&told) as Arc<dyn Sink>);
    Stage {
        engine: Engine::Memory(memory),
        told,
        exact: true,
    }
}

/// The memory engine behind a bad line.
pub fn ill_mannered(limits: MemoryLimits) -> Stage {
    let engine = IllMannered::new(
        Memory::new(limits),
        Manners {
            dropped_percent: 10,
            ..Manners::from_environment()
        },
    );
    let told = Arc::new(Told::default());
    engine.attach(Arc::clone(&told) as Arc<dyn Sink>);
    Stage {
        engine: Engine::Remote(engine),
        told,
        exact: false,
    }
}

/// Generous limits, for tests to tighten one of them.
pub fn limits() -> MemoryLimits {
    MemoryLimits {
        rooms_max: 1_000,
        room_idle_ms: 60_000,
        counts_interval_ms: 200,
        stream: StreamLimits::default(),
        history_bytes_max: 64 * 1024 * 1024,
        room_rate: Rate::UNLIMITED,
        room_reserved_percent: 50,
        attempts_max: 1_000,
        attempts_waiting_per_address_max: 200,
        attempt: Policy::default(),
        accounts_max: 1_000,
        sessions_per_user_max: 20,
        once_keys_max: 1_000,
    }
}

/// A sink that writes everything down, per topic, and what breaks the promises of delivery.
#[derive(Default)]
pub struct Told {
    topics: Mutex<HashMap<Topic, Arc<Log>>>,
    broken: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Log {
    /// Held while an event is being delivered.
    inside: Mutex<()>,
    events: Mutex<Vec<Event>>,
}

impl Sink for Told {
    fn deliver(&self, event: Event) {
        let log = Arc::clone(self.topics.lock().unwrap().entry(event.topic()).or_default());
        let alone = log.inside.try_lock();
        if alone.is_err() {
            self.broken
                .lock()
                .unwrap()
                .push(format!("two events at once for {:?}", event.topic()));
        }
        // Time for a second one to come in, if there is one.
        std::thread::yield_now();
        log.events.lock().unwrap().push(event);
    }
}

impl Told {
    /// Everything about a topic so far, in its order.
    pub fn about(&self, topic: &Topic) -> Vec<Event> {
        let log = self.topics.lock().unwrap().get(topic).cloned();
        log.map(|l| l.events.lock().unwrap().clone()).unwrap_or_default()
    }

    /// Everything about a room so far.
    pub fn room(&self, room: &RoomName) -> Vec<Event> {
        self.about(&Topic::Room(room.clone()))
    }
}

impl Stage {
    /// Follows a room from here on.
    pub async fn follow_room(&self, room: &RoomName) {
        self.engine.follow(Topic::Room(room.clone())).await.unwrap();
    }

    /// Whether something about a topic may have been missed. Never so on an exact engine.
    pub fn is_suspect(&self, topic: &Topic) -> bool {
        self.told
            .about(topic)
            .iter()
            .any(|e| matches!(e, Event::Suspect(_)))
    }

    /// The messages of a room that were delivered, waiting until each of `1..=top` was, or was told as missed.
    /// They are in order, and repeated only where that is allowed.
    pub async fn published(&self, room: &RoomName, top: u64) -> Vec<Arc<Publication>> {
        until("all messages are delivered or suspected", || {
            self.accounted_for(room, top)
        })
        .await;
        let mut messages: Vec<Arc<Publication>> = Vec::new();
        for event in self.told.room(room) {
            let Event::Published { publication, .. } = event else {
                continue;
            };
            match messages.last() {
                Some(last) if last.offset == publication.offset && !self.exact => {}
                Some(last) => {
                    assert!(
                        last.offset < publication.offset,
                        "{} after {}",
                        publication.offset,
                        last.offset
                    );
                    messages.push(publication);
                }
                None => messages.push(publication),
            }
        }
        if self.exact {
            assert_eq!(
                messages.iter().map(|m| m.offset).collect::<Vec<_>>(),
                (1..=top).collect::<Vec<_>>()
            );
        }
        messages
    }

    fn accounted_for(&self, room: &RoomName, top: u64) -> bool {
        let (mut at, mut suspected_at) = (HashMap::new(), None);
        for (index, event) in self.told.room(room).iter().enumerate() {
            match event {
                Event::Published { publication, .. } => {
                    at.entry(publication.offset).or_insert(index);
                }
                Event::Suspect(_) => suspected_at = Some(index),
                _ => {}
            }
        }
        let Some(newest_missing) = (1..=top).rev().find(|offset| !at.contains_key(offset)) else {
            return true;
        };
        let before = at
            .iter()
            .filter(|(offset, _)| **offset < newest_missing)
            .map(|(_, index)| *index)
            .max();
        suspected_at > before
    }

    /// Waits until the newest counts told of a room (or read again after a suspicion) are as `holds` says.
    pub async fn counts(
        &self,
        room: &RoomName,
        now: u64,
        what: &str,
        holds: impl Fn(&Counts) -> bool,
    ) -> Counts {
        let newest = || {
            let counts = self.told.room(room).into_iter().filter_map(|event| match event {
                Event::Counts { counts, .. } => Some(counts),
                _ => None,
            });
            counts.max_by_key(|counts| counts.version)
        };
        within(what, async {
            loop {
                if let Some(counts) = newest().filter(&holds) {
                    return counts;
                }
                if self.is_suspect(&Topic::Room(room.clone()))
                    && let Some(RoomView { counts, .. }) = self.engine.view(room.clone(), now).await.unwrap()
                    && holds(&counts)
                {
                    return counts;
                }
                assert!(!self.exact, "{what}: {:?}", newest());
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
    }

    /// Settles every room that is due at `now`, as a node's ticker does.
    pub async fn settle_due(&self, now: u64) {
        for due in self.engine.due(now, 1_000).await.unwrap() {
            if let Due::Room(room) = due {
                self.engine.settle(room, now).await.unwrap();
            }
        }
    }

    /// What holds at the end of every test.
    pub fn assert_orderly(&self) {
        assert_eq!(*self.told.broken.lock().unwrap(), Vec::<String>::new());
    }
}

/// Waits for a future, with patience.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    within(what, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Runs `n` tasks that begin together, and answers what each came to.
pub async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    n: usize,
    task: impl Fn(usize) -> F,
) -> Vec<T> {
    let barrier = Arc::new(tokio::sync::Barrier::new(n));
    let tasks: Vec<_> = (0..n)
        .map(|i| {
            let (barrier, task) = (Arc::clone(&barrier), task(i));
            tokio::spawn(async move {
                barrier.wait().await;
                task.await
            })
        })
        .collect();
    let mut answers = Vec::with_capacity(n);
    for task in tasks {
        answers.push(within("a task that was started", task).await.unwrap());
    }
    answers
}

pub fn room(name: &str) -> RoomName {
    RoomName::parse(name).unwrap()
}

pub fn user(id: &str) -> UserId {
    UserId::parse(id).unwrap()
}

pub fn profile(id: &str) -> Profile {
    Profile {
        id: user(id),
        name: Some(format!("{id} of test")),
        avatar: None,
    }
}

pub fn body(text: &str) -> Box<RawValue> {
    RawValue::from_string(serde_json::to_string(text).unwrap()).unwrap()
}

/// A message of `author`.
pub fn draft(author: &str, text: &str) -> Draft {
    let from = Author {
        id: user(author),
        name: None,
        avatar: None,
        role: Role::Member,
    };
    Draft {
        from: Some(Arc::new(from)),
        source: None,
        cid: None,
        priority: Priority::Normal,
        body: body(text),
    }
}

/// A message that counts once.
pub fn draft_once(author: &str, cid: &str, text: &str) -> Draft {
    Draft {
        cid: Some(cid.into()),
        ..draft(author, text)
    }
}

/// A connection, anonymous or a user's.
pub fn present(connection: u64, member: Option<&str>) -> Present {
    Present {
        connection,
        member: member.map(|id| (Arc::new(profile(id)), Role::Member)),
    }
}
