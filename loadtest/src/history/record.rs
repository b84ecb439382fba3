//! The recorder: appends lines as things happen. Any scenario or test can use it: it takes the frames
//! themselves and understands them.

use std::io::Write;
use std::path::Path;

use super::calls::{self, Call};
use super::line::Line;
use super::{DIGEST, LINE_BYTES_MAX, VERSION, wire};
use crate::clock::Nanos;
use crate::error::{Error, Result};

/// What waits in memory to be written to a file, bytes.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// A recorder of a file.
pub type FileRecorder = Recorder<std::io::BufWriter<std::fs::File>>;

/// Appends a history to `out`. Times are the caller's: of an invocation before its frame is handed over, of
/// anything received after it was read. Then no rule can accuse the server of the recorder's own lateness.
///
/// What cannot be written is counted and told by [`Recorder::finish`] and, where that is still possible, by
/// a line: such a history decides nothing.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    out: W,
    line: Vec<u8>,
    conns: u64,
    /// A QR login was recorded: from then on secrets are looked for in all that is received.
    logins: bool,
    lost: u64,
    failed: Option<std::io::Error>,
}

impl FileRecorder {
    /// A recorder that makes the file anew.
    pub fn create(path: &Path) -> Result<FileRecorder> {
        let file = std::fs::File::create(path).map_err(Error::io("creating the history"))?;
        Ok(Recorder::new(std::io::BufWriter::with_capacity(
            BUFFER_BYTES,
            file,
        )))
    }
}

impl<W: Write> Recorder<W> {
    /// A recorder whose first line is the head of a history.
    pub fn new(out: W) -> Recorder<W> {
        let mut recorder = Recorder {
            out,
            line: Vec::new(),
            conns: 0,
            logins: false,
            lost: 0,
            failed: None,
        };
        recorder.write(&Line {
            version: Some(VERSION),
            clock: Some(clock_name().into()),
            digest: Some(DIGEST.into()),
            ..Line::new("history", crate::clock::now())
        });
        recorder
    }

    /// A connection was opened, signed in as `user` by its upgrade or not at all. The answer is its number.
    pub fn connect(&mut self, at: Nanos, user: Option<&str>) -> u64 {
        self.conns += 1;
        let conn = self.conns;
        self.write(&Line {
            user: user.map(Into::into),
            ..Line::on("connect", at, conn)
        });
        conn
    }

    /// A text frame is about to be sent.
    pub fn sent(&mut self, conn: u64, at: Nanos, text: &[u8]) {
        let line = wire::invocation(conn, at, text);
        self.logins |= line.op.as_deref().is_some_and(|op| op.starts_with("qr."));
        self.write(&line);
    }

    /// A request about a QR login is about to be sent.
    pub fn called(&mut self, conn: u64, at: Nanos, call: &Call<'_>) {
        self.logins = true;
        self.write(&calls::invocation(conn, at, call));
    }

    /// The answer to the call with this id was received: status and body.
    pub fn answered(&mut self, conn: u64, at: Nanos, id: u64, answer: (u16, &[u8])) {
        self.write(&calls::answer(conn, at, id, answer));
    }

    /// A text frame was received.
    pub fn received(&mut self, conn: u64, at: Nanos, text: &[u8]) {
        let mut line = wire::outcome(conn, at, text);
        if self.logins {
            line.secrets = calls::secrets(text);
        }
        self.write(&line);
    }

    /// A connection is no more; with the code of the close frame when there was one.
    pub fn closed(&mut self, conn: u64, at: Nanos, code: Option<u16>) {
        self.write(&Line {
            code: code.map(|code| code.to_string().into()),
            ..Line::on("close", at, conn)
        });
    }

    /// What was acknowledged before `since` has had its time to arrive on all connections of this file; with
    /// `counts`, counts have too.
    pub fn quiet(&mut self, at: Nanos, since: Nanos, counts: bool) {
        self.write(&Line {
            since: Some(since),
            what: counts.then(|| "counts".into()),
            ..Line::new("quiet", at)
        });
    }

    /// A fault was injected.
    pub fn fault(&mut self, at: Nanos, what: &str) {
        self.write(&Line {
            what: Some(what.into()),
            ..Line::new("fault", at)
        });
    }

    /// Writes what is buffered. An error when anything could not be written.
    pub fn finish(mut self) -> Result<W> {
        if self.lost > 0 {
            let lines = self.lost;
            self.write(&Line {
                lines: Some(lines),
                ..Line::new("lost", crate::clock::now())
            });
        }
        if let Err(error) = self.out.flush() {
            self.failed.get_or_insert(error);
        }
        match self.failed {
            Some(source) => Err(Error::Io {
                what: "writing the history (it is not whole and decides nothing)",
                source,
            }),
            None if self.lost > 0 => Err(Error::Usage(format!(
                "{} lines of the history were longer than {LINE_BYTES_MAX} bytes; it is not whole and \
                 decides nothing",
                self.lost
            ))),
            None => Ok(self.out),
        }
    }

    fn write(&mut self, line: &Line<'_>) {
        self.line.clear();
        let whole = serde_json::to_writer(&mut self.line, line).is_ok();
        self.line.push(b'\n');
        if self.failed.is_some() || !whole || self.line.len() > LINE_BYTES_MAX {
            self.lost += 1;
            return;
        }
        if let Err(error) = self.out.write_all(&self.line) {
            self.failed = Some(error);
            self.lost += 1;
        }
    }
}

/// The monotonic clock of this boot of this machine: what other processes here share and no other machine.
fn clock_name() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    format!("monotonic {}", boot.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and then no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            if bytes.len() > self.0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.0 -= bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_written_is_told() {
        let mut recorder = Recorder::new(Full(400));
        for _ in 0..10 {
            recorder.fault(1, "x");
        }
        assert!(recorder.finish().is_err());

        let mut recorder = Recorder::new(Vec::new());
        recorder.fault(1, &"x".repeat(LINE_BYTES_MAX));
        assert!(recorder.finish().is_err());

        let mut recorder = Recorder::new(Vec::new());
        let conn = recorder.connect(1, Some("ann"));
        recorder.sent(
            conn,
            2,
            br#"{"id":1,"type":"like","room":"a:b","n":3,"counter":"likes"}"#,
        );
        recorder.closed(conn, 3, Some(4008));
        recorder.quiet(4, 2, true);
        let text = String::from_utf8(recorder.finish().unwrap()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(r#"{"e":"history","at":"#), "{text}");
        assert_eq!(lines[1], r#"{"e":"connect","at":1,"conn":1,"user":"ann"}"#);
        assert_eq!(
            lines[2],
            r#"{"e":"invoke","at":2,"conn":1,"id":1,"op":"like","room":"a:b","counter":"likes","n":3}"#
        );
        assert_eq!(lines[3], r#"{"e":"close","at":3,"conn":1,"code":"4008"}"#);
        assert_eq!(lines[4], r#"{"e":"quiet","at":4,"what":"counts","since":2}"#);
    }
}
