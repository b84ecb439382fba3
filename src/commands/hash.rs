//! `hash-password`: a hash for `accounts.users`.

use std::io::{BufRead, IsTerminal, Read, Write};

use super::check::problems;
use countersign::auth::password::{Cost, Hasher};
use countersign::config::Sources;
use countersign_protocol::limits::PASSWORD_BYTES_MAX;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// What can be wrong with the cost; anything else of the configuration does not matter here.
const COST: [&str; 2] = ["accounts.argon2_memory_kib", "accounts.argon2_iterations"];

/// Reads a password and answers its hash, with the configured cost.
pub(crate) async fn hash_password(sources: Sources) -> Result<String, String> {
    let loaded = sources.load();
    if !loaded.whole {
        return Err(format!(
            "the configuration cannot be read:\n{}",
            problems(&loaded).trim_end()
        ));
    }
    let about_cost = |text: &str| COST.iter().any(|path| text.starts_with(path));
    if let Some(problem) = loaded.problems.iter().find(|problem| about_cost(&problem.text)) {
        return Err(problem.to_string());
    }
    let cost = Cost {
        memory_kib: loaded.config.accounts.argon2_memory_kib,
        iterations: loaded.config.accounts.argon2_iterations,
        running_max: 1,
        waiting_max: 0,
    };
    let password = password().await?;
    let hasher = Hasher::new(cost).map_err(|error| error.to_string())?;
    hasher.hash(&password).await.map_err(|error| error.to_string())
}

/// From standard input: one line, or asked for twice on a terminal, which does not show it.
async fn password() -> Result<Zeroizing<String>, String> {
    if !std::io::stdin().is_terminal() {
        return line();
    }
    let hidden = Hidden::begin()?;
    let asked = tokio::task::spawn_blocking(|| {
        let password = ask("Password: ")?;
        let again = ask("Once more: ")?;
        if *password == *again {
            Ok(password)
        } else {
            Err("these were two different passwords".to_owned())
        }
    });
    let answered = tokio::select! {
        asked = asked => asked.map_err(|error| error.to_string())?,
        // The thread still waits for a line, so the process ends here.
        _ = tokio::signal::ctrl_c() => {
            drop(hidden);
            std::process::exit(130);
        }
    };
    drop(hidden);
    answered
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, String> {
    let mut told = std::io::stderr().lock();
    let _ = told.write_all(prompt.as_bytes()).and_then(|()| told.flush());
    let line = line();
    let _ = told.write_all(b"\n");
    line
}

/// One line, without its end. A longer one than any password is cut, and then no password.
fn line() -> Result<Zeroizing<String>, String> {
    // As much as may be needed, so that no copy stays behind.
    let mut line = Zeroizing::new(String::with_capacity(PASSWORD_BYTES_MAX + 3));
    let mut stdin = std::io::stdin().lock().take(PASSWORD_BYTES_MAX as u64 + 3);
    stdin
        .read_line(&mut line)
        .map_err(|error| format!("no password can be read: {error}"))?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(line)
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self, String> {
        let failed = |error| format!("the terminal cannot be told to hide a password: {error}");
        let before = tcgetattr(std::io::stdin()).map_err(failed)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &hidden).map_err(failed)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}
