use std::pin::pin;

use futures::poll;

use super::*;

const CHEAP: Cost = Cost {
    memory_kib: 8,
    iterations: 1,
    running_max: 1,
    waiting_max: 1,
};
const BUSY: PasswordError = PasswordError::Busy {
    after_ms: BUSY_AFTER_MS,
};

#[tokio::test]
async fn the_right_password_and_no_other() {
    let hasher = Hasher::new(CHEAP).unwrap();
    let stored = hasher.hash("correct horse").await.unwrap();
    assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
    assert_eq!(hasher.verify("correct horse", Some(&stored)).await, Ok(true));
    for wrong in [
        "",
        "correct hors",
        "correct horse ",
        "Correct horse",
        &"x".repeat(128),
    ] {
        assert_eq!(hasher.verify(wrong, Some(&stored)).await, Ok(false), "{wrong}");
    }
    assert_ne!(
        hasher.hash("correct horse").await.unwrap(),
        stored,
        "a salt of its own"
    );
    // Made at another cost, it is still checked.
    let dearer = Hasher::new(Cost {
        memory_kib: 16,
        ..CHEAP
    })
    .unwrap();
    assert_eq!(dearer.verify("correct horse", Some(&stored)).await, Ok(true));
}

#[tokio::test]
async fn an_unknown_user_is_the_same_work_and_never_right() {
    let hasher = Hasher::new(CHEAP).unwrap();
    let known = hasher.hash("correct horse").await.unwrap();
    let [known, nobody] = [&known, &hasher.0.nobody].map(|text| PasswordHash::new(text).unwrap());
    assert_eq!(
        (known.algorithm, known.version, &known.params),
        (nobody.algorithm, nobody.version, &nobody.params)
    );
    let lengths = |hash: &PasswordHash| (hash.salt.unwrap().len(), hash.hash.unwrap().len());
    assert_eq!(lengths(&known), lengths(&nobody));
    assert_eq!(hasher.verify("correct horse", None).await, Ok(false));
    // It takes the same way: with no thread free it waits like any other.
    let thread = hasher.0.running.clone().acquire_owned().await.unwrap();
    let mut waiting = pin!(hasher.verify("correct horse", None));
    assert!(poll!(waiting.as_mut()).is_pending());
    drop(thread);
    assert_eq!(waiting.await, Ok(false));
    // Were its hash ever hit, the answer is still no.
    let hit = hasher.hash("correct horse").await.unwrap();
    let mut pool = Hasher::new(CHEAP).unwrap();
    Arc::get_mut(&mut pool.0).unwrap().nobody = hit;
    assert_eq!(pool.verify("correct horse", None).await, Ok(false));
}

/// The library's own way of writing and checking hashes agrees with ours, in both directions.
#[tokio::test]
async fn hashes_are_those_of_the_library() {
    use argon2::{PasswordHasher, PasswordVerifier};
    let hasher = Hasher::new(CHEAP).unwrap();
    let library = Argon2::new(Algorithm::Argon2id, Version::V0x13, hasher.0.params.clone());
    let theirs = library
        .hash_password_with_salt(b"correct horse", &[7; 16])
        .unwrap()
        .to_string();
    assert_eq!(hasher.verify("correct horse", Some(&theirs)).await, Ok(true));
    assert_eq!(hasher.verify("correct hors", Some(&theirs)).await, Ok(false));
    let ours = hasher.hash("correct horse").await.unwrap();
    let ours = PasswordHash::new(&ours).unwrap();
    assert!(library.verify_password(b"correct horse", &ours).is_ok());
    assert!(library.verify_password(b"correct hors", &ours).is_err());
    assert!(
        hasher
            .verify("x", Some(&theirs.replace("argon2id", "argon2i")))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn working_memory_is_used_again() {
    let hasher = Hasher::new(Cost {
        running_max: 2,
        waiting_max: 30,
        ..CHEAP
    })
    .unwrap();
    let hashes: Vec<_> = (0..30)
        .map(|_| {
            tokio::spawn({
                let hasher = hasher.clone();
                async move { hasher.hash("correct horse").await }
            })
        })
        .collect();
    for hash in hashes {
        assert!(hash.await.unwrap().is_ok());
    }
    let memory = hasher.0.memory.lock();
    assert!((1..=2).contains(&memory.len()), "{} pieces", memory.len());
    assert!(memory.iter().all(|m| m.len() == hasher.0.params.block_count()));
}

#[tokio::test]
async fn a_full_queue_is_busy_and_recovers() {
    let hasher = Hasher::new(CHEAP).unwrap();
    let thread = hasher.0.running.clone().acquire_owned().await.unwrap();
    let place = hasher.0.admitted.clone().acquire_owned().await.unwrap();
    // One runs; one may wait, another is refused, whatever it wants.
    let mut first = Box::pin(hasher.verify("password", None));
    assert!(poll!(first.as_mut()).is_pending());
    assert_eq!(hasher.verify("password", None).await, Err(BUSY));
    assert_eq!(hasher.hash("password").await, Err(BUSY));
    // One that goes away makes room for the next.
    drop(first);
    let mut second = pin!(hasher.verify("password", None));
    assert!(poll!(second.as_mut()).is_pending());
    assert_eq!(hasher.verify("password", None).await, Err(BUSY));
    drop((thread, place));
    assert_eq!(second.await, Ok(false));
    assert_eq!(hasher.0.admitted.available_permits(), 2);
    assert_eq!(hasher.0.running.available_permits(), 1);
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_free_a_thread_that_computes() {
    let hasher = Hasher::new(CHEAP).unwrap();
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let mut call = Box::pin(hasher.run("password", move |_, _| {
        wait.recv().map_err(|_| PasswordError::Failed)
    }));
    assert!(poll!(call.as_mut()).is_pending());
    drop(call);
    assert_eq!(hasher.0.running.available_permits(), 0);
    go.send(()).unwrap();
    let _ = hasher.0.running.acquire().await.unwrap();
}

#[tokio::test]
async fn bounds_and_damage_are_errors() {
    let hasher = Hasher::new(CHEAP).unwrap();
    for bad in ["", "1234567", &"x".repeat(129), &"é".repeat(65)] {
        assert_eq!(hasher.hash(bad).await, Err(PasswordError::Length), "{bad}");
    }
    assert!(hasher.hash("12345678").await.is_ok() && hasher.hash(&"x".repeat(128)).await.is_ok());
    assert_eq!(hasher.verify(&"x".repeat(1 << 20), None).await, Ok(false));
    for stored in [
        "",
        "plain",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA",
    ] {
        let verdict = hasher.verify("password", Some(stored)).await;
        assert!(
            verdict == Err(PasswordError::Failed) || verdict == Ok(false),
            "{stored}"
        );
    }
    for cost in [
        Cost {
            memory_kib: 7,
            ..CHEAP
        },
        Cost {
            iterations: 0,
            ..CHEAP
        },
        Cost {
            running_max: 0,
            ..CHEAP
        },
    ] {
        assert_eq!(Hasher::new(cost).err(), Some(PasswordError::Cost));
    }
    assert!(!format!("{hasher:?}").contains(&hasher.0.nobody));
}

#[test]
fn the_default_cost_is_the_documented_one() {
    let cost = Cost::default();
    assert_eq!(
        (cost.memory_kib, cost.iterations, cost.waiting_max),
        (19_456, 2, 32)
    );
    assert!(cost.running_max >= 1);
}
