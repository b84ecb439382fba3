//! Servers that `versus` starts by itself.

use std::path::Path;
use std::process::Command;

use crate::error::{Error, Result};
use crate::host::child::{Launch, Says, ServerChild, Stdin};

/// Listening on ports picked by the system; everything else as nats-server has it by default.
const NATS_CONFIG: &str =
    "host: \"127.0.0.1\"\nport: -1\nwebsocket { host: \"127.0.0.1\", port: -1, no_tls: true }\n";

/// How the broadcast server on `ws` sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WsIdiom {
    /// `socket.send` to each member.
    Plain,
    /// A frame built once, and what one read brought in one write per member.
    Prepared,
}

/// Starts the broadcast server `script` on Node.js.
pub fn ws(script: &Path, idiom: WsIdiom, pin: Option<usize>) -> Result<ServerChild> {
    if !script.is_file() {
        return Err(Error::Usage(format!(
            "{} is not there: run from the root of the repository, or say --ws-server",
            script.display()
        )));
    }
    let mut command = Command::new("node");
    command.arg(script).arg("--until-stdin-closes");
    if idiom == WsIdiom::Prepared {
        command.arg("--prepared");
    }
    let launch = Launch {
        name: "the ws server (scripts/deps-perf installs what it needs)",
        says: Says::Stdout,
        listening: "ws listening on",
        stdin: Stdin::Open,
        pin,
    };
    ServerChild::start(&mut command, &launch)
}

/// Starts nats-server with a WebSocket listener.
pub fn nats(pin: Option<usize>) -> Result<ServerChild> {
    // It does not look at its stdin; setpriv has it end when we die.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "nats-server", "-c", "/dev/stdin"]);
    // Debian has it where not everybody's path leads.
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin"));
    let launch = Launch {
        name: "nats-server (scripts/deps-perf installs it)",
        says: Says::Stderr,
        listening: "Listening for websocket clients on",
        stdin: Stdin::Text(NATS_CONFIG),
        pin,
    };
    ServerChild::start(&mut command, &launch)
}
