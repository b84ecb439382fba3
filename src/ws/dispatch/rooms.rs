//! Commands that name a room.

use std::borrow::Cow;

use countersign_protocol::RoomName;
use countersign_protocol::client::Empty;
use countersign_protocol::client::{History, InRoom, Join, Like, Members, Send};
use countersign_protocol::codec::ok_json;

use super::{Call, Lane, Pending, bulky, pending};
use crate::config::limits::RateLimit;
use crate::hub::Charge;
use crate::node::{Message, Page, Refusal};
use crate::ops::metrics::Limit;

impl Call {
    /// A name that is none is refused by the use case; it keeps nothing in order.
    fn lane(&self, room: &str) -> Lane {
        match self.connection.subscription_named(room) {
            Some(subscription) => Lane::Room(subscription.room.name().clone()),
            None => RoomName::parse(room).map_or(Lane::Free, Lane::Room),
        }
    }

    pub(super) fn join(self, join: Join<'_>) -> Pending {
        let (lane, room, after) = (self.lane(&join.room), join.room.into_owned(), join.after);
        bulky(lane, async move {
            let joined = async {
                self.charge(Charge::Join, self.node.limits().join_rate, "joins")?;
                self.node
                    .join(&self.connection, &room, after, |joined| self.ok_frame(joined))
                    .await
            };
            self.replied(joined.await)
        })
    }

    pub(super) fn leave(self, leave: &InRoom<'_>) -> Pending {
        let room = leave.room.to_string();
        pending(self.lane(&room), async move {
            let left = self.node.leave(&self.connection, &room).await;
            self.reply(left.map(|()| Empty {}))
        })
    }

    pub(super) fn send(self, send: Send<'_>) -> Pending {
        let lane = self.lane(&send.room);
        let message = Message {
            room: send.room.into_owned(),
            body: send.body.to_owned(),
            cid: send.cid.map(Cow::into_owned),
            priority: send.priority,
        };
        pending(lane.clone(), async move {
            let sent = async {
                self.charge(Charge::Message, self.node.limits().message_rate, "messages")?;
                self.node.send(&self.connection, message).await
            };
            match (sent.await, lane) {
                // The room's flusher is about to write to this member, and takes the answer along.
                (Ok(sent), Lane::Room(room)) => {
                    self.connection.answer(&room, self.ok_frame(&sent));
                    self.replied(Ok(()))
                }
                (other, _) => self.reply(other),
            }
        })
    }

    pub(super) fn like(self, like: Like<'_>) -> Pending {
        let (lane, room, n) = (self.lane(&like.room), like.room.into_owned(), like.n);
        let counter = like.counter.map(Cow::into_owned);
        pending(lane, async move {
            let liked = async {
                self.charge(Charge::Like, self.node.limits().like_rate, "likes")?;
                self.node
                    .like(&self.connection, &room, counter.as_deref(), n)
                    .await
            };
            self.reply(liked.await)
        })
    }

    pub(super) fn members(self, members: Members<'_>) -> Pending {
        let (lane, room, limit) = (self.lane(&members.room), members.room.into_owned(), members.limit);
        let cursor = members.cursor.map(Cow::into_owned);
        bulky(lane, async move {
            self.reply(self.node.members(&self.connection, &room, cursor, limit).await)
        })
    }

    pub(super) fn history(self, history: &History<'_>) -> Pending {
        let room = history.room.to_string();
        let page = Page {
            before: history.before,
            after: history.after,
            limit: history.limit,
        };
        bulky(self.lane(&room), async move {
            match self
                .node
                .history(&self.connection, &room, page, |page| ok_json(self.id, page))
                .await
            {
                Ok(answer) => self.ok(answer),
                Err(refusal) => self.refused(&refusal),
            }
        })
    }

    fn charge(&self, what: Charge, limit: RateLimit, name: &'static str) -> Result<(), Refusal> {
        self.connection
            .charge(what, &limit.rate(), self.node.clock.now())
            .map_err(|after_ms| {
                self.node.metrics.traffic.limited(match what {
                    Charge::Message => Limit::MessageRate,
                    Charge::Like => Limit::LikeRate,
                    Charge::Join => Limit::JoinRate,
                });
                let text = format!("at most {} {name} in {} ms", limit.count, limit.period_ms);
                Refusal::rate_limited(text, after_ms)
            })
    }
}
