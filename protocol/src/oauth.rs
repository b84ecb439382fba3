//! The OAuth 2.0 face of a QR login: the device authorization grant (RFC 8628) and what belongs to it. Names and units
//! are those of the RFCs: lifetimes are seconds. Requests are forms (`application/x-www-form-urlencoded`).

use serde::{Deserialize, Serialize};

/// `grant_type` of a device code (RFC 8628 §3.4).
pub const DEVICE_CODE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// `grant_type` of a refresh token (RFC 6749 §6).
pub const REFRESH_TOKEN_GRANT: &str = "refresh_token";
/// The scope with which an ID token is issued (OpenID Connect Core §3.1.2.1).
pub const OPENID: &str = "openid";
/// The scope that tells name and picture (OpenID Connect Core §5.4).
pub const PROFILE: &str = "profile";
/// The letters of a user code (RFC 8628 §6.1): no vowels, so that no words come out, and none that look alike.
pub const USER_CODE_LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code, shown as two groups of four with a hyphen between them.
pub const USER_CODE_CHARS: usize = 8;

/// Answer to POST `/oauth/device_authorization` (RFC 8628 §3.2).
#[derive(Serialize, Deserialize)]
pub struct DeviceAuthorization {
    /// What the device asks for its tokens with; the `claim` of the QR login, which it can watch with it.
    pub device_code: String,
    /// `XXXX-XXXX`, of [`USER_CODE_LETTERS`].
    pub user_code: String,
    /// Where the user types it.
    pub verification_uri: String,
    /// The address for a QR code: nothing is left to type.
    pub verification_uri_complete: String,
    /// Life of both codes, seconds.
    pub expires_in: u64,
    /// The device asks at most this often, seconds.
    pub interval: u64,
    /// Names the QR login, for `qr.watch` and `GET /v1/qr/{qr_id}/events` (an addition to the RFC).
    pub qr_id: String,
}

/// Answer to POST `/oauth/token` (RFC 6749 §5.1).
#[derive(Clone, Serialize, Deserialize)]
pub struct OAuthTokens {
    pub access_token: String,
    /// `Bearer`.
    pub token_type: String,
    /// Life of the access token, seconds.
    pub expires_in: u64,
    pub refresh_token: String,
    /// What was granted, separated by spaces; may be empty.
    pub scope: String,
    /// With scope `openid`: who signed in, for the client alone (OpenID Connect Core §2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

/// Why an OAuth request was refused: RFC 6749 §5.2, RFC 8628 §3.5, RFC 6750 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OAuthErrorCode {
    /// A parameter is missing, doubled or malformed.
    InvalidRequest,
    /// No such client, or its authentication failed.
    InvalidClient,
    /// The device code, refresh token or client does not go with the others, or has been used.
    InvalidGrant,
    /// This client may not do this.
    UnauthorizedClient,
    /// `/oauth/token` knows two grant types.
    UnsupportedGrantType,
    /// The client may not ask for that.
    InvalidScope,
    /// Nobody has confirmed yet.
    AuthorizationPending,
    /// Nobody has confirmed yet, and the device asks too often.
    SlowDown,
    /// Denied on the phone, or cancelled.
    AccessDenied,
    /// The device code has expired.
    ExpiredToken,
    /// The access token does not work (`/oauth/userinfo`).
    InvalidToken,
    /// Too many, or not at the moment: `Retry-After` says when.
    TemporarilyUnavailable,
    /// The gateway failed.
    ServerError,
}

impl OAuthErrorCode {
    /// Every code, for tables in tests and documents.
    pub const ALL: [Self; 13] = [
        Self::InvalidRequest,
        Self::InvalidClient,
        Self::InvalidGrant,
        Self::UnauthorizedClient,
        Self::UnsupportedGrantType,
        Self::InvalidScope,
        Self::AuthorizationPending,
        Self::SlowDown,
        Self::AccessDenied,
        Self::ExpiredToken,
        Self::InvalidToken,
        Self::TemporarilyUnavailable,
        Self::ServerError,
    ];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown => "slow_down",
            Self::AccessDenied => "access_denied",
            Self::ExpiredToken => "expired_token",
            Self::InvalidToken => "invalid_token",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::ServerError => "server_error",
        }
    }

    /// The HTTP status, where nothing else says otherwise.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidClient | Self::InvalidToken => 401,
            Self::TemporarilyUnavailable => 503,
            Self::ServerError => 500,
            _ => 400,
        }
    }
}

/// A refused OAuth request (RFC 6749 §5.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OAuthError {
    pub error: OAuthErrorCode,
    /// For a developer; may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

/// Answer to POST `/oauth/introspect` (RFC 7662 §2.2): `active` and nothing else for a token that does not work, or
/// is none of the client's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introspection {
    pub active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `Bearer`; absent for a refresh token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exp: Option<u64>,
    /// Seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// The user's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
}

/// Answer to GET `/oauth/userinfo` (OpenID Connect Core §5.3). Name and picture with scope `profile`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The user's id.
    pub sub: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An https address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

/// GET `/.well-known/oauth-authorization-server` (RFC 8414 §2) and `/.well-known/openid-configuration`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationServer {
    pub issuer: String,
    pub device_authorization_endpoint: String,
    pub token_endpoint: String,
    pub revocation_endpoint: String,
    pub introspection_endpoint: String,
    pub userinfo_endpoint: String,
    pub jwks_uri: String,
    /// Empty: there is no authorization endpoint.
    pub response_types_supported: Vec<String>,
    pub grant_types_supported: Vec<String>,
    pub token_endpoint_auth_methods_supported: Vec<String>,
    pub revocation_endpoint_auth_methods_supported: Vec<String>,
    pub introspection_endpoint_auth_methods_supported: Vec<String>,
    pub scopes_supported: Vec<String>,
    pub subject_types_supported: Vec<String>,
    pub id_token_signing_alg_values_supported: Vec<String>,
    pub claims_supported: Vec<String>,
}
