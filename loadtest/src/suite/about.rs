//! What was measured, on what: the part of a report that makes its figures worth keeping.

use std::process::Command;

use serde::Serialize;

use crate::host::machine::Machine;

/// Machine and versions.
#[derive(Debug, Clone, Default, Serialize)]
pub struct About {
    pub machine: Machine,
    /// As the gateway names itself.
    pub gateway: String,
    /// Commit of the working directory, with `+` when files differ from it; empty where there is none.
    pub commit: String,
    /// Compiler found here; empty where there is none.
    pub rustc: String,
}

impl About {
    /// Asks the machine, git and the compiler. The gateway is asked when it starts.
    pub fn here() -> About {
        let commit = output("git", &["rev-parse", "--short=10", "HEAD"]);
        let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]);
        About {
            machine: Machine::here(),
            gateway: String::new(),
            commit: match commit {
                Some(commit) if changed.is_none_or(|c| c.is_empty()) => commit,
                Some(commit) => format!("{commit}+"),
                None => String::new(),
            },
            rustc: output("rustc", &["--version"]).unwrap_or_default(),
        }
    }

    /// In one line.
    pub fn line(&self) -> String {
        let machine = &self.machine;
        let mut parts = vec![
            self.gateway.clone(),
            prefixed("commit ", &self.commit),
            self.rustc.clone(),
            format!("{} × {}", machine.cores, machine.cpu_model),
            format!("{:.1} GiB", machine.memory_bytes as f64 / f64::from(1 << 30)),
            prefixed("Linux ", &machine.kernel),
            "loopback".to_owned(),
        ];
        parts.retain(|part| !part.is_empty());
        parts.join(", ")
    }
}

fn prefixed(prefix: &str, text: &str) -> String {
    if text.is_empty() {
        String::new()
    } else {
        format!("{prefix}{text}")
    }
}

/// What a program prints, if it is there and succeeds.
fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
