//! R6: what was acknowledged is seen by all who were there, or they were told. R7: what was acknowledged
//! before something was sent or asked comes before it.

use std::collections::HashMap;

use super::report::Rule;
use super::sequence::Acked;
use super::state::Life;
use super::{Checker, conn_text, range_text};
use crate::clock::Nanos;

/// The acknowledgements of one room and epoch by time, each with the greatest offset so far.
struct Timeline<'a>(Vec<(Nanos, &'a Acked)>);

impl<'a> Timeline<'a> {
    fn new(acked: &'a [Acked]) -> Timeline<'a> {
        let mut list: Vec<_> = acked.iter().map(|a| (a.at, a)).collect();
        list.sort_by_key(|(at, a)| (*at, a.offset));
        let mut top: Option<&Acked> = None;
        for (_, acked) in &mut list {
            if top.is_some_and(|t| t.offset > acked.offset) {
                *acked = top.unwrap_or(acked);
            }
            top = Some(acked);
        }
        Timeline(list)
    }

    /// The newest message that was acknowledged before `time`.
    fn before(&self, time: Nanos) -> Option<&'a Acked> {
        let n = self.0.partition_point(|(at, _)| *at < time);
        n.checked_sub(1).map(|i| self.0[i].1)
    }
}

/// Acknowledgements, which are sorted by place, by room and epoch.
fn by_life(acked: &[Acked]) -> HashMap<Life, &[Acked]> {
    acked
        .chunk_by(|a, b| a.life == b.life)
        .map(|group| (group[0].life, group))
        .collect()
}

impl Checker {
    pub(super) fn check_lost(&mut self, acked: &[Acked]) {
        let lives = by_life(acked);
        for hole in std::mem::take(&mut self.holes) {
            let acked = lives.get(&hole.life).copied().unwrap_or_default();
            let from = acked.partition_point(|a| a.offset < hole.missing.from);
            let lost = acked[from..].partition_point(|a| a.offset <= hole.missing.to);
            let Some(first) = acked.get(from).filter(|_| lost > 0) else {
                continue;
            };
            let text = self.life_text(hole.life);
            let conn = conn_text(&self.names, &self.conns[hole.conn]);
            let places = [first.place, first.sent, hole.missing.at];
            self.reports.add(Rule::R6, &places, || {
                let range = range_text(hole.missing.from, hole.missing.to);
                format!(
                    "{text}: {lost} messages of {range} were acknowledged, {conn} was there, and neither got \
                     them nor was told"
                )
            });
        }
        let times: HashMap<Life, Timeline<'_>> =
            lives.iter().map(|(life, a)| (*life, Timeline::new(a))).collect();
        for stand in std::mem::take(&mut self.stands) {
            let newest = times.get(&stand.life).and_then(|t| t.before(stand.since));
            let Some(newest) = newest.filter(|a| a.offset > stand.position) else {
                continue;
            };
            let text = self.life_text(stand.life);
            let conn = conn_text(&self.names, &self.conns[stand.conn]);
            let places = [newest.place, newest.sent, stand.joined, stand.quiet];
            self.reports.add(Rule::R6, &places, || {
                format!(
                    "{text}: message {} was acknowledged; when all had been waited for, {conn} was at {}",
                    newest.offset, stand.position
                )
            });
        }
    }

    pub(super) fn check_real_time(&mut self, acked: &[Acked]) {
        for (life, acked) in by_life(acked) {
            let times = Timeline::new(acked);
            for message in acked {
                let Some(before) = times
                    .before(message.sent_at)
                    .filter(|b| b.offset > message.offset)
                else {
                    continue;
                };
                let text = self.life_text(life);
                let places = [message.place, message.sent, before.place];
                self.reports.add(Rule::R7, &places, || {
                    format!(
                        "{text}: message {} was sent after {} had been acknowledged, and stands before it",
                        message.offset, before.offset
                    )
                });
            }
        }
        let lives = by_life(acked);
        let times: HashMap<Life, Timeline<'_>> =
            lives.iter().map(|(life, a)| (*life, Timeline::new(a))).collect();
        for answer in std::mem::take(&mut self.newest) {
            let newest = times.get(&answer.life).and_then(|t| t.before(answer.asked_at));
            let Some(newest) = newest.filter(|a| a.offset > answer.offset) else {
                continue;
            };
            let text = self.life_text(answer.life);
            let places = [answer.place, answer.asked, newest.place];
            self.reports.add(Rule::R7, &places, || {
                format!(
                    "{text}: asked after message {} had been acknowledged, the answer ends at {}",
                    newest.offset, answer.offset
                )
            });
        }
    }
}
