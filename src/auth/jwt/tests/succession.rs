//! One signing key after another.

use super::*;

#[test]
fn two_keys_at_once_let_one_replace_the_other() {
    let old = bench();
    let token = old.keys.issue(&claims()).unwrap();
    let new = SigningKey::generate().unwrap();
    let keys = old.keys.succeeded_by(new.clone(), NOW, NOW + 1);
    assert!(keys.verify(&token, NOW).is_ok());
    assert!(keys.verify(&keys.issue(&claims()).unwrap(), NOW).is_ok());
    let kids = |now| -> Vec<String> { keys.jwks(now).keys.into_iter().map(|k| k.kid).collect() };
    assert_eq!(kids(NOW), [new.id(), old.key.id()]);
    assert_eq!(kids(NOW + 1), [new.id()]);
    assert_eq!(
        keys.verify(&token, NOW + 1),
        Err(TokenError::Signature),
        "its time is over"
    );
    // The one that comes back signs, and is no former one beside.
    let back = keys.succeeded_by(old.key, NOW, NOW + 1);
    assert!(back.verify(&token, NOW + 1).is_ok());
    assert_eq!(back.jwks(NOW).keys.len(), 2);
}

#[test]
fn former_keys_are_bounded() {
    let mut keys = bench().keys;
    for _ in 0..2 * PREVIOUS_KEYS_MAX {
        keys = keys.succeeded_by(SigningKey::generate().unwrap(), NOW, NOW + 1);
    }
    assert_eq!(keys.jwks(NOW).keys.len(), 1 + PREVIOUS_KEYS_MAX);
    keys = keys.succeeded_by(SigningKey::generate().unwrap(), NOW + 1, NOW + 2);
    assert_eq!(keys.previous.len(), 1, "what has lapsed is forgotten");
}
