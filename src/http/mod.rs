//! HTTP: one file per resource. A handler reads the request, calls a use case, writes the answer.

mod accounts;
mod assets;
mod console;
mod documents;
mod error;
mod extract;
mod layers;
mod oauth;
mod operator;
mod qr;
mod qr_code;
mod qr_pc;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use countersign_protocol::limits::HTTP_BODY_BYTES_MAX;

pub use error::HttpError;
pub use extract::{bearer, device, forwarding, requester};
pub use layers::Page;
pub use operator::operator_router;

use crate::node::{Admission, Node};

/// Where a request comes from, proxies seen through; the accept loop puts it into the request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct ClientAddress(pub IpAddr);

/// The place of the socket that a request comes over; likewise.
#[derive(Debug, Clone)]
pub struct Place(pub Arc<Admission>);

/// Stands in the extensions of an answer that goes on until its reader leaves: the last of its connection, which
/// ends when the peer has nothing more to say.
#[derive(Debug, Clone, Copy)]
pub struct Streams;

/// Whether the answer to a request may wait for long: then somebody who goes away is noticed meanwhile, and it is
/// the last of its connection.
pub fn waits(path: &str) -> bool {
    path.starts_with("/v1/qr/") && path.ends_with("/outcome")
}

/// Whether what a request asks for may go on for long: a wait, or an event stream.
pub fn lasts(path: &str) -> bool {
    waits(path) || (path.starts_with("/v1/qr/") && path.ends_with("/events"))
}

/// Everything on the public port but the WebSocket.
pub fn router(node: &Arc<Node>) -> Router {
    let mut prompt = Router::new();
    if node.config().demo {
        prompt = prompt.route("/", get(assets::index));
    }
    let prompt = prompt
        .route("/q", get(assets::confirm))
        .route("/q/", get(assets::confirm))
        .route("/q/{qr_id}", get(assets::confirm))
        .route("/assets/{*path}", get(assets::asset))
        .route("/openapi.json", get(documents::openapi))
        .route("/asyncapi.json", get(documents::asyncapi))
        .route("/schema.json", get(documents::schema))
        .route("/v1/accounts", post(accounts::register))
        .route("/v1/login", post(accounts::login))
        .route("/v1/refresh", post(accounts::refresh))
        .route("/v1/logout", post(accounts::logout))
        .route("/v1/me", get(accounts::me))
        .route(
            "/v1/sessions",
            get(accounts::sessions).delete(accounts::end_sessions),
        )
        .route("/v1/sessions/{id}", delete(accounts::end_session))
        .route("/.well-known/jwks.json", get(accounts::jwks))
        .route("/v1/qr", post(qr_pc::open))
        .route(
            "/v1/qr/{qr_id}",
            get(qr_pc::look)
                .delete(qr_pc::cancel)
                .fallback(qr_pc::other_method),
        )
        // Its deadline is that of its beginning; what streams afterwards is no part of it.
        .route("/v1/qr/{qr_id}/events", get(qr_pc::events))
        .route("/v1/qr/{qr_id}/answer", post(qr_pc::answer))
        .route("/v1/qr/{qr_id}/redeem", post(qr_pc::redeem))
        .route(
            "/v1/qr/scan",
            post(qr::scan_by_code).fallback(error::method_not_allowed),
        )
        .route("/v1/qr/{qr_id}/scan", post(qr::scan))
        .route("/v1/qr/{qr_id}/confirm", post(qr::confirm))
        .route("/v1/qr/{qr_id}/deny", post(qr::deny))
        .merge(oauth::routes())
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(Arc::clone(node), layers::deadline));
    // What waits for something keeps its own time.
    let waiting = Router::new()
        .route("/v1/qr/{qr_id}/outcome", get(qr::outcome))
        .method_not_allowed_fallback(error::method_not_allowed);
    prompt
        .merge(waiting)
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(node), layers::guard))
        .with_state(Arc::clone(node))
}
