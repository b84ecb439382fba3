//! The OAuth 2.0 face: registered clients that authenticate, their tokens, and what others may ask about those. Opening
//! a device authorization and exchanging its code are a QR login's, in `src/node/qr/grant.rs`.

mod refusal;
mod token;

use std::net::IpAddr;

use countersign_protocol::oauth::{
    AuthorizationServer, DEVICE_CODE_GRANT, OAuthErrorCode, OAuthTokens, OPENID, PROFILE, REFRESH_TOKEN_GRANT,
};

use super::Node;
use crate::auth::secret;
use crate::auth::sessions::Issued;
use crate::config::Client;
use crate::ops::metrics::OAuthRequest;

pub use refusal::OAuthRefusal;

/// A registered client that has authenticated, or is public and has named itself.
pub struct Asking {
    pub id: String,
    pub client: Client,
}

/// A pair as OAuth says it: lifetimes are seconds.
pub(super) fn tokens_of(issued: Issued) -> OAuthTokens {
    let (scope, id_token) = issued
        .client
        .map(|part| (part.scope, part.id_token))
        .unwrap_or_default();
    OAuthTokens {
        access_token: issued.tokens.access_token,
        token_type: issued.tokens.token_type,
        expires_in: issued.tokens.expires_in_ms / 1_000,
        refresh_token: issued.tokens.refresh_token,
        scope,
        id_token,
    }
}

impl Node {
    /// Which client asks. `secret` is what it showed.
    ///
    /// # Errors
    /// `invalid_client`: there is none of that name, or it did not show what it has to.
    pub fn oauth_client(
        &self,
        id: &str,
        secret: Option<&str>,
        address: IpAddr,
    ) -> Result<Asking, OAuthRefusal> {
        let refused = |told| OAuthRefusal::new(OAuthErrorCode::InvalidClient, told);
        let config = self.config().clone();
        let client = config
            .client(id)
            .ok_or_else(|| refused("no such client is registered"))?;
        match (&client.secret, secret) {
            (None, None) => {}
            (None, Some(_)) => return Err(refused("a public client has no secret to send")),
            (Some(_), None) => return Err(refused("this client authenticates with its secret")),
            // Digests, so that not even the length shows in the time it takes.
            (Some(kept), Some(shown))
                if secret::same(&secret::digest(kept.expose()), &secret::digest(shown)) => {}
            (Some(_), Some(_)) => {
                tracing::info!(target: "countersign::auth", %address, client = id, "client refused: wrong secret");
                return Err(refused("the client's secret is wrong"));
            }
        }
        Ok(Asking {
            id: id.to_owned(),
            client: client.into_owned(),
        })
    }

    /// Counts what came of an OAuth request.
    pub async fn oauth_counted<T>(
        &self,
        request: OAuthRequest,
        call: impl Future<Output = Result<T, OAuthRefusal>>,
    ) -> Result<T, OAuthRefusal> {
        let answered = call.await;
        let refused = answered.as_ref().err().map(|refusal| refusal.error);
        self.metrics.oauth.answered(request, refused);
        answered
    }

    /// What there is, for programs that find out by themselves (RFC 8414).
    pub fn authorization_server(&self) -> AuthorizationServer {
        let at = |path: &str| format!("{}{path}", self.origins.public());
        let all = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let methods = all(&["client_secret_basic", "client_secret_post", "none"]);
        AuthorizationServer {
            issuer: self.sessions.keys().issuer().to_owned(),
            device_authorization_endpoint: at("/oauth/device_authorization"),
            token_endpoint: at("/oauth/token"),
            revocation_endpoint: at("/oauth/revoke"),
            introspection_endpoint: at("/oauth/introspect"),
            userinfo_endpoint: at("/oauth/userinfo"),
            jwks_uri: at("/.well-known/jwks.json"),
            response_types_supported: Vec::new(),
            grant_types_supported: all(&[DEVICE_CODE_GRANT, REFRESH_TOKEN_GRANT]),
            token_endpoint_auth_methods_supported: methods.clone(),
            revocation_endpoint_auth_methods_supported: methods,
            introspection_endpoint_auth_methods_supported: all(&[
                "client_secret_basic",
                "client_secret_post",
            ]),
            scopes_supported: all(&[OPENID, PROFILE]),
            subject_types_supported: all(&["public"]),
            id_token_signing_alg_values_supported: all(&["EdDSA"]),
            claims_supported: all(&["iss", "sub", "aud", "exp", "iat", "auth_time", "name", "picture"]),
        }
    }
}
