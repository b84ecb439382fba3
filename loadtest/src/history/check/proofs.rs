//! R9, secrets: claims, scan tokens, tickets and tokens are received by nobody but those they are for.

use std::collections::{HashMap, HashSet};

use super::names::{Name, mark};
use super::report::{Place, Rule};
use super::{Checker, conn_text};
use crate::clock::Nanos;
use crate::history::line::Line;

/// Whose a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Claim,
    ScanToken,
    Ticket,
    Token,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Claim => "claim",
            Kind::ScanToken => "scan token",
            Kind::Ticket => "ticket",
            Kind::Token => "token",
        }
    }
}

impl Checker {
    /// What may be a secret and was received.
    pub(super) fn notice_secrets(&mut self, line: &Line<'_>, place: Place) {
        let named = [&line.claim, &line.ticket, &line.scan_token];
        let named = named.into_iter().flatten().filter(|_| line.e != "invoke");
        let all: Vec<u64> = named
            .chain(&line.tokens)
            .chain(&line.secrets)
            .map(|digest| mark(Some(digest)))
            .collect();
        let Some(conn) = line.conn.and_then(|number| self.numbers.get(&number)) else {
            return;
        };
        for secret in all {
            self.logins.seen.push((secret, *conn, line.at, place));
        }
    }

    pub(super) fn check_secrets(&mut self) {
        let claims: HashMap<Name, u64> = self
            .logins
            .opened
            .iter()
            .map(|(qr, claim, _)| (self.logins.first(*qr), *claim))
            .collect();
        let kinds = self.kinds_of_secrets();
        let to = |list: &[(Name, u64, usize)]| list.iter().map(|(_, s, c)| (*s, *c)).collect::<HashSet<_>>();
        let (openers, scanners) = (to(&self.logins.opened), to(&self.logins.scan_tokens));
        let proofs = self.proofs(&claims);
        let mut told: HashSet<(u64, usize)> = HashSet::new();
        let (mut leaks, mut unknown) = (Vec::new(), 0);
        for (secret, conn, at, place) in &self.logins.seen {
            let Some((login, kind)) = kinds.get(secret) else {
                continue;
            };
            let may = match kind {
                Kind::Claim => openers.contains(&(*secret, *conn)),
                Kind::ScanToken => scanners.contains(&(*secret, *conn)),
                // Whose `open` is not in this history may have proved anything.
                _ if !claims.contains_key(login) => {
                    unknown += 1;
                    true
                }
                Kind::Ticket | Kind::Token => proofs.get(&(*login, *conn)).is_some_and(|since| since <= at),
            };
            if !may && told.insert((*secret, *conn)) {
                leaks.push((*login, *kind, *conn, *place));
            }
        }
        if unknown > 0 {
            let kind = "secret of a QR login whose open was not recorded (R9)";
            self.not_checked.insert(kind.to_owned(), unknown);
        }
        for (login, kind, conn, place) in leaks {
            let (names, conn) = (&self.names, &self.conns[conn]);
            self.reports.add(Rule::R9, &[place], || {
                format!(
                    "QR login {}: {} received its {}, which is not for them",
                    names.text(login),
                    conn_text(names, conn),
                    kind.name()
                )
            });
        }
    }

    fn kinds_of_secrets(&self) -> HashMap<u64, (Name, Kind)> {
        let logins = &self.logins;
        let of = |list: &[(Name, u64, usize)], kind| -> Vec<(u64, (Name, Kind))> {
            list.iter()
                .map(|(qr, secret, _)| (*secret, (logins.first(*qr), kind)))
                .collect()
        };
        let mut kinds: HashMap<u64, (Name, Kind)> = HashMap::new();
        kinds.extend(of(&logins.opened, Kind::Claim));
        kinds.extend(of(&logins.scan_tokens, Kind::ScanToken));
        kinds.extend(logins.tickets().map(|(login, t)| (t, (login, Kind::Ticket))));
        kinds.extend(logins.tokens().map(|(login, t)| (t, (login, Kind::Token))));
        kinds.remove(&0);
        kinds
    }

    /// Since when each connection has proved the claim of each login: it was told the claim, or has shown it.
    fn proofs(&self, claims: &HashMap<Name, u64>) -> HashMap<(Name, usize), Nanos> {
        let logins = &self.logins;
        let mut proofs: HashMap<(Name, usize), Nanos> = HashMap::new();
        for (qr, _, conn) in &logins.opened {
            proofs.insert((logins.first(*qr), *conn), 0);
        }
        for asked in logins.asked.iter().filter(|a| a.claim != 0) {
            let Some(login) = asked.qr.map(|qr| logins.first(qr)) else {
                continue;
            };
            if claims.get(&login) == Some(&asked.claim) {
                let since = proofs.entry((login, asked.conn)).or_insert(asked.at);
                *since = asked.at.min(*since);
            }
        }
        proofs
    }
}
