//! What one change of an attempt was, as those who count and keep records want to know it: without secrets.

use countersign_protocol::server::{MatchMode, QrState};

use super::{Attempt, Change, Reason};

/// Who brought a change about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// The PC that asked, or the person there.
    Pc,
    /// The phone that scanned, or the person there.
    Phone,
    /// A time that had passed.
    Timer,
    /// The gateway: the scanner's standing was gone.
    Server,
}

impl Actor {
    /// A short constant name, for records.
    pub const fn name(self) -> &'static str {
        match self {
            Actor::Pc => "pc",
            Actor::Phone => "phone",
            Actor::Timer => "timer",
            Actor::Server => "server",
        }
    }
}

/// One change of an attempt: what its event with this `seq` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub seq: u32,
    /// `opened`, `rotated`, `scanned`, `matched`, `confirmed`, `redeemed`, `denied`, `cancelled` or `expired`.
    pub name: &'static str,
    /// `None` for the opening.
    pub from: Option<QrState>,
    pub to: QrState,
    /// Why it ended, when it did.
    pub reason: Option<Reason>,
    pub actor: Actor,
    /// How long it had been in `from`, milliseconds.
    pub spent_ms: u64,
    /// How long ago it was opened, milliseconds.
    pub lived_ms: u64,
}

impl Attempt {
    /// The change that raised event `seq`; `None` when there is no such event.
    pub fn transition(&self, seq: u32) -> Option<Transition> {
        let index = usize::try_from(seq).ok()?.checked_sub(1)?;
        if let Some(minted) = self.ids.get(index) {
            let first = index == 0;
            let lived_ms = minted.at.saturating_sub(self.opened_at);
            return Some(Transition {
                seq,
                name: if first { "opened" } else { "rotated" },
                from: (!first).then_some(QrState::Waiting),
                to: QrState::Waiting,
                reason: None,
                actor: if first { Actor::Pc } else { Actor::Timer },
                // It has never been in another state.
                spent_ms: lived_ms,
                lived_ms,
            });
        }
        let index = index - self.ids.len();
        let entry = self.log.get(index)?;
        let (from, since) = self.log[..index]
            .last()
            .map_or((QrState::Waiting, self.opened_at), |before| {
                (self.state_after(before.change), self.entered_at(before.change))
            });
        let to = self.state_after(entry.change);
        let ended = entry.change == Change::Ended;
        Some(Transition {
            seq,
            name: match entry.change {
                Change::Matched => "matched",
                _ => to.name(),
            },
            from: Some(from),
            to,
            reason: self.reason.filter(|_| ended),
            actor: self.actor(entry.change),
            spent_ms: entry.at.saturating_sub(since),
            lived_ms: entry.at.saturating_sub(self.opened_at),
        })
    }

    fn state_after(&self, change: Change) -> QrState {
        match change {
            Change::Scanned | Change::Matched => QrState::Scanned,
            Change::Confirmed => QrState::Confirmed,
            Change::Redeemed => QrState::Redeemed,
            Change::Ended => self.state,
        }
    }

    /// When the state that a change led to, or stayed in, was entered.
    fn entered_at(&self, change: Change) -> u64 {
        let state = self.state_after(change);
        let first = self
            .log
            .iter()
            .find(|entry| self.state_after(entry.change) == state);
        first.map_or(self.opened_at, |entry| entry.at)
    }

    fn actor(&self, change: Change) -> Actor {
        match (change, self.reason) {
            (Change::Scanned | Change::Confirmed, _) => Actor::Phone,
            (Change::Matched | Change::Redeemed, _) => Actor::Pc,
            (Change::Ended, Some(Reason::Idle | Reason::Unconfirmed | Reason::Unredeemed)) => Actor::Timer,
            // Whoever types the digits gets them wrong.
            (Change::Ended, Some(Reason::MatchFailed)) => match self.mode {
                MatchMode::PcTypes => Actor::Pc,
                MatchMode::PhoneTypes | MatchMode::None => Actor::Phone,
            },
            (Change::Ended, _) => match (self.state, self.reason) {
                (QrState::Cancelled, _) => Actor::Pc,
                (QrState::Denied, Some(Reason::User)) => Actor::Phone,
                _ => Actor::Server,
            },
        }
    }
}
