//! How bytes leave a connection.

use std::io::{self, IoSlice};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::TcpStream;

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
                [one] => stream.try_write(one),
                many => stream.try_write_vectored(many),
            },
            Wire::Woken => Err(io::ErrorKind::WouldBlock.into()),
            Wire::Memory(wire) => wire.try_write(slices),
        }
    }
}

/// Takes as many bytes as it is allowed to: all, some or none.
#[derive(Debug, Clone)]
pub struct MemoryWire(Arc<Mutex<MemoryState>>);

#[derive(Debug)]
struct MemoryState {
    allowance: usize,
    keep: bool,
    taken: Vec<u8>,
    total: u64,
}

impl MemoryWire {
    /// A wire that takes `allowance` bytes and keeps them to be read by [`MemoryWire::taken`].
    pub fn new(allowance: usize) -> Self {
        Self(Arc::new(Mutex::new(MemoryState { allowance, keep: true, taken: Vec::new(), total: 0 })))
    }

    /// A wire that takes everything and only counts, for benchmarks.
    pub fn counting() -> Self {
        Self(Arc::new(Mutex::new(MemoryState {
            allowance: usize::MAX,
            keep: false,
            taken: Vec::new(),
            total: 0,
        })))
    }

    /// Lets `bytes` more pass.
    pub fn allow(&self, bytes: usize) {
        let mut state = self.0.lock();
        state.allowance = state.allowance.saturating_add(bytes);
    }

    /// All bytes taken so far; empty for a counting wire.
    pub fn taken(&self) -> Vec<u8> {
        self.0.lock().taken.clone()
    }

    /// How many bytes were taken.
    pub fn total(&self) -> u64 {
        self.0.lock().total
    }

    fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let mut written = 0;
        for slice in slices {
            let n = slice.len().min(state.allowance);
            if state.allowance != usize::MAX {
                state.allowance -= n;
            }
            if state.keep {
                state.taken.extend_from_slice(&slice[..n]);
            }
            written += n;
            if n < slice.len() {
                break;
            }
        }
        state.total += written as u64;
        if written == 0 && slices.iter().any(|s| !s.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(written)
    }
}
