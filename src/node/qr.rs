//! QR login: a PC opens and watches ([here](self)), a signed-in phone scans and confirms ([`phone`]), the PC
//! redeems ([`redeem`]).

mod outcome;
mod phone;
mod redeem;

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::client::{DeviceKind, PublicKey};
use countersign_protocol::server::{QrOpened, QrState, QrWatching};
use countersign_protocol::{DeviceId, ErrorCode};

pub use redeem::Redeemed;

use super::limiters::network_of;
use super::refusal::Refusal;
use super::{Node, connection_name, qr_policy, sink};
use crate::auth::device::DeviceDigest;
use crate::auth::jwk::{P256Point, Thumbprint};
use crate::auth::sessions::no_entropy;
use crate::auth::{names, secret};
use crate::core::attempt::{
    self, Attempt, AttemptKey, CancelReason, Command, Device, Digest, Opening, Outcome, P256Key, Policy, QrId,
};
use crate::engine::{AttemptRef, Decided, Topic};
use crate::hub::{Connection, ConnectionId, Watched};

/// What `qr.open` asks for.
pub struct QrRequest {
    pub device: DeviceId,
    pub device_name: Option<String>,
    pub device_kind: DeviceKind,
    pub public_key: Option<PublicKey<'static>>,
    pub dpop_jkt: Option<String>,
    pub client_id: Option<String>,
}

/// The PC's proof that it is the one that asked.
pub struct Claim<'a> {
    pub qr_id: &'a str,
    pub claim: &'a str,
    pub device: &'a DeviceId,
}

impl Claim<'_> {
    fn id(&self) -> Result<QrId, Refusal> {
        QrId::parse(self.qr_id).ok_or_else(no_attempt)
    }

    fn digests(&self) -> (Digest, Digest) {
        (secret::digest(self.claim).into(), device_digest(self.device))
    }
}

fn device_digest(device: &DeviceId) -> Digest {
    Digest(*DeviceDigest::of(device).as_bytes())
}

/// The same words for an unknown id, a foreign one and a wrong claim.
pub fn no_attempt() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such QR login")
}

/// Reads an attempt: a decision that changes nothing.
fn look(_: &Attempt) -> attempt::Step {
    attempt::Step {
        next: None,
        events: Vec::new(),
        outcome: Ok(Outcome::Unaffected),
    }
}

fn unexpected() -> Refusal {
    Refusal::new(ErrorCode::Internal, "the QR login answered out of turn")
}

impl From<attempt::Refusal> for Refusal {
    fn from(r: attempt::Refusal) -> Self {
        let message = match (r.code, r.tries_left) {
            (ErrorCode::NotFound, _) => return no_attempt(),
            (ErrorCode::AlreadyScanned, _) => "another phone scanned this code".into(),
            (ErrorCode::AlreadyConfirmed, _) => "this phone has confirmed already".into(),
            (ErrorCode::AlreadyFinal, _) => "this QR login has ended; open a new one".into(),
            (ErrorCode::ScanTokenInvalid, _) => "this scan token does not work; scan again".into(),
            (ErrorCode::MatchRequired, _) => "give the two digits shown on the other screen".into(),
            (ErrorCode::MatchFailed, Some(left)) => format!("the digits are wrong; {left} more tries").into(),
            (ErrorCode::Conflict, _) => "not in this state of the QR login".into(),
            _ => std::borrow::Cow::from(r.code.name()),
        };
        let gone = r.code == ErrorCode::AlreadyFinal && r.state == Some(QrState::Expired);
        Refusal {
            code: r.code,
            message,
            after_ms: None,
            state: r.state,
            reason: r.reason.map(attempt::Reason::name),
            tries_left: r.tries_left,
            methods: &[],
            status: gone.then_some(410),
        }
    }
}

impl Node {
    fn policy(&self) -> Policy {
        qr_policy(&self.config)
    }

    /// One compare-and-set on an attempt.
    async fn update<'c>(
        &self,
        which: AttemptRef,
        now: u64,
        command: &(dyn Fn() -> Command<'c> + Send + Sync),
    ) -> Result<Decided, Refusal> {
        let policy = self.policy();
        let mut decide = |attempt: &Attempt| attempt::decide(attempt, &command(), now, &policy);
        let decided = self
            .engine
            .update_attempt(which, &mut decide, now)
            .await?
            .ok_or_else(no_attempt)?;
        audit(&decided, command().name());
        Ok(decided)
    }

    /// Opens an attempt that `connection` watches. `reply` makes the command's answer, which leaves first.
    pub async fn open_qr(
        &self,
        connection: &Arc<Connection>,
        request: QrRequest,
        reply: impl FnOnce(&QrOpened) -> Bytes + Send,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        if self.is_draining() {
            return Err(Refusal::unavailable(
                "this node is about to restart; reconnect",
                1_000,
            ));
        }
        check_device(connection, &request.device)?;
        let requester = request.device.clone();
        self.limiters.qr_open.check(&network_of(connection.address))?;
        let claim = secret::token().map_err(|_| no_entropy())?;
        let opening = self.opening(connection, request, &claim)?;
        let watched = Watched {
            key: opening.key,
            claim: opening.claim,
            device: opening.device.digest,
        };
        let attempt = Arc::new(attempt::open(opening, now, &self.policy()));
        let topic = Topic::Attempt(watched.key);
        let turn = self.turns.turn(&topic).await;
        self.engine.follow(topic.clone()).await?;
        let kept = match self.engine.open_attempt(Attempt::clone(&attempt)).await {
            Ok(()) => claim_device(connection, &requester),
            Err(e) => Err(e.into()),
        };
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
        let qr_id = attempt.qr_id();
        connection.queue(reply(&QrOpened {
            qr_id: qr_id.to_string(),
            claim,
            url: attempt::url(self.origins.public(), qr_id),
            expires_in_ms: attempt.expires_at().saturating_sub(now),
            rotate_in_ms: attempt.rotate_at().saturating_sub(now),
            seq: attempt.seq(),
            state: attempt.state(),
        }));
        self.release_watch(connection, &attempt, attempt.seq());
        tracing::info!(target: "countersign::qr", attempt = %short(watched.key), address = %connection.address, "opened");
        Ok(())
    }

    fn opening(&self, connection: &Connection, request: QrRequest, claim: &str) -> Result<Opening, Refusal> {
        if let Some(client) = &request.client_id {
            let client: String = client.chars().take(64).collect();
            return Err(Refusal::new(
                ErrorCode::NotAllowed,
                format!("no client {client:?} is registered"),
            ));
        }
        let public_key = match &request.public_key {
            None => None,
            Some(key) => {
                P256Point::from_key(key).map_err(|e| Refusal::bad_request(e.to_string()))?;
                P256Key::from_jwk(key)
            }
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
                digest: device_digest(&request.device),
                name: request
                    .device_name
                    .as_deref()
                    .and_then(names::display_name)
                    .map(Into::into),
                kind: request.device_kind,
            },
            ip: connection.address,
            user_agent: connection.user_agent(),
            client: None,
            public_key,
            dpop_jkt: request.dpop_jkt.map(Into::into),
            mode: self.config.qr.match_mode,
            connection: Some(connection_name(connection.id).into()),
        })
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
        match self.update(AttemptRef::Key(key), now, &command).await {
            // Its event may come later than the end of the watch.
            Ok(decided) => self.tell_watcher(&decided.attempt),
            Err(refusal) => tracing::debug!(code = refusal.code.name(), "the former QR login had ended"),
        }
        self.hub.unwatch(key, connection.id);
        self.unfollow_unless_needed(Topic::Attempt(key)).await;
    }

    fn tell_watcher(&self, attempt: &Arc<Attempt>) {
        self.hub.tell_watcher(attempt, |attempt, told| {
            sink::frames(attempt, told, self.clock.now(), self.origins.public())
        });
    }

    fn release_watch(&self, connection: &Arc<Connection>, attempt: &Arc<Attempt>, told: u32) {
        self.hub
            .release_watch(attempt, connection.id, told, |attempt, told| {
                sink::frames(attempt, told, self.clock.now(), self.origins.public())
            });
        connection.flush();
    }

    /// Watches an attempt again, after a lost connection. `reply` makes the answer, which leaves first; then
    /// every event after `after_seq`, or the newest.
    pub async fn watch_qr(
        &self,
        connection: &Arc<Connection>,
        claim: Claim<'_>,
        after_seq: Option<u32>,
        reply: impl FnOnce(&QrWatching) -> Bytes + Send,
    ) -> Result<(), Refusal> {
        let now = self.clock.now();
        check_device(connection, claim.device)?;
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let name = connection_name(connection.id);
        let watch = || Command::Watch {
            claim: digest,
            device,
            connection: &name,
        };
        let decided = self.update(AttemptRef::Id(id), now, &watch).await?;
        decided.step.outcome?;
        claim_device(connection, claim.device)?;
        let watched = Watched {
            key: decided.attempt.key(),
            claim: digest,
            device,
        };
        if let Some(former) = connection
            .set_watched(Some(watched))
            .filter(|f| f.key != watched.key)
        {
            self.unwatch_qr(connection, former.key, now).await;
        }
        let topic = Topic::Attempt(watched.key);
        let turn = self.turns.turn(&topic).await;
        self.hub.hold_watch(watched.key, connection);
        let followed = self.engine.follow(topic.clone()).await;
        drop(turn);
        // Read again now that nothing can be missed.
        let poll = || Command::Poll {
            claim: digest,
            device,
        };
        let read = match followed {
            Ok(()) => self.update(AttemptRef::Key(watched.key), now, &poll).await,
            Err(e) => Err(e.into()),
        };
        let attempt = match read {
            Ok(decided) => decided.attempt,
            Err(refusal) => {
                self.hub.unwatch(watched.key, connection.id);
                connection.set_watched(None);
                self.unfollow_unless_needed(topic).await;
                return Err(refusal);
            }
        };
        connection.queue(reply(&QrWatching {
            state: attempt.state(),
            expires_in_ms: attempt.expires_at().saturating_sub(now),
        }));
        let told = after_seq.unwrap_or_else(|| attempt.seq().saturating_sub(1));
        self.release_watch(connection, &attempt, told);
        Ok(())
    }

    async fn unwatch_qr(&self, connection: &Connection, key: AttemptKey, now: u64) {
        self.hub.unwatch(key, connection.id);
        self.forget_watch(connection.id, key, now).await;
        self.unfollow_unless_needed(Topic::Attempt(key)).await;
    }

    /// A connection no longer watches; another may.
    pub(super) async fn forget_watch(&self, connection: ConnectionId, key: AttemptKey, now: u64) {
        let name = connection_name(connection);
        // Refused when the attempt is gone: then nobody need know.
        let _ = self
            .update(AttemptRef::Key(key), now, &|| Command::Unwatch {
                connection: &name,
            })
            .await;
    }

    /// The PC's person typed the digits that the phone shows.
    ///
    /// # Errors
    /// `not_found` for whoever cannot prove the claim; `match_failed`, with the tries left; `conflict` before a scan
    /// or where the phone types; `already_confirmed`, `already_final`.
    pub async fn answer_qr(&self, claim: Claim<'_>, code: &str) -> Result<(), Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let answer = || Command::Answer {
            claim: digest,
            device,
            code,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &answer)
            .await?
            .step
            .outcome?;
        Ok(())
    }

    /// The PC ends its attempt.
    pub async fn cancel_qr(&self, claim: Claim<'_>) -> Result<(), Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let cancel = || Command::Cancel {
            claim: digest,
            device,
            reason: CancelReason::User,
        };
        self.update(AttemptRef::Id(id), self.clock.now(), &cancel)
            .await?
            .step
            .outcome?;
        Ok(())
    }

    /// The address in a code and whether it is one.
    pub fn qr_url(&self, qr_id: &str) -> Result<String, Refusal> {
        let id = QrId::parse(qr_id).ok_or_else(no_attempt)?;
        Ok(attempt::url(self.origins.public(), id))
    }

    /// Ends what a session scanned and had not seen through.
    pub(super) async fn end_scans_of(&self, session: &str) -> Result<(), Refusal> {
        let now = self.clock.now();
        for key in self.engine.attempts_scanned_by(session.to_owned()).await? {
            let revoke = || Command::ScannerRevoked { session };
            self.update(AttemptRef::Key(key), now, &revoke).await?;
        }
        Ok(())
    }

    /// A timer of an attempt has fired.
    pub(super) async fn tick_attempt(&self, key: AttemptKey, now: u64) {
        let Ok(fresh) = secret::bytes().map(QrId) else {
            return;
        };
        let _ = self
            .update(AttemptRef::Key(key), now, &|| Command::Tick { fresh })
            .await;
    }

    /// Tells the watcher what it may have missed.
    pub(super) async fn repair_attempt(&self, key: AttemptKey) -> Result<(), Refusal> {
        let now = self.clock.now();
        if let Some(decided) = self
            .engine
            .update_attempt(AttemptRef::Key(key), &mut look, now)
            .await?
        {
            self.tell_watcher(&decided.attempt);
        }
        self.hub.tell_phones(key);
        Ok(())
    }
}

fn other_device() -> Refusal {
    Refusal::new(ErrorCode::DeviceMismatch, "this connection is another device")
}

/// A command that is refused leaves the connection as it was, so the device is looked at first and kept last.
fn check_device(connection: &Connection, device: &DeviceId) -> Result<(), Refusal> {
    match connection.device() {
        Some(known) if known != *device => Err(other_device()),
        _ => Ok(()),
    }
}

fn claim_device(connection: &Connection, device: &DeviceId) -> Result<(), Refusal> {
    connection.set_device(device).map_err(|_| other_device())
}

/// One line per transition, without secrets.
fn audit(decided: &Decided, command: &'static str) {
    for event in &decided.step.events {
        let attempt = &decided.attempt;
        tracing::info!(
            target: "countersign::qr",
            attempt = %short(attempt.key()),
            seq = event.seq,
            state = event.state().name(),
            reason = attempt.reason().map(attempt::Reason::name),
            user = attempt.scanner().map(|s| s.user.id.as_str()),
            command,
            "changed"
        );
    }
}

/// Enough of an attempt's key to follow it through a log.
fn short(key: AttemptKey) -> String {
    key.0.iter().take(6).map(|b| format!("{b:02x}")).collect()
}
