//! Reads histories: one or several files, line by line, into the checker.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::check::{Checker, Options, Verdict};
use super::line::Line;
use super::{FILES_MAX, LINE_BYTES_MAX, LINES_MAX};
use crate::error::{Error, Result};

/// Reads the files and decides. An error: a file that is no whole history of this version, with its line.
pub fn files(paths: &[PathBuf], options: Options) -> Result<Verdict> {
    if paths.is_empty() || paths.len() > FILES_MAX {
        return Err(Error::Usage(format!("name 1 to {FILES_MAX} history files")));
    }
    let mut checker = Checker::new(options);
    for path in paths {
        let file = File::open(path).map_err(|e| broken(path, 0, &e.to_string()))?;
        one(&mut checker, path, BufReader::with_capacity(256 * 1024, file))?;
    }
    Ok(checker.finish())
}

/// Decides a history that is in memory.
pub fn bytes(history: &[u8], options: Options) -> Result<Verdict> {
    let mut checker = Checker::new(options);
    one(&mut checker, Path::new("history"), history)?;
    Ok(checker.finish())
}

fn one(checker: &mut Checker, path: &Path, mut from: impl BufRead) -> Result<()> {
    checker.file(&path.display().to_string());
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let limit = LINE_BYTES_MAX as u64 + 1;
        let read = std::io::Read::take(&mut from, limit)
            .read_until(b'\n', &mut line)
            .map_err(|e| broken(path, number, &e.to_string()))?;
        if read == 0 {
            return checker.end_of_file().map_err(|why| broken(path, number, &why));
        }
        number += 1;
        if line.last() != Some(&b'\n') {
            if line.len() > LINE_BYTES_MAX {
                return Err(broken(
                    path,
                    number,
                    &format!("longer than {LINE_BYTES_MAX} bytes"),
                ));
            }
            // What a recorder that was killed leaves behind.
            checker.torn(number);
            return checker.end_of_file().map_err(|why| broken(path, number, &why));
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        if checker.lines() >= LINES_MAX {
            return Err(broken(path, number, &format!("more than {LINES_MAX} lines")));
        }
        let parsed: Line<'_> =
            serde_json::from_slice(&line).map_err(|e| broken(path, number, &e.to_string()))?;
        checker
            .line(number, &parsed)
            .map_err(|why| broken(path, number, &why))?;
    }
}

fn broken(path: &Path, line: u64, why: &str) -> Error {
    Error::Usage(format!("{}:{line}: {why}", path.display()))
}
