//! What the engine was asked, verb by verb.

use super::record::EngineError;
use super::{VERBS, Verb};
use crate::clock::Stopwatch;
use crate::tally::parts::{self, Operations, VERB_US};
use crate::tally::{Buckets, Shards, Tally};

/// One in so many of a verb is timed: in memory, reading the clock twice takes as long as the verb.
const TIMED_EVERY: u64 = 64;
/// The bounds of shared state, by what [`EngineError::Full`] and [`EngineError::TooMany`] call them.
const LIMITS: [(&str, &str); 6] = [
    ("rooms", "rooms_max"),
    ("attempts", "qr_attempts_max"),
    ("accounts", "accounts_max"),
    ("once-only keys", "once_keys_max"),
    (
        "QR logins waiting from this address",
        "qr_waiting_per_address_max",
    ),
    ("messages", "room_rate"),
];

/// Counts by verb.
#[derive(Debug)]
pub struct Tallies {
    verbs: Shards<Vec<OneVerb>>,
    limited: [Tally; LIMITS.len()],
}

#[derive(Debug)]
struct OneVerb {
    ok: Tally,
    refused: Tally,
    failed: Tally,
    us: Buckets<{ VERB_US.len() }>,
}

/// A verb under way.
pub(super) struct Asked<'a> {
    tallies: &'a Tallies,
    verb: Verb,
    watch: Option<Stopwatch>,
}

impl OneVerb {
    /// Calls that have their answer.
    fn answered(&self) -> u64 {
        [&self.ok, &self.refused, &self.failed]
            .map(Tally::get)
            .iter()
            .sum()
    }
}

impl Default for Tallies {
    fn default() -> Self {
        let one = |_: &_| OneVerb {
            ok: Tally::default(),
            refused: Tally::default(),
            failed: Tally::default(),
            us: Buckets::new(&VERB_US),
        };
        Self {
            verbs: Shards::of(|| VERBS.iter().map(one).collect()),
            limited: std::array::from_fn(|_| Tally::default()),
        }
    }
}

impl Tallies {
    fn here(&self, verb: Verb) -> Option<&OneVerb> {
        self.verbs.here().get(verb as usize)
    }

    /// A verb begins.
    pub(super) fn ask(&self, verb: Verb) -> Asked<'_> {
        let timed = self
            .here(verb)
            .is_some_and(|one| one.answered().is_multiple_of(TIMED_EVERY));
        Asked {
            tallies: self,
            verb,
            watch: timed.then(Stopwatch::start),
        }
    }

    #[cold]
    fn erred(&self, one: &OneVerb, error: &EngineError) {
        if *error == EngineError::Unavailable {
            one.failed.one();
        } else {
            one.refused.one();
        }
        let what = match error {
            EngineError::Full(what) | EngineError::TooMany(what) => *what,
            EngineError::Rate { .. } => "messages",
            _ => return,
        };
        let at = LIMITS.iter().position(|(called, _)| *called == what);
        if let Some(tally) = at.and_then(|at| self.limited.get(at)) {
            tally.one();
        }
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Operations {
        let of = |at: usize| self.verbs.all().filter_map(move |copy| copy.get(at));
        let sum = |at, count: fn(&OneVerb) -> &Tally| of(at).map(|one| count(one).get()).sum();
        let verb = |(at, name): (usize, &&'static str)| parts::Verb {
            name,
            outcomes: [
                ("ok", sum(at, |one| &one.ok)),
                ("refused", sum(at, |one| &one.refused)),
                ("failed", sum(at, |one| &one.failed)),
            ],
            took_us: Buckets::spread(of(at).map(|one| &one.us)),
        };
        let limited = LIMITS.iter().zip(&self.limited);
        Operations {
            verbs: VERBS.iter().enumerate().map(verb).collect(),
            limited: limited.map(|((_, name), tally)| (*name, tally.get())).collect(),
            ..Operations::default()
        }
    }
}

impl Asked<'_> {
    /// It has its answer.
    pub(super) fn answered<T>(self, answer: Result<T, EngineError>) -> Result<T, EngineError> {
        if let Some(one) = self.tallies.here(self.verb) {
            if let Some(watch) = self.watch {
                one.us.observe(watch.us());
            }
            match &answer {
                Ok(_) => one.ok.one(),
                Err(error) => self.tallies.erred(one, error),
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_is_counted_by_verb_and_outcome() {
        let tallies = Tallies::default();
        let answers = [
            Ok(()),
            Err(EngineError::Unavailable),
            Err(EngineError::Missing),
            Err(EngineError::Full("rooms")),
            Err(EngineError::Rate { after_ms: 1 }),
        ];
        for answer in answers {
            let _ = tallies.ask(Verb::append).answered(answer);
        }
        for _ in 0..TIMED_EVERY + 1 {
            let _ = tallies.ask(Verb::due).answered(Ok(()));
        }
        let counts = tallies.counts();
        let verb = |name| counts.verbs.iter().find(|verb| verb.name == name).unwrap();
        assert_eq!(
            verb("append").outcomes,
            [("ok", 1), ("refused", 3), ("failed", 1)]
        );
        assert_eq!(verb("due").outcomes[0], ("ok", 65));
        assert_eq!(verb("due").took_us.count(), 2, "the first and the 65th");
        let limited: Vec<_> = counts.limited.iter().filter(|(_, n)| *n > 0).collect();
        assert_eq!(limited, [&("rooms_max", 1), &("room_rate", 1)]);
        assert_eq!(verb("read").took_us.count(), 0);
    }

    /// The texts of errors are what is looked for.
    #[test]
    fn every_bound_of_the_engine_has_its_name() {
        let sources = concat!(include_str!("memory/mod.rs"), include_str!("memory/attempts.rs"),);
        for (called, limit) in LIMITS.iter().take(5) {
            assert!(sources.contains(&format!("\"{called}\"")), "{called}");
            assert!(
                crate::config::Limits::names().any(|known| known == *limit),
                "{limit}"
            );
        }
        let named = ["Full(\"", "TooMany(\""]
            .iter()
            .map(|error| sources.matches(error).count())
            .sum::<usize>();
        let places = sources.matches("Places::new(").count();
        assert_eq!(named + places, 5, "another bound needs a name here");
    }
}
