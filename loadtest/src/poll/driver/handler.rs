//! What arrives on the connections of PCs and phones.

use countersign_protocol::http::Scanned;

use super::super::Mode;
use super::super::pc::Ask;
use super::{CANCEL_ID, Driver, OPEN_ID, REDEEM_ID};
use crate::clock::Nanos;
use crate::engine::http::Response;
use crate::engine::{Ended, Handler, Io};
use crate::login::frame::Frame;
use crate::login::phones::What;
use crate::login::sockets::Heard;
use crate::login::{device, open};
use crate::story::{count, reason};

impl Handler for Driver<'_> {
    fn opened(&mut self, io: &mut Io, member: usize) {
        if let Some(phone) = self.phones.of(member) {
            self.phones.opened(io, phone);
        }
    }

    fn text(&mut self, io: &mut Io, member: usize, payload: &[u8], at: Nanos) {
        match self.sockets.heard(member, payload) {
            Heard::Up => {
                io.send(member, &open(OPEN_ID, &device(self.run, member)));
            }
            Heard::Frame => {
                let Some(frame) = Frame::read(payload) else {
                    self.counts.malformed += 1;
                    return;
                };
                self.pcs[member].heard_at = at;
                match frame.id {
                    Some(OPEN_ID) => self.opened(member, frame, at),
                    Some(REDEEM_ID) if frame.kind == "ok" => self.signed_in(member),
                    Some(REDEEM_ID) => self.fail(member, &frame.refusal("redeem")),
                    Some(CANCEL_ID) if self.pcs[member].asked.take().is_some() => {
                        self.cancelled(frame.kind == "ok", payload);
                    }
                    _ if frame.kind == "qr" => self.told(io, member, &frame, at),
                    _ => {}
                }
            }
            Heard::Stray => {}
        }
    }

    fn answered(&mut self, io: &mut Io, member: usize, response: &Response<'_>, at: Nanos) {
        let Some(phone) = self.phones.of(member) else {
            return self.answered_pc(io, member, response, at);
        };
        let answer = (response.status, response.body);
        let Some(call) = self.phones.answered(io, phone, answer, at) else {
            return;
        };
        if self.pcs[call.pc].done {
            self.idle_phones.push_back(phone);
        } else if response.status != 200 {
            let code = Frame::read(response.body)
                .and_then(|f| f.code)
                .unwrap_or_default();
            let why = format!("{} {} {code}", call.what.name(), response.status);
            self.fail(call.pc, &why);
        } else if call.what == What::Scan {
            match serde_json::from_slice::<Scanned>(response.body) {
                Ok(scanned) => {
                    self.pcs[call.pc].scan_token = Some(scanned.scan_token);
                    self.types(call.pc, at);
                }
                Err(_) => self.fail(call.pc, "scan: an answer that cannot be read"),
            }
        }
    }

    fn ended(&mut self, _: &mut Io, member: usize, how: Ended) {
        if let Some(phone) = self.phones.of(member) {
            if let Some(call) = self.phones.ended(phone) {
                count(&mut self.counts.ended, &format!("phone {}", reason(&how)));
                match self.pcs[call.pc].done {
                    true => self.idle_phones.push_back(phone),
                    false => self.fail(call.pc, "the phone's connection ended"),
                }
            }
        } else if self.mode == Mode::Push {
            self.ended_while_leaving(member);
            if self.sockets.ended(member, &how) {
                count(&mut self.counts.ended, &reason(&how));
                self.finish(member);
            }
        } else {
            self.dialed[member] = false;
            self.ended_while_leaving(member);
            if let Some(asked) = self.pcs[member].asked.take() {
                count(&mut self.counts.ended, &reason(&how));
                match asked {
                    Ask::Open => {
                        let why = format!("opening a QR login: {}", reason(&how));
                        self.failed.get_or_insert((member, why));
                    }
                    Ask::Poll => {}
                    Ask::Redeem => self.fail(member, "the PC's connection ended"),
                    Ask::Cancel => {}
                }
            }
        }
    }
}
