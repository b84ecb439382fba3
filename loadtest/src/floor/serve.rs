//! The `floor` command.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use serde::Serialize;

use super::child::LISTENING;
use super::probe::send_cost;
use super::{Floor, FloorOptions};
use crate::cli::FloorArgs;
use crate::clock::{self, from_seconds};
use crate::error::{Error, Result};
use crate::host::limits;
use crate::output::note;

/// Batches of `floor --probe`.
const PROBE_BATCHES: usize = 2_000;

/// Serves or probes as the options say.
pub fn run(args: &FloorArgs) -> Result<()> {
    if args.probe {
        let cost = send_cost(args.frame_bytes, PROBE_BATCHES)?;
        note(&format!(
            "one send of {} bytes on a loopback pair: median {:.2} µs, least {:.2} µs ({} sends)",
            cost.bytes, cost.median_us, cost.min_us, cost.sends
        ));
        if let Some(path) = &args.json {
            write_json(path, &cost)?;
        }
        return Ok(());
    }
    if !args.allow_remote && !args.listen.ip().is_loopback() {
        return Err(Error::Usage(format!(
            "{} is not loopback; say --allow-remote to serve other machines",
            args.listen
        )));
    }
    limits::raise()?;
    let options = FloorOptions {
        frame_bytes: args.frame_bytes,
        coalesce: args.coalesce,
    };
    let mut floor = Floor::bind(args.listen, options)?;
    note(&format!(
        "{LISTENING} {} pid {}",
        floor.local_addr(),
        std::process::id()
    ));
    let stop: Option<OwnedFd> = if args.until_stdin_closes {
        let stdin = std::io::stdin();
        Some(
            stdin
                .as_fd()
                .try_clone_to_owned()
                .map_err(Error::io("duplicating stdin"))?,
        )
    } else {
        None
    };
    floor.run(stop.as_ref(), clock::now() + from_seconds(args.deadline))?;
    Ok(())
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::Usage(e.to_string()))?;
    std::fs::write(path, text + "\n").map_err(Error::io("writing the JSON document"))
}
