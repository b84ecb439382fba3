//! What a socket goes through between being accepted and its first request: a place, the header of a proxy that writes
//! one, the TLS handshake. Each has its own time, and none is served before it is done with.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::accept::{Face, OPERATORS_MAX, Shared, serve};
use super::stream::Stream;
use super::tracker::Tracked;
use super::{proxy_header, tls};
use crate::auth::certificate::Certificate;
use crate::node::{Admission, Peer};

impl Shared {
    /// A socket that has been accepted.
    pub(super) fn take(self: &Arc<Self>, stream: Stream, peer: Peer) {
        let place = match (self.face, peer) {
            (Face::Operator, _) => {
                if self.tracker.count() < OPERATORS_MAX {
                    tokio::spawn(serve(Arc::clone(self), stream, peer, None, self.tracker.track()));
                }
                return;
            }
            (Face::Public, Peer::Local) => self.node.admit_local(),
            (Face::Public, Peer::At(address) | Peer::ProxyItself(address)) => self.node.admit(address),
        };
        let Some(place) = place else { return };
        let tracked = self.tracker.track();
        if self.node.writes_proxy_header(peer) {
            tokio::spawn(announce(Arc::clone(self), stream, peer, place, tracked));
        } else {
            self.secure_or_serve(stream, peer, place, tracked);
        }
    }

    fn secure_or_serve(self: &Arc<Self>, stream: Stream, peer: Peer, place: Admission, tracked: Tracked) {
        match (stream, self.certificate()) {
            (Stream::Tcp(stream), Some(certificate)) => {
                // To be told so it would need a handshake, which costs more than what is refused.
                if place.refusal().is_none() {
                    let server = certificate.server();
                    tokio::spawn(secure(Arc::clone(self), stream, server, peer, place, tracked));
                }
            }
            (stream, _) => {
                tokio::spawn(serve(Arc::clone(self), stream, peer, Some(place), tracked));
            }
        }
    }

    /// What is shown to peers before they are served; `None` where they are served without TLS.
    fn certificate(&self) -> Option<Arc<Certificate>> {
        match self.face {
            Face::Public => self.node.certificate(),
            Face::Operator => None,
        }
    }

    /// What `work` answers, unless a stop comes first.
    async fn unless_stopping<T>(&self, work: impl Future<Output = Option<T>>) -> Option<T> {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            done = work => done,
            // The sender lives here, so this ends by the value alone.
            _ = stopping.wait_for(|stop| *stop) => None,
        }
    }
}

/// A listed proxy says whose connection it is.
async fn announce(
    shared: Arc<Shared>,
    mut stream: Stream,
    proxy: Peer,
    mut place: Admission,
    tracked: Tracked,
) {
    let patience = Duration::from_millis(shared.node.limits().proxy_header_ms);
    let reading = proxy_header::read(&mut stream, patience);
    if let Some(origin) = shared.unless_stopping(reading).await {
        let (peer, stays) = shared.node.announced(origin, proxy, &mut place);
        if stays {
            shared.secure_or_serve(stream, peer, place, tracked);
        }
    }
}

/// The handshake, and what comes after it.
async fn secure(
    shared: Arc<Shared>,
    stream: TcpStream,
    server: Arc<ServerConfig>,
    peer: Peer,
    place: Admission,
    tracked: Tracked,
) {
    let patience = Duration::from_millis(shared.node.limits().tls_handshake_ms);
    let handshake = tls::accept(stream, server, patience);
    if let Some(stream) = shared.unless_stopping(handshake).await {
        // In a task of its own, so that what the handshake needed is free.
        tokio::spawn(serve(shared, stream, peer, Some(place), tracked));
    }
}
