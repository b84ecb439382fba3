//! Session commands and the PC's side of a QR login: barriers among a connection's commands.

use std::borrow::Cow;
use std::sync::Arc;

use countersign_protocol::client::{Auth, Empty, QrAnswer, QrCancel, QrOpen, QrRedeem, QrWatch, Refresh};
use countersign_protocol::codec::{json, ok_json};
use countersign_protocol::server::SignedIn;
use countersign_protocol::{CloseCode, DeviceId, ErrorCode};

use super::{Call, Lane, Outcome, Pending, pending};
use crate::auth::sessions::Proof;
use crate::hub::Connection;
use crate::node::{Claim, QrRequest, Redeemed, Refusal, SignInError, no_attempt};

fn session(future: impl Future<Output = Outcome> + std::marker::Send + 'static) -> Pending {
    pending(Lane::Session, future)
}

impl Call {
    pub(super) fn auth(self, auth: Auth<'_>) -> Pending {
        let credentials = Credentials {
            token: auth.token.into_owned(),
            device: auth.device.map(Cow::into_owned),
            proof: auth.dpop.map(Cow::into_owned),
        };
        session(async move {
            let signed_in = self.sign_in(credentials).await;
            self.reply_to_sign_in(signed_in)
        })
    }

    pub(super) fn refresh(self, refresh: Refresh<'_>) -> Pending {
        let (token, proof) = (refresh.token.into_owned(), refresh.dpop.map(Cow::into_owned));
        session(async move {
            let url = self.node.socket_url();
            let proof = socket_proof(proof.as_deref(), &url);
            let fresh = self
                .node
                .refresh_connection(&self.connection, &token, proof)
                .await;
            self.reply_to_sign_in(fresh.map(|s| self.node.signed_in(&s)).map_err(Into::into))
        })
    }

    pub(super) fn qr_open(self, open: &QrOpen<'_>) -> Pending {
        let request = QrRequest::read(open);
        session(async move {
            let opened = async {
                self.node
                    .open_qr(&self.connection, &request?, |opened| self.ok_frame(opened))
                    .await
            };
            self.replied(opened.await)
        })
    }

    pub(super) fn qr_watch(self, watch: QrWatch<'_>) -> Pending {
        let (claim, device) = (
            OwnedClaim::new(watch.qr_id, watch.claim),
            watch.device.into_owned(),
        );
        let after_seq = watch.after_seq;
        session(async move {
            let watched = async {
                let device = parse_device(&device)?;
                let claim = claim.with(&device);
                self.node
                    .watch_qr(&self.connection, claim, after_seq, |w| self.ok_frame(w))
                    .await
            };
            self.replied(watched.await)
        })
    }

    pub(super) fn qr_answer(self, answer: &QrAnswer<'_>) -> Pending {
        let claim = OwnedClaim::new(answer.qr_id.clone(), answer.claim.clone());
        let code = answer.code.to_string();
        session(async move {
            let answered = async {
                self.node
                    .answer_qr(claim.with(&known_device(&self.connection)?), &code)
                    .await
            };
            self.reply(answered.await.map(|()| Empty {}))
        })
    }

    pub(super) fn qr_cancel(self, cancel: &QrCancel<'_>) -> Pending {
        let claim = OwnedClaim::new(cancel.qr_id.clone(), cancel.claim.clone());
        session(async move {
            let cancelled = async {
                self.node
                    .cancel_qr(claim.with(&known_device(&self.connection)?))
                    .await
            };
            self.reply(cancelled.await.map(|()| Empty {}))
        })
    }

    pub(super) fn qr_redeem(self, redeem: QrRedeem<'_>) -> Pending {
        let claim = OwnedClaim::new(redeem.qr_id, redeem.claim);
        let ticket = redeem.ticket.into_owned();
        session(async move {
            let redeemed = async {
                let device = known_device(&self.connection)?;
                self.node
                    .redeem_qr(&self.connection, claim.with(&device), &ticket)
                    .await
            };
            match redeemed.await {
                Ok(Redeemed {
                    reply,
                    signed_in: true,
                }) => self.reply(Ok(reply)),
                Ok(Redeemed {
                    reply,
                    signed_in: false,
                }) => {
                    self.count(None);
                    Outcome::Close(Some(ok_json(self.id, &reply)), CloseCode::ConnectionLimit)
                }
                Err(refusal) => self.refused(&refusal),
            }
        })
    }

    async fn sign_in(&self, credentials: Credentials) -> Result<SignedIn, SignInError> {
        let (node, connection) = (&self.node, &self.connection);
        let named = credentials.device.as_deref().map(parse_device).transpose()?;
        let known = connection.device();
        if let (Some(named), Some(known)) = (&named, &known)
            && named != known
        {
            return Err(Refusal::new(ErrorCode::DeviceMismatch, "this connection is another device").into());
        }
        let device = named.or(known);
        let url = node.socket_url();
        let proof = socket_proof(credentials.proof.as_deref(), &url);
        let session = node
            .authenticate(&credentials.token, device.as_ref(), proof)
            .await?;
        node.sign_in(connection, Arc::clone(&session)).await?;
        if let Some(device) = &device {
            // Looked at above, and session commands are in order: it cannot have changed.
            let _ = connection.set_device(device);
        }
        Ok(node.signed_in(&session))
    }

    fn reply_to_sign_in(&self, outcome: Result<SignedIn, SignInError>) -> Outcome {
        match outcome {
            Ok(signed_in) => self.reply(Ok(signed_in)),
            Err(SignInError::ConnectionLimit) => {
                self.count(Some(ErrorCode::LimitReached));
                Outcome::Close(None, CloseCode::ConnectionLimit)
            }
            Err(SignInError::Refused(refusal)) => match refusal.code {
                ErrorCode::InvalidToken | ErrorCode::DeviceMismatch => {
                    self.count(Some(refusal.code));
                    Outcome::BadToken(json(&refusal.reply(Some(self.id))))
                }
                _ => self.refused(&refusal),
            },
        }
    }
}

/// On a socket a proof is for the request that opened it.
fn socket_proof<'a>(proof: Option<&'a str>, url: &'a str) -> Option<Proof<'a>> {
    proof.map(|proof| Proof {
        proof,
        method: "GET",
        url,
    })
}

/// What `auth` was given.
struct Credentials {
    token: String,
    device: Option<String>,
    proof: Option<String>,
}

/// The claim as it came.
struct OwnedClaim {
    qr_id: String,
    claim: String,
}

impl OwnedClaim {
    fn new(qr_id: Cow<'_, str>, claim: Cow<'_, str>) -> Self {
        Self {
            qr_id: qr_id.into_owned(),
            claim: claim.into_owned(),
        }
    }

    fn with<'a>(&'a self, device: &'a DeviceId) -> Claim<'a> {
        Claim {
            qr_id: &self.qr_id,
            claim: &self.claim,
            device,
        }
    }
}

fn parse_device(text: &str) -> Result<DeviceId, Refusal> {
    DeviceId::parse(text).map_err(|e| Refusal::bad_request(e.to_string()))
}

/// All but open and watch need the attempt's device, which this connection has said before. Without one it
/// cannot be the PC that asked, and is told what any other stranger is told.
fn known_device(connection: &Connection) -> Result<DeviceId, Refusal> {
    connection.device().ok_or_else(no_attempt)
}
