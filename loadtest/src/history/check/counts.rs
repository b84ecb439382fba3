//! R8: acknowledged likes ≤ value ≤ likes that were sent, never falling for a viewer; at a quiet point with
//! `counts`, viewers are the stays that are open.

use std::collections::HashMap;

use super::names::Name;
use super::report::{Place, Rule};
use super::state::{Life, Outcome, Value};
use super::stay::{Stay, Told};
use super::{Checker, conn_text, life_text};
use crate::clock::Nanos;
use crate::history::line::{Counts, Line};

/// Likes of one counter: running sums by time.
#[derive(Default)]
struct Likes {
    tried: Vec<(Nanos, u64)>,
    acked: Vec<(Nanos, u64)>,
}

/// What was added until `time`, or before it.
fn sum(list: &[(Nanos, u64)], time: Nanos, with: bool) -> u64 {
    let n = list.partition_point(|(at, _)| *at < time || (with && *at == time));
    n.checked_sub(1).map_or(0, |i| list[i].1)
}

fn run_up(list: &mut [(Nanos, u64)]) {
    list.sort_unstable();
    let mut total = 0_u64;
    for (_, n) in list {
        total = total.saturating_add(*n);
        *n = total;
    }
}

impl Checker {
    /// The counts in the answer to a join: the base of what is pushed afterwards.
    pub(super) fn base_counts(
        &mut self,
        stay: &mut Stay,
        counts: &Counts,
        (asked, told): (Nanos, Nanos),
        place: Place,
    ) {
        for (counter, value) in &counts.counters {
            let counter = self.names.of(counter);
            self.values.push(Value {
                life: stay.life,
                counter,
                value: *value,
                from: Some(asked),
                to: told,
                own: 0,
                place,
            });
        }
        stay.told = self.told(counts, place);
    }

    fn told(&mut self, counts: &Counts, place: Place) -> Told {
        Told {
            version: counts.version,
            viewers: counts.viewers,
            counters: counts
                .counters
                .iter()
                .map(|(name, value)| (self.names.of(name), *value))
                .collect(),
            at: Some(place),
        }
    }

    pub(super) fn counts(&mut self, conn: usize, line: &Line<'_>, place: Place) -> Result<(), String> {
        let room = self.names.of(line.room.as_deref().ok_or("counts needs room")?);
        let counts = line.counts.as_ref().ok_or("counts needs counts")?;
        let told = self.told(counts, place);
        let Some(stay) = &mut self.conns[conn].rooms.entry(room).or_default().stay else {
            return Ok(());
        };
        let life = stay.life;
        for (counter, value) in &told.counters {
            let seen = self
                .pushed
                .entry((life, *counter, *value))
                .or_insert((line.at, place));
            *seen = (*seen).min((line.at, place));
        }
        // A client ignores what is not newer than what it has.
        if stay.told.at.is_some() && told.version <= stay.told.version {
            return Ok(());
        }
        let was = std::mem::replace(&mut stay.told, told.clone());
        for (counter, before) in was.counters {
            let now = told.counters.iter().find(|(c, _)| *c == counter);
            let now = now.map_or(0, |(_, value)| *value);
            if now < before {
                let (names, lives, state) = (&self.names, &self.life_names, &self.conns[conn]);
                let places: Vec<Place> = [Some(place), was.at].into_iter().flatten().collect();
                self.reports.add(Rule::R8, &places, || {
                    format!(
                        "{}: {} was told {before} {} and then {now}",
                        life_text(names, lives, life),
                        conn_text(names, state),
                        names.text(counter)
                    )
                });
            }
        }
        Ok(())
    }

    /// Everybody was told how many are there.
    pub(super) fn quiet_counts(&mut self, place: Place) {
        let mut there: HashMap<Life, u64> = HashMap::new();
        let conns = &self.conns[self.first_conn..];
        let stays = || {
            conns
                .iter()
                .flat_map(|c| c.rooms.values().filter_map(move |r| Some((c, r.stay.as_ref()?))))
        };
        for (_, stay) in stays() {
            *there.entry(stay.life).or_default() += 1;
        }
        for (conn, stay) in stays() {
            let open = there.get(&stay.life).copied().unwrap_or_default();
            let Some(at) = stay.told.at.filter(|_| stay.told.viewers != open) else {
                continue;
            };
            let (names, lives) = (&self.names, &self.life_names);
            self.reports.add(Rule::R8, &[at, place], || {
                format!(
                    "{}: {} was last told {} viewers; {open} are there",
                    life_text(names, lives, stay.life),
                    conn_text(names, conn),
                    stay.told.viewers
                )
            });
        }
    }

    /// Compares every value that was told with the likes.
    pub(super) fn check_counts(&mut self) {
        let mut likes: HashMap<(Life, Name), Likes> = HashMap::new();
        let mut stray: HashMap<(Name, Name), u64> = HashMap::new();
        for like in &self.likes {
            let Some(life) = self.life_of(like.join) else {
                // Its join was never answered: it may count in any epoch of the room.
                let tried = stray.entry((like.room, like.counter)).or_default();
                *tried = tried.saturating_add(like.n);
                continue;
            };
            let entry = likes.entry((life, like.counter)).or_default();
            if like.outcome != Outcome::Refused {
                entry.tried.push((like.at, like.n));
            }
            if let Outcome::Ok {
                number, at, place, ..
            } = like.outcome
            {
                entry.acked.push((at, like.n));
                self.values.push(Value {
                    life,
                    counter: like.counter,
                    value: number,
                    from: Some(like.at),
                    to: at,
                    own: like.n,
                    place,
                });
            }
        }
        for likes in likes.values_mut() {
            run_up(&mut likes.tried);
            run_up(&mut likes.acked);
        }
        let mut values = std::mem::take(&mut self.values);
        for ((life, counter, value), (to, place)) in std::mem::take(&mut self.pushed) {
            values.push(Value {
                life,
                counter,
                value,
                from: None,
                to,
                own: 0,
                place,
            });
        }
        values.sort_by_key(|v| v.place);
        self.compare(&values, &likes, &stray);
    }

    fn compare(
        &mut self,
        values: &[Value],
        likes: &HashMap<(Life, Name), Likes>,
        stray: &HashMap<(Name, Name), u64>,
    ) {
        let none = Likes::default();
        let of = |v: &Value| likes.get(&(v.life, v.counter)).unwrap_or(&none);
        let known = |v: &Value, from| sum(&of(v).acked, from, false).saturating_add(v.own);
        // What the room had before anybody recorded can be at most this.
        let mut base: HashMap<(Life, Name), u64> = HashMap::new();
        for value in values {
            let least = value.from.map_or(0, |from| known(value, from));
            let base = base.entry((value.life, value.counter)).or_insert(u64::MAX);
            *base = (*base).min(value.value.saturating_sub(least));
        }
        for value in values {
            let room = self.life_names[value.life as usize].0;
            let most = sum(&of(value).tried, value.to, true)
                .saturating_add(stray.get(&(room, value.counter)).copied().unwrap_or(0))
                .saturating_add(base.get(&(value.life, value.counter)).copied().unwrap_or(0));
            let least = value.from.map_or(0, |from| known(value, from));
            if (least..=most).contains(&value.value) {
                continue;
            }
            let (names, lives) = (&self.names, &self.life_names);
            self.reports.add(Rule::R8, &[value.place], || {
                format!(
                    "{}: {} is told as {}; by then at least {least} were acknowledged and at most {most} \
                     can be",
                    life_text(names, lives, value.life),
                    names.text(value.counter),
                    value.value
                )
            });
        }
    }
}
