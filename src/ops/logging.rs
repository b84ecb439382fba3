//! Logs go to standard error, one line per event. Standard output is for what a person reads at the start.

use tracing_subscriber::EnvFilter;

/// Environment variable with levels per module, such as `info,countersign::qr=debug`.
pub const FILTER_VARIABLE: &str = "COUNTERSIGN_LOG";

/// Starts logging. A second call changes nothing.
pub fn init() {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info"));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
