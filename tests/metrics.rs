//! What an operator is told: that it is what happened, that it does not grow, and that a real Prometheus reads it,
//! with the alerts and the dashboard that come with the gateway.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says what must hold"
)]

mod common;

#[path = "metrics/counted.rs"]
mod counted;
#[path = "attempts/exposition.rs"]
mod exposition;
#[path = "metrics/files.rs"]
mod files;
#[path = "metrics/prometheus.rs"]
mod prometheus;
