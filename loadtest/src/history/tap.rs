//! Records what passes through the engine. A scenario sets [`Io::tap`](crate::engine::Io) before it connects,
//! names the users of its connections, and takes the tap out again before it closes them.

use std::path::Path;

use super::calls::Call;
use super::record::{FileRecorder, Recorder};
use crate::clock;
use crate::clock::Nanos;
use crate::engine::Ended;
use crate::error::Result;

/// A recorder for the connections of one engine.
#[derive(Debug)]
pub struct Tap {
    recorder: FileRecorder,
    /// The user each connection signs in as at its upgrade, by member; nobody when it is not there.
    pub users: Vec<Option<String>>,
    conns: Vec<Option<u64>>,
}

impl Tap {
    /// A tap into a new file.
    pub fn create(path: &Path) -> Result<Tap> {
        Ok(Tap {
            recorder: Recorder::create(path)?,
            users: Vec::new(),
            conns: Vec::new(),
        })
    }

    pub(crate) fn opened(&mut self, member: usize) {
        if self.conns.len() <= member {
            self.conns.resize(member + 1, None);
        }
        let user = self.users.get(member).and_then(|user| user.as_deref());
        self.conns[member] = Some(self.recorder.connect(clock::now(), user));
    }

    /// A frame is about to be queued.
    pub(crate) fn sent(&mut self, member: usize, text: &[u8]) {
        if let Some(conn) = self.conn(member) {
            self.recorder.sent(conn, clock::now(), text);
        }
    }

    pub(crate) fn received(&mut self, member: usize, text: &[u8], at: Nanos) {
        if let Some(conn) = self.conn(member) {
            self.recorder.received(conn, at, text);
        }
    }

    /// A request about a QR login is about to be handed to its connection.
    pub(crate) fn called(&mut self, member: usize, call: &Call<'_>) {
        if let Some(conn) = self.conn(member) {
            self.recorder.called(conn, clock::now(), call);
        }
    }

    /// Its answer was read at `at`.
    pub(crate) fn answered(&mut self, member: usize, id: u64, answer: (u16, &[u8]), at: Nanos) {
        if let Some(conn) = self.conn(member) {
            self.recorder.answered(conn, at, id, answer);
        }
    }

    pub(crate) fn ended(&mut self, member: usize, how: &Ended) {
        if let Some(conn) = self.conns.get_mut(member).and_then(Option::take) {
            let code = match how {
                Ended::Closed { code } => Some(*code),
                _ => None,
            };
            self.recorder.closed(conn, clock::now(), code);
        }
    }

    /// What was acknowledged before `since` has been waited for on every connection.
    pub fn quiet(&mut self, since: Nanos) {
        self.recorder.quiet(clock::now(), since, false);
    }

    /// Writes what is buffered; an error when the history is not whole.
    pub fn finish(self) -> Result<()> {
        self.recorder.finish().map(drop)
    }

    fn conn(&self, member: usize) -> Option<u64> {
        self.conns.get(member).copied().flatten()
    }
}
