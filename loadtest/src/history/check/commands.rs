//! Invocations and their outcomes.

use super::logins::LoginOp;
use super::names::mark;
use super::report::{Place, Rule};
use super::state::{Asked, Attempt, Join, JoinNo, LikeTry, Outcome, Pending};
use super::{Checker, conn_text};
use crate::history::line::Line;

/// The counter of a like that names none.
const LIKES: &str = "likes";

impl Checker {
    pub(super) fn invoke(&mut self, conn: usize, line: &Line<'_>, place: Place) -> Result<(), String> {
        let id = line.id.ok_or("invoke needs id")?;
        let op = line.op.as_deref().ok_or("invoke needs op")?;
        self.unquiet = true;
        let room = match line.room.as_deref() {
            Some(room) => self.names.of(room),
            None if matches!(op, "send" | "like" | "join" | "leave" | "history") => {
                return Err(format!("{op} needs room"));
            }
            None => 0,
        };
        let join = self.conns[conn].rooms.get(&room).and_then(|r| r.join);
        let pending = match op {
            "send" => {
                let body = line.body.as_deref().ok_or("send needs body")?;
                self.summary.sends += 1;
                self.attempts.push(Attempt {
                    conn,
                    room,
                    join,
                    body: mark(Some(body)),
                    msg: mark(line.msg.as_deref()),
                    cid: mark(line.cid.as_deref()),
                    at: line.at,
                    place,
                    outcome: Outcome::Open,
                });
                Pending::Send(self.attempts.len() - 1)
            }
            "like" => {
                self.summary.likes += 1;
                let counter = self.names.of(line.counter.as_deref().unwrap_or(LIKES));
                self.likes.push(LikeTry {
                    room,
                    join,
                    counter,
                    n: line.n.ok_or("like needs n")?,
                    at: line.at,
                    outcome: Outcome::Open,
                });
                Pending::Like(self.likes.len() - 1)
            }
            "join" => Pending::Join(self.join(conn, room, line, place)),
            "leave" => {
                if let Some(stay) = &mut self.room(conn, room).stay {
                    stay.leaving = true;
                }
                Pending::Leave { room, join }
            }
            "history" => Pending::History(Asked {
                room,
                after: line.after_offset,
                before: line.before_offset,
                at: line.at,
                place,
            }),
            "auth" => {
                self.conns[conn].signing_in = true;
                Pending::SignIn
            }
            op if LoginOp::of(op).is_some() => {
                // Over a socket it signs the connection in.
                self.conns[conn].signing_in |= op == "qr.redeem";
                self.ask_login(conn, op, line, place)?
            }
            "refresh" | "ping" => Pending::Other,
            other => {
                self.pass_over(&format!("command {other}"));
                Pending::Other
            }
        };
        let before = self.conns[conn].pending.insert(id, pending);
        if before.is_some() {
            return Err(format!("id {id} is used while its first command is unanswered"));
        }
        Ok(())
    }

    fn join(&mut self, conn: usize, room: u32, line: &Line<'_>, place: Place) -> JoinNo {
        let after = match (line.after_epoch.as_deref(), line.after_offset) {
            (Some(epoch), Some(offset)) => Some((self.names.of(epoch), offset)),
            _ => None,
        };
        let number = JoinNo::try_from(self.joins.len()).unwrap_or(JoinNo::MAX);
        let before = self.room(conn, room).join.replace(number);
        self.joins.push(Join {
            room,
            after,
            at: line.at,
            place,
            life: None,
            refused: false,
            before,
        });
        number
    }

    pub(super) fn outcome(&mut self, conn: usize, line: &Line<'_>, place: Place) -> Result<(), String> {
        let Some(id) = line.id else {
            self.pass_over("reply without id");
            return Ok(());
        };
        let Some(pending) = self.conns[conn].pending.remove(&id) else {
            let (names, conn) = (&self.names, &self.conns[conn]);
            self.reports.add(Rule::R1, &[place], || {
                format!(
                    "{} got an answer with id {id}, for which no command waits: sent twice, or to another",
                    conn_text(names, conn)
                )
            });
            return Ok(());
        };
        if let Pending::Login(asked) = pending {
            return self.login_answered(conn, asked, line, place);
        }
        if line.e == "error" {
            self.refused(conn, pending, line.code.as_deref().unwrap_or_default());
            return Ok(());
        }
        if let Some(user) = line.user.as_deref() {
            self.signed_in(conn, user, place);
        }
        match pending {
            Pending::Send(n) => {
                self.attempts[n].outcome = match line.offset {
                    Some(offset) => {
                        self.summary.acknowledged += 1;
                        self.unquiet = true;
                        acknowledged(offset, line, place)
                    }
                    None if line.shed => Outcome::Refused,
                    None => return Err("ok of a send needs offset, or shed".to_owned()),
                };
            }
            Pending::Like(n) => {
                let value = line.value.ok_or("ok of a like needs value")?;
                self.likes[n].outcome = acknowledged(value, line, place);
            }
            Pending::Join(join) => return self.joined(conn, join, line, place),
            Pending::Leave { room, join } => self.left_room(conn, room, join),
            Pending::History(asked) => return self.page(asked, line, place),
            Pending::SignIn => self.conns[conn].signing_in = false,
            Pending::Login(_) | Pending::Other => {}
        }
        Ok(())
    }

    pub(super) fn signed_in(&mut self, conn: usize, user: &str, place: Place) {
        let user = self.names.of(user);
        let conn = &mut self.conns[conn];
        let was = *conn.user.get_or_insert(user);
        if was != user {
            let names = &self.names;
            self.reports.add(Rule::R1, &[place], || {
                format!(
                    "connection {} was signed in as {} and is now {}: a connection's user is set once",
                    conn.number,
                    names.text(was),
                    names.text(user)
                )
            });
        }
    }

    fn refused(&mut self, conn: usize, pending: Pending, code: &str) {
        // After these two nobody knows how far it came.
        let outcome = if matches!(code, "unavailable" | "internal") {
            Outcome::Unclear
        } else {
            Outcome::Refused
        };
        match pending {
            Pending::Send(n) => self.attempts[n].outcome = outcome,
            Pending::Like(n) => self.likes[n].outcome = outcome,
            Pending::Join(join) => self.joins[join as usize].refused = true,
            Pending::Leave { room, .. } => {
                if let Some(stay) = &mut self.room(conn, room).stay {
                    stay.leaving = false;
                }
            }
            Pending::SignIn => self.conns[conn].signing_in = false,
            Pending::History(_) | Pending::Login(_) | Pending::Other => {}
        }
    }

    /// A `leave` that followed `join` was answered.
    fn left_room(&mut self, conn: usize, room: u32, join: Option<JoinNo>) {
        let life = self.life_of(join);
        let state = self.room(conn, room);
        // Another stay may have begun since.
        let same = state
            .stay
            .as_ref()
            .is_some_and(|stay| stay.leaving || Some(stay.life) == life && state.join == join);
        if same {
            let stay = state.stay.take();
            self.end_stay(conn, stay);
        }
        self.room(conn, room).past = life.or(self.room(conn, room).past);
    }
}

fn acknowledged(number: u64, line: &Line<'_>, place: Place) -> Outcome {
    Outcome::Ok {
        number,
        duplicate: line.duplicate,
        at: line.at,
        place,
    }
}
