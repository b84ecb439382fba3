//! What is in `deploy/`, by those who read it: systemd, and nginx, HAProxy and Caddy with a gateway behind them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what must hold")]

mod common;
#[path = "deploy/docker.rs"]
mod docker;
#[path = "deploy/proxies.rs"]
mod proxies;

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A text with each part, which must be there once, in its place.
fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
        text.replace(from, to)
    })
}

/// A command of Debian's, some of which are not in everybody's path.
fn tool(name: &str) -> Command {
    let path = std::env::var("PATH").unwrap();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    let found = folders
        .map(|folder| Path::new(folder).join(name))
        .find(|file| file.is_file());
    Command::new(found.unwrap_or_else(|| panic!("{name} is missing: `make deps` installs it")))
}

/// The highest exposure that `systemd-analyze security` may find, in tenths of its scale from 0 to 10.
const EXPOSURE_MAX: &str = "16";

#[test]
fn systemd_takes_the_unit_and_finds_it_locked_down() {
    let folder = TempDir::new().unwrap();
    let unit = folder.path().join("countersign.service");
    let program = env!("CARGO_BIN_EXE_countersign");
    let text = changed(
        &read("deploy/systemd/countersign.service"),
        &[("/usr/bin/countersign", program)],
    );
    std::fs::write(&unit, &text).unwrap();
    let analyze = |arguments: &[&str]| {
        let output = tool("systemd-analyze")
            .args(arguments)
            .arg(&unit)
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr]
            .map(|said| String::from_utf8(said).unwrap())
            .concat();
        (output.status.success(), said)
    };
    let (sound, said) = analyze(&["verify"]);
    // It also looks at units that this one names, which are others' to keep.
    let about_ours: Vec<_> = said
        .lines()
        .filter(|line| line.contains("countersign.service"))
        .collect();
    assert!(sound && about_ours.is_empty(), "{said}");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let (locked_down, said) = analyze(&["security", "--offline=true", &threshold]);
    assert!(locked_down, "{said}");
    // The check can fail.
    std::fs::write(&unit, text.replace("NoNewPrivileges=yes", "NoNewPrivileges=no")).unwrap();
    assert!(!analyze(&["security", "--offline=true", &threshold]).0);
    std::fs::write(&unit, text.replace("Restart=on-failure", "Restart=on-faliure")).unwrap();
    assert!(analyze(&["verify"]).1.contains("on-faliure"));
}
