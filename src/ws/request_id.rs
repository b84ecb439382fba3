//! A name for each request: in its answer, in what is logged in its name, and in a line of its own at level `debug`.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};

use crate::node::{Node, Peer};
use crate::ops::ids::RequestId;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Parts of a path in its line of the log.
const PARTS_MAX: usize = 8;
/// Longest word of a path that is one of ours.
const WORD_MAX: usize = 16;

/// A request that is being answered.
pub(super) struct Asked {
    pub(super) id: RequestId,
    /// Its method and path, if they are to be logged, and when it came.
    line: Option<(Method, String, u64)>,
}

impl Asked {
    /// Names a request: as a listed proxy did, or by a number of ours.
    pub(super) fn of<B>(node: &Node, peer: Peer, request: &Request<B>) -> Self {
        let logged = tracing::enabled!(target: "countersign::http", tracing::Level::DEBUG);
        Self {
            id: node.request_id(peer, said(request.headers())),
            line: logged.then(|| {
                let path = shape(request.uri().path());
                (request.method().clone(), path, node.clock.now())
            }),
        }
    }

    /// Puts the name into the answer.
    pub(super) fn answered(self, node: &Node, mut response: Response<Body>) -> Response<Body> {
        if let Some((method, path, began)) = self.line {
            let ms = node.clock.now().saturating_sub(began);
            let status = response.status().as_u16();
            tracing::debug!(target: "countersign::http", request = %self.id, %method, path, status, ms, "answered");
        }
        if let Ok(value) = HeaderValue::from_str(self.id.as_str()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        response
    }
}

/// The only name that the request says; two may differ.
fn said(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(X_REQUEST_ID).iter();
    let one = all.next()?.to_str().ok();
    one.filter(|_| all.next().is_none())
}

/// A path with `*` for all that may be somebody's: who reads the id of a code in a log could scan it.
fn shape(path: &str) -> String {
    let own = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || matches!(b, b'.' | b'-') || b.is_ascii_digit();
        let version = part == "v1" || !part.bytes().any(|b| b.is_ascii_digit());
        part.len() <= WORD_MAX && version && part.bytes().all(plain)
    };
    let parts = path
        .split('/')
        .take(PARTS_MAX)
        .map(|part| if own(part) { part } else { "*" });
    parts.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_logged_without_what_is_somebodys() {
        for (path, logged) in [
            ("/", "/"),
            ("/v1/me", "/v1/me"),
            ("/v1/qr/Yx0d-4WZ1Cw3nVqQb2Zl8w/outcome", "/v1/qr/*/outcome"),
            ("/v1/qr/Yx0d-4WZ1Cw3nVqQb2Zl8w.svg", "/v1/qr/*"),
            ("/v1/sessions/s_19", "/v1/sessions/*"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/a%0ab/\u{1b}[2J", "/*/*"),
            ("/1/2/3/4/5/6/7/8/9", "/*/*/*/*/*/*/*"),
        ] {
            assert_eq!(shape(path), logged, "{path}");
        }
    }

    #[test]
    fn a_name_is_said_once_or_not_at_all() {
        let headers = |values: &[&'static [u8]]| {
            let values = values
                .iter()
                .map(|v| (X_REQUEST_ID, HeaderValue::from_bytes(v).unwrap()));
            values.collect::<HeaderMap>()
        };
        assert_eq!(said(&headers(&[b"abc"])), Some("abc"));
        let lists: [&[&[u8]]; 3] = [&[], &[b"a", b"a"], &[b"\xff"]];
        for none in lists {
            assert_eq!(said(&headers(none)), None);
        }
    }
}
