//! What depends on the time, on a node whose clock the test moves.

use std::net::IpAddr;
use std::sync::Arc;

use countersign::clock::Clock;
use countersign::config::Config;
use countersign::engine::Engine;
use countersign::node::{Asking, Caller, DeviceRequest, Node, OAuthRefusal, memory_engine};
use countersign_protocol::DeviceId;
use countersign_protocol::client::DeviceKind;
use countersign_protocol::http::{Confirm, DeviceBody, Login, NewAccount};
use countersign_protocol::oauth::{DeviceAuthorization, OAuthErrorCode, OAuthTokens};

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct World {
    node: Arc<Node>,
    clock: Clock,
    reader: Asking,
    phone: Caller,
}

impl World {
    async fn new() -> Self {
        let mut config = Config::default();
        (
            config.accounts.argon2_memory_kib,
            config.accounts.argon2_iterations,
        ) = (8, 1);
        crate::stage::clients(&mut config);
        let clock = Clock::manual(1_800_000_000_000);
        let memory = memory_engine(&config);
        let engine = Engine::Memory(Arc::clone(&memory));
        let origin = "http://127.0.0.1:1".to_owned();
        let built = Node::build(config, engine, clock.clone(), origin, 100).unwrap();
        memory.attach(Arc::clone(&built.sink) as _);
        let node = built.node;
        let new = NewAccount {
            user_id: "alice".into(),
            password: "correct horse".into(),
            name: None,
            avatar: None,
        };
        node.register(HERE, new).await.unwrap();
        let login = Login {
            user_id: "alice".into(),
            password: "correct horse".into(),
            device: DeviceBody {
                id: "phone-1".into(),
                name: None,
                kind: DeviceKind::Ios,
            },
        };
        let tokens = node.login(HERE, login).await.unwrap();
        let device = DeviceId::parse("phone-1").unwrap();
        let session = node
            .authenticate(&tokens.access_token, Some(&device), None)
            .await
            .unwrap();
        let phone = Caller {
            address: HERE,
            session: Some(session),
        };
        let reader = node.oauth_client("reader", None, HERE).unwrap();
        Self {
            node,
            clock,
            reader,
            phone,
        }
    }

    async fn open(&self) -> DeviceAuthorization {
        let request = DeviceRequest {
            scopes: vec!["openid".into()],
            device: None,
            device_name: None,
            device_kind: DeviceKind::Tv,
            user_agent: None,
        };
        self.node.open_grant(&self.reader, HERE, request).await.unwrap()
    }

    async fn confirm(&self, opened: &DeviceAuthorization) {
        let scanned = self
            .node
            .scan_user_code(&self.phone, &opened.user_code)
            .await
            .unwrap();
        let confirm = Confirm {
            scan_token: scanned.scan_token,
            code: None,
            password: None,
        };
        self.node
            .confirm_qr(&self.phone, &opened.qr_id, &confirm)
            .await
            .unwrap();
    }

    async fn exchange(&self, opened: &DeviceAuthorization) -> Result<OAuthTokens, OAuthRefusal> {
        self.node
            .exchange_device_code(&self.reader, &opened.device_code)
            .await
    }

    async fn refused(&self, opened: &DeviceAuthorization) -> OAuthErrorCode {
        match self.exchange(opened).await {
            Ok(_) => panic!("tokens"),
            Err(refusal) => refusal.error,
        }
    }
}

#[tokio::test]
async fn the_same_tokens_for_half_a_minute_and_then_none() {
    let world = World::new().await;
    let opened = world.open().await;
    world.clock.advance(299_000);
    world.confirm(&opened).await;
    // The device asks every few seconds, and has two minutes.
    world.clock.advance(119_000);
    let tokens = |tokens: OAuthTokens| serde_json::to_string(&tokens).unwrap();
    let first = tokens(world.exchange(&opened).await.ok().unwrap());
    for _ in 0..2 {
        world.clock.advance(14_999);
        assert_eq!(tokens(world.exchange(&opened).await.ok().unwrap()), first);
    }
    world.clock.advance(2);
    assert_eq!(world.refused(&opened).await, OAuthErrorCode::InvalidGrant);
    world.clock.advance(60_000);
    assert_eq!(world.refused(&opened).await, OAuthErrorCode::InvalidGrant);
}

#[tokio::test]
async fn what_is_not_fetched_in_time_has_expired() {
    let world = World::new().await;
    let opened = world.open().await;
    world.confirm(&opened).await;
    world.clock.advance(120_000);
    assert_eq!(world.refused(&opened).await, OAuthErrorCode::ExpiredToken);
    let waiting = world.open().await;
    world.clock.advance(299_999);
    assert_eq!(
        world.refused(&waiting).await,
        OAuthErrorCode::AuthorizationPending
    );
    world.clock.advance(1);
    assert_eq!(world.refused(&waiting).await, OAuthErrorCode::ExpiredToken);
}

/// The network holds a question back, and the next is on time: nobody who keeps the interval is told to slow down.
#[tokio::test]
async fn who_keeps_the_interval_is_never_too_fast() {
    use OAuthErrorCode::{AuthorizationPending, SlowDown};
    let world = World::new().await;
    let opened = world.open().await;
    let mut at = 0;
    for n in 1..=50_u64 {
        // Sent every five seconds, held back by up to nearly as long.
        let arrives = n * 5_000 + (n * 7_919) % 4_900;
        world.clock.advance(arrives - at);
        at = arrives;
        assert_eq!(world.refused(&opened).await, AuthorizationPending, "question {n}");
    }
    let hasty = world.open().await;
    let mut slowed = 0;
    for _ in 0..30 {
        world.clock.advance(1_000);
        slowed += usize::from(world.refused(&hasty).await == SlowDown);
    }
    // One in five is let through, and one more at the beginning.
    assert!((20..=25).contains(&slowed), "{slowed}");
    world.confirm(&hasty).await;
    assert!(
        world.exchange(&hasty).await.is_ok(),
        "what has been decided does not wait"
    );
}
