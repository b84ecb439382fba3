//! What one `send` of a given length costs on one loopback pair: the unit the floor is made of.

use std::io::Read;
use std::net::{TcpListener, TcpStream};

use rustix::net::{SendFlags, send};
use serde::Serialize;

use crate::clock::{self, Nanos};
use crate::error::{Error, Result};

/// Sends in one batch, after which the other side is read empty.
const BATCH: usize = 64;

/// The cost of one send, microseconds of the sending thread's processor time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SendCost {
    /// Length of a send.
    pub bytes: usize,
    /// Sends measured.
    pub sends: usize,
    pub median_us: f64,
    pub min_us: f64,
}

/// Measures `batches` batches of sends of `bytes`.
pub fn send_cost(bytes: usize, batches: usize) -> Result<SendCost> {
    let bytes = bytes.clamp(1, 65_535);
    let listener = TcpListener::bind("127.0.0.1:0").map_err(Error::io("bind"))?;
    let addr = listener.local_addr().map_err(Error::io("bind"))?;
    let out = TcpStream::connect(addr).map_err(Error::io("connect"))?;
    let (mut back, _) = listener.accept().map_err(Error::io("accept"))?;
    out.set_nodelay(true).map_err(Error::io("TCP_NODELAY"))?;
    let frame = vec![b'x'; bytes];
    let mut sink = vec![0; bytes * BATCH];
    let mut costs: Vec<Nanos> = Vec::with_capacity(batches);
    for _ in 0..batches.clamp(1, 100_000) {
        let began = clock::thread_cpu();
        let mut sent = 0;
        for _ in 0..BATCH {
            let n = send(&out, &frame, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).unwrap_or(0);
            sent += n;
            if n < frame.len() {
                break;
            }
        }
        costs.push((clock::thread_cpu() - began) / BATCH as u64);
        back.read_exact(&mut sink[..sent]).map_err(Error::io("read"))?;
        if sent < bytes * BATCH {
            return Err(Error::Usage(format!(
                "{BATCH} sends of {bytes} bytes do not fit a socket"
            )));
        }
    }
    costs.sort_unstable();
    let us = |n: Nanos| n as f64 / clock::MICRO as f64;
    Ok(SendCost {
        bytes,
        sends: costs.len() * BATCH,
        median_us: us(costs[costs.len() / 2]),
        min_us: us(costs[0]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_measured() {
        let cost = send_cost(300, 10).unwrap();
        assert_eq!((cost.bytes, cost.sends), (300, 640));
        assert!(cost.min_us <= cost.median_us);
    }
}
