//! Counting: this program again, under callgrind.

use std::process::Command;

use crate::baseline::MadeWith;
use crate::profile::Profile;

/// The counted function, matched against mangled names so that it holds whichever way they are mangled. What callgrind
/// calls `--toggle-collect` would stop instructions outside of it, but goes on with calls: they are counted all the
/// time. So everything is, made zero where the function is entered and written where it returns.
const ENTERED: &str = "--zero-before=*12instructions*7counted*";
/// The same function. Callgrind 3.19 forgets the first option when the second has the very same pattern; a mangled name
/// begins with `_`.
const RETURNED: &str = "--dump-after=_*12instructions*7counted*";

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

/// One path, counted in `runs` processes.
///
/// # Errors
/// When callgrind or the path fails.
pub fn count(name: &str, runs: usize) -> Result<Vec<Profile>, String> {
    (0..runs).map(|_| count_once(name)).collect()
}

fn count_once(name: &str) -> Result<Profile, String> {
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let profile = folder.path().join("callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--quiet", "--tool=callgrind", "--demangle=no"])
        .args([ENTERED, RETURNED])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .args(["--count", name]);
    // The environment lies on the stack: another user's must not move what is counted.
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    output(&mut command)?;
    // The first part is written when the function returns, the file without a number when the process ends.
    let returned = profile.with_extension("out.1");
    let text = std::fs::read_to_string(returned)
        .map_err(|e| format!("callgrind has written nothing, the counted function was not found: {e}"))?;
    Profile::read(&text)
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
