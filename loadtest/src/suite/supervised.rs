//! Children that end with their parent, however it ends, and that may be kept on one processor from their
//! first instruction on.
//!
//! A program is not started as such but through this one, which asks the kernel for a signal at its parent's
//! death, pins itself, and then becomes the program. So a gateway that counts processors when it starts
//! counts one, and nothing is left running by a tester that was killed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, getppid, pidfd_open, set_parent_process_death_signal as signal_at_parents_death,
};

use crate::clock::{self, Nanos, SECOND};
use crate::error::{Error, Result};
use crate::host::pin;

/// Environment that would change what a gateway is measured with.
const NOT_INHERITED: [&str; 6] = [
    "COUNTERSIGN_LISTEN",
    "COUNTERSIGN_OPERATOR_LISTEN",
    "COUNTERSIGN_PUBLIC_ORIGIN",
    "COUNTERSIGN_CONFIG",
    "COUNTERSIGN_LIMITS_PROFILE",
    "RUST_LOG",
];

/// What becomes of this process.
#[derive(Debug, Clone, Args)]
pub struct SupervisedArgs {
    /// Process id of the parent; when it ends, the program is killed.
    #[arg(long)]
    pub parent: i32,
    /// Run on this processor only.
    #[arg(long)]
    pub cpu: Option<usize>,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<OsString>,
}

/// Becomes the program. Returns only when that failed.
pub fn run(args: &SupervisedArgs) -> Error {
    let Some((program, rest)) = args.command.split_first() else {
        return Error::Usage("no program to run".to_owned());
    };
    if let Err(e) = signal_at_parents_death(Some(Signal::KILL)) {
        return Error::os("asking for a signal at the parent's death")(e);
    }
    // It may have ended before we asked.
    if getppid().map(Pid::as_raw_nonzero).map(i32::from) != Some(args.parent) {
        return Error::Process("the parent has ended".to_owned());
    }
    if let Some(Err(e)) = args.cpu.map(pin::this_thread) {
        return e;
    }
    let source = Command::new(program).args(rest).exec();
    Error::Process(format!("{}: {source}", Path::new(program).display()))
}

/// A running child. It is killed with this value and with this process.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
}

/// What a child is started with.
#[derive(Debug)]
pub struct Start<'a> {
    /// This program, which becomes the child.
    pub tester: &'a Path,
    /// Processor it is kept on.
    pub cpu: Option<usize>,
    pub command: Vec<OsString>,
    pub env: &'a [(&'a str, &'a str)],
    pub stdout: Stdio,
    pub stderr: Stdio,
}

impl Supervised {
    /// Starts a child. What the operating system or the program has against it shows when it ends.
    pub fn start(how: Start<'_>) -> Result<Supervised> {
        let mut command = Command::new(how.tester);
        command
            .args(["supervised", "--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(how.stdout)
            .stderr(how.stderr);
        NOT_INHERITED.iter().for_each(|name| {
            command.env_remove(name);
        });
        command.envs(how.env.iter().copied());
        if let Some(cpu) = how.cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        let child = command
            .arg("--")
            .args(how.command)
            .spawn()
            .map_err(Error::io("starting a child"))?;
        Ok(Supervised { child })
    }

    /// Its process id; the program has the same.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its standard output, once, when it was asked for as a pipe.
    pub fn stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Waits for its end, calling `tick` about once a second; returns its exit code.
    ///
    /// # Errors
    /// It did not end before `until`, or was ended by a signal.
    pub fn wait(&mut self, until: Nanos, mut tick: impl FnMut()) -> Result<i32> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| Error::Process("a child without a process id".to_owned()))?;
        // The child is not reaped yet, so the number cannot have gone to another process.
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(Error::os("watching a child"))?;
        let began = clock::now();
        while !ready(&mut [PollFd::new(&handle, PollFlags::IN)], SECOND)? {
            tick();
            if clock::now() >= until {
                return Err(Error::Deadline {
                    phase: "a measurement",
                    limit: clock::now() - began,
                    state: "its process was ended".to_owned(),
                });
            }
        }
        let status = self.child.wait().map_err(Error::io("waiting for a child"))?;
        status
            .code()
            .ok_or_else(|| Error::Process(format!("a measurement was ended by a signal ({status})")))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        // It is ours and holds nothing that must be kept: no need to ask politely.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether something of `fds` is ready within `wait`.
pub(super) fn ready(fds: &mut [PollFd<'_>], wait: Nanos) -> Result<bool> {
    let timeout = Timespec {
        tv_sec: i64::try_from(wait / SECOND).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(wait % SECOND).unwrap_or(0),
    };
    match poll(fds, Some(&timeout)) {
        Ok(n) => Ok(n > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(e) => Err(Error::os("poll")(e)),
    }
}
