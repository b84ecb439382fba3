//! Phones: one kept connection of HTTP for each, with a token and a device, on which one call at a time is made. A
//! connection that the server has closed meanwhile is opened again with the next call.

use countersign_protocol::http::DEVICE_HEADER;

use crate::accounts::Session;
use crate::clock::{self, Nanos};
use crate::engine::Io;
use crate::engine::upgrade::Identity;
use crate::history::calls as history;
use crate::room::Stage;
use crate::target::{Sources, Target};

/// What a phone asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Scan,
    Confirm,
}

impl What {
    /// The last part of its path, and its name in a history.
    pub const fn name(self) -> &'static str {
        match self {
            What::Scan => "scan",
            What::Confirm => "confirm",
        }
    }
}

/// A call under way.
#[derive(Debug, Clone)]
pub struct Call {
    pub what: What,
    /// The PC whose code it is.
    pub pc: usize,
    id: u64,
    qr_id: String,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Away,
    Dialing,
    Ready,
}

struct Phone {
    line: Line,
    call: Option<Call>,
    calls: u64,
    /// When the last request was handed to the connection.
    sent_at: Nanos,
}

/// All of them; their connections are numbered from `first`.
pub struct Phones<'a> {
    target: &'a Target,
    sources: Sources,
    sessions: &'a [Session],
    first: usize,
    phones: Vec<Phone>,
    dialed: usize,
    /// Most connections on their way at once while they are brought up.
    in_flight: usize,
    ready: usize,
}

impl<'a> Phones<'a> {
    /// `n` phones, each of the session of its number.
    pub fn new(stage: &Stage<'a>, first: usize, n: usize) -> Phones<'a> {
        Phones {
            target: stage.target,
            sources: stage.sources,
            sessions: stage.sessions,
            first,
            phones: (0..n)
                .map(|_| Phone {
                    line: Line::Away,
                    call: None,
                    calls: 0,
                    sent_at: 0,
                })
                .collect(),
            dialed: 0,
            in_flight: stage.pace.in_flight,
            ready: 0,
        }
    }

    /// Phones whose connection is open.
    pub fn ready(&self) -> usize {
        self.ready
    }

    /// Opens connections that were never open.
    pub fn begin_due(&mut self, io: &mut Io) {
        while self.dialed < self.phones.len() && self.dialed < self.ready + self.in_flight {
            let phone = self.dialed;
            self.dialed += 1;
            self.dial(io, phone);
        }
    }

    /// The phone a connection is of.
    pub fn of(&self, member: usize) -> Option<usize> {
        member.checked_sub(self.first).filter(|n| *n < self.phones.len())
    }

    /// Whether it waits for an answer.
    pub fn is_busy(&self, phone: usize) -> bool {
        self.phones[phone].call.is_some()
    }

    /// The user it is signed in as.
    pub fn user(&self, phone: usize) -> &str {
        self.sessions.get(phone).map_or("", |s| s.user.as_str())
    }

    /// When its last request was handed to the connection.
    pub fn sent_at(&self, phone: usize) -> Nanos {
        self.phones[phone].sent_at
    }

    /// Makes a call; at most one at a time for each phone.
    pub fn call(&mut self, io: &mut Io, phone: usize, (what, pc): (What, usize), qr_id: &str, body: Vec<u8>) {
        let state = &mut self.phones[phone];
        state.calls += 1;
        state.call = Some(Call {
            what,
            pc,
            id: state.calls,
            qr_id: qr_id.to_owned(),
            body,
        });
        match state.line {
            Line::Ready => self.send(io, phone),
            Line::Away => self.dial(io, phone),
            Line::Dialing => {}
        }
    }

    fn dial(&mut self, io: &mut Io, phone: usize) {
        let member = self.first + phone;
        // What cannot be dialed fails with the call that waits for it, at the deadline of the run.
        if io.dial(member, self.target, self.sources.of(member)).is_ok() {
            self.phones[phone].line = Line::Dialing;
        }
    }

    fn send(&mut self, io: &mut Io, phone: usize) {
        let member = self.first + phone;
        let anonymous = Identity::default();
        let identity = self.sessions.get(phone).map_or(&anonymous, |s| &s.identity);
        let Some(call) = &mut self.phones[phone].call else {
            return;
        };
        let path = format!("/v1/qr/{}/{}", call.qr_id, call.what.name());
        let request = post(self.target, &path, identity, &call.body);
        if let Some(tap) = &mut io.tap {
            tap.called(
                member,
                &history::Call {
                    op: call.what.name(),
                    id: call.id,
                    qr: &call.qr_id,
                    claim: None,
                    body: &call.body,
                },
            );
        }
        let sent_at = clock::now();
        io.request(member, &request);
        self.phones[phone].sent_at = sent_at;
    }

    /// A connection is open: what waits for it is sent.
    pub fn opened(&mut self, io: &mut Io, phone: usize) {
        self.phones[phone].line = Line::Ready;
        self.ready += 1;
        self.send(io, phone);
    }

    /// An answer came: the call it is to.
    pub fn answered(
        &mut self,
        io: &mut Io,
        phone: usize,
        (status, body): (u16, &[u8]),
        at: Nanos,
    ) -> Option<Call> {
        let call = self.phones[phone].call.take()?;
        if let Some(tap) = &mut io.tap {
            tap.answered(self.first + phone, call.id, (status, body), at);
        }
        Some(call)
    }

    /// A connection ended: the call that is lost with it.
    pub fn ended(&mut self, phone: usize) -> Option<Call> {
        let state = &mut self.phones[phone];
        if std::mem::replace(&mut state.line, Line::Away) == Line::Ready {
            self.ready -= 1;
        }
        state.call.take()
    }
}

/// A request with a JSON body, or an empty one, of who says who they are.
pub fn post(target: &Target, path: &str, identity: &Identity, body: &[u8]) -> Vec<u8> {
    let kind = if body.is_empty() {
        ""
    } else {
        "content-type: application/json\r\n"
    };
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\n{}{kind}content-length: {}\r\n\r\n",
        target.authority,
        who("Bearer", identity),
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// The headers that say who asks.
pub fn who(scheme: &str, identity: &Identity) -> String {
    let mut headers = String::new();
    if let Some(secret) = &identity.token {
        headers.push_str(&format!("authorization: {scheme} {secret}\r\n"));
    }
    if let Some(device) = &identity.device {
        headers.push_str(&format!("{DEVICE_HEADER}: {device}\r\n"));
    }
    headers
}
