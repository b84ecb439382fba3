//! Arguments, configuration, run.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use countersign::app::App;
use countersign::config::{Config, ForwardingHeader, OperatorKey, Profile};
use countersign::greeting::{Greeting, TerminalCode};
use countersign::ops::probe::{self, Question};
use countersign::ops::{advice, descriptors, logging, machine};
use countersign::{production, reload, version};

/// Countersign: QR login pushed, messages nobody can forge, rooms that stay current.
#[derive(Clone, Parser)]
#[command(version = version::SHORT, long_version = version::LONG, about)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Public address, such as 127.0.0.1:8080; port 0 lets the system pick.
    #[arg(long, global = true, env = "COUNTERSIGN_LISTEN")]
    listen: Option<SocketAddr>,
    /// Operator's address: /healthz, /readyz, /metrics, locking accounts, and the console at /admin.
    #[arg(long, global = true, env = "COUNTERSIGN_OPERATOR_LISTEN")]
    operator_listen: Option<SocketAddr>,
    /// What browsers see, such as https://login.example.
    #[arg(long, global = true, env = "COUNTERSIGN_PUBLIC_ORIGIN")]
    public_origin: Option<String>,
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "COUNTERSIGN_CONFIG")]
    config: Option<PathBuf>,
    /// default, or bench: every rate and count per address and user a thousandfold, on loopback only.
    #[arg(long, global = true, env = "COUNTERSIGN_LIMITS_PROFILE")]
    limits_profile: Option<Profile>,
    /// Proxies believed about where requests come from: addresses and networks, such as 10.1.0.0/16,192.0.2.7.
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    trusted_proxies: Option<Vec<String>>,
    /// Where those proxies write it down: any, x_forwarded_for or forwarded.
    #[arg(long, global = true, env = "COUNTERSIGN_FORWARDING_HEADER")]
    forwarding_header: Option<ForwardingHeader>,
    /// Whether the QR code of the page is printed at the start: auto (on a terminal), always or never.
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_TERMINAL_CODE",
        default_value = "auto"
    )]
    terminal_code: TerminalCode,
}

#[derive(Clone, Subcommand)]
enum Command {
    /// Serve until told to stop: what happens without a command, too.
    Serve,
    /// Ask a running gateway on its operator's port whether it is well: code 0 if so, 1 with a sentence if not.
    Healthcheck {
        /// Whether it takes new connections, and not only whether it answers.
        #[arg(long)]
        ready: bool,
    },
}

impl Arguments {
    /// File first, then environment, then flags.
    fn config(self) -> Result<Config, String> {
        let mut config = match &self.config {
            None => Config::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| {
                    let what_to_do = advice::on_reading(path, &e);
                    format!(
                        "the configuration {} cannot be read: {e}; {what_to_do}",
                        path.display()
                    )
                })?;
                Config::from_toml(&text).map_err(|e| format!("{}: {e}", path.display()))?
            }
        };
        config.listen = self.listen.unwrap_or(config.listen);
        config.operator_listen = self.operator_listen.unwrap_or(config.operator_listen);
        // No flag: everybody on the machine can read those.
        config.operator_key = operator_key().or(config.operator_key);
        config.public_origin = self.public_origin.or(config.public_origin);
        config.limits_profile = self.limits_profile.unwrap_or(config.limits_profile);
        if let Some(mut listed) = self.trusted_proxies {
            // An empty variable is an empty list.
            listed.retain(|network| !network.is_empty());
            config.trusted_proxies = listed;
        }
        config.forwarding_header = self.forwarding_header.unwrap_or(config.forwarding_header);
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
    if let Some(Command::Healthcheck { ready }) = arguments.command {
        return healthcheck(arguments, ready);
    }
    let logs = match logging::init() {
        Ok(logs) => logs,
        Err(text) => {
            say_error(&text);
            return ExitCode::from(2);
        }
    };
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
    let code = shows_code(arguments.terminal_code);
    let config = arguments.clone().config()?;
    let profile = config.limits_profile;
    if let Some(levels) = &config.log_levels {
        logging::check_levels(levels)?;
        logging::set_levels(Some(levels));
    }
    let app = App::bind(config).map_err(|e| e.to_string())?;
    let read = move || arguments.clone().config();
    reload::on_hangup(Arc::clone(app.node()), read)
        .map_err(|e| format!("signals cannot be listened to: {e}"))?;
    greet(&app, profile, code);
    let signal = shutdown_signal().map_err(|e| format!("signals cannot be listened to: {e}"))?;
    app.run(signal).await;
    Ok(())
}

/// Code 0 is well, 1 is not, 2 is a configuration that does not say where to ask.
fn healthcheck(arguments: Arguments, ready: bool) -> ExitCode {
    let question = if ready { Question::Ready } else { Question::Alive };
    let operator = match arguments.config() {
        Ok(config) => config.operator_listen,
        Err(text) => {
            say_error(&text);
            return ExitCode::from(2);
        }
    };
    match probe::ask(operator, question) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say_error(&text);
            ExitCode::FAILURE
        }
    }
}

/// Lines for a person, and for scripts that started us on port 0. Whether they still read is theirs.
fn greet(app: &App, profile: Profile, code: bool) {
    let reserved = app.node().limits().descriptors_reserved;
    let sockets = descriptors::limit().saturating_sub(reserved);
    let greeting = Greeting {
        addresses: app.addresses(),
        scheme: app.node().config().tls.scheme(),
        origin: app.node().origins.public(),
        profile,
        code,
        notes: production::notes(&app.node().config(), app.node().origins.public(), sockets),
        machine: machine::address(),
    };
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(greeting.text().as_bytes());
    let _ = stdout.flush();
    let addresses = greeting.addresses;
    tracing::info!(public = %addresses.public, operator = %addresses.operator, "listening");
}

fn shows_code(when: TerminalCode) -> bool {
    let dumb = || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match when {
        TerminalCode::Always => true,
        TerminalCode::Never => false,
        TerminalCode::Auto => std::io::stdout().is_terminal() && !dumb(),
    }
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
