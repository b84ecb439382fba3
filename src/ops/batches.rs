//! Lines of the log leave together. A wake of the log's thread and a write for every line cost a fifth of a QR
//! login, which logs four to five: while this pauses after a batch, the next one gathers and wakes nobody.

use std::io::{self, Write};
use std::time::Duration;

/// Pause after a batch: a line is written at most this much later than it was logged.
pub const PAUSE: Duration = Duration::from_millis(10);
/// A batch that is this large leaves before it is complete.
pub const BATCH_BYTES: usize = 64 * 1024;

/// A writer for a thread of its own: [`Write::flush`] writes what gathered, and then waits for [`PAUSE`].
pub struct Batches<W> {
    to: W,
    gathered: Vec<u8>,
}

impl<W: Write> Batches<W> {
    /// Batches on their way to `to`.
    pub fn new(to: W) -> Self {
        Self {
            to,
            gathered: Vec::new(),
        }
    }

    /// A batch that cannot be written is lost, as a line that cannot be written is. An error would have the log's thread
    /// forget that it was asked to end, and there is nobody to tell.
    fn write_out(&mut self) {
        let _ = self.to.write_all(&self.gathered);
        self.gathered.clear();
    }
}

impl<W: Write> Write for Batches<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= BATCH_BYTES {
            self.write_out();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out();
        let _ = self.to.flush();
        std::thread::sleep(PAUSE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Writes(Vec<Vec<u8>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.push(bytes.to_vec());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_gathered_is_one_write() {
        let mut batches = Batches::new(Writes::default());
        for line in ["one\n", "two\n"] {
            batches.write_all(line.as_bytes()).unwrap();
        }
        assert!(batches.to.0.is_empty());
        batches.flush().unwrap();
        assert_eq!(batches.to.0, [b"one\ntwo\n"]);
    }

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn nobody_to_read_it_is_no_error_and_nothing_piles_up() {
        let mut batches = Batches::new(Gone);
        batches.write_all(b"a line\n").unwrap();
        batches.flush().unwrap();
        assert!(batches.gathered.is_empty());
    }

    #[test]
    fn a_batch_is_bounded() {
        let mut batches = Batches::new(Writes::default());
        let line = [b'x'; 1_000];
        for _ in 0..100 {
            batches.write_all(&line).unwrap();
        }
        assert_eq!(batches.to.0.len(), 1);
        assert!(batches.gathered.capacity() < 2 * BATCH_BYTES + line.len());
    }
}
