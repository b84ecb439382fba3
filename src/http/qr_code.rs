//! The code of a QR login as a picture.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Query};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use countersign_protocol::ErrorCode;
use serde::Deserialize;

use super::error::HttpError;
use crate::code::{Code, PNG_PIXELS_DEFAULT, PNG_PIXELS_MAX, PNG_PIXELS_MIN};
use crate::node::{Node, Refusal};

const NO_STORE: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// `?size=` of a picture in pixels, not read yet: of what is no picture it says nothing.
#[derive(Default, Deserialize)]
pub(super) struct Size {
    size: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Size {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, HttpError> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query.map(|Query(size)| size).map_err(|_| bad_size().into())
    }
}

impl Size {
    /// Pixels of a side.
    fn pixels(&self) -> Result<usize, Refusal> {
        let Some(text) = &self.size else {
            return Ok(PNG_PIXELS_DEFAULT);
        };
        let pixels = text.parse().ok();
        pixels
            .filter(|pixels| (PNG_PIXELS_MIN..=PNG_PIXELS_MAX).contains(pixels))
            .ok_or_else(bad_size)
    }
}

fn bad_size() -> Refusal {
    Refusal::bad_request(format!(
        "size is the picture's width in pixels, {PNG_PIXELS_MIN} to {PNG_PIXELS_MAX}"
    ))
}

/// `<qr_id>.svg` or `<qr_id>.png`. It says nothing that its reader does not know: the same for every well-formed id,
/// known or not.
pub(super) fn picture(node: &Node, name: &str, size: &Size, address: IpAddr) -> Result<Response, HttpError> {
    let not_found = || Refusal::new(ErrorCode::NotFound, "no such QR login");
    let (qr_id, kind) = name.rsplit_once('.').ok_or_else(not_found)?;
    if !["svg", "png"].contains(&kind) {
        return Err(not_found().into());
    }
    let url = node.qr_picture_url(qr_id, address)?;
    let internal = |_| Refusal::new(ErrorCode::Internal, "the code could not be drawn");
    let code = Code::of(&url).map_err(internal)?;
    if kind == "svg" {
        let headers = [NO_STORE, (header::CONTENT_TYPE, "image/svg+xml")];
        return Ok((headers, code.svg()).into_response());
    }
    let png = code.png(size.pixels()?).map_err(internal)?;
    Ok(([NO_STORE, (header::CONTENT_TYPE, "image/png")], png).into_response())
}
