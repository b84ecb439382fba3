//! Logs go to standard error, one line per event. Standard output is for what a person reads at the start.
//!
//! A thread of its own writes them: a reader of the log that has stopped must not stop the gateway. What it is
//! behind by is bounded; beyond that lines are dropped, counted, and the count is logged.

use std::io::IsTerminal;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, registry, reload};

use crate::clock::Clock;
use crate::ops::batches::Batches;
use crate::ops::log_format::{FORMAT_VARIABLE, LogFormat};
use crate::ops::sampling::{KIND_PERIOD_MS, Sampling};

/// Environment variable with levels per module, such as `info,countersign::node=debug`.
pub const FILTER_VARIABLE: &str = "COUNTERSIGN_LOG";

/// Lines that wait for the reader of the log.
pub const LINES_WAITING_MAX: usize = 4_096;
/// How often lines that were left out of a flood are told.
const SUPPRESSED_EVERY: Duration = Duration::from_millis(KIND_PERIOD_MS);
/// How often dropped lines are told: with each so many of those.
const DROPPED_EVERY: u32 = 10;

/// Longest wait for what has not been written at the end.
const FINISH_MAX: Duration = Duration::from_secs(2);

/// That of the log that was started.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Lines dropped since the start; 0 where no log was started.
pub fn dropped_lines() -> u64 {
    let dropped = DROPPED.get().map_or(0, ErrorCounter::dropped_lines);
    u64::try_from(dropped).unwrap_or(u64::MAX)
}

/// The levels in force, and the way to change them.
static LEVELS: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// What is logged where nothing is said.
const DEFAULT_LEVELS: &str = "info";

/// Whether the environment says which levels are logged: then nothing else does.
pub fn is_set_from_outside() -> bool {
    EnvFilter::try_from_env(FILTER_VARIABLE).is_ok()
}

/// What is wrong with levels, as a sentence that says what to write.
///
/// # Errors
/// That sentence.
pub fn check_levels(levels: &str) -> Result<(), String> {
    let problem = |what: &str| {
        Err(format!(
            "log_levels = {levels:?} {what}: write a level (error, warn, info, debug, trace, off), or a list such as \
             info,countersign::node=debug"
        ))
    };
    // The library takes a word that is no level for a module whose every line is wanted, and no other's.
    let is_no_level = |part: &str| {
        let part = part.trim();
        !part.contains(['=', '[']) && (part.is_empty() || part.parse::<LevelFilter>().is_err())
    };
    if let Some(part) = levels.split(',').find(|part| is_no_level(part)) {
        return problem(&format!("has no level {part:?}"));
    }
    EnvFilter::try_new(levels).map_or_else(|e| problem(&format!("cannot be read ({e})")), |_| Ok(()))
}

/// Logs these levels from here on, `info` without any; the environment's stay where it says some.
pub fn set_levels(levels: Option<&str>) {
    let filter = EnvFilter::try_new(levels.unwrap_or(DEFAULT_LEVELS));
    if let (Some(handle), Ok(filter), false) = (LEVELS.get(), filter, is_set_from_outside()) {
        // Fails only when no log was started.
        let _ = handle.reload(filter);
    }
}

/// Keeps the log going until [`Logs::finish`].
pub struct Logs {
    writer: WorkerGuard,
    dropped: ErrorCounter,
    sampling: Sampling,
}

/// Starts logging as the environment says. A second call changes nothing.
///
/// # Errors
/// When it says what cannot be meant, with what to set.
pub fn init() -> Result<Logs, String> {
    let set = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let levels = set(FILTER_VARIABLE).unwrap_or_else(|| DEFAULT_LEVELS.to_owned());
    let chosen = EnvFilter::try_new(&levels).map_err(|e| {
        format!("{FILTER_VARIABLE} = {levels:?} names no levels ({e}): set it to something like info,countersign::ws=debug")
    })?;
    let (chosen, handle) = reload::Layer::new(chosen);
    let _ = LEVELS.set(handle);
    let format = LogFormat::choose(set(FORMAT_VARIABLE).as_deref(), std::io::stderr().is_terminal())?;
    let sampling = Sampling::new(Clock::system());
    let (writer, guard) = writer(std::io::stderr());
    let dropped = writer.error_counter();
    let _ = DROPPED.set(dropped.clone());
    let lines = fmt::layer().event_format(format).with_writer(writer);
    let _ = registry()
        .with(lines.with_filter(chosen.and(filter_fn(may_be_logged)).and(sampling.clone())))
        .try_init();
    // The default would write to standard error itself, and wait there for a reader that has stopped.
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(Logs {
        writer: guard,
        dropped,
        sampling,
    })
}

fn writer(to: impl std::io::Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(LINES_WAITING_MAX)
        .thread_name("log")
        .finish(Batches::new(to))
}

impl Logs {
    /// Writes what waits; a reader that has stopped is waited for no longer than 2 s.
    pub fn finish(self) {
        self.sampling.tell();
        let (done, finished) = mpsc::sync_channel(1);
        // Its end may wait for the reader, and say so on standard output, for as long as nobody reads that.
        std::thread::spawn(move || {
            drop(self.writer);
            let _ = done.send(());
        });
        let _ = finished.recv_timeout(FINISH_MAX);
    }

    /// Logs how many lines were left out and dropped, while there are some. Never ends.
    pub async fn tell_dropped(&self) -> std::convert::Infallible {
        let mut told = 0;
        for round in (0..DROPPED_EVERY).rev().cycle() {
            tokio::time::sleep(SUPPRESSED_EVERY).await;
            self.sampling.tell();
            if round > 0 {
                continue;
            }
            let dropped = self.dropped.dropped_lines();
            if dropped > told {
                tracing::warn!(
                    lines = dropped - told,
                    "log lines were dropped: the reader of the log does not keep up"
                );
                told = dropped;
            }
        }
        std::future::pending().await
    }
}

/// Libraries that carry our bytes print them where they debug themselves, tokens and all. Whatever the filter says,
/// only our own code is heard below `info`.
fn may_be_logged(metadata: &Metadata<'_>) -> bool {
    let own = metadata.target().split("::").next() == Some(env!("CARGO_CRATE_NAME"));
    own || *metadata.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<&'static str>>>);

    impl<S: tracing::Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            self.0.lock().unwrap().push(event.metadata().target());
        }
    }

    /// A reader that has stopped: each write waits until it is open.
    #[derive(Clone, Default)]
    struct Stopped(Arc<(Mutex<Gate>, std::sync::Condvar)>);

    #[derive(Default)]
    struct Gate {
        reached: bool,
        open: bool,
    }

    impl Stopped {
        fn change(&self, change: impl FnOnce(&mut Gate)) {
            change(&mut self.0.0.lock().unwrap());
            self.0.1.notify_all();
        }

        fn wait_until(&self, there: impl Fn(&Gate) -> bool) {
            let gate = self.0.0.lock().unwrap();
            let _there = self.0.1.wait_while(gate, |gate| !there(gate)).unwrap();
        }
    }

    impl std::io::Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.change(|gate| gate.reached = true);
            self.wait_until(|gate| gate.open);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_stopped_costs_lines_and_nothing_else() {
        use std::io::Write;
        let stopped = Stopped::default();
        let (mut log, guard) = writer(stopped.clone());
        log.write_all(b"the line that is being written\n").unwrap();
        stopped.wait_until(|gate| gate.reached);
        for _ in 0..LINES_WAITING_MAX + 11 {
            log.write_all(b"a line\n").unwrap();
        }
        assert_eq!(log.error_counter().dropped_lines(), 11);
        stopped.change(|gate| gate.open = true);
        drop(guard);
    }

    #[test]
    fn levels_are_levels() {
        for good in [
            "info",
            "off",
            "WARN",
            "info,countersign::node=debug",
            "warn,countersign=trace",
        ] {
            assert_eq!(check_levels(good), Ok(()), "{good}");
        }
        for bad in ["", "loud", "info,", "countersign", "info,countersign=loud"] {
            assert!(
                check_levels(bad).is_err_and(|e| e.contains("info,countersign::node=debug")),
                "{bad}"
            );
        }
    }

    #[test]
    fn libraries_are_not_heard_below_info() {
        let seen = Seen::default();
        let subscriber = registry().with(
            seen.clone()
                .with_filter(EnvFilter::new("trace").and(filter_fn(may_be_logged))),
        );
        tracing::subscriber::with_default(subscriber, || {
            tracing::trace!(target: "countersign", "ours");
            tracing::trace!(target: "countersign::qr", "ours");
            tracing::debug!(target: "hyper::proto::h1::io", "bytes");
            tracing::trace!(target: "countersign_like", "bytes");
            tracing::trace!(target: "tungstenite::protocol", "bytes");
            tracing::info!(target: "hyper", "a word");
        });
        assert_eq!(
            *seen.0.lock().unwrap(),
            ["countersign", "countersign::qr", "hyper"]
        );
    }
}
