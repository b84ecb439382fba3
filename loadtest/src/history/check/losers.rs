//! R9, losers: whoever asked about a login that was decided without them is told so for good, and not to come again for
//! ever.

use countersign_protocol::ErrorCode;

use super::Checker;
use super::logins::{LoginOp, State, Told};
use super::names::Name;
use super::report::Place;
use crate::clock::Nanos;

/// A command about a login that was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) qr: Name,
    pub(super) op: LoginOp,
    pub(super) conn: usize,
    pub(super) asked_at: Nanos,
    pub(super) at: Nanos,
    pub(super) place: Place,
    pub(super) meant: Meant,
}

/// What a refusal says to who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meant {
    /// This command will not succeed.
    ForGood,
    /// The same command can succeed later. The place is that of a `quiet` by which it was not to be waited for any more.
    ComeAgain(Option<Place>),
}

impl Meant {
    /// A code that this program does not know ends it.
    pub(super) fn by(code: Option<&str>) -> Self {
        let known = ErrorCode::ALL.iter().find(|known| Some(known.name()) == code);
        match known {
            Some(known) if known.retry() => Meant::ComeAgain(None),
            _ => Meant::ForGood,
        }
    }
}

impl Checker {
    /// What was refused for the time being before `since` is not waited for any more.
    pub(super) fn quiet_losers(&mut self, since: Nanos, place: Place) {
        let first = self.first_conn;
        let of_this_file = self.logins.refused.iter_mut().rev();
        for refused in of_this_file.take_while(|refused| refused.conn >= first) {
            if refused.at < since && refused.meant == Meant::ComeAgain(None) {
                refused.meant = Meant::ComeAgain(Some(place));
            }
        }
    }

    /// Refusals about one login, and what was told about it in order of time, by their numbers.
    pub(super) fn check_losers(&mut self, login: Name, refused: &[usize], told: &[usize]) {
        let refused: Vec<&Refused> = refused.iter().map(|i| &self.logins.refused[*i]).collect();
        let told: Vec<&Told> = told.iter().map(|i| &self.logins.told[*i]).collect();
        let mut wrong = Vec::new();
        for loser in &refused {
            let Meant::ComeAgain(Some(quiet)) = loser.meant else {
                continue;
            };
            let Some(lost) = told.iter().find(|t| self.has_lost(loser, t)) else {
                continue;
            };
            let refused_for_good = refused
                .iter()
                .any(|r| r.meant == Meant::ForGood && r.at > lost.at && self.is_one(r.conn, loser.conn));
            let knows_the_end = told
                .iter()
                .any(|t| t.state.is_final() && self.is_one(t.conn, loser.conn));
            if !refused_for_good && !knows_the_end {
                wrong.push([lost.place, loser.place, quiet]);
            }
        }
        for places in wrong {
            let what = "was lost to somebody who was told to come again, and never so for good";
            self.accuse(&places, login, what);
        }
    }

    /// Whether somebody had been told, before this was asked, that it could not succeed.
    fn has_lost(&self, loser: &Refused, told: &Told) -> bool {
        let phones = matches!(loser.op, LoginOp::Scan | LoginOp::Confirm | LoginOp::Deny);
        let pcs = matches!(loser.op, LoginOp::Answer | LoginOp::Cancel);
        let users = self.conns[loser.conn].user.zip(self.conns[told.conn].user);
        let is_anothers = told.op == Some(LoginOp::Scan) && users.is_some_and(|(a, b)| a != b);
        told.at < loser.asked_at
            && (told.state.is_final() && (phones || pcs)
                || told.state >= State::Scanned && phones && is_anothers)
    }

    /// Connections of one party.
    fn is_one(&self, a: usize, b: usize) -> bool {
        let users = self.conns[a].user.zip(self.conns[b].user);
        a == b || users.is_some_and(|(a, b)| a == b)
    }
}
