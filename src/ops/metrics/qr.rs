//! What is counted of QR logins. Writing is atomics only: every label there is has its counter from the start.

mod funnel;

use countersign_protocol::ErrorCode;
use countersign_protocol::server::QrState;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

pub use funnel::Funnel;

use super::catalog;
use super::histogram::Histogram;
use super::{Labels, register};
use crate::core::attempt::{Reason, Transition};

/// Upper bounds of a step's buckets, milliseconds: a program redeems at once, a person takes a minute.
const STEP_MS: &[u64] = &[
    5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000,
];
/// Upper bounds of a whole life's buckets, milliseconds. The last is the longest there is by default: a device
/// authorization that is scanned, confirmed and exchanged at the last moment of each.
const ATTEMPT_MS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 15_000, 20_000, 30_000, 45_000, 60_000, 120_000, 300_000, 480_000,
];
/// Upper bounds of a push's buckets, milliseconds.
const PUSH_MS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000];

/// What an attempt comes to, by a step or by an end.
const STEPS: [QrState; 6] = [
    QrState::Scanned,
    QrState::Confirmed,
    QrState::Redeemed,
    QrState::Denied,
    QrState::Cancelled,
    QrState::Expired,
];

/// Every end there is.
const ENDS: [(QrState, Option<Reason>); 9] = [
    (QrState::Redeemed, None),
    (QrState::Denied, Some(Reason::User)),
    (QrState::Denied, Some(Reason::MatchFailed)),
    (QrState::Denied, Some(Reason::Revoked)),
    (QrState::Cancelled, Some(Reason::User)),
    (QrState::Cancelled, Some(Reason::Superseded)),
    (QrState::Expired, Some(Reason::Idle)),
    (QrState::Expired, Some(Reason::Unconfirmed)),
    (QrState::Expired, Some(Reason::Unredeemed)),
];

/// Over what a QR login was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    WebSocket,
    Http,
    /// As a device authorization.
    OAuth,
}

/// The metrics of QR logins.
#[derive(Debug)]
pub struct Qr {
    opened: [Counter; 3],
    live: [Gauge; 3],
    /// By each of [`ENDS`].
    ended: [Counter; ENDS.len()],
    /// Likewise, from the opening.
    attempts: [Histogram; ENDS.len()],
    rotations: Counter,
    refusals: Vec<Counter>,
    /// To each of [`STEPS`].
    steps: [Histogram; STEPS.len()],
    push: Histogram,
}

fn place(state: QrState) -> Option<usize> {
    match state {
        QrState::Waiting => Some(0),
        QrState::Scanned => Some(1),
        QrState::Confirmed => Some(2),
        _ => None,
    }
}

impl Qr {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let opened = Family::<Labels<1>, Counter>::default();
        let live = Family::<Labels<1>, Gauge>::default();
        let ended = Family::<Labels<2>, Counter>::default();
        let refusals = Family::<Labels<1>, Counter>::default();
        let steps = Family::<Labels<1>, Histogram, _>::new_with_constructor(step as fn() -> Histogram);
        let attempts = Family::<Labels<2>, Histogram, _>::new_with_constructor(attempt as fn() -> Histogram);
        let qr = Self {
            opened: ["ws", "http", "oauth"].map(|t| opened.get_or_create_owned(&[("transport", t)])),
            live: [QrState::Waiting, QrState::Scanned, QrState::Confirmed]
                .map(|state| live.get_or_create_owned(&[("state", state.name())])),
            ended: ENDS.map(|end| ended.get_or_create_owned(&labels(end))),
            attempts: ENDS.map(|end| attempts.get_or_create_owned(&labels(end))),
            rotations: Counter::default(),
            refusals: ErrorCode::ALL
                .iter()
                .map(|code| refusals.get_or_create_owned(&[("code", code.name())]))
                .collect(),
            steps: STEPS.map(|to| steps.get_or_create_owned(&[("step", to.name())])),
            push: Histogram::of_ms(PUSH_MS),
        };
        register(registry, &catalog::QR_OPENED, opened);
        register(registry, &catalog::QR_LIVE, live);
        register(registry, &catalog::QR_ENDED, ended);
        register(registry, &catalog::QR_ROTATIONS, qr.rotations.clone());
        register(registry, &catalog::QR_REFUSALS, refusals);
        register(registry, &catalog::QR_STEP, steps);
        register(registry, &catalog::QR_ATTEMPT, attempts);
        register(registry, &catalog::QR_PUSH, qr.push.clone());
        qr
    }

    /// One was opened.
    pub fn opened(&self, transport: Transport) {
        let [ws, http, oauth] = &self.opened;
        match transport {
            Transport::WebSocket => ws.inc(),
            Transport::Http => http.inc(),
            Transport::OAuth => oauth.inc(),
        };
    }

    /// One changed, its opening included.
    pub fn changed(&self, change: &Transition) {
        let live = |state| place(state).and_then(|at| self.live.get(at));
        if change.from != Some(change.to) {
            if let Some(from) = change.from.and_then(live) {
                from.dec();
            }
            if let Some(to) = live(change.to) {
                to.inc();
            }
            let step = STEPS.iter().position(|to| *to == change.to);
            if let Some(step) = step.and_then(|at| self.steps.get(at)) {
                step.observe(change.spent_ms);
            }
        } else if change.to == QrState::Waiting {
            self.rotations.inc();
        }
        if change.to.is_final() {
            self.ended((change.to, change.reason), change.lived_ms);
        }
    }

    fn ended(&self, end: (QrState, Option<Reason>), lived_ms: u64) {
        let Some(at) = ENDS.iter().position(|known| *known == end) else {
            return;
        };
        if let (Some(ended), Some(attempts)) = (self.ended.get(at), self.attempts.get(at)) {
            ended.inc();
            attempts.observe(lived_ms);
        }
    }

    /// A call was refused.
    pub fn refused(&self, code: ErrorCode) {
        let at = ErrorCode::ALL.iter().position(|known| *known == code);
        if let Some(refusals) = at.and_then(|at| self.refusals.get(at)) {
            refusals.inc();
        }
    }

    /// A change was queued for the PC that watches, so many milliseconds after it was asked for.
    pub fn pushed(&self, ms: u64) {
        self.push.observe(ms);
    }
}

fn labels((state, reason): (QrState, Option<Reason>)) -> Labels<2> {
    let reason = reason.map_or("none", Reason::name);
    [("state", state.name()), ("reason", reason)]
}

fn attempt() -> Histogram {
    Histogram::of_ms(ATTEMPT_MS)
}

fn step() -> Histogram {
    Histogram::of_ms(STEP_MS)
}
