//! Making a session, and the tokens that prove it.

use countersign_protocol::ErrorCode;
use countersign_protocol::http::Tokens;
use countersign_protocol::oauth::OPENID;
use serde::{Deserialize, Serialize};

use super::refresh::refresh_token;
use super::{Adoption, Minted, NewSession, Sessions, no_entropy};
use crate::auth::jwk::Thumbprint;
use crate::auth::jwt::{Claims, ClientClaims, IdClaims};
use crate::auth::secret;
use crate::engine::{Identity, RefreshState, SessionClient, SessionRecord};
use crate::refusal::Refusal;

/// A pair of tokens as it is handed out.
#[derive(Serialize, Deserialize)]
pub struct Issued {
    pub tokens: Tokens,
    /// For a registered client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientPart>,
}

/// What a registered client is told beside its pair.
#[derive(Serialize, Deserialize)]
pub struct ClientPart {
    /// What was granted, separated by spaces.
    pub scope: String,
    /// With scope `openid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token: Option<String>,
}

impl Sessions {
    /// Makes a session and its tokens without storing it: for the caller's compare-and-set.
    ///
    /// # Errors
    /// `internal` when the system has no random bytes.
    pub fn mint(&self, new: NewSession, now: u64) -> Result<Minted, Refusal> {
        let id = secret::id("s").map_err(|_| no_entropy())?;
        let family = secret::bytes().map_err(|_| no_entropy())?;
        let refresh_token = refresh_token(&id, &family)?;
        let (client, audience) = new.client.map(|new| (new.client, new.audience)).unzip();
        let record = SessionRecord {
            identity: Identity::of(id, new.user, new.device, new.public_device, client),
            version: 1,
            jkt: new.jkt,
            ip: new.ip,
            created_at: now,
            last_seen_at: now,
            expires_at: now + self.settings.load().refresh_ms,
            refresh: RefreshState {
                family,
                current: secret::digest(&refresh_token),
                previous: Vec::new(),
            },
            revoked: false,
        };
        let Issued { tokens, client } = self.issue(&record, refresh_token, audience.as_deref(), now)?;
        let adoption = Adoption {
            user: record.identity.user.id.clone(),
            session: tokens.session.clone(),
            expires_at: now.saturating_add(tokens.expires_in_ms),
        };
        Ok(Minted {
            record,
            tokens,
            client,
            adoption,
        })
    }

    /// The tokens of a session. `audience` is its client's: that of an access token which is bound to no device.
    pub(super) fn issue(
        &self,
        record: &SessionRecord,
        refresh_token: String,
        audience: Option<&str>,
        now: u64,
    ) -> Result<Issued, Refusal> {
        let lifetime_ms = self.settings.load().access_ms;
        let who = &record.identity;
        let mut claims =
            Claims::new(who.user.id.clone(), who.id.clone(), now, lifetime_ms).map_err(|_| no_entropy())?;
        claims.device = who.device;
        claims.client = who.client.as_ref().map(|client| ClientClaims {
            id: client.id.clone(),
            scope: client.scope.clone(),
        });
        if who.device.is_none() {
            // One with our audience and no device would be bound to nothing.
            let audience = audience.filter(|_| who.client.is_some()).ok_or_else(unsigned)?;
            claims.audience = Some(audience.to_owned());
        }
        let mut token_type = "Bearer";
        if let Some(jkt) = &record.jkt {
            let key = Thumbprint::parse(jkt).map_err(|e| Refusal::bad_request(e.to_string()))?;
            claims = claims.for_key(key);
            token_type = "DPoP";
        }
        let access_token = self.keys.load().issue(&claims).map_err(|_| unsigned())?;
        let client = who.client.as_ref();
        let client = client
            .map(|client| self.client_part(record, client, &claims))
            .transpose()?;
        let tokens = Tokens {
            access_token,
            token_type: token_type.into(),
            // On the wire an expiry is whole seconds; this is what is left of it.
            expires_in_ms: claims.expires_at.saturating_sub(now),
            refresh_token,
            user: (*who.user).clone(),
            session: who.id.clone(),
        };
        Ok(Issued { tokens, client })
    }

    fn client_part(
        &self,
        record: &SessionRecord,
        client: &SessionClient,
        access: &Claims,
    ) -> Result<ClientPart, Refusal> {
        let id_token = client.has(OPENID).then(|| {
            self.keys.load().issue_id(&IdClaims {
                user: access.user.clone(),
                client: client.id.clone(),
                issued_at: access.issued_at,
                expires_at: access.expires_at,
                signed_in_at: record.created_at,
            })
        });
        Ok(ClientPart {
            scope: client.scope.clone(),
            id_token: id_token.transpose().map_err(|_| unsigned())?,
        })
    }
}

fn unsigned() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the token could not be signed")
}
