//! Members that stop reading: how the others fare, and what becomes of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::books::{Member, RoomBook};
use crate::clock::{Nanos, seconds};
use crate::engine::Ended;
use crate::latency::Percentiles;
use crate::metric::{Metric, Unit};

/// Close codes that tell a client that does not read that it misses something: its queue was full or stood
/// still, or its pongs were missing.
const TELLING_CODES: [u16; 2] = [4008, 4012];

/// How a connection ended, as it is counted.
pub(super) fn name_of(how: Ended) -> String {
    match how {
        Ended::Closed { code } => format!("closed {code}"),
        Ended::Lost(_) => "lost".to_owned(),
        Ended::Failed(why) => why,
        Ended::Refused { status, .. } => format!("refused {status}"),
    }
}

/// Whether an end tells a member that stopped reading that it misses something: a close frame that says so,
/// or the end of the stream where none got through to it. Silent would be a connection that stays.
pub(super) fn tells(how: &Ended) -> bool {
    match how {
        Ended::Closed { code } => TELLING_CODES.contains(code),
        Ended::Lost(_) => true,
        Ended::Failed(_) | Ended::Refused { .. } => false,
    }
}

/// What the tester noted in one room about its members that stopped reading.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct RoomStall {
    /// When `counts` first said that one of them, and that all of them, had left.
    pub first_gone: Option<Nanos>,
    pub all_gone: Option<Nanos>,
}

impl RoomStall {
    /// `counts` said that of `members`, `stalled` of which do not read, `viewers` are left.
    pub(super) fn seen(&mut self, at: Nanos, viewers: u64, members: usize, stalled: usize) {
        if stalled == 0 {
            return;
        }
        if viewers < members as u64 {
            self.first_gone.get_or_insert(at);
        }
        if viewers <= (members - stalled) as u64 {
            self.all_gone.get_or_insert(at);
        }
    }

    /// Adds what another process noted: the earlier of both.
    pub(super) fn pool(&mut self, other: &RoomStall) {
        let earlier = |a: Option<Nanos>, b: Option<Nanos>| a.into_iter().chain(b).min();
        self.first_gone = earlier(self.first_gone, other.first_gone);
        self.all_gone = earlier(self.all_gone, other.all_gone);
    }
}

/// The server's resident memory around the stall, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Resident {
    /// When the members stopped reading.
    pub before: Option<u64>,
    /// The most that was seen afterwards, looked at every half second.
    pub peak: Option<u64>,
}

impl Resident {
    /// Notes a look at it.
    pub(super) fn seen(&mut self, bytes: Option<u64>) {
        self.peak = self.peak.max(bytes);
    }
}

/// Members that stopped reading, and the others meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StalledResult {
    /// Members that stopped reading.
    pub members: u64,
    /// Deliveries to the others that were due in the reference span, in which everybody read.
    pub reference: Percentiles,
    /// Their 99th percentile in the measured span divided by that of the reference span.
    pub p99_stall_ratio: Option<f64>,
    /// What the stalled members received, reading again at the end included.
    pub delivered: u64,
    /// What a `gap` told them.
    pub told: u64,
    /// What they were cut off from by an end that told them.
    pub cut_off: u64,
    /// What they missed and nobody told them.
    pub lost: u64,
    /// Of them, those that were still connected at the end.
    pub open: u64,
    /// The others, by how they ended.
    pub ended: BTreeMap<String, u64>,
    /// From the stall until `counts` said that one of a room had left, earliest room; seconds.
    pub first_gone_seconds: Option<f64>,
    /// … and that all of a room had left, latest room; none: not in every room.
    pub all_gone_seconds: Option<f64>,
    /// How much the server's resident memory grew at most, bytes.
    pub rss_growth_bytes: Option<f64>,
}

impl StalledResult {
    /// Members and their ends.
    pub(super) fn count(&mut self, member: &Member, missing: u64) {
        self.members += 1;
        self.delivered += member.delivered;
        self.told += member.told;
        if member.cut {
            self.cut_off += missing;
        } else {
            self.lost += missing;
        }
        match &member.ended {
            Some(how) => *self.ended.entry(how.clone()).or_default() += 1,
            None => self.open += 1,
        }
    }

    /// When they left and what they cost.
    pub(super) fn conclude<'a>(
        &mut self,
        since: Nanos,
        rooms: impl Iterator<Item = &'a RoomBook> + Clone,
        resident: Resident,
    ) {
        let after = |at: Nanos| seconds(at.saturating_sub(since));
        self.first_gone_seconds = rooms.clone().filter_map(|r| r.stall.first_gone).min().map(after);
        let all: Option<Vec<Nanos>> = rooms.map(|r| r.stall.all_gone).collect();
        self.all_gone_seconds = all.and_then(|all| all.into_iter().max()).map(after);
        if let (Some(before), Some(peak)) = (resident.before, resident.peak) {
            self.rss_growth_bytes = Some(peak.saturating_sub(before) as f64);
        }
    }

    /// All of it by name.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let closed = |name: &str| self.ended.get(name).copied().unwrap_or(0);
        let ended: u64 = self.ended.values().sum();
        let (slow, lost) = (closed("closed 4008"), closed("lost"));
        let us = |name, seconds: Option<f64>| Metric::new(name, Unit::Micros, seconds.map(|s| s * 1e6));
        vec![
            Metric::count("stalled", self.members),
            Metric::span("reference_p50", self.reference.p50_us),
            Metric::span("reference_p99", self.reference.p99_us),
            Metric::new("p99_stall_ratio", Unit::Ratio, self.p99_stall_ratio),
            Metric::count("stalled_delivered", self.delivered),
            Metric::count("stalled_told", self.told),
            Metric::count("stalled_cut_off", self.cut_off),
            Metric::count("stalled_lost", self.lost),
            Metric::count("stalled_open", self.open),
            Metric::count("stalled_closed_4008", slow),
            Metric::count("stalled_reset", lost),
            Metric::count("stalled_closed_other", ended - slow - lost),
            us("stalled_first_gone", self.first_gone_seconds),
            us("stalled_all_gone", self.all_gone_seconds),
            Metric::new("stalled_rss_growth", Unit::Bytes, self.rss_growth_bytes),
            Metric::new(
                "stalled_rss_per_member",
                Unit::Bytes,
                self.rss_growth_bytes
                    .filter(|_| self.members > 0)
                    .map(|b| b / self.members as f64),
            ),
        ]
    }
}
