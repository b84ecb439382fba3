//! Keeps a flood of one kind of event from filling the log: so many lines of a kind in a second, then their number.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, callsite};
use tracing_subscriber::layer::{Context, Filter};

use crate::clock::Clock;

/// Lines of one kind in a second; the rest is counted, and the count logged.
pub const LINES_PER_KIND_MAX: u32 = 10;

/// How long that many are, milliseconds.
pub const KIND_PERIOD_MS: u64 = 1_000;

/// Records that are never left out, whatever their number.
const AUDIT: &str = "audit";

/// Our own words on what was left out: at most one for each kind and period.
const TOLD: &str = "countersign::log";

/// Bytes of an event's words that name its kind.
const NAME_BYTES_MAX: usize = 120;

/// A filter of events, to be asked after all others. A kind is one place in the program that logs, so there are no
/// more of them than places. What is below `info` was switched on by somebody who wants to see it, and passes.
#[derive(Clone)]
pub struct Sampling(Arc<Kinds>);

struct Kinds {
    clock: Clock,
    kinds: Mutex<HashMap<callsite::Identifier, Kind>>,
}

struct Kind {
    /// Which period it is.
    period: u64,
    /// Lines let through in it.
    passed: u32,
    suppressed: u64,
    /// Words of the first line that was left out, once there was one.
    name: Option<String>,
    target: &'static str,
}

impl Sampling {
    /// Counts by this clock.
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Kinds {
            clock,
            kinds: Mutex::default(),
        }))
    }

    fn passes(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        if *metadata.level() > Level::INFO || [AUDIT, TOLD].contains(&metadata.target()) {
            return true;
        }
        let period = self.0.clock.now() / KIND_PERIOD_MS;
        let mut kinds = self.0.kinds.lock();
        let kind = kinds.entry(metadata.callsite()).or_insert(Kind {
            period,
            passed: 0,
            suppressed: 0,
            name: None,
            target: metadata.target(),
        });
        if kind.period != period {
            (kind.period, kind.passed) = (period, 0);
        }
        if kind.passed < LINES_PER_KIND_MAX {
            kind.passed += 1;
            return true;
        }
        kind.suppressed += 1;
        kind.name.get_or_insert_with(|| name_of(event));
        false
    }

    /// Logs how many lines of each kind were left out since the last call.
    pub fn tell(&self) {
        let left_out: Vec<_> = {
            let mut kinds = self.0.kinds.lock();
            let left_out = kinds.values_mut().filter(|kind| kind.suppressed > 0);
            left_out
                .map(|kind| {
                    (
                        kind.target,
                        kind.name.clone(),
                        std::mem::take(&mut kind.suppressed),
                    )
                })
                .collect()
        };
        for (from, event, suppressed) in left_out {
            tracing::warn!(target: TOLD, from, event, suppressed, "lines of one kind were left out: too many in a second");
        }
    }
}

impl<S> Filter<S> for Sampling {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.passes(event)
    }
}

fn name_of(event: &Event<'_>) -> String {
    let mut words = Words(String::new());
    event.record(&mut words);
    let cut = words.0.floor_char_boundary(NAME_BYTES_MAX);
    words.0.truncate(cut);
    words.0
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Layer, registry};

    use super::*;

    /// Its words, and how many it says were left out.
    type Line = (String, Option<u64>);

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<Line>>>);

    #[derive(Default)]
    struct Suppressed(Option<u64>);

    impl Visit for Suppressed {
        fn record_u64(&mut self, field: &Field, value: u64) {
            if field.name() == "suppressed" {
                self.0 = Some(value);
            }
        }
        fn record_debug(&mut self, _: &Field, _: &dyn fmt::Debug) {}
    }

    impl<S: tracing::Subscriber> Layer<S> for Lines {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut suppressed = Suppressed::default();
            event.record(&mut suppressed);
            self.0.lock().push((name_of(event), suppressed.0));
        }
    }

    #[test]
    fn a_flood_of_one_kind_is_cut_counted_and_leaves_the_others() {
        let (clock, lines) = (Clock::manual(1_000_000), Lines::default());
        let sampling = Sampling::new(clock.clone());
        let subscriber = registry().with(lines.clone().with_filter(sampling.clone()));
        let count = |words: &str| lines.0.lock().iter().filter(|(line, _)| line == words).count();
        tracing::subscriber::with_default(subscriber, || {
            let flood = |times: u32| {
                for n in 0..times {
                    tracing::warn!(n, "refused");
                    tracing::info!(target: "audit", n, "record");
                    tracing::debug!(n, "detail");
                }
            };
            flood(1_000);
            tracing::warn!("another kind");
            let most = LINES_PER_KIND_MAX as usize;
            assert_eq!(
                (
                    count("refused"),
                    count("record"),
                    count("detail"),
                    count("another kind")
                ),
                (most, 1_000, 1_000, 1)
            );
            sampling.tell();
            let told = lines.0.lock().last().cloned().unwrap();
            assert_eq!(told.1, Some(u64::from(1_000 - LINES_PER_KIND_MAX)));
            // Told once, and the next second has its own share.
            sampling.tell();
            flood(1);
            assert_eq!(count("refused"), most);
            clock.advance(KIND_PERIOD_MS);
            flood(LINES_PER_KIND_MAX + 1);
            assert_eq!(count("refused"), 2 * most);
            sampling.tell();
            let told = lines.0.lock().last().cloned().unwrap();
            assert_eq!(told.1, Some(2));
        });
    }

    #[test]
    fn the_name_of_a_kind_is_bounded() {
        let lines = Lines::default();
        tracing::subscriber::with_default(registry().with(lines.clone()), || {
            tracing::warn!("{}", "ä".repeat(1_000));
        });
        let (name, _) = lines.0.lock().pop().unwrap();
        assert!(name.len() <= NAME_BYTES_MAX && name.starts_with("ää"));
    }
}
