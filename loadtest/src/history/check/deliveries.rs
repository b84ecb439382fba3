//! What arrives: replies to `join` and `history`, messages, gaps. Judged as it passes (R2, R3, R4, R5, R10).

use super::names::{Name, mark};
use super::report::{Place, Rule};
use super::state::{Asked, Content, Hole, JoinNo, Life, Newest, Record};
use super::stay::{Stay, Wrong, WrongGap};
use super::{Checker, conn_text, life_text, range_text};
use crate::clock::Nanos;
use crate::history::line::{Line, Message};

/// Most tellings that differ from the first which are looked into; all are counted.
const VARIANTS_MAX: usize = 100_000;
/// Most holes that are compared with what was acknowledged; all are counted.
const HOLES_MAX: usize = 1_000_000;

impl Checker {
    pub(super) fn joined(
        &mut self,
        conn: usize,
        join: JoinNo,
        line: &Line<'_>,
        place: Place,
    ) -> Result<(), String> {
        let epoch = line.epoch.as_deref().ok_or("ok of a join needs epoch")?;
        let offset = line.offset.ok_or("ok of a join needs offset")?;
        let epoch = self.names.of(epoch);
        let (room, after, asked_at, asked) = {
            let join = &self.joins[join as usize];
            (join.room, join.after, join.at, join.place)
        };
        let life = self.life(room, epoch);
        self.joins[join as usize].life = Some(life);
        self.summary.stays += 1;
        let start = match self.recovery(conn, after, (epoch, offset), line.recovered, [place, asked]) {
            Some(position) => {
                self.summary.recoveries += 1;
                position
            }
            None => line
                .messages
                .first()
                .map_or(offset, |m| m.offset.saturating_sub(1)),
        };
        let mut stay = Stay::after(start, life, place);
        for message in &line.messages {
            let content = content(self, message);
            self.see(life, message.offset, content, line.at, place);
            let seen = stay.message(message.offset, place);
            self.judge(conn, &stay, message.offset, seen, place);
        }
        if stay.position() > offset {
            let (last, text) = (stay.position(), self.life_text(life));
            self.reports.add(Rule::R3, &[place, asked], || {
                format!("{text}: a join is answered with offset {offset} and brings message {last}")
            });
        }
        stay.reach(offset, place);
        self.newest.push(Newest {
            life,
            asked_at,
            offset,
            asked,
            place,
        });
        if let Some(counts) = &line.counts {
            self.base_counts(&mut stay, counts, (asked_at, line.at), place);
        }
        let former = self.room(conn, room).stay.replace(Box::new(stay));
        self.end_stay(conn, former);
        Ok(())
    }

    /// The position a stay goes on from, when it was rightly recovered.
    fn recovery(
        &mut self,
        conn: usize,
        after: Option<(Name, u64)>,
        (epoch, offset): (Name, u64),
        recovered: Option<bool>,
        places: [Place; 2],
    ) -> Option<u64> {
        let (names, conn) = (&self.names, &self.conns[conn]);
        let mut wrong = |what: String| {
            self.reports.add(Rule::R5, &places, || {
                format!("{}: {what}", conn_text(names, conn))
            });
            None
        };
        match (after, recovered) {
            (None, Some(true)) => {
                wrong("a join that asked for no position was answered recovered".to_owned())
            }
            (Some(_), None) => {
                wrong("a join with a position was not told whether it was recovered".to_owned())
            }
            (Some((was, _)), Some(true)) if was != epoch => wrong(format!(
                "called recovered, though the epoch was {} and is {}: what lies between is gone",
                names.text(was),
                names.text(epoch)
            )),
            (Some((_, position)), Some(true)) if position > offset => wrong(format!(
                "called recovered after {position}, though the room is at {offset}"
            )),
            (Some((_, position)), Some(true)) => Some(position),
            _ => None,
        }
    }

    pub(super) fn page(&mut self, asked: Asked, line: &Line<'_>, place: Place) -> Result<(), String> {
        let epoch = line.epoch.as_deref().ok_or("ok of a history needs epoch")?;
        let epoch = self.names.of(epoch);
        let life = self.life(asked.room, epoch);
        let mut before: Option<u64> = None;
        for message in &line.messages {
            let offset = message.offset;
            let content = content(self, message);
            self.see(life, offset, content, line.at, place);
            let outside =
                asked.after.is_some_and(|a| offset <= a) || asked.before.is_some_and(|b| offset >= b);
            let wrong = match before {
                Some(last) if offset == last => Some((Rule::R4, format!("has {offset} twice"))),
                Some(last) if offset < last => Some((Rule::R3, format!("has {offset} behind {last}"))),
                Some(last) if offset > last + 1 => Some((Rule::R5, format!("jumps from {last} to {offset}"))),
                _ if outside => Some((Rule::R3, format!("has {offset}, outside of what was asked for"))),
                _ => None,
            };
            if let Some((rule, what)) = wrong {
                let text = self.life_text(life);
                self.reports.add(rule, &[place, asked.place], || {
                    format!("{text}: a page of history {what}")
                });
            }
            before = Some(offset);
        }
        if let (Some(offset), None, None) = (before, asked.after, asked.before) {
            self.newest.push(Newest {
                life,
                asked_at: asked.at,
                offset,
                asked: asked.place,
                place,
            });
        }
        Ok(())
    }

    pub(super) fn message(&mut self, conn: usize, line: &Line<'_>, place: Place) -> Result<(), String> {
        let room = line.room.as_deref().ok_or("message needs room")?;
        let room = self.names.of(room);
        let message = Message {
            offset: line.offset.ok_or("message needs offset")?,
            user: line.user.clone(),
            source: line.source.clone(),
            cid: line.cid.clone(),
            msg: line.msg.clone(),
            body: line.body.clone().ok_or("message needs body")?,
        };
        let told = line.epoch.as_deref().map(|epoch| self.names.of(epoch));
        let told = told.map(|epoch| self.life(room, epoch));
        let state = self.conns[conn].rooms.get_mut(&room);
        let (stay, past) = state.map_or((None, None), |r| (r.stay.take(), r.past));
        let content = content(self, &message);
        if let Some(mut stay) = stay {
            if told.is_some_and(|life| life != stay.life) {
                let text = self.life_text(stay.life);
                self.reports.add(Rule::R2, &[place, stay.joined], || {
                    format!("{text}: a message of another epoch within one stay")
                });
            }
            self.see(stay.life, message.offset, content, line.at, place);
            let seen = stay.message(message.offset, place);
            self.judge(conn, &stay, message.offset, seen, place);
            self.room(conn, room).stay = Some(stay);
        } else if let Some(life) = told.or(past) {
            // On its way when the stay ended, or read without one: only its content counts.
            self.see(life, message.offset, content, line.at, place);
        } else {
            let (names, conn) = (&self.names, &self.conns[conn]);
            self.reports.add(Rule::R10, &[place], || {
                format!(
                    "{} got message {} of {} without having an answer to a join",
                    conn_text(names, conn),
                    message.offset,
                    names.text(room)
                )
            });
        }
        Ok(())
    }

    pub(super) fn gap(&mut self, conn: usize, line: &Line<'_>, place: Place) -> Result<(), String> {
        let room = self.names.of(line.room.as_deref().ok_or("gap needs room")?);
        let first = line.first.ok_or("gap needs first")?;
        let last = line.last.ok_or("gap needs last")?;
        self.summary.gaps += 1;
        let Some(stay) = &mut self.conns[conn].rooms.entry(room).or_default().stay else {
            return Ok(());
        };
        let (life, position) = (stay.life, stay.position());
        if let Err(wrong) = stay.gap(first, last, place) {
            let text = self.life_text(life);
            let range = range_text(first, last);
            self.reports.add(Rule::R5, &[place], || match wrong {
                WrongGap::Reversed => format!("{text}: a gap {first} to {last} that ends before it begins"),
                WrongGap::Late => format!(
                    "{text}: the gap {range} came when the viewer was at {position}: told too late, or of \
                     what it had seen"
                ),
            });
        }
        Ok(())
    }

    pub(super) fn left(&mut self, conn: usize, line: &Line<'_>) -> Result<(), String> {
        let room = self.names.of(line.room.as_deref().ok_or("left needs room")?);
        let state = self.room(conn, room);
        let stay = state.stay.take();
        state.past = stay.as_ref().map(|stay| stay.life).or(state.past);
        self.end_stay(conn, stay);
        Ok(())
    }

    /// Judges a stay that has ended; whether there was one.
    pub(super) fn end_stay(&mut self, conn: usize, stay: Option<Box<Stay>>) -> bool {
        let Some(stay) = stay else { return false };
        for missing in stay.holes() {
            let (names, lives, state) = (&self.names, &self.life_names, &self.conns[conn]);
            self.reports.add(Rule::R5, &[missing.at, stay.joined], || {
                format!(
                    "{}: {} never got {}, and no gap told it before what came next",
                    life_text(names, lives, stay.life),
                    conn_text(names, state),
                    range_text(missing.from, missing.to)
                )
            });
            if self.holes.len() < HOLES_MAX {
                self.holes.push(Hole {
                    life: stay.life,
                    conn,
                    missing,
                });
            }
        }
        true
    }

    /// Remembers the first telling of a message and compares later ones with it.
    fn see(&mut self, life: Life, offset: u64, (content, msg): (Content, u64), at: Nanos, place: Place) {
        self.summary.deliveries += 1;
        let fresh = Record {
            content,
            msg,
            at,
            place,
        };
        let first = self.records.entry((life, offset)).or_insert(fresh);
        if first.content == content {
            if at < first.at {
                *first = fresh;
            }
            return;
        }
        let (names, lives, was) = (&self.names, &self.life_names, first.content);
        self.reports.add(Rule::R2, &[place, first.place], || {
            let differs = if was.body != content.body {
                "another body"
            } else if was.user != content.user {
                "another sender"
            } else {
                "another cid or source"
            };
            format!(
                "{}: message {offset} is told with {differs} here than elsewhere",
                life_text(names, lives, life)
            )
        });
        if self.variants.len() < VARIANTS_MAX {
            self.variants.push((life, offset, fresh));
        }
    }

    fn judge(&mut self, conn: usize, stay: &Stay, offset: u64, seen: Result<(), Wrong>, place: Place) {
        let Err(wrong) = seen else { return };
        let rule = match wrong {
            Wrong::Late | Wrong::AfterGap => Rule::R3,
            Wrong::Twice | Wrong::BeforeStart => Rule::R4,
        };
        let (names, lives, state) = (&self.names, &self.life_names, &self.conns[conn]);
        self.reports.add(rule, &[place, stay.joined], || {
            let what = match wrong {
                Wrong::Late => "after a later one",
                Wrong::AfterGap => "after a gap had told that it was dropped",
                Wrong::Twice => "a second time",
                Wrong::BeforeStart => "again, from before where it joined or went on",
            };
            format!(
                "{}: {} got message {offset} {what}; it was at {}",
                life_text(names, lives, stay.life),
                conn_text(names, state),
                stay.position()
            )
        });
    }
}

/// A message as it is compared, and the mark of its id.
fn content(checker: &mut Checker, message: &Message<'_>) -> (Content, u64) {
    let content = Content {
        body: mark(Some(&message.body)),
        cid: mark(message.cid.as_deref()),
        user: message.user.as_deref().map(|user| checker.names.of(user)),
        server: message.source.as_deref() == Some("server"),
    };
    (content, mark(message.msg.as_deref()))
}
