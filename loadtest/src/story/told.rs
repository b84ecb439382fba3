//! What each member was last told by `counts`: values that never fall, versions that rise, and how far the
//! last of them is from what is true.

use std::collections::BTreeMap;

use countersign_protocol::server::Counts;
use serde::{Deserialize, Serialize};

use super::split::Pool;
use crate::error::Result;

/// What a `counts` push starts with; a push with its keys in another order is read the slow way.
pub const COUNTS_PREFIX: &[u8] = b"{\"type\":\"counts\",";
/// The counter that is watched.
pub const COUNTER: &str = "likes";

/// Counts of all members.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct CountsTally {
    /// `counts` pushes received.
    pub pushes: u64,
    /// Bytes of their frames, headers included.
    pub bytes: u64,
    /// Pushes of a newer version whose value was below the one before.
    pub fell: u64,
    /// Pushes whose version was not above that of the push before.
    pub version_fell: u64,
    /// Pushes whose version was not above that of the reply to `join`, and no push had come since: they were
    /// on their way, and a client drops them.
    pub behind_join: u64,
    /// Pushes that could not be read.
    pub malformed: u64,
}

impl Pool for CountsTally {
    fn pool(&mut self, other: CountsTally) -> Result<()> {
        self.pushes += other.pushes;
        self.bytes += other.bytes;
        self.fell += other.fell;
        self.version_fell += other.version_fell;
        self.behind_join += other.behind_join;
        self.malformed += other.malformed;
        Ok(())
    }
}

/// What a member was last told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Last {
    pub version: u64,
    pub viewers: u64,
    /// Distinct signed-in users.
    pub users: u64,
    /// The counter.
    pub value: u64,
    /// Pushes received.
    pub pushes: u64,
    /// The version is that of the reply to `join`.
    by_join: bool,
}

/// What members were told by counts.
#[derive(Debug, Default)]
pub struct Told {
    members: Vec<Last>,
    pub tally: CountsTally,
}

#[derive(Deserialize)]
struct Push {
    version: u64,
    viewers: u64,
    members: u64,
    counters: BTreeMap<String, u64>,
}

impl Told {
    /// For `members`, none of which was told anything.
    pub fn new(members: usize) -> Told {
        Told {
            members: vec![Last::default(); members],
            tally: CountsTally::default(),
        }
    }

    /// What a reply to `join` says is the base for what follows. False for somebody not watched.
    pub fn joined(&mut self, member: usize, counts: &Counts) -> bool {
        let Some(last) = self.members.get_mut(member) else {
            return false;
        };
        last.version = counts.version;
        last.by_join = true;
        last.viewers = counts.viewers;
        last.users = counts.members;
        last.value = counts.counters.get(COUNTER).copied().unwrap_or(0);
        true
    }

    /// Notes a push; returns the counter's value in it, if it is news: the latest version wins.
    pub fn push(&mut self, member: usize, payload: &[u8]) -> Option<u64> {
        let last = self.members.get_mut(member)?;
        let Ok(push) = serde_json::from_slice::<Push>(payload) else {
            self.tally.malformed += 1;
            return None;
        };
        let value = push.counters.get(COUNTER).copied().unwrap_or(0);
        self.tally.pushes += 1;
        self.tally.bytes += payload.len() as u64 + if payload.len() < 126 { 2 } else { 4 };
        last.pushes += 1;
        if push.version <= last.version {
            self.tally.behind_join += u64::from(last.by_join);
            self.tally.version_fell += u64::from(!last.by_join);
            return None;
        }
        self.tally.fell += u64::from(value < last.value);
        *last = Last {
            version: push.version,
            viewers: push.viewers,
            users: push.members,
            value,
            pushes: last.pushes,
            by_join: false,
        };
        Some(value)
    }

    /// What `member` was last told.
    pub fn last(&self, member: usize) -> Last {
        self.members.get(member).copied().unwrap_or_default()
    }

    /// How many of the watched were last told another number of viewers than is true, and of users.
    /// `truth` gives both for the room of a member, or `None` for one that is not there.
    pub fn wrong(&self, truth: impl Fn(usize) -> Option<(u64, u64)>) -> (u64, u64) {
        let mut wrong = (0, 0);
        for (member, last) in self.members.iter().enumerate() {
            if let Some((viewers, users)) = truth(member) {
                wrong.0 += u64::from(last.viewers != viewers);
                wrong.1 += u64::from(last.users != users);
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(version: u64, viewers: u64, likes: u64) -> Vec<u8> {
        format!(
            r#"{{"type":"counts","room":"a:b","version":{version},"viewers":{viewers},"members":1,"counters":{{"likes":{likes}}}}}"#
        )
        .into_bytes()
    }

    #[test]
    fn what_falls_is_seen_and_what_is_last_is_kept() {
        let mut told = Told::new(2);
        let base = Counts {
            version: 7,
            viewers: 2,
            members: 1,
            counters: BTreeMap::from([("likes".to_owned(), 10)]),
        };
        assert!(told.joined(0, &base) && !told.joined(2, &base));
        assert_eq!(
            told.push(0, &push(7, 1, 9)),
            None,
            "on its way when the member joined"
        );
        assert_eq!(told.push(0, &push(8, 2, 12)), Some(12));
        let tally = told.tally.clone();
        assert_eq!((tally.fell, tally.version_fell, tally.behind_join), (0, 0, 1));
        assert_eq!(told.push(0, &push(9, 1, 11)), Some(11));
        assert_eq!(told.push(0, &push(8, 2, 13)), None, "the latest version wins");
        let tally = told.tally.clone();
        assert_eq!((tally.fell, tally.version_fell, tally.behind_join), (1, 1, 1));
        assert_eq!(told.push(0, b"{}"), None);
        assert_eq!(told.push(9, &push(1, 1, 1)), None, "not watched");
        assert_eq!((told.tally.pushes, told.tally.malformed), (4, 1));
        let last = told.last(0);
        assert_eq!((last.value, last.viewers, last.pushes), (11, 1, 4));
        assert_eq!(told.wrong(|m| (m == 0).then_some((2, 1))), (1, 0));
        assert_eq!(told.wrong(|_| Some((1, 1))), (1, 1));
    }
}
