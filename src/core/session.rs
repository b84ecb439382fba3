//! One connection's time: what is due now, and when to look again.
//!
//! The caller keeps one timer at [`Deadlines::next_at`] and looks when it fires. Traffic does not move the
//! timer, but for a pong: a deadline that was put off is seen to be so when the timer fires.

use countersign_protocol::CloseCode;

/// No deadline.
const NEVER: u64 = u64::MAX;
/// While a command is being answered the connection is given this much longer to show what it came for, ms.
const BUSY_MS: u64 = 1_000;
/// Instants of a ping interval at which pings are sent: every 100 ms of 25 s, so that 10,000 connections have 40 at
/// each, and a million 4,000. One wake sends them, and most of their pongs are read in a few.
const PING_INSTANTS: u64 = 250;

/// The spans that matter to a connection, milliseconds; as configured.
#[derive(Debug, Clone, Copy)]
pub struct Spans {
    pub unauthenticated: u64,
    pub ping_interval: u64,
    pub pong: u64,
    pub write: u64,
    pub fragments: u64,
    /// Warning before a session ends.
    pub expiring: u64,
}

/// How a connection stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// It signed in, watches a QR login or is in a room.
    pub settled: bool,
    /// When its session ends.
    pub expires_at: Option<u64>,
    /// The peer takes no bytes: how many it took so far.
    pub blocked: Option<u64>,
    /// A fragmented message is under way: its number.
    pub fragmented: Option<u64>,
    /// Reading has stopped because commands wait: what the peer sent is not looked at, its pongs included.
    pub paused: bool,
    /// Commands are being answered.
    pub busy: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Send a WebSocket ping.
    Ping,
    /// Tell the client that its session ends in `after_ms`.
    Expiring { after_ms: u64 },
    /// Tell the client that its session has ended, and close with 4005.
    Expired,
    /// Close.
    Close(CloseCode),
}

/// Something that must not stay the same for too long: since when it has, and what it was.
#[derive(Debug, Clone, Copy)]
struct Unchanged {
    since: u64,
    mark: u64,
}

/// The deadlines of one connection.
#[derive(Debug)]
pub struct Deadlines {
    /// Differs between connections, so that their pings do.
    seed: u64,
    settle_by: u64,
    ping_at: u64,
    pong_by: u64,
    /// The expiry the client has been warned of.
    warned_of: u64,
    /// Boxed, as the next: few connections are ever in either.
    blocked: Option<Box<Unchanged>>,
    fragmented: Option<Box<Unchanged>>,
}

impl Deadlines {
    /// Those of a connection that was opened at `now`.
    pub fn new(seed: u64, spans: &Spans, now: u64) -> Self {
        let mut deadlines = Self {
            seed,
            settle_by: now.saturating_add(spans.unauthenticated),
            ping_at: NEVER,
            pong_by: NEVER,
            warned_of: NEVER,
            blocked: None,
            fragmented: None,
        };
        deadlines.ping_at = deadlines.next_ping(spans, now);
        deadlines
    }

    /// A pong came. Nothing else counts as one: bytes that are not a pong can be left over from before the
    /// peer stopped reading, and an attacker's half frame is made of such bytes.
    pub fn pong(&mut self) {
        self.pong_by = NEVER;
    }

    /// Whether a pong is awaited.
    pub fn awaits_pong(&self) -> bool {
        self.pong_by != NEVER
    }

    /// One thing that is due; call it until it says `None`, or until the connection ends.
    pub fn due(&mut self, facts: &Facts, spans: &Spans, now: u64) -> Option<Due> {
        let blocked_by = lasting(&mut self.blocked, facts.blocked, spans.write, now);
        let fragmented = facts.fragmented.filter(|_| !facts.paused);
        let fragmented_by = lasting(&mut self.fragmented, fragmented, spans.fragments, now);
        if facts.settled {
            self.settle_by = NEVER;
        }
        if facts.expires_at.is_some_and(|at| at <= now) {
            return Some(Due::Expired);
        }
        if blocked_by <= now {
            return Some(Due::Close(CloseCode::SlowConsumer));
        }
        if fragmented_by <= now {
            return Some(Due::Close(CloseCode::Policy));
        }
        if self.settle_by <= now {
            if !facts.busy {
                return Some(Due::Close(CloseCode::AuthTimeout));
            }
            self.settle_by = now.saturating_add(BUSY_MS);
        }
        if self.pong_by <= now {
            // The ping may still be queued here, or the pong lie unread: then it is another deadline's turn.
            if facts.blocked.is_none() && !facts.paused {
                return Some(Due::Close(CloseCode::NoPong));
            }
            self.pong_by = now.saturating_add(spans.pong.max(1));
        }
        if let Some(at) = facts.expires_at
            && self.warned_of != at
            && at.saturating_sub(spans.expiring) <= now
        {
            self.warned_of = at;
            return Some(Due::Expiring {
                after_ms: at.saturating_sub(now),
            });
        }
        if self.ping_at <= now {
            self.ping_at = self.next_ping(spans, now);
            // A peer that takes nothing is watched by its queue, and one ping at a time is enough.
            if facts.blocked.is_none() && !self.awaits_pong() {
                self.pong_by = now.saturating_add(spans.pong.max(1));
                return Some(Due::Ping);
            }
        }
        None
    }

    /// When to look again, if nothing else happens before. Later than `now` whenever [`Deadlines::due`] said
    /// `None` to the same facts.
    pub fn next_at(&self, facts: &Facts, spans: &Spans) -> u64 {
        let end = |unchanged: &Option<Box<Unchanged>>, span| match unchanged {
            Some(unchanged) => unchanged.since.saturating_add(span),
            None => NEVER,
        };
        let session = facts.expires_at.map_or(NEVER, |at| match self.warned_of == at {
            true => at,
            false => at.saturating_sub(spans.expiring),
        });
        [
            self.settle_by,
            self.ping_at,
            self.pong_by,
            session,
            end(&self.blocked, spans.write),
            end(&self.fragmented, spans.fragments),
        ]
        .into_iter()
        .min()
        .unwrap_or(NEVER)
    }

    /// The next ping: an interval from now, a tenth more or less, at an instant that other connections' pings
    /// share: a few together wake the process once.
    fn next_ping(&mut self, spans: &Spans, now: u64) -> u64 {
        self.seed = mix(self.seed);
        let width = spans.ping_interval / 5;
        let shortest = spans.ping_interval - width / 2;
        let grid = (spans.ping_interval / PING_INSTANTS).max(1);
        let at = now.saturating_add((shortest + self.seed % (width + 1).saturating_sub(grid).max(1)).max(1));
        at.checked_next_multiple_of(grid).unwrap_or(at)
    }
}

/// Keeps `unchanged` in step with `mark` and answers when it will have lasted for `span`.
fn lasting(unchanged: &mut Option<Box<Unchanged>>, mark: Option<u64>, span: u64, now: u64) -> u64 {
    let Some(mark) = mark else {
        *unchanged = None;
        return NEVER;
    };
    let since = match unchanged {
        Some(same) if same.mark == mark => same.since,
        _ => {
            *unchanged = Some(Box::new(Unchanged { since: now, mark }));
            now
        }
    };
    since.saturating_add(span)
}

/// SplitMix64: neighbouring numbers become unrelated ones.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPANS: Spans = Spans {
        unauthenticated: 10_000,
        ping_interval: 25_000,
        pong: 10_000,
        write: 5_000,
        fragments: 5_000,
        expiring: 60_000,
    };
    const SETTLED: Facts = Facts {
        settled: true,
        expires_at: None,
        blocked: None,
        fragmented: None,
        paused: false,
        busy: false,
    };

    /// Looks whenever told to, until something is due.
    fn first(deadlines: &mut Deadlines, facts: &Facts, from: u64) -> (u64, Due) {
        let mut now = from;
        loop {
            if let Some(due) = deadlines.due(facts, &SPANS, now) {
                return (now, due);
            }
            now = deadlines.next_at(facts, &SPANS);
        }
    }

    #[test]
    fn a_connection_that_shows_nothing_is_closed() {
        let mut deadlines = Deadlines::new(1, &SPANS, 1_000);
        assert_eq!(
            first(&mut deadlines, &Facts::default(), 1_000),
            (11_000, Due::Close(CloseCode::AuthTimeout))
        );
        let busy = Facts {
            busy: true,
            ..Facts::default()
        };
        let mut deadlines = Deadlines::new(1, &SPANS, 1_000);
        assert_eq!(deadlines.due(&busy, &SPANS, 11_000), None);
        assert_eq!(
            first(&mut deadlines, &Facts::default(), 11_100).1,
            Due::Close(CloseCode::AuthTimeout)
        );
    }

    #[test]
    fn once_settled_it_stays_so() {
        let mut deadlines = Deadlines::new(1, &SPANS, 0);
        assert_eq!(deadlines.due(&SETTLED, &SPANS, 5_000), None);
        assert_eq!(first(&mut deadlines, &Facts::default(), 6_000).1, Due::Ping);
    }

    #[test]
    fn pings_are_jittered_and_their_pongs_awaited() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..1_000 {
            let mut deadlines = Deadlines::new(seed, &SPANS, 0);
            let (at, due) = first(&mut deadlines, &SETTLED, 0);
            assert_eq!(due, Due::Ping);
            assert!((22_500..=27_500).contains(&at), "{at}");
            seen.insert(at);
            assert!(at.is_multiple_of(100), "{at} is not shared");
            assert_eq!(
                first(&mut deadlines, &SETTLED, at),
                (at + 10_000, Due::Close(CloseCode::NoPong))
            );
            deadlines.pong();
            let (next, due) = first(&mut deadlines, &SETTLED, at + 10_000);
            assert_eq!(due, Due::Ping);
            assert!((at + 22_500..=at + 27_500).contains(&next));
        }
        assert!(seen.len() > 40, "{} of 50 instants", seen.len());
    }

    #[test]
    fn a_pong_that_cannot_be_seen_is_not_missed() {
        let mut deadlines = Deadlines::new(1, &SPANS, 0);
        let (at, _) = first(&mut deadlines, &SETTLED, 0);
        let paused = Facts {
            paused: true,
            ..SETTLED
        };
        assert_eq!(deadlines.due(&paused, &SPANS, at + 10_000), None);
        assert_eq!(
            first(&mut deadlines, &SETTLED, at + 10_001),
            (at + 20_000, Due::Close(CloseCode::NoPong))
        );
    }

    #[test]
    fn a_queue_that_moves_is_slow_and_one_that_stands_is_stuck() {
        let mut deadlines = Deadlines::new(1, &SPANS, 0);
        for second in 0..20 {
            let facts = Facts {
                blocked: Some(second),
                ..SETTLED
            };
            assert_eq!(deadlines.due(&facts, &SPANS, second * 1_000), None);
        }
        let stuck = Facts {
            blocked: Some(19),
            ..SETTLED
        };
        assert_eq!(
            first(&mut deadlines, &stuck, 19_000),
            (24_000, Due::Close(CloseCode::SlowConsumer))
        );
    }

    #[test]
    fn each_fragmented_message_has_its_own_time() {
        let mut deadlines = Deadlines::new(1, &SPANS, 0);
        let message = |n| Facts {
            fragmented: Some(n),
            ..SETTLED
        };
        assert_eq!(deadlines.due(&message(1), &SPANS, 0), None);
        assert_eq!(deadlines.due(&message(2), &SPANS, 4_999), None);
        assert_eq!(
            first(&mut deadlines, &message(2), 5_000),
            (9_999, Due::Close(CloseCode::Policy))
        );
    }

    #[test]
    fn a_session_is_warned_of_once_and_again_after_a_refresh() {
        let mut deadlines = Deadlines::new(1, &SPANS, 0);
        let until = |at| Facts {
            expires_at: Some(at),
            ..SETTLED
        };
        assert_eq!(deadlines.due(&until(100_000), &SPANS, 39_999), Some(Due::Ping));
        deadlines.pong();
        assert_eq!(deadlines.due(&until(100_000), &SPANS, 39_999), None);
        assert_eq!(
            deadlines.due(&until(100_000), &SPANS, 40_000),
            Some(Due::Expiring { after_ms: 60_000 })
        );
        assert_eq!(deadlines.due(&until(100_000), &SPANS, 40_001), None);
        assert_eq!(deadlines.due(&until(200_000), &SPANS, 100_000), Some(Due::Ping));
        deadlines.pong();
        assert_eq!(
            deadlines.due(&until(200_000), &SPANS, 140_000),
            Some(Due::Expiring { after_ms: 60_000 })
        );
        assert_eq!(
            deadlines.due(&until(200_000), &SPANS, 200_000),
            Some(Due::Expired)
        );
        let mut short = Deadlines::new(1, &SPANS, 0);
        assert_eq!(
            short.due(&until(3_000), &SPANS, 0),
            Some(Due::Expiring { after_ms: 3_000 })
        );
    }

    prop_compose! {
        fn any_facts()(
            settled: bool, paused: bool, busy: bool,
            expires_at in prop::option::of(0_u64..2_000),
            blocked in prop::option::of(0_u64..3),
            fragmented in prop::option::of(0_u64..3),
        ) -> Facts {
            Facts { settled, expires_at, blocked, fragmented, paused, busy }
        }
    }

    proptest! {
        /// Whatever happens, there is always either something to do or something to wait for: a timer that
        /// fires and finds nothing to do would fire again at once, for ever.
        #[test]
        fn nothing_is_due_for_ever(
            spans in prop::array::uniform6(0_u64..300),
            steps in prop::collection::vec((0_u64..400, any_facts(), any::<bool>()), 1..40),
        ) {
            let [unauthenticated, ping_interval, pong, write, fragments, expiring] = spans;
            let spans = Spans { unauthenticated, ping_interval, pong, write, fragments, expiring };
            let mut deadlines = Deadlines::new(7, &spans, 0);
            let mut now = 0;
            for (pass, facts, pong) in steps {
                now += pass;
                if pong {
                    deadlines.pong();
                }
                let mut rounds = 0;
                while let Some(due) = deadlines.due(&facts, &spans, now) {
                    if matches!(due, Due::Close(_) | Due::Expired) {
                        return Ok(());
                    }
                    rounds += 1;
                    prop_assert!(rounds <= 2, "a ping and a warning at most");
                }
                prop_assert!(deadlines.next_at(&facts, &spans) > now);
            }
        }
    }
}
