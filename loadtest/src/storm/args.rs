//! `countersign-loadtest storm …`

use clap::Args;

use super::{StormPlan, StormResult};
use crate::cli::Common;
use crate::clock::{from_seconds, seconds};
use crate::error::{Error, Result};
use crate::run::{Base, Verdict, check_body, listed, this_program};
use crate::story::{speaks, within};
use crate::workers::WorkerArgs;
use crate::workers::crew::Hands;

/// Most messages per second.
const RATE_MAX: f64 = 1e6;
/// Most seconds of a span.
const SECONDS_MAX: f64 = 86_400.0;

#[derive(Debug, Clone, Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    pub workers: WorkerArgs,
    /// Rooms.
    #[arg(long, default_value_t = 10)]
    pub rooms: usize,
    /// Members of each room, those who stay included.
    #[arg(long, visible_alias = "members-per-room", default_value_t = 100)]
    pub members: usize,
    /// Members of each room that send in turn; they stay connected.
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Share of each room's members that stays connected besides, 0 to 1.
    #[arg(long, default_value_t = 0.05)]
    pub stay: f64,
    /// Messages per second into each room, before, during and after.
    #[arg(long, default_value_t = 5.0)]
    pub rate: f64,
    /// Body of a message, bytes of JSON.
    #[arg(long, default_value_t = 128)]
    pub message_bytes: usize,
    /// Messages before the cut, seconds.
    #[arg(long, default_value_t = 3.0)]
    pub before: f64,
    /// From the cut to the first try to come back, seconds.
    #[arg(long, default_value_t = 0.0)]
    pub away: f64,
    /// Longest time from the cut until all are current, seconds.
    #[arg(long, default_value_t = 60.0)]
    pub limit: f64,
    /// Messages after all are current, seconds.
    #[arg(long, default_value_t = 2.0)]
    pub after: f64,
    /// Longest wait for what is under way at the end, seconds.
    #[arg(long, default_value_t = 10.0)]
    pub drain: f64,
}

fn plan(args: &StormArgs) -> Result<StormPlan> {
    check_body(args.message_bytes)?;
    let share = within("--stay", args.stay, 0.0, 1.0)?;
    let publishers = args.publishers.max(1);
    // Between 0 and the members by the bound of the share.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let stayers = (args.members as f64 * share).round() as usize;
    if args.rooms == 0 || publishers + stayers >= args.members {
        return Err(Error::Usage(format!(
            "of {} members in each of {} rooms, {publishers} send and {stayers} stay: nobody is left to be cut",
            args.members, args.rooms
        )));
    }
    let span = |name, value| within(name, value, 0.0, SECONDS_MAX).map(from_seconds);
    Ok(StormPlan {
        rooms: args.rooms,
        per_room: args.members,
        publishers,
        stayers,
        messages_per_second: within("--rate", args.rate, 1e-3, RATE_MAX)?,
        body_bytes: args.message_bytes,
        before: span("--before", args.before)?,
        away: span("--away", args.away)?,
        // What holds without the option is a pace below the gateway's bound, for runs that are not about it.
        returns_per_second: args.common.connect_rate.unwrap_or(0.0),
        limit: span("--limit", args.limit)?,
        after: span("--after", args.after)?,
        drain: span("--drain", args.drain)?,
    })
}

/// Runs the scenario the arguments describe.
pub fn command(args: &StormArgs) -> Result<Verdict> {
    speaks(args.common.protocol)?;
    let plan = plan(args)?;
    let known = StormResult::default().metrics();
    let total = plan.members();
    let signing_in = if args.common.anonymous {
        plan.rooms * plan.publishers
    } else {
        // Twice the users: a connection that was cut counts until the server has noticed.
        2 * total
    };
    let workers = args.workers.count_by_rooms("storm", plan.rooms)?;
    // Shared by whole rooms.
    let most = plan.rooms.div_ceil(workers) * total.div_ceil(plan.rooms.max(1));
    let mut base = Base::prepare_split(&args.common, &known, total, signing_in, most.min(total))?;
    let mut result = match workers {
        1 => super::run(&plan, &base.stage())?,
        _ => super::split::run(&plan, &base.stage(), Hands::of(&this_program()?, workers))?,
    };
    let metrics = result.metrics();
    let mut notes: Vec<String> = base.token_note(seconds(plan.lasts())).into_iter().collect();
    notes.extend(result.usage.warnings());
    notes.extend(listed("not connected", &result.connect_refused));
    notes.extend(listed("refused in the storm", &result.storm_refused));
    notes.extend(listed("not back", &result.given_up));
    notes.extend(listed("message refused", &result.messages.refused));
    notes.extend(listed("stayed and ended", &result.stayed_ended));
    notes.extend(listed("ended again", &result.ended_again));
    base.trace = std::mem::take(&mut result.trace);
    base.publish("storm", total, (plan, result), &metrics, &notes)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    #[test]
    fn all_come_back_at_once_unless_a_rate_is_named() {
        for (options, expected) in [
            (&[][..], 0.0),
            (&["--profile", "bench"], 0.0),
            (&["--connect-rate", "0"], 0.0),
            (&["--connect-rate", "450"], 450.0),
        ] {
            let line = ["countersign-loadtest", "storm"].iter().chain(options);
            let Command::Storm(args) = Cli::try_parse_from(line).unwrap().command else {
                unreachable!("another scenario");
            };
            let found = plan(&args).unwrap().returns_per_second;
            assert!((found - expected).abs() < f64::EPSILON, "{options:?}: {found}");
        }
    }
}
