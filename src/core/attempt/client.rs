//! The registered client in whose name an attempt was opened.

use serde::{Deserialize, Serialize};

use super::code::UserCode;

/// A registered client that asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// As the configuration names it.
    pub id: Box<str>,
    /// As the phone is shown it.
    pub name: Box<str>,
    /// What was asked for when it was opened as a device authorization (RFC 8628).
    pub grant: Option<Grant>,
}

/// A device authorization. It does not rotate, nobody need watch it, and its device code, which is the attempt's
/// claim, redeems it without a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// What the phone types, to find the attempt or to confirm it.
    pub user_code: UserCode,
    /// What the client asks for.
    pub scopes: Vec<String>,
}
