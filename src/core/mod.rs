//! Pure decisions: no I/O, no async, no locks, no clock, no logging. Time comes in as an argument.

pub mod attempt;
pub mod counter;
pub mod forwarded;
pub mod network;
pub mod outbox;
pub mod proxy_protocol;
pub mod rate;
pub mod room;
pub mod session;
pub mod stream;
