//! Which client asks: by a Basic header or by the form, never by both (RFC 6749 §2.3).

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_protocol::oauth::OAuthErrorCode;

use super::error::OAuthHttpError;
use super::form::{Form, decoded};
use crate::http::extract::address;
use crate::node::{Asking, Node, OAuthRefusal};

/// A request of a client's, read whole and not authenticated yet.
pub(super) struct Asked {
    pub(super) headers: HeaderMap,
    pub(super) form: Form,
    pub(super) address: IpAddr,
}

impl Asked {
    pub(super) async fn read(request: Request) -> Result<Self, OAuthHttpError> {
        let (parts, body) = request.into_parts();
        let address = address(&parts).map_err(|e| e.0)?;
        let headers = parts.headers.clone();
        let form = Form::of(Request::from_parts(parts, body)).await?;
        Ok(Self {
            headers,
            form,
            address,
        })
    }

    /// The client that asks.
    pub(super) fn client(&self, node: &Node) -> Result<Asking, OAuthRefusal> {
        let (named, shown) = (self.form.get("client_id"), self.form.get("client_secret"));
        let Some((id, secret)) = self.basic()? else {
            let id = self.form.required("client_id")?;
            return node.oauth_client(id, shown, self.address);
        };
        if shown.is_some() {
            let told = "authenticate in the header or in the form, not in both";
            return Err(OAuthRefusal::invalid_request(told));
        }
        if named.is_some_and(|named| named != id) {
            let told = "client_id names another client than Authorization";
            return Err(OAuthRefusal::invalid_request(told));
        }
        // An empty one is none (RFC 6749 §2.3.1).
        let secret = Some(secret.as_str()).filter(|secret| !secret.is_empty());
        node.oauth_client(&id, secret, self.address)
    }

    /// The id and the secret of a Basic header.
    fn basic(&self) -> Result<Option<(String, String)>, OAuthRefusal> {
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let Some(first) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(OAuthRefusal::invalid_request("Authorization is given twice"));
        }
        let read = || {
            let (scheme, encoded) = first.to_str().ok()?.split_once(' ')?;
            let pair = STANDARD.decode(encoded.trim()).ok()?;
            let at = pair.iter().position(|b| *b == b':')?;
            let (id, secret) = (decoded(&pair[..at])?, decoded(&pair[at + 1..])?);
            scheme.eq_ignore_ascii_case("basic").then_some((id, secret))
        };
        let unread = "Authorization is Basic, of the form-urlencoded client_id and client_secret";
        let refused = || OAuthRefusal::new(OAuthErrorCode::InvalidClient, unread);
        read().map(Some).ok_or_else(refused)
    }
}
