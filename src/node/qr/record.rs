//! What is recorded of QR logins: an audit record for each change, and the counts. Both transports, the phone and
//! the timers come by here, and nothing else writes either.

use countersign_protocol::server::QrState;

use crate::core::attempt::{Attempt, Event};
use crate::engine::Decided;
use crate::node::{Node, Refusal};
use crate::ops::metrics::Transport;

impl Node {
    /// The engine keeps a new attempt: its first change.
    pub(super) fn record_opened(&self, attempt: &Attempt) {
        // Only a socket watches from the start.
        let transport = match attempt.watched_by() {
            _ if attempt.grant().is_some() => Transport::OAuth,
            Some(_) => Transport::WebSocket,
            None => Transport::Http,
        };
        self.metrics.qr.opened(transport);
        self.record(attempt, &attempt.events_after(None));
    }

    /// A decision was stored. Answers for each call of the engine come here once, however often it had to decide,
    /// and a step without an event leaves nothing.
    pub(super) fn record_decided(&self, decided: &Decided) {
        self.record(&decided.attempt, &decided.step.events);
    }

    fn record(&self, attempt: &Attempt, events: &[Event]) {
        for event in events {
            let Some(change) = attempt.transition(event.seq) else {
                continue;
            };
            self.metrics.qr.changed(&change);
            tracing::info!(
                target: "audit",
                event = change.name,
                attempt = %short(attempt),
                seq = change.seq,
                from = change.from.map(QrState::name),
                to = change.to.name(),
                reason = change.reason.map(|reason| reason.name()),
                actor = change.actor.name(),
                client = attempt.client().map(|client| &*client.id),
                user = attempt.scanner().map(|scanner| scanner.user.id.as_str()),
                device_kind = attempt.device().kind.name(),
                ip = %attempt.ip().to_canonical(),
                "qr"
            );
        }
    }

    /// Counts the refusal that a call about a QR login comes to.
    pub(super) async fn counted<T>(
        &self,
        call: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        call.await
            .inspect_err(|refusal| self.metrics.qr.refused(refusal.code))
    }
}

/// Enough of an attempt's key to tell it from all others in a log. The key is no secret: nothing takes it from
/// outside. An id of the code is not used here: until it is scanned, whoever reads it can scan it.
fn short(attempt: &Attempt) -> String {
    attempt
        .key()
        .0
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}
