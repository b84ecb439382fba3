//! The phone's side of a QR login.

use std::sync::Arc;

use super::error::HttpError;
use super::extract::{Json, Segment, User};
use crate::node::Node;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use countersign_protocol::http::{Confirm, Deny, ScanByCode};

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

pub(super) async fn scan(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    User(caller, _): User,
) -> Result<Response, HttpError> {
    let scanned = node.scan_qr(&caller, &qr_id).await?;
    Ok(([NO_STORE], axum::Json(scanned)).into_response())
}

pub(super) async fn scan_by_code(
    State(node): State<Arc<Node>>,
    User(caller, _): User,
    Json(body): Json<ScanByCode>,
) -> Result<Response, HttpError> {
    let scanned = node.scan_user_code(&caller, &body.user_code).await?;
    Ok(([NO_STORE], axum::Json(scanned)).into_response())
}

pub(super) async fn confirm(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    User(caller, _): User,
    Json(body): Json<Confirm>,
) -> Result<Response, HttpError> {
    let state = node.confirm_qr(&caller, &qr_id, &body).await?;
    Ok(([NO_STORE], axum::Json(state)).into_response())
}

pub(super) async fn deny(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    User(caller, _): User,
    Json(body): Json<Deny>,
) -> Result<Response, HttpError> {
    let state = node.deny_qr(&caller, &qr_id, &body.scan_token).await?;
    Ok(([NO_STORE], axum::Json(state)).into_response())
}

/// Waits for the end, longer than other requests may.
pub(super) async fn outcome(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    User(caller, _): User,
) -> Result<Response, HttpError> {
    let outcome = node.qr_outcome(&caller, &qr_id).await?;
    Ok(([NO_STORE], axum::Json(outcome)).into_response())
}
