//! What can be said at the start: commands, and every setting that is no secret as a flag.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};
use countersign::config::fields::{self, PREFIX};
use countersign::config::{Mark, Sources, Trial};
use countersign::greeting::TerminalCode;
use countersign::ops::{advice, machine};
use countersign::version;

/// Largest configuration file, bytes: one with every seeded account there may be has a tenth of it.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Countersign: QR login pushed, messages nobody can forge, rooms that stay current.
#[derive(Clone, Parser)]
#[command(
    version = version::SHORT,
    long_version = version::LONG,
    about,
    after_help = "Every setting is a flag, such as --qr.rotate_ms 30000, and a variable of the environment, such as \
                  COUNTERSIGN_QR_ROTATE_MS; `countersign config-reference` lists them. Flags go before the command or after it."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Configuration file (TOML).
    #[arg(long, global = true, env = "COUNTERSIGN_CONFIG")]
    config: Option<PathBuf>,
    /// For trying with a phone in the same network: listens on every address of this machine, with what is for trying
    /// only.
    #[arg(long, global = true)]
    trial_on_lan: bool,
    /// Whether the QR code of the page is printed at the start: auto (on a terminal), always or never.
    #[arg(
        long,
        global = true,
        env = "COUNTERSIGN_TERMINAL_CODE",
        default_value = "auto"
    )]
    pub(crate) terminal_code: TerminalCode,
    /// Settings by path.
    #[arg(skip)]
    flags: Vec<(String, String)>,
}

#[derive(Clone, Subcommand)]
pub(crate) enum Command {
    /// Serve until told to stop: what happens without a command, too.
    Serve,
    /// Print everything that is wrong with the configuration, with file and line, and end: 0 when it can be used, else 2.
    CheckConfig,
    /// Print every setting with its default and bound, as Markdown.
    ConfigReference {
        /// A configuration file instead, which has every setting with its default.
        #[arg(long)]
        example: bool,
    },
    /// Ask a running gateway on its operator's port whether it is well: code 0 if so, 1 with a sentence if not.
    Healthcheck {
        /// Whether it takes new connections, and not only whether it answers.
        #[arg(long)]
        ready: bool,
    },
    /// Ask for a password, or read it from standard input, and print its hash for `accounts.users`.
    HashPassword,
}

impl Arguments {
    /// Those of this process; ends it when they are wrong.
    pub(crate) fn parse_all() -> Self {
        let fields = fields::all();
        let mut command = Self::command();
        for field in &fields {
            if let Some(flag) = field.flag() {
                let argument = Arg::new(field.path.clone())
                    .long(flag)
                    .aliases([field.path.clone(), field.path.replace('_', "-")])
                    .global(true)
                    .value_name("VALUE")
                    .help(field.row.what.replace('`', ""))
                    .hide(!field.row.has(Mark::Listed));
                command = command.arg(argument);
            }
        }
        let matches = command.get_matches();
        let mut arguments = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        for field in fields.iter().filter(|field| field.flag().is_some()) {
            if let Some(value) = matches.get_one::<String>(&field.path) {
                arguments.flags.push((field.path.clone(), value.clone()));
            }
        }
        arguments
    }

    /// What the configuration is made of.
    ///
    /// # Errors
    /// A file that cannot be read, a variable that is no text.
    pub(crate) fn sources(&self) -> Result<Sources, String> {
        let file = self
            .config
            .as_ref()
            .map(|path| Ok::<_, String>((path.clone(), text_of(path)?)));
        Ok(Sources {
            file: file.transpose()?,
            environment: environment()?,
            flags: self.flags.clone(),
            trial: self.trial_on_lan.then(|| Trial {
                machine: machine::address(),
            }),
        })
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(format!(
            "the configuration {} cannot be read: {error}; {}",
            path.display(),
            advice::on_reading(path, &error)
        )),
        Ok(bytes) if bytes as u64 > FILE_BYTES_MAX => Err(format!(
            "the configuration {} is larger than {FILE_BYTES_MAX} bytes",
            path.display()
        )),
        Ok(_) => Ok(text),
    }
}

fn environment() -> Result<Vec<(String, String)>, String> {
    let named = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value))
    });
    named
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(format!("{name}: is no text")),
        })
        .collect()
}
