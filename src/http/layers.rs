//! What holds for every request: the deadline, CORS by the allow-list, and headers that belong on every answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_protocol::ErrorCode;

use super::error::HttpError;
use super::oauth::OAuthHttpError;
use crate::node::{Node, Refusal};

const ALLOWED_HEADERS: &str =
    "Authorization, Countersign-Device, DPoP, Content-Type, Last-Event-ID, Idempotency-Key";
const EXPOSED_HEADERS: &str = "Retry-After, ETag, DPoP-Nonce, X-Request-Id";

/// Runs a request with its deadline.
pub(super) async fn deadline(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let deadline = Duration::from_millis(node.limits().request_ms);
    let path = request.uri().path().to_owned();
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => refuse(
            &path,
            Refusal::new(ErrorCode::Timeout, "the request took too long"),
        ),
    }
}

/// A refusal in the form that its address has.
fn refuse(path: &str, refusal: Refusal) -> Response {
    if is_oauth(path) {
        OAuthHttpError::from(refusal).into_response()
    } else {
        HttpError(refusal).into_response()
    }
}

fn is_oauth(path: &str) -> bool {
    path.starts_with("/oauth/")
}

/// Answers cross-origin questions, and refuses what a page of a foreign origin wants changed: that the page could not
/// read the answer would not undo it.
pub(super) async fn guard(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let page = Page::of(&node, request.method(), request.uri().path(), request.headers());
    let refused = page.api && !request.method().is_safe() && page.foreign;
    let mut response = if page.api && page.preflight {
        StatusCode::NO_CONTENT.into_response()
    } else if refused {
        let message = "pages of this origin may not call here; see allowed_origins";
        let refusal = Refusal::new(ErrorCode::OriginRejected, message);
        refuse(request.uri().path(), refusal)
    } else {
        next.run(request).await
    };
    page.allow(response.headers_mut());
    response
}

/// The page that a request comes from, as far as its answer's headers depend on it.
#[derive(Debug)]
pub struct Page {
    api: bool,
    preflight: bool,
    /// It is of an origin that is not on the list.
    foreign: bool,
    /// Its origin, which is on the list.
    allowed: Option<HeaderValue>,
}

impl Page {
    /// That of a request.
    pub fn of(node: &Node, method: &Method, path: &str, headers: &HeaderMap) -> Self {
        let origin = headers.get(header::ORIGIN);
        let listed = |o: &&HeaderValue| o.to_str().is_ok_and(|o| node.origins.allows(o));
        let allowed = origin.filter(listed).cloned();
        Self {
            api: path.starts_with("/v1/") || is_oauth(path),
            preflight: *method == Method::OPTIONS
                && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD),
            foreign: origin.is_some() && allowed.is_none(),
            allowed,
        }
    }

    /// Puts into an answer what belongs on every one, and what lets a page of a listed origin read it.
    pub fn allow(self, headers: &mut HeaderMap) {
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        if !self.api {
            return;
        }
        set(headers, header::VARY, "Origin");
        let Some(origin) = self.allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        if self.preflight {
            set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
            set(
                headers,
                header::ACCESS_CONTROL_ALLOW_METHODS,
                "GET, POST, PATCH, DELETE",
            );
            set(headers, header::ACCESS_CONTROL_MAX_AGE, "600");
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
