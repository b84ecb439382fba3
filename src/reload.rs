//! SIGHUP: the configuration is read again, what can change changes, and each change is logged in a line of its own.

use std::io::IsTerminal;
use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Config;
use crate::node::{Change, Effect, Node};
use crate::ops::logging;

/// SIGHUP, listened to: from here on it does not end the process, and those that come are kept for [`Hangups::reload`].
pub struct Hangups {
    signals: Signal,
    on_terminal: bool,
}

impl Hangups {
    /// Listens.
    ///
    /// # Errors
    /// When the system lets nobody listen to the signal.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            signals: signal(SignalKind::hangup())?,
            on_terminal: std::io::stdout().is_terminal(),
        })
    }

    /// Whether it was the terminal that it was started on, which is gone: whoever closes that ends the program.
    fn lost_terminal(&self) -> bool {
        self.on_terminal && !std::io::stdout().is_terminal()
    }

    /// Reloads at each SIGHUP, with what `read` answers, or with a line for each problem. It ends with the process.
    /// `read` may take its time.
    pub fn reload(
        mut self,
        node: Arc<Node>,
        read: impl Fn() -> Result<Config, Vec<String>> + Clone + Send + 'static,
    ) {
        tokio::spawn(async move {
            while self.signals.recv().await.is_some() {
                if self.lost_terminal() {
                    tracing::info!("the terminal was closed");
                    node.ask_to_drain();
                    return;
                }
                let (node, read) = (Arc::clone(&node), read.clone());
                // Files are read and keys are checked: not where others wait.
                let done = tokio::task::spawn_blocking(move || tell(reload(&node, read())));
                if done.await.is_err() {
                    tracing::error!("the reload failed");
                }
            }
        });
    }
}

/// All of a configuration, or nothing of it.
fn reload(node: &Node, config: Result<Config, Vec<String>>) -> Result<Vec<Change>, Vec<String>> {
    let config = config?;
    let levels = config.log_levels.clone();
    let changes = node.reload(config)?;
    logging::set_levels(levels.as_deref());
    Ok(changes)
}

fn tell(done: Result<Vec<Change>, Vec<String>>) {
    match done {
        Ok(changes) => {
            for change in &changes {
                tell_one(change);
            }
            tracing::info!(
                changes = changes.len(),
                "reloaded: the configuration was read again"
            );
        }
        Err(problems) => {
            for problem in &problems {
                tracing::error!(%problem, "the configuration cannot be reloaded");
            }
            tracing::error!(
                problems = problems.len(),
                "nothing was reloaded: everything stays as it was"
            );
        }
    }
}

fn tell_one(change: &Change) {
    let Change {
        name,
        from,
        to,
        effect,
    } = change;
    match effect {
        Effect::Now => tracing::info!(name, from, to, "reloaded, for everybody"),
        Effect::New => tracing::info!(name, from, to, "reloaded, for what begins from now on"),
        Effect::Restart => tracing::warn!(name, from, to, "not reloaded: it takes a restart"),
    }
    if *name == "log_levels" && logging::is_set_from_outside() {
        tracing::warn!(
            "log_levels has no effect: {} is set and wins",
            logging::FILTER_VARIABLE
        );
    }
}
