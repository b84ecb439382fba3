//! R1: each message that was received was sent before, with this content, by the user it names.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Checker;
use super::names::Name;
use super::report::{Place, Rule};
use super::state::{Attempt, Outcome, Record};

/// Sends by room and by body or id, for looking up.
struct Index(Vec<(Name, u64, usize)>);

impl Index {
    fn new(attempts: &[Attempt], key: impl Fn(&Attempt) -> u64) -> Index {
        let mut list: Vec<_> = attempts
            .iter()
            .enumerate()
            .map(|(i, a)| (a.room, key(a), i))
            .collect();
        list.sort_unstable();
        Index(list)
    }

    fn find(&self, room: Name, key: u64) -> impl Iterator<Item = usize> + '_ {
        let from = self.0.partition_point(|(r, k, _)| (*r, *k) < (room, key));
        self.0[from..]
            .iter()
            .take_while(move |(r, k, _)| (*r, *k) == (room, key))
            .map(|(_, _, attempt)| *attempt)
    }
}

/// What is wrong with a message's origin, and the send it should be compared with.
struct Forged {
    what: String,
    send: Option<Place>,
}

impl Checker {
    /// A connection whose sign-in was never answered may have sent all the same: its user is the one its
    /// first message to be seen names. One that names another is forged.
    pub(super) fn infer_users(&mut self) {
        let unknown = |a: &&Attempt| {
            let conn = &self.conns[a.conn];
            conn.user.is_none() && conn.signing_in
        };
        let wanted: HashMap<(Name, u64, u64), usize> = self
            .attempts
            .iter()
            .filter(unknown)
            .map(|a| ((a.room, a.body, a.cid), a.conn))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let explained: HashSet<(Name, u64, u64, Name)> = self
            .attempts
            .iter()
            .filter(|a| wanted.contains_key(&(a.room, a.body, a.cid)))
            .filter_map(|a| Some((a.room, a.body, a.cid, self.conns[a.conn].user?)))
            .collect();
        let mut named: Vec<_> = self
            .records
            .iter()
            .filter_map(|((life, _), record)| {
                let room = self.life_names[*life as usize].0;
                let content = record.content;
                let conn = wanted.get(&(room, content.body, content.cid))?;
                let user = content.user?;
                let known = explained.contains(&(room, content.body, content.cid, user));
                (!known).then_some((record.place, *conn, user))
            })
            .collect();
        named.sort_unstable();
        for (_, conn, user) in named {
            self.conns[conn].user.get_or_insert(user);
        }
    }

    pub(super) fn check_forged(&mut self) {
        let by_body = Index::new(&self.attempts, |a| a.body);
        let by_id = Index::new(&self.attempts, |a| a.msg);
        let first = self
            .records
            .iter()
            .map(|((life, offset), r)| (*life, *offset, *r));
        let mut all: Vec<_> = first.chain(self.variants.iter().copied()).collect();
        all.sort_unstable_by_key(|(_, _, record)| record.place);
        let mut by_server: BTreeMap<&str, u64> = BTreeMap::new();
        for (life, offset, record) in all {
            if record.content.server {
                // Its sends are not in histories of clients.
                *by_server
                    .entry("message of the server API (origin, R1)")
                    .or_default() += 1;
                continue;
            }
            let room = self.life_names[life as usize].0;
            if let Err(forged) = self.origin(room, &record, &by_body, &by_id) {
                let mut places = vec![record.place];
                places.extend(forged.send);
                let text = self.life_text(life);
                self.reports.add(Rule::R1, &places, || {
                    format!("{text}: message {offset} {}", forged.what)
                });
            }
        }
        for (kind, n) in by_server {
            self.not_checked.insert(kind.to_owned(), n);
        }
    }

    fn origin(&self, room: Name, record: &Record, by_body: &Index, by_id: &Index) -> Result<(), Forged> {
        let content = record.content;
        let with_body: Vec<&Attempt> = by_body
            .find(room, content.body)
            .map(|i| &self.attempts[i])
            .collect();
        let Some(example) = with_body.first() else {
            let same_id = (record.msg != 0)
                .then(|| by_id.find(room, record.msg).next())
                .flatten();
            return Err(match same_id.map(|i| &self.attempts[i]) {
                Some(send) => Forged {
                    what: "was sent with another body: its content was altered on the way".to_owned(),
                    send: Some(send.place),
                },
                None => Forged {
                    what:
                        "was never sent into this room by anybody in this history: invented or altered, or \
                           its sender was not recorded"
                            .to_owned(),
                    send: None,
                },
            });
        };
        let sender = |a: &&&Attempt| self.conns[a.conn].user;
        // Still nobody's after what could be inferred: it may have been anybody's.
        let unknown = |a: &&&Attempt| sender(a).is_none() && self.conns[a.conn].signing_in;
        let by_sender: Vec<&&Attempt> = with_body
            .iter()
            .filter(|a| content.user.is_some() && (sender(a) == content.user || unknown(a)))
            .collect();
        if by_sender.is_empty() {
            return Err(Forged {
                what: format!(
                    "says it is from {}; it was sent by a connection of {}",
                    self.names.maybe(content.user),
                    self.names.maybe(sender(&example))
                ),
                send: Some(example.place),
            });
        }
        let same: Vec<&&&Attempt> = by_sender.iter().filter(|a| a.cid == content.cid).collect();
        let Some(send) = same.first() else {
            return Err(Forged {
                what: "has another cid than it was sent with".to_owned(),
                send: Some(by_sender[0].place),
            });
        };
        if same.iter().all(|a| a.outcome == Outcome::Refused) {
            return Err(Forged {
                what: "was delivered, though its sender was told that it was refused or shed".to_owned(),
                send: Some(send.place),
            });
        }
        if same.iter().all(|a| a.at > record.at) {
            return Err(Forged {
                what: "was received before it was sent".to_owned(),
                send: Some(send.place),
            });
        }
        Ok(())
    }
}
