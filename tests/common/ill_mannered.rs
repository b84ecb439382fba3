//! An engine with the manners of one behind a network: verbs that wait, events that come late, come twice, or do
//! not come and are followed by a suspicion. What passes on it does not lean on the memory engine's politeness.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "each test file uses its part"
)]

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use countersign::core::attempt::{Attempt, AttemptKey};
use countersign::core::stream::Draft;
use countersign::engine::{
    Account, AttemptRef, Create, DecideAccount, DecideAttempt, DecideRedeem, DecideSession, Decided, Due,
    Engine, EngineError, Event, History, Memory, OnceKey, Present, Read, Redeemed, Remote, RoomView,
    Sequenced, SessionRecord, Sink, Tallies, Topic,
};
use countersign_protocol::server::MembersPage;
use countersign_protocol::{RoomName, UserId};
use futures::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// With more events of a topic on their way than this, none of them waits.
const BEHIND_MAX: usize = 4;

/// How ill the manners are.
#[derive(Debug, Clone, Copy)]
pub struct Manners {
    /// The same seed draws the same numbers; which task draws which is the scheduler's.
    pub seed: u64,
    /// Events that are not delivered, percent.
    pub dropped_percent: u64,
    /// Whether a suspicion follows what is not delivered. An engine that leaves it out breaks its contract.
    pub suspects: bool,
    /// Events that are delivered twice, percent.
    pub repeated_percent: u64,
    /// Longest wait before or after a verb and before an event. Most are far shorter.
    pub pause_ms_max: u64,
}

impl Manners {
    /// Bad enough to show what leans on order between topics, on promptness, or on events never lost.
    pub const fn ill(seed: u64) -> Self {
        Self {
            seed,
            dropped_percent: 5,
            suspects: true,
            repeated_percent: 5,
            pause_ms_max: 3,
        }
    }

    /// [`Manners::ill`] with the seed of `COUNTERSIGN_TEST_SEED`, or a random one, which is printed.
    pub fn from_environment() -> Self {
        let seed = std::env::var("COUNTERSIGN_TEST_SEED")
            .ok()
            .map(|text| text.parse().expect("a number as seed"));
        let seed = seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one("seed")
        });
        eprintln!("ill-mannered engine, COUNTERSIGN_TEST_SEED={seed}");
        Self::ill(seed)
    }
}

/// What was done to the events so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub delivered: u64,
    pub repeated: u64,
    pub dropped: u64,
    pub suspected: u64,
    /// Of topics that nobody here followed.
    pub unfollowed: u64,
}

/// The memory engine behind a bad line.
pub struct IllMannered {
    inner: Engine,
    line: Arc<Line>,
    tallies: Tallies,
}

/// The line from the state to this node.
struct Line {
    manners: Manners,
    drawn: AtomicU64,
    sink: OnceLock<Arc<dyn Sink>>,
    /// Events on their way. While a topic is in here one courier carries them, one after the other.
    topics: Mutex<HashMap<Topic, VecDeque<Event>>>,
    followed: Mutex<HashSet<Topic>>,
    tally: Mutex<Tally>,
}

impl IllMannered {
    /// Puts a bad line before `memory`, which must not have a sink yet.
    pub fn new(memory: Arc<Memory>, manners: Manners) -> Arc<Self> {
        let line = Arc::new(Line {
            manners,
            drawn: AtomicU64::new(manners.seed),
            sink: OnceLock::new(),
            topics: Mutex::default(),
            followed: Mutex::default(),
            tally: Mutex::default(),
        });
        memory.attach(Arc::new(Entrance(Arc::clone(&line))));
        Arc::new(Self {
            inner: Engine::Memory(memory),
            line,
            tallies: Tallies::default(),
        })
    }

    /// Where events end up; the first sink stays.
    pub fn attach(&self, sink: Arc<dyn Sink>) {
        let _ = self.line.sink.set(sink);
    }

    /// What was done to the events so far.
    pub fn tally(&self) -> Tally {
        *self.line.tally.lock().unwrap()
    }

    /// Topics followed now.
    pub fn followed(&self) -> HashSet<Topic> {
        self.line.followed.lock().unwrap().clone()
    }

    /// Whether no event is on its way.
    pub fn is_quiet(&self) -> bool {
        self.line.topics.lock().unwrap().is_empty()
    }
}

/// A value as another process would get it.
fn by_wire<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let bytes = serde_json::to_vec(value).unwrap();
    serde_json::from_slice(&bytes).unwrap_or_else(|e| panic!("{e} in {}", String::from_utf8_lossy(&bytes)))
}

/// The memory engine's sink: called under its locks, so it only queues.
struct Entrance(Arc<Line>);

impl Sink for Entrance {
    fn deliver(&self, event: Event) {
        let topic = event.topic();
        let mut topics = self.0.topics.lock().unwrap();
        if let Some(queue) = topics.get_mut(&topic) {
            queue.push_back(event);
            return;
        }
        topics.insert(topic.clone(), VecDeque::from([event]));
        tokio::spawn(carry(Arc::clone(&self.0), topic));
    }
}

/// Carries the events of one topic until there are none and no suspicion is owed.
async fn carry(line: Arc<Line>, topic: Topic) {
    // Events that may still pass before the suspicion.
    let mut owed: Option<u64> = None;
    let mut behind = 0;
    loop {
        if behind < BEHIND_MAX {
            line.pause().await;
        }
        let next = {
            let mut topics = line.topics.lock().unwrap();
            let queue = topics.entry(topic.clone()).or_default();
            let next = queue.pop_front();
            behind = queue.len();
            if next.is_none() && owed.is_none() {
                topics.remove(&topic);
                return;
            }
            next
        };
        owed = match (owed, &next) {
            (Some(0), _) | (Some(_), None) => {
                line.pass(Event::Suspect(topic.clone()));
                line.count(|t| t.suspected += 1);
                None
            }
            (Some(more), Some(_)) => Some(more - 1),
            (None, _) => None,
        };
        let Some(event) = next else { continue };
        if line.loses(&event) {
            line.count(|t| t.dropped += 1);
            if line.manners.suspects {
                owed = owed.or(Some(line.draw(3)));
            }
            continue;
        }
        let event = by_wire(&event);
        if line.draw(100) < line.manners.repeated_percent {
            line.pass(event.clone());
            line.count(|t| t.repeated += 1);
        }
        line.pass(event);
    }
}

impl Line {
    /// A number below `bound` (splitmix64).
    fn draw(&self, bound: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.drawn.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    async fn pause(&self) {
        match self.draw(16) {
            0..=6 => {}
            7..=13 => {
                for _ in 0..=self.draw(4) {
                    tokio::task::yield_now().await;
                }
            }
            _ => tokio::time::sleep(Duration::from_millis(self.draw(self.manners.pause_ms_max + 1))).await,
        }
    }

    /// A notice of another device is about the moment, and nobody reads it again; it is never lost here.
    fn loses(&self, event: &Event) -> bool {
        !matches!(event, Event::SignedIn { .. }) && self.draw(100) < self.manners.dropped_percent
    }

    fn pass(&self, event: Event) {
        if !self.followed.lock().unwrap().contains(&event.topic()) {
            self.count(|t| t.unfollowed += 1);
            return;
        }
        self.count(|t| t.delivered += 1);
        if let Some(sink) = self.sink.get() {
            sink.deliver(event);
        }
    }

    fn count(&self, add: impl FnOnce(&mut Tally)) {
        add(&mut self.tally.lock().unwrap());
    }
}

macro_rules! verbs_by_wire {
    ($( $verb:ident ( $($arg:ident : $ty:ty),* ) -> $out:ty; )*) => {
        $(
            fn $verb<'a>(&'a self, $($arg: $ty),*) -> BoxFuture<'a, Result<$out, EngineError>> {
                Box::pin(async move {
                    self.line.pause().await;
                    let answer = self.inner.$verb($($arg),*).await;
                    self.line.pause().await;
                    answer.map(|value| by_wire(&value))
                })
            }
        )*
    };
}

impl Remote for IllMannered {
    fn tallies(&self) -> &Tallies {
        &self.tallies
    }

    verbs_by_wire! {
        append(room: RoomName, draft: Draft, now: u64) -> Sequenced;
        read(room: RoomName, part: Read, now: u64) -> History;
        enter(room: RoomName, presence: Present, create: Create, now: u64) -> RoomView;
        leave(room: RoomName, connection: u64, now: u64) -> ();
        view(room: RoomName, now: u64) -> Option<RoomView>;
        members(room: RoomName, cursor: Option<String>, limit: usize) -> MembersPage;
        add(room: RoomName, counter: String, n: u64, now: u64) -> u64;
        settle(room: RoomName, now: u64) -> ();
        open_attempt(attempt: Attempt) -> ();
        attempts_scanned_by(session: String) -> Vec<AttemptKey>;
        create_account(account: Account) -> ();
        account(user: UserId) -> Option<Arc<Account>>;
        open_session(session: SessionRecord, now: u64) -> Vec<String>;
        session(id: String, now: u64) -> Option<Arc<SessionRecord>>;
        sessions_of(user: UserId, now: u64) -> Vec<Arc<SessionRecord>>;
        revoke_session(id: String, now: u64) -> bool;
        take(key: OnceKey, until: u64, now: u64) -> bool;
        due(now: u64, limit: usize) -> Vec<Due>;
    }

    fn update_attempt<'a>(
        &'a self,
        which: AttemptRef,
        decide: DecideAttempt<'a>,
        now: u64,
    ) -> BoxFuture<'a, Result<Option<Decided>, EngineError>> {
        Box::pin(async move {
            self.line.pause().await;
            let contended = self.line.draw(4) == 0;
            let mut decide = |attempt: &Attempt| {
                let attempt = by_wire(attempt);
                if contended {
                    // Somebody else was faster: it is decided again.
                    let _ = decide(&attempt);
                }
                decide(&attempt)
            };
            let answer = self.inner.update_attempt(which, &mut decide, now).await;
            self.line.pause().await;
            let decided = answer?;
            Ok(decided.map(|d| Decided {
                attempt: by_wire(&d.attempt),
                step: d.step,
            }))
        })
    }

    fn redeem_attempt<'a>(
        &'a self,
        which: AttemptRef,
        decide: DecideRedeem<'a>,
        now: u64,
    ) -> BoxFuture<'a, Result<Option<Redeemed>, EngineError>> {
        Box::pin(async move {
            self.line.pause().await;
            let contended = self.line.draw(4) == 0;
            let mut decide = |attempt: &Attempt| {
                let attempt = by_wire(attempt);
                if contended {
                    let _ = decide(&attempt);
                }
                let (step, session) = decide(&attempt);
                (step, by_wire(&session))
            };
            let answer = self.inner.redeem_attempt(which, &mut decide, now).await;
            self.line.pause().await;
            Ok(answer?.map(|r| Redeemed {
                decided: Decided {
                    attempt: by_wire(&r.decided.attempt),
                    step: r.decided.step,
                },
                evicted: r.evicted,
            }))
        })
    }

    fn update_session<'a>(
        &'a self,
        id: String,
        decide: DecideSession<'a>,
        now: u64,
    ) -> BoxFuture<'a, Result<Option<Arc<SessionRecord>>, EngineError>> {
        Box::pin(async move {
            self.line.pause().await;
            let contended = self.line.draw(4) == 0;
            let mut decide = |session: &SessionRecord| {
                let session = by_wire(session);
                if contended {
                    let _ = decide(&session);
                }
                decide(&session)
            };
            let answer = self.inner.update_session(id, &mut decide, now).await;
            self.line.pause().await;
            answer.map(|session| by_wire(&session))
        })
    }

    fn update_account<'a>(
        &'a self,
        user: UserId,
        decide: DecideAccount<'a>,
    ) -> BoxFuture<'a, Result<Option<Arc<Account>>, EngineError>> {
        Box::pin(async move {
            self.line.pause().await;
            let contended = self.line.draw(4) == 0;
            let mut decide = |account: &Account| {
                let account = by_wire(account);
                if contended {
                    let _ = decide(&account);
                }
                decide(&account)
            };
            let answer = self.inner.update_account(user, &mut decide).await;
            self.line.pause().await;
            answer.map(|account| by_wire(&account))
        })
    }

    fn follow(&self, topic: Topic) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            self.line.pause().await;
            self.line.followed.lock().unwrap().insert(topic);
            self.line.pause().await;
            Ok(())
        })
    }

    fn unfollow(&self, topic: Topic) -> BoxFuture<'_, Result<(), EngineError>> {
        Box::pin(async move {
            self.line.pause().await;
            self.line.followed.lock().unwrap().remove(&topic);
            self.line.pause().await;
            Ok(())
        })
    }
}
