//! QR logins as their operator sees them: very many at once, at the bound, counted, and on record.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;
#[path = "secrets/process.rs"]
#[allow(dead_code, reason = "shared with the tests of secrets")]
mod process;

#[path = "attempts/audit.rs"]
mod audit;
#[path = "attempts/bound.rs"]
mod bound;
#[path = "attempts/counted.rs"]
mod counted;
#[path = "attempts/exposition.rs"]
mod exposition;
#[path = "attempts/many.rs"]
mod many;
#[path = "attempts/memory.rs"]
mod memory;
