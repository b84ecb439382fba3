//! The phone's side of a QR login, and the code itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use countersign_protocol::ErrorCode;
use countersign_protocol::http::{Confirm, Deny};
use fast_qr::convert::Builder;
use fast_qr::convert::svg::SvgBuilder;
use fast_qr::{ECL, QRBuilder};

use super::error::HttpError;
use super::extract::{Json, Segment, User};
use crate::node::{Node, Refusal};

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");
/// Modules of white around the code (ISO/IEC 18004 asks for four).
const QUIET_ZONE: usize = 4;

/// The code as a picture, `<qr_id>.svg`. It says nothing that its reader does not know: the same for every
/// well-formed id, known or not.
pub(super) async fn code(
    State(node): State<Arc<Node>>,
    Segment(code): Segment,
) -> Result<Response, HttpError> {
    let not_found = || Refusal::new(ErrorCode::NotFound, "no such QR login");
    let qr_id = code.strip_suffix(".svg").ok_or_else(not_found)?;
    let url = node.qr_url(qr_id)?;
    let internal = |_| Refusal::new(ErrorCode::Internal, "the code could not be drawn");
    let qr = QRBuilder::new(url).ecl(ECL::M).build().map_err(internal)?;
    let svg = SvgBuilder::default().margin(QUIET_ZONE).to_str(&qr);
    Ok(([NO_STORE, (header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

pub(super) async fn scan(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    User(caller, _): User,
) -> Result<Response, HttpError> {
    let scanned = node.scan_qr(&caller, &qr_id).await?;
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
