//! The real program as a process of its own, with what it says.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use super::PATIENCE;

/// A gateway that serves; ended with this value.
pub struct Program {
    child: Child,
    pub addr: SocketAddr,
    logged: Option<JoinHandle<String>>,
    said: Arc<Mutex<String>>,
    saying: Option<JoinHandle<()>>,
}

impl Program {
    /// Starts it with these arguments. `Err`: it ended before it listened, with what it wrote to standard error.
    pub fn start(arguments: &[&str]) -> Result<Self, String> {
        Self::of(program(arguments))
    }

    /// The same for a command that runs it and passes on what it says.
    pub fn of(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, told) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let all = Arc::clone(&said);
        let saying = std::thread::spawn(move || {
            // A terminal ends with an error when nobody is at it any more.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix("listening on http://") {
                    let _ = tell.send(address.trim().parse().unwrap());
                }
                all.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let logged = std::thread::spawn(move || {
            let mut all = String::new();
            stderr.read_to_string(&mut all).unwrap();
            all
        });
        // Ends also when it ends before.
        match told.recv_timeout(PATIENCE) {
            Ok(addr) => Ok(Self {
                child,
                addr,
                logged: Some(logged),
                said,
                saying: Some(saying),
            }),
            Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(logged.join().unwrap())
            }
        }
    }

    /// What it has written to standard output so far, in whole lines.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it ends by itself. Answers what it wrote to standard output and error, and its code.
    pub fn ended(mut self) -> (String, String, Option<i32>) {
        let code = self.child.wait().unwrap().code();
        self.saying.take().unwrap().join().unwrap();
        let logged = self.logged.take().unwrap().join().unwrap();
        (self.said(), logged, code)
    }

    /// Asks it to end as a service manager does, waits, and answers what it wrote to standard output and error.
    pub fn stop(mut self) -> (String, String) {
        let asked = Command::new("kill")
            .arg("-TERM")
            .arg(self.child.id().to_string())
            .status();
        assert!(asked.unwrap().success());
        self.child.wait().unwrap();
        self.saying.take().unwrap().join().unwrap();
        let logged = self.logged.take().unwrap().join().unwrap();
        (self.said(), logged)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program with these arguments, an operator's port of the system's choosing, and nothing of our environment.
pub fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command
        .env_clear()
        .env("COUNTERSIGN_LOG_FORMAT", "pretty")
        .args(arguments)
        .args(["--operator-listen", "127.0.0.1:0"]);
    command
}

/// Runs it to its end, which it is expected to come to by itself.
pub fn run(arguments: &[&str]) -> Output {
    program(arguments).stdin(Stdio::null()).output().unwrap()
}
