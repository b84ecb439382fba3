//! The operator's port.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::get;
use countersign_protocol::ErrorCode;

use crate::node::{Node, Refusal};
use crate::ops::metrics::MEDIA_TYPE;

use super::HttpError;

/// Health, readiness and what can be counted.
pub fn operator_router(node: &Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
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

/// Beside the runtime's own threads: it reads files of the system's.
async fn metrics(
    State(node): State<Arc<Node>>,
) -> Result<([(HeaderName, &'static str); 1], String), HttpError> {
    let read = tokio::task::spawn_blocking(move || node.metrics_text());
    match read.await {
        Ok(text) => Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text)),
        Err(_) => Err(Refusal::new(ErrorCode::Internal, "the metrics could not be read").into()),
    }
}
