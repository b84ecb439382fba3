//! `countersign-loadtest poll …`

use clap::Args;

use super::{Mode, PollPlan, PollResult};
use crate::cli::Common;
use crate::clock::{from_seconds, seconds};
use crate::error::{Error, Result};
use crate::login::speaks;
use crate::run::{Base, Verdict, listed};
use crate::story::within;

/// Most logins per second.
const RATE_MAX: f64 = 1e4;
/// Most seconds of a span: a login waits 300 s.
const SECONDS_MAX: f64 = 260.0;
/// Most pairs.
const PAIRS_MAX: usize = 100;

#[derive(Debug, Clone, Args)]
pub struct PollArgs {
    #[command(flatten)]
    pub common: Common,
    /// PCs that wait.
    #[arg(long, default_value_t = 1_000)]
    pub pcs: usize,
    /// Polling with a connection for each question, in place of one that is kept.
    #[arg(long)]
    pub connect: bool,
    /// From one question of a PC to its next, seconds.
    #[arg(long, default_value_t = 1.0)]
    pub interval: f64,
    /// A PC on a WebSocket that has heard nothing for this long sends a ping, seconds.
    #[arg(long, default_value_t = 25.0)]
    pub heartbeat: f64,
    /// Valid pairs of push and polling wanted, in order A B B A; at most twice as many are tried.
    #[arg(long, default_value_t = 2)]
    pub pairs: usize,
    /// Logins per second that phones carry out in the measured span.
    #[arg(long, default_value_t = 2.0)]
    pub logins: f64,
    /// Phones, each with an account.
    #[arg(long, default_value_t = 20)]
    pub phones: usize,
    /// Wait before the measured span, once all PCs wait, seconds.
    #[arg(long, default_value_t = 1.0)]
    pub settle: f64,
    /// Measured span of a side, seconds: 50 hold one rotation of each code and two heartbeats.
    #[arg(long, default_value_t = 50.0)]
    pub seconds: f64,
    /// Longest wait for logins under way at the end, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
}

fn plan(args: &PollArgs) -> Result<PollPlan> {
    if args.pcs == 0 || args.phones == 0 {
        return Err(Error::Usage("--pcs and --phones are at least 1".to_owned()));
    }
    if !(1..=PAIRS_MAX).contains(&args.pairs) {
        return Err(Error::Usage(format!("--pairs is 1 to {PAIRS_MAX}")));
    }
    let span = |name, value, low| within(name, value, low, SECONDS_MAX).map(from_seconds);
    Ok(PollPlan {
        pcs: args.pcs,
        method: if args.connect {
            Mode::Connect
        } else {
            Mode::KeepAlive
        },
        pairs: args.pairs,
        interval: span("--interval", args.interval, 1e-3)?,
        heartbeat: span("--heartbeat", args.heartbeat, 1e-3)?,
        logins_per_second: within("--logins", args.logins, 0.0, RATE_MAX)?,
        phones: args.phones,
        settle: span("--settle", args.settle, 0.0)?,
        window: span("--seconds", args.seconds, 1e-3)?,
        drain: span("--drain", args.drain, 0.0)?,
    })
}

/// Runs the scenario the arguments describe.
pub fn command(args: &PollArgs) -> Result<Verdict> {
    speaks(args.common.protocol)?;
    args.common.files.without_course("poll")?;
    let plan = plan(args)?;
    let common = Common {
        users: args.common.users.or(Some(plan.phones)),
        ..args.common.clone()
    };
    let total = plan.connections();
    let mut base = Base::prepare(&common, &PollResult::default().metrics(), total, plan.phones)?;
    let mut result = super::run(&plan, &base.stage())?;
    let metrics = result.metrics();
    let mut notes: Vec<String> = base.token_note(seconds(plan.lasts())).into_iter().collect();
    notes.extend(result.notes());
    for pair in &result.pairs {
        for side in [&pair.push, &pair.poll] {
            notes.extend(listed("failed", &side.counts.failed));
            notes.extend(listed("ended", &side.counts.ended));
            notes.extend(listed("not connected", &side.connect_refused));
        }
    }
    base.trace = std::mem::take(&mut result.trace);
    base.publish("poll", total, (plan, result), &metrics, &notes)
}
