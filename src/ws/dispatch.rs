//! From a command to its use case and back: what travels is read here, what happens is decided in the node.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::client::{Auth, Command, Frame, QrOpen};
use countersign_protocol::codec::{json, json_frame, ok_json};
use countersign_protocol::server::SignedIn;
use countersign_protocol::{CloseCode, DeviceId, ErrorCode, RoomName};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::auth::sessions::Proof;
use crate::config::limits::RateLimit;
use crate::hub::{Charge, Connection};
use crate::node::{Claim, Message, Node, Page, QrRequest, Refusal, SignInError};

/// A command under way.
pub struct Pending {
    pub lane: Lane,
    pub future: BoxFuture<'static, Outcome>,
}

/// What a command must stay in order with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lane {
    /// Session and QR commands: everything before them is done, everything after them waits.
    Session,
    /// Commands that name the same room take effect in the order sent.
    Room(RoomName),
    /// Anything else.
    Free,
}

/// What is to be done when a command has been carried out.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this reply.
    Reply(Vec<u8>),
    /// Queue this reply: the room's flusher is about to write to this connection and takes it along.
    Lazy(Vec<u8>),
    /// The reply has been queued already, in its place among pushes.
    Replied,
    /// A bad token: send this reply, and count.
    BadToken(Vec<u8>),
    /// Close.
    Close(CloseCode),
}

/// Starts a command. The future owns what it needs; poll it once before putting it aside.
pub fn start(node: &Arc<Node>, connection: &Arc<Connection>, frame: Frame<'_>) -> Pending {
    let (node, connection, id) = (Arc::clone(node), Arc::clone(connection), frame.id);
    let room_lane = |room: &str| RoomName::parse(room).map_or(Lane::Free, Lane::Room);
    match frame.command {
        Command::Ping(_) => now(Lane::Free, Outcome::Reply(ok_json(id, &countersign_protocol::client::Empty {}))),
        Command::Auth(auth) => {
            let auth = OwnedAuth::from(auth);
            session(async move { reply_to_sign_in(id, sign_in(&node, &connection, auth).await) })
        }
        Command::Refresh(refresh) => {
            let (token, proof) = (refresh.token.into_owned(), refresh.dpop.map(std::borrow::Cow::into_owned));
            session(async move {
                let url = node.socket_url();
                let proof = socket_proof(proof.as_deref(), &url);
                let fresh = node.refresh_connection(&connection, &token, proof).await;
                reply_to_sign_in(id, fresh.map(|s| node.signed_in(&s)).map_err(Into::into))
            })
        }
        Command::QrOpen(open) => {
            let request = qr_request(open);
            session(async move {
                let opened = async {
                    let request = request?;
                    node.open_qr(&connection, request, |opened| ok_frame(id, opened)).await
                };
                replied(id, opened.await)
            })
        }
        Command::QrWatch(watch) => {
            let (claim, device) = (OwnedClaim::new(&watch.qr_id, &watch.claim), watch.device.into_owned());
            let after_seq = watch.after_seq;
            session(async move {
                let watched = async {
                    let device = parse_device(&device)?;
                    let claim = claim.with(&device);
                    node.watch_qr(&connection, claim, after_seq, |watching| ok_frame(id, watching)).await
                };
                replied(id, watched.await)
            })
        }
        Command::QrCancel(cancel) => {
            let claim = OwnedClaim::new(&cancel.qr_id, &cancel.claim);
            session(async move {
                let cancelled = async { node.cancel_qr(claim.with(&known_device(&connection)?)).await };
                empty_reply(id, cancelled.await)
            })
        }
        Command::QrRedeem(redeem) => {
            let claim = OwnedClaim::new(&redeem.qr_id, &redeem.claim);
            let ticket = redeem.ticket.into_owned();
            session(async move {
                let redeemed = async {
                    let device = known_device(&connection)?;
                    node.redeem_qr(&connection, claim.with(&device), &ticket).await
                };
                reply(id, redeemed.await)
            })
        }
        Command::Join(join) => {
            let (lane, room, after) = (room_lane(&join.room), join.room.into_owned(), join.after);
            pending(lane, async move {
                let joined = async {
                    charge(&node, &connection, Charge::Join, node.limits.join_rate, "joins")?;
                    node.join(&connection, &room, after, |joined| ok_frame(id, joined)).await
                };
                replied(id, joined.await)
            })
        }
        Command::Leave(leave) => {
            let (lane, room) = (room_lane(&leave.room), leave.room.into_owned());
            pending(lane, async move { empty_reply(id, node.leave(&connection, &room).await) })
        }
        Command::Send(send) => {
            let lane = room_lane(&send.room);
            let message = Message {
                room: send.room.into_owned(),
                body: send.body.to_owned(),
                cid: send.cid.map(std::borrow::Cow::into_owned),
                priority: send.priority,
            };
            pending(lane, async move {
                let sent = async {
                    charge(&node, &connection, Charge::Message, node.limits.message_rate, "messages")?;
                    node.send(&connection, message).await
                };
                match sent.await {
                    // Sequenced, so a flush of the room is on its way to this member too.
                    Ok(sent) if sent.offset.is_some() && !sent.duplicate => Outcome::Lazy(ok_json(id, &sent)),
                    other => reply(id, other),
                }
            })
        }
        Command::Like(like) => {
            let (lane, room, n) = (room_lane(&like.room), like.room.into_owned(), like.n);
            let counter = like.counter.map(std::borrow::Cow::into_owned);
            pending(lane, async move {
                let liked = async {
                    charge(&node, &connection, Charge::Like, node.limits.like_rate, "likes")?;
                    node.like(&connection, &room, counter.as_deref(), n).await
                };
                reply(id, liked.await)
            })
        }
        Command::Members(members) => {
            let (lane, room, limit) = (room_lane(&members.room), members.room.into_owned(), members.limit);
            let cursor = members.cursor.map(std::borrow::Cow::into_owned);
            pending(lane, async move { reply(id, node.members(&connection, &room, cursor, limit).await) })
        }
        Command::History(history) => {
            let (lane, room) = (room_lane(&history.room), history.room.into_owned());
            let page = Page { before: history.before, after: history.after, limit: history.limit };
            pending(lane, async move {
                match node.history(&connection, &room, page, |page| ok_json(id, page)).await {
                    Ok(answer) => Outcome::Reply(answer),
                    Err(refusal) => refused(id, &refusal),
                }
            })
        }
    }
}

fn pending(lane: Lane, future: impl Future<Output = Outcome> + Send + 'static) -> Pending {
    Pending { lane, future: future.boxed() }
}

fn session(future: impl Future<Output = Outcome> + Send + 'static) -> Pending {
    pending(Lane::Session, future)
}

fn now(lane: Lane, outcome: Outcome) -> Pending {
    pending(lane, std::future::ready(outcome))
}

fn refused(id: u64, refusal: &Refusal) -> Outcome {
    Outcome::Reply(json(&refusal.reply(Some(id))))
}

fn reply<T: serde::Serialize>(id: u64, outcome: Result<T, Refusal>) -> Outcome {
    match outcome {
        Ok(fields) => Outcome::Reply(ok_json(id, &fields)),
        Err(refusal) => refused(id, &refusal),
    }
}

fn empty_reply(id: u64, outcome: Result<(), Refusal>) -> Outcome {
    reply(id, outcome.map(|()| countersign_protocol::client::Empty {}))
}

/// The use case has queued its answer itself, unless it refused.
fn replied(id: u64, outcome: Result<(), Refusal>) -> Outcome {
    match outcome {
        Ok(()) => Outcome::Replied,
        Err(refusal) => refused(id, &refusal),
    }
}

fn reply_to_sign_in(id: u64, outcome: Result<SignedIn, SignInError>) -> Outcome {
    match outcome {
        Ok(signed_in) => Outcome::Reply(ok_json(id, &signed_in)),
        Err(SignInError::ConnectionLimit) => Outcome::Close(CloseCode::ConnectionLimit),
        Err(SignInError::Refused(refusal)) => match refusal.code {
            ErrorCode::InvalidToken | ErrorCode::DeviceMismatch => {
                Outcome::BadToken(json(&refusal.reply(Some(id))))
            }
            _ => refused(id, &refusal),
        },
    }
}

fn ok_frame<T: serde::Serialize>(id: u64, fields: &T) -> Bytes {
    json_frame(&ok_json(id, fields)).into()
}

fn charge(
    node: &Node,
    connection: &Connection,
    what: Charge,
    limit: RateLimit,
    name: &'static str,
) -> Result<(), Refusal> {
    connection.charge(what, &limit.rate(), node.clock.now()).map_err(|after_ms| {
        let text = format!("at most {} {name} in {} ms", limit.count, limit.period_ms);
        Refusal::rate_limited(text, after_ms)
    })
}

struct OwnedAuth {
    token: String,
    device: Option<String>,
    proof: Option<String>,
}

impl From<Auth<'_>> for OwnedAuth {
    fn from(auth: Auth<'_>) -> Self {
        Self {
            token: auth.token.into_owned(),
            device: auth.device.map(std::borrow::Cow::into_owned),
            proof: auth.dpop.map(std::borrow::Cow::into_owned),
        }
    }
}

async fn sign_in(node: &Node, connection: &Arc<Connection>, auth: OwnedAuth) -> Result<SignedIn, SignInError> {
    let named = auth.device.as_deref().map(parse_device).transpose()?;
    let known = connection.device();
    if let (Some(named), Some(known)) = (&named, &known)
        && named != known
    {
        return Err(Refusal::new(ErrorCode::DeviceMismatch, "this connection is another device").into());
    }
    let device = named.or(known);
    let url = node.socket_url();
    let proof = socket_proof(auth.proof.as_deref(), &url);
    let session = node.authenticate(&auth.token, device.as_ref(), proof).await?;
    if let Some(device) = &device {
        // Checked above, and session commands are in order: it cannot have changed.
        let _ = connection.set_device(device);
    }
    node.sign_in(connection, Arc::clone(&session)).await?;
    Ok(node.signed_in(&session))
}

/// On a socket a proof is for the request that opened it.
fn socket_proof<'a>(proof: Option<&'a str>, url: &'a str) -> Option<Proof<'a>> {
    proof.map(|proof| Proof { proof, method: "GET", url })
}

/// The claim as it came, owned.
struct OwnedClaim {
    qr_id: String,
    claim: String,
}

impl OwnedClaim {
    fn new(qr_id: &str, claim: &str) -> Self {
        Self { qr_id: qr_id.to_owned(), claim: claim.to_owned() }
    }

    fn with<'a>(&'a self, device: &'a DeviceId) -> Claim<'a> {
        Claim { qr_id: &self.qr_id, claim: &self.claim, device }
    }
}

fn parse_device(text: &str) -> Result<DeviceId, Refusal> {
    DeviceId::parse(text).map_err(|e| Refusal::bad_request(e.to_string()))
}

/// All but open and watch need the attempt's device, which this connection has said before.
fn known_device(connection: &Connection) -> Result<DeviceId, Refusal> {
    connection
        .device()
        .ok_or_else(|| Refusal::new(ErrorCode::DeviceMismatch, "open or watch the QR login on this connection first"))
}

fn qr_request(open: QrOpen<'_>) -> Result<QrRequest, Refusal> {
    use std::borrow::Cow;
    let owned = |text: Cow<'_, str>| -> Cow<'static, str> { Cow::Owned(text.into_owned()) };
    Ok(QrRequest {
        device: parse_device(&open.device.id)?,
        device_name: open.device.name.map(Cow::into_owned),
        device_kind: open.device.kind,
        public_key: open.public_key.map(|key| countersign_protocol::client::PublicKey {
            kty: owned(key.kty),
            crv: owned(key.crv),
            x: owned(key.x),
            y: owned(key.y),
        }),
        dpop_jkt: open.dpop_jkt.map(Cow::into_owned),
        client_id: open.client_id.map(Cow::into_owned),
    })
}
