//! QR logins: one lock per attempt, an index from every id its code ever had.

use std::net::IpAddr;
use std::sync::Arc;

use countersign_protocol::server::QrState;
use dashmap::mapref::entry::Entry;
use parking_lot::Mutex;

use super::super::event::Event;
use super::super::record::EngineError;
use super::super::{AttemptRef, DecideAttempt, DecideRedeem, Decided, Redeemed};
use super::Memory;
use crate::core::attempt::{Attempt, AttemptKey};
use crate::core::network::scopes_of;

/// Whether the maps have much more room than they need is looked at when so many attempts fewer are left.
const SHRINK_EVERY: usize = 4_096;

/// One attempt. `None` once it has been forgotten.
#[derive(Debug)]
pub(super) struct AttemptCell(Mutex<Option<Arc<Attempt>>>);

impl Memory {
    pub(in crate::engine) fn open_attempt(&self, attempt: Attempt) -> Result<(), EngineError> {
        self.attempt_places.take()?;
        let outcome = self.count_in(&attempt).and_then(|()| {
            let counted = Arc::new(attempt);
            self.keep(&counted).inspect_err(|_| self.count_out(&counted))
        });
        outcome.inspect_err(|_| {
            self.attempt_places.free();
        })
    }

    fn keep(&self, attempt: &Arc<Attempt>) -> Result<(), EngineError> {
        let key = attempt.key();
        let Entry::Vacant(free) = self.attempts.entry(key) else {
            return Err(EngineError::Exists);
        };
        if let Some(grant) = attempt.grant() {
            let Entry::Vacant(free) = self.user_codes.entry(grant.user_code) else {
                return Err(EngineError::Exists);
            };
            free.insert(key);
            self.device_codes.insert(attempt.claim().0, key);
        }
        // Before anybody can find it: whoever changes it moves this entry.
        self.due
            .attempt(key, None, Some(attempt.due_at(&self.limits.attempt)));
        free.insert(Arc::new(AttemptCell(Mutex::new(Some(Arc::clone(attempt))))));
        attempt.ids().for_each(|id| {
            self.attempt_ids.insert(id, key);
        });
        Ok(())
    }

    fn count_in(&self, attempt: &Attempt) -> Result<(), EngineError> {
        let mut counted = Vec::with_capacity(2);
        for scope in scopes_of(attempt.ip()) {
            let max = self.limits.attempts_waiting_per_address_max;
            let mut waiting = self.waiting.entry(scope.key).or_default();
            if *waiting >= max.saturating_mul(scope.factor as usize) {
                drop(waiting);
                counted.into_iter().for_each(|key| self.count_out_of(key));
                return Err(EngineError::TooMany("QR logins waiting from this address"));
            }
            *waiting += 1;
            counted.push(scope.key);
        }
        Ok(())
    }

    #[allow(clippy::unnecessary_wraps)]
    pub(in crate::engine) fn update_attempt(
        &self,
        which: AttemptRef,
        decide: DecideAttempt<'_>,
        now: u64,
    ) -> Result<Option<Decided>, EngineError> {
        let redeemed = self.redeem_attempt(which, &mut |attempt| (decide(attempt), None), now)?;
        Ok(redeemed.map(|r| r.decided))
    }

    pub(in crate::engine) fn redeem_attempt(
        &self,
        which: AttemptRef,
        decide: DecideRedeem<'_>,
        now: u64,
    ) -> Result<Option<Redeemed>, EngineError> {
        let key = match which {
            AttemptRef::Key(key) => Some(key),
            AttemptRef::Id(id) => self.attempt_ids.get(&id).map(|key| *key),
            AttemptRef::UserCode(code) => self.user_codes.get(&code).map(|key| *key),
            AttemptRef::DeviceCode(code) => self.device_codes.get(&code.0).map(|key| *key),
        };
        let Some(key) = key else {
            return Ok(None);
        };
        let Some(cell) = self.attempts.get(&key).map(|c| Arc::clone(c.value())) else {
            return Ok(None);
        };
        let mut slot = cell.0.lock();
        let Some(before) = slot.clone() else {
            return Ok(None);
        };
        let (mut step, session) = decide(&before);
        let evicted = match session {
            Some(session) => self.open_session(session, now)?,
            None => Vec::new(),
        };
        let after = match step.next.take() {
            Some(next) => {
                let after = Arc::new(next);
                self.follow_change(key, &before, &after);
                *slot = Some(Arc::clone(&after));
                if !step.events.is_empty() {
                    self.deliver(Event::Attempt {
                        attempt: Arc::clone(&after),
                        events: step.events.clone(),
                    });
                }
                after
            }
            None => before,
        };
        if after.forget_at(&self.limits.attempt).is_some_and(|at| at <= now) {
            *slot = None;
            drop(slot);
            self.forget_attempt(key, &after);
        }
        let decided = Decided { attempt: after, step };
        Ok(Some(Redeemed { decided, evicted }))
    }

    /// Keeps the indexes and the time list in step with a change.
    fn follow_change(&self, key: AttemptKey, before: &Attempt, after: &Attempt) {
        let policy = &self.limits.attempt;
        self.due
            .attempt(key, Some(before.due_at(policy)), Some(after.due_at(policy)));
        for id in after.ids().skip(before.ids().count()) {
            self.attempt_ids.insert(id, key);
        }
        if before.state() == QrState::Waiting && after.state() != QrState::Waiting {
            self.count_out(after);
        }
        match (before.scanner(), after.scanner()) {
            (None, Some(scanner)) => self
                .scanned_by
                .entry(scanner.session.to_string())
                .or_default()
                .push(key),
            (Some(scanner), _) if after.state().is_final() => self.forget_scan(&scanner.session, key),
            _ => {}
        }
    }

    fn count_out(&self, attempt: &Attempt) {
        scopes_of(attempt.ip()).for_each(|scope| self.count_out_of(scope.key));
    }

    fn count_out_of(&self, network: IpAddr) {
        if let Some(mut waiting) = self.waiting.get_mut(&network) {
            *waiting = waiting.saturating_sub(1);
        }
        self.waiting.remove_if(&network, |_, waiting| *waiting == 0);
    }

    fn forget_scan(&self, session: &str, key: AttemptKey) {
        if let Some(mut keys) = self.scanned_by.get_mut(session) {
            keys.retain(|k| *k != key);
        }
        self.scanned_by.remove_if(session, |_, keys| keys.is_empty());
    }

    fn forget_attempt(&self, key: AttemptKey, attempt: &Attempt) {
        self.due
            .attempt(key, Some(attempt.due_at(&self.limits.attempt)), None);
        let left = self.attempts.remove(&key).map(|_| self.attempt_places.free());
        attempt.ids().for_each(|id| {
            self.attempt_ids.remove(&id);
        });
        if let Some(grant) = attempt.grant() {
            self.user_codes.remove(&grant.user_code);
            self.device_codes.remove(&attempt.claim().0);
        }
        if let Some(scanner) = attempt.scanner() {
            self.forget_scan(&scanner.session, key);
        }
        if left.is_some_and(|left| left.is_multiple_of(SHRINK_EVERY)) {
            self.give_back();
        }
    }

    /// A map keeps the room it once needed: after a great many attempts that would be most of what they took.
    fn give_back(&self) {
        let roomy = |length: usize, room: usize| room > SHRINK_EVERY + 4 * length;
        if roomy(self.attempts.len(), self.attempts.capacity()) {
            self.attempts.shrink_to_fit();
        }
        if roomy(self.attempt_ids.len(), self.attempt_ids.capacity()) {
            self.attempt_ids.shrink_to_fit();
        }
        if roomy(self.user_codes.len(), self.user_codes.capacity()) {
            self.user_codes.shrink_to_fit();
        }
        if roomy(self.device_codes.len(), self.device_codes.capacity()) {
            self.device_codes.shrink_to_fit();
        }
        if roomy(self.scanned_by.len(), self.scanned_by.capacity()) {
            self.scanned_by.shrink_to_fit();
        }
        if roomy(self.waiting.len(), self.waiting.capacity()) {
            self.waiting.shrink_to_fit();
        }
    }

    #[allow(clippy::needless_pass_by_value, clippy::unnecessary_wraps)]
    pub(in crate::engine) fn attempts_scanned_by(
        &self,
        session: String,
    ) -> Result<Vec<AttemptKey>, EngineError> {
        Ok(self
            .scanned_by
            .get(&session)
            .map(|keys| keys.clone())
            .unwrap_or_default())
    }
}
