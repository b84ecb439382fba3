//! Refusals as RFC 6749 §5.2 and RFC 6750 §3 have them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::oauth::{OAuthError, OAuthErrorCode};

use super::NO_STORE;
use crate::node::{OAuthRefusal, Refusal};

/// A refused OAuth request.
#[derive(Debug)]
pub(in crate::http) struct OAuthHttpError {
    refusal: OAuthRefusal,
    challenge: Option<&'static str>,
}

impl From<OAuthRefusal> for OAuthHttpError {
    fn from(refusal: OAuthRefusal) -> Self {
        Self {
            refusal,
            challenge: None,
        }
    }
}

impl From<Refusal> for OAuthHttpError {
    fn from(refusal: Refusal) -> Self {
        OAuthRefusal::from(refusal).into()
    }
}

impl OAuthHttpError {
    /// To a client: one that did not authenticate is told the scheme of HTTP that would do, however it tried.
    pub(super) fn of_client(refusal: OAuthRefusal) -> Self {
        let unknown = refusal.error == OAuthErrorCode::InvalidClient;
        Self {
            refusal,
            challenge: unknown.then_some("Basic realm=\"oauth\", charset=\"UTF-8\""),
        }
    }

    /// To whoever showed an access token, or should have: then nothing is said to be wrong with it (RFC 6750 §3.1).
    pub(super) fn of_resource(refusal: OAuthRefusal, shown: bool) -> Self {
        let challenge = match refusal.error {
            OAuthErrorCode::InvalidToken if !shown => Some("Bearer"),
            OAuthErrorCode::InvalidToken => Some("Bearer error=\"invalid_token\""),
            OAuthErrorCode::InvalidScope => Some("Bearer error=\"insufficient_scope\", scope=\"openid\""),
            _ => None,
        };
        Self { refusal, challenge }
    }
}

impl IntoResponse for OAuthHttpError {
    fn into_response(self) -> Response {
        let refusal = self.refusal;
        let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let described = |c: &char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
        let body = OAuthError {
            error: refusal.error,
            // RFC 6749 §5.2 has these characters and no others.
            error_description: Some(refusal.description.chars().filter(described).collect()),
        };
        let mut response = (status, NO_STORE, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let seconds = refusal.after_ms.unwrap_or(1_000).div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
