//! `countersign-loadtest counts …`

use clap::Args;

use super::{CountsPlan, CountsResult};
use crate::cli::Common;
use crate::clock::{from_seconds, seconds};
use crate::error::{Error, Result};
use crate::run::{Base, Verdict, listed, this_program};
use crate::story::visits::VisitPlan;
use crate::story::{speaks, within};
use crate::workers::WorkerArgs;
use crate::workers::crew::Hands;

/// Most likes or arrivals per second.
const RATE_MAX: f64 = 1e6;
/// Most seconds of a span.
const SECONDS_MAX: f64 = 86_400.0;

#[derive(Debug, Clone, Args)]
pub struct CountsArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// Rooms.
    #[arg(long, default_value_t = 10)]
    pub rooms: usize,
    /// Members of each room; all watch.
    #[arg(long, visible_alias = "members-per-room", default_value_t = 100)]
    pub members: usize,
    /// Members of each room that like, in turn; default all.
    #[arg(long)]
    pub likers: Option<usize>,
    /// Open loop: likes per second into each room.
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// What each like adds, 1 to 100.
    #[arg(long, default_value_t = 1)]
    pub n: u64,
    /// Anonymous viewers that come per second, all rooms together; 0: none.
    #[arg(long, default_value_t = 0.0)]
    pub churn_rate: f64,
    /// How long each of them stays, seconds.
    #[arg(long, default_value_t = 1.0)]
    pub churn_stay: f64,
    /// Measured span, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Before it and not measured, seconds.
    #[arg(long, default_value_t = 1.0)]
    pub warmup: f64,
    /// Longest wait until all is told at the end, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
}

fn plan(args: &CountsArgs) -> Result<CountsPlan> {
    if args.rooms == 0 || args.members == 0 {
        return Err(Error::Usage("--rooms and --members are at least 1".to_owned()));
    }
    if !(1..=100).contains(&args.n) {
        return Err(Error::Usage(format!("--n is 1 to 100, not {}", args.n)));
    }
    let churn = within("--churn-rate", args.churn_rate, 0.0, RATE_MAX)?;
    let stay = from_seconds(within("--churn-stay", args.churn_stay, 0.0, SECONDS_MAX)?);
    Ok(CountsPlan {
        rooms: args.rooms,
        per_room: args.members,
        likers: args.likers.unwrap_or(args.members).clamp(1, args.members),
        per_second: within("--rate", args.rate, 1e-3, RATE_MAX)?,
        n: args.n,
        visits: (churn > 0.0).then_some(VisitPlan {
            per_second: churn,
            stay,
            dropped: 0.5,
        }),
        warmup: from_seconds(within("--warmup", args.warmup, 0.0, SECONDS_MAX)?),
        window: from_seconds(within("--seconds", args.seconds, 1e-3, SECONDS_MAX)?),
        drain: from_seconds(within("--drain", args.drain, 0.0, SECONDS_MAX)?),
    })
}

/// Runs the scenario the arguments describe.
pub fn command(args: &CountsArgs) -> Result<Verdict> {
    speaks(args.common.protocol)?;
    let plan = plan(args)?;
    let known = CountsResult::default().metrics();
    let workers = args.workers.count_by_rooms("counts", plan.rooms)?;
    let program = this_program()?;
    let hands = Hands::of(&program, workers);
    let total = hands.shares().map(|share| plan.connections_of(share)).sum();
    let most = hands.shares().map(|share| plan.connections_of(share)).max();
    let mut base = Base::prepare_split(&args.common, &known, total, plan.members(), most.unwrap_or(total))?;
    let mut result = match workers {
        1 => super::run(&plan, &base.stage())?,
        _ => super::split::run(&plan, &base.stage(), hands)?,
    };
    let metrics = result.metrics();
    let mut notes: Vec<String> = base.token_note(seconds(plan.lasts())).into_iter().collect();
    notes.extend(result.usage.warnings());
    notes.extend(listed("refused", &result.refused));
    notes.extend(listed("not connected", &result.connect_refused));
    notes.extend(listed("ended", &result.ended));
    base.trace = std::mem::take(&mut result.trace);
    base.publish("counts", total, (plan, result), &metrics, &notes)
}
