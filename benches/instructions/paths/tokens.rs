//! An access token on the accepted path.

use std::hint::black_box;

use super::Path;
use crate::stage::{NOW, Stage, device};

pub fn paths() -> Vec<Path> {
    vec![
        Path::new("token/verify", (1, "token"), verify),
        Path::new("token/authenticate", (1, "token"), authenticate),
    ]
}

/// Signature and claims.
fn verify() -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let token = stage.token("alice");
    move || u64::from(black_box(stage.tokens().verify(black_box(&token), NOW)).is_ok())
}

/// The same, with the device, and with the session looked up.
fn authenticate() -> impl FnMut() -> u64 {
    let stage = Stage::new();
    let (token, device) = (stage.token("alice"), device());
    move || {
        let session = stage.run(stage.node().authenticate(black_box(&token), Some(&device), None));
        u64::from(black_box(session).is_ok())
    }
}
