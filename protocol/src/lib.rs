//! What travels between a Countersign gateway and its clients.
//!
//! The crate knows shapes, names and numbers and nothing about how they are served: the gateway,
//! the load tester and the tests all speak through it, so a frame has one definition.
//! `docs/protocol.md` in the repository is the prose; the golden files under `tests/golden` are one exact frame of each kind.

pub mod client;
pub mod close;
pub mod codec;
pub mod error;
pub mod http;
pub mod id;
pub mod limits;
pub mod oauth;
pub mod object;
pub mod server;

pub use close::CloseCode;
pub use error::ErrorCode;
pub use id::{DeviceId, RoomName, UserId};

/// The sub-protocol offered and echoed on the upgrade.
pub const SUBPROTOCOL: &str = "countersign.v1.json";

/// The protocol number in `hello`.
pub const PROTOCOL_VERSION: u32 = 1;
