//! The operator's port.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_protocol::ErrorCode;

use super::error::{self, HttpError};
use super::extract::{Segment, bearer};
use crate::node::{Node, Refusal};
use crate::ops::metrics::Format;

/// Health, readiness, what can be counted, and what an operator may change.
pub fn operator_router(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/users/{id}/lock", post(lock))
        .route("/users/{id}/unlock", post(unlock))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .with_state(Arc::clone(node))
}

/// False first when draining, so that a load balancer looks elsewhere before anything closes.
async fn ready(State(node): State<Arc<Node>>) -> (StatusCode, &'static str) {
    if node.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

/// Beside the runtime's own threads: it looks at every connection, and reads files of the system's. Whoever asks waits
/// for it no longer than for any other answer.
async fn metrics(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], String), HttpError> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let format = Format::asked_for(accept);
    let deadline = Duration::from_millis(node.limits.request_ms);
    let read = tokio::task::spawn_blocking(move || node.metrics_text(format));
    match tokio::time::timeout(deadline, read).await {
        Ok(Ok(text)) => Ok(([(header::CONTENT_TYPE, format.media_type())], text)),
        Ok(Err(_)) => Err(Refusal::new(ErrorCode::Internal, "the metrics could not be read").into()),
        Err(_) => Err(Refusal::unavailable("the metrics took too long", 1_000).into()),
    }
}

/// Whoever calls may change something here: the host is ours, and the key is right.
struct Operator;

impl FromRequestParts<Arc<Node>> for Operator {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, HttpError> {
        let host = parts
            .headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        node.check_operator(host, bearer(&parts.headers)?)?;
        Ok(Self)
    }
}

async fn lock(
    State(node): State<Arc<Node>>,
    _: Operator,
    Segment(user): Segment,
) -> Result<Response, HttpError> {
    Ok(axum::Json(node.lock_account(&user).await?).into_response())
}

async fn unlock(
    State(node): State<Arc<Node>>,
    _: Operator,
    Segment(user): Segment,
) -> Result<Response, HttpError> {
    Ok(axum::Json(node.unlock_account(&user).await?).into_response())
}
