//! Arguments, configuration, run.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use countersign::app::App;
use countersign::config::{Config, OperatorKey, Profile};
use countersign::ops::logging;

/// Countersign: QR login pushed, messages nobody can forge, rooms that stay current.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Public address, such as 127.0.0.1:8080; port 0 lets the system pick.
    #[arg(long, env = "COUNTERSIGN_LISTEN")]
    listen: Option<SocketAddr>,
    /// Operator's address: /healthz, /readyz, and locking accounts.
    #[arg(long, env = "COUNTERSIGN_OPERATOR_LISTEN")]
    operator_listen: Option<SocketAddr>,
    /// What browsers see, such as https://login.example.
    #[arg(long, env = "COUNTERSIGN_PUBLIC_ORIGIN")]
    public_origin: Option<String>,
    /// Configuration file (TOML).
    #[arg(long, env = "COUNTERSIGN_CONFIG")]
    config: Option<PathBuf>,
    /// default, or bench: every rate and count per address and user a thousandfold, on loopback only.
    #[arg(long, env = "COUNTERSIGN_LIMITS_PROFILE")]
    limits_profile: Option<Profile>,
}

impl Arguments {
    /// File first, then environment, then flags.
    fn config(self) -> Result<Config, String> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|e| format!("the configuration {} cannot be read: {e}", path.display()))?;
                Config::from_toml(&text).map_err(|e| format!("{}: {e}", path.display()))?
            }
        };
        config.listen = self.listen.unwrap_or(config.listen);
        config.operator_listen = self.operator_listen.unwrap_or(config.operator_listen);
        // No flag: everybody on the machine can read those.
        config.operator_key = operator_key().or(config.operator_key);
        config.public_origin = self.public_origin.or(config.public_origin);
        config.limits_profile = self.limits_profile.unwrap_or(config.limits_profile);
        Ok(config)
    }
}

fn operator_key() -> Option<OperatorKey> {
    let text = std::env::var("COUNTERSIGN_OPERATOR_KEY").ok()?;
    (!text.is_empty()).then(|| OperatorKey::new(text))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let logs = logging::init();
    let served = tokio::select! {
        served = serve(arguments) => served,
        never = logs.tell_dropped() => match never {},
    };
    let code = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say_error(&text);
            ExitCode::from(2)
        }
    };
    logs.finish();
    code
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    let config = arguments.config()?;
    let profile = config.limits_profile;
    let app = App::bind(config).map_err(|e| e.to_string())?;
    greet(&app, profile);
    let signal = shutdown_signal().map_err(|e| format!("signals cannot be listened to: {e}"))?;
    app.run(signal).await;
    Ok(())
}

/// What listens where, for a person and for scripts that started us on port 0. Whether they still read is theirs.
fn greet(app: &App, profile: Profile) {
    let addresses = app.addresses();
    let mut lines = vec![
        concat!("countersign ", env!("CARGO_PKG_VERSION")).to_owned(),
        format!("listening on http://{}", addresses.public),
        format!("operator on http://{}", addresses.operator),
    ];
    if profile == Profile::Bench {
        lines.push("limits profile bench: for measurements on this machine only".to_owned());
    }
    lines.push(format!("open {}/ in a browser", app.node().origins.public()));
    let _ = writeln!(std::io::stdout().lock(), "{}", lines.join("\n"));
    tracing::info!(public = %addresses.public, operator = %addresses.operator, "listening");
}

#[allow(
    clippy::print_stderr,
    reason = "a start that failed is told whether or not logs are read"
)]
fn say_error(text: &str) {
    eprintln!("countersign: {text}");
}

/// Ready at SIGTERM or SIGINT. A second one ends the process at once, as signals do.
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}
