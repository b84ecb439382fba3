//! Arguments, configuration, run.

mod arguments;
mod commands;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

use countersign::app::App;
use countersign::config::{Config, Loaded, reference};
use countersign::greeting::{Greeting, TerminalCode};
use countersign::ops::probe::{self, Question};
use countersign::ops::{descriptors, logging, machine};
use countersign::production;
use countersign::reload::Hangups;

use arguments::{Arguments, Command};

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse_all();
    let done = match &arguments.command {
        Some(Command::Serve) | None => serve_with_logs(arguments).await,
        Some(Command::CheckConfig) => check_config(&arguments),
        Some(Command::ConfigReference { example: false }) => print(&reference::markdown()),
        Some(Command::ConfigReference { example: true }) => print(&reference::example()),
        Some(Command::Healthcheck { ready }) => Ok(healthcheck(&arguments, *ready)),
        Some(Command::HashPassword) => hash_password(&arguments).await,
    };
    match done {
        Ok(code) => code,
        Err(text) => {
            say_error(&text);
            ExitCode::from(2)
        }
    }
}

async fn hash_password(arguments: &Arguments) -> Result<ExitCode, String> {
    let hash = commands::hash::hash_password(arguments.sources()?).await?;
    print(&(hash + "\n"))
}

fn check_config(arguments: &Arguments) -> Result<ExitCode, String> {
    let (report, sound) = commands::check::check(arguments.sources()?);
    print(&report)?;
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(2)
    })
}

/// What a command was asked for.
fn print(text: &str) -> Result<ExitCode, String> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| format!("standard output cannot be written to: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve_with_logs(arguments: Arguments) -> Result<ExitCode, String> {
    let logs = logging::init()?;
    let served = tokio::select! {
        served = serve(arguments) => served,
        never = logs.tell_dropped() => match never {},
    };
    logs.finish();
    served.map(|()| ExitCode::SUCCESS)
}

async fn serve(arguments: Arguments) -> Result<(), String> {
    // First of all: until somebody listens to it, a signal ends the process.
    let deaf = |e| format!("signals cannot be listened to: {e}");
    let hangups = Hangups::listen().map_err(deaf)?;
    let signal = shutdown_signal().map_err(deaf)?;
    let code = shows_code(arguments.terminal_code);
    let loaded = commands::check::load(arguments.sources()?);
    if !loaded.problems.is_empty() {
        let problems = commands::check::problems(&loaded);
        return Err(format!(
            "the configuration cannot be used:\n{}",
            problems.trim_end()
        ));
    }
    tell_warnings(&loaded);
    logging::set_levels(loaded.config.log_levels.as_deref());
    let app = App::bind(loaded.config).map_err(|e| e.to_string())?;
    let read = move || reread(&arguments);
    hangups.reload(Arc::clone(app.node()), read);
    greet(&app, code);
    app.run(signal).await;
    Ok(())
}

fn tell_warnings(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// For a reload: a configuration that can be run with, or each problem.
fn reread(arguments: &Arguments) -> Result<Config, Vec<String>> {
    let loaded = commands::check::load(arguments.sources().map_err(|e| vec![e])?);
    if loaded.problems.is_empty() {
        tell_warnings(&loaded);
        return Ok(loaded.config);
    }
    Err(loaded.problems.iter().map(ToString::to_string).collect())
}

/// Code 0 is well, 1 is not, 2 is a configuration that does not say where to ask.
fn healthcheck(arguments: &Arguments, ready: bool) -> ExitCode {
    let question = if ready { Question::Ready } else { Question::Alive };
    let operator = match arguments.sources() {
        // What else may be wrong with it is not for this to say: another process runs.
        Ok(sources) => sources.load().config.operator_listen,
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
fn greet(app: &App, code: bool) {
    let config = app.node().config();
    let sockets = descriptors::limit().saturating_sub(config.limits.descriptors_reserved);
    let greeting = Greeting {
        addresses: app.addresses(),
        scheme: config.tls.scheme(),
        origin: app.node().origins.public(),
        profile: config.limits_profile,
        demo: config.demo,
        code,
        notes: production::notes(&config, app.node().origins.public(), sockets),
        socket: config.unix.path(),
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

/// Ready at SIGTERM or SIGINT, which are listened to from here on. A second one ends the process at once, as signals do,
/// whatever it is busy with.
fn shutdown_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (first, came) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        next().await;
        // Nobody waits for it when the start has failed.
        let _ = first.send(());
        next().await;
        std::process::exit(130);
    });
    Ok(async move {
        let _ = came.await;
    })
}
