//! Load tester of the Countersign gateway.
//!
//! It knows the gateway only by `countersign-protocol`. A scenario is a module that brings a
//! [`fleet`] of raw-frame clients up on one [`engine`], drives them, and ends in a serialisable result with
//! named [`metric`]s; tables, JSON and assertions come from those.

pub mod accounts;
pub mod assertion;
pub mod churn;
pub mod cli;
pub mod clock;
pub mod compare;
pub mod counts;
pub mod dialect;
pub mod document;
pub mod engine;
pub mod error;
pub mod fleet;
pub mod floor;
pub mod history;
pub mod host;
pub mod http;
pub mod idle;
pub mod interval;
pub mod k6;
pub mod latency;
pub mod login;
pub mod metric;
pub mod order;
pub mod output;
pub mod poll;
pub mod qr;
pub mod ratio;
pub mod report;
pub mod room;
pub mod run;
pub mod series;
pub mod storm;
pub mod story;
pub mod suite;
pub mod target;
pub mod versus;
pub mod wire;
pub mod workers;
