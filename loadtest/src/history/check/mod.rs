//! The checker: takes the lines of one or more histories and decides. Pure: no I/O, no clock.
//!
//! Lines of one connection stand in the order in which things happened; between connections only their
//! times count, so files need no merging and are taken one after the other. Deliveries are judged as they
//! pass; what is remembered is one record for each command, message, stay and flaw.

mod commands;
mod counts;
mod deliveries;
mod forged;
mod logins;
mod losers;
mod lost;
mod names;
mod proofs;
mod report;
mod sequence;
mod sessions;
mod state;
mod stay;

use std::collections::{BTreeMap, HashMap};

use self::logins::Logins;
use self::names::{Name, Names};
use self::report::{Place, Reports};
pub use self::report::{Report, Rule, Shown, Summary, Verdict};
use self::state::{Attempt, Conn, Hole, InRoom, Join, JoinNo, Life, LikeTry, Newest, Record, Stand, Value};
use super::line::Line;
use super::{RECORDS_MAX, VERSION};
use crate::clock::{Nanos, SECOND};

/// Most kinds of what is not checked that are named.
const KINDS_MAX: usize = 100;

/// How a check is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most violations of one rule that are shown; all are counted.
    pub reports_max: usize,
    /// How long a repeated `cid` counts once.
    pub cid_window: Nanos,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            reports_max: 20,
            cid_window: 300 * SECOND,
        }
    }
}

/// A check under way.
#[derive(Debug)]
pub struct Checker {
    options: Options,
    reports: Reports,
    summary: Summary,
    not_checked: BTreeMap<String, u64>,
    notes: Vec<String>,
    names: Names,
    lives: HashMap<(Name, Name), Life>,
    life_names: Vec<(Name, Name)>,
    /// Clock and digest of the first file.
    kinds: Option<(String, String)>,
    file: usize,
    headed: bool,
    /// The first connection of this file.
    first_conn: usize,
    numbers: HashMap<u64, usize>,
    /// Whether anything happened in this file after its last quiet point.
    unquiet: bool,
    conns: Vec<Conn>,
    joins: Vec<Join>,
    attempts: Vec<Attempt>,
    likes: Vec<LikeTry>,
    records: HashMap<(Life, u64), Record>,
    /// What some were told otherwise than the first.
    variants: Vec<(Life, u64, Record)>,
    holes: Vec<Hole>,
    newest: Vec<Newest>,
    stands: Vec<Stand>,
    values: Vec<Value>,
    /// Values pushed, each once.
    pushed: HashMap<(Life, Name, u64), (Nanos, Place)>,
    logins: Logins,
}

impl Checker {
    /// A check without lines.
    pub fn new(options: Options) -> Checker {
        Checker {
            reports: Reports::new(options.reports_max),
            options,
            summary: Summary::default(),
            not_checked: BTreeMap::new(),
            notes: Vec::new(),
            names: Names::default(),
            lives: HashMap::new(),
            life_names: Vec::new(),
            kinds: None,
            file: 0,
            headed: false,
            first_conn: 0,
            numbers: HashMap::new(),
            unquiet: false,
            conns: Vec::new(),
            joins: Vec::new(),
            attempts: Vec::new(),
            likes: Vec::new(),
            records: HashMap::new(),
            variants: Vec::new(),
            holes: Vec::new(),
            newest: Vec::new(),
            stands: Vec::new(),
            values: Vec::new(),
            pushed: HashMap::new(),
            logins: Logins::default(),
        }
    }

    /// The lines that follow are of this file; connections are numbered anew.
    pub fn file(&mut self, name: &str) {
        self.file = self.reports.file(name);
        self.headed = false;
        self.unquiet = false;
        self.first_conn = self.conns.len();
        self.numbers.clear();
    }

    /// Lines taken so far.
    pub fn lines(&self) -> u64 {
        self.summary.lines
    }

    fn records_kept(&self) -> usize {
        self.attempts.len()
            + self.likes.len()
            + self.joins.len()
            + self.records.len()
            + self.newest.len()
            + self.values.len()
            + self.pushed.len()
            + self.stands.len()
            + self.logins.kept()
    }

    /// The last line of the file had no end and was not taken.
    pub fn torn(&mut self, line: u64) {
        self.notes.push(format!(
            "line {line} of file {} breaks off and was left out: its recorder did not end by itself",
            self.file + 1
        ));
    }

    /// Takes a line. An error says why it cannot belong to a history.
    pub fn line(&mut self, number: u64, line: &Line<'_>) -> Result<(), String> {
        self.summary.lines += 1;
        let place = Place::new(self.file, number);
        if self.records_kept() > RECORDS_MAX {
            return Err(format!(
                "more than {RECORDS_MAX} commands and messages are more than this check keeps: record a shorter \
                 run, or fewer messages with more members"
            ));
        }
        if !self.headed {
            return self.head(line);
        }
        self.notice_secrets(line, place);
        match line.e.as_ref() {
            "connect" => self.connect(line),
            "close" => self.on(line).map(|conn| self.close(conn)),
            "invoke" => self.on(line).and_then(|conn| self.invoke(conn, line, place)),
            "ok" | "error" => self.on(line).and_then(|conn| self.outcome(conn, line, place)),
            "message" => self.on(line).and_then(|conn| self.message(conn, line, place)),
            "gap" => self.on(line).and_then(|conn| self.gap(conn, line, place)),
            "left" => self.on(line).and_then(|conn| self.left(conn, line)),
            "counts" => self.on(line).and_then(|conn| self.counts(conn, line, place)),
            "qr" => self.on(line).and_then(|conn| self.login_event(conn, line, place)),
            "quiet" => {
                self.quiet(line, place);
                Ok(())
            }
            "fault" => {
                self.summary.faults += 1;
                Ok(())
            }
            "lost" => Err(format!(
                "the recorder could not write {} lines: the history is not whole and decides nothing; record \
                 again where there is room",
                line.lines.unwrap_or_default()
            )),
            "other" => {
                self.pass_over(&format!(
                    "frame {}",
                    line.what.as_deref().unwrap_or("without name")
                ));
                Ok(())
            }
            "history" => Err("a second head: one file has one recorder".to_owned()),
            other => {
                self.pass_over(&format!("event {other}"));
                Ok(())
            }
        }
    }

    /// The file has ended: what is open in it stays open for ever.
    pub fn end_of_file(&mut self) -> Result<(), String> {
        if !self.headed {
            return Err("no history: its first line is to be its head".to_owned());
        }
        let mut open = 0;
        for conn in self.first_conn..self.conns.len() {
            open += self.end_stays(conn);
        }
        if open > 0 && self.unquiet {
            self.notes.push(format!(
                "file {} ends without a quiet point: whether its {open} open stays got the last messages is \
                 not decided (R6)",
                self.file + 1
            ));
        }
        Ok(())
    }

    /// Decides what needs the whole.
    pub fn finish(mut self) -> Verdict {
        self.summary.connections = self.conns.len() as u64;
        self.summary.messages = self.records.len() as u64;
        self.infer_users();
        self.check_forged();
        let acked = self.check_sequence();
        self.check_lost(&acked);
        self.check_real_time(&acked);
        self.check_counts();
        self.check_logins();
        self.reports.verdict(self.summary, self.not_checked, self.notes)
    }

    fn head(&mut self, line: &Line<'_>) -> Result<(), String> {
        if line.e != "history" {
            return Err("no history: its first line is to be its head".to_owned());
        }
        if line.version != Some(VERSION) {
            return Err(format!(
                "a history of version {}; this program reads {VERSION}",
                line.version.map_or("?".to_owned(), |v| v.to_string())
            ));
        }
        let text = |text: &Option<super::line::Text<'_>>| text.as_deref().unwrap_or_default().to_owned();
        let kinds = (text(&line.clock), text(&line.digest));
        let first = self.kinds.get_or_insert_with(|| kinds.clone());
        if first.0 != kinds.0 {
            return Err(format!(
                "its clock is \"{}\" and that of the first file \"{}\": times cannot be compared; record one \
                 run on one machine",
                kinds.0, first.0
            ));
        }
        if first.1 != kinds.1 {
            return Err(format!(
                "its bodies are digested by \"{}\" and those of the first file by \"{}\"",
                kinds.1, first.1
            ));
        }
        self.headed = true;
        Ok(())
    }

    /// The connection a line is about.
    fn on(&mut self, line: &Line<'_>) -> Result<usize, String> {
        let number = line.conn.ok_or("a line of this kind needs conn")?;
        let conn = *self
            .numbers
            .get(&number)
            .ok_or_else(|| format!("connection {number} is not known: connect comes first"))?;
        if self.conns[conn].closed {
            return Err(format!("connection {number} was closed before"));
        }
        Ok(conn)
    }

    fn connect(&mut self, line: &Line<'_>) -> Result<(), String> {
        let number = line.conn.ok_or("connect needs conn")?;
        let user = line.user.as_deref().map(|user| self.names.of(user));
        if self.numbers.insert(number, self.conns.len()).is_some() {
            return Err(format!(
                "connection {number} was there before: numbers are used once"
            ));
        }
        self.conns.push(Conn {
            number,
            user,
            signing_in: false,
            closed: false,
            pending: HashMap::new(),
            rooms: HashMap::new(),
            login: None,
        });
        Ok(())
    }

    fn close(&mut self, conn: usize) {
        self.end_stays(conn);
        let conn = &mut self.conns[conn];
        conn.closed = true;
        // Nobody knows what became of these; their records stay.
        conn.pending = HashMap::new();
    }

    /// Ends all stays of a connection; how many there were.
    fn end_stays(&mut self, conn: usize) -> usize {
        let rooms = std::mem::take(&mut self.conns[conn].rooms);
        let mut ended = 0;
        for room in rooms.into_values() {
            ended += usize::from(self.end_stay(conn, room.stay));
        }
        ended
    }

    fn quiet(&mut self, line: &Line<'_>, place: Place) {
        self.summary.quiet_points += 1;
        self.unquiet = false;
        let since = line.since.unwrap_or(line.at);
        for (conn, state) in self.conns.iter().enumerate().skip(self.first_conn) {
            for stay in state.rooms.values().filter_map(|room| room.stay.as_ref()) {
                if !stay.leaving {
                    self.stands.push(Stand {
                        life: stay.life,
                        conn,
                        since,
                        position: stay.position(),
                        joined: stay.joined,
                        quiet: place,
                    });
                }
            }
        }
        self.quiet_logins(since, place);
        self.quiet_losers(since, place);
        if line.what.as_deref() == Some("counts") {
            self.quiet_counts(place);
        }
    }

    fn pass_over(&mut self, kind: &str) {
        let known = self.not_checked.contains_key(kind);
        let kind = if known || self.not_checked.len() < KINDS_MAX {
            kind
        } else {
            "others"
        };
        *self.not_checked.entry(kind.to_owned()).or_default() += 1;
    }

    fn life(&mut self, room: Name, epoch: Name) -> Life {
        let next = Life::try_from(self.life_names.len()).unwrap_or(Life::MAX);
        let life = *self.lives.entry((room, epoch)).or_insert(next);
        if life == next {
            self.life_names.push((room, epoch));
        }
        life
    }

    /// The life a command belongs to whose newest `join` was this.
    fn life_of(&self, mut join: Option<JoinNo>) -> Option<Life> {
        loop {
            let at = self.joins.get(join? as usize)?;
            if !at.refused {
                return at.life;
            }
            join = at.before;
        }
    }

    fn room(&mut self, conn: usize, room: Name) -> &mut InRoom {
        self.conns[conn].rooms.entry(room).or_default()
    }

    fn life_text(&self, life: Life) -> String {
        life_text(&self.names, &self.life_names, life)
    }
}

/// Room and epoch, for people.
fn life_text(names: &Names, lives: &[(Name, Name)], life: Life) -> String {
    lives
        .get(life as usize)
        .map_or_else(String::new, |(room, epoch)| {
            format!("{} (epoch {})", names.text(*room), names.text(*epoch))
        })
}

/// A connection, for people.
fn conn_text(names: &Names, conn: &Conn) -> String {
    format!("connection {} ({})", conn.number, names.maybe(conn.user))
}

/// A range of offsets, for people.
fn range_text(from: u64, to: u64) -> String {
    if from == to {
        format!("{from}")
    } else {
        format!("{from}–{to}")
    }
}
