//! How bytes leave a connection.

use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Frames that together have no more bytes are put into one buffer and written as one: the system takes longer to
/// walk a list of them than copying takes. A member's answer and the message it is for are such.
const JOINED_BYTES_MAX: usize = 1024;

/// The sending side of a connection. The hub knows these three and nothing else about transports.
#[derive(Debug)]
pub enum Wire {
    /// Plain TCP: any thread may write, so a room's flusher writes to its members itself.
    Direct(TcpStream),
    /// TLS, in-process streams, event streams: only the owner can write, so it is woken.
    Woken,
    /// A wire in memory for tests and benchmarks.
    Memory(MemoryWire),
}

impl Wire {
    /// Writes what fits. `WouldBlock` when nothing does, which a [`Wire::Woken`] always answers.
    pub(super) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Wire::Direct(stream) => match slices {
                [one] => send(stream, one),
                many if many.iter().map(|s| s.len()).sum::<usize>() <= JOINED_BYTES_MAX => {
                    let mut joined = Vec::with_capacity(JOINED_BYTES_MAX);
                    many.iter().for_each(|s| joined.extend_from_slice(s));
                    send(stream, &joined)
                }
                many => stream.try_write_vectored(many),
            },
            Wire::Woken => Err(io::ErrorKind::WouldBlock.into()),
            Wire::Memory(wire) => wire.try_write(slices),
        }
    }
}

/// Straight to the socket: what the runtime knows of its readiness is another line of memory to fetch for each of a
/// room's members. It is asked, and so learns, when the socket is full. A peer that is gone is an error here and no
/// signal, for programs in Rust ignore SIGPIPE.
fn send(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match SockRef::from(stream).send(bytes) {
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => stream.try_write(bytes),
        sent => sent,
    }
}

/// How what a connection is told is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// WebSocket frames.
    Frames,
    /// Server-sent events.
    Events,
}

/// Takes as many bytes as it is allowed to: all, some or none.
#[derive(Debug, Clone)]
pub struct MemoryWire(Arc<Mutex<MemoryState>>);

#[derive(Debug, Default)]
struct MemoryState {
    allowance: usize,
    keep: bool,
    severed: bool,
    taken: Vec<u8>,
    total: u64,
    writes: u64,
    #[cfg(test)]
    panics: bool,
}

impl MemoryWire {
    /// A wire that takes `allowance` bytes and keeps them to be read by [`MemoryWire::taken`].
    pub fn new(allowance: usize) -> Self {
        Self(Arc::new(Mutex::new(MemoryState {
            allowance,
            keep: true,
            ..MemoryState::default()
        })))
    }

    /// A wire that takes everything and only counts, for benchmarks.
    pub fn counting() -> Self {
        Self(Arc::new(Mutex::new(MemoryState {
            allowance: usize::MAX,
            ..MemoryState::default()
        })))
    }

    /// Lets `bytes` more pass.
    pub fn allow(&self, bytes: usize) {
        let mut state = self.0.lock();
        state.allowance = state.allowance.saturating_add(bytes);
    }

    /// Lets `bytes` pass and no more, whatever was allowed before.
    pub fn allow_only(&self, bytes: usize) {
        self.0.lock().allowance = bytes;
    }

    /// Fails every write from here on.
    pub fn sever(&self) {
        self.0.lock().severed = true;
    }

    /// Panics at the next write.
    #[cfg(test)]
    pub(super) fn panic_once(&self) {
        self.0.lock().panics = true;
    }

    /// All bytes taken and not yet [drained](MemoryWire::drain); empty for a counting wire.
    pub fn taken(&self) -> Vec<u8> {
        self.0.lock().taken.clone()
    }

    /// The bytes taken since the last call.
    pub fn drain(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().taken)
    }

    /// How many bytes were taken.
    pub fn total(&self) -> u64 {
        self.0.lock().total
    }

    /// How many writes took something.
    pub fn writes(&self) -> u64 {
        self.0.lock().writes
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        #[cfg(test)]
        assert!(
            !std::mem::take(&mut state.panics),
            "a wire that was told to panic"
        );
        if state.severed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(state.allowance);
            if state.allowance != usize::MAX {
                state.allowance -= n;
            }
            if state.keep {
                state.taken.extend_from_slice(slice.get(..n).unwrap_or_default());
            }
            written += n;
            if n < slice.len() {
                break;
            }
        }
        if written == 0 && slices.iter().any(|s| !s.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.total += written as u64;
        state.writes += 1;
        Ok(written)
    }
}
