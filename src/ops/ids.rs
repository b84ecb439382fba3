//! What a line of the log belongs to: a connection or a request. It is known to whatever runs in its name while that
//! runs, and written to each of its lines; no span lives as long as a connection does.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest request id that is taken from a proxy, characters.
pub const REQUEST_ID_MAX: usize = 64;

/// Names one request in the log and in its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// What a listed proxy calls the request: 1 to [`REQUEST_ID_MAX`] letters, digits, `-`, `_`, `.`.
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let fits = (1..=REQUEST_ID_MAX).contains(&text.len());
        (fits && text.bytes().all(plain)).then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Numbers requests. Two processes, or two starts of one, begin elsewhere.
#[derive(Debug)]
pub struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// `start`: what tells this start from others, such as random bits.
    pub fn new(start: u64) -> Self {
        Self {
            start,
            next: AtomicU64::new(1),
        }
    }

    /// The next one, such as `r_5e0c91d2-1f`: 8 hexadecimal digits of the start, then the number.
    pub fn next(&self) -> RequestId {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        RequestId(format!("r_{:08x}-{number:x}", self.start >> 32).into())
    }
}

/// In whose name something runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belongs {
    /// A WebSocket connection, by its number.
    Connection(u64),
    Request(RequestId),
}

tokio::task_local! {
    static BELONGS: Belongs;
}

/// Runs `work`, one wake of a connection's task, in the name of that connection.
pub fn in_connection<T>(number: u64, work: impl FnOnce() -> T) -> T {
    BELONGS.sync_scope(Belongs::Connection(number), work)
}

/// Carries `work` out in the name of a request.
pub async fn in_request<F: Future>(id: RequestId, work: F) -> F::Output {
    BELONGS.scope(Belongs::Request(id), work).await
}

/// In whose name the caller runs, if in any.
pub fn current() -> Option<Belongs> {
    BELONGS.try_with(Clone::clone).ok()
}

/// The request in whose name the caller runs, if in one's.
pub fn current_request() -> Option<RequestId> {
    match current()? {
        Belongs::Request(id) => Some(id),
        Belongs::Connection(_) => None,
    }
}

/// A connection as the client was told it: `c_` and 16 hexadecimal digits.
pub fn connection_name(number: u64) -> String {
    format!("c_{number:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_and_bounded() {
        let longest = "x".repeat(REQUEST_ID_MAX);
        for good in [
            "a",
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "A-b_c.1",
            longest.as_str(),
        ] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        let longer = "x".repeat(REQUEST_ID_MAX + 1);
        for bad in ["", "a b", "a\nb", "a\x1b[31m", "ä", "a=b", longer.as_str()] {
            assert_eq!(RequestId::parse(bad), None, "{bad}");
        }
        let ids = RequestIds::new(0x5e0c_91d2_0000_0000);
        assert_eq!(ids.next().as_str(), "r_5e0c91d2-1");
        let second = ids.next();
        assert_eq!(second.as_str(), "r_5e0c91d2-2");
        assert_eq!(RequestId::parse(second.as_str()), Some(second));
    }

    #[tokio::test]
    async fn what_runs_knows_in_whose_name() {
        assert_eq!(current(), None);
        let id = RequestIds::new(0).next();
        let inside = in_request(id.clone(), async {
            tokio::task::yield_now().await;
            (
                current_request(),
                in_connection(7, || (current(), current_request())),
            )
        });
        let expected = (Some(id), (Some(Belongs::Connection(7)), None));
        assert_eq!(inside.await, expected);
        assert_eq!(current(), None);
    }
}
