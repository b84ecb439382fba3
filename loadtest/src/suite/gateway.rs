//! A gateway of our own: started for one measurement, on ports the system picks, and ended with it.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{ChildStdout, Stdio};

use rustix::event::{PollFd, PollFlags};

use super::supervised::{Start, Supervised, ready};
use crate::clock::{self, Nanos, SECOND};
use crate::error::{Error, Result};

/// Longest wait for a gateway to say where it listens.
const START_MAX: Nanos = 20 * SECOND;
/// Most of its first words that are read, bytes.
const GREETING_BYTES_MAX: usize = 16 * 1024;
/// Ports that the system picks.
const ANY_PORT: &str = "127.0.0.1:0";

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    child: Supervised,
    /// `host:port` of its public port.
    pub authority: String,
    /// As it names itself: `countersign 0.1.0`.
    pub version: String,
    /// Kept open: a gateway that prints to nobody would fail.
    _stdout: ChildStdout,
}

/// What a gateway is started from.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// This program.
    pub tester: &'a Path,
    /// The gateway.
    pub gateway: &'a Path,
    /// Its configuration file.
    pub config: &'a Path,
    /// Where its log goes.
    pub log: &'a Path,
}

impl Gateway {
    /// Starts a gateway with limits profile `bench`, on `cpu` alone if one is named, and waits until it listens.
    ///
    /// # Errors
    /// It ended, or did not say where it listens within 20 s; its log is at `program.log`.
    pub fn start(program: Program<'_>, cpu: Option<usize>) -> Result<Gateway> {
        let log = File::create(program.log).map_err(Error::io("making the gateway's log"))?;
        let mut child = Supervised::start(Start {
            tester: program.tester,
            cpu,
            command: vec![
                program.gateway.into(),
                "--limits-profile".into(),
                "bench".into(),
                "--config".into(),
                program.config.into(),
            ],
            env: &[
                ("COUNTERSIGN_LISTEN", ANY_PORT),
                ("COUNTERSIGN_OPERATOR_LISTEN", ANY_PORT),
            ],
            stdout: Stdio::piped(),
            stderr: Stdio::from(log),
        })?;
        let mut stdout = child
            .stdout()
            .ok_or_else(|| Error::Process("the gateway has no standard output".to_owned()))?;
        let until = clock::now() + START_MAX;
        let mut text = Vec::new();
        loop {
            if let Some((version, authority)) = greeting(&String::from_utf8_lossy(&text)) {
                return Ok(Gateway {
                    child,
                    authority,
                    version,
                    _stdout: stdout,
                });
            }
            let left = until.saturating_sub(clock::now());
            let said = left > 0 && ready(&mut [PollFd::new(&stdout, PollFlags::IN)], left)?;
            let mut chunk = [0; 1024];
            let n = if said {
                stdout
                    .read(&mut chunk)
                    .map_err(Error::io("reading the gateway's first words"))?
            } else {
                0
            };
            if n == 0 || text.len() > GREETING_BYTES_MAX {
                return Err(Error::Process(format!(
                    "the gateway did not say where it listens{}",
                    last_line(program.log).map_or(String::new(), |why| format!(": {why}"))
                )));
            }
            text.extend_from_slice(chunk.get(..n).unwrap_or_default());
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its public port as a target.
    pub fn url(&self) -> String {
        format!("ws://{}", self.authority)
    }
}

/// Version and public address, once both lines are whole.
fn greeting(text: &str) -> Option<(String, String)> {
    let mut lines = text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n'));
    let version = lines.clone().next()?;
    let authority = lines.find_map(|l| l.strip_prefix("listening on http://"))?;
    Some((version.trim().to_owned(), authority.trim().to_owned()))
}

/// The last thing a log says.
pub(super) fn last_line(log: &Path) -> Option<String> {
    let text = std::fs::read_to_string(log).ok()?;
    let line = text.lines().rev().find(|l| !l.trim().is_empty())?;
    Some(line.trim().chars().take(300).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greeting_is_read_once_it_is_whole() {
        let text =
            "countersign 0.1.0\nlistening on http://127.0.0.1:4711\noperator on http://127.0.0.1:4712\n";
        let found = greeting(text).unwrap();
        assert_eq!(
            found,
            ("countersign 0.1.0".to_owned(), "127.0.0.1:4711".to_owned())
        );
        for cut in [0, 10, 30, 51] {
            assert_eq!(greeting(&text[..cut]), None, "{cut}");
        }
    }
}
