//! One socket, from its greeting to its end: a task that reads, starts commands, writes what others could not
//! write for it, and keeps its time. It waits in one place and owns no buffer while it waits.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use countersign_protocol::client::{self, FrameError};
use countersign_protocol::codec::{Opcode, json, json_frame, text_frame, write_frame};
use countersign_protocol::server::{SessionPush, SessionState};
use countersign_protocol::{CloseCode, ErrorCode};
use futures::FutureExt;
use tokio::time::{Instant, Sleep};

use super::close::{self, Transport};
use super::dispatch::{self, Outcome};
use super::lanes::Lanes;
use super::meter::Bounds;
use super::reader::{Event, Intake, Reader};
use super::tracker::Tracked;
use crate::core::rate::Gcra;
use crate::core::session::{Deadlines, Due, Facts, Spans};
use crate::hub::{Connection, End};
use crate::node::{Admission, Node, Presence, Refusal, connection_name};
use crate::ops::ids;
use crate::ops::metrics::Limit;

/// Bytes of replies that wait for the end of a wake to leave together.
const REPLY_BYTES_MAX: usize = 16 * 1024;
/// Bytes read in one wake; then others have their turn.
const WAKE_BYTES_MAX: usize = 64 * 1024;

/// The task of a connection. Its size is what every idle connection costs, so what is rare is boxed.
pub(super) fn serve(
    presence: Presence,
    mut transport: Transport,
    leftover: Bytes,
    place: Option<Arc<Admission>>,
    tracked: Tracked,
) -> impl Future<Output = ()> + Send + 'static {
    let mut owner = Owner::new(presence, leftover);
    // Not an `async fn`, which would keep its parameters twice: a block uses in place what it captures.
    async move {
        let mut alarm = pin!(tokio::time::sleep_until(far_away()));
        let living = std::future::poll_fn(|cx| {
            let id = owner.presence.connection.id;
            ids::in_connection(id, || owner.poll(&mut transport, alarm.as_mut(), cx))
        });
        let lived = AssertUnwindSafe(living).catch_unwind().await;
        let connection = Arc::clone(&owner.presence.connection);
        let write = Duration::from_millis(owner.presence.node.limits().write_ms);
        if lived.is_err() {
            let name = connection_name(connection.id);
            tracing::error!(connection = name, "a connection failed and is closed");
            connection.end(End::Close(CloseCode::Internal));
        }
        let node = Arc::clone(&owner.presence.node);
        drop(owner);
        Box::pin(close::finish(&connection, &mut transport, write)).await;
        tracing::debug!(
            connection = connection_name(connection.id),
            end = ?connection.standing().end,
            "connection closed"
        );
        node.hub.count_last(&connection);
        drop(node);
        // The socket's place is free when the socket is.
        drop((connection, transport));
        drop((place, tracked));
    }
}

/// Further than any deadline; the alarm is set by the first look.
fn far_away() -> Instant {
    Instant::now() + Duration::from_secs(365 * 24 * 3600)
}

/// What the task knows between two wakes.
struct Owner {
    reader: Reader,
    lanes: Lanes,
    deadlines: Deadlines,
    /// When the alarm goes off.
    alarm_at: u64,
    commands: Gcra,
    /// Commands over the rate since the last one that was not.
    refusals: u32,
    bad_tokens: u8,
    /// Something was queued that no room's flusher takes along.
    unsent: bool,
    /// A command was carried out in this wake: what it queued is kept until the end of it.
    corked: bool,
    /// Bytes that are to have left before more is read.
    resume_at: u64,
    /// Last: commands end before the connection departs.
    presence: Presence,
}

impl Owner {
    fn new(presence: Presence, leftover: Bytes) -> Self {
        let node = &presence.node;
        let deadlines = Deadlines::new(presence.connection.id, &spans(node), node.clock.now());
        Self {
            reader: Reader::new(leftover),
            lanes: Lanes::default(),
            deadlines,
            alarm_at: u64::MAX,
            commands: Gcra::default(),
            refusals: 0,
            bad_tokens: 0,
            unsent: false,
            corked: false,
            resume_at: 0,
            presence,
        }
    }

    /// One wake. Ready when the connection is to end.
    fn poll(&mut self, transport: &mut Transport, alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        self.presence.connection.register_owner(cx.waker());
        let now = self.presence.node.clock.now();
        let mut held_up = self.is_answering();
        if !self.lanes.is_empty() {
            self.cork();
        }
        while let Some(outcome) = self.lanes.poll_next(!self.is_answering(), cx) {
            self.conclude(outcome);
        }
        self.poll_read(transport, now, cx);
        held_up |= self.is_answering();
        // What is waited for is written by nobody else for certain: answers queued for a room's flusher have left
        // before this looked, or may be all that it took.
        let corked = std::mem::take(&mut self.corked);
        if std::mem::take(&mut self.unsent) || self.is_answering() {
            self.presence.connection.flush();
        } else if corked {
            self.presence.connection.uncork();
        }
        if self.presence.connection.standing().blocked {
            transport.poll_write(&self.presence.connection, cx);
        } else if let Poll::Ready(Err(_)) = transport.poll_flush(cx) {
            self.presence.connection.end(End::Broken);
        }
        if held_up && !self.is_answering() {
            // What there is to read has been announced already, and what is to begin announces nothing.
            cx.waker().wake_by_ref();
        }
        self.poll_time(now, alarm, cx);
        if self.presence.connection.standing().end.is_some() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// Reads and starts commands, until there is nothing, enough for now, or too much waiting.
    fn poll_read(&mut self, transport: &mut Transport, now: u64, cx: &mut Context<'_>) {
        let connection = Arc::clone(&self.presence.connection);
        let (mut budget, mut frames) = (WAKE_BYTES_MAX, 0);
        self.read_all(&connection, transport, (&mut budget, &mut frames), now, cx);
        let bytes = WAKE_BYTES_MAX - budget;
        if bytes > 0 {
            let traffic = &self.presence.node.metrics.traffic;
            traffic.received(bytes as u64, frames);
        }
    }

    fn read_all(
        &mut self,
        connection: &Connection,
        transport: &mut Transport,
        (budget, frames): (&mut usize, &mut u64),
        now: u64,
        cx: &mut Context<'_>,
    ) {
        let mut announced = self.reader.has_bytes();
        while !self.is_paused() && connection.standing().end.is_none() {
            if !std::mem::take(&mut announced) {
                match transport.poll_readable(connection, cx) {
                    Poll::Pending => return,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return connection.end(End::Broken),
                }
            }
            match self.read(transport, (budget, frames), now, cx) {
                Flow::GoOn if matches!(transport, Transport::Direct) => {}
                // A stream that would block has kept the waker.
                Flow::GoOn | Flow::Stop => return,
                Flow::Yield => return cx.waker().wake_by_ref(),
            }
        }
    }

    /// Reading waits for commands under way, or for the answers of those before to leave.
    fn is_paused(&self) -> bool {
        self.is_answering() || self.lanes.len() >= self.presence.node.limits().commands_waiting_max
    }

    /// Answers that are to leave before anything else begins wait for the peer to read.
    fn is_answering(&self) -> bool {
        let standing = self.presence.connection.standing();
        standing.queued > 0 && standing.sent < self.resume_at
    }

    /// What a command has queued leaves before much more is asked for: a client that asks faster than it reads
    /// waits, where its own answers would otherwise close it.
    fn pace(&mut self) {
        let standing = self.presence.connection.standing();
        if standing.queued > self.presence.node.limits().outbox_bytes_max as usize / 4 {
            self.resume_at = standing.sent + standing.queued as u64;
        }
    }

    /// Reads until the stream would block.
    fn read(
        &mut self,
        transport: &mut Transport,
        (budget, frames): (&mut usize, &mut u64),
        now: u64,
        cx: &mut Context<'_>,
    ) -> Flow {
        let connection = Arc::clone(&self.presence.connection);
        let limits = self.presence.node.limits();
        let bounds = Bounds {
            fragments_max: limits.fragments_max,
            control_rate: limits.control_rate.rate(),
        };
        while !self.is_paused() && connection.standing().end.is_none() {
            let source = |buf: &mut [u8]| transport.read(&connection, cx, buf);
            let mut intake = Intake {
                source,
                connection: &connection,
                bounds,
                budget: *budget,
                now,
                queued: false,
            };
            let event = self.reader.next(&mut intake);
            self.unsent |= intake.queued;
            *budget = intake.budget;
            *frames += u64::from(matches!(event, Event::Text(_) | Event::Pong));
            match event {
                Event::Text(text) => self.command(&text, now, cx),
                Event::Pong => {
                    self.deadlines.pong();
                    // It was set for a pong that did not come: later costs less than a wake for nothing.
                    self.alarm_at = u64::MAX;
                }
                Event::Blocked => return Flow::GoOn,
                Event::Spent => return Flow::Yield,
                Event::Closed(answer) => connection.answer_close(answer),
                Event::Fault(code) => connection.end(End::Close(code)),
                Event::Gone => connection.end(End::Broken),
            }
        }
        Flow::Stop
    }

    /// One text frame.
    fn command(&mut self, text: &str, now: u64, cx: &mut Context<'_>) {
        let frame = client::parse(text);
        let id = match &frame {
            Ok(frame) => Some(frame.id),
            Err(FrameError::Refused { id, .. }) => *id,
            Err(FrameError::NotJson) => return self.presence.connection.end(End::Close(CloseCode::BadFrame)),
        };
        let (limits, traffic) = (self.presence.node.limits(), &self.presence.node.metrics.traffic);
        if let Err(after_ms) = self.commands.check(&limits.command_rate.rate(), now, 1) {
            self.refusals += 1;
            traffic.limited(Limit::CommandRate);
            let number = frame.ok().map(|frame| frame.command.number());
            traffic.command(number, Some(ErrorCode::RateLimited));
            if self.refusals >= limits.command_refusals_max {
                return self.presence.connection.end(End::Close(CloseCode::RateLimited));
            }
            return self.refuse(
                id,
                &Refusal::rate_limited("too many commands on this connection", after_ms),
            );
        }
        self.refusals = 0;
        match frame {
            Ok(frame) => {
                self.cork();
                let command = dispatch::start(&self.presence.node, &self.presence.connection, frame);
                if let Some(outcome) = self.lanes.start(command, cx) {
                    self.conclude(outcome);
                }
            }
            Err(FrameError::Refused { code, message, .. }) => {
                traffic.command(None, Some(code));
                self.refuse(id, &Refusal::new(code, message));
            }
            Err(FrameError::NotJson) => {}
        }
    }

    /// What a command answers and what it causes on this connection leave together, at the end of the wake.
    fn cork(&mut self) {
        self.presence.connection.cork();
        self.corked = true;
    }

    fn refuse(&mut self, id: Option<u64>, refusal: &Refusal) {
        self.reply(&json(&refusal.reply(id)));
    }

    fn reply(&mut self, json: &[u8]) {
        self.presence.connection.queue(json_frame(json).into());
        // Several large ones would fill a queue from which nobody has been asked to take yet.
        self.unsent = json.len() <= REPLY_BYTES_MAX;
        if !self.unsent {
            self.presence.connection.flush();
        }
    }

    fn conclude(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Reply(json) => self.reply(&json),
            Outcome::Replied => {}
            Outcome::BadToken(json) => {
                self.reply(&json);
                self.bad_tokens = self.bad_tokens.saturating_add(1);
                if self.bad_tokens >= self.presence.node.limits().bad_tokens_max {
                    self.presence.connection.end(End::Close(CloseCode::InvalidToken));
                }
            }
            Outcome::Close(reply, code) => {
                if let Some(json) = reply {
                    self.reply(&json);
                }
                self.presence.connection.end(End::Close(code));
            }
        }
        self.pace();
    }

    /// Does what is due, and sets the alarm where it has to go off earlier than it would.
    fn poll_time(&mut self, now: u64, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) {
        let spans = spans(&self.presence.node);
        let mut now = now;
        loop {
            let mut facts = self.facts();
            while self.presence.connection.standing().end.is_none()
                && let Some(due) = self.deadlines.due(&facts, &spans, now)
            {
                self.act(due);
                facts = self.facts();
            }
            let next = self.deadlines.next_at(&facts, &spans);
            if next < self.alarm_at {
                self.alarm_at = next;
                let at = self.presence.node.clock.instant_of(next);
                alarm.as_mut().reset(at.map_or_else(far_away, Instant::from_std));
            }
            if self.presence.connection.standing().end.is_some() || alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.alarm_at = u64::MAX;
            now = self.presence.node.clock.now();
        }
    }

    fn facts(&self) -> Facts {
        let standing = self.presence.connection.standing();
        let (settled, expires_at) = self.presence.connection.use_and_expiry();
        Facts {
            settled,
            expires_at,
            blocked: (standing.blocked && standing.queued > 0).then_some(standing.sent),
            fragmented: self.reader.fragmented(),
            paused: self.is_paused(),
            busy: !self.lanes.is_empty(),
        }
    }

    fn act(&mut self, due: Due) {
        let session = |state, after_ms| -> Bytes {
            text_frame(&SessionPush {
                state,
                after_ms,
                session: None,
                device: None,
                ip: None,
                client: None,
            })
            .into()
        };
        match due {
            Due::Ping => {
                self.reader.expect_pong();
                let mut ping = Vec::with_capacity(2);
                write_frame(&mut ping, Opcode::Ping, None, &[]);
                self.presence.connection.push(ping.into());
            }
            Due::Expiring { after_ms } => self
                .presence
                .connection
                .push(session(SessionState::Expiring, Some(after_ms))),
            Due::Expired => {
                self.presence
                    .connection
                    .end_with(session(SessionState::Expired, None), CloseCode::SessionExpired);
            }
            Due::Close(code) => self.presence.connection.end(End::Close(code)),
        }
    }
}

/// What to do after reading.
enum Flow {
    /// The stream would block: ask for readiness.
    GoOn,
    /// Reading has to wait for something else.
    Stop,
    /// Others have their turn.
    Yield,
}

fn spans(node: &Node) -> Spans {
    let limits = node.limits();
    Spans {
        unauthenticated: limits.unauthenticated_ms,
        ping_interval: limits.ping_interval_ms,
        pong: limits.pong_ms,
        write: limits.write_ms,
        fragments: limits.fragments_ms,
        expiring: node.config().tokens.expiring_ms,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::clock::Clock;
    use crate::config::Config;
    use crate::engine::Engine;
    use crate::hub::{MemoryWire, Wire};
    use crate::node;
    use crate::ws::tracker::Tracker;

    /// The size of the task is resident memory, times the number of connections.
    #[tokio::test]
    async fn an_idle_connection_is_small() {
        let config = Config::default();
        let engine = Engine::Memory(node::memory_engine(&config));
        let built = Node::build(config, engine, Clock::system(), "http://127.0.0.1:1".into(), 1).unwrap();
        let node = built.start();
        let connection = node.open_connection(
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            Wire::Memory(MemoryWire::counting()),
            |_| Bytes::new(),
        );
        let presence = Presence {
            node,
            connection,
            place: None,
        };
        let tracked = Tracker::default().track();
        let task = serve(presence, Transport::Direct, Bytes::new(), None, tracked);
        let bytes = std::mem::size_of_val(&task);
        // With what the runtime puts around it this stays within four of its 128-byte steps.
        assert!(bytes <= 416, "{bytes} bytes");
    }
}
