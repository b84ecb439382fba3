//! What a room allows: who may come in, in which role, and whose messages wait when it is crowded.

use countersign_protocol::ErrorCode;
use countersign_protocol::client::Priority;
use countersign_protocol::server::Role;

/// Bytes a room may have waiting to be flushed before `low` messages are turned away.
pub const PENDING_LOW_BYTES_MAX: usize = 128 * 1024;
/// The same for `normal` messages.
pub const PENDING_BYTES_MAX: usize = 256 * 1024;
/// The same for `high` ones.
pub const PENDING_HARD_BYTES_MAX: usize = 512 * 1024;

/// The rules of a room's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether joining brings a room into being.
    pub create_on_join: bool,
    /// Whether viewers who have not signed in may join.
    pub anonymous: bool,
}

/// Whether the one who asks has signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Anonymous,
    SignedIn,
}

/// Something that is done in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Join,
    Send,
    Like,
    /// Members and history.
    Read,
}

/// What becomes of a message in a crowded room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Take,
    /// Told to the sender as `shed`: nothing was said, try again.
    Shed,
    /// Not even this can be taken.
    Refuse,
}

/// The role of somebody without one of their own.
pub const fn role(standing: Standing) -> Role {
    match standing {
        Standing::Anonymous => Role::Viewer,
        Standing::SignedIn => Role::Member,
    }
}

/// Whether an action is allowed.
///
/// # Errors
/// The code the one who asks is answered with.
pub const fn check(rules: Rules, standing: Standing, action: Action) -> Result<(), ErrorCode> {
    match (standing, action) {
        (Standing::SignedIn, _) | (Standing::Anonymous, Action::Like | Action::Read) => Ok(()),
        (Standing::Anonymous, Action::Join) if rules.anonymous => Ok(()),
        (Standing::Anonymous, Action::Join | Action::Send) => Err(ErrorCode::Unauthenticated),
    }
}

/// What a room with `pending` bytes to be flushed does with one more message: the least goes first.
pub const fn pressure(pending: usize, priority: Priority) -> Verdict {
    match priority {
        Priority::Low if pending >= PENDING_LOW_BYTES_MAX => Verdict::Shed,
        Priority::Normal if pending >= PENDING_BYTES_MAX => Verdict::Shed,
        Priority::High if pending >= PENDING_HARD_BYTES_MAX => Verdict::Refuse,
        _ => Verdict::Take,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Rules = Rules {
        create_on_join: true,
        anonymous: true,
    };
    const CLOSED: Rules = Rules {
        create_on_join: true,
        anonymous: false,
    };

    #[test]
    fn who_may_do_what() {
        let unauthenticated = Err(ErrorCode::Unauthenticated);
        for (action, open, closed) in [
            (Action::Join, Ok(()), unauthenticated),
            (Action::Send, unauthenticated, unauthenticated),
            (Action::Like, Ok(()), Ok(())),
            (Action::Read, Ok(()), Ok(())),
        ] {
            assert_eq!(check(OPEN, Standing::Anonymous, action), open, "{action:?}");
            assert_eq!(check(CLOSED, Standing::Anonymous, action), closed, "{action:?}");
            for rules in [OPEN, CLOSED] {
                assert_eq!(check(rules, Standing::SignedIn, action), Ok(()), "{action:?}");
            }
        }
        assert_eq!(
            (role(Standing::Anonymous), role(Standing::SignedIn)),
            (Role::Viewer, Role::Member)
        );
    }

    #[test]
    fn pressure_turns_the_least_away_first() {
        use Verdict::{Refuse, Shed, Take};
        for (pending, low, normal, high) in [
            (0, Take, Take, Take),
            (PENDING_LOW_BYTES_MAX - 1, Take, Take, Take),
            (PENDING_LOW_BYTES_MAX, Shed, Take, Take),
            (PENDING_BYTES_MAX, Shed, Shed, Take),
            (PENDING_HARD_BYTES_MAX, Shed, Shed, Refuse),
        ] {
            assert_eq!(pressure(pending, Priority::Low), low, "{pending}");
            assert_eq!(pressure(pending, Priority::Normal), normal, "{pending}");
            assert_eq!(pressure(pending, Priority::High), high, "{pending}");
        }
    }
}
