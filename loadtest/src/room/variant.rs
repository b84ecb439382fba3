//! What a run may have beside equal rooms whose members all read: one big room, priorities, members that
//! stop reading.

use std::str::FromStr;

use countersign_protocol::client::Priority;
use serde::{Deserialize, Serialize};

/// Most of all weights of a mix together: the length of the pattern they make.
const WEIGHTS_MAX: usize = 1_000;

/// The priorities by their code, which is the lowest two bits of a message's number.
pub const CLASSES: [Priority; 3] = [Priority::Normal, Priority::Low, Priority::High];

/// Variants of a run; the default has none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Variant {
    /// One big room beside the others, which are then the small ones.
    pub big: Option<Big>,
    /// Messages of several priorities.
    pub mix: Option<Mix>,
    /// Members of the big room, or of each room when there is none, that stop reading after a reference
    /// span as long as the measured one. They are the last of their room and do not publish.
    pub stalled: usize,
}

/// One room that is larger than the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Big {
    /// Its members, publishers included.
    pub members: usize,
    /// Messages in a second, on a fixed schedule.
    pub per_second: f64,
}

/// How often each priority is sent, as weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    pub low: u16,
    pub normal: u16,
    pub high: u16,
}

impl Mix {
    fn weight(self, class: usize) -> i64 {
        i64::from(match CLASSES.get(class) {
            Some(Priority::Normal) => self.normal,
            Some(Priority::Low) => self.low,
            Some(Priority::High) => self.high,
            None => 0,
        })
    }

    /// The codes in the order they are sent, again and again; spread, not in blocks: at each place stands
    /// the one that is furthest behind its share.
    pub fn pattern(self) -> Vec<u8> {
        let total: i64 = (0..CLASSES.len()).map(|c| self.weight(c)).sum();
        let mut credit = [0_i64; CLASSES.len()];
        (0..total)
            .map(|_| {
                for (class, credit) in credit.iter_mut().enumerate() {
                    *credit += self.weight(class);
                }
                let most = (0..CLASSES.len()).max_by_key(|c| (credit[*c], CLASSES.len() - c));
                let most = most.unwrap_or(0);
                credit[most] -= total;
                u8::try_from(most).unwrap_or(0)
            })
            .collect()
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: a mix is weights, like low=2,normal=1,high=1");
        let mut mix = Mix {
            low: 0,
            normal: 0,
            high: 0,
        };
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').ok_or_else(wrong)?;
            let weight: u16 = weight.trim().parse().map_err(|_| wrong())?;
            match name.trim() {
                "low" => mix.low = weight,
                "normal" => mix.normal = weight,
                "high" => mix.high = weight,
                _ => return Err(wrong()),
            }
        }
        let total = usize::from(mix.low) + usize::from(mix.normal) + usize::from(mix.high);
        if total == 0 || total > WEIGHTS_MAX {
            return Err(format!("{text:?}: weights are 1 to {WEIGHTS_MAX} together"));
        }
        Ok(mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_kept_exactly_and_spread() {
        let mix: Mix = "low=4,normal=2,high=1".parse().unwrap();
        let pattern = mix.pattern();
        let count = |code| pattern.iter().filter(|c| **c == code).count();
        assert_eq!((pattern.len(), count(0), count(1), count(2)), (7, 2, 4, 1));
        // Four of seven cannot all stand apart, but no three stand together.
        assert!(pattern.windows(3).all(|w| w != [1, 1, 1]), "{pattern:?}");
        assert_eq!("high=3".parse::<Mix>().unwrap().pattern(), [2, 2, 2]);
        for bad in [
            "",
            "low",
            "low=x",
            "low=0",
            "urgent=1",
            "low=900,high=900",
            "low=-1",
        ] {
            assert!(bad.parse::<Mix>().is_err(), "{bad:?}");
        }
    }
}
