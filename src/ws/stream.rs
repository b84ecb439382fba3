//! The stream under hyper: follows the request heads ([`super::head`]) and keeps their time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::head::{Heads, POISON, State};
use crate::config::Limits;

/// What a connection may come over besides plain TCP.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Socket for S {}

/// An accepted connection's bytes.
pub(super) enum Stream {
    Tcp(TcpStream),
    /// TLS, or a stream of this process: only its owner can write.
    Other(Box<dyn Socket>),
}

macro_rules! delegate {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Stream::Other(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, stream => stream.poll_shutdown(cx))
    }
}

/// Bytes that a peer may send to an answer that goes on until it leaves.
const LATE_BYTES_MAX: usize = 64 * 1024;

/// What whoever makes an answer lets the stream under hyper know of it. Either is the last of its connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Answering(Arc<Kinds>);

#[derive(Debug, Default)]
struct Kinds {
    goes_on: AtomicBool,
    upgrades: AtomicBool,
}

impl Answering {
    /// The answer goes on until the peer leaves: from here on the end of the peer's bytes ends the connection. Hyper
    /// does not read meanwhile, so it would notice only when a write fails, long after.
    pub(super) fn goes_on(&self) {
        self.0.goes_on.store(true, Ordering::Relaxed);
    }

    /// The answer is 101: it is kept for [`HttpStream::into_parts`], so that it leaves in one write with the first
    /// frame. Two writes would wake the peer twice.
    pub(super) fn upgrades(&self) {
        self.0.upgrades.store(true, Ordering::Relaxed);
    }
}

/// A [`Stream`] that carries HTTP.
pub(super) struct HttpStream {
    stream: Stream,
    answering: Answering,
    /// What hyper has written since an answer upgrades: one head of our own making, and in front of it at most what
    /// it had not written yet of an answer before.
    upgrade: Vec<u8>,
    /// Bytes read and thrown away while listening.
    late: usize,
    heads: Heads,
    /// Bytes of [`POISON`] given so far.
    poisoned: usize,
    head: Duration,
    keep_alive: Duration,
    write: Duration,
    read_timer: Pin<Box<Sleep>>,
    /// What the read timer is set for.
    read_phase: Phase,
    /// Set while the peer takes nothing.
    write_timer: Option<Pin<Box<Sleep>>>,
}

/// What is waited for. Each has its own time, from the moment the waiting began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first head, from the first moment: a silent socket is no better than half a head.
    First,
    /// The rest of head number n.
    Head(u32),
    /// The first byte of head number n.
    Rest(u32),
}

impl HttpStream {
    pub(super) fn new(stream: Stream, limits: &Limits, answering: Answering) -> Self {
        let head = Duration::from_millis(limits.head_ms);
        Self {
            stream,
            answering,
            upgrade: Vec::new(),
            late: 0,
            heads: Heads::new(),
            poisoned: 0,
            head,
            keep_alive: Duration::from_millis(limits.keep_alive_ms),
            write: Duration::from_millis(limits.write_ms),
            read_timer: Box::pin(tokio::time::sleep(head)),
            read_phase: Phase::First,
            write_timer: None,
        }
    }

    /// The stream, and the answer 101 that has not been written to it.
    pub(super) fn into_parts(self) -> (Stream, Vec<u8>) {
        (self.stream, self.upgrade)
    }

    fn upgrades(&self) -> bool {
        self.answering.0.upgrades.load(Ordering::Relaxed)
    }

    /// Nothing has come. Is it still worth waiting?
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = match (self.heads.state(), self.heads.complete()) {
            // A body's time is that of its request.
            (State::Body(_) | State::Opaque | State::Refused, _) => return Poll::Pending,
            (_, 0) => Phase::First,
            (State::Head, n) => Phase::Head(n),
            (State::Between, n) => Phase::Rest(n),
        };
        if phase != self.read_phase {
            self.read_phase = phase;
            let span = if let Phase::Rest(_) = phase {
                self.keep_alive
            } else {
                self.head
            };
            self.read_timer.as_mut().reset(Instant::now() + span);
        }
        ready!(self.read_timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Bounds how long the peer may take nothing.
    fn watch_write<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let write = self.write;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(write)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Fails when the peer has gone. What it still says nobody reads.
    fn listen(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut scrap = [0; 1024];
        loop {
            let mut buf = ReadBuf::new(&mut scrap);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Pending => return Ok(()),
                Poll::Ready(read) => read?,
            }
            self.late += buf.filled().len();
            if buf.filled().is_empty() || self.late > LATE_BYTES_MAX {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }

    fn give_poison(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = POISON.get(self.poisoned..).unwrap_or_default();
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        self.poisoned += n;
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        if this.heads.state() != State::Refused {
            match Pin::new(&mut this.stream).poll_read(cx, buf) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => return this.poll_patience(cx),
            }
            let good = this.heads.feed(buf.filled().get(before..).unwrap_or_default());
            buf.set_filled(before + good);
        }
        if this.heads.state() == State::Refused && buf.filled().len() == before {
            this.give_poison(buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.upgrades() {
            this.upgrade.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.upgrades() {
            slices.iter().for_each(|s| this.upgrade.extend_from_slice(s));
            return Poll::Ready(Ok(slices.iter().map(|s| s.len()).sum()));
        }
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.answering.0.goes_on.load(Ordering::Relaxed) {
            // Hyper comes by here with every wake of the connection.
            this.listen(cx)?;
        }
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch_write(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn an_answer_that_upgrades_is_kept_for_the_first_frame() {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        let answering = Answering::default();
        let stream = Stream::Other(Box::new(ours));
        let mut http = HttpStream::new(stream, &Limits::default(), answering.clone());
        http.write_all(b"an answer").await.unwrap();
        answering.upgrades();
        http.write_all(b"101").await.unwrap();
        http.flush().await.unwrap();
        let (stream, kept) = http.into_parts();
        assert_eq!(kept, b"101");
        drop(stream);
        let mut seen = Vec::new();
        theirs.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"an answer");
    }
}
