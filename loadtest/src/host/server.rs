//! The server that is measured: where its processor time and its memory are read.

use super::metrics::{Pending, Reader, Sample};
use super::process::{self, CpuSample, CpuSpan};
use crate::error::Result;

/// Where the figures of the server are from.
#[derive(Debug, Clone, Copy)]
pub enum Server<'a> {
    /// A process of this machine, by its id: `/proc`.
    Pid(u32),
    /// A gateway anywhere, by its `/metrics`.
    Metrics(&'a Reader),
}

/// A span of the server that has begun.
#[derive(Debug)]
pub enum Begun {
    Pid(u32, CpuSample),
    Metrics(Reader, Pending),
}

impl Server<'_> {
    /// The process, when it is one of this machine.
    pub fn pid(self) -> Option<u32> {
        match self {
            Server::Pid(pid) => Some(pid),
            Server::Metrics(_) => None,
        }
    }

    /// Begins a span. Nobody waits: a gateway answers meanwhile.
    pub fn begin(self) -> Result<Begun> {
        Ok(match self {
            Server::Pid(pid) => Begun::Pid(pid, CpuSample::of(pid)?),
            Server::Metrics(reader) => Begun::Metrics(reader.clone(), reader.ask()),
        })
    }
}

impl Begun {
    /// What was used since the beginning. Waits for a gateway's answer.
    pub fn end(&self) -> Result<CpuSpan> {
        match self {
            Begun::Pid(pid, earlier) => Ok(CpuSample::of(*pid)?.since(earlier)),
            Begun::Metrics(reader, earlier) => {
                let now = reader.ask();
                let earlier = earlier.wait()?;
                now.wait()?.since(&earlier)
            }
        }
    }
}

/// Resident memory of the server, bytes; of a process exact, of a gateway as the kernel keeps it (`VmRSS`). Waits for
/// a gateway's answer.
pub fn resident_bytes(server: Server<'_>) -> Result<u64> {
    match server {
        Server::Pid(pid) => process::resident_bytes(pid),
        Server::Metrics(reader) => Ok(reader.now()?.memory_bytes()),
    }
}

/// The same while messages are on their way: nobody waits. A gateway is asked, and what it answered the last time is
/// told.
pub fn resident_bytes_meanwhile(server: Server<'_>) -> Result<u64> {
    match server {
        Server::Pid(pid) => process::resident_bytes(pid),
        Server::Metrics(reader) => {
            reader.look();
            Ok(reader.newest()?.memory_bytes())
        }
    }
}

/// The server as it is followed over a run, without anybody waiting.
#[derive(Debug)]
pub struct Followed {
    from: Where,
    last: Option<Last>,
}

#[derive(Debug)]
enum Where {
    Pid(u32),
    Metrics(Reader),
}

#[derive(Debug)]
enum Last {
    Pid(CpuSample),
    Metrics(Sample),
}

impl Followed {
    /// Begins to follow.
    pub fn new(server: Server<'_>) -> Result<Followed> {
        Ok(match server {
            Server::Pid(pid) => Followed {
                last: Some(Last::Pid(CpuSample::of(pid)?)),
                from: Where::Pid(pid),
            },
            Server::Metrics(reader) => Followed {
                last: Some(Last::Metrics(reader.newest()?)),
                from: Where::Metrics(reader.clone()),
            },
        })
    }

    /// Soon [`Followed::cores`] and [`Followed::memory_bytes`] will be asked for.
    pub fn prepare(&self) {
        if let Where::Metrics(reader) = &self.from {
            reader.look();
        }
    }

    /// Cores used since the last time, if it is known.
    pub fn cores(&mut self) -> Option<f64> {
        let now = match &self.from {
            Where::Pid(pid) => CpuSample::of(*pid).ok().map(Last::Pid),
            Where::Metrics(reader) => reader.newest().ok().map(Last::Metrics),
        };
        let span = match (&now, &self.last) {
            (Some(Last::Pid(now)), Some(Last::Pid(before))) => Some(now.since(before)),
            (Some(Last::Metrics(now)), Some(Last::Metrics(before))) if now != before => {
                now.since(before).ok()
            }
            _ => None,
        };
        self.last = now;
        span.map(|span| span.cores())
    }

    /// Resident memory, bytes, if it is known: of a process exact and now, of a gateway what it said the last time;
    /// it is asked anew.
    pub fn resident_bytes(&self) -> Option<u64> {
        match &self.from {
            Where::Pid(pid) => process::resident_bytes(*pid).ok(),
            Where::Metrics(reader) => {
                reader.look();
                reader.newest().ok().map(|sample| sample.memory_bytes())
            }
        }
    }

    /// Resident memory as the kernel keeps it, bytes, if it is known.
    pub fn memory_bytes(&self) -> Option<u64> {
        match &self.from {
            Where::Pid(pid) => process::resident_bytes_nearly(*pid).ok(),
            Where::Metrics(reader) => reader.newest().ok().map(|sample| sample.memory_bytes()),
        }
    }
}
