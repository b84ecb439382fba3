//! Runs whose history is recorded.

use std::path::Path;

use crate::cli::Common;
use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::room::RoomPlan;
use crate::workers::{WORKERS_MAX, history_part};

/// Makes a plan one whose history is recorded in `path`, or refuses.
pub(super) fn with_history(plan: &mut RoomPlan, common: &Common, path: &Path, workers: usize) -> Result<()> {
    if common.protocol != Dialect::Countersign {
        return Err(Error::Usage(
            "--history needs --protocol countersign: others authenticate nobody".to_owned(),
        ));
    }
    if workers > 1 {
        check_parts(path, workers)?;
    }
    (plan.check, plan.decode_every) = (true, 1);
    Ok(())
}

/// Refuses a history of so many parts beside which another run left more: a check of all would take them for one run.
fn check_parts(path: &Path, workers: usize) -> Result<()> {
    match (workers..WORKERS_MAX)
        .map(|index| history_part(path, index))
        .find(|part| part.exists())
    {
        Some(left) => Err(Error::Usage(format!(
            "{}: another run left a part of its history there, which would be taken for one of this run; remove it, \
             or name another file",
            left.display()
        ))),
        None => Ok(()),
    }
}

/// How the parts of a history are checked, when there are several.
pub(super) fn parts_note(path: Option<&Path>, workers: usize) -> Option<String> {
    let path = path.filter(|_| workers > 1)?;
    let (first, last) = (history_part(path, 0), history_part(path, workers - 1));
    Some(format!(
        "  history: {} to {}, one for each worker; give all of them to one check",
        first.display(),
        last.display()
    ))
}
