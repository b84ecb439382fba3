//! The handshake of RFC 6455, as strict as it allows: what is refused here never becomes a socket, and nothing
//! is served after it on the same connection.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{Method, Response, StatusCode, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_protocol::http::DEVICE_HEADER;
use countersign_protocol::{DeviceId, ErrorCode, SUBPROTOCOL};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::auth::sessions::{Proof, Session};
use crate::http;
use crate::node::{Node, Refusal, Requester};
use crate::ops::ids::{self, RequestId};

/// What the handshake established about a connection.
#[derive(Debug, Default)]
pub(super) struct Welcome {
    pub(super) session: Option<Arc<Session>>,
    pub(super) device: Option<DeviceId>,
    pub(super) requester: Requester,
    /// The request that asked for it.
    pub(super) request: Option<RequestId>,
}

/// Whether a request asks for another protocol: whatever we answer but 101, the connection ends with it.
pub(super) fn is_attempt(parts: &Parts) -> bool {
    parts.headers.contains_key(UPGRADE) || parts.method == Method::CONNECT
}

/// A request names its host exactly once, and as one.
pub(super) fn check_host(parts: &Parts) -> Result<(), Refusal> {
    let bad = |message: &'static str| Refusal::bad_request(message);
    let host = only(&parts.headers, &HOST)
        .map_err(|_| bad("Host is sent once"))?
        .ok_or(bad("Host is missing"))?;
    let host: Authority = host.parse().map_err(|_| bad("Host is no host"))?;
    let port = host.as_str().strip_prefix(host.host()).unwrap_or("@");
    // Other characters that a host may have in theory are names two servers would read differently.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~[]:".contains(&b);
    let sound = !host.host().is_empty()
        && host.host().bytes().all(plain)
        && (port.is_empty() || (port.len() > 1 && host.port_u16().is_some()));
    if !sound {
        return Err(bad("Host is no host"));
    }
    match parts.uri.authority() {
        Some(target) if !target.as_str().eq_ignore_ascii_case(host.as_str()) => {
            Err(bad("the request's target names another host than Host"))
        }
        _ => Ok(()),
    }
}

/// Everything that can be known about an upgrade before it is answered.
///
/// # Errors
/// Why there is none, as a problem.
pub(super) async fn accept(node: &Node, parts: &Parts) -> Result<(Response<Body>, Welcome), Refusal> {
    check_request(parts)?;
    let headers = &parts.headers;
    let key = check_handshake(headers, node.limits().handshake_header_bytes_max)?;
    check_origin(node, headers)?;
    if node.is_draining() {
        return Err(Refusal::unavailable("this node is about to end", 1_000));
    }
    let device = match only(headers, &HeaderName::from_static(DEVICE_HEADER))? {
        Some(text) => Some(DeviceId::parse(text).map_err(|e| Refusal::bad_request(e.to_string()))?),
        None => None,
    };
    let session = authenticate(node, headers, device.as_ref()).await?;

    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let accepted = HeaderValue::try_from(derive_accept_key(key.as_bytes()))
        .map_err(|_| Refusal::new(ErrorCode::Internal, "the key could not be answered"))?;
    answer.insert(SEC_WEBSOCKET_ACCEPT, accepted);
    if has_token(headers, &SEC_WEBSOCKET_PROTOCOL, |offered| offered == SUBPROTOCOL) {
        answer.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    let requester = http::requester(headers);
    Ok((
        response,
        Welcome {
            session,
            device,
            requester,
            request: ids::current_request(),
        },
    ))
}

fn check_request(parts: &Parts) -> Result<(), Refusal> {
    if parts.method != Method::GET {
        return Err(Refusal::new(
            ErrorCode::MethodNotAllowed,
            "a socket is opened with GET",
        ));
    }
    if parts.version != Version::HTTP_11 {
        return Err(Refusal::bad_request("a socket is opened over HTTP/1.1"));
    }
    let headers = &parts.headers;
    let body = headers.contains_key(TRANSFER_ENCODING)
        || headers
            .get_all(CONTENT_LENGTH)
            .iter()
            .any(|length| length.as_bytes().trim_ascii() != b"0");
    if body {
        return Err(Refusal::bad_request("a request for a socket has no body"));
    }
    Ok(())
}

/// The headers of the handshake; answers the key.
fn check_handshake(headers: &HeaderMap, bytes_max: usize) -> Result<&str, Refusal> {
    let wants = |name: &HeaderName, token: &str| has_token(headers, name, |t| t.eq_ignore_ascii_case(token));
    if !wants(&UPGRADE, "websocket") || !wants(&CONNECTION, "upgrade") {
        return Err(upgrade_required("this address is a WebSocket"));
    }
    if only(headers, &SEC_WEBSOCKET_VERSION)? != Some("13") {
        return Err(upgrade_required("Sec-WebSocket-Version is 13"));
    }
    for name in [SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_EXTENSIONS] {
        let bytes: usize = headers.get_all(&name).iter().map(HeaderValue::len).sum();
        if bytes > bytes_max {
            return Err(Refusal {
                status: Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.as_u16()),
                ..Refusal::new(
                    ErrorCode::TooLarge,
                    format!("{name} is at most {bytes_max} bytes"),
                )
            });
        }
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY)?.unwrap_or_default().trim();
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == 16 => Ok(key),
        _ => Err(Refusal::bad_request("Sec-WebSocket-Key is 16 bytes in base64")),
    }
}

/// RFC 9110 §15.5.22 asks for `Upgrade` in the answer, which [`super::accept`] adds.
fn upgrade_required(message: &'static str) -> Refusal {
    Refusal {
        status: Some(StatusCode::UPGRADE_REQUIRED.as_u16()),
        ..Refusal::bad_request(message)
    }
}

/// A page says where it comes from, and only known ones get a socket: a browser would send a user's cookies
/// along for any of them. No `Origin` at all is no browser.
fn check_origin(node: &Node, headers: &HeaderMap) -> Result<(), Refusal> {
    let rejected = || Refusal::new(ErrorCode::OriginRejected, "pages of this origin may not connect");
    match only(headers, &ORIGIN) {
        Ok(None) => Ok(()),
        Ok(Some(origin)) if node.origins.allows(origin) => Ok(()),
        _ => Err(rejected()),
    }
}

async fn authenticate(
    node: &Node,
    headers: &HeaderMap,
    device: Option<&DeviceId>,
) -> Result<Option<Arc<Session>>, Refusal> {
    let invalid = |message: &'static str| Refusal::new(ErrorCode::InvalidToken, message);
    let Some(value) = only(headers, &AUTHORIZATION).map_err(|_| invalid("Authorization is sent once"))?
    else {
        return Ok(None);
    };
    let (scheme, token) = value
        .trim()
        .split_once(' ')
        .ok_or(invalid("Authorization is Bearer or DPoP and a token"))?;
    let proof = only(headers, &HeaderName::from_static("dpop"))?;
    if !scheme.eq_ignore_ascii_case("dpop") && !scheme.eq_ignore_ascii_case("bearer") {
        return Err(invalid("Authorization is Bearer or DPoP and a token"));
    }
    let url = if proof.is_some() {
        node.socket_url()
    } else {
        String::new()
    };
    let proof = proof.map(|proof| Proof {
        proof,
        method: "GET",
        url: &url,
    });
    node.authenticate(token.trim(), device, proof).await.map(Some)
}

/// The value of a header that is sent at most once, as text.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .map(Some)
            .map_err(|_| Refusal::bad_request(format!("{name} is not text"))),
        _ => Err(Refusal::bad_request(format!("{name} is sent once"))),
    }
}

/// Whether a comma-separated header has a token.
fn has_token(headers: &HeaderMap, name: &HeaderName, is: impl Fn(&str) -> bool) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|t| is(t.trim()))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn a_host_is_one_host() {
        for good in [
            "a",
            "a.example",
            "a.example:8080",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
        ] {
            assert_eq!(check_host(&parts("/", &[("host", good)])), Ok(()), "{good}");
        }
        for bad in [
            "", ":80", "a:", "a:b", "a:99999", "a b", "u@a", "a/b", "a,b", "http://a", "[::1", "a:80:80",
        ] {
            assert!(check_host(&parts("/", &[("host", bad)])).is_err(), "{bad:?}");
        }
        assert!(check_host(&parts("/", &[])).is_err());
        assert!(check_host(&parts("/", &[("host", "a"), ("host", "a")])).is_err());
        assert_eq!(check_host(&parts("http://a/x", &[("host", "A")])), Ok(()));
        assert!(check_host(&parts("http://b/x", &[("host", "a")])).is_err());
    }

    #[test]
    fn a_handshake_is_complete() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let status = |headers: &[(&str, &str)]| {
            check_handshake(&parts("/", headers).headers, 16)
                .map(str::to_owned)
                .map_err(|r| r.status())
        };
        assert_eq!(status(&good), Ok("dGhlIHNhbXBsZSBub25jZQ==".into()));
        for (at, value, refused) in [
            (0, "h2c", 426),
            (1, "close", 426),
            (2, "8", 426),
            (3, "AAAA", 400),
            (3, "dGhlIHNhbXBsZSBub25jZQ", 400),
            (3, "", 400),
        ] {
            let mut bad = good;
            bad[at].1 = value;
            assert_eq!(status(&bad), Err(refused), "{bad:?}");
        }
        let twice = [&good[..], &good[3..]].concat();
        assert_eq!(status(&twice), Err(400));
        let long = [
            &good[..],
            &[
                ("sec-websocket-protocol", "0123456789abcdef"),
                ("sec-websocket-protocol", "x"),
            ],
        ];
        assert_eq!(status(&long.concat()), Err(431));
    }

    #[test]
    fn a_request_for_a_socket_has_no_body() {
        assert_eq!(check_request(&parts("/", &[])), Ok(()));
        assert_eq!(check_request(&parts("/", &[("content-length", "0")])), Ok(()));
        assert!(check_request(&parts("/", &[("content-length", "40")])).is_err());
        assert!(check_request(&parts("/", &[("transfer-encoding", "chunked")])).is_err());
    }
}
