//! QR logins without a gateway: valid histories of PCs and phones at random.

use countersign_loadtest::history::line::Line;
use countersign_loadtest::history::{DIGEST, VERSION};

use super::model::Random;

pub(crate) type File = Vec<Line<'static>>;

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
