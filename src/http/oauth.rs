//! The OAuth 2.0 face: forms in, JSON out, errors as RFC 6749 §5.2 has them.

mod client;
mod error;
mod form;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use countersign_protocol::ErrorCode;
use countersign_protocol::client::DeviceKind;
use countersign_protocol::oauth::{DEVICE_CODE_GRANT, OAuthErrorCode, REFRESH_TOKEN_GRANT};

pub(super) use error::OAuthHttpError;

use super::documents::PUBLIC_DOCUMENT;
use super::extract::{bearer, device, own_url, proof, user_agent};
use crate::auth::sessions::Proof;
use crate::node::{Asking, DeviceRequest, Node, OAuthRefusal, Refusal};
use crate::ops::metrics::OAuthRequest;
use client::Asked;

const NO_STORE: [(HeaderName, &str); 2] = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];

/// The addresses of the face, and the documents that name them.
pub(super) fn routes() -> Router<Arc<Node>> {
    Router::new()
        .route("/.well-known/oauth-authorization-server", get(metadata))
        .route("/.well-known/openid-configuration", get(metadata))
        .route(
            "/oauth/device_authorization",
            post(device_authorization).fallback(other_method),
        )
        .route("/oauth/token", post(token).fallback(other_method))
        .route("/oauth/revoke", post(revoke).fallback(other_method))
        .route("/oauth/introspect", post(introspect).fallback(other_method))
        .route("/oauth/userinfo", get(userinfo).fallback(other_method))
}

async fn other_method() -> OAuthHttpError {
    Refusal::new(
        ErrorCode::MethodNotAllowed,
        "this address does not take this method",
    )
    .into()
}

async fn metadata(State(node): State<Arc<Node>>) -> Response {
    (PUBLIC_DOCUMENT, Json(node.authorization_server())).into_response()
}

async fn device_authorization(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Response, OAuthHttpError> {
    let asked = Asked::read(request).await?;
    let call = async {
        let asking = asked.client(&node)?;
        let wanted = DeviceRequest {
            scopes: scopes(&asking, asked.form.get("scope"))?,
            device: device(&asked.headers)?,
            device_name: asked.form.get("device_name").map(str::to_owned),
            device_kind: device_kind(asked.form.get("device_kind"))?,
            user_agent: user_agent(&asked.headers),
        };
        node.open_grant(&asking, asked.address, wanted).await
    };
    let opened = node.oauth_counted(OAuthRequest::DeviceAuthorization, call).await;
    let opened = opened.map_err(OAuthHttpError::of_client)?;
    Ok((NO_STORE, Json(opened)).into_response())
}

async fn token(State(node): State<Arc<Node>>, request: Request) -> Result<Response, OAuthHttpError> {
    let asked = Asked::read(request).await?;
    let kind = match asked.form.get("grant_type") {
        Some(DEVICE_CODE_GRANT) => OAuthRequest::DeviceCode,
        Some(REFRESH_TOKEN_GRANT) => OAuthRequest::RefreshToken,
        _ => OAuthRequest::OtherGrant,
    };
    let call = async {
        let form = &asked.form;
        let asking = asked.client(&node)?;
        match kind {
            OAuthRequest::DeviceCode => {
                let code = form.required("device_code")?;
                node.exchange_device_code(&asking, code).await
            }
            OAuthRequest::RefreshToken => {
                let token = form.required("refresh_token")?;
                let device = device(&asked.headers)?;
                let scope = form.get("scope");
                node.refresh_for_client(&asking, token, device.as_ref(), scope)
                    .await
            }
            _ => {
                form.required("grant_type")?;
                Err(OAuthRefusal::new(
                    OAuthErrorCode::UnsupportedGrantType,
                    format!("grant_type is {DEVICE_CODE_GRANT} or {REFRESH_TOKEN_GRANT}"),
                ))
            }
        }
    };
    let tokens = node.oauth_counted(kind, call).await;
    let tokens = tokens.map_err(OAuthHttpError::of_client)?;
    Ok((NO_STORE, Json(tokens)).into_response())
}

async fn revoke(State(node): State<Arc<Node>>, request: Request) -> Result<Response, OAuthHttpError> {
    let asked = Asked::read(request).await?;
    let call = async {
        let asking = asked.client(&node)?;
        node.revoke_for_client(&asking, asked.form.required("token")?)
            .await
    };
    let revoked = node.oauth_counted(OAuthRequest::Revoke, call).await;
    revoked.map_err(OAuthHttpError::of_client)?;
    Ok((StatusCode::OK, NO_STORE).into_response())
}

async fn introspect(State(node): State<Arc<Node>>, request: Request) -> Result<Response, OAuthHttpError> {
    let asked = Asked::read(request).await?;
    let call = async {
        let asking = asked.client(&node)?;
        node.introspect(&asking, asked.form.required("token")?).await
    };
    let told = node.oauth_counted(OAuthRequest::Introspect, call).await;
    let told = told.map_err(OAuthHttpError::of_client)?;
    Ok((NO_STORE, Json(told)).into_response())
}

async fn userinfo(
    State(node): State<Arc<Node>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, OAuthHttpError> {
    let url = own_url(&node, uri.path());
    let call = async {
        let token = bearer(&headers)?;
        let device = device(&headers)?;
        let proof = proof(&headers)?.map(|proof| Proof {
            proof,
            method: method.as_str(),
            url: &url,
        });
        node.userinfo(token, device.as_ref(), proof).await
    };
    let told = node.oauth_counted(OAuthRequest::Userinfo, call).await;
    let shown = headers.contains_key(header::AUTHORIZATION);
    let told = told.map_err(|refusal| OAuthHttpError::of_resource(refusal, shown))?;
    Ok((NO_STORE, Json(told)).into_response())
}

/// What is asked for, each once, in the order in which it was asked.
fn scopes(asking: &Asking, scope: Option<&str>) -> Result<Vec<String>, OAuthRefusal> {
    let mut scopes: Vec<String> = Vec::new();
    for wanted in scope
        .unwrap_or_default()
        .split(' ')
        .filter(|word| !word.is_empty())
    {
        if !asking.client.scopes.iter().any(|known| known == wanted) {
            let told = "a scope is none that this client may ask for";
            return Err(OAuthRefusal::new(OAuthErrorCode::InvalidScope, told));
        }
        if !scopes.iter().any(|had| had == wanted) {
            scopes.push(wanted.to_owned());
        }
    }
    Ok(scopes)
}

fn device_kind(named: Option<&str>) -> Result<DeviceKind, OAuthRefusal> {
    let Some(named) = named else {
        return Ok(DeviceKind::default());
    };
    serde_json::from_value(serde_json::Value::from(named))
        .map_err(|_| OAuthRefusal::invalid_request("device_kind is pc, web, ios, android, tv or other"))
}
