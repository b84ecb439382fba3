//! The end of a connection, so that the other side sees why: what is queued and the close frame leave, our
//! side is shut, and what still comes is read for a moment. Closing at once with bytes unread would send a
//! reset that overtakes the close frame.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use super::stream::{Socket, Stream};
use crate::hub::{Connection, End, Wire};

/// How long the other side may take to close too.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read from it meanwhile.
const LINGER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes read at once.
const SCRAP_BYTES: usize = 4096;

/// How the owner of a connection reads and, where nobody else can, writes.
pub(super) enum Transport {
    /// The stream is in the connection's [`Wire::Direct`].
    Direct,
    Woken(Box<dyn Socket>),
}

/// Ends an HTTP connection.
pub(super) async fn linger(mut stream: Stream) {
    // A peer that is gone already cannot be told anything.
    if tokio::time::timeout(LINGER, stream.shutdown())
        .await
        .is_ok_and(|r| r.is_ok())
    {
        let mut left = LINGER_BYTES_MAX;
        let drained = std::future::poll_fn(|cx| {
            poll_discard(&mut left, cx, |cx, buf| Pin::new(&mut stream).poll_read(cx, buf))
        });
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}

/// Ends a WebSocket connection the way its [`End`] says.
pub(super) async fn finish(connection: &Connection, transport: &mut Transport, write: Duration) {
    match connection.standing().end {
        Some(End::Broken) | None => return,
        Some(End::Close(code)) => connection.queue_close(code),
        Some(End::Answered(_) | End::Done) => {}
    }
    let mut left = LINGER_BYTES_MAX;
    let written = std::future::poll_fn(|cx| {
        // A peer that writes, and reads only when that is done, would never see the close.
        let _ = transport.poll_discard(connection, &mut left, cx);
        transport.poll_write(connection, cx);
        match connection.standing() {
            standing if standing.queued == 0 => transport.poll_flush(cx).map(|flushed| flushed.is_ok()),
            // Neither written nor waiting to be: the wire is broken.
            standing if !standing.blocked => Poll::Ready(false),
            _ => Poll::Pending,
        }
    });
    if tokio::time::timeout(write, written).await != Ok(true) {
        return;
    }
    let shut = std::future::poll_fn(|cx| transport.poll_shutdown(connection, cx));
    if tokio::time::timeout(LINGER, shut).await.is_ok_and(|r| r.is_ok()) {
        let drained = std::future::poll_fn(|cx| transport.poll_discard(connection, &mut left, cx));
        let _ = tokio::time::timeout(LINGER, drained).await;
    }
}

impl Transport {
    /// Waits for something to read.
    pub(super) fn poll_readable(
        &self,
        connection: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match (self, connection.wire()) {
            (Transport::Direct, Wire::Direct(stream)) => stream.poll_read_ready(cx),
            // It is asked by reading.
            (Transport::Woken(_), _) => Poll::Ready(Ok(())),
            // A memory wire has no reading side.
            (Transport::Direct, _) => Poll::Pending,
        }
    }

    /// Reads without waiting. A stream that is not TCP keeps the waker, and so does TCP once it was asked by
    /// [`Transport::poll_readable`].
    pub(super) fn read(
        &mut self,
        connection: &Connection,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> io::Result<usize> {
        match (self, connection.wire()) {
            (Transport::Direct, Wire::Direct(stream)) => read_some(stream, buf),
            (Transport::Woken(stream), _) => {
                let mut buf = ReadBuf::new(buf);
                match Pin::new(stream).poll_read(cx, &mut buf) {
                    Poll::Ready(read) => read.map(|()| buf.filled().len()),
                    Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                }
            }
            (Transport::Direct, _) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Writes what is queued while the wire takes it, and leaves the waker where it does not.
    pub(super) fn poll_write(&mut self, connection: &Connection, cx: &mut Context<'_>) {
        match (self, connection.wire()) {
            (Transport::Direct, Wire::Direct(stream)) => {
                while connection.standing().blocked {
                    match stream.poll_write_ready(cx) {
                        Poll::Ready(Ok(())) => connection.unblock(),
                        Poll::Ready(Err(_)) => return connection.end(End::Broken),
                        Poll::Pending => return,
                    }
                }
            }
            (Transport::Woken(stream), _) => {
                let written = connection.drain_with(|slices| {
                    match Pin::new(&mut *stream).poll_write_vectored(cx, slices) {
                        Poll::Ready(written) => written,
                        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    }
                });
                let flushed = Pin::new(&mut *stream).poll_flush(cx);
                if written.is_err() || matches!(flushed, Poll::Ready(Err(_))) {
                    connection.end(End::Broken);
                }
            }
            (Transport::Direct, _) => {}
        }
    }

    /// Sends on what has left the queue and waits in a layer below, as in TLS; it leaves the waker where that has to
    /// wait. Plain TCP has no such layer.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Transport::Direct => Poll::Ready(Ok(())),
            Transport::Woken(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(&mut self, connection: &Connection, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self, connection.wire()) {
            (Transport::Direct, Wire::Direct(stream)) => {
                Poll::Ready(SockRef::from(stream).shutdown(Shutdown::Write))
            }
            (Transport::Woken(stream), _) => Pin::new(stream).poll_shutdown(cx),
            (Transport::Direct, _) => Poll::Ready(Ok(())),
        }
    }

    /// Reads and forgets, until the other side ends or has sent too much.
    fn poll_discard(&mut self, connection: &Connection, left: &mut usize, cx: &mut Context<'_>) -> Poll<()> {
        poll_discard(left, cx, |cx, buf| {
            loop {
                match ready!(self.poll_readable(connection, cx)) {
                    Ok(()) => {}
                    Err(e) => return Poll::Ready(Err(e)),
                }
                let n = match self.read(connection, cx, buf.initialize_unfilled()) {
                    Ok(n) => n,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => match self {
                        Transport::Direct => continue,
                        Transport::Woken(_) => return Poll::Pending,
                    },
                    Err(e) => return Poll::Ready(Err(e)),
                };
                buf.advance(n);
                return Poll::Ready(Ok(()));
            }
        })
    }
}

/// Reads and forgets by `read`, until the end, an error, or the last of `left` bytes.
fn poll_discard(
    left: &mut usize,
    cx: &mut Context<'_>,
    mut read: impl FnMut(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<()> {
    let mut scrap = [0; SCRAP_BYTES];
    for _ in 0..16 {
        let mut buf = ReadBuf::new(&mut scrap);
        match ready!(read(cx, &mut buf)) {
            Ok(()) if !buf.filled().is_empty() && *left > 0 => {
                *left = left.saturating_sub(buf.filled().len())
            }
            _ => return Poll::Ready(()),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// One read. When it took everything there was, the stream is known to be empty without asking the system
/// again: readiness is cleared as it is for a read that would block, and an end of stream stays visible.
fn read_some(stream: &TcpStream, buf: &mut [u8]) -> io::Result<usize> {
    let mut read = 0;
    let outcome = stream.try_io(tokio::io::Interest::READABLE, || {
        let socket = SockRef::from(stream);
        read = io::Read::read(&mut &*socket, buf)?;
        if read > 0 && read < buf.len() {
            Err(io::ErrorKind::WouldBlock.into())
        } else {
            Ok(())
        }
    });
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock && read > 0 => Ok(read),
        Err(e) => Err(e),
        Ok(()) => Ok(read),
    }
}
