//! From a finished handshake to a connection with a task of its own.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::codec::text_frame;
use countersign_protocol::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};
use countersign_protocol::server::{Hello, HelloLimits};
use countersign_protocol::{CloseCode, ErrorCode, PROTOCOL_VERSION};

use super::close::Transport;
use super::connection;
use super::stream::Stream;
use super::tracker::Tracked;
use super::upgrade::Welcome;
use crate::hub::{Connection, End, Wire};
use crate::node::{self, Admission, Node, Presence, SignInError};
use crate::ops::ids::RequestId;

/// A connection that has just been upgraded.
pub(super) struct Arrival {
    pub(super) node: Arc<Node>,
    pub(super) stream: Stream,
    /// The answer 101, which leaves with the greeting.
    pub(super) answer: Vec<u8>,
    /// What the client sent along with the handshake.
    pub(super) leftover: Bytes,
    pub(super) welcome: Welcome,
    pub(super) address: IpAddr,
    pub(super) place: Option<Arc<Admission>>,
    pub(super) tracked: Tracked,
}

/// Registers a connection, greets it, and gives it its task.
pub(super) async fn open(arrival: Arrival) {
    let Arrival {
        node,
        stream,
        answer: mut first,
        leftover,
        welcome,
        address,
        place,
        tracked,
    } = arrival;
    let (wire, transport) = match stream {
        Stream::Tcp(stream) => (Wire::Direct(stream), Transport::Direct),
        Stream::Other(stream) => (Wire::Woken, Transport::Woken(stream)),
    };
    let connection = node.open_connection(address, wire, |c| {
        first.extend_from_slice(&text_frame(&hello(&node, c)));
        first.into()
    });
    let presence = Presence {
        node,
        connection,
        place: place.clone(),
    };
    let Presence { node, connection, .. } = &presence;
    tracing::debug!(
        connection = node::connection_name(connection.id),
        request = welcome.request.as_ref().map(RequestId::as_str),
        %address,
        "connection opened"
    );
    connection.set_requester(welcome.requester);
    if let Some(device) = &welcome.device {
        // A new connection has none yet.
        let _ = connection.set_device(device);
    }
    if let Some(session) = welcome.session {
        match node.sign_in(connection, session).await {
            Ok(()) => {}
            Err(SignInError::ConnectionLimit) => connection.end(End::Close(CloseCode::ConnectionLimit)),
            Err(SignInError::Refused(refusal)) => connection.end(End::Close(match refusal.code {
                ErrorCode::Unavailable => CloseCode::TryAgain,
                _ => CloseCode::InvalidToken,
            })),
        }
    }
    tokio::spawn(connection::serve(presence, transport, leftover, place, tracked));
}

fn hello(node: &Node, connection: &Connection) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        connection: node::connection_name(connection.id),
        ping_interval_ms: node.limits().ping_interval_ms,
        limits: HelloLimits {
            frame_bytes_max: FRAME_BYTES_MAX,
            body_bytes_max: BODY_BYTES_MAX,
            subscriptions_max: node.limits().subscriptions_max,
            like_max: node.limits().like_max,
        },
    }
}
