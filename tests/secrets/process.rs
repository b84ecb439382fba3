//! The real program as a process of its own, with everything it prints.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use crate::common::PATIENCE;

/// A running gateway.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) operator: SocketAddr,
    printed: Vec<JoinHandle<Vec<u8>>>,
}

impl Process {
    /// Starts the program on ports of the system's choosing, logging everything there is to log.
    pub(crate) fn start(config: &Path) -> Self {
        Self::start_as(program(config))
    }

    /// Starts the program with other settings of the test's own.
    pub(crate) fn start_as(mut program: Command) -> Self {
        let mut child = program
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (told, listening) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut lines = BufReader::new(stdout);
            loop {
                let before = all.len();
                if lines.read_until(b'\n', &mut all).unwrap() == 0 {
                    return all;
                }
                let line = String::from_utf8_lossy(&all[before..]);
                for name in ["listening on http://", "operator on http://"] {
                    if let Some(address) = line.strip_prefix(name) {
                        let _ = told.send(address.trim().parse().unwrap());
                    }
                }
            }
        });
        let logged = std::thread::spawn(move || {
            let mut all = Vec::new();
            stderr.read_to_end(&mut all).unwrap();
            all
        });
        let next = || {
            listening
                .recv_timeout(PATIENCE)
                .expect("it says where it listens")
        };
        let (addr, operator) = (next(), next());
        Self {
            child,
            addr,
            operator,
            printed: vec![said, logged],
        }
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits until it has ended; answers how, and all it printed.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let printed = std::mem::take(&mut self.printed);
        let bytes: Vec<u8> = printed
            .into_iter()
            .flat_map(|part| part.join().unwrap())
            .collect();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A test that fails leaves no process behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the operator of these processes shows.
pub(crate) const OPERATOR_KEY: &str = "the-operators-own-Kq72hTz9";

/// The program with its arguments, and nothing of this test's environment but what it needs.
pub(crate) fn program(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .args([
            "--listen",
            "127.0.0.1:0",
            "--operator-listen",
            "127.0.0.1:0",
            "--config",
        ])
        .arg(config)
        .env_clear()
        .env("COUNTERSIGN_LOG", "trace")
        .env("COUNTERSIGN_LOG_FORMAT", "pretty")
        .env("COUNTERSIGN_OPERATOR_KEY", OPERATOR_KEY)
        .env("RUST_BACKTRACE", "full")
        .stdin(Stdio::null());
    command
}
