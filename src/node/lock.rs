//! An operator locks an account: nobody signs in to it, whoever was signed in is signed out, and what its phones had
//! scanned ends.

use std::net::IpAddr;

use countersign_protocol::{ErrorCode, UserId};

use super::{Node, Refusal};
use crate::auth::secret;
use crate::engine::Account;

/// An account after it was locked or unlocked.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Locked {
    pub user: UserId,
    pub locked: bool,
    /// Sessions that ended by it.
    pub sessions_ended: usize,
}

impl Node {
    /// Whether whoever calls on the operator's port may look and change something there. `key` is its bearer's.
    ///
    /// # Errors
    /// `not_allowed` where no key is set; `unauthenticated` without one, `invalid_token` with a wrong one.
    pub fn check_operator(&self, key: Option<&str>) -> Result<(), Refusal> {
        let config = self.config();
        let expected = config.operator_key.as_ref().ok_or_else(|| {
            Refusal::new(
                ErrorCode::NotAllowed,
                "nothing can be seen or changed here before operator_key is set",
            )
        })?;
        let key = key.ok_or_else(|| {
            Refusal::new(
                ErrorCode::Unauthenticated,
                "send the operator key as Authorization: Bearer",
            )
        })?;
        // Digests, so that not even the length shows in the time it takes.
        if secret::same(&secret::digest(key), &secret::digest(expected.expose())) {
            Ok(())
        } else {
            tracing::warn!(target: "countersign::auth", "a wrong operator key was refused");
            Err(Refusal::new(
                ErrorCode::InvalidToken,
                "this is not the operator key",
            ))
        }
    }

    /// Whether the operator's port was called by a name of its own. `host` is the request's own.
    ///
    /// # Errors
    /// `not_allowed` for a host that is neither loopback nor configured.
    pub fn check_operator_host(&self, host: Option<&str>) -> Result<(), Refusal> {
        // A page whose name was made to point here (DNS rebinding) says its own name.
        let listed = |host: &str| self.config().operator_hosts.iter().any(|known| known == host);
        if host.is_some_and(|host| is_loopback(host) || listed(host)) {
            return Ok(());
        }
        Err(Refusal::new(
            ErrorCode::NotAllowed,
            "call the operator's port by a loopback name, or by one of operator_hosts",
        ))
    }

    /// Locks an account. All its sessions end, their sockets close with 4503, and the QR logins that its phones had
    /// scanned or confirmed are denied, `revoked`. Locking twice is locking once.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn lock_account(&self, user: &str) -> Result<Locked, Refusal> {
        let user = self.set_lock(user, Lock::Closed).await?;
        // The lock is there by now, so whoever signs in at this moment finds it: [`Node::end_if_locked`].
        let sessions_ended = self.end_sessions_but(&user, None).await?;
        tracing::info!(target: "countersign::auth", %user, sessions_ended, "account locked");
        Ok(Locked {
            user,
            locked: true,
            sessions_ended,
        })
    }

    /// Unlocks an account: its owner can sign in again. What ended stays ended.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn unlock_account(&self, user: &str) -> Result<Locked, Refusal> {
        let user = self.set_lock(user, Lock::Open).await?;
        tracing::info!(target: "countersign::auth", %user, "account unlocked");
        Ok(Locked {
            user,
            locked: false,
            sessions_ended: 0,
        })
    }

    async fn set_lock(&self, user: &str, lock: Lock) -> Result<UserId, Refusal> {
        let none = || Refusal::new(ErrorCode::NotFound, "no such account");
        let user = UserId::parse(user).map_err(|_| none())?;
        let locked = lock == Lock::Closed;
        let mut decide = |account: &Account| {
            (account.locked != locked).then(|| Account {
                locked,
                ..account.clone()
            })
        };
        let found = self.engine.update_account(user.clone(), &mut decide).await?;
        found.map(|_| user).ok_or_else(none)
    }

    /// For a session that was just opened: an account that was locked meanwhile was searched before this session was
    /// there to be found.
    pub(super) async fn end_if_locked(&self, user: &UserId, session: &str) -> Result<(), Refusal> {
        let account = self.engine.account(user.clone()).await?;
        if account.is_some_and(|account| account.locked) {
            self.end_session(session).await?;
            return Err(Refusal::account_locked());
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    Open,
    Closed,
}

/// Whether a `Host` is a name of this machine for itself, whatever the port.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|n| n.strip_suffix(']'))
        .unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn names_of_this_machine() {
        for host in [
            "localhost",
            "LOCALHOST:9090",
            "127.0.0.1",
            "127.0.0.1:9090",
            "127.8.8.8:1",
            "[::1]",
            "[::1]:9090",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":",
            "example.com",
            "localhost.evil",
            "127.0.0.1.evil:80",
            "10.0.0.1",
            "0.0.0.0:9090",
            "[::]:1",
            "localhost:x",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
