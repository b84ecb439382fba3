//! The server as the options name it: by its process or by its metrics.

use crate::cli::Common;
use crate::clock::MILLI;
use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::host::metrics::{Reader, TICK};
use crate::host::server::Server;
use crate::target::{Remote, Target};

/// What `--pid` or `--metrics` name.
pub(super) enum Watched {
    Nothing,
    Process(u32),
    Gateway(Reader),
}

impl Watched {
    /// Asks a gateway for its figures once: what is wrong shows before anything is measured.
    pub(super) fn start(common: &Common, remote: Remote) -> Result<Watched> {
        match (common.pid, &common.metrics) {
            (None, None) => Ok(Watched::Nothing),
            (Some(pid), None) => Ok(Watched::Process(pid)),
            (None, Some(_)) if common.protocol != Dialect::Countersign => Err(Error::Usage(format!(
                "--metrics are a gateway's: --protocol {} goes with --pid",
                common.protocol.name()
            ))),
            (None, Some(url)) => Ok(Watched::Gateway(Reader::start(Target::metrics(url, remote)?)?)),
            (Some(_), Some(_)) => Err(Error::Usage(
                "--pid and --metrics are two sources of the same figures: say one".to_owned(),
            )),
        }
    }

    /// The server, when something is known of it.
    pub(super) fn server(&self) -> Option<Server<'_>> {
        match self {
            Watched::Nothing => None,
            Watched::Process(pid) => Some(Server::Pid(*pid)),
            Watched::Gateway(reader) => Some(Server::Metrics(reader)),
        }
    }

    /// Where its figures are from, as documents have it.
    pub(super) fn source(&self) -> Option<&'static str> {
        match self {
            Watched::Nothing => None,
            Watched::Process(_) => Some("pid"),
            Watched::Gateway(_) => Some("metrics"),
        }
    }

    /// The same for people.
    pub(super) fn line(&self) -> Option<String> {
        match self {
            Watched::Nothing => None,
            Watched::Process(pid) => Some(format!("  server: memory and processor time of process {pid}")),
            Watched::Gateway(reader) => Some(format!(
                "  server: memory and processor time from {}, counted in ticks of {} ms",
                reader.url(),
                TICK / MILLI
            )),
        }
    }
}
