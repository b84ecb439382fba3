//! What one attempt came to, on both sides: each of its people ends in an explicit state, and the states fit together.

use super::pc::Ending;
use super::phone::{PhoneEnd, Will};

/// Both sides know how it ended, and it is the same. The scanner, which is one at most, has the end in its own words;
/// another phone was beaten by it, or came when there was nothing to scan any more.
///
/// # Errors
/// What does not fit.
pub(crate) fn agreed(ending: &Ending, phones: &[(Will, PhoneEnd)]) -> Result<(), String> {
    let had_no_part = |end: &PhoneEnd| matches!(end, PhoneEnd::Beaten | PhoneEnd::TooLate);
    let mut scanners = phones.iter().filter(|(_, end)| !had_no_part(end));
    let scanner = scanners.next();
    if scanners.next().is_some() {
        return Err(format!("two phones had it: {phones:?}"));
    }
    match scanner {
        Some((will, end)) if fits(ending, *will, end) => Ok(()),
        Some(scanner) => Err(format!("{ending:?} for the PC, {scanner:?} for its phone")),
        None if phones.iter().any(|(_, end)| *end == PhoneEnd::Beaten) => {
            Err(format!("beaten by nobody: {phones:?}"))
        }
        None if ends_unscanned(ending) => Ok(()),
        None => Err(format!("{ending:?} for the PC, and no phone knows: {phones:?}")),
    }
}

/// An end that an attempt can come to which no phone has scanned. With any other, every phone that came too late was
/// second to one that did not.
fn ends_unscanned(ending: &Ending) -> bool {
    match ending {
        Ending::SignedIn { .. } => false,
        Ending::Final { state, reason } => {
            matches!(
                (&**state, &**reason),
                ("cancelled", "user" | "superseded") | ("expired", "idle")
            )
        }
        // What it left expired, or its code was replaced and the new one was never shown.
        Ending::Left => true,
    }
}

fn fits(ending: &Ending, will: Will, end: &PhoneEnd) -> bool {
    let PhoneEnd::Outcome {
        state,
        reason,
        session,
    } = end
    else {
        return fits_unasked(ending, end);
    };
    let reason = reason.as_deref();
    match ending {
        Ending::SignedIn { session: theirs, .. } => {
            // Who took it back was later than the PC.
            (&**state, reason, session.as_ref()) == ("redeemed", None, Some(theirs))
                && matches!(will, Will::Confirm | Will::Repent)
        }
        Ending::Final {
            state: theirs,
            reason: why,
        } => (state, reason, session) == (theirs, Some(&**why), &None) && brings(will, state, reason),
        Ending::Left => {
            let cancelled = (&**state, reason) == ("cancelled", Some("user"));
            session.is_none() && !cancelled && brings(will, state, reason)
        }
    }
}

/// Whether an attempt can end so that was scanned by somebody with this will.
fn brings(will: Will, state: &str, reason: Option<&str>) -> bool {
    match (state, reason) {
        ("denied", Some("user")) => matches!(will, Will::Deny | Will::Repent),
        ("denied", Some("match_failed")) => will == Will::Mistype,
        ("expired", Some("unredeemed")) => matches!(will, Will::Confirm | Will::Repent),
        // Whatever they wanted, the lines were worse.
        ("expired", Some("unconfirmed")) | ("cancelled", Some("user" | "superseded")) => true,
        _ => false,
    }
}

/// The same for a person who did not ask how it ended, once the phone was out of the hand, or out of the session.
fn fits_unasked(ending: &Ending, end: &PhoneEnd) -> bool {
    let Ending::Final { state, reason } = ending else {
        return *ending == Ending::Left;
    };
    match (&**state, &**reason) {
        ("denied", "revoked") => *end == PhoneEnd::SignedOut,
        // Time ran out before the phone got its sign-out over the line.
        ("expired", "unconfirmed") | ("cancelled", "user" | "superseded") => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(state: &str, reason: &str) -> Ending {
        Ending::Final {
            state: state.into(),
            reason: reason.into(),
        }
    }

    fn outcome(state: &str, reason: &str) -> PhoneEnd {
        PhoneEnd::Outcome {
            state: state.into(),
            reason: Some(reason.into()),
            session: None,
        }
    }

    fn redeemed(session: &str) -> PhoneEnd {
        PhoneEnd::Outcome {
            state: "redeemed".into(),
            reason: None,
            session: Some(session.into()),
        }
    }

    fn signed_in() -> Ending {
        Ending::SignedIn {
            user: "u".into(),
            session: "s".into(),
            access: "a".into(),
            refresh: "r".into(),
        }
    }

    #[test]
    fn ends_that_fit_are_not_accused() {
        let beaten = (Will::Confirm, PhoneEnd::Beaten);
        for (ending, phones) in [
            (signed_in(), vec![(Will::Confirm, redeemed("s")), beaten.clone()]),
            (
                ended("denied", "user"),
                vec![
                    (Will::Repent, outcome("denied", "user")),
                    (Will::Deny, PhoneEnd::TooLate),
                ],
            ),
            (
                ended("denied", "match_failed"),
                vec![beaten, (Will::Mistype, outcome("denied", "match_failed"))],
            ),
            (
                ended("denied", "revoked"),
                vec![(Will::SignOut, PhoneEnd::SignedOut)],
            ),
            (
                ended("expired", "unconfirmed"),
                vec![(Will::Forget, PhoneEnd::Forgot)],
            ),
            (ended("expired", "idle"), vec![(Will::Deny, PhoneEnd::TooLate)]),
            (
                ended("cancelled", "superseded"),
                vec![(Will::Confirm, PhoneEnd::TooLate)],
            ),
            (
                Ending::Left,
                vec![(Will::Confirm, outcome("expired", "unredeemed"))],
            ),
        ] {
            assert_eq!(agreed(&ending, &phones), Ok(()));
        }
    }

    #[test]
    fn ends_that_do_not_fit_are_told() {
        let late = (Will::Deny, PhoneEnd::TooLate);
        let denied = (Will::Deny, outcome("denied", "user"));
        let forgot = (Will::Forget, PhoneEnd::Forgot);
        for (ending, phones) in [
            // A phone that had a part, and is told that there was nothing.
            (ended("denied", "user"), vec![late.clone()]),
            (
                ended("denied", "match_failed"),
                vec![(Will::Mistype, PhoneEnd::TooLate)],
            ),
            (ended("denied", "revoked"), vec![late.clone()]),
            (
                ended("expired", "unconfirmed"),
                vec![late.clone(), (Will::Confirm, PhoneEnd::Beaten)],
            ),
            (ended("expired", "unredeemed"), vec![late.clone()]),
            (signed_in(), vec![(Will::Confirm, PhoneEnd::TooLate)]),
            // Two, or another than the winner.
            (ended("denied", "user"), vec![denied.clone(), denied.clone()]),
            (ended("denied", "user"), vec![denied.clone(), forgot.clone()]),
            (
                ended("expired", "idle"),
                vec![(Will::Confirm, PhoneEnd::Beaten), late],
            ),
            // Another end than the PC was told, or one that this person cannot have brought about.
            (ended("expired", "unconfirmed"), vec![denied.clone()]),
            (
                ended("denied", "user"),
                vec![(Will::Confirm, outcome("denied", "user"))],
            ),
            (
                ended("expired", "unredeemed"),
                vec![(Will::Deny, outcome("expired", "unredeemed"))],
            ),
            (ended("expired", "unredeemed"), vec![forgot.clone()]),
            (ended("denied", "user"), vec![forgot.clone()]),
            (ended("denied", "revoked"), vec![forgot]),
            (signed_in(), vec![(Will::SignOut, PhoneEnd::SignedOut)]),
            (signed_in(), vec![(Will::Confirm, redeemed("another"))]),
            (signed_in(), vec![denied]),
            (Ending::Left, vec![(Will::Confirm, redeemed("s"))]),
            (Ending::Left, vec![(Will::Deny, outcome("cancelled", "user"))]),
        ] {
            let told = agreed(&ending, &phones);
            assert!(told.is_err(), "{ending:?} {phones:?}");
        }
    }
}
