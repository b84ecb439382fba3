//! The PC's side of a QR login, for a PC without a WebSocket: the same commands as requests, the same events as
//! server-sent events or by polling.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::ErrorCode;
use countersign_protocol::client::QrOpen;
use countersign_protocol::http::{AnswerBody, RedeemBody};
use futures::StreamExt;
use serde::Deserialize;

use super::error::{HttpError, method_not_allowed};
use super::extract::{Anyone, Claimant, Json, JsonBytes, Segment, address, device, requester};
use super::qr_code::{Size, picture};
use super::{Place, Streams};
use crate::node::{Admission, Claim, Node, QrRequest, Refusal};

const NO_STORE: (HeaderName, &str) = (header::CACHE_CONTROL, "no-store");
/// Where an event stream goes on.
const LAST_EVENT_ID: &str = "last-event-id";
/// Asks nginx, and those who learnt it from there, to pass events on as they come.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

impl Claimant {
    fn of<'a>(&'a self, qr_id: &'a str) -> Claim<'a> {
        Claim {
            qr_id,
            claim: &self.claim,
            device: &self.device,
        }
    }
}

pub(super) async fn open(
    State(node): State<Arc<Node>>,
    Anyone(caller): Anyone,
    headers: HeaderMap,
    JsonBytes(body): JsonBytes,
) -> Result<Response, HttpError> {
    let request = QrRequest::read(&body.read::<QrOpen<'_>>()?)?;
    if device(&headers)?.is_some_and(|named| named != request.device) {
        let message = "Countersign-Device names another device than the body";
        return Err(Refusal::new(ErrorCode::DeviceMismatch, message).into());
    }
    let opened = node
        .open_qr_unwatched(caller.address, requester(&headers), &request)
        .await?;
    Ok((StatusCode::CREATED, [NO_STORE], axum::Json(opened)).into_response())
}

/// A QR id and an ending: the picture of its code.
fn is_picture(node: &Node, name: &str) -> bool {
    name.split_once('.')
        .is_some_and(|(id, _)| node.qr_url(id).is_ok())
}

/// Neither read nor cancelled. Of a picture, there is nothing to cancel either.
pub(super) async fn other_method(State(node): State<Arc<Node>>, Segment(name): Segment) -> Response {
    if is_picture(&node, &name) {
        ([(header::ALLOW, "GET,HEAD")], method_not_allowed().await).into_response()
    } else {
        method_not_allowed().await.into_response()
    }
}

/// How it stands, for the holder of the claim; with an ending it is the picture of the code, for anybody.
pub(super) async fn look(
    State(node): State<Arc<Node>>,
    Segment(name): Segment,
    claimant: Result<Claimant, HttpError>,
    size: Result<Size, HttpError>,
    Anyone(caller): Anyone,
) -> Result<Response, HttpError> {
    if name.contains('.') {
        return picture(&node, &name, &size?, caller.address);
    }
    let push = node.poll_qr(claimant?.of(&name)).await?;
    Ok(([NO_STORE], axum::Json(push)).into_response())
}

/// Who reads a stream, and from where on.
pub(super) struct Reader {
    address: IpAddr,
    place: Option<Arc<Admission>>,
    after_seq: Option<u32>,
}

#[derive(Deserialize)]
struct After {
    after_seq: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        // A HEAD would take the watch over and drop it.
        if parts.method != Method::GET {
            let refused = ([(header::ALLOW, "GET")], method_not_allowed().await);
            return Err(refused.into_response());
        }
        Self::read(parts, state)
            .await
            .map_err(IntoResponse::into_response)
    }
}

impl Reader {
    async fn read<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let query = Query::<After>::from_request_parts(parts, state)
            .await
            .map_err(|_| Refusal::bad_request("after_seq is the seq of an event"))?;
        Ok(Self {
            address: address(parts)?,
            place: parts.extensions.get::<Place>().map(|place| Arc::clone(&place.0)),
            after_seq: after(&parts.headers, query.after_seq.as_deref())?,
        })
    }
}

/// The header is what a stream that was cut goes on with; the query is where its first one began.
fn after(headers: &HeaderMap, query: Option<&str>) -> Result<Option<u32>, Refusal> {
    let header = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    let (name, text) = match (header, query) {
        (Some(value), _) => ("Last-Event-ID", value.to_str().unwrap_or_default()),
        (None, Some(text)) => ("after_seq", text),
        (None, None) => return Ok(None),
    };
    let bad = |_| Refusal::bad_request(format!("{name} is the seq of an event"));
    text.parse().map(Some).map_err(bad)
}

pub(super) async fn events(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    claimant: Claimant,
    reader: Reader,
) -> Result<Response, HttpError> {
    let claim = claimant.of(&qr_id);
    let stream = node
        .stream_qr(reader.address, reader.place, claim, reader.after_seq)
        .await?;
    let Some(stream) = stream else {
        return Ok((StatusCode::NO_CONTENT, [NO_STORE]).into_response());
    };
    let headers = [
        NO_STORE,
        (header::CONTENT_TYPE, "text/event-stream"),
        (ACCEL_BUFFERING, "no"),
    ];
    let body = Body::from_stream(stream.map(Ok::<Bytes, Infallible>));
    let mut response = (headers, body).into_response();
    response.extensions_mut().insert(Streams);
    Ok(response)
}

pub(super) async fn answer(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    claimant: Claimant,
    Json(body): Json<AnswerBody>,
) -> Result<Response, HttpError> {
    node.answer_qr(claimant.of(&qr_id), &body.code).await?;
    Ok((StatusCode::NO_CONTENT, [NO_STORE]).into_response())
}

pub(super) async fn redeem(
    State(node): State<Arc<Node>>,
    Segment(qr_id): Segment,
    claimant: Claimant,
    Json(body): Json<RedeemBody>,
) -> Result<Response, HttpError> {
    let redeemed = node
        .redeem_qr_unconnected(claimant.of(&qr_id), &body.ticket)
        .await?;
    Ok(([NO_STORE], axum::Json(redeemed)).into_response())
}

pub(super) async fn cancel(
    State(node): State<Arc<Node>>,
    Segment(name): Segment,
    claimant: Result<Claimant, HttpError>,
) -> Result<Response, HttpError> {
    if is_picture(&node, &name) {
        return Ok(other_method(State(node), Segment(name)).await);
    }
    node.cancel_qr(claimant?.of(&name)).await?;
    Ok((StatusCode::NO_CONTENT, [NO_STORE]).into_response())
}
