//! What became of the messages of an idle run. Each count means what it means in `room`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::order::Seen;

/// Messages, deliveries and ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Messages {
    /// Messages handed to a socket, refused ones each time.
    pub sent: u64,
    /// Connections whose message could not be sent: the socket was full or gone, or nothing was answered any more.
    pub unsent: u64,
    /// Sends that got any reply, and sends that got none.
    pub answered: u64,
    pub unanswered: u64,
    /// Sends acknowledged with an offset, or come back where there are none.
    pub accepted: u64,
    /// Sends answered with an error, by code, or `shed`.
    pub refused: BTreeMap<String, u64>,
    /// Deliveries there should have been: acknowledged messages (where there are no acknowledgements, those
    /// sent) times the members that were in their room by then.
    pub expected: u64,
    /// Messages received, each once per member.
    pub delivered: u64,
    /// Dropped by the server and told so by `gap`.
    pub told: u64,
    /// Expected, not received and not told; counted member by member.
    pub lost: u64,
    /// Members that miss something nobody told them of.
    pub members_short: u64,
    /// Received again.
    pub duplicated: u64,
    /// Received after a later one; where there are offsets.
    pub out_of_order: u64,
    /// Times an offset was skipped, filled later or not; where there are offsets.
    pub gaps: u64,
    /// Too old to say whether late or duplicate.
    pub unclear: u64,
    /// Received or told beyond what was acknowledged, when every send was answered.
    pub unexpected: u64,
    /// Messages that this run did not send, or not into this room.
    pub foreign: u64,
    /// Frames that could not be read.
    pub malformed: u64,
    /// Connections that ended, by how.
    pub ended: BTreeMap<String, u64>,
}

impl Messages {
    /// Counts an arrival, and what is odd about it; of a target without offsets (`ordered` is false) the order
    /// is not. Whether it is one that was not here before.
    pub(super) fn arrived(&mut self, seen: Seen, ordered: bool) -> bool {
        match seen {
            Seen::Ahead(_) => self.gaps += u64::from(ordered),
            Seen::Late => self.out_of_order += u64::from(ordered),
            Seen::Duplicate => self.duplicated += 1,
            Seen::Unclear => self.unclear += 1,
            Seen::InOrder => {}
        }
        let fresh = matches!(seen, Seen::InOrder | Seen::Ahead(_) | Seen::Late);
        self.delivered += u64::from(fresh);
        fresh
    }

    /// Adds the counts of another process of the same run.
    pub(super) fn add(&mut self, other: &Messages) {
        for (ours, theirs) in [
            (&mut self.refused, &other.refused),
            (&mut self.ended, &other.ended),
        ] {
            for (name, n) in theirs {
                *ours.entry(name.clone()).or_default() += n;
            }
        }
        for (ours, theirs) in [
            (&mut self.sent, other.sent),
            (&mut self.unsent, other.unsent),
            (&mut self.answered, other.answered),
            (&mut self.unanswered, other.unanswered),
            (&mut self.accepted, other.accepted),
            (&mut self.expected, other.expected),
            (&mut self.delivered, other.delivered),
            (&mut self.told, other.told),
            (&mut self.lost, other.lost),
            (&mut self.members_short, other.members_short),
            (&mut self.duplicated, other.duplicated),
            (&mut self.out_of_order, other.out_of_order),
            (&mut self.gaps, other.gaps),
            (&mut self.unclear, other.unclear),
            (&mut self.unexpected, other.unexpected),
            (&mut self.foreign, other.foreign),
            (&mut self.malformed, other.malformed),
        ] {
            *ours += theirs;
        }
    }

    /// All of it by name.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        let sum = |map: &BTreeMap<String, u64>| map.values().sum();
        vec![
            Metric::count("sent", self.sent),
            Metric::count("unsent", self.unsent),
            Metric::count("accepted", self.accepted),
            Metric::count("refused", sum(&self.refused)),
            Metric::count("unanswered", self.unanswered),
            Metric::count("expected", self.expected),
            Metric::count("delivered", self.delivered),
            Metric::count("told", self.told),
            Metric::count("lost", self.lost),
            Metric::count("members_short", self.members_short),
            Metric::count("duplicated", self.duplicated),
            Metric::count("out_of_order", self.out_of_order),
            Metric::count("gaps", self.gaps),
            Metric::count("unclear", self.unclear),
            Metric::count("unexpected", self.unexpected),
            Metric::count("foreign", self.foreign),
            Metric::count("malformed", self.malformed),
            Metric::count("closed", sum(&self.ended)),
        ]
    }
}
