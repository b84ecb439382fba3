//! QR login: a PC opens and watches, a signed-in phone scans and confirms, the PC redeems.

use std::sync::Arc;

use bytes::Bytes;
use countersign_protocol::client::{DeviceKind, PublicKey};
use countersign_protocol::http::{QrStateBody, Scanned};
use countersign_protocol::server::{QrOpened, QrRedeemed, QrState, QrWatching};
use countersign_protocol::{DeviceId, ErrorCode};

use super::limiters::network_of;
use super::refusal::Refusal;
use super::signin::Caller;
use super::{Node, connection_name, qr_policy, sink};
use crate::auth::device::DeviceDigest;
use crate::auth::jwk::{P256Point, Thumbprint};
use crate::auth::sessions::{Minted, NewSession, Session, no_entropy};
use crate::auth::{jwe, names, seal, secret};
use crate::core::attempt::{
    self, Attempt, AttemptKey, CancelReason, Command, Device, Digest, Digits, Opening, Outcome, P256Key, Phone,
    Policy, QrId, Sealed, Secret,
};
use crate::engine::{AttemptRef, Decided, SessionRecord};
use crate::hub::{Connection, ConnectionId, Watched};

/// Domain of the result kept for a repeated redeem.
const REDEEM_AAD: &[u8] = b"countersign redeem v1";

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

/// A record to be stored once the redemption has been decided, with what is told.
struct Prepared {
    record: SessionRecord,
    result: Sealed,
}

fn device_digest(device: &DeviceId) -> Digest {
    Digest(*DeviceDigest::of(device).as_bytes())
}

/// The same words for an unknown id, a foreign one and a wrong claim.
pub fn no_attempt() -> Refusal {
    Refusal::new(ErrorCode::NotFound, "no such QR login")
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
        let decided = self.engine.update_attempt(which, &mut decide, now).await?.ok_or_else(no_attempt)?;
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
            return Err(Refusal::unavailable("this node is about to restart; reconnect", 1_000));
        }
        check_device(connection, &request.device)?;
        let requester = request.device.clone();
        self.limiters.qr_open.check(&network_of(connection.address))?;
        let claim = secret::token().map_err(|_| no_entropy())?;
        let opening = self.opening(connection, request, &claim)?;
        let watched = Watched { key: opening.key, claim: opening.claim, device: opening.device.digest };
        let opened = attempt::open(opening, now, &self.policy());
        // Refused, it leaves the former one as it was.
        self.engine.open_attempt(opened.clone()).await?;
        let attempt = Arc::new(opened);
        claim_device(connection, &requester)?;
        if let Some(former) = connection.set_watched(Some(watched)) {
            self.supersede(connection, former, now).await;
        }
        self.hub.hold_watch(watched.key, connection);
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
            return Err(Refusal::new(ErrorCode::NotAllowed, format!("no client {client:?} is registered")));
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
                name: request.device_name.as_deref().and_then(names::display_name).map(Into::into),
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

    /// A connection has one live attempt: a new one ends the former. One that has ended already stays so.
    async fn supersede(&self, connection: &Connection, former: Watched, now: u64) {
        let Watched { key, claim, device } = former;
        let command = || Command::Cancel { claim, device, reason: CancelReason::Superseded };
        if let Err(refusal) = self.update(AttemptRef::Key(key), now, &command).await {
            tracing::debug!(code = refusal.code.name(), "the former QR login had ended");
        }
        self.hub.unwatch(key, connection.id);
    }

    fn release_watch(&self, connection: &Arc<Connection>, attempt: &Arc<Attempt>, told: u32) {
        self.hub.release_watch(attempt, connection.id, told, |attempt, told| {
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
        let watch = || Command::Watch { claim: digest, device, connection: &name };
        let decided = self.update(AttemptRef::Id(id), now, &watch).await?;
        decided.step.outcome?;
        claim_device(connection, claim.device)?;
        let watched = Watched { key: decided.attempt.key(), claim: digest, device };
        if let Some(former) = connection.set_watched(Some(watched)).filter(|f| f.key != watched.key) {
            self.unwatch_qr(connection, former.key, now).await;
        }
        self.hub.hold_watch(watched.key, connection);
        // Read again now that nothing can be missed.
        let poll = || Command::Poll { claim: digest, device };
        let attempt = match self.update(AttemptRef::Key(watched.key), now, &poll).await {
            Ok(decided) => decided.attempt,
            Err(refusal) => {
                self.hub.unwatch(watched.key, connection.id);
                connection.set_watched(None);
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
    }

    /// A connection no longer watches; another may.
    pub(super) async fn forget_watch(&self, connection: ConnectionId, key: AttemptKey, now: u64) {
        let name = connection_name(connection);
        // Refused when the attempt is gone: then nobody need know.
        let _ = self.update(AttemptRef::Key(key), now, &|| Command::Unwatch { connection: &name }).await;
    }

    /// The PC ends its attempt.
    pub async fn cancel_qr(&self, claim: Claim<'_>) -> Result<(), Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let cancel = || Command::Cancel { claim: digest, device, reason: CancelReason::User };
        self.update(AttemptRef::Id(id), self.clock.now(), &cancel).await?.step.outcome?;
        Ok(())
    }

    /// Exchanges the ticket for the PC's own tokens and signs `connection` in.
    pub async fn redeem_qr(
        &self,
        connection: &Arc<Connection>,
        claim: Claim<'_>,
        ticket: &str,
    ) -> Result<QrRedeemed, Refusal> {
        let now = self.clock.now();
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let bound = connection.session().map(|s| s.user_id().clone());
        let policy = self.policy();
        let mut prepared: Option<Prepared> = None;
        let mut refused: Option<Refusal> = None;
        let mut decide = |attempt: &Attempt| {
            (prepared, refused) = (None, None);
            let scanner = attempt.scanner().map(|s| &s.user);
            if bound.is_some() && scanner.map(|u| &u.id) != bound.as_ref() && attempt.state() == QrState::Confirmed {
                refused = Some(Refusal::new(ErrorCode::Conflict, "this connection is signed in as another user"));
            } else if attempt.state() == QrState::Confirmed {
                // Only what can succeed is worth a signature.
                match self.prepare(attempt, &claim, now) {
                    Ok(ready) => prepared = Some(ready),
                    Err(refusal) => refused = Some(refusal),
                }
            }
            let (session, result) = match &prepared {
                Some(ready) => (ready.record.id.as_str(), ready.result.clone()),
                None => ("", Sealed::new(Vec::new())),
            };
            let ticket = if refused.is_some() { "" } else { ticket };
            let redeem = Command::Redeem { claim: digest, device, ticket, session, result: &result };
            attempt::decide(attempt, &redeem, now, &policy)
        };
        let decided =
            self.engine.update_attempt(AttemptRef::Id(id), &mut decide, now).await?.ok_or_else(no_attempt)?;
        audit(&decided, "redeem");
        let result = match (decided.step.outcome, refused) {
            (Ok(Outcome::Redeemed(result)), _) => {
                let record = prepared.ok_or_else(unexpected)?.record;
                self.engine.open_session(record, now).await?;
                result
            }
            (Ok(Outcome::RedeemedAgain(result)), _) => result,
            // The claim was right, or the core would have said so first.
            (Err(e), Some(refusal)) if e.code == ErrorCode::NotFound => return Err(refusal),
            (Err(e), _) => return Err(e.into()),
            (Ok(_), _) => return Err(unexpected()),
        };
        let plain = seal::open_kept(claim.claim, result.as_bytes(), REDEEM_AAD).map_err(|_| no_attempt())?;
        let kept: Kept = serde_json::from_slice(&plain).map_err(|_| unexpected())?;
        self.sign_in_redeemed(connection, claim.device, &kept, now).await?;
        Ok(kept.reply)
    }

    /// Makes the PC's session and tokens, sealed so that only the claim can read them again.
    fn prepare(&self, attempt: &Attempt, claim: &Claim<'_>, now: u64) -> Result<Prepared, Refusal> {
        let scanner = attempt.scanner().ok_or_else(unexpected)?;
        let device = attempt.device();
        let Minted { record, tokens } = self.sessions.mint(
            NewSession {
                user: scanner.user.clone(),
                device: DeviceDigest::of(claim.device),
                public_device: countersign_protocol::server::PublicDevice {
                    name: device.name.as_deref().map(str::to_owned),
                    kind: device.kind,
                },
                ip: attempt.ip().to_string(),
                jkt: attempt.dpop_jkt().map(str::to_owned),
            },
            now,
        )?;
        let mut reply = QrRedeemed {
            access_token: None,
            refresh_token: None,
            sealed: None,
            token_type: tokens.token_type,
            expires_in_ms: tokens.expires_in_ms,
            user: tokens.user,
            session: tokens.session,
        };
        let internal = || Refusal::new(ErrorCode::Internal, "the tokens could not be sealed");
        let access_token = tokens.access_token.clone();
        if let Some(key) = attempt.public_key() {
            let point = P256Point::from_key(&key.to_jwk()).map_err(|_| internal())?;
            let pair = serde_json::json!({"access_token": tokens.access_token, "refresh_token": tokens.refresh_token});
            let party = attempt.qr_id().to_string();
            reply.sealed = Some(jwe::seal(&point, &party, pair.to_string().as_bytes()).map_err(|_| internal())?);
        } else {
            reply.access_token = Some(tokens.access_token);
            reply.refresh_token = Some(tokens.refresh_token);
        }
        let kept = serde_json::to_vec(&Kept { reply, access_token }).map_err(|_| internal())?;
        let sealed = seal::seal_kept(claim.claim, &kept, REDEEM_AAD).map_err(|_| internal())?;
        Ok(Prepared { record, result: Sealed::new(sealed) })
    }

    /// A signed-in phone scans a code.
    pub async fn scan_qr(&self, caller: &Caller, qr_id: &str) -> Result<Scanned, Refusal> {
        let (session, phone) = self.phone(caller)?;
        let id = self.live(session, qr_id).await?;
        let now = self.clock.now();
        let scan_token = secret::token().map_err(|_| no_entropy())?;
        let token: Digest = secret::digest(&scan_token).into();
        let drawn = secret::two_digits().map_err(|_| no_entropy())?;
        let digits = drawn.parse().ok().and_then(Digits::new).ok_or_else(no_entropy)?;
        let scan = || Command::Scan { qr_id: id, phone: &phone, token, digits };
        let decided = self.update(AttemptRef::Id(id), now, &scan).await?;
        let Outcome::Scanned(scanned) = decided.step.outcome? else { return Err(unexpected()) };
        Ok(Scanned {
            scan_token,
            expires_in_ms: scanned.expires_at.saturating_sub(now),
            request: scanned.request,
            number: scanned.number,
        })
    }

    /// The phone that scanned says yes.
    pub async fn confirm_qr(
        &self,
        caller: &Caller,
        qr_id: &str,
        scan_token: &str,
        code: Option<&str>,
    ) -> Result<QrStateBody, Refusal> {
        let (session, phone) = self.phone(caller)?;
        let id = self.live(session, qr_id).await?;
        let ticket = Secret::new(secret::token().map_err(|_| no_entropy())?);
        let token: Digest = secret::digest(scan_token).into();
        let confirm = || Command::Confirm { qr_id: id, phone: &phone, token, code, ticket: &ticket };
        self.update(AttemptRef::Id(id), self.clock.now(), &confirm).await?.step.outcome?;
        Ok(QrStateBody { state: QrState::Confirmed })
    }

    /// The phone that scanned says no.
    pub async fn deny_qr(&self, caller: &Caller, qr_id: &str, scan_token: &str) -> Result<QrStateBody, Refusal> {
        let (session, phone) = self.phone(caller)?;
        let id = self.live(session, qr_id).await?;
        let token: Digest = secret::digest(scan_token).into();
        let deny = || Command::Deny { qr_id: id, phone: &phone, token };
        self.update(AttemptRef::Id(id), self.clock.now(), &deny).await?.step.outcome?;
        Ok(QrStateBody { state: QrState::Denied })
    }

    /// Everything about the phone comes from its session, nothing from its request.
    fn phone<'a>(&self, caller: &'a Caller) -> Result<(&'a Session, Phone), Refusal> {
        let session = caller.session.as_deref().ok_or_else(super::signin::unauthenticated)?;
        let phone = Phone {
            user: (**session.user()).clone(),
            session: session.id().into(),
            device: Digest(*session.device().as_bytes()),
            ip: caller.address,
        };
        Ok((session, phone))
    }

    /// Counts a call that names an attempt there is; one that names none costs the account nothing.
    async fn live(&self, session: &Session, qr_id: &str) -> Result<QrId, Refusal> {
        let id = QrId::parse(qr_id).ok_or_else(no_attempt)?;
        let mut look = |_: &Attempt| attempt::Step { next: None, events: Vec::new(), outcome: Ok(Outcome::Unaffected) };
        let found = self.engine.update_attempt(AttemptRef::Id(id), &mut look, self.clock.now()).await?;
        found.ok_or_else(no_attempt)?;
        self.limiters.qr_phone.check(session.user_id())?;
        Ok(id)
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
        let _ = self.update(AttemptRef::Key(key), now, &|| Command::Tick { fresh }).await;
    }

    /// Tells the watcher what it may have missed.
    pub(super) async fn repair_attempt(&self, key: AttemptKey) -> Result<(), Refusal> {
        let now = self.clock.now();
        let mut look = |_: &Attempt| attempt::Step { next: None, events: Vec::new(), outcome: Ok(Outcome::Unaffected) };
        if let Some(decided) = self.engine.update_attempt(AttemptRef::Key(key), &mut look, now).await? {
            self.hub.tell_watcher(&decided.attempt, |attempt, told| {
                sink::frames(attempt, told, now, self.origins.public())
            });
        }
        Ok(())
    }
}

/// What a redemption leaves behind for a repeat: its reply, and the token the connection is signed in with,
/// which a sealed reply hides.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Kept {
    pub(super) reply: QrRedeemed,
    pub(super) access_token: String,
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
