//! Follows request heads in the bytes as they arrive, below hyper: hyper takes a bare LF for a line end and
//! merges repeated lengths, which the servers in front of us may read differently (request smuggling), and it
//! has one timer for a head that does not come and a connection that rests.
//!
//! Pure. What breaks a rule is replaced by bytes that hyper answers with 400.

use memchr::memchr2;

/// Start of a header line that is looked at. Names and lengths that matter are shorter.
const LINE_BYTES_KEPT: usize = 48;
/// No HTTP parser takes this for part of a head, and no parser waits for more after it.
pub(super) const POISON: &[u8] = b"\0\r\n\r\n";

/// Where in a sequence of requests a connection stands.
#[derive(Debug)]
pub(super) struct Heads {
    state: State,
    line: [u8; LINE_BYTES_KEPT],
    line_bytes: usize,
    /// Lines of the current head so far.
    lines: usize,
    last: u8,
    length: Option<u64>,
    chunked: bool,
    upgrade: bool,
    /// Complete heads so far.
    complete: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Before the first byte of a request.
    Between,
    /// In a request head.
    Head,
    /// In a body with so many bytes left.
    Body(u64),
    /// What follows is not ours to read: another protocol, or a body that says itself where it ends. No
    /// request is served after it.
    Opaque,
    /// A rule was broken.
    Refused,
}

impl Heads {
    pub(super) const fn new() -> Self {
        Self {
            state: State::Between,
            line: [0; LINE_BYTES_KEPT],
            line_bytes: 0,
            lines: 0,
            last: 0,
            length: None,
            chunked: false,
            upgrade: false,
            complete: 0,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// How many heads have been seen to their end.
    pub(super) fn complete(&self) -> u32 {
        self.complete
    }

    /// Looks at the next bytes. Answers how many of them may be passed on; fewer than all when a rule was
    /// broken, and then [`POISON`] comes next.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                State::Between | State::Head => match self.head_bytes(rest) {
                    Some(n) => at += n,
                    None => {
                        self.state = State::Refused;
                        return at;
                    }
                },
                State::Body(left) => {
                    let n = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    at += n;
                    let left = left.saturating_sub(n as u64);
                    self.state = if left == 0 {
                        State::Between
                    } else {
                        State::Body(left)
                    };
                }
                State::Opaque => return bytes.len(),
                State::Refused => return at,
            }
        }
        at
    }

    /// Goes to the next end of a line, or over one of its two bytes. Answers how far; `None`: a rule is broken.
    fn head_bytes(&mut self, rest: &[u8]) -> Option<usize> {
        let text = rest.get(..memchr2(b'\r', b'\n', rest).unwrap_or(rest.len()))?;
        let before = std::mem::replace(&mut self.last, *text.last().or(rest.first())?);
        if text.is_empty() {
            let sound = self.last == b'\r' || (before == b'\r' && self.end_of_line());
            return sound.then_some(1);
        }
        // httparse would refuse it too, but only once the head is complete.
        if before == b'\r' {
            return None;
        }
        self.state = State::Head;
        let kept = self.line.get_mut(self.line_bytes..).unwrap_or_default();
        let n = kept.len().min(text.len());
        kept.get_mut(..n)?.copy_from_slice(text.get(..n)?);
        self.line_bytes = self.line_bytes.saturating_add(text.len());
        Some(text.len())
    }

    fn end_of_line(&mut self) -> bool {
        let len = std::mem::take(&mut self.line_bytes);
        if len == 0 {
            // An empty line before a request is skipped (RFC 9112 §2.2).
            return self.lines == 0 || self.end_of_head();
        }
        self.lines += 1;
        if self.lines == 1 {
            self.upgrade = self.line.starts_with(b"CONNECT ");
            return true;
        }
        let (line, whole) = (self.line, len <= LINE_BYTES_KEPT);
        let line = line.get(..len.min(LINE_BYTES_KEPT)).unwrap_or(&line);
        let Some(colon) = line.iter().position(|&b| b == b':') else {
            return true;
        };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = if whole {
                decimal(value.get(1..).unwrap_or_default().trim_ascii())
            } else {
                None
            };
            // Twice is refused even when it is the same twice.
            return length.is_some() && std::mem::replace(&mut self.length, length).is_none();
        }
        self.chunked |= name.eq_ignore_ascii_case(b"transfer-encoding");
        self.upgrade |= name.eq_ignore_ascii_case(b"upgrade");
        true
    }

    fn end_of_head(&mut self) -> bool {
        let length = self.length.take();
        let (chunked, upgrade) = (
            std::mem::take(&mut self.chunked),
            std::mem::take(&mut self.upgrade),
        );
        self.lines = 0;
        self.complete = self.complete.saturating_add(1);
        self.state = match length {
            // Two answers to how long the body is.
            Some(_) if chunked => return false,
            _ if chunked || upgrade => State::Opaque,
            None | Some(0) => State::Between,
            Some(length) => State::Body(length),
        };
        true
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn state_after(text: &str) -> State {
        let mut heads = Heads::new();
        heads.feed(text.as_bytes());
        heads.state()
    }

    #[test]
    fn bodies_are_passed_over() {
        let mut heads = Heads::new();
        let first = "POST /a HTTP/1.1\r\nContent-Length: 5\r\n\r\na\nb\nc";
        assert_eq!(heads.feed(first.as_bytes()), first.len());
        assert_eq!(heads.state(), State::Between);
        assert_eq!(heads.feed(b"GET / HTTP/1.1\r\nHost: a\n"), 23);
        assert_eq!(heads.state(), State::Refused);
    }

    #[test]
    fn what_breaks_a_rule_is_refused_where_it_stands() {
        for (text, passed) in [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", 14),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", 23),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", 25),
            ("GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n", 24),
            ("\nGET / HTTP/1.1\r\n", 0),
        ] {
            let mut heads = Heads::new();
            assert_eq!(heads.feed(text.as_bytes()), passed, "{text:?}");
            assert_eq!(heads.state(), State::Refused);
        }
        for length in [
            "4\r\nContent-Length: 4",
            "4, 4",
            "+4",
            "-1",
            "4x",
            "",
            "99999999999999999999",
        ] {
            let text = format!("POST / HTTP/1.1\r\ncontent-length: {length}\r\n\r\n");
            assert_eq!(state_after(&text), State::Refused, "{length:?}");
        }
    }

    #[test]
    fn states_follow_the_requests() {
        assert_eq!(state_after(""), State::Between);
        assert_eq!(state_after("\r\n\r\n"), State::Between);
        assert_eq!(state_after("G"), State::Head);
        assert_eq!(state_after("GET / HTTP/1.1\r\nHost: a\r\n"), State::Head);
        assert_eq!(state_after("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), State::Between);
        assert_eq!(
            state_after("POST / HTTP/1.1\r\nContent-length:7 \r\n\r\nab"),
            State::Body(5)
        );
        assert_eq!(
            state_after("GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"),
            State::Opaque
        );
        assert_eq!(
            state_after("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            State::Opaque
        );
        let both = "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(state_after(both), State::Refused);
        assert_eq!(
            state_after("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"),
            State::Opaque
        );
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(5_000));
        assert_eq!(state_after(&long), State::Between);
    }

    proptest! {
        #[test]
        fn chopping_changes_nothing(
            text in r"(GET / HTTP/1.1\r\n|POST / HTTP/1.1\r\n|[A-Z]{1,4}|Content-Length: [0-9]{1,2}\r\n|Upgrade: x\r\n|\r\n|\n|\r|[a-z]{1,60}: ?[a-z]{0,9}\r\n){0,12}",
            cut in 1_usize..40,
        ) {
            let mut whole = Heads::new();
            let passed = whole.feed(text.as_bytes());
            let mut heads = Heads::new();
            let mut in_parts = 0;
            for part in text.as_bytes().chunks(cut) {
                let n = heads.feed(part);
                in_parts += n;
                if n < part.len() {
                    break;
                }
            }
            prop_assert_eq!((in_parts, heads.state()), (passed, whole.state()));
        }
    }
}
