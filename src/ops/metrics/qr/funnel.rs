//! What is counted of QR logins as plain numbers, for whoever draws them.

use serde::Serialize;

use super::{ENDS, Qr, place};
use crate::ops::metrics::histogram::Counted;
use countersign_protocol::server::QrState;

/// How many QR logins got how far: gauges of those that live, and totals since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Funnel {
    /// Live ones, by where they stand.
    pub waiting: i64,
    pub scanned: i64,
    pub confirmed: i64,
    pub opened_total: u64,
    pub scanned_total: u64,
    pub confirmed_total: u64,
    pub redeemed_total: u64,
    pub denied_total: u64,
    pub cancelled_total: u64,
    pub expired_total: u64,
    pub rotations_total: u64,
    /// From a change until it was queued for the PC that watches.
    pub push: Counted,
}

impl Qr {
    /// As it stands now. Numbers that change meanwhile may differ by what changed.
    pub fn funnel(&self) -> Funnel {
        let live = |state| {
            let gauge = place(state).and_then(|at| self.live.get(at));
            gauge.map_or(0, prometheus_client::metrics::gauge::Gauge::get)
        };
        let reached = |at: usize| self.steps.get(at).map_or(0, |step| step.counted().total());
        let ended = |state| {
            let of_state = ENDS.iter().zip(&self.ended).filter(|((end, _), _)| *end == state);
            of_state.map(|(_, count)| count.get()).sum()
        };
        Funnel {
            waiting: live(QrState::Waiting),
            scanned: live(QrState::Scanned),
            confirmed: live(QrState::Confirmed),
            opened_total: self
                .opened
                .iter()
                .map(prometheus_client::metrics::counter::Counter::get)
                .sum(),
            scanned_total: reached(0),
            confirmed_total: reached(1),
            redeemed_total: ended(QrState::Redeemed),
            denied_total: ended(QrState::Denied),
            cancelled_total: ended(QrState::Cancelled),
            expired_total: ended(QrState::Expired),
            rotations_total: self.rotations.get(),
            push: self.push.counted(),
        }
    }
}
