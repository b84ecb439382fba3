//! Why a use case said no: one value that becomes an error reply on a socket or a problem over HTTP.

use std::borrow::Cow;

use countersign_protocol::ErrorCode;
use countersign_protocol::error::{ErrorReply, Problem};
use countersign_protocol::server::QrState;

use crate::engine::EngineError;

/// A refused command or request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    /// What the caller did or should do, for a developer's eyes.
    pub message: Cow<'static, str>,
    /// When the same can succeed.
    pub after_ms: Option<u64>,
    /// With `already_final`.
    pub state: Option<QrState>,
    pub reason: Option<&'static str>,
    /// With `match_failed`.
    pub tries_left: Option<u8>,
    /// With `step_up_required`.
    pub methods: &'static [&'static str],
    /// HTTP status where it differs from the code's own.
    pub status: Option<u16>,
}

impl Refusal {
    /// A refusal with a sentence.
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            after_ms: None,
            state: None,
            reason: None,
            tries_left: None,
            methods: &[],
            status: None,
        }
    }

    /// The command is malformed.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::BadRequest, message)
    }

    /// Too many; the same can succeed in `after_ms`.
    pub fn rate_limited(message: impl Into<Cow<'static, str>>, after_ms: u64) -> Self {
        Self {
            after_ms: Some(after_ms.max(1)),
            ..Self::new(ErrorCode::RateLimited, message)
        }
    }

    /// The operator has locked the account. Only for who proved to be its owner.
    pub fn account_locked() -> Self {
        Self::new(
            ErrorCode::AccountLocked,
            "this account is locked; whoever runs this service can unlock it",
        )
    }

    /// Not at the moment.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, after_ms: u64) -> Self {
        Self {
            after_ms: Some(after_ms.max(1)),
            ..Self::new(ErrorCode::Unavailable, message)
        }
    }

    /// As the reply to command `id`.
    pub fn reply(&self, id: Option<u64>) -> ErrorReply {
        ErrorReply {
            id,
            code: self.code,
            message: self.message.clone().into_owned(),
            retry: self.code.retry() || self.after_ms.is_some(),
            after_ms: self.after_ms,
            state: self.state.map(|s| s.name().to_owned()),
            reason: self.reason.map(str::to_owned),
            tries_left: self.tries_left,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or_else(|| self.code.status())
    }

    /// As the body of an HTTP answer.
    pub fn problem(&self) -> Problem {
        let title = self.code.name().replace('_', " ");
        Problem {
            kind: "about:blank".into(),
            title,
            status: self.status(),
            detail: self.message.clone().into_owned(),
            code: self.code,
            after_ms: self.after_ms,
            state: self.state.map(|s| s.name().to_owned()),
            reason: self.reason.map(str::to_owned),
            tries_left: self.tries_left,
            methods: self.methods.iter().map(|&m| m.to_owned()).collect(),
        }
    }
}

impl From<EngineError> for Refusal {
    fn from(e: EngineError) -> Self {
        match e {
            EngineError::Exists => Refusal::new(ErrorCode::Conflict, "exists already"),
            EngineError::Full(what) => Refusal {
                status: Some(503),
                ..Refusal::unavailable(format!("this node's bound of {what} is reached"), 5_000)
            },
            EngineError::TooMany(what) => Refusal::rate_limited(format!("too many {what}"), 5_000),
            EngineError::CidConflict => Refusal::new(
                ErrorCode::Conflict,
                "this cid was used with another body; use a new one for each message",
            ),
            EngineError::Rate { after_ms } => {
                Refusal::rate_limited("too many messages in this room", after_ms)
            }
            EngineError::Missing => Refusal::new(ErrorCode::NotFound, "there is none"),
            EngineError::Unavailable => Refusal::unavailable("shared state cannot be reached", 1_000),
        }
    }
}
