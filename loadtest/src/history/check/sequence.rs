//! Places in the sequence: acknowledgements agree with what was delivered (R2), and nothing has two (R4).

use std::collections::HashMap;

use super::names::Name;
use super::report::{Place, Rule};
use super::state::{Attempt, Content, Life, Outcome};
use super::{Checker, life_text};
use crate::clock::{Nanos, seconds};

/// A message that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Acked {
    pub(super) life: Life,
    pub(super) offset: u64,
    /// When it was sent for the first time.
    pub(super) sent_at: Nanos,
    /// When the first acknowledgement came.
    pub(super) at: Nanos,
    pub(super) sent: Place,
    /// Its acknowledgement.
    pub(super) place: Place,
    content: Content,
    duplicate: bool,
    /// There is another send of the same content with the same cid.
    retried: bool,
}

/// A message at its offset: when it was sent at the earliest, and known to be there.
#[derive(Debug, Clone, Copy)]
struct Sequenced {
    life: Life,
    offset: u64,
    content: Content,
    known_at: Nanos,
    place: Place,
}

impl Checker {
    /// Checks the places; acknowledged messages, one for each place, by place.
    pub(super) fn check_sequence(&mut self) -> Vec<Acked> {
        let acked = self.acknowledged();
        self.check_acknowledgements(&acked);
        self.check_sequenced_once(&acked);
        let mut acked = acked;
        acked.dedup_by(|later, first| {
            let same = (later.life, later.offset) == (first.life, first.offset);
            if same && later.at < first.at {
                (first.at, first.place) = (later.at, later.place);
            }
            same
        });
        acked
    }

    /// Sends by connections of which nobody knows as whom they signed in: how many of each, and when first.
    fn by_unknown(&self) -> HashMap<(Name, u64, u64), (u64, Nanos)> {
        let mut found = HashMap::new();
        for attempt in &self.attempts {
            let conn = &self.conns[attempt.conn];
            if conn.user.is_none() && conn.signing_in && attempt.outcome != Outcome::Refused {
                let known = found
                    .entry((attempt.room, attempt.body, attempt.cid))
                    .or_insert((0, attempt.at));
                *known = (known.0 + 1, known.1.min(attempt.at));
            }
        }
        found
    }

    fn content_of(&self, attempt: &Attempt) -> Content {
        Content {
            body: attempt.body,
            cid: attempt.cid,
            user: self.conns[attempt.conn].user,
            server: false,
        }
    }

    /// All acknowledgements by place; at a place, first the one that came first.
    fn acknowledged(&mut self) -> Vec<Acked> {
        // A message with a cid was sent when it was first tried.
        let mut first: HashMap<(Name, Content), (Nanos, Place, bool)> = HashMap::new();
        for attempt in &self.attempts {
            if attempt.cid != 0 {
                first
                    .entry((attempt.room, self.content_of(attempt)))
                    .and_modify(|known| {
                        let (at, place) = (known.0, known.1).min((attempt.at, attempt.place));
                        *known = (at, place, true);
                    })
                    .or_insert((attempt.at, attempt.place, false));
            }
        }
        let unknown = self.by_unknown();
        let mut acked = Vec::new();
        let mut nowhere = 0;
        for attempt in &self.attempts {
            let Outcome::Ok {
                number,
                duplicate,
                at,
                place,
            } = attempt.outcome
            else {
                continue;
            };
            let Some(life) = self.life_of(attempt.join) else {
                nowhere += 1;
                continue;
            };
            let content = self.content_of(attempt);
            let sent = first.get(&(attempt.room, content)).copied();
            let (mut sent_at, sent, mut retried) = sent.unwrap_or((attempt.at, attempt.place, false));
            if let Some((_, at)) = unknown.get(&(attempt.room, attempt.body, attempt.cid)) {
                (sent_at, retried) = (sent_at.min(*at), true);
            }
            acked.push(Acked {
                life,
                offset: number,
                sent_at,
                at,
                sent,
                place,
                content,
                duplicate,
                retried,
            });
        }
        if nowhere > 0 {
            self.notes.push(format!(
                "{nowhere} messages were acknowledged outside of a stay, so that their epoch is not known; \
                 agreement, loss and real time of those are not decided (R2, R6, R7)"
            ));
        }
        acked.sort_by_key(|a| (a.life, a.offset, a.at));
        acked
    }

    fn check_acknowledgements(&mut self, acked: &[Acked]) {
        let mut from = 0;
        while from < acked.len() {
            let place_of = |a: &Acked| (a.life, a.offset);
            let here = place_of(&acked[from]);
            let group = acked[from..].iter().take_while(|a| place_of(a) == here).count();
            let group = &acked[from..from + group];
            from += group.len();
            let record = self.records.get(&here).copied();
            let (content, place) = record.map_or((group[0].content, group[0].sent), |r| (r.content, r.place));
            let (names, lives) = (&self.names, &self.life_names);
            let text = || format!("{}: offset {}", life_text(names, lives, here.0), here.1);
            for ack in group.iter().filter(|a| a.content != content) {
                self.reports.add(Rule::R2, &[ack.place, ack.sent, place], || {
                    format!("{} was acknowledged for this message and has another", text())
                });
            }
            let fresh: Vec<&Acked> = group
                .iter()
                .filter(|a| !a.duplicate && a.content == content)
                .collect();
            if let [first, second, ..] = fresh[..] {
                let (rule, what) = if content.cid == 0 {
                    (Rule::R2, "was acknowledged to two sends")
                } else {
                    (
                        Rule::R4,
                        "was acknowledged twice without duplicate, for one cid sent twice",
                    )
                };
                self.reports.add(rule, &[second.place, first.place], || {
                    format!("{} {what}", text())
                });
            }
            // With one send of that cid there is nothing it could be a duplicate of.
            if let [only] = group
                && only.duplicate
                && !only.retried
            {
                self.reports.add(Rule::R4, &[only.place, only.sent], || {
                    format!(
                        "{} was answered duplicate, but nothing with this cid was sent before",
                        text()
                    )
                });
            }
        }
    }

    /// A message, and a cid within its window, has one place.
    fn check_sequenced_once(&mut self, acked: &[Acked]) {
        let of_record = |(&(life, offset), r): (&(Life, u64), &super::Record)| Sequenced {
            life,
            offset,
            content: r.content,
            known_at: r.at,
            place: r.place,
        };
        let of_ack = |a: &Acked| Sequenced {
            life: a.life,
            offset: a.offset,
            content: a.content,
            known_at: a.at,
            place: a.place,
        };
        let mut all: Vec<Sequenced> = self.records.iter().map(of_record).collect();
        all.extend(acked.iter().map(of_ack));
        all.retain(|s| !s.content.server);
        // Rooms, not lives: a body that was sent once has one place in all epochs.
        let room_of = |s: &Sequenced| self.life_names[s.life as usize].0;
        all.sort_by_key(|s| (room_of(s), s.content, s.life, s.offset, s.known_at));
        all.dedup_by_key(|s| (s.content, s.life, s.offset));
        let mut tries: HashMap<(Name, Content), (u64, Nanos)> = HashMap::new();
        for attempt in &self.attempts {
            let known = tries
                .entry((attempt.room, self.content_of(attempt)))
                .or_insert((0, attempt.at));
            known.0 += u64::from(attempt.outcome != Outcome::Refused);
            known.1 = known.1.min(attempt.at);
        }
        let unknown = self.by_unknown();
        let mut found = Vec::new();
        for group in all.chunk_by(|a, b| room_of(a) == room_of(b) && a.content == b.content) {
            if group.len() < 2 {
                continue;
            }
            // What was never sent is another rule's.
            let Some((sent, first_at)) = tries.get(&(room_of(&group[0]), group[0].content)) else {
                continue;
            };
            let content = group[0].content;
            let others = unknown.get(&(room_of(&group[0]), content.body, content.cid));
            let sent = sent + others.map_or(0, |(n, _)| *n);
            let first_at = others.map_or(*first_at, |(_, at)| (*at).min(*first_at));
            if content.cid == 0 {
                if group.len() as u64 > sent {
                    found.push((group[1], group[0], format!("sent {sent} times")));
                }
                continue;
            }
            for lives in group.chunk_by(|a, b| a.life == b.life) {
                if let [one, two, ..] = lives
                    && two.known_at.max(one.known_at).saturating_sub(first_at) < self.options.cid_window
                {
                    let within = seconds(self.options.cid_window);
                    found.push((*two, *one, format!("one cid within {within} s")));
                }
            }
        }
        for (two, one, why) in found {
            let text = self.life_text(two.life);
            self.reports.add(Rule::R4, &[two.place, one.place], || {
                format!(
                    "{text}: the same message stands at {} and at {}: {why}",
                    one.offset, two.offset
                )
            });
        }
    }
}
