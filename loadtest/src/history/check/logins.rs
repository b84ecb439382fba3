//! R9: of each QR login at most one confirmation and one session, nothing after its end, an answer for everybody who asked;
//! in [`super::sessions`] the session of who confirmed it, in [`super::losers`] an answer that ends it for everybody else, and
//! in [`super::proofs`] its secrets only for who proved the claim.
//!
//! What is kept is one record for each command, event and secret; logins are put together at the end, since the phone may
//! be in another file than the PC.

use std::collections::{BTreeMap, HashMap};

use super::losers::{Meant, Refused};
use super::names::{Name, mark};
use super::report::{Place, Rule};
use super::state::Pending;
use super::{Checker, conn_text};
use crate::clock::Nanos;
use crate::history::line::Line;

/// What is asked about a QR login, on a socket or over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LoginOp {
    Open,
    Watch,
    Answer,
    Cancel,
    Redeem,
    Scan,
    Confirm,
    Deny,
    Outcome,
}

impl LoginOp {
    pub(super) fn of(op: &str) -> Option<LoginOp> {
        Some(match op.strip_prefix("qr.").unwrap_or(op) {
            "open" => LoginOp::Open,
            "watch" | "poll" => LoginOp::Watch,
            "answer" => LoginOp::Answer,
            "cancel" => LoginOp::Cancel,
            "redeem" => LoginOp::Redeem,
            "scan" => LoginOp::Scan,
            "confirm" => LoginOp::Confirm,
            "deny" => LoginOp::Deny,
            "outcome" => LoginOp::Outcome,
            _ => return None,
        })
    }

    /// What the login is once this was answered with `ok`, when the answer does not say.
    fn leads_to(self) -> Option<State> {
        Some(match self {
            LoginOp::Open => State::Waiting,
            LoginOp::Answer | LoginOp::Scan => State::Scanned,
            LoginOp::Confirm => State::Confirmed,
            LoginOp::Deny => State::Denied,
            LoginOp::Cancel => State::Cancelled,
            LoginOp::Redeem => State::Redeemed,
            LoginOp::Watch | LoginOp::Outcome => return None,
        })
    }
}

/// Where a login stands. The order is that of its life; the last four are ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Waiting,
    Scanned,
    Confirmed,
    Redeemed,
    Denied,
    Cancelled,
    Expired,
}

impl State {
    fn of(name: Option<&str>) -> Option<State> {
        Some(match name? {
            "waiting" => State::Waiting,
            "scanned" => State::Scanned,
            "confirmed" => State::Confirmed,
            "redeemed" => State::Redeemed,
            "denied" => State::Denied,
            "cancelled" => State::Cancelled,
            "expired" => State::Expired,
            _ => return None,
        })
    }

    pub(super) fn is_final(self) -> bool {
        self >= State::Redeemed
    }

    /// All ends are as far.
    fn rank(self) -> u8 {
        self.min(State::Redeemed) as u8
    }
}

/// A command, and what became of it.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) op: LoginOp,
    /// As it was named; none for `open` before its answer.
    pub(super) qr: Option<Name>,
    pub(super) conn: usize,
    pub(super) claim: u64,
    pub(super) at: Nanos,
    pub(super) place: Place,
}

/// Somebody was told where a login stands.
#[derive(Debug)]
pub(super) struct Told {
    qr: Name,
    pub(super) state: State,
    /// Number of the event; none in an answer.
    seq: Option<u64>,
    /// When it was asked; none for an event, which may have been on its way for long.
    pub(super) asked_at: Option<Nanos>,
    pub(super) op: Option<LoginOp>,
    pub(super) conn: usize,
    ticket: u64,
    pub(super) at: Nanos,
    pub(super) place: Place,
}

/// A redemption that succeeded.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) qr: Name,
    pub(super) session: u64,
    pub(super) user: Option<Name>,
    pub(super) tokens: Vec<u64>,
    pub(super) at: Nanos,
    pub(super) place: Place,
}

/// Everything about QR logins, as it came.
#[derive(Debug, Default)]
pub(super) struct Logins {
    pub(super) asked: Vec<Asked>,
    pub(super) told: Vec<Told>,
    pub(super) refused: Vec<Refused>,
    pub(super) sessions: Vec<Session>,
    /// Claims as they were told by the reply to `open`: login, digest, connection.
    pub(super) opened: Vec<(Name, u64, usize)>,
    /// Scan tokens as they were told: login, digest, connection.
    pub(super) scan_tokens: Vec<(Name, u64, usize)>,
    /// Digests of what may be a secret, by who received it.
    pub(super) seen: Vec<(u64, usize, Nanos, Place)>,
    /// A newer id of a login, and one it had before.
    renamed: HashMap<Name, Name>,
}

impl Logins {
    pub(super) fn kept(&self) -> usize {
        self.asked.len() + self.told.len() + self.refused.len() + self.seen.len()
    }

    /// The first id of a login.
    pub(super) fn first(&self, mut qr: Name) -> Name {
        while let Some(before) = self.renamed.get(&qr) {
            qr = *before;
        }
        qr
    }

    fn rename(&mut self, new: Name, known: Name) {
        let root = self.first(known);
        if self.first(new) != root && !self.renamed.contains_key(&new) {
            self.renamed.insert(new, root);
        }
    }

    /// Tickets that were told: login and digest.
    pub(super) fn tickets(&self) -> impl Iterator<Item = (Name, u64)> + '_ {
        let told = self.told.iter().filter(|t| t.ticket != 0);
        told.map(|t| (self.first(t.qr), t.ticket))
    }

    /// Tokens that were told: login and digest.
    pub(super) fn tokens(&self) -> impl Iterator<Item = (Name, u64)> + '_ {
        let of = |s: &Session| {
            s.tokens
                .iter()
                .map(|t| (self.first(s.qr), *t))
                .collect::<Vec<_>>()
        };
        self.sessions.iter().flat_map(of)
    }
}

impl Checker {
    pub(super) fn ask_login(
        &mut self,
        conn: usize,
        op: &str,
        line: &Line<'_>,
        place: Place,
    ) -> Result<Pending, String> {
        let kind = LoginOp::of(op).ok_or("no command about a QR login")?;
        let qr = line.qr.as_deref().map(|qr| self.names.of(qr));
        if qr.is_none() && kind != LoginOp::Open {
            return Err(format!("{op} needs qr"));
        }
        self.logins.asked.push(Asked {
            op: kind,
            qr,
            conn,
            claim: mark(line.claim.as_deref()),
            at: line.at,
            place,
        });
        Ok(Pending::Login(self.logins.asked.len() - 1))
    }

    pub(super) fn login_answered(
        &mut self,
        conn: usize,
        asked: usize,
        line: &Line<'_>,
        place: Place,
    ) -> Result<(), String> {
        let (op, named, asked_at) = {
            let asked = &self.logins.asked[asked];
            (asked.op, asked.qr, asked.at)
        };
        let signs_in = op == LoginOp::Redeem && std::mem::take(&mut self.conns[conn].signing_in);
        let told = line.qr.as_deref().map(|qr| self.names.of(qr));
        let qr = named.or(told);
        if line.e == "error" {
            self.login_refused((conn, op, qr, asked_at), line, place);
            return Ok(());
        }
        let qr = qr.ok_or("ok of an open needs qr")?;
        if let Some(told) = told {
            self.logins.rename(told, qr);
        }
        match op {
            LoginOp::Open => {
                self.summary.logins += 1;
                self.logins.asked[asked].qr = Some(qr);
                self.logins.opened.push((qr, mark(line.claim.as_deref()), conn));
                self.conns[conn].login = Some(qr);
            }
            LoginOp::Watch => self.conns[conn].login = Some(qr),
            LoginOp::Scan => {
                let token = mark(line.scan_token.as_deref());
                self.logins.scan_tokens.push((qr, token, conn));
            }
            LoginOp::Redeem => {
                self.logins.sessions.push(Session {
                    qr,
                    session: mark(line.session.as_deref()),
                    user: line.user.as_deref().map(|user| self.names.of(user)),
                    tokens: line.tokens.iter().map(|t| mark(Some(t))).collect(),
                    at: line.at,
                    place,
                });
                if let Some(user) = line.user.as_deref().filter(|_| signs_in) {
                    self.signed_in(conn, user, place);
                }
            }
            _ => {}
        }
        if let Some(state) = State::of(line.state.as_deref()).or(op.leads_to()) {
            self.logins.told.push(Told {
                qr,
                state,
                seq: None,
                asked_at: Some(asked_at),
                op: Some(op),
                conn,
                ticket: mark(line.ticket.as_deref()),
                at: line.at,
                place,
            });
        }
        Ok(())
    }

    /// Who is refused is told so for good, or to come again; and what has ended may be named.
    fn login_refused(
        &mut self,
        (conn, op, qr, asked_at): (usize, LoginOp, Option<Name>, Nanos),
        line: &Line<'_>,
        place: Place,
    ) {
        if line.code.as_deref().is_none_or(|code| code == "internal") {
            let text = conn_text(&self.names, &self.conns[conn]);
            self.reports.add(Rule::R9, &[place], || {
                format!(
                    "{text} asked about a QR login ({op:?}) and was refused without a reason that ends it"
                )
            });
        } else if let Some(qr) = qr {
            self.logins.refused.push(Refused {
                qr,
                op,
                conn,
                asked_at,
                at: line.at,
                place,
                meant: Meant::by(line.code.as_deref()),
            });
        }
        if let (Some(qr), Some(state)) = (qr, State::of(line.state.as_deref())) {
            self.logins.told.push(Told {
                qr,
                state,
                seq: None,
                asked_at: Some(asked_at),
                op: None,
                conn,
                ticket: 0,
                at: line.at,
                place,
            });
        }
    }

    pub(super) fn login_event(&mut self, conn: usize, line: &Line<'_>, place: Place) -> Result<(), String> {
        let qr = self.names.of(line.qr.as_deref().ok_or("qr needs qr")?);
        let Some(state) = State::of(line.state.as_deref()) else {
            self.pass_over("state of a QR login");
            return Ok(());
        };
        // A code that rotates has another id from then on.
        if let (State::Waiting, Some(known)) = (state, self.conns[conn].login) {
            self.logins.rename(qr, known);
        }
        self.logins.told.push(Told {
            qr,
            state,
            seq: Some(line.seq.ok_or("qr needs seq")?),
            asked_at: None,
            op: None,
            conn,
            ticket: mark(line.ticket.as_deref()),
            at: line.at,
            place,
        });
        Ok(())
    }

    /// Everybody who asked has been answered, but for who waits for the end.
    pub(super) fn quiet_logins(&mut self, since: Nanos, place: Place) {
        for conn in &self.conns[self.first_conn..] {
            for pending in conn.pending.values() {
                let Pending::Login(asked) = pending else { continue };
                let asked = &self.logins.asked[*asked];
                if asked.at < since && asked.op != LoginOp::Outcome {
                    let (names, op) = (&self.names, asked.op);
                    self.reports.add(Rule::R9, &[asked.place, place], || {
                        format!(
                            "{} asked about a QR login ({op:?}) and got no answer",
                            conn_text(names, conn)
                        )
                    });
                }
            }
        }
    }

    /// Decides when all is known.
    pub(super) fn check_logins(&mut self) {
        let mut by_login: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (i, told) in self.logins.told.iter().enumerate() {
            by_login.entry(self.logins.first(told.qr)).or_default().push(i);
        }
        let mut refused: BTreeMap<Name, Vec<usize>> = BTreeMap::new();
        for (i, it) in self.logins.refused.iter().enumerate() {
            refused.entry(self.logins.first(it.qr)).or_default().push(i);
        }
        for (&login, told) in &mut by_login {
            told.sort_by_key(|i| (self.logins.told[*i].at, self.logins.told[*i].place));
            self.check_confirmed(login, told);
            self.check_events(login, told);
            self.check_ends(login, told);
            self.check_scanners(login, told);
            self.check_losers(login, refused.get(&login).map_or(&[][..], Vec::as_slice), told);
        }
        self.check_signed_in(&by_login);
        self.check_sessions();
        self.check_secrets();
    }

    pub(super) fn accuse(&mut self, places: &[Place], login: Name, what: &str) {
        let names = &self.names;
        self.reports.add(Rule::R9, places, || {
            format!("QR login {}: {what}", names.text(login))
        });
    }

    /// At most one confirmation, and one ticket.
    fn check_confirmed(&mut self, login: Name, told: &[usize]) {
        let all = told.iter().map(|i| &self.logins.told[*i]);
        let answers: Vec<Place> = all
            .clone()
            .filter(|t| t.op == Some(LoginOp::Confirm) && t.state == State::Confirmed)
            .map(|t| t.place)
            .collect();
        let mut tickets: Vec<(u64, Place)> = Vec::new();
        for t in all.filter(|t| t.ticket != 0) {
            if tickets.iter().all(|(ticket, _)| *ticket != t.ticket) {
                tickets.push((t.ticket, t.place));
            }
        }
        if answers.len() > 1 {
            self.accuse(&answers, login, "was confirmed more than once");
        }
        if tickets.len() > 1 {
            let places: Vec<Place> = tickets.iter().map(|(_, place)| *place).collect();
            self.accuse(&places, login, "has more than one ticket");
        }
    }

    /// Events with one number are one event, and they follow the life of a login.
    fn check_events(&mut self, login: Name, told: &[usize]) {
        let mut events: BTreeMap<u64, (State, Place)> = BTreeMap::new();
        let mut wrong: Vec<(Vec<Place>, &str)> = Vec::new();
        for t in told.iter().map(|i| &self.logins.told[*i]) {
            let Some(seq) = t.seq else { continue };
            let (state, place) = *events.entry(seq).or_insert((t.state, t.place));
            if state != t.state {
                wrong.push((vec![place, t.place], "one event was told in two ways"));
            }
        }
        let events: Vec<(State, Place)> = events.into_values().collect();
        for pair in events.windows(2) {
            let ((before, first), (after, second)) = (pair[0], pair[1]);
            if before.is_final() {
                wrong.push((vec![first, second], "left a final state"));
            } else if after.rank() < before.rank() {
                wrong.push((vec![first, second], "went back"));
            } else if before == State::Confirmed && after == State::Confirmed {
                wrong.push((vec![first, second], "was confirmed more than once"));
            }
        }
        for (places, what) in wrong {
            self.accuse(&places, login, what);
        }
    }

    /// Whoever asks after somebody was told how it stands is not told that it stands further back; and it ends in one
    /// way.
    fn check_ends(&mut self, login: Name, told: &[usize]) {
        let mut wrong: Vec<(Vec<Place>, &str)> = Vec::new();
        // The furthest that anybody was told until then, in order of time.
        let mut reached: Vec<(Nanos, State, Place)> = Vec::new();
        let mut end: Option<(State, Place)> = None;
        for t in told.iter().map(|i| &self.logins.told[*i]) {
            if let Some(asked_at) = t.asked_at {
                let before = reached.partition_point(|(at, _, _)| *at < asked_at);
                if let Some((_, state, place)) = before.checked_sub(1).map(|i| reached[i])
                    && t.state.rank() < state.rank()
                {
                    let what = if state.is_final() {
                        "left a final state"
                    } else {
                        "went back"
                    };
                    wrong.push((vec![place, t.place], what));
                }
            }
            if t.state.is_final() {
                let (state, place) = *end.get_or_insert((t.state, t.place));
                if state != t.state {
                    wrong.push((vec![place, t.place], "ended in two ways"));
                }
            }
            if reached
                .last()
                .is_none_or(|(_, state, _)| t.state.rank() > state.rank())
            {
                reached.push((t.at, t.state, t.place));
            }
        }
        for (places, what) in wrong {
            self.accuse(&places, login, what);
        }
    }
}
