//! One side of the `poll` scenario as it runs.

mod handler;
mod leaving;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use countersign_protocol::client::Empty;
use countersign_protocol::codec::command_json;
use countersign_protocol::http::{Confirm, RedeemBody};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use super::pc::{Ask, News, Pc};
use super::{Mode, PollPlan};
use crate::clock::{MILLI, Nanos};
use crate::engine::Io;
use crate::engine::http::Response;
use crate::engine::upgrade::Identity;
use crate::error::Result;
use crate::latency::Latency;
use crate::login::frame::Frame;
use crate::login::phones::{Phones, What, post, who};
use crate::login::sockets::Sockets;
use crate::login::{device, opening, redeem};
use crate::room::Stage;
use crate::series::Series;
use crate::story::schedule::Schedule;
use crate::story::{Gathering, Story, count, idle};
use crate::target::{Sources, Target};

/// Ids of the commands of a PC on a WebSocket.
const OPEN_ID: u64 = 1;
const REDEEM_ID: u64 = 2;
const PING_ID: u64 = 3;
const CANCEL_ID: u64 = 4;
/// A login whose PC polls is over after so many intervals: to see it scanned, to type, to see it confirmed.
const LOGIN_INTERVALS: u64 = 4;
/// Most questions made up for before the sockets have their turn again.
const CATCH_UP_MAX: usize = 256;

/// Counts of a side.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counts {
    /// Questions asked, and not asked as the one before was unanswered.
    pub polled: u64,
    pub skipped: u64,
    /// Heartbeats that PCs sent.
    pub pings: u64,
    /// Codes that got another id, as PCs were told.
    pub rotations: u64,
    /// Logins begun by phones, and PCs signed in by them.
    pub logins: u64,
    pub learned: u64,
    /// Broken off or refused, by what.
    pub failed: BTreeMap<String, u64>,
    /// Connections of PCs and phones that ended while something was awaited on them, by how.
    pub ended: BTreeMap<String, u64>,
    pub malformed: u64,
}

/// The running side. Connections are numbered: PCs, then phones.
pub(super) struct Driver<'a> {
    plan: PollPlan,
    mode: Mode,
    run: u32,
    target: &'a Target,
    sources: Sources,
    in_flight: usize,
    pub sockets: Sockets<'a>,
    phones: Phones<'a>,
    pcs: Vec<Pc>,
    /// Connections of HTTP that are there, in [`Mode::KeepAlive`].
    dialed: Vec<bool>,
    opened: usize,
    /// PCs over HTTP whose opening has begun.
    opening: usize,
    /// Who asks, or looks whether it has heard something, at what time.
    due: BinaryHeap<Reverse<(Nanos, usize)>>,
    logins: Option<Schedule>,
    window: (Nanos, Nanos),
    idle_phones: VecDeque<usize>,
    /// When the person whose PC shows digits has typed them.
    typed: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// At the end: who has yet to cancel, and how many of them wait for the answer.
    leaving: VecDeque<usize>,
    cancelling: usize,
    rng: SmallRng,
    pub counts: Counts,
    /// From the phone's request until the PC knows.
    pub lateness: Latency,
    failed: Option<(usize, String)>,
    series: Option<Series>,
}

impl<'a> Driver<'a> {
    pub(super) fn new(plan: &PollPlan, mode: Mode, stage: &Stage<'a>) -> Result<Driver<'a>> {
        let identity = |n: usize| Identity {
            device: Some(device(stage.run, n)),
            token: None,
        };
        let sockets = if mode == Mode::Push { plan.pcs } else { 0 };
        Ok(Driver {
            plan: plan.clone(),
            mode,
            run: stage.run,
            target: stage.target,
            sources: stage.sources,
            in_flight: stage.pace.in_flight,
            sockets: Sockets::new(stage, (0..sockets).map(identity).collect()),
            phones: Phones::new(stage, plan.pcs, plan.phones),
            pcs: (0..plan.pcs).map(|_| Pc::default()).collect(),
            dialed: vec![false; plan.pcs],
            opened: 0,
            opening: 0,
            due: BinaryHeap::new(),
            logins: None,
            window: (0, 0),
            idle_phones: (0..plan.phones).collect(),
            typed: BinaryHeap::new(),
            leaving: VecDeque::new(),
            cancelling: 0,
            rng: SmallRng::seed_from_u64(rand::random()),
            counts: Counts::default(),
            lateness: Latency::new()?,
            failed: None,
            series: None,
        })
    }

    /// Phones are at work in `window`.
    pub(super) fn begin(&mut self, window: (Nanos, Nanos)) {
        self.window = window;
        if self.plan.logins_per_second > 0.0 && self.plan.phones > 0 {
            self.logins = Some(Schedule::new(window.0, self.plan.logins_per_second));
        }
    }

    pub(super) fn stop(&mut self) {
        self.logins = None;
    }

    /// Whether no login is under way.
    pub(super) fn settled(&self) -> bool {
        self.unlearned() == 0
    }

    /// Logins under way.
    pub(super) fn unlearned(&self) -> u64 {
        self.pcs.iter().filter(|pc| pc.phone.is_some()).count() as u64
    }

    /// From one turn of a PC to the next.
    fn period(&self) -> Nanos {
        match self.mode {
            Mode::Push => self.plan.heartbeat,
            Mode::KeepAlive | Mode::Connect => self.plan.interval,
        }
    }

    fn identity(&self, pc: usize) -> Identity {
        Identity {
            device: Some(device(self.run, pc)),
            token: Some(self.pcs[pc].claim.clone()),
        }
    }

    /// Makes a request of a PC over HTTP.
    fn ask(&mut self, io: &mut Io, pc: usize, ask: Ask, mut request: Vec<u8>) {
        if self.mode == Mode::Connect {
            // In the head, before its empty line.
            let end = request
                .windows(4)
                .position(|w| w == b"\r\n\r\n")
                .unwrap_or_default();
            request.splice(end..end, *b"\r\nconnection: close");
        }
        if !self.dialed[pc] {
            if let Err(e) = io.dial(pc, self.target, self.sources.of(pc)) {
                count(&mut self.counts.failed, &e.to_string());
                return;
            }
            self.dialed[pc] = true;
        }
        self.pcs[pc].asked = Some(ask);
        io.request(pc, &request);
    }

    fn open_over_http(&mut self, io: &mut Io, pc: usize) {
        let name = device(self.run, pc);
        let body = serde_json::to_vec(&opening(&name)).unwrap_or_default();
        let identity = Identity {
            device: Some(name),
            token: None,
        };
        let request = post(self.target, "/v1/qr", &identity, &body);
        self.ask(io, pc, Ask::Open, request);
    }

    fn poll(&mut self, io: &mut Io, pc: usize) {
        if self.pcs[pc].asked.is_some() {
            self.counts.skipped += 1;
            return;
        }
        let request = format!(
            "GET /v1/qr/{} HTTP/1.1\r\nhost: {}\r\n{}\r\n",
            self.pcs[pc].qr_id,
            self.target.authority,
            who("Claim", &self.identity(pc))
        );
        self.counts.polled += 1;
        self.ask(io, pc, Ask::Poll, request.into_bytes());
    }

    /// A PC's time has come: it asks, or says that it is there when it has heard nothing for long.
    fn turn(&mut self, io: &mut Io, pc: usize, at: Nanos) {
        if self.pcs[pc].done {
            return;
        }
        let period = self.period();
        let mut next = at + period;
        if self.mode == Mode::Push {
            let silent_since = self.pcs[pc].heard_at;
            if silent_since + period <= at {
                self.counts.pings += 1;
                io.send(pc, &command_json(PING_ID, "ping", &Empty {}));
            } else {
                next = silent_since + period;
            }
        } else {
            self.poll(io, pc);
        }
        self.due.push(Reverse((next, pc)));
    }

    /// A phone that has nothing to do scans the code of a PC that waits, any of them: who asks does so at another time
    /// than the next.
    fn login(&mut self, io: &mut Io) {
        let n = self.pcs.len();
        let first = self.rng.random_range(0..n);
        let waits = |pc: &Pc| pc.opened && !pc.done && pc.phone.is_none();
        let Some(pc) = (first..first + n).map(|i| i % n).find(|pc| waits(&self.pcs[*pc])) else {
            return count(&mut self.counts.failed, "no PC waits");
        };
        let Some(phone) = self.idle_phones.pop_front() else {
            return count(&mut self.counts.failed, "no phone is free");
        };
        self.counts.logins += 1;
        self.pcs[pc].phone = Some(phone);
        let qr_id = self.pcs[pc].qr_id.clone();
        self.phones.call(io, phone, (What::Scan, pc), &qr_id, Vec::new());
    }

    /// The person has seen the digits and types them, in up to an interval of polling: what they do is not tied to when
    /// their PC asks.
    fn types(&mut self, pc: usize, now: Nanos) {
        if self.pcs[pc].scan_token.is_some() && self.pcs[pc].shown.is_some() {
            let takes = self.rng.random_range(0..=self.plan.interval);
            self.typed.push(Reverse((now + takes, pc)));
        }
    }

    fn confirm(&mut self, io: &mut Io, pc: usize) {
        let Some((phone, (scan_token, code))) = self.pcs[pc].phone.zip(self.pcs[pc].ready()) else {
            return;
        };
        let body = Confirm {
            scan_token,
            code,
            password: None,
        };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let qr_id = self.pcs[pc].qr_id.clone();
        self.phones.call(io, phone, (What::Confirm, pc), &qr_id, body);
    }

    /// A PC is told where its login stands.
    fn told(&mut self, io: &mut Io, pc: usize, frame: &Frame<'_>, at: Nanos) {
        let news = self.pcs[pc].told(frame);
        if let (News::Scanned | News::Confirmed(_), Some(phone)) = (&news, self.pcs[pc].phone) {
            self.lateness
                .record(at.saturating_sub(self.phones.sent_at(phone)));
        }
        match news {
            News::None => {}
            News::Rotated => self.counts.rotations += 1,
            News::Scanned => self.types(pc, at),
            News::Confirmed(ticket) => self.redeem(io, pc, ticket),
            News::Over(why) => self.fail(pc, why),
        }
    }

    fn redeem(&mut self, io: &mut Io, pc: usize, ticket: String) {
        if self.mode == Mode::Push {
            let state = &self.pcs[pc];
            io.send(pc, &redeem(REDEEM_ID, &state.qr_id, &state.claim, &ticket));
            return;
        }
        let body = serde_json::to_vec(&RedeemBody { ticket }).unwrap_or_default();
        let path = format!("/v1/qr/{}/redeem", self.pcs[pc].qr_id);
        let mut request = post(self.target, &path, &Identity::default(), &body);
        let at = request.windows(2).position(|w| w == b"\r\n").unwrap_or_default() + 2;
        request.splice(at..at, who("Claim", &self.identity(pc)).into_bytes());
        self.ask(io, pc, Ask::Redeem, request);
    }

    fn fail(&mut self, pc: usize, why: &str) {
        count(&mut self.counts.failed, why);
        self.finish(pc);
    }

    /// A PC waits no more; its phone may be another's.
    fn finish(&mut self, pc: usize) {
        self.pcs[pc].done = true;
        // One that waits for an answer still is free with that.
        if let Some(phone) = self.pcs[pc]
            .phone
            .take()
            .filter(|phone| !self.phones.is_busy(*phone))
        {
            self.idle_phones.push_back(phone);
        }
    }

    fn signed_in(&mut self, pc: usize) {
        self.counts.learned += 1;
        self.finish(pc);
    }

    /// A login is there to be waited for.
    fn opened(&mut self, pc: usize, frame: Frame<'_>, at: Nanos) {
        if frame.kind == "error" || !self.pcs[pc].open(frame) {
            let why = "the QR login was not opened; --profile bench lifts the rates".to_owned();
            self.failed.get_or_insert((pc, why));
            return;
        }
        self.opened += 1;
        self.pcs[pc].heard_at = at;
        // Spread over the period, as those of people are.
        let spread = self.period() * pc as u64 / self.plan.pcs.max(1) as u64;
        self.due.push(Reverse((at + spread.max(MILLI), pc)));
    }

    fn answered_pc(&mut self, io: &mut Io, pc: usize, response: &Response<'_>, at: Nanos) {
        let Some(asked) = self.pcs[pc].asked.take() else {
            return;
        };
        if self.mode == Mode::Connect || !response.keep {
            io.cut(pc);
            self.dialed[pc] = false;
        }
        if asked == Ask::Cancel {
            return self.cancelled(response.status == 204, response.body);
        }
        let Some(frame) = Frame::read(response.body) else {
            self.counts.malformed += 1;
            return;
        };
        let good = matches!(response.status, 200 | 201);
        match asked {
            Ask::Open => self.opened(pc, frame, at),
            Ask::Poll if good => self.told(io, pc, &frame, at),
            Ask::Poll => count(&mut self.counts.failed, &frame.refusal("poll")),
            Ask::Redeem if good => self.signed_in(pc),
            Ask::Redeem => self.fail(pc, &frame.refusal("redeem")),
            Ask::Cancel => {}
        }
    }
}

impl Story for Driver<'_> {
    fn tick(&mut self, io: &mut Io, now: Nanos) -> Nanos {
        self.phones.begin_due(io);
        self.cancel_next(io);
        let mut next = self.sockets.begin_due(io, now);
        while self.mode != Mode::Push
            && self.opening < self.pcs.len()
            && self.opening < self.opened + self.in_flight
        {
            let pc = self.opening;
            self.opening += 1;
            self.open_over_http(io, pc);
        }
        for _ in 0..CATCH_UP_MAX {
            let Some(Reverse((at, pc))) = self.due.peek().copied().filter(|r| r.0.0 <= now) else {
                break;
            };
            self.due.pop();
            self.turn(io, pc, at);
        }
        while let Some(Reverse((_, pc))) = self.typed.peek().copied().filter(|r| r.0.0 <= now) {
            self.typed.pop();
            self.confirm(io, pc);
        }
        // None is begun so late that its end would not be in the measured span.
        while let Some((_, due)) = self.logins.as_mut().and_then(|s| s.take(now)) {
            if due + LOGIN_INTERVALS * self.plan.interval < self.window.1 {
                self.login(io);
            }
        }
        for times in [&self.due, &self.typed] {
            next = next.min(times.peek().map_or(idle(now), |r| r.0.0));
        }
        next.min(self.logins.as_ref().map_or(Nanos::MAX, Schedule::due_at))
    }

    fn series(&mut self) -> &mut Option<Series> {
        &mut self.series
    }
}

impl Gathering for Driver<'_> {
    fn gathered(&mut self) -> (usize, Option<(usize, String)>) {
        let (_, failed) = self.sockets.up();
        (self.opened + self.phones.ready(), failed.or(self.failed.take()))
    }
}
