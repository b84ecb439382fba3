//! What a span of a run cost: the server, the tester, and what the host took from both.

use serde::Serialize;

use super::machine::Ticks;
use super::process::{CpuSource, CpuSpan, own_waiting};
use super::server::{Begun, Server};
use crate::clock::{self, Nanos, seconds};
use crate::error::Result;

/// Above this share of its core the tester, not the server, may be what is measured.
pub const SATURATED_SHARE: f64 = 0.90;

/// Above this share of stolen processor time figures are void.
pub const STEAL_SHARE: f64 = 0.05;
/// Above this share of waiting for a processor the tester says so.
const DISTURBED_SHARE: f64 = 0.05;
/// Shorter spans are not judged, seconds: the clock of stolen time ticks in hundredths.
const JUDGED_SECONDS_MIN: f64 = 0.01;
/// Above this share by which the server's processor time may be off its reader is told,
const COARSE_SHARE: f64 = 0.05;
/// … and above this one nothing is divided by it or by anything else.
const UNKNOWN_SHARE: f64 = 0.20;

/// A span of a run that has begun.
#[derive(Debug)]
pub struct Watch {
    at: Nanos,
    tester: Nanos,
    waiting: Nanos,
    ticks: Ticks,
    server: Option<Begun>,
}

/// What a span cost.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Usage {
    /// Duration, seconds.
    pub seconds: f64,
    /// The server's processor time, seconds; `None` without --pid and --metrics.
    pub server_cpu_seconds: Option<f64>,
    /// Where that came from.
    pub server_cpu_source: Option<CpuSource>,
    /// How much it may be off, seconds; with --metrics only: it is counted in ticks, and asking takes time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cpu_error_seconds: Option<f64>,
    /// Share of the span its busiest thread was on a processor, 0 to 1; `None` when threads ended, and with
    /// --metrics.
    pub server_busiest: Option<f64>,
    /// Share of the span in which the server's threads were ready and others had the processor, summed
    /// over threads; `None` when threads ended, and with --metrics.
    pub server_wait: Option<f64>,
    /// The same of the tester's thread: latencies contain it.
    pub tester_wait: f64,
    /// Share of one core the tester's thread used, 0 to 1.
    pub tester_share: f64,
    /// The tester used more than 90 % of its core: the figures are the tester's, not the server's.
    pub saturated: bool,
    /// Share of the machine's processor time that its host took away, 0 to 1.
    pub steal: f64,
}

impl Watch {
    /// Begins a span, of `server` too if it is known.
    pub fn begin(server: Option<Server<'_>>) -> Result<Watch> {
        Ok(Watch {
            ticks: Ticks::now(),
            server: server.map(Server::begin).transpose()?,
            tester: clock::thread_cpu(),
            waiting: own_waiting(),
            at: clock::now(),
        })
    }

    /// Ends it.
    pub fn end(&self) -> Result<Usage> {
        let wall = clock::now().saturating_sub(self.at);
        let tester = clock::thread_cpu().saturating_sub(self.tester);
        let waiting = own_waiting().saturating_sub(self.waiting);
        let server: Option<CpuSpan> = self.server.as_ref().map(Begun::end).transpose()?;
        Ok(Usage {
            server_cpu_seconds: server.map(|s| seconds(s.cpu)),
            server_cpu_source: server.map(|s| s.source),
            server_cpu_error_seconds: server.and_then(|s| s.error).map(seconds),
            server_busiest: server.and_then(|s| Some(s.busiest? as f64 / s.wall.max(1) as f64)),
            server_wait: server.and_then(|s| Some(s.waiting? as f64 / s.wall.max(1) as f64)),
            steal: Ticks::now().steal_since(&self.ticks),
            ..Usage::of_tester(wall, tester, waiting)
        })
    }
}

impl Usage {
    /// The tester's part of a span of `wall`, of which its thread was on a processor for `cpu` and ready without
    /// one for `waiting`.
    fn of_tester(wall: Nanos, cpu: Nanos, waiting: Nanos) -> Usage {
        let share = |part: Nanos| part as f64 / wall.max(1) as f64;
        Usage {
            seconds: seconds(wall),
            tester_wait: share(waiting),
            tester_share: share(cpu),
            saturated: share(cpu) > SATURATED_SHARE,
            ..Usage::default()
        }
    }

    /// What a reader must know before believing the figures of the measured span.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings_of("the measured span")
    }

    /// The same of a span that is called so. Each begins with a word in capitals, by which documents know a
    /// warning from a note.
    pub fn warnings_of(&self, span: &str) -> Vec<String> {
        let mut out = Vec::new();
        if self.seconds < JUDGED_SECONDS_MIN {
            return out;
        }
        if self.saturated {
            out.push(format!(
                "SATURATED: in {span} the tester used more than 90 % of its core; these figures are its own"
            ));
        }
        if self.tester_wait > DISTURBED_SHARE {
            out.push(format!(
                "DISTURBED: in {span} the tester waited for a processor {:.0} % of the time; latencies contain that",
                self.tester_wait * 100.0
            ));
        }
        if self.steal > STEAL_SHARE {
            out.push(format!(
                "STEAL: in {span} the host took {:.0} % of the machine",
                self.steal * 100.0
            ));
        }
        if let (Some(cpu), Some(error)) = (self.server_cpu_seconds, self.server_cpu_error_seconds)
            && error > cpu * COARSE_SHARE
        {
            out.push(format!(
                "COARSE: in {span} the server's processor time by --metrics, {cpu:.2} s, is known to {error:.2} s only; \
                 measure longer, or by --pid"
            ));
        }
        out
    }

    /// Server processor time, seconds, when it is known to within 20 %.
    pub fn server_cpu(&self) -> Option<f64> {
        let error = self.server_cpu_error_seconds.unwrap_or(0.0);
        self.server_cpu_seconds.filter(|cpu| error <= cpu * UNKNOWN_SHARE)
    }

    /// Server processor time per `n` of something, microseconds.
    pub fn server_us_per(&self, n: u64) -> Option<f64> {
        let cpu = self.server_cpu()?;
        (n > 0).then(|| cpu * 1e6 / n as f64)
    }

    /// Whether the server had no processor time left: one of its threads, or all of its `processors`
    /// together, were busy more than 90 % of the span.
    pub fn server_saturated(&self, processors: usize) -> bool {
        let above = |share: Option<f64>| share.is_some_and(|share| share > SATURATED_SHARE);
        above(self.server_busiest) || above(self.server_cores().map(|c| c / processors.max(1) as f64))
    }

    /// Cores the server used on average.
    pub fn server_cores(&self) -> Option<f64> {
        Some(self.server_cpu_seconds? / self.seconds.max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SECOND;

    #[test]
    fn a_server_is_saturated_by_a_thread_or_by_all() {
        let usage = |cores: f64, busiest: f64| Usage {
            seconds: 1.0,
            server_cpu_seconds: Some(cores),
            server_busiest: Some(busiest),
            ..Usage::default()
        };
        assert!(usage(0.95, 0.95).server_saturated(2), "it has one thread");
        assert!(usage(1.9, 0.3).server_saturated(2));
        assert!(usage(0.95, 0.5).server_saturated(1), "pinned");
        assert!(!usage(0.95, 0.5).server_saturated(2));
        assert!(!Usage::default().server_saturated(1));
    }

    #[test]
    fn a_tester_without_processor_time_left_is_saturated() {
        let of = |cpu_percent: u64| Usage::of_tester(SECOND, cpu_percent * SECOND / 100, 0);
        assert!(of(91).saturated && !of(90).saturated && !of(0).saturated);
        assert!(!Usage::of_tester(0, 0, 0).saturated);
        let usage = Usage::of_tester(2 * SECOND, SECOND, SECOND / 2);
        assert_eq!(
            (usage.seconds, usage.tester_share, usage.tester_wait),
            (2.0, 0.5, 0.25)
        );
    }

    #[test]
    fn a_span_is_named_in_each_of_its_warnings() {
        let clean = Usage {
            steal: 0.05,
            ..Usage::of_tester(SECOND, 9 * SECOND / 10, SECOND / 20)
        };
        assert_eq!(clean.warnings(), Vec::<String>::new(), "all at their bounds");
        let all = Usage {
            steal: 0.061,
            ..Usage::of_tester(SECOND, 91 * SECOND / 100, 7 * SECOND / 100)
        };
        assert_eq!(
            all.warnings_of("the ramp"),
            [
                "SATURATED: in the ramp the tester used more than 90 % of its core; these figures are its own",
                "DISTURBED: in the ramp the tester waited for a processor 7 % of the time; latencies contain that",
                "STEAL: in the ramp the host took 6 % of the machine",
            ]
        );
        let only = |usage: Usage, word: &str| {
            let found = usage.warnings();
            assert!(
                found.len() == 1 && found[0].starts_with(word) && found[0].contains("the measured span"),
                "{found:?}"
            );
        };
        only(
            Usage {
                saturated: true,
                ..clean
            },
            "SATURATED:",
        );
        only(
            Usage {
                tester_wait: 0.06,
                ..clean
            },
            "DISTURBED:",
        );
        only(Usage { steal: 0.06, ..clean }, "STEAL:");
        let short = Usage {
            seconds: 0.009,
            ..all
        };
        assert!(short.warnings().is_empty(), "too short to be judged");
    }

    #[test]
    fn what_is_too_short_for_ticks_is_not_told_as_known() {
        let usage = |cpu: f64| Usage {
            seconds: 1.0,
            server_cpu_seconds: Some(cpu),
            server_cpu_error_seconds: Some(0.02),
            ..Usage::default()
        };
        assert_eq!(usage(0.09).server_us_per(10), None);
        assert_eq!(usage(0.09).server_cores(), Some(0.09));
        for (cpu, coarse) in [(0.09, true), (0.2, true), (0.5, false)] {
            let warnings = usage(cpu).warnings();
            let found = warnings.iter().any(|w| w.starts_with("COARSE: "));
            assert_eq!(found, coarse, "{warnings:?}");
        }
        assert!((usage(0.2).server_us_per(10).unwrap() - 20_000.0).abs() < 1e-6);
    }
}
