//! How a side ends: PCs that still wait cancel their logins. What is left to itself would
//! rotate and expire while the next side is measured, at its expense. (A login is forgotten 60 s after its end.)

use countersign_protocol::client::QrCancel;
use countersign_protocol::codec::command_json;

use super::super::Mode;
use super::super::pc::Ask;
use super::{CANCEL_ID, Driver};
use crate::engine::Io;
use crate::login::frame::Frame;
use crate::login::phones::who;
use crate::story::count;

impl Driver<'_> {
    /// From now on nobody asks; whoever still waits cancels.
    pub(in super::super) fn leave(&mut self) {
        self.due.clear();
        self.typed.clear();
        self.leaving = (0..self.pcs.len()).filter(|pc| self.waits(*pc)).collect();
    }

    /// Whether all have.
    pub(in super::super) fn left(&self) -> bool {
        self.unleft() == 0
    }

    /// How many have not.
    pub(in super::super) fn unleft(&self) -> usize {
        self.leaving.len() + self.cancelling
    }

    fn waits(&self, pc: usize) -> bool {
        self.pcs[pc].opened && !self.pcs[pc].done
    }

    /// Lets as many cancel as may be unanswered at once. A PC over HTTP whose question is unanswered waits for that.
    pub(super) fn cancel_next(&mut self, io: &mut Io) {
        for _ in 0..self.leaving.len() {
            if self.cancelling >= self.in_flight {
                return;
            }
            let Some(pc) = self.leaving.pop_front() else {
                return;
            };
            if self.pcs[pc].asked.is_some() {
                self.leaving.push_back(pc);
            } else if self.waits(pc) {
                self.cancel(io, pc);
            }
        }
    }

    fn cancel(&mut self, io: &mut Io, pc: usize) {
        self.cancelling += 1;
        self.finish(pc);
        let state = &self.pcs[pc];
        if self.mode == Mode::Push {
            let fields = QrCancel {
                qr_id: state.qr_id.as_str().into(),
                claim: state.claim.as_str().into(),
            };
            let command = command_json(CANCEL_ID, "qr.cancel", &fields);
            self.pcs[pc].asked = Some(Ask::Cancel);
            if !io.send(pc, &command) {
                self.ended_while_leaving(pc);
            }
            return;
        }
        let request = format!(
            "DELETE /v1/qr/{} HTTP/1.1\r\nhost: {}\r\n{}\r\n",
            state.qr_id,
            self.target.authority,
            who("Claim", &self.identity(pc))
        );
        self.ask(io, pc, Ask::Cancel, request.into_bytes());
        if self.pcs[pc].asked.is_none() {
            // It could not even be dialled, and that is counted.
            self.cancelling -= 1;
        }
    }

    /// The answer to a cancellation.
    pub(super) fn cancelled(&mut self, good: bool, body: &[u8]) {
        self.cancelling -= 1;
        if !good {
            let why = Frame::read(body).map_or("cancel".to_owned(), |frame| frame.refusal("cancel"));
            count(&mut self.counts.failed, &why);
        }
    }

    /// Its connection is gone: nobody answers a cancellation any more, if that is what was asked.
    pub(super) fn ended_while_leaving(&mut self, pc: usize) {
        if self.pcs[pc].asked == Some(Ask::Cancel) {
            self.pcs[pc].asked = None;
            self.cancelling -= 1;
            count(&mut self.counts.failed, "cancel: the connection ended");
        }
    }
}
