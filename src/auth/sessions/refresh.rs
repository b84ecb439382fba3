//! Refresh tokens: each works once, and shows by its second use that somebody has a copy.

use countersign_protocol::{DeviceId, ErrorCode};

use super::{Issued, Sessions, no_entropy};
use crate::auth::{seal, secret};
use crate::engine::{Identity, RefreshState, Replaced, SessionRecord};
use crate::refusal::Refusal;

/// Domain of the pair kept for a repeated refresh.
const REFRESH_AAD: &[u8] = b"countersign refresh v1";

/// Replaced refresh tokens remembered with their answers, newest first, each for the grace. An earlier one counts
/// as reused.
pub(super) const REPLACED_MAX: usize = 4;

/// Who shows a refresh token.
#[derive(Clone, Copy)]
pub enum Asker<'a> {
    /// A device of the user's, at our own API.
    Device {
        device: &'a DeviceId,
        /// Whether the session may go on here, where no client authenticates.
        may: &'a (dyn Fn(&Identity) -> bool + Sync),
    },
    /// A registered client that has authenticated.
    Client {
        id: &'a str,
        /// Claim `aud` of its tokens without a device.
        audience: &'a str,
        device: Option<&'a DeviceId>,
        /// Whether the session may still go on.
        may: &'a (dyn Fn(&Identity) -> bool + Sync),
    },
}

/// What a session is to whoever shows its refresh token.
enum Standing {
    /// Theirs.
    Theirs,
    /// On another device: a copy.
    Copied,
    /// Not theirs to refresh, and nothing is known to be stolen.
    Refused,
}

impl Asker<'_> {
    fn standing(&self, identity: &Identity) -> Standing {
        let (device, may) = match *self {
            Self::Device { device, may } if identity.device.is_some() => (Some(device), may(identity)),
            Self::Client { id, device, may, .. } => {
                let same = identity.client.as_ref().is_some_and(|client| client.id == id);
                (device, same && may(identity))
            }
            Self::Device { .. } => return Standing::Refused,
        };
        match (identity.device, device) {
            _ if !may => Standing::Refused,
            (None, _) => Standing::Theirs,
            (Some(bound), Some(device)) if bound.matches(device) => Standing::Theirs,
            (Some(_), Some(_)) => Standing::Copied,
            // Without a device there is no telling whether it is another one.
            (Some(_), None) => Standing::Refused,
        }
    }

    fn audience(&self) -> Option<&str> {
        match *self {
            Self::Device { .. } => None,
            Self::Client { audience, .. } => Some(audience),
        }
    }
}

/// What came of a refresh token.
pub enum Refreshed {
    Pair(Box<Issued>),
    /// It was used before, or on another device: somebody has a copy. End the session.
    Reused {
        session: String,
        refusal: Refusal,
    },
}

/// What a refresh token turned out to be.
enum Verdict {
    Unknown,
    Fresh(Box<Issued>),
    Repeated(Vec<u8>),
    Reused,
    Failed(Refusal),
}

fn refused() -> Refusal {
    Refusal::new(
        ErrorCode::InvalidToken,
        "this refresh token does not work; sign in again",
    )
}

impl Sessions {
    /// Exchanges a refresh token for a new pair. The same token again within the grace and from the same
    /// device gets the same pair; later, or from another device, the caller has to end the session. From a client that
    /// is not the session's it is refused, and nothing ends.
    ///
    /// # Errors
    /// `invalid_token`.
    pub async fn refresh(&self, token: &str, asker: Asker<'_>, now: u64) -> Result<Refreshed, Refusal> {
        let id = session_of(token).ok_or_else(refused)?;
        let digest = secret::digest(token);
        let mut verdict = Verdict::Unknown;
        let mut decide = |record: &SessionRecord| {
            let (next, found) = self.judge(record, token, digest, asker, now);
            verdict = found;
            next
        };
        self.engine
            .update_session(id.to_owned(), &mut decide, now)
            .await?;
        match verdict {
            Verdict::Fresh(issued) => Ok(Refreshed::Pair(issued)),
            Verdict::Repeated(sealed) => {
                let opened = seal::open_kept(token, &sealed, REFRESH_AAD).map_err(|_| refused())?;
                serde_json::from_slice(&opened)
                    .map(Refreshed::Pair)
                    .map_err(|_| refused())
            }
            Verdict::Failed(refusal) => Err(refusal),
            Verdict::Unknown => Err(refused()),
            Verdict::Reused => Ok(Refreshed::Reused {
                session: id.to_owned(),
                refusal: refused(),
            }),
        }
    }

    fn judge(
        &self,
        record: &SessionRecord,
        token: &str,
        digest: [u8; 32],
        asker: Asker<'_>,
        now: u64,
    ) -> (Option<SessionRecord>, Verdict) {
        if !is_of_family(token, &record.refresh.family) {
            // Not ours: whoever knows a session's id must not be able to end it by guessing.
            return (None, Verdict::Unknown);
        }
        let same_device = match asker.standing(&record.identity) {
            Standing::Theirs => true,
            Standing::Copied => false,
            Standing::Refused => return (None, Verdict::Unknown),
        };
        if secret::same(&record.refresh.current, &digest) {
            if !same_device {
                return (None, Verdict::Reused);
            }
            return match self.rotate(record, token, digest, asker.audience(), now) {
                Ok((next, issued)) => (Some(next), Verdict::Fresh(Box::new(issued))),
                Err(refusal) => (None, Verdict::Failed(refusal)),
            };
        }
        let grace_ms = self.settings.load().refresh_grace_ms;
        let mut replaced = record.refresh.previous.iter();
        let verdict = match replaced.find(|old| secret::same(&old.digest, &digest)) {
            Some(old) if same_device && now < old.at.saturating_add(grace_ms) => {
                Verdict::Repeated(old.sealed.clone())
            }
            // Too late, on another device, or older than what is remembered: somebody has a copy.
            _ => Verdict::Reused,
        };
        (None, verdict)
    }

    fn rotate(
        &self,
        record: &SessionRecord,
        token: &str,
        digest: [u8; 32],
        audience: Option<&str>,
        now: u64,
    ) -> Result<(SessionRecord, Issued), Refusal> {
        let mut next = record.clone();
        let successor = refresh_token(&record.identity.id, &record.refresh.family)?;
        let issued = self.issue(record, successor, audience, now)?;
        let internal = || Refusal::new(ErrorCode::Internal, "the new tokens could not be kept");
        let plain = serde_json::to_vec(&issued).map_err(|_| internal())?;
        let sealed = seal::seal_kept(token, &plain, REFRESH_AAD).map_err(|_| internal())?;
        // Whoever repeats a call within the grace finds its answer, though another has followed.
        let grace_ms = self.settings.load().refresh_grace_ms;
        let mut previous = record.refresh.previous.clone();
        previous.retain(|old| now < old.at.saturating_add(grace_ms));
        previous.truncate(REPLACED_MAX - 1);
        previous.insert(
            0,
            Replaced {
                digest,
                at: now,
                sealed,
            },
        );
        next.refresh = RefreshState {
            family: record.refresh.family,
            current: secret::digest(&issued.tokens.refresh_token),
            previous,
        };
        next.last_seen_at = now;
        next.expires_at = now + self.settings.load().refresh_ms;
        Ok((next, issued))
    }
}

/// `<session id>.<256 random bits>.<tag>`: the id finds the record, the tag shows that it came from us, and
/// only then does a token that no longer works mean that somebody uses a stolen one.
pub(super) fn refresh_token(session: &str, family: &[u8; 32]) -> Result<String, Refusal> {
    let body = format!("{session}.{}", secret::token().map_err(|_| no_entropy())?);
    let tag = secret::tag(family, &body);
    Ok(format!("{body}.{tag}"))
}

pub(super) fn is_of_family(refresh_token: &str, family: &[u8; 32]) -> bool {
    refresh_token
        .rsplit_once('.')
        .is_some_and(|(body, tag)| secret::same(secret::tag(family, body).as_bytes(), tag.as_bytes()))
}

pub(super) fn session_of(refresh_token: &str) -> Option<&str> {
    let (id, rest) = refresh_token.split_once('.')?;
    (!id.is_empty() && id.len() <= 64 && rest.len() <= 128).then_some(id)
}
