//! The options of the variants of `room`.

use clap::Args;

use super::{Big, Layout, Load, Mix, RoomPlan, Variant};
use crate::cli::Common;
use crate::error::{Error, Result};
use crate::run::CONNECTIONS_MAX;

/// Variants of `room`.
#[derive(Debug, Clone, Args)]
pub struct VariantArgs {
    /// One big room of this many members beside the others (--rooms of --members); needs --rate.
    #[arg(long, value_name = "MEMBERS")]
    pub big_members: Option<usize>,
    /// Messages per second into the big room; default --rate.
    #[arg(long, value_name = "RATE", requires = "big_members")]
    pub big_rate: Option<f64>,
    /// Weights of priorities, like low=2,normal=1,high=1; default all normal.
    #[arg(long, value_name = "WEIGHTS")]
    pub mix: Option<Mix>,
    /// Members of each room, or of the big one, that stop reading after a reference span of --seconds.
    #[arg(long, value_name = "MEMBERS", default_value_t = 0)]
    pub stalled: usize,
}

impl VariantArgs {
    /// Puts the variants into a plan; returns how many connections sign in then, `signing_in` of which
    /// are those of the equal rooms.
    pub fn apply(&self, plan: &mut RoomPlan, common: &Common, signing_in: usize) -> Result<usize> {
        let usage = |why: String| Err(Error::Usage(why));
        self.suits(common)?;
        let big = match (self.big_members, plan.load) {
            (None, _) => None,
            (Some(members), Load::Paced { per_second }) => Some(Big {
                members,
                per_second: self.big_rate.unwrap_or(per_second),
            }),
            (Some(_), Load::InFlight { .. }) => {
                return usage(
                    "--big-members needs --rate: groups are compared on fixed schedules".to_owned(),
                );
            }
        };
        if big
            .is_some_and(|b| b.members == 0 || b.members.saturating_add(plan.connections()) > CONNECTIONS_MAX)
        {
            return usage(format!(
                "--big-members and the other rooms' are 1 to {CONNECTIONS_MAX} together"
            ));
        }
        if big.is_some_and(|b| !(b.per_second > 0.0 && b.per_second <= 1e7)) {
            return usage("--big-rate is above 0 and at most 10 million".to_owned());
        }
        plan.variant = Variant {
            big,
            mix: self.mix,
            stalled: self.stalled,
        };
        let layout = Layout::of(plan);
        for room in 0..layout.rooms() {
            // Somebody has to read what the publishers send, or there is nothing to compare.
            let reading = layout.size(room).saturating_sub(layout.stalled(room));
            if layout.stalled(room) > 0 && reading < layout.publishers(room) + 1 {
                return usage(format!(
                    "--stalled {} leaves no reader beside the {} publishers of a room of {}",
                    self.stalled,
                    layout.publishers(room),
                    layout.size(room)
                ));
            }
        }
        let more = match big {
            Some(_) if common.anonymous => layout.publishers(0),
            Some(big) => big.members,
            None => 0,
        };
        Ok(signing_in + more)
    }

    /// Refuses what the target's protocol has no words for.
    fn suits(&self, common: &Common) -> Result<()> {
        let why = if !common.protocol.echoes() {
            return Ok(());
        } else if self.mix.is_some() {
            "--mix: there are no priorities"
        } else if self.stalled > 0 {
            "--stalled: nothing tells a member what it missed"
        } else {
            return Ok(());
        };
        Err(Error::Usage(format!(
            "{why} in --protocol {}",
            common.protocol.name()
        )))
    }
}
