//! Accounts and sessions.

use std::sync::Arc;

use countersign_protocol::UserId;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use super::super::event::Event;
use super::super::record::{Account, EngineError, SessionRecord};
use super::super::{DecideAccount, DecideSession};
use super::Memory;

type Session = Arc<Mutex<Arc<SessionRecord>>>;

fn is_live(session: &SessionRecord, now: u64) -> bool {
    !session.revoked && session.expires_at > now
}

impl Memory {
    pub(in crate::engine) fn create_account(&self, account: Account) -> Result<(), EngineError> {
        match self.accounts.entry(account.profile.id.clone()) {
            Entry::Occupied(_) => Err(EngineError::Exists),
            Entry::Vacant(free) => {
                self.account_places.take()?;
                free.insert(Arc::new(account));
                Ok(())
            }
        }
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn account(&self, user: UserId) -> Result<Option<Arc<Account>>, EngineError> {
        Ok(self.accounts.get(&user).map(|a| Arc::clone(a.value())))
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn update_account(
        &self,
        user: UserId,
        decide: DecideAccount<'_>,
    ) -> Result<Option<Arc<Account>>, EngineError> {
        let Some(mut account) = self.accounts.get_mut(&user) else {
            return Ok(None);
        };
        if let Some(next) = decide(&account) {
            *account = Arc::new(next);
        }
        Ok(Some(Arc::clone(&account)))
    }

    #[allow(clippy::unnecessary_wraps)]
    pub(in crate::engine) fn open_session(
        &self,
        session: SessionRecord,
        now: u64,
    ) -> Result<Vec<String>, EngineError> {
        let who = Arc::clone(&session.identity);
        let (id, user) = (who.id.clone(), who.user.id.clone());
        let event = Event::SignedIn {
            user: user.clone(),
            session: id.clone(),
            device: who.public_device.clone(),
            ip: session.ip.clone(),
            client: who.client.as_ref().map(|client| client.id.clone()),
        };
        let _in_order = self.user_order.lock(&user);
        self.sessions
            .insert(id.clone(), Arc::new(Mutex::new(Arc::new(session))));
        let others = {
            let mut mine = self.sessions_of.entry(user).or_default();
            // Lapsed ones count until there are too many: looking for them at each sign-in would cost every one.
            let full = mine.len() >= self.limits.sessions_per_user_max;
            let others = full.then(|| mine.clone());
            mine.push(id);
            others
        };
        let evicted = others.map_or_else(Vec::new, |others| self.evict(&others, now));
        self.deliver(event);
        Ok(evicted)
    }

    /// Beyond a user's bound the sessions unused for longest are revoked, lapsed ones are dropped. The new one
    /// is not among `others`: whoever signed in just now stays, whatever the clocks say.
    fn evict(&self, others: &[String], now: u64) -> Vec<String> {
        let mut live: Vec<Arc<SessionRecord>> = Vec::with_capacity(others.len());
        for id in others {
            match self.record(id) {
                Some(record) if is_live(&record, now) => live.push(record),
                Some(record) => self.drop_session(&record),
                None => {}
            }
        }
        live.sort_by_key(|s| s.last_seen_at);
        let excess = (live.len() + 1).saturating_sub(self.limits.sessions_per_user_max);
        let evicted: Vec<_> = live
            .iter()
            .take(excess)
            .map(|session| session.identity.id.clone())
            .collect();
        for id in &evicted {
            self.revoke(id, now);
        }
        evicted
    }

    fn cell(&self, id: &str) -> Option<Session> {
        self.sessions.get(id).map(|s| Arc::clone(s.value()))
    }

    fn record(&self, id: &str) -> Option<Arc<SessionRecord>> {
        self.cell(id).map(|cell| Arc::clone(&cell.lock()))
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn session(
        &self,
        id: String,
        now: u64,
    ) -> Result<Option<Arc<SessionRecord>>, EngineError> {
        let record = self.record(&id);
        if let Some(lapsed) = record.as_ref().filter(|s| s.expires_at <= now) {
            self.drop_session(lapsed);
        }
        Ok(record.filter(|s| is_live(s, now)))
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn sessions_of(
        &self,
        user: UserId,
        now: u64,
    ) -> Result<Vec<Arc<SessionRecord>>, EngineError> {
        let ids = self.sessions_of.get(&user).map(|mine| mine.clone());
        let mut live: Vec<_> = ids
            .unwrap_or_default()
            .iter()
            .filter_map(|id| self.record(id))
            .filter(|session| is_live(session, now))
            .collect();
        live.sort_by_key(|session| std::cmp::Reverse(session.created_at));
        Ok(live)
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn update_session(
        &self,
        id: String,
        decide: DecideSession<'_>,
        now: u64,
    ) -> Result<Option<Arc<SessionRecord>>, EngineError> {
        let Some(cell) = self.cell(&id) else {
            return Ok(None);
        };
        let mut current = cell.lock();
        if !is_live(&current, now) {
            return Ok(None);
        }
        if let Some(mut next) = decide(&current) {
            next.version = current.version + 1;
            *current = Arc::new(next);
        }
        Ok(Some(Arc::clone(&current)))
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn revoke_session(&self, id: String, now: u64) -> Result<bool, EngineError> {
        let Some(record) = self.record(&id) else {
            return Ok(false);
        };
        let _in_order = self.user_order.lock(&record.identity.user.id);
        Ok(self.revoke(&id, now))
    }

    /// For holders of the user's lock.
    fn revoke(&self, id: &str, now: u64) -> bool {
        let Some(cell) = self.cell(id) else { return false };
        let revoked = {
            let mut current = cell.lock();
            if !is_live(&current, now) {
                return false;
            }
            let mut next = (**current).clone();
            next.revoked = true;
            next.version += 1;
            *current = Arc::new(next);
            Arc::clone(&current)
        };
        self.drop_session(&revoked);
        self.deliver(Event::Revoked {
            user: revoked.identity.user.id.clone(),
            session: revoked.identity.id.clone(),
        });
        true
    }

    /// A dead session needs no record: its tokens name a session that is not there.
    fn drop_session(&self, session: &SessionRecord) {
        let (id, user) = (&session.identity.id, &session.identity.user.id);
        self.sessions.remove(id);
        if let Some(mut mine) = self.sessions_of.get_mut(user) {
            mine.retain(|known| known != id);
        }
        self.sessions_of.remove_if(user, |_, mine| mine.is_empty());
    }
}
