//! All that one process counted in a run, in a form that can be sent to another and added up there.

use serde::{Deserialize, Serialize};

use super::RoomPlan;
use super::account::Accounts;
use super::agreement::Agreement;
use super::echo::Echo;
use super::layout::Layout;
use super::ledger::{ByClass, Ledger};
use super::stall::{Resident, RoomStall, StalledResult};
use super::tally::{Groups, Priorities, RoomResult, Tally};
use crate::clock::Nanos;
use crate::error::Result;
use crate::latency::Latency;
use crate::order::Order;

/// One member of a room.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Member {
    pub room: usize,
    pub order: Order,
    /// Messages of this run received, each once.
    pub delivered: u64,
    /// Messages the server said it dropped for this member.
    pub told: u64,
    /// It stops reading in this run.
    pub stalls: bool,
    /// How its connection ended, if it is one that stops reading.
    pub ended: Option<String>,
    /// That end told it that it misses something.
    pub cut: bool,
}

impl Member {
    /// A member that joined `room` when its newest offset was `base`.
    pub(super) fn new(room: usize, base: u64, stalls: bool) -> Member {
        Member {
            room,
            order: Order::after(base),
            delivered: 0,
            told: 0,
            stalls,
            ended: None,
            cut: false,
        }
    }

    /// Messages of this run it had or was told of.
    pub(super) fn accounted(&self) -> u64 {
        self.delivered + self.told
    }
}

/// What is known of one room.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RoomBook {
    /// Messages acknowledged with an offset; all that were sent where nothing is acknowledged.
    pub accepted: u64,
    /// The newest offset anybody was told.
    pub top: u64,
    pub stall: RoomStall,
    /// Kept for runs of several priorities.
    pub ledger: Option<Ledger>,
}

/// Everything counted by one process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Books {
    pub tally: Tally,
    pub rooms: Vec<RoomBook>,
    pub members: Vec<Member>,
    pub accounts: Accounts,
    pub latency: Latency,
    /// Of messages meant in the reference span.
    pub reference: Latency,
    pub lag: Latency,
    pub agreement: Option<Agreement>,
    /// Where the target echoes; one process drives such a run.
    #[serde(skip)]
    pub echo: Option<Echo>,
}

impl Books {
    /// Adds the books of another process of the same run.
    pub(super) fn pool(&mut self, other: Books) -> Result<()> {
        self.tally.add(&other.tally);
        for (ours, theirs) in self.rooms.iter_mut().zip(&other.rooms) {
            ours.accepted += theirs.accepted;
            ours.top = ours.top.max(theirs.top);
            ours.stall.pool(&theirs.stall);
            if let (Some(ours), Some(theirs)) = (&mut ours.ledger, &theirs.ledger) {
                ours.pool(theirs);
            }
        }
        self.members.extend(other.members);
        self.accounts.pool(&other.accounts)?;
        self.latency.pool(&other.latency)?;
        self.reference.pool(&other.reference)?;
        self.lag.pool(&other.lag)?;
        if let (Some(ours), Some(theirs)) = (&mut self.agreement, other.agreement) {
            self.tally.disagreed += ours.pool(theirs);
        }
        Ok(())
    }

    /// Counts what is missing per member and puts everything into `result`.
    pub(super) fn settle(&mut self, plan: &RoomPlan, result: &mut RoomResult) {
        result.unanswered = self.tally.sent.saturating_sub(self.tally.answered);
        let delivered = |m: &&Member| m.delivered;
        result.per_member.0 = self.members.iter().map(|m| delivered(&m)).min().unwrap_or(0);
        result.per_member.1 = self.members.iter().map(|m| delivered(&m)).max().unwrap_or(0);
        let mut stalled = (plan.variant.stalled > 0).then(StalledResult::default);
        for (index, member) in self.members.iter().enumerate() {
            let Some(room) = self.rooms.get(member.room) else {
                continue;
            };
            // Two ways to count, by offset and by number: a fault in one does not hide in the other.
            let missing = self
                .echo
                .as_ref()
                .map_or_else(
                    || member.order.missing(room.top),
                    |echo| echo.missing(index, member.room),
                )
                .max(room.accepted.saturating_sub(member.accounted()));
            result.expected += room.accepted;
            if member.cut {
                result.cut_off += missing;
            } else {
                result.lost += missing;
                result.members_short += u64::from(missing > 0);
            }
            if let Some(account) = self.accounts.group(member.room) {
                let counts = &mut account.counts;
                *(if member.cut {
                    &mut counts.cut_off
                } else {
                    &mut counts.lost
                }) += missing;
            }
            if let Some(stalled) = stalled.as_mut().filter(|_| member.stalls) {
                stalled.count(member, missing);
            }
            if result.unanswered == 0 {
                result.unexpected += member.accounted().saturating_sub(room.accepted);
            }
        }
        self.settle_classes();
        result.latency = self.latency.percentiles();
        result.send_lag = self.lag.percentiles();
        if let Some(stalled) = &mut stalled {
            stalled.reference = self.reference.percentiles();
            stalled.p99_stall_ratio = (stalled.reference.count > 0 && result.latency.count > 0)
                .then(|| result.latency.p99_us / stalled.reference.p99_us.max(1e-3));
        }
        result.stalled = stalled;
        result.groups = Groups::of(&self.accounts);
        result.priorities = Priorities::of(&self.accounts);
        result.tally = self.tally.clone();
    }

    /// What was told and what is missing, by priority: from the offsets.
    fn settle_classes(&mut self) {
        if self.accounts.classes.is_empty() {
            return;
        }
        let (mut told, mut cut, mut lost) = (ByClass::default(), ByClass::default(), ByClass::default());
        let add = |sums: &mut ByClass, more: ByClass| {
            for (sum, more) in sums.iter_mut().zip(more) {
                *sum += more;
            }
        };
        for ledger in self.rooms.iter().filter_map(|r| r.ledger.as_ref()) {
            add(&mut told, ledger.told_by_class());
        }
        for member in &self.members {
            let Some(room) = self.rooms.get(member.room) else {
                continue;
            };
            let Some(ledger) = &room.ledger else { continue };
            for (from, to) in member.order.missing_ranges(room.top) {
                add(
                    if member.cut { &mut cut } else { &mut lost },
                    ledger.count(from, to),
                );
            }
        }
        let sums = told.into_iter().zip(cut).zip(lost);
        for (account, ((told, cut), lost)) in self.accounts.classes.iter_mut().zip(sums) {
            let counts = &mut account.counts;
            (counts.told, counts.cut_off, counts.lost) = (told, cut, lost);
        }
    }

    /// When members that stopped reading left, and what they cost.
    pub(super) fn settle_stall(
        &self,
        layout: &Layout,
        since: Nanos,
        resident: Resident,
        result: &mut RoomResult,
    ) {
        let rooms = self.rooms.iter().enumerate();
        let rooms = rooms
            .filter(|(room, _)| layout.stalled(*room) > 0)
            .map(|(_, r)| r);
        if let Some(stalled) = &mut result.stalled {
            stalled.conclude(since, rooms, resident);
        }
    }
}
