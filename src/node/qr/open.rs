//! The PC asks: a new attempt, watched by its connection from the start, or by nobody when it was asked over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::client::{DeviceKind, PublicKey, QrOpen};
use countersign_protocol::server::QrOpened;
use countersign_protocol::{DeviceId, ErrorCode};

use super::device_digest;
use super::watch::{check_device, claim_device};
use crate::auth::jwk::{P256Point, Thumbprint};
use crate::auth::sessions::no_entropy;
use crate::auth::{names, secret};
use crate::config::CLIENT_ID_BYTES_MAX;
use crate::core::attempt::{
    self, Attempt, AttemptKey, CancelReason, Client, Command, Device, Opening, P256Key, QrId,
};
use crate::engine::{AttemptRef, Topic};
use crate::hub::{Connection, Requester, Watched};
use crate::node::{Node, Refusal, connection_name};

/// What `qr.open` asks for.
pub struct QrRequest {
    pub device: DeviceId,
    device_name: Option<String>,
    device_kind: DeviceKind,
    public_key: Option<P256Key>,
    dpop_jkt: Option<String>,
    client_id: Option<String>,
}

impl QrRequest {
    /// Reads a command's fields, or a request's body, which has the same.
    ///
    /// # Errors
    /// `bad_request` for a device id, a key or a thumbprint that is none.
    pub fn read(open: &QrOpen<'_>) -> Result<Self, Refusal> {
        let bad = |what: &dyn std::fmt::Display| Refusal::bad_request(what.to_string());
        let owned = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().map(str::to_owned);
        Ok(Self {
            device: DeviceId::parse(&open.device.id).map_err(|e| bad(&e))?,
            device_name: owned(&open.device.name),
            device_kind: open.device.kind,
            public_key: open.public_key.as_ref().map(read_key).transpose()?.flatten(),
            dpop_jkt: owned(&open.dpop_jkt),
            client_id: owned(&open.client_id),
        })
    }
}

fn read_key(key: &PublicKey<'_>) -> Result<Option<P256Key>, Refusal> {
    P256Point::from_key(key).map_err(|e| Refusal::bad_request(e.to_string()))?;
    Ok(P256Key::from_jwk(key))
}

/// Who asks.
struct Opener {
    address: IpAddr,
    requester: Requester,
    /// The wire name of the connection that watches from the start.
    connection: Option<Box<str>>,
}

/// An attempt that the engine has yet to hear of.
struct Drawn {
    attempt: Attempt,
    claim: String,
    watched: Watched,
}

impl Node {
    /// Opens an attempt that `connection` watches. `reply` makes the command's answer, which leaves first.
    ///
    /// # Errors
    /// `unavailable` during a drain and when the node holds as many as it may, `rate_limited`, `device_mismatch`,
    /// `not_allowed` for a client nobody registered, `bad_request`.
    pub async fn open_qr(
        &self,
        connection: &Arc<Connection>,
        request: &QrRequest,
        reply: impl FnOnce(&QrOpened) -> Bytes + Send,
    ) -> Result<(), Refusal> {
        self.counted(self.open(connection, request, reply)).await
    }

    async fn open(
        &self,
        connection: &Arc<Connection>,
        request: &QrRequest,
        reply: impl FnOnce(&QrOpened) -> Bytes + Send,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        check_device(connection, &request.device)?;
        let opener = Opener {
            address: connection.address,
            requester: connection.requester(),
            connection: Some(connection_name(connection.id).into()),
        };
        let Drawn {
            attempt,
            claim,
            watched,
        } = self.draw(opener, request, now)?;
        let topic = Topic::Attempt(watched.key);
        let turn = self.turns.turn(&topic).await;
        // It is watched by this connection from the start, which knows nothing of it before it is kept.
        let unfinished = self.unfinished_watch(connection, AttemptRef::Key(watched.key));
        let kept = match self.engine.follow(topic.clone()).await {
            Ok(()) => self.keep(&attempt).await,
            Err(e) => Err(e.into()),
        };
        unfinished.done();
        let kept = kept.and_then(|()| claim_device(connection, &request.device));
        if let Err(refusal) = kept {
            // It leaves the former one as it was.
            drop(turn);
            self.unfollow_unless_needed(topic).await;
            return Err(refusal);
        }
        let former = connection.set_watched(Some(watched));
        self.hub.hold_watch(watched.key, connection);
        drop(turn);
        if let Some(former) = former {
            self.supersede(connection, former, now).await;
        }
        connection.queue(reply(&self.opened(&attempt, claim, now)));
        let seq = attempt.seq();
        self.release_watch(connection, &Arc::new(attempt), seq);
        Ok(())
    }

    /// Opens an attempt that nobody watches yet, for whoever asks over HTTP and will poll or open a stream.
    ///
    /// # Errors
    /// As [`Node::open_qr`], but for `device_mismatch`.
    pub async fn open_qr_unwatched(
        &self,
        address: IpAddr,
        requester: Requester,
        request: &QrRequest,
    ) -> Result<QrOpened, Refusal> {
        self.counted(self.open_unwatched(address, requester, request))
            .await
    }

    async fn open_unwatched(
        &self,
        address: IpAddr,
        requester: Requester,
        request: &QrRequest,
    ) -> Result<QrOpened, Refusal> {
        let now = self.clock.now();
        let opener = Opener {
            address,
            requester,
            connection: None,
        };
        let Drawn { attempt, claim, .. } = self.draw(opener, request, now)?;
        self.keep(&attempt).await?;
        Ok(self.opened(&attempt, claim, now))
    }

    async fn keep(&self, attempt: &Attempt) -> Result<(), Refusal> {
        self.engine.open_attempt(attempt.clone()).await?;
        self.record_opened(attempt);
        Ok(())
    }

    fn draw(&self, opener: Opener, request: &QrRequest, now: u64) -> Result<Drawn, Refusal> {
        if self.is_draining() {
            return Err(Refusal::unavailable(
                "this node is about to restart; reconnect",
                1_000,
            ));
        }
        self.limiters.qr_open.check(opener.address)?;
        let claim = secret::token().map_err(|_| no_entropy())?;
        let opening = self.opening(opener, request, &claim)?;
        let watched = Watched {
            key: opening.key,
            claim: opening.claim,
            device: device_digest(&request.device),
        };
        Ok(Drawn {
            attempt: attempt::open(opening, now, &self.policy()),
            claim,
            watched,
        })
    }

    fn opening(&self, opener: Opener, request: &QrRequest, claim: &str) -> Result<Opening, Refusal> {
        let client = match &request.client_id {
            Some(id) => Some(self.asking_client(id, opener.requester.origin.as_deref())?),
            None => None,
        };
        if let Some(jkt) = &request.dpop_jkt {
            Thumbprint::parse(jkt).map_err(|e| Refusal::bad_request(e.to_string()))?;
        }
        let random = || secret::bytes().map_err(|_| no_entropy());
        Ok(Opening {
            key: AttemptKey(random()?),
            qr_id: QrId(random()?),
            claim: secret::digest(claim).into(),
            device: Device {
                digest: Some(device_digest(&request.device)),
                name: request
                    .device_name
                    .as_deref()
                    .and_then(names::display_name)
                    .map(Into::into),
                kind: request.device_kind,
            },
            ip: opener.address,
            user_agent: opener.requester.user_agent,
            client,
            public_key: request.public_key.clone(),
            dpop_jkt: request.dpop_jkt.as_deref().map(Into::into),
            mode: self.config().qr.match_mode,
            connection: opener.connection,
        })
    }

    /// The registered client that a page asks for. Anybody could name it: what shows that it is that client's page is
    /// the origin, which no page can choose.
    fn asking_client(&self, id: &str, origin: Option<&str>) -> Result<Client, Refusal> {
        let config = self.config();
        let client = config.client(id).filter(|client| {
            client.is_public() && origin.is_some_and(|origin| client.origins.iter().any(|own| own == origin))
        });
        let client = client.ok_or_else(|| {
            let id: String = id.chars().take(CLIENT_ID_BYTES_MAX).collect();
            let told = format!("no public client {id:?} is registered with the origin of this page");
            Refusal::new(ErrorCode::NotAllowed, told)
        })?;
        Ok(Client {
            id: id.into(),
            name: client.name.as_str().into(),
            grant: None,
        })
    }

    /// What the PC is told of its attempt.
    fn opened(&self, attempt: &Attempt, claim: String, now: u64) -> QrOpened {
        let qr_id = attempt.qr_id();
        QrOpened {
            qr_id: qr_id.to_string(),
            claim,
            url: attempt::url(self.origins.public(), qr_id),
            expires_in_ms: attempt.expires_at().saturating_sub(now),
            rotate_in_ms: attempt.rotate_at().saturating_sub(now),
            seq: attempt.seq(),
            state: attempt.state(),
        }
    }

    /// A connection has one live attempt: a new one ends the former. One that has ended already stays so, and
    /// one that another connection watches by now is that one's.
    async fn supersede(&self, connection: &Connection, former: Watched, now: u64) {
        let Watched { key, claim, device } = former;
        if !self.hub.watches(key, connection.id) {
            return;
        }
        let command = || Command::Cancel {
            claim,
            device,
            reason: CancelReason::Superseded,
        };
        let unfinished = self.unfinished_watch(connection, AttemptRef::Key(key));
        match self.update(AttemptRef::Key(key), now, &command).await {
            // Its event may come later than the end of the watch.
            Ok(decided) => self.tell_watcher(&decided.attempt),
            Err(refusal) => tracing::debug!(code = refusal.code.name(), "the former QR login had ended"),
        }
        self.hub.unwatch(key, connection.id);
        self.unfollow_unless_needed(Topic::Attempt(key)).await;
        unfinished.done();
    }
}
