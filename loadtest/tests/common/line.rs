//! A line in which frames wait before they are written: a delay that is known, and keeps the order.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use countersign_loadtest::clock::{self, Nanos};

/// The line to one member; its thread ends with it.
pub(crate) struct Line(Sender<(Nanos, Vec<u8>)>);

impl Line {
    pub(crate) fn to(mut stream: TcpStream) -> Line {
        let (line, waiting) = channel::<(Nanos, Vec<u8>)>();
        std::thread::spawn(move || {
            for (due, frames) in waiting {
                std::thread::sleep(Duration::from_nanos(due.saturating_sub(clock::now())));
                // Frames are far smaller than the buffer of the socket: one is never written in parts, between
                // which a reply of another thread could come.
                if stream.write_all(&frames).is_err() {
                    return;
                }
            }
        });
        Line(line)
    }

    /// Writes `frames` not before so much later, and after all that waits.
    pub(crate) fn write(&self, frames: &[u8], later: Nanos) {
        // A member that left is no concern.
        let _ = self.0.send((clock::now() + later, frames.to_vec()));
    }
}
