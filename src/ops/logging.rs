//! Logs go to standard error, one line per event. Standard output is for what a person reads at the start.

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

/// Environment variable with levels per module, such as `info,countersign::qr=debug`.
pub const FILTER_VARIABLE: &str = "COUNTERSIGN_LOG";

/// Starts logging. A second call changes nothing.
pub fn init() {
    let chosen = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    let _ = registry()
        .with(lines.with_filter(chosen.and(filter_fn(may_be_logged))))
        .try_init();
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
