//! Accounts, sessions, and connections that are signed in.

use std::net::IpAddr;
use std::sync::Arc;

use countersign_protocol::http::{
    DeviceBody, Jwks, Login, MeBody, NewAccount, SessionBody, Sessions, Tokens,
};
use countersign_protocol::server::{LeftReason, Profile, PublicDevice, Role, SignedIn};
use countersign_protocol::{CloseCode, DeviceId, ErrorCode, UserId};

use super::limiters::network_of;
use super::refusal::Refusal;
use super::{Node, sink};
use crate::auth::device::DeviceDigest;
use crate::auth::names;
use crate::auth::password::PasswordError;
use crate::auth::sessions::{Asker, Issued, NewSession, Proof, Refreshed, Session};
use crate::engine::{Account, Create, EngineError, Identity, Present, SessionRecord, Topic};
use crate::hub::{Connection, End};
use crate::ops::metrics::{Credential, Limit};

/// Looks for other sessions of an account while they are ended.
const END_ROUNDS_MAX: usize = 4;

/// Who makes a request: an address, and a session when a token was given.
#[derive(Debug, Clone)]
pub struct Caller {
    pub address: IpAddr,
    pub session: Option<Arc<Session>>,
}

/// Why a connection could not be signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInError {
    /// The user has as many connections as allowed: close 4504.
    ConnectionLimit,
    Refused(Refusal),
}

impl From<Refusal> for SignInError {
    fn from(refusal: Refusal) -> Self {
        SignInError::Refused(refusal)
    }
}

/// The caller has to sign in first.
pub fn unauthenticated() -> Refusal {
    Refusal::new(ErrorCode::Unauthenticated, "sign in first")
}

fn wrong_login() -> Refusal {
    Refusal::new(ErrorCode::InvalidToken, "wrong user or password")
}

impl From<PasswordError> for Refusal {
    fn from(e: PasswordError) -> Self {
        match e {
            PasswordError::Length => Refusal::bad_request(e.to_string()),
            PasswordError::Busy { after_ms } => Refusal::rate_limited(e.to_string(), after_ms),
            PasswordError::Cost | PasswordError::Failed => Refusal::new(ErrorCode::Internal, e.to_string()),
        }
    }
}

impl Node {
    /// Creates an account.
    ///
    /// # Errors
    /// `registration_closed`, `bad_request`, `user_exists`, `rate_limited`, `unavailable`.
    pub async fn register(&self, address: IpAddr, new: NewAccount) -> Result<Profile, Refusal> {
        self.shown(Credential::Registration, self.create(address, new))
            .await
    }

    async fn create(&self, address: IpAddr, new: NewAccount) -> Result<Profile, Refusal> {
        if !self.config().accounts.open_registration {
            return Err(Refusal::new(
                ErrorCode::RegistrationClosed,
                "registration is closed here",
            ));
        }
        let id = UserId::parse(&new.user_id).map_err(|e| Refusal::bad_request(e.to_string()))?;
        if let Some(avatar) = &new.avatar {
            names::check_avatar(avatar).map_err(|e| Refusal::bad_request(e.to_string()))?;
        }
        self.limiters.login_address.check(address)?;
        let exists = || Refusal::new(ErrorCode::UserExists, "this user id is taken");
        if self.engine.account(id.clone()).await?.is_some() {
            return Err(exists());
        }
        let password_hash = self.hasher.hash(&new.password).await;
        let password_hash = password_hash.map_err(|e| self.unchecked(e))?;
        let profile = Profile {
            id,
            name: new.name.as_deref().and_then(names::display_name),
            avatar: new.avatar,
        };
        let account = Account {
            profile: profile.clone(),
            password_hash,
            created_at: self.clock.now(),
            locked: false,
        };
        match self.engine.create_account(account).await {
            Err(EngineError::Exists) => Err(exists()),
            other => Ok(other.map(|()| profile)?),
        }
    }

    /// Signs a device in with a password. A wrong user and a wrong password are the same answer, and take the
    /// same work.
    ///
    /// # Errors
    /// `invalid_token` (401), `rate_limited`, `bad_request`.
    pub async fn login(&self, address: IpAddr, login: Login) -> Result<Tokens, Refusal> {
        self.shown(Credential::Password, self.check_password(address, login))
            .await
    }

    async fn check_password(&self, address: IpAddr, login: Login) -> Result<Tokens, Refusal> {
        let (device, public_device) = read_device(&login.device)?;
        self.limiters.login_address.check(address)?;
        let user = UserId::parse(&login.user_id).ok();
        let account = match &user {
            Some(user) => {
                self.limiters
                    .login_account
                    .check(&(user.clone(), network_of(address)))?;
                self.engine.account(user.clone()).await?
            }
            None => None,
        };
        let stored = account.as_ref().map(|a| a.password_hash.as_str());
        let right = self.hasher.verify(&login.password, stored).await;
        let right = right.map_err(|e| self.unchecked(e))?;
        let account = account.filter(|_| right).ok_or_else(|| {
            tracing::info!(target: "countersign::auth", %address, "sign-in refused");
            wrong_login()
        })?;
        if account.locked {
            // Who does not know the password is not told.
            tracing::info!(target: "countersign::auth", %address, "sign-in refused: the account is locked");
            return Err(Refusal::account_locked());
        }
        let new = NewSession {
            user: account.profile.clone(),
            device: Some(DeviceDigest::of(&device)),
            public_device,
            ip: address.to_string(),
            jkt: None,
            client: None,
        };
        let now = self.clock.now();
        let minted = self.sessions.mint(new, now)?;
        self.open_session(minted.record, now).await?;
        self.end_if_locked(&account.profile.id, &minted.tokens.session)
            .await?;
        Ok(minted.tokens)
    }

    /// Exchanges a refresh token.
    ///
    /// # Errors
    /// `bad_request` without a device, `invalid_token`.
    pub async fn refresh_tokens(&self, token: &str, device: Option<&DeviceId>) -> Result<Tokens, Refusal> {
        self.shown(Credential::Refresh, self.rotate(token, device)).await
    }

    async fn rotate(&self, token: &str, device: Option<&DeviceId>) -> Result<Tokens, Refusal> {
        // Without a device there is no telling whether it is another one, and a guess would end the session.
        let device =
            device.ok_or_else(|| Refusal::bad_request("send the device id in Countersign-Device"))?;
        let config = self.config().clone();
        // Nobody authenticates here, so a session of a client that does has to go on elsewhere.
        let may = |who: &Identity| {
            who.client.as_ref().is_none_or(|client| {
                let registered = config.client(&client.id);
                registered.is_some_and(|client| {
                    client.is_public() && client.may_have(&who.user.id, who.device.is_some())
                })
            })
        };
        let asker = Asker::Device { device, may: &may };
        Ok(self.refreshed(token, asker).await?.tokens)
    }

    /// What a refresh token is exchanged for. One that shows that somebody has a copy ends its session.
    pub(super) async fn refreshed(&self, token: &str, asker: Asker<'_>) -> Result<Issued, Refusal> {
        match self.sessions.refresh(token, asker, self.clock.now()).await? {
            Refreshed::Pair(issued) => Ok(*issued),
            Refreshed::Reused { session, refusal } => {
                tracing::warn!(target: "countersign::auth", session, "a used refresh token came back; the session is ended");
                self.end_session(&session).await?;
                Err(refusal)
            }
        }
    }

    /// Ends the caller's session: its tokens stop working, its sockets close, what it scanned is denied.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn logout(&self, session: &Session) -> Result<(), Refusal> {
        self.end_session(session.id()).await
    }

    /// The signed-in devices of the caller's account.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sessions(&self, caller: &Session) -> Result<Sessions, Refusal> {
        let user = caller.user_id().clone();
        let records = self.engine.sessions_of(user, self.clock.now()).await?;
        let config = self.config();
        let body = |record: &Arc<SessionRecord>| SessionBody {
            client: (record.identity.client.as_ref()).map(|client| config.client_name(&client.id)),
            id: record.identity.id.clone(),
            device: record.identity.public_device.clone(),
            created_at_ms: record.created_at,
            last_seen_at_ms: record.last_seen_at,
            ip: record.ip.clone(),
            current: record.identity.id == caller.id(),
        };
        Ok(Sessions {
            sessions: records.iter().map(body).collect(),
        })
    }

    /// Ends one session of the caller's account.
    ///
    /// # Errors
    /// `not_found` when it is not one of theirs, or has ended.
    pub async fn end_session_of(&self, caller: &Session, id: &str) -> Result<(), Refusal> {
        let session = self.engine.session(id.to_owned(), self.clock.now()).await?;
        session
            .filter(|s| s.identity.user.id == *caller.user_id())
            .ok_or_else(|| Refusal::new(ErrorCode::NotFound, "no such session"))?;
        self.end_session(id).await
    }

    /// Ends all sessions of the caller's account but the one that asks.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn end_other_sessions(&self, caller: &Session) -> Result<(), Refusal> {
        self.end_sessions_but(caller.user_id(), Some(caller.id())).await?;
        Ok(())
    }

    /// Ends all sessions of a user but one; answers how many.
    pub(super) async fn end_sessions_but(&self, user: &UserId, kept: Option<&str>) -> Result<usize, Refusal> {
        let mut ended = 0;
        // One of them may be confirming a QR login meanwhile: once all that were there have ended, nothing new comes
        // from them.
        for _ in 0..END_ROUNDS_MAX {
            let mut others = self.engine.sessions_of(user.clone(), self.clock.now()).await?;
            others.retain(|session| kept != Some(&session.identity.id));
            if others.is_empty() {
                break;
            }
            ended += others.len();
            for session in others {
                self.end_session(&session.identity.id).await?;
            }
        }
        Ok(ended)
    }

    /// The caller, as the gateway knows it.
    pub fn me(session: &Session) -> MeBody {
        MeBody {
            user: (**session.user()).clone(),
            session: session.id().to_owned(),
            device: session.public_device().clone(),
        }
    }

    /// The public keys of our tokens.
    pub fn jwks(&self) -> Jwks {
        self.sessions.keys().jwks(self.clock.now())
    }

    /// Checks a token together with its device or proof.
    ///
    /// # Errors
    /// `invalid_token`, `device_mismatch`.
    pub async fn authenticate(
        &self,
        token: &str,
        device: Option<&DeviceId>,
        proof: Option<Proof<'_>>,
    ) -> Result<Arc<Session>, Refusal> {
        let checked = self.sessions.authenticate(token, device, proof, self.clock.now());
        self.shown(Credential::Token, checked).await
    }

    /// Counts what came of a credential.
    pub(super) async fn shown<T>(
        &self,
        credential: Credential,
        checked: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let checked = checked.await;
        let refused = checked.as_ref().err().map(|refusal| refusal.code);
        self.metrics.traffic.auth(credential, refused);
        checked
    }

    /// A password could not be checked, or not be kept.
    pub(super) fn unchecked(&self, e: PasswordError) -> Refusal {
        if matches!(e, PasswordError::Busy { .. }) {
            self.metrics.traffic.limited(Limit::PasswordQueueMax);
        }
        e.into()
    }

    /// Where a DPoP proof on a socket has to point.
    pub fn socket_url(&self) -> String {
        let public = self.origins.public();
        let rest = public.strip_prefix("http").unwrap_or(public);
        format!("ws{rest}/v1/ws")
    }

    /// Signs a connection in, or gives it a newer session of the same user. Rooms joined before are entered
    /// again as that user.
    ///
    /// # Errors
    /// `conflict` for another user, and the user's connection limit.
    pub async fn sign_in(
        &self,
        connection: &Arc<Connection>,
        session: Arc<Session>,
    ) -> Result<(), SignInError> {
        if connection
            .session()
            .is_some_and(|s| s.user_id() != session.user_id())
        {
            let message = "this connection is signed in as another user";
            return Err(Refusal::new(ErrorCode::Conflict, message).into());
        }
        let max = self.limits().connections_per_user_max;
        let topic = Topic::User(session.user_id().clone());
        let turn = self.turns.turn(&topic).await;
        self.hub
            .bind_user(session.user_id(), connection, max)
            .map_err(|_| {
                self.metrics.traffic.limited(Limit::ConnectionsPerUserMax);
                SignInError::ConnectionLimit
            })?;
        connection.set_session(Arc::clone(&session));
        let followed = self.engine.follow(topic).await;
        drop(turn);
        // A revocation that came before this heard of it found no session here to close.
        let now = self.clock.now();
        let still = match followed {
            Ok(()) => self.engine.session(session.id().to_owned(), now).await,
            Err(e) => Err(e),
        };
        let still = still.map_err(|e| {
            // It would go on as somebody whose end nobody hears of.
            connection.end(End::Close(CloseCode::TryAgain));
            Refusal::from(e)
        })?;
        if still.is_none() {
            // It is bound by now, and a connection never goes on with a session that has ended.
            connection.end_with(sink::revoked_frame(session.id()), CloseCode::Revoked);
            return Err(Refusal::new(ErrorCode::InvalidToken, "the session has ended; sign in again").into());
        }
        for subscription in connection.subscriptions() {
            let presence = present(connection, Some(&session));
            let room = subscription.room.name().clone();
            match self.engine.enter(room, presence, Create::Refused, now).await {
                Ok(_) => {}
                Err(EngineError::Missing) => self.expel(&subscription, LeftReason::NotAllowed).await,
                Err(e) => return Err(Refusal::from(e).into()),
            }
        }
        Ok(())
    }

    /// The reply to `auth`.
    pub fn signed_in(&self, session: &Session) -> SignedIn {
        SignedIn {
            user: (**session.user()).clone(),
            session: session.id().to_owned(),
            expires_in_ms: session.expires_at().saturating_sub(self.clock.now()),
        }
    }

    /// Replaces the connection's session by one with a newer token of the same user and session.
    ///
    /// # Errors
    /// `unauthenticated`, `invalid_token`, `device_mismatch`, `not_allowed` for another user or session.
    pub async fn refresh_connection(
        &self,
        connection: &Arc<Connection>,
        token: &str,
        proof: Option<Proof<'_>>,
    ) -> Result<Arc<Session>, Refusal> {
        let current = connection.session().ok_or_else(unauthenticated)?;
        let device = connection.device();
        let fresh = self.authenticate(token, device.as_ref(), proof).await?;
        if fresh.user_id() != current.user_id() || fresh.id() != current.id() {
            return Err(Refusal::new(
                ErrorCode::NotAllowed,
                "refresh takes a token of the same user and session",
            ));
        }
        connection.set_session(Arc::clone(&fresh));
        Ok(fresh)
    }

    /// Stores a session. Those that had to make room for it end as revoked ones do.
    pub(super) async fn open_session(&self, record: SessionRecord, now: u64) -> Result<(), Refusal> {
        for evicted in self.engine.open_session(record, now).await? {
            self.end_scans_of(&evicted).await?;
        }
        Ok(())
    }

    /// Ends a session: its tokens stop working, its sockets close, what it scanned is denied.
    pub(super) async fn end_session(&self, id: &str) -> Result<(), Refusal> {
        self.engine
            .revoke_session(id.to_owned(), self.clock.now())
            .await?;
        self.end_scans_of(id).await
    }

    /// A revocation may have been missed: every connection of the user is checked again.
    pub(super) async fn repair_user(&self, user: &UserId) -> Result<(), Refusal> {
        for connection in self.hub.connections_of(user) {
            let Some(session) = connection.session() else {
                continue;
            };
            if self
                .engine
                .session(session.id().to_owned(), self.clock.now())
                .await?
                .is_none()
            {
                connection.end_with(sink::revoked_frame(session.id()), CloseCode::Revoked);
            }
        }
        Ok(())
    }
}

/// A connection as it stands in a room.
pub(super) fn present(connection: &Connection, session: Option<&Session>) -> Present {
    Present {
        connection: connection.id,
        member: session.map(|session| (Arc::clone(session.user()), Role::Member)),
    }
}

/// A device from a request body.
fn read_device(body: &DeviceBody) -> Result<(DeviceId, PublicDevice), Refusal> {
    let id = DeviceId::parse(&body.id).map_err(|e| Refusal::bad_request(e.to_string()))?;
    let name = body.name.as_deref().and_then(names::display_name);
    Ok((
        id,
        PublicDevice {
            name,
            kind: body.kind,
        },
    ))
}
