//! The real program as a process of its own, with everything it prints.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use crate::common::{PATIENCE, within};

/// A running gateway.
pub(crate) struct Process {
    child: Child,
    pub(crate) addr: SocketAddr,
    pub(crate) operator: SocketAddr,
    said: Option<JoinHandle<Vec<u8>>>,
    logging: Option<JoinHandle<()>>,
    log: Log,
}

/// What a gateway has logged so far.
#[derive(Clone)]
pub(crate) struct Log(watch::Receiver<String>);

impl Log {
    /// Waits until it has this in it.
    pub(crate) async fn has(&mut self, text: &str) {
        let waited = self.0.wait_for(|all| all.contains(text));
        within("a line of the log", waited).await.unwrap();
    }
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
        let stderr = child.stderr.take().unwrap();
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
        let (grow, log) = watch::channel(String::new());
        let logging = std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).unwrap() > 0 {
                grow.send_modify(|all| all.push_str(&String::from_utf8_lossy(&line)));
                line.clear();
            }
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
            said: Some(said),
            logging: Some(logging),
            log: Log(log),
        }
    }

    /// What it logs, also after it has ended.
    pub(crate) fn log(&self) -> Log {
        self.log.clone()
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
        let said = self.said.take().unwrap().join().unwrap();
        self.logging.take().unwrap().join().unwrap();
        let logged = self.log.0.borrow();
        (status, format!("{}{}", String::from_utf8_lossy(&said), *logged))
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
