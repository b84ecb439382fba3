//! The lists of what comes due against naive ones.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::due::Schedule;
use super::*;
use crate::core::attempt::{Attempt, Sealed, Secret};

fn key(n: u8) -> AttemptKey {
    AttemptKey([n; 16])
}

fn room(n: u8) -> RoomName {
    RoomName::parse(&format!("chat:{n}")).unwrap()
}

/// One entry moves.
#[derive(Debug, Clone)]
struct Move {
    is_room: bool,
    which: u8,
    to: Option<u64>,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let to = prop_oneof![3 => (0..40_u64).prop_map(Some), 1 => Just(None)];
    let one = (any::<bool>(), 0..12_u8, to).prop_map(|(is_room, which, to)| Move { is_room, which, to });
    prop::collection::vec(one, 0..80)
}

proptest! {
    /// Oldest first, no more than asked for, and neither kind behind the other.
    #[test]
    fn what_is_due_agrees_with_a_list(moves in moves(), now in 0..45_u64, limit in 0..30_usize) {
        let schedule = Schedule::default();
        let mut model: BTreeMap<Due, u64> = BTreeMap::new();
        for Move { is_room, which, to } in moves {
            let name = if is_room { Due::Room(room(which)) } else { Due::Attempt(key(which)) };
            let from = match to {
                Some(to) => model.insert(name.clone(), to),
                None => model.remove(&name),
            };
            match &name {
                Due::Room(name) => schedule.room(name, from, to),
                Due::Attempt(key) => schedule.attempt(*key, from, to),
            }
        }
        let mut come: Vec<(u64, Due)> = model.iter().map(|(due, at)| (*at, due.clone())).collect();
        come.retain(|(at, _)| *at <= now);
        come.sort();
        let kind = |is_room: bool| {
            let of = |due: &&(u64, Due)| matches!(due.1, Due::Room(_)) == is_room;
            come.iter().filter(of).map(|(_, due)| due.clone()).collect::<Vec<_>>()
        };
        let (attempts, rooms) = (kind(false), kind(true));
        let answer = schedule.due(now, limit);
        prop_assert_eq!(answer.len(), come.len().min(limit));
        let (got_rooms, got_attempts): (Vec<_>, Vec<_>) =
            answer.iter().cloned().partition(|due| matches!(due, Due::Room(_)));
        // The oldest of each kind, and in the order of their times.
        prop_assert_eq!(&got_rooms[..], &rooms[..got_rooms.len()]);
        prop_assert_eq!(&got_attempts[..], &attempts[..got_attempts.len()]);
        let times: Vec<u64> = answer.iter().map(|due| model[due]).collect();
        prop_assert!(times.is_sorted(), "{:?}", times);
        prop_assert!(got_rooms.len() >= rooms.len().min(limit / 2));
        prop_assert!(got_attempts.len() >= attempts.len().min(limit / 2));
        for (due, at) in &model {
            match due {
                Due::Room(name) => schedule.room(name, Some(*at), None),
                Due::Attempt(key) => schedule.attempt(*key, Some(*at), None),
            }
        }
        prop_assert!(schedule.is_empty());
    }
}

/// Something that happens to one of a few attempts.
#[derive(Debug, Clone)]
enum Op {
    Wait(u64),
    Open(u8),
    Poll(u8),
    Unwatch(u8),
    Scan(u8),
    Confirm(u8),
    Redeem(u8),
    Cancel(u8),
    Revoke,
    /// Whatever is due, or only the first so many of it.
    Tick(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = || 0..6_u8;
    let wait = prop_oneof![3 => 0..5_000_u64, 2 => 5_000..60_000_u64, 1 => 60_000..320_000_u64];
    prop::collection::vec(
        prop_oneof![
            4 => wait.prop_map(Op::Wait),
            5 => n().prop_map(Op::Open),
            1 => n().prop_map(Op::Poll),
            1 => n().prop_map(Op::Unwatch),
            3 => n().prop_map(Op::Scan),
            3 => n().prop_map(Op::Confirm),
            3 => n().prop_map(Op::Redeem),
            1 => n().prop_map(Op::Cancel),
            1 => Just(Op::Revoke),
            4 => prop_oneof![Just(1), Just(100)].prop_map(Op::Tick),
        ],
        0..60,
    )
}

/// An engine, and what every attempt in it should be.
struct Twin {
    memory: Arc<Memory>,
    model: BTreeMap<AttemptKey, Attempt>,
    now: u64,
    drawn: u8,
}

impl Twin {
    fn fresh(&mut self) -> QrId {
        self.drawn = self.drawn.wrapping_add(1);
        let mut bytes = [0xee; 16];
        bytes[..8].copy_from_slice(&self.now.to_le_bytes());
        bytes[8] = self.drawn;
        QrId(bytes)
    }

    fn run(&mut self, key: AttemptKey, command: &Command<'_>) {
        let (now, policy) = (self.now, Policy::default());
        let mut decide = |a: &Attempt| attempt::decide(a, command, now, &policy);
        let _ = self
            .memory
            .update_attempt(AttemptRef::Key(key), &mut decide, now)
            .unwrap();
        if let Some(before) = self.model.get(&key) {
            let after = decide(before).next.unwrap_or_else(|| before.clone());
            if after.forget_at(&policy).is_some_and(|at| at <= now) {
                self.model.remove(&key);
            } else {
                self.model.insert(key, after);
            }
        }
    }

    fn open(&mut self, n: u8) {
        if self.model.contains_key(&key(n)) {
            return;
        }
        let opening = Opening {
            key: key(n),
            qr_id: self.fresh(),
            claim: Digest([1; 32]),
            device: Device {
                digest: Some(Digest([2; 32])),
                name: None,
                kind: DeviceKind::Web,
            },
            ip: "192.0.2.1".parse().unwrap(),
            user_agent: None,
            client: None,
            public_key: None,
            dpop_jkt: None,
            mode: MatchMode::None,
            connection: n.is_multiple_of(2).then(|| "c_1".into()),
        };
        let attempt = attempt::open(opening, self.now, &Policy::default());
        self.memory.open_attempt(attempt.clone()).unwrap();
        self.model.insert(key(n), attempt);
    }

    fn step(&mut self, op: &Op) {
        let (claim, device, token) = (Digest([1; 32]), Digest([2; 32]), Digest([3; 32]));
        let phone = Phone {
            user: user("alice"),
            session: "s1".into(),
            device: Digest([9; 32]),
            ip: "192.0.2.9".parse().unwrap(),
        };
        let ticket = Secret::new("ticket");
        let shown = |twin: &Self, n: u8| {
            let known = twin.model.get(&key(n)).map(Attempt::qr_id);
            known.unwrap_or(QrId([n; 16]))
        };
        match *op {
            Op::Wait(ms) => self.now += ms,
            Op::Open(n) => self.open(n),
            Op::Poll(n) => self.run(key(n), &Command::Poll { claim, device }),
            Op::Unwatch(n) => self.run(key(n), &Command::Unwatch { connection: "c_1" }),
            Op::Scan(n) => {
                let (qr_id, digits) = (shown(self, n), Digits::new(7).unwrap());
                self.run(
                    key(n),
                    &Command::Scan {
                        qr_id,
                        phone: &phone,
                        token,
                        digits,
                        typed: None,
                    },
                );
            }
            Op::Confirm(n) => {
                let qr_id = shown(self, n);
                let confirm = Command::Confirm {
                    qr_id,
                    phone: &phone,
                    token,
                    code: None,
                    ticket: &ticket,
                };
                self.run(key(n), &confirm);
            }
            Op::Redeem(n) => {
                let redeem = Command::Redeem {
                    claim,
                    device,
                    ticket: "ticket",
                    session: "s2",
                    result: &Sealed::new([0; 8]),
                };
                self.run(key(n), &redeem);
            }
            Op::Cancel(n) => {
                let cancel = Command::Cancel {
                    claim,
                    device,
                    reason: attempt::CancelReason::User,
                };
                self.run(key(n), &cancel);
            }
            Op::Revoke => {
                for key in self.memory.attempts_scanned_by("s1".into()).unwrap() {
                    self.run(key, &Command::ScannerRevoked { session: "s1" });
                }
            }
            Op::Tick(limit) => {
                for due in self.memory.due(self.now, limit).unwrap() {
                    let Due::Attempt(key) = due else { panic!("{due:?}") };
                    let fresh = self.fresh();
                    self.run(key, &Command::Tick { fresh });
                }
            }
        }
    }

    fn check(&self) {
        let policy = Policy::default();
        let all: BTreeMap<(u64, AttemptKey), ()> = self
            .model
            .values()
            .map(|a| ((a.due_at(&policy), a.key()), ()))
            .collect();
        let due = |until: u64| -> Vec<Due> {
            let come = all.keys().take_while(|(at, _)| *at <= until);
            come.map(|(_, key)| Due::Attempt(*key)).collect()
        };
        assert_eq!(self.memory.due(self.now, 100).unwrap(), due(self.now));
        assert_eq!(self.memory.due(u64::MAX, 100).unwrap(), due(u64::MAX));
        let ids: usize = self.model.values().map(|a| a.ids().count()).sum();
        assert_eq!(
            (
                self.memory.attempts.len(),
                self.memory.attempts_kept(),
                self.memory.attempt_ids.len()
            ),
            (self.model.len(), self.model.len(), ids)
        );
        let waiting = |a: &&Attempt| a.state() == countersign_protocol::server::QrState::Waiting;
        let waiting = self.model.values().filter(waiting).count();
        let counted: usize = self.memory.waiting.iter().map(|entry| *entry.value()).sum();
        assert_eq!(counted, waiting);
    }
}

proptest! {
    /// Whatever happens to attempts, the list has exactly those that there are, each at its time.
    #[test]
    fn the_list_has_every_attempt_at_its_time(ops in ops()) {
        let mut twin = Twin {
            memory: Memory::new(limits()),
            model: BTreeMap::new(),
            now: T0,
            drawn: 0,
        };
        for op in &ops {
            twin.step(op);
            twin.check();
        }
        // By ticks alone everything ends.
        for _ in 0..12 {
            twin.now += 60_000;
            twin.step(&Op::Tick(100));
        }
        prop_assert!(twin.memory.due.is_empty() && twin.memory.attempts.is_empty());
    }
}
