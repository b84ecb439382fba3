//! Tells the program where it comes from. Asks git and the compiler, nobody else, and builds without git too.
#![allow(clippy::print_stdout, reason = "that is how cargo is told")]

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=COUNTERSIGN_COMMIT");
    let set = |name: &str| env::var(name).unwrap_or_default();
    let profile = set("PROFILE");
    tell("COMMIT", &commit(&profile));
    tell("FEATURES", &features());
    tell("PROFILE", &profile);
    tell("TARGET", &set("TARGET"));
    let compiler = answer(&set("RUSTC"), &["--version"]);
    tell("COMPILER", compiler.as_deref().unwrap_or("unknown"));
}

fn tell(name: &str, value: &str) {
    println!("cargo::rustc-env=BUILT_{name}={value}");
}

/// As the environment says, for builds without the repository, or as git does.
fn commit(profile: &str) -> String {
    let given = env::var("COUNTERSIGN_COMMIT").unwrap_or_default();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if !given.is_empty() && given.len() <= 64 && given.bytes().all(plain) {
        return given;
    }
    // Otherwise each commit would have everything compiled anew, and such a build is of no commit anyhow.
    if profile != "release" {
        return "development".to_owned();
    }
    // A repository that this folder only lies in is of something else.
    let inside_another = answer("git", &["rev-parse", "--show-prefix"]).is_some();
    let commit = answer("git", &["rev-parse", "--short=12", "HEAD"]).filter(|_| !inside_another);
    let Some(commit) = commit else {
        return "unknown commit".to_owned();
    };
    for path in ["HEAD", "index", "packed-refs"] {
        watch(path);
    }
    if let Some(branch) = answer("git", &["symbolic-ref", "--quiet", "HEAD"]) {
        watch(&branch);
    }
    let changed = answer("git", &["status", "--porcelain", "--untracked-files=no"]).is_some();
    if changed {
        format!("{commit}-changed")
    } else {
        commit
    }
}

/// A file of git's own that says which commit it is.
fn watch(name: &str) {
    if let Some(path) = answer("git", &["rev-parse", "--git-path", name])
        && std::path::Path::new(&path).exists()
    {
        println!("cargo::rerun-if-changed={path}");
    }
}

fn features() -> String {
    let name = |(key, _): (String, String)| {
        Some(
            key.strip_prefix("CARGO_FEATURE_")?
                .to_lowercase()
                .replace('_', "-"),
        )
    };
    let mut all: Vec<String> = env::vars()
        .filter_map(name)
        .filter(|name| name != "default")
        .collect();
    all.sort();
    if all.is_empty() {
        "none".to_owned()
    } else {
        all.join(", ")
    }
}

/// What a command says, if it ends well and says something.
fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
