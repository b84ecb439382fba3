//! `countersign-loadtest qr …`

use std::path::PathBuf;

use clap::Args;

use super::{QrPlan, QrResult};
use crate::cli::Common;
use crate::clock::{from_seconds, seconds};
use crate::error::{Error, Result};
use crate::history::tap::Tap;
use crate::login::speaks;
use crate::run::{Base, Verdict, listed};
use crate::story::within;

/// Most attempts or echoes per second.
const RATE_MAX: f64 = 1e6;
/// Most seconds of a span.
const SECONDS_MAX: f64 = 86_400.0;

#[derive(Debug, Clone, Args)]
pub struct QrArgs {
    #[command(flatten)]
    pub common: Common,
    /// PCs with an open socket. Each has a person of its own, with a phone; --users is the same or more.
    #[arg(long, default_value_t = 200)]
    pub pcs: usize,
    /// Open loop: attempts that begin per second, all PCs together.
    #[arg(long, default_value_t = 200.0)]
    pub rate: f64,
    /// WebSockets that echo beside, for reference.
    #[arg(long, default_value_t = 10)]
    pub echo_sockets: usize,
    /// Echoes per second, all of them together; 0: none.
    #[arg(long, default_value_t = 500.0)]
    pub echo_rate: f64,
    /// Measured span, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Attempts before it that are not measured, seconds.
    #[arg(long, default_value_t = 2.0)]
    pub warmup: f64,
    /// Longest wait for what is under way at the end, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
    /// Record a history for `check` into this file, of PCs and phones.
    #[arg(long)]
    pub history: Option<PathBuf>,
}

fn plan(args: &QrArgs) -> Result<QrPlan> {
    if args.pcs == 0 {
        return Err(Error::Usage("--pcs is at least 1".to_owned()));
    }
    let span = |name, value, low| within(name, value, low, SECONDS_MAX).map(from_seconds);
    Ok(QrPlan {
        pcs: args.pcs,
        per_second: within("--rate", args.rate, 1e-3, RATE_MAX)?,
        echo_sockets: args.echo_sockets,
        echoes_per_second: within("--echo-rate", args.echo_rate, 0.0, RATE_MAX)?,
        warmup: span("--warmup", args.warmup, 0.0)?,
        window: span("--seconds", args.seconds, 1e-3)?,
        drain: span("--drain", args.drain, 0.0)?,
    })
}

/// Runs the scenario the arguments describe.
pub fn command(args: &QrArgs) -> Result<Verdict> {
    speaks(args.common.protocol)?;
    let plan = plan(args)?;
    // A person for each PC: what one of them does is pushed to all sockets of the same user.
    let common = Common {
        users: args.common.users.or(Some(plan.pcs)),
        ..args.common.clone()
    };
    let total = plan.connections();
    let mut base = Base::prepare(&common, &QrResult::default().metrics(), total, plan.pcs)?;
    let tap = args.history.as_deref().map(Tap::create).transpose()?;
    let mut result = super::run(&plan, &base.stage(), tap.map(Box::new))?;
    let metrics = result.metrics();
    let mut notes: Vec<String> = base.token_note(seconds(plan.lasts())).into_iter().collect();
    notes.extend(result.usage.warnings());
    notes.extend(listed("failed", &result.tally.failed));
    notes.extend(listed("not connected", &result.connect_refused));
    notes.extend(listed("ended", &result.tally.ended));
    base.trace = std::mem::take(&mut result.trace);
    base.publish("qr", total, (plan, result), &metrics, &notes)
}
