//! What is recorded of a change agrees with what led to it.

use super::*;

/// The change that a step made of `before`, whose events so far are `told`, is what its transition says.
pub(super) fn check(before: &Attempt, command: &Command<'_>, step: &Step, told: &[Event]) {
    let after = step.next.as_ref().unwrap_or(before);
    for event in &step.events {
        let told_of = after.transition(event.seq).unwrap();
        let actor = match command {
            _ if event.state() == QrState::Expired => Actor::Timer,
            Command::Tick { .. } => Actor::Timer,
            Command::Scan { .. } | Command::Confirm { .. } | Command::Deny { .. } => Actor::Phone,
            Command::Answer { .. }
            | Command::Cancel { .. }
            | Command::Redeem { .. }
            | Command::Exchange { .. } => Actor::Pc,
            Command::ScannerRevoked { .. } | Command::ScannerLocked { .. } => Actor::Server,
            _ => panic!("{command:?} changed a state"),
        };
        let in_state = told.iter().rev().take_while(|e| e.state() == before.state());
        let entered_at = in_state.last().unwrap().at;
        let name = match (command, event.state()) {
            (Command::Tick { .. }, QrState::Waiting) => "rotated",
            (Command::Answer { .. }, QrState::Scanned) => "matched",
            (_, state) => state.name(),
        };
        let expected = Transition {
            seq: event.seq,
            name,
            from: Some(before.state()),
            to: after.state(),
            reason: after.reason(),
            actor,
            spent_ms: event.at - entered_at,
            lived_ms: event.at - T0,
        };
        assert_eq!(told_of, expected, "{command:?}");
    }
    assert_eq!(after.transition(0), None);
    assert_eq!(after.transition(after.seq() + 1), None);
}

#[test]
fn the_opening_is_the_first_change() {
    let opened = open(opening(MatchMode::PhoneTypes), T0, &Policy::default());
    let first = opened.transition(1).unwrap();
    assert_eq!(
        (first.name, first.from, first.to),
        ("opened", None, QrState::Waiting)
    );
    assert_eq!((first.actor, first.reason, first.spent_ms), (Actor::Pc, None, 0));
}

/// Old changes read the same at the end.
#[test]
fn a_whole_life_can_be_read_afterwards() {
    let attempt = redeemed();
    let all: Vec<_> = (1..=attempt.seq())
        .filter_map(|seq| attempt.transition(seq))
        .map(|t| (t.name, t.actor.name(), t.spent_ms, t.lived_ms))
        .collect();
    assert_eq!(
        all,
        [
            ("opened", "pc", 0, 0),
            ("rotated", "timer", 45 * S, 45 * S),
            ("rotated", "timer", 90 * S, 90 * S),
            ("scanned", "phone", 91 * S, 91 * S),
            ("confirmed", "phone", S, 92 * S),
            ("redeemed", "pc", S, 93 * S),
        ]
    );
}
