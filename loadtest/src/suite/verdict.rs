//! Met, not met, void: what a measurement's evidence says about a row.

use serde::Serialize;

use super::evidence::{Evidence, Figure};
use super::rows::{Row, Rule};
use crate::metric::show;

/// Half the 90 % interval must be below this share of the median.
pub const HALF_WIDTH_MAX: f64 = 0.07;

/// How a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Met,
    NotMet,
    /// Measured, but not so that it decides anything.
    Void,
    /// Fewer pairs than the method asks for: an indication.
    Quick,
    /// A comparison without a target.
    Reported,
    NotRun,
}

impl Verdict {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Met => "met",
            Verdict::NotMet => "not met",
            Verdict::Void => "void",
            Verdict::Quick => "quick",
            Verdict::Reported => "reported",
            Verdict::NotRun => "not run",
        }
    }

    /// Whether nothing is left to be done about the row.
    pub fn settled(self) -> bool {
        matches!(self, Verdict::Met | Verdict::Reported)
    }
}

/// A verdict and its reason; no reason when the figure says it all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    pub verdict: Verdict,
    pub why: String,
}

/// Decides a row. With `indication` nothing can be met.
pub fn decide(row: &Row, evidence: &Evidence, indication: bool) -> Decision {
    let decision = by_the_method(row, evidence);
    let decided = matches!(
        decision.verdict,
        Verdict::Met | Verdict::NotMet | Verdict::Reported
    );
    if indication && decided {
        let lean = match decision.verdict {
            Verdict::Met => "within the target",
            Verdict::NotMet => "not met",
            _ => "no target",
        };
        let why = [lean, &decision.why]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(": ");
        return Decision {
            verdict: Verdict::Quick,
            why: format!("an indication, {why}"),
        };
    }
    decision
}

fn by_the_method(row: &Row, evidence: &Evidence) -> Decision {
    let say = |verdict, why: String| Decision { verdict, why };
    if evidence.valid < evidence.wanted {
        let why = format!(
            "{} of {} valid, {} void (steal above 5 % or tester above 90 % of its core)",
            evidence.valid, evidence.wanted, evidence.void
        );
        return say(Verdict::Void, why);
    }
    let Some(figure) = evidence.figure(row.figure) else {
        return say(Verdict::Void, format!("{} was not measured", row.figure));
    };
    if !evidence.broken.is_empty() {
        return say(Verdict::NotMet, evidence.broken.join(", "));
    }
    let Some(target) = row.target else {
        return say(Verdict::Reported, String::new());
    };
    match against(row, figure, target) {
        Ok(()) => say(Verdict::Met, String::new()),
        Err(why) => say(Verdict::NotMet, why),
    }
}

/// Why the figure does not meet the target.
fn against(row: &Row, figure: Figure, target: f64) -> Result<(), String> {
    // What is not a number meets nothing.
    let meets = |value: f64| value <= target;
    if !meets(figure.value) {
        return Err(format!("above {}", show(target, row.unit)));
    }
    match row.rule {
        Rule::Narrow => match figure.half_width {
            Some(half) if half < HALF_WIDTH_MAX => Ok(()),
            Some(half) => Err(format!(
                "within the target, but the interval of ±{:.1} % is not below ±7 %",
                half * 100.0
            )),
            None => Err("within the target, but without an interval".to_owned()),
        },
        Rule::Each if !meets(figure.worst) => Err(format!(
            "the median is within the target, but one run had {}",
            show(figure.worst, row.unit)
        )),
        Rule::Each | Rule::Pooled => Ok(()),
    }
}
