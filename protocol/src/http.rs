//! Bodies of HTTP requests and answers. Owned: they are small and rare.

use serde::{Deserialize, Serialize};

use crate::client::{DeviceKind, null_is_default};
use crate::server::{Profile, PublicDevice, QrMatch, QrState, is_false};

/// Header that names the device a token is used on.
pub const DEVICE_HEADER: &str = "countersign-device";
/// Scheme of `Authorization` with which a PC proves that it opened a QR login.
pub const CLAIM_SCHEME: &str = "Claim";

/// POST `/v1/accounts`.
#[derive(Serialize, Deserialize)]
pub struct NewAccount {
    pub user_id: String,
    pub password: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
}

/// Answer to POST `/v1/accounts`.
#[derive(Debug, Serialize, Deserialize)]
pub struct AccountCreated {
    pub user: Profile,
}

/// A device as an HTTP body carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceBody {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: DeviceKind,
}

/// POST `/v1/login`.
#[derive(Serialize, Deserialize)]
pub struct Login {
    pub user_id: String,
    pub password: String,
    pub device: DeviceBody,
}

/// Answer to `/v1/login` and `/v1/refresh`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Tokens {
    pub access_token: String,
    /// `Bearer`, or `DPoP` for a token bound to a key.
    pub token_type: String,
    pub expires_in_ms: u64,
    pub refresh_token: String,
    pub user: Profile,
    pub session: String,
}

/// POST `/v1/refresh`.
#[derive(Serialize, Deserialize)]
pub struct RefreshBody {
    pub refresh_token: String,
}

/// Answer to `/v1/me`.
#[derive(Debug, Serialize, Deserialize)]
pub struct MeBody {
    pub user: Profile,
    pub session: String,
    pub device: PublicDevice,
}

/// POST `/v1/qr/{qr_id}/answer`. What the command has besides stands in the path and the headers.
#[derive(Serialize, Deserialize)]
pub struct AnswerBody {
    pub code: String,
}

/// POST `/v1/qr/{qr_id}/redeem`. What the command has besides stands in the path and the headers.
#[derive(Serialize, Deserialize)]
pub struct RedeemBody {
    pub ticket: String,
}

/// POST `/v1/qr/scan`: a login that an app opened by OAuth, by the code its device shows.
#[derive(Serialize, Deserialize)]
pub struct ScanByCode {
    /// As it was typed: case, spaces and hyphens do not matter.
    pub user_code: String,
}

/// Answer to a scan.
#[derive(Serialize, Deserialize)]
pub struct Scanned {
    /// What the phone goes on with, where it came by a typed code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qr_id: Option<String>,
    /// Works once, for the phone that got it.
    pub scan_token: String,
    pub expires_in_ms: u64,
    pub request: ScanRequest,
    #[serde(rename = "match")]
    pub number: QrMatch,
}

/// Who asks to be signed in, as the phone is shown it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRequest {
    pub device: PublicDevice,
    pub ip: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    pub age_ms: u64,
    pub same_network: bool,
    /// The name of the registered client that asks, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// What that client asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Whether the client would get tokens that are good for everything here, as those of the user's own devices.
    #[serde(default, skip_serializing_if = "is_false")]
    pub full_access: bool,
}

/// POST `…/confirm`.
#[derive(Serialize, Deserialize)]
pub struct Confirm {
    pub scan_token: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The account's password, where `step_up_required` asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// POST `…/deny`.
#[derive(Serialize, Deserialize)]
pub struct Deny {
    pub scan_token: String,
}

/// Answer to confirm and deny.
#[derive(Debug, Serialize, Deserialize)]
pub struct QrStateBody {
    pub state: QrState,
}

/// Answer to GET `…/outcome`: how the login stands for the phone that scanned.
#[derive(Debug, Serialize, Deserialize)]
pub struct QrOutcome {
    pub state: QrState,
    /// Why it ended, where the state alone does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The PC's session, once redeemed: what the phone can end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// GET `/v1/sessions`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sessions {
    /// Newest first.
    pub sessions: Vec<SessionBody>,
}

/// One signed-in device of an account.
#[derive(Debug, Serialize, Deserialize)]
pub struct SessionBody {
    pub id: String,
    pub device: PublicDevice,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// Sign-in or last refresh, Unix milliseconds.
    pub last_seen_at_ms: u64,
    /// Where it signed in from.
    pub ip: String,
    /// The session that asks.
    pub current: bool,
    /// The name of the registered client that it was opened for, if for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// GET `/.well-known/jwks.json`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// An Ed25519 public key (RFC 8037).
#[derive(Debug, Serialize, Deserialize)]
pub struct Jwk {
    pub kty: String,
    pub crv: String,
    pub x: String,
    pub kid: String,
    pub alg: String,
    #[serde(rename = "use")]
    pub usage: String,
}
