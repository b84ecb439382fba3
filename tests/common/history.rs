//! Records what test clients do and are told, and has the load tester's checker decide.

use std::sync::{Arc, Mutex};

use countersign_loadtest::clock;
use countersign_loadtest::history::check::{Options, Verdict};
use countersign_loadtest::history::read;
use countersign_loadtest::history::record::Recorder;

/// A history in memory, shared by the clients of one test. With `COUNTERSIGN_TEST_HISTORY` naming a folder, it is
/// also written there for `countersign-loadtest check`.
#[derive(Clone)]
pub struct History(Arc<Mutex<Recorder<Vec<u8>>>>);

impl History {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Recorder::new(Vec::new()))))
    }

    /// The record of a connection that was signed in by its upgrade as `user`, or not at all.
    pub fn connection(&self, user: Option<&str>) -> Tap {
        let conn = self.0.lock().unwrap().connect(clock::now(), user);
        Tap {
            history: self.clone(),
            conn,
            closed: false,
        }
    }

    /// Everything that was acknowledged has arrived everywhere; counts too, if so.
    pub fn quiet(&self, counts: bool) {
        let now = clock::now();
        self.0.lock().unwrap().quiet(now, now, counts);
    }

    /// Ends the record and decides; nobody records any more.
    pub fn decide(self, test: &str) -> Verdict {
        let mut recorder = self.0.lock().unwrap();
        let recorder = std::mem::replace(&mut *recorder, Recorder::new(Vec::new()));
        let bytes = recorder.finish().unwrap();
        if let Some(folder) = std::env::var_os("COUNTERSIGN_TEST_HISTORY").filter(|f| !f.is_empty()) {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(
                std::path::Path::new(&folder).join(format!("{test}.jsonl")),
                &bytes,
            )
            .unwrap();
        }
        read::bytes(&bytes, Options::default()).unwrap()
    }

    /// [`History::decide`], and nothing was violated or left undecided.
    pub fn holds(self, test: &str) -> Verdict {
        let verdict = self.decide(test);
        assert!(
            verdict.passed && verdict.notes.is_empty(),
            "{}",
            verdict.text().join("\n")
        );
        verdict
    }
}

/// One connection's part of a history.
pub struct Tap {
    history: History,
    conn: u64,
    closed: bool,
}

impl Tap {
    /// A frame is about to be sent.
    pub fn sent(&self, text: &str) {
        let mut recorder = self.history.0.lock().unwrap();
        recorder.sent(self.conn, clock::now(), text.as_bytes());
    }

    /// A frame was received.
    pub fn received(&self, text: &str) {
        let mut recorder = self.history.0.lock().unwrap();
        recorder.received(self.conn, clock::now(), text.as_bytes());
    }

    /// The connection has ended.
    pub fn closed(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.closed, true) {
            let mut recorder = self.history.0.lock().unwrap();
            recorder.closed(self.conn, clock::now(), code);
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.closed(None);
    }
}
