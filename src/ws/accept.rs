//! From a listener to requests: every socket has a place, a deadline for its head, and an end. What becomes a
//! WebSocket leaves from here to [`super::open`] in a task of its own, so that the handshake's memory is
//! not kept by an idle connection.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{
    ALLOW, CONNECTION, HOST, HeaderValue, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use axum::http::request::Parts;
use axum::http::{Request, Response, StatusCode, Version};
use axum::response::IntoResponse;
use bytes::Bytes;
use countersign_protocol::ErrorCode;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tower::ServiceExt;

use super::close;
use super::open::{self, Arrival};
use super::request_id::Asked;
use super::stream::{Answering, HttpStream, Socket, Stream};
use super::tracker::{Tracked, Tracker};
use super::upgrade::{self, Welcome};
use crate::http::{ClientAddress, HttpError, Page, Place, Streams, forwarding, lasts, waits};
use crate::node::{Admission, Node, Peer, Refusal, Stay};
use crate::ops::ids;

/// Where the socket is.
const SOCKET_PATH: &str = "/v1/ws";
/// Requests of the operator served at once; they use the descriptors kept for them.
pub(super) const OPERATORS_MAX: usize = 16;
/// Shortest and longest pause after the system refused a socket.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));
/// A stop waits this long for what has begun.
const STOP_MAX: Duration = Duration::from_secs(5);

/// A listener being served.
pub struct Server {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) node: Arc<Node>,
    router: Router,
    pub(super) face: Face,
    http: http1::Builder,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) tracker: Tracker,
}

/// Which of the two ports this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Face {
    Public,
    Operator,
}

impl Server {
    /// Serves the public port.
    pub fn start(node: Arc<Node>, listener: TcpListener, router: Router) -> Self {
        Self::with_face(node, listener, router, Face::Public)
    }

    /// Serves the operator's port: no sockets, and no bounds shared with the public.
    pub fn start_operator(node: Arc<Node>, listener: TcpListener, router: Router) -> Self {
        Self::with_face(node, listener, router, Face::Operator)
    }

    fn with_face(node: Arc<Node>, listener: TcpListener, router: Router, face: Face) -> Self {
        let mut http = http1::Builder::new();
        // The head's time is kept by `HttpStream`, which tells a slow head from a connection that rests.
        http.header_read_timeout(None)
            .half_close(true)
            .max_headers(node.limits().headers_max)
            .max_header_size(node.limits().head_bytes_max)
            .max_buf_size(node.limits().head_bytes_max.max(8 * 1024));
        let stopping = watch::Sender::new(false);
        let shared = Arc::new(Shared {
            node,
            router,
            face,
            http,
            stopping,
            tracker: Tracker::default(),
        });
        prepare(&listener, shared.node.limits().send_buffer_bytes);
        tokio::spawn(accept(Arc::clone(&shared), Listener::Tcp(listener)));
        Self { shared }
    }

    /// Serves a Unix-domain socket too, whose peers name the clients they speak for.
    pub fn serve_local(&self, listener: UnixListener) {
        tokio::spawn(accept(Arc::clone(&self.shared), Listener::Unix(listener)));
    }

    /// Serves one connection that came some other way, such as a stream of this process.
    pub fn serve_stream(&self, stream: impl Socket, peer: SocketAddr) {
        self.shared
            .take(Stream::Other(Box::new(stream)), Peer::At(peer.ip()));
    }

    /// Takes no new connection, lets requests that have begun end, and waits for all tasks, a few seconds at
    /// most.
    pub async fn stop(self) {
        self.shared.stopping.send_replace(true);
        if tokio::time::timeout(STOP_MAX, self.shared.tracker.idle())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.shared.tracker.count(),
                "connections were still open at the end"
            );
        }
    }
}

/// Sets what every accepted socket inherits: asked of the listener once, it costs no connection a system call.
fn prepare(listener: &TcpListener, send_buffer_bytes: usize) {
    let socket = SockRef::from(listener);
    // A frame is written whole; waiting for more would only delay it.
    if let Err(e) = socket.set_tcp_nodelay(true) {
        tracing::warn!(error = %e, "frames may be sent late: TCP_NODELAY could not be set");
    }
    if let Err(e) = socket.set_send_buffer_size(send_buffer_bytes) {
        tracing::warn!(error = %e, "sockets have the system's send buffer, not send_buffer_bytes");
    }
}

/// Where connections come from.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn accept(&self) -> std::io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Peer::At(peer.ip())))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Other(Box::new(stream)), Peer::Local))
            }
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: Listener) {
    let mut stopping = shared.stopping.subscribe();
    let mut pause = BACKOFF.0;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // The sender lives in `shared`, so this ends by the value alone.
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                pause = BACKOFF.0;
                shared.take(stream, peer);
            }
            Err(e) if is_the_peers(&e) => {}
            Err(e) => {
                // No descriptor is left, for one. Trying again at once would fail again at once.
                tracing::warn!(error = %e, "a connection could not be accepted");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

fn is_the_peers(e: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        e.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// The requests of one connection, and what comes after them.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: Stream,
    peer: Peer,
    place: Option<Admission>,
    tracked: Tracked,
) {
    let refusal = place.as_ref().and_then(|p| p.refusal().cloned());
    let place = place.map(Arc::new);
    let answering = Answering::default();
    let desk = Arc::new(Desk {
        shared: Arc::clone(&shared),
        peer,
        place: place.clone(),
        refusal,
        welcome: Mutex::new(None),
        answering: answering.clone(),
    });
    let io = TokioIo::new(HttpStream::new(stream, &shared.node.limits(), answering));
    let mut http = shared.http.serve_connection(io, Service(Arc::clone(&desk)));
    let ended = {
        let mut stopping = shared.stopping.subscribe();
        let mut stop = pin!(stopping.wait_for(|stop| *stop).fuse());
        loop {
            tokio::select! {
                ended = std::future::poll_fn(|cx| http.poll_without_shutdown(cx)) => break ended,
                _ = &mut stop => std::pin::Pin::new(&mut http).graceful_shutdown(),
            }
        }
    };
    let parts = http.into_parts();
    let (stream, answer) = parts.io.into_inner().into_parts();
    let welcome = desk.welcome.lock().take();
    match welcome {
        Some((welcome, address)) if ended.is_ok() => {
            // Copied, because even an empty rest keeps the whole buffer that hyper read the head into.
            let leftover = Bytes::copy_from_slice(&parts.read_buf);
            drop(parts.read_buf);
            let arrival = Arrival {
                node: Arc::clone(&shared.node),
                stream,
                answer,
                leftover,
                welcome,
                address,
                place,
                tracked,
            };
            open::open(arrival).await;
        }
        _ => {
            close::linger(stream).await;
            drop((place, tracked));
        }
    }
}

/// Answers the requests of one connection.
struct Desk {
    shared: Arc<Shared>,
    peer: Peer,
    place: Option<Arc<Admission>>,
    /// Why this connection gets one answer and no more.
    refusal: Option<Refusal>,
    /// Set with the answer 101: what the handshake established, and for whom.
    welcome: Mutex<Option<(Welcome, IpAddr)>>,
    answering: Answering,
}

struct Service(Arc<Desk>);

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let desk = Arc::clone(&self.0);
        async move {
            let node = &desk.shared.node;
            let asked = Asked::of(node, desk.peer, &request);
            let answer = AssertUnwindSafe(desk.answer(request)).catch_unwind();
            let answered = ids::in_request(asked.id.clone(), answer).await;
            let response = answered.unwrap_or_else(|_| {
                last(
                    HttpError(Refusal::new(
                        ErrorCode::Internal,
                        "the request could not be answered",
                    ))
                    .into_response(),
                )
            });
            let public = desk.shared.face == Face::Public;
            node.metrics.traffic.request(public, response.status().as_u16());
            Ok(asked.answered(node, response))
        }
        .boxed()
    }
}

impl Desk {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let address = match self.receive(&parts) {
            Ok(address) => address,
            Err(refusal) => return self.turn_away(&parts, refusal),
        };
        let node = &self.shared.node;
        if self.shared.face == Face::Public && parts.uri.path() == SOCKET_PATH {
            let deadline = Duration::from_millis(node.limits().request_ms);
            let accepted = tokio::time::timeout(deadline, upgrade::accept(node, &parts)).await;
            let accepted = accepted
                .unwrap_or_else(|_| Err(Refusal::new(ErrorCode::Timeout, "the request took too long")));
            let refused = accepted.as_ref().err().map(|refusal| refusal.code);
            node.metrics.traffic.handshake(refused);
            return match accepted {
                Ok((response, welcome)) => {
                    *self.welcome.lock() = Some((welcome, address));
                    self.answering.upgrades();
                    response
                }
                Err(refusal) => last(no_upgrade(refusal)),
            };
        }
        // Where a request ends that wanted to be something else, or said itself where its body ends, another
        // server may have read differently: nothing is served after it.
        let closes = upgrade::is_attempt(&parts) || parts.headers.contains_key(TRANSFER_ENCODING);
        parts.extensions.insert(ClientAddress(address));
        if let Some(place) = &self.place {
            parts.extensions.insert(Place(Arc::clone(place)));
        }
        let waits = waits(parts.uri.path());
        if waits {
            self.answering.goes_on();
        }
        let request = Request::from_parts(parts, Body::new(body));
        let response = match self.shared.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let streams = response.extensions().get::<Streams>().is_some();
        if streams {
            self.answering.goes_on();
        } else {
            self.answered();
        }
        if closes || streams || waits || node.is_draining() {
            last(response)
        } else {
            response
        }
    }
}

impl Desk {
    /// What holds before anything is served: answers whose request it is.
    fn receive(&self, parts: &Parts) -> Result<IpAddr, Refusal> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        // An old probe of a load balancer names no host; on the operator's port there is nothing to mistake.
        let plain = self.shared.face == Face::Operator
            && parts.version == Version::HTTP_10
            && !parts.headers.contains_key(HOST);
        if !plain {
            upgrade::check_host(parts)?;
        }
        self.client_of(parts)
    }

    /// An answer that does not come from the router, which would have let pages of listed origins read it.
    fn turn_away(&self, parts: &Parts, refusal: Refusal) -> Response<Body> {
        if self.shared.face == Face::Public && parts.uri.path() == SOCKET_PATH {
            self.shared.node.metrics.traffic.handshake(Some(refusal.code));
        }
        let mut response = HttpError(refusal).into_response();
        if self.shared.face == Face::Public {
            let page = Page::of(&self.shared.node, &parts.method, parts.uri.path(), &parts.headers);
            page.allow(response.headers_mut());
        }
        last(response)
    }

    /// Whose request it is. What a proxy's socket is used for counts under that address until it is `answered`; a
    /// WebSocket and an event stream count for as long as they last.
    fn client_of(&self, parts: &Parts) -> Result<IpAddr, Refusal> {
        let Some(place) = &self.place else {
            // The operator's port hears of no proxies.
            return Ok(match self.peer {
                Peer::At(address) | Peer::ProxyItself(address) => address,
                Peer::Local => IpAddr::from([127, 0, 0, 1]),
            });
        };
        let path = parts.uri.path();
        let stay = if path == SOCKET_PATH || lasts(path) {
            Stay::Long
        } else {
            Stay::Brief
        };
        let said = forwarding(&parts.headers);
        self.shared.node.client_of(self.peer, &said, place, stay)
    }

    fn answered(&self) {
        if let Some(place) = &self.place {
            place.count_for_nobody();
        }
    }
}

fn no_upgrade(refusal: Refusal) -> Response<Body> {
    let mut response = HttpError(refusal).into_response();
    let status = response.status();
    let headers = response.headers_mut();
    if status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    } else if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET"));
    }
    response
}

/// The connection's last answer.
fn last(mut response: Response<Body>) -> Response<Body> {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn accepted_sockets_inherit_what_the_listener_was_given() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        prepare(&listener, 96 * 1024);
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
        let set = SockRef::from(&listener).send_buffer_size().unwrap();
        assert_eq!(SockRef::from(&accepted).send_buffer_size().unwrap(), set);
        assert!(set >= 96 * 1024, "{set}");
    }
}
