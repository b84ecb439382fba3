//! What handlers take from a request, with our errors in place of the framework's.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use countersign_protocol::http::{CLAIM_SCHEME, DEVICE_HEADER};
use countersign_protocol::object::{self, Unsound};
use countersign_protocol::{DeviceId, ErrorCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ClientAddress;
use super::error::HttpError;
use crate::auth::sessions::{Proof, Session};
use crate::node::{Caller, Forwarding, Node, Refusal, Requester, no_attempt, unauthenticated};

/// As much of a `User-Agent` as is kept.
const USER_AGENT_BYTES_MAX: usize = 256;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<Node>> for Json<T> {
    type Rejection = HttpError;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, HttpError> {
        let body = JsonBytes::from_request(request, node).await?;
        Ok(Self(body.0.read()?))
    }
}

/// A body that says it is JSON and has not been read yet: what is read borrows from it.
pub(super) struct JsonBytes(pub(super) Unread);

/// Its bytes.
pub(super) struct Unread(Bytes);

impl FromRequest<Arc<Node>> for JsonBytes {
    type Rejection = HttpError;

    async fn from_request(request: Request, node: &Arc<Node>) -> Result<Self, HttpError> {
        let is_json = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| {
                v.split(';')
                    .next()
                    .is_some_and(|t| t.trim().eq_ignore_ascii_case("application/json"))
            });
        if !is_json {
            return Err(Refusal::bad_request("send the body as application/json").into());
        }
        let bytes = Bytes::from_request(request, node).await.map_err(|e| match e {
            BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
                Refusal::new(ErrorCode::TooLarge, "a request body is at most 65536 bytes")
            }
            _ => Refusal::bad_request("the body did not arrive"),
        })?;
        Ok(Self(Unread(bytes)))
    }
}

impl Unread {
    /// By the rules of a command on a socket: what is read here is not told apart from what is read there.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, HttpError> {
        let no_json = || Refusal::bad_request("the body is not JSON");
        let text = std::str::from_utf8(&self.0).map_err(|_| no_json())?;
        object::check(text).map_err(|unsound| match unsound {
            Unsound::NotJson => no_json(),
            Unsound::NotAnObject => Refusal::bad_request("the body is a JSON object"),
            Unsound::Rule(rule) => Refusal::bad_request(rule),
        })?;
        serde_json::from_str(text).map_err(|e| {
            // The position would quote the body in logs of those who print errors; the rule is enough.
            let text = e.to_string();
            let rule = text.split(" at line ").next().unwrap_or_default();
            Refusal::bad_request(rule.chars().take(200).collect::<String>()).into()
        })
    }
}

/// The one segment of the path that a route leaves open.
pub(super) struct Segment(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(segment)) => Ok(Self(segment)),
            // Bytes that are no text name nothing.
            Err(_) => Err(Refusal::new(ErrorCode::NotFound, "no such page").into()),
        }
    }
}

/// The address a request comes from.
pub(super) fn address(parts: &Parts) -> Result<IpAddr, HttpError> {
    let client = parts.extensions.get::<ClientAddress>().copied();
    client
        .map(|client| client.0)
        .ok_or_else(|| Refusal::new(ErrorCode::Internal, "the request has no address").into())
}

/// What a request says about where it comes from; whether to believe it is the node's to say.
pub fn forwarding(headers: &HeaderMap) -> Forwarding<'_> {
    let lines = |name| headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    Forwarding {
        x_forwarded_for: lines(X_FORWARDED_FOR),
        forwarded: lines(header::FORWARDED),
    }
}

/// The device a request names.
pub fn device(headers: &HeaderMap) -> Result<Option<DeviceId>, Refusal> {
    let mut values = headers.get_all(DEVICE_HEADER).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::bad_request("Countersign-Device is given twice"));
    }
    let text = first
        .to_str()
        .map_err(|_| Refusal::bad_request("Countersign-Device is not visible ASCII"))?;
    DeviceId::parse(text)
        .map(Some)
        .map_err(|e| Refusal::bad_request(e.to_string()))
}

/// The token of `Authorization: Bearer` or `DPoP`.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::bad_request("Authorization is given twice"));
    }
    let text = first
        .to_str()
        .map_err(|_| Refusal::bad_request("Authorization is not visible ASCII"))?;
    match text.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("dpop") =>
        {
            Ok(Some(token.trim()))
        }
        _ => Err(Refusal::new(
            ErrorCode::InvalidToken,
            "Authorization is Bearer <token>",
        )),
    }
}

/// The one DPoP proof of a request (RFC 9449 §4.3).
pub(super) fn proof(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut values = headers.get_all("dpop").iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let malformed = || Refusal::new(ErrorCode::InvalidToken, "DPoP is one proof");
    match (first.to_str(), values.next()) {
        (Ok(proof), None) => Ok(Some(proof)),
        _ => Err(malformed()),
    }
}

/// Where a proof has to point that is for a request of this path.
pub(super) fn own_url(node: &Node, path: &str) -> String {
    format!("{}{path}", node.origins.public())
}

/// What a request says about who asks. Its origin is one of those allowed, or it would not have come this far.
pub fn requester(headers: &HeaderMap) -> Requester {
    let origin = headers
        .get(header::ORIGIN)
        .and_then(|origin| origin.to_str().ok());
    Requester {
        user_agent: user_agent(headers),
        origin: origin.map(Into::into),
    }
}

/// The `User-Agent` of a request, cut to what is shown of it.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<Box<str>> {
    let text = headers.get(header::USER_AGENT)?.to_str().ok()?;
    // Visible ASCII, so every byte is a character.
    Some(text.get(..USER_AGENT_BYTES_MAX).unwrap_or(text).into())
}

/// Who says that it opened a QR login: the claim and the device, not checked yet. Without them it cannot be the PC
/// that asked, and is told what any other stranger is told.
pub(super) struct Claimant {
    pub(super) claim: String,
    pub(super) device: DeviceId,
}

impl<S: Send + Sync> FromRequestParts<S> for Claimant {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, HttpError> {
        let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
        let (first, None) = (values.next(), values.next()) else {
            return Err(Refusal::bad_request("Authorization is given twice").into());
        };
        let claim = first
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(CLAIM_SCHEME))
            .map(|(_, claim)| claim.trim().to_owned())
            .ok_or_else(no_attempt)?;
        let device = device(&parts.headers)?.ok_or_else(no_attempt)?;
        Ok(Self { claim, device })
    }
}

/// A caller with no need of a session.
pub(super) struct Anyone(pub(super) Caller);

impl FromRequestParts<Arc<Node>> for Anyone {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Node>) -> Result<Self, HttpError> {
        let address = address(parts)?;
        Ok(Self(Caller {
            address,
            session: None,
        }))
    }
}

/// A signed-in caller: token and device checked, with the session at hand.
pub(super) struct User(pub(super) Caller, pub(super) Arc<Session>);

impl FromRequestParts<Arc<Node>> for User {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, HttpError> {
        let address = address(parts)?;
        let token = bearer(&parts.headers)?.ok_or_else(unauthenticated)?;
        let device = device(&parts.headers)?;
        let url = own_url(node, parts.uri.path());
        let proof = proof(&parts.headers)?.map(|proof| Proof {
            proof,
            method: parts.method.as_str(),
            url: &url,
        });
        let session = node.authenticate(token, device.as_ref(), proof).await?;
        Ok(Self(
            Caller {
                address,
                session: Some(Arc::clone(&session)),
            },
            session,
        ))
    }
}
