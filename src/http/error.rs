//! Refusals as `application/problem+json`.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::{ErrorCode, codec};

use crate::node::Refusal;

/// A refused request.
#[derive(Debug)]
pub struct HttpError(pub Refusal);

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        Self(refusal)
    }
}

impl HttpError {
    /// The status.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Headers beside the body's own.
    pub fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/problem+json"),
            ),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        if self.status() == StatusCode::UNAUTHORIZED {
            let challenge = match self.0.code {
                ErrorCode::Unauthenticated => "Bearer",
                _ => "Bearer error=\"invalid_token\"",
            };
            headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        }
        if matches!(
            self.status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            let seconds = self.0.after_ms.unwrap_or(1_000).div_ceil(1_000).max(1);
            headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        headers
    }

    /// The body.
    pub fn body(&self) -> Vec<u8> {
        codec::json(&self.0.problem())
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.body()).into_response();
        for (name, value) in self.headers() {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

pub(super) async fn not_found() -> HttpError {
    Refusal::new(ErrorCode::NotFound, "no such page").into()
}

pub(super) async fn method_not_allowed() -> HttpError {
    Refusal::new(
        ErrorCode::MethodNotAllowed,
        "this address does not take this method",
    )
    .into()
}
