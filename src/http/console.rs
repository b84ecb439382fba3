//! The operator's console: the page below `/admin`, and what it reads and does below `/admin/api`. The page is the same
//! for everybody; whatever it shows needs the operator key, which it sends in a header and nowhere else.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use countersign_protocol::ErrorCode;
use countersign_protocol::limits::HTTP_BODY_BYTES_MAX;
use serde::{Deserialize, Serialize};

use super::error::HttpError;
use super::extract::{Json, Segment};
use super::operator::{Operator, called_by_name};
use super::{assets, layers};
use crate::node::console::{Order, Wanted};
use crate::node::{Node, Refusal};

/// `/admin` and everything below.
pub(super) fn router(node: &Arc<Node>) -> Router<Arc<Node>> {
    Router::new()
        .route("/admin", get(page))
        .route("/admin/", get(page))
        .route("/admin/assets/{*path}", get(asset))
        .route("/admin/api/overview", get(overview))
        .route("/admin/api/connections", get(connections))
        .route("/admin/api/connections/{id}/kick", post(kick_connection))
        .route("/admin/api/users/{id}/kick", post(kick_user))
        .route("/admin/api/rooms", get(rooms))
        .route("/admin/api/closes", get(closes))
        .route("/admin/api/drain", post(drain))
        .layer(DefaultBodyLimit::max(HTTP_BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(node), layers::deadline))
}

/// The port was called by a name of its own; no key is asked for.
struct Ours;

impl FromRequestParts<Arc<Node>> for Ours {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, node: &Arc<Node>) -> Result<Self, HttpError> {
        called_by_name(parts, node)?;
        Ok(Self)
    }
}

async fn page(_: Ours) -> Response {
    assets::console("console/index.html")
}

async fn asset(_: Ours, Segment(path): Segment) -> Response {
    assets::console(&path)
}

/// How an answer is told.
fn told(status: StatusCode, body: impl Serialize) -> Response {
    let headers: [(HeaderName, &str); 2] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (status, headers, axum::Json(body)).into_response()
}

/// Runs what looks at all connections or at files of the system's beside the runtime's own threads.
async fn beside<T: Send + 'static>(
    node: Arc<Node>,
    look: impl FnOnce(&Node) -> T + Send + 'static,
) -> Result<T, HttpError> {
    let looked = tokio::task::spawn_blocking(move || look(&node)).await;
    looked.map_err(|_| Refusal::new(ErrorCode::Internal, "the node could not be looked at").into())
}

async fn overview(State(node): State<Arc<Node>>, _: Operator) -> Result<Response, HttpError> {
    let overview = beside(node, Node::overview).await?;
    Ok(told(StatusCode::OK, overview))
}

/// `?limit=` of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    limit: Option<usize>,
}

/// `?sort=&user=&after=&limit=` of the list of connections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    #[serde(default)]
    sort: Sort,
    user: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sort {
    #[default]
    Newest,
    Oldest,
    Outbox,
}

/// Parameters that were read, or a sentence on what there is.
fn read<T>(query: Result<Query<T>, QueryRejection>, known: &'static str) -> Result<T, HttpError> {
    match query {
        Ok(Query(read)) => Ok(read),
        Err(_) => Err(Refusal::bad_request(known).into()),
    }
}

async fn connections(
    State(node): State<Arc<Node>>,
    _: Operator,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Response, HttpError> {
    let which = read(
        query,
        "parameters are sort (newest, oldest or outbox), user, after and limit",
    )?;
    let wanted = Wanted {
        order: match which.sort {
            Sort::Newest => Order::Newest,
            Sort::Oldest => Order::Oldest,
            Sort::Outbox => Order::Slowest,
        },
        user: which.user,
        beyond: which.after,
        limit: which.limit,
    };
    let page = beside(node, move |node| node.connections_page(&wanted)).await??;
    Ok(told(StatusCode::OK, page))
}

async fn rooms(
    State(node): State<Arc<Node>>,
    _: Operator,
    query: Result<Query<Limit>, QueryRejection>,
) -> Result<Response, HttpError> {
    let limit = read(query, "the one parameter is limit")?.limit;
    Ok(told(StatusCode::OK, node.rooms_page(limit).await?))
}

async fn closes(
    State(node): State<Arc<Node>>,
    _: Operator,
    query: Result<Query<Limit>, QueryRejection>,
) -> Result<Response, HttpError> {
    let limit = read(query, "the one parameter is limit")?.limit;
    Ok(told(StatusCode::OK, node.closes_page(limit)?))
}

async fn kick_connection(
    State(node): State<Arc<Node>>,
    _: Operator,
    Segment(id): Segment,
) -> Result<Response, HttpError> {
    Ok(told(StatusCode::OK, node.kick_connection(&id)?))
}

async fn kick_user(
    State(node): State<Arc<Node>>,
    _: Operator,
    Segment(user): Segment,
) -> Result<Response, HttpError> {
    Ok(told(StatusCode::OK, node.kick_user(&user)?))
}

#[derive(Debug, Deserialize)]
struct Confirmation {
    #[serde(default)]
    confirm: String,
}

async fn drain(
    State(node): State<Arc<Node>>,
    _: Operator,
    Json(said): Json<Confirmation>,
) -> Result<Response, HttpError> {
    Ok(told(StatusCode::ACCEPTED, node.ask_drain(&said.confirm)?))
}
