//! Why an OAuth request was refused, in the words of its RFCs.

use std::borrow::Cow;

use countersign_protocol::ErrorCode;
use countersign_protocol::oauth::OAuthErrorCode;

use crate::engine::EngineError;
use crate::node::Refusal;

/// A refused OAuth request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthRefusal {
    pub error: OAuthErrorCode,
    /// For a developer's eyes.
    pub description: Cow<'static, str>,
    /// When the same can succeed.
    pub after_ms: Option<u64>,
    /// HTTP status where it differs from the error's own.
    pub status: Option<u16>,
}

impl OAuthRefusal {
    /// A refusal with a sentence.
    pub fn new(error: OAuthErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self {
            error,
            description: description.into(),
            after_ms: None,
            status: None,
        }
    }

    /// The same, answered with another HTTP status.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// A parameter is missing, doubled or malformed.
    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(OAuthErrorCode::InvalidRequest, description)
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.unwrap_or_else(|| self.error.status())
    }
}

impl From<Refusal> for OAuthRefusal {
    fn from(refusal: Refusal) -> Self {
        use OAuthErrorCode as Code;
        let (error, status) = match refusal.code {
            ErrorCode::RateLimited => (Code::TemporarilyUnavailable, Some(429)),
            ErrorCode::LimitReached | ErrorCode::Unavailable | ErrorCode::Timeout => {
                (Code::TemporarilyUnavailable, Some(503))
            }
            ErrorCode::BadRequest => (Code::InvalidRequest, None),
            ErrorCode::TooLarge => (Code::InvalidRequest, Some(413)),
            ErrorCode::MethodNotAllowed => (Code::InvalidRequest, Some(405)),
            ErrorCode::OriginRejected => (Code::UnauthorizedClient, Some(403)),
            ErrorCode::NotAllowed => (Code::UnauthorizedClient, None),
            ErrorCode::AccountLocked | ErrorCode::PolicyDenied => (Code::AccessDenied, None),
            ErrorCode::Unauthenticated | ErrorCode::InvalidToken | ErrorCode::DeviceMismatch => {
                (Code::InvalidToken, None)
            }
            _ => (Code::ServerError, None),
        };
        Self {
            error,
            description: refusal.message,
            after_ms: refusal.after_ms,
            status,
        }
    }
}

impl From<EngineError> for OAuthRefusal {
    fn from(e: EngineError) -> Self {
        Refusal::from(e).into()
    }
}
