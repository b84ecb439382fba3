//! The stream under hyper: follows the request heads ([`super::head`]) and keeps their time.

use std::io;
use std::pin::Pin;
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

/// A [`Stream`] that carries HTTP.
pub(super) struct HttpStream {
    stream: Stream,
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
    pub(super) fn new(stream: Stream, limits: &Limits) -> Self {
        let head = Duration::from_millis(limits.head_ms);
        Self {
            stream,
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

    pub(super) fn into_inner(self) -> Stream {
        self.stream
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
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch_write(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch_write(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
