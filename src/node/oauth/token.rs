//! Tokens of registered clients after the first pair: refreshed, revoked, asked about.

use countersign_protocol::oauth::{Introspection, OAuthErrorCode, OAuthTokens, OPENID, PROFILE, UserInfo};
use countersign_protocol::server::Profile;
use countersign_protocol::{DeviceId, ErrorCode};

use super::{Asking, OAuthRefusal, tokens_of};
use crate::auth::sessions::{Asker, Proof, Shown};
use crate::engine::Identity;
use crate::node::{Node, unauthenticated};
use crate::ops::metrics::Credential;

impl Asking {
    /// Whether a session is this client's.
    fn owns(&self, who: &Identity) -> bool {
        who.client.as_ref().is_some_and(|client| client.id == self.id)
    }

    /// Whether a session may go on, as the client is registered by now.
    fn keeps(&self, who: &Identity) -> bool {
        self.client.may_have(&who.user.id, who.device.is_some())
    }
}

impl Node {
    /// Exchanges a client's refresh token, by the rules of `/v1/refresh`. What was granted stays: a narrower `scope` is
    /// answered with all of it, which the answer says.
    ///
    /// # Errors
    /// `invalid_grant`; `invalid_scope` for one that was not granted.
    pub async fn refresh_for_client(
        &self,
        asking: &Asking,
        token: &str,
        device: Option<&DeviceId>,
        scope: Option<&str>,
    ) -> Result<OAuthTokens, OAuthRefusal> {
        if let Some(scope) = scope {
            self.check_granted(asking, token, scope).await?;
        }
        let may = |who: &Identity| asking.keeps(who);
        let asker = Asker::Client {
            id: &asking.id,
            audience: asking.client.audience(&asking.id),
            device,
            may: &may,
        };
        let refreshed = self
            .shown(Credential::Refresh, self.refreshed(token, asker))
            .await;
        refreshed.map(tokens_of).map_err(|refusal| match refusal.code {
            ErrorCode::InvalidToken => OAuthRefusal::new(
                OAuthErrorCode::InvalidGrant,
                "this refresh token does not work for this client; one that is bound to a device takes it in \
                 Countersign-Device",
            ),
            _ => refusal.into(),
        })
    }

    async fn check_granted(&self, asking: &Asking, token: &str, scope: &str) -> Result<(), OAuthRefusal> {
        let shown = self.sessions.read(token, self.clock.now()).await?;
        let granted = shown.and_then(|shown| {
            let who = &shown.record().identity;
            who.client.clone().filter(|_| asking.owns(who))
        });
        // Another's is refused for being that, soon.
        let Some(granted) = granted else { return Ok(()) };
        let mut wanted = scope.split(' ').filter(|word| !word.is_empty());
        if wanted.all(|word| granted.has(word)) {
            Ok(())
        } else {
            let told = "more than was granted";
            Err(OAuthRefusal::new(OAuthErrorCode::InvalidScope, told))
        }
    }

    /// Ends the session of a token of this client's, of either kind. Any other token changes nothing (RFC 7009).
    ///
    /// # Errors
    /// `temporarily_unavailable`.
    pub async fn revoke_for_client(&self, asking: &Asking, token: &str) -> Result<(), OAuthRefusal> {
        let shown = self.sessions.read(token, self.clock.now()).await?;
        if let Some(shown) = shown.filter(|shown| asking.owns(&shown.record().identity)) {
            self.end_session(&shown.record().identity.id).await?;
        }
        Ok(())
    }

    /// What a token is good for: told of one that was issued to this client or is for its audience, and works (RFC 7662).
    ///
    /// # Errors
    /// `unauthorized_client` for a public client, `temporarily_unavailable`.
    pub async fn introspect(&self, asking: &Asking, token: &str) -> Result<Introspection, OAuthRefusal> {
        if asking.client.is_public() {
            return Err(OAuthRefusal::new(
                OAuthErrorCode::UnauthorizedClient,
                "only a client that authenticates may ask",
            ));
        }
        let told = match self.sessions.read(token, self.clock.now()).await? {
            Some(Shown::Access {
                claims,
                audience,
                record,
            }) => {
                let client = claims.client.as_ref();
                let theirs = client.is_some_and(|client| client.id == asking.id)
                    || audience == asking.client.audience(&asking.id);
                theirs.then(|| Introspection {
                    active: true,
                    scope: client.map(|client| client.scope.clone()),
                    client_id: client.map(|client| client.id.clone()),
                    token_type: Some(if claims.key.is_some() { "DPoP" } else { "Bearer" }.to_owned()),
                    exp: Some(claims.expires_at / 1_000),
                    iat: Some(claims.issued_at / 1_000),
                    sub: Some(record.identity.user.id.to_string()),
                    aud: Some(audience),
                    iss: Some(self.sessions.keys().issuer().to_owned()),
                    jti: Some(claims.id.clone()),
                })
            }
            Some(Shown::Refresh {
                record,
                current: true,
            }) if asking.owns(&record.identity) => Some(Introspection {
                active: true,
                scope: record.identity.client.as_ref().map(|client| client.scope.clone()),
                client_id: Some(asking.id.clone()),
                exp: Some(record.expires_at / 1_000),
                sub: Some(record.identity.user.id.to_string()),
                iss: Some(self.sessions.keys().issuer().to_owned()),
                ..Introspection::default()
            }),
            _ => None,
        };
        Ok(told.unwrap_or_default())
    }

    /// Whose a token is. A client's tells the name with scope `profile`, and whose it is with that or `openid`; one of
    /// the user's own tells all, with its device.
    ///
    /// # Errors
    /// `invalid_token`; `invalid_scope` (403) when neither scope was granted.
    pub async fn userinfo(
        &self,
        token: Option<&str>,
        device: Option<&DeviceId>,
        proof: Option<Proof<'_>>,
    ) -> Result<UserInfo, OAuthRefusal> {
        let token = token.ok_or_else(unauthenticated)?;
        let shown = self.sessions.read(token, self.clock.now()).await?;
        let Some(Shown::Access { claims, record, .. }) = shown else {
            let none = "this access token does not work";
            return Err(OAuthRefusal::new(OAuthErrorCode::InvalidToken, none));
        };
        // What is bound to a device or a key works with it alone, here as everywhere.
        if claims.client.is_none() || claims.device.is_some() || claims.key.is_some() {
            self.authenticate(token, device, proof).await?;
        }
        let user = &record.identity.user;
        match &claims.client {
            None => Ok(info(user, true)),
            Some(client) if client.has(PROFILE) => Ok(info(user, true)),
            Some(client) if client.has(OPENID) => Ok(info(user, false)),
            Some(_) => Err(OAuthRefusal::new(
                OAuthErrorCode::InvalidScope,
                "this takes scope openid or profile",
            )
            .with_status(403)),
        }
    }
}

fn info(user: &Profile, profile: bool) -> UserInfo {
    UserInfo {
        sub: user.id.to_string(),
        name: user.name.clone().filter(|_| profile),
        picture: user.avatar.clone().filter(|_| profile),
    }
}
