//! QR logins without a gateway: valid histories of PCs and phones at random, and faults planted into them.

use countersign_loadtest::history::line::Line;
use countersign_loadtest::history::{DIGEST, VERSION};

use super::model::Random;

type File = Vec<Line<'static>>;

/// A login as its gateway has it.
struct Login {
    number: usize,
    /// How often its code has rotated.
    turn: usize,
    state: &'static str,
    seq: u64,
    /// The connection that watches, and those that have proved the claim.
    pc: u64,
    scanner: Option<usize>,
    scans: usize,
    sessions: usize,
}

impl Login {
    fn qr(&self) -> String {
        format!("q{}-{}", self.number, self.turn)
    }

    fn is_final(&self) -> bool {
        !matches!(self.state, "waiting" | "scanned" | "confirmed")
    }
}

struct World {
    random: Random,
    now: u64,
    file: File,
    logins: Vec<Login>,
    phones: usize,
    conns: u64,
    ids: u64,
}

/// A valid history: so many random steps of PCs and phones, everything answered.
pub(crate) fn logins(seed: u64, steps: usize) -> File {
    let mut world = World {
        random: Random::new(seed),
        now: 1_000,
        file: vec![Line {
            version: Some(VERSION),
            clock: Some("model".into()),
            digest: Some(DIGEST.into()),
            ..Line::new("history", 0)
        }],
        logins: Vec::new(),
        phones: 3,
        conns: 3,
        ids: 0,
    };
    for phone in 0..world.phones {
        let line = Line {
            user: Some(format!("u{phone}").into()),
            ..Line::on("connect", 1, phone as u64 + 1)
        };
        world.file.push(line);
    }
    for _ in 0..steps {
        world.step();
    }
    world.now += 1;
    world.file.push(Line {
        since: Some(world.now),
        ..Line::new("quiet", world.now)
    });
    world.file
}

impl World {
    fn step(&mut self) {
        if self.logins.is_empty() || self.random.below(6) == 0 {
            return self.open();
        }
        let login = self.random.below(self.logins.len());
        let phone = self.random.below(self.phones);
        match self.random.below(12) {
            0..3 => self.scan(login, phone),
            3..6 => self.confirm(login, phone),
            6 => self.deny(login, phone),
            7 => self.cancel(login),
            8..10 => self.redeem(login),
            10 => self.watch(login),
            _ => self.pass(login),
        }
    }

    fn invoke(&mut self, conn: u64, op: &'static str, line: Line<'static>) -> u64 {
        self.now += 2;
        self.ids += 1;
        self.file.push(Line {
            e: "invoke".into(),
            at: self.now,
            conn: Some(conn),
            id: Some(self.ids),
            op: Some(op.into()),
            ..line
        });
        self.ids
    }

    fn answer(&mut self, conn: u64, id: u64, line: Line<'static>) {
        self.now += 2;
        let e = if line.code.is_some() { "error" } else { "ok" };
        self.file.push(Line {
            e: e.into(),
            at: self.now,
            conn: Some(conn),
            id: Some(id),
            ..line
        });
    }

    fn event(&mut self, login: usize, state: &'static str) {
        self.logins[login].state = state;
        self.logins[login].seq += 1;
        self.tell(login);
    }

    /// The newest event, to who watches.
    fn tell(&mut self, login: usize) {
        let login = &self.logins[login];
        let line = Line {
            qr: Some(login.qr().into()),
            seq: Some(login.seq),
            state: Some(login.state.into()),
            ticket: (login.state == "confirmed").then(|| format!("ticket{}", login.number).into()),
            ..Line::on("qr", self.now + 1, login.pc)
        };
        self.now += 1;
        self.file.push(line);
    }

    fn about(&self, login: usize) -> Line<'static> {
        Line {
            qr: Some(self.logins[login].qr().into()),
            ..Line::default()
        }
    }

    fn claiming(&self, login: usize) -> Line<'static> {
        Line {
            claim: Some(format!("claim{login}").into()),
            ..self.about(login)
        }
    }

    fn connect(&mut self) -> u64 {
        self.conns += 1;
        self.file.push(Line::on("connect", self.now, self.conns));
        self.conns
    }

    fn open(&mut self) {
        let pc = self.connect();
        let id = self.invoke(pc, "qr.open", Line::default());
        let number = self.logins.len();
        self.logins.push(Login {
            number,
            turn: 0,
            state: "waiting",
            seq: 1,
            pc,
            scanner: None,
            scans: 0,
            sessions: 0,
        });
        let reply = Line {
            state: Some("waiting".into()),
            seq: Some(1),
            secrets: vec![format!("claim{number}").into()],
            ..self.claiming(number)
        };
        self.answer(pc, id, reply);
    }

    fn refusal(&self, login: usize, code: &'static str) -> Line<'static> {
        let login = &self.logins[login];
        Line {
            code: Some(if login.is_final() { "already_final" } else { code }.into()),
            state: login.is_final().then(|| login.state.into()),
            ..Line::default()
        }
    }

    fn scan(&mut self, login: usize, phone: usize) {
        let conn = phone as u64 + 1;
        let id = self.invoke(conn, "scan", self.about(login));
        let state = &mut self.logins[login];
        let again = state.state == "scanned" && state.scanner == Some(phone);
        if state.state != "waiting" && !again {
            let refusal = self.refusal(login, "already_scanned");
            return self.answer(conn, id, refusal);
        }
        (state.scanner, state.scans) = (Some(phone), state.scans + 1);
        let token = format!("scan{login}-{}", state.scans);
        if !again {
            self.event(login, "scanned");
        }
        let reply = Line {
            scan_token: Some(token.into()),
            ..Line::default()
        };
        self.answer(conn, id, reply);
    }

    fn confirm(&mut self, login: usize, phone: usize) {
        let conn = phone as u64 + 1;
        let id = self.invoke(conn, "confirm", self.about(login));
        let state = &self.logins[login];
        if state.state != "scanned" || state.scanner != Some(phone) {
            let code = if state.state == "confirmed" {
                "already_confirmed"
            } else {
                "scan_token_invalid"
            };
            let refusal = self.refusal(login, code);
            return self.answer(conn, id, refusal);
        }
        self.event(login, "confirmed");
        let reply = Line {
            state: Some("confirmed".into()),
            ..Line::default()
        };
        self.answer(conn, id, reply);
    }

    fn deny(&mut self, login: usize, phone: usize) {
        let conn = phone as u64 + 1;
        let id = self.invoke(conn, "deny", self.about(login));
        let state = &self.logins[login];
        if !matches!(state.state, "scanned" | "confirmed") || state.scanner != Some(phone) {
            let refusal = self.refusal(login, "scan_token_invalid");
            return self.answer(conn, id, refusal);
        }
        self.event(login, "denied");
        self.answer(conn, id, Line::default());
    }

    fn cancel(&mut self, login: usize) {
        let conn = self.logins[login].pc;
        let id = self.invoke(conn, "qr.cancel", self.claiming(login));
        if self.logins[login].is_final() {
            let refusal = self.refusal(login, "");
            return self.answer(conn, id, refusal);
        }
        self.event(login, "cancelled");
        self.answer(conn, id, Line::default());
    }

    fn redeem(&mut self, login: usize) {
        let conn = self.logins[login].pc;
        let id = self.invoke(conn, "qr.redeem", self.claiming(login));
        let state = self.logins[login].state;
        if !matches!(state, "confirmed" | "redeemed") {
            let refusal = self.refusal(login, "conflict");
            return self.answer(conn, id, refusal);
        }
        if state == "confirmed" {
            self.logins[login].sessions += 1;
            self.event(login, "redeemed");
        }
        let user = format!("u{}", self.logins[login].scanner.unwrap_or_default());
        let reply = Line {
            user: Some(user.into()),
            session: Some(format!("s{login}").into()),
            tokens: vec![format!("access{login}").into(), format!("refresh{login}").into()],
            ..Line::default()
        };
        self.answer(conn, id, reply);
    }

    /// The PC comes back on another connection.
    fn watch(&mut self, login: usize) {
        let conn = self.connect();
        let id = self.invoke(conn, "qr.watch", self.claiming(login));
        self.logins[login].pc = conn;
        let reply = Line {
            state: Some(self.logins[login].state.into()),
            ..Line::default()
        };
        self.answer(conn, id, reply);
        self.tell(login);
    }

    /// Time passes: the code rotates, or the login expires.
    fn pass(&mut self, login: usize) {
        if self.logins[login].is_final() {
            return;
        }
        if self.logins[login].state == "waiting" && self.random.below(3) > 0 {
            self.logins[login].turn += 1;
            self.event(login, "waiting");
        } else {
            self.event(login, "expired");
        }
    }
}

/// A fault, and how it is planted. False: this history has no place for it.
type Fault = (&'static str, fn(&mut File, &mut Random) -> bool);

pub(crate) const FAULTS: [Fault; 13] = [
    ("a double confirmation", confirm_twice),
    ("a second ticket", second_ticket),
    ("a double session", second_session),
    ("other tokens when asked again", other_tokens),
    ("a session without a confirmation", unconfirmed_session),
    ("a session of another user", another_users_session),
    ("an event after the end", left_its_end),
    ("a scan that succeeds after the end", scanned_after_the_end),
    ("two ends", two_ends),
    ("a ticket told to a phone", leaked_ticket),
    ("a token told to another PC", leaked_token),
    ("a claim told to a phone", leaked_claim),
    ("a loser without an answer", unanswered),
];

fn any(file: &File, random: &mut Random, holds: impl Fn(&Line<'static>) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..file.len()).filter(|i| holds(&file[*i])).collect();
    (!places.is_empty()).then(|| places[random.below(places.len())])
}

/// The command an answer is to.
fn asked(file: &File, answer: usize) -> &Line<'static> {
    let to = &file[answer];
    let invoke = file[..answer].iter().rfind(|l| l.e == "invoke" && l.id == to.id);
    invoke.unwrap()
}

/// An answer `ok` to this command.
fn answered(file: &File, random: &mut Random, op: &str) -> Option<usize> {
    let oks: Vec<usize> = (0..file.len())
        .filter(|i| file[*i].e == "ok" && asked(file, *i).op.as_deref() == Some(op))
        .collect();
    (!oks.is_empty()).then(|| oks[random.below(oks.len())])
}

/// Once more, at the end: a command with its answer.
fn repeat(file: &mut File, answer: usize, change: impl FnOnce(&mut Line<'static>)) {
    let (mut invoke, mut line) = (asked(file, answer).clone(), file[answer].clone());
    let at = file.last().unwrap().at;
    invoke.at = at + 1;
    line.at = at + 2;
    let id = Some(1_000_000);
    (invoke.id, line.id) = (id, id);
    change(&mut line);
    file.extend([invoke, line]);
}

fn confirm_twice(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "confirm") else {
        return false;
    };
    repeat(file, answer, |_| ());
    true
}

fn second_ticket(file: &mut File, random: &mut Random) -> bool {
    let Some(event) = any(file, random, |l| l.ticket.is_some() && l.e == "qr") else {
        return false;
    };
    let mut line = file[event].clone();
    line.at = file.last().unwrap().at + 1;
    line.ticket = Some("another".into());
    file.push(line);
    true
}

fn second_session(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.redeem") else {
        return false;
    };
    repeat(file, answer, |line| {
        line.session = Some("another".into());
    });
    true
}

fn other_tokens(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.redeem") else {
        return false;
    };
    repeat(file, answer, |line| {
        line.tokens[0] = "another".into();
    });
    true
}

/// The login of a command, whichever of its ids it was named by.
fn login_of(line: &Line<'_>) -> Option<String> {
    let (login, _) = line.qr.as_deref()?.split_once('-')?;
    Some(login.to_owned())
}

/// Answers `ok` to this command about the login that one of them, at random, is about.
fn all_answered(file: &File, random: &mut Random, op: &str) -> Option<(String, Vec<usize>)> {
    let login = login_of(asked(file, answered(file, random, op)?))?;
    let of_it = |i: &usize| {
        let (line, to) = (&file[*i], |i| asked(file, i));
        line.e == "ok" && to(*i).op.as_deref() == Some(op) && login_of(to(*i)).as_ref() == Some(&login)
    };
    let answers = (0..file.len()).filter(of_it).collect();
    Some((login, answers))
}

/// Nobody confirmed the login, nor was told so.
fn unconfirmed_session(file: &mut File, random: &mut Random) -> bool {
    let Some((login, answers)) = all_answered(file, random, "qr.redeem") else {
        return false;
    };
    let sessions: Vec<_> = answers.iter().map(|i| file[*i].id).collect();
    let confirmed: Vec<_> = (0..file.len())
        .filter(|i| file[*i].e == "ok" && file[*i].state.as_deref() == Some("confirmed"))
        .filter(|i| login_of(asked(file, *i)).as_ref() == Some(&login))
        .map(|i| file[i].id)
        .collect();
    file.retain(|line| {
        let told = line.e == "qr" && line.state.as_deref() == Some("confirmed");
        let called = line.id.is_some() && confirmed.contains(&line.id);
        !(called || told && login_of(line).as_ref() == Some(&login))
    });
    sessions.iter().all(|id| file.iter().any(|line| line.id == *id))
}

fn another_users_session(file: &mut File, random: &mut Random) -> bool {
    let Some((_, answers)) = all_answered(file, random, "qr.redeem") else {
        return false;
    };
    for answer in answers {
        file[answer].user = Some("another".into());
    }
    true
}

fn is_end(line: &Line<'_>) -> bool {
    line.e == "qr"
        && matches!(
            line.state.as_deref(),
            Some("redeemed" | "denied" | "cancelled" | "expired")
        )
}

fn left_its_end(file: &mut File, random: &mut Random) -> bool {
    let Some(end) = any(file, random, is_end) else {
        return false;
    };
    let mut line = file[end].clone();
    line.at = file.last().unwrap().at + 1;
    line.seq = line.seq.map(|seq| seq + 1);
    line.state = Some("scanned".into());
    file.push(line);
    true
}

fn scanned_after_the_end(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "scan") else {
        return false;
    };
    let ended = |qr: Option<&str>| file.iter().any(|l| is_end(l) && l.qr.as_deref() == qr);
    if !ended(asked(file, answer).qr.as_deref()) {
        return false;
    }
    repeat(file, answer, |line| {
        line.scan_token = Some("another".into());
    });
    true
}

fn two_ends(file: &mut File, random: &mut Random) -> bool {
    let Some(end) = any(file, random, |l| {
        is_end(l) && l.state.as_deref() != Some("cancelled")
    }) else {
        return false;
    };
    let (conn, qr) = (file[end].conn, file[end].qr.clone());
    let at = file.last().unwrap().at;
    let line = |e: &'static str, at| Line {
        e: e.into(),
        at,
        conn,
        id: Some(1_000_000),
        ..Line::default()
    };
    let invoke = Line {
        op: Some("qr.cancel".into()),
        qr,
        ..line("invoke", at + 1)
    };
    file.extend([invoke, line("ok", at + 2)]);
    true
}

/// Something that was received by one is received by a phone too, under no name.
fn leak(file: &mut File, conn: u64, secret: String) {
    let at = file.last().unwrap().at + 1;
    file.push(Line {
        what: Some("presence".into()),
        secrets: vec![secret.into()],
        ..Line::on("other", at, conn)
    });
}

fn leaked_ticket(file: &mut File, random: &mut Random) -> bool {
    let Some(event) = any(file, random, |l| l.ticket.is_some() && l.e == "qr") else {
        return false;
    };
    let ticket = file[event].ticket.clone().unwrap().into_owned();
    leak(file, 1, ticket);
    true
}

fn leaked_token(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.redeem") else {
        return false;
    };
    let token = file[answer].tokens[1].clone().into_owned();
    let stranger = Line::on("connect", file[answer].at, 1_000_000);
    file.push(stranger);
    leak(file, 1_000_000, token);
    true
}

fn leaked_claim(file: &mut File, random: &mut Random) -> bool {
    let Some(answer) = answered(file, random, "qr.open") else {
        return false;
    };
    let claim = file[answer].claim.clone().unwrap().into_owned();
    leak(file, 2, claim);
    true
}

fn unanswered(file: &mut File, random: &mut Random) -> bool {
    let error = any(file, random, |l| {
        l.e == "error" && l.code.as_deref() == Some("already_scanned")
    });
    let Some(error) = error else { return false };
    file.remove(error);
    true
}
