//! R9, sessions: a login is scanned by one account, becomes one session, after it was confirmed, and of that account.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Checker;
use super::logins::{LoginOp, Session, State, Told};
use super::names::Name;
use super::report::Place;

impl Told {
    /// Whether the login had been confirmed when this session was told: somebody knew it by then, or it was confirmed by
    /// a call that had begun.
    fn confirmed_before(&self, session: &Session) -> bool {
        let called = self.op == Some(LoginOp::Confirm) && self.asked_at < Some(session.at);
        self.state == State::Confirmed && (self.at <= session.at || called)
    }
}

impl Checker {
    /// One account scans it: everybody else is refused.
    pub(super) fn check_scanners(&mut self, login: Name, told: &[usize]) {
        let mut first: Option<(Name, Place)> = None;
        let mut wrong = Vec::new();
        for t in told.iter().map(|i| &self.logins.told[*i]) {
            let user = self.conns[t.conn].user.filter(|_| t.op == Some(LoginOp::Scan));
            let Some(user) = user else { continue };
            let (scanner, place) = *first.get_or_insert((user, t.place));
            if scanner != user {
                wrong.push(vec![place, t.place]);
            }
        }
        for places in wrong {
            self.accuse(&places, login, "was scanned by two");
        }
    }

    /// A session comes after a confirmation, and is that of who scanned and confirmed. A login whose `open` is not in
    /// this history may have been confirmed where nobody recorded.
    pub(super) fn check_signed_in(&mut self, told: &BTreeMap<Name, Vec<usize>>) {
        let logins = &self.logins;
        let opened: HashSet<Name> = logins.opened.iter().map(|(qr, _, _)| logins.first(*qr)).collect();
        let mut wrong: Vec<(Name, Vec<Place>, &str)> = Vec::new();
        for session in &logins.sessions {
            let login = logins.first(session.qr);
            if !opened.contains(&login) {
                continue;
            }
            let told = told.get(&login).into_iter().flatten().map(|i| &logins.told[*i]);
            if !told.clone().any(|t| t.confirmed_before(session)) {
                let what = "became a session and had not been confirmed";
                wrong.push((login, vec![session.place], what));
            }
            let another = told
                .filter(|t| matches!(t.op, Some(LoginOp::Scan | LoginOp::Confirm)))
                .find(|t| {
                    let phone = self.conns[t.conn].user;
                    phone.zip(session.user).is_some_and(|(a, b)| a != b)
                });
            if let Some(phone) = another {
                let what = "became a session of another user than who scanned or confirmed it";
                wrong.push((login, vec![phone.place, session.place], what));
            }
        }
        for (login, places, what) in wrong {
            self.accuse(&places, login, what);
        }
    }

    /// At most one session, whose tokens are the same however often they are asked for.
    pub(super) fn check_sessions(&mut self) {
        let mut first: HashMap<Name, usize> = HashMap::new();
        let mut wrong = Vec::new();
        for (i, session) in self.logins.sessions.iter().enumerate() {
            let login = self.logins.first(session.qr);
            let one = &self.logins.sessions[*first.entry(login).or_insert(i)];
            if one.session != session.session {
                wrong.push((
                    login,
                    vec![one.place, session.place],
                    "became more than one session",
                ));
            } else if one.tokens != session.tokens {
                let what = "gave other tokens when its redemption was repeated";
                wrong.push((login, vec![one.place, session.place], what));
            }
        }
        self.summary.login_sessions = first.len() as u64;
        for (login, places, what) in wrong {
            self.accuse(&places, login, what);
        }
    }
}
