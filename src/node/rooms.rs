//! Rooms: join, leave, send, like, who is there, what was said.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::client::{Position, Priority};
use countersign_protocol::limits::{BODY_BYTES_MAX, CID_BYTES_MAX, HISTORY_PAGE_MAX, MEMBERS_PAGE_MAX};
use countersign_protocol::server::{
    HistoryPage, Joined, LeftPush, LeftReason, Liked, Me, MembersPage, PresencePush, Sent,
};
use countersign_protocol::{ErrorCode, RoomName, codec};
use serde_json::value::RawValue;

use super::Node;
use super::refusal::Refusal;
use super::signin::{present, unauthenticated};
use super::sink::{self, Repaired};
use crate::auth::sessions::Session;
use crate::config::Namespace;
use crate::core::outbox::Class;
use crate::core::room::{self, Action, Rules, Standing, Verdict};
use crate::core::stream::Draft;
use crate::engine::{Create, EngineError, History, Read, RoomView, Topic};
use crate::hub::{Connection, Source, Subscription};
use crate::ops::metrics::Limit;

/// A room's pending frames are gone within this time, unless the machine is overloaded, ms.
const PENDING_AFTER_MS: u64 = 200;
/// Reads of a room within one join. Each but the last lost a race with another join.
const JOIN_READS_MAX: usize = 8;
/// The counter of a `like` that names none.
const DEFAULT_COUNTER: &str = "likes";

/// A message as its sender gave it.
pub struct Message {
    pub room: String,
    pub body: Box<RawValue>,
    pub cid: Option<String>,
    pub priority: Priority,
}

/// Part of the history a client asks for.
pub struct Page {
    pub before: Option<u64>,
    pub after: Option<u64>,
    pub limit: Option<u32>,
}

impl Node {
    /// A room's name, and what `read` takes from its namespace.
    fn parse_room<T>(
        &self,
        text: &str,
        read: impl FnOnce(&Namespace) -> T,
    ) -> Result<(RoomName, T), Refusal> {
        let room = RoomName::parse(text).map_err(|e| Refusal::bad_request(e.to_string()))?;
        let taken = self.in_namespace(&room, read)?;
        Ok((room, taken))
    }

    /// What `read` takes from a room's namespace.
    fn in_namespace<T>(&self, room: &RoomName, read: impl FnOnce(&Namespace) -> T) -> Result<T, Refusal> {
        match self.config().namespaces.get(room.namespace()).map(read) {
            Some(taken) => Ok(taken),
            None => Err(Refusal::new(ErrorCode::NotFound, "no such namespace")),
        }
    }

    fn joined(&self, connection: &Connection, text: &str) -> Result<(RoomName, Arc<Subscription>), Refusal> {
        if let Some(subscription) = connection.subscription_named(text) {
            let room = subscription.room.name().clone();
            self.in_namespace(&room, |_| ())?;
            return Ok((room, subscription));
        }
        let (room, ()) = self.parse_room(text, |_| ())?;
        match connection.subscription(&room) {
            Some(subscription) => Ok((room, subscription)),
            None => Err(Refusal::new(ErrorCode::NotJoined, "join the room first")),
        }
    }

    /// Subscribes a connection to a room. `reply` makes the command's answer: it leaves first, what was held
    /// meanwhile follows, and nothing is missed or told twice in between.
    ///
    /// # Errors
    /// `bad_request`, `not_found`, `not_allowed`, `already_joined`, `limit_reached`, `unavailable`.
    pub async fn join(
        &self,
        connection: &Arc<Connection>,
        room: &str,
        after: Option<Position>,
        reply: impl Fn(&Joined<'_>) -> Bytes + Send + Sync,
    ) -> Result<(), Refusal> {
        let (room, rules) = self.parse_room(room, |namespace| Rules {
            create_on_join: namespace.create_on_join,
            anonymous: namespace.anonymous,
        })?;
        let session = connection.session();
        allow(rules, session.as_deref(), Action::Join)?;
        let topic = Topic::Room(room.clone());
        let turn = self.turns.turn(&topic).await;
        if connection.subscription(&room).is_some() {
            return Err(Refusal::new(
                ErrorCode::AlreadyJoined,
                "joined already; use history to fill a gap",
            ));
        }
        let max = self.limits().subscriptions_max;
        if connection.subscription_count() >= max {
            self.metrics.traffic.limited(Limit::SubscriptionsMax);
            return Err(Refusal::new(
                ErrorCode::LimitReached,
                format!("at most {max} rooms on one connection"),
            ));
        }
        let create = if rules.create_on_join {
            Create::Allowed
        } else {
            Create::Refused
        };
        let subscription = self.hub.hold(&room, connection);
        let followed = self.engine.follow(topic).await;
        drop(turn);
        let entered = match followed {
            Ok(()) => {
                self.enter_and_release(&subscription, session.as_deref(), create, after, &reply)
                    .await
            }
            Err(e) => Err(e.into()),
        };
        if let Err(refusal) = entered {
            // The engine may or may not have counted the connection in.
            let _ = self.part(&subscription).await;
            return Err(refusal);
        }
        Ok(())
    }

    async fn enter_and_release(
        &self,
        subscription: &Arc<Subscription>,
        session: Option<&Session>,
        create: Create,
        after: Option<Position>,
        reply: &(impl Fn(&Joined<'_>) -> Bytes + Send + Sync),
    ) -> Result<(), Refusal> {
        let (connection, room) = (&subscription.connection, subscription.room.name());
        let presence = present(connection, session);
        let view = self
            .engine
            .enter(room.clone(), presence, create, self.clock.now())
            .await
            .map_err(|e| match e {
                EngineError::Missing => Refusal::new(ErrorCode::NotFound, "no such room"),
                other => other.into(),
            })?;
        for _ in 0..JOIN_READS_MAX {
            let read = Read::Join { after: after.clone() };
            let history = self.engine.read(room.clone(), read, self.clock.now()).await?;
            let answer = reply(&joined(room, &history, &view, session));
            if self.hub.release(subscription, answer, history.top) {
                return Ok(());
            }
        }
        Err(Refusal::unavailable(
            "the room could not be read up to where it is",
            PENDING_AFTER_MS,
        ))
    }

    /// Unsubscribes a connection.
    ///
    /// # Errors
    /// `not_joined`.
    pub async fn leave(&self, connection: &Arc<Connection>, room: &str) -> Result<(), Refusal> {
        let (_, subscription) = self.joined(connection, room)?;
        Ok(self.part(&subscription).await?)
    }

    /// Takes a connection out of a room and tells it why.
    pub(super) async fn expel(&self, subscription: &Arc<Subscription>, reason: LeftReason) {
        let room = subscription.room.name().clone();
        self.hub.leave(subscription);
        subscription
            .connection
            .push(codec::text_frame(&LeftPush { room, reason }).into());
        let _ = self.part(subscription).await;
    }

    /// Says something in a room, as the session's user. There is no other way to say it, and no way to say it as
    /// somebody else.
    ///
    /// # Errors
    /// `unauthenticated`, `not_joined`, `too_large`, `conflict`, `rate_limited`, `unavailable`.
    pub async fn send(&self, connection: &Arc<Connection>, message: Message) -> Result<Sent, Refusal> {
        let session = connection.session().ok_or_else(unauthenticated)?;
        let (room, subscription) = self.joined(connection, &message.room)?;
        if message.body.get().len() > BODY_BYTES_MAX {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("a body is at most {BODY_BYTES_MAX} bytes"),
            ));
        }
        if message
            .cid
            .as_ref()
            .is_some_and(|cid| cid.is_empty() || cid.len() > CID_BYTES_MAX)
        {
            return Err(Refusal::bad_request(format!(
                "a cid is 1 to {CID_BYTES_MAX} bytes"
            )));
        }
        match room::pressure(subscription.room.pending_bytes(), message.priority) {
            Verdict::Take => {}
            Verdict::Shed => {
                self.metrics.traffic.pushed_back(message.priority);
                return Ok(Sent {
                    shed: true,
                    after_ms: Some(PENDING_AFTER_MS),
                    ..Sent::default()
                });
            }
            Verdict::Refuse => {
                self.metrics.traffic.pushed_back(message.priority);
                return Err(Refusal::unavailable("the room is overloaded", PENDING_AFTER_MS));
            }
        }
        self.limiters.message.check(session.user_id())?;
        let draft = draft(&session, message);
        let sequenced = self.engine.append(room, draft, self.clock.now()).await?;
        Ok(Sent {
            offset: Some(sequenced.offset),
            at_ms: Some(sequenced.at_ms),
            duplicate: sequenced.duplicate,
            ..Sent::default()
        })
    }

    /// Raises a counter of a room.
    ///
    /// # Errors
    /// `not_joined`, `not_found` for a counter that is not configured, `bad_request`.
    pub async fn like(
        &self,
        connection: &Arc<Connection>,
        room: &str,
        counter: Option<&str>,
        n: u64,
    ) -> Result<Liked, Refusal> {
        let (room, _) = self.joined(connection, room)?;
        let counter = counter.unwrap_or(DEFAULT_COUNTER);
        let is_known = |namespace: &Namespace| namespace.counters.iter().any(|c| c == counter);
        if !self.parse_room(room.as_str(), is_known)?.1 {
            return Err(Refusal::new(ErrorCode::NotFound, "no such counter"));
        }
        let max = self.limits().like_max;
        if n == 0 || n > max {
            return Err(Refusal::bad_request(format!("n is 1 to {max}")));
        }
        let value = self
            .engine
            .add(room, counter.to_owned(), n, self.clock.now())
            .await?;
        Ok(Liked { value })
    }

    /// Who is signed in in a room.
    ///
    /// # Errors
    /// `not_joined`, `bad_request`.
    pub async fn members(
        &self,
        connection: &Arc<Connection>,
        room: &str,
        cursor: Option<String>,
        limit: Option<u32>,
    ) -> Result<MembersPage, Refusal> {
        let (room, _) = self.joined(connection, room)?;
        let limit = page_size(limit, MEMBERS_PAGE_MAX)?;
        Ok(self.engine.members(room, cursor, limit).await?)
    }

    /// Part of what was said in a room. `reply` makes the answer.
    ///
    /// # Errors
    /// `not_joined`, `bad_request`.
    pub async fn history<T>(
        &self,
        connection: &Arc<Connection>,
        room: &str,
        page: Page,
        reply: impl FnOnce(&HistoryPage<'_>) -> T + Send,
    ) -> Result<T, Refusal> {
        let (room, _) = self.joined(connection, room)?;
        let limit = page_size(page.limit, HISTORY_PAGE_MAX)?;
        let part = match (page.before, page.after) {
            (Some(_), Some(_)) => return Err(Refusal::bad_request("give before or after, not both")),
            (Some(offset), None) => Read::Before { offset, limit },
            (None, Some(offset)) => Read::After { offset, limit },
            (None, None) => Read::Newest { limit },
        };
        let history = self.engine.read(room.clone(), part, self.clock.now()).await?;
        let messages = history.messages.iter().map(|p| p.push(&room)).collect();
        Ok(reply(&HistoryPage {
            epoch: history.epoch.clone(),
            messages,
        }))
    }

    /// Reads a room again after a suspicion and delivers what its members here have not seen.
    pub(super) async fn repair_room(&self, room: &RoomName) -> Result<Repaired, Refusal> {
        if self.hub.room(room).is_none() {
            return Ok(Repaired::Done);
        }
        if let Some(view) = self.engine.view(room.clone(), self.clock.now()).await? {
            sink::publish_counts(&self.hub, room, view.counts, Source::Read);
            sink::publish_info(&self.hub, room, view.info, Source::Read);
            let (joined, left) = (Vec::new(), Vec::new());
            let reset = || {
                codec::text_frame(&PresencePush {
                    room: room.clone(),
                    joined,
                    left,
                    reset: true,
                })
            };
            self.hub.publish(room, reset, Class::Presence);
        }
        self.repair_messages(room).await?;
        // The first to join may have read the room before what was missed, and not be answered yet.
        let joining = self.hub.room(room).is_some() && self.hub.last_offset(room).is_none();
        Ok(if joining { Repaired::Later } else { Repaired::Done })
    }

    async fn repair_messages(&self, room: &RoomName) -> Result<(), Refusal> {
        while let Some(after) = self.hub.last_offset(room) {
            let part = Read::After {
                offset: after,
                limit: HISTORY_PAGE_MAX,
            };
            let history = self.engine.read(room.clone(), part, self.clock.now()).await?;
            match history.messages.first() {
                None if history.top > after => self.hub.skip_to(room, history.top),
                None => return Ok(()),
                Some(first) if first.offset > after + 1 => self.hub.skip_to(room, first.offset - 1),
                Some(_) => {}
            }
            for publication in &history.messages {
                let frame = || codec::text_frame(&publication.push(room));
                self.hub
                    .publish_message(room, frame, publication.offset, publication.priority.into());
            }
            if self.hub.last_offset(room) == Some(after) {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn joined<'a>(
    name: &'a RoomName,
    history: &'a History,
    view: &RoomView,
    session: Option<&Session>,
) -> Joined<'a> {
    Joined {
        room: name.clone(),
        epoch: history.epoch.clone(),
        offset: history.top,
        recovered: history.recovered,
        messages: history.messages.iter().map(|p| p.push(name)).collect(),
        counts: view.counts.clone(),
        info: view.info.clone(),
        me: Me {
            role: room::role(standing(session)),
            muted_for_ms: None,
        },
    }
}

/// The stamp: author and role are the session's.
fn draft(session: &Session, message: Message) -> Draft {
    Draft {
        from: Some(Arc::clone(session.stamp())),
        source: None,
        cid: message.cid.map(Into::into),
        priority: message.priority,
        body: message.body,
    }
}

fn standing(session: Option<&Session>) -> Standing {
    if session.is_some() {
        Standing::SignedIn
    } else {
        Standing::Anonymous
    }
}

fn allow(rules: Rules, session: Option<&Session>, action: Action) -> Result<(), Refusal> {
    room::check(rules, standing(session), action).map_err(|code| match code {
        ErrorCode::Unauthenticated => unauthenticated(),
        code => Refusal::new(code, "not allowed in this room"),
    })
}

fn page_size(limit: Option<u32>, max: usize) -> Result<usize, Refusal> {
    match limit {
        None => Ok(max),
        Some(0) => Err(Refusal::bad_request("limit is at least 1")),
        Some(n) => Ok(usize::try_from(n).unwrap_or(max).min(max)),
    }
}
