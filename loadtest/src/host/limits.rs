//! Descriptors: the soft limit is raised to the hard one, and a run that cannot fit is refused at once.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Error, Result};

/// Descriptors kept for everything that is not a connection.
const RESERVED: u64 = 64;

/// Raises the soft limit to the hard one; returns it, `None` for no limit.
pub fn raise() -> Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).map_err(Error::os("setrlimit"))?;
    }
    Ok(limit.maximum)
}

/// Makes room for `connections` descriptors, or says why there is none.
pub fn allow(connections: usize) -> Result<()> {
    let wanted = connections as u64 + RESERVED;
    match raise()? {
        Some(hard) if hard < wanted => Err(Error::Usage(format!(
            "{connections} connections need {wanted} descriptors, this process may have {hard}: raise ulimit -Hn, or \
             let more processes share them (--workers)"
        ))),
        _ => Ok(()),
    }
}
