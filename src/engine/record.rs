//! Values the engine stores: owned, versioned, serialisable, so that they can live in another process.

use std::sync::Arc;

use countersign_protocol::server::{From as Sender, Profile, PublicDevice, Role};
use serde::{Deserialize, Serialize};

use crate::auth::device::DeviceDigest;

/// An account of the built-in accounts.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub profile: Profile,
    /// PHC string (Argon2id).
    pub password_hash: String,
    pub created_at: u64,
    pub locked: bool,
}

/// What of a session never changes. The record and every connection of the session share one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Names the session.
    pub id: String,
    pub user: Arc<Profile>,
    /// The user as the author of a message.
    pub stamp: Arc<Sender>,
    /// The device it is bound to. Only a client's session may have none.
    pub device: Option<DeviceDigest>,
    pub public_device: PublicDevice,
    /// The registered client it is for, if for one.
    pub client: Option<SessionClient>,
}

/// A registered client, as a session for it knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClient {
    /// As the configuration names it.
    pub id: String,
    /// What was granted, separated by spaces; may be empty.
    pub scope: String,
}

impl SessionClient {
    /// Whether this scope was granted.
    pub fn has(&self, scope: &str) -> bool {
        self.scope.split(' ').any(|granted| granted == scope)
    }
}

impl Identity {
    /// That of session `id`, by which `user` is signed in on a device.
    pub fn new(id: String, user: Profile, device: DeviceDigest, public_device: PublicDevice) -> Arc<Self> {
        Self::of(id, user, Some(device), public_device, None)
    }

    /// That of session `id`, by which `user` is signed in on a device, to a registered client, or both.
    pub fn of(
        id: String,
        user: Profile,
        device: Option<DeviceDigest>,
        public_device: PublicDevice,
        client: Option<SessionClient>,
    ) -> Arc<Self> {
        let stamp = Sender {
            id: user.id.clone(),
            name: user.name.clone(),
            avatar: user.avatar.clone(),
            role: Role::Member,
        };
        Arc::new(Self {
            id,
            user: Arc::new(user),
            stamp: Arc::new(stamp),
            device,
            public_device,
            client,
        })
    }
}

/// A signed-in device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionRecord {
    pub identity: Arc<Identity>,
    /// Rises by one with every update.
    pub version: u64,
    /// RFC 7638 thumbprint the tokens are bound to, if any.
    pub jkt: Option<String>,
    pub ip: String,
    pub created_at: u64,
    pub last_seen_at: u64,
    /// When the refresh token lapses, and the session with it.
    pub expires_at: u64,
    pub refresh: RefreshState,
    pub revoked: bool,
}

/// The refresh token that works, and the one before it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshState {
    /// Key of the tag that every refresh token of this session carries.
    pub family: [u8; 32],
    /// SHA-256 of the token that works.
    pub current: [u8; 32],
    /// Tokens replaced lately, newest first, each with the pair that replaced it.
    pub previous: Vec<Replaced>,
}

/// A refresh token that was used. Within the grace the same device gets the same pair again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// SHA-256 of the used token.
    pub digest: [u8; 32],
    pub at: u64,
    /// The answer it got, readable only with the used token.
    pub sealed: Vec<u8>,
}

/// A key that can be taken once.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OnceKey {
    /// A DPoP proof's `jti`, hashed with its key's thumbprint.
    Proof([u8; 32]),
}

/// Why the engine refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// There is one already.
    #[error("exists already")]
    Exists,
    /// A bound of the node is reached.
    #[error("the node's bound of {0} is reached")]
    Full(&'static str),
    /// One caller has as many as allowed.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A `cid` was used with another body.
    #[error("this cid was used with another body")]
    CidConflict,
    /// Too many; try again later.
    #[error("too many, again in {after_ms} ms")]
    Rate { after_ms: u64 },
    /// There is no such room, and it may not be created.
    #[error("there is none")]
    Missing,
    /// The shared state cannot be reached.
    #[error("shared state cannot be reached")]
    Unavailable,
}

/// A connection in a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Present {
    /// Number of the connection, unique among nodes.
    pub connection: u64,
    /// `None` for an anonymous viewer.
    pub member: Option<(Arc<Profile>, Role)>,
}
