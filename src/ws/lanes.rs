//! Commands of one connection that wait for something, in the order their lanes ask for.

use std::task::{Context, Poll};

use futures::FutureExt;

use super::dispatch::{Lane, Outcome, Pending};

/// Commands that have begun, or wait to begin. Usually none: what the memory engine answers is done when it is
/// polled first.
#[derive(Default)]
pub(super) struct Lanes(Vec<Waiting>);

struct Waiting {
    command: Pending,
    begun: bool,
}

impl Lanes {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a command, and carries it out at once if it can be.
    pub(super) fn start(&mut self, mut command: Pending, cx: &mut Context<'_>) -> Option<Outcome> {
        let begun = !self.0.iter().any(|earlier| keeps_back(earlier, &command));
        if begun && let Poll::Ready(outcome) = command.future.poll_unpin(cx) {
            return Some(outcome);
        }
        self.0.push(Waiting { command, begun });
        None
    }

    /// Goes on with every command that has begun, and with `may_begin` also begins those that no earlier one
    /// keeps back; answers the first that is done. Call it until there is none.
    pub(super) fn poll_next(&mut self, may_begin: bool, cx: &mut Context<'_>) -> Option<Outcome> {
        for at in 0..self.0.len() {
            let (earlier, rest) = self.0.split_at_mut(at);
            let Some(Waiting { command, begun }) = rest.first_mut() else {
                break;
            };
            if !*begun && (!may_begin || earlier.iter().any(|e| keeps_back(e, command))) {
                continue;
            }
            *begun = true;
            if let Poll::Ready(outcome) = command.future.poll_unpin(cx) {
                self.0.remove(at);
                if self.0.is_empty() {
                    self.0 = Vec::new();
                }
                return Some(outcome);
            }
        }
        None
    }
}

/// Whether an earlier command has to be done before a later one begins.
fn keeps_back(earlier: &Waiting, later: &Pending) -> bool {
    if earlier.command.bulky && later.bulky {
        return true;
    }
    match (&earlier.command.lane, &later.lane) {
        // A liveness check says nothing about order.
        (Lane::Free, _) | (_, Lane::Free) => false,
        (Lane::Session, _) | (_, Lane::Session) => true,
        (Lane::Room(a), Lane::Room(b)) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_protocol::RoomName;
    use futures::channel::oneshot;
    use futures::task::noop_waker_ref;

    fn lane(name: &str) -> Lane {
        match name {
            "session" => Lane::Session,
            "free" => Lane::Free,
            room => Lane::Room(RoomName::parse(room).unwrap()),
        }
    }

    fn named(name: u8) -> Outcome {
        Outcome::Reply(vec![name])
    }

    struct Bench {
        lanes: Lanes,
        gates: Vec<Option<oneshot::Sender<()>>>,
        done: Vec<u8>,
    }

    impl Bench {
        /// Commands in these lanes, each waiting for its gate.
        fn of(lanes: &[&str]) -> Self {
            let mut bench = Bench {
                lanes: Lanes::default(),
                gates: Vec::new(),
                done: Vec::new(),
            };
            for (n, name) in lanes.iter().enumerate() {
                let (gate, wait) = oneshot::channel::<()>();
                bench.gates.push(Some(gate));
                let future = async move {
                    let _ = wait.await;
                    named(u8::try_from(n).unwrap())
                };
                let (bulky, name) = match name.strip_suffix('+') {
                    Some(name) => (true, name),
                    None => (false, *name),
                };
                let command = Pending {
                    lane: lane(name),
                    bulky,
                    future: future.boxed(),
                };
                assert!(
                    bench
                        .lanes
                        .start(command, &mut Context::from_waker(noop_waker_ref()))
                        .is_none()
                );
            }
            bench
        }

        fn open(&mut self, gate: usize) -> Vec<u8> {
            self.gates[gate].take().unwrap().send(()).ok();
            self.go_on(true)
        }

        fn go_on(&mut self, may_begin: bool) -> Vec<u8> {
            while let Some(Outcome::Reply(name)) = self
                .lanes
                .poll_next(may_begin, &mut Context::from_waker(noop_waker_ref()))
            {
                self.done.extend(name);
            }
            self.done.clone()
        }
    }

    #[test]
    fn a_room_is_in_order_and_rooms_are_not() {
        let mut bench = Bench::of(&["a", "b", "a", "b"]);
        assert!(bench.open(2).is_empty());
        assert_eq!(bench.open(1), [1]);
        assert_eq!(bench.open(0), [1, 0, 2]);
        assert_eq!(bench.open(3), [1, 0, 2, 3]);
        assert!(bench.lanes.is_empty());
    }

    #[test]
    fn session_commands_are_barriers_for_all_but_the_free() {
        let mut bench = Bench::of(&["a", "session", "a", "b", "free", "session"]);
        assert_eq!(bench.open(4), [4]);
        for gate in [1, 2, 3, 5] {
            assert_eq!(bench.open(gate), [4]);
        }
        assert_eq!(bench.open(0), [4, 0, 1, 2, 3, 5]);
    }

    #[test]
    fn answers_that_fill_a_queue_are_made_one_at_a_time() {
        let mut bench = Bench::of(&["a+", "b+", "c", "b"]);
        assert!(bench.open(1).is_empty(), "another is being made");
        assert_eq!(bench.open(2), [2]);
        assert_eq!(bench.open(0), [2, 0, 1]);
        assert_eq!(bench.open(3), [2, 0, 1, 3]);
    }

    #[test]
    fn while_answers_wait_to_leave_nothing_begins_and_what_has_begun_goes_on() {
        let mut bench = Bench::of(&["a", "a", "b"]);
        for gate in [0, 1, 2] {
            bench.gates[gate].take().unwrap().send(()).ok();
        }
        assert_eq!(bench.go_on(false), [0, 2]);
        assert_eq!(bench.go_on(true), [0, 2, 1]);
    }

    #[test]
    fn what_is_ready_is_not_kept() {
        let mut lanes = Lanes::default();
        let command = Pending {
            lane: Lane::Session,
            bulky: false,
            future: std::future::ready(named(1)).boxed(),
        };
        assert_eq!(
            lanes.start(command, &mut Context::from_waker(noop_waker_ref())),
            Some(named(1))
        );
        assert_eq!(lanes.0.capacity(), 0);
    }
}
