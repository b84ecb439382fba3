//! Runs whose history is recorded.

use std::fs::{File, remove_file};
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use crate::cli::Common;
use crate::error::{Error, Result};
use crate::fleet::Dialect;
use crate::room::RoomPlan;
use crate::workers::crew::Hands;
use crate::workers::{WORKERS_MAX, history_part};

/// How a line begins that says what somebody asked for.
const INVOKED: &[u8] = br#"{"e":"invoke""#;

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

/// Does a run whose history, if one is wanted, is written in parts. Those of a former run go first, as a single file
/// would be overwritten: a run that fails would otherwise leave some of its own beside some of another's. Of its own it
/// then leaves those in which somebody asked for anything, and its error names them.
pub(super) fn in_parts<T>(hands: Hands<'_>, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(path) = hands.history else {
        return run();
    };
    let parts: Vec<PathBuf> = (0..hands.workers).map(|i| history_part(path, i)).collect();
    parts.iter().try_for_each(|part| remove(part))?;
    run().map_err(|error| {
        let left: Vec<String> = parts
            .iter()
            .filter(|part| is_worth_keeping(part) || remove(part).is_err())
            .map(|part| part.display().to_string())
            .collect();
        match left.is_empty() {
            true => error,
            false => Error::Unfinished {
                error: Box::new(error),
                parts: left.join(", "),
            },
        }
    })
}

fn remove(part: &Path) -> Result<()> {
    match remove_file(part) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::Io {
            what: "removing a part of a former history",
            source: e,
        }),
        _ => Ok(()),
    }
}

/// Whether a part says more than that there were connections. What a worker has not written yet when it ends is lost.
fn is_worth_keeping(part: &Path) -> bool {
    let Ok(file) = File::open(part) else {
        return false;
    };
    // Of the recorder's own lines, which have a bound.
    let mut lines = BufReader::new(file).split(b'\n').map_while(|line| line.ok());
    lines.any(|line| line.starts_with(INVOKED))
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
