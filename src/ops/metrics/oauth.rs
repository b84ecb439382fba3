//! What is counted of the OAuth face.

use countersign_protocol::oauth::OAuthErrorCode;
use prometheus_client::registry::Registry;

use super::catalog;
use super::series::Counts;

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OAuthRequest {
    DeviceAuthorization,
    /// Tokens for a device code.
    DeviceCode,
    /// Tokens for a refresh token.
    RefreshToken,
    /// Tokens for something else, or nothing.
    OtherGrant,
    Revoke,
    Introspect,
    Userinfo,
}

const REQUESTS: [&str; 7] = [
    "device_authorization",
    "device_code",
    "refresh_token",
    "other_grant",
    "revoke",
    "introspect",
    "userinfo",
];

/// An answer, or any of the errors.
const OUTCOMES: usize = 1 + OAuthErrorCode::ALL.len();

/// The metrics of the OAuth face.
#[derive(Debug)]
pub struct OAuth(Counts);

impl OAuth {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let outcomes = || std::iter::once("ok").chain(OAuthErrorCode::ALL.map(OAuthErrorCode::name));
        let rows = REQUESTS
            .iter()
            .flat_map(|request| outcomes().map(|outcome| [*request, outcome]));
        Self(Counts::of(registry, &catalog::OAUTH, rows))
    }

    /// A request was answered.
    pub fn answered(&self, request: OAuthRequest, refused: Option<OAuthErrorCode>) {
        let refused = refused.map(|code| OAuthErrorCode::ALL.iter().position(|known| *known == code));
        let outcome = refused.map_or(0, |at| at.map_or(OUTCOMES, |at| at + 1));
        if outcome < OUTCOMES {
            self.0.add(request as usize * OUTCOMES + outcome, 1);
        }
    }
}
