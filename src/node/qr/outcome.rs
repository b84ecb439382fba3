//! How it ended, for the phone: it never says "done" when the PC is not.

use std::pin::pin;
use std::time::Duration;

use countersign_protocol::http::QrOutcome;

use super::{no_attempt, unexpected};
use crate::core::attempt::{AttemptKey, Command, Outcome, Phone, QrId, Reason};
use crate::engine::{AttemptRef, Topic};
use crate::node::signin::Caller;
use crate::node::sink::Repair;
use crate::node::{Node, Refusal};

/// A phone that went away while it waited: whether its attempt is still to be followed is looked at later.
struct Left<'a> {
    node: &'a Node,
    topic: Option<Topic>,
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if let Some(topic) = self.topic.take() {
            self.node.repairs.ask(Repair::Needless(topic));
        }
    }
}

impl Node {
    /// Waits until a QR login has ended, `outcome_wait_ms` at most, and answers how it stands then. Only for the
    /// account that scanned, on the device that scanned. A drain ends the wait.
    ///
    /// # Errors
    /// `not_found` for everybody else, and once the record is gone.
    pub async fn qr_outcome(&self, caller: &Caller, qr_id: &str) -> Result<QrOutcome, Refusal> {
        self.counted(self.outcome(caller, qr_id)).await
    }

    async fn outcome(&self, caller: &Caller, qr_id: &str) -> Result<QrOutcome, Refusal> {
        let (_, phone) = Self::phone(caller)?;
        let id = QrId::parse(qr_id).ok_or_else(no_attempt)?;
        let (key, outcome) = self.ask_outcome(AttemptRef::Id(id), id, &phone).await?;
        if outcome.state.is_final() {
            return Ok(outcome);
        }
        if self.is_draining() {
            // Whoever was told to ask again would do so at once, over and over.
            return Err(Refusal::unavailable(
                "this node is about to restart; ask again",
                1_000,
            ));
        }
        let awaited = self.hub.await_outcome(key);
        let topic = Topic::Attempt(key);
        let mut left = Left {
            node: self,
            topic: Some(topic.clone()),
        };
        let turn = self.turns.turn(&topic).await;
        let followed = self.engine.follow(topic.clone()).await;
        drop(turn);
        let outcome = match followed {
            Ok(()) => self.outlast(&awaited.news, key, id, &phone).await,
            Err(e) => Err(e.into()),
        };
        drop(awaited);
        self.unfollow_unless_needed(topic).await;
        left.topic = None;
        outcome
    }

    async fn outlast(
        &self,
        news: &tokio::sync::Notify,
        key: AttemptKey,
        id: QrId,
        phone: &Phone,
    ) -> Result<QrOutcome, Refusal> {
        let mut patience = pin!(tokio::time::sleep(Duration::from_millis(
            self.limits().outcome_wait_ms
        )));
        loop {
            // Heard from before it is asked, so that nothing falls between the two.
            let mut told = pin!(news.notified());
            told.as_mut().enable();
            let (_, outcome) = self.ask_outcome(AttemptRef::Key(key), id, phone).await?;
            if outcome.state.is_final() || self.is_draining() {
                return Ok(outcome);
            }
            tokio::select! {
                () = told => {}
                () = &mut patience => return Ok(outcome),
            }
        }
    }

    async fn ask_outcome(
        &self,
        which: AttemptRef,
        qr_id: QrId,
        phone: &Phone,
    ) -> Result<(AttemptKey, QrOutcome), Refusal> {
        let ask = || Command::AskOutcome { qr_id, phone };
        let decided = self.update(which, self.clock.now(), &ask).await?;
        let Outcome::Asked {
            state,
            reason,
            session,
        } = decided.step.outcome?
        else {
            return Err(unexpected());
        };
        let outcome = QrOutcome {
            state,
            reason: reason.map(|r| Reason::name(r).to_owned()),
            session: session.map(String::from),
        };
        Ok((decided.attempt.key(), outcome))
    }
}
