//! `countersign-loadtest churn …`

use clap::Args;

use super::{ChurnPlan, ChurnResult};
use crate::cli::Common;
use crate::clock::{from_seconds, seconds};
use crate::error::{Error, Result};
use crate::run::{Base, Verdict, check_body, listed, this_program};
use crate::story::visits::VisitPlan;
use crate::story::{speaks, within};
use crate::workers::WorkerArgs;
use crate::workers::crew::Hands;

/// Most messages or arrivals per second.
const RATE_MAX: f64 = 1e6;
/// Most seconds of a span.
const SECONDS_MAX: f64 = 86_400.0;

#[derive(Debug, Clone, Args)]
pub struct ChurnArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// Rooms.
    #[arg(long, default_value_t = 10)]
    pub rooms: usize,
    /// Members of each room that stay.
    #[arg(long, visible_alias = "members-per-room", default_value_t = 50)]
    pub members: usize,
    /// Of these, who send in turn.
    #[arg(long, default_value_t = 5)]
    pub publishers: usize,
    /// Messages per second into each room; 0: none.
    #[arg(long, default_value_t = 2.0)]
    pub rate: f64,
    /// Body of a message, bytes of JSON.
    #[arg(long, default_value_t = 128)]
    pub message_bytes: usize,
    /// Open loop: visitors that come per second, all rooms together.
    #[arg(long, default_value_t = 100.0)]
    pub arrivals: f64,
    /// How long each stays, seconds.
    #[arg(long, default_value_t = 2.0)]
    pub stay: f64,
    /// Share of visitors that leave by a dropped socket, 0 to 1; the others say `leave` and close.
    #[arg(long, default_value_t = 0.5)]
    pub dropped: f64,
    /// Visitors do not sign in.
    #[arg(long)]
    pub anonymous_visitors: bool,
    /// Messages without visitors first, to compare with, seconds.
    #[arg(long, default_value_t = 3.0)]
    pub calm: f64,
    /// Measured span, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Visitors before it that are not measured, seconds.
    #[arg(long, default_value_t = 3.0)]
    pub warmup: f64,
    /// Longest wait for what is under way at the end of a stay and of the run, seconds.
    #[arg(long, default_value_t = 15.0)]
    pub drain: f64,
    /// Quiet span before memory is read, at the start and at the end, seconds.
    #[arg(long, default_value_t = 2.0)]
    pub quiet: f64,
}

fn plan(args: &ChurnArgs) -> Result<ChurnPlan> {
    if args.rooms == 0 || args.members == 0 {
        return Err(Error::Usage("--rooms and --members are at least 1".to_owned()));
    }
    check_body(args.message_bytes)?;
    let span = |name, value| within(name, value, 0.0, SECONDS_MAX).map(from_seconds);
    Ok(ChurnPlan {
        rooms: args.rooms,
        per_room: args.members,
        publishers: args.publishers.clamp(1, args.members),
        messages_per_second: within("--rate", args.rate, 0.0, RATE_MAX)?,
        body_bytes: args.message_bytes,
        visits: VisitPlan {
            per_second: within("--arrivals", args.arrivals, 1e-3, RATE_MAX)?,
            stay: span("--stay", args.stay)?,
            dropped: within("--dropped", args.dropped, 0.0, 1.0)?,
        },
        anonymous_visitors: args.anonymous_visitors || args.common.anonymous,
        calm: span("--calm", args.calm)?,
        warmup: span("--warmup", args.warmup)?,
        window: from_seconds(within("--seconds", args.seconds, 1e-3, SECONDS_MAX)?),
        drain: span("--drain", args.drain)?,
        quiet: span("--quiet", args.quiet)?,
    })
}

/// Runs the scenario the arguments describe.
pub fn command(args: &ChurnArgs) -> Result<Verdict> {
    speaks(args.common.protocol)?;
    let plan = plan(args)?;
    let known = ChurnResult::default().metrics();
    let workers = args.workers.count_by_rooms("churn", plan.rooms)?;
    let program = this_program()?;
    let hands = Hands::of(&program, workers);
    let total = hands.shares().map(|share| plan.connections_of(share)).sum();
    let most = hands.shares().map(|share| plan.connections_of(share)).max();
    // Twice the users for visitors: one that dropped its socket counts until the server has noticed.
    let visitors = if plan.anonymous_visitors {
        0
    } else {
        2 * plan.visits.slots()
    };
    let signing_in = plan.members() + visitors;
    let mut base = Base::prepare_split(&args.common, &known, total, signing_in, most.unwrap_or(total))?;
    let mut result = match workers {
        1 => super::run(&plan, &base.stage())?,
        _ => super::split::run(&plan, &base.stage(), hands)?,
    };
    let metrics = result.metrics();
    let mut notes: Vec<String> = base.token_note(seconds(plan.lasts())).into_iter().collect();
    notes.extend(result.usage.warnings());
    notes.extend(listed("not connected", &result.connect_refused));
    notes.extend(listed("visit failed", &result.visits.failed));
    notes.extend(listed("visit ended", &result.visits.ended));
    notes.extend(listed("message refused", &result.messages.refused));
    notes.extend(listed("ended", &result.ended));
    base.trace = std::mem::take(&mut result.trace);
    base.publish("churn", total, (plan, result), &metrics, &notes)
}
