//! The floor as a process of its own, so that its processor time can be told from the tester's.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::error::{Error, Result};
use crate::floor::FloorOptions;

/// First words of the line the floor prints when it listens.
pub const LISTENING: &str = "floor listening on";

/// A running floor process. It ends with this value, and by itself when we die.
pub struct FloorChild {
    child: Child,
    /// `host:port`.
    pub authority: String,
}

impl FloorChild {
    /// Starts `program floor …` and waits until it listens.
    pub fn start(program: &Path, options: FloorOptions, deadline_seconds: f64) -> Result<FloorChild> {
        let mut command = Command::new(program);
        command
            .args(["floor", "--listen", "127.0.0.1:0", "--until-stdin-closes"])
            .args(["--frame-bytes", &options.frame_bytes.to_string()])
            .args(["--deadline", &deadline_seconds.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if options.coalesce {
            command.arg("--coalesce");
        }
        let mut child = command.spawn().map_err(Error::io("starting the floor"))?;
        let mut line = String::new();
        let read = match child.stdout.take() {
            Some(out) => BufReader::new(out).read_line(&mut line),
            None => Ok(0),
        };
        let authority = line
            .strip_prefix(LISTENING)
            .and_then(|rest| rest.split_whitespace().next())
            .map(str::to_owned);
        let mut started = FloorChild {
            child,
            authority: String::new(),
        };
        match (read, authority) {
            (Ok(_), Some(authority)) => started.authority = authority,
            _ => return Err(Error::Process("the floor did not start".to_owned())),
        }
        Ok(started)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for FloorChild {
    fn drop(&mut self) {
        // It is ours and holds nothing: no need to ask politely.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
