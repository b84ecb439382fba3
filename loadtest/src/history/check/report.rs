//! What a check found: violations with their lines, bounded per rule, and what could not be decided.

use std::collections::BTreeMap;

use serde::Serialize;

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Rule {
    /// Nothing forged.
    R1,
    /// Agreement.
    R2,
    /// Order.
    R3,
    /// No duplicates.
    R4,
    /// No silent gap.
    R5,
    /// Nothing lost.
    R6,
    /// Real time.
    R7,
    /// Counts.
    R8,
    /// QR logins.
    R9,
    /// Authority, as far as joins go.
    R10,
}

impl Rule {
    /// All that are decided here.
    pub const ALL: [Rule; 10] = [
        Rule::R1,
        Rule::R2,
        Rule::R3,
        Rule::R4,
        Rule::R5,
        Rule::R6,
        Rule::R7,
        Rule::R8,
        Rule::R9,
        Rule::R10,
    ];

    /// The rule in words.
    pub const fn says(self) -> &'static str {
        match self {
            Rule::R1 => "nothing forged: what is received was sent, unchanged, by whom it says",
            Rule::R2 => "agreement: one message per room, epoch and offset",
            Rule::R3 => "order: offsets rise for every viewer",
            Rule::R4 => "no duplicates: once per viewer, and a repeated cid counts once",
            Rule::R5 => "no silent gap: what is skipped was told first",
            Rule::R6 => "nothing lost: what was acknowledged is seen, or its loss was told",
            Rule::R7 => "real time: acknowledged before sent or asked means before it in the room",
            Rule::R8 => "counts: likes and viewers are what happened",
            Rule::R9 => {
                "QR logins: one confirmation, one session of who confirmed, one end, and secrets for who proved the claim"
            }
            Rule::R10 => "authority: no message of a room before its join is answered",
        }
    }
}

/// A line of a file; numbers from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    const LINE_BITS: u32 = 48;

    pub(super) fn new(file: usize, line: u64) -> Place {
        Place((file as u64) << Self::LINE_BITS | line)
    }

    fn file(self) -> usize {
        usize::try_from(self.0 >> Self::LINE_BITS).unwrap_or(usize::MAX)
    }

    fn line(self) -> u64 {
        self.0 & ((1 << Self::LINE_BITS) - 1)
    }
}

/// A line that shows a violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shown {
    pub file: String,
    pub line: u64,
}

/// A violation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    pub rule: Rule,
    /// Lines to look at, the one that shows it first.
    pub lines: Vec<Shown>,
    pub what: String,
}

/// What was checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub lines: u64,
    pub connections: u64,
    /// Stays of a connection in a room, from the answer to `join` on.
    pub stays: u64,
    /// Stays that went on where an earlier one stood.
    pub recoveries: u64,
    pub sends: u64,
    pub acknowledged: u64,
    /// Messages seen, each once.
    pub messages: u64,
    /// Messages received, live or in replies.
    pub deliveries: u64,
    pub gaps: u64,
    pub likes: u64,
    /// QR logins that were opened, and sessions that came of them.
    pub logins: u64,
    pub login_sessions: u64,
    pub quiet_points: u64,
    pub faults: u64,
}

/// The outcome of a check.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub passed: bool,
    pub summary: Summary,
    /// Violations of each rule; all rules are named.
    pub violations: BTreeMap<Rule, u64>,
    /// The first of each rule, at most as many as were asked for.
    pub reports: Vec<Report>,
    /// What was in the history and is not judged by any rule here, by kind.
    pub not_checked: BTreeMap<String, u64>,
    /// What kept a rule from being decided in full.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Rules that were violated.
    pub fn violated(&self) -> Vec<Rule> {
        self.violations
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(r, _)| *r)
            .collect()
    }

    /// For people: one string per line.
    pub fn text(&self) -> Vec<String> {
        let s = &self.summary;
        let mut out = vec![
            format!(
                "history: {} lines, {} connections, {} stays ({} recovered)",
                s.lines, s.connections, s.stays, s.recoveries
            ),
            format!(
                "  {} sends, {} acknowledged; {} messages, {} deliveries, {} gaps; {} likes; {} QR logins, {} sessions; {} faults, {} quiet points",
                s.sends,
                s.acknowledged,
                s.messages,
                s.deliveries,
                s.gaps,
                s.likes,
                s.logins,
                s.login_sessions,
                s.faults,
                s.quiet_points
            ),
        ];
        for (rule, n) in &self.violations {
            let mark = if *n == 0 { "pass" } else { "FAIL" };
            let times = if *n == 0 {
                String::new()
            } else {
                format!(" — {n} violations")
            };
            out.push(format!("{mark} {rule:?} {}{times}", rule.says()));
            for report in self.reports.iter().filter(|r| r.rule == *rule) {
                let lines: Vec<String> = report
                    .lines
                    .iter()
                    .map(|l| format!("{}:{}", l.file, l.line))
                    .collect();
                out.push(format!("     {}: {}", lines.join(", "), report.what));
            }
        }
        for (kind, n) in &self.not_checked {
            out.push(format!("not checked: {kind} × {n}"));
        }
        out.extend(self.notes.iter().map(|note| format!("note: {note}")));
        out
    }
}

/// Collects violations.
#[derive(Debug)]
pub(super) struct Reports {
    max: usize,
    files: Vec<String>,
    counts: BTreeMap<Rule, u64>,
    kept: Vec<Report>,
}

impl Reports {
    pub(super) fn new(max: usize) -> Reports {
        Reports {
            max,
            files: Vec::new(),
            counts: Rule::ALL.iter().map(|rule| (*rule, 0)).collect(),
            kept: Vec::new(),
        }
    }

    pub(super) fn file(&mut self, name: &str) -> usize {
        self.files.push(name.to_owned());
        self.files.len() - 1
    }

    /// Counts a violation; the words are only made when it is kept.
    pub(super) fn add(&mut self, rule: Rule, places: &[Place], what: impl FnOnce() -> String) {
        let count = self.counts.entry(rule).or_default();
        *count += 1;
        if *count > self.max as u64 {
            return;
        }
        let shown = |place: &Place| Shown {
            file: self.files.get(place.file()).cloned().unwrap_or_default(),
            line: place.line(),
        };
        self.kept.push(Report {
            rule,
            lines: places.iter().map(shown).collect(),
            what: what(),
        });
    }

    pub(super) fn verdict(
        mut self,
        summary: Summary,
        not_checked: BTreeMap<String, u64>,
        notes: Vec<String>,
    ) -> Verdict {
        self.kept.sort_by_key(|report| report.rule);
        Verdict {
            passed: self.counts.values().all(|n| *n == 0),
            summary,
            violations: self.counts,
            reports: self.kept,
            not_checked,
            notes,
        }
    }
}
