//! Accounts, sessions and keys.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use countersign_protocol::http::{AccountCreated, Login, NewAccount, RefreshBody};

use super::error::HttpError;
use super::extract::{Anyone, Json, Segment, User, device};
use crate::node::{Node, Refusal};

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

pub(super) async fn register(
    State(node): State<Arc<Node>>,
    Anyone(caller): Anyone,
    Json(new): Json<NewAccount>,
) -> Result<Response, HttpError> {
    let user = node.register(caller.address, new).await?;
    Ok((
        StatusCode::CREATED,
        [NO_STORE],
        axum::Json(AccountCreated { user }),
    )
        .into_response())
}

pub(super) async fn login(
    State(node): State<Arc<Node>>,
    Anyone(caller): Anyone,
    Json(login): Json<Login>,
) -> Result<Response, HttpError> {
    let tokens = node.login(caller.address, login).await?;
    Ok(([NO_STORE], axum::Json(tokens)).into_response())
}

pub(super) async fn refresh(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    Json(body): Json<RefreshBody>,
) -> Result<Response, HttpError> {
    let device = device(&headers)?;
    let tokens = node.refresh_tokens(&body.refresh_token, device.as_ref()).await?;
    Ok(([NO_STORE], axum::Json(tokens)).into_response())
}

pub(super) async fn logout(
    State(node): State<Arc<Node>>,
    User(_, session): User,
) -> Result<StatusCode, HttpError> {
    node.logout(&session).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn sessions(
    State(node): State<Arc<Node>>,
    User(_, session): User,
) -> Result<Response, HttpError> {
    let sessions = node.sessions(&session).await?;
    Ok(([NO_STORE], axum::Json(sessions)).into_response())
}

pub(super) async fn end_session(
    State(node): State<Arc<Node>>,
    Segment(id): Segment,
    User(_, session): User,
) -> Result<StatusCode, HttpError> {
    node.end_session_of(&session, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which sessions `DELETE /v1/sessions` ends.
#[derive(serde::Deserialize)]
pub(super) struct Which {
    except: Option<String>,
}

pub(super) async fn end_sessions(
    State(node): State<Arc<Node>>,
    User(_, session): User,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<StatusCode, HttpError> {
    if !which.is_ok_and(|Query(which)| which.except.as_deref() == Some("current")) {
        return Err(Refusal::bad_request("say which: ?except=current").into());
    }
    node.end_other_sessions(&session).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn me(User(_, session): User) -> Response {
    ([NO_STORE], axum::Json(Node::me(&session))).into_response()
}

pub(super) async fn jwks(State(node): State<Arc<Node>>) -> Response {
    (super::documents::PUBLIC_DOCUMENT, axum::Json(node.jwks())).into_response()
}
