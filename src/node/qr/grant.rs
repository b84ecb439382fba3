//! A registered client opens a QR login by OAuth (RFC 8628): a device authorization, which a phone finds by its code or
//! by its user code, and whose device code the client exchanges for tokens.

use std::net::IpAddr;

use countersign_protocol::client::DeviceKind;
use countersign_protocol::oauth::{DeviceAuthorization, OAuthErrorCode, OAuthTokens};
use countersign_protocol::server::QrState;
use countersign_protocol::{DeviceId, ErrorCode, UserId};

use super::device_digest;
use super::exchange::{Prepared, Proof, open_result, seal_result};
use crate::auth::device::DeviceDigest;
use crate::auth::sessions::{Issued, Minted, no_entropy};
use crate::auth::{names, secret};
use crate::core::attempt::{self, Attempt, AttemptKey, Client, Device, Grant, Opening, QrId, UserCode};
use crate::engine::{AttemptRef, EngineError};
use crate::node::oauth::{Asking, OAuthRefusal, tokens_of};
use crate::node::{Node, Refusal};

/// Domain of the tokens kept for a repeated exchange.
const EXCHANGE_AAD: &[u8] = b"countersign exchange v1";
/// User codes drawn for one device authorization: with 20^8 of them, a second one is rare.
const USER_CODES_DRAWN_MAX: usize = 4;

/// What a device authorization asks for.
pub struct DeviceRequest {
    /// Each one that the client may ask for, once.
    pub scopes: Vec<String>,
    /// What the tokens shall be bound to; with it they are the user's own.
    pub device: Option<DeviceId>,
    pub device_name: Option<String>,
    pub device_kind: DeviceKind,
    pub user_agent: Option<Box<str>>,
}

/// What an exchange leaves behind for a repeat.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    tokens: OAuthTokens,
    user: UserId,
    session: String,
}

impl Node {
    /// Opens a device authorization for a client.
    ///
    /// # Errors
    /// `unauthorized_client` for a third party that names a device, `temporarily_unavailable` over the limits of
    /// `qr.open` and during a drain.
    pub async fn open_grant(
        &self,
        asking: &Asking,
        address: IpAddr,
        request: DeviceRequest,
    ) -> Result<DeviceAuthorization, OAuthRefusal> {
        if request.device.is_some() && asking.client.third_party {
            return Err(OAuthRefusal::new(
                OAuthErrorCode::UnauthorizedClient,
                "a third party's tokens are never good for this gateway's own API: leave Countersign-Device out",
            ));
        }
        Ok(self
            .counted(self.open_authorization(asking, address, request))
            .await?)
    }

    async fn open_authorization(
        &self,
        asking: &Asking,
        address: IpAddr,
        request: DeviceRequest,
    ) -> Result<DeviceAuthorization, Refusal> {
        if self.is_draining() {
            return Err(Refusal::unavailable("this node is about to restart", 1_000));
        }
        self.limiters.qr_open.check(address)?;
        let now = self.clock.now();
        let device_code = secret::token().map_err(|_| no_entropy())?;
        let mut opening = self.grant_opening(asking, address, request, &device_code)?;
        for _ in 0..USER_CODES_DRAWN_MAX {
            let user_code = secret::below(20)
                .ok()
                .and_then(UserCode::new)
                .ok_or_else(no_entropy)?;
            if let Some(grant) = opening.client.as_mut().and_then(|client| client.grant.as_mut()) {
                grant.user_code = user_code;
            }
            let attempt = attempt::open(opening.clone(), now, &self.policy());
            match self.engine.open_attempt(attempt.clone()).await {
                Ok(()) => {
                    self.record_opened(&attempt);
                    return Ok(self.authorization(&attempt, device_code, user_code, now));
                }
                Err(EngineError::Exists) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Refusal::unavailable("no free user code was found", 1_000))
    }

    fn grant_opening(
        &self,
        asking: &Asking,
        address: IpAddr,
        request: DeviceRequest,
        device_code: &str,
    ) -> Result<Opening, Refusal> {
        let random = || secret::bytes().map_err(|_| no_entropy());
        let grant = Grant {
            // Any: one is drawn before it is opened.
            user_code: UserCode::new([0; 8]).ok_or_else(no_entropy)?,
            scopes: request.scopes,
        };
        let name = request.device_name.as_deref().and_then(names::display_name);
        Ok(Opening {
            key: AttemptKey(random()?),
            qr_id: QrId(random()?),
            claim: secret::digest(device_code).into(),
            device: Device {
                digest: request.device.as_ref().map(device_digest),
                name: name.map(Into::into),
                kind: request.device_kind,
            },
            ip: address,
            user_agent: request.user_agent,
            client: Some(Client {
                id: asking.id.as_str().into(),
                name: asking.client.name.as_str().into(),
                grant: Some(grant),
            }),
            public_key: None,
            dpop_jkt: None,
            mode: self.config().qr.match_mode,
            connection: None,
        })
    }

    fn authorization(
        &self,
        attempt: &Attempt,
        device_code: String,
        user_code: UserCode,
        now: u64,
    ) -> DeviceAuthorization {
        let public = self.origins.public();
        DeviceAuthorization {
            device_code,
            user_code: user_code.text(),
            verification_uri: format!("{public}/q"),
            verification_uri_complete: attempt::url(public, attempt.qr_id()),
            expires_in: attempt.expires_at().saturating_sub(now) / 1_000,
            // Rounded up: whoever keeps to it is never too fast.
            interval: self.config().oauth.interval_ms.div_ceil(1_000),
            qr_id: attempt.qr_id().to_string(),
        }
    }

    /// Exchanges a device code for tokens: once, and for 30 s the same ones again.
    ///
    /// # Errors
    /// `authorization_pending`, and `slow_down` for whoever asks for that too often; `access_denied`, `expired_token`;
    /// `invalid_grant` for what is no code of this client's.
    pub async fn exchange_device_code(
        &self,
        asking: &Asking,
        device_code: &str,
    ) -> Result<OAuthTokens, OAuthRefusal> {
        let now = self.clock.now();
        let code = secret::digest(device_code).into();
        let proof = Proof::DeviceCode {
            code,
            client: &asking.id,
        };
        let prepare = |attempt: &Attempt| self.prepare_grant(attempt, device_code, now);
        let exchanged = self
            .exchange_for(AttemptRef::DeviceCode(code), proof, now, &prepare)
            .await
            .map_err(not_exchanged)?;
        let sealed = match exchanged.result {
            Ok(sealed) => sealed,
            Err(refusal) => return Err(self.not_yet(refusal, exchanged.key)),
        };
        let kept: Kept = open_result(device_code, &sealed, EXCHANGE_AAD).map_err(not_exchanged)?;
        self.end_if_locked(&kept.user, &kept.session).await?;
        Ok(kept.tokens)
    }

    fn prepare_grant(&self, attempt: &Attempt, device_code: &str, now: u64) -> Result<Prepared, Refusal> {
        let device = attempt
            .device()
            .digest
            .map(|digest| DeviceDigest::from_bytes(digest.0));
        let new = self.new_session(attempt, device)?;
        let Minted {
            record,
            tokens,
            client,
            ..
        } = self.sessions.mint(new, now)?;
        let kept = Kept {
            user: tokens.user.id.clone(),
            session: tokens.session.clone(),
            tokens: tokens_of(Issued { tokens, client }),
        };
        let result = seal_result(device_code, &kept, EXCHANGE_AAD)?;
        Ok(Prepared { record, result })
    }

    /// Why an attempt that is this client's gives no tokens.
    fn not_yet(&self, refusal: attempt::Refusal, key: AttemptKey) -> OAuthRefusal {
        use OAuthErrorCode as Code;
        let (error, told) = match (refusal.code, refusal.state) {
            // Only a question too many is too fast: what has been decided is answered at once.
            (ErrorCode::Conflict, _) if self.limiters.oauth_poll.check(&key).is_err() => {
                (Code::SlowDown, "nobody has confirmed yet; ask less often")
            }
            (ErrorCode::Conflict, _) => (Code::AuthorizationPending, "nobody has confirmed yet"),
            (ErrorCode::AlreadyFinal, Some(QrState::Expired)) => {
                (Code::ExpiredToken, "the device code has expired; start again")
            }
            (ErrorCode::AlreadyFinal, Some(QrState::Denied | QrState::Cancelled)) => {
                (Code::AccessDenied, "it was denied, or cancelled")
            }
            _ => (Code::InvalidGrant, NO_GRANT),
        };
        OAuthRefusal::new(error, told)
    }
}

const NO_GRANT: &str = "this device code is none of this client's, or was used";

fn not_exchanged(refusal: Refusal) -> OAuthRefusal {
    match refusal.code {
        ErrorCode::NotFound => OAuthRefusal::new(OAuthErrorCode::InvalidGrant, NO_GRANT),
        _ => refusal.into(),
    }
}
