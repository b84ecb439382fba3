//! What others have counted, and how things stand: written when somebody asks.

use prometheus_client::registry::Registry;

use super::catalog;
use super::histogram::Histogram;
use super::register;
use super::series::{Counts, Gauges, histograms};
use crate::tally::parts::{BATCH_FRAMES, CLOSES, Drops, Everything, FLUSH_US, VERB_US};

/// Every limit that is counted, whoever counts it.
const LIMITED: [&str; 27] = [
    "accept_rate",
    "accept_rate_per_address",
    "accounts_max",
    "command_rate",
    "connections_max",
    "connections_per_address_max",
    "connections_per_user_max",
    "join_rate",
    "like_rate",
    "limiter_keys_max",
    "login_account_rate",
    "login_address_rate",
    "message_rate",
    "message_rate_per_user",
    "once_keys_max",
    "password_queue_max",
    "qr_attempts_max",
    "qr_open_rate",
    "qr_phone_rate",
    "qr_picture_rate",
    "qr_poll_rate",
    "qr_waiting_per_address_max",
    "room_rate",
    "rooms_max",
    "subscriptions_max",
    "user_code_account_rate",
    "user_code_address_rate",
];
const STATES: [&str; 5] = ["http", "anonymous", "authenticated", "event_stream", "closing"];
const OUTCOMES: [&str; 3] = ["ok", "refused", "failed"];
/// Upper bounds, in the shape a histogram takes.
static BATCHES: &[u64] = &BATCH_FRAMES;
static FLUSHES: &[u64] = &FLUSH_US;
static VERBS: &[u64] = &VERB_US;

/// Metrics that are written when somebody asks.
#[derive(Debug)]
pub(super) struct State {
    qr_kept: [Gauges; 2],
    sockets: [Gauges; 2],
    connections: Gauges,
    opened: Counts,
    closes: Counts,
    draining: Gauges,
    sent: [Counts; 2],
    outbox: [Gauges; 4],
    rooms: [Gauges; 4],
    messages: [Counts; 2],
    drops: Counts,
    batch_frames: Histogram,
    flush: Histogram,
    history: [Gauges; 2],
    operations: Counts,
    operation_seconds: Vec<Histogram>,
    limited: Counts,
}

fn drop_rows() -> Vec<[&'static str; 2]> {
    let rows = |reason| Drops::default().named().map(|(class, _)| [class, reason]);
    let mut all: Vec<_> = ["outbox", "room"].into_iter().flat_map(rows).collect();
    all.extend(["low", "normal", "high"].map(|class| [class, "publish"]));
    all
}

impl State {
    /// `verbs`: names of what shared state can be asked.
    pub(super) fn new(registry: &mut Registry, verbs: &'static [&'static str]) -> Self {
        let r = registry;
        let transports = [["ws"], ["event_stream"]];
        let by_verb = verbs
            .iter()
            .flat_map(|verb| OUTCOMES.map(|outcome| [*verb, outcome]));
        Self {
            qr_kept: [&catalog::QR_KEPT, &catalog::QR_KEPT_LIMIT].map(|m| Gauges::one_of(r, m)),
            sockets: [&catalog::SOCKETS, &catalog::SOCKETS_LIMIT].map(|m| Gauges::one_of(r, m)),
            connections: Gauges::of(r, &catalog::CONNECTIONS, STATES.map(|state| [state])),
            opened: Counts::of(r, &catalog::OPENED, transports),
            closes: Counts::of(r, &catalog::CLOSES, CLOSES.map(|code| [code])),
            draining: Gauges::one_of(r, &catalog::DRAINING),
            sent: [&catalog::SENT_BYTES, &catalog::SENT_FRAMES].map(|m| Counts::one_of(r, m)),
            outbox: [
                &catalog::OUTBOX,
                &catalog::OUTBOX_LONGEST,
                &catalog::OUTBOX_LIMIT,
                &catalog::OUTBOX_CONNECTIONS,
            ]
            .map(|m| Gauges::one_of(r, m)),
            rooms: [
                &catalog::ROOMS,
                &catalog::ROOMS_LIMIT,
                &catalog::ROOMS_JOINED,
                &catalog::MEMBERSHIPS,
            ]
            .map(|m| Gauges::one_of(r, m)),
            messages: [&catalog::MESSAGES, &catalog::DELIVERIES].map(|m| Counts::one_of(r, m)),
            drops: Counts::of(r, &catalog::DROPS, drop_rows()),
            batch_frames: only(r, &catalog::BATCH_FRAMES, Histogram::of_counts(BATCHES)),
            flush: only(r, &catalog::FLUSH, Histogram::of_us(FLUSHES)),
            history: [&catalog::HISTORY, &catalog::HISTORY_LIMIT].map(|m| Gauges::one_of(r, m)),
            operations: Counts::of(r, &catalog::ENGINE, by_verb),
            operation_seconds: histograms(r, &catalog::ENGINE_SECONDS, verbs, || Histogram::of_us(VERBS)),
            limited: Counts::of(r, &catalog::LIMITED, LIMITED.map(|limit| [limit])),
        }
    }

    pub(super) fn store(&self, all: &Everything) {
        let (sockets, bounds) = (&all.sockets, &all.bounds);
        let now = &sockets.now;
        store(&self.qr_kept, [all.qr_kept, bounds.qr_kept]);
        store(&self.sockets, [all.accepted, bounds.sockets]);
        let upgraded = now.anonymous + now.authenticated + now.event_streams + now.closing;
        self.connections.store([
            all.accepted.saturating_sub(upgraded),
            now.anonymous,
            now.authenticated,
            now.event_streams,
            now.closing,
        ]);
        self.opened.store(sockets.opened);
        self.closes.store(sockets.closes);
        self.draining.store([usize::from(all.draining)]);
        let [bytes, frames] = &self.sent;
        bytes.store([sockets.bytes_out]);
        frames.store([sockets.frames_out]);
        let queues = [
            now.queued_bytes,
            now.queued_bytes_most,
            bounds.outbox_bytes,
            now.waiting,
        ];
        store(&self.outbox, queues);
        let rooms = [all.operations.rooms, bounds.rooms, now.rooms, now.memberships];
        store(&self.rooms, rooms);
        let [messages, deliveries] = &self.messages;
        messages.store([sockets.published]);
        deliveries.store([sockets.deliveries]);
        let dropped = [sockets.shed, sockets.overrun].into_iter().flat_map(Drops::named);
        let dropped = dropped.map(|(_, n)| n).chain(all.traffic.pushed_back);
        self.drops.store(dropped);
        self.batch_frames.store(&sockets.batch_frames);
        self.flush.store(&sockets.flush_us);
        let history = [all.operations.history_bytes, bounds.history_bytes];
        store(&self.history, history);
        let verbs = &all.operations.verbs;
        self.operations
            .store(verbs.iter().flat_map(|verb| verb.outcomes.map(|(_, n)| n)));
        for (histogram, verb) in self.operation_seconds.iter().zip(verbs) {
            histogram.store(&verb.took_us);
        }
        self.limited.store(LIMITED.map(|limit| {
            let of_it = all.limited.iter().filter(|(name, _)| *name == limit);
            of_it.map(|(_, n)| n).sum()
        }));
    }
}

fn only(registry: &mut Registry, metric: &catalog::Metric, histogram: Histogram) -> Histogram {
    register(registry, metric, histogram.clone());
    histogram
}

fn store<const N: usize>(gauges: &[Gauges; N], now: [usize; N]) {
    for (gauge, now) in gauges.iter().zip(now) {
        gauge.store([now]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;

    #[test]
    fn every_limit_that_is_told_is_one() {
        for name in LIMITED {
            assert!(Limits::names().any(|known| known == name), "{name}");
        }
    }
}
