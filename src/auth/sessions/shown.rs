//! Reading a token for whoever asks about it: a client that introspects or revokes, and `/oauth/userinfo`. What comes
//! of it speaks for nobody.

use std::sync::Arc;

use super::Sessions;
use super::refresh::{is_of_family, session_of};
use crate::auth::jwt::Claims;
use crate::auth::secret;
use crate::engine::SessionRecord;
use crate::refusal::Refusal;

/// A token of ours, and the session that it is of, which lives.
pub enum Shown {
    /// An access token that has not lapsed, with the audience that it has.
    Access {
        claims: Box<Claims>,
        audience: String,
        record: Arc<SessionRecord>,
    },
    /// A refresh token.
    Refresh {
        record: Arc<SessionRecord>,
        /// Whether it is the one that works.
        current: bool,
    },
}

impl Shown {
    /// The session.
    pub fn record(&self) -> &Arc<SessionRecord> {
        match self {
            Self::Access { record, .. } | Self::Refresh { record, .. } => record,
        }
    }
}

impl Sessions {
    /// What a token is, of either kind. Whether whoever shows it may have it is not looked at. `None`: it is none of
    /// ours, or over.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn read(&self, token: &str, now: u64) -> Result<Option<Shown>, Refusal> {
        let keys = self.keys.load_full();
        if let Ok((claims, audience)) = keys.verify_any(token, now) {
            let record = self.engine.session(claims.session.clone(), now).await?;
            let record = record.filter(|record| record.identity.user.id == claims.user);
            return Ok(record.map(|record| Shown::Access {
                claims: Box::new(claims),
                audience,
                record,
            }));
        }
        let Some(id) = session_of(token) else {
            return Ok(None);
        };
        let record = self.engine.session(id.to_owned(), now).await?;
        let record = record.filter(|record| is_of_family(token, &record.refresh.family));
        Ok(record.map(|record| Shown::Refresh {
            current: secret::same(&record.refresh.current, &secret::digest(token)),
            record,
        }))
    }
}
