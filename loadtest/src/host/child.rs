//! Servers started as child processes, so that their processor time can be told from the tester's. Ready is
//! who said on which address it listens; stopped is by the handle.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use super::pin;
use crate::error::{Error, Result};

/// Longest wait for a server to say that it listens.
const START_MAX: Duration = Duration::from_secs(60);
/// Longest line of a server that is looked at, bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024;

/// Where a server says that it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    Stdout,
    Stderr,
}

/// What a server gets on stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin<'a> {
    /// Nothing, and no end: the server ends when it is closed, which it is when we die.
    Open,
    /// This text, its configuration.
    Text(&'a str),
}

/// How a server is started and told to be ready.
#[derive(Debug, Clone, Copy)]
pub struct Launch<'a> {
    /// As errors call it.
    pub name: &'static str,
    pub says: Says,
    /// What stands in front of `host:port` in the line it says.
    pub listening: &'static str,
    pub stdin: Stdin<'a>,
    /// Processor it is started on; none: all there are.
    pub pin: Option<usize>,
}

/// A running server. It ends with this value.
#[derive(Debug)]
pub struct ServerChild {
    child: Child,
    /// `host:port`.
    pub authority: String,
}

impl ServerChild {
    /// Starts `command` and waits until it listens.
    pub fn start(command: &mut Command, launch: &Launch<'_>) -> Result<ServerChild> {
        let name = launch.name;
        command.stdin(Stdio::piped());
        match launch.says {
            Says::Stdout => command.stdout(Stdio::piped()),
            Says::Stderr => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let child = pin::starting(launch.pin, || command.spawn())?
            .map_err(|e| Error::Process(format!("{name} could not be started: {e}")))?;
        let mut started = ServerChild {
            child,
            authority: String::new(),
        };
        if let Stdin::Text(text) = launch.stdin
            && let Some(mut stdin) = started.child.stdin.take()
        {
            stdin
                .write_all(text.as_bytes())
                .map_err(Error::io("configuring a server"))?;
        }
        let out: Option<Box<dyn Read + Send>> = match launch.says {
            Says::Stdout => started.child.stdout.take().map(|out| Box::new(out) as _),
            Says::Stderr => started.child.stderr.take().map(|out| Box::new(out) as _),
        };
        let (tell, told) = sync_channel(1);
        let listening = launch.listening;
        // It ends with the server, whose output it reads: a full pipe would stop the server.
        std::thread::spawn(move || out.map(|out| listen(out, listening, &tell)));
        started.authority = match told.recv_timeout(START_MAX) {
            Ok(Ok(authority)) => authority,
            Ok(Err(last)) => return Err(Error::Process(format!("{name} did not start. {last}"))),
            Err(_) => return Err(Error::Process(format!("{name} does not say where it listens"))),
        };
        Ok(started)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for ServerChild {
    fn drop(&mut self) {
        // It is ours and holds nothing: no need to ask politely.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a server's output to its end; tells the address once, or the last line when there was none.
fn listen(out: impl Read, listening: &str, tell: &SyncSender<Result<String, String>>) {
    let mut reader = BufReader::new(out);
    let mut told = false;
    let mut last = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        if !told && let Some(authority) = authority(&text, listening) {
            told = true;
            let _ = tell.send(Ok(authority));
        }
        if !text.trim().is_empty() {
            last = text.trim().to_owned();
        }
    }
    if !told {
        let _ = tell.send(Err(last));
    }
}

/// `host:port` behind `listening` in a line.
fn authority(line: &str, listening: &str) -> Option<String> {
    let word = line.split_once(listening)?.1.split_whitespace().next()?;
    Some(word.strip_prefix("ws://").unwrap_or(word).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAUNCH: Launch<'static> = Launch {
        name: "a server",
        says: Says::Stdout,
        listening: "listening on",
        stdin: Stdin::Open,
        pin: None,
    };

    #[test]
    fn the_address_is_found_in_what_servers_say() {
        for (line, listening, want) in [
            (
                "floor listening on 127.0.0.1:5 pid 7\n",
                "listening on",
                Some("127.0.0.1:5"),
            ),
            (
                "[7] 2026/01/01 00:00:00.1 [INF] Listening for websocket clients on ws://127.0.0.1:45147\n",
                "websocket clients on",
                Some("127.0.0.1:45147"),
            ),
            ("listening", "listening on", None),
            ("listening on", "listening on", None),
        ] {
            assert_eq!(authority(line, listening).as_deref(), want, "{line}");
        }
    }

    #[test]
    fn a_server_that_ends_or_is_not_there_is_told() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such port"]);
        let error = ServerChild::start(&mut command, &LAUNCH).unwrap_err().to_string();
        assert!(error.contains("did not start. no such port"), "{error}");
        let error = ServerChild::start(&mut Command::new("no-such-program-here"), &LAUNCH).unwrap_err();
        assert!(error.to_string().contains("could not be started"), "{error}");
    }

    #[test]
    fn text_is_given_and_the_process_ends_with_its_value() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "read port; echo chatter >&2; echo listening on h:$port >&2; exec sleep 600",
        ]);
        let launch = Launch {
            says: Says::Stderr,
            stdin: Stdin::Text("81\n"),
            ..LAUNCH
        };
        let server = ServerChild::start(&mut command, &launch).unwrap();
        assert_eq!(server.authority, "h:81");
        let process = format!("/proc/{}", server.pid());
        assert!(std::path::Path::new(&process).exists());
        drop(server);
        assert!(!std::path::Path::new(&process).exists());
    }
}
