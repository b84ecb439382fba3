//! What integration tests share: a gateway on ports of the system's choosing, and a client that speaks to it as
//! anybody's client would.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test file uses its part"
)]

pub mod client;
pub mod events;
pub mod history;
pub mod http;
pub mod ill_mannered;
pub mod load;
pub mod program;
pub mod qr;
pub mod talk;
pub mod tls;
pub mod zbar;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign::app::{App, EngineFactory, in_memory};
use countersign::config::Config;
use countersign::engine::Engine;
use countersign::node::{Node, memory_engine};
use countersign_protocol::client::DeviceKind;
use countersign_protocol::http::{DeviceBody, Login, NewAccount, Tokens};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use client::Client;
pub use history::History;
pub use http::{Answer, request};
pub use ill_mannered::{IllMannered, Manners};

/// A condition that does not come true within this has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway of this test's own.
pub struct TestServer {
    pub addr: SocketAddr,
    pub operator: SocketAddr,
    pub node: Arc<Node>,
    /// What its [`Client`]s do and are told; it must hold when the gateway is stopped or dropped.
    pub history: History,
    /// What its addresses begin with.
    origin: String,
    shutdown: Option<oneshot::Sender<()>>,
    running: Option<JoinHandle<()>>,
}

impl TestServer {
    /// Starts a gateway with the default configuration changed by `change`; passwords are cheap, and leaving is quick.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::start_with(config(change), engine_from_environment()).await
    }

    /// Starts a gateway on an engine with the manners of a network, which it answers too.
    pub async fn ill_mannered(change: impl FnOnce(&mut Config)) -> (Self, Arc<IllMannered>) {
        Self::with_manners(change, Manners::from_environment()).await
    }

    /// Starts a gateway on an engine with these manners, which it answers too.
    pub async fn with_manners(
        change: impl FnOnce(&mut Config),
        manners: Manners,
    ) -> (Self, Arc<IllMannered>) {
        let config = config(change);
        let engine = IllMannered::new(memory_engine(&config), manners);
        let server = Self::start_with(config, ill_mannered(Arc::clone(&engine))).await;
        (server, engine)
    }

    /// Starts a gateway on an engine of the test's choice.
    pub async fn start_with(mut config: Config, engine: EngineFactory) -> Self {
        config.listen.set_port(0);
        config.operator_listen.set_port(0);
        let cid_ms = config.rooms.cid_ms;
        let app = App::bind_with(config, engine).unwrap();
        let addresses = app.addresses();
        let node = Arc::clone(app.node());
        let (shutdown, ended) = oneshot::channel::<()>();
        let running = tokio::spawn(app.run(async move {
            let _ = ended.await;
        }));
        Self {
            addr: addresses.public,
            operator: addresses.operator,
            node,
            history: History::open(addresses.public, cid_ms),
            origin: format!("http://{}", addresses.public),
            shutdown: Some(shutdown),
            running: Some(running),
        }
    }

    /// No record is made, for a reason: a test that talks below the frames, for instance, or too much to be kept.
    pub fn unrecorded(self, reason: &str) -> Self {
        self.history.forgo(reason);
        self
    }

    /// Asks the gateway to end, as SIGTERM does.
    pub fn begin_stop(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let _ = shutdown.send(());
        }
    }

    /// Waits until it ends, which it was told to by somebody else.
    pub async fn ended(mut self) {
        if let Some(running) = self.running.take() {
            within("the gateway ends", running).await.unwrap();
        }
        self.history.judge();
    }

    /// Ends the gateway and waits until it has.
    pub async fn stop(mut self) {
        self.begin_stop();
        if let Some(running) = self.running.take() {
            within("the gateway ends", running).await.unwrap();
        }
        self.history.judge();
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// Creates an account with password `correct horse`.
    pub async fn register(&self, user: &str) {
        let new = NewAccount {
            user_id: user.into(),
            password: "correct horse".into(),
            name: Some(format!("{user} of test")),
            avatar: None,
        };
        let answer = request(self.addr, "POST", "/v1/accounts").json(&new).send().await;
        assert!(
            answer.status == 201 || answer.status == 409,
            "{}: {}",
            answer.status,
            answer.text()
        );
    }

    /// Signs a device of a user in.
    pub async fn login(&self, user: &str, device: &str) -> Tokens {
        let login = Login {
            user_id: user.into(),
            password: "correct horse".into(),
            device: DeviceBody {
                id: device.into(),
                name: Some("test device".into()),
                kind: DeviceKind::Ios,
            },
        };
        let answer = request(self.addr, "POST", "/v1/login").json(&login).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.read()
    }

    /// An account with a signed-in device.
    pub async fn user(&self, user: &str) -> Person {
        self.register(user).await;
        let device = format!("{user}-device");
        let tokens = self.login(user, &device).await;
        Person {
            addr: self.addr,
            device,
            tokens,
        }
    }

    /// A connection that has not said anything.
    pub async fn anonymous(&self) -> Client {
        Client::connect(self.addr).await
    }

    /// A connection of a user.
    pub async fn signed_in(&self, user: &str) -> Client {
        let person = self.user(user).await;
        person.connect().await
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.begin_stop();
        // What failed first is told.
        if !std::thread::panicking() {
            self.history.judge();
        }
    }
}

/// A signed-in device.
pub struct Person {
    pub addr: SocketAddr,
    pub device: String,
    pub tokens: Tokens,
}

impl Person {
    /// A connection signed in by its first command.
    pub async fn connect(&self) -> Client {
        let mut client = Client::connect(self.addr).await;
        client
            .ok(
                "auth",
                serde_json::json!({"token": self.tokens.access_token, "device": self.device}),
            )
            .await;
        client
    }

    /// A request with token and device.
    pub fn request(&self, method: &'static str, path: &str) -> http::Request {
        request(self.addr, method, path)
            .header("authorization", &format!("Bearer {}", self.tokens.access_token))
            .header("countersign-device", &self.device)
    }
}

/// How many times as much a soak does as the same test does in `make test`: `COUNTERSIGN_SOAK`, 20 by default.
pub fn soak() -> u64 {
    std::env::var("COUNTERSIGN_SOAK").map_or(20, |text| text.parse().expect("a number of times"))
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
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

/// The default configuration changed by `change`; passwords are cheap, and leaving is quick.
fn config(change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    config.accounts.argon2_memory_kib = 8;
    config.accounts.argon2_iterations = 1;
    config.drain.grace_ms = 0;
    config.drain.spread_ms = 50;
    config.drain.hard_ms = 5_000;
    change(&mut config);
    config
}

/// The memory engine, or with `COUNTERSIGN_TEST_ENGINE=ill-mannered` the one with the manners of a network: the
/// same tests pass on both.
fn engine_from_environment() -> EngineFactory {
    match std::env::var("COUNTERSIGN_TEST_ENGINE").as_deref() {
        Err(_) | Ok("" | "memory") => Box::new(|config, _| in_memory(memory_engine(config))),
        Ok("ill-mannered") => Box::new(|config, clock| {
            ill_mannered(IllMannered::new(
                memory_engine(config),
                Manners::from_environment(),
            ))(config, clock)
        }),
        Ok(other) => panic!("COUNTERSIGN_TEST_ENGINE is memory or ill-mannered, not {other:?}"),
    }
}

/// Whether every event comes at once, once, and before the verb that caused it answers. Where it is not so a client
/// may be told later, twice, or by a `reset`.
pub fn engine_is_exact() -> bool {
    std::env::var("COUNTERSIGN_TEST_ENGINE").as_deref() != Ok("ill-mannered")
}

/// An engine with the manners of a network in the shape a gateway takes.
fn ill_mannered(engine: Arc<IllMannered>) -> EngineFactory {
    Box::new(|_, _| {
        let remote = Engine::Remote(Arc::clone(&engine) as _);
        (remote, Box::new(move |sink| engine.attach(sink)))
    })
}
