//! What holds for every request: the deadline, CORS by the allow-list, and headers that belong on every answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use countersign_protocol::ErrorCode;

use super::error::HttpError;
use crate::node::{Node, Refusal};

const ALLOWED_HEADERS: &str =
    "Authorization, Countersign-Device, DPoP, Content-Type, Last-Event-ID, Idempotency-Key";
const EXPOSED_HEADERS: &str = "Retry-After, ETag, DPoP-Nonce";

/// Runs a request with its deadline.
pub(super) async fn deadline(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let deadline = Duration::from_millis(node.limits.request_ms);
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => HttpError(Refusal::new(ErrorCode::Timeout, "the request took too long")).into_response(),
    }
}

/// Answers cross-origin questions, and refuses what a page of a foreign origin wants changed: that the page could not
/// read the answer would not undo it.
pub(super) async fn guard(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let api = request.uri().path().starts_with("/v1/");
    let origin = request.headers().get(header::ORIGIN).cloned();
    let foreign = |o: &HeaderValue| !o.to_str().is_ok_and(|o| node.origins.allows(o));
    let refused = api && !request.method().is_safe() && origin.as_ref().is_some_and(foreign);
    let allowed = origin.filter(|o| !foreign(o));
    let preflight = request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if api && preflight {
        StatusCode::NO_CONTENT.into_response()
    } else if refused {
        HttpError(Refusal::new(
            ErrorCode::OriginRejected,
            "pages of this origin may not call here; see allowed_origins",
        ))
        .into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if api {
        set(headers, header::VARY, "Origin");
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
            if preflight {
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
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers.insert(name, HeaderValue::from_static(value));
}
