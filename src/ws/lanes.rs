//! Commands of one connection that wait for something, in the order their lanes ask for.

use std::task::{Context, Poll};

use futures::FutureExt;

use super::dispatch::{Lane, Outcome, Pending};

/// Commands that have begun, or wait for an earlier one to end. Usually none: what the memory engine answers
/// is done when it is polled first.
#[derive(Default)]
pub(super) struct Lanes(Vec<Pending>);

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
        let free = !self
            .0
            .iter()
            .any(|earlier| keeps_back(&earlier.lane, &command.lane));
        if free && let Poll::Ready(outcome) = command.future.poll_unpin(cx) {
            return Some(outcome);
        }
        self.0.push(command);
        None
    }

    /// Goes on with every command that no earlier one keeps back; answers the first that is done. Call it until
    /// there is none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Option<Outcome> {
        for at in 0..self.0.len() {
            let (earlier, rest) = self.0.split_at_mut(at);
            let Some(command) = rest.first_mut() else { break };
            if earlier.iter().any(|e| keeps_back(&e.lane, &command.lane)) {
                continue;
            }
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

/// Whether a command in lane `earlier` has to be done before one in lane `later` begins.
fn keeps_back(earlier: &Lane, later: &Lane) -> bool {
    match (earlier, later) {
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
                let command = Pending {
                    lane: lane(name),
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
            while let Some(Outcome::Reply(name)) =
                self.lanes.poll_next(&mut Context::from_waker(noop_waker_ref()))
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
    fn what_is_ready_is_not_kept() {
        let mut lanes = Lanes::default();
        let command = Pending {
            lane: Lane::Session,
            future: std::future::ready(named(1)).boxed(),
        };
        assert_eq!(
            lanes.start(command, &mut Context::from_waker(noop_waker_ref())),
            Some(named(1))
        );
        assert_eq!(lanes.0.capacity(), 0);
    }
}
