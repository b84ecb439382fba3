//! The contract as documents for machines, embedded into the binary: OpenAPI for HTTP, AsyncAPI for the WebSocket,
//! JSON Schema for the types of both. They are public, and the same for everybody.

use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};

macro_rules! contract {
    ($name:literal) => {
        include_str!(concat!("../../contracts/", $name))
    };
}

/// Of what tells programs where things are and which keys sign: pages of any origin verify tokens too.
pub(super) const PUBLIC_DOCUMENT: [(HeaderName, &str); 2] = [
    (header::CACHE_CONTROL, "public, max-age=300"),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
];

/// GET `/openapi.json`.
pub(super) async fn openapi() -> Response {
    document("application/json", contract!("openapi.json"))
}

/// GET `/asyncapi.json`.
pub(super) async fn asyncapi() -> Response {
    document("application/json", contract!("asyncapi.json"))
}

/// GET `/schema.json`.
pub(super) async fn schema() -> Response {
    document("application/schema+json", contract!("schema.json"))
}

fn document(kind: &'static str, content: &'static str) -> Response {
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        // Viewers and generators run on pages of other sites.
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    (headers, content).into_response()
}
