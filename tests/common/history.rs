//! Records what the connections to a gateway do and are told, and has the load tester's checker decide.
//!
//! Each [`TestServer`](super::TestServer) has a [`History`], and each [`Client`](super::Client) finds that of the gateway at
//! the other end of its socket: no test has to ask for it. When the gateway is stopped or dropped the record must hold.

use std::io::{ErrorKind, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_loadtest::clock;
use countersign_loadtest::history::check::{Options, Verdict};
use countersign_loadtest::history::read;
use countersign_loadtest::history::record::Recorder;
use serde_json::Value;

/// Most bytes of one record, which is in memory: half a million frames at the 105 bytes a line that the tests of rooms have. A test
/// with more says why it is not recorded.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// Histories by the addresses that clients connect to.
static OPEN: Mutex<Vec<(SocketAddr, History)>> = Mutex::new(Vec::new());

/// The record of one gateway's connections. With `COUNTERSIGN_TEST_HISTORY` naming a folder, it is also written there for
/// `countersign-loadtest check`.
#[derive(Clone)]
pub struct History(Arc<Inner>);

struct Inner {
    /// Which test, and which gateway of it.
    name: String,
    options: Options,
    /// None once it was decided, or was not to be made.
    recorder: Mutex<Option<Recorder<Bounded>>>,
}

impl History {
    /// A record of the connections to `addr`, where a `cid` counts once within `cid_ms`.
    pub fn open(addr: SocketAddr, cid_ms: u64) -> Self {
        let thread = std::thread::current();
        let history = Self(Arc::new(Inner {
            name: format!(
                "{}.{}",
                thread.name().unwrap_or("test").replace("::", "."),
                addr.port()
            ),
            options: Options {
                cid_window: cid_ms * 1_000_000,
                ..Options::default()
            },
            recorder: Mutex::new(Some(Recorder::new(Bounded(Vec::new())))),
        }));
        history.also_at(addr);
        history
    }

    /// Connections to `addr` reach the same gateway.
    pub fn also_at(&self, addr: SocketAddr) {
        let mut open = locked(&OPEN);
        // The system gives a port again that a gateway before had.
        open.retain(|(at, _)| *at != addr);
        open.push((addr, self.clone()));
    }

    /// The record of the gateway that a connection to `peer` reached.
    pub fn of(peer: SocketAddr) -> Option<Self> {
        let everywhere = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let is_at = |at: SocketAddr| at == peer || at.port() == peer.port() && everywhere.contains(&at.ip());
        let open = locked(&OPEN);
        open.iter().find(|(at, _)| is_at(*at)).map(|(_, h)| h.clone())
    }

    /// The record of a connection that was signed in by its upgrade as `user`, or not at all.
    pub fn connection(&self, user: Option<&str>) -> Tap {
        let mut conn = 0;
        self.write(|recorder| conn = recorder.connect(clock::now(), user));
        Tap {
            history: self.clone(),
            conn,
            closed: false,
        }
    }

    /// Everything that was acknowledged has arrived everywhere; counts too, if so.
    pub fn quiet(&self, counts: bool) {
        self.write(|recorder| {
            let now = clock::now();
            recorder.quiet(now, now, counts);
        });
    }

    /// There is to be no record. Nothing may have been recorded yet.
    pub fn forgo(&self, reason: &str) {
        assert!(!reason.is_empty(), "why is it not recorded?");
        let recorder = self.take().expect("a record, if it was not forgone before");
        let lines = recorder.finish().unwrap().0;
        assert_eq!(
            lines.iter().filter(|b| **b == b'\n').count(),
            1,
            "forgone before anybody connects"
        );
    }

    /// Ends the record and decides; nothing is recorded any more. None when that has been done, or there was to be none.
    pub fn decide(&self) -> Option<Verdict> {
        let name = &self.0.name;
        let bytes = match self.take()?.finish() {
            Ok(bytes) => bytes.0,
            Err(why) => panic!(
                "{name}: {why}: more than {RECORD_BYTES_MAX} bytes are not kept, see TestServer::unrecorded"
            ),
        };
        if let Some(folder) = std::env::var_os("COUNTERSIGN_TEST_HISTORY").filter(|f| !f.is_empty()) {
            let program = std::env::current_exe().unwrap();
            let program = program.file_stem().unwrap().to_string_lossy().into_owned();
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(Path::new(&folder).join(format!("{program}.{name}.jsonl")), &bytes).unwrap();
        }
        match read::bytes(&bytes, self.0.options) {
            Ok(verdict) => Some(verdict),
            Err(why) => panic!("{name}: no history: {why}"),
        }
    }

    /// [`History::decide`], and nothing was violated. What was not waited for is not decided.
    pub fn judge(&self) {
        if let Some(verdict) = self.decide() {
            assert!(
                verdict.passed,
                "{}: the record of its connections does not hold\n{}",
                self.0.name,
                verdict.text().join("\n")
            );
        }
    }

    /// [`History::decide`], and nothing was violated or left undecided.
    pub fn holds(&self) -> Verdict {
        let verdict = self.decide().expect("not decided before");
        assert!(
            verdict.passed && verdict.notes.is_empty(),
            "{}",
            verdict.text().join("\n")
        );
        verdict
    }

    fn take(&self) -> Option<Recorder<Bounded>> {
        locked(&OPEN).retain(|(_, history)| !Arc::ptr_eq(&history.0, &self.0));
        locked(&self.0.recorder).take()
    }

    fn write(&self, write: impl FnOnce(&mut Recorder<Bounded>)) {
        if let Some(recorder) = &mut *locked(&self.0.recorder) {
            write(recorder);
        }
    }
}

/// A lock that a test which failed may have been holding.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes so many bytes and no more.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > RECORD_BYTES_MAX {
            return Err(ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// One connection's part of a history.
pub struct Tap {
    history: History,
    conn: u64,
    closed: bool,
}

impl Tap {
    /// A frame is about to be sent; after the end of the connection nobody gets it.
    pub fn sent(&self, text: &str) {
        if !self.closed {
            self.history
                .write(|recorder| recorder.sent(self.conn, clock::now(), text.as_bytes()));
        }
    }

    /// A frame was received.
    pub fn received(&self, text: &str) {
        self.history
            .write(|recorder| recorder.received(self.conn, clock::now(), text.as_bytes()));
    }

    /// The connection has ended.
    pub fn closed(&mut self, code: Option<u16>) {
        if !std::mem::replace(&mut self.closed, true) {
            self.history
                .write(|recorder| recorder.closed(self.conn, clock::now(), code));
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.closed(None);
    }
}

/// Whom a token in the headers of an upgrade speaks for. The gateway has taken it, so it is not verified again.
pub fn user_of(headers: &[(&'static str, &str)]) -> Option<String> {
    let (_, value) = headers
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    let claims = value.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims["sub"].as_str().map(str::to_owned)
}
