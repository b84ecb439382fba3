//! What an attempt has told its PC: every event, made again from the record.

use countersign_protocol::oauth::PROFILE;
use countersign_protocol::server::{MatchMode, QrPush};

use super::event::{Event, EventKind};
use super::{Attempt, Change, Grant, Minted};

impl Attempt {
    /// Every event after `after_seq`, oldest first; with `None`, the newest only.
    pub fn events_after(&self, after_seq: Option<u32>) -> Vec<Event> {
        let after = after_seq.unwrap_or(self.seq().saturating_sub(1));
        (after..self.seq())
            .filter_map(|seq| self.event(seq.saturating_add(1)))
            .collect()
    }

    /// The newest event.
    pub fn newest(&self) -> Event {
        self.event(self.seq())
            .unwrap_or_else(|| self.waiting_event(self.seq(), self.current()))
    }

    /// When the newest event happened, Unix milliseconds.
    pub fn newest_at(&self) -> u64 {
        self.log.last().map_or(self.current().at, |entry| entry.at)
    }

    /// Renders one of this attempt's events for its PC: [`Event::push`].
    pub fn push(&self, event: &Event, now: u64, public_origin: &str) -> QrPush {
        event.push(now, public_origin)
    }

    fn event(&self, seq: u32) -> Option<Event> {
        let index = usize::try_from(seq).ok()?.checked_sub(1)?;
        if let Some(minted) = self.ids.get(index) {
            return Some(self.waiting_event(seq, *minted));
        }
        let entry = self.log.get(index - self.ids.len())?;
        let expires_at = entry.until;
        let kind = match entry.change {
            Change::Scanned | Change::Matched => {
                let scanner = self.scanner.as_deref()?;
                EventKind::Scanned {
                    name: scanner.user.name.clone().filter(|_| self.knows_who()),
                    avatar: scanner.user.avatar.clone().filter(|_| self.knows_who()),
                    mode: scanner.code.map_or(MatchMode::None, |_| self.mode),
                    code: scanner.code.filter(|_| self.mode == MatchMode::PhoneTypes),
                    matched: entry.change == Change::Matched,
                    expires_at,
                }
            }
            Change::Confirmed => EventKind::Confirmed {
                ticket: self.ticket.clone(),
                expires_at,
            },
            Change::Redeemed => EventKind::Redeemed,
            Change::Ended => EventKind::Final {
                state: self.state,
                reason: self.reason,
            },
        };
        Some(Event {
            seq,
            at: entry.at,
            qr_id: self.qr_id(),
            kind,
        })
    }

    /// Whether who asks is told who scanned, before anything is confirmed: the user's own devices are, and an app that
    /// asks for as much.
    fn knows_who(&self) -> bool {
        let asked = |grant: &Grant| grant.scopes.iter().any(|scope| scope == PROFILE);
        self.device.digest.is_some() || self.grant().is_none_or(asked)
    }

    fn waiting_event(&self, seq: u32, minted: Minted) -> Event {
        let rotate_at = self.rotate_at_of(minted);
        let kind = EventKind::Waiting {
            rotate_at,
            expires_at: self.waiting_until,
        };
        Event {
            seq,
            at: minted.at,
            qr_id: minted.id,
            kind,
        }
    }
}
