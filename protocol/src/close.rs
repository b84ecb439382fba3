//! WebSocket close codes. Each has one meaning; the close reason on the wire is the name.

/// Why the gateway closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 1000: the client closed first, or asked for it.
    Normal,
    /// 1001: the gateway is going away without a successor.
    GoingAway,
    /// 1002: the bytes were not WebSocket as RFC 6455 has it.
    Protocol,
    /// 1003: a binary frame; this protocol is text.
    Unsupported,
    /// 1007: a text frame that was not UTF-8.
    InvalidUtf8,
    /// 1008: too many frames, fragments or pings.
    Policy,
    /// 1009: a frame or message above the announced size.
    TooBig,
    /// 1011: the gateway failed in a way it did not expect.
    Internal,
    /// 1012: draining; reconnect, preferably when the `reconnect` push said.
    Restart,
    /// 1013: over capacity; reconnect later.
    TryAgain,
    /// 4005: the session ran out; get a new token first, then reconnect.
    SessionExpired,
    /// 4008: what may never be dropped did not fit the connection's queue.
    SlowConsumer,
    /// 4012: no pong in time.
    NoPong,
    /// 4029: commands kept coming over the limit.
    RateLimited,
    /// 4500: the third bad token.
    InvalidToken,
    /// 4501: a text frame that was not JSON.
    BadFrame,
    /// 4502: nothing was authenticated, watched or joined in time.
    AuthTimeout,
    /// 4503: the session was revoked.
    Revoked,
    /// 4504: this user has too many connections.
    ConnectionLimit,
    /// 4505: disconnected by the server API or by an operator.
    Disconnected,
    /// 4507: the user may not be connected.
    NotAllowed,
}

impl CloseCode {
    /// Every code, for tables in tests, documents and metrics.
    pub const ALL: [CloseCode; 21] = [
        CloseCode::Normal,
        CloseCode::GoingAway,
        CloseCode::Protocol,
        CloseCode::Unsupported,
        CloseCode::InvalidUtf8,
        CloseCode::Policy,
        CloseCode::TooBig,
        CloseCode::Internal,
        CloseCode::Restart,
        CloseCode::TryAgain,
        CloseCode::SessionExpired,
        CloseCode::SlowConsumer,
        CloseCode::NoPong,
        CloseCode::RateLimited,
        CloseCode::InvalidToken,
        CloseCode::BadFrame,
        CloseCode::AuthTimeout,
        CloseCode::Revoked,
        CloseCode::ConnectionLimit,
        CloseCode::Disconnected,
        CloseCode::NotAllowed,
    ];

    /// The code with this number, if it has one here.
    pub fn known(number: u16) -> Option<CloseCode> {
        CloseCode::ALL.into_iter().find(|code| code.code() == number)
    }

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        match self {
            CloseCode::Normal => 1000,
            CloseCode::GoingAway => 1001,
            CloseCode::Protocol => 1002,
            CloseCode::Unsupported => 1003,
            CloseCode::InvalidUtf8 => 1007,
            CloseCode::Policy => 1008,
            CloseCode::TooBig => 1009,
            CloseCode::Internal => 1011,
            CloseCode::Restart => 1012,
            CloseCode::TryAgain => 1013,
            CloseCode::SessionExpired => 4005,
            CloseCode::SlowConsumer => 4008,
            CloseCode::NoPong => 4012,
            CloseCode::RateLimited => 4029,
            CloseCode::InvalidToken => 4500,
            CloseCode::BadFrame => 4501,
            CloseCode::AuthTimeout => 4502,
            CloseCode::Revoked => 4503,
            CloseCode::ConnectionLimit => 4504,
            CloseCode::Disconnected => 4505,
            CloseCode::NotAllowed => 4507,
        }
    }

    /// The reason on the wire, also the label in logs.
    pub const fn reason(self) -> &'static str {
        match self {
            CloseCode::Normal => "normal",
            CloseCode::GoingAway => "going_away",
            CloseCode::Protocol => "protocol_error",
            CloseCode::Unsupported => "unsupported_data",
            CloseCode::InvalidUtf8 => "invalid_utf8",
            CloseCode::Policy => "policy",
            CloseCode::TooBig => "too_big",
            CloseCode::Internal => "internal",
            CloseCode::Restart => "restart",
            CloseCode::TryAgain => "try_again",
            CloseCode::SessionExpired => "session_expired",
            CloseCode::SlowConsumer => "slow_consumer",
            CloseCode::NoPong => "no_pong",
            CloseCode::RateLimited => "rate_limited",
            CloseCode::InvalidToken => "invalid_token",
            CloseCode::BadFrame => "bad_frame",
            CloseCode::AuthTimeout => "auth_timeout",
            CloseCode::Revoked => "revoked",
            CloseCode::ConnectionLimit => "connection_limit",
            CloseCode::Disconnected => "disconnected",
            CloseCode::NotAllowed => "not_allowed",
        }
    }

    /// Whether a client should come back by itself (with backoff) after this code.
    pub const fn reconnect(code: u16) -> bool {
        !matches!(code, 1002 | 1003 | 1007..=1009 | 4500..=4999)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_reasons_are_distinct() {
        let mut codes: Vec<_> = CloseCode::ALL.iter().map(|c| c.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CloseCode::ALL.len());
        let mut reasons: Vec<_> = CloseCode::ALL.iter().map(|c| c.reason()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), CloseCode::ALL.len());
    }

    #[test]
    fn bands_say_who_comes_back() {
        assert!(CloseCode::reconnect(CloseCode::SessionExpired.code()));
        assert!(CloseCode::reconnect(CloseCode::Restart.code()));
        assert!(!CloseCode::reconnect(CloseCode::BadFrame.code()));
        assert!(!CloseCode::reconnect(CloseCode::TooBig.code()));
    }
}
