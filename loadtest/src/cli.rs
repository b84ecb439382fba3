//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::assertion::Assertion;
use crate::churn::ChurnArgs;
use crate::compare::CompareArgs;
use crate::counts::CountsArgs;
use crate::fleet::Dialect;
use crate::history::command::CheckArgs;
use crate::output::files::Files;
use crate::poll::PollArgs;
use crate::qr::QrArgs;
use crate::room::options::VariantArgs;
use crate::storm::StormArgs;
use crate::suite::PerfArgs;
use crate::suite::supervised::SupervisedArgs;
use crate::versus::command::VersusArgs;
use crate::workers::WorkerArgs;

/// Measures a Countersign gateway: memory per connection, fan-out, and how far both are from the floor.
#[derive(Debug, Parser)]
#[command(name = "countersign-loadtest", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Memory and processor time of connections that do nothing.
    Idle(IdleArgs),
    /// Messages into rooms, every delivery accounted for.
    Room(RoomArgs),
    /// Likes at a rate: how soon, how often and how truly members are told of counts.
    Counts(CountsArgs),
    /// Connections that come, stay a while and leave, while others stay and talk.
    Churn(ChurnArgs),
    /// All are cut at once and come back at once, to recover what was said meanwhile.
    Storm(StormArgs),
    /// Whole QR logins at a rate: what each costs, and how soon each push comes.
    Qr(QrArgs),
    /// PCs that wait for a QR login, told by push and asking by polling, in turn; prints ratios.
    Poll(PollArgs),
    /// The same load on the gateway and on the floor, in turn; prints ratios.
    Ratio(RatioArgs),
    /// The same load on any two targets, in turn; prints ratios.
    #[command(mut_arg("target", |a| a.hide(true).conflicts_with("a")), mut_arg("protocol", |a| a.hide(true).conflicts_with("a")), mut_arg("pid", |a| a.hide(true)), mut_arg("metrics", |a| a.hide(true)))]
    Versus(VersusArgs),
    /// Two documents side by side: differences, ratios, and whether they can be compared at all.
    Compare(CompareArgs),
    /// Serves the floor: the least that fan-out can cost here.
    Floor(FloorArgs),
    /// All targets by the method: met, not met or void, line by line.
    Perf(PerfArgs),
    /// Runs a program that ends with its parent.
    #[command(hide = true)]
    Supervised(SupervisedArgs),
    /// Drives a share of another process's run.
    #[command(hide = true)]
    Worker,
    /// Decides from recorded histories whether anything was forged, lost, repeated or out of order.
    Check(CheckArgs),
}

/// Where to, as whom, and what becomes of the result.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// The gateway, ws://host:port[/path].
    #[arg(long, default_value = "ws://127.0.0.1:8080")]
    pub target: String,
    /// Load a machine that is not this one.
    #[arg(long)]
    pub allow_remote: bool,
    /// What the target speaks.
    #[arg(long, value_enum, default_value = "countersign")]
    pub protocol: Dialect,
    /// Process id of the server; without it and --metrics neither its memory nor its processor time is known.
    #[arg(long)]
    pub pid: Option<u32>,
    /// The gateway's metrics, http://host:port/metrics of its operator's port, instead of --pid: for a gateway on
    /// another machine. Processor time is then known to 20 ms.
    #[arg(long, value_name = "URL", conflicts_with = "pid")]
    pub metrics: Option<String>,
    /// Limits profile the gateway was started with; written into the result. `bench` also lifts the
    /// default bound on new connections per second.
    #[arg(long, default_value = "default")]
    pub profile: String,
    /// Namespace of the rooms.
    #[arg(long, default_value = "default")]
    pub namespace: String,
    /// Users to register and sign in; default: one for 16 connections, the gateway's limit per user.
    #[arg(long)]
    pub users: Option<usize>,
    /// Registrations and sign-ins at once.
    #[arg(long, default_value_t = 4)]
    pub logins_in_flight: usize,
    /// Do not sign in where nothing is sent.
    #[arg(long)]
    pub anonymous: bool,
    /// Connections from one source address of 127.0.0.0/8; the gateway allows 200.
    #[arg(long, default_value_t = 150)]
    pub per_source: usize,
    /// Connections on their way at once.
    #[arg(long, default_value_t = 100)]
    pub connects_in_flight: usize,
    /// New connections per second; 0: no bound. Default 450 (the gateway allows 500), with profile
    /// `bench` no bound. Those who come back in a `storm` are bound only when this is given.
    #[arg(long)]
    pub connect_rate: Option<f64>,
    /// Pin all threads of --pid to this processor.
    #[arg(long)]
    pub pin_server: Option<usize>,
    /// Pin the tester to this processor.
    #[arg(long)]
    pub pin_tester: Option<usize>,
    /// Give up after this many seconds.
    #[arg(long, default_value_t = 600.0)]
    pub deadline: f64,
    /// Write the result as one JSON document.
    #[arg(long)]
    pub json: Option<PathBuf>,
    #[command(flatten)]
    pub files: Files,
    /// What must hold, like p99<5ms or lost==0; may be repeated. Exit code 1 when one does not.
    #[arg(long = "assert", value_name = "ASSERTION")]
    pub assertions: Vec<Assertion>,
}

#[derive(Debug, Clone, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// Connections in all.
    #[arg(long, default_value_t = 1_000)]
    pub connections: usize,
    /// Memory per connection is the slope from this number of connections; default a third of all.
    #[arg(long)]
    pub slope_from: Option<usize>,
    /// … to this number; default all.
    #[arg(long)]
    pub slope_to: Option<usize>,
    /// Connections in one room.
    #[arg(long, default_value_t = 10)]
    pub members_per_room: usize,
    /// Each connection sends one message and receives those of its room before the quiet span.
    #[arg(long)]
    pub active: bool,
    /// Body of that message, bytes of JSON.
    #[arg(long, default_value_t = 1_024)]
    pub message_bytes: usize,
    /// At the end each connection sends a second message with a body of this length; memory is read again.
    #[arg(long, requires = "active")]
    pub then_message_bytes: Option<usize>,
    /// Longest wait for messages of which nothing new comes, seconds; what is missing then is lost.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
    /// Wait before a quiet span begins, seconds.
    #[arg(long, default_value_t = 0.0)]
    pub settle: f64,
    /// Quiet span before memory is read, seconds.
    #[arg(long, default_value_t = 30.0)]
    pub quiet: f64,
}

/// The load of `room` and `ratio`.
#[derive(Debug, Clone, Args, Serialize)]
pub struct LoadArgs {
    /// Members of each room, publishers included.
    #[arg(long, visible_alias = "members-per-room", default_value_t = 100)]
    pub members: usize,
    /// Rooms.
    #[arg(long, default_value_t = 1)]
    pub rooms: usize,
    /// Members of each room that send.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Open loop: messages per second into each room.
    #[arg(long, conflicts_with = "in_flight")]
    pub rate: Option<f64>,
    /// Closed loop (burst): messages each publisher keeps unanswered.
    #[arg(long)]
    pub in_flight: Option<usize>,
    /// Body of a message, bytes of JSON.
    #[arg(long, default_value_t = 128)]
    pub message_bytes: usize,
    /// Measured span, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Sent before it and not measured, seconds.
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Longest wait for what is under way at the end, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
    /// Decode every frame and compare what all members were told.
    #[arg(long)]
    pub check: bool,
}

#[derive(Debug, Clone, Args)]
pub struct RoomArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: LoadArgs,
    #[command(flatten)]
    pub variant: VariantArgs,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// Record a history for `check` into this file; every frame is decoded then.
    #[arg(long)]
    pub history: Option<PathBuf>,
}

/// Which floor a ratio is taken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum FloorKind {
    /// Coalesced for a burst, plain when paced.
    Auto,
    /// One send per message and socket.
    Plain,
    /// What is pending for a socket in one send.
    Coalesced,
}

#[derive(Debug, Clone, Args)]
pub struct RatioArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub load: LoadArgs,
    /// Valid pairs of product and floor wanted, in order A B B A.
    #[arg(long, default_value_t = 12)]
    pub pairs: usize,
    /// Which floor.
    #[arg(long, value_enum, default_value = "auto")]
    pub floor: FloorKind,
    /// Length of the floor's frames on the wire; default: what a first, discarded run of the product had.
    #[arg(long)]
    pub frame_bytes: Option<usize>,
}

#[derive(Debug, Clone, Args)]
pub struct FloorArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// Listen on an address that other machines reach.
    #[arg(long)]
    pub allow_remote: bool,
    /// Length of every broadcast frame on the wire, bytes, header included.
    #[arg(long, default_value_t = 300)]
    pub frame_bytes: usize,
    /// Join what is pending for a socket into one send.
    #[arg(long)]
    pub coalesce: bool,
    /// Measure the cost of one send of that length on a loopback pair, print it, and end.
    #[arg(long)]
    pub probe: bool,
    /// Write the probe's result as JSON.
    #[arg(long, requires = "probe")]
    pub json: Option<PathBuf>,
    /// End when stdin closes.
    #[arg(long)]
    pub until_stdin_closes: bool,
    /// End after this many seconds.
    #[arg(long, default_value_t = 3_600.0)]
    pub deadline: f64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["x", "room", "--rate", "50", "--assert", "p99<5ms"]).unwrap();
        assert!(matches!(cli.command, Command::Room(args) if args.common.assertions.len() == 1));
        let cli = Cli::try_parse_from(["x", "versus", "--a", "floor", "--b", "ws", "--rate", "5"]).unwrap();
        assert!(matches!(cli.command, Command::Versus(args) if args.a.is_floor()));
        for bad in [
            vec!["x", "room", "--rate", "5", "--in-flight", "5"],
            vec!["x", "room", "--assert", "p99"],
            vec!["x", "versus", "--a", "floor", "--rate", "5"],
            vec!["x", "versus", "--a", "floor", "--b", "ws", "--target", "ws://h:1"],
            vec![
                "x",
                "room",
                "--rate",
                "5",
                "--pid",
                "1",
                "--metrics",
                "http://127.0.0.1:1",
            ],
            vec!["x", "nothing"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err());
        }
    }
}
