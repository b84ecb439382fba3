//! Countersign: a realtime gateway. `ARCHITECTURE.md` in the repository is the map.

pub mod app;
pub mod auth;
pub mod clock;
pub mod code;
pub mod config;
pub mod core;
pub mod engine;
pub mod greeting;
pub mod http;
pub mod hub;
pub mod listen;
pub mod node;
pub mod ops;
pub mod origin;
pub mod production;
pub mod refusal;
pub mod reload;
pub mod tally;
pub mod version;
pub mod ws;
