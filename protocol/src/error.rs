//! Error codes shared by commands and HTTP, and the two shapes they travel in.

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($( $(#[$doc:meta])* $variant:ident = $name:literal, $status:literal, $retry:literal; )*) => {
        /// Why a command or a request was refused. The name on the wire is `snake_case`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorCode { $( $(#[$doc])* $variant, )* }

        impl ErrorCode {
            /// Every code, for tables in tests and documents.
            pub const ALL: &'static [ErrorCode] = &[ $( ErrorCode::$variant, )* ];
            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $( ErrorCode::$variant => $name, )* }
            }
            /// The HTTP status the same refusal has.
            pub const fn status(self) -> u16 {
                match self { $( ErrorCode::$variant => $status, )* }
            }
            /// Whether the same command, unchanged, can succeed later.
            pub const fn retry(self) -> bool {
                match self { $( ErrorCode::$variant => $retry, )* }
            }
        }
    };
}

codes! {
    /// The command or request is malformed.
    BadRequest = "bad_request", 400, false;
    /// No such command.
    UnknownCommand = "unknown_command", 400, false;
    /// The connection or request is not signed in.
    Unauthenticated = "unauthenticated", 401, false;
    /// The token, password or refresh token is not valid.
    InvalidToken = "invalid_token", 401, false;
    /// A different device than the token or the connection is bound to.
    DeviceMismatch = "device_mismatch", 401, false;
    /// Signed in, but not permitted.
    NotAllowed = "not_allowed", 403, false;
    /// No such thing, or none that this caller may know of.
    NotFound = "not_found", 404, false;
    /// The room must be joined first.
    NotJoined = "not_joined", 409, false;
    /// The room is joined already.
    AlreadyJoined = "already_joined", 409, false;
    /// Muted in this room.
    Muted = "muted", 403, true;
    /// Banned from this room.
    Banned = "banned", 403, true;
    /// The room's slow mode asks for a pause.
    SlowMode = "slow_mode", 429, true;
    /// Too many in too short a time.
    RateLimited = "rate_limited", 429, true;
    /// Larger than the announced bound.
    TooLarge = "too_large", 413, false;
    /// A count is at its bound: rooms of a connection, sessions, attempts.
    LimitReached = "limit_reached", 409, false;
    /// Contradicts what is already so.
    Conflict = "conflict", 409, false;
    /// Cannot be served at the moment.
    Unavailable = "unavailable", 503, true;
    /// The gateway failed in a way it did not expect.
    Internal = "internal", 500, true;

    /// Somebody else scanned this code first.
    AlreadyScanned = "already_scanned", 409, false;
    /// This phone confirmed already; ask for the outcome.
    AlreadyConfirmed = "already_confirmed", 409, false;
    /// The attempt has ended (410 once expired).
    AlreadyFinal = "already_final", 409, false;
    /// The scan token is used, replaced, or another phone's.
    ScanTokenInvalid = "scan_token_invalid", 403, false;
    /// The number on the other screen must be given.
    MatchRequired = "match_required", 422, false;
    /// The number was wrong.
    MatchFailed = "match_failed", 422, false;
    /// The account's password is asked for once more.
    StepUpRequired = "step_up_required", 403, false;
    /// Policy refuses this sign-in.
    PolicyDenied = "policy_denied", 403, false;
    /// The operator has locked this account. Told only to who proved to be its owner.
    AccountLocked = "account_locked", 403, false;

    /// HTTP: the account name is taken.
    UserExists = "user_exists", 409, false;
    /// HTTP: open registration is off.
    RegistrationClosed = "registration_closed", 403, false;
    /// HTTP: the page's origin is not on the allow-list.
    OriginRejected = "origin_rejected", 403, false;
    /// HTTP: the route exists, this method does not.
    MethodNotAllowed = "method_not_allowed", 405, false;
    /// HTTP: the request did not finish in time.
    Timeout = "timeout", 408, true;
}

/// The error reply to a command. `id` is `null` when the command's own id could not be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename = "error")]
pub struct ErrorReply {
    pub id: Option<u64>,
    pub code: ErrorCode,
    pub message: String,
    pub retry: bool,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_ms: Option<u64>,
    /// With `already_final`: the attempt's final state.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    /// With `already_final`: why it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// With `match_failed`: how many more wrong codes are borne.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tries_left: Option<u8>,
}

/// `application/problem+json` (RFC 9457) with our `code`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: `code` is what programs read.
    #[serde(rename = "type")]
    pub kind: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub code: ErrorCode,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tries_left: Option<u8>,
    /// With `step_up_required`: what shows once more who confirms.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub methods: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_name_and_serde_name_agree() {
        for code in ErrorCode::ALL {
            let json = serde_json::to_string(code).unwrap_or_default();
            assert_eq!(json, format!("\"{}\"", code.name()));
        }
    }
}
