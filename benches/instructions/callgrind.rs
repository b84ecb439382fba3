//! Counting: this program again, under callgrind.

use std::process::Command;

use crate::baseline::MadeWith;

/// Matched against mangled names, so that it holds whichever way they are mangled.
const COUNTED: &str = "*12instructions*7counted*";

/// The versions that counts depend on.
///
/// # Errors
/// When one of the programs is not there.
pub fn versions() -> Result<MadeWith, String> {
    let rustc = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    // `rustc 1.95.0 (…)` and `valgrind-3.19.0`.
    let rustc = output(Command::new(rustc).arg("--version"))?;
    let valgrind = output(Command::new("valgrind").arg("--version"))?;
    Ok(MadeWith {
        rustc: rustc.split(' ').nth(1).unwrap_or_default().to_owned(),
        valgrind: valgrind.trim().trim_start_matches("valgrind-").to_owned(),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    })
}

/// The instructions of one path, counted in `runs` processes; sorted.
///
/// # Errors
/// When callgrind or the path fails.
pub fn count(name: &str, runs: usize) -> Result<Vec<u64>, String> {
    let mut counts = (0..runs)
        .map(|_| count_once(name))
        .collect::<Result<Vec<_>, _>>()?;
    counts.sort_unstable();
    Ok(counts)
}

fn count_once(name: &str) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let profile = folder.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--demangle=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args(["--count", name]);
    // The environment lies on the stack: another user's must not move what is counted.
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    output(&mut command)?;
    let text = std::fs::read_to_string(&profile).map_err(|e| e.to_string())?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .and_then(|n| n.trim().parse().ok());
    match total {
        Some(total) if total > 0 => Ok(total),
        _ => Err("callgrind has counted nothing: the counted function was not found".into()),
    }
}

fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .map_err(|e| format!("cannot run {program}: {e}; `make bench` installs what is missing"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{program} failed ({}):\n{said}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
