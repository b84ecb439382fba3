//! Accounts, and keys that are taken once.

use countersign::engine::memory::MemoryLimits;
use countersign::engine::{Account, EngineError, OnceKey};

use crate::stage::{Make, T0, at_once, limits, profile, user};

pub fn account(id: &str) -> Account {
    Account {
        profile: profile(id),
        password_hash: format!("$argon2id${id}"),
        created_at: T0,
        locked: false,
    }
}

pub async fn an_account_is_made_once(make: Make) {
    let stage = make(limits());
    assert!(stage.engine.account(user("alice")).await.unwrap().is_none());
    let answers = at_once(32, |n| {
        let engine = stage.engine.clone();
        let mine = Account {
            password_hash: format!("{n}"),
            ..account("alice")
        };
        async move { engine.create_account(mine).await }
    })
    .await;
    let winner = answers.iter().position(Result::is_ok).unwrap();
    for (n, answer) in answers.into_iter().enumerate() {
        assert_eq!(
            answer,
            if n == winner {
                Ok(())
            } else {
                Err(EngineError::Exists)
            }
        );
    }
    let kept = stage.engine.account(user("alice")).await.unwrap().unwrap();
    assert_eq!(kept.password_hash, winner.to_string());
    assert!(
        stage.engine.account(user("Alice")).await.unwrap().is_none(),
        "another id is another user"
    );
}

pub async fn an_account_is_changed_by_one_at_a_time(make: Make) {
    let stage = make(limits());
    let mut never = |_: &Account| panic!("there is none");
    let nobody = stage.engine.update_account(user("alice"), &mut never).await;
    assert!(nobody.unwrap().is_none());
    stage.engine.create_account(account("alice")).await.unwrap();
    at_once(32, |_| {
        let engine = stage.engine.clone();
        async move {
            let mut add = |before: &Account| {
                Some(Account {
                    created_at: before.created_at + 1,
                    ..before.clone()
                })
            };
            engine.update_account(user("alice"), &mut add).await.unwrap()
        }
    })
    .await;
    let read = async || stage.engine.account(user("alice")).await.unwrap().unwrap();
    assert_eq!(read().await.created_at, T0 + 32);
    let kept = stage
        .engine
        .update_account(user("alice"), &mut |_| None)
        .await
        .unwrap();
    assert_eq!(kept.unwrap().created_at, T0 + 32);
    assert_eq!(read().await.created_at, T0 + 32);
}

pub async fn accounts_are_bounded_whatever_happens_at_once(make: Make) {
    let stage = make(MemoryLimits {
        accounts_max: 10,
        ..limits()
    });
    let answers = at_once(40, |n| {
        let engine = stage.engine.clone();
        async move { engine.create_account(account(&format!("user{n}"))).await }
    })
    .await;
    assert_eq!(answers.iter().filter(|a| a.is_ok()).count(), 10);
    assert!(
        answers
            .iter()
            .filter_map(|a| a.as_ref().err())
            .all(|e| *e == EngineError::Full("accounts"))
    );
    let known = answers.iter().position(Result::is_ok).unwrap();
    let again = stage
        .engine
        .create_account(account(&format!("user{known}")))
        .await;
    assert_eq!(again, Err(EngineError::Exists), "said before the bound is");
}

pub async fn a_key_is_taken_once(make: Make) {
    let stage = make(limits());
    for round in 0..20_u8 {
        let answers = at_once(32, |_| {
            let engine = stage.engine.clone();
            async move {
                engine
                    .take(OnceKey::Proof([round; 32]), T0 + 100, T0)
                    .await
                    .unwrap()
            }
        })
        .await;
        assert_eq!(answers.iter().filter(|taken| **taken).count(), 1);
    }
    let take = |until: u64, now: u64| stage.engine.take(OnceKey::Proof([1; 32]), until, now);
    assert!(!take(T0 + 500, T0 + 99).await.unwrap());
    assert!(take(T0 + 500, T0 + 100).await.unwrap(), "its time was over");
    assert!(
        !take(T0 + 900, T0 + 499).await.unwrap(),
        "as long as the second taker said"
    );
    assert!(take(T0 + 900, T0 + 500).await.unwrap());
}

pub async fn keys_are_bounded_and_forgotten_in_time(make: Make) {
    let stage = make(MemoryLimits {
        once_keys_max: 10,
        ..limits()
    });
    let take = |n: u8, until: u64, now: u64| stage.engine.take(OnceKey::Proof([n; 32]), until, now);
    for n in 0..10 {
        assert!(take(n, T0 + 100 + u64::from(n), T0).await.unwrap());
    }
    // Forgetting one early would let it be used twice.
    assert_eq!(
        take(10, T0 + 200, T0).await,
        Err(EngineError::Full("once-only keys"))
    );
    assert!(
        !take(0, T0 + 200, T0 + 99).await.unwrap(),
        "what is known is said, full or not"
    );
    assert!(take(10, T0 + 200, T0 + 100).await.unwrap());
    assert_eq!(
        take(11, T0 + 200, T0 + 100).await,
        Err(EngineError::Full("once-only keys"))
    );
    assert!(!take(1, T0 + 200, T0 + 100).await.unwrap());
    for n in 20..29 {
        assert!(take(n, T0 + 300, T0 + 109).await.unwrap());
    }
}
