//! The running `qr` scenario.

use std::collections::VecDeque;

use countersign_protocol::codec::command_json;
use countersign_protocol::http::{Confirm, QrStateBody, Scanned};
use countersign_protocol::server::QrState;

use super::QrPlan;
use super::attempt::{Attempt, Next, Odd};
use super::tally::{QrTally, Spans, within};
use crate::clock::{self, Nanos};
use crate::engine::http::Response;
use crate::engine::upgrade::Identity;
use crate::engine::{Ended, Handler, Io};
use crate::error::Result;
use crate::login::frame::Frame;
use crate::login::phones::{Phones, What};
use crate::login::sockets::{Heard, Sockets};
use crate::login::{device, open, redeem};
use crate::room::Stage;
use crate::series::Series;
use crate::story::schedule::Schedule;
use crate::story::{Gathering, Story, count, reason};

/// Most attempts and echoes made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 64;

/// A PC: its attempt, if it has one.
#[derive(Default)]
struct Pc {
    attempt: Option<Attempt>,
    next_id: u64,
    /// Its socket has ended.
    gone: bool,
}

/// The running scenario. Connections are numbered: PCs, echoes, phones.
pub(super) struct Driver<'a> {
    plan: QrPlan,
    run: u32,
    pub sockets: Sockets<'a>,
    phones: Phones<'a>,
    pcs: Vec<Pc>,
    /// PCs without an attempt, longest first.
    free: VecDeque<usize>,
    /// What each echo waits for, oldest first: id and when it was sent.
    echoing: Vec<VecDeque<(u64, Nanos)>>,
    attempts: Option<Schedule>,
    echoes: Option<Schedule>,
    window: (Nanos, Nanos),
    pub tally: QrTally,
    pub spans: Spans,
    series: Option<Series>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(plan: &QrPlan, stage: &Stage<'a>) -> Result<Driver<'a>> {
        let pc = |n: usize| Identity {
            device: Some(device(stage.run, n)),
            token: None,
        };
        let mut identities: Vec<Identity> = (0..plan.pcs).map(pc).collect();
        // An echo is a signed-in connection like any other.
        let sessions = stage.sessions.iter().cycle().take(plan.echo_sockets);
        identities.extend(sessions.map(|s| s.identity.clone()));
        let sockets = identities.len();
        Ok(Driver {
            plan: plan.clone(),
            run: stage.run,
            sockets: Sockets::new(stage, identities),
            phones: Phones::new(stage, sockets, plan.pcs),
            pcs: (0..plan.pcs).map(|_| Pc::default()).collect(),
            free: VecDeque::new(),
            echoing: vec![VecDeque::new(); plan.echo_sockets],
            attempts: None,
            echoes: None,
            window: (0, 0),
            tally: QrTally::default(),
            spans: Spans::new()?,
            series: Some(Series::new(stage.server)?),
        })
    }

    /// The user each connection is signed in as from the start.
    pub(super) fn users(&self) -> Vec<Option<String>> {
        let user = |n: usize| Some(self.phones.user(n).to_owned());
        let (pcs, echoes) = (self.pcs.len(), self.echoing.len());
        let nobody = (0..pcs).map(|_| None);
        nobody
            .chain((0..echoes).map(|n| user(n % pcs.max(1))))
            .chain((0..pcs).map(user))
            .collect()
    }

    /// Attempts begin at `start`; those meant in `window` are measured.
    pub(super) fn begin(&mut self, start: Nanos, window: (Nanos, Nanos)) {
        self.attempts = Some(Schedule::new(start, self.plan.per_second));
        let echoing = self.plan.echoes_per_second > 0.0 && !self.echoing.is_empty();
        self.echoes = echoing.then(|| Schedule::new(start, self.plan.echoes_per_second));
        self.window = window;
    }

    pub(super) fn stop(&mut self) {
        (self.attempts, self.echoes) = (None, None);
    }

    /// Whether no phone and no echo waits for an answer.
    pub(super) fn quiet(&self) -> bool {
        let mut phones = 0..self.pcs.len();
        !phones.any(|pc| self.phones.is_busy(pc)) && self.echoing.iter().all(VecDeque::is_empty)
    }

    /// Attempts under way.
    pub(super) fn unfinished(&self) -> u64 {
        self.pcs.iter().filter(|pc| pc.attempt.is_some()).count() as u64
    }

    /// Echoes without an answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.echoing.iter().map(|e| e.len() as u64).sum()
    }

    fn attempt(&mut self, io: &mut Io, meant_at: Nanos) {
        self.tally.due += 1;
        let now = clock::now();
        if within(self.window, meant_at) {
            self.spans.lag.record(now.saturating_sub(meant_at));
        }
        let Some(pc) = self.free.pop_front() else {
            self.tally.no_slot += 1;
            return;
        };
        let state = &mut self.pcs[pc];
        let id = state.next_id;
        state.next_id += 2;
        state.attempt = Some(Attempt::new(meant_at, now, id));
        if io.send(pc, &open(id, &device(self.run, pc))) {
            self.note_sent();
        } else {
            self.fail(pc, "open: the socket does not take it");
        }
    }

    fn echo(&mut self, io: &mut Io, k: u64) {
        let sockets = self.echoing.len() as u64;
        let socket = usize::try_from(k % sockets.max(1)).unwrap_or_default();
        let now = clock::now();
        self.tally.echoes += 1;
        self.echoing[socket].push_back((k, now));
        let ping = command_json(k, "ping", &countersign_protocol::client::Empty {});
        io.send(self.pcs.len() + socket, &ping);
    }

    fn echoed(&mut self, socket: usize, payload: &[u8], at: Nanos) {
        let Some(frame) = Frame::read(payload) else {
            self.tally.malformed += 1;
            return;
        };
        let waits = &mut self.echoing[socket];
        let Some(i) = waits.iter().position(|(id, _)| Some(*id) == frame.id) else {
            return;
        };
        let Some((_, sent_at)) = waits.remove(i) else {
            return;
        };
        if frame.kind != "ok" {
            self.tally.echoes_refused += 1;
        } else if within(self.window, sent_at) {
            self.spans.echo.record(at.saturating_sub(sent_at));
        }
    }

    /// A frame for a PC.
    fn told(&mut self, io: &mut Io, pc: usize, payload: &[u8], at: Nanos) {
        let Some(frame) = Frame::read(payload) else {
            self.tally.malformed += 1;
            return;
        };
        let Some(attempt) = &self.pcs[pc].attempt else {
            self.tally.stray += u64::from(frame.kind == "qr");
            return;
        };
        let next = match frame.id {
            Some(id) if id == attempt.open_id => self.opened_reply(pc, frame, at),
            Some(id) if id == attempt.redeem_id => self.redeemed_reply(pc, &frame, at),
            _ if frame.kind == "qr" => self.pushed(pc, &frame, at),
            _ => Next::Wait,
        };
        self.go_on(io, pc, next);
    }

    fn opened_reply(&mut self, pc: usize, frame: Frame<'_>, at: Nanos) -> Next {
        let Some(attempt) = &mut self.pcs[pc].attempt else {
            return Next::Wait;
        };
        if frame.kind != "ok" {
            return Next::Failed(frame.refusal("open"));
        }
        if within(self.window, attempt.meant_at) {
            self.spans.open.record(at.saturating_sub(attempt.opened_at));
        }
        attempt.opened(frame)
    }

    fn redeemed_reply(&mut self, pc: usize, frame: &Frame<'_>, at: Nanos) -> Next {
        let Some(attempt) = &mut self.pcs[pc].attempt else {
            return Next::Wait;
        };
        if frame.kind != "ok" || frame.access_token.is_none() {
            return Next::Failed(frame.refusal("redeem"));
        }
        let user = frame.user.as_ref().and_then(|u| u.id.as_deref());
        self.tally.wrong_user += u64::from(user != Some(self.phones.user(pc)));
        let span = at.saturating_sub(attempt.meant_at);
        if within(self.window, attempt.meant_at) {
            self.spans.redeem.record(at.saturating_sub(attempt.redeemed_at));
            self.spans.whole.record(span);
        }
        if let Some(series) = &mut self.series {
            series.delivered(span);
        }
        attempt.signed_in()
    }

    fn pushed(&mut self, pc: usize, frame: &Frame<'_>, at: Nanos) -> Next {
        let since = at.saturating_sub(self.phones.sent_at(pc));
        let Some(attempt) = &mut self.pcs[pc].attempt else {
            return Next::Wait;
        };
        let next = match attempt.pushed(frame) {
            Ok(next) => next,
            Err(odd) => {
                match odd {
                    Odd::Stray => self.tally.stray += 1,
                    Odd::OutOfOrder => self.tally.out_of_order += 1,
                }
                return Next::Wait;
            }
        };
        if within(self.window, attempt.meant_at) {
            match frame.state() {
                Some(QrState::Scanned) => self.spans.scanned.record(since),
                Some(QrState::Confirmed) => self.spans.confirmed.record(since),
                _ => {}
            }
        }
        next
    }

    fn go_on(&mut self, io: &mut Io, pc: usize, next: Next) {
        let Some(attempt) = &mut self.pcs[pc].attempt else {
            return;
        };
        match next {
            Next::Wait => {}
            Next::Scan => {
                let qr_id = attempt.qr_id.clone();
                self.phones.call(io, pc, (What::Scan, pc), &qr_id, Vec::new());
            }
            Next::Confirm { scan_token, code } => {
                let body = Confirm {
                    scan_token,
                    code,
                    password: None,
                };
                let body = serde_json::to_vec(&body).unwrap_or_default();
                let qr_id = attempt.qr_id.clone();
                self.phones.call(io, pc, (What::Confirm, pc), &qr_id, body);
            }
            Next::Redeem { ticket } => {
                attempt.redeemed_at = clock::now();
                let command = redeem(attempt.redeem_id, &attempt.qr_id, &attempt.claim, &ticket);
                if !io.send(pc, &command) {
                    self.fail(pc, "redeem: the socket does not take it");
                }
            }
            Next::Done => {
                self.tally.completed += 1;
                self.pcs[pc].attempt = None;
                self.release(pc);
            }
            Next::Failed(why) => self.fail(pc, &why),
        }
    }

    fn fail(&mut self, pc: usize, why: &str) {
        count(&mut self.tally.failed, why);
        self.pcs[pc].attempt = None;
        // A phone whose answer is still awaited is not free for another.
        if !self.phones.is_busy(pc) {
            self.release(pc);
        }
    }

    /// A PC may have another attempt.
    fn release(&mut self, pc: usize) {
        if !self.pcs[pc].gone {
            self.free.push_back(pc);
        }
    }

    fn note_sent(&mut self) {
        if let Some(series) = &mut self.series {
            series.sent(1);
        }
    }
}

impl Story for Driver<'_> {
    fn tick(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        for _ in 0..CATCH_UP_MAX {
            let Some((_, due)) = self.attempts.as_mut().and_then(|s| s.take(now)) else {
                break;
            };
            self.attempt(io, due);
        }
        for _ in 0..CATCH_UP_MAX {
            let Some((k, _)) = self.echoes.as_mut().and_then(|s| s.take(now)) else {
                break;
            };
            self.echo(io, k);
        }
        self.phones.begin_due(io);
        let next = |s: &Option<Schedule>| s.as_ref().map_or(Nanos::MAX, Schedule::due_at);
        next(&self.attempts)
            .min(next(&self.echoes))
            .min(self.sockets.begin_due(io, now))
    }

    fn series(&mut self) -> &mut Option<Series> {
        &mut self.series
    }
}

impl Gathering for Driver<'_> {
    fn gathered(&mut self) -> (usize, Option<(usize, String)>) {
        let (up, failed) = self.sockets.up();
        (up + self.phones.ready(), failed)
    }
}

impl Handler for Driver<'_> {
    fn opened(&mut self, io: &mut Io, member: usize) {
        if let Some(phone) = self.phones.of(member) {
            self.phones.opened(io, phone);
        }
    }

    fn text(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos) {
        let pcs = self.pcs.len();
        match self.sockets.heard(member, payload) {
            Heard::Up if member < pcs => self.free.push_back(member),
            Heard::Frame if member < pcs => self.told(io, member, payload, at),
            Heard::Frame => self.echoed(member - pcs, payload, at),
            Heard::Up | Heard::Stray => {}
        }
    }

    fn answered(&mut self, io: &mut Io, member: usize, response: &Response<'_>, at: Nanos) {
        let Some(pc) = self.phones.of(member) else {
            return;
        };
        let sent_at = self.phones.sent_at(pc);
        let answer = (response.status, response.body);
        let Some(call) = self.phones.answered(io, pc, answer, at) else {
            return;
        };
        let Some(attempt) = &mut self.pcs[pc].attempt else {
            // Of an attempt that was given up.
            self.release(pc);
            return;
        };
        if within(self.window, attempt.meant_at) {
            let span = at.saturating_sub(sent_at);
            match call.what {
                What::Scan => self.spans.scan.record(span),
                What::Confirm => self.spans.confirm.record(span),
            }
        }
        let next = answer_of(call.what, response, attempt);
        self.go_on(io, pc, next);
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        if let Some(phone) = self.phones.of(member) {
            // An idle connection may be closed at any time; a call that is lost with one may not.
            if self.phones.ended(phone).is_some() {
                count(&mut self.tally.ended, &format!("phone {}", reason(&how)));
                match self.pcs[phone].attempt.is_some() {
                    true => self.fail(phone, "the phone's connection ended"),
                    false => self.release(phone),
                }
            }
        } else if self.sockets.ended(member, &how) {
            count(&mut self.tally.ended, &reason(&how));
            if member < self.pcs.len() {
                self.pcs[member].gone = true;
                self.free.retain(|pc| *pc != member);
                if self.pcs[member].attempt.take().is_some() {
                    count(&mut self.tally.failed, "the PC's socket ended");
                }
            }
        }
    }
}

/// What the answer to a phone's call asks for.
fn answer_of(what: What, response: &Response<'_>, attempt: &mut Attempt) -> Next {
    match what {
        _ if response.status != 200 => {
            let why = Frame::read(response.body)
                .and_then(|f| f.code)
                .unwrap_or_default();
            Next::Failed(format!("{} {} {why}", what.name(), response.status))
        }
        What::Scan => match serde_json::from_slice::<Scanned>(response.body) {
            Ok(scanned) => attempt.scanned(scanned.scan_token),
            Err(_) => Next::Failed("scan: an answer that cannot be read".to_owned()),
        },
        What::Confirm => match serde_json::from_slice::<QrStateBody>(response.body) {
            Ok(body) if body.state == QrState::Confirmed => attempt.confirmed(),
            _ => Next::Failed("confirm: an answer that does not say confirmed".to_owned()),
        },
    }
}
