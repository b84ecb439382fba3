use countersign_protocol::client::DeviceKind;

use super::refresh::REPLACED_MAX;
use super::*;
use crate::auth::key::SigningKey;
use crate::config::Config;
use crate::node::memory_engine;

const START: u64 = 1_800_000_000_000;

struct World {
    sessions: Sessions,
    engine: Engine,
    phone: DeviceId,
    thief: DeviceId,
}

fn world() -> World {
    let config = Config::default();
    let engine = Engine::Memory(memory_engine(&config));
    let keys = KeySet::new(SigningKey::generate().unwrap(), "iss", "aud");
    World {
        sessions: Sessions::new(keys, engine.clone(), config.tokens),
        engine,
        phone: DeviceId::parse("phone").unwrap(),
        thief: DeviceId::parse("thief").unwrap(),
    }
}

impl World {
    async fn login(&self) -> Tokens {
        let new = NewSession {
            user: Profile {
                id: UserId::parse("alice").unwrap(),
                name: None,
                avatar: None,
            },
            device: Some(DeviceDigest::of(&self.phone)),
            public_device: PublicDevice {
                name: None,
                kind: DeviceKind::Ios,
            },
            ip: "127.0.0.1".into(),
            jkt: None,
            client: None,
        };
        let minted = self.sessions.mint(new, START).unwrap();
        self.engine.open_session(minted.record, START).await.unwrap();
        minted.tokens
    }

    /// As the node does it: a token that came back ends the session.
    async fn refresh(&self, token: &str, device: &DeviceId, now: u64) -> Result<Tokens, Refusal> {
        let asker = Asker::Device {
            device,
            may: &|_| true,
        };
        match self.sessions.refresh(token, asker, now).await? {
            Refreshed::Pair(issued) => Ok(issued.tokens),
            Refreshed::Reused { session, refusal } => {
                assert!(self.engine.revoke_session(session, now).await.unwrap());
                Err(refusal)
            }
        }
    }

    async fn is_alive(&self, tokens: &Tokens, now: u64) -> bool {
        self.sessions
            .authenticate(&tokens.access_token, Some(&self.phone), None, now)
            .await
            .is_ok()
    }
}

/// A user with many sockets costs the memory of one identity, and each socket next to nothing.
#[tokio::test]
async fn connections_of_a_session_share_who_it_is() {
    let world = world();
    let tokens = world.login().await;
    let sign_in = || {
        let device = Some(&world.phone);
        world
            .sessions
            .authenticate(&tokens.access_token, device, None, START)
    };
    let (one, other) = (sign_in().await.unwrap(), sign_in().await.unwrap());
    assert!(Arc::ptr_eq(one.user(), other.user()) && Arc::ptr_eq(one.stamp(), other.stamp()));
    assert!(size_of::<Session>() <= 16, "{}", size_of::<Session>());
}

#[tokio::test]
async fn a_token_works_with_its_device_only() {
    let world = world();
    let tokens = world.login().await;
    let session = world
        .sessions
        .authenticate(&tokens.access_token, Some(&world.phone), None, START)
        .await
        .unwrap();
    assert_eq!(
        (session.user_id().as_str(), session.id()),
        ("alice", tokens.session.as_str())
    );
    for device in [None, Some(&world.thief)] {
        let refused = world
            .sessions
            .authenticate(&tokens.access_token, device, None, START)
            .await
            .unwrap_err();
        assert_eq!(refused.code, ErrorCode::DeviceMismatch);
    }
    let late = START + tokens.expires_in_ms;
    assert!(world.is_alive(&tokens, late - 1).await && !world.is_alive(&tokens, late).await);
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_repeat_gets_the_same_pair() {
    let world = world();
    let first = world.login().await;
    let second = world
        .refresh(&first.refresh_token, &world.phone, START + 1)
        .await
        .unwrap();
    assert_ne!(first.refresh_token, second.refresh_token);
    let again = world
        .refresh(&first.refresh_token, &world.phone, START + 10_000)
        .await
        .unwrap();
    assert_eq!(
        (&again.refresh_token, &again.access_token),
        (&second.refresh_token, &second.access_token)
    );
    let third = world
        .refresh(&second.refresh_token, &world.phone, START + 20_000)
        .await
        .unwrap();
    assert!(world.is_alive(&third, START + 20_000).await);
}

/// A reply that is lost twice, or a second tab: the first call is repeated when the second has been made.
#[tokio::test]
async fn a_repeat_within_the_grace_is_no_reuse_though_another_followed() {
    let world = world();
    let first = world.login().await;
    let second = world
        .refresh(&first.refresh_token, &world.phone, START)
        .await
        .unwrap();
    let third = world
        .refresh(&second.refresh_token, &world.phone, START + 1)
        .await
        .unwrap();
    let again = world
        .refresh(&first.refresh_token, &world.phone, START + 9_999)
        .await
        .unwrap();
    assert_eq!(again.refresh_token, second.refresh_token);
    assert!(world.is_alive(&third, START + 9_999).await);
    assert!(
        world
            .refresh(&first.refresh_token, &world.phone, START + 10_000)
            .await
            .is_err()
    );
    assert!(!world.is_alive(&third, START + 10_000).await);
}

#[tokio::test]
async fn a_used_refresh_token_after_the_grace_ends_the_session() {
    let world = world();
    let first = world.login().await;
    let second = world
        .refresh(&first.refresh_token, &world.phone, START)
        .await
        .unwrap();
    let late = START + 10_000;
    assert!(
        world
            .refresh(&first.refresh_token, &world.phone, late)
            .await
            .is_err()
    );
    assert!(
        !world.is_alive(&second, late).await,
        "both holders are signed out"
    );
    assert!(
        world
            .refresh(&second.refresh_token, &world.phone, late)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_much_older_refresh_token_ends_the_session_too() {
    let world = world();
    let first = world.login().await;
    let mut newest = first.clone();
    for _ in 0..=REPLACED_MAX {
        newest = world
            .refresh(&newest.refresh_token, &world.phone, START)
            .await
            .unwrap();
    }
    assert!(
        world
            .refresh(&first.refresh_token, &world.phone, START + 1)
            .await
            .is_err()
    );
    assert!(!world.is_alive(&newest, START + 1).await);
}

#[tokio::test]
async fn another_device_ends_the_session() {
    let world = world();
    for used in [false, true] {
        let first = world.login().await;
        if used {
            world
                .refresh(&first.refresh_token, &world.phone, START)
                .await
                .unwrap();
        }
        assert!(
            world
                .refresh(&first.refresh_token, &world.thief, START + 1)
                .await
                .is_err()
        );
        assert!(!world.is_alive(&first, START + 1).await);
    }
}

#[tokio::test]
async fn a_made_up_refresh_token_ends_nothing() {
    let world = world();
    let tokens = world.login().await;
    let sid = &tokens.session;
    let (_, tag) = tokens.refresh_token.rsplit_once('.').unwrap();
    for made_up in [
        String::new(),
        sid.clone(),
        format!("{sid}."),
        format!("{sid}.x.y"),
        format!("{sid}.{}.{tag}", "A".repeat(43)),
        format!("s_other.{}.{tag}", "A".repeat(43)),
        format!("{}x", tokens.refresh_token),
        tokens.access_token.clone(),
        "é".repeat(90),
    ] {
        for device in [&world.phone, &world.thief] {
            let refused = world.refresh(&made_up, device, START).await.err().unwrap();
            assert_eq!(refused.code, ErrorCode::InvalidToken);
        }
    }
    assert!(world.is_alive(&tokens, START).await);
    assert!(
        world
            .refresh(&tokens.refresh_token, &world.phone, START)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn refreshes_at_once_agree_on_one_pair() {
    let world = Arc::new(world());
    let first = Arc::new(world.login().await);
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let (world, first) = (Arc::clone(&world), Arc::clone(&first));
            tokio::spawn(async move { world.refresh(&first.refresh_token, &world.phone, START).await })
        })
        .collect();
    let mut pairs = std::collections::HashSet::new();
    for task in tasks {
        pairs.insert(task.await.unwrap().unwrap().refresh_token);
    }
    assert_eq!(pairs.len(), 1);
}
