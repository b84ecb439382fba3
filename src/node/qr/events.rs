//! The PC without a WebSocket: an event stream watches as a socket does, a poll asks how things stand.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_protocol::codec::EVENT_COMMENT;
use countersign_protocol::server::QrPush;
use futures::Stream;
use tokio::time::{Instant, Sleep};

use super::{Claim, unexpected};
use crate::core::attempt::{Attempt, Command, Outcome};
use crate::engine::{AttemptRef, Decided};
use crate::node::presence::Presence;
use crate::node::{Admission, Node, Refusal};

/// Bytes of a stream handed over at once; the rest waits in its bounded queue.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// The events of one attempt as text. It ends after the final one, when another watcher takes over, when it reads
/// too slowly, and when the node drains. Whoever drops it no longer watches.
pub struct EventStream {
    presence: Presence,
    comment: Pin<Box<Sleep>>,
    every: Duration,
}

impl Node {
    /// How an attempt stands: its newest event. Shows that its PC is there.
    ///
    /// # Errors
    /// `not_found` for whoever cannot prove the claim, `rate_limited`.
    pub async fn poll_qr(&self, claim: Claim<'_>) -> Result<QrPush, Refusal> {
        self.counted(self.poll(claim)).await
    }

    async fn poll(&self, claim: Claim<'_>) -> Result<QrPush, Refusal> {
        let now = self.clock.now();
        let (attempt, outcome) = self.ask(&claim, now).await?;
        // Counted for whoever proved the claim: nobody else can use the rate up.
        self.limiters.qr_poll.check(&attempt.key())?;
        let Outcome::Current(event) = outcome else {
            return Err(unexpected());
        };
        Ok(attempt.push(&event, now, self.origins.public()))
    }

    /// Watches an attempt: every event after `after_seq`, or without it the newest, and all that come. `None`: it
    /// has ended, and there is nothing that `after_seq` does not cover.
    ///
    /// # Errors
    /// `not_found` for whoever cannot prove the claim, `unavailable` during a drain.
    pub async fn stream_qr(
        self: &Arc<Self>,
        address: IpAddr,
        place: Option<Arc<Admission>>,
        claim: Claim<'_>,
        after_seq: Option<u32>,
    ) -> Result<Option<EventStream>, Refusal> {
        self.counted(self.stream(address, place, claim, after_seq)).await
    }

    async fn stream(
        self: &Arc<Self>,
        address: IpAddr,
        place: Option<Arc<Admission>>,
        claim: Claim<'_>,
        after_seq: Option<u32>,
    ) -> Result<Option<EventStream>, Refusal> {
        if self.is_draining() {
            return Err(Refusal::unavailable(
                "this node is about to restart; reconnect",
                1_000,
            ));
        }
        let (attempt, _) = self.ask(&claim, self.clock.now()).await?;
        if attempt.state().is_final() && after_seq.is_some_and(|seq| seq >= attempt.seq()) {
            return Ok(None);
        }
        let presence = Presence {
            node: Arc::clone(self),
            connection: self.open_stream(address),
            place,
        };
        let greeting = |_: &_| Bytes::from_static(EVENT_COMMENT);
        self.watch(&presence.connection, claim, after_seq, greeting)
            .await?;
        let every = Duration::from_millis(self.limits().event_comment_ms);
        Ok(Some(EventStream {
            presence,
            comment: Box::pin(tokio::time::sleep(every)),
            every,
        }))
    }

    pub(super) async fn ask(&self, claim: &Claim<'_>, now: u64) -> Result<(Arc<Attempt>, Outcome), Refusal> {
        let (id, (digest, device)) = (claim.id()?, claim.digests());
        let poll = || Command::Poll {
            claim: digest,
            device,
        };
        let Decided { attempt, step, .. } = self.update(AttemptRef::Id(id), now, &poll).await?;
        Ok((attempt, step.outcome?))
    }
}

impl Stream for EventStream {
    type Item = Bytes;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let this = self.get_mut();
        let connection = &this.presence.connection;
        connection.register_owner(cx.waker());
        while this.comment.as_mut().poll(cx).is_ready() {
            this.comment.as_mut().reset(Instant::now() + this.every);
            // Behind what is queued, so that it never stands inside an event.
            connection.queue(Bytes::from_static(EVENT_COMMENT));
        }
        // Looked at first: nothing is queued after an end, so what is there now is all there is.
        let ended = connection.standing().end.is_some();
        let mut chunk = Vec::new();
        // What is written to memory does not fail.
        let _ = connection.drain_with(|slices| take(&mut chunk, slices));
        match (chunk.is_empty(), ended) {
            (false, _) => Poll::Ready(Some(chunk.into())),
            (true, true) => Poll::Ready(None),
            (true, false) => Poll::Pending,
        }
    }
}

/// Takes what fits into a chunk.
fn take(chunk: &mut Vec<u8>, slices: &[io::IoSlice<'_>]) -> io::Result<usize> {
    let before = chunk.len();
    for slice in slices {
        let room = CHUNK_BYTES_MAX.saturating_sub(chunk.len());
        chunk.extend_from_slice(slice.get(..slice.len().min(room)).unwrap_or_default());
    }
    match chunk.len() - before {
        0 => Err(io::ErrorKind::WouldBlock.into()),
        taken => Ok(taken),
    }
}
