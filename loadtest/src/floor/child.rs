//! The floor as a process of its own, so that its processor time can be told from the tester's.

use std::path::Path;
use std::process::Command;

use crate::error::Result;
use crate::floor::FloorOptions;
use crate::host::child::{Launch, Says, ServerChild, Stdin};

/// First words of the line the floor prints when it listens.
pub const LISTENING: &str = "floor listening on";

/// A running floor process. It ends with this value, and by itself when we die.
pub struct FloorChild {
    /// `host:port`.
    pub authority: String,
    server: ServerChild,
}

impl FloorChild {
    /// Starts `program floor …` on any processor and waits until it listens.
    pub fn start(program: &Path, options: FloorOptions, deadline_seconds: f64) -> Result<FloorChild> {
        let server = start(program, options, deadline_seconds, None)?;
        Ok(FloorChild {
            authority: server.authority.clone(),
            server,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }
}

/// Starts `program floor …` on processor `pin`, or on any, and waits until it listens.
pub fn start(
    program: &Path,
    options: FloorOptions,
    deadline_seconds: f64,
    pin: Option<usize>,
) -> Result<ServerChild> {
    let mut command = Command::new(program);
    command
        .args(["floor", "--listen", "127.0.0.1:0", "--until-stdin-closes"])
        .args(["--frame-bytes", &options.frame_bytes.to_string()])
        .args(["--deadline", &deadline_seconds.to_string()]);
    if options.coalesce {
        command.arg("--coalesce");
    }
    let launch = Launch {
        name: "the floor",
        says: Says::Stdout,
        listening: LISTENING,
        stdin: Stdin::Open,
        pin,
    };
    ServerChild::start(&mut command, &launch)
}
