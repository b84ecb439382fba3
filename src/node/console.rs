//! What an operator sees of the node and may do to it: numbers, pages of connections and rooms, the last ends, closing
//! connections, and leaving. No answer has a secret or a word of a message in it.

mod closes;
mod overview;

use std::net::IpAddr;
use std::sync::Arc;

use countersign_protocol::server::{Profile, PublicDevice};
use countersign_protocol::{CloseCode, ErrorCode, RoomName, UserId};
use serde::Serialize;
use tokio::sync::Notify;

pub use crate::hub::Order;
pub use closes::{CLOSES_KEPT, Closed, ClosesPage};
pub use overview::Overview;

use super::{Node, Refusal, connection_name};
use crate::hub::{Connection, ConnectionId, End};
use closes::Closes;

/// Entries of a page when nothing is said.
pub const PAGE_DEFAULT: usize = 50;
/// Most entries of one.
pub const PAGE_MAX: usize = 200;
/// What has to be said to empty the node.
pub const DRAIN_WORD: &str = "drain";

/// What the node keeps for its operator.
#[derive(Debug, Default)]
pub(super) struct Console {
    pub(super) started_at: u64,
    /// The number of the first connection.
    pub(super) first_connection: ConnectionId,
    pub(super) closes: Closes,
    drain: Notify,
}

/// How somebody is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    Websocket,
    Events,
}

/// A user as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Who {
    pub id: UserId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Which connections, in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub order: Order,
    /// Only this user's.
    pub user: Option<String>,
    /// Only those behind this one, in an order by age.
    pub beyond: Option<String>,
    pub limit: Option<usize>,
}

/// Some connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionsPage {
    /// Of the node, or of the user asked for.
    pub total: usize,
    pub connections: Vec<ConnectionRow>,
    /// Name of the last one when there may be more behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionRow {
    pub id: String,
    pub transport: Transport,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<Who>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<PublicDevice>,
    pub address: IpAddr,
    /// To the second.
    pub opened_at_ms: u64,
    pub rooms: usize,
    /// It watches a QR login.
    pub watching: bool,
    pub outbox_bytes: usize,
    pub sent_bytes: u64,
    /// Frames that it was not sent, because it read too slowly.
    pub dropped: u64,
}

/// Some rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomsPage {
    /// Rooms with somebody here.
    pub total: usize,
    pub rooms: Vec<RoomRow>,
}

/// A room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomRow {
    pub room: RoomName,
    /// Connections of this node in it, those still joining included.
    pub connections: usize,
    pub viewers: u64,
    pub members: u64,
    /// The newest offset: how many messages there were in this life of the room.
    pub messages: u64,
    /// Frames waiting to be handed out.
    pub pending_bytes: usize,
}

/// Connections of a user that were closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kicked {
    pub closed: usize,
}

/// The node empties.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Draining {
    pub draining: bool,
    /// It did so before.
    pub already: bool,
}

impl Console {
    /// Nothing has ended yet.
    pub(super) fn new(started_at: u64, first_connection: ConnectionId) -> Self {
        Self {
            started_at,
            first_connection,
            ..Self::default()
        }
    }
}

impl Transport {
    fn of(connection: &Connection) -> Self {
        if connection.is_event_stream() {
            Self::Events
        } else {
            Self::Websocket
        }
    }
}

impl Who {
    fn of(profile: &Profile) -> Self {
        Self {
            id: profile.id.clone(),
            name: profile.name.clone(),
        }
    }
}

impl Node {
    /// A page of connections. Looks at each one: not for a task that others wait for.
    ///
    /// # Errors
    /// `bad_request` for a page that is too large or a name that is none.
    pub fn connections_page(&self, wanted: &Wanted) -> Result<ConnectionsPage, Refusal> {
        let limit = page_size(wanted.limit)?;
        let user = match &wanted.user {
            Some(user) => Some(UserId::parse(user).map_err(|e| Refusal::bad_request(e.to_string()))?),
            None => None,
        };
        let by_age = wanted.order != Order::Slowest;
        let beyond = match wanted.beyond.as_deref() {
            None => None,
            Some(name) if by_age => Some(connection_id(name).ok_or_else(bad_name)?),
            Some(_) => {
                return Err(Refusal::bad_request(
                    "after goes with sort=newest or sort=oldest: queues change",
                ));
            }
        };
        let found = self
            .hub
            .first_connections(user.as_ref(), wanted.order, beyond, limit);
        let last = found.last().map(|connection| connection_name(connection.id));
        Ok(ConnectionsPage {
            total: match &user {
                Some(user) => self.hub.connections_of(user).len(),
                None => self.hub.connection_count(),
            },
            next: last.filter(|_| by_age && found.len() == limit),
            connections: found.iter().map(row).collect(),
        })
    }

    /// The largest rooms.
    ///
    /// # Errors
    /// `bad_request` for a page that is too large, `unavailable`.
    pub async fn rooms_page(&self, limit: Option<usize>) -> Result<RoomsPage, Refusal> {
        let limit = page_size(limit)?;
        let mut rooms = Vec::new();
        for (room, connections) in self.hub.largest_rooms(limit) {
            let name = room.name().clone();
            let view = self.engine.view(name.clone(), self.clock.now()).await?;
            let counts = view.map(|view| view.counts);
            rooms.push(RoomRow {
                connections,
                viewers: counts.as_ref().map_or(0, |counts| counts.viewers),
                members: counts.as_ref().map_or(0, |counts| counts.members),
                messages: self.hub.last_offset(&name).unwrap_or(0),
                pending_bytes: room.pending_bytes(),
                room: name,
            });
        }
        Ok(RoomsPage {
            total: self.hub.room_count(),
            rooms,
        })
    }

    /// The newest ends of connections.
    ///
    /// # Errors
    /// `bad_request` for a page that is too large.
    pub fn closes_page(&self, limit: Option<usize>) -> Result<ClosesPage, Refusal> {
        Ok(self.console.closes.newest(page_size(limit)?))
    }

    /// Closes a connection with 4505. Nothing keeps it from coming back.
    ///
    /// # Errors
    /// `not_found`.
    pub fn kick_connection(&self, name: &str) -> Result<Kicked, Refusal> {
        let found = connection_id(name).and_then(|id| self.hub.connection(id));
        let connection = found
            .ok_or_else(|| Refusal::new(ErrorCode::NotFound, "no such connection; it may have ended"))?;
        disconnect(&connection);
        Ok(Kicked { closed: 1 })
    }

    /// Closes all connections of a user here with 4505. The user's sessions go on.
    ///
    /// # Errors
    /// `not_found` when there is none.
    pub fn kick_user(&self, user: &str) -> Result<Kicked, Refusal> {
        let connections =
            UserId::parse(user).map_or_else(|_| Vec::new(), |user| self.hub.connections_of(&user));
        if connections.is_empty() {
            return Err(Refusal::new(
                ErrorCode::NotFound,
                "this user has no connection here",
            ));
        }
        connections.iter().for_each(disconnect);
        Ok(Kicked {
            closed: connections.len(),
        })
    }

    /// Begins to empty the node, as SIGTERM does: new work is refused from here on, and the process ends.
    ///
    /// # Errors
    /// `bad_request` unless `word` is [`DRAIN_WORD`].
    pub fn ask_drain(&self, word: &str) -> Result<Draining, Refusal> {
        if word != DRAIN_WORD {
            return Err(Refusal::bad_request(
                "this ends the process: send {\"confirm\":\"drain\"} if it is meant",
            ));
        }
        let already = self.is_draining();
        tracing::info!(target: "audit", event = "drain", already, "operator");
        self.begin_drain();
        self.console.drain.notify_one();
        Ok(Draining {
            draining: true,
            already,
        })
    }

    /// Asks the node to leave, as an operator would.
    pub fn ask_to_drain(&self) {
        self.console.drain.notify_one();
    }

    /// Returns when an operator has asked the node to leave.
    pub async fn drain_asked(&self) {
        self.console.drain.notified().await;
    }
}

fn page_size(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        _ => Err(Refusal::bad_request(format!("limit is 1 to {PAGE_MAX}"))),
    }
}

fn bad_name() -> Refusal {
    Refusal::bad_request("after is the name of a connection, such as c_0000000000000001")
}

/// The number behind a wire name.
fn connection_id(name: &str) -> Option<ConnectionId> {
    let digits = name.strip_prefix("c_").filter(|digits| digits.len() == 16)?;
    let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
    hexadecimal
        .then(|| ConnectionId::from_str_radix(digits, 16).ok())
        .flatten()
}

fn row(connection: &Arc<Connection>) -> ConnectionRow {
    let (standing, sent) = connection.standing_and_sent();
    let session = connection.session();
    ConnectionRow {
        id: connection_name(connection.id),
        transport: Transport::of(connection),
        user: session.as_ref().map(|session| Who::of(session.user())),
        device: session.as_ref().map(|session| session.public_device().clone()),
        address: connection.address.to_canonical(),
        opened_at_ms: connection.opened_at(),
        rooms: connection.subscription_count(),
        watching: connection.watched().is_some(),
        outbox_bytes: standing.queued,
        sent_bytes: sent.bytes,
        dropped: sent.dropped(),
    }
}

fn disconnect(connection: &Arc<Connection>) {
    tracing::info!(
        target: "audit",
        event = "disconnected",
        connection = connection_name(connection.id),
        user = connection.session().as_ref().map(|session| session.user_id().as_str()),
        ip = %connection.address.to_canonical(),
        "operator"
    );
    connection.end(End::Close(CloseCode::Disconnected));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back() {
        for id in [0, 1, 0xdead_beef_0000_0001, u64::MAX] {
            assert_eq!(connection_id(&connection_name(id)), Some(id));
        }
        for bad in [
            "",
            "c_",
            "c_1",
            "c_00000000000000001",
            "c_+000000000000001",
            "x_0000000000000001",
        ] {
            assert_eq!(connection_id(bad), None, "{bad}");
        }
    }
}
