//! What the tester writes into messages and finds in them again.

pub mod command;
pub mod reply;
pub mod scan;
pub mod stamp;

/// What a message frame starts with; anything else is read the slow way.
pub const MESSAGE_PREFIX: &[u8] = b"{\"type\":\"message\",";
